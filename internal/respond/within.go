package respond

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
)

// mostItems bounds the size in bytes of a list that is gone through, as the journal keeps it.
const mostItems = 1 << 18

// begin notes that what is within a step is under way, and on which way.
func (s *session) begin(state *run.Step, outputs map[string]any) {
	if state.State == run.Begun {
		return
	}
	state.State, state.Outputs = run.Begun, outputs
	if state.Started.IsZero() {
		state.Started = s.Now()
	}
	s.note(*state)
}

// close ends a step by how the steps within it got on.
func (s *session) close(state run.Step, got flow, err error) (flow, error) {
	if err != nil {
		return got, err
	}
	switch got.turn {
	case parked, asks:
		return got, nil
	case ended:
		state.State, state.Ends, state.Error, state.Ended = run.Broken, got.ends, got.reason(), s.Now()
		if got.ends != run.Failed {
			state.State = run.Stopped
		}
		s.note(state)
		return flow{turn: ended, ends: got.ends, why: state.Error}, nil
	case onward:
	}
	state.State, state.Error, state.Ended = run.Done, "", s.Now()
	s.note(state)
	return flow{}, nil
}

// group goes through the steps of a group, or those of its else.
func (s *session) group(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	s.begin(&state, state.Outputs)
	steps := step.Steps
	if state.Outputs["way"] == "else" {
		steps = step.Else
	}
	got, err := s.sequence(ctx, f, steps)
	return s.close(state, got, err)
}

// choose goes through the steps of the first case that is so.
func (s *session) choose(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	if state.State == "" {
		value, err := step.On.Value(ctx, s.scope(f))
		if err != nil {
			return s.fail(ctx, step, state, err.Error())
		}
		s.begin(&state, map[string]any{"case": chosen(step, value)})
	}
	got, err := s.sequence(ctx, f, way(step, state))
	return s.close(state, got, err)
}

// chosen gives the number of the case that a value is of, -1 for none.
func chosen(step *playbook.Step, value any) int {
	for i, one := range step.Cases {
		for _, is := range one.Is {
			if same(is, value) {
				return i
			}
		}
	}
	return -1
}

func same(a, b any) bool {
	x, isNumber := number(a)
	y, isToo := number(b)
	if isNumber && isToo {
		return x == y
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// way gives the steps of a switch that the journal says were chosen.
func way(step *playbook.Step, state run.Step) []playbook.Step {
	if at, known := number(state.Outputs["case"]); known && at >= 0 && int(at) < len(step.Cases) {
		return step.Cases[int(at)].Steps
	}
	return step.Else
}

// call goes through the steps of another playbook.
func (s *session) call(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	if step.Calls == nil {
		return s.fail(ctx, step, state, "the run doesn't keep the playbook "+step.Called)
	}
	if state.State == "" {
		inputs, err := s.inputs(ctx, f, step)
		if err != nil {
			return s.fail(ctx, step, state, err.Error())
		}
		s.begin(&state, map[string]any{"inputs": inputs})
	}
	inputs, _ := state.Outputs["inputs"].(map[string]any)
	got, err := s.whole(ctx, f.called(step, inputs))
	return s.close(state, got, err)
}

// inputs are what a called playbook is given.
func (s *session) inputs(ctx context.Context, f *frame, step *playbook.Step) (map[string]any, error) {
	values, err := step.Compute(ctx, s.scope(f))
	if err != nil {
		return nil, err
	}
	bound, err := action.Bind(action.Spec{Name: step.Called, Params: step.Calls.Inputs}, values)
	return map[string]any(bound), err
}

// name gives names to values.
func (s *session) name(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	values, err := step.Names(ctx, s.scope(f))
	if err != nil {
		return s.fail(ctx, step, state, err.Error())
	}
	state.State, state.Outputs, state.Ended = run.Done, values, s.Now()
	s.note(state)
	return flow{}, nil
}

// parallel goes through steps at once.
func (s *session) parallel(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	s.begin(&state, nil)
	got, _, err := s.branches(ctx, len(step.Parallel), len(step.Parallel), func(ctx context.Context, i int) (flow, error) {
		return s.perform(ctx, f, &step.Parallel[i])
	})
	return s.close(state, got, err)
}

// forEach goes through a list.
func (s *session) forEach(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	if state.State == "" {
		items, err := s.items(ctx, f, step)
		if err != nil {
			return s.fail(ctx, step, state, err.Error())
		}
		s.begin(&state, map[string]any{"items": items})
	}
	items, _ := state.Outputs["items"].([]any)
	got, failed, err := s.branches(ctx, len(items), step.Loop.AtOnce, func(ctx context.Context, i int) (flow, error) {
		return s.sequence(ctx, f.turn(step, i, items[i]), step.Steps)
	})
	state.Outputs = map[string]any{"items": items, "turns": len(items), "failed": failed}
	if got.turn == ended && got.ends != run.Denied && len(items) > 1 {
		got.why, got.step = fmt.Sprintf("%d of %d turns failed: %s", failed, len(items), got.reason()), ""
	}
	return s.close(state, got, err)
}

// items computes the list that a loop goes through, as the journal keeps it.
func (s *session) items(ctx context.Context, f *frame, step *playbook.Step) ([]any, error) {
	value, err := step.Loop.In.Value(ctx, s.scope(f))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("%s can't be kept: %w", step.Loop.In, err)
	}
	var items []any
	switch err := json.Unmarshal(text, &items); {
	case err != nil:
		return nil, fmt.Errorf("%s is no list", step.Loop.In)
	case len(items) > step.Loop.AtMost:
		return nil, fmt.Errorf("%s has %d items; the loop is for at most %d", step.Loop.In, len(items), step.Loop.AtMost)
	case len(text) > mostItems:
		return nil, fmt.Errorf("%s is %d bytes; at most %d are kept", step.Loop.In, len(text), mostItems)
	}
	if items == nil {
		items = []any{}
	}
	return items, nil
}

// branches takes several branches as far as they go, some at once. Those of them that have to ask do so when the
// others have gone as far as they can, one after the other, so that one question can be about many. Where
// one ends badly the others go on, unless a person said no. It tells how many ended badly.
func (s *session) branches(ctx context.Context, count, atOnce int, branch func(context.Context, int) (flow, error)) (flow, int, error) {
	flows := make([]flow, count)
	if atOnce > 1 && count > 1 {
		if err := s.atOnce(ctx, flows, atOnce, branch); err != nil {
			return flow{}, 0, err
		}
	}
	for i := range flows {
		if atOnce > 1 && count > 1 && (flows[i].turn != asks || s.deferring > 0) {
			continue
		}
		var err error
		if flows[i], err = branch(ctx, i); err != nil {
			return flow{}, 0, err
		}
		if got := flows[i]; got.turn == parked || got.turn == asks || got.ends == run.Denied {
			if atOnce <= 1 {
				return got, failures(flows), nil
			}
		}
	}
	return combined(flows), failures(flows), nil
}

// atOnce takes branches as far as they go without asking.
func (s *session) atOnce(ctx context.Context, flows []flow, most int, branch func(context.Context, int) (flow, error)) error {
	s.deferring++
	defer func() { s.deferring-- }()
	return s.away(func() error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(most)
		for i := range flows {
			group.Go(func() error {
				s.mu.Lock()
				defer s.mu.Unlock()
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				var err error
				if flows[i], err = branch(ctx, i); err != nil {
					return err
				}
				return s.settleDebt(ctx)
			})
		}
		return group.Wait() //nolint:wrapcheck // they are our own
	})
}

// combined is how far branches got together.
func combined(flows []flow) flow {
	for _, first := range []func(flow) bool{
		func(f flow) bool { return f.ends == run.Denied },
		func(f flow) bool { return f.turn == asks },
		func(f flow) bool { return f.turn == parked },
		func(f flow) bool { return f.turn == ended },
	} {
		for _, got := range flows {
			if first(got) {
				return got
			}
		}
	}
	return flow{}
}

func failures(flows []flow) int {
	count := 0
	for _, got := range flows {
		if got.turn == ended {
			count++
		}
	}
	return count
}

// wait waits for a time, or until a condition holds.
func (s *session) wait(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	s.begin(&state, state.Outputs)
	wait := step.Wait
	if wait.Until == nil {
		if due := state.Started.Add(wait.Time); s.Now().Before(due) {
			return s.park(run.Waiting, "waits until "+due.UTC().Format(time.RFC3339), due), nil
		}
		return s.close(state, flow{}, nil)
	}
	deadline := state.Started.Add(wait.Within)
	if wait.Look != nil {
		seen, err := s.look(ctx, f, wait.Look, state.ID)
		switch passing := fault.Is(err, fault.Transient); {
		case err != nil && ctx.Err() != nil:
			return flow{}, context.Cause(ctx)
		case err != nil && passing && s.Now().Before(deadline): // it is patient for as long as it waits, and no longer
			return s.hold(ctx, step, state, fmt.Sprintf("look: %v", err))
		case err != nil && passing && wait.GoOn:
			return s.close(state, flow{}, nil)
		case err != nil:
			return s.fail(ctx, step, state, fmt.Sprintf("look: %v", err))
		}
		state.Outputs, state.Error, state.Attempts = seen, "", 0
		s.note(state)
	}
	so, err := wait.Until.True(ctx, s.scope(f))
	if err != nil {
		return s.fail(ctx, step, state, err.Error())
	}
	switch {
	case so:
		return s.close(state, flow{}, nil)
	case s.Now().Before(deadline):
		next := s.Now().Add(wait.Every)
		if next.After(deadline) {
			next = deadline
		}
		return s.park(run.Waiting, "waits until "+wait.Until.String(), next), nil
	case wait.GoOn:
		return s.close(state, flow{}, nil)
	}
	return s.fail(ctx, step, state, fmt.Sprintf("after %s it still isn't so that %s", wait.Within, wait.Until))
}

// look reads the world for a step that waits.
func (s *session) look(ctx context.Context, f *frame, step *playbook.Step, id string) (map[string]any, error) {
	do, known := s.actions[step.Action]
	if !known {
		return nil, fmt.Errorf("no action is called %q in this installation", step.Action)
	}
	change, err := s.plan(ctx, f, do, step, id)
	return change.Outputs, err
}
