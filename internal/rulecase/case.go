// Package rulecase runs the tests that stand beside rules.
package rulecase

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
)

// marks are how files of tests end: those of rule.yaml are in rule_test.yaml.
var marks = []string{"_test.yaml", "_test.yml"} //nolint:gochecknoglobals // a constant

// Case is one test: an event and whether a rule must find it, or events and whether a correlation must.
type Case struct {
	Name  string
	Match bool
	// Rule is the title, the ID or the riposte.name of the rule or correlation that is meant; "" where the
	// file beside holds only one of the kind.
	Rule string
	// Event is the record, as JSON; nil where the case has Events.
	Event []byte
	// Events are those of a correlation's case, as written: their times need not be in order.
	Events []Timed
	At     document.Pos
}

// IsTest reports whether a file holds tests of rules, and no rules.
func IsTest(file string) bool {
	for _, mark := range marks {
		if strings.HasSuffix(file, mark) {
			return true
		}
	}
	return false
}

// Load reads all tests in a folder and those below it, in the order of their files' names. The mistakes of
// all files are told at once, by file, line and key; they are of kind fault.Invalid.
func Load(files fs.FS, dir string) ([]Case, error) {
	var all []Case
	var mistakes []error
	err := fs.WalkDir(files, dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !IsTest(file) {
			return err
		}
		text, err := fs.ReadFile(files, file)
		if err != nil {
			return err
		}
		cases, err := Parse(file, text)
		all, mistakes = append(all, cases...), append(mistakes, err)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tests of rules: %w", err)
	}
	return all, fault.Wrap(fault.Invalid, errors.Join(mistakes...))
}

// Parse reads one file of tests. Its mistakes are told at once and are of kind fault.Invalid.
func Parse(file string, text []byte) ([]Case, error) {
	doc, err := document.Parse(file, text)
	if err != nil {
		return nil, err
	}
	var cases []Case
	if err := doc.Decode(&cases); err != nil {
		return nil, err
	}
	names := make(map[string]int, len(cases))
	var mistakes []error
	for i, c := range cases {
		if line, twice := names[c.Name]; twice {
			mistakes = append(mistakes, doc.Errorf(document.At("", i)+".name", "%q is the name of the test at line %d, too", c.Name, line))
		}
		names[c.Name] = c.At.Line
	}
	return cases, errors.Join(mistakes...)
}

// written is a case as people write it.
type written struct {
	Name   string
	Match  *bool
	Rule   string
	Event  map[string]any
	Events []step
}

// UnmarshalDocument reads one case.
func (c *Case) UnmarshalDocument(n document.Node) error {
	var w written
	if err := n.Decode(&w); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(w.Name) == "":
		return n.Errorf("a test needs a name")
	case w.Match == nil:
		return n.Errorf("say whether the rule must match: match: true or match: false")
	case len(w.Event) == 0 && len(w.Events) == 0:
		return n.Errorf("a test needs an event, or events if it is a correlation's")
	}
	*c = Case{Name: w.Name, Match: *w.Match, Rule: w.Rule, At: n.Pos()}
	var err error
	if len(w.Events) > 0 {
		c.Events, err = timed(w.Event, w.Events)
		return err
	}
	if c.Event, err = json.Marshal(w.Event); err != nil {
		return n.Errorf("the event can't be written as JSON: %s", err)
	}
	return nil
}

// beside gives the file of rules that a file of tests, or of rules, belongs to, without its ending.
func beside(file string) string {
	for _, mark := range marks {
		if stem, ok := strings.CutSuffix(file, mark); ok {
			return stem
		}
	}
	return strings.TrimSuffix(file, path.Ext(file))
}
