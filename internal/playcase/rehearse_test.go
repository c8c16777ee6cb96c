package playcase_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/playcase"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
)

// bounds are guardrails that a test sets.
type bounds struct {
	freezes     []guardrail.Freeze
	protections []guardrail.Protection
	used        int
}

// Standing is of respond.Rails.
func (b bounds) Standing(context.Context) ([]guardrail.Freeze, []guardrail.Protection, error) {
	return b.freezes, b.protections, nil
}

// Used is of respond.Rails.
func (b bounds) Used(context.Context, run.Cap) (int, error) { return b.used, nil }

const rehearsed = `playbook: look
summary: Look at things.
on: {findings: ["rule:*"], if: finding.severity >= HIGH}
autonomy: auto
limits: {per_hour: 3}
steps:
  - {id: lamp, use: test.world.read_thing, with: {thing: lamp}}
  - {id: never, if: steps.lamp.value == "green", use: test.world.break_thing, with: {thing: lamp}}
  - {id: sure, approve: {by: [cloud_architect], within: 1h, otherwise: deny}}
  - {id: door, use: test.world.set_thing, with: {thing: door, to: shut}}
  - {id: pause, wait: 2h}
  - {id: say, use: test.world.tell_people, with: {message: "it was {{ steps.lamp.value }}"}}
  - {id: gone, use: test.world.break_thing, with: {thing: window}}
  - {id: key, use: test.world.order_thing, with: {thing: key}, on_error: continue}
  - {id: was, use: test.world.set_thing, with: {thing: gate, to: "{{ steps.door.was }}"}}
  - {id: last, use: test.world.set_thing, with: {thing: gate, to: shut}}
`

func rehearse(t *testing.T, world *actiontest.World, severity finding.Severity, rails respond.Rails, ceiling run.Autonomy) playcase.Rehearsal {
	t.Helper()
	book, err := playbook.Parse("look.yaml", []byte(rehearsed))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	told, err := playcase.Rehearse(t.Context(), playcase.Rehearsing{
		Playbook: book, Actions: world.Actions(), Rails: rails, Policy: respond.Policy{Ceiling: ceiling},
		Finding: finding.Finding{Type: "rule:x", Title: "Somebody is in", Severity: severity, Account: "1", FirstSeen: now, LastSeen: now},
		Now:     func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return told
}

func furnished() *actiontest.World {
	world := actiontest.New()
	for _, thing := range []string{"lamp", "door", "window", "gate"} {
		world.Put("1", thing, "open")
	}
	return world
}

func steps(told playcase.Rehearsal) string {
	var all []string
	for _, s := range told.Steps {
		line := s.Step + " " + s.Would
		if s.Verdict != nil {
			line += " " + string(s.Verdict.Outcome)
		}
		all = append(all, line)
	}
	return strings.Join(all, ", ")
}

// TestRehearsal: a rehearsal goes as far as it can and touches nothing.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	world := furnished()
	told := rehearse(t, world, finding.High, bounds{}, run.Auto)
	want := "lamp read, never skip, sure ask, door change pass, pause wait, say tell, gone change ask, key tell, was unknown, last unknown"
	if got := steps(told); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.Contains(told.Why, "steps.door.was") {
		t.Errorf("got the reason %q", told.Why)
	}
	touched := func(c actiontest.Call) bool { return c.Phase != actiontest.Planning }
	if calls := world.Calls(); slices.ContainsFunc(calls, touched) || len(world.Told())+len(world.Written())+world.Orders("key") > 0 {
		t.Errorf("it did more than look: %v", calls)
	}
	door := told.Steps[3]
	if door.Plan == nil || door.Plan.Calls[0] != "test:Put door shut" || door.Hash != door.Plan.Hash() || !door.Reversible || told.Steps[6].Reversible {
		t.Errorf("got %+v", door)
	}
	if who := told.Steps[2].Asks; who == nil || who.Roles[0] != "cloud_architect" || who.Within != "1h0m0s" || who.Otherwise != run.OtherwiseDeny {
		t.Errorf("the question is for %+v", who)
	}
}

func TestRehearsalKnowsTheRails(t *testing.T) {
	t.Parallel()
	protected := bounds{protections: []guardrail.Protection{{ID: "p", Name: "door", Reason: "it is the only one"}}}
	frozen := bounds{freezes: []guardrail.Freeze{{ID: "everything", Scope: guardrail.Everything, By: "ann", Reason: "stop"}}}
	for name, test := range map[string]struct {
		rails   bounds
		ceiling run.Autonomy
		want    string
		reason  string
	}{
		"protected": {protected, run.Auto, "door change block, pause unknown", "the only one"},
		"frozen":    {frozen, run.Auto, "door change wait, pause wait", "frozen by ann"},
		"used up":   {bounds{used: 3}, run.Auto, "door change wait, pause wait", "3 of 3"},
		"ceiling":   {bounds{}, run.Approve, "door change ask, pause wait", "approve"},
		"observe":   {bounds{}, run.Observe, "door change plan, pause wait", "observe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := rehearse(t, furnished(), finding.High, test.rails, test.ceiling)
			if got := steps(told); !strings.Contains(got, test.want) {
				t.Errorf("got %s, want %s in it", got, test.want)
			}
			if v := told.Steps[3].Verdict; v == nil || !strings.Contains(strings.Join(v.Reasons, " "), test.reason) {
				t.Errorf("got %+v, want %s in it", v, test.reason)
			}
		})
	}
}

func TestRehearsalThatCanNotBe(t *testing.T) {
	t.Parallel()
	if told := rehearse(t, furnished(), finding.Low, bounds{}, run.Auto); told.Starts || told.Why != "on.if is false" || len(told.Steps) > 0 {
		t.Errorf("got %+v", told)
	}
	world := furnished()
	world.Before(actiontest.Planning, "door", -1, actiontest.Fail(fault.Denied))
	told := rehearse(t, world, finding.High, bounds{}, run.Auto)
	if got := steps(told); !strings.Contains(got, "door unknown, pause unknown") || !strings.Contains(told.Steps[3].Unknown, "does not work") {
		t.Errorf("got %s: %+v", got, told.Steps[3])
	}
}
