package playbook

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/expr"
)

// Check holds a playbook against the actions of an installation: every action exists, every parameter is
// one of its own, every name that an expression reads will be there. Errors name file, line and key.
func Check(p *Playbook, specs []action.Spec, roles []string) error {
	doc, err := document.Parse(p.File, p.Text)
	if err != nil {
		return err
	}
	c := &checker{reader: reader{doc: doc}, outputs: map[string][]string{}}
	for _, spec := range specs {
		c.specs = append(c.specs, spec)
		c.names = append(c.names, spec.Name)
	}
	if p.If != nil {
		c.paths("on.if", p.If.Paths())
	}
	for i, name := range p.Destroys {
		c.destroys(fmt.Sprintf("allow_destroy[%d]", i), name)
	}
	for i, step := range p.Steps {
		c.step(fmt.Sprintf("steps[%d]", i), &step, roles)
	}
	return errors.Join(c.errs...)
}

type checker struct {
	reader
	specs   []action.Spec
	names   []string
	outputs map[string][]string // by step id, of the steps before
}

func (c *checker) spec(name string) (action.Spec, bool) {
	for _, spec := range c.specs {
		if spec.Name == name {
			return spec, true
		}
	}
	return action.Spec{}, false
}

func (c *checker) destroys(path, name string) {
	spec, known := c.spec(name)
	switch {
	case !known:
		c.unknown(path, "action", name, c.names)
	case spec.Effect != action.Destroy:
		c.fail(path, "%s can be undone; it needs no permission of its own", name)
	}
}

func (c *checker) step(path string, s *Step, roles []string) {
	if s.If != nil {
		c.paths(path+".if", s.If.Paths())
	}
	if s.Approve != nil {
		for i, role := range s.Approve.By {
			if !slices.Contains(roles, role) {
				c.unknown(fmt.Sprintf("%s.approve.by[%d]", path, i), "role", role, roles)
			}
		}
		c.outputs[s.ID] = []string{"state", "by", "reason"}
		return
	}
	for _, arg := range s.With {
		arg.Value.visit(func(t *expr.Template) { c.paths(path+".with."+arg.Name, t.Paths()) })
	}
	spec, known := c.spec(s.Use)
	if !known {
		c.unknown(path+".use", "action", s.Use, c.names)
		c.outputs[s.ID] = nil
		return
	}
	c.arguments(path, s, spec)
	outputs := []string{"state"}
	for _, o := range spec.Outputs {
		outputs = append(outputs, o.Name)
	}
	c.outputs[s.ID] = outputs
}

func (c *checker) arguments(path string, s *Step, spec action.Spec) {
	given := make([]string, 0, len(s.With))
	for _, arg := range s.With {
		given = append(given, arg.Name)
		if param, known := parameter(spec, arg.Name); known {
			c.fits(path+".with."+arg.Name, spec, param, arg.Value)
		} else {
			c.unknown(path+".with."+arg.Name, "parameter of "+spec.Name, arg.Name, parameters(spec))
		}
	}
	for _, param := range spec.Params {
		if param.Required && !slices.Contains(given, param.Name) {
			c.fail(path+".with", "%s needs the parameter %q: %s", spec.Name, param.Name, param.Doc)
		}
	}
}

// parameter gives what an action takes by a name. Where it acts can be said for each.
func parameter(spec action.Spec, name string) (action.Param, bool) {
	for _, param := range spec.Params {
		if param.Name == name {
			return param, true
		}
	}
	return action.Param{Name: name, Type: action.String, Required: true, Doc: "where to act"}, name == "account" || name == "region"
}

// fits checks the type of an argument, as far as it is written out.
func (c *checker) fits(path string, spec action.Spec, param action.Param, v Value) {
	if v.Template != nil {
		return
	}
	alone := action.Spec{Name: spec.Name, Params: []action.Param{param}}
	if _, err := action.Bind(alone, map[string]any{param.Name: v.written()}); err != nil {
		c.fail(path, "%v", err)
	}
}

// written is the value with a text in the place of each template.
func (v Value) written() any {
	switch {
	case v.Template != nil:
		return v.Template.String()
	case v.List != nil:
		list := make([]any, 0, len(v.List))
		for _, item := range v.List {
			list = append(list, item.written())
		}
		return list
	case v.Map != nil:
		object := make(map[string]any, len(v.Map))
		for _, field := range v.Map {
			object[field.Name] = field.Value.written()
		}
		return object
	}
	return v.Constant
}

// paths checks what an expression reads. Below a field that is a map or a list, anything goes.
func (c *checker) paths(at string, paths [][]string) {
	for _, path := range paths {
		if len(path) < 2 {
			continue
		}
		switch expr.Variable(path[0]) {
		case expr.Finding:
			c.field(at, "a finding", path[1], expr.FindingFields())
		case expr.Incident:
			c.field(at, "an incident", path[1], expr.IncidentFields())
		case expr.Steps:
			c.output(at, path[1:])
		}
	}
}

func (c *checker) field(at, of, name string, known []string) {
	if !slices.Contains(known, name) {
		c.unknown(at, "field of "+of, name, known)
	}
}

func (c *checker) output(at string, path []string) {
	outputs, before := c.outputs[path[0]]
	if !before {
		earlier := make([]string, 0, len(c.outputs))
		for id := range c.outputs {
			earlier = append(earlier, id)
		}
		slices.Sort(earlier)
		c.unknown(at, "step before this one", path[0], earlier)
		return
	}
	if len(path) > 1 && outputs != nil {
		c.field(at, "step "+path[0], path[1], outputs)
	}
}

func (c *checker) unknown(at, what, name string, known []string) {
	if near := document.Suggest(name, known); near != "" {
		c.fail(at, "%q is no %s; did you mean %q?", name, what, near)
		return
	}
	if len(known) == 0 {
		c.fail(at, "%q is no %s; there is none", name, what)
		return
	}
	c.fail(at, "%q is no %s; there are %s", name, what, strings.Join(known, ", "))
}

func parameters(spec action.Spec) []string {
	names := make([]string, 0, len(spec.Params)+2)
	for _, p := range spec.Params {
		names = append(names, p.Name)
	}
	return append(names, "account", "region")
}
