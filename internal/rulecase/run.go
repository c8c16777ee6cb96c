package rulecase

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/sigma"
)

// mostReasons is how many fields are told of a match that should not be.
const mostReasons = 8

// Run holds each test against its rule, and gives those that fail. A test's rule is in the file beside it, so
// rules must have been parsed under the same paths.
func Run(cases []Case, rules []*sigma.Rule) []Result {
	c := Content{Collection: sigma.Collection{Rules: rules}, Cases: cases}
	return c.Test().Failed()
}

// Untested tells which rules no test shows to match, or not to match.
func Untested(cases []Case, rules []*sigma.Rule) []Result {
	c := Content{Collection: sigma.Collection{Rules: rules}, Cases: cases}
	return c.Test().Untested
}

// subject is what a test is of. One of the three is set.
type subject struct {
	rule        *sigma.Rule
	correlation *sigma.Correlation
	filter      *sigma.Filter
}

func (s subject) header() *sigma.Header {
	switch {
	case s.rule != nil:
		return &s.rule.Header
	case s.correlation != nil:
		return &s.correlation.Header
	}
	return &s.filter.Header
}

// trial is one run of all tests.
type trial struct {
	content *Content
	beside  map[string][]subject // by the file that they are in, named without its ending
	linked  *sigma.Linked        // without filters: they are of an installation, and tests of the rule
	shown   map[*sigma.Header]shown
}

// Test holds each case against its rule, correlation or filters. What correlations and filters refer to and
// isn't there is told among the failures of their cases, and by [Content.Link].
func (c *Content) Test() Report {
	t := &trial{content: c, beside: map[string][]subject{}, shown: map[*sigma.Header]shown{}}
	all := c.subjects()
	for _, s := range all {
		stem := beside(s.header().File)
		t.beside[stem] = append(t.beside[stem], s)
	}
	plain := c.linkable()
	plain.Filters = nil
	t.linked, _ = plain.Link(time.Time{}) // what is wrong, Link tells
	report := Report{Results: make([]Result, 0, len(c.Cases))}
	for _, one := range c.Cases {
		report.Results = append(report.Results, t.test(one))
	}
	for _, s := range all {
		h := s.header()
		if lack := t.shown[h].lacks(s); lack != "" {
			report.Untested = append(report.Untested, Result{File: h.File, Line: h.Line, Rule: h.Title, Problem: lack})
		}
	}
	return report
}

// Link tells which references of correlations and filters lead nowhere.
func (c *Content) Link() []Result {
	all := c.linkable()
	_, err := all.Link(time.Time{})
	var mistakes []Result
	for _, wrong := range mistakesOf("", err) {
		mine := func(s subject) bool { return s.header().File == wrong.File }
		if slices.ContainsFunc(c.subjects(), mine) {
			mistakes = append(mistakes, wrong)
		}
	}
	return mistakes
}

// subjects lists what can be tested.
func (c *Content) subjects() []subject {
	var all []subject
	for _, r := range c.Rules {
		all = append(all, subject{rule: r})
	}
	for _, one := range c.Correlations {
		all = append(all, subject{correlation: one})
	}
	for _, f := range c.Filters {
		all = append(all, subject{filter: f})
	}
	return all
}

// linkable is the content and, of the library, what the content doesn't have itself.
func (c *Content) linkable() sigma.Collection {
	taken := map[string]bool{}
	for _, s := range c.subjects() {
		for _, key := range keysOf(s.header()) {
			taken[key] = true
		}
	}
	free := func(h *sigma.Header) bool {
		return !slices.ContainsFunc(keysOf(h), func(key string) bool { return taken[key] })
	}
	var all sigma.Collection
	all.Add(c.Collection)
	for _, r := range c.Library.Rules {
		if free(&r.Header) {
			all.Rules = append(all.Rules, r)
		}
	}
	for _, one := range c.Library.Correlations {
		if free(&one.Header) {
			all.Correlations = append(all.Correlations, one)
		}
	}
	return all
}

// keysOf are the texts by which others refer to a rule, and by which it is the same as another.
func keysOf(h *sigma.Header) []string {
	var keys []string
	for _, key := range []string{h.ID, h.Name, ownName(h)} {
		if key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// test holds one case against what it is of.
func (t *trial) test(c Case) Result {
	result := Result{File: c.At.File, Line: c.At.Line, Case: c.Name}
	s, err := t.choose(c)
	if err != nil {
		result.Problem = err.Error()
		return result
	}
	result.Rule = s.header().Title
	switch {
	case s.correlation != nil:
		result.Problem = t.correlate(c, s.correlation)
	case s.filter != nil:
		result.Problem = t.filter(c)
	default:
		result.Problem = try(c, s.rule)
	}
	if s.filter == nil {
		t.shown[s.header()] = t.shown[s.header()].with(c.Match)
	}
	return result
}

// choose finds what a test is of, in the file beside it: among the correlations if the test has several
// events, or else among the rules, unless it says which one is meant.
func (t *trial) choose(c Case) (subject, error) {
	there := t.beside[beside(c.At.File)]
	if len(there) == 0 {
		return subject{}, errors.New("there is no rule in " + beside(c.At.File) + ".yaml")
	}
	if at := slices.IndexFunc(there, func(s subject) bool { return s.filter != nil }); at >= 0 && t.isOfFilters(c, there) {
		return there[at], nil
	}
	if c.Rule != "" {
		for _, s := range there {
			if called(s.header(), c.Rule) {
				return s, s.takes(c)
			}
		}
		return subject{}, fmt.Errorf("the file beside holds no rule with the title, name or ID %q", c.Rule)
	}
	fits := func(s subject) bool { return (s.correlation != nil) == (len(c.Events) > 0) && s.filter == nil }
	first := slices.IndexFunc(there, fits)
	switch {
	case first < 0 && len(c.Events) > 0:
		return subject{}, errors.New("events are for a correlation, and the file beside holds none; a rule is asked of one event")
	case first < 0:
		return subject{}, errors.New("say which correlation is meant, by rule: and its title; the file beside holds no plain rule")
	case slices.ContainsFunc(there[first+1:], fits):
		return subject{}, errors.New("say which rule is meant, by rule: and its title; the file beside holds several")
	}
	return there[first], nil
}

// takes refuses a test of several events for what looks at one.
func (s subject) takes(c Case) error {
	if s.rule != nil && len(c.Events) > 0 {
		return fmt.Errorf("events are for a correlation; the rule %q is asked of one event", s.rule.Title)
	}
	return nil
}

// called reports whether a text means a rule: by title, ID or one of its names.
func called(h *sigma.Header, text string) bool {
	return text == h.Title || slices.Contains(keysOf(h), text)
}

// ownName is what playbooks call a rule, riposte.name; "" if it says none.
func ownName(h *sigma.Header) string {
	riposte, _ := h.Custom["riposte"].(map[string]any)
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
