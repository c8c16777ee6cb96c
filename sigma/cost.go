package sigma

import (
	"cmp"
	"slices"
	"time"
)

// Cost is what one rule has cost a scanner since it began to measure.
type Cost struct {
	Rule        *Rule
	Candidates  int           // events that gave one of the rule's signals, so that it was evaluated
	Matches     int           // events that it matched
	Time        time.Duration // of evaluating it; what rules share is charged to the first of them
	Interpreted bool          // whether it is beyond what the engine compiles, and so each candidate is parsed
}

// cost is a rule's cost while it is measured.
type cost struct {
	candidates, matches int
	time                time.Duration
}

// Measure begins to measure what each rule costs, from nothing, or stops. While it measures, a candidate costs some
// 100 ns more; otherwise nothing.
func (s *Scanner) Measure(on bool) {
	s.costs = nil
	if on {
		s.costs = make([]cost, len(s.engine.rules))
	}
}

// Costs lists the rules that were candidates while the scanner measured, those that cost most time first. What
// reading events costs, which all rules share, is in none of them.
func (s *Scanner) Costs() []Cost {
	var all []Cost
	for number, c := range s.costs {
		if c.candidates > 0 {
			all = append(all, Cost{
				Rule: s.engine.rules[number], Candidates: c.candidates, Matches: c.matches, Time: c.time,
				Interpreted: s.engine.beyond[number],
			})
		}
	}
	slices.SortStableFunc(all, func(a, b Cost) int { return cmp.Compare(b.Time, a.Time) })
	return all
}

// measured evaluates a candidate, and notes what it costs where that is asked for.
func (s *Scanner) measured(number int32) bool {
	if s.costs == nil {
		return s.holds(number)
	}
	begin := time.Now()
	holds := s.holds(number)
	c := &s.costs[number]
	c.time += time.Since(begin)
	c.candidates++
	if holds {
		c.matches++
	}
	return holds
}
