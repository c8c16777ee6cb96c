package durable_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/durable"
)

// book counts the executions of legs.
type book struct {
	mu    sync.Mutex
	times map[durable.Leg]int
	done  chan durable.Leg
}

func newBook() *book { return &book{times: map[durable.Leg]int{}, done: make(chan durable.Leg, 1000)} }

func (b *book) advance(_ context.Context, leg durable.Leg) error {
	b.mu.Lock()
	b.times[leg]++
	b.mu.Unlock()
	b.done <- leg
	return nil
}

func open(t *testing.T, path string, advance func(context.Context, durable.Leg) error) *durable.Engine {
	t.Helper()
	engine, err := durable.Open(t.Context(), durable.Options{
		Store: path, Node: "node-a", Logger: slog.New(slog.DiscardHandler), Advance: advance,
	})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func TestStartedTwiceIsExecutedOnce(t *testing.T) {
	t.Parallel()
	legs := newBook()
	engine := open(t, filepath.Join(t.TempDir(), "durable.db"), legs.advance)
	leg := durable.Leg{Run: "r1", Leg: 1}
	for range 3 {
		if err := engine.Start(t.Context(), leg); err != nil {
			t.Fatal(err)
		}
	}
	second := durable.Leg{Run: "r1", Leg: 2}
	if err := engine.Start(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	<-legs.done
	<-legs.done
	if err := engine.Close(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if legs.times[leg] != 1 || legs.times[second] != 1 {
		t.Errorf("executed %v, want each once", legs.times)
	}
}

func TestUnfinishedLegIsExecutedAtTheNextOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "durable.db")
	begun := make(chan struct{})
	engine := open(t, path, func(ctx context.Context, _ durable.Leg) error {
		close(begun)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	leg := durable.Leg{Run: "r1", Leg: 1}
	if err := engine.Start(t.Context(), leg); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := engine.Close(2 * time.Second); err != nil {
		t.Log(err) // it says that a leg didn't end
	}
	legs := newBook()
	engine = open(t, path, legs.advance)
	select {
	case got := <-legs.done:
		if got != leg {
			t.Errorf("executed %v, want %v", got, leg)
		}
	case <-time.After(20 * time.Second):
		t.Error("the leg was not executed again")
	}
	if err := engine.Close(5 * time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestPanicEndsTheLegAlone(t *testing.T) {
	t.Parallel()
	legs := newBook()
	engine := open(t, filepath.Join(t.TempDir(), "durable.db"), func(ctx context.Context, leg durable.Leg) error {
		if leg.Run == "bad" {
			panic(errors.New("a bug"))
		}
		return legs.advance(ctx, leg)
	})
	for _, run := range []string{"bad", "good"} {
		if err := engine.Start(t.Context(), durable.Leg{Run: run, Leg: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-legs.done; got.Run != "good" {
		t.Errorf("executed %v, want the good one", got)
	}
	if err := engine.Close(5 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestExecuteIsBounded: a process that can't keep up says so, and its end waits for what was begun alone.
func TestExecuteIsBounded(t *testing.T) {
	t.Parallel()
	engine, err := durable.Open(t.Context(), durable.Options{
		Store: filepath.Join(t.TempDir(), "durable.db"), Node: "node-a", Logger: slog.New(slog.DiscardHandler), Concurrent: 2,
		Advance: newBook().advance,
	})
	if err != nil {
		t.Fatal(err)
	}
	var atOnce, begun, ended atomic.Int64
	full := make(chan struct{}, 2)
	work := func(ctx context.Context) error {
		if atOnce.Add(1) > 2 {
			t.Error("more is executed at once than may be")
		}
		defer atOnce.Add(-1)
		begun.Add(1)
		full <- struct{}{}
		<-ctx.Done()
		time.Sleep(10 * time.Millisecond) // it has something to put in order
		ended.Add(1)
		return context.Cause(ctx)
	}
	taken := 0
	for range 10_000 {
		if engine.Execute(work) {
			taken++
		}
	}
	if taken < 100 || taken == 10_000 {
		t.Errorf("%d of 10,000 were taken, want some and not all", taken)
	}
	<-full
	<-full
	if err := engine.Close(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if begun.Load() != 2 || ended.Load() != 2 {
		t.Errorf("%d begun, %d ended, want 2 of each", begun.Load(), ended.Load())
	}
}

func TestPanicOfWorkEndsItAlone(t *testing.T) {
	t.Parallel()
	legs := newBook()
	engine := open(t, filepath.Join(t.TempDir(), "durable.db"), legs.advance)
	engine.Execute(func(context.Context) error { panic(errors.New("a bug")) })
	leg := durable.Leg{Run: "good", Leg: 1}
	engine.Execute(func(ctx context.Context) error { return legs.advance(ctx, leg) })
	if got := <-legs.done; got != leg {
		t.Errorf("executed %v, want %v", got, leg)
	}
	if err := engine.Close(5 * time.Second); err != nil {
		t.Fatal(err)
	}
}
