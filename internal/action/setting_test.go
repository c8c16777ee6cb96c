package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// door is a state that is written in two calls: a lock and its tags.
type door struct {
	Locked bool              `json:"locked"`
	Tags   map[string]string `json:"tags,omitempty"`
}

// house has doors. Its power may fail between two calls.
type house struct {
	doors  map[string]door
	writes []string
	reads  int
	fails  int // after that many writes, every further one fails; -1 for never
}

var errPower = errors.New("power failed")

func newHouse() *house {
	return &house{doors: map[string]door{"front": {Tags: map[string]string{"owner": "ann"}}}, fails: -1}
}

func (h *house) write(call, name string, change func(*door)) error {
	if h.fails == 0 {
		return errPower
	}
	h.fails--
	d := h.doors[name]
	d.Tags = maps.Clone(d.Tags)
	change(&d)
	h.doors[name] = d
	h.writes = append(h.writes, call)
	return nil
}

// lock is the action that locks a door and tags it.
func (h *house) lock() *action.Setting[door] {
	return &action.Setting[door]{
		About: action.Spec{Name: "house.lock", Effect: action.Contain, Params: []action.Param{{Name: "door", Type: action.String, Required: true}}},
		Target: func(in action.Input) entity.Entity {
			return entity.Entity{Kind: entity.Resource, ID: in.Params.String("door")}
		},
		Read: func(_ context.Context, in action.Input) (door, error) {
			h.reads++
			d, known := h.doors[in.Params.String("door")]
			if !known {
				return door{}, fault.New(fault.NotFound, "there is no door %s", in.Params.String("door"))
			}
			return d, nil
		},
		Want: func(in action.Input, now door) (door, error) {
			if in.Reason == "none" {
				return door{}, fault.New(fault.Invalid, "a door is not locked without a reason")
			}
			wanted := door{Locked: true, Tags: maps.Clone(now.Tags)}
			if wanted.Tags == nil {
				wanted.Tags = map[string]string{}
			}
			wanted.Tags["incident"] = in.Incident
			return wanted, nil
		},
		Write: func(_ context.Context, in action.Input, from, to door) (door, error) {
			name := in.Params.String("door")
			if !maps.Equal(from.Tags, to.Tags) {
				if err := h.write("tag", name, func(d *door) { d.Tags = maps.Clone(to.Tags) }); err != nil {
					return door{}, err
				}
			}
			if from.Locked != to.Locked {
				if err := h.write("turn", name, func(d *door) { d.Locked = to.Locked }); err != nil {
					return door{}, err
				}
			}
			return to, nil
		},
		Calls: func(in action.Input, from, to door) []string {
			return []string{"house:Tag " + in.Params.String("door"), "house:Turn " + in.Params.String("door")}
		},
		Summary: func(in action.Input, _, _ door) string { return "Lock " + in.Params.String("door") },
		Between: func(from, now, to door) bool { return now.Locked == from.Locked && maps.Equal(now.Tags, to.Tags) },
	}
}

func input() action.Input {
	return action.Input{
		Place: action.Place{Account: "111122223333", Region: "eu-west-1"}, Params: action.Params{"door": "front"},
		Incident: "inc-1", Run: "run-1", Step: "lock", Reason: "burglar", Token: "token-1",
	}
}

func plan(t *testing.T, s *action.Setting[door]) action.Change {
	t.Helper()
	c, err := s.Plan(t.Context(), input())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// journaled is a change as it is after the journal: only its JSON remains.
func journaled[T any](t *testing.T, v T) T { //nolint:ireturn // it is what came in
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestPlanOnlyReads(t *testing.T) {
	t.Parallel()
	h := newHouse()
	got := plan(t, h.lock())
	want := action.Change{
		Action: "house.lock", Place: input().Place, Params: json.RawMessage(`{"door":"front"}`),
		Target: entity.Entity{Kind: entity.Resource, ID: "front"},
		Before: json.RawMessage(`{"locked":false,"tags":{"owner":"ann"}}`),
		After:  json.RawMessage(`{"locked":true,"tags":{"incident":"inc-1","owner":"ann"}}`),
		Calls:  []string{"house:Tag front", "house:Turn front"}, Summary: "Lock front",
		Incident: "inc-1", Run: "run-1", Step: "lock", Reason: "burglar", Token: "token-1",
	}
	if diff := cmp.Diff(want, got); diff != "" || len(h.writes) > 0 {
		t.Errorf("wrote %v, %s", h.writes, diff)
	}
	back, err := got.Input()
	if diff := cmp.Diff(input(), back); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestPlanOfWhatIsSoAlready(t *testing.T) {
	t.Parallel()
	h := newHouse()
	h.doors["front"] = door{Locked: true, Tags: map[string]string{"incident": "inc-1"}}
	got := plan(t, h.lock())
	if !got.Noop || got.Calls != nil {
		t.Errorf("noop %t with calls %v", got.Noop, got.Calls)
	}
	done, err := h.lock().Apply(t.Context(), got)
	if err != nil || done.Changed || len(h.writes) > 0 {
		t.Errorf("changed %t, wrote %v, %v", done.Changed, h.writes, err)
	}
}

func TestApplyVerifyUndoRestored(t *testing.T) {
	t.Parallel()
	h := newHouse()
	s := h.lock()
	before := maps.Clone(h.doors)
	c := journaled(t, plan(t, s))
	if err := s.Verify(t.Context(), action.Applied{Change: c}); !isNotHeld(err) {
		t.Errorf("before it was applied: %v", err)
	}
	result, err := s.Apply(t.Context(), c)
	if err != nil || !result.Changed || string(result.Left) != string(c.After) {
		t.Fatalf("got %+v, %v", result, err)
	}
	applied := journaled(t, action.Applied{Change: c, Result: result})
	if err := s.Verify(t.Context(), applied); err != nil {
		t.Error(err)
	}
	if err := s.Restored(t.Context(), applied); !isNotHeld(err) {
		t.Errorf("before it was undone: %v", err)
	}
	if drift, err := s.Drift(t.Context(), applied); err != nil || drift != nil {
		t.Errorf("drift %v, %v, though nobody changed it", drift, err)
	}
	undone, err := s.Undo(t.Context(), applied, false)
	if err != nil || !undone.Changed {
		t.Fatalf("got %+v, %v", undone, err)
	}
	if diff := cmp.Diff(before, h.doors); diff != "" {
		t.Error(diff)
	}
	if err := s.Restored(t.Context(), applied); err != nil {
		t.Error(err)
	}
	if again, err := s.Undo(t.Context(), applied, false); err != nil || again.Changed {
		t.Errorf("undone twice: %+v, %v", again, err)
	}
	if drift, err := s.Drift(t.Context(), applied); err != nil || drift != nil {
		t.Errorf("drift %v, %v, though it is as it was", drift, err)
	}
}

func TestApplyIsSafeTwice(t *testing.T) {
	t.Parallel()
	h := newHouse()
	s := h.lock()
	c := plan(t, s)
	for i, want := range []bool{true, false, false} {
		result, err := s.Apply(t.Context(), c)
		if err != nil || result.Changed != want || string(result.Left) != string(c.After) {
			t.Errorf("time %d: %+v, %v", i+1, result, err)
		}
	}
	if diff := cmp.Diff([]string{"tag", "turn"}, h.writes); diff != "" {
		t.Error(diff)
	}
}

// After every call that a crash may come behind, applying again finishes, and undoing restores.
func TestCrashBetweenCalls(t *testing.T) {
	t.Parallel()
	for calls := range 3 {
		for _, goOn := range []string{"apply", "undo"} {
			t.Run(fmt.Sprintf("%s after %d calls", goOn, calls), func(t *testing.T) {
				t.Parallel()
				h := newHouse()
				before := maps.Clone(h.doors)
				s := h.lock()
				c := journaled(t, plan(t, s))
				h.fails = calls
				if _, err := s.Apply(t.Context(), c); (calls < 2) != errors.Is(err, errPower) {
					t.Fatal(err)
				}
				h.fails = -1
				lost := action.Applied{Change: c} // the outcome was never written
				if goOn == "apply" {
					if _, err := s.Apply(t.Context(), c); err != nil {
						t.Fatal(err)
					}
					if err := s.Verify(t.Context(), lost); err != nil {
						t.Error(err)
					}
					return
				}
				if drift, err := s.Drift(t.Context(), lost); err != nil || drift != nil {
					t.Errorf("drift %v, %v", drift, err)
				}
				if _, err := s.Undo(t.Context(), lost, false); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, h.doors); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestTheWorldMoved(t *testing.T) {
	t.Parallel()
	h := newHouse()
	s := h.lock()
	c := plan(t, s)
	h.doors["front"] = door{Tags: map[string]string{"owner": "bob"}}
	_, err := s.Apply(t.Context(), c)
	var moved *action.Moved
	if !errors.As(err, &moved) {
		t.Fatalf("got %v, want that the world moved", err)
	}
	want := &action.Moved{Action: "house.lock", Target: "front", Differences: []action.Difference{{Path: "tags.owner", Was: "ann", Is: "bob"}}}
	if diff := cmp.Diff(want, moved); diff != "" || len(h.writes) > 0 {
		t.Errorf("wrote %v, %s", h.writes, diff)
	}
	if got := err.Error(); got != `house.lock: front changed since: tags.owner was "ann", is "bob"` {
		t.Error(got)
	}
	delete(h.doors, "front")
	if _, err := s.Apply(t.Context(), c); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want NotFound", err)
	}
}

func TestUndoRefusesWhatSomebodyChanged(t *testing.T) {
	t.Parallel()
	h := newHouse()
	s := h.lock()
	c := plan(t, s)
	result, err := s.Apply(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	applied := action.Applied{Change: c, Result: result}
	h.doors["front"] = door{Locked: true, Tags: map[string]string{"owner": "bob", "incident": "inc-1"}}
	wrote := len(h.writes)
	drift, err := s.Drift(t.Context(), applied)
	want := []action.Difference{{Path: "tags.owner", Was: "ann", Is: "bob"}}
	if diff := cmp.Diff(want, drift); diff != "" || err != nil {
		t.Error(diff, err)
	}
	_, err = s.Undo(t.Context(), applied, false)
	var moved *action.Moved
	if !errors.As(err, &moved) || len(h.writes) != wrote {
		t.Fatalf("got %v and %v, want that the world moved", err, h.writes[wrote:])
	}
	if diff := cmp.Diff(want, moved.Differences); diff != "" {
		t.Error(diff)
	}
	forced, err := s.Undo(t.Context(), applied, true)
	if err != nil || !forced.Changed {
		t.Fatalf("got %+v, %v", forced, err)
	}
	if err := s.Restored(t.Context(), applied); err != nil {
		t.Error(err)
	}
}

// What Apply left may be more than was wanted: then that is what drift is measured against.
func TestDriftIsMeasuredAgainstWhatWasLeft(t *testing.T) {
	t.Parallel()
	h := newHouse()
	s := h.lock()
	s.Holds = func(now, wanted door) bool { return now.Locked == wanted.Locked }
	s.Between = nil
	plain := s.Write
	s.Write = func(ctx context.Context, in action.Input, from, to door) (door, error) {
		left, err := plain(ctx, in, from, to)
		if err == nil && to.Locked {
			left.Tags = map[string]string{"stamp": "1"}
			h.doors["front"] = left
		}
		return left, err
	}
	c := plan(t, s)
	result, err := s.Apply(t.Context(), c)
	if err != nil || string(result.Left) != `{"locked":true,"tags":{"stamp":"1"}}` {
		t.Fatalf("got %s, %v", result.Left, err)
	}
	applied := journaled(t, action.Applied{Change: c, Result: result})
	if drift, err := s.Drift(t.Context(), applied); err != nil || drift != nil {
		t.Errorf("drift %v, %v", drift, err)
	}
	if err := s.Verify(t.Context(), applied); err != nil {
		t.Error(err)
	}
	if _, err := s.Undo(t.Context(), applied, false); err != nil {
		t.Error(err)
	}
	if err := s.Restored(t.Context(), applied); err != nil {
		t.Error(err)
	}
}

// Undo and Drift agree: where undo refuses, there is a difference to show, even where it is of nothing to an
// empty list.
func TestWhereUndoRefusesThereIsADifference(t *testing.T) {
	t.Parallel()
	type ports struct {
		Open   []string       `json:"open"`
		Notes  map[string]any `json:"notes"`
		Number json.Number    `json:"number"`
	}
	big, bigger := json.Number("9007199254740992"), json.Number("9007199254740993")
	states := []ports{
		{},
		{Open: []string{}},
		{Notes: map[string]any{}},
		{Open: []string{}, Notes: map[string]any{}},
		{Open: []string{""}},
		{Open: []string{"22"}},
		{Notes: map[string]any{"a": map[string]any{}}},
		{Notes: map[string]any{"a": []any{}}},
		{Notes: map[string]any{"a": nil}},
		{Number: big},
		{Number: bigger},
		{Notes: map[string]any{"a": "1"}},
		{Notes: map[string]any{"a": 1}},
	}
	for i, left := range states {
		for j, now := range states {
			is := now
			s := &action.Setting[ports]{
				About: action.Spec{Name: "ports"},
				Read:  func(context.Context, action.Input) (ports, error) { return is, nil },
				Write: func(_ context.Context, _ action.Input, _, to ports) (ports, error) { return to, nil },
			}
			applied := action.Applied{
				Change: action.Change{Before: encoded(t, ports{Open: []string{"before"}}), After: encoded(t, left)},
				Result: action.Result{Left: encoded(t, left)},
			}
			drift, err := s.Drift(t.Context(), applied)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Undo(t.Context(), applied, false)
			if refused := err != nil; refused != (len(drift) > 0) || refused != (i != j) {
				t.Errorf("left %s, now %s: drift %v, undo says %v", encoded(t, left), encoded(t, now), drift, err)
			}
		}
	}
}

func encoded(t *testing.T, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestErrorsOfPlan(t *testing.T) {
	t.Parallel()
	h := newHouse()
	for name, test := range map[string]struct {
		change func(*action.Input)
		want   fault.Kind
	}{
		"read": {func(in *action.Input) { in.Params = action.Params{"door": "back"} }, fault.NotFound},
		"want": {func(in *action.Input) { in.Reason = "none" }, fault.Invalid},
	} {
		in := input()
		test.change(&in)
		if _, err := h.lock().Plan(t.Context(), in); !fault.Is(err, test.want) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
	s := h.lock()
	s.Facts = func(_ context.Context, _ action.Input, now door, c *action.Change) error {
		c.Tags, c.Impact = now.Tags, []string{"nobody gets in"}
		return nil
	}
	if c := plan(t, s); c.Tags["owner"] != "ann" || len(c.Impact) != 1 {
		t.Errorf("facts are not in the plan: %+v", c)
	}
	s.Facts = func(context.Context, action.Input, door, *action.Change) error {
		return fault.New(fault.Transient, "later")
	}
	if _, err := s.Plan(t.Context(), input()); !fault.Is(err, fault.Transient) {
		t.Errorf("got %v, want Transient", err)
	}
}

// What differs between two readings of one thing is neither a move nor drift, and undo restores what was read first.
func TestStatesAreComparedByTheirMeaning(t *testing.T) {
	t.Parallel()
	h := newHouse()
	s := h.lock()
	s.Meaning = func(d door) door { // the owner's name is written as anybody likes
		d.Tags = maps.Clone(d.Tags)
		if d.Tags["owner"] != "" {
			d.Tags["owner"] = "somebody"
		}
		return d
	}
	rename := func(name string) {
		d := h.doors["front"]
		d.Tags = maps.Clone(d.Tags)
		d.Tags["owner"] = name
		h.doors["front"] = d
	}
	c := journaled(t, plan(t, s))
	rename("ANN")
	result, err := s.Apply(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	done := action.Applied{Change: c, Result: journaled(t, result)}
	rename("Ann")
	if err := s.Verify(t.Context(), done); err != nil {
		t.Error(err)
	}
	if drift, err := s.Drift(t.Context(), done); err != nil || len(drift) > 0 {
		t.Errorf("got drift %v, %v", drift, err)
	}
	if _, err := s.Undo(t.Context(), done, false); err != nil {
		t.Error(err)
	}
	if got := h.doors["front"]; got.Locked || got.Tags["owner"] != "ann" {
		t.Errorf("undo left %+v", got)
	}
	if err := s.Restored(t.Context(), done); err != nil {
		t.Error(err)
	}
}

// A plan that was tampered with or cut is an error, never a write.
func TestBrokenPlans(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*action.Change){
		"parameters": func(c *action.Change) { c.Params = json.RawMessage(`[]`) },
		"no before":  func(c *action.Change) { c.Before = nil },
		"before":     func(c *action.Change) { c.Before = json.RawMessage(`{"locked":"no"}`) },
		"no after":   func(c *action.Change) { c.After = nil },
		"after":      func(c *action.Change) { c.After = json.RawMessage(`{`) },
	} {
		h := newHouse()
		s := h.lock()
		c := plan(t, s)
		spoil(&c)
		_, apply := s.Apply(t.Context(), c)
		verify := s.Verify(t.Context(), action.Applied{Change: c})
		_, drift := s.Drift(t.Context(), action.Applied{Change: c})
		_, undo := s.Undo(t.Context(), action.Applied{Change: c}, true)
		restored := s.Restored(t.Context(), action.Applied{Change: c})
		if slices.Contains([]error{apply, verify, drift, undo, restored}, nil) || len(h.writes) > 0 {
			t.Errorf("%s: wrote %v; %v, %v, %v, %v, %v", name, h.writes, apply, verify, drift, undo, restored)
		}
	}
	h := newHouse()
	left := action.Applied{Change: plan(t, h.lock()), Result: action.Result{Left: json.RawMessage(`7`)}}
	if _, err := h.lock().Drift(t.Context(), left); err == nil {
		t.Error("took a number for a door")
	}
}

func isNotHeld(err error) bool {
	var notHeld *action.NotHeld
	return errors.As(err, &notHeld) && len(notHeld.Differences) > 0
}
