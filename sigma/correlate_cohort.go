package sigma

import (
	"cmp"
	"container/heap"
	"maps"
	"math"
	"slices"
)

// fewPending is the part of a group by which it may grow out of order until it is swept again: with less, each
// late event would cost as much as the group is large.
const fewPending = 32

// cohort is the observations of a correlation that have the values of group-by in common.
type cohort struct {
	sweep   // over what is in order
	lane    *lane
	key     string
	values  map[string]string
	seen    map[sighting]bool
	waiting pending // for a sweep, out of order; for the watermark, where the correlation isn't monotone
	told    map[int64]bool
	closed  int64 // windows that end before are final
	newest  int64
	due     int64
	dueAt   int
	quietAt int
}

// pending is sightings as a heap, the oldest first.
type pending []sighting

func (p *pending) Len() int           { return len(*p) }
func (p *pending) Less(i, j int) bool { return (*p)[i].at < (*p)[j].at }
func (p *pending) Swap(i, j int)      { (*p)[i], (*p)[j] = (*p)[j], (*p)[i] }

// Push appends a sighting, for the heap.
func (p *pending) Push(x any) {
	s, _ := x.(sighting)
	*p = append(*p, s)
}

// Pop takes the last sighting off, for the heap.
func (p *pending) Pop() any {
	last := len(*p) - 1
	s := (*p)[last]
	*p = (*p)[:last]
	return s
}

// take adds a sighting of a monotone correlation. In the order of time the window just moves on.
func (c *Correlator) take(g *cohort, s sighting) {
	span := int64(g.lane.correlation.Timespan)
	g.due = min(g.due, (g.lane.correlation.bucket(s.at)+1)*span)
	if last := len(g.sorted) - 1; last < 0 || g.sorted[last].at <= s.at {
		g.sorted = append(g.sorted, s)
		if g.step(true) {
			c.tell(g, []int64{s.at})
		}
		return
	}
	g.waiting = append(g.waiting, s)
	if len(g.waiting)*fewPending > len(g.sorted) {
		c.tell(g, g.settle())
	}
}

// settle sweeps the windows that sightings out of order are part of, and returns the ends at which the condition
// begins to hold.
func (g *cohort) settle() []int64 {
	if len(g.waiting) == 0 {
		return nil
	}
	byTime := func(a, b sighting) int { return cmp.Compare(a.at, b.at) }
	slices.SortFunc(g.waiting, byTime)
	span := int64(g.lane.correlation.Timespan)
	from, to := g.waiting[0].at, g.waiting[len(g.waiting)-1].at+span
	merged := make([]sighting, 0, len(g.sorted)+len(g.waiting)+len(g.sorted)/fewPending)
	merged = append(append(merged, g.sorted...), g.waiting...)
	slices.SortStableFunc(merged, byTime)
	g.waiting = nil
	s := sweep{c: g.lane.correlation, sorted: merged, window: newWindow(g.lane.correlation)}
	s.skip(from - span)
	var ends []int64
	for s.next < len(merged) && merged[s.next].at < to {
		if end := merged[s.next].at; s.step(end >= from) {
			ends = append(ends, end)
		}
	}
	if s.next == len(merged) {
		g.sweep = s
		return ends
	}
	g.sorted, g.next = merged, len(merged)
	g.first = after(merged, merged[len(merged)-1].at-span)
	return ends
}

// close ends the buckets of a monotone correlation that the watermark has passed.
func (c *Correlator) close(g *cohort) {
	c.tell(g, g.settle())
	c.conclude(g)
	one := g.lane.correlation
	g.due = math.MaxInt64
	if open := after(g.sorted, g.closed-1); open < len(g.sorted) {
		g.due = (one.bucket(g.sorted[open].at) + 1) * int64(one.Timespan)
	} else if open > 0 {
		g.due = g.droppable()
	}
}

// droppable is the boundary of buckets from which on the last sighting is needed no more.
func (g *cohort) droppable() int64 {
	one := g.lane.correlation
	return (one.bucket(g.sorted[len(g.sorted)-1].at-1) + 2) * int64(one.Timespan)
}

// wait adds a sighting of a correlation that isn't monotone.
func (g *cohort) wait(s sighting) {
	heap.Push(&g.waiting, s)
	g.due = min(g.due, s.at+g.lane.correlation.ahead()+1)
}

// complete judges the windows of a correlation that isn't monotone, of which all is known.
func (c *Correlator) complete(g *cohort) {
	for len(g.waiting) > 0 && g.waiting[0].at < g.lane.known {
		s, _ := heap.Pop(&g.waiting).(sighting)
		g.sorted = append(g.sorted, s)
	}
	one := g.lane.correlation
	var ends []int64
	for g.next < len(g.sorted) && g.sorted[g.next].at+one.ahead() < g.lane.known {
		if end := g.sorted[g.next].at; g.step(true) {
			ends = append(ends, end)
		}
	}
	c.tell(g, ends)
	c.conclude(g)
	g.due = math.MaxInt64
	if len(g.waiting) > 0 {
		g.due = g.waiting[0].at + one.ahead() + 1
	}
	if g.next < len(g.sorted) {
		g.due = min(g.due, g.sorted[g.next].at+one.ahead()+1)
	}
	if len(g.sorted) > 0 {
		g.due = min(g.due, g.concluded())
	}
}

// concluded is the watermark at which the next bucket becomes final, or else that at which nothing is needed any
// more.
func (g *cohort) concluded() int64 {
	one := g.lane.correlation
	if len(g.told) == 0 {
		return g.droppable() + one.ahead()
	}
	next := slices.Min(slices.Collect(maps.Keys(g.told)))
	return (next+1)*int64(one.Timespan) + one.ahead()
}

// alert describes a bucket as it is known.
func (g *cohort) alert(bucket int64) Alert {
	one := g.lane.correlation
	span := int64(one.Timespan)
	var ends []int64
	for _, s := range g.sorted[after(g.sorted, bucket*span-1):after(g.sorted, (bucket+1)*span-1)] {
		if s.holds && (len(ends) == 0 || ends[len(ends)-1] != s.at) {
			ends = append(ends, s.at)
		}
	}
	return one.alert(g.key, g.values, g.sorted, ends, g.lane.known)
}

// drop leaves out so many of the first sightings, and returns the number.
func (g *cohort) drop(number int) int {
	for i := range number {
		s := g.sorted[i]
		s.holds = false
		delete(g.seen, s)
		if i >= g.first && i < g.next {
			g.window.remove(&g.sorted[i])
		}
		if i >= g.near && i < g.beyond {
			g.window.surround(&s, -1)
		}
	}
	g.sorted = g.sorted[number:]
	g.first, g.near = max(g.first-number, 0), max(g.near-number, 0)
	g.next, g.beyond = max(g.next-number, 0), max(g.beyond-number, 0)
	return number
}

// dropOldest makes room for a sighting.
func (g *cohort) dropOldest() int {
	if len(g.sorted) > 0 {
		return g.drop(1)
	}
	if g.lane.monotone {
		heap.Init(&g.waiting)
	}
	s, _ := heap.Pop(&g.waiting).(sighting)
	delete(g.seen, s)
	return 1
}
