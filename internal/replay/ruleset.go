package replay

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/sigma"
)

const (
	// mostMatched is how many fields a sample tells.
	mostMatched = 5
	// mostEvidence is how many events a correlation's sample tells.
	mostEvidence = 5
)

// Source is what Sigma calls the source of an event, and the event as rules read it. Where the source is empty,
// no rule is asked.
type Source func(ev event.Event) (source sigma.LogSource, text []byte)

// Rule is a rule or a correlation as reports tell it.
type Rule struct {
	Name        string           `json:"name"`
	ID          string           `json:"id,omitempty"`
	Title       string           `json:"title"`
	Severity    finding.Severity `json:"severity"`
	Correlation bool             `json:"correlation,omitempty"`
	File        string           `json:"file"`
	Line        int              `json:"line"`

	hash string
}

// Sample is something that a rule finds: an event, or for a correlation several. All of it may be written by
// an attacker.
type Sample struct {
	Time    time.Time         `json:"time"`
	Origin  string            `json:"origin,omitempty"`
	Account string            `json:"account,omitempty"`
	Region  string            `json:"region,omitempty"`
	Event   string            `json:"event,omitempty"`
	Actor   string            `json:"actor,omitempty"`
	Matched []finding.Matched `json:"matched,omitempty"` // of a correlation: what its events have in common
	// Until, Count and Events are a correlation's: the last end of its windows, how many events they hold, and
	// the keys of the first.
	Until  time.Time `json:"until,omitzero"`
	Count  int       `json:"count,omitempty"`
	Events []string  `json:"events,omitempty"`
}

// Ruleset is rules and correlations that are asked of events, which may come in any order. It is for one
// goroutine and one pass.
type Ruleset struct {
	engine     *sigma.Engine
	linked     *sigma.Linked
	source     Source
	rules      map[*sigma.Rule]*Rule
	order      []*Rule
	correlates map[string]*Rule // correlations by key
	correlator *sigma.Correlator
	pending    map[string]found // what correlations found, by the alert's key
}

// NewRuleset makes a set of what a linked collection holds, which name gives names to. Two rules of one ID are
// refused.
func NewRuleset(linked *sigma.Linked, name func(*sigma.Header) string, source Source) (*Ruleset, error) {
	engine, err := sigma.Compile(linked.Rules)
	if err != nil {
		return nil, fmt.Errorf("load rules: %w", err)
	}
	s := &Ruleset{
		engine: engine, linked: linked, source: source, rules: make(map[*sigma.Rule]*Rule, len(linked.Rules)), correlates: map[string]*Rule{},
		pending: map[string]found{},
	}
	told := func(h *sigma.Header) *Rule {
		one := &Rule{Name: name(h), ID: h.ID, Title: h.Title, Severity: severity(h.Level), File: h.File, Line: h.Line, hash: h.Hash}
		s.order = append(s.order, one)
		return one
	}
	for _, r := range linked.Rules {
		s.rules[r] = told(&r.Header)
	}
	for _, c := range linked.Correlations {
		one := told(&c.Header)
		one.Correlation = true
		s.correlates[c.Key()] = one
	}
	if len(linked.Correlations) > 0 {
		s.correlator = sigma.NewCorrelator(linked, sigma.CorrelatorOptions{Lateness: sigma.Unbounded})
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

// Rules lists the rules and correlations in the order in which they were given.
func (s *Ruleset) Rules() []*Rule { return s.order }

// found is what a rule or a correlation found.
type found struct {
	rule   *Rule
	sample Sample
	group  string    // of a correlation
	from   time.Time // the first event of a correlation's windows
}

// ask gives what the rules find in an event, and whether any was asked. What correlations find is given at the
// end.
func (s *Ruleset) ask(ev event.Event) (all []found, asked bool, err error) {
	source, text := s.source(ev)
	if source == (sigma.LogSource{}) {
		return nil, false, nil
	}
	hits, err := s.engine.Evaluate(text, source.Product, source.Service, source.Category)
	if err != nil {
		return nil, true, err
	}
	observed := hits[:0:0]
	for _, hit := range hits {
		if !hit.Rule.Quiet {
			all = append(all, found{rule: s.rules[hit.Rule], sample: sampleOf(ev, hit.Match)})
		}
		if s.linked.Observed(hit.Rule) {
			observed = append(observed, hit)
		}
	}
	if len(observed) > 0 {
		record, err := sigma.ParseEvent(text)
		if err != nil {
			return nil, true, err
		}
		s.keep(s.correlator.Observe(observed, record, cmp.Or(ev.Key, ev.Origin), ev.Time))
	}
	return all, true, nil
}

// keep remembers what correlations found. What is told of an alert later replaces what was told of it before.
func (s *Ruleset) keep(alerts []sigma.Alert) {
	for i := range alerts {
		if a := &alerts[i]; !a.Correlation.Quiet {
			s.pending[a.Key()] = found{rule: s.correlates[a.Correlation.Key()], sample: correlated(a), group: a.Group, from: a.From}
		}
	}
}

// end gives what correlations found, when all events have come, by time.
func (s *Ruleset) end() []found {
	if s.correlator != nil {
		s.keep(s.correlator.Flush())
	}
	all := make([]found, 0, len(s.pending))
	for _, key := range slices.Sorted(maps.Keys(s.pending)) {
		all = append(all, s.pending[key])
	}
	slices.SortStableFunc(all, func(a, b found) int { return a.sample.Time.Compare(b.sample.Time) })
	return all
}

// forgotten counts what correlations had to leave out, since there was too much to be kept.
func (s *Ruleset) forgotten() int {
	if s.correlator == nil {
		return 0
	}
	stats := s.correlator.Stats()
	return stats.Dropped + stats.Evicted + stats.Late
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

// correlated is the sample of a correlation's alert.
func correlated(a *sigma.Alert) Sample {
	sample := Sample{Time: a.At, Until: a.To, Count: a.Count}
	for _, name := range slices.Sorted(maps.Keys(a.Values)) {
		if len(sample.Matched) < mostMatched {
			sample.Matched = append(sample.Matched, finding.Matched{Field: name, Value: a.Values[name]})
		}
	}
	for _, e := range a.Events[:min(len(a.Events), mostEvidence)] {
		sample.Events = append(sample.Events, e.Event)
	}
	return sample
}
