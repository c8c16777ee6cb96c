package respond_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/durable"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// node is a process with an engine that executes legs at once, and a watch.
type node struct {
	runner *respond.Runner
	ctx    context.Context // it is what the process lives for
	group  sync.WaitGroup
	others []*node

	mu    sync.Mutex
	known map[durable.Leg]bool // true while it is under way
}

func (o *office) node(name string, others ...*node) *node {
	n := &node{ctx: o.Context(), known: map[durable.Leg]bool{}, others: others}
	options := o.options
	options.Node = name
	n.runner = respond.New(options)
	n.runner.Connect(n)
	o.Cleanup(n.group.Wait)
	return n
}

// Start is of respond.Starter.
func (n *node) Start(_ context.Context, runID string, leg, fence int64) error {
	n.execute(durable.Leg{Run: runID, Leg: leg, Fence: fence})
	return nil
}

func (n *node) execute(leg durable.Leg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, twice := n.known[leg]; twice {
		return
	}
	n.known[leg] = true
	n.group.Go(func() {
		err := n.runner.Advance(n.ctx, leg.Run, leg.Leg)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.known[leg] = err != nil
	})
}

// Adopt is of respond.Adopter.
func (n *node) Adopt(context.Context, []string) (int, error) {
	adopted := 0
	for _, other := range n.others {
		other.mu.Lock()
		for leg, underWay := range other.known {
			if underWay {
				adopted++
				n.execute(leg)
			}
		}
		other.mu.Unlock()
	}
	return adopted, nil
}

// watch lets the node watch until stop is called.
func (n *node) watch(roster respond.Roster) (stop func()) {
	ctx, cancel := context.WithCancel(n.ctx)
	n.group.Go(func() {
		w := &respond.Watch{Runner: n.runner, Roster: roster, Adopter: n}
		if err := w.Run(ctx); err != nil {
			panic(err) // it never does
		}
	})
	return cancel
}

// passes lets time go by, and what happens meanwhile happen.
func passes(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func TestWatchStartsWhatACrashLeft(t *testing.T) {
	story(t, func(o *office) {
		id := o.create(book(run.Auto, shut)) // and nobody starts it
		n := o.node("node-b")
		defer n.watch(o.Store)()
		passes(14 * time.Second)
		o.is(id, run.Ready)
		passes(2 * time.Second)
		o.is(id, run.Succeeded)
	})
}

func TestWatchWakes(t *testing.T) {
	story(t, func(o *office) {
		n := o.node("node-a")
		defer n.watch(o.Store)()
		o.world.Before(actiontest.Applying, "gate", 5, actiontest.Fail(fault.Transient))
		retried := o.create(book(run.Auto, strings.Replace(shut, "thing: door", "thing: gate", 1)))
		expires := o.create(within(run.OtherwiseDeny, run.Approve))
		for _, id := range []string{retried, expires} {
			n.execute(durable.Leg{Run: id, Leg: 1})
		}
		passes(8 * time.Second) // four attempts, then it is held
		o.is(retried, run.Held)
		o.is(expires, run.Waiting)
		passes(30 * time.Second)
		o.is(retried, run.Succeeded)
		passes(15 * time.Minute)
		o.is(expires, run.Denied)
	})
}

// stuck is a Starter that starts nothing.
type stuck struct{}

// Start is of respond.Starter.
func (stuck) Start(context.Context, string, int64, int64) error {
	return fault.New(fault.Transient, "the engine is busy")
}

// TestDecisionsOfPeopleAreTakenWhenNothingCanBeStarted: they are durable, and the watch finds them.
func TestDecisionsOfPeopleAreTakenWhenNothingCanBeStarted(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut))
		o.runner.Connect(stuck{})
		o.answer(id, true)
		o.is(id, run.Ready)
		o.runner.Connect(o.legs)
		o.later(time.Minute)
		o.is(id, run.Succeeded)
		o.runner.Connect(stuck{})
		undone := o.undo(id, run.Undoing{Runs: []string{id}})
		o.runner.Connect(o.legs)
		o.later(time.Minute)
		o.is(undone, run.Succeeded)
		o.value("door", "open")
	})
}

// dark is a roster that can't be reached for a while.
type dark struct {
	respond.Roster
	until time.Time
}

// Beat is of respond.Roster.
func (d *dark) Beat(ctx context.Context, name string, now time.Time) error {
	if now.Before(d.until) {
		return fault.Wrap(fault.Transient, errors.New("the store is away"))
	}
	return d.Roster.Beat(ctx, name, now)
}

func TestWatchGoesOnAfterTrouble(t *testing.T) {
	story(t, func(o *office) {
		id := o.create(book(run.Auto, shut))
		n := o.node("node-a")
		defer n.watch(&dark{o.Store, time.Now().Add(time.Minute)})()
		passes(59 * time.Second)
		o.is(id, run.Ready)
		passes(2 * time.Second)
		o.is(id, run.Succeeded)
	})
}

// TestAnotherNodeTakesOver lets a node hang in the middle of a change, long enough to be taken for dead.
func TestAnotherNodeTakesOver(t *testing.T) {
	story(t, func(o *office) {
		a := o.node("node-a")
		b, c := o.node("node-b", a), o.node("node-c", a)
		thaw := make(chan struct{})
		o.world.Before(actiontest.Applying, "door", 1, func(context.Context, actiontest.Call) error { <-thaw; return nil })
		stop := a.watch(o.Store)
		defer b.watch(o.Store)()
		defer c.watch(o.Store)()
		id := o.create(book(run.Auto, shut))
		a.execute(durable.Leg{Run: id, Leg: 1})
		passes(2 * time.Second) // less than it takes until anybody may start a run that nobody is at
		o.is(id, run.Ready, "door=intended")
		stop() // it hangs as a whole: no more beats
		passes(9 * time.Second)
		o.is(id, run.Ready, "door=intended")
		passes(2 * time.Second)
		o.is(id, run.Succeeded, "door=done")
		done := o.step(id, "door")
		before := o.recorded(id)

		close(thaw) // it is back, and believes that the run is still its own
		synctest.Wait()
		o.is(id, run.Succeeded, "door=done")
		if after := o.step(id, "door"); after.Ended != done.Ended || !after.Result.Changed {
			o.Error("the late node wrote to the run")
		}
		if after := o.recorded(id); after != before {
			o.Errorf("the late node wrote to the ledger: %s", after)
		}
		if got := o.world.Written(); len(got) != 1 {
			o.Errorf("written %v, want once", got)
		}
		buried, err := o.LedgerEntries(o.Context(), store.LedgerFilter{Kind: record.NodeLost})
		if err != nil || len(buried) != 1 {
			o.Errorf("%d losses of nodes are recorded, %v; want 1", len(buried), err)
		}
		if fence := o.journal(id).Run.Fence; fence != 2 {
			o.Errorf("the fence is %d, want 2", fence)
		}
	})
}

// TestLateNodeDoesNotTouchTheWorld: it lost the run before it wrote down its intention.
func TestLateNodeDoesNotTouchTheWorld(t *testing.T) {
	story(t, func(o *office) {
		a, b := o.node("node-a"), o.node("node-b")
		thaw := make(chan struct{})
		o.world.After(actiontest.Planning, "door", 1, func(context.Context, actiontest.Call) error { <-thaw; return nil })
		id := o.create(book(run.Auto, shut))
		a.execute(durable.Leg{Run: id, Leg: 1})
		synctest.Wait()
		b.execute(durable.Leg{Run: id, Leg: 1, Fence: 1})
		synctest.Wait()
		o.is(id, run.Succeeded)
		o.undo(id, run.Undoing{Runs: []string{id}})
		o.value("door", "open")
		close(thaw)
		synctest.Wait()
		o.value("door", "open")
		if got := o.called(actiontest.Applying); got != 1 {
			o.Errorf("applied %d times, want once", got)
		}
	})
}

func TestLivingNodeIsLeftItsLongStep(t *testing.T) {
	story(t, func(o *office) {
		a, b := o.node("node-a"), o.node("node-b")
		b.others = []*node{a}
		defer a.watch(o.Store)()
		defer b.watch(o.Store)()
		o.world.Before(actiontest.Applying, "door", 1, actiontest.Do(func() { time.Sleep(100 * time.Second) }))
		id := o.create(book(run.Auto, shut+"\t  timeout: 5m\n"))
		a.execute(durable.Leg{Run: id, Leg: 1})
		passes(99 * time.Second)
		o.is(id, run.Ready, "door=intended")
		passes(2 * time.Second)
		o.is(id, run.Succeeded)
		if fence := o.journal(id).Run.Fence; fence != 1 {
			o.Errorf("the fence is %d, want 1", fence)
		}
	})
}

func TestLegStartedTwiceIsExecutedOnce(t *testing.T) {
	story(t, func(o *office) {
		id := o.create(book(run.Auto, shut))
		o.world.Before(actiontest.Applying, "door", 1, func(ctx context.Context, _ actiontest.Call) error {
			if err := o.runner.Advance(ctx, id, 1); err != nil { // while it is under way
				o.Error(err)
			}
			if err := o.runner.Wake(ctx, o.journal(id).Run); err != nil { //nolint:contextcheck // the story has its own
				o.Error(err)
			}
			return nil
		})
		o.work()
		for leg := range int64(3) { // when it is over
			if err := o.runner.Advance(o.Context(), id, leg); err != nil {
				o.Error(err)
			}
		}
		if err := o.runner.Advance(o.Context(), "none", 1); err != nil {
			o.Error(err)
		}
		o.is(id, run.Succeeded)
		if got := o.called(actiontest.Planning); got != 1 {
			o.Errorf("planned %d times, want once", got)
		}
		if fence := o.journal(id).Run.Fence; fence != 1 {
			o.Errorf("the fence is %d, want 1", fence)
		}
	})
}
