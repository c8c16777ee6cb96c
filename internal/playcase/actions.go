package playcase

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// largeAccount is how many things of a kind there are unless the test says.
const largeAccount = 1000

// emulated gives actions that work on the account at hand in place of a provider. Those that set a state keep
// their own decisions; the others do what the test says of them.
func emulated(genuine []action.Action, at func() *account) []action.Action {
	all := make([]action.Action, 0, len(genuine))
	for _, one := range genuine {
		all = append(all, emulate(one, at))
	}
	return all
}

func emulate(genuine action.Action, at func() *account) action.Action { //nolint:ireturn // which one depends on the action
	base := emulation{spec: genuine.Spec(), at: at}
	simulable, sets := genuine.(action.Simulable)
	_, later := genuine.(action.Awaiter)
	_, undoes := genuine.(action.Undoer)
	switch {
	case base.spec.Effect == action.Read:
		return &reader{base}
	case base.spec.Effect == action.Notify && later:
		return &later1{teller{base}}
	case base.spec.Effect == action.Notify:
		return &teller{base}
	case sets:
		s := &setter{emulation: base}
		s.works = simulable.Simulate(s)
		return s
	case undoes && later:
		return &laterUndoable{undoable{changer{base}}}
	case undoes:
		return &undoable{changer{base}}
	case later:
		return &laterChanger{changer{base}}
	}
	return &changer{base}
}

// emulation is what all emulated actions have in common.
type emulation struct {
	spec action.Spec
	at   func() *account
}

// Spec is of action.Action.
func (e *emulation) Spec() action.Spec { return e.spec }

// Population is of action.Counter.
func (e *emulation) Population(context.Context, action.Place) (int, error) {
	if said := e.at().answer("", e.spec.Name); said != nil && said.population > 0 {
		return said.population, nil
	}
	return largeAccount, nil
}

// change is the plan of an action whose decisions aren't known: what the test says of it.
func (e *emulation) change(in action.Input) (action.Change, error) {
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	c := action.Change{
		Action: e.spec.Name, Place: in.Place, Params: params, Target: e.target(in), Incident: in.Incident, Run: in.Run, Step: in.Step,
		Reason: in.Reason, Token: in.Token,
	}
	c.Summary = strings.TrimSuffix(e.spec.Summary, ".") + ": " + c.Target.ID
	c.Calls = []string{strings.TrimSpace(e.spec.Name + " " + c.Target.ID)}
	said := e.at().answer(in.Step, e.spec.Name)
	if said == nil {
		return c, nil
	}
	c.Before, c.After, c.Tags, c.Impact, c.Noop = said.before, said.after, said.tags, said.impact, said.noop
	if said.summary != "" {
		c.Summary = said.summary
	}
	if said.calls != nil {
		c.Calls = said.calls
	}
	if c.Noop {
		c.Calls = nil
	}
	return c, nil
}

// target is what the first of the parameters names that take an entity, those that are needed before others.
func (e *emulation) target(in action.Input) entity.Entity {
	params := slices.Clone(e.spec.Params)
	slices.SortStableFunc(params, func(a, b action.Param) int {
		rank := func(p action.Param) int {
			switch {
			case p.Entity != "" && p.Required:
				return 0
			case p.Entity != "":
				return 1
			case p.Required:
				return 2
			}
			return 3
		}
		return rank(a) - rank(b)
	})
	for _, p := range params {
		if id := in.Params.String(p.Name); id != "" {
			kind := p.Entity
			if kind == "" {
				kind = entity.Resource
			}
			return entity.Entity{Kind: kind, ID: id, Part: entity.Target, Account: in.Account, Region: in.Region}
		}
	}
	return entity.Entity{Kind: entity.Account, ID: in.Account, Part: entity.Target, Account: in.Account}
}

// reader is an action that reads.
type reader struct{ emulation }

// Plan is of action.Action.
func (r *reader) Plan(_ context.Context, in action.Input) (action.Change, error) {
	a := r.at()
	return visit(a, r.spec.Name, in.Step, planning, func() (action.Change, error) {
		if a.answer(in.Step, r.spec.Name) == nil {
			a.lacks(fmt.Sprintf("answers.%s: what %s gives (%s)", plain(in.Step), r.spec.Name, strings.Join(names(r.spec.Outputs), ", ")))
			return action.Change{}, fault.New(fault.NotFound, "the test doesn't say what %s gives", r.spec.Name)
		}
		c, err := r.change(in)
		c.Outputs, c.Calls = r.at().outputs(r.spec, in.Step), nil
		return c, err
	})
}

// Apply is of action.Action.
func (*reader) Apply(context.Context, action.Change) (action.Result, error) {
	return action.Result{}, nil
}

func names(outputs []action.Output) []string {
	list := make([]string, 0, len(outputs))
	for _, o := range outputs {
		list = append(list, o.Name)
	}
	return list
}

// teller is an action that tells somebody something, or starts something elsewhere.
type teller struct{ emulation }

// Plan is of action.Action.
func (t *teller) Plan(_ context.Context, in action.Input) (action.Change, error) {
	return visit(t.at(), t.spec.Name, in.Step, planning, func() (action.Change, error) { return t.change(in) })
}

// Apply is of action.Action.
func (t *teller) Apply(_ context.Context, c action.Change) (action.Result, error) {
	a := t.at()
	return visit(a, t.spec.Name, c.Step, applying, func() (action.Result, error) {
		first := a.begins(c.Token)
		if !t.spec.Takes("message") && !t.spec.Takes("channel") { // it starts something elsewhere
			if first {
				a.called(c)
			}
			return action.Result{Changed: first, Outputs: a.outputs(t.spec, c.Step)}, nil
		}
		in, err := c.Input()
		if err != nil {
			return action.Result{}, err
		}
		var text []string
		for _, name := range slices.Sorted(maps.Keys(in.Params)) {
			if name != "channel" {
				text = append(text, fmt.Sprint(in.Params[name]))
			}
		}
		told := message{step: c.Step, use: t.spec.Name, channel: in.Params.String("channel"), text: strings.Join(text, "\n"), token: c.Token}
		return action.Result{Changed: a.tell(told), Outputs: a.outputs(t.spec, c.Step)}, nil
	})
}

// setter is an action that sets a state.
type setter struct {
	emulation
	works action.Simulated
}

// Get is of action.States.
func (s *setter) Get(in action.Input, target entity.Entity) (json.RawMessage, error) {
	return s.at().get(s.spec.Name, in, target)
}

// Put is of action.States.
func (s *setter) Put(in action.Input, target entity.Entity, state json.RawMessage) {
	s.at().put(s.spec.Name, in, target, state)
}

// Know is of action.States.
func (s *setter) Know(in action.Input, c *action.Change) {
	c.Outputs = s.at().outputs(s.spec, in.Step)
	if said := s.at().answer(in.Step, s.spec.Name); said != nil {
		c.Tags, c.Impact = said.tags, said.impact
	}
}

// Plan is of action.Action.
func (s *setter) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return visit(s.at(), s.spec.Name, in.Step, planning, func() (action.Change, error) { return s.works.Plan(ctx, in) })
}

// Apply is of action.Action.
func (s *setter) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	a := s.at()
	if err := s.somebody(c, applying); err != nil {
		return action.Result{}, err
	}
	return visit(a, s.spec.Name, c.Step, applying, func() (action.Result, error) {
		result, err := s.works.Apply(ctx, c)
		if err == nil && result.Changed {
			a.called(c)
		}
		result.Outputs = c.Outputs
		return result, err
	})
}

// somebody lets somebody else change the target where the test says so.
func (s *setter) somebody(c action.Change, at phase) error {
	f, wrong := s.at().happens(c.Step, at, true)
	if !wrong {
		return nil
	}
	in, err := c.Input()
	if err != nil || f.To == nil {
		return f.err(s.spec.Name)
	}
	state, err := json.Marshal(f.To)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	s.Put(in, c.Target, state)
	return nil
}

// Verify is of action.Verifier.
func (s *setter) Verify(ctx context.Context, applied action.Applied) error {
	_, err := visit(s.at(), s.spec.Name, applied.Change.Step, verifying, func() (struct{}, error) {
		return struct{}{}, s.works.Verify(ctx, applied)
	})
	return err
}

// Drift is of action.Undoer.
func (s *setter) Drift(ctx context.Context, applied action.Applied) ([]action.Difference, error) {
	if err := s.somebody(applied.Change, undoes); err != nil {
		return nil, err
	}
	return s.works.Drift(ctx, applied) //nolint:wrapcheck // it says what it is
}

// Undo is of action.Undoer.
func (s *setter) Undo(ctx context.Context, applied action.Applied, force bool) (action.Result, error) {
	return visit(s.at(), s.spec.Name, applied.Change.Step, undoes, func() (action.Result, error) {
		return s.works.Undo(ctx, applied, force)
	})
}

// Restored is of action.Undoer.
func (s *setter) Restored(ctx context.Context, applied action.Applied) error {
	return s.works.Restored(ctx, applied) //nolint:wrapcheck // it says what it is
}

// changer is an action that changes the world and whose decisions aren't known.
type changer struct{ emulation }

// Plan is of action.Action.
func (c *changer) Plan(_ context.Context, in action.Input) (action.Change, error) {
	return visit(c.at(), c.spec.Name, in.Step, planning, func() (action.Change, error) { return c.change(in) })
}

// Apply is of action.Action.
func (c *changer) Apply(_ context.Context, change action.Change) (action.Result, error) {
	a := c.at()
	if f, wrong := a.happens(change.Step, applying, true); wrong {
		return action.Result{}, f.err(c.spec.Name)
	}
	return visit(a, c.spec.Name, change.Step, applying, func() (action.Result, error) {
		a.begins(change.Token)
		result := action.Result{Outputs: a.outputs(c.spec, change.Step), Left: change.After}
		if change.Noop {
			return result, nil
		}
		a.mu.Lock()
		_, before := a.changed[change.Token]
		a.changed[change.Token] = c.spec.Name + " " + change.Target.ID
		a.mu.Unlock()
		if result.Changed = !before; result.Changed {
			a.called(change)
		}
		return result, nil
	})
}

// Verify is of action.Verifier.
func (c *changer) Verify(_ context.Context, applied action.Applied) error {
	_, err := visit(c.at(), c.spec.Name, applied.Change.Step, verifying, func() (struct{}, error) { return struct{}{}, nil })
	return err
}

// undoable is one that can be undone.
type undoable struct{ changer }

// Drift is of action.Undoer.
func (u *undoable) Drift(_ context.Context, applied action.Applied) ([]action.Difference, error) {
	if f, wrong := u.at().happens(applied.Change.Step, undoes, true); wrong {
		if drifted, is := f.err(u.spec.Name).(*action.Moved); is { //nolint:errorlint // it is made here
			return drifted.Differences, nil
		}
	}
	return nil, nil
}

// Undo is of action.Undoer.
func (u *undoable) Undo(_ context.Context, applied action.Applied, _ bool) (action.Result, error) {
	a := u.at()
	return visit(a, u.spec.Name, applied.Change.Step, undoes, func() (action.Result, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		_, there := a.changed[applied.Change.Token]
		delete(a.changed, applied.Change.Token)
		return action.Result{Changed: there, Left: applied.Change.Before}, nil
	})
}

// Restored is of action.Undoer.
func (u *undoable) Restored(_ context.Context, applied action.Applied) error {
	a := u.at()
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.changed[applied.Change.Token]; there {
		return &action.NotHeld{Action: u.spec.Name, Target: applied.Change.Target.ID}
	}
	return nil
}

// The same with a result that comes later.
type (
	later1        struct{ teller }
	laterChanger  struct{ changer }
	laterUndoable struct{ undoable }
)

// Await is of action.Awaiter.
func (l *later1) Await(_ context.Context, a action.Applied) (action.Result, bool, error) {
	return l.await(a)
}

// Await is of action.Awaiter.
func (l *laterChanger) Await(_ context.Context, a action.Applied) (action.Result, bool, error) {
	return l.await(a)
}

// Await is of action.Awaiter.
func (l *laterUndoable) Await(_ context.Context, a action.Applied) (action.Result, bool, error) {
	return l.await(a)
}

// await gives the later result that the test says, when its time has come; the outputs at once where it says none.
func (e *emulation) await(applied action.Applied) (action.Result, bool, error) {
	a, step := e.at(), applied.Change.Step
	over := true
	result, err := visit(a, e.spec.Name, step, awaiting, func() (action.Result, error) {
		result := applied.Result
		said := a.answer(step, e.spec.Name)
		if said == nil || said.later == nil {
			return result, nil
		}
		if over = !a.now().Before(a.since(applied.Change.Token).Add(said.later.After)); !over {
			return result, nil
		}
		if said.later.Fails != "" {
			return result, fault.New(fault.Invalid, "%s", said.later.Fails)
		}
		if said.later.Outputs != nil {
			result.Outputs = maps.Clone(applied.Result.Outputs)
			if result.Outputs == nil {
				result.Outputs = map[string]any{}
			}
			maps.Copy(result.Outputs, said.later.Outputs)
		}
		return result, nil
	})
	return result, over, err
}
