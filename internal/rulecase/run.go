package rulecase

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/sigma"
)

// Failure is one thing wrong between rules and their tests.
type Failure struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Case    string `json:"case,omitempty"` // the test's name; "" where a rule lacks tests
	Rule    string `json:"rule,omitempty"` // the rule's title
	Problem string `json:"problem"`
}

// String names file, line, test and problem.
func (f Failure) String() string {
	place := f.File
	if f.Line > 0 {
		place += ":" + strconv.Itoa(f.Line)
	}
	if f.Case != "" {
		place += ": " + strconv.Quote(f.Case)
	}
	return place + ": " + f.Problem
}

// Run holds each test against its rule, and tells what isn't as it should be. A test's rule is in the file
// beside it, so rules must have been parsed under the same paths.
func Run(cases []Case, rules []*sigma.Rule) []Failure {
	byFile := group(rules)
	var failures []Failure
	for _, c := range cases {
		rule, problem := choose(c, byFile[beside(c.At.File)])
		title := ""
		if problem == "" {
			title, problem = rule.Title, try(c, rule)
		}
		if problem != "" {
			failures = append(failures, Failure{File: c.At.File, Line: c.At.Line, Case: c.Name, Rule: title, Problem: problem})
		}
	}
	return failures
}

// Untested tells which rules no test shows to match, or not to match.
func Untested(cases []Case, rules []*sigma.Rule) []Failure {
	byFile := group(rules)
	shown := make(map[*sigma.Rule][2]bool, len(rules))
	for _, c := range cases {
		if rule, problem := choose(c, byFile[beside(c.At.File)]); problem == "" {
			s := shown[rule]
			if c.Match {
				s[0] = true
			} else {
				s[1] = true
			}
			shown[rule] = s
		}
	}
	var failures []Failure
	for _, r := range rules {
		s := shown[r]
		var missing string
		switch {
		case !s[0] && !s[1]:
			missing = "the rule has no test"
		case !s[0]:
			missing = "no test shows what the rule finds"
		case !s[1]:
			missing = "no test shows what the rule lets pass"
		default:
			continue
		}
		failures = append(failures, Failure{File: r.File, Line: r.Line, Rule: r.Title, Problem: missing})
	}
	return failures
}

// group sorts rules by their file, named without its ending.
func group(rules []*sigma.Rule) map[string][]*sigma.Rule {
	byFile := make(map[string][]*sigma.Rule, len(rules))
	for _, r := range rules {
		stem := beside(r.File)
		byFile[stem] = append(byFile[stem], r)
	}
	return byFile
}

// choose finds the rule that a test is of, among those of the file beside it.
func choose(c Case, rules []*sigma.Rule) (rule *sigma.Rule, problem string) {
	switch {
	case len(rules) == 0:
		return nil, "there is no rule in " + beside(c.At.File) + ".yaml"
	case c.Rule == "" && len(rules) == 1:
		return rules[0], ""
	case c.Rule == "":
		return nil, "say which rule is meant, by rule: and its title; the file beside holds several"
	}
	for _, r := range rules {
		if c.Rule == r.ID || c.Rule == r.Title {
			return r, ""
		}
	}
	return nil, fmt.Sprintf("the file beside holds no rule with the title or ID %q", c.Rule)
}

// try gives what is wrong with a rule's answer to an event, "" if nothing is.
func try(c Case, rule *sigma.Rule) string {
	event, err := sigma.ParseEvent(c.Event)
	if err != nil {
		return err.Error()
	}
	match, found := rule.Match(event)
	switch {
	case found == c.Match:
		return ""
	case found:
		return "the rule must not match, but does, by " + reasons(match)
	default:
		return "the rule must match, but doesn't"
	}
}

// reasons lists the fields that made a rule match.
func reasons(m sigma.Match) string {
	var fields []string
	for _, f := range m.Fields {
		fields = append(fields, fmt.Sprintf("%s=%q", f.Field, f.Value))
	}
	if len(fields) == 0 {
		return "what the event lacks"
	}
	return strings.Join(fields, ", ")
}
