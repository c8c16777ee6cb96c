// Package replay reads records from files, folders and standard input, in the order of their names, and tells
// what rules say of them.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
)

// handful is how many records are handed on at once.
const handful = 500

// Stdin is the path that stands for standard input.
const Stdin = "-"

// Logs reads the records of files.
type Logs struct {
	// Paths are files, folders, whose files and theirs are read, and "-" for Stdin.
	Paths []string
	Stdin io.Reader
	// Decode makes events of a record; what awslog makes of it if nil.
	Decode func(raw []byte) ([]event.Event, error)
	// Letters is how many records of one file that can't be read are handed on as letters; what is beyond
	// becomes a problem of the file. All if zero.
	Letters int
	// Progress is told how far reading has come, at the beginning of each file and within; it may be nil.
	Progress func(Progress)
}

// Progress is how far reading has come.
type Progress struct {
	File        string // the one being read
	Files       int    // begun, the present one included
	AllFiles    int
	Bytes       int64 // read, as they are on disk
	AllBytes    int64 // standard input is not known beforehand
	Events      int
	BeginOfFile bool
}

// Problem is a file that could not be read, or not to its end.
type Problem struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

// String names file and reason.
func (p Problem) String() string { return p.File + ": " + p.Reason }

// Read hands the records on. A file that is damaged or isn't there becomes a problem, and doesn't keep the
// others from being read. The error is the sink's, or the context's.
func (l *Logs) Read(ctx context.Context, sink event.Sink) ([]Problem, error) {
	files, problems := l.find()
	r := &reading{logs: l, sink: sink}
	r.at.AllFiles = len(files)
	for _, file := range files {
		r.at.AllBytes += file.size
	}
	for _, file := range files {
		problem, err := r.file(ctx, file.path)
		if err != nil {
			return problems, err
		}
		if problem != "" {
			problems = append(problems, Problem{File: file.path, Reason: problem})
		}
	}
	return problems, nil
}

// logFile is a file to read.
type logFile struct {
	path string
	size int64
}

// find lists the files of all paths.
func (l *Logs) find() (files []logFile, problems []Problem) {
	for _, path := range l.Paths {
		if path == Stdin {
			files = append(files, logFile{path: "stdin"})
			continue
		}
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				problems = append(problems, Problem{File: file, Reason: reason(err)})
				return nil // it is told, and the rest is read
			}
			if entry.IsDir() || file != path && !isLog(file) {
				return nil
			}
			one := logFile{path: file}
			if about, err := entry.Info(); err == nil {
				one.size = about.Size()
			}
			files = append(files, one)
			return nil
		})
		if err != nil {
			problems = append(problems, Problem{File: path, Reason: reason(err)})
		}
	}
	return files, problems
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

// reason is an error of a file without its path, which is told already.
func reason(err error) string {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err.Error()
	}
	return err.Error()
}

// reading is one pass over files.
type reading struct {
	logs    *Logs
	sink    event.Sink
	at      Progress
	batch   event.Batch
	letters int   // of the present file
	stopped error // the sink's error, or the context's
}

// file reads one file. It gives what is wrong with the file, and the error that ends all reading.
func (r *reading) file(ctx context.Context, path string) (problem string, err error) {
	r.at.File, r.letters = path, 0
	r.at.Files++
	r.tell(true)
	from := r.logs.Stdin
	if path != "stdin" {
		file, err := os.Open(path) //nolint:gosec // the user names the files
		if err != nil {
			return reason(err), nil
		}
		defer func() { _ = file.Close() }() // it was only read
		from = file
	}
	err = awslog.File(&counted{from: from, reading: r}, awslog.Limits{}, func(p awslog.Piece) error {
		r.record(path, p)
		if len(r.batch.Events)+len(r.batch.Letters) < handful {
			return nil
		}
		return r.hand(ctx)
	})
	if r.stopped == nil {
		_ = r.hand(ctx) // it is kept in stopped
	}
	if r.stopped != nil {
		return "", r.stopped
	}
	if more := r.letters - r.logs.Letters; r.logs.Letters > 0 && more > 0 {
		err = errors.Join(err, fmt.Errorf("%d more records cannot be read", more))
	}
	if err != nil {
		return reason(err), nil
	}
	return "", nil
}

// record adds what came of a record to the batch: events, or a letter that says why it can't be read.
func (r *reading) record(file string, p awslog.Piece) {
	origin := file + "#" + strconv.Itoa(p.Index)
	events, err := r.logs.decode(&p)
	for i := range events {
		events[i].Origin = origin
	}
	r.batch.Events = append(r.batch.Events, events...)
	if err == nil {
		return
	}
	if r.letters++; r.logs.Letters == 0 || r.letters <= r.logs.Letters {
		letter := event.Letter{Format: awslog.FormatRecord, Origin: origin, Reason: err.Error(), Raw: p.Alone(), Count: 1}
		r.batch.Letters = append(r.batch.Letters, letter)
	}
}

// decode makes events of a piece of a file.
func (l *Logs) decode(p *awslog.Piece) ([]event.Event, error) {
	switch {
	case l.Decode == nil:
		return p.Events()
	case p.Err != nil:
		return nil, p.Err
	}
	return l.Decode(p.Raw)
}

// hand hands the batch on.
func (r *reading) hand(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		r.stopped = err
		return err
	}
	if len(r.batch.Events) == 0 && len(r.batch.Letters) == 0 {
		return nil
	}
	taken := r.batch
	r.batch = event.Batch{}
	if err := r.sink(ctx, taken); err != nil {
		r.stopped = fmt.Errorf("%s: %w", r.at.File, err)
		return r.stopped
	}
	r.at.Events += len(taken.Events)
	r.tell(false)
	return nil
}

func (r *reading) tell(begin bool) {
	if r.logs.Progress != nil {
		told := r.at
		told.BeginOfFile = begin
		r.logs.Progress(told)
	}
}

// counted counts the bytes of a file as they are read.
type counted struct {
	from    io.Reader
	reading *reading
}

// Read reads from the file.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.reading.at.Bytes += int64(n)
	return n, err
}
