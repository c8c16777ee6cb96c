//go:build unix

package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/riposte-sec/riposte/internal/fault"
)

// lock keeps the data folder for this process until the file is closed, however the process ends: two would
// be one node to everybody else, and each would carry out what the other does.
func lock(folder string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // in the data folder
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("data: %w", err))
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor is no larger
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fault.WithHint(fault.New(fault.Conflict, "data: another process works in %s", folder),
			"stop it, or give this one a data folder of its own")
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
