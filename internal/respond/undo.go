package respond

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// takeBack undoes what other runs applied, the last change first, each from what its plan saw.
func (s *session) takeBack(ctx context.Context) error {
	if s.run.Undoes.Timed {
		if frozen, err := s.thaw(ctx); err != nil || frozen {
			return err
		}
	}
	for _, target := range s.run.Undoes.Runs {
		other, err := s.Journal.Load(ctx, target)
		if err != nil {
			return err
		}
		for _, done := range slices.Backward(other.Steps) {
			if !s.undoable(done) {
				continue
			}
			state := s.step(target+"/"+done.ID, &playbook.Step{Action: done.Action, Does: playbook.Use})
			if over(state.State) {
				continue
			}
			got, err := s.undo(ctx, done, state)
			if err != nil {
				return err
			}
			if got.turn == parked {
				return s.rest(ctx)
			}
			if err := s.settleDebt(ctx); err != nil {
				return err
			}
		}
	}
	if len(s.journal.Steps) == 0 {
		return s.finish(ctx, run.Succeeded, "there was nothing to undo")
	}
	var refused int
	for _, step := range s.journal.Steps {
		if step.State == run.Broken {
			refused++
		}
	}
	if refused > 0 {
		return s.finish(ctx, run.Failed, fmt.Sprintf("%d of %d changes were not undone", refused, len(s.journal.Steps)))
	}
	return s.finish(ctx, run.Succeeded, "")
}

// undoable picks the steps that changed the world, or may have: intended, and the outcome never written.
func (s *session) undoable(done run.Step) bool {
	if done.Change == nil || s.run.Undoes.Step != "" && s.run.Undoes.Step != done.ID {
		return false
	}
	do, known := s.actions[done.Action]
	if !known || !do.Spec().Effect.Changes() {
		return false
	}
	changed := done.State == run.Done && done.Result != nil && done.Result.Changed
	perhaps := done.State == run.Intended || done.State == run.Awaited || done.State == run.Broken
	return changed || perhaps || done.State == run.Undone && s.step(done.Run+"/"+done.ID, &playbook.Step{}).State != ""
}

// undo takes one change back: look for drift, journal the intention, restore, prove, journal.
func (s *session) undo(ctx context.Context, done, state run.Step) (flow, error) {
	if state.Started.IsZero() {
		state.Started = s.Now()
	}
	step := &playbook.Step{ID: state.ID, Retry: playbook.DefaultRetry, OnError: playbook.Continue}
	do, reversible := s.actions[done.Action].(action.Undoer)
	if !reversible {
		return s.fail(ctx, step, state, done.Action+" cannot be undone")
	}
	spec := s.actions[done.Action].Spec()
	applied := action.Applied{Change: *done.Change}
	if done.Result != nil {
		applied.Result = *done.Result
	}
	state.Change = done.Change
	drift, err := s.drift(ctx, do, spec, step, applied)
	if err != nil {
		return s.notNow(ctx, step, state, fmt.Errorf("look for drift: %w", err))
	}
	if len(drift) > 0 && !s.run.Undoes.Force {
		return s.fail(ctx, step, state, "somebody changed it since: "+action.Describe(drift)+" (force overwrites that)")
	}
	again := state.State == run.Intended
	if !again {
		state.State = run.Intended
		s.note(state, s.entry(record.UndoIntended, s.run.By, state.ID, map[string]any{
			"action": done.Action, "target": done.Change.Target, "to": done.Change.Before, "force": s.run.Undoes.Force, "drift": drift,
		}))
		if err := s.write(ctx); err != nil {
			return flow{}, err
		}
	}
	result, again, err := s.restore(ctx, do, spec, step, applied, again)
	if moved, ok := errors.AsType[*action.Moved](err); ok {
		return s.fail(ctx, step, state, "somebody changed it since: "+action.Describe(moved.Differences)+" (force overwrites that)")
	}
	if err != nil {
		return s.notNow(ctx, step, state, fmt.Errorf("undo: %w", err))
	}
	result.Changed = result.Changed || again // by an earlier attempt, whose outcome was lost
	err = s.settle(ctx, spec, func(ctx context.Context) error { return do.Restored(ctx, applied) })
	if err != nil {
		return s.fail(ctx, step, state, fmt.Sprintf("undone, but it is not as before: %v", err))
	}
	state.State, state.Result, state.Verified, state.Ended, state.Error = run.Done, &result, true, s.Now(), ""
	done.State = run.Undone
	s.note(state, s.entry(record.UndoEnded, s.run.By, state.ID, map[string]any{
		"action": done.Action, "state": run.Done, "result": result, "verified": true,
	}))
	s.keep(done, nil)
	s.Observe(Outcome{Playbook: s.run.Playbook, Action: done.Action, State: run.Undone, Took: state.Ended.Sub(state.Started)})
	return flow{}, s.write(ctx)
}

// thaw holds a timed undo for as long as changes are frozen: nobody asks for it now, unlike for other undos.
func (s *session) thaw(ctx context.Context) (bool, error) {
	var freezes []guardrail.Freeze
	err := s.away(func() error {
		var err error
		freezes, _, err = s.Rails.Standing(ctx)
		return err //nolint:wrapcheck // the store's errors say what failed
	})
	if err != nil {
		return false, err
	}
	frozen := guardrail.Frozen(freezes, s.Now(), s.journal.Finding.Account, s.run.Playbook)
	if len(frozen) == 0 {
		return false, nil
	}
	s.park(run.Held, join(frozen), s.Now().Add(time.Minute))
	return true, s.rest(ctx)
}

// restore calls Undo, again where trying again may help. An earlier attempt may have come to something where
// the leg took up an intention again, or had to try again itself: again tells of either.
func (s *session) restore(ctx context.Context, do action.Undoer, spec action.Spec, step *playbook.Step, applied action.Applied, resumed bool) (result action.Result, again bool, err error) {
	tries := 0
	err = s.patiently(ctx, spec, step, func(ctx context.Context) error {
		again = resumed || tries > 0
		tries++
		var err error
		result, err = do.Undo(ctx, applied, s.run.Undoes.Force)
		return err
	})
	return result, again, err
}

func (s *session) drift(ctx context.Context, do action.Undoer, spec action.Spec, step *playbook.Step, applied action.Applied) ([]action.Difference, error) {
	var drift []action.Difference
	err := s.patiently(ctx, spec, step, func(ctx context.Context) error {
		var err error
		drift, err = do.Drift(ctx, applied)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "the resource is no longer there: %w", err)
	}
	return drift, err
}
