package respond_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/durable"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// engine is an office on the durable engine, with both on disk.
type engine struct {
	*office
	durable *durable.Engine

	mu    sync.Mutex
	until map[string]chan struct{} // closed when a run is over, or waits where that is asked for
	parks bool
}

func newEngine(tb testing.TB) *engine {
	tb.Helper()
	e := &engine{office: newOffice(tb), until: map[string]chan struct{}{}}
	e.options.Journal = &diary{Journal: e.Store, after: e.wrote}
	e.runner = respond.New(e.options)
	opened, err := durable.Open(context.WithoutCancel(tb.Context()), durable.Options{
		Store: filepath.Join(tb.TempDir(), "durable.db"), Node: "node-a", Logger: slog.New(slog.DiscardHandler),
		Advance: func(ctx context.Context, leg durable.Leg) error { return e.runner.Advance(ctx, leg.Run, leg.Leg) },
	})
	if err != nil {
		tb.Fatal(err)
	}
	e.durable = opened
	e.runner.Connect(e)
	tb.Cleanup(func() {
		if err := opened.Close(10 * time.Second); err != nil {
			tb.Error(err)
		}
	})
	return e
}

// Execute is of respond.Executor.
func (e *engine) Execute(work func(context.Context) error) bool { return e.durable.Execute(work) }

// Start is of respond.Starter.
func (e *engine) Start(ctx context.Context, runID string, leg, fence int64) error {
	return e.durable.Start(ctx, durable.Leg{Run: runID, Leg: leg, Fence: fence})
}

func (e *engine) wrote(_ context.Context, entry run.Entry) error {
	if entry.Run.State.Final() || e.parks && entry.Run.State == run.Waiting {
		e.mu.Lock()
		defer e.mu.Unlock()
		if over, ok := e.until[entry.Run.ID]; ok {
			close(over)
			delete(e.until, entry.Run.ID)
		}
	}
	return nil
}

// over gives a channel that is closed when a run comes to rest.
func (e *engine) over(id string) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	over := make(chan struct{})
	e.until[id] = over
	return over
}

// decided keeps a new run, as triage does, and starts it.
func (e *engine) decided(text string) (id string, over <-chan struct{}, err error) {
	d := e.decide(text)
	id = d.Runs[0].ID
	e.world.Put(account, d.Finding.Entities[0].ID, "on") // each run has a key of its own
	var begun []run.Journal
	if err := e.Update(e.Context(), func(tx *store.Tx) (err error) {
		tx.Begin(e.runner.Node)
		if err := tx.Save(e.Context(), d); err != nil {
			return err
		}
		begun, err = tx.Begun()
		return err
	}); err != nil {
		return id, nil, err
	}
	over = e.over(id)
	e.runner.Begin(e.Context(), begun[0])
	return id, over, nil
}

func TestOnTheDurableEngine(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.parks = true
	id, rests, err := e.decided(long)
	if err != nil {
		t.Fatal(err)
	}
	<-rests
	asked := e.pending(id)
	if len(asked.Plans) != 3 {
		t.Errorf("asked about %d plans, want 3", len(asked.Plans))
	}
	rests = e.over(id)
	if _, err := e.runner.Decide(t.Context(), e.Store, respond.Answer{
		Approval: asked.ID, Hash: asked.Hash, Yes: true, By: "ann", Roles: []string{"incident_analyst"},
	}); err != nil {
		t.Fatal(err)
	}
	<-rests
	e.is(id, run.Succeeded)
	if got := len(e.world.Written()); got != 4 {
		t.Errorf("%d changes were made, want 4", got)
	}
	if _, err := e.VerifyLedger(t.Context()); err != nil {
		t.Error(err)
	}
}

const three = `
steps:
	- id: look
	  use: test.world.read_thing
	  with: {thing: "{{ finding.access_key }}"}
	- id: disable
	  use: test.world.set_thing
	  with: {thing: "{{ finding.access_key }}", to: off}
	- id: say
	  use: test.world.tell_people
	  with: {message: "the key was {{ steps.look.value }}"}
`

// BenchmarkRun tells how many runs of three instant steps a second are carried out, from the decision to the
// end: store and durable engine on disk, each commit synced.
func BenchmarkRun(b *testing.B) {
	for _, atOnce := range []int{1, 50} {
		b.Run(fmt.Sprintf("at_once=%d", atOnce), func(b *testing.B) { benchmarkRuns(b, atOnce) })
	}
}

func benchmarkRuns(b *testing.B, atOnce int) {
	b.Helper()
	e := newEngine(b)
	took := make([]time.Duration, b.N)
	turns := make(chan int)
	var group sync.WaitGroup
	text := book(run.Auto, three)
	for range atOnce {
		group.Go(func() {
			for n := range turns {
				began := time.Now()
				_, over, err := e.decided(text)
				if err != nil {
					b.Error(err)
					continue
				}
				<-over
				took[n] = time.Since(began)
			}
		})
	}
	b.ResetTimer()
	for n := range b.N {
		turns <- n
	}
	close(turns)
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	report(b, took)
}

func report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkWaiting1000 tells what a thousand runs that wait for a person cost, and how long one takes from
// its answer to its end. Each round answers one of them.
func BenchmarkWaiting1000(b *testing.B) {
	e := newEngine(b)
	e.parks = true
	goroutines, memory := used()
	text := book(run.Approve, three)
	var waiting []string
	for range 1000 {
		id, rests, err := e.decided(text)
		if err != nil {
			b.Fatal(err)
		}
		<-rests
		waiting = append(waiting, id)
	}
	more, bytes := used()
	began := time.Now()
	const looks = 100
	for range looks {
		if due, err := e.Due(b.Context(), time.Now(), 15*time.Second, 500); err != nil || len(due) > 0 {
			b.Fatalf("%d are due, %v", len(due), err)
		}
	}
	look := time.Since(began) / looks
	e.parks = false
	var took []time.Duration
	for b.Loop() {
		if len(waiting) == 0 {
			b.Fatal("more rounds than runs that wait: use -benchtime=200x")
		}
		b.StopTimer()
		asked := e.pending(waiting[0])
		over := e.over(waiting[0])
		waiting = waiting[1:]
		b.StartTimer()
		began := time.Now()
		if _, err := e.runner.Decide(b.Context(), e.Store, respond.Answer{
			Approval: asked.ID, Hash: asked.Hash, Yes: true, By: "ann", Roles: []string{"admin"},
		}); err != nil {
			b.Fatal(err)
		}
		<-over
		took = append(took, time.Since(began))
	}
	b.ReportMetric(float64(more-goroutines), "goroutines")
	b.ReportMetric(float64(bytes-memory)/1000, "B/waiting")
	b.ReportMetric(float64(look.Microseconds()), "µs/look")
	report(b, took)
}

func used() (goroutines int, heap int64) {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return runtime.NumGoroutine(), int64(stats.HeapAlloc)
}
