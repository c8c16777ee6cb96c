package respond

import (
	"context"
	"fmt"
	"time"

	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// Roster is what watching needs of the store: runs that are due, and which nodes live.
type Roster interface {
	// Due gives runs that are ready but were not touched for stale, and runs whose wake has come.
	Due(ctx context.Context, now time.Time, stale time.Duration, limit int) ([]run.Run, error)
	// ReadyOf gives the ready runs that a node claimed for the leg they are at and has had nothing to do with
	// since before.
	ReadyOf(ctx context.Context, node string, before time.Time, limit int) ([]run.Run, error)
	Beat(ctx context.Context, node string, now time.Time) error
	// Lost gives the nodes whose last beat is older than before.
	Lost(ctx context.Context, before time.Time) ([]string, error)
	// Bury declares a node dead. Only one caller gets true.
	Bury(ctx context.Context, node, by string, rec record.Record) (bool, error)
}

// Adopter takes over the legs of dead nodes.
type Adopter interface {
	Adopt(ctx context.Context, dead []string) (int, error)
}

// Watch keeps runs going: it wakes those whose time has come, starts those that a crash left between
// two legs, shows that this node lives, and takes over from nodes that don't.
type Watch struct {
	Runner  *Runner
	Roster  Roster
	Adopter Adopter
	// Every is the time between two looks; 500 ms if zero.
	Every time.Duration
	// Stale is how long a ready run is left to the node that should be at it; 15 s if zero.
	Stale time.Duration
	// Dead is how long a node may be silent; 10 s if zero. Several times Every.
	Dead time.Duration

	begun time.Time // when Run was called
}

// most is how many due runs are started at one look.
const most = 500

// Run looks until ctx ends. What goes wrong is logged and tried again at the next look.
func (w *Watch) Run(ctx context.Context) error {
	ticker := time.NewTicker(orElse(w.Every, 500*time.Millisecond))
	defer ticker.Stop()
	failures := 0
	w.begun = w.Runner.Now()
	for {
		err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil && failures > 0:
			w.Runner.Logger.InfoContext(ctx, "watching runs again", "failures", failures)
			failures = 0
		case err != nil:
			if failures&(failures+1) == 0 { // the first, the second, the fourth, the eighth... it may go on for hours
				w.Runner.Logger.ErrorContext(ctx, "watching runs", "err", err.Error(), "failures", failures+1)
			}
			failures++
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Look looks once: for who doesn't run all the time.
func (w *Watch) Look(ctx context.Context) error { return w.look(ctx) }

func (w *Watch) look(ctx context.Context) error {
	now := w.Runner.Now()
	if err := w.Roster.Beat(ctx, w.Runner.Node, now); err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	if err := w.takeOver(ctx, now); err != nil {
		return err
	}
	stale := orElse(w.Stale, 15*time.Second)
	mine := now.Add(-stale) // of those this process knows whether it is at them
	if mine.Before(w.begun) {
		mine = w.begun
	}
	if _, err := w.takeUp(ctx, w.Runner.Node, mine); err != nil {
		return err
	}
	due, err := w.Roster.Due(ctx, now, stale, most)
	if err != nil {
		return fmt.Errorf("look for due runs: %w", err)
	}
	w.wake(ctx, due)
	return nil
}

func (w *Watch) wake(ctx context.Context, due []run.Run) {
	for _, r := range due {
		if err := w.Runner.Wake(ctx, r); err != nil {
			w.Runner.Logger.ErrorContext(ctx, "wake run", "run", r.ID, "err", err.Error())
		}
	}
}

// takeUp starts legs once more that a node has claimed and isn't at any more, and gives their number. The durable
// engine doesn't know of those that the node began at once.
func (w *Watch) takeUp(ctx context.Context, node string, before time.Time) (int, error) {
	left, err := w.Roster.ReadyOf(ctx, node, before, most)
	if err != nil {
		return 0, fmt.Errorf("look for runs that node %s left: %w", node, err)
	}
	w.wake(ctx, left)
	return len(left), nil
}

func (w *Watch) takeOver(ctx context.Context, now time.Time) error {
	lost, err := w.Roster.Lost(ctx, now.Add(-orElse(w.Dead, 10*time.Second)))
	if err != nil {
		return fmt.Errorf("look for lost nodes: %w", err)
	}
	for _, node := range lost {
		if node == w.Runner.Node {
			continue
		}
		gone := record.New(now, record.NodeLost, record.System, map[string]string{"node": node, "by": w.Runner.Node})
		mine, err := w.Roster.Bury(ctx, node, w.Runner.Node, gone)
		if err != nil {
			return fmt.Errorf("bury node %s: %w", node, err)
		}
		if !mine {
			continue
		}
		adopted, err := w.Adopter.Adopt(ctx, []string{node})
		if err != nil {
			return err
		}
		taken, err := w.takeUp(ctx, node, now)
		if err != nil {
			return err
		}
		w.Runner.Logger.WarnContext(ctx, "took over from a lost node", "node", node, "legs", adopted, "runs", taken)
	}
	return nil
}

// Wake starts the next leg of a waiting or held run now, or once more the leg of a ready one that nobody
// has been at for a while: the fence in the leg's name makes that a new start.
func (r *Runner) Wake(ctx context.Context, due run.Run) error {
	if r.busy(due.ID) {
		return nil
	}
	if due.State != run.Ready {
		due.State, due.Reason, due.Wake, due.Updated = run.Ready, "", time.Time{}, r.Now()
		due.Leg++
		if err := r.Journal.Write(ctx, run.Entry{Run: due}); err != nil {
			return err
		}
	}
	return r.starter.Start(ctx, due.ID, due.Leg, due.Fence)
}

func (r *Runner) busy(runID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active[runID] > 0
}
