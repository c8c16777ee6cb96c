// Package correlate finds what several events tell together: it keeps what correlations observe in the store that
// all nodes share, and judges it there.
//
// What is found depends on what was observed and on nothing else: not on the order of events, how often they are
// delivered, on which node, and not on restarts. docs/design/correlation.md tells how.
package correlate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/sigma"
)

const (
	// Most is how many observations of one group are kept within its timespans; the oldest beyond are dropped.
	Most = 10_000
	// mostKept is up to how many observations of a group the log records behind them are kept. An alert lists
	// no more of them than sigma does.
	mostKept = 200
	// mostBehind bounds the log records that a finding names.
	mostBehind = 200
	// mostJudged bounds the groups that one look judges, so that nobody waits long for it.
	mostJudged = 100
)

// Observation is what a match tells a correlation, and how long that is of use.
type Observation struct {
	sigma.Observation
	Events []string  // keys of the log records behind it
	Due    time.Time // when the windows that it ends are complete and something is to be told; zero for never
	Until  time.Time // when it is of no use any more
}

// Group is observations of one correlation that belong together.
type Group struct {
	State string // identifies the correlation with its text: a new text counts anew
	Key   string // sigma's Group
}

// Span is a group of which something is due, between two times.
type Span struct {
	Group
	From, To time.Time
}

// Tx is the transaction in which observations are kept and judged.
type Tx interface {
	// Observed gives the latest observations of a group between two times, both excluded, at most so many.
	Observed(ctx context.Context, g Group, after, before time.Time, most int) ([]Observation, error)
	// Observe keeps observations of a group. Those that are there already change nothing.
	Observe(ctx context.Context, g Group, observations []Observation) error
	// Forget drops the observations of a group before a time.
	Forget(ctx context.Context, g Group, before time.Time) error
	// KeepEvents keeps log records until a time, though no finding has them yet.
	KeepEvents(ctx context.Context, events []event.Event, until time.Time) error
	// KeptEvents gives those of the log records that are still there, with their bytes.
	KeptEvents(ctx context.Context, keys []string) ([]event.Event, error)
	// DueSpans gives groups with windows that are complete at a time.
	DueSpans(ctx context.Context, now time.Time, most int) ([]Span, error)
	// Judged says that what was due in a group at a time isn't any more.
	Judged(ctx context.Context, g Group, now time.Time) error
	// Told reports whether there is a finding of a fingerprint.
	Told(ctx context.Context, fingerprint string) (bool, error)
}

// Detector knows the correlations in force.
type Detector interface {
	// Correlation gives the one of a key, nil if there is none.
	Correlation(key string) *sigma.Correlation
	// ObserveAlert tells what an alert of one correlation means to others.
	ObserveAlert(a sigma.Alert) []sigma.Observation
	// Alerted makes the finding of an alert; false where it's there for other correlations only.
	Alerted(a sigma.Alert) (finding.Finding, bool)
}

// Engine judges correlations.
type Engine struct {
	lateness time.Duration
	ours     func(event.Event) bool
	now      func() time.Time
}

// New makes an engine. What comes later than the lateness after it happened, and after what happened around it
// came, may be missed by correlations that ask for little or nothing. Events that are ours don't count: what
// Riposte does in answer to an attack is no part of one, and must not make others' part of it look like ours.
func New(lateness time.Duration, ours func(event.Event) bool, now func() time.Time) *Engine {
	return &Engine{lateness: lateness, ours: ours, now: now}
}

// Found is what correlations find, with the log records behind it.
type Found struct {
	Findings []finding.Finding
	Events   map[string]event.Event // by key
}

// Take keeps what a batch observes and gives what follows at once. The events are those of the batch.
func (e *Engine) Take(ctx context.Context, tx Tx, d Detector, observations []sigma.Observation, events map[string]event.Event) (Found, error) {
	w := e.work(tx, d, events)
	next := make([]Observation, 0, len(observations))
	for _, o := range observations {
		if ev, here := events[o.Event]; here && e.ours(ev) {
			continue
		}
		next = append(next, Observation{Observation: o, Events: []string{o.Event}})
	}
	err := w.take(ctx, next)
	return w.found, err
}

// Due judges the windows that are complete by now. It reports whether there is more.
func (e *Engine) Due(ctx context.Context, tx Tx, d Detector) (found Found, more bool, err error) {
	w := e.work(tx, d, nil)
	spans, err := tx.DueSpans(ctx, w.now, mostJudged)
	if err != nil {
		return Found{}, false, err
	}
	for _, span := range spans {
		if err := w.due(ctx, span); err != nil {
			return Found{}, false, fmt.Errorf("judge correlation %s: %w", span.State, err)
		}
	}
	return w.found, len(spans) == mostJudged, nil
}

// work is one batch, or one look at what is due.
type work struct {
	*Engine
	tx    Tx
	d     Detector
	now   time.Time
	batch map[string]event.Event
	told  map[string]bool // fingerprints of what was found
	found Found
}

func (e *Engine) work(tx Tx, d Detector, batch map[string]event.Event) *work {
	return &work{
		Engine: e, tx: tx, d: d, now: e.now(), batch: batch, told: map[string]bool{}, found: Found{Events: map[string]event.Event{}},
	}
}

// take keeps and judges observations, and then those that their alerts give to other correlations. No correlation
// refers to itself by any way, so this ends.
func (w *work) take(ctx context.Context, next []Observation) error {
	for len(next) > 0 {
		var chained []Observation
		for _, some := range together(next) {
			c := w.d.Correlation(some[0].Correlation)
			if c == nil {
				continue
			}
			further, err := w.group(ctx, c, some)
			if err != nil {
				return fmt.Errorf("correlation %s: %w", c.Title, err)
			}
			chained = append(chained, further...)
		}
		next = chained
	}
	return nil
}

// together sorts observations by correlation, group and time, and gives those of each group together; those that
// lie too far apart to be in windows that touch, apart.
func together(all []Observation) [][]Observation {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Observation) int {
		return cmp.Or(strings.Compare(a.Correlation, b.Correlation), strings.Compare(a.Group, b.Group), a.Time.Compare(b.Time),
			strings.Compare(a.Event, b.Event), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Value, b.Value))
	})
	var groups [][]Observation
	for i := range sorted {
		o := &sorted[i]
		if i > 0 && o.Correlation == sorted[i-1].Correlation && o.Group == sorted[i-1].Group && o.Time.Sub(sorted[i-1].Time) < apart {
			groups[len(groups)-1] = append(groups[len(groups)-1], *o)
			continue
		}
		groups = append(groups, []Observation{*o})
	}
	return groups
}

// apart is how far apart in time observations of a batch may be to be looked at together: a batch may hold a
// month.
const apart = 6 * time.Hour

// group keeps observations of one group, and judges them where that can be done at once.
func (w *work) group(ctx context.Context, c *sigma.Correlation, some []Observation) ([]Observation, error) {
	g := Group{State: state(c), Key: some[0].Group}
	first, _ := c.Buckets(some[0].Time)
	_, last := c.Buckets(some[len(some)-1].Time)
	known, err := w.known(ctx, c, g, first, last)
	if err != nil {
		return nil, err
	}
	fresh := w.fresh(c, known, some)
	if len(fresh) == 0 {
		return nil, nil // delivered again
	}
	if err := w.keep(ctx, len(known), fresh); err != nil {
		return nil, err
	}
	var chained []Observation
	holds := true
	if c.Monotone() { // others are judged when the windows are complete
		if chained, holds, err = w.judge(ctx, c, slices.Concat(known, fresh), first, last, time.Time{}); err != nil {
			return nil, err
		}
	}
	for i := range fresh {
		if !holds {
			fresh[i].Due = time.Time{} // there is nothing to tell once more
		}
	}
	return chained, w.tx.Observe(ctx, g, fresh)
}

// known gives the observations that are needed to judge buckets. Where there are too many, the oldest go.
func (w *work) known(ctx context.Context, c *sigma.Correlation, g Group, first, last int64) ([]Observation, error) {
	after, before := c.Needed(first, last)
	known, err := w.tx.Observed(ctx, g, after, before, Most+1)
	if err != nil {
		return nil, err
	}
	if len(known) > Most {
		slices.SortFunc(known, func(a, b Observation) int { return b.Time.Compare(a.Time) })
		known = known[:Most]
		if err := w.tx.Forget(ctx, g, known[Most-1].Time); err != nil {
			return nil, err
		}
	}
	for i := range known {
		known[i].Correlation, known[i].Values = c.Key(), c.Named(g.Key)
	}
	return known, nil
}

// fresh gives the observations that aren't known yet, each once, with their times.
func (w *work) fresh(c *sigma.Correlation, known, some []Observation) []Observation {
	type identity struct {
		event, rule, value string
		at                 int64
	}
	of := func(o *Observation) identity { return identity{o.Event, o.Rule, o.Value, o.Time.UnixNano()} }
	there := make(map[identity]bool, len(known)+len(some))
	for i := range known {
		there[of(&known[i])] = true
	}
	var fresh []Observation
	for _, o := range some {
		if id := of(&o); !there[id] {
			there[id] = true
			o.Due, o.Until = w.times(c, o.Time)
			fresh = append(fresh, o)
		}
	}
	return fresh
}

// times are when the windows are complete that an observation ends, and when it is of no use any more. Both are
// times of the clock: an event may be old when it comes, and so may be those around it.
func (w *work) times(c *sigma.Correlation, at time.Time) (due, until time.Time) {
	complete := c.Due(at)
	came := w.now.Add(complete.Sub(at)) // had it happened when it came
	if complete.Before(came) {
		complete = came
	}
	due = complete.Add(w.lateness)
	return due, due.Add(2*c.Timespan + w.lateness)
}

// keep keeps the log records behind observations, as long as the group has few.
func (w *work) keep(ctx context.Context, known int, fresh []Observation) error {
	var events []event.Event
	until := fresh[0].Until
	for _, o := range fresh[:min(len(fresh), max(0, mostKept-known))] {
		if ev, here := w.batch[o.Event]; here {
			events = append(events, ev)
		}
		if o.Until.After(until) {
			until = o.Until
		}
	}
	if len(events) == 0 {
		return nil
	}
	return w.tx.KeepEvents(ctx, events, until)
}

// due judges a group's windows that are complete.
func (w *work) due(ctx context.Context, span Span) error {
	c := w.d.Correlation(span.State[:max(0, strings.LastIndexByte(span.State, '@'))])
	if c == nil || state(c) != span.State { // it has another text now, or is gone
		return w.tx.Judged(ctx, span.Group, w.now)
	}
	first, _ := c.Buckets(span.From)
	_, last := c.Buckets(span.To)
	known, err := w.known(ctx, c, span.Group, first, last)
	if err != nil {
		return err
	}
	chained, _, err := w.judge(ctx, c, known, first, last, c.Due(span.To).Add(1))
	if err != nil {
		return err
	}
	if err := w.tx.Judged(ctx, span.Group, w.now); err != nil {
		return err
	}
	return w.take(ctx, chained)
}

// judge adds the findings of alerts to what was found, and gives what other correlations observe of them. It
// reports whether there are any. Without a watermark only what wasn't told yet is told; the rest of a matter
// is when its windows are complete: an attack of ten thousand events isn't told ten thousand times.
func (w *work) judge(ctx context.Context, c *sigma.Correlation, all []Observation, first, last int64, watermark time.Time) (chained []Observation, holds bool, err error) {
	plain := make([]sigma.Observation, 0, len(all))
	records := make(map[string][]string, len(all))
	for _, o := range all {
		plain = append(plain, o.Observation)
		records[o.Event] = o.Events
	}
	alerts := c.Judge(plain, first, last, watermark)
	for _, alert := range alerts {
		var keys []string
		for _, evidence := range alert.Events {
			keys = append(keys, records[evidence.Event]...)
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		keys = keys[:min(len(keys), mostBehind)]
		for _, o := range w.d.ObserveAlert(alert) {
			chained = append(chained, Observation{Observation: o, Events: keys})
		}
		if err := w.alert(ctx, alert, keys, !watermark.IsZero()); err != nil {
			return nil, false, err
		}
	}
	return chained, len(alerts) > 0, nil
}

// alert adds an alert's finding, unless it was told and isn't to be told again.
func (w *work) alert(ctx context.Context, a sigma.Alert, keys []string, again bool) error {
	f, is := w.d.Alerted(a)
	if !is {
		return nil
	}
	if !again {
		told, err := w.tx.Told(ctx, f.Fingerprint)
		if err != nil || told || w.told[f.Fingerprint] {
			return err
		}
		w.told[f.Fingerprint] = true
	}
	behind, err := w.behind(ctx, keys)
	if err != nil {
		return err
	}
	Describe(&f, behind)
	f.Received, f.Events = w.now, keys // those too whose records are gone
	for _, ev := range behind {
		w.found.Events[ev.Key] = ev
	}
	w.found.Findings = append(w.found.Findings, f)
	return nil
}

// behind gives log records in the order in which they happened.
func (w *work) behind(ctx context.Context, keys []string) ([]event.Event, error) {
	var events []event.Event
	var elsewhere []string
	for _, key := range keys {
		if ev, here := w.batch[key]; here {
			events = append(events, ev)
		} else {
			elsewhere = append(elsewhere, key)
		}
	}
	if len(elsewhere) > 0 {
		kept, err := w.tx.KeptEvents(ctx, elsewhere)
		if err != nil {
			return nil, err
		}
		events = append(events, kept...)
	}
	slices.SortFunc(events, func(a, b event.Event) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Key, b.Key))
	})
	return events, nil
}

// state identifies a correlation with its text.
func state(c *sigma.Correlation) string { return c.Key() + "@" + c.Hash[:min(12, len(c.Hash))] }
