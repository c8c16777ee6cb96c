package action

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/riposte-sec/riposte/internal/entity"
)

// Setting makes an action of the reading and the writing of one resource's state S. Planning, looking
// before acting, drift and undo follow from those two, the same for every action.
//
// S is encoded with encoding/json and compared by its encoding, so lists in it are sorted by Read and Want.
type Setting[S any] struct {
	About Spec
	// Target names what is changed, from the parameters alone.
	Target func(in Input) entity.Entity
	// Read gives the state now.
	Read func(ctx context.Context, in Input) (S, error)
	// Want gives the wanted state, from what is. It is pure.
	Want func(in Input, now S) (S, error)
	// Write brings the resource from one state to another and returns the state it wrote. It is told
	// both, so that it makes only the calls that are needed, and may be called again after a crash
	// in its middle.
	Write func(ctx context.Context, in Input, from, to S) (S, error)
	// Calls lists the calls Write would make.
	Calls func(in Input, from, to S) []string
	// Summary is one sentence about the change.
	Summary func(in Input, from, to S) string

	// Facts adds what a plan knows beyond the state: tags, impact, what else is touched, outputs. Optional.
	Facts func(ctx context.Context, in Input, now S, c *Change) error
	// Meaning gives a state without what may differ between two readings of the same thing, such as the order of
	// a set. States are compared by it, kept and written as they are. Optional.
	Meaning func(state S) S
	// Holds reports whether now is as good as wanted; equality if nil.
	Holds func(now, wanted S) bool
	// Between reports whether now is a state that Write passes through on its way. Optional.
	Between func(from, now, to S) bool
}

// Spec describes the action.
func (s *Setting[S]) Spec() Spec { return s.About }

// Plan reads the state, computes the wanted one and lists the calls between them.
func (s *Setting[S]) Plan(ctx context.Context, in Input) (Change, error) {
	now, err := s.Read(ctx, in)
	if err != nil {
		return Change{}, err
	}
	want, err := s.Want(in, now)
	if err != nil {
		return Change{}, err
	}
	c := Change{
		Action: s.About.Name, Place: in.Place, Target: s.Target(in), Summary: s.Summary(in, now, want),
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}
	if c.Params, err = encode(in.Params); err != nil {
		return Change{}, err
	}
	if c.Before, err = encode(now); err != nil {
		return Change{}, err
	}
	if c.After, err = encode(want); err != nil {
		return Change{}, err
	}
	if s.holds(now, want) {
		c.Noop = true
	} else {
		c.Calls = s.Calls(in, now, want)
	}
	if s.Facts != nil {
		if err := s.Facts(ctx, in, now, &c); err != nil {
			return Change{}, err
		}
	}
	return c, nil
}

// Apply writes the wanted state if what is there is what Plan saw, or lies between the two.
func (s *Setting[S]) Apply(ctx context.Context, c Change) (Result, error) {
	in, before, after, err := s.decode(c)
	if err != nil {
		return Result{}, err
	}
	now, err := s.Read(ctx, in)
	if err != nil {
		return Result{}, err
	}
	if s.holds(now, after) {
		return s.result(false, now)
	}
	if !s.same(now, before) && !s.between(before, now, after) {
		return Result{}, &Moved{Action: c.Action, Target: c.Target.ID, Differences: s.compare(before, now)}
	}
	left, err := s.Write(ctx, in, now, after)
	if err != nil {
		return Result{}, err
	}
	return s.result(true, left)
}

// Verify reads the state back and compares it with the wanted one.
func (s *Setting[S]) Verify(ctx context.Context, a Applied) error {
	in, _, after, err := s.decode(a.Change)
	if err != nil {
		return err
	}
	now, err := s.Read(ctx, in)
	if err != nil {
		return err
	}
	if !s.holds(now, after) {
		return &NotHeld{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: s.compare(after, now)}
	}
	return nil
}

// Drift compares what is with what Apply left.
func (s *Setting[S]) Drift(ctx context.Context, a Applied) ([]Difference, error) {
	in, before, left, err := s.decodeLeft(a)
	if err != nil {
		return nil, err
	}
	now, err := s.Read(ctx, in)
	if err != nil {
		return nil, err
	}
	if s.same(now, before) || s.ours(a, before, left, now) {
		return nil, nil
	}
	return s.compare(left, now), nil
}

// Undo writes what Plan saw, if what is there is what Apply left.
func (s *Setting[S]) Undo(ctx context.Context, a Applied, force bool) (Result, error) {
	in, before, left, err := s.decodeLeft(a)
	if err != nil {
		return Result{}, err
	}
	now, err := s.Read(ctx, in)
	if err != nil {
		return Result{}, err
	}
	if s.same(now, before) {
		return s.result(false, now)
	}
	if !force && !s.ours(a, before, left, now) {
		return Result{}, &Moved{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: s.compare(left, now)}
	}
	restored, err := s.Write(ctx, in, now, before)
	if err != nil {
		return Result{}, err
	}
	return s.result(true, restored)
}

// Restored reads the state back and compares it with what Plan saw.
func (s *Setting[S]) Restored(ctx context.Context, a Applied) error {
	in, before, _, err := s.decode(a.Change)
	if err != nil {
		return err
	}
	now, err := s.Read(ctx, in)
	if err != nil {
		return err
	}
	if !s.same(now, before) {
		return &NotHeld{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: s.compare(before, now)}
	}
	return nil
}

func (s *Setting[S]) holds(now, wanted S) bool {
	if s.Holds != nil {
		return s.Holds(now, wanted)
	}
	return s.same(now, wanted)
}

// ours reports whether a state is one that Apply left or Undo passes through; or, where the outcome of Apply
// was lost, one that Apply may have stopped in.
func (s *Setting[S]) ours(a Applied, before, left, now S) bool {
	return s.same(now, left) || s.between(left, now, before) || len(a.Result.Left) == 0 && s.between(before, now, left)
}

func (s *Setting[S]) same(a, b S) bool { return same(s.meaning(a), s.meaning(b)) }

func (s *Setting[S]) compare(was, is S) []Difference { return compare(s.meaning(was), s.meaning(is)) }

func (s *Setting[S]) meaning(state S) S { //nolint:ireturn // S is a concrete state
	if s.Meaning != nil {
		return s.Meaning(state)
	}
	return state
}

func (s *Setting[S]) between(from, now, to S) bool {
	return s.Between != nil && s.Between(from, now, to)
}

func (s *Setting[S]) decode(c Change) (in Input, before, after S, err error) { //nolint:ireturn // S is a concrete state
	if in, err = c.Input(); err != nil {
		return in, before, after, err
	}
	if err = json.Unmarshal(c.Before, &before); err != nil {
		return in, before, after, fmt.Errorf("read what %s planned from: %w", c.Action, err)
	}
	if err = json.Unmarshal(c.After, &after); err != nil {
		return in, before, after, fmt.Errorf("read what %s planned to: %w", c.Action, err)
	}
	return in, before, after, nil
}

func (s *Setting[S]) decodeLeft(a Applied) (in Input, before, left S, err error) { //nolint:ireturn // S is a concrete state
	in, before, left, err = s.decode(a.Change)
	if err != nil || len(a.Result.Left) == 0 {
		return in, before, left, err // applied, but the outcome was lost: what was wanted is what is expected
	}
	left = *new(S) // JSON merges into maps
	if err = json.Unmarshal(a.Result.Left, &left); err != nil {
		return in, before, left, fmt.Errorf("read what %s left: %w", a.Change.Action, err)
	}
	return in, before, left, nil
}

func (s *Setting[S]) result(changed bool, left S) (Result, error) {
	text, err := encode(left)
	return Result{Changed: changed, Left: text}, err
}

func encode(v any) (json.RawMessage, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return text, nil
}

func same[S any](a, b S) bool {
	x, errX := encode(a)
	y, errY := encode(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func compare[S any](was, is S) []Difference {
	x, errX := encode(was)
	y, errY := encode(is)
	if errX != nil || errY != nil {
		return nil // S was encoded before
	}
	return Differences(x, y)
}
