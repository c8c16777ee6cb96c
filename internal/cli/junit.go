package cli

import (
	"encoding/xml"
	"fmt"
	"os"

	"github.com/riposte-sec/riposte/internal/rulecase"
)

// The elements of a JUnit report, as GitHub, GitLab and Jenkins read it.
type (
	junitSuites struct {
		XMLName  xml.Name      `xml:"testsuites"`
		Name     string        `xml:"name,attr"`
		Tests    int           `xml:"tests,attr"`
		Failures int           `xml:"failures,attr"`
		Errors   int           `xml:"errors,attr"`
		Suites   []*junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"` // the file
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"` // the rule
		File    string        `xml:"file,attr"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitProblem `xml:"failure"`
		Error   *junitProblem `xml:"error"`
		Skipped *junitProblem `xml:"skipped"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a report as JUnit XML: a suite for each file, and in it a case for each test, for each
// rule that lacks tests, and for each thing that can't be read.
func writeJUnit(path string, t *tested) error {
	text, err := xml.MarshalIndent(junit(t), "", "  ")
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return toFile(path, func(file *os.File) error {
		_, err := fmt.Fprintf(file, "%s%s\n", xml.Header, text)
		return err
	})
}

func junit(t *tested) *junitSuites {
	all := &junitSuites{Name: "riposte test"}
	byFile := map[string]*junitSuite{}
	add := func(file string, one junitCase) {
		suite, known := byFile[file]
		if !known {
			suite = &junitSuite{Name: clean(file)}
			byFile[file] = suite
			all.Suites = append(all.Suites, suite)
		}
		suite.add(one)
	}
	for _, wrong := range t.Mistakes {
		add(wrong.File, junitCase{
			Name: "can be read", Class: clean(wrong.File), File: clean(wrong.File), Line: wrong.Line, Error: problemOf(wrong),
		})
	}
	for _, one := range t.Results {
		this := junitCase{Name: clean(one.Case), Class: clean(one.Rule), File: clean(one.File), Line: one.Line}
		if !one.Passed {
			this.Failure = problemOf(one.Result)
		}
		add(one.File, this)
	}
	for _, lacking := range t.Untested {
		this := junitCase{Name: "is tested", Class: clean(lacking.Rule), File: clean(lacking.File), Line: lacking.Line}
		if t.allowUntested {
			this.Skipped = problemOf(lacking)
		} else {
			this.Failure = problemOf(lacking)
		}
		add(lacking.File, this)
	}
	for _, suite := range all.Suites {
		all.Tests, all.Failures, all.Errors = all.Tests+suite.Tests, all.Failures+suite.Failures, all.Errors+suite.Errors
	}
	return all
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func problemOf(r rulecase.Result) *junitProblem {
	return &junitProblem{Message: clean(r.Problem), Text: clean(r.String())}
}
