package providertest

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// patience is how often a proof is tried before the suite gives up: as many reads as a provider that is
// eventually consistent may need, without a pause between them.
const patience = 20

func (c Case) planned(t *testing.T) action.Change {
	t.Helper()
	change, err := c.Action.Plan(t.Context(), c.Input)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	if change.Noop && c.Action.Spec().Effect.Changes() {
		t.Fatalf("the resource is as wanted already, there is nothing to test: %s", change.Before)
	}
	return change
}

// journaled gives a plan back as the journal does.
func journaled(t *testing.T, change action.Change) action.Change {
	t.Helper()
	var back action.Change
	through(t, change, &back)
	return back
}

func through(t *testing.T, from, into any) {
	t.Helper()
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatalf("write to the journal: %v", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("read from the journal: %v", err)
	}
}

func (c Case) apply(t *testing.T, change action.Change) action.Applied {
	t.Helper()
	result, err := c.Action.Apply(t.Context(), change)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	done := action.Applied{Change: change}
	through(t, result, &done.Result)
	return done
}

func (c Case) undoer(t *testing.T) action.Undoer { //nolint:ireturn // an ability of whichever action
	t.Helper()
	undoer, ok := c.Action.(action.Undoer)
	if !ok {
		t.Fatal("it is no action.Undoer")
	}
	return undoer
}

func (c Case) undo(t *testing.T, done action.Applied, force bool) action.Result {
	t.Helper()
	result, err := c.undoer(t).Undo(t.Context(), done, force)
	if err != nil {
		t.Fatalf("undo: %v", err)
	}
	return result
}

// holds tests that Verify passes, within the time that a provider may need to settle.
func (c Case) holds(t *testing.T, done action.Applied) {
	t.Helper()
	verifier, ok := c.Action.(action.Verifier)
	if !ok {
		return
	}
	if err := settled(func() error { return verifier.Verify(t.Context(), done) }); err != nil {
		t.Errorf("verify: %v", err)
	}
}

// holdsNot tests that Verify really reads: it doesn't pass where the change isn't.
func (c Case) holdsNot(t *testing.T, done action.Applied, when string) {
	t.Helper()
	verifier, ok := c.Action.(action.Verifier)
	if !ok {
		return
	}
	err := verifier.Verify(t.Context(), done)
	if not, ok := errors.AsType[*action.NotHeld](err); !ok || len(not.Differences) == 0 {
		t.Errorf("verify %s: got %v, want an *action.NotHeld with differences", when, err)
	}
}

func (c Case) restored(t *testing.T, done action.Applied) {
	t.Helper()
	if err := settled(func() error { return c.undoer(t).Restored(t.Context(), done) }); err != nil {
		t.Errorf("restored: %v", err)
	}
}

func (c Case) driftIs(t *testing.T, done action.Applied, want bool) {
	t.Helper()
	drift, err := c.undoer(t).Drift(t.Context(), done)
	if err != nil {
		t.Fatalf("drift: %v", err)
	}
	if (len(drift) > 0) != want {
		t.Errorf("drift: got %v, want any: %t", drift, want)
	}
}

func (c Case) isStill(t *testing.T, want, after string) {
	t.Helper()
	if diff := cmp.Diff(want, c.State(t)); diff != "" {
		t.Errorf("after %s the state differs from what it was (-was +is):\n%s", after, diff)
	}
}

func settled(proof func() error) error {
	var err error
	for range patience {
		err = proof()
		if _, notYet := errors.AsType[*action.NotHeld](err); !notYet && !fault.Is(err, fault.Transient) {
			return err
		}
	}
	return err
}

// checkChange tests that a plan says all that guardrails, approvers and the journal go by.
func checkChange(t *testing.T, c Case, change action.Change) {
	t.Helper()
	spec := c.Action.Spec()
	for what, missing := range map[string]bool{
		"action is not the spec's name": change.Action != spec.Name,
		"target has no kind":            change.Target.Kind == "",
		"target has no id":              change.Target.ID == "",
		"summary is empty":              change.Summary == "",
		"incident is not the input's":   change.Incident != c.Input.Incident,
		"run is not the input's":        change.Run != c.Input.Run,
		"step is not the input's":       change.Step != c.Input.Step,
		"reason is not the input's":     change.Reason != c.Input.Reason,
		"token is not the input's":      change.Token != c.Input.Token,
		"target's account is not the place's": c.Input.Account != "" && change.Target.Account != "" &&
			change.Target.Account != c.Input.Account,
	} {
		if missing {
			t.Errorf("the plan's %s", what)
		}
	}
	if spec.Effect.Changes() && (len(change.Calls) == 0 || len(change.Before) == 0 || len(change.After) == 0) {
		t.Errorf("a plan that changes something has calls, before and after; got %q, %q, %q", change.Calls, change.Before, change.After)
	}
	for _, touched := range change.Touches {
		if touched.Key() == change.Target.Key() {
			t.Errorf("the plan's target %s is among what else it touches", touched.Key())
		}
	}
}
