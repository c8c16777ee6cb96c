package providertest

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Notice is a notifying action with somebody who gets its messages.
type Notice struct {
	Action action.Action
	Input  action.Input
	// Sent gives the messages that arrived so far, as their receiver got them.
	Sent func(t *testing.T) []string
	// Says is text of the input that must arrive.
	Says []string
	// Answer makes the receiver answer with an HTTP status until it is called with 0. Nil where the
	// receiver isn't one of HTTP.
	Answer func(status int)
}

// Notify tests that a notifying action keeps the contract: its plan sends nothing, Apply sends once, what is to
// be said arrives, and failures are of the kind by which the runner decides.
func Notify(t *testing.T, n Notice) {
	t.Helper()
	t.Run("spec", func(t *testing.T) {
		spec := n.Action.Spec()
		if spec.Effect != action.Notify || !strings.Contains(spec.Name, ".") && !fieldName.MatchString(spec.Name) {
			t.Errorf("%q has the effect %q, want %q and a name", spec.Name, spec.Effect, action.Notify)
		}
		checkWords(t, spec)
		checkAbilities(t, n.Action)
		checkFields(t, spec)
		checkPermissions(t, spec)
		if _, err := action.Bind(spec, n.Input.Params); err != nil {
			t.Error(err)
		}
	})
	t.Run("plan sends nothing", n.plan)
	t.Run("apply sends once", n.apply)
	t.Run("failures", n.failures)
}

func (n Notice) planned(t *testing.T) action.Change {
	t.Helper()
	change, err := n.Action.Plan(t.Context(), n.Input)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return journaled(t, change)
}

func (n Notice) plan(t *testing.T) {
	before := len(n.Sent(t))
	first, second := n.planned(t), n.planned(t)
	if first.Hash() != second.Hash() {
		t.Errorf("two plans of one message differ:\n%s", cmp.Diff(readable(t, first), readable(t, second)))
	}
	if first.Summary == "" || first.Action != n.Action.Spec().Name {
		t.Errorf("the plan is of %q and says %q", first.Action, first.Summary)
	}
	if got := len(n.Sent(t)); got != before {
		t.Errorf("planning sent %d messages", got-before)
	}
}

func (n Notice) apply(t *testing.T) {
	before := len(n.Sent(t))
	result, err := n.Action.Apply(t.Context(), n.planned(t))
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	if !result.Changed {
		t.Error("Apply says that it sent nothing")
	}
	checkOutputs(t, n.Action.Spec(), result.Outputs)
	sent := n.Sent(t)[before:]
	if len(sent) != 1 {
		t.Fatalf("Apply sent %d messages, want 1", len(sent))
	}
	for _, text := range n.Says {
		if !strings.Contains(sent[0], text) {
			t.Errorf("the message lacks %q: %s", text, sent[0])
		}
	}
}

func (n Notice) failures(t *testing.T) {
	if n.Answer == nil {
		t.Skip("the receiver isn't one of HTTP")
	}
	defer n.Answer(0)
	for status, kinds := range map[int][]fault.Kind{
		http.StatusInternalServerError: {fault.Transient},
		http.StatusServiceUnavailable:  {fault.Transient},
		http.StatusTooManyRequests:     {fault.Transient},
		http.StatusForbidden:           {fault.Denied},
		http.StatusBadRequest:          {fault.Invalid},
		http.StatusNotFound:            {fault.NotFound, fault.Invalid},
	} {
		n.Answer(status)
		_, err := n.Action.Apply(t.Context(), n.planned(t))
		if err == nil || !slices.Contains(kinds, fault.KindOf(err)) {
			t.Errorf("Apply, answered %d: got %v of kind %s, want kind %s", status, err, fault.KindOf(err), kinds[0])
		}
	}
}
