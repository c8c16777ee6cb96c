package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// begin saves decisions with their runs claimed for a node, and gives the journals.
func begin(tb testing.TB, s *store.Store, node string, decisions ...run.Decision) []run.Journal {
	tb.Helper()
	var begun []run.Journal
	err := s.Update(tb.Context(), func(tx *store.Tx) (err error) {
		tx.Begin(node)
		for _, d := range decisions {
			if err := tx.Save(tb.Context(), d); err != nil {
				return err
			}
		}
		begun, err = tx.Begun()
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return begun
}

// TestBegunIsWhatClaimWouldRead holds the journal that a decision leaves in memory against the one in the store.
func TestBegunIsWhatClaimWouldRead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		first, again := opened("1"), opened("1")
		first.Finding.Title = "bad \x00 and \xff"
		again.Incident.Findings, again.Incident.Title = 2, "it grew in the same batch"
		again.Finding.ID, again.Finding.Fingerprint, again.Runs = "fin-1b", "print-1b", nil
		begun := begin(t, t.Store, "node-a", first, again, opened("2"))
		if len(begun) != 2 {
			t.Fatalf("%d runs were begun, want 2", len(begun))
		}
		for _, got := range begun {
			want, err := t.Load(t.Context(), got.Run.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the journal in memory is not the one in the store (-store +memory):\n%s", diff)
			}
			if got.Run.Fence != 1 {
				t.Errorf("fence %d, want 1: the run is claimed", got.Run.Fence)
			}
		}
	})
}

// TestBegunRunIsTheNodes: it may be written to with the fence it was begun with, until somebody claims it.
func TestBegunRunIsTheNodes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		begun := begin(t, t.Store, "node-a", opened("1"))[0].Run
		if err := t.Write(t.Context(), run.Entry{Run: begun}); err != nil {
			t.Fatal(err)
		}
		claimed, err := t.Claim(t.Context(), begun.ID, 1, "node-b")
		if err != nil {
			t.Fatal(err)
		}
		if err := t.Write(t.Context(), run.Entry{Run: begun}); !fault.Is(err, fault.Conflict) {
			t.Errorf("written with a fence that another has raised: %v", err)
		}
		if err := t.Write(t.Context(), run.Entry{Run: claimed.Run}); err != nil {
			t.Error(err)
		}
	})
}

// TestBegunLeavesOutWhatChanged: what is no longer as the job saw it, or was there already, is to be claimed.
func TestBegunLeavesOutWhatChanged(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		merges, twice := opened("2"), opened("1")
		merges.Merge = []string{"inc-1"}
		twice.Runs[0].ID = "run-twice"
		begun := begin(t, t.Store, "node-a", opened("1"), twice, merges)
		if len(begun) != 1 || begun[0].Run.ID != "run-2" {
			t.Errorf("begun %+v, want run-2 alone", begun)
		}
		if _, err := t.Claim(t.Context(), "run-1", 1, "node-a"); err != nil {
			t.Error(err)
		}
	})
}

// TestReadyOf gives what a node had begun and not ended, and nothing of others.
func TestReadyOf(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		begun := begin(t, t.Store, "node-a", opened("1"), opened("2"), opened("3"))
		begin(t, t.Store, "node-b", opened("4"))
		save(t, t.Store, opened("5")) // nobody's
		over, parked := begun[1].Run, begun[2].Run
		over.State, parked.State, parked.Wake = run.Succeeded, run.Held, noon.Add(time.Minute)
		for _, r := range []run.Run{over, parked} {
			if err := t.Write(t.Context(), run.Entry{Run: r}); err != nil {
				t.Fatal(err)
			}
		}
		ready := func(before time.Time) int {
			runs, err := t.ReadyOf(t.Context(), "node-a", before, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range runs {
				if r.ID != "run-1" || r.Fence != 1 || r.Leg != 1 {
					t.Errorf("got %+v", r)
				}
			}
			return len(runs)
		}
		if got := ready(noon.Add(time.Second)); got != 1 {
			t.Errorf("%d runs of node-a are ready, want 1", got)
		}
		if got := ready(noon); got != 0 {
			t.Errorf("%d runs of node-a are ready since before they were decided", got)
		}
		parked.State, parked.Wake, parked.Leg = run.Ready, time.Time{}, 2 // woken, and not claimed
		if err := t.Write(t.Context(), run.Entry{Run: parked}); err != nil {
			t.Fatal(err)
		}
		if got := ready(noon.Add(time.Second)); got != 1 {
			t.Errorf("%d runs of node-a are ready, want 1: nobody claimed the second leg", got)
		}
	})
}
