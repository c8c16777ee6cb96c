package playbook

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/expr"
)

// Installation is what playbooks are held against.
type Installation struct {
	Actions []action.Spec
	Roles   []string
	// Rotations are the names of those who are on call in turn; nil where nobody knows.
	Rotations []string
}

// Check holds a playbook against an installation: every action exists, every parameter is one of its own and of
// its type, every name that an expression reads will be there and may be what it is taken for. Errors name
// file, line and key.
func Check(p *Playbook, in Installation) error {
	doc, err := document.Parse(p.File, p.Source)
	if err != nil {
		return err
	}
	c := &checker{reader: reader{doc: doc}, book: p, in: in}
	for _, spec := range in.Actions {
		c.names = append(c.names, spec.Name)
	}
	start := &scope{steps: map[string]outputs{}, vars: map[string]expr.Type{}}
	if p.If != nil {
		c.condition("on.if", p.If, &scope{})
	}
	for i, name := range p.Destroys {
		c.destroys(document.At("allow_destroy", i), name)
	}
	for _, input := range p.Inputs {
		if input.Required && len(p.Findings) > 0 {
			c.fail(document.Under("inputs", input.Name), "a finding starts this playbook, which gives no inputs: it needs a default")
		}
	}
	c.steps(p.Steps, start)
	start.failure = true
	c.steps(p.Finally, start)
	return errors.Join(c.errs...)
}

// outputs are the types of what a step gives, nil where nobody knows.
type outputs map[string]expr.Type

// scope is what the steps at one place may read.
type scope struct {
	steps   map[string]outputs // of the steps before
	vars    map[string]expr.Type
	failure bool
}

// below is the scope of steps within: what they add is theirs.
func (s *scope) below() *scope {
	return &scope{steps: maps.Clone(s.steps), vars: maps.Clone(s.vars), failure: s.failure}
}

// join takes over what steps within added.
func (s *scope) join(inner *scope) {
	maps.Copy(s.steps, inner.steps)
	for name, of := range inner.vars {
		if known, twice := s.vars[name]; twice && known.String() != of.String() {
			of = expr.Any // it depends on the way that was taken
		}
		s.vars[name] = of
	}
}

type checker struct {
	reader
	book   *Playbook
	in     Installation
	names  []string // of the actions
	typing *expr.Typing
}

func (c *checker) spec(name string) (action.Spec, bool) {
	at := slices.IndexFunc(c.in.Actions, func(spec action.Spec) bool { return spec.Name == name })
	if at < 0 {
		return action.Spec{}, false
	}
	return c.in.Actions[at], true
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

func (c *checker) steps(steps []Step, s *scope) {
	for i := range steps {
		c.step(&steps[i], s)
	}
}

func (c *checker) step(step *Step, s *scope) {
	if step.If != nil {
		c.condition(step.Path+".if", step.If, s)
	}
	gives := outputs{"state": expr.Text}
	switch step.Does {
	case Use:
		gives = c.use(step, s)
	case Ask:
		c.ask(step)
		gives["by"], gives["reason"] = expr.Text, expr.Text
	case Wait:
		gives = c.wait(step, s)
	case Set:
		c.set(step, s)
	case Fail:
		c.value(step.Path+".fail", *step.Fail, s)
	case Call:
		c.call(step, s)
	case Parallel:
		c.parallel(step, s)
	case ForEach:
		c.loop(step, s)
		gives["turns"], gives["failed"] = expr.Number, expr.Number
	case Switch:
		c.choice(step, s)
	case Group:
		c.branches(s, step.Steps, step.Else)
	}
	if len(step.Handler) > 0 {
		inner := s.below()
		inner.failure = true
		c.steps(step.Handler, inner)
		inner.failure = s.failure
		s.join(inner)
	}
	s.steps[step.ID] = gives
}

// branches checks lists of steps of which one is carried out.
func (c *checker) branches(s *scope, lists ...[]Step) {
	scopes := make([]*scope, 0, len(lists))
	for _, list := range lists {
		inner := s.below()
		c.steps(list, inner)
		scopes = append(scopes, inner)
	}
	for _, inner := range scopes {
		s.join(inner)
	}
}

func (c *checker) parallel(step *Step, s *scope) {
	scopes := make([]*scope, 0, len(step.Parallel))
	for i := range step.Parallel {
		inner := s.below()
		c.step(&step.Parallel[i], inner)
		scopes = append(scopes, inner)
	}
	for _, inner := range scopes {
		s.join(inner)
	}
}

func (c *checker) choice(step *Step, s *scope) {
	of := c.expression(step.Path+".switch", step.On, s)
	lists := make([][]Step, 0, len(step.Cases)+1)
	for i, one := range step.Cases {
		for _, is := range one.Is {
			if constant := typeOf(is); !constant.MayBe(of) {
				c.fail(fmt.Sprintf("%s.cases[%d].is", step.Path, i), "%v is %s; %s is %s", is, constant, step.On, of)
			}
		}
		lists = append(lists, one.Steps)
	}
	c.branches(s, append(lists, step.Else)...)
}

func (c *checker) loop(step *Step, s *scope) {
	path := step.Path + ".foreach"
	of := c.expression(path+".in", step.Loop.In, s)
	if !of.MayBe(expr.List) {
		c.fail(path+".in", "%s is %s; a loop goes through a list", step.Loop.In, of)
	}
	inner := s.below()
	c.name(path+".as", step.Loop.As, s)
	inner.vars[step.Loop.As] = expr.Any
	c.steps(step.Steps, inner) // what a turn gives is that turn's
}

func (c *checker) set(step *Step, s *scope) {
	for _, arg := range step.Set {
		at := document.Under(step.Path+".set", arg.Name)
		c.name(at, arg.Name, s)
		s.vars[arg.Name] = c.value(at, arg.Value, s)
	}
}

// name refuses to give a name twice: what it stands for would depend on when one looks.
func (c *checker) name(path, name string, s *scope) {
	if _, taken := s.vars[name]; taken {
		c.fail(path, "vars.%s is set already; take another name", name)
	}
}

func (c *checker) ask(step *Step) {
	path := step.Path + ".approve"
	c.roles(path+".by", step.Approve.By)
	for i, level := range step.Approve.Escalate {
		at := document.At(path+".escalate", i)
		c.roles(at+".by", level.By)
		if level.OnCall != "" && c.in.Rotations != nil && !slices.Contains(c.in.Rotations, level.OnCall) {
			c.unknown(at+".on_call", "rotation", level.OnCall, c.in.Rotations)
		}
	}
}

func (c *checker) roles(path string, roles []string) {
	for i, role := range roles {
		if !slices.Contains(c.in.Roles, role) {
			c.unknown(document.At(path, i), "role", role, c.in.Roles)
		}
	}
}

func (c *checker) use(step *Step, s *scope) outputs {
	spec, known := c.spec(step.Action)
	if !known {
		for _, arg := range step.With {
			c.value(document.Under(step.Path+".with", arg.Name), arg.Value, s)
		}
		c.unknown(step.Path+".use", "action", step.Action, c.names)
		return nil
	}
	c.arguments(step, spec, append(paramNames(spec), "account", "region"), s)
	if step.For != 0 && spec.Effect != action.Contain {
		c.fail(step.Path+".for", "%s is of effect %s: nothing can be taken back", spec.Name, spec.Effect)
	}
	return given(spec)
}

// given are the outputs of an action.
func given(spec action.Spec) outputs {
	gives := outputs{"state": expr.Text}
	for _, o := range spec.Outputs {
		gives[o.Name] = valueType(o.Type)
	}
	return gives
}

func (c *checker) wait(step *Step, s *scope) outputs {
	gives := outputs{"state": expr.Text}
	if look := step.Wait.Look; look != nil {
		gives = c.use(look, s)
		if spec, known := c.spec(look.Action); known && spec.Effect != action.Read {
			c.fail(step.Path+".wait.use", "%s is of effect %s; to wait is to look, with an action that only reads", spec.Name, spec.Effect)
		}
	}
	if step.Wait.Until != nil {
		inner := s.below()
		inner.steps[step.ID] = gives
		c.condition(step.Path+".wait.until", step.Wait.Until, inner)
	}
	return gives
}

func (c *checker) call(step *Step, s *scope) {
	if step.Calls == nil {
		return // Link says so
	}
	c.arguments(step, action.Spec{Name: step.Called, Params: step.Calls.Inputs}, nil, s)
}

func (c *checker) arguments(step *Step, spec action.Spec, names []string, s *scope) {
	if names == nil {
		names = paramNames(spec)
	}
	given := make([]string, 0, len(step.With))
	for _, arg := range step.With {
		at := document.Under(step.Path+".with", arg.Name)
		given = append(given, arg.Name)
		of := c.value(at, arg.Value, s)
		if param, known := parameter(spec, arg.Name, names); known {
			c.fits(at, spec, param, arg.Value, of)
		} else {
			c.unknown(at, "parameter of "+spec.Name, arg.Name, names)
		}
	}
	for _, param := range spec.Params {
		if param.Required && !slices.Contains(given, param.Name) {
			c.fail(step.Path+".with", "%s needs the parameter %q: %s", spec.Name, param.Name, param.Doc)
		}
	}
}

// parameter gives what is taken by a name. Where an action acts can be said for each.
func parameter(spec action.Spec, name string, names []string) (action.Param, bool) {
	for _, param := range spec.Params {
		if param.Name == name {
			return param, true
		}
	}
	return action.Param{Name: name, Type: action.String, Required: true, Doc: "where to act"}, slices.Contains(names, name)
}

// fits checks the type of an argument, as far as it is written out or known.
func (c *checker) fits(path string, spec action.Spec, param action.Param, v Value, of expr.Type) {
	if v.Template != nil {
		if takes := valueType(param.Type); !of.MayBe(takes) {
			c.fail(path, "%s is %s; the parameter %q of %s is %s", v.Template, of, param.Name, spec.Name, takes)
		}
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

// value checks the templates of a value, and gives its type.
func (c *checker) value(path string, v Value, s *scope) expr.Type {
	switch {
	case v.Template != nil:
		if alone := v.Template.Alone(); alone != nil {
			return c.expression(path, alone, s)
		}
		for _, part := range v.Template.Exprs() {
			c.expression(path, part, s)
		}
		return expr.Text
	case v.List != nil:
		for i, item := range v.List {
			c.value(document.At(path, i), item, s)
		}
		return expr.List
	case v.Map != nil:
		for _, field := range v.Map {
			c.value(document.Under(path, field.Name), field.Value, s)
		}
		return expr.Map
	}
	return typeOf(v.Constant)
}

func (c *checker) condition(path string, e *expr.Expr, s *scope) {
	if of := c.expression(path, e, s); !of.MayBe(expr.Truth) {
		c.fail(path, "%s is %s; a condition must be true or false", e, of)
	}
}

// expression checks what an expression reads and with which types, and gives its own.
func (c *checker) expression(path string, e *expr.Expr, s *scope) expr.Type {
	before := len(c.errs)
	for _, read := range e.Paths() {
		c.path(path, read, s)
	}
	if len(c.errs) > before {
		return expr.Any
	}
	if chain, plain := e.Plain(); plain {
		return c.plain(chain, s)
	}
	typing, err := c.types()
	if err != nil {
		c.fail(path, "%v", err)
		return expr.Any
	}
	of, err := typing.Check(e.String())
	if err != nil {
		c.fail(path, "%v", err)
	}
	return of
}

// plain gives the type of a chain of names.
func (c *checker) plain(chain []string, s *scope) expr.Type {
	if len(chain) < 2 {
		return expr.Map
	}
	var fields map[string]expr.Type
	rest := chain[1:]
	switch expr.Variable(chain[0]) {
	case expr.Finding:
		fields = expr.FindingFields()
	case expr.Incident:
		fields = expr.IncidentFields()
	case expr.Vars:
		fields = s.vars
	case expr.Inputs:
		fields = c.inputFields()
	case expr.Failure:
		fields = failureFields()
	case expr.Steps:
		fields, rest = s.steps[chain[1]], chain[2:]
	}
	if len(rest) != 1 {
		return expr.Any
	}
	return fields[rest[0]]
}

// types gives the checker of types for the playbook, made when the first expression needs it: with the steps and
// names of all places, as path has seen to those that aren't there yet.
func (c *checker) types() (*expr.Typing, error) {
	if c.typing != nil {
		return c.typing, nil
	}
	steps, vars := map[string]expr.Type{}, map[string]expr.Type{}
	c.book.Walk(func(step *Step) {
		fields := outputs{"state": expr.Text, "by": expr.Text, "reason": expr.Text, "turns": expr.Number, "failed": expr.Number}
		if step.Action != "" {
			spec, known := c.spec(step.Action)
			if fields = given(spec); !known {
				fields = nil
			}
		}
		steps[step.ID] = expr.Map
		if fields != nil {
			steps[step.ID] = expr.Record(fields)
		}
		for _, arg := range step.Set {
			vars[arg.Name] = expr.Any
		}
		if step.Loop != nil {
			vars[step.Loop.As] = expr.Any
		}
	})
	var err error
	c.typing, err = expr.NewTyping(expr.Types{
		expr.Finding: expr.Record(expr.FindingFields()), expr.Incident: expr.Record(expr.IncidentFields()),
		expr.Steps: expr.Record(steps), expr.Vars: expr.Record(vars), expr.Inputs: expr.Record(c.inputFields()),
		expr.Failure: expr.Record(failureFields()),
	})
	return c.typing, err
}

func (c *checker) inputFields() map[string]expr.Type {
	fields := make(map[string]expr.Type, len(c.book.Inputs))
	for _, input := range c.book.Inputs {
		fields[input.Name] = valueType(input.Type)
	}
	return fields
}

// failureFields are what the steps of on_error and finally may read of what went wrong.
func failureFields() map[string]expr.Type {
	return map[string]expr.Type{"state": expr.Text, "step": expr.Text, "message": expr.Text}
}

// path checks one chain of names that an expression reads. Below a field that is a map or a list, anything goes.
func (c *checker) path(at string, path []string, s *scope) {
	if expr.Variable(path[0]) == expr.Failure && !s.failure {
		c.fail(at, "there is an error to read only in on_error and finally")
		return
	}
	if len(path) < 2 {
		return
	}
	switch name := path[1]; expr.Variable(path[0]) {
	case expr.Finding:
		c.field(at, "field of a finding", name, keys(expr.FindingFields()))
	case expr.Incident:
		c.field(at, "field of an incident", name, keys(expr.IncidentFields()))
	case expr.Vars:
		c.field(at, "name that is set before this", name, keys(s.vars))
	case expr.Inputs:
		c.field(at, "input of this playbook", name, keys(c.inputFields()))
	case expr.Failure:
		c.field(at, "field of an error", name, keys(failureFields()))
	case expr.Steps:
		c.output(at, path[1:], s)
	}
}

func keys(fields map[string]expr.Type) []string { return slices.Sorted(maps.Keys(fields)) }

func (c *checker) field(at, what, name string, known []string) {
	if !slices.Contains(known, name) {
		c.unknown(at, what, name, known)
	}
}

func (c *checker) output(at string, path []string, s *scope) {
	gives, before := s.steps[path[0]]
	if !before {
		c.unknown(at, "step before this one", path[0], slices.Sorted(maps.Keys(s.steps)))
		return
	}
	if len(path) > 1 && gives != nil {
		c.field(at, "field of step "+path[0], path[1], keys(gives))
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

func paramNames(spec action.Spec) []string {
	names := make([]string, 0, len(spec.Params)+2)
	for _, p := range spec.Params {
		names = append(names, p.Name)
	}
	return names
}

// valueType is the type in expressions of a parameter or an output.
func valueType(t action.Type) expr.Type {
	switch t {
	case action.String, action.Duration, action.Time:
		return expr.Text
	case action.Int:
		return expr.Number
	case action.Bool:
		return expr.Truth
	case action.Strings:
		return expr.Texts
	case action.Object:
		return expr.Map
	}
	return expr.Any
}

// typeOf is the type of a value that is written out.
func typeOf(value any) expr.Type {
	switch value.(type) {
	case string:
		return expr.Text
	case bool:
		return expr.Truth
	case int, int64:
		return expr.Number
	case []any:
		return expr.List
	case map[string]any:
		return expr.Map
	}
	return expr.Any
}
