package follow_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/follow"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
)

// scene is a ledger, a receiver and a clock.
type scene struct {
	*testing.T
	store *store.Store
	mu    sync.Mutex
	now   time.Time
	got   []string
	fails func(e ledger.Entry) error
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	opened, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "riposte.db"), store.Options{Now: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	s.store = opened
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *scene) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *scene) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *scene) record(kind record.Kind, incidents ...string) {
	s.Helper()
	for _, incident := range incidents {
		if err := s.store.Update(s.Context(), func(tx *store.Tx) error {
			tx.Append(record.New(s.clock(), kind, record.System, nil).About(incident, "", ""))
			return nil
		}); err != nil {
			s.Fatal(err)
		}
	}
}

// take is a receiver that takes one entry after the other.
func (s *scene) take(_ context.Context, entries []ledger.Entry) (follow.Delivered, error) {
	var done follow.Delivered
	for _, e := range entries {
		if s.fails != nil {
			if err := s.fails(e); err != nil {
				return done, err
			}
		}
		s.got = append(s.got, e.Incident)
		done.Count++
	}
	return done, nil
}

func (s *scene) follower(node string) *follow.Follower {
	s.Helper()
	f := &follow.Follower{
		Name: "test", Node: node, Cursors: s.store, Wants: func(k record.Kind) bool { return k == record.RunEnded }, Deliver: s.take,
		Skips: []fault.Kind{fault.Invalid}, Now: s.clock, Logger: slog.New(slog.DiscardHandler),
	}
	if _, err := s.store.Cursor(s.Context(), "test"); err != nil {
		s.Fatal(err)
	}
	return f
}

// steps takes steps until there is no more or one fails.
func (s *scene) steps(f *follow.Follower) error {
	s.Helper()
	for {
		if more, err := f.Step(s.Context()); err != nil || !more {
			return err
		}
	}
}

func (s *scene) wants(want ...string) {
	s.Helper()
	if diff := cmp.Diff(want, s.got); diff != "" {
		s.Errorf("handed on (-want +got):\n%s", diff)
	}
}

func TestInOrderFromTheEndOn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.record(record.RunEnded, "before")
	f := s.follower("a")
	s.record(record.RunEnded, "1", "2")
	s.record(record.RunStarted, "x")
	s.record(record.RunEnded, "3")
	if err := s.steps(f); err != nil {
		t.Fatal(err)
	}
	s.wants("1", "2", "3")
	again := s.follower("a") // after a restart
	s.record(record.RunEnded, "4")
	if err := s.steps(again); err != nil {
		t.Fatal(err)
	}
	s.wants("1", "2", "3", "4")
}

func TestWhatFailsHoldsUpTheRest(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	f := s.follower("a")
	s.record(record.RunEnded, "1", "2", "3")
	away := fault.New(fault.Transient, "away")
	s.fails = func(e ledger.Entry) error {
		if e.Incident == "2" {
			return away
		}
		return nil
	}
	for range 3 {
		if err := s.steps(f); !errors.Is(err, away) {
			t.Errorf("got %v, want %v", err, away)
		}
		s.wait(10 * time.Hour) // it never gives up on what passes
	}
	s.wants("1")
	state := f.State()
	if state.Failed != 3 || state.Lag(s.clock()) != 30*time.Hour || f.Check(t.Context()) == nil {
		t.Errorf("state is %+v, behind by %s", state, state.Lag(s.clock()))
	}
	cursor, err := s.store.Cursor(t.Context(), "test")
	if err != nil || cursor.Seq != 1 || cursor.Error != "away" || !cursor.Since.Equal(s.clock().Add(-30*time.Hour)) {
		t.Errorf("cursor is %+v, %v", cursor, err)
	}
	s.fails = nil
	if err := s.steps(f); err != nil || f.Check(t.Context()) != nil {
		t.Errorf("%v, %v", err, f.Check(t.Context()))
	}
	s.wants("1", "2", "3")
}

func TestWhatIsRefusedIsPassedOverInTheEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	f := s.follower("a")
	f.Wants = func(record.Kind) bool { return true } // all that it may
	s.record(record.RunEnded, "1", "bad", "2")
	s.fails = func(e ledger.Entry) error {
		if e.Incident == "bad" {
			return fault.New(fault.Invalid, "refused")
		}
		return nil
	}
	for range 2 {
		if err := s.steps(f); !fault.Is(err, fault.Invalid) {
			t.Fatalf("got %v", err)
		}
		s.wants("1")
		s.wait(61 * time.Minute)
	}
	_ = s.steps(f) // passes over it
	if err := s.steps(f); err != nil {
		t.Fatal(err)
	}
	s.wants("1", "2")
	skipped, err := s.store.LedgerEntries(t.Context(), store.LedgerFilter{Kind: record.DeliverySkipped})
	if err != nil || len(skipped) != 1 || skipped[0].Incident != "bad" || !strings.Contains(string(skipped[0].Body), `"seq":1`) {
		t.Errorf("recorded %+v, %v", skipped, err)
	}
}

func TestOneNodeAtATime(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a, b := s.follower("a"), s.follower("b")
	s.record(record.RunEnded, "1")
	if err := s.steps(a); err != nil {
		t.Fatal(err)
	}
	s.record(record.RunEnded, "2")
	if err := s.steps(b); err != nil {
		t.Fatal(err)
	}
	s.wants("1")
	if lag := b.State().Behind; lag.IsZero() {
		t.Error("b doesn't know that an entry waits")
	}
	s.wait(2 * time.Minute) // a is gone
	if err := s.steps(b); err != nil {
		t.Fatal(err)
	}
	if err := s.steps(a); err != nil { // a is back, and has nothing to do
		t.Fatal(err)
	}
	s.wants("1", "2")
}

// TestCrashRepeats loses the answer of a delivery: it comes again, and nothing is left out.
func TestCrashRepeats(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	f := s.follower("a")
	s.record(record.RunEnded, "1", "2")
	f.Deliver = func(ctx context.Context, entries []ledger.Entry) (follow.Delivered, error) {
		_, err := s.take(ctx, entries)
		return follow.Delivered{}, errors.Join(err, fault.New(fault.Transient, "the process is killed"))
	}
	if err := s.steps(f); err == nil {
		t.Fatal("it went well")
	}
	f.Deliver = s.take
	if err := s.steps(f); err != nil {
		t.Fatal(err)
	}
	s.wants("1", "2", "1", "2")
}

// TestFarBehind passes over much that nobody wants, and remembers it now and then.
func TestFarBehind(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	f := s.follower("a")
	if err := s.store.Update(t.Context(), func(tx *store.Tx) error {
		for range 1234 {
			tx.Append(record.New(s.clock(), record.RunStarted, record.System, nil))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.steps(f); err != nil {
		t.Fatal(err)
	}
	cursor, err := s.store.Cursor(t.Context(), "test")
	if err != nil || cursor.Seq != 1000 {
		t.Errorf("cursor is %+v, %v", cursor, err)
	}
	s.record(record.RunEnded, "1")
	if err := s.steps(f); err != nil {
		t.Fatal(err)
	}
	s.wants("1")
}

func TestRunEndsInTime(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	f := s.follower("a")
	f.Every = time.Millisecond
	var names []string
	for n := range 250 {
		names = append(names, strconv.Itoa(n))
	}
	s.record(record.RunEnded, names...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f.Deliver = func(ctx context.Context, entries []ledger.Entry) (follow.Delivered, error) {
		done, err := s.take(ctx, entries)
		if len(s.got) == 250 {
			cancel()
		}
		return done, err
	}
	if err := f.Run(ctx); err != nil || !slices.Equal(s.got, names) {
		t.Errorf("%v, handed on %d", err, len(s.got))
	}
	if cursor, err := s.store.Cursor(t.Context(), "test"); err != nil || cursor.Seq != 250 {
		t.Errorf("what was handed on while it was stopped is not written down: %+v, %v", cursor, err)
	}
}
