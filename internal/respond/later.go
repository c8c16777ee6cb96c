package respond

import (
	"context"
	"fmt"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

const (
	// looks is how often a result that comes later is looked for before the run waits for it.
	looks = 4
	// defaultWithin is how long a result is waited for.
	defaultWithin = time.Hour
)

// started journals that something was started elsewhere, and looks for its result.
func (s *session) started(ctx context.Context, do action.Action, step *playbook.Step, state run.Step) (flow, error) {
	state.State, state.Error, state.Attempts = run.Awaited, "", 0
	state.Started = s.Now() // its time begins anew
	s.note(state, s.entry(record.ActionStarted, record.System, state.ID, map[string]any{
		"action": step.Action, "result": state.Result, "hash": state.Change.Hash(),
	}))
	if err := s.write(ctx); err != nil {
		return flow{}, err
	}
	return s.result(ctx, do, step, state)
}

// result looks for the result of what was started: a few times at once, and then again and again later.
func (s *session) result(ctx context.Context, do action.Action, step *playbook.Step, state run.Step) (flow, error) {
	awaiter, ok := do.(action.Awaiter)
	if !ok {
		return s.fail(ctx, step, state, fmt.Sprintf("this version of %s doesn't know what was started", step.Action))
	}
	deadline := state.Started.Add(orElse(step.Within, orElse(do.Spec().Within, defaultWithin)))
	for look := range looks {
		if look > 0 && !s.pause(ctx, backoff(100*time.Millisecond, look, time.Second)) {
			return flow{}, context.Cause(ctx)
		}
		var result action.Result
		var done bool
		err := s.patiently(ctx, do.Spec(), step, func(ctx context.Context) error {
			var err error
			result, done, err = awaiter.Await(ctx, action.Applied{Change: *state.Change, Result: *state.Result})
			return err
		})
		switch {
		case err != nil && ctx.Err() != nil:
			return flow{}, context.Cause(ctx)
		case err != nil && fault.Is(err, fault.Transient) && s.Now().Before(deadline):
			return s.hold(ctx, step, state, err.Error())
		case err != nil:
			return s.fail(ctx, step, state, fmt.Sprintf("started, but: %v", err))
		case done:
			state.Result = &result
			return s.applied(ctx, do, step, state)
		}
	}
	if !s.Now().Before(deadline) {
		return s.fail(ctx, step, state, fmt.Sprintf("started, but there is no result after %s", s.Now().Sub(state.Started).Round(time.Second)))
	}
	state.Attempts++
	s.note(state)
	wake := s.Now().Add(backoff(time.Second, state.Attempts, time.Minute))
	if wake.After(deadline) {
		wake = deadline
	}
	return s.park(run.Waiting, fmt.Sprintf("step %s: waits for the result of %s", state.ID, step.Action), wake), nil
}
