package respond_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
)

func TestFreezeHolds(t *testing.T) {
	for name, freeze := range map[string]guardrail.Freeze{
		"everything":   {Scope: guardrail.Everything},
		"the account":  {Scope: guardrail.OfAccount, Value: account},
		"the playbook": {Scope: guardrail.OfPlaybook, Value: "contain"},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(o *office) {
				freeze.ID, freeze.By, freeze.Reason = "f", "ann", "migration"
				o.freeze(freeze)
				o.freeze(guardrail.Freeze{ID: "other", Scope: guardrail.OfAccount, Value: "222222222222", By: "bob"})
				id := o.begin(book(run.Auto, `
steps:
	- id: say
	  use: test.world.tell_people
	  with: {message: people hear of it}
	- id: door
	  use: test.world.set_thing
	  with: {thing: door, to: shut}
`))
				o.is(id, run.Held, "say=done", "door=")
				o.reason(id, "frozen by ann: migration")
				o.later(time.Hour)
				o.is(id, run.Held)
				o.value("door", "open")
				o.unfreeze("f")
				o.later(10 * time.Minute)
				o.is(id, run.Succeeded, "say=done", "door=done")
			})
		})
	}
}

func TestFreezeEndsByItself(t *testing.T) {
	story(t, func(o *office) {
		freeze := everything()
		freeze.Until = time.Now().Add(time.Hour)
		o.freeze(freeze)
		id := o.begin(book(run.Auto, shut))
		o.later(59 * time.Minute)
		o.is(id, run.Held)
		o.later(11 * time.Minute)
		o.is(id, run.Succeeded)
	})
}

// TestFreezeHoldsWhatWasIntended: the change was let pass, its attempts fail, and then somebody freezes.
func TestFreezeHoldsWhatWasIntended(t *testing.T) {
	for name, retries := range map[string]string{"between two legs": "0", "between two attempts": "5"} {
		t.Run(name, func(t *testing.T) {
			story(t, func(o *office) {
				o.world.Before(actiontest.Applying, "door", 1, func(context.Context, actiontest.Call) error {
					o.freeze(everything()) //nolint:contextcheck // the story has its own
					return fault.New(fault.Transient, "throttled")
				})
				id := o.begin(book(run.Auto, shut+"\t  retry: {times: "+retries+"}\n"))
				o.later(time.Hour)
				o.is(id, run.Held, "door=intended")
				o.reason(id, "frozen by ann")
				o.value("door", "open")
				o.unfreeze("everything")
				o.later(time.Hour)
				o.is(id, run.Succeeded, "door=done")
				o.value("door", "shut")
			})
		})
	}
}

func TestProtectedTargetBlocks(t *testing.T) {
	for name, protection := range map[string]guardrail.Protection{
		"by name":    {Kind: entity.Resource, Name: "do*"},
		"by tag":     {Tag: "riposte=never"},
		"by account": {Account: account},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(o *office) {
				o.world.Tag(account, "door", "riposte", "never")
				o.protect(protection)
				id := o.begin(book(run.Auto, shut))
				o.is(id, run.Blocked, "door=stopped")
				o.reason(id, "door is protected: the king's")
				o.value("door", "open")
				if got := o.told.kinds(); got != "escalation" {
					o.Errorf("told %q, want an escalation", got)
				}
			})
		})
	}
}

func (o *office) protect(p guardrail.Protection) {
	o.Helper()
	p.ID, p.Reason, p.By = "p", "the king's", "ann"
	if err := o.Protect(o.Context(), p, record.New(time.Now(), record.GuardrailChanged, "ann", p)); err != nil {
		o.Fatal(err)
	}
}

// TestProtectedLaterBlocksWhatWasIntended: nobody knows whether it was applied, so it can still be undone.
func TestProtectedLaterBlocksWhatWasIntended(t *testing.T) {
	story(t, func(o *office) {
		o.world.After(actiontest.Applying, "door", 1, func(context.Context, actiontest.Call) error {
			o.protect(guardrail.Protection{Name: "door"}) //nolint:contextcheck // the story has its own
			return fault.New(fault.Transient, "the answer was lost")
		})
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Blocked, "door=failed")
		o.reason(id, "it may have been applied before: ")
		o.value("door", "shut")
		o.undo(id, run.Undoing{Runs: []string{id}})
		o.value("door", "open")
	})
}

func TestLimitsHold(t *testing.T) {
	for name, limits := range map[string]string{
		"an hour":            "{per_hour: 1}",
		"an hour an account": "{per_account_hour: 1}",
		"targets":            "{distinct_targets: 1}",
		"percent":            "{percent: 25}", // of four
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(o *office) {
				text := book(run.Auto, "limits: "+limits+shut)
				o.is(o.begin(text), run.Succeeded)
				id := o.begin(book(run.Auto, "limits: "+limits+`
steps:
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
`))
				o.is(id, run.Held)
				o.reason(id, "1 of 1")
				o.later(50 * time.Minute)
				o.is(id, run.Held)
				o.value("window", "open")
				o.later(20 * time.Minute)
				o.is(id, run.Succeeded)
			})
		})
	}
}

func TestAccountsAreLimited(t *testing.T) {
	story(t, func(o *office) {
		o.world.Put("222222222222", "door", "open")
		text := book(run.Auto, "limits: {distinct_accounts: 1}"+shut)
		o.is(o.begin(text), run.Succeeded)
		other := text + "    account: \"222222222222\"\n"
		other = other[:len(text)-len("  with: {thing: door, to: shut}\n")] + "  with: {thing: door, to: shut, account: \"222222222222\"}\n"
		id := o.begin(other)
		o.is(id, run.Held)
		o.reason(id, "accounts an hour")
	})
}

func TestOrganisationsLimitsHold(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, shut+`
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
`))
		o.is(id, run.Held, "door=done", "window=")
		o.reason(id, "organisation: changes an hour")
	}, func(o *respond.Options) { o.Policy.Limits.PerHour = 1 })
}

// TestTwoRunsRaceForALimit: both have asked the guardrails when one of them takes the last of it.
func TestTwoRunsRaceForALimit(t *testing.T) {
	story(t, func(o *office) {
		watched := &diary{Journal: o.Store}
		o.restart(func(options *respond.Options) { options.Journal = watched })
		text := book(run.Auto, "limits: {per_hour: 1}"+shut)
		slow, fast := o.create(text), o.create(book(run.Auto, "limits: {per_hour: 1}"+`
steps:
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
`))
		var reached *run.CapReached
		watched.before = func(ctx context.Context, e run.Entry) error {
			if e.Run.ID == slow && len(e.Caps) > 0 && reached == nil {
				watched.before = nil
				if err := o.runner.Advance(ctx, fast, 1); err != nil {
					o.Error(err)
				}
			}
			return nil
		}
		o.work()
		o.is(fast, run.Succeeded)
		o.is(slow, run.Held, "door=")
		o.reason(slow, "is used up: 1 of 1")
		o.value("door", "open")
		if got := len(o.entries(slow, record.ActionIntended)); got > 0 {
			o.Errorf("%d intentions of what is held are recorded", got)
		}
		o.later(2 * time.Hour)
		o.is(slow, run.Succeeded, "door=done")
		if got := len(o.entries(slow, record.ActionIntended)); got != 1 {
			o.Errorf("%d intentions are recorded, want 1", got)
		}
	})
}

func TestCeilingLowersAutonomy(t *testing.T) {
	t.Run("to approve", func(t *testing.T) {
		story(t, func(o *office) { o.is(o.begin(book(run.Auto, shut)), run.Waiting, "door=asked") }, ceiling(run.Approve))
	})
	t.Run("to observe", func(t *testing.T) {
		story(t, func(o *office) { o.is(o.begin(book(run.Auto, shut)), run.Observed, "door=planned") }, ceiling(run.Observe))
	})
	t.Run("not set", func(t *testing.T) {
		story(t, func(o *office) { o.is(o.begin(book(run.Auto, shut)), run.Observed, "door=planned") }, ceiling(""))
	})
	t.Run("while the run waits", func(t *testing.T) {
		story(t, func(o *office) {
			id := o.begin(book(run.Approve, shut))
			o.restart(ceiling(run.Observe))
			o.answer(id, true)
			o.is(id, run.Observed, "door=planned")
			o.value("door", "open")
		})
	})
}

const broken = `
steps:
	- id: lamp
	  use: test.world.break_thing
	  with: {thing: lamp}
`

func TestDestroyAsks(t *testing.T) {
	allowed := "allow_destroy: [test.world.break_thing]"
	for _, test := range []struct {
		name    string
		text    string
		ceiling run.Autonomy
		want    run.State
	}{
		{"by itself", book(run.Auto, broken), run.Auto, run.Waiting},
		{"allowed by name", book(run.Auto, allowed+broken), run.Auto, run.Succeeded},
		{"allowed, but not by the playbook's autonomy", book(run.Approve, allowed+broken), run.Auto, run.Waiting},
		{"allowed, but not by the ceiling", book(run.Auto, allowed+broken), run.Approve, run.Waiting},
	} {
		t.Run(test.name, func(t *testing.T) {
			story(t, func(o *office) {
				id := o.begin(test.text)
				o.is(id, test.want)
				_, whole := o.world.Values()[account+"/lamp"]
				if whole != (test.want == run.Waiting) {
					o.Errorf("the lamp is whole: %t", whole)
				}
				if !whole {
					return
				}
				o.answer(id, true)
				o.is(id, run.Succeeded, "lamp=done")
			}, ceiling(test.ceiling))
		})
	}
}

// blind are rails that can't be read.
type blind struct{ respond.Rails }

// Standing is of respond.Rails.
func (b *blind) Standing(context.Context) ([]guardrail.Freeze, []guardrail.Protection, error) {
	return nil, nil, fault.Wrap(fault.Transient, errors.New("the disk is gone"))
}

func TestNothingPassesGuardrailsThatCannotBeRead(t *testing.T) {
	story(t, func(o *office) {
		o.restart(func(options *respond.Options) { options.Rails = &blind{o.Store} })
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Held, "door=")
		o.value("door", "open")
		o.restart(func(options *respond.Options) { options.Rails = o.Store })
		o.later(time.Minute)
		o.is(id, run.Succeeded)
	})
}
