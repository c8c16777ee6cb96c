// Package playbook holds how to respond, as code that people write: when it applies, its steps, who is asked.
package playbook

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/run"
)

// Playbook is one playbook, checked.
type Playbook struct {
	Name        string
	Summary     string
	Description string
	Findings    []string   // patterns on finding types, with *; none where it is only called by others
	If          *expr.Expr // nil is always
	// Inputs are what a playbook that is called by others takes.
	Inputs   []action.Param
	Autonomy run.Autonomy
	Limits   guardrail.Limits
	// Destroys names the actions without undo that the playbook may apply without a person, where the
	// ceiling is auto.
	Destroys        []string
	OnFalsePositive OnFalsePositive
	Steps           []Step
	Finally         []Step // are carried out however the steps ended

	File   string
	Source []byte // as written
	// Text is Source with the text of every playbook that it calls behind it: all that a run of it may do.
	Text []byte
	Hash string // SHA-256 of Text, hex
}

// OnFalsePositive is what happens when a person closes the incident as a false positive.
type OnFalsePositive string

// The ways. Keep is the default: nothing is undone that nobody asked to be undone.
const (
	KeepChanges OnFalsePositive = "keep"
	UndoChanges OnFalsePositive = "undo"
)

// Kind is what a step does.
type Kind string

// The kinds.
const (
	Use      Kind = "use"      // an action
	Ask      Kind = "approve"  // people are asked
	Wait     Kind = "wait"     // for a time, or until a condition holds
	Set      Kind = "set"      // gives names to values
	Fail     Kind = "fail"     // ends what it stands in
	Call     Kind = "call"     // the steps of another playbook
	Group    Kind = "steps"    // steps one after the other
	Parallel Kind = "parallel" // steps at once
	ForEach  Kind = "foreach"  // steps for each item of a list
	Switch   Kind = "switch"   // steps for the first case that is so
)

// Step is one step. What it does decides which of its fields are set.
type Step struct {
	ID      string
	Summary string
	Path    string // where it stands in its file: steps[2].else[0]
	Does    Kind
	If      *expr.Expr // nil is always

	Action  string     // name of an action; "" where it uses none
	With    []Argument // of an action or a call, sorted by name
	Retry   Retry
	Timeout time.Duration // of one attempt; the action's own if zero
	Within  time.Duration // for a result that comes later; the action's own if zero
	For     time.Duration // the change is taken back after that time; zero is never

	Approve *Approve
	Wait    *Waiting
	Set     []Argument
	Fail    *Value
	Called  string // name of a playbook
	Calls   *Playbook

	Steps    []Step // of a group, of each turn of a loop
	Else     []Step // of a group whose condition is false, of a switch of which no case is so
	Parallel []Step
	Loop     *Loop
	On       *expr.Expr // what the cases of a switch are compared with
	Cases    []Case

	OnError OnError
	Handler []Step // are carried out where the step fails; it is no failure then
}

// Loop is what a step is repeated for.
type Loop struct {
	In     *expr.Expr
	As     string // the name in vars of the item at hand
	AtMost int    // items; a longer list fails before the first turn
	AtOnce int    // turns at a time
}

// Case is one way of a switch.
type Case struct {
	Is    []any // the value is one of these
	Steps []Step
}

// Waiting is what a step waits for: a time, or a condition.
type Waiting struct {
	Time   time.Duration // zero where it waits for a condition
	Until  *expr.Expr
	Look   *Step // a reading action before each look, whose outputs are the waiting step's; nil for none
	Every  time.Duration
	Within time.Duration
	GoOn   bool // where Within is over; the step fails otherwise
}

// Argument is one parameter's value: a constant or a template.
type Argument struct {
	Name  string
	Value Value
}

// Value is a constant, a template, or a list or map of them.
type Value struct {
	Constant any
	Template *expr.Template
	List     []Value
	Map      []Argument
}

// Approve is a question to a person: go on with what comes next, or not.
type Approve struct {
	By        []string      // roles, any of which may answer
	Within    time.Duration // zero: no deadline
	Otherwise run.Otherwise // when nobody answered in time
	Quorum    int           // how many different people must say yes
	Escalate  []Level       // by time
}

// Level is whom a question goes to when it has stood for a while without an answer.
type Level struct {
	After   time.Duration
	By      []string // further roles that may answer
	Channel string   // "" is the organisation's own
	OnCall  string   // name of a rotation, "" for none
}

// Retry is how often a failed attempt is repeated where repeating may help and is safe.
type Retry struct {
	Times   int           // attempts after the first
	Backoff time.Duration // before the first repetition; doubled for each further one
}

// OnError is what a failed step does to its run.
type OnError string

// The ways. Fail is the default.
const (
	FailRun  OnError = "fail"
	Continue OnError = "continue"
)

// Answers reports whether the playbook applies to a finding of a type. The error says what its
// condition asks for and the finding lacks.
func (p *Playbook) Answers(ctx context.Context, findingType string, scope expr.Scope) (bool, error) {
	if matched := p.Matches(findingType); !matched || p.If == nil {
		return matched, nil
	}
	return p.If.True(ctx, scope)
}

// Matches reports whether a type of findings is one that the playbook answers, its condition aside.
func (p *Playbook) Matches(findingType string) bool {
	return slices.ContainsFunc(p.Findings, func(pattern string) bool { return guardrail.Glob(pattern, findingType) })
}

// Subject names what a run of this playbook for this finding is about: the entities of the finding that
// the playbook's steps read, such as "access_key=AKIA...". Findings with one subject share a run.
func (p *Playbook) Subject(f *finding.Finding) string {
	var about []string
	for _, kind := range p.reads() {
		if e, ok := f.Entity(kind); ok {
			about = append(about, string(kind)+"="+e.ID)
		}
	}
	slices.Sort(about)
	return strings.Join(about, " ")
}

// reads lists the kinds of entity that the arguments of the playbook's actions and calls read from the
// finding. What messages mention is not what a run is about.
func (p *Playbook) reads() []entity.Kind {
	var kinds []entity.Kind
	note := func(path []string) {
		if len(path) < 2 || path[0] != string(expr.Finding) {
			return
		}
		kind := entity.Kind(path[1])
		if kind != entity.Account && slices.Contains(entity.Kinds(), kind) && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	p.Walk(func(step *Step) {
		if tells(step.Action) {
			return
		}
		for _, arg := range step.With {
			arg.Value.visit(func(t *expr.Template) {
				for _, path := range t.Paths() {
					note(path)
				}
			})
		}
	})
	return kinds
}

// tells reports whether an action only tells people something.
func tells(action string) bool {
	return action == "notify" || strings.HasPrefix(action, "notify.") || strings.HasPrefix(action, "ticket.")
}

// Compute gives the step's arguments as values.
func (s *Step) Compute(ctx context.Context, scope expr.Scope) (map[string]any, error) {
	values := make(map[string]any, len(s.With))
	for _, arg := range s.With {
		value, err := arg.Value.Compute(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("with.%s: %w", arg.Name, err)
		}
		values[arg.Name] = value
	}
	return values, nil
}

// Names gives the values that a step of kind set names.
func (s *Step) Names(ctx context.Context, scope expr.Scope) (map[string]any, error) {
	values := make(map[string]any, len(s.Set))
	for _, arg := range s.Set {
		value, err := arg.Value.Compute(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("set.%s: %w", arg.Name, err)
		}
		values[arg.Name] = value
	}
	return values, nil
}

// Compute gives the value, with what its templates come to.
func (v Value) Compute(ctx context.Context, scope expr.Scope) (any, error) {
	switch {
	case v.Template != nil:
		return v.Template.Value(ctx, scope)
	case v.List != nil:
		list := make([]any, 0, len(v.List))
		for i, item := range v.List {
			value, err := item.Compute(ctx, scope)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			list = append(list, value)
		}
		return list, nil
	case v.Map != nil:
		object := make(map[string]any, len(v.Map))
		for _, field := range v.Map {
			value, err := field.Value.Compute(ctx, scope)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", field.Name, err)
			}
			object[field.Name] = value
		}
		return object, nil
	}
	return v.Constant, nil
}

func (v Value) visit(see func(*expr.Template)) {
	if v.Template != nil {
		see(v.Template)
	}
	for _, item := range v.List {
		item.visit(see)
	}
	for _, field := range v.Map {
		field.Value.visit(see)
	}
}

// DefaultRetry is how often a step is tried again where the playbook doesn't say.
var DefaultRetry = Retry{Times: 4, Backoff: 250 * time.Millisecond} //nolint:gochecknoglobals // a constant

// Asks gives who answers for a step that needs approval without a question of its own: the nearest
// question before it says, or else the playbook's default.
func (p *Playbook) Asks(of *Step) Approve {
	asks := Approve{Otherwise: run.OtherwiseEscalate, Within: time.Hour, Quorum: 1}
	found := false
	p.Walk(func(step *Step) {
		found = found || step == of || step.ID == of.ID
		if !found && step.Approve != nil {
			asks = *step.Approve
		}
	})
	return asks
}
