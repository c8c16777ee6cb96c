package rulecase

import (
	"fmt"
	"strings"

	"github.com/riposte-sec/riposte/sigma"
)

// mostReasons is how many fields are told of a match that should not be.
const mostReasons = 8

// Run holds each test against its rule, and gives those that fail. A test's rule is in the file beside it, so
// rules must have been parsed under the same paths.
func Run(cases []Case, rules []*sigma.Rule) []Result {
	c := Content{Rules: rules, Cases: cases}
	return c.Test().Failed()
}

// Untested tells which rules no test shows to match, or not to match.
func Untested(cases []Case, rules []*sigma.Rule) []Result {
	c := Content{Rules: rules, Cases: cases}
	return c.Test().Untested
}

// Test holds each case against its rule.
func (c *Content) Test() Report {
	byFile := group(c.Rules)
	seen := make(map[*sigma.Rule]shown, len(c.Rules))
	report := Report{Results: make([]Result, 0, len(c.Cases))}
	for _, one := range c.Cases {
		result := Result{File: one.At.File, Line: one.At.Line, Case: one.Name}
		rule, problem := choose(one, byFile[beside(one.At.File)])
		if problem == "" {
			result.Rule = rule.Title
			seen[rule] = seen[rule].with(one.Match)
			problem = try(one, rule)
		}
		result.Problem = problem
		report.Results = append(report.Results, result)
	}
	for _, r := range c.Rules {
		if lack := seen[r].lacks(); lack != "" {
			report.Untested = append(report.Untested, Result{File: r.File, Line: r.Line, Rule: r.Title, Problem: lack})
		}
	}
	return report
}

// shown is what tests show of a rule.
type shown struct{ matches, passes bool }

func (s shown) with(match bool) shown {
	return shown{matches: s.matches || match, passes: s.passes || !match}
}

// lacks tells what no test shows, "" if nothing is lacking.
func (s shown) lacks() string {
	switch {
	case !s.matches && !s.passes:
		return "the rule has no test"
	case !s.matches:
		return "no test shows what the rule finds"
	case !s.passes:
		return "no test shows what the rule lets pass"
	}
	return ""
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
		if c.Rule == r.ID || c.Rule == r.Title || c.Rule == ownName(r.Custom) {
			return r, ""
		}
	}
	return nil, fmt.Sprintf("the file beside holds no rule with the title or ID %q", c.Rule)
}

// ownName is what playbooks call a rule, riposte.name; "" if it says none.
func ownName(custom map[string]any) string {
	riposte, _ := custom["riposte"].(map[string]any)
	name, _ := riposte["name"].(string)
	return name
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

// reasons lists the first fields that made a rule match.
func reasons(m sigma.Match) string {
	var fields []string
	for _, f := range m.Fields[:min(len(m.Fields), mostReasons)] {
		fields = append(fields, fmt.Sprintf("%s=%q", f.Field, f.Value))
	}
	if more := len(m.Fields) - mostReasons; more > 0 {
		fields = append(fields, fmt.Sprintf("and %d more", more))
	}
	if len(fields) == 0 {
		return "what the event lacks"
	}
	return strings.Join(fields, ", ")
}
