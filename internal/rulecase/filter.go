package rulecase

import (
	"fmt"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/sigma"
)

// isOfFilters reports whether a test in a file beside filters is of them: it names a rule that isn't in that
// file, or the file holds nothing else.
func (t *trial) isOfFilters(c Case, there []subject) bool {
	for _, s := range there {
		if s.filter == nil && (c.Rule == "" || called(s.header(), c.Rule)) {
			return false
		}
	}
	return len(c.Events) == 0
}

// filter gives what is wrong with what the filters beside a test make of a rule's match, "" if nothing is. The
// rule must match without them; match says whether it still does with them.
func (t *trial) filter(c Case) string {
	collection := t.content.linkable()
	collection.Filters = slices.DeleteFunc(slices.Clone(t.content.Filters), func(f *sigma.Filter) bool {
		return beside(f.File) != beside(c.At.File)
	})
	linked, _ := collection.Link(time.Time{}) // what is wrong, Link tells
	filtered := slices.DeleteFunc(slices.Clone(linked.Rules), func(r *sigma.Rule) bool { return len(r.Filters) == 0 })
	if c.Rule != "" {
		filtered = slices.DeleteFunc(filtered, func(r *sigma.Rule) bool { return !called(&r.Header, c.Rule) })
	}
	switch {
	case len(filtered) == 0 && c.Rule != "":
		return fmt.Sprintf("the filters beside it concern no rule with the title, name or ID %q", c.Rule)
	case len(filtered) != 1:
		return fmt.Sprintf("say of which rule, by rule: and its title; the filters beside it concern %d", len(filtered))
	}
	return t.hide(c, filtered[0])
}

// hide holds a test against a rule with its filters.
func (t *trial) hide(c Case, rule *sigma.Rule) string {
	event, err := sigma.ParseEvent(c.Event)
	if err != nil {
		return err.Error()
	}
	if _, found := rule.Unfiltered().Match(event); !found {
		return fmt.Sprintf("the rule %q doesn't match the event without the filter either, so the test shows nothing", rule.Title)
	}
	hiding := rule.HiddenBy(event)
	switch {
	case len(hiding) == 0 && !c.Match:
		return "the filter must hide the match, but doesn't"
	case len(hiding) > 0 && c.Match:
		return fmt.Sprintf("the filter must leave the match, but %q hides it", hiding[0].Title)
	}
	concerned := hiding
	if c.Match {
		concerned = rule.Filters
	}
	for _, f := range concerned {
		t.shown[&f.Header] = t.shown[&f.Header].with(c.Match)
	}
	return ""
}
