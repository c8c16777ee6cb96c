package respond_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/durable"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
)

// claims is a journal that counts claims.
type claims struct {
	respond.Journal
	count atomic.Int64
}

// Claim is of respond.Journal.
func (c *claims) Claim(ctx context.Context, runID string, leg int64, node string) (run.Journal, error) {
	c.count.Add(1)
	return c.Journal.Claim(ctx, runID, leg, node)
}

func (o *office) counting() *claims {
	counted := &claims{Journal: o.Store}
	o.restart(func(options *respond.Options) { options.Journal = counted })
	return counted
}

// TestBegunAtOnce: a run that was decided as this node's is carried out without being claimed, and once.
func TestBegunAtOnce(t *testing.T) {
	story(t, func(o *office) {
		counted := o.counting()
		id := o.resolve(book(run.Auto, shut))
		if err := o.runner.Advance(o.Context(), id, 1); err != nil { // somebody starts it as well
			o.Error(err)
		}
		if err := o.runner.Wake(o.Context(), o.journal(id).Run); err != nil {
			o.Error(err)
		}
		o.is(id, run.Ready)
		o.work()
		o.is(id, run.Succeeded, "door=done")
		if len(o.world.Written()) != 1 || counted.count.Load() != 0 {
			o.Errorf("written %v, claimed %d times; want once, and no claim", o.world.Written(), counted.count.Load())
		}
	})
}

// TestBegunLateIsClaimed: a journal that waited for long is read again.
func TestBegunLateIsClaimed(t *testing.T) {
	story(t, func(o *office) {
		counted := o.counting()
		id := o.resolve(book(run.Auto, shut))
		time.Sleep(6 * time.Second)
		o.work()
		o.is(id, run.Succeeded, "door=done")
		if counted.count.Load() != 1 {
			o.Errorf("claimed %d times, want once", counted.count.Load())
		}
	})
}

// TestBegunWhereMuchWaitsIsStarted: what can't be kept in memory is started as other legs are.
func TestBegunWhereMuchWaitsIsStarted(t *testing.T) {
	story(t, func(o *office) {
		o.legs.full = true
		id := o.resolve(book(run.Auto, shut))
		if len(o.legs.work) != 0 || len(o.legs.waiting) != 1 {
			o.Fatalf("%d are kept in memory, %d are started; want 0, 1", len(o.legs.work), len(o.legs.waiting))
		}
		o.work()
		o.is(id, run.Succeeded, "door=done")
	})
}

// TestBegunElsewhereIsLeftAlone: whose run was taken over while it waited in memory does nothing to the world.
func TestBegunElsewhereIsLeftAlone(t *testing.T) {
	story(t, func(o *office) {
		id := o.resolve(book(run.Auto, shut))
		if _, err := o.Claim(o.Context(), id, 1, "node-b"); err != nil {
			o.Fatal(err)
		}
		o.work()
		o.is(id, run.Ready)
		o.value("door", "open")
	})
}

// TestWatchTakesUpWhatItsNodeLeft: the engine knows nothing of a leg that was begun at once. Its node finds it
// as soon as it is there again, though it is known to live; another node when it buries the one that is gone.
func TestWatchTakesUpWhatItsNodeLeft(t *testing.T) {
	for name, after := range map[string]time.Duration{"node-a": 100 * time.Millisecond, "node-b": 11 * time.Second} {
		t.Run(name, func(t *testing.T) {
			story(t, func(o *office) {
				gone := errors.New("the process dies")
				ctx, die := context.WithCancelCause(o.Context())
				o.world.Before(actiontest.Applying, "door", 1, func(ctx context.Context, _ actiontest.Call) error {
					die(gone)
					return actiontest.Hang(ctx, actiontest.Call{})
				})
				if err := o.Beat(o.Context(), "node-a", time.Now()); err != nil {
					o.Fatal(err)
				}
				waits, acts := o.resolve(book(run.Auto, shut)), o.resolve(book(run.Auto, shut))
				if err := o.legs.takeWork()[1](ctx); !errors.Is(err, gone) {
					o.Errorf("got %v, want %v", err, gone)
				}
				time.Sleep(time.Second)
				defer o.node(name).watch(o.Store)()
				passes(after)
				for _, id := range []string{waits, acts} {
					o.is(id, run.Succeeded, "door=done")
				}
				if got := len(o.world.Written()); got != 1 {
					o.Errorf("%d changes were made, want 1: the second finds the door shut", got)
				}
			})
		})
	}
}

// TestWatchTakesUpWhatWasNotBegun: the answer to the decision's commit was lost, so that nobody began the run
// though it is its node's. Of its own runs a node knows which it is at.
func TestWatchTakesUpWhatWasNotBegun(t *testing.T) {
	story(t, func(o *office) {
		thaw := make(chan struct{})
		o.world.Before(actiontest.Applying, "door", 1, func(context.Context, actiontest.Call) error { <-thaw; return nil })
		n := o.node("node-a")
		defer n.watch(o.Store)()
		passes(time.Second)
		under := o.create(book(run.Auto, shut))
		n.execute(durable.Leg{Run: under, Leg: 1}) // a long step, at which the node is
		lost := o.resolve(book(run.Auto, strings.Replace(shut, "thing: door", "thing: gate", 1)))
		o.legs.takeWork()
		passes(14 * time.Second)
		o.is(lost, run.Ready)
		passes(2 * time.Second)
		o.is(lost, run.Succeeded, "door=done")
		o.is(under, run.Ready, "door=intended")
		close(thaw)
		passes(time.Second)
		o.is(under, run.Succeeded, "door=done")
		if got := o.recorded(under); strings.Count(got, "action.intended") != 1 {
			o.Errorf("the long step was disturbed: %s", got)
		}
	})
}
