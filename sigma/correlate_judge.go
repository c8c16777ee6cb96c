package sigma

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// mostEvidence is how many events an alert lists.
const mostEvidence = 100

// forever is a watermark after which nothing comes.
const forever = math.MaxInt64 - 4*int64(maxTimespan)

// Monotone reports whether further observations can't take back that the condition holds: counts and sums that
// must reach something, rules that must all match. Alerts of such correlations are due at once; those of others
// only when the windows are complete, at [Correlation.Due].
func (c *Correlation) Monotone() bool {
	if slices.ContainsFunc(c.alternatives, func(a alternative) bool { return a.absent != 0 }) {
		return false
	}
	switch c.Type {
	case EventCount, ValueCount, ValueSum:
		return c.bounds.rising()
	case Temporal, TemporalOrdered:
		return len(c.alternatives) > 0 || c.bounds.rising()
	default:
		return false
	}
}

// ahead is how long after its end a window must be known, in nanoseconds: a rule that must be absent must be so
// for a timespan on both sides.
func (c *Correlation) ahead() int64 {
	if slices.ContainsFunc(c.alternatives, func(a alternative) bool { return a.absent != 0 }) {
		return int64(c.Timespan)
	}
	return 0
}

// Due is the watermark after which a window that ends at a time is complete: all that is observed before the
// watermark has come. The alerts of other correlations may come that much later than events do.
func (c *Correlation) Due(end time.Time) time.Time {
	return end.Add(time.Duration(c.ahead() + c.lag))
}

// Buckets are the first and the last bucket with windows that an observation at a time is part of.
func (c *Correlation) Buckets(at time.Time) (first, last int64) {
	return c.bucket(at.UnixNano()), c.bucket(at.UnixNano() + int64(c.Timespan) - 1)
}

// Needed are the times between which, both excluded, the observations of a group must be known to judge buckets.
func (c *Correlation) Needed(first, last int64) (after, before time.Time) {
	span := int64(c.Timespan)
	return time.Unix(0, (first-1)*span).UTC(), time.Unix(0, (last+1)*span+c.ahead()).UTC()
}

// bucket is a time divided by the timespan, rounded down.
func (c *Correlation) bucket(at int64) int64 {
	span := int64(c.Timespan)
	if at < 0 {
		return -((-at + span - 1) / span)
	}
	return at / span
}

// Judge tells in which buckets the condition holds for a group, given all observations of that group between the
// times that are needed, in any order, once or more often. Up to the watermark everything has come; without
// one, which is the zero time, only what is monotone is judged. The answer depends on nothing else, so whoever
// keeps observations may judge as often as they like.
func (c *Correlation) Judge(observations []Observation, first, last int64, watermark time.Time) []Alert {
	if len(observations) == 0 {
		return nil
	}
	sorted := c.sightings(observations)
	known := int64(math.MinInt64)
	if !watermark.IsZero() {
		known = watermark.UnixNano() - c.lag
	}
	span := int64(c.Timespan)
	s := &sweep{c: c, sorted: sorted, window: newWindow(c)}
	s.skip(first*span - span)
	for s.next < len(sorted) && sorted[s.next].at < (last+1)*span {
		end := sorted[s.next].at
		if !c.Monotone() && end+c.ahead() >= known {
			break
		}
		s.step(end >= first*span)
	}
	var alerts []Alert
	for ends := range buckets(c, sorted) {
		o := observations[0]
		alerts = append(alerts, c.alert(o.Group, o.Values, sorted, ends, known))
	}
	return alerts
}

// sightings sorts observations and leaves out what is there twice, or belongs elsewhere.
func (c *Correlation) sightings(observations []Observation) []sighting {
	all := make([]sighting, 0, len(observations))
	for i := range observations {
		if s, ok := c.sighting(&observations[i]); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, compareSightings)
	return slices.CompactFunc(all, func(a, b sighting) bool { return compareSightings(a, b) == 0 })
}

func (c *Correlation) sighting(o *Observation) (sighting, bool) {
	rule := slices.IndexFunc(c.inputs, func(in input) bool { return in.key == o.Rule })
	if rule < 0 || o.Correlation != c.Key() || o.Time.Before(time.Unix(0, 0)) || o.Time.After(latest) {
		return sighting{}, false
	}
	if c.Type.numeric() {
		if _, ok := c.number(o.Value); !ok {
			return sighting{}, false
		}
	}
	return sighting{at: o.Time.UnixNano(), event: o.Event, value: o.Value, rule: rule}, true
}

func compareSightings(a, b sighting) int {
	return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.event, b.event), cmp.Compare(a.rule, b.rule), strings.Compare(a.value, b.value))
}

// sweep moves a window over sightings that are sorted by time.
type sweep struct {
	c      *Correlation
	sorted []sighting
	window *window
	first  int // in the window
	near   int // the first within a timespan of the window's end on either side
	next   int // not in the window yet
	beyond int // not within a timespan after the end yet
}

// skip passes over sightings up to a time.
func (s *sweep) skip(until int64) {
	at := after(s.sorted, until)
	s.first, s.near, s.next, s.beyond = at, at, at, at
}

// after returns the number of the first sighting after a time.
func after(sorted []sighting, at int64) int {
	return sort.Search(len(sorted), func(i int) bool { return sorted[i].at > at })
}

// step moves the window's end to the time of the next sighting, with all that have the same. Where that is to be
// judged, the sightings learn what came of it; it reports that the condition holds, and didn't before.
func (s *sweep) step(judge bool) bool {
	begin, end, span := s.next, s.sorted[s.next].at, int64(s.c.Timespan)
	for ; s.next < len(s.sorted) && s.sorted[s.next].at == end; s.next++ {
		s.window.add(&s.sorted[s.next])
	}
	for ; s.sorted[s.first].at <= end-span; s.first++ {
		s.window.remove(&s.sorted[s.first])
	}
	if s.window.around != nil {
		for ; s.beyond < len(s.sorted) && s.sorted[s.beyond].at < end+span; s.beyond++ {
			s.window.surround(&s.sorted[s.beyond], 1)
		}
		for ; s.sorted[s.near].at <= end-span; s.near++ {
			s.window.surround(&s.sorted[s.near], -1)
		}
	}
	if !judge || !s.window.holds(end) {
		return false
	}
	before := begin > 0 && s.sorted[begin-1].at == end && s.sorted[begin-1].holds
	for i := begin; i < s.next; i++ {
		before = before || s.sorted[i].holds
		s.sorted[i].holds = true
	}
	return !before
}

// buckets yields the ends at which the condition holds, those of one bucket together.
func buckets(c *Correlation, sorted []sighting) func(yield func([]int64) bool) {
	return func(yield func([]int64) bool) {
		var ends []int64
		for i := range sorted {
			at := sorted[i].at
			if !sorted[i].holds || len(ends) > 0 && ends[len(ends)-1] == at {
				continue
			}
			if len(ends) > 0 && c.bucket(ends[0]) != c.bucket(at) {
				if !yield(ends) {
					return
				}
				ends = nil
			}
			ends = append(ends, at)
		}
		if len(ends) > 0 {
			yield(ends)
		}
	}
}

// alert describes what holds in a bucket, given its ends and the sightings around.
func (c *Correlation) alert(group string, values map[string]string, sorted []sighting, ends []int64, known int64) Alert {
	span, last := int64(c.Timespan), ends[len(ends)-1]
	covered := sorted[after(sorted, ends[0]-span):after(sorted, last)]
	a := Alert{
		Correlation: c, Group: group, Values: values, Bucket: c.bucket(last),
		At: moment(ends[0]), From: moment(covered[0].at), To: moment(last),
		Value: c.measured(sorted[after(sorted, last-span):after(sorted, last)]),
	}
	a.Final = (a.Bucket+1)*span+c.ahead() <= known
	if c.referred {
		for _, end := range ends {
			a.Ends = append(a.Ends, moment(end))
		}
	}
	a.Count, a.Rules, a.Events = c.evidence(covered)
	return a
}

func moment(at int64) time.Time {
	return time.Unix(0, at).UTC()
}

// measured is what a window of sightings measures.
func (c *Correlation) measured(sightings []sighting) float64 {
	w := newWindow(c)
	for i := range sightings {
		w.add(&sightings[i])
	}
	return w.measure()
}

// evidence counts events and lists the first of them, with the last of each rule in any case.
func (c *Correlation) evidence(covered []sighting) (int, []string, []Evidence) {
	type seen struct {
		event string
		rule  int
	}
	events := make(map[string]bool, len(covered))
	known := make(map[seen]bool, len(covered))
	var list []sighting
	for i := range covered {
		s := covered[i]
		events[s.event] = true
		if one := (seen{s.event, s.rule}); !known[one] {
			known[one] = true
			list = append(list, sighting{at: s.at, event: s.event, rule: s.rule})
		}
	}
	slices.SortFunc(list, compareSightings)
	lasts := make(map[int]int) // by rule
	for i, s := range list {
		lasts[s.rule] = i
	}
	var rules []string
	for i, in := range c.inputs {
		if _, ok := lasts[i]; ok {
			rules = append(rules, in.key)
		}
	}
	var shown []Evidence
	for i, s := range list {
		if i < mostEvidence-len(lasts) || lasts[s.rule] == i {
			shown = append(shown, Evidence{Rule: c.inputs[s.rule].key, Event: s.event, Time: moment(s.at)})
		}
	}
	return len(events), rules, shown
}
