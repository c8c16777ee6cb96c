// Package providertest holds the contract that every action of every provider keeps, as tests.
package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Case is an action with a resource that it can act on. The suite leaves the resource changed by Change
// alone, so one resource serves a whole suite.
type Case struct {
	Action action.Action
	// Input makes the action change the resource as it is; of a reading action, read it.
	Input action.Input
	// State tells the resource's real state as the provider itself tells it, not through the action's code.
	State func(t *testing.T) string

	// Change is somebody else who changes the resource such that the plan no longer fits. Each call
	// makes a further difference. Nil where nobody can without making the plan's change.
	Change func(t *testing.T)
	// ChangeAfter is somebody else after Apply, where that isn't the same; Change if nil.
	ChangeAfter func(t *testing.T)
	// Missing names a resource that isn't there; Plan answers fault.NotFound. Nil where none is named.
	Missing *action.Input
	// Door is the way to the provider. With it, each call of Apply and Undo fails once, as if the
	// process had died there.
	Door *Door
	// Again says that planning after Apply plans one more change instead of none.
	Again bool
	// Repeats says that each Apply calls somebody who is to know by the token that it is the same call.
	Repeats bool
}

// Contract tests that an action keeps the contract of package action.
func Contract(t *testing.T, c Case) {
	t.Helper()
	spec := c.Action.Spec()
	t.Run("spec", func(t *testing.T) { checkSpec(t, c.Action) })
	t.Run("input", func(t *testing.T) { c.checkInput(t, spec) })
	t.Run("plan", c.plan)
	t.Run("missing", c.missing)
	t.Run("canceled", c.canceled)
	switch spec.Effect {
	case action.Read:
		t.Run("read", c.read)
	case action.Contain:
		t.Run("round trip", c.roundTrip)
		t.Run("lost outcome", c.lostOutcome)
		t.Run("never applied", c.neverApplied)
		t.Run("moved", c.moved)
		t.Run("drift", c.drift)
		t.Run("interrupted", c.interrupted)
	case action.Destroy:
		t.Run("moved", c.moved)
		t.Run("destroy", c.destroy)
	case action.Notify:
		t.Error("an action that notifies is tested by Notify")
	}
}

func (c Case) checkInput(t *testing.T, spec action.Spec) {
	t.Helper()
	bound, err := action.Bind(spec, c.Input.Params)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bound, c.Input.Params); diff != "" {
		t.Errorf("the case's parameters are not as action.Bind gives them (-bound +case):\n%s", diff)
	}
	if c.Input.Token == "" || c.Input.Incident == "" || c.Input.Run == "" || c.Input.Step == "" {
		t.Error("the case's input lacks token, incident, run or step")
	}
}

// plan: it changes nothing, comes out the same twice, and survives the journal.
func (c Case) plan(t *testing.T) {
	before := c.State(t)
	first, second := c.planned(t), c.planned(t)
	if first.Hash() != second.Hash() {
		t.Errorf("two plans of an unchanged world differ:\n%s", cmp.Diff(readable(t, first), readable(t, second)))
	}
	if again := journaled(t, first); again.Hash() != first.Hash() {
		t.Errorf("a plan's hash does not survive the journal:\n%s", cmp.Diff(readable(t, first), readable(t, again)))
	}
	checkChange(t, c, first)
	c.isStill(t, before, "planning")
}

func (c Case) missing(t *testing.T) {
	if c.Missing == nil {
		t.Skip("the case names nothing missing")
	}
	_, err := c.Action.Plan(t.Context(), *c.Missing)
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("planning for what isn't there: got %v, want an error of kind not_found", err)
	}
}

// canceled: whoever ends the process ends a plan, and what was not tried may be tried again.
func (c Case) canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Action.Plan(ctx, c.Input); !fault.Is(err, fault.Transient) {
		t.Errorf("planning when canceled: got %v, want an error of kind transient", err)
	}
}

func (c Case) read(t *testing.T) {
	checkOutputs(t, c.Action.Spec(), c.planned(t).Outputs)
}

// roundTrip: apply, verify, apply again, undo, restored, undo again.
func (c Case) roundTrip(t *testing.T) {
	before := c.State(t)
	change := journaled(t, c.planned(t))
	c.holdsNot(t, action.Applied{Change: change}, "before Apply")
	done := c.apply(t, change)
	if !done.Result.Changed {
		t.Error("Apply says that it changed nothing")
	}
	after := c.State(t)
	if after == before {
		t.Fatalf("Apply changed nothing:\n%s", before)
	}
	checkOutputs(t, c.Action.Spec(), done.Result.Outputs)
	c.holds(t, done)
	c.applyAgain(t, done, after)
	c.planAgain(t)
	c.driftIs(t, done, false)
	c.isStill(t, after, "verifying, planning and looking for drift")

	c.undo(t, done, false)
	c.isStill(t, before, "Apply and Undo")
	c.restored(t, done)
	c.holdsNot(t, done, "after Undo")
	if again := c.undo(t, done, false); again.Changed {
		t.Error("a second Undo says that it changed something")
	}
	c.isStill(t, before, "a second Undo")
}

// lostOutcome: the process died before it wrote down what Apply did. Undo works from the plan alone.
func (c Case) lostOutcome(t *testing.T) {
	before := c.State(t)
	change := journaled(t, c.planned(t))
	c.apply(t, change)
	lost := action.Applied{Change: change}
	c.holds(t, lost)
	c.driftIs(t, lost, false)
	c.undo(t, lost, false)
	c.isStill(t, before, "Apply, a lost outcome and Undo")
	c.restored(t, lost)
}

// neverApplied: a change was intended and the process died before Apply. Undo finds nothing to do.
func (c Case) neverApplied(t *testing.T) {
	before := c.State(t)
	never := action.Applied{Change: journaled(t, c.planned(t))}
	c.driftIs(t, never, false)
	if result := c.undo(t, never, false); result.Changed {
		t.Error("Undo of what was never applied says that it changed something")
	}
	c.restored(t, never)
	c.isStill(t, before, "Undo of what was never applied")
}

// moved: somebody changed the resource between Plan and Apply. Apply refuses and a new plan is another.
func (c Case) moved(t *testing.T) {
	if c.Change == nil {
		t.Skip("the case says that nobody can change the resource such that a plan no longer fits")
	}
	change := journaled(t, c.planned(t))
	c.Change(t)
	now := c.State(t)
	_, err := c.Action.Apply(t.Context(), change)
	if moved, ok := errors.AsType[*action.Moved](err); !ok || len(moved.Differences) == 0 {
		t.Errorf("applying to what moved: got %v, want an *action.Moved with differences", err)
	}
	c.isStill(t, now, "Apply to what moved")
	if c.planned(t).Hash() == change.Hash() {
		t.Error("a plan of a world that moved has the hash of the plan before")
	}
}

// drift: somebody changed the resource after Apply. Undo refuses, unless it is forced.
func (c Case) drift(t *testing.T) {
	disturb := c.ChangeAfter
	if disturb == nil {
		disturb = c.Change
	}
	if disturb == nil {
		t.Skip("the case says that nobody can change the resource such that undo would overwrite it")
	}
	before := c.State(t)
	done := c.apply(t, journaled(t, c.planned(t)))
	disturb(t)
	now := c.State(t)
	c.driftIs(t, done, true)
	_, err := c.undoer(t).Undo(t.Context(), done, false)
	if moved, ok := errors.AsType[*action.Moved](err); !ok || len(moved.Differences) == 0 {
		t.Errorf("undoing what drifted: got %v, want an *action.Moved with differences", err)
	}
	c.isStill(t, now, "Undo of what drifted")
	c.undo(t, done, true)
	c.isStill(t, before, "a forced Undo of what drifted")
	c.restored(t, done)
}

// destroy: apply, verify where it can be, apply again.
func (c Case) destroy(t *testing.T) {
	before := c.State(t)
	change := journaled(t, c.planned(t))
	done := c.apply(t, change)
	after := c.State(t)
	if after == before || !done.Result.Changed {
		t.Errorf("Apply changed nothing (it says %t):\n%s", done.Result.Changed, before)
	}
	checkOutputs(t, c.Action.Spec(), done.Result.Outputs)
	c.holds(t, done)
	c.applyAgain(t, done, after)
}

func (c Case) applyAgain(t *testing.T, done action.Applied, after string) {
	t.Helper()
	again := c.apply(t, done.Change)
	if again.Result.Changed && !c.Repeats {
		t.Error("a second Apply of one change says that it changed something")
	}
	if !reflect.DeepEqual(again.Result.Outputs, done.Result.Outputs) {
		t.Errorf("a second Apply gives other outputs:\n%s", cmp.Diff(done.Result.Outputs, again.Result.Outputs))
	}
	c.isStill(t, after, "a second Apply")
}

func (c Case) planAgain(t *testing.T) {
	t.Helper()
	again, err := c.Action.Plan(t.Context(), c.Input)
	if err != nil {
		t.Fatalf("plan after Apply: %v", err)
	}
	if again.Noop == c.Again {
		t.Errorf("a plan after Apply: got noop %t, want %t", again.Noop, !c.Again)
	}
}

// readable is a plan with its JSON as values, for a difference that people read.
func readable(t *testing.T, change action.Change) any {
	t.Helper()
	text, err := json.Marshal(change)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
