package respond_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// set writes a step that shuts a thing.
func set(id, thing string) string {
	return fmt.Sprintf("{id: %s, use: test.world.set_thing, with: {thing: %s, to: shut}}", id, thing)
}

func tell(message string) string {
	return fmt.Sprintf("{id: say, use: test.world.tell_people, with: {message: %q}}", message)
}

// calling puts the texts of called playbooks behind the one that calls them, as a run keeps them.
func calling(tb testing.TB, texts ...string) string {
	tb.Helper()
	var books []*playbook.Playbook
	for _, text := range texts {
		parsed, err := playbook.Parse("test.yaml", []byte(text))
		if err != nil {
			tb.Fatal(err)
		}
		books = append(books, parsed)
	}
	if err := playbook.Link(books); err != nil {
		tb.Fatal(err)
	}
	return string(books[0].Text)
}

func (o *office) messages() string {
	var texts []string
	for _, m := range o.world.Told() {
		texts = append(texts, m.Text)
	}
	return strings.Join(texts, "; ")
}

func (o *office) told1(want string) {
	o.Helper()
	if got := o.messages(); got != want {
		o.Errorf("people were told %q, want %q", got, want)
	}
}

func TestParallelStepsAreCarriedOutAtOnce(t *testing.T) {
	story(t, func(o *office) {
		met := make(chan struct{})
		wait := func(ctx context.Context, _ actiontest.Call) error { // each until the other is there
			select {
			case met <- struct{}{}:
			case <-met:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			return nil
		}
		o.world.Before(actiontest.Applying, "door", 1, wait)
		o.world.Before(actiontest.Applying, "window", 1, wait)
		id := o.begin(book(run.Auto, "steps:\n\t- id: both\n\t  parallel:\n\t\t- "+set("door", "door")+"\n\t\t- "+set("window", "window")+
			"\n\t- "+tell("{{ steps.door.was }} and {{ steps.window.was }}")))
		o.is(id, run.Succeeded)
		o.value("door", "shut")
		o.value("window", "shut")
		o.told1("open and open")
	})
}

func TestBranchesGoOnWhereOneFails(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "steps:\n\t- id: both\n\t  parallel:\n\t\t- "+set("none", "nothing")+"\n\t\t- id: rest\n\t\t  steps:\n\t\t\t- "+
			set("door", "door")+"\n\t\t\t- "+set("window", "window")+"\n\t- "+tell("never")))
		o.is(id, run.Failed)
		o.reason(id, "step none: plan: there is no thing nothing")
		o.value("door", "shut")
		o.value("window", "shut")
		o.told1("")
		if got := o.step(id, "both"); got.State != run.Broken || !strings.Contains(got.Error, "step none: ") {
			o.Errorf("the branches are %+v", got)
		}
	})
}

func TestOneQuestionForAllBranches(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Approve, "steps:\n\t- id: both\n\t  parallel:\n\t\t- "+set("door", "door")+"\n\t\t- "+set("window", "window")+
			"\n\t- "+set("gate", "gate")))
		o.is(id, run.Waiting, "both=begun", "door=asked", "window=asked")
		if asked := o.pending(id); asked.Step != "door" || len(asked.Plans) != 3 || asked.Plans[1].Step != "window" || asked.Plans[2].Step != "gate" {
			o.Errorf("asked about %+v", asked.Plans)
		}
		if got := o.told.kinds(); got != "approval" {
			o.Errorf("told %q", got)
		}
		o.answer(id, true)
		o.is(id, run.Succeeded)
		if got := len(o.world.Written()); got != 3 {
			o.Errorf("%d changes, want 3", got)
		}
	})
}

func TestANoEndsAllBranches(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "steps:\n\t- id: both\n\t  parallel:\n\t\t- id: sure\n\t\t  approve: {}\n\t\t- id: rest\n\t\t  steps:\n\t\t\t- id: too\n\t\t\t  approve: {}\n\t\t\t- "+
			set("window", "window")+"\nfinally:\n\t- "+tell("{{ error.state }}: {{ error.message }}")))
		open, err := o.Approvals(o.Context(), store.ApprovalFilter{Run: id, Answer: run.Pending})
		if err != nil || len(open) != 2 {
			o.Fatalf("%d questions, %v", len(open), err)
		}
		for _, asked := range open {
			if asked.Step == "sure" {
				if _, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{Approval: asked.ID, By: "ann", Roles: []string{"admin"}, Reason: "no"}); err != nil {
					o.Fatal(err)
				}
			}
		}
		o.work()
		o.is(id, run.Denied)
		o.value("window", "open")
		o.told1("denied: denied by ann: no")
		if open, err := o.Approvals(o.Context(), store.ApprovalFilter{Run: id, Answer: run.Pending}); err != nil || len(open) > 0 {
			o.Errorf("questions are still open: %v, %v", open, err)
		}
	})
}

const eachThing = `
steps:
	- id: names
	  set: {things: [door, window, gate]}
	- id: each
	  foreach: {in: vars.things, as: thing, at_most: %d, at_once: %d}
	  steps:
		- {id: look, use: test.world.read_thing, with: {thing: "{{ vars.thing }}"}}
		- id: text
		  set: {was: "{{ vars.thing }} was {{ steps.look.value }}"}
		- {id: shut, use: test.world.set_thing, with: {thing: "{{ vars.thing }}", to: "{{ vars.was }}"}}
	- {id: say, use: test.world.tell_people, with: {message: "{{ steps.each.turns }} turns, {{ steps.each.failed }} failed"}}
`

func TestForEach(t *testing.T) {
	for _, atOnce := range []int{1, 2, 5} {
		t.Run(strconv.Itoa(atOnce), func(t *testing.T) {
			story(t, func(o *office) {
				id := o.begin(book(run.Auto, fmt.Sprintf(eachThing, 3, atOnce)))
				o.is(id, run.Succeeded)
				for _, thing := range []string{"door", "window", "gate"} {
					o.value(thing, thing+" was open")
				}
				o.told1("3 turns, 0 failed")
				if got := o.step(id, "each[1]/shut"); got.State != run.Done || got.Change.Target.ID != "window" {
					o.Errorf("the second turn is %+v", got)
				}
				undo, err := o.runner.Undo(o.Context(), o.Store, o.journal(id).Run.Incident, run.Undoing{}, "ann")
				if err != nil {
					o.Fatal(err)
				}
				o.work()
				o.is(undo.ID, run.Succeeded)
				o.value("window", "open")
			})
		})
	}
}

func TestForEachRefusesALongerList(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, fmt.Sprintf(eachThing, 2, 1)))
		o.is(id, run.Failed)
		o.reason(id, "vars.things has 3 items; the loop is for at most 2")
		if got := o.world.Written(); len(got) > 0 {
			o.Errorf("written %v", got)
		}
	})
}

func TestForEachGoesOnWhereATurnFails(t *testing.T) {
	for _, atOnce := range []int{1, 3} {
		t.Run(strconv.Itoa(atOnce), func(t *testing.T) {
			story(t, func(o *office) {
				o.world.Remove(account, "window")
				id := o.begin(book(run.Auto, fmt.Sprintf(eachThing, 3, atOnce)))
				o.is(id, run.Failed)
				o.reason(id, "1 of 3 turns failed: step each[1]/look: plan: there is no thing window")
				o.value("door", "door was open")
				o.value("gate", "gate was open")
			})
		})
	}
}

func TestForEachAsksOnceForAllTurns(t *testing.T) {
	for _, atOnce := range []int{1, 3} {
		t.Run(strconv.Itoa(atOnce), func(t *testing.T) {
			story(t, func(o *office) {
				id := o.begin(book(run.Approve, `
steps:
	- id: each
	  foreach: {in: "['door', 'window', 'gate']", as: thing, at_most: 3, at_once: `+strconv.Itoa(atOnce)+`}
	  steps:
		- {id: shut, use: test.world.set_thing, with: {thing: "{{ vars.thing }}", to: shut}}
`))
				if asked := o.pending(id); len(asked.Plans) != 3 || asked.Plans[2].Step != "each[2]/shut" {
					o.Errorf("asked about %+v", asked.Plans)
				}
				o.answer(id, true)
				o.is(id, run.Succeeded)
				o.value("gate", "shut")
			})
		})
	}
}

const ways = `
steps:
	- {id: look, use: test.world.read_thing, with: {thing: lamp}}
	- id: which
	  switch: steps.look.value
	  cases:
		- is: [on, bright]
		  steps:
			- {id: off, use: test.world.set_thing, with: {thing: lamp, to: off}}
		- is: open
		  steps:
			- {id: sure, approve: {}}
			- {id: shut, use: test.world.set_thing, with: {thing: lamp, to: shut}}
	  else:
		- {id: other, use: test.world.tell_people, with: {message: "it is {{ steps.look.value }}"}}
	- id: then
	  if: steps.which.state == "done" && incident.severity >= HIGH
	  steps:
		- {id: high, use: test.world.tell_people, with: {message: high}}
	  else:
		- {id: low, use: test.world.tell_people, with: {message: low}}
`

func TestSwitchAndElse(t *testing.T) {
	for value, want := range map[string]string{"on": "high", "bright": "high", "open": "high", "dark": "it is dark; high"} {
		t.Run(value, func(t *testing.T) {
			story(t, func(o *office) {
				o.world.Put(account, "lamp", value)
				id := o.begin(book(run.Auto, ways))
				if value == "open" {
					o.is(id, run.Waiting)
					o.answer(id, true)
				}
				o.is(id, run.Succeeded)
				o.told1(want)
			})
		})
	}
}

// TestTheWayIsNotTakenAnew: what an incident has become meanwhile changes nothing that was decided.
func TestTheWayIsNotTakenAnew(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, `
steps:
	- id: then
	  if: incident.severity >= HIGH
	  steps:
		- {id: sure, approve: {}}
		- {id: shut, use: test.world.set_thing, with: {thing: door, to: shut}}
	  else:
		- {id: low, use: test.world.tell_people, with: {message: low}}
`))
		o.is(id, run.Waiting)
		other := o.decide(book(run.Auto, shut))
		j := o.journal(id)
		i := j.Incident
		i.Severity = 1
		other.Incident, other.Runs, other.Versions = &i, nil, nil
		if err := o.Update(o.Context(), func(tx *store.Tx) error { return tx.Save(o.Context(), other) }); err != nil {
			o.Fatal(err)
		}
		if got := o.journal(id).Incident.Severity; got != 1 {
			o.Fatalf("the incident is of severity %s", got)
		}
		o.answer(id, true)
		o.is(id, run.Succeeded)
		o.value("door", "shut")
		o.told1("")
	})
}

const helper = `playbook: helper
summary: Give a thing a value.
autonomy: %s
inputs:
  thing: {type: string, required: true, description: its name}
  to: {type: string, default: shut, description: its value}
steps:
  - {id: shut, use: test.world.set_thing, with: {thing: "{{ inputs.thing }}", to: "{{ inputs.to }}"}}
finally:
  - {id: say, use: test.world.tell_people, with: {message: "helper: {{ inputs.thing }} {{ error.state }}"}}
`

func TestCall(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(calling(o, book(run.Auto, `
steps:
	- {id: first, call: helper, with: {thing: door}}
	- {id: second, call: helper, with: {thing: window, to: ajar}}
	- {id: third, call: helper, with: {thing: nothing}, on_error: continue}
`), fmt.Sprintf(helper, "auto")))
		o.is(id, run.Succeeded)
		o.value("door", "shut")
		o.value("window", "ajar")
		o.told1("helper: door ; helper: window ; helper: nothing failed")
		if got := o.step(id, "second/shut").Change.Step; got != "second/shut" {
			o.Errorf("the plan is of step %q", got)
		}
	})
}

func TestACalledPlaybookHasTheLeastAutonomy(t *testing.T) {
	story(t, func(o *office) {
		caller := book(run.Auto, "steps:\n\t- {id: first, call: helper, with: {thing: door}}\n\t- "+set("own", "window"))
		id := o.begin(calling(o, caller, fmt.Sprintf(helper, "approve")))
		o.is(id, run.Waiting)
		o.answer(id, true)
		o.is(id, run.Succeeded)
		o.world.Put(account, "door", "open")
		observed := o.begin(calling(o, caller, fmt.Sprintf(helper, "observe")))
		o.is(observed, run.Observed)
	})
}

func TestFreezingACalledPlaybookHoldsIt(t *testing.T) {
	story(t, func(o *office) {
		o.freeze(guardrail.Freeze{ID: "playbook:helper", Scope: guardrail.OfPlaybook, Value: "helper", By: "ann", Reason: "look first"})
		id := o.begin(calling(o, book(run.Auto, "steps:\n\t- {id: first, call: helper, with: {thing: door}}"), fmt.Sprintf(helper, "auto")))
		o.is(id, run.Held)
		o.value("door", "open")
		o.unfreeze("playbook:helper")
		o.later(time.Minute)
		o.is(id, run.Succeeded)
		o.value("door", "shut")
	})
}

func TestWait(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "steps:\n\t- {id: pause, wait: 2h}\n\t- "+set("door", "door")))
		o.is(id, run.Waiting, "pause=begun")
		o.later(time.Hour)
		o.is(id, run.Waiting)
		o.value("door", "open")
		o.later(time.Hour)
		o.is(id, run.Succeeded)
		o.value("door", "shut")
	})
}

const untilOff = `
steps:
	- id: dark
	  wait: {until: steps.dark.value == "off", use: test.world.read_thing, with: {thing: lamp}, every: 1m, within: 10m%s}
	- {id: say, use: test.world.tell_people, with: {message: "it is {{ steps.dark.value }}"}}
`

func TestWaitUntil(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, fmt.Sprintf(untilOff, "")))
		o.is(id, run.Waiting)
		o.later(time.Minute)
		o.is(id, run.Waiting)
		o.world.Put(account, "lamp", "off")
		o.told1("")
		o.later(time.Minute)
		o.is(id, run.Succeeded)
		o.told1("it is off")
	})
}

func TestWaitUntilItsTimeIsOver(t *testing.T) {
	for otherwise, want := range map[string]run.State{"": run.Failed, ", otherwise: fail": run.Failed, ", otherwise: continue": run.Succeeded} {
		t.Run(otherwise, func(t *testing.T) {
			story(t, func(o *office) {
				id := o.begin(book(run.Auto, fmt.Sprintf(untilOff, otherwise)))
				for range 10 {
					o.is(id, run.Waiting)
					o.later(time.Minute)
				}
				o.is(id, want)
				if want == run.Failed {
					o.reason(id, `step dark: after 10m0s it still isn't so that steps.dark.value == "off"`)
				}
			})
		})
	}
}

func TestFailureIsDealtWith(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, `
steps:
	- id: door
	  use: test.world.set_thing
	  with: {thing: nothing, to: shut}
	  on_error:
		- {id: say, use: test.world.tell_people, with: {message: "{{ error.step }} {{ error.state }}: {{ error.message }}"}}
		- {id: instead, use: test.world.set_thing, with: {thing: window, to: shut}}
	- {id: after, use: test.world.set_thing, with: {thing: gate, to: shut}}
finally:
	- {id: end, use: test.world.tell_people, with: {message: "ended {{ error.state }}"}}
`))
		o.is(id, run.Succeeded)
		o.reason(id, "went on without door")
		o.value("window", "shut")
		o.value("gate", "shut")
		o.told1("door failed: plan: there is no thing nothing in account 111111111111; ended ")
	})
}

func TestFail(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "steps:\n\t- {id: no, if: finding.severity >= HIGH, fail: \"not for {{ finding.title }}\"}\n\t- "+set("door", "door")+
			"\nfinally:\n\t- "+tell("{{ error.step }}: {{ error.message }}")))
		o.is(id, run.Failed)
		o.reason(id, "step no: not for Somebody is in")
		o.told1("no: not for Somebody is in")
		o.value("door", "open")
	})
}

func TestFinallyMayAskAndWait(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "steps:\n\t- {id: no, fail: it fails}\nfinally:\n\t- {id: pause, wait: 1h}\n\t- {id: sure, approve: {}}\n\t- "+set("door", "door")))
		o.is(id, run.Waiting)
		o.later(time.Hour)
		o.is(id, run.Waiting)
		o.answer(id, true)
		o.is(id, run.Failed)
		o.reason(id, "step no: it fails")
		o.value("door", "shut")
	})
}

func TestQuorum(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "steps:\n\t- {id: sure, approve: {by: [incident_analyst], quorum: 2}}\n\t- "+set("door", "door")))
		asked := o.pending(id)
		vote := func(who, via string) error {
			_, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{
				Approval: asked.ID, Hash: asked.Hash, Yes: true, By: who, Via: via, Roles: []string{"incident_analyst"},
			})
			o.work()
			return err
		}
		if err := vote("ann", ""); err != nil {
			o.Fatal(err)
		}
		o.is(id, run.Waiting)
		o.value("door", "open")
		for _, same := range []string{"Ann", "ann@example.com", "link:ann", "link:ann@example.com"} {
			if err := vote(same, ""); !fault.Is(err, fault.Conflict) {
				o.Errorf("the same person again, as %s: %v", same, err)
			}
		}
		o.is(id, run.Waiting)
		if err := vote("bob", ""); err != nil {
			o.Fatal(err)
		}
		o.is(id, run.Succeeded)
		o.value("door", "shut")
		if by := o.step(id, "sure").Outputs["by"]; by != "ann, bob" {
			o.Errorf("approved by %v", by)
		}
	})
}

// TestOnePersonIsOne, in whatever order they come by a link and without.
func TestOnePersonIsOne(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "steps:\n\t- {id: sure, approve: {quorum: 2}}\n\t- "+set("door", "door")))
		asked := o.pending(id)
		use := func(who, via string) error {
			_, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{
				Approval: asked.ID, Yes: true, By: who, Via: via, Roles: []string{"incident_analyst"},
			})
			return err
		}
		if err := use("link:ann@example.com", "link 1"); err != nil {
			o.Fatal(err)
		}
		if err := use("ann", ""); !fault.Is(err, fault.Conflict) {
			o.Errorf("the same person without the link: %v", err)
		}
		o.is(id, run.Waiting)
		o.value("door", "open")
	})
}

func TestOneLinkCountsOnce(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "steps:\n\t- {id: sure, approve: {quorum: 2}}\n\t- "+set("door", "door")))
		asked := o.pending(id)
		use := func(name string) error {
			_, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{
				Approval: asked.ID, Yes: true, By: name, Via: "link 1", Roles: []string{"incident_analyst"},
			})
			return err
		}
		if err := use("link:ops"); err != nil {
			o.Error(err)
		}
		if err := use("link:other"); !fault.Is(err, fault.Conflict) {
			o.Errorf("the same link again: %v", err)
		}
		o.is(id, run.Waiting)
	})
}

func TestWhoBroughtItAboutMayNotAnswer(t *testing.T) {
	story(t, func(o *office) {
		d := o.decide(book(run.Auto, "steps:\n\t- {id: sure, approve: {}}"))
		d.Finding.Entities = append(d.Finding.Entities,
			entity.Entity{Kind: entity.User, ID: "mallory", Part: entity.Actor, Account: account},
			entity.Entity{Kind: entity.Session, ID: "arn:aws:sts::111111111111:assumed-role/ops/eve@example.com", Part: entity.Actor, Account: account},
			entity.Entity{Kind: entity.User, ID: "victim", Part: entity.Target, Account: account})
		d.Runs[0].By = "olga"
		if err := o.Update(o.Context(), func(tx *store.Tx) error { return tx.Save(o.Context(), d) }); err != nil {
			o.Fatal(err)
		}
		if err := o.legs.Start(o.Context(), d.Runs[0].ID, 1, 0); err != nil {
			o.Fatal(err)
		}
		o.work()
		asked := o.pending(d.Runs[0].ID)
		for _, who := range []string{"mallory", "Mallory@example.com", "link:mallory", "eve", "eve@example.com", "olga"} {
			_, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{Approval: asked.ID, Yes: true, By: who, Roles: []string{"admin"}})
			if !fault.Is(err, fault.Denied) {
				o.Errorf("%s: %v", who, err)
			}
		}
		if _, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{Approval: asked.ID, Yes: true, By: "victim", Roles: []string{"admin"}}); err != nil {
			o.Error(err)
		}
	})
}

func TestEscalationByTime(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, `
steps:
	- id: sure
	  approve:
			by: [incident_analyst]
			within: 1h
			otherwise: deny
			escalate:
			- {after: 10m, channel: bridge, on_call: security}
			- {after: 30m, by: [cloud_architect]}
`))
		o.later(9 * time.Minute)
		if got := o.told.kinds(); got != "approval" {
			o.Errorf("told %q", got)
		}
		o.later(time.Minute)
		if got := o.told.kinds(); got != "approval escalation" {
			o.Fatalf("told %q", got)
		}
		if got := o.told.notices[1]; fmt.Sprint(got.Channels, got.OnCall) != "[bridge] [security]" {
			o.Errorf("told %+v", got)
		}
		architect := respond.Answer{Approval: o.pending(id).ID, By: "cleo", Roles: []string{"cloud_architect"}, Yes: true}
		if _, err := o.runner.Decide(o.Context(), o.Store, architect); !fault.Is(err, fault.Denied) {
			o.Errorf("before its time: %v", err)
		}
		o.later(20 * time.Minute)
		if got := o.told.kinds(); got != "approval escalation escalation" {
			o.Errorf("told %q", got)
		}
		if _, err := o.runner.Decide(o.Context(), o.Store, architect); err != nil {
			o.Error(err)
		}
		o.work()
		o.is(id, run.Succeeded)
	})
}

func TestAChangeForATime(t *testing.T) {
	const forAnHour = "steps:\n\t- {id: door, use: test.world.set_thing, with: {thing: door, to: shut}, for: 1h}"
	t.Run("is taken back", func(t *testing.T) {
		story(t, func(o *office) {
			id := o.begin(book(run.Auto, forAnHour))
			o.is(id, run.Succeeded)
			o.later(59 * time.Minute)
			o.value("door", "shut")
			o.later(time.Minute)
			o.value("door", "open")
			if got := o.step(id, "door").State; got != run.Undone {
				o.Errorf("the step is %s", got)
			}
		})
	})
	t.Run("is not when frozen", func(t *testing.T) {
		story(t, func(o *office) {
			o.begin(book(run.Auto, forAnHour))
			o.freeze(guardrail.Freeze{ID: "everything", Scope: guardrail.Everything, By: "ann", Reason: "stop"})
			o.later(time.Hour)
			o.value("door", "shut")
			o.unfreeze("everything")
			o.later(time.Minute)
			o.value("door", "open")
		})
	})
	t.Run("is not where somebody changed it", func(t *testing.T) {
		story(t, func(o *office) {
			o.begin(book(run.Auto, forAnHour))
			o.world.Put(account, "door", "bricked up")
			o.later(time.Hour)
			o.value("door", "bricked up")
			if got := o.told.kinds(); got != "escalation" {
				o.Errorf("told %q", got)
			}
		})
	})
	t.Run("is not twice", func(t *testing.T) {
		story(t, func(o *office) {
			id := o.begin(book(run.Auto, forAnHour))
			if _, err := o.runner.Undo(o.Context(), o.Store, o.journal(id).Run.Incident, run.Undoing{}, "ann"); err != nil {
				o.Fatal(err)
			}
			o.work()
			o.value("door", "open")
			o.later(time.Hour)
			if got := len(o.world.Written()); got != 2 {
				o.Errorf("%d changes, want 2", got)
			}
		})
	})
}

const ordered = "steps:\n\t- {id: key, use: test.world.order_thing, with: {thing: key}, within: 1h}\n\t- {id: say, use: test.world.tell_people, with: {message: \"{{ steps.key.value }}\"}}"

func TestAResultThatComesLater(t *testing.T) {
	t.Run("soon", func(t *testing.T) {
		story(t, func(o *office) {
			o.world.After(actiontest.Applying, "key", 1, actiontest.Do(func() { o.world.Bring("key", "silver") }))
			o.world.After(actiontest.Applying, "", 1, actiontest.Do(func() { o.world.Bring("key", "silver") }))
			id := o.begin(book(run.Auto, ordered))
			o.is(id, run.Succeeded)
			o.told1("silver")
		})
	})
	t.Run("much later, with another process", func(t *testing.T) {
		story(t, func(o *office) {
			id := o.begin(book(run.Auto, ordered))
			o.is(id, run.Waiting, "key=awaited")
			o.restart()
			for range 20 {
				o.later(time.Minute)
				o.is(id, run.Waiting)
			}
			o.world.Bring("key", "gold")
			o.later(time.Minute)
			o.is(id, run.Succeeded)
			o.told1("gold")
			if got := o.world.Orders("key"); got != 1 {
				o.Errorf("ordered %d times", got)
			}
		})
	})
	t.Run("badly", func(t *testing.T) {
		story(t, func(o *office) {
			id := o.begin(book(run.Auto, ordered))
			o.world.Refuse("key")
			o.later(time.Minute)
			o.is(id, run.Failed)
			o.reason(id, "step key: started, but: the order of key was refused")
		})
	})
	t.Run("never", func(t *testing.T) {
		story(t, func(o *office) {
			id := o.begin(book(run.Auto, ordered))
			for range 70 {
				o.later(time.Minute)
			}
			o.is(id, run.Failed)
			o.reason(id, "step key: started, but there is no result after 1h")
		})
	})
	t.Run("with an outage on the way", func(t *testing.T) {
		story(t, func(o *office) {
			o.world.Before(actiontest.Awaiting, "", 6, actiontest.Fail(fault.Transient))
			id := o.begin(book(run.Auto, ordered))
			o.is(id, run.Held)
			o.world.Bring("key", "iron")
			for range 3 {
				o.later(5 * time.Minute)
			}
			o.is(id, run.Succeeded)
			o.told1("iron")
		})
	})
}

// TestWaitOutlivesAnOutage: a wait may be longer than the patience with a step that fails for passing reasons.
func TestWaitOutlivesAnOutage(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, `
steps:
	- id: dark
	  wait: {until: steps.dark.value == "off", use: test.world.read_thing, with: {thing: lamp}, every: 1h, within: 72h}
`))
		for range 30 {
			o.later(time.Hour)
		}
		o.world.Before(actiontest.Planning, "lamp", 10, actiontest.Fail(fault.Transient))
		o.later(time.Hour)
		o.is(id, run.Held)
		for range 6 {
			o.later(time.Hour)
		}
		o.is(id, run.Waiting)
		o.world.Put(account, "lamp", "off")
		o.later(time.Hour)
		o.is(id, run.Succeeded)
	})
}

// TestWhatIsNotContainedIsTold, whoever deals with the failure and however the run goes on.
func TestWhatIsNotContainedIsTold(t *testing.T) {
	for name, steps := range map[string]string{
		"by the run's end":   "steps:\n\t- " + set("door", "door"),
		"by the step itself": "steps:\n\t- {id: door, use: test.world.set_thing, with: {thing: door, to: shut}, on_error: continue}",
		"by a step around":   "steps:\n\t- {id: around, on_error: continue, steps: [" + set("door", "door") + "]}",
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(o *office) {
				o.world.Before(actiontest.Verifying, "door", -1, func(context.Context, actiontest.Call) error {
					return &action.NotHeld{Action: actiontest.Set, Target: "door"}
				})
				o.begin(book(run.Auto, steps))
				if got := o.told.kinds(); got != "escalation" {
					o.Errorf("told %q, want it once", got)
				}
			})
		})
	}
}
