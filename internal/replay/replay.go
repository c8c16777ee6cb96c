// Package replay reads records from files, folders and standard input, in the order of their names.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// handful is how many records are handed on at once.
const handful = 500

// Stdin is the path that stands for standard input.
const Stdin = "-"

// Read hands the records of files on, those in folders and theirs included; "-" is stdin. Each is told to
// progress, which may be nil, before it is read. A damaged file doesn't keep the others from being read.
func Read(ctx context.Context, paths []string, stdin io.Reader, sink event.Sink, progress func(file string)) error {
	var errs []error
	for _, path := range paths {
		if path == Stdin {
			errs = append(errs, stream(ctx, "stdin", stdin, sink, progress))
			continue
		}
		errs = append(errs, filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return fault.Wrap(fault.NotFound, fmt.Errorf("read %s: %w", file, err))
			}
			if entry.IsDir() || file != path && !isLog(file) {
				return nil
			}
			if err := open(ctx, file, sink, progress); err != nil {
				if ctx.Err() != nil {
					return err
				}
				errs = append(errs, err)
			}
			return nil
		}))
	}
	return errors.Join(errs...)
}

// isLog tells what in a folder is read; a file that is named is read whatever it is called.
func isLog(file string) bool {
	name := strings.TrimSuffix(strings.ToLower(file), ".gz")
	switch filepath.Ext(name) {
	case ".json", ".jsonl", ".ndjson", ".log":
		return true
	}
	return false
}

func open(ctx context.Context, path string, sink event.Sink, progress func(string)) error {
	file, err := os.Open(path) //nolint:gosec // the user names the files
	if err != nil {
		return fault.Wrap(fault.NotFound, fmt.Errorf("read %s: %w", path, err))
	}
	return errors.Join(stream(ctx, path, file, sink, progress), file.Close())
}

func stream(ctx context.Context, name string, from io.Reader, sink event.Sink, progress func(string)) error {
	if progress != nil {
		progress(name)
	}
	var batch event.Batch
	hand := func() error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if len(batch.Events) == 0 && len(batch.Letters) == 0 {
			return nil
		}
		taken := batch
		batch = event.Batch{}
		return sink(ctx, taken)
	}
	err := awslog.Read(name, from, awslog.Limits{}, func(events []event.Event, letters []event.Letter) error {
		batch.Events, batch.Letters = append(batch.Events, events...), append(batch.Letters, letters...)
		if len(batch.Events)+len(batch.Letters) < handful {
			return nil
		}
		return hand()
	})
	if err := errors.Join(err, hand()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
