package playcase

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
)

// mostAccidents bounds the accidents with which one test is told again.
const mostAccidents = 120

// Content is playbooks with the tests beside them.
type Content struct {
	Playbooks []*playbook.Playbook // linked; those whose file has tests beside it, and those that should have
	Suites    []*Suite
	// Library is all playbooks that may be called; it isn't tested.
	Library []*playbook.Playbook
	Actions []action.Action // of this build; none of them reaches anything
	// Detect gives the findings in events as their source writes them.
	Detect func(raw [][]byte) ([]finding.Finding, error)
	// File reads a file beside one of tests.
	File func(suite, name string) ([]byte, error)
	// Mistakes are of what could not be read.
	Mistakes error
	// Fast tells each test but once, without accidents.
	Fast bool
}

// Result is what came of one test, or one thing that is wrong with tests.
type Result struct {
	File     string
	Line     int    // 1-based; 0 where it concerns the whole file
	Case     string // the test's name; "" where it is no test
	Playbook string
	Problem  string // "" where all is as it should be
}

// Report is what came of all tests.
type Report struct {
	Results  []Result
	Untested []Result // playbooks that aren't shown to do what they may do
	Mistakes []error  // of the files of tests, with file, line and key
}

// work is the tests of one playbook.
type work struct {
	book  *playbook.Playbook
	tests []*held

	results []Result
	shown   shown
}

// shown is what tests that pass show of a playbook.
type shown struct {
	succeeds, lets bool
	steps          map[string]bool // those carried out
}

// IsTest reports whether a file holds tests of a playbook: by its name, and by the key it begins with.
func IsTest(file string, text []byte) bool {
	if stem := strings.TrimSuffix(file, path.Ext(file)); !strings.HasSuffix(stem, "_test") {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "playbook:") {
			return true
		}
	}
	return false
}

// Test plays all tests.
func (c *Content) Test(ctx context.Context) Report {
	var report Report
	if c.Mistakes != nil {
		report.Mistakes = append(report.Mistakes, c.Mistakes)
	}
	all := c.prepare(&report)
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for _, w := range all {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			c.play(ctx, w)
		})
	}
	group.Wait()
	for _, w := range all {
		report.Results = append(report.Results, w.results...)
		if lack := w.shown.lacks(w.book, c.Actions); lack != "" && len(report.Mistakes) == 0 {
			report.Untested = append(report.Untested, Result{File: w.book.File, Line: 1, Playbook: w.book.Name, Problem: lack})
		}
	}
	return report
}

// prepare holds all tests against their playbooks. What is wrong is in the report.
func (c *Content) prepare(report *Report) []*work {
	var all []*work
	for _, book := range c.Playbooks {
		all = append(all, &work{book: book, shown: shown{steps: map[string]bool{}}})
	}
	for _, suite := range c.Suites {
		same := func(w *work) bool { return beside(w.book.File) == beside(suite.File) }
		at := slices.IndexFunc(all, same)
		if at < 0 {
			report.Mistakes = append(report.Mistakes, suite.doc.Errorf("playbook", "there is no playbook in %s.yaml", beside(suite.File)))
			continue
		}
		w := all[at]
		if suite.Playbook != w.book.Name {
			hint := fmt.Sprintf("the playbook in %s is called %q, not %q", w.book.File, w.book.Name, suite.Playbook)
			report.Mistakes = append(report.Mistakes, suite.doc.Errorf("playbook", "%s", hint))
			continue
		}
		h := newHolder(suite, w.book, c.Actions)
		for _, t := range suite.Tests {
			one := h.hold(t)
			c.bring(h, one)
			w.tests = append(w.tests, one)
		}
		if len(h.errs) > 0 {
			report.Mistakes = append(report.Mistakes, h.errs...)
			w.tests = nil
		}
	}
	return all
}

// bring gets what a test begins with from outside of it: its file, the playbook that calls it.
func (c *Content) bring(h *holder, one *held) {
	if one.File != "" {
		text, err := c.File(h.suite.File, one.File)
		if err != nil {
			h.fail(one.Test, "file", "%s", err)
		}
		one.raws = [][]byte{text}
	}
	if one.Inputs == nil || len(h.book.Findings) > 0 {
		return
	}
	var err error
	if one.book, err = calling(h.book, c.Library, one.Inputs); err != nil {
		h.fail(one.Test, "inputs", "%s", err)
		return
	}
	specs := make([]action.Spec, 0, len(c.Actions))
	for _, a := range c.Actions {
		specs = append(specs, a.Spec())
	}
	for _, wrong := range document.Errors(playbook.Check(one.book, playbook.Installation{Actions: specs})) {
		h.fail(one.Test, "inputs", "%s: %s", wrong.Key, wrong.Reason)
	}
}

// play plays the tests of one playbook.
func (c *Content) play(ctx context.Context, w *work) {
	stage := newTheatre(c.Actions)
	for _, test := range w.tests {
		result := Result{File: test.At.File, Line: test.At.Line, Case: test.Name, Playbook: w.book.Name}
		problem, got := c.one(ctx, stage, test)
		result.Problem = problem
		w.shown.add(got)
		w.results = append(w.results, result)
	}
}

// one plays one test, again with accidents. It gives what is wrong, and what the undisturbed telling came to.
func (c *Content) one(ctx context.Context, stage *theatre, test *held) (string, *outcome) {
	f, problem := c.finding(ctx, test)
	if problem != "" {
		return problem, nil
	}
	got, err := stage.tell(ctx, test, f, accident{})
	if err != nil {
		return "it could not be played: " + err.Error(), got
	}
	if wrong := append(judge(test, got), lacking(stage.account)...); len(wrong) > 0 {
		return strings.TrimSuffix(strings.Join(append(wrong, got.story()), "\n"), "\n"), got
	}
	if c.Fast || test.NoCrashes != "" || !got.started {
		return "", got
	}
	want := got.likeness()
	for _, happens := range accidents(got.commits) {
		again, err := stage.tell(ctx, test, f, happens)
		if err != nil {
			return fmt.Sprintf("with a crash %s it could not be played: %v", happens, err), got
		}
		if is := again.likeness(); is != want {
			return fmt.Sprintf("with a crash %s it comes to something else\n%s\n%s", happens,
				difference("all", strings.Split(want, "\n"), strings.Split(is, "\n")), again.story()), got
		}
	}
	return "", got
}

func lacking(a *account) []string {
	var all []string
	for _, what := range a.lacking {
		all = append(all, "the test doesn't say "+what)
	}
	return all
}

// accidents are those with which a test of so many commits is told again.
func accidents(commits int) []accident {
	var all []accident
	for at := 1; at <= commits; at++ {
		all = append(all, accident{at, false}, accident{at, true})
	}
	if len(all) <= mostAccidents {
		return all
	}
	some := make([]accident, 0, mostAccidents)
	for i := range mostAccidents {
		some = append(some, all[i*len(all)/mostAccidents])
	}
	return some
}

// finding gives what a test begins with, or why it can't begin.
func (c *Content) finding(ctx context.Context, test *held) (finding.Finding, string) {
	if test.Finding != nil {
		return test.Finding.finding(start), ""
	}
	if test.Inputs != nil {
		return (&found{Type: "test", Title: "A test"}).finding(start), ""
	}
	all, err := c.Detect(test.raws)
	if err != nil {
		return finding.Finding{}, "the event can't be read: " + err.Error()
	}
	var types []string
	for i := range all {
		f := &all[i]
		types = append(types, f.Type)
		if answers, err := test.book.Answers(ctx, f.Type, expr.Scope{expr.Finding: expr.ViewFinding(f)}); err == nil && answers {
			return *f, ""
		}
	}
	if len(all) == 0 {
		return finding.Finding{Type: "nothing", LastSeen: time.Time{}}, orStarts(test, "no rule finds anything in the event")
	}
	if test.Expect.Starts != nil && !*test.Expect.Starts {
		return all[0], ""
	}
	return all[0], "the playbook answers none of the findings in the event: " + strings.Join(types, ", ")
}

// orStarts is a problem unless nothing must start.
func orStarts(test *held, problem string) string {
	if test.Expect.Starts != nil && !*test.Expect.Starts {
		return ""
	}
	return problem
}

func (s *shown) add(got *outcome) {
	switch {
	case got == nil:
		return
	case !got.started:
		s.lets = true
		return
	}
	s.succeeds = s.succeeds || got.run.State == run.Succeeded
	for _, step := range got.steps {
		if step.State == run.Done {
			s.steps[plain(step.ID)] = true
		}
	}
}

// lacks tells what no test shows of a playbook, "" if nothing is lacking.
func (s *shown) lacks(book *playbook.Playbook, actions []action.Action) string {
	var lack []string
	if !s.succeeds {
		lack = append(lack, "no test shows the playbook to succeed")
	}
	if book.If != nil && !s.lets {
		lack = append(lack, "no test shows what its condition leaves alone (expect: {starts: false})")
	}
	if !s.succeeds && !s.lets {
		return "the playbook has no test"
	}
	changes := func(name string) bool {
		return slices.ContainsFunc(actions, func(a action.Action) bool {
			return a.Spec().Name == name && a.Spec().Effect.Changes()
		})
	}
	book.Walk(func(step *playbook.Step) {
		if changes(step.Action) && !s.steps[step.ID] {
			lack = append(lack, "no test carries out step "+step.ID)
		}
	})
	return strings.Join(lack, "; ")
}

// Read adds the files of tests below a folder, or one file. Files are called by their path after the prefix.
func Read(files fs.FS, root, prefix string) ([]*Suite, error) {
	var all []*Suite
	var errs []error
	err := fs.WalkDir(files, root, func(file string, entry fs.DirEntry, err error) error {
		hidden := file != root && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err == nil && entry.IsDir() && hidden:
			return fs.SkipDir
		case err != nil || entry.IsDir() || hidden:
			return err
		}
		if ext := path.Ext(file); ext != ".yaml" && ext != ".yml" || !strings.HasSuffix(strings.TrimSuffix(file, ext), "_test") {
			return nil
		}
		text, err := fs.ReadFile(files, file)
		if err != nil || !IsTest(file, text) {
			return err
		}
		suite, err := Parse(prefix+file, text)
		if errs = append(errs, err); err == nil {
			all = append(all, suite)
		}
		return nil
	})
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, fmt.Errorf("read %s%s: %w", prefix, root, err))
	}
	return all, errors.Join(errs...)
}
