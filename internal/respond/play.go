package respond

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// turn is what comes after a step.
type turn uint8

const (
	onward turn = iota // to the next step
	parked             // it waits; the others go as far as they can, then the leg is over
	asks               // it has to ask, and is to come back for that when the others have gone as far as they can
	ended              // it ended badly
)

// flow is how far steps got.
type flow struct {
	turn turn
	// Where it ended badly: how the run ends by that, at which step, and why.
	ends run.State
	step string
	why  string
}

// reason says for people why it ended.
func (f flow) reason() string {
	if f.step == "" {
		return f.why
	}
	return fmt.Sprintf("step %s: %s", f.step, f.why)
}

// play goes through the steps that are not yet over, from the top, on the way that the journal holds.
func (s *session) play(ctx context.Context) error {
	book, err := s.playbook(s.journal)
	if err != nil {
		return s.finish(ctx, run.Failed, err.Error())
	}
	top := &frame{book: book, autonomy: s.run.Autonomy}
	got, err := s.whole(ctx, top)
	switch {
	case err != nil:
		return err
	case got.turn == parked:
		return s.rest(ctx)
	case got.turn == ended:
		return s.finish(ctx, got.ends, got.reason())
	}
	state, reason := s.conclusion()
	return s.finish(ctx, state, reason)
}

// whole goes through a playbook's steps, and then through those that come however the others ended.
func (s *session) whole(ctx context.Context, f *frame) (flow, error) {
	got, err := s.sequence(ctx, f, f.book.Steps)
	if err != nil || got.turn == parked || got.turn == asks || len(f.book.Finally) == 0 {
		return got, err
	}
	if got.turn == ended {
		s.supersede() // what was asked will not be done
	}
	last, err := s.sequence(ctx, f.failing(got), f.book.Finally)
	if err != nil || last.turn == onward {
		return got, err
	}
	if last.turn == ended && got.turn == ended {
		got.why += "; and finally: " + last.reason()
		return got, nil
	}
	return last, nil
}

func over(s run.StepState) bool {
	return s == run.Done || s == run.Skipped || s == run.Undone || s == run.Broken || s == run.Stopped || s == run.Planned
}

// sequence goes through steps one after the other.
func (s *session) sequence(ctx context.Context, f *frame, steps []playbook.Step) (flow, error) {
	for i := range steps {
		got, err := s.perform(ctx, f, &steps[i])
		if err != nil || got.turn != onward {
			return got, err
		}
	}
	return flow{}, nil
}

// perform takes one step as far as it goes now, and deals with its failure as the playbook says. A person's no is
// no failure that could be dealt with.
func (s *session) perform(ctx context.Context, f *frame, step *playbook.Step) (flow, error) {
	if err := s.settleDebt(ctx); err != nil {
		return flow{}, err
	}
	got, err := s.once(ctx, f, step)
	if err != nil || got.turn != ended || got.ends == run.Denied {
		return got, err
	}
	if len(step.Handler) > 0 {
		return s.sequence(ctx, f.failing(got), step.Handler)
	}
	if step.OnError == playbook.Continue {
		return flow{}, nil
	}
	return got, nil
}

// settleDebt writes down the outcome of the step before, before anything else happens.
func (s *session) settleDebt(ctx context.Context) error {
	if !s.owing {
		return nil
	}
	return s.write(ctx)
}

// once takes one step as far as it goes now.
func (s *session) once(ctx context.Context, f *frame, step *playbook.Step) (flow, error) {
	state := s.step(f.id(step), step)
	if over(state.State) {
		return after(step, state), nil
	}
	if state.State == "" && step.If != nil {
		holds, err := step.If.True(ctx, s.scope(f))
		if err != nil {
			return s.fail(ctx, step, state, fmt.Sprintf("condition: %v", err))
		}
		if !holds && len(step.Else) == 0 {
			state.State, state.Ended, state.Error = run.Skipped, s.Now(), ""
			s.note(state)
			return flow{}, nil
		}
		if !holds {
			state.Outputs = map[string]any{"way": "else"}
		}
	}
	if answered := s.latest(state.ID); answered != nil && answered.Answer == run.Refused { // whatever the world is now
		return s.refuse(state.ID, fmt.Sprintf("denied by %s: %s", answered.By, answered.Reason)), nil
	}
	return s.does(ctx, f, step, state)
}

// after is what a step that is over means for what comes after it.
func after(step *playbook.Step, state run.Step) flow {
	switch {
	case state.Ends == "":
		return flow{}
	case state.Ends == run.Denied || holds(step):
		return flow{turn: ended, ends: state.Ends, why: state.Error}
	}
	return flow{turn: ended, ends: state.Ends, step: state.ID, why: state.Error}
}

// holds reports whether a step is of other steps.
func holds(step *playbook.Step) bool {
	return slices.Contains([]playbook.Kind{playbook.Call, playbook.Group, playbook.Parallel, playbook.ForEach, playbook.Switch}, step.Does)
}

func (s *session) does(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	switch step.Does {
	case playbook.Use:
		return s.act(ctx, f, step, state)
	case playbook.Ask:
		return s.question(ctx, f, step, state)
	case playbook.Wait:
		return s.wait(ctx, f, step, state)
	case playbook.Set:
		return s.name(ctx, f, step, state)
	case playbook.Fail:
		why, err := step.Fail.Compute(ctx, s.scope(f))
		if err != nil {
			why = err.Error()
		}
		return s.fail(ctx, step, state, fmt.Sprint(why))
	case playbook.Call:
		return s.call(ctx, f, step, state)
	case playbook.Group:
		return s.group(ctx, f, step, state)
	case playbook.Parallel:
		return s.parallel(ctx, f, step, state)
	case playbook.ForEach:
		return s.forEach(ctx, f, step, state)
	case playbook.Switch:
		return s.choose(ctx, f, step, state)
	}
	return s.fail(ctx, step, state, fmt.Sprintf("a step of kind %q is not known to this version", step.Does))
}

// conclusion says how a run ended whose every step is over.
func (s *session) conclusion() (run.State, string) {
	var planned, broken []string
	for _, step := range s.journal.Steps {
		switch {
		case step.State == run.Planned:
			planned = append(planned, step.ID)
		case (step.State == run.Broken || step.State == run.Stopped) && step.Action != "":
			broken = append(broken, step.ID)
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

// fail ends a step badly.
func (s *session) fail(ctx context.Context, step *playbook.Step, state run.Step, why string) (flow, error) {
	return s.stop(ctx, step, state, run.Broken, run.Failed, why)
}

func (s *session) stop(_ context.Context, step *playbook.Step, state run.Step, as run.StepState, ends run.State, why string) (flow, error) {
	state.State, state.Ends, state.Error, state.Ended = as, ends, why, s.Now()
	s.note(state, s.entry(record.ActionEnded, record.System, state.ID, map[string]any{
		"action": state.Action, "state": as, "error": why,
	}))
	s.Observe(Outcome{Playbook: s.run.Playbook, Action: state.Action, State: as, Took: s.Now().Sub(state.Started)})
	s.owing = true
	return after(step, state), nil
}

// waiting is why a leg is over before its run is.
type waiting struct {
	state  run.State
	reason string
	wake   time.Time // zero for not by time
}

// park notes what the run waits for. It is written when every branch has gone as far as it can.
func (s *session) park(state run.State, reason string, wake time.Time) flow {
	s.waits = append(s.waits, waiting{state, reason, wake})
	return flow{turn: parked}
}

// rest leaves the run to wait for all that its branches wait for.
func (s *session) rest(ctx context.Context) error {
	s.run.State, s.run.Wake = run.Held, time.Time{}
	var reasons []string
	for _, w := range s.waits {
		if w.state == run.Waiting {
			s.run.State = run.Waiting
		}
		if !w.wake.IsZero() && (s.run.Wake.IsZero() || w.wake.Before(s.run.Wake)) {
			s.run.Wake = w.wake
		}
		if !slices.Contains(reasons, w.reason) {
			reasons = append(reasons, w.reason)
		}
	}
	s.run.Reason = strings.Join(reasons, "; ")
	if err := s.write(ctx); err != nil {
		return err
	}
	for _, notice := range s.notices { // people are told when an answer can be taken
		s.announce(ctx, notice)
	}
	return nil
}
