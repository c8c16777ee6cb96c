package ingest

import (
	"maps"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
)

// Counts are what came of one source, since the start.
type Counts struct {
	Received   uint64    // events, redelivered ones each time
	Duplicates uint64    // known already
	Passed     uint64    // durable, first time
	Refused    uint64    // could not be right, and became letters
	Latest     time.Time // time of the newest event that passed
}

// Stats is a snapshot of an intake's counts.
type Stats struct {
	Sources    map[event.Source]Counts
	Letters    map[string]uint64 // durable, by format
	Failed     uint64            // batches that what follows did not take
	Remembered int               // keys
}

// Stats gives the counts so far.
func (i *Intake) Stats() Stats {
	s := i.counts.snapshot()
	s.Remembered = i.memory.size()
	return s
}

// counters count. The zero value is ready.
type counters struct {
	mu      sync.Mutex
	sources map[event.Source]Counts
	letters map[string]uint64
	failed  uint64
}

func (c *counters) change(source event.Source, by func(*Counts)) {
	if c.sources == nil {
		c.sources = map[event.Source]Counts{}
	}
	counts := c.sources[source]
	by(&counts)
	c.sources[source] = counts
}

func (c *counters) arrived(b event.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ev := range b.Events {
		c.change(ev.Source, func(n *Counts) { n.Received++ })
	}
}

func (c *counters) refused(source event.Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(source, func(n *Counts) { n.Refused++ })
}

func (c *counters) duplicates(events []event.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ev := range events {
		c.change(ev.Source, func(n *Counts) { n.Duplicates++ })
	}
}

func (c *counters) passed(b event.Batch, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed++
		return
	}
	for _, ev := range b.Events {
		c.change(ev.Source, func(n *Counts) {
			n.Passed++
			if ev.Time.After(n.Latest) {
				n.Latest = ev.Time
			}
		})
	}
	if c.letters == nil {
		c.letters = map[string]uint64{}
	}
	for _, letter := range b.Letters {
		c.letters[letter.Format]++
	}
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Sources: maps.Clone(c.sources), Letters: maps.Clone(c.letters), Failed: c.failed}
}
