package playbook

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

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
	Autonomy        string           `yaml:"autonomy"`
	Limits          guardrail.Limits `yaml:"limits"`
	AllowDestroy    []string         `yaml:"allow_destroy"`
	OnFalsePositive string           `yaml:"on_false_positive"`
	Steps           []writtenStep    `yaml:"steps"`
}

type writtenStep struct {
	ID      string         `yaml:"id"`
	Summary string         `yaml:"summary"`
	If      string         `yaml:"if"`
	Use     string         `yaml:"use"`
	With    map[string]any `yaml:"with"`
	Approve *struct {
		By        []string      `yaml:"by"`
		Within    time.Duration `yaml:"within"`
		Otherwise string        `yaml:"otherwise"`
	} `yaml:"approve"`
	Retry *struct {
		Times   int           `yaml:"times"`
		Backoff time.Duration `yaml:"backoff"`
	} `yaml:"retry"`
	Timeout time.Duration `yaml:"timeout"`
	OnError string        `yaml:"on_error"`
}

// identifier is what names of playbooks and steps look like: they appear in paths, URLs and expressions.
var identifier = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

// Parse reads one playbook. Errors name file, line and key, and several are joined. What depends on the
// actions of an installation is checked by Check.
func Parse(file string, text []byte) (*Playbook, error) {
	doc, err := document.Parse(file, text)
	if err != nil {
		return nil, err
	}
	var w written
	if err := doc.Decode(&w); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	p := &Playbook{
		Name: w.Playbook, Summary: w.Summary, Description: w.Description, Findings: w.On.Findings, Limits: w.Limits,
		Destroys: w.AllowDestroy, File: file, Text: text, Hash: hex.EncodeToString(sum[:]),
	}
	r := &reader{doc: doc}
	r.head(p, &w)
	seen := map[string]string{}
	for i := range w.Steps {
		path := fmt.Sprintf("steps[%d]", i)
		step := r.step(path, i, &w.Steps[i])
		if before, twice := seen[step.ID]; twice {
			r.fail(path+".id", "step %q stands already at %s", step.ID, before)
		}
		seen[step.ID] = path
		p.Steps = append(p.Steps, step)
	}
	return p, errors.Join(r.errs...)
}

// reader collects the errors of one document.
type reader struct {
	doc  *document.Document
	errs []error
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
	if len(w.On.Findings) == 0 {
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
	if len(w.Steps) == 0 || len(w.Steps) > mostSteps {
		r.fail("steps", "a playbook has 1 to %d steps, not %d", mostSteps, len(w.Steps))
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

func (r *reader) step(path string, i int, w *writtenStep) Step {
	s := Step{ID: w.ID, Use: w.Use, Timeout: w.Timeout, Retry: DefaultRetry, OnError: FailRun}
	if s.ID == "" {
		s.ID = fmt.Sprintf("step-%d", i+1)
	}
	if !identifier.MatchString(s.ID) {
		r.fail(path+".id", "a step's id is lower-case letters, digits, - and _, not %q", w.ID)
	}
	s.If = r.condition(path+".if", w.If)
	switch {
	case w.Use == "" && w.Approve == nil:
		r.fail(path, "a step has use (an action) or approve (a question)")
	case w.Use != "" && w.Approve != nil:
		r.fail(path+".approve", "a step has either use or approve; put the question into a step of its own before this one")
	case w.Approve != nil:
		s.Approve = r.approve(path+".approve", w)
	}
	s.With = r.arguments(path+".with", w.With)
	if w.Retry != nil {
		s.Retry = r.retry(path+".retry", Retry{Times: w.Retry.Times, Backoff: orElse(w.Retry.Backoff, DefaultRetry.Backoff)})
	}
	if s.Timeout < 0 || s.Timeout > time.Hour {
		r.fail(path+".timeout", "between 1s and 1h, not %s", s.Timeout)
	}
	switch OnError(w.OnError) {
	case FailRun, Continue:
		s.OnError = OnError(w.OnError)
	case "":
	default:
		r.fail(path+".on_error", "%q is not one of fail, continue", w.OnError)
	}
	return s
}

func (r *reader) retry(path string, retry Retry) Retry {
	if retry.Times < 0 || retry.Times > mostRetries {
		r.fail(path+".times", "between 0 and %d, not %d", mostRetries, retry.Times)
	}
	if retry.Backoff < 0 || retry.Backoff > longestBackoff {
		r.fail(path+".backoff", "between 0s and %s, not %s", longestBackoff, retry.Backoff)
	}
	return retry
}

func (r *reader) approve(path string, w *writtenStep) *Approve {
	if len(w.With) > 0 {
		r.fail(path, "a question takes no with")
	}
	a := &Approve{By: w.Approve.By, Within: w.Approve.Within, Otherwise: run.OtherwiseDeny}
	if a.Within < 0 {
		r.fail(path+".within", "a time from now, not %s", a.Within)
	}
	switch o := run.Otherwise(w.Approve.Otherwise); o {
	case run.OtherwiseDeny, run.OtherwiseEscalate, run.OtherwiseProceed:
		a.Otherwise = o
		if a.Within == 0 {
			r.fail(path+".otherwise", "without a time in within, otherwise never comes")
		}
	case "":
	default:
		r.fail(path+".otherwise", "%q is not one of deny, escalate, proceed", w.Approve.Otherwise)
	}
	return a
}

func (r *reader) condition(path, text string) *expr.Expr {
	if text == "" {
		return nil
	}
	compiled, err := expr.CompileBool(text)
	if err != nil {
		r.fail(path, "%v", err)
	}
	return compiled
}

func (r *reader) arguments(path string, with map[string]any) []Argument {
	arguments := make([]Argument, 0, len(with))
	for _, name := range slices.Sorted(maps.Keys(with)) {
		arguments = append(arguments, Argument{Name: name, Value: r.value(path+"."+name, with[name])})
	}
	return arguments
}

func (r *reader) value(path string, v any) Value {
	switch value := v.(type) {
	case string:
		template, err := expr.CompileTemplate(value)
		if err != nil {
			r.fail(path, "%v", err)
			return Value{}
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
