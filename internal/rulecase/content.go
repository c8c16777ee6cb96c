package rulecase

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/sigma"
)

// largest is the size in bytes of the largest file that is read.
const largest = 1 << 20

// Content is rules, correlations and filters with the tests beside them, as files hold them.
type Content struct {
	sigma.Collection
	Cases []Case
	// Options are what rules need from their surroundings.
	Options sigma.Options
	// WithoutTests leaves the files of tests unread.
	WithoutTests bool
	// Library is what correlations and filters may refer to beyond the content itself. It isn't tested.
	Library sigma.Collection
	// Mistakes are what can't be read, by file and line. The rest of the files is there all the same.
	Mistakes []Result
	// Others are YAML files that hold no rules and no tests of them.
	Others []string
}

// Read adds what a folder and those below it hold, or one file and the tests beside it. Files are called by
// their path after the prefix. The error is of the folder or the file itself; what is wrong within files is
// among the Mistakes.
func (c *Content) Read(files fs.FS, root, prefix string) error {
	about, err := fs.Stat(files, root)
	if err != nil {
		return fault.Wrap(fault.NotFound, fmt.Errorf("read %s%s: %w", prefix, root, err))
	}
	if !about.IsDir() {
		return c.readOne(files, root, prefix)
	}
	err = fs.WalkDir(files, root, func(file string, entry fs.DirEntry, err error) error {
		hidden := strings.HasPrefix(path.Base(file), ".") && file != root
		switch {
		case err != nil:
			return err
		case hidden && entry.IsDir():
			return fs.SkipDir
		case hidden, entry.IsDir(), !isYAML(file):
			return nil
		}
		c.file(files, file, prefix, false)
		return nil
	})
	if err != nil {
		return fault.Wrap(fault.NotFound, fmt.Errorf("read %s%s: %w", prefix, root, err))
	}
	return nil
}

// readOne reads a file that was named, with the file of rules or of tests that belongs to it.
func (c *Content) readOne(files fs.FS, named, prefix string) error {
	if !isYAML(named) {
		return fault.New(fault.Invalid, "%s%s: rules and their tests are in files that end in .yaml or .yml", prefix, named)
	}
	stem := beside(named)
	wanted := []string{stem + ".yaml", stem + ".yml"}
	for _, mark := range marks {
		wanted = append(wanted, stem+mark)
	}
	for _, file := range wanted {
		if _, err := fs.Stat(files, file); err == nil {
			c.file(files, file, prefix, file == named)
		}
	}
	return nil
}

// file reads one file. Where it wasn't asked for by name and holds no rules, it is one of the others.
func (c *Content) file(files fs.FS, file, prefix string, named bool) {
	if c.WithoutTests && IsTest(file) {
		return
	}
	name := prefix + file
	text, err := readAll(files, file)
	switch {
	case err != nil:
		c.Mistakes = append(c.Mistakes, Result{File: name, Problem: err.Error()})
	case IsTest(file) && isOfPlaybook(text):
		c.Others = append(c.Others, name)
	case IsTest(file):
		cases, err := Parse(name, text)
		c.Cases = append(c.Cases, cases...)
		c.Mistakes = append(c.Mistakes, mistakesOf(name, err)...)
	case !named && !isRules(text):
		c.Others = append(c.Others, name)
	default:
		read, err := sigma.ParseCollection(name, text, c.Options)
		c.Add(read)
		c.Mistakes = append(c.Mistakes, mistakesOf(name, err)...)
	}
}

func readAll(files fs.FS, file string) ([]byte, error) {
	about, err := fs.Stat(files, file)
	if err == nil && about.Size() > largest {
		return nil, fmt.Errorf("the file has %d bytes; at most %d are read", about.Size(), largest)
	}
	if err != nil {
		return nil, reason(err)
	}
	text, err := fs.ReadFile(files, file)
	return text, reason(err)
}

// reason is an error of a file without its path, which is told already.
func reason(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}

func isYAML(file string) bool {
	return strings.HasSuffix(file, ".yaml") || strings.HasSuffix(file, ".yml")
}

// keys begin the lines by which a file of rules is known.
var keys = [][]byte{[]byte("title:"), []byte("detection:"), []byte("logsource:"), []byte("correlation:"), []byte("filter:")} //nolint:gochecknoglobals // a constant

// isOfPlaybook reports whether a file of tests is one of a playbook's.
func isOfPlaybook(text []byte) bool {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("playbook:")) {
			return true
		}
	}
	return false
}

// isRules reports whether a file means to hold Sigma rules, be they right or wrong.
func isRules(text []byte) bool {
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		for _, key := range keys {
			if bytes.HasPrefix(line, key) {
				return true
			}
		}
	}
	return false
}
