// Package config reads the configuration file, with the secrets it refers to.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
)

// largest is the size in bytes of the largest configuration file; document's own bound is the same.
const largest = 1 << 20

// Read reads a file into a struct whose fields hold the defaults, and resolves its secrets: from files
// relative to the configuration's folder, and from the environment. Secrets that stand in the file in plain
// come back as warnings. Errors are Invalid and name file, line and key, or NotFound where there is no file.
func Read(path string, into any) (warnings []*document.Error, err error) {
	text, err := read(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.WithHint(fault.New(fault.NotFound, "no configuration at %s", path),
			"name one by --config, or start on the defaults without it")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	doc, err := document.Parse(path, text)
	if err != nil {
		return nil, err
	}
	if err := doc.Decode(into); err != nil {
		return nil, err
	}
	return doc.Resolve(os.LookupEnv) //nolint:forbidigo // only config reads the environment
}

func read(path string) ([]byte, error) {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, largest+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return text, nil
}

// Env gives an environment variable, or otherwise where it is not set.
func Env(name, otherwise string) string {
	if value, set := os.LookupEnv(name); set && value != "" { //nolint:forbidigo // only config reads the environment
		return value
	}
	return otherwise
}
