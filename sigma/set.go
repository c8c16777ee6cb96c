package sigma

import (
	"errors"
	"fmt"
	"slices"
)

// Set is many rules, ready to be evaluated together.
type Set struct {
	rules   []*Rule
	sources []source
}

// Hit is one rule that matched an event.
type Hit struct {
	Rule  *Rule
	Match Match
}

// source is the rules of one log source.
type source struct {
	logSource LogSource
	index     index
}

// NewSet makes a set of rules. Two with the same ID are refused.
func NewSet(rules []*Rule) (*Set, error) {
	var mistakes []error
	byID := make(map[string]*Rule, len(rules))
	for _, r := range rules {
		if r.ID == "" {
			continue
		}
		if first, ok := byID[r.ID]; ok {
			mistakes = append(mistakes, &Error{
				File: r.File, Line: r.Line, Key: "id",
				Problem: fmt.Sprintf("%s is the ID of the rule at %s:%d, too", r.ID, first.File, first.Line),
			})
			continue
		}
		byID[r.ID] = r
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	s := &Set{rules: slices.Clone(rules)}
	s.route()
	return s, nil
}

// route sorts the rules by log source and indexes each.
func (s *Set) route() {
	weights := weigh(s.rules)
	var order []LogSource
	members := make(map[LogSource][]int)
	for i, r := range s.rules {
		at := r.LogSource
		at.Definition = ""
		if _, ok := members[at]; !ok {
			order = append(order, at)
		}
		members[at] = append(members[at], i)
	}
	for _, at := range order {
		s.sources = append(s.sources, source{logSource: at, index: newIndex(s.rules, members[at], weights)})
	}
}

// Rules lists the rules, in the order in which they were given.
func (s *Set) Rules() []*Rule {
	return slices.Clone(s.rules)
}

// Evaluate returns the rules that cover a source and match an event of it, in the set's order.
func (s *Set) Evaluate(e *Event, product, service, category string) []Hit {
	v := newView(e)
	var candidates []int
	for i := range s.sources {
		if s.sources[i].logSource.Covers(product, service, category) {
			candidates = s.sources[i].index.candidates(v, candidates)
		}
	}
	slices.Sort(candidates)
	var hits []Hit
	for _, i := range slices.Compact(candidates) {
		if m, ok := s.rules[i].match(v); ok {
			hits = append(hits, Hit{Rule: s.rules[i], Match: m})
		}
	}
	return hits
}
