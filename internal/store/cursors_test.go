package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/follow"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
)

// recorded appends records of a kind, one a transaction.
func recorded(t with, kinds ...record.Kind) {
	t.Helper()
	for _, kind := range kinds {
		within(t, func(tx *store.Tx) error { tx.Append(record.New(noon, kind, record.System, nil)); return nil })
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		recorded(t, record.RunStarted, record.RunEnded)
		first, err := t.Cursor(t.Context(), "hub")
		if diff := cmp.Diff(follow.Cursor{Name: "hub", Seq: 2}, first); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
		recorded(t, record.RunEnded)
		if again, err := t.Cursor(t.Context(), "hub"); err != nil || again != first {
			t.Errorf("got %+v, %v; it was made anew", again, err)
		}
		until := noon.Truncate(time.Microsecond).UTC().Add(time.Minute)
		held, mine, err := t.HoldCursor(t.Context(), "hub", "a", until)
		if want := (follow.Cursor{Name: "hub", Seq: 2, Holder: "a", Until: until}); err != nil || !mine || held != want {
			t.Errorf("got %+v, %t, %v", held, mine, err)
		}
		if _, mine, err := t.HoldCursor(t.Context(), "hub", "b", until); err != nil || mine {
			t.Errorf("b holds what a holds: %v", err)
		}
		held.Seq, held.Moved, held.Since, held.Error = 3, until, until, "no \x00 answer"
		if err := t.MoveCursor(t.Context(), held, record.New(noon, record.ReportEnded, record.System, nil)); err != nil {
			t.Fatal(err)
		}
		held.Error = "no \uFFFD answer"
		if now, err := t.Cursor(t.Context(), "hub"); err != nil || now != held {
			t.Errorf("got %+v, %v; want %+v", now, err, held)
		}
		entries, err := t.LedgerFrom(t.Context(), 3, 10)
		if err != nil || len(entries) != 1 || entries[0].Kind != record.ReportEnded {
			t.Errorf("got %+v, %v", entries, err)
		}
		if _, mine, err = t.HoldCursor(t.Context(), "hub", "a", noon.Add(-time.Second)); err != nil || !mine {
			t.Errorf("a does not hold what it holds: %v", err)
		}
		if _, mine, err = t.HoldCursor(t.Context(), "hub", "b", until); err != nil || !mine {
			t.Errorf("b does not hold what nobody does: %v", err)
		}
		if err := t.MoveCursor(t.Context(), held, record.New(noon, record.ReportEnded, record.System, nil)); !fault.Is(err, fault.Conflict) {
			t.Errorf("a moved what b holds: %v", err)
		}
		if entries, err := t.LedgerFrom(t.Context(), 4, 10); err != nil || len(entries) != 0 {
			t.Errorf("a recorded what it did not move: %+v, %v", entries, err)
		}
	})
}
