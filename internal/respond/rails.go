package respond

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
)

// barredError says that the guardrails no longer let a change be made that they let pass before.
type barredError struct{ verdict guardrail.Verdict }

// Error gives the reasons.
func (b *barredError) Error() string { return join(b.verdict.Reasons) }

// stillLet asks the guardrails again about a change that was intended before: somebody may have frozen or
// protected its target meanwhile. What it spends is spent, and who had to say yes has.
//
// It is asked while other branches work on the session, and reads of it what doesn't change.
func (s *session) stillLet(ctx context.Context, f *frame, step *playbook.Step, effect action.Effect, change action.Change) error {
	question, err := s.rails(ctx, f, step, effect, change)
	if err != nil {
		return err
	}
	question.Approved = true
	if verdict := guardrail.Check(question); verdict.Outcome != guardrail.Pass {
		return &barredError{verdict}
	}
	return nil
}

// barred holds a step for as long as its change is frozen, and ends it where it will not be let at all.
func (s *session) barred(ctx context.Context, step *playbook.Step, state run.Step, verdict guardrail.Verdict) (flow, error) {
	if verdict.Outcome == guardrail.Wait {
		state.Started = time.Time{}
		return s.hold(ctx, step, state, join(verdict.Reasons))
	}
	return s.stop(ctx, step, state, run.Broken, run.Blocked, "it may have been applied before: "+join(verdict.Reasons))
}

// rails gathers what the guardrails look at for one plan, but for budgets and answers.
func (s *session) rails(ctx context.Context, f *frame, step *playbook.Step, effect action.Effect, change action.Change) (guardrail.Question, error) {
	question := guardrail.Question{
		Now: s.Now(), Effect: effect, Change: change, Playbook: s.run.Playbook, Called: f.callers(),
		Autonomy: run.Least(f.autonomy, s.Policy.Ceiling), Destroys: f.destroys(step.Action),
	}
	if !effect.Changes() {
		return question, nil
	}
	var err error
	question.Freezes, question.Protections, err = s.Rails.Standing(ctx)
	return question, err
}

// consider gathers what the guardrails look at for one plan, as it is now. Budgets only where a person is to be
// asked, in vain if one is used up: where the plan passes they are counted with its intention, once for all runs,
// and where it doesn't they matter no more.
func (s *session) consider(ctx context.Context, f *frame, step *playbook.Step, effect action.Effect, change action.Change) (question guardrail.Question, caps []run.Cap, err error) {
	approved, voided := s.approved(change.Step, change.Hash())
	err = s.away(func() error {
		var err error
		question, err = s.rails(ctx, f, step, effect, change)
		if err != nil || !effect.Changes() {
			return err
		}
		question.Approved, question.Voided = approved, voided
		outcome := guardrail.Check(question).Outcome
		if outcome != guardrail.Pass && outcome != guardrail.Ask {
			return nil
		}
		if caps, err = s.caps(ctx, f, change); err != nil || outcome == guardrail.Pass {
			return err
		}
		for _, c := range caps {
			used, err := s.Rails.Used(ctx, c)
			if err != nil {
				return err //nolint:wrapcheck // the store's errors say what failed
			}
			question.Budgets = append(question.Budgets, guardrail.Budget{Name: c.Name, Used: used, Most: c.Most})
		}
		return nil
	})
	return question, caps, err
}

// caps are the limits that apply to a change: the playbook's own and the organisation's.
func (s *session) caps(ctx context.Context, f *frame, change action.Change) ([]run.Cap, error) {
	for f.caller != nil { // the limits are those of the run's own playbook
		f = f.caller
	}
	book := f.book
	caps := s.capsOf("playbook "+s.run.Playbook, s.run.Playbook, book.Limits, change)
	caps = append(caps, s.capsOf("organisation", "", s.Policy.Limits, change)...)
	percent := s.Policy.Limits.Percent
	if book.Limits.Percent > 0 && (percent == 0 || book.Limits.Percent < percent) {
		percent = book.Limits.Percent
	}
	share, err := s.share(ctx, percent, change)
	if err != nil || share == nil {
		return caps, err
	}
	return append(caps, *share), nil
}

func (s *session) capsOf(whose, name string, limits guardrail.Limits, change action.Change) []run.Cap {
	return Caps(s.Now(), whose, name, limits, change)
}

// Caps are limits as they apply to a change at a time: those of a playbook or, with the name "", of all.
func Caps(now time.Time, whose, name string, limits guardrail.Limits, change action.Change) []run.Cap {
	since := now.Add(-guardrail.Window)
	var caps []run.Cap
	add := func(what string, most int, c run.Cap) {
		if most > 0 {
			c.Name, c.Most, c.Since, c.Playbook = whose+": "+what, most, since, name
			caps = append(caps, c)
		}
	}
	add("changes an hour", limits.PerHour, run.Cap{Measure: run.Changes})
	add("changes an hour in account "+change.Account, limits.PerAccountHour, run.Cap{Measure: run.Changes, Account: change.Account})
	add("accounts an hour", limits.DistinctAccounts, run.Cap{Measure: run.Accounts, Itself: change.Account})
	add("targets an hour", limits.DistinctTargets, run.Cap{Measure: run.Targets, Itself: change.Target.Key()})
	return caps
}

// share bounds how many of a kind of resource at one place are touched in an hour. One is always
// allowed: where there are few, a share of them would be none.
func (s *session) share(ctx context.Context, percent float64, change action.Change) (*run.Cap, error) {
	counter, ok := s.actions[change.Action].(action.Counter)
	if percent <= 0 || !ok {
		return nil, nil //nolint:nilnil // no such limit
	}
	population, err := counter.Population(ctx, change.Place)
	if err != nil {
		return nil, fmt.Errorf("count %s at %s: %w", change.Target.Kind, change.Account, err)
	}
	return &run.Cap{
		Name:    fmt.Sprintf("%g%% of %d of kind %s in account %s", percent, population, change.Target.Kind, change.Account),
		Measure: run.Targets, Most: max(1, int(float64(population)*percent/100)), Since: s.Now().Add(-guardrail.Window),
		Account: change.Account, Region: change.Region, Kind: string(change.Target.Kind), Itself: change.Target.Key(),
	}, nil
}

// approved tells whether a person said yes to exactly this plan of the step, and whether one said yes to
// another plan of it, which the world has overtaken.
func (s *session) approved(stepID, hash string) (yes, voided bool) {
	for _, a := range slices.Backward(s.journal.Approvals) {
		if a.Answer != run.Approved {
			continue
		}
		for _, p := range a.Plans {
			if p.Step == stepID {
				return p.Hash == hash, p.Hash != hash
			}
		}
	}
	return false, false
}

func join(reasons []string) string { return strings.Join(reasons, "; ") }
