package app

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/follow"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
)

const (
	// errandPatience is how long an errand waits at its end for legs in flight; the next one finishes the rest.
	errandPatience = time.Second
	// lookEvery is the time between two looks whether anything goes on.
	lookEvery = 25 * time.Millisecond
	// calm is how many such looks must find nothing in a row.
	calm = 4
)

// Errand is a Riposte that works while it is asked to and then ends: it listens to nobody, reads no queue, and what it
// leaves unfinished another errand, or a server, finishes. Its state is in PostgreSQL, because the machine that it runs
// on is gone after it.
type Errand struct {
	app     *App
	folder  string
	legs    atomic.Int64 // in flight
	started started
	stop    context.CancelFunc
	watched chan struct{}
}

// started are the runs that were started and may not be parked or over yet.
type started struct {
	mu   sync.Mutex
	runs map[string]bool
}

func (s *started) add(runID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs == nil {
		s.runs = map[string]bool{}
	}
	s.runs[runID] = true
}

func (s *started) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]string, 0, len(s.runs))
	for id := range s.runs {
		all = append(all, id)
	}
	return all
}

func (s *started) drop(runID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, runID)
}

// CheckErrand finds what keeps a configuration from being one of errands. Errors are Invalid and name the key.
func CheckErrand(c Config) error {
	var errs []error
	if c.Store.URL.IsZero() {
		errs = append(errs, wrong("store.url", "a function keeps nothing: its state has to be in PostgreSQL, SQLite can't be used"))
	}
	if c.Store.LedgerKey.IsZero() {
		errs = append(errs, wrong("store.ledger_key", "all invocations share the ledger's key: name it here"))
	}
	if len(c.Sources.Queues) > 0 {
		errs = append(errs, wrong("sources.queues", "a function is handed its messages: make the queue its event source instead"))
	}
	return fault.Wrap(fault.Invalid, errors.Join(errs...))
}

// OpenErrand opens one, under a name of its own. Errors are those of New.
func OpenErrand(ctx context.Context, c Config, o Options) (*Errand, error) {
	if err := CheckErrand(c); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "riposte-errand-")
	if err != nil {
		return nil, fault.Wrap(fault.Transient, err)
	}
	c.Data, c.Node = folder, "errand-"+strings.ToLower(newID())
	e := &Errand{folder: folder}
	o.errand = e
	opened, err := New(ctx, c, o)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	e.app = opened
	watch := &respond.Watch{Runner: opened.runner, Roster: opened.store, Adopter: opened.durable}
	if err := watch.Look(ctx); err != nil {
		o.Logger.WarnContext(ctx, "look for due runs", "err", err.Error()) // it looks again
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop, e.watched = stop, make(chan struct{})
	go func() {
		defer close(e.watched)
		_ = watch.Run(watching) // it logs what fails, and goes on
	}()
	return e, nil
}

// Take takes a batch in. It returns nil when all that follows from it is durable.
func (e *Errand) Take(ctx context.Context, b event.Batch) error { return e.app.intake.Accept(ctx, b) }

// Settle wakes what is due, then waits until the runs that were started are over or wait for something, and what
// follows the ledger has handed on. When ctx ends it leaves the rest to the next errand.
func (e *Errand) Settle(ctx context.Context) {
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = e.app.way.due(ctx); err != nil {
			e.app.options.Logger.ErrorContext(ctx, "judge correlations", "err", err.Error())
			break
		}
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for still := 0; still < calm; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		still++
		if e.goesOn(ctx) || e.follows(ctx) {
			still = 0
		}
	}
}

// goesOn reports whether a leg is in flight or a run that was started is to be advanced.
func (e *Errand) goesOn(ctx context.Context) bool {
	going := e.legs.Load() > 0
	for _, id := range e.started.list() {
		journal, err := e.app.store.Load(ctx, id)
		switch {
		case err == nil && journal.Run.State != run.Ready, fault.Is(err, fault.NotFound):
			e.started.drop(id)
		default:
			going = true
		}
	}
	return going
}

// follows lets what follows the ledger take a step, and reports whether one may take another. What fails is tried
// by the next errand.
func (e *Errand) follows(ctx context.Context) bool {
	more := false
	for _, f := range e.app.followers {
		if further, err := stepOnce(ctx, f); err == nil && further {
			more = true
		}
	}
	return more
}

// stepOnce steps, unless the follower failed in this errand already.
func stepOnce(ctx context.Context, f *follow.Follower) (bool, error) {
	if f.State().Failed > 0 {
		return false, nil
	}
	return f.Step(ctx)
}

// Close ends the errand. Legs in flight are waited for a moment; the rest is left for others at once.
func (e *Errand) Close() error {
	e.stop()
	<-e.watched
	unfinished := e.legs.Load() > 0 || len(e.started.list()) > 0
	return errors.Join(e.app.leave(unfinished), e.app.Close(), os.RemoveAll(e.folder))
}

// leave ends the engine of runs, then takes this node off the roster.
func (a *App) leave(unfinished bool) error {
	var errs []error
	if a.durable != nil {
		errs = append(errs, a.durable.Close(errandPatience))
		a.durable = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return errors.Join(append(errs, a.store.Leave(ctx, a.node, unfinished))...)
}
