package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playcase"
	"github.com/riposte-sec/riposte/internal/rulecase"
)

// tested is what `riposte test` found out.
type tested struct {
	OK    bool `json:"ok"`
	Rules int  `json:"rules"`
	// Correlations and Filters are counted by themselves.
	Correlations int `json:"correlations"`
	Filters      int `json:"filters"`
	Playbooks    int `json:"playbooks"`
	Tests        int `json:"tests"`
	Passed       int `json:"passed"`
	Failed       int `json:"failed"`
	// Results are those of all tests; the failed ones first.
	Results []outcome `json:"results"`
	// Untested are those that no test shows to match, or not to match.
	Untested []rulecase.Result `json:"untested"`
	// Mistakes are what of the files can't be read.
	Mistakes []rulecase.Result `json:"mistakes"`

	others        []string
	allowUntested bool
}

// outcome is one test's, of whatever kind.
type outcome struct {
	Kind   string `json:"kind"` // what is tested: rule, playbook
	Passed bool   `json:"passed"`
	rulecase.Result
}

func (r *root) test() *cobra.Command {
	var verbose, allowUntested, fast bool
	var junit string
	c := &cobra.Command{
		Use: "test [PATH...]", Short: "Run the tests beside rules and playbooks",
		Long: "Holds every rule, correlation and filter against the tests beside it: those of x.yaml are in x_test.yaml, each an event,\n" +
			"or events, and what must be said of it. One that no test shows to match, or none to let pass, fails too. The events\n" +
			"of a correlation's test also come backward, shuffled and twice, and must give the same.\n\n" +
			"Playbooks are tested beside them, on an emulated account and in no time: what they call, in which order, whom they\n" +
			"ask and tell, that what they did can be undone; and once more with a crash at each step (--fast leaves that out).\n\n" +
			"Without a path, the shipped rules and playbooks and those that the configuration (--config) names are tested; with paths, those\n" +
			"files and folders. Exits with 3 if something fails. docs/detection-as-code.md shows how to run it in CI.",
		Example: "  riposte test rules/\n" +
			"  riposte test rules/stopped.yaml --verbose\n" +
			"  riposte test rules/ --junit report.xml\n" +
			"  riposte test --config riposte.yaml --json",
		RunE: func(c *cobra.Command, paths []string) error {
			report, err := r.tests(c.Context(), paths, fast)
			if err != nil {
				return err
			}
			report.allowUntested = allowUntested
			report.OK = report.Failed == 0 && len(report.Mistakes) == 0 && (allowUntested || len(report.Untested) == 0)
			if junit != "" {
				if err := writeJUnit(junit, report); err != nil {
					return err
				}
			}
			if err := r.show(report, func() { r.tested(report, verbose) }); err != nil {
				return err
			}
			if !report.OK {
				return errFound
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "list the tests that passed, too")
	c.Flags().StringVar(&junit, "junit", "", "write a JUnit report to this file, for CI")
	c.Flags().BoolVar(&fast, "fast", false, "play the tests of playbooks but once, without crashes")
	c.Flags().BoolVar(&allowUntested, "allow-untested", false, "let rules and playbooks without enough tests pass; they are told all the same")
	completeFiles(c, "junit", "xml")
	return c
}

// tests runs the tests of the rules and playbooks at paths, or of those that the configuration names.
func (r *root) tests(ctx context.Context, paths []string, fast bool) (*tested, error) {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return nil, err
	}
	books, err := app.Playbooks(settings, paths)
	if err != nil {
		return nil, err
	}
	t := &tested{Results: []outcome{}, Untested: []rulecase.Result{}, Mistakes: []rulecase.Result{}, Playbooks: len(books.Playbooks)}
	rules, onlyBooks := forRules(paths)
	if !onlyBooks {
		err := t.rules(settings, rules)
		if none := fault.Is(err, fault.NotFound) && len(books.Playbooks)+len(books.Suites) > 0; err != nil && !none {
			return nil, err
		}
	}
	books.Fast = fast
	t.playbooks(books.Test(ctx))
	slices.SortStableFunc(t.Results, func(a, b outcome) int {
		switch {
		case a.Passed == b.Passed:
			return 0
		case b.Passed:
			return -1
		}
		return 1
	})
	t.Tests = len(t.Results)
	for _, one := range t.Results {
		if !one.Passed {
			t.Failed++
		}
	}
	t.Passed = t.Tests - t.Failed
	return t, nil
}

// forRules gives the paths that may hold rules, and whether none of those that were given does: files of playbooks
// and of their tests.
func forRules(paths []string) (rules []string, onlyBooks bool) {
	for _, path := range paths {
		if !app.IsPlaybookFile(path) {
			rules = append(rules, path)
		}
	}
	return rules, len(paths) > 0 && len(rules) == 0
}

// rules runs the tests of rules.
func (t *tested) rules(settings app.Config, paths []string) error {
	read, err := app.Rules(settings.Content, paths)
	if err != nil {
		return err
	}
	did := read.Test()
	t.Rules, t.Correlations, t.Filters = len(read.Rules), len(read.Correlations), len(read.Filters)
	t.Untested = append(t.Untested, did.Untested...)
	t.Mistakes = append(append(t.Mistakes, read.Mistakes...), read.Link()...)
	t.others = read.Others
	for _, one := range did.Results {
		t.Results = append(t.Results, outcome{Kind: "rule", Passed: one.Passed(), Result: one})
	}
	return nil
}

// playbooks adds what came of the tests of playbooks.
func (t *tested) playbooks(did playcase.Report) {
	as := func(one playcase.Result) rulecase.Result {
		return rulecase.Result{File: one.File, Line: one.Line, Case: one.Case, Rule: one.Playbook, Problem: one.Problem}
	}
	for _, one := range did.Results {
		t.Results = append(t.Results, outcome{Kind: "playbook", Passed: one.Problem == "", Result: as(one)})
	}
	for _, one := range did.Untested {
		t.Untested = append(t.Untested, as(one))
	}
	t.Mistakes = append(t.Mistakes, rulecase.Mistakes(errors.Join(did.Mistakes...))...)
}

// tested writes a report for people: what failed first, the sum last.
func (r *root) tested(t *tested, verbose bool) {
	for _, wrong := range t.Mistakes {
		r.line("unreadable  %s", flat(wrong.String()))
	}
	for _, one := range t.Results {
		switch {
		case !one.Passed:
			r.failed(one)
		case verbose:
			r.line("passed      %s", flat(one.String()))
		}
	}
	for _, lacking := range t.Untested {
		r.line("untested    %s", flat(lacking.String()))
	}
	if verbose {
		for _, other := range t.others {
			if app.IsPlaybookFile(other) {
				continue // it was tested
			}
			r.line("passed over %s: it holds no rules", flat(other))
		}
	}
	r.line("%s", t.sum())
}

// failed writes what failed: a playbook's on several lines, indented.
func (r *root) failed(one outcome) {
	lines := strings.Split(one.String(), "\n")
	r.line("failed      %s", lines[0])
	for _, line := range lines[1:] {
		r.line("            %s", line)
	}
}

func (t *tested) sum() string {
	text := count(t.Rules, "rule")
	if t.Correlations > 0 {
		text += ", " + count(t.Correlations, "correlation")
	}
	if t.Filters > 0 {
		text += ", " + count(t.Filters, "filter")
	}
	if t.Playbooks > 0 {
		text += ", " + count(t.Playbooks, "playbook")
	}
	text += fmt.Sprintf(": %s passed, %d failed", count(t.Passed, "test"), t.Failed)
	if n := len(t.Untested); n > 0 {
		text += fmt.Sprintf("; %d without enough tests", n)
		if t.allowUntested {
			text += " (allowed)"
		}
	}
	if n := len(t.Mistakes); n > 0 {
		text += fmt.Sprintf("; %s in files", count(n, "mistake"))
	}
	return text
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// toFile writes a file that a person named, through a function.
func toFile(path string, write func(*os.File) error) (err error) {
	file, err := os.Create(filepath.Clean(path))
	if err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("write %s: %w", path, err))
	}
	defer func() {
		if closing := file.Close(); err == nil && closing != nil {
			err = fmt.Errorf("write %s: %w", path, closing)
		}
	}()
	return write(file)
}
