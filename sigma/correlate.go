package sigma

import (
	"container/heap"
	"maps"
	"math"
	"time"
)

// Unbounded lateness makes a [Correlator] wait for its end to judge what isn't monotone. Nothing is late then.
const Unbounded = 100 * 366 * 24 * time.Hour

// CorrelatorOptions bounds what a [Correlator] keeps. What is zero has the default.
type CorrelatorOptions struct {
	Lateness        time.Duration // how much older than the newest an event may be: 15 minutes
	MaxGroups       int           // groups of all correlations: 100,000
	MaxObservations int           // of one group: 100,000
	MaxTotal        int           // observations of all groups: 1,000,000
}

// CorrelatorStats counts what a [Correlator] keeps, and what it had to leave out.
type CorrelatorStats struct {
	Groups       int
	Observations int
	Late         int // observations older than the watermark, left out
	Dropped      int // the oldest observations of groups that had too many
	Evicted      int // groups that were quiet for longest, forgotten when there were too many, or too much in all
}

// Correlator evaluates correlations in memory, in event time. It gives the same alerts in the end whatever the
// order of events, as long as none is later than it may be, and however often they are delivered, as long as
// its bounds aren't reached. It is for one goroutine.
//
// An alert is returned when it is due, and once more when it's final: then more may be known of it. Its key
// tells that it is the same. Where events of a large group come out of order, a monotone alert may be due up to
// a thirty-second part of the group later.
type Correlator struct {
	linked  *Linked
	options CorrelatorOptions
	lanes   []*lane // each after those that it refers to
	byKey   map[string]*lane
	quiet   queue // all groups by their last observation
	newest  int64
	known   int64 // the watermark
	stats   CorrelatorStats
	queued  []Observation // alerts that other correlations are to see
	alerts  []Alert
}

// lane is one correlation with its groups.
type lane struct {
	correlation *Correlation
	monotone    bool
	known       int64 // all that is older has come, alerts of others too
	groups      map[string]*cohort
	due         queue // groups by the watermark at which something is to be done
}

// queue is groups in an order, each of which knows its place.
type queue struct {
	groups []*cohort
	less   func(a, b *cohort) bool
	place  func(g *cohort) *int
}

func (q *queue) Len() int           { return len(q.groups) }
func (q *queue) Less(i, j int) bool { return q.less(q.groups[i], q.groups[j]) }

func (q *queue) Swap(i, j int) {
	q.groups[i], q.groups[j] = q.groups[j], q.groups[i]
	*q.place(q.groups[i]), *q.place(q.groups[j]) = i, j
}

// Push appends a group, for the heap.
func (q *queue) Push(x any) {
	g, _ := x.(*cohort)
	*q.place(g) = len(q.groups)
	q.groups = append(q.groups, g)
}

// Pop takes the last group off, for the heap.
func (q *queue) Pop() any {
	last := len(q.groups) - 1
	g := q.groups[last]
	q.groups[last] = nil
	q.groups = q.groups[:last]
	return g
}

// NewCorrelator makes a correlator for linked correlations, with nothing observed yet.
func NewCorrelator(linked *Linked, o CorrelatorOptions) *Correlator {
	if o.Lateness <= 0 {
		o.Lateness = 15 * time.Minute
	}
	if o.MaxGroups <= 0 {
		o.MaxGroups = 100_000
	}
	if o.MaxObservations <= 0 {
		o.MaxObservations = 100_000
	}
	if o.MaxTotal <= 0 {
		o.MaxTotal = 1_000_000
	}
	c := &Correlator{
		linked: linked, options: o, byKey: make(map[string]*lane), newest: math.MinInt64, known: math.MinInt64,
		quiet: queue{
			less:  func(a, b *cohort) bool { return a.newest < b.newest || a.newest == b.newest && a.key < b.key },
			place: func(g *cohort) *int { return &g.quietAt },
		},
	}
	for _, one := range linked.Correlations {
		l := &lane{correlation: one, monotone: one.Monotone(), known: math.MinInt64, groups: make(map[string]*cohort), due: queue{
			less:  func(a, b *cohort) bool { return a.due < b.due || a.due == b.due && a.key < b.key },
			place: func(g *cohort) *int { return &g.dueAt },
		}}
		c.lanes = append(c.lanes, l)
		c.byKey[one.Key()] = l
	}
	return c
}

// Observe takes the rules that match an event, which may be none, and returns the alerts that are due. The key
// identifies the event, the time is its own; see [Linked.Observe]. The newest time sets the watermark, so it
// must not be that of a clock which nobody trusts.
func (c *Correlator) Observe(hits []Hit, e *Event, key string, at time.Time) []Alert {
	var all []Observation
	for _, hit := range hits {
		all = append(all, c.linked.Observe(hit.Rule, e, key, at)...)
	}
	return c.Take(all, at)
}

// Take takes observations that were made before, and the newest time up to which there are events.
func (c *Correlator) Take(all []Observation, newest time.Time) []Alert {
	c.alerts = nil
	for i := range all {
		c.add(&all[i])
		c.drain()
	}
	if c.options.Lateness < Unbounded && !newest.Before(time.Unix(0, 0)) && !newest.After(latest) {
		if c.newest = max(c.newest, newest.UnixNano()); c.newest-int64(c.options.Lateness) > c.known {
			c.known = c.newest - int64(c.options.Lateness)
			c.advance()
		}
	}
	return c.alerts
}

// Flush judges all that waits for the watermark, when no more events come. The correlator is empty then, and
// what it is given afterwards is late.
func (c *Correlator) Flush() []Alert {
	c.alerts = nil
	c.known = forever
	c.advance()
	return c.alerts
}

// Stats counts what is kept at present, and what was left out so far.
func (c *Correlator) Stats() CorrelatorStats {
	s := c.stats
	s.Groups = len(c.quiet.groups)
	return s
}

// drain gives alerts to the correlations that refer to theirs.
func (c *Correlator) drain() {
	for len(c.queued) > 0 {
		o := c.queued[0]
		c.queued = c.queued[1:]
		c.add(&o)
	}
}

// advance does what is due at the watermark, for each correlation after those that it refers to.
func (c *Correlator) advance() {
	for _, l := range c.lanes {
		l.known = c.known - l.correlation.lag
		for len(l.due.groups) > 0 && l.due.groups[0].due <= l.known {
			g := l.due.groups[0]
			if l.monotone {
				c.close(g)
			} else {
				c.complete(g)
			}
			if len(g.sorted) == 0 && len(g.waiting) == 0 {
				c.forget(g)
			} else {
				heap.Fix(&l.due, g.dueAt)
			}
			c.drain()
		}
	}
}

// add takes one observation.
func (c *Correlator) add(o *Observation) {
	l, ok := c.byKey[o.Correlation]
	if !ok {
		return
	}
	s, ok := l.correlation.sighting(o)
	if !ok {
		return
	}
	if s.at < l.known {
		c.stats.Late++
		return
	}
	g := c.group(l, o)
	if g.seen[s] {
		return
	}
	if len(g.seen) >= c.options.MaxObservations {
		c.stats.Dropped++
		c.stats.Observations -= g.dropOldest()
	}
	g.seen[s] = true
	c.stats.Observations++
	g.newest = max(g.newest, s.at)
	heap.Fix(&c.quiet, g.quietAt)
	if l.monotone {
		c.take(g, s)
	} else {
		g.wait(s)
	}
	heap.Fix(&l.due, g.dueAt)
	c.shrink()
}

// shrink keeps the number of all observations within its bound.
func (c *Correlator) shrink() {
	for c.stats.Observations > c.options.MaxTotal && len(c.quiet.groups) > 1 {
		c.evict()
	}
	for c.stats.Observations > c.options.MaxTotal {
		c.stats.Dropped++
		c.stats.Observations -= c.quiet.groups[0].dropOldest()
	}
}

// group returns the group of an observation, a new one if need be.
func (c *Correlator) group(l *lane, o *Observation) *cohort {
	if g, ok := l.groups[o.Group]; ok {
		return g
	}
	if len(c.quiet.groups) >= c.options.MaxGroups {
		c.evict()
	}
	g := &cohort{
		lane: l, key: o.Group, values: o.Values, seen: make(map[sighting]bool), newest: math.MinInt64, due: math.MaxInt64,
		sweep: sweep{c: l.correlation, window: newWindow(l.correlation)}, told: make(map[int64]bool),
	}
	l.groups[o.Group] = g
	heap.Push(&l.due, g)
	heap.Push(&c.quiet, g)
	return g
}

// evict forgets the group whose last observation is the oldest.
func (c *Correlator) evict() {
	c.stats.Evicted++
	c.forget(c.quiet.groups[0])
}

func (c *Correlator) forget(g *cohort) {
	c.stats.Observations -= len(g.seen)
	delete(g.lane.groups, g.key)
	heap.Remove(&g.lane.due, g.dueAt)
	heap.Remove(&c.quiet, g.quietAt)
}

// tell returns alerts of the buckets in which the condition began to hold at some ends, unless they are final and
// told as such, and lets other correlations know of each end.
func (c *Correlator) tell(g *cohort, ends []int64) {
	for _, end := range ends {
		one := g.lane.correlation
		bucket := one.bucket(end)
		if one.referred {
			a := Alert{Correlation: one, Group: g.key, Bucket: bucket}
			c.queued = append(c.queued, c.linked.chained(one, g.values, a.Key(), moment(end))...)
		}
		if final := (bucket+1)*int64(one.Timespan)+one.ahead() <= g.lane.known; !final && !g.told[bucket] {
			g.told[bucket] = true
			c.alerts = append(c.alerts, g.alert(bucket))
		}
	}
}

// conclude returns the alerts of the buckets that have become final, and drops the observations that no other
// bucket needs.
func (c *Correlator) conclude(g *cohort) {
	span := int64(g.lane.correlation.Timespan)
	boundary := g.lane.correlation.bucket(g.lane.known-g.lane.correlation.ahead()) * span
	if boundary > g.closed {
		open := g.sorted[after(g.sorted, g.closed-1):after(g.sorted, boundary-1)]
		for ends := range buckets(g.lane.correlation, open) {
			bucket := g.lane.correlation.bucket(ends[0])
			c.alerts = append(c.alerts, g.alert(bucket))
		}
		maps.DeleteFunc(g.told, func(bucket int64, _ bool) bool { return bucket*span < boundary })
		g.closed = boundary
	}
	c.stats.Observations -= g.drop(after(g.sorted, g.closed-span))
}
