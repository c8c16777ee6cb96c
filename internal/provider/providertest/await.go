package providertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Awaited is an action whose result comes after Apply, with whoever carries out what it starts. The suite gives
// each test a token of its own, so that each starts something of its own.
type Awaited struct {
	Action action.Action
	Input  action.Input
	// Started tells how many things the action has started so far.
	Started func(t *testing.T) int
	// End ends what was started last: well, or as a failure. Until then it goes on.
	End func(t *testing.T, well bool)
	// Door is the way to whoever carries it out. Nil where it can't break.
	Door *Door
	// Forgets says that what was started can be found again by Apply's result alone.
	Forgets bool
}

// Await tests that an action keeps the contract of an action.Awaiter.
func Await(t *testing.T, a Awaited) {
	t.Helper()
	if _, ok := a.Action.(action.Awaiter); !ok {
		t.Fatal("it is no action.Awaiter")
	}
	if within := a.Action.Spec().Within; within < 0 {
		t.Errorf("its result is waited for within %v", within)
	}
	t.Run("comes once", a.comesOnce)
	t.Run("outlives a lost outcome", a.outlives)
	t.Run("fails with what was started", a.fails)
	t.Run("nobody knows of it", a.unknown)
	t.Run("passing errors", a.passing)
}

// comesOnce: while it goes on there is no result; once it is over there is one, and it stays.
func (a Awaited) comesOnce(t *testing.T) {
	before := a.Started(t)
	done := a.apply(t, a.planned(t, "once"))
	for range 2 {
		if result, over, err := a.await(t.Context(), done); over || err != nil {
			t.Fatalf("while it goes on: got %+v, %t, %v, want no result and no error", result, over, err)
		}
	}
	a.End(t, true)
	first := a.result(t, done)
	checkOutputs(t, a.Action.Spec(), first.Outputs)
	if !first.Changed {
		t.Error("the result says that Apply changed nothing")
	}
	if diff := cmp.Diff(first, a.result(t, done)); diff != "" {
		t.Errorf("asked again, the result is another (-first +second):\n%s", diff)
	}
	if got := a.Started(t) - before; got != 1 {
		t.Errorf("%d things were started, want 1: waiting starts nothing", got)
	}
}

// outlives: the process died before it wrote down what Apply did. Applied again, nothing is started a second
// time, and the result comes even to who knows the plan alone.
func (a Awaited) outlives(t *testing.T) {
	before := a.Started(t)
	change := a.planned(t, "lost")
	a.apply(t, change)
	again := a.apply(t, change)
	if got := a.Started(t) - before; got != 1 {
		t.Errorf("%d things were started by two Applies of one change, want 1", got)
	}
	a.End(t, true)
	want := a.result(t, again)
	if a.Forgets {
		return
	}
	if diff := cmp.Diff(want.Outputs, a.result(t, action.Applied{Change: change}).Outputs); diff != "" {
		t.Errorf("from the plan alone, the result is another (-want +got):\n%s", diff)
	}
	a.apply(t, change)
	if got := a.Started(t) - before; got != 1 {
		t.Errorf("%d things were started, want 1: applied once more, what is over was started anew", got)
	}
}

// fails: what was started failed, and so does the step, for good.
func (a Awaited) fails(t *testing.T) {
	done := a.apply(t, a.planned(t, "failed"))
	a.End(t, false)
	for range 2 {
		result, over, err := a.await(t.Context(), done)
		if over || err == nil || fault.Is(err, fault.Transient) || fault.Is(err, fault.Internal) {
			t.Errorf("what was started failed: got %+v, %t, %v of kind %s, want an error that ends the step", result, over, err, fault.KindOf(err))
		}
	}
}

// unknown: nothing was started, or nobody knows of it any more. Waiting on would be in vain.
func (a Awaited) unknown(t *testing.T) {
	before := a.Started(t)
	result, over, err := a.await(t.Context(), action.Applied{Change: a.planned(t, "never")})
	if over || err == nil || fault.Is(err, fault.Transient) {
		t.Errorf("nothing was started: got %+v, %t, %v of kind %s, want an error that ends the step", result, over, err, fault.KindOf(err))
	}
	if got := a.Started(t) - before; got != 0 {
		t.Errorf("waiting started %d things", got)
	}
}

// passing: an end of the process and an outage are told as what passes, and harm nothing.
func (a Awaited) passing(t *testing.T) {
	done := a.apply(t, a.planned(t, "passing"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, over, err := a.await(ctx, done); over || !fault.Is(err, fault.Transient) {
		t.Errorf("when canceled: got %t, %v, want an error of kind transient", over, err)
	}
	if a.Door != nil {
		a.Door.Break(0, false)
		_, over, err := a.await(t.Context(), done)
		if broke := a.Door.Repair(); !broke || over || !fault.Is(err, fault.Transient) {
			t.Errorf("in an outage (%t): got %t, %v, want an error of kind transient", broke, over, err)
		}
	}
	a.End(t, true)
	a.result(t, done)
}

// planned plans with a token of its own, which is of the form that the runner's have.
func (a Awaited) planned(t *testing.T, token string) action.Change {
	t.Helper()
	in := a.Input
	in.Token = fmt.Sprintf("%032x", token)
	change, err := a.Action.Plan(t.Context(), in)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return journaled(t, change)
}

func (a Awaited) apply(t *testing.T, change action.Change) action.Applied {
	t.Helper()
	return Case{Action: a.Action}.apply(t, change)
}

func (a Awaited) await(ctx context.Context, done action.Applied) (action.Result, bool, error) {
	awaiter, ok := a.Action.(action.Awaiter)
	if !ok {
		return action.Result{}, false, errors.ErrUnsupported
	}
	return awaiter.Await(ctx, done)
}

// result waits for the result of what has ended, as it comes back from the journal. A provider may need to settle.
func (a Awaited) result(t *testing.T, done action.Applied) action.Result {
	t.Helper()
	for range patience {
		result, over, err := a.await(t.Context(), done)
		if err != nil {
			t.Fatalf("it has ended well: got %v", err)
		}
		if over {
			var back action.Result
			through(t, result, &back)
			return back
		}
	}
	t.Fatal("it has ended, and there is no result")
	return action.Result{}
}
