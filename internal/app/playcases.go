package app

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/channel"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/playcase"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

// offline are the actions of this build, which reach nothing.
func offline(c Config) []action.Action {
	actions := aws.Offline().Actions()
	if told, err := newMessengers(&c, courier.New(nil, time.Now), time.Now, slog.New(slog.DiscardHandler)); err == nil {
		actions = append(actions, told.actions...)
	}
	notify, _ := channel.New(c.Channels, actions) // what is wrong with targets, Config.actions tells
	return append(actions, notify)
}

// Playbooks reads playbooks with the tests beside them: those at paths, or else those in force. What can't be read
// is among the content's mistakes; the error is of paths that aren't there.
func Playbooks(c Config, paths []string) (*playcase.Content, error) {
	files, err := playbookFiles(paths)
	if err != nil {
		return nil, err
	}
	read := &playcase.Content{Actions: offline(c), Detect: detector(c), File: caseFile}
	if read.Suites, read.Mistakes = suites(c.Content, paths); len(paths) > 0 && len(files)+len(read.Suites) == 0 {
		return read, nil
	}
	set := c.Content
	if len(paths) > 0 {
		set.Playbooks = slices.DeleteFunc(slices.Clone(set.Playbooks), func(p string) bool { return slices.Contains(files, filepath.Clean(p)) })
		set.Playbooks = append(set.Playbooks, files...)
	}
	books, _, err := loadPlaybooks(set, &disabled{met: map[string]bool{}})
	if err != nil {
		read.Mistakes = errors.Join(read.Mistakes, err)
		return read, nil
	}
	specs := specsOf(read.Actions)
	errs := []error{read.Mistakes}
	for _, book := range books {
		read.Library = append(read.Library, book.Playbook)
		if len(paths) > 0 && (book.shipped || !slices.Contains(files, filepath.Clean(book.File))) {
			continue
		}
		if err := playbook.Check(book.Playbook, playbook.Installation{Actions: specs, Roles: roles(), Rotations: rotations(specs)}); err != nil {
			errs = append(errs, err)
			continue
		}
		read.Playbooks = append(read.Playbooks, book.Playbook)
	}
	read.Mistakes = errors.Join(errs...)
	return read, nil
}

// playbookFiles lists the playbooks at paths. A path may be that of a playbook's tests.
func playbookFiles(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		about, err := os.Stat(path)
		if err != nil {
			return nil, fault.Wrap(fault.NotFound, fmt.Errorf("read %s: %w", path, err))
		}
		if !about.IsDir() {
			stem := strings.TrimSuffix(strings.TrimSuffix(path, filepath.Ext(path)), "_test")
			if at := stem + ".yaml"; isFile(at) {
				path = at
			}
		}
		found, err := own(path)
		if err != nil {
			return nil, fault.Wrap(fault.NotFound, err)
		}
		for _, file := range found {
			if name := filepath.Clean(file.name); isWrittenPlaybook(file.text) && !slices.Contains(files, name) {
				files = append(files, name)
			}
		}
	}
	return files, nil
}

func isFile(path string) bool {
	about, err := os.Stat(path)
	return err == nil && !about.IsDir()
}

// suites reads the tests beside the shipped playbooks and one's own, or those at paths.
func suites(c ContentConfig, paths []string) ([]*playcase.Suite, error) {
	var all []*playcase.Suite
	var errs []error
	take := func(files fs.FS, root, prefix string) {
		found, err := playcase.Read(files, root, prefix)
		all, errs = append(all, found...), append(errs, err)
	}
	if len(paths) == 0 {
		paths = c.Playbooks
		if c.Shipped {
			take(content.Files, "playbooks", shippedPrefix)
		}
	}
	for _, path := range paths {
		path = filepath.Clean(path)
		if about, err := os.Stat(path); err == nil && about.IsDir() {
			take(os.DirFS(path), ".", strings.TrimPrefix(filepath.ToSlash(path)+"/", "./"))
			continue
		}
		stem := strings.TrimSuffix(strings.TrimSuffix(path, filepath.Ext(path)), "_test")
		for _, file := range []string{stem + "_test.yaml", stem + "_test.yml"} {
			if isFile(file) {
				dir, name := filepath.Split(file)
				take(os.DirFS(filepath.Clean(dir)), name, filepath.ToSlash(dir))
			}
		}
	}
	return all, errors.Join(errs...)
}

// caseFile reads a file that stands beside one of tests.
func caseFile(suite, name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, fault.New(fault.Invalid, "%q leads out of the folder of the tests", name)
	}
	if shipped, is := strings.CutPrefix(suite, shippedPrefix); is {
		text, err := fs.ReadFile(content.Files, filepath.ToSlash(filepath.Join(filepath.Dir(shipped), name)))
		return text, reasonOf(err)
	}
	at := filepath.Join(filepath.Dir(suite), name)
	if about, err := os.Stat(at); err == nil && about.Size() > largestFile {
		return nil, fault.New(fault.Invalid, "%s: over %d bytes", name, largestFile)
	}
	text, err := os.ReadFile(filepath.Clean(at))
	return text, reasonOf(err)
}

func reasonOf(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.NotFound, fmt.Errorf("read: %w", err))
}

// detector gives what takes raw events through the rules in force. They are read when it is first asked.
func detector(c Config) func(raw [][]byte) ([]finding.Finding, error) {
	load := sync.OnceValues(func() (*Content, error) {
		specs := AllSpecs(c)
		return LoadContent(c.Content, specs, specs, time.Now())
	})
	return func(raw [][]byte) ([]finding.Finding, error) {
		loaded, err := load()
		if err != nil {
			return nil, err
		}
		var events []event.Event
		for _, text := range raw {
			read, err := awslog.Record(text)
			if err != nil {
				return nil, err
			}
			events = append(events, read...)
		}
		trial := newTrial(loaded)
		found, letters := trial.Detect(events)
		for _, letter := range letters {
			return nil, fault.New(fault.Invalid, "%s", letter.Reason)
		}
		return append(found, trial.End()...), nil
	}
}

// IsPlaybookFile reports whether a path is that of a file with a playbook, or with tests of one.
func IsPlaybookFile(path string) bool {
	if !isFile(path) {
		return false
	}
	text, err := os.ReadFile(filepath.Clean(path))
	return err == nil && isWrittenPlaybook(text)
}
