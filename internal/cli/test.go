package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/rulecase"
)

// tested is what `riposte test` found out.
type tested struct {
	OK    bool `json:"ok"`
	Rules int  `json:"rules"`
	// Correlations and Filters are counted by themselves.
	Correlations int `json:"correlations"`
	Filters      int `json:"filters"`
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
	Kind   string `json:"kind"` // what is tested: rule
	Passed bool   `json:"passed"`
	rulecase.Result
}

func (r *root) test() *cobra.Command {
	var verbose, allowUntested bool
	var junit string
	c := &cobra.Command{
		Use: "test [PATH...]", Short: "Run the tests beside rules",
		Long: "Holds every rule, correlation and filter against the tests beside it: those of x.yaml are in x_test.yaml, each an event,\n" +
			"or events, and what must be said of it. One that no test shows to match, or none to let pass, fails too. The events\n" +
			"of a correlation's test also come backward, shuffled and twice, and must give the same.\n\n" +
			"Without a path, the shipped rules and those that the configuration (--config) names are tested; with paths, those\n" +
			"files and folders. Exits with 3 if something fails. docs/detection-as-code.md shows how to run it in CI.",
		Example: "  riposte test rules/\n" +
			"  riposte test rules/stopped.yaml --verbose\n" +
			"  riposte test rules/ --junit report.xml\n" +
			"  riposte test --config riposte.yaml --json",
		RunE: func(_ *cobra.Command, paths []string) error {
			report, err := r.tests(paths)
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
	c.Flags().BoolVar(&allowUntested, "allow-untested", false, "let rules without enough tests pass; they are told all the same")
	completeFiles(c, "junit", "xml")
	return c
}

// tests runs the tests of the rules at paths, or of those that the configuration names.
func (r *root) tests(paths []string) (*tested, error) {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return nil, err
	}
	read, err := app.Rules(settings.Content, paths)
	if err != nil {
		return nil, err
	}
	did := read.Test()
	t := &tested{
		Rules: len(read.Rules), Correlations: len(read.Correlations), Filters: len(read.Filters), Tests: len(did.Results),
		Results: make([]outcome, 0, len(did.Results)), Untested: append([]rulecase.Result{}, did.Untested...),
		Mistakes: append(append([]rulecase.Result{}, read.Mistakes...), read.Link()...), others: read.Others,
	}
	for _, passed := range []bool{false, true} {
		for _, one := range did.Results {
			if one.Passed() == passed {
				t.Results = append(t.Results, outcome{Kind: "rule", Passed: passed, Result: one})
			}
		}
		if !passed {
			t.Failed = len(t.Results)
		}
	}
	t.Passed = t.Tests - t.Failed
	return t, nil
}

// tested writes a report for people: what failed first, the sum last.
func (r *root) tested(t *tested, verbose bool) {
	for _, wrong := range t.Mistakes {
		r.line("unreadable  %s", flat(wrong.String()))
	}
	for _, one := range t.Results {
		switch {
		case !one.Passed:
			r.line("failed      %s", flat(one.String()))
		case verbose:
			r.line("passed      %s", flat(one.String()))
		}
	}
	for _, lacking := range t.Untested {
		r.line("untested    %s", flat(lacking.String()))
	}
	if verbose {
		for _, other := range t.others {
			r.line("passed over %s: it holds no rules", flat(other))
		}
	}
	r.line("%s", t.sum())
}

func (t *tested) sum() string {
	text := count(t.Rules, "rule")
	if t.Correlations > 0 {
		text += ", " + count(t.Correlations, "correlation")
	}
	if t.Filters > 0 {
		text += ", " + count(t.Filters, "filter")
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
