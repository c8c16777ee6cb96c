package actiontest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// The names of the actions.
const (
	Set   = "test.world.set_thing"   // contain: give a thing a value
	Break = "test.world.break_thing" // destroy: remove a thing
	Read  = "test.world.read_thing"  // read: tell a thing's value
	Tell  = "test.world.tell_people" // notify: deliver a message once per token
)

// Actions gives the world's actions.
func (w *World) Actions() []action.Action {
	return []action.Action{&setting{w.set(), w}, &breaking{w}, &reading{w}, &telling{w}, &ordering{w}}
}

func (w *World) set() *action.Setting[string] {
	return &action.Setting[string]{
		About: action.Spec{
			Name: Set, Summary: "Give a thing a value.", Doc: "The thing has the value. Undo gives it back the one it had.",
			Effect: action.Contain,
			Params: []action.Param{
				aThing(), {Name: "to", Type: action.String, Doc: "the value", Required: true},
			},
			Outputs: []action.Output{{Name: "was", Type: action.String, Doc: "the value before"}},
			Permissions: []action.Permission{
				{Name: "test:Get", Resource: "*", Phase: action.PlanPhase},
				{Name: "test:Put", Resource: "*", Phase: action.ApplyPhase},
				{Name: "test:Put", Resource: "*", Phase: action.UndoPhase},
			},
		},
		Target: target,
		Read: func(_ context.Context, in action.Input) (string, error) {
			value, _, err := w.get(in.Account, in.Params.String("thing"))
			return value, err
		},
		Want: func(in action.Input, _ string) (string, error) { return in.Params.String("to"), nil },
		Write: func(_ context.Context, in action.Input, _, to string) (string, error) {
			return to, w.write(in, Set, to)
		},
		Calls: func(in action.Input, _, to string) []string {
			return []string{fmt.Sprintf("test:Put %s %s", in.Params.String("thing"), to)}
		},
		Summary: func(in action.Input, from, to string) string {
			return fmt.Sprintf("%s changes from %q to %q", in.Params.String("thing"), from, to)
		},
		Facts: func(_ context.Context, in action.Input, _ string, c *action.Change) (err error) {
			_, c.Tags, err = w.get(in.Account, in.Params.String("thing"))
			return err
		},
	}
}

func aThing() action.Param {
	return action.Param{Name: "thing", Type: action.String, Doc: "the thing's name", Required: true, Entity: entity.Resource}
}

func target(in action.Input) entity.Entity {
	return entity.Entity{Kind: entity.Resource, ID: in.Params.String("thing"), Account: in.Account}
}

// setting is Set: the hooks of the world around what action.Setting does.
type setting struct {
	*action.Setting[string]
	world *World
}

// Plan is of action.Action.
func (s *setting) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return visit(ctx, s.world, planOf(Set, in), func() (action.Change, error) { return s.Setting.Plan(ctx, in) })
}

// Apply is of action.Action.
func (s *setting) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	return visit(ctx, s.world, callOf(Applying, c), func() (action.Result, error) {
		result, err := s.Setting.Apply(ctx, c)
		var was string
		if err == nil {
			err = json.Unmarshal(c.Before, &was)
		}
		result.Outputs = map[string]any{"was": was}
		return result, err
	})
}

// Verify is of action.Verifier.
func (s *setting) Verify(ctx context.Context, a action.Applied) error {
	return s.check(ctx, Verifying, a, s.Setting.Verify)
}

// Drift is of action.Undoer.
func (s *setting) Drift(ctx context.Context, a action.Applied) ([]action.Difference, error) {
	return visit(ctx, s.world, callOf(Drifting, a.Change), func() ([]action.Difference, error) { return s.Setting.Drift(ctx, a) })
}

// Undo is of action.Undoer.
func (s *setting) Undo(ctx context.Context, a action.Applied, force bool) (action.Result, error) {
	return visit(ctx, s.world, callOf(Undoing, a.Change), func() (action.Result, error) { return s.Setting.Undo(ctx, a, force) })
}

// Restored is of action.Undoer.
func (s *setting) Restored(ctx context.Context, a action.Applied) error {
	return s.check(ctx, Restoring, a, s.Setting.Restored)
}

func (s *setting) check(ctx context.Context, phase Phase, a action.Applied, proof func(context.Context, action.Applied) error) error {
	_, err := visit(ctx, s.world, callOf(phase, a.Change), func() (bool, error) { return true, proof(ctx, a) })
	return err
}

// Population is of action.Counter.
func (s *setting) Population(_ context.Context, at action.Place) (int, error) {
	return s.world.population(at.Account), nil
}

// breaking is Break.
type breaking struct{ world *World }

// Spec is of action.Action.
func (*breaking) Spec() action.Spec {
	return action.Spec{
		Name: Break, Summary: "Break a thing.", Doc: "The thing is no more. There is no undo.", Effect: action.Destroy,
		Params:  []action.Param{aThing()},
		Outputs: []action.Output{},
		Permissions: []action.Permission{
			{Name: "test:Get", Resource: "*", Phase: action.PlanPhase},
			{Name: "test:Delete", Resource: "*", Phase: action.ApplyPhase},
		},
	}
}

// Plan is of action.Action.
func (b *breaking) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return visit(ctx, b.world, planOf(Break, in), func() (action.Change, error) {
		value, tags, err := b.world.get(in.Account, in.Params.String("thing"))
		if err != nil {
			return action.Change{}, err
		}
		c, err := changeOf(Break, in, value)
		c.Tags, c.Calls = tags, []string{"test:Delete " + in.Params.String("thing")}
		c.Summary, c.Impact = "break "+in.Params.String("thing"), []string{"it can't be undone"}
		return c, err
	})
}

// Apply is of action.Action.
func (b *breaking) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	return visit(ctx, b.world, callOf(Applying, c), func() (action.Result, error) {
		in, err := c.Input()
		if err != nil {
			return action.Result{}, err
		}
		value, _, err := b.world.get(in.Account, in.Params.String("thing"))
		if fault.Is(err, fault.NotFound) {
			return action.Result{}, nil // it is broken already
		}
		if err != nil {
			return action.Result{}, err
		}
		now, err := json.Marshal(value)
		if err != nil {
			return action.Result{}, fmt.Errorf("encode value: %w", err)
		}
		if differences := action.Differences(wrap(c.Before), wrap(now)); len(differences) > 0 {
			return action.Result{}, &action.Moved{Action: Break, Target: c.Target.ID, Differences: differences}
		}
		return action.Result{Changed: true}, b.world.write(in, Break, "")
	})
}

// Verify is of action.Verifier.
func (b *breaking) Verify(ctx context.Context, a action.Applied) error {
	_, err := visit(ctx, b.world, callOf(Verifying, a.Change), func() (bool, error) {
		_, _, err := b.world.get(a.Change.Account, a.Change.Target.ID)
		if fault.Is(err, fault.NotFound) {
			return true, nil
		}
		return false, &action.NotHeld{Action: Break, Target: a.Change.Target.ID}
	})
	return err
}

// reading is Read.
type reading struct{ world *World }

// Spec is of action.Action.
func (*reading) Spec() action.Spec {
	return action.Spec{
		Name: Read, Summary: "Tell a thing's value.", Doc: "Gives the value that the thing has now, and changes nothing.", Effect: action.Read, Params: []action.Param{aThing()},
		Outputs:     []action.Output{{Name: "value", Type: action.String, Doc: "the value"}},
		Permissions: []action.Permission{{Name: "test:Get", Resource: "*", Phase: action.PlanPhase}},
	}
}

// Plan is of action.Action.
func (r *reading) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return visit(ctx, r.world, planOf(Read, in), func() (action.Change, error) {
		value, _, err := r.world.get(in.Account, in.Params.String("thing"))
		if err != nil {
			return action.Change{}, err
		}
		c, err := changeOf(Read, in, value)
		c.Outputs, c.Summary = map[string]any{"value": value}, "read "+in.Params.String("thing")
		return c, err
	})
}

// Apply is of action.Action.
func (*reading) Apply(context.Context, action.Change) (action.Result, error) {
	return action.Result{}, nil
}

// telling is Tell.
type telling struct{ world *World }

// Spec is of action.Action.
func (*telling) Spec() action.Spec {
	return action.Spec{
		Name: Tell, Summary: "Tell people something.", Doc: "Each step of a run delivers its message once.", Effect: action.Notify,
		Params: []action.Param{{Name: "message", Type: action.String, Doc: "what to tell", Required: true}},
	}
}

// Plan is of action.Action.
func (t *telling) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return visit(ctx, t.world, planOf(Tell, in), func() (action.Change, error) {
		c, err := changeOf(Tell, in, nil)
		c.Target, c.Summary = entity.Entity{}, "tell: "+in.Params.String("message")
		return c, err
	})
}

// Apply is of action.Action.
func (t *telling) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	return visit(ctx, t.world, callOf(Applying, c), func() (action.Result, error) {
		in, err := c.Input()
		if err != nil {
			return action.Result{}, err
		}
		return action.Result{Changed: t.world.deliver(in.Params.String("message"), c.Token)}, nil
	})
}

func changeOf(name string, in action.Input, before any) (action.Change, error) {
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	was, err := json.Marshal(before)
	return action.Change{
		Action: name, Place: in.Place, Params: params, Target: target(in), Before: was, After: json.RawMessage("null"),
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, err
}

func planOf(name string, in action.Input) Call {
	return Call{Phase: Planning, Action: name, Account: in.Account, Thing: in.Params.String("thing"), Run: in.Run, Step: in.Step}
}

func callOf(phase Phase, c action.Change) Call {
	return Call{Phase: phase, Action: c.Action, Account: c.Account, Thing: c.Target.ID, Run: c.Run, Step: c.Step}
}

// wrap makes a value that differs as a whole.
func wrap(value json.RawMessage) json.RawMessage { return fmt.Appendf(nil, `{"value":%s}`, value) }
