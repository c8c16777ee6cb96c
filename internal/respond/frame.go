package respond

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
)

// frame is where in the tree of steps one stands: in which playbook, in which turns of which loops.
type frame struct {
	book     *playbook.Playbook
	autonomy run.Autonomy   // of all playbooks on the way here the least
	caller   *frame         // of a called playbook
	around   *frame         // of a turn: what is around the loop, in the same playbook
	prefix   string         // of the names of its steps
	vars     map[string]any // of a turn: the item at hand
	inputs   map[string]any // of a called playbook
	failure  map[string]any // what went wrong, where the steps deal with that
}

// id is a step's name in the run.
func (f *frame) id(step *playbook.Step) string { return f.prefix + step.ID }

// turn is the frame of one turn of a loop.
func (f *frame) turn(step *playbook.Step, index int, item any) *frame {
	return &frame{
		book: f.book, autonomy: f.autonomy, caller: f.caller, around: f, prefix: fmt.Sprintf("%s[%d]/", f.id(step), index),
		vars: map[string]any{step.Loop.As: item}, inputs: f.inputs, failure: f.failure,
	}
}

// called is the frame of a playbook that a step calls.
func (f *frame) called(step *playbook.Step, inputs map[string]any) *frame {
	return &frame{
		book: step.Calls, autonomy: run.Least(f.autonomy, step.Calls.Autonomy), caller: f, prefix: f.id(step) + "/", inputs: inputs,
	}
}

// failing is the frame of the steps that deal with how others ended.
func (f *frame) failing(how flow) *frame {
	other := *f
	other.failure = map[string]any{"state": string(how.ends), "step": how.step, "message": how.why}
	return &other
}

// destroys reports whether the playbook, and those that called it, name an action as allowed without a person.
func (f *frame) destroys(action string) bool {
	for at := f; at != nil; at = at.caller {
		if !slices.Contains(at.book.Destroys, action) {
			return false
		}
	}
	return true
}

// callers names the playbooks on the way here, the run's own aside.
func (f *frame) callers() []string {
	var names []string
	for at := f; at.caller != nil; at = at.caller {
		names = append(names, at.book.Name)
	}
	return names
}

// scope is what expressions see: the finding that started the run, its incident, and what the steps so far gave,
// as far as it can be seen from here.
func (s *session) scope(f *frame) expr.Scope {
	steps, vars := map[string]any{}, map[string]any{}
	for _, at := range f.chain() {
		maps.Copy(vars, at.vars)
		for i := range s.journal.Steps {
			reveal(&s.journal.Steps[i], at.prefix, steps, vars)
		}
	}
	inputs, failure := f.inputs, f.failure
	if inputs == nil {
		inputs = map[string]any{}
	}
	if failure == nil {
		failure = map[string]any{}
	}
	return expr.Scope{
		expr.Finding: s.finding, expr.Incident: expr.ViewIncident(&s.journal.Incident),
		expr.Steps: steps, expr.Vars: vars, expr.Inputs: inputs, expr.Failure: failure,
	}
}

// chain lists the frames of one playbook from the outermost to f.
func (f *frame) chain() []*frame {
	var all []*frame
	for at := f; at != nil; at = at.around {
		all = append(all, at)
	}
	slices.Reverse(all)
	return all
}

// reveal adds what a step gives to what can be seen from where names begin with prefix.
func reveal(step *run.Step, prefix string, steps, vars map[string]any) {
	name, below := strings.CutPrefix(step.ID, prefix)
	if !below || strings.Contains(name, "/") {
		return
	}
	outputs := make(map[string]any, len(step.Outputs)+1)
	outputs["state"] = string(step.State)
	maps.Copy(outputs, step.Outputs)
	steps[name] = outputs
	if step.Does == string(playbook.Set) {
		maps.Copy(vars, step.Outputs)
	}
}
