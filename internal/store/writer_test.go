package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

var errNo = errors.New("no")

func TestFailingFunctionsTakeNobodyWithThem(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		const callers, rounds = 16, 10
		var group sync.WaitGroup
		for n := range callers {
			group.Go(func() {
				for round := range rounds {
					d := opened(fmt.Sprintf("%d-%d", n, round))
					fails := (n+round)%3 == 0
					err := t.Update(t.Context(), func(tx *store.Tx) error {
						if err := tx.Save(t.Context(), d); err != nil {
							return err
						}
						if fails {
							return errNo
						}
						return nil
					})
					if fails != errors.Is(err, errNo) || !fails && err != nil {
						t.Errorf("%s: got %v", d.Incident.ID, err)
					}
				}
			})
		}
		group.Wait()
		kept := 0
		for n := range callers {
			for round := range rounds {
				_, err := t.Incident(t.Context(), fmt.Sprintf("inc-%d-%d", n, round))
				if fails := (n+round)%3 == 0; fails != fault.Is(err, fault.NotFound) {
					t.Errorf("caller %d, round %d: got %v", n, round, err)
				} else if !fails {
					kept++
				}
			}
		}
		report, err := t.VerifyLedger(t.Context())
		if err != nil || report.Size != int64(2*kept) {
			t.Errorf("got %d records, %v; want %d", report.Size, err, 2*kept)
		}
	})
}

// TestErrorThatWasOverlookedCounts lets a function go on after a statement of its own failed.
func TestErrorThatWasOverlookedCounts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		save(t, t.Store, opened("1"))
		clash := opened("2")
		clash.Finding.ID = "fin-1" // another fingerprint, the same id
		err := t.Update(t.Context(), func(tx *store.Tx) error {
			if err := tx.SaveLetters(t.Context(), []event.Letter{{ID: "l", Received: noon}}); err != nil {
				return err
			}
			_ = tx.Save(t.Context(), clash)
			return nil
		})
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("got %v, want a Conflict", err)
		}
		if _, err := t.Letter(t.Context(), "l"); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want that nothing was kept", err)
		}
		save(t, t.Store, opened("3"))
	})
}

func TestCallerThatLeaves(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		errLeft := errors.New("left")
		entered, release := make(chan struct{}), make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() { // holds the writer up
			if err := t.Update(t.Context(), func(tx *store.Tx) error {
				close(entered)
				<-release
				return tx.Save(t.Context(), opened("1"))
			}); err != nil {
				t.Error(err)
			}
		})
		<-entered
		ctx, leave := context.WithCancelCause(t.Context())
		queued := make(chan error)
		go func() {
			queued <- t.Update(ctx, func(*store.Tx) error {
				t.Error("executed for a caller that left")
				return nil
			})
		}()
		leave(errLeft)
		if err := <-queued; !errors.Is(err, errLeft) {
			t.Errorf("got %v, want the cause of leaving", err)
		}
		close(release)
		group.Wait()

		// One that leaves while it is being executed gets the cause, and costs the others nothing.
		ctx, leave = context.WithCancelCause(t.Context())
		err := t.Update(ctx, func(tx *store.Tx) error {
			leave(errLeft)
			return tx.Save(ctx, opened("2"))
		})
		if !errors.Is(err, errLeft) {
			t.Errorf("got %v, want the cause of leaving", err)
		}
		if _, err := t.Incident(t.Context(), "inc-1"); err != nil {
			t.Error(err)
		}
		save(t, t.Store, opened("3"))
	})
}

func TestPanicIsItsCallersAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		func() {
			defer func() {
				if cause := fmt.Sprint(recover()); !strings.Contains(cause, "a bug") {
					t.Errorf("got panic %q, want a bug", cause)
				}
			}()
			_ = t.Update(t.Context(), func(tx *store.Tx) error {
				if err := tx.Save(t.Context(), opened("1")); err != nil {
					t.Error(err)
				}
				panic("a bug")
			})
			t.Error("did not panic")
		}()
		save(t, t.Store, opened("2"))
		if report, err := t.VerifyLedger(t.Context()); err != nil || report.Size != 2 {
			t.Errorf("got %d records, %v; want 2", report.Size, err)
		}
	})
}

func TestCloseKeepsWhatWasQueued(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "riposte.db")
	s, err := store.Open(t.Context(), path, store.Options{Key: key(t)})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	kept := make(chan string, 200)
	for n := range cap(kept) {
		group.Go(func() {
			d := opened(fmt.Sprint("c", n))
			err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Save(t.Context(), d) })
			if err == nil {
				kept <- d.Incident.ID
			} else if !fault.Is(err, fault.Transient) {
				t.Errorf("got %v, want that the store is closed", err)
			}
		})
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	group.Wait()
	close(kept)
	if err := s.Ping(t.Context()); !fault.Is(err, fault.Transient) {
		t.Errorf("got %v, want that the store is closed", err)
	}
	again := open(t, path)
	for id := range kept {
		if _, err := again.Incident(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

// TestLedgerHoldsExactlyWhatIsKept appends from many at once, in functions that fail now and then, and
// looks whether each kept incident, and no other, is in the ledger.
func TestLedgerHoldsExactlyWhatIsKept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		var group sync.WaitGroup
		for n := range 300 {
			fails := rand.IntN(4) == 0
			group.Go(func() {
				d := opened(fmt.Sprint("m", n))
				_ = t.Update(t.Context(), func(tx *store.Tx) error {
					if err := tx.Save(t.Context(), d); err != nil || !fails {
						return err
					}
					return errNo
				})
			})
		}
		group.Wait()
		entries, err := t.LedgerEntries(t.Context(), store.LedgerFilter{Kind: record.IncidentOpened, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		c, err := t.Counts(t.Context())
		if err != nil || c.Runs[run.Ready] != int64(len(entries)) || c.LedgerSize != int64(2*len(entries)) {
			t.Errorf("%d openings recorded, %d records, %d runs, %v", len(entries), c.LedgerSize, c.Runs[run.Ready], err)
		}
		if _, err := t.VerifyLedger(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusedWriteAmongOthers lets writes come together of which some are refused: PostgreSQL's transaction takes
// for granted that none is, and must find out.
func TestRefusedWriteAmongOthers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		const writers = 12
		var journals []run.Journal
		for n := range writers {
			d := opened(strconv.Itoa(n))
			journals = append(journals, begin(t, t.Store, "node-a", d)...)
		}
		before, err := t.VerifyLedger(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		entered, release := make(chan struct{}), make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() { // holds the writer up, so that the others are in one transaction
			if err := t.Update(t.Context(), func(*store.Tx) error { close(entered); <-release; return nil }); err != nil {
				t.Error(err)
			}
		})
		<-entered
		for n, j := range journals {
			group.Go(func() {
				r, stale := j.Run, n%4 == 1
				r.Reason = "written"
				if stale {
					r.Fence--
				}
				rec := record.New(noon, record.ActionIntended, record.System, nil).About(r.Incident, r.ID, "s")
				err := t.Write(t.Context(), run.Entry{
					Run: r, Steps: []run.Step{{Run: r.ID, ID: "s", Action: "a", State: run.Intended}}, Records: []record.Record{rec},
				})
				if stale != fault.Is(err, fault.Conflict) || !stale && err != nil {
					t.Errorf("run %s, stale %t: got %v", r.ID, stale, err)
				}
			})
		}
		group.Go(func() { // a run that is there already is left out, with its records
			again := opened("0")
			again.Runs[0].ID, again.Records[1].Run = "run-again", "run-again"
			save(t, t.Store, again)
		})
		close(release)
		group.Wait()
		for n, j := range journals {
			got, err := t.Load(t.Context(), j.Run.ID)
			if err != nil {
				t.Fatal(err)
			}
			if written := got.Run.Reason == "written" && len(got.Steps) == 1; written == (n%4 == 1) {
				t.Errorf("run %s is written: %t", j.Run.ID, written)
			}
		}
		if _, err := t.Load(t.Context(), "run-again"); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want that the second run was left out", err)
		}
		after, err := t.VerifyLedger(t.Context())
		if want := before.Size + writers*3/4 + 1; err != nil || after.Size != want {
			t.Errorf("%d records, %v; want %d", after.Size, err, want)
		}
	})
}
