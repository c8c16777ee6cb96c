package respond

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// turn is what comes after a step.
type turn uint8

const (
	onward turn = iota // to the next step
	parked             // the run waits; the leg is over
	ended              // the run is over
)

// play goes through the steps that are not yet over.
func (s *session) play(ctx context.Context) error {
	book, err := s.playbook(s.journal)
	if err != nil {
		return s.finish(ctx, run.Failed, err.Error())
	}
	for i := range book.Steps {
		step := &book.Steps[i]
		state := s.step(step.ID, i, step.Action)
		if over(state.State) {
			continue
		}
		next, err := s.perform(ctx, book, step, state)
		if err != nil || next != onward {
			return err
		}
	}
	if s.run.State.Final() {
		return nil // the last step's write ended the run
	}
	state, reason := s.conclusion()
	return s.finish(ctx, state, reason)
}

func over(s run.StepState) bool {
	return s == run.Done || s == run.Skipped || s == run.Undone || s == run.Broken || s == run.Stopped || s == run.Planned
}

// perform takes one step as far as it goes now.
func (s *session) perform(ctx context.Context, book *playbook.Playbook, step *playbook.Step, state run.Step) (turn, error) {
	if state.State == "" && step.If != nil {
		holds, err := step.If.True(ctx, s.scope())
		if err != nil {
			return s.fail(ctx, step, state, fmt.Sprintf("condition: %v", err))
		}
		if !holds {
			state.State, state.Ended, state.Error = run.Skipped, s.Now(), ""
			s.note(state)
			return onward, nil
		}
	}
	if answered := s.latest(step.ID); answered != nil && answered.Answer == run.Refused { // whatever the world is now
		return ended, s.refuse(ctx, step.ID, fmt.Sprintf("denied by %s: %s", answered.By, answered.Reason))
	}
	if step.Approve != nil {
		return s.question(ctx, book, step, state)
	}
	return s.act(ctx, book, step, state)
}

// conclusion says how a run ended whose every step is over.
func (s *session) conclusion() (run.State, string) {
	var planned, broken []string
	for _, step := range s.journal.Steps {
		switch step.State {
		case run.Planned:
			planned = append(planned, step.ID)
		case run.Broken, run.Stopped:
			broken = append(broken, step.ID)
		default:
		}
	}
	switch {
	case len(planned) > 0:
		return run.Observed, "planned only: " + strings.Join(planned, ", ")
	case len(broken) > 0:
		return run.Succeeded, "went on without " + strings.Join(broken, ", ")
	}
	return run.Succeeded, ""
}

// fail ends a step badly and, unless the playbook goes on without it, the run.
func (s *session) fail(ctx context.Context, step *playbook.Step, state run.Step, why string) (turn, error) {
	return s.stop(ctx, step, state, run.Broken, run.Failed, why)
}

func (s *session) stop(ctx context.Context, step *playbook.Step, state run.Step, as run.StepState, ends run.State, why string) (turn, error) {
	state.State, state.Error, state.Ended = as, why, s.Now()
	s.note(state, s.entry(record.ActionEnded, record.System, step.ID, map[string]any{
		"action": state.Action, "state": as, "error": why,
	}))
	s.Observe(Outcome{Playbook: s.run.Playbook, Action: state.Action, State: as, Took: s.Now().Sub(state.Started)})
	if step.OnError == playbook.Continue {
		return onward, s.write(ctx)
	}
	return ended, s.finish(ctx, ends, fmt.Sprintf("step %s: %s", step.ID, why))
}

// scope is what expressions see: the finding that started the run, its incident, and the outputs so far.
func (s *session) scope() expr.Scope {
	steps := map[string]any{}
	for _, step := range s.journal.Steps {
		outputs := map[string]any{"state": string(step.State)}
		maps.Copy(outputs, step.Outputs)
		steps[step.ID] = outputs
	}
	return expr.Scope{
		expr.Finding:  expr.ViewFinding(&s.journal.Finding),
		expr.Incident: expr.ViewIncident(&s.journal.Incident),
		expr.Steps:    steps,
	}
}
