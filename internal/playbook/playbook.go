// Package playbook holds how to respond, as code that people write: when it applies, its steps, who is asked.
package playbook

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
	Findings    []string   // patterns on finding types, with *
	If          *expr.Expr // nil is always
	Autonomy    run.Autonomy
	Limits      guardrail.Limits
	// Destroys names the actions without undo that the playbook may apply without a person, where the
	// ceiling is auto.
	Destroys        []string
	OnFalsePositive OnFalsePositive
	Steps           []Step

	File string
	Hash string // SHA-256 of Text, hex
	Text []byte // as written
}

// OnFalsePositive is what happens when a person closes the incident as a false positive.
type OnFalsePositive string

// The ways. Keep is the default: nothing is undone that nobody asked to be undone.
const (
	KeepChanges OnFalsePositive = "keep"
	UndoChanges OnFalsePositive = "undo"
)

// Step is one step: an action to use, or a question to a person.
type Step struct {
	ID      string
	If      *expr.Expr // nil is always
	Use     string     // name of an action; "" for a question
	With    []Argument // sorted by name
	Approve *Approve   // nil for an action
	Retry   Retry
	Timeout time.Duration // of one attempt; the action's own if zero
	OnError OnError
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
	matched := slices.ContainsFunc(p.Findings, func(pattern string) bool { return guardrail.Glob(pattern, findingType) })
	if !matched || p.If == nil {
		return matched, nil
	}
	return p.If.True(ctx, scope)
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

// reads lists the kinds of entity that the arguments of the playbook's actions read from the finding.
// What messages mention is not what a run is about.
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
	for _, step := range p.Steps {
		if step.Use == "" || strings.HasPrefix(step.Use, "notify") {
			continue
		}
		for _, arg := range step.With {
			arg.Value.visit(func(t *expr.Template) {
				for _, path := range t.Paths() {
					note(path)
				}
			})
		}
	}
	return kinds
}

// Compute gives the step's arguments as values.
func (s *Step) Compute(ctx context.Context, scope expr.Scope) (map[string]any, error) {
	values := make(map[string]any, len(s.With))
	for _, arg := range s.With {
		value, err := arg.Value.compute(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("with.%s: %w", arg.Name, err)
		}
		values[arg.Name] = value
	}
	return values, nil
}

func (v Value) compute(ctx context.Context, scope expr.Scope) (any, error) {
	switch {
	case v.Template != nil:
		return v.Template.Value(ctx, scope)
	case v.List != nil:
		list := make([]any, 0, len(v.List))
		for i, item := range v.List {
			value, err := item.compute(ctx, scope)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			list = append(list, value)
		}
		return list, nil
	case v.Map != nil:
		object := make(map[string]any, len(v.Map))
		for _, field := range v.Map {
			value, err := field.Value.compute(ctx, scope)
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
func (p *Playbook) Asks(stepID string) Approve {
	asks := Approve{Otherwise: run.OtherwiseEscalate, Within: time.Hour}
	for _, step := range p.Steps {
		if step.ID == stepID {
			break
		}
		if step.Approve != nil {
			asks = *step.Approve
		}
	}
	return asks
}
