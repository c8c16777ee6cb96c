//go:build !unix

package app

import "os"

// lock does nothing where files can't be locked as on Unix.
func lock(string) (*os.File, error) { return nil, nil } //nolint:nilnil // there is no file to close
