// Package ingest stands between the sources and what follows: it checks, stamps, deduplicates, bounds and
// counts what comes in.
//
// It does no I/O and loses nothing: an event counts as known only once everything that follows from it is
// durable. While it is on its way, the same event from somewhere else waits for how that ends.
package ingest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
)

// Options are an intake's settings. Zero fields take the defaults.
type Options struct {
	// Now tells the time; NewID makes ids of letters. Both are required.
	Now   func() time.Time
	NewID func() string
	// Window is how long, in event time, the keys of events are remembered; 24 h if zero, at least 15 min.
	Window time.Duration
	// Keys is how many keys are remembered at least, memory permitting that many and at most twice as
	// many of 16 bytes; 200,000 if zero. What is forgotten too early is known again further on.
	Keys int
	// Batch is the most events handed on at once; 1,000 if zero.
	Batch int
	// Ahead is how far in the future an event may lie, for clocks that differ; 1 h if zero.
	Ahead time.Duration
}

const (
	leastWindow = 15 * time.Minute
	longestKey  = 1024 // bytes
)

// oldest is before any cloud wrote a log.
var oldest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (o Options) orDefault() Options {
	if o.Now == nil || o.NewID == nil {
		panic("ingest: options without Now or NewID")
	}
	if o.Window <= 0 {
		o.Window = 24 * time.Hour
	}
	o.Window = max(o.Window, leastWindow)
	if o.Keys <= 0 {
		o.Keys = 200_000
	}
	if o.Batch <= 0 {
		o.Batch = 1000
	}
	if o.Ahead <= 0 {
		o.Ahead = time.Hour
	}
	return o
}

// Intake takes batches from any number of sources at once.
type Intake struct {
	next    event.Sink
	options Options
	memory  *memory
	counts  counters
}

// New makes an intake that hands on to next.
func New(next event.Sink, o Options) *Intake {
	o = o.orDefault()
	return &Intake{next: next, options: o, memory: newMemory(o.Window, o.Keys)}
}

// Accept is an event.Sink: it returns nil when every event of the batch is durable, by this call or by
// an earlier one.
func (i *Intake) Accept(ctx context.Context, b event.Batch) error {
	now := i.options.Now()
	i.counts.arrived(b)
	events, letters := i.sorted(b, now)
	if len(events) == 0 {
		return i.pass(ctx, event.Batch{Letters: letters})
	}
	for chunk := range slices.Chunk(events, i.options.Batch) {
		if err := i.settle(ctx, chunk, letters); err != nil {
			return err
		}
		letters = nil
	}
	return nil
}

// sorted stamps what came and makes letters of the events that can't be right.
func (i *Intake) sorted(b event.Batch, now time.Time) ([]event.Event, []event.Letter) {
	events := make([]event.Event, 0, len(b.Events))
	letters := slices.Clone(b.Letters)
	for _, ev := range b.Events {
		ev.Received = now
		if reason := i.refusal(&ev, now); reason != "" {
			i.counts.refused(ev.Source)
			letters = append(letters, event.Letter{Format: string(ev.Source), Origin: ev.Origin, Reason: reason, Raw: ev.Raw})
			continue
		}
		events = append(events, ev)
	}
	for n := range letters {
		letter := &letters[n]
		letter.Received, letter.Count = now, max(letter.Count, 1)
		if letter.ID == "" {
			letter.ID = i.options.NewID()
		}
	}
	return events, letters
}

// refusal says why an event can't be right, "" if it can.
func (i *Intake) refusal(ev *event.Event, now time.Time) string {
	switch {
	case ev.Source == "":
		return "the event has no source"
	case ev.Key == "":
		return "the event has no key"
	case len(ev.Key) > longestKey:
		return fmt.Sprintf("the event's key has %d bytes; at most %d are possible", len(ev.Key), longestKey)
	case ev.Time.Before(oldest):
		return "the event has no plausible time: " + ev.Time.Format(time.RFC3339)
	case ev.Time.After(now.Add(i.options.Ahead)):
		return fmt.Sprintf("the event lies in the future: %s, and now is %s", ev.Time.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return ""
}

// settle hands on the events of a chunk that nobody else has on the way, and waits for the others: where
// that fails, they are this call's to hand on.
func (i *Intake) settle(ctx context.Context, chunk []event.Event, letters []event.Letter) error {
	for len(chunk) > 0 || len(letters) > 0 {
		claim := i.memory.claim(chunk)
		i.counts.duplicates(claim.known)
		if err := i.carry(ctx, claim, letters); err != nil {
			return err
		}
		letters = nil
		for _, other := range claim.others {
			select {
			case <-other.done:
			case <-ctx.Done():
				return fmt.Errorf("wait for an event that is being taken in: %w", context.Cause(ctx))
			}
		}
		chunk = claim.waiting
	}
	return nil
}

// carry hands on what was claimed, and lets those know who wait for it.
func (i *Intake) carry(ctx context.Context, c claim, letters []event.Letter) error {
	durable := false
	defer func() { i.memory.release(c.mine, durable) }()
	if err := i.pass(ctx, event.Batch{Events: c.fresh, Letters: letters}); err != nil {
		return err
	}
	durable = true
	return nil
}

func (i *Intake) pass(ctx context.Context, b event.Batch) error {
	if len(b.Events) == 0 && len(b.Letters) == 0 {
		return nil
	}
	err := i.next(ctx, b)
	i.counts.passed(b, err)
	return err
}
