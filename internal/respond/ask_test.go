package respond_test

import (
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

func TestApproveAsksWithAllPlans(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut+`
	- id: say
	  use: test.world.tell_people
	  with: {message: hello}
	- id: skipped
	  if: "false"
	  use: test.world.set_thing
	  with: {thing: lamp, to: off}
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
	- id: gate
	  use: test.world.set_thing
	  with: {thing: gate, to: "{{ steps.window.was }}ed"}
`))
		o.is(id, run.Waiting, "door=asked")
		asked := o.pending(id)
		if len(asked.Plans) != 2 || asked.Plans[0].Step != "door" || asked.Plans[1].Step != "window" {
			o.Errorf("asked about %+v, want door and window", asked.Plans)
		}
		if got := o.told.notices; len(got) != 1 || got[0].Approval != asked.ID || !strings.Contains(got[0].Text, `door changes from "open" to "shut"`) {
			o.Errorf("told %+v", got)
		}
		if got := o.world.Written(); len(got) > 0 {
			o.Errorf("the world was touched: %v", got)
		}
		o.answer(id, true)
		o.is(id, run.Waiting, "door=done", "say=done", "skipped=skipped", "window=done", "gate=asked")
		o.value("window", "shut")
		o.answer(id, true) // of what nobody could know before
		o.is(id, run.Succeeded)
		o.value("gate", "opened")
		want := "run.started, action.planned door, approval.asked door, approval.decided door, action.intended door, action.ended door, " +
			"action.intended say, action.ended say, action.intended window, action.ended window, " +
			"action.planned gate, approval.asked gate, approval.decided gate, action.intended gate, action.ended gate, run.ended"
		if got := o.recorded(id); got != want {
			o.Errorf("got\n%s, want\n%s", got, want)
		}
		if by := o.entries(id, record.ApprovalDecided)[0].Actor; by != "ann" {
			o.Errorf("the ledger says that %s decided", by)
		}
	})
}

func TestAnswersThatAreRefused(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut))
		asked := o.pending(id)
		good := respond.Answer{Approval: asked.ID, Hash: asked.Hash, Yes: true, By: "ann", Roles: []string{"incident_analyst"}}
		refused := func(what string, kind fault.Kind, change func(*respond.Answer)) {
			o.Helper()
			a := good
			change(&a)
			if _, err := o.runner.Decide(o.Context(), o.Store, a); !fault.Is(err, kind) {
				o.Errorf("%s: got %v, want an error of kind %s", what, err, kind)
			}
		}
		refused("another plan", fault.Conflict, func(a *respond.Answer) { a.Hash = strings.Repeat("0", 64) })
		refused("another role", fault.Denied, func(a *respond.Answer) { a.Roles = []string{"viewer"} })
		refused("no role", fault.Denied, func(a *respond.Answer) { a.Roles = nil })
		refused("no such question", fault.NotFound, func(a *respond.Answer) { a.Approval = "none" })
		o.is(id, run.Waiting)
		o.answer(id, true)
		o.is(id, run.Succeeded)
		refused("answered already", fault.Conflict, func(a *respond.Answer) { a.Yes = false })
		if got := len(o.entries(id, record.ApprovalDecided)); got != 1 {
			o.Errorf("%d decisions are recorded, want 1", got)
		}
	})
}

func TestOfTwoAnswersAtOnceOneCounts(t *testing.T) {
	story(t, func(o *office) {
		var asked run.Approval
		say := func(yes bool, by string) error {
			_, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{
				Approval: asked.ID, Hash: asked.Hash, Yes: yes, By: by, Roles: []string{"admin"},
			})
			return err
		}
		watched := &diary{Journal: o.Store}
		o.restart(func(options *respond.Options) { options.Journal = watched })
		id := o.begin(book(run.Approve, shut))
		asked = o.pending(id)
		watched.loaded = func(string) { // bob was faster
			watched.loaded = nil
			if err := say(false, "bob"); err != nil {
				o.Error(err)
			}
		}
		if err := say(true, "ann"); !fault.Is(err, fault.Conflict) {
			o.Errorf("the second answer: got %v, want a Conflict", err)
		}
		o.work()
		o.is(id, run.Denied, "door=stopped")
		o.reason(id, "denied by bob")
		if got := len(o.entries(id, record.ApprovalDecided)); got != 1 {
			o.Errorf("%d decisions are recorded, want 1", got)
		}
	})
}

func TestNo(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut))
		o.answer(id, false)
		o.is(id, run.Denied, "door=stopped")
		o.reason(id, "denied by ann: because")
		o.value("door", "open")
	})
}

// TestNoCountsWhateverTheWorldIs: somebody else has done it meanwhile, or the cloud can't be reached.
func TestNoCountsWhateverTheWorldIs(t *testing.T) {
	for name, happens := range map[string]func(o *office){
		"done by somebody else": func(o *office) { o.world.Put(account, "door", "shut") },
		"not reached":           func(o *office) { o.world.Before(actiontest.Planning, "", -1, actiontest.Fail(fault.Transient)) },
		"frozen":                func(o *office) { o.freeze(everything()) },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(o *office) {
				id := o.begin(book(run.Approve, shut+`
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
`))
				happens(o)
				o.answer(id, false)
				o.is(id, run.Denied, "door=stopped")
				o.value("window", "open")
			})
		})
	}
}

func everything() guardrail.Freeze {
	return guardrail.Freeze{ID: "everything", Scope: guardrail.Everything, Reason: "migration", By: "ann", At: time.Now()}
}

func TestWorldMovesAfterTheAnswer(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut))
		first := o.pending(id)
		o.world.Put(account, "door", "ajar")
		o.answer(id, true)
		o.is(id, run.Waiting, "door=asked")
		o.value("door", "ajar")
		second := o.pending(id)
		if second.ID == first.ID || second.Hash == first.Hash {
			o.Errorf("asked %s about %s again, want a new question", second.ID, second.Hash)
		}
		if got := o.told.kinds(); got != "approval approval" {
			o.Errorf("told %s", got)
		}
		o.answer(id, true)
		o.is(id, run.Succeeded, "door=done")
		o.value("door", "shut")
		undone := o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(undone, run.Succeeded)
		o.value("door", "ajar")
	})
}

// TestAutoAsksWhenAnApprovedPlanIsOvertaken: what a person has looked at, no other plan takes the place of.
func TestAutoAsksWhenAnApprovedPlanIsOvertaken(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, `
steps:
	- id: sure
	  approve: {by: [incident_analyst, admin]}
`+strings.TrimPrefix(shut, "\nsteps:\n")))
		o.is(id, run.Waiting, "sure=asked")
		o.world.Put(account, "door", "ajar")
		o.answer(id, true)
		o.is(id, run.Waiting, "sure=done", "door=asked")
		if got := o.pending(id).Roles; len(got) != 2 {
			o.Errorf("asked %v, want those that the question before names", got)
		}
		o.answer(id, true)
		o.is(id, run.Succeeded)
	})
}

func TestWorldMovesBetweenAnswerAndApply(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut))
		o.world.Before(actiontest.Applying, "door", 1, actiontest.Do(func() { o.world.Put(account, "door", "ajar") }))
		o.answer(id, true)
		o.is(id, run.Waiting, "door=asked")
		o.value("door", "ajar")
		o.answer(id, true)
		o.is(id, run.Succeeded, "door=done")
	})
}

func TestQuestionOfAPlaybook(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, `
steps:
	- id: sure
	  approve: {by: [owner]}
	- id: door
	  use: test.world.set_thing
	  with: {thing: door, to: "shut by {{ steps.sure.by }}"}
`))
		o.is(id, run.Waiting, "sure=asked")
		asked := o.pending(id)
		if _, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{
			Approval: asked.ID, Hash: asked.Hash, Yes: true, By: "ann", Roles: []string{"incident_analyst"},
		}); !fault.Is(err, fault.Denied) {
			o.Errorf("got %v, want that the question is for somebody else", err)
		}
		if _, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{
			Approval: asked.ID, Hash: asked.Hash, Yes: true, By: "olga", Roles: []string{"owner"},
		}); err != nil {
			o.Fatal(err)
		}
		o.work()
		o.is(id, run.Succeeded, "sure=done", "door=done")
		o.value("door", "shut by olga")
	})
}

func within(otherwise run.Otherwise, autonomy run.Autonomy) string {
	return book(autonomy, `
steps:
	- id: sure
	  approve: {by: [incident_analyst], within: 15m, otherwise: `+string(otherwise)+`}
`+strings.TrimPrefix(shut, "\nsteps:\n"))
}

func TestNobodyAnswers(t *testing.T) {
	for _, test := range []struct {
		name      string
		otherwise run.Otherwise
		autonomy  run.Autonomy
		ceiling   run.Autonomy
		want      run.State
		told      string
		answer    run.Answer
	}{
		{"deny", run.OtherwiseDeny, run.Auto, run.Auto, run.Denied, "approval", run.Expired},
		{"escalate", run.OtherwiseEscalate, run.Auto, run.Auto, run.Waiting, "approval escalation", run.Pending},
		{"proceed", run.OtherwiseProceed, run.Auto, run.Auto, run.Succeeded, "approval", run.Approved},
		{"proceed where the playbook asks anyway", run.OtherwiseProceed, run.Approve, run.Auto, run.Succeeded, "approval", run.Approved},
		{"proceed under a lower ceiling", run.OtherwiseProceed, run.Auto, run.Approve, run.Waiting, "approval escalation", run.Pending},
	} {
		t.Run(test.name, func(t *testing.T) {
			story(t, func(o *office) {
				id := o.begin(within(test.otherwise, test.autonomy))
				o.later(15*time.Minute - time.Second)
				o.is(id, run.Waiting)
				o.later(time.Second)
				o.is(id, test.want)
				if got := o.told.kinds(); got != test.told {
					o.Errorf("told %q, want %q", got, test.told)
				}
				j := o.journal(id)
				if got := j.Approvals[len(j.Approvals)-1].Answer; got != test.answer {
					o.Errorf("the answer is %s, want %s", got, test.answer)
				}
				if escalated := test.answer == run.Pending; j.Incident.Escalated != escalated {
					o.Errorf("the incident is escalated: %t, want %t", j.Incident.Escalated, escalated)
				}
				if test.want != run.Waiting {
					return
				}
				o.later(48 * time.Hour) // the question stays open, and nobody is told again
				if got := o.told.kinds(); got != test.told {
					o.Errorf("told %q, want %q", got, test.told)
				}
				o.answer(id, true)
				o.is(id, run.Succeeded)
			}, ceiling(test.ceiling))
		})
	}
}

func TestAnswerIsTakenWhileTheRunIsHeld(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut))
		o.freeze(everything())
		o.later(2 * time.Hour) // the deadline: frozen, nobody is denied anything
		o.is(id, run.Held)
		o.answer(id, true)
		o.is(id, run.Held)
		o.value("door", "open")
		o.unfreeze("everything")
		o.later(time.Hour)
		o.is(id, run.Succeeded, "door=done")
	})
}

func TestQuestionIsWithdrawnWhenTheRunIsCancelled(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, shut))
		asked := o.pending(id)
		if err := o.runner.Cancel(o.Context(), o.journal(id), "ann", "no need"); err != nil {
			o.Fatal(err)
		}
		o.is(id, run.Cancelled)
		if _, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{
			Approval: asked.ID, Hash: asked.Hash, Yes: true, By: "ann", Roles: []string{"admin"},
		}); !fault.Is(err, fault.Conflict) {
			o.Errorf("got %v, want a Conflict", err)
		}
		open, err := o.Approvals(o.Context(), store.ApprovalFilter{Answer: run.Pending})
		if err != nil || len(open) > 0 {
			o.Errorf("%d questions are open, %v", len(open), err)
		}
		if err := o.runner.Cancel(o.Context(), o.journal(id), "ann", "again"); !fault.Is(err, fault.Conflict) {
			o.Errorf("cancelled twice: got %v, want a Conflict", err)
		}
	})
}

// What can't be planned, and without which the playbook goes on, must not hide the rest from who is asked.
func TestAQuestionShowsWhatComesAfterAStepThatFails(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, `
steps:
	- id: sure
	  approve: {by: [incident_analyst]}
	- id: evidence
	  parallel:
	    - {id: memory, use: test.world.set_thing, with: {thing: nothing, to: kept}, on_error: continue}
	    - {id: disk, use: test.world.set_thing, with: {thing: lamp, to: off}}
	- id: branches
	  parallel:
	    - {id: broken, use: test.world.set_thing, with: {thing: nothing, to: shut}}
	    - {id: window, use: test.world.set_thing, with: {thing: window, to: shut}}
	- {id: door, use: test.world.set_thing, with: {thing: door, to: shut}}
`))
		var steps []string
		for _, plan := range o.pending(id).Plans {
			steps = append(steps, plan.Step)
		}
		if got := strings.Join(steps, " "); got != "disk window" { // the door needs what is broken
			o.Errorf("asked about %q, want disk and window", got)
		}
		o.answer(id, true)
		o.is(id, run.Failed)
		o.value("lamp", "off")
		o.value("window", "shut")
		o.value("door", "open")
	})
}
