package playbook

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/run"
)

const (
	mostSteps   = 200
	mostRetries = 20
	// longestBackoff is where doubling ends.
	longestBackoff = 30 * time.Second
)

// written is a playbook as people write it.
type written struct {
	Playbook    string `yaml:"playbook"`
	Summary     string `yaml:"summary"`
	Description string `yaml:"description"`
	On          struct {
		Findings []string `yaml:"findings"`
		If       string   `yaml:"if"`
	} `yaml:"on"`
	Autonomy        string                  `yaml:"autonomy"`
	Limits          guardrail.Limits        `yaml:"limits"`
	AllowDestroy    []string                `yaml:"allow_destroy"`
	OnFalsePositive string                  `yaml:"on_false_positive"`
	Inputs          map[string]writtenInput `yaml:"inputs"`
	Steps           []writtenStep           `yaml:"steps"`
	Finally         []writtenStep           `yaml:"finally"`
}

type writtenInput struct {
	Type        string `yaml:"type"`
	Required    bool   `yaml:"required"`
	Default     any    `yaml:"default"`
	Description string `yaml:"description"`
}

// identifier is what names of playbooks and steps look like: they appear in paths, URLs and expressions.
var identifier = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

// variable is what names in expressions look like.
var variable = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Parse reads one playbook; where others are behind it, as a run keeps them, those that it calls as well. Errors
// name file, line and key, and several are joined. What depends on the actions of an installation is checked by
// Check, what depends on other playbooks by Link.
func Parse(file string, text []byte) (*Playbook, error) {
	parts := unbind(text)
	books := make([]*Playbook, 0, len(parts))
	for _, part := range parts {
		book, err := parse(file, part)
		if err != nil {
			return nil, err
		}
		books = append(books, book)
	}
	if len(books) > 1 {
		if err := Link(books); err != nil {
			return nil, err
		}
		books[0].Text, books[0].Hash = text, digest(text)
	}
	return books[0], nil
}

func parse(file string, text []byte) (*Playbook, error) {
	doc, err := document.Parse(file, text)
	if err != nil {
		return nil, err
	}
	var w written
	if err := doc.Decode(&w); err != nil {
		return nil, err
	}
	p := &Playbook{
		Name: w.Playbook, Summary: w.Summary, Description: w.Description, Findings: w.On.Findings, Limits: w.Limits,
		Destroys: w.AllowDestroy, File: file, Source: text, Text: text, Hash: digest(text),
	}
	r := &reader{doc: doc, ids: map[string]string{}}
	r.head(p, &w)
	r.inputs(p, w.Inputs)
	p.Steps = r.steps("steps", "step", w.Steps, 0)
	p.Finally = r.steps("finally", "finally", w.Finally, 0)
	switch written := r.count; {
	case written > mostSteps:
		r.fail("steps", "a playbook has 1 to %d steps, not %d", mostSteps, written)
	case size(p.Steps)+size(p.Finally) > mostRun:
		r.fail("steps", "its loops may come to more than %d steps; lower at_most", mostRun)
	}
	return p, errors.Join(r.errs...)
}

// reader collects the errors of one document.
type reader struct {
	doc   *document.Document
	errs  []error
	ids   map[string]string // where each step's name stands
	count int               // steps
}

func (r *reader) fail(path, format string, args ...any) {
	r.errs = append(r.errs, r.doc.Errorf(path, format, args...))
}

func (r *reader) head(p *Playbook, w *written) {
	if !identifier.MatchString(w.Playbook) {
		r.fail("playbook", "a playbook's name is lower-case letters, digits, - and _, not %q", w.Playbook)
	}
	if w.Summary == "" {
		r.fail("summary", "say in one sentence what the playbook does")
	}
	if len(w.On.Findings) == 0 && (len(w.Inputs) == 0 || w.On.If != "") {
		r.fail("on.findings", `list the finding types the playbook answers, such as "guardduty:UnauthorizedAccess:IAMUser/*"`)
	}
	for i, pattern := range w.On.Findings {
		if pattern == "" {
			r.fail(fmt.Sprintf("on.findings[%d]", i), "a finding type is missing")
		}
	}
	r.limits(&w.Limits)
	p.If = r.condition("on.if", w.On.If)
	var err error
	if p.Autonomy, err = run.ParseAutonomy(w.Autonomy); err != nil {
		r.fail("autonomy", "%v", err)
	}
	switch p.OnFalsePositive = OnFalsePositive(w.OnFalsePositive); p.OnFalsePositive {
	case KeepChanges, UndoChanges:
	case "":
		p.OnFalsePositive = KeepChanges
	default:
		r.fail("on_false_positive", "%q is not one of undo, keep", w.OnFalsePositive)
	}
	if len(w.Steps) == 0 {
		r.fail("steps", "a playbook has 1 to %d steps, not 0", mostSteps)
	}
}

func (r *reader) limits(l *guardrail.Limits) {
	counts := []struct {
		key  string
		most int
	}{
		{"per_hour", l.PerHour},
		{"per_account_hour", l.PerAccountHour},
		{"distinct_accounts", l.DistinctAccounts},
		{"distinct_targets", l.DistinctTargets},
	}
	for _, count := range counts {
		if count.most < 0 {
			r.fail("limits."+count.key, "a number of 1 or more, or 0 for no limit, not %d", count.most)
		}
	}
	if l.Percent < 0 || l.Percent > 100 {
		r.fail("limits.percent", "between 0, for no limit, and 100, not %v", l.Percent)
	}
}

// inputTypes are the types that an input may have.
var inputTypes = []action.Type{ //nolint:gochecknoglobals // a constant list
	action.String, action.Int, action.Bool, action.Duration, action.Strings, action.Object,
}

func (r *reader) inputs(p *Playbook, w map[string]writtenInput) {
	for _, name := range slices.Sorted(maps.Keys(w)) {
		path := document.Under("inputs", name)
		if !variable.MatchString(name) {
			r.fail(path, "an input's name is lower-case letters, digits and _, not %q", name)
		}
		input := action.Param{
			Name: name, Type: action.Type(w[name].Type), Doc: w[name].Description, Required: w[name].Required, Default: w[name].Default,
		}
		switch {
		case !slices.Contains(inputTypes, input.Type):
			r.fail(path+".type", "%q is not one of %s", w[name].Type, listed(inputTypes))
		case input.Required && input.Default != nil:
			r.fail(path+".default", "an input that is required has no default")
		case input.Default != nil:
			alone := action.Spec{Name: p.Name, Params: []action.Param{input}}
			if _, err := action.Bind(alone, map[string]any{name: input.Default}); err != nil {
				r.fail(path+".default", "%v", err)
			}
		}
		p.Inputs = append(p.Inputs, input)
	}
}

func listed[T ~string](all []T) string {
	texts := make([]string, 0, len(all))
	for _, one := range all {
		texts = append(texts, string(one))
	}
	return strings.Join(texts, ", ")
}

func (r *reader) condition(path, text string) *expr.Expr {
	if text == "" {
		return nil
	}
	compiled, err := expr.CompileBool(text)
	if err != nil {
		r.fail(path, "%v", explained(err))
	}
	return compiled
}

// expression reads one whose value may be anything.
func (r *reader) expression(path, text string) *expr.Expr {
	if text == "" {
		return nil
	}
	compiled, err := expr.Compile(text)
	if err != nil {
		r.fail(path, "%v", explained(err))
	}
	return compiled
}

func (r *reader) arguments(path string, with map[string]any) []Argument {
	arguments := make([]Argument, 0, len(with))
	for _, name := range slices.Sorted(maps.Keys(with)) {
		arguments = append(arguments, Argument{Name: name, Value: r.value(document.Under(path, name), with[name])})
	}
	return arguments
}

func (r *reader) value(path string, v any) Value {
	switch value := v.(type) {
	case string:
		template, err := expr.CompileTemplate(value)
		if err != nil {
			r.fail(path, "%v", explained(err))
			return Value{}
		}
		if credential.MatchString(value) {
			r.fail(path, "this looks like a secret, which everybody would see; put it into the configuration, and name the channel or endpoint")
		}
		if template.Constant() {
			return Value{Constant: value}
		}
		return Value{Template: template}
	case []any:
		list := make([]Value, 0, len(value))
		for i, item := range value {
			list = append(list, r.value(fmt.Sprintf("%s[%d]", path, i), item))
		}
		return Value{List: list}
	case map[string]any:
		return Value{Map: r.arguments(path, value)}
	}
	return Value{Constant: v}
}

func orElse(d, other time.Duration) time.Duration {
	if d != 0 {
		return d
	}
	return other
}
