// Package follow hands the ledger's records on to receivers outside: each in the ledger's order, at least once,
// with a cursor of its own that survives a crash.
//
// A follower reads behind the ledger and is never waited for: it slows neither what is recorded nor another
// follower. Of the nodes that share a store, one at a time hands a follower's entries on.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
)

// Cursor is how far a follower has come.
type Cursor struct {
	Name   string
	Seq    int64     // of the first entry that is not handed on
	Holder string    // the node that hands on, "" if none does
	Until  time.Time // how long no other may
	Moved  time.Time // when an entry was last handed on
	Since  time.Time // since when the entry at Seq fails, zero if it doesn't
	Error  string    // why it fails
}

// Cursors keeps cursors, and reads the ledger.
type Cursors interface {
	// Cursor gives a follower's cursor. A new follower's is at the ledger's end: it isn't told what was before.
	Cursor(ctx context.Context, name string) (Cursor, error)
	// HoldCursor lets a node hand on until a time. It reports false where another node does.
	HoldCursor(ctx context.Context, name, node string, until time.Time) (Cursor, bool, error)
	// MoveCursor keeps where c has come, with records about it. It is a Conflict where c.Holder doesn't hold it.
	MoveCursor(ctx context.Context, c Cursor, records ...record.Record) error
	// LedgerFrom gives entries of the ledger from a number on, in their order.
	LedgerFrom(ctx context.Context, seq int64, most int) ([]ledger.Entry, error)
}

// Delivered is what became of entries.
type Delivered struct {
	// Count is how many were handed on, from the first on, without a gap.
	Count int
	// Records are kept with the cursor.
	Records []record.Record
}

// Follower hands on the entries of some kinds.
type Follower struct {
	Name string
	// Node is who hands on, among those that share a store.
	Node    string
	Cursors Cursors
	Wants   func(record.Kind) bool
	// Deliver hands entries on. It is told none twice, unless a crash or an error kept its answer from being
	// written down. Where it fails it still says how many it handed on.
	Deliver func(ctx context.Context, entries []ledger.Entry) (Delivered, error)
	// Skips are the kinds of errors after which an entry that keeps failing for GiveUp is passed over, and recorded,
	// so that it doesn't hold up the others for good. Entries that fail otherwise are tried without end.
	Skips  []fault.Kind
	GiveUp time.Duration // an hour if zero
	Every  time.Duration // the time between two looks; a second if zero
	Now    func() time.Time
	Logger *slog.Logger

	mu    sync.Mutex
	state State
	ahead int64 // entries before it are handed on or not wanted; the cursor may lag behind
}

// State is how a follower is, as this node knows.
type State struct {
	Name string
	// Behind is the time of the oldest entry that is not handed on, zero if all are.
	Behind time.Time
	Error  string // why the last try failed, "" if it didn't
	Failed int    // tries that failed since one didn't
	Count  uint64 // entries that this node handed on
}

const (
	// atOnce is how many entries are read at once.
	atOnce = 100
	// held is how long a node may hand on before it asks again.
	held = time.Minute
	// margin is what is left of it when Deliver must have ended.
	margin = 15 * time.Second
	// farBehind is how many entries that nobody wants the cursor may lag behind.
	farBehind = 1000
	// longestWait bounds the pause after failures.
	longestWait = time.Minute
)

var errHeld = errors.New("its time to hand on is over")

// Run follows until ctx ends. What fails is logged and tried again.
func (f *Follower) Run(ctx context.Context) error {
	for {
		more, err := f.Step(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was stopped
		}
		wait := orElse(f.Every, time.Second)
		if err != nil {
			wait = f.pause()
		} else if more {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// State tells how the follower is.
func (f *Follower) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := f.state
	state.Name = f.Name
	return state
}

// Step hands on what is next. It reports whether there may be more.
func (f *Follower) Step(ctx context.Context) (more bool, err error) {
	more, err = f.step(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.state.Error, f.state.Failed = "", 0
		return more, nil
	}
	if ctx.Err() != nil {
		return false, err
	}
	f.state.Error = err.Error()
	f.state.Failed++
	if n := f.state.Failed; n&(n-1) == 0 { // the first, the second, the fourth... it may go on for days
		f.Logger.WarnContext(ctx, "follow the ledger", "follower", f.Name, "err", err.Error(), "failures", n)
	}
	return false, err
}

func (f *Follower) step(ctx context.Context) (more bool, err error) {
	cursor, err := f.Cursors.Cursor(ctx, f.Name)
	if err != nil {
		return false, err
	}
	now := f.Now()
	from := max(cursor.Seq, f.ahead)
	entries, err := f.Cursors.LedgerFrom(ctx, from, atOnce)
	if err != nil {
		return false, err
	}
	var wanted []ledger.Entry
	end := from // after the last that was read
	for _, e := range entries {
		end = e.Seq + 1
		if e.Kind != record.DeliverySkipped && f.Wants(e.Kind) {
			wanted = append(wanted, e)
		}
	}
	f.behind(wanted)
	if len(wanted) == 0 {
		return len(entries) == atOnce, f.pass(ctx, cursor, end)
	}
	if cursor.Holder != f.Node && cursor.Holder != "" && cursor.Until.After(now) {
		return false, nil // another node hands on
	}
	cursor, mine, err := f.Cursors.HoldCursor(ctx, f.Name, f.Node, now.Add(held))
	if err != nil || !mine {
		return false, err
	}
	if cursor.Seq > wanted[0].Seq {
		return true, nil // another node was faster
	}
	if err := f.deliver(ctx, cursor, wanted, end); err != nil {
		return false, err
	}
	return true, nil
}

// pass goes on over what nobody wants. It is written down only now and then.
func (f *Follower) pass(ctx context.Context, cursor Cursor, end int64) error {
	f.ahead = end
	if end-cursor.Seq < farBehind {
		return nil
	}
	cursor, mine, err := f.Cursors.HoldCursor(ctx, f.Name, f.Node, f.Now().Add(held))
	if err != nil || !mine || cursor.Seq >= end {
		return err
	}
	cursor.Seq = end
	return f.Cursors.MoveCursor(ctx, cursor)
}

// deliver hands entries on and moves the cursor behind the last that was.
func (f *Follower) deliver(ctx context.Context, cursor Cursor, wanted []ledger.Entry, end int64) error {
	bounded, cancel := context.WithTimeoutCause(ctx, held-margin, errHeld)
	defer cancel()
	done, failure := f.Deliver(bounded, wanted)
	if failure == nil && done.Count < len(wanted) {
		failure = fault.New(fault.Transient, "%d of %d entries were handed on", done.Count, len(wanted))
	}
	if failure == nil {
		cursor.Seq = end
	} else {
		cursor.Seq = wanted[done.Count].Seq
	}
	now := f.Now()
	if done.Count > 0 {
		cursor.Moved, cursor.Since, cursor.Error = now, time.Time{}, ""
	}
	if failure != nil && ctx.Err() == nil {
		f.failed(&cursor, &done, wanted, failure, now)
	}
	// What was handed on is written down even while we are being stopped.
	keeping, release := context.WithTimeoutCause(context.WithoutCancel(ctx), margin/2, errHeld)
	defer release()
	if err := f.Cursors.MoveCursor(keeping, cursor, done.Records...); err != nil {
		return errors.Join(failure, fmt.Errorf("keep where %s has come: %w", f.Name, err))
	}
	f.ahead = cursor.Seq
	f.mu.Lock()
	f.state.Count += uint64(done.Count) //nolint:gosec // a count
	f.mu.Unlock()
	f.behind(wanted[min(done.Count, len(wanted)):])
	return failure
}

// failed notes that the first entry that was not handed on fails, or passes it over.
func (f *Follower) failed(cursor *Cursor, done *Delivered, wanted []ledger.Entry, failure error, now time.Time) {
	if cursor.Since.IsZero() {
		cursor.Since = now
	}
	cursor.Error = failure.Error()
	if !slices.Contains(f.Skips, fault.KindOf(failure)) || now.Sub(cursor.Since) < orElse(f.GiveUp, time.Hour) {
		return
	}
	stuck := wanted[done.Count]
	done.Records = append(done.Records, record.New(now, record.DeliverySkipped, record.System, map[string]any{
		"follower": f.Name, "seq": stuck.Seq, "kind": stuck.Kind, "why": fault.Message(failure), "since": cursor.Since,
	}).About(stuck.Incident, stuck.Run, ""))
	done.Count++
	cursor.Seq, cursor.Since, cursor.Error = stuck.Seq+1, time.Time{}, ""
}

// behind notes the oldest entry that is not handed on.
func (f *Follower) behind(waiting []ledger.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.Behind = time.Time{}
	if len(waiting) > 0 {
		f.state.Behind = waiting[0].Time
	}
}

// pause is how long to wait after failures: twice as long each time, and not all at the same time.
func (f *Follower) pause() time.Duration {
	shift := min(f.State().Failed, 10)
	wait := min(orElse(f.Every, time.Second)<<shift, longestWait)
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // it decides nothing
}

// Lag is how long the oldest entry has waited that is not handed on.
func (s State) Lag(now time.Time) time.Duration {
	if s.Behind.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.Behind))
}

// worrying is how long entries may wait before a follower counts as not working.
const worrying = 5 * time.Minute

// Check is nil if entries are handed on.
func (f *Follower) Check(context.Context) error {
	state := f.State()
	lag := state.Lag(f.Now())
	switch {
	case state.Error != "":
		return fault.New(fault.Transient, "%s behind for %s: %s", f.Name, lag.Round(time.Second), state.Error)
	case lag > worrying:
		return fault.New(fault.Transient, "%s is %s behind the ledger", f.Name, lag.Round(time.Second))
	}
	return nil
}

func orElse(value, otherwise time.Duration) time.Duration {
	if value <= 0 {
		return otherwise
	}
	return value
}
