package respond

import (
	"context"

	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
)

// ahead plans the changing steps after one, as far as that is possible now: up to the next question, to a wait,
// or to a step that needs what isn't known yet. One that can't be planned, and without which the playbook goes on,
// is left out. It changes nothing of the session.
func (s *session) ahead(ctx context.Context, f *frame, id string, plans []run.Plan) []run.Plan {
	for f.caller != nil || f.around != nil {
		if f.around != nil {
			f = f.around
		} else {
			f = f.caller
		}
	}
	scout := &scout{session: s, after: id, plans: plans}
	scout.whole(ctx, f)
	return scout.plans
}

// scout walks the tree on the way that the journal holds, finds the step that asks, and plans what comes after it.
type scout struct {
	*session
	after string // the step that asks
	found bool
	done  bool // nothing more can be known
	plans []run.Plan
}

// whole goes through a playbook.
func (s *scout) whole(ctx context.Context, f *frame) {
	s.steps(ctx, f, f.book.Steps)
	s.steps(ctx, f.failing(flow{}), f.book.Finally)
}

func (s *scout) steps(ctx context.Context, f *frame, steps []playbook.Step) {
	for i := range steps {
		if s.done {
			return
		}
		s.one(ctx, f, &steps[i])
	}
}

func (s *scout) one(ctx context.Context, f *frame, step *playbook.Step) {
	state := s.step(f.id(step), step)
	switch {
	case state.ID == s.after:
		s.found = true
		return
	case over(state.State):
		if len(step.Handler) > 0 && state.Ends != "" {
			s.steps(ctx, f.failing(flow{ends: state.Ends, step: state.ID, why: state.Error}), step.Handler)
		}
		return
	case !s.found && state.State != run.Begun, state.State == run.Intended, state.State == run.Awaited:
		return
	}
	otherwise := false
	if state.State == "" && step.If != nil {
		holds, err := step.If.True(ctx, s.scope(f))
		if s.done = err != nil; s.done || !holds && len(step.Else) == 0 {
			return
		}
		otherwise = !holds
	}
	s.into(ctx, f, step, state, otherwise)
}

// into plans what a step does, or goes on within it.
func (s *scout) into(ctx context.Context, f *frame, step *playbook.Step, state run.Step, otherwise bool) {
	switch step.Does {
	case playbook.Use:
		s.change(ctx, f, step, state)
	case playbook.Group:
		if otherwise || state.Outputs["way"] == "else" {
			s.steps(ctx, f, step.Else)
			return
		}
		s.steps(ctx, f, step.Steps)
	case playbook.Parallel:
		s.branches(ctx, f, step.Parallel)
	case playbook.Switch:
		s.choice(ctx, f, step, state)
	case playbook.ForEach:
		s.turns(ctx, f, step, state)
	case playbook.Call:
		s.callee(ctx, f, step, state)
	case playbook.Ask, playbook.Wait, playbook.Set, playbook.Fail:
		s.done = s.found // the next question, or what can't be known before its time
	}
}

// branches plans all branches: what keeps one from going on doesn't keep the others.
func (s *scout) branches(ctx context.Context, f *frame, steps []playbook.Step) {
	stopped := false
	for i := range steps {
		s.done = false
		s.one(ctx, f, &steps[i])
		stopped = stopped || s.done
	}
	s.done = stopped
}

func (s *scout) change(ctx context.Context, f *frame, step *playbook.Step, state run.Step) {
	do, known := s.actions[step.Action]
	if !known || !do.Spec().Effect.Changes() || !s.found {
		return
	}
	change, err := s.plan(ctx, f, do, step, state.ID)
	if err != nil {
		s.done = step.OnError != playbook.Continue
		return
	}
	s.plans = append(s.plans, run.Plan{Step: state.ID, Change: change, Hash: change.Hash()})
}

func (s *scout) choice(ctx context.Context, f *frame, step *playbook.Step, state run.Step) {
	if state.State != run.Begun {
		value, err := step.On.Value(ctx, s.scope(f))
		if s.done = err != nil; s.done {
			return
		}
		state.Outputs = map[string]any{"case": chosen(step, value)}
	}
	s.steps(ctx, f, way(step, state))
}

func (s *scout) turns(ctx context.Context, f *frame, step *playbook.Step, state run.Step) {
	items, begun := state.Outputs["items"].([]any)
	if !begun {
		var err error
		items, err = s.items(ctx, f, step)
		if s.done = err != nil; s.done {
			return
		}
	}
	for i, item := range items {
		s.steps(ctx, f.turn(step, i, item), step.Steps)
	}
}

func (s *scout) callee(ctx context.Context, f *frame, step *playbook.Step, state run.Step) {
	inputs, begun := state.Outputs["inputs"].(map[string]any)
	if !begun {
		var err error
		inputs, err = s.inputs(ctx, f, step)
		if s.done = err != nil || step.Calls == nil; s.done {
			return
		}
	}
	s.whole(ctx, f.called(step, inputs))
}
