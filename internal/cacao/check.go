package cacao

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/riposte-sec/riposte/internal/fault"
)

// Check says what the schemas of CACAO can't: the workflow begins and ends, every reference leads somewhere, every
// step is reached, on one way only, and never again from itself, but for the steps that a while-condition repeats.
func (f *File) Check() error {
	if len(f.Workflow) > mostSteps {
		return fault.New(fault.Invalid, "a workflow of %d steps; at most %d are read", len(f.Workflow), mostSteps)
	}
	c := &checker{file: f, on: map[string]int{}, branch: map[string]string{}}
	c.references()
	c.follow(f.Start)
	if f.Exception != "" {
		c.follow(f.Exception)
	}
	if len(c.errs) > 0 {
		return errors.Join(c.errs...) // where there are gaps or loops, branches can't be told
	}
	for _, id := range slices.Sorted(maps.Keys(f.Workflow)) {
		if c.on[id] == 0 {
			c.fail("step %s is never reached", id)
		}
	}
	if len(c.errs) > 0 {
		return errors.Join(c.errs...)
	}
	c.chain(f.Start, "the workflow", "", 0)
	if f.Exception != "" && c.branch[f.Exception] == "" {
		c.chain(f.Exception, "workflow_exception", "", 0)
	}
	return errors.Join(c.errs...)
}

type checker struct {
	file   *File
	errs   []error
	on     map[string]int    // how far following a step has come
	branch map[string]string // where a step stands
}

func (c *checker) fail(format string, args ...any) {
	const most = 50
	if len(c.errs) < most {
		for i, arg := range args {
			if text, is := arg.(string); is {
				args[i] = bounded(text, 120)
			}
		}
		c.errs = append(c.errs, fault.New(fault.Invalid, format, args...))
	}
}

// references checks that each leads somewhere, and that what must go on does.
func (c *checker) references() {
	f := c.file
	there := func(from, key, id string) {
		if f.Workflow[id] == nil {
			c.fail("%s: %s leads to %q, and there is no such step", from, key, id)
		}
	}
	there("the playbook", "workflow_start", f.Start)
	if f.Exception != "" {
		there("the playbook", "workflow_exception", f.Exception)
	}
	for _, id := range slices.Sorted(maps.Keys(f.Workflow)) {
		step := f.Workflow[id]
		if step == nil {
			c.fail("step %s is nothing", id)
			continue
		}
		for _, edge := range step.edges() {
			there(id, edge.key, edge.to)
		}
		c.form(id, step)
		if _, known := f.Agents[step.Agent]; step.Agent != "" && !known {
			c.fail("%s: the agent %q is not defined", id, step.Agent)
		}
		for _, target := range step.Targets {
			_, agent := f.Agents[target]
			if _, known := f.Targets[target]; !known && !agent {
				c.fail("%s: the target %q is not defined", id, target)
			}
		}
	}
}

// form checks that a step of a type has what makes it one.
func (c *checker) form(id string, step *Step) {
	if !strings.HasPrefix(id, step.Type+"--") {
		c.fail("%s: it is of type %q, which its name denies", id, step.Type)
	}
	switch step.Type {
	case endStep:
		if step.next() != "" || step.OnFailure != "" {
			c.fail("%s: nothing comes after an end", id)
		}
		return
	case startStep, actionStep, callStep:
	case parallelStep:
		if len(step.Next) == 0 {
			c.fail("%s: a parallel has next_steps", id)
		}
	case ifStep, whileStep:
		if step.OnTrue == "" || step.Condition == "" {
			c.fail("%s: it needs condition and on_true", id)
		}
	case switchStep:
		if len(step.Cases) == 0 || step.Switch == "" {
			c.fail("%s: it needs switch and cases", id)
		}
	default:
		c.fail("%s: there is no type %q of steps", id, step.Type)
	}
	if step.next() == "" {
		c.fail("%s leads nowhere: it needs on_completion, or on_success; what ends leads to an end", id)
	}
}

// edge is a reference of a step to another one.
type edge struct{ key, to string }

// edges lists where a step leads, each place once.
func (s *Step) edges() []edge {
	var all []edge
	add := func(key, to string) {
		if to != "" && !slices.ContainsFunc(all, func(e edge) bool { return e.to == to }) {
			all = append(all, edge{key, to})
		}
	}
	add("on_true", s.OnTrue)
	add("on_false", s.OnFalse)
	for _, to := range s.Next {
		add("next_steps", to)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Cases)) {
		add("cases."+key, s.Cases[key])
	}
	add("on_failure", s.OnFailure)
	add("on_completion", s.OnCompletion)
	add("on_success", s.OnSuccess)
	return all
}

// next is the step that comes after this one.
func (s *Step) next() string {
	if s.OnCompletion != "" {
		return s.OnCompletion
	}
	return s.OnSuccess
}

const (
	followed  = 1
	following = 2
)

// follow goes wherever a step leads. A way that comes back is a loop, but for one that a while-condition began.
func (c *checker) follow(id string) {
	step := c.file.Workflow[id]
	if step == nil || c.on[id] != 0 {
		return
	}
	c.on[id] = following
	for _, edge := range step.edges() {
		if c.on[edge.to] == following && c.file.Workflow[edge.to].Type != whileStep {
			c.fail("%s: %s leads back to %s, in a loop that nothing ends", id, edge.key, edge.to)
			continue
		}
		c.follow(edge.to)
	}
	c.on[id] = followed
}

// chain notes for each step the branch in which it stands: there is one.
func (c *checker) chain(id, in, loop string, depth int) {
	if depth > mostDeep {
		c.fail("branches within branches, more than %d deep, at %s", mostDeep, id)
		return
	}
	for id != loop {
		step := c.file.Workflow[id]
		if step.Type == endStep {
			c.branch[id] = in
			return // several branches may end at one
		}
		if before := c.branch[id]; before != "" {
			c.fail("step %s stands in two branches: %s, and %s; let each end and go on by on_completion of what holds them", id, before, in)
			return
		}
		c.branch[id] = in
		inner := loop
		if step.Type == whileStep {
			inner = id
		}
		for _, edge := range step.edges() {
			if edge.to != step.next() {
				c.chain(edge.to, edge.key+" of "+id, inner, depth+1)
			} else if edge.key != "on_completion" && edge.key != "on_success" && edge.key != "on_failure" && c.file.Workflow[edge.to].Type != endStep {
				c.fail("step %s stands in two branches: %s of %s, and what comes after it", edge.to, edge.key, id)
			}
		}
		id = step.next()
	}
}

// bounded is a text on one line, of what can be shown, and of at most some characters.
func bounded(text string, most int) string {
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || !unicode.IsPrint(c) }), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
