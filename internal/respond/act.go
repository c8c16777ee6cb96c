package respond

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

const (
	defaultTimeout = 30 * time.Second
	defaultSettle  = 15 * time.Second
	// replans is how often a step is planned again because the world moved before it was applied.
	replans = 3
)

var errTimeout = fault.New(fault.Transient, "no answer within the step's timeout")

// act takes a step with an action: guardrails → plan → journal → approval → apply → verify → journal.
func (s *session) act(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	ctx, span := s.tracer.Start(ctx, step.Action, trace.WithAttributes(attribute.String("step", state.ID)))
	defer span.End()
	do, known := s.actions[step.Action]
	if !known {
		return s.fail(ctx, step, state, fmt.Sprintf("no action is called %q in this installation", step.Action))
	}
	if state.Started.IsZero() || state.State == run.Asked { // its patience begins when it can go on
		state.Started = s.Now()
	}
	if state.State == run.Awaited {
		return s.result(ctx, do, step, state)
	}
	for attempt := 0; ; attempt++ {
		resumed := state.State == run.Intended
		if !resumed {
			change, err := s.plan(ctx, f, do, step, state.ID)
			if err != nil {
				return s.notNow(ctx, step, state, fmt.Errorf("plan: %w", err))
			}
			if do.Spec().Effect == action.Read {
				s.learned(step, state, change)
				return flow{}, nil
			}
			got, err := s.gate(ctx, f, step, do.Spec().Effect, &state, change)
			if err != nil || got.turn != onward || over(state.State) {
				return got, err
			}
			if state.State != run.Intended { // it was let pass while it asked
				continue
			}
		}
		result, again, err := s.apply(ctx, f, do, step, *state.Change, resumed)
		if moved, ok := errors.AsType[*action.Moved](err); ok && attempt < replans {
			if err := s.withdraw(ctx, step, &state, moved, again); err != nil {
				return flow{}, err
			}
			continue
		}
		if barred, ok := errors.AsType[*barredError](err); ok {
			return s.barred(ctx, step, state, barred.verdict)
		}
		if err != nil {
			return s.notNow(ctx, step, state, fmt.Errorf("apply: %w", err))
		}
		// Found as intended: it was an earlier attempt that changed it, whose outcome was lost.
		result.Changed = result.Changed || again && !state.Change.Noop
		state.Result = &result
		if _, later := do.(action.Awaiter); later && !state.Change.Noop {
			return s.started(ctx, do, step, state)
		}
		return s.applied(ctx, do, step, state)
	}
}

// plan computes the step's arguments and lets the action look at the world.
func (s *session) plan(ctx context.Context, f *frame, do action.Action, step *playbook.Step, id string) (action.Change, error) {
	values, err := step.Compute(ctx, s.scope(f))
	if err != nil {
		return action.Change{}, fault.Wrap(fault.Invalid, err)
	}
	in, err := s.input(do.Spec(), id, values)
	if err != nil {
		return action.Change{}, err
	}
	var change action.Change
	err = s.patiently(ctx, do.Spec(), step, func(ctx context.Context) error {
		var err error
		change, err = do.Plan(ctx, in)
		return err
	})
	change.Step = id
	return change, err
}

// input is what a plan gets. Account and region are the finding's, unless the step says otherwise.
func (s *session) input(spec action.Spec, stepID string, values map[string]any) (action.Input, error) {
	at := action.Place{Account: s.journal.Finding.Account, Region: s.journal.Finding.Region}
	for name, into := range map[string]*string{"account": &at.Account, "region": &at.Region} {
		if text, ok := values[name].(string); ok && !spec.Takes(name) {
			*into = text
			delete(values, name)
		}
	}
	params, err := action.Bind(spec, values)
	if err != nil {
		return action.Input{}, err
	}
	token := sha256.Sum256([]byte(s.run.ID + "/" + stepID))
	return action.Input{
		Place: at, Params: params, Incident: s.run.Incident, Run: s.run.ID, Step: stepID,
		Reason: fmt.Sprintf("Riposte playbook %s, incident %s", s.run.Playbook, s.run.Incident),
		Token:  hex.EncodeToString(token[:16]),
	}, nil
}

// learned ends a step that only reads.
func (s *session) learned(step *playbook.Step, state run.Step, change action.Change) {
	state.State, state.Outputs, state.Ended, state.Verified, state.Error = run.Done, change.Outputs, s.Now(), true, ""
	s.note(state, s.entry(record.ActionPlanned, record.System, state.ID, map[string]any{
		"action": step.Action, "target": change.Target, "outputs": change.Outputs,
	}))
	s.Observe(Outcome{Playbook: s.run.Playbook, Action: step.Action, State: run.Done, Took: state.Ended.Sub(state.Started)})
}

// gate asks the guardrails about a plan and does as they say. Where it returns onward with the step
// intended, the ledger says so and the change may be applied.
func (s *session) gate(ctx context.Context, f *frame, step *playbook.Step, effect action.Effect, state *run.Step, change action.Change) (flow, error) {
	question, caps, err := s.consider(ctx, f, step, effect, change)
	if err != nil {
		return s.notNow(ctx, step, *state, err)
	}
	verdict := guardrail.Check(question)
	state.Change = &change
	body := map[string]any{"action": step.Action, "change": change, "hash": change.Hash(), "guardrails": verdict}
	switch verdict.Outcome {
	case guardrail.Pass:
		state.State, state.Attempts, state.Error = run.Intended, state.Attempts+1, ""
		s.note(*state, s.entry(record.ActionIntended, record.System, state.ID, body))
		if effect.Changes() && !change.Noop {
			s.added.Effects = append(s.added.Effects, s.effect(change))
			s.added.Caps = append(s.added.Caps, caps...)
		}
		err := s.write(ctx)
		if reached, ok := errors.AsType[*run.CapReached](err); ok { // another run was faster
			s.added.Records = s.added.Records[:len(s.added.Records)-1] // nothing is intended yet
			state.State, state.Started = "", time.Time{}
			return s.hold(ctx, step, *state, reached.Error())
		}
		return flow{}, err
	case guardrail.Plan:
		state.State, state.Ended, state.Error = run.Planned, s.Now(), ""
		s.note(*state, s.entry(record.ActionPlanned, record.System, state.ID, body))
		s.owing = true
		return flow{}, nil
	case guardrail.Ask:
		return s.ask(ctx, f, step, state, change, verdict)
	case guardrail.Wait:
		state.Started = time.Time{} // it is not the step that fails
		return s.hold(ctx, step, *state, join(verdict.Reasons))
	case guardrail.Block:
	}
	s.record(record.ActionPlanned, state.ID, body)
	return s.stop(ctx, step, *state, run.Stopped, run.Blocked, join(verdict.Reasons))
}

// apply makes the change, again where trying again may help. A leg that takes up an intention again doesn't
// know whether the change was made. Nor does it after an error: again tells of either.
func (s *session) apply(ctx context.Context, f *frame, do action.Action, step *playbook.Step, change action.Change, resumed bool) (result action.Result, again bool, err error) {
	tries := 0
	err = s.patiently(ctx, do.Spec(), step, func(ctx context.Context) error {
		if again = resumed || tries > 0; again {
			if err := s.stillLet(ctx, f, step, do.Spec().Effect, change); err != nil {
				return err
			}
		}
		tries++
		var err error
		result, err = do.Apply(ctx, change)
		return err
	})
	return result, again, err
}

// withdraw takes an intention back that the world has overtaken. Unless an earlier attempt may have come
// to something, what it was to spend is spent no longer.
func (s *session) withdraw(ctx context.Context, step *playbook.Step, state *run.Step, moved *action.Moved, again bool) error {
	void := *state
	void.State = run.Undone
	state.State, state.Change = "", nil
	s.note(*state, s.entry(record.ActionEnded, record.System, state.ID, map[string]any{
		"action": step.Action, "state": "moved", "differences": moved.Differences, "then": "planned again",
	}))
	if !again {
		s.added.Steps = append([]run.Step{void}, s.added.Steps...) // frees the budget; the state after it stays
	}
	return s.write(ctx)
}

// applied proves the effect and journals the outcome.
func (s *session) applied(ctx context.Context, do action.Action, step *playbook.Step, state run.Step) (flow, error) {
	result := *state.Result
	state.Outputs = result.Outputs
	if err := s.verify(ctx, do, action.Applied{Change: *state.Change, Result: result}); err != nil {
		if ctx.Err() != nil {
			return flow{}, context.Cause(ctx)
		}
		return s.notHeld(ctx, step, state, err)
	}
	_, state.Verified = do.(action.Verifier)
	state.State, state.Ended, state.Error = run.Done, s.Now(), ""
	s.note(state, s.entry(record.ActionEnded, record.System, state.ID, map[string]any{
		"action": step.Action, "state": run.Done, "result": result, "verified": state.Verified, "hash": state.Change.Hash(),
	}))
	s.Observe(Outcome{Playbook: s.run.Playbook, Action: step.Action, State: run.Done, Took: state.Ended.Sub(state.Started)})
	if do.Spec().Effect.Changes() {
		s.mark().Contained = true
	}
	if step.For > 0 && result.Changed {
		s.takeBackLater(state, step.For)
	}
	s.owing = true
	return flow{}, nil
}

// notHeld ends a step whose change, read back, isn't there. People are told, however the playbook goes on: they
// believe it contained.
func (s *session) notHeld(ctx context.Context, step *playbook.Step, state run.Step, cause error) (flow, error) {
	why := fmt.Sprintf("applied, but it does not hold: %v", cause)
	s.mark().Escalated = true
	s.record(record.IncidentEscalated, state.ID, map[string]any{"why": why})
	s.notices = append(s.notices, Notice{
		Kind: "escalation", Title: fmt.Sprintf("Not contained: step %s of %s", state.ID, s.run.Playbook), Text: why,
		Token: s.run.ID + "/" + state.ID,
	})
	return s.fail(ctx, step, state, why)
}

// takeBackLater brings about the run that takes a step's change back after a time.
func (s *session) takeBackLater(state run.Step, after time.Duration) {
	back := run.Run{
		ID: s.NewID(), Kind: run.Undo, Incident: s.run.Incident, Finding: s.run.Finding, Playbook: s.run.Playbook, Hash: s.run.Hash,
		Subject: "take back " + s.run.ID + "/" + state.ID, Autonomy: run.Auto, State: run.Held, By: record.System,
		Reason: fmt.Sprintf("takes %s back after %s", state.ID, after), Created: s.Now(), Updated: s.Now(), Wake: s.Now().Add(after),
		Leg: 1, Undoes: &run.Undoing{Runs: []string{s.run.ID}, Step: state.ID, Timed: true},
	}
	s.added.Starts = append(s.added.Starts, back)
	s.added.Records = append(s.added.Records, record.New(s.Now(), record.RunStarted, record.System, map[string]any{
		"kind": run.Undo, "undoes": back.Undoes, "at": back.Wake,
	}).About(s.run.Incident, back.ID, ""))
}

// verify reads the change back until it holds or its time to settle is over.
func (s *session) verify(ctx context.Context, do action.Action, applied action.Applied) error {
	verifier, ok := do.(action.Verifier)
	if !ok {
		return nil
	}
	return s.settle(ctx, do.Spec(), func(ctx context.Context) error { return verifier.Verify(ctx, applied) })
}

func (s *session) settle(ctx context.Context, spec action.Spec, proof func(context.Context) error) error {
	deadline := s.Now().Add(orElse(spec.Settle, defaultSettle))
	for attempt := 0; ; attempt++ {
		err := s.away(func() error { return withTimeout(ctx, orElse(spec.Timeout, defaultTimeout), proof) })
		if err == nil || ctx.Err() != nil || !s.Now().Before(deadline) {
			return err
		}
		if _, notYet := errors.AsType[*action.NotHeld](err); !notYet && !fault.Is(err, fault.Transient) {
			return err
		}
		if !s.pause(ctx, backoff(50*time.Millisecond, attempt, 2*time.Second)) {
			return err
		}
	}
}

// patiently calls work, and again after a while where its error is a passing one.
func (s *session) patiently(ctx context.Context, spec action.Spec, step *playbook.Step, work func(context.Context) error) error {
	timeout := orElse(step.Timeout, orElse(spec.Timeout, defaultTimeout))
	for attempt := 0; ; attempt++ {
		err := s.away(func() error { return withTimeout(ctx, timeout, work) })
		if err == nil || !fault.Is(err, fault.Transient) || attempt >= step.Retry.Times {
			return err
		}
		s.Logger.WarnContext(ctx, "step will be tried again", "run", s.run.ID, "step", step.ID, "err", err.Error())
		if !s.pause(ctx, backoff(step.Retry.Backoff, attempt, 30*time.Second)) {
			return err
		}
	}
}

// notNow deals with an error of a step: a passing one is tried again later, for as long as the policy
// gives; any other ends the step.
func (s *session) notNow(ctx context.Context, step *playbook.Step, state run.Step, cause error) (flow, error) {
	if ctx.Err() != nil {
		return flow{}, context.Cause(ctx) // the process is ending; the leg is executed again
	}
	if !fault.Is(cause, fault.Transient) || s.Now().Sub(state.Started) > s.Policy.GiveUp {
		return s.fail(ctx, step, state, cause.Error())
	}
	return s.hold(ctx, step, state, cause.Error())
}

// hold parks the run for a while, longer each time.
func (s *session) hold(ctx context.Context, _ *playbook.Step, state run.Step, why string) (flow, error) {
	state.Attempts++
	if state.Error != why {
		s.Logger.WarnContext(ctx, "run held", "run", s.run.ID, "step", state.ID, "reason", why)
	}
	state.Error = why
	s.note(state)
	wake := s.Now().Add(backoff(5*time.Second, state.Attempts, 10*time.Minute))
	return s.park(run.Held, fmt.Sprintf("step %s: %s", state.ID, why), wake), nil
}

func (s *session) effect(change action.Change) run.Effect {
	return run.Effect{
		Time: s.Now(), Run: s.run.ID, Step: change.Step, Playbook: s.run.Playbook, Action: change.Action,
		Account: change.Account, Region: change.Region, Kind: string(change.Target.Kind), Target: change.Target.Key(),
	}
}

func withTimeout(ctx context.Context, timeout time.Duration, work func(context.Context) error) error {
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	err := work(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fault.Wrap(fault.Transient, fmt.Errorf("%w: %w", errTimeout, err))
	}
	return err
}

func orElse(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}
