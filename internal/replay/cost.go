package replay

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/sigma"
)

const (
	// mostAsked and mostHeld bound the events that costs are measured with, in number and in bytes.
	mostAsked, mostHeld = 20_000, 64 << 20
	// mostPasses is how often rules are asked of all events at most.
	mostPasses = 100
)

// Asked is an event as rules read it, and what Sigma calls its source.
type Asked struct {
	Text   []byte
	Source sigma.LogSource
}

// Cost is what a rule costs, as one of many.
type Cost struct {
	*Rule
	Events     int `json:"events"`     // of the rule's log source
	Candidates int `json:"candidates"` // events of which the rule had to be evaluated
	Matches    int `json:"matches"`
	// Nanos is what the rule adds to an event of its log source, on average, in nanoseconds. What rules share is
	// charged to the first of them, what reading an event costs to none.
	Nanos float64 `json:"ns_per_event"`
	// Interpreted says that the rule is beyond what the engine compiles.
	Interpreted bool `json:"interpreted,omitempty"`

	total time.Duration // of a pass
}

// Total is what the rule costs in all of the events.
func (c *Cost) Total() time.Duration { return c.total }

// Sampled keeps the first events of logs, to measure with.
type Sampled struct {
	Records
	All []Asked

	source Source
	held   int
}

// NewSampled makes a sample of events whose sources are known by a function.
func NewSampled(source Source) *Sampled {
	return &Sampled{Records: Records{Unread: []Unread{}}, source: source}
}

// Take is an event.Sink.
func (s *Sampled) Take(_ context.Context, b event.Batch) error {
	s.letters(b.Letters)
	for _, ev := range b.Events {
		source, text := s.source(ev)
		_, err := sigma.ParseEvent(text)
		s.count(ev, source != (sigma.LogSource{}), err)
		if err == nil && source != (sigma.LogSource{}) && len(s.All) < mostAsked && s.held < mostHeld {
			s.All = append(s.All, Asked{Text: text, Source: source})
			s.held += len(text)
		}
	}
	return nil
}

// Costs asks all rules of the same events again and again, as long as going on is true, and gives what each of them
// costs, the most expensive first.
func Costs(rules []*sigma.Rule, name func(*sigma.Header) string, events []Asked, goingOn func() bool) ([]Cost, error) {
	engine, err := sigma.Compile(rules)
	if err != nil {
		return nil, fmt.Errorf("load rules: %w", err)
	}
	scanner := engine.Scanner()
	scanner.Measure(true)
	passes := 0
	for passes == 0 || passes < mostPasses && goingOn() {
		for _, a := range events {
			if _, err := scanner.Scan(a.Text, a.Source.Product, a.Source.Service, a.Source.Category); err != nil {
				return nil, fmt.Errorf("read event: %w", err)
			}
		}
		passes++
	}
	measured := map[*sigma.Rule]sigma.Cost{}
	for _, c := range scanner.Costs() {
		measured[c.Rule] = c
	}
	sources := map[sigma.LogSource]int{}
	for _, a := range events {
		sources[a.Source]++
	}
	costs := make([]Cost, 0, len(rules))
	for _, r := range rules {
		m := measured[r]
		c := Cost{
			Rule:       &Rule{Name: name(&r.Header), ID: r.ID, Title: r.Title, Severity: severity(r.Level), File: r.File, Line: r.Line},
			Candidates: m.Candidates / passes, Matches: m.Matches / passes, Interpreted: m.Interpreted, total: m.Time / time.Duration(passes),
		}
		for source, n := range sources {
			if r.LogSource.Covers(source.Product, source.Service, source.Category) {
				c.Events += n
			}
		}
		if c.Events > 0 {
			c.Nanos = float64(c.total.Nanoseconds()) / float64(c.Events)
		}
		costs = append(costs, c)
	}
	slices.SortStableFunc(costs, func(a, b Cost) int { return cmp.Or(cmp.Compare(b.Nanos, a.Nanos), cmp.Compare(a.Name, b.Name)) })
	return costs, nil
}
