package replay

import (
	"fmt"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/sigma"
)

// mostMatched is how many fields a sample tells.
const mostMatched = 5

// Source is what Sigma calls the source of an event. Where it is empty, no rule is asked.
type Source func(ev event.Event) sigma.LogSource

// Rule is a rule as reports tell it.
type Rule struct {
	Name     string           `json:"name"`
	ID       string           `json:"id,omitempty"`
	Title    string           `json:"title"`
	Severity finding.Severity `json:"severity"`
	File     string           `json:"file"`
	Line     int              `json:"line"`

	hash string
}

// Sample is one of the events that a rule finds. All of it may be written by an attacker.
type Sample struct {
	Time    time.Time         `json:"time"`
	Origin  string            `json:"origin"`
	Account string            `json:"account,omitempty"`
	Region  string            `json:"region,omitempty"`
	Event   string            `json:"event,omitempty"`
	Actor   string            `json:"actor,omitempty"`
	Matched []finding.Matched `json:"matched,omitempty"`
}

// Ruleset is rules that are asked of events.
type Ruleset struct {
	set    *sigma.Set
	source Source
	rules  map[*sigma.Rule]*Rule
	order  []*Rule
}

// NewRuleset makes a set of rules, which name gives names to. Two rules of one ID are refused.
func NewRuleset(rules []*sigma.Rule, name func(*sigma.Rule) string, source Source) (*Ruleset, error) {
	set, err := sigma.NewSet(rules)
	if err != nil {
		return nil, fmt.Errorf("load rules: %w", err)
	}
	s := &Ruleset{set: set, source: source, rules: make(map[*sigma.Rule]*Rule, len(rules))}
	for _, r := range rules {
		told := &Rule{Name: name(r), ID: r.ID, Title: r.Title, Severity: severity(r.Level), File: r.File, Line: r.Line, hash: r.Hash}
		s.rules[r] = told
		s.order = append(s.order, told)
	}
	return s, nil
}

// severity is the one that findings of a rule have: its level, or else medium.
func severity(level string) finding.Severity {
	if parsed, err := finding.ParseSeverity(level); err == nil {
		return parsed
	}
	return finding.Medium
}

// Rules lists the rules in the order in which they were given.
func (s *Ruleset) Rules() []*Rule { return s.order }

// found is what a rule found.
type found struct {
	rule   *Rule
	sample Sample
}

// ask gives what the rules find in an event, and whether any was asked.
func (s *Ruleset) ask(ev event.Event) (all []found, asked bool, err error) {
	source := s.source(ev)
	if source == (sigma.LogSource{}) {
		return nil, false, nil
	}
	record, err := sigma.ParseEvent(ev.Raw)
	if err != nil {
		return nil, true, err
	}
	for _, hit := range s.set.Evaluate(record, source.Product, source.Service, source.Category) {
		all = append(all, found{rule: s.rules[hit.Rule], sample: sampleOf(ev, hit.Match)})
	}
	return all, true, nil
}

func sampleOf(ev event.Event, m sigma.Match) Sample {
	s := Sample{Time: ev.Time, Origin: ev.Origin, Account: ev.Account, Region: ev.Region, Event: ev.Name}
	for _, e := range ev.Entities {
		if e.Part == entity.Actor {
			s.Actor = e.ID
			break
		}
	}
	for _, f := range m.Fields[:min(len(m.Fields), mostMatched)] {
		s.Matched = append(s.Matched, finding.Matched{Field: f.Field, Value: f.Value})
	}
	return s
}
