package respond_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

const shut = `
steps:
	- id: door
	  use: test.world.set_thing
	  with: {thing: door, to: shut}
`

// diary is a journal with somebody who looks on.
type diary struct {
	respond.Journal
	before func(ctx context.Context, e run.Entry) error
	after  func(ctx context.Context, e run.Entry) error
	loaded func(runID string)
}

// Write is of respond.Journal.
func (d *diary) Write(ctx context.Context, e run.Entry) error {
	if d.before != nil {
		if err := d.before(ctx, e); err != nil {
			return err
		}
	}
	if err := d.Journal.Write(ctx, e); err != nil || d.after == nil {
		return err
	}
	return d.after(ctx, e)
}

// Load is of respond.Journal.
func (d *diary) Load(ctx context.Context, runID string) (run.Journal, error) {
	j, err := d.Journal.Load(ctx, runID)
	if d.loaded != nil {
		d.loaded(runID)
	}
	return j, err
}

func TestLedgerSaysSoBeforeTheWorldIsTouched(t *testing.T) {
	story(t, func(o *office) {
		var order []string
		o.restart(func(options *respond.Options) {
			options.Journal = &diary{Journal: o.Store, after: func(_ context.Context, e run.Entry) error {
				for _, r := range e.Records {
					order = append(order, string(r.Kind))
				}
				return nil
			}}
		})
		for _, phase := range []actiontest.Phase{actiontest.Planning, actiontest.Applying, actiontest.Verifying} {
			o.world.Before(phase, "", -1, func(_ context.Context, c actiontest.Call) error {
				order = append(order, string(c.Phase))
				intended := o.entries(c.Run, record.ActionIntended) //nolint:contextcheck // the story has its own
				if c.Phase == actiontest.Applying && len(intended) != 1 {
					o.Errorf("applied with %d intentions in the ledger", len(intended))
				}
				return nil
			})
		}
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Succeeded, "door=done")
		o.value("door", "shut")
		want := "plan action.intended apply verify action.ended run.ended"
		if got := strings.Join(order, " "); got != want {
			o.Errorf("got %s, want %s", got, want)
		}
		step := o.step(id, "door")
		if !step.Verified || step.Change.Hash() == "" || !step.Result.Changed {
			o.Errorf("the step is %+v", step)
		}
		if i := o.journal(id).Incident; i.State != incident.Contained {
			o.Errorf("the incident is %s, want contained", i.State)
		}
		if _, err := o.VerifyLedger(o.Context()); err != nil {
			o.Error(err)
		}
	})
}

func TestObserveOnlyPlans(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Observe, shut+`
	- id: sure
	  approve: {by: [incident_analyst]}
	- id: window
	  use: test.world.break_thing
	  with: {thing: window}
`))
		o.is(id, run.Observed, "door=planned", "sure=planned", "window=planned")
		o.reason(id, "planned only: door, sure, window")
		if o.step(id, "door").Change == nil {
			o.Error("the step has no plan")
		}
		if got := o.world.Written(); len(got) > 0 {
			o.Errorf("the world was touched: %v", got)
		}
	})
}

func TestStepsFeedLaterOnesAndConditionsSkip(t *testing.T) {
	story(t, func(o *office) {
		o.world.Put(account, "lamp", "green")
		id := o.begin(book(run.Auto, `
steps:
	- id: look
	  use: test.world.read_thing
	  with: {thing: lamp}
	- id: door
	  use: test.world.set_thing
	  with: {thing: door, to: "as {{ steps.look.value }} as {{ finding.access_key }}"}
	- id: window
	  if: steps.door.was != "open"
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
	- id: say
	  if: steps.window.state == "skipped"
	  use: test.world.tell_people
	  with: {message: "the door was {{ steps.door.was }}"}
`))
		o.is(id, run.Succeeded, "look=done", "door=done", "window=skipped", "say=done")
		o.value("door", "as green as "+o.journal(id).Finding.Entities[0].ID)
		o.value("window", "open")
		if told := o.world.Told(); len(told) != 1 || told[0].Text != "the door was open" {
			o.Errorf("told %v", told)
		}
		want := "run.started, action.planned look, action.intended door, action.ended door, action.intended say, action.ended say, run.ended"
		if got := o.recorded(id); got != want {
			o.Errorf("got\n%s, want\n%s", got, want)
		}
	})
}

func TestConditionThatCannotBeComputedFails(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, strings.Replace(shut, "  use:", "  if: finding.instance == \"i-1\"\n\t  use:", 1)))
		o.is(id, run.Failed, "door=failed")
		o.value("door", "open")
		if got := o.told.kinds(); got != "escalation" {
			o.Errorf("told %q, want an escalation", got)
		}
		if !o.journal(id).Incident.Escalated {
			o.Error("the incident is not escalated")
		}
	})
}

func TestRetriesOnlyWhatMayPass(t *testing.T) {
	for _, test := range []struct {
		name  string
		kind  fault.Kind
		times int
		want  run.State
		tried int
		took  time.Duration
	}{
		{"passes in time", fault.Transient, 2, run.Succeeded, 3, 3 * time.Second},
		{"takes longer than the retries", fault.Transient, 3, run.Held, 3, 3 * time.Second},
		{"denied", fault.Denied, 1, run.Failed, 1, 0},
		{"invalid", fault.Invalid, 1, run.Failed, 1, 0},
		{"a bug", fault.Internal, 1, run.Failed, 1, 0},
	} {
		for _, phase := range []actiontest.Phase{actiontest.Planning, actiontest.Applying} {
			t.Run(string(phase)+" "+test.name, func(t *testing.T) {
				story(t, func(o *office) {
					o.world.Before(phase, "door", test.times, actiontest.Fail(test.kind))
					began := time.Now()
					id := o.begin(book(run.Auto, shut+"\t  retry: {times: 2, backoff: 1s}\n"))
					if took := time.Since(began); took != test.took {
						o.Errorf("took %s, want %s", took, test.took)
					}
					o.is(id, test.want)
					if got := o.called(phase); got != test.tried {
						o.Errorf("tried %d times, want %d", got, test.tried)
					}
					if test.want != run.Held {
						return
					}
					o.reason(id, "does not work")
					o.later(time.Minute)
					o.is(id, run.Succeeded, "door=done")
					o.value("door", "shut")
					if got := o.step(id, "door").Error; got != "" {
						o.Errorf("the step has the error %q", got)
					}
				})
			})
		}
	}
}

func (o *office) called(phase actiontest.Phase) int {
	count := 0
	for _, c := range o.world.Calls() {
		if c.Phase == phase {
			count++
		}
	}
	return count
}

func TestReadThatWorksInTheEndHasNoError(t *testing.T) {
	story(t, func(o *office) {
		o.world.Before(actiontest.Planning, "door", 5, actiontest.Fail(fault.Transient))
		id := o.begin(book(run.Auto, `
steps:
	- id: look
	  use: test.world.read_thing
	  with: {thing: door}
`))
		o.is(id, run.Held)
		o.later(time.Minute)
		o.is(id, run.Succeeded, "look=done")
		if got := o.step(id, "look").Error; got != "" {
			o.Errorf("the step has the error %q", got)
		}
	})
}

func TestTimeout(t *testing.T) {
	story(t, func(o *office) {
		o.world.Before(actiontest.Applying, "door", 1, actiontest.Hang)
		began := time.Now()
		id := o.begin(book(run.Auto, shut+"\t  timeout: 7s\n\t  retry: {times: 1, backoff: 1s}\n"))
		o.is(id, run.Succeeded, "door=done")
		if took := time.Since(began); took != 8*time.Second {
			o.Errorf("took %s, want 8s", took)
		}
	})
}

func TestGivesUp(t *testing.T) {
	story(t, func(o *office) {
		o.world.Before(actiontest.Applying, "door", -1, actiontest.Fail(fault.Transient))
		id := o.begin(book(run.Auto, shut))
		began := time.Now()
		for o.journal(id).Run.State == run.Held {
			o.later(10 * time.Minute)
		}
		o.is(id, run.Failed, "door=failed")
		o.reason(id, "step door: apply: ")
		if took := time.Since(began); took < 2*time.Hour || took > 2*time.Hour+30*time.Minute {
			o.Errorf("gave up after %s, want 2h", took)
		}
		if got := len(o.entries(id, record.ActionIntended)); got != 1 {
			o.Errorf("the intention is recorded %d times, want once", got)
		}
	}, func(o *respond.Options) { o.Policy.GiveUp = 2 * time.Hour })
}

func TestPatienceBeginsAfterTheAnswer(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut))
		time.Sleep(48 * time.Hour)
		o.world.Before(actiontest.Applying, "door", 5, actiontest.Fail(fault.Transient))
		o.answer(id, true)
		o.is(id, run.Held)
		o.later(time.Minute)
		o.is(id, run.Succeeded, "door=done")
	})
}

func TestGoesOnWithout(t *testing.T) {
	story(t, func(o *office) {
		o.world.Before(actiontest.Applying, "door", -1, actiontest.Fail(fault.Denied))
		id := o.begin(book(run.Auto, shut+`
	  on_error: continue
	- id: window
	  if: steps.door.state == "failed"
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
`))
		o.is(id, run.Succeeded, "door=failed", "window=done")
		o.reason(id, "went on without door")
	})
}

func TestEffectThatDoesNotHoldFails(t *testing.T) {
	story(t, func(o *office) {
		o.world.After(actiontest.Applying, "door", 1, actiontest.Do(func() { o.world.Put(account, "door", "ajar") }))
		began := time.Now()
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Failed, "door=failed")
		o.reason(id, `applied, but it does not hold: test.world.set_thing: door is not as it should be:  was "shut", is "ajar"`)
		if took := time.Since(began); took < 15*time.Second {
			o.Errorf("gave up after %s, want that it is read for the time it has to settle", took)
		}
	})
}

func TestEffectThatSettlesLateHolds(t *testing.T) {
	story(t, func(o *office) {
		o.world.Before(actiontest.Verifying, "door", 3, actiontest.Fail(fault.Transient))
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Succeeded, "door=done")
		if got := o.called(actiontest.Verifying); got != 4 {
			o.Errorf("read back %d times, want 4", got)
		}
	})
}

func TestWorldMovesBetweenPlanAndApply(t *testing.T) {
	story(t, func(o *office) {
		o.world.Before(actiontest.Applying, "door", 1, actiontest.Do(func() { o.world.Put(account, "door", "ajar") }))
		// One change an hour is enough: what was only intended is not a change.
		id := o.begin(book(run.Auto, "limits: {per_hour: 1}"+shut))
		o.is(id, run.Succeeded, "door=done")
		want := []actiontest.Written{{
			Action: actiontest.Set, Account: account, Thing: "door", From: "ajar", To: "shut", Run: id, Step: "door",
		}}
		if diff := cmp.Diff(want, o.world.Written()); diff != "" {
			o.Error(diff)
		}
		if got, want := o.recorded(id), "run.started, action.intended door, action.ended door, action.intended door, action.ended door, run.ended"; got != want {
			o.Errorf("got %s, want %s", got, want)
		}
		effects, err := o.Effects(o.Context(), store.EffectFilter{Run: id})
		if err != nil || len(effects) != 1 || effects[0].Undone {
			o.Errorf("effects %v, %v; want one", effects, err)
		}
	})
}

func TestWorldThatKeepsMovingFails(t *testing.T) {
	story(t, func(o *office) {
		values := []string{"a", "b", "c", "d", "e", "f"}
		o.world.Before(actiontest.Applying, "door", -1, actiontest.Do(func() {
			o.world.Put(account, "door", values[0])
			values = values[1:]
		}))
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Failed, "door=failed")
		o.reason(id, "changed since")
		if got := o.world.Written(); len(got) > 0 {
			o.Errorf("the world was touched: %v", got)
		}
	})
}

func TestAnswerOfApplyIsLost(t *testing.T) {
	story(t, func(o *office) {
		o.world.After(actiontest.Applying, "door", 1, actiontest.Fail(fault.Transient))
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Succeeded, "door=done")
		if got := o.world.Written(); len(got) != 1 {
			o.Errorf("written %v, want once", got)
		}
		if !o.step(id, "door").Result.Changed {
			o.Error("the step says that it changed nothing")
		}
		o.undo(id, run.Undoing{Runs: []string{id}})
		o.value("door", "open")
	})
}

func TestWhatIsSoAlreadyIsLeft(t *testing.T) {
	story(t, func(o *office) {
		o.world.Put(account, "door", "shut")
		id := o.begin(book(run.Approve, "limits: {per_hour: 1}"+shut)) // nobody need be asked
		o.is(id, run.Succeeded, "door=done")
		undone := o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(undone, run.Succeeded)
		o.reason(undone, "nothing to undo")
		o.value("door", "shut")
	})
}

func TestUnknownActionFails(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, strings.Replace(shut, "set_thing", "no_thing", 1)))
		o.is(id, run.Failed, "door=failed")
		o.reason(id, `no action is called "test.world.no_thing"`)
	})
}

func TestRunKeepsItsVersion(t *testing.T) {
	story(t, func(o *office) {
		d := o.decide(book(run.Auto, shut))
		d.Versions[0].Text = []byte("playbook: [")
		if err := o.Update(o.Context(), func(tx *store.Tx) error { return tx.Save(o.Context(), d) }); err != nil {
			o.Fatal(err)
		}
		if err := o.runner.Advance(o.Context(), d.Runs[0].ID, 1); err != nil {
			o.Fatal(err)
		}
		o.is(d.Runs[0].ID, run.Failed)
		o.reason(d.Runs[0].ID, "the version of contain that the run keeps")
	})
}
