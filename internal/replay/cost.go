package replay

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/sigma"
)

const (
	// mostAsked and mostHeld bound the events that costs are measured with, in number and in bytes.
	mostAsked, mostHeld = 20_000, 64 << 20
	// fewestPasses is how often a rule is asked of all events at least; the fastest pass counts, since what
	// slows a pass down is something else.
	fewestPasses = 3
)

// Asked is an event and what Sigma calls its source.
type Asked struct {
	Raw    []byte
	Source sigma.LogSource
}

// Cost is what asking a rule costs.
type Cost struct {
	*Rule
	Events  int `json:"events"`  // of the rule's log source
	Matches int `json:"matches"` // among them
	// Alone is what an event costs if the rule is the only one, reading included, and Reading is what it costs
	// if the rule asks for nothing that is there. Both are in nanoseconds, and zero without events.
	Alone   float64 `json:"alone_ns"`
	Reading float64 `json:"reading_ns"`
}

// Own is what the rule adds to reading, in nanoseconds an event.
func (c *Cost) Own() float64 { return max(c.Alone-c.Reading, 0) }

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
		source := s.source(ev)
		_, err := sigma.ParseEvent(ev.Raw)
		s.count(ev, source != (sigma.LogSource{}), err)
		if err == nil && source != (sigma.LogSource{}) && len(s.All) < mostAsked && s.held < mostHeld {
			s.All = append(s.All, Asked{Raw: ev.Raw, Source: source})
			s.held += len(ev.Raw)
		}
	}
	return nil
}

// Costs measures rules, each by itself, with the same events; the most expensive comes first. The clock is asked
// around each pass over the events, and a rule is given about so much time.
func Costs(rules []*sigma.Rule, name func(*sigma.Header) string, events []Asked, now func() time.Time, each time.Duration) ([]Cost, error) {
	costs := make([]Cost, 0, len(rules))
	reading := map[sigma.LogSource]float64{}
	for _, r := range rules {
		c := Cost{Rule: &Rule{Name: name(&r.Header), ID: r.ID, Title: r.Title, Severity: severity(r.Level), File: r.File, Line: r.Line}}
		mine := slices.DeleteFunc(slices.Clone(events), func(a Asked) bool {
			return !r.LogSource.Covers(a.Source.Product, a.Source.Service, a.Source.Category)
		})
		source := r.LogSource
		source.Definition = ""
		if _, known := reading[source]; !known {
			plain, err := nothing(source)
			if err != nil {
				return nil, err
			}
			if reading[source], _, err = timed(plain, mine, now, 4*each); err != nil {
				return nil, err
			}
		}
		var err error
		c.Events, c.Reading = len(mine), reading[source]
		if c.Alone, c.Matches, err = timed(r, mine, now, each); err != nil {
			return nil, err
		}
		costs = append(costs, c)
	}
	slices.SortStableFunc(costs, func(a, b Cost) int { return cmp.Compare(b.Own(), a.Own()) })
	return costs, nil
}

// nothing is a rule that asks for what no event has.
func nothing(of sigma.LogSource) (*sigma.Rule, error) {
	rules, err := sigma.Parse("nothing", []byte("title: Nothing\nlogsource: {category: any}\ndetection: {nothing: {riposte-nothing: riposte-nothing}, condition: nothing}\n"))
	if err != nil {
		return nil, err
	}
	rules[0].LogSource = of
	return rules[0], nil
}

// timed asks one rule of all events, again and again, and gives what an event costs in nanoseconds in the fastest
// pass, and how many match. It is the engine's way of asking; to measure another, this is the place.
func timed(r *sigma.Rule, events []Asked, now func() time.Time, most time.Duration) (nanos float64, matches int, err error) {
	if len(events) == 0 {
		return 0, 0, nil
	}
	engine, err := sigma.Compile([]*sigma.Rule{r})
	if err != nil {
		return 0, 0, err
	}
	scanner := engine.Scanner()
	began, fastest := now(), time.Duration(0)
	for pass := 0; pass < fewestPasses || now().Sub(began) < most; pass++ {
		from := now()
		matches = 0
		for _, a := range events {
			found, err := scanner.Scan(a.Raw, a.Source.Product, a.Source.Service, a.Source.Category)
			if err != nil {
				return 0, 0, err
			}
			matches += len(found)
		}
		if took := now().Sub(from); pass == 0 || took < fastest {
			fastest = took
		}
	}
	return float64(fastest.Nanoseconds()) / float64(len(events)), matches, nil
}
