package playbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/run"
)

const (
	mostBranches = 50
	mostTurns    = 1000
	deepest      = 8
	// longestWait is how long a step waits at most, and after which time a change is taken back at the latest.
	longestWait = 90 * 24 * time.Hour
)

// writtenStep is a step as people write it.
type writtenStep struct {
	ID       string          `yaml:"id"`
	Summary  string          `yaml:"summary"`
	If       string          `yaml:"if"`
	Use      string          `yaml:"use"`
	With     map[string]any  `yaml:"with"`
	Approve  *writtenApprove `yaml:"approve"`
	Wait     *writtenWait    `yaml:"wait"`
	Set      map[string]any  `yaml:"set"`
	Fail     string          `yaml:"fail"`
	Call     string          `yaml:"call"`
	Steps    []writtenStep   `yaml:"steps"`
	Parallel []writtenStep   `yaml:"parallel"`
	ForEach  *writtenLoop    `yaml:"foreach"`
	Switch   string          `yaml:"switch"`
	Cases    []writtenCase   `yaml:"cases"`
	Else     []writtenStep   `yaml:"else"`
	Retry    *struct {
		Times   int           `yaml:"times"`
		Backoff time.Duration `yaml:"backoff"`
	} `yaml:"retry"`
	Timeout time.Duration  `yaml:"timeout"`
	Within  time.Duration  `yaml:"within"`
	For     time.Duration  `yaml:"for"`
	OnError writtenOnError `yaml:"on_error"`
}

type writtenApprove struct {
	By        []string      `yaml:"by"`
	Quorum    int           `yaml:"quorum"`
	Within    time.Duration `yaml:"within"`
	Otherwise string        `yaml:"otherwise"`
	Escalate  []struct {
		After   time.Duration `yaml:"after"`
		By      []string      `yaml:"by"`
		Channel string        `yaml:"channel"`
		OnCall  string        `yaml:"on_call"`
	} `yaml:"escalate"`
}

type writtenLoop struct {
	In     string `yaml:"in"`
	As     string `yaml:"as"`
	AtMost int    `yaml:"at_most"`
	AtOnce int    `yaml:"at_once"`
}

type writtenCase struct {
	Is    any           `yaml:"is"`
	Steps []writtenStep `yaml:"steps"`
}

// writtenWait is a time, or a condition with how to look.
type writtenWait struct {
	Time      time.Duration  `yaml:"-"`
	Until     string         `yaml:"until"`
	Use       string         `yaml:"use"`
	With      map[string]any `yaml:"with"`
	Every     time.Duration  `yaml:"every"`
	Within    time.Duration  `yaml:"within"`
	Otherwise string         `yaml:"otherwise"`
}

// UnmarshalDocument is of document.Unmarshaler.
func (w *writtenWait) UnmarshalDocument(n document.Node) error {
	if n.IsMapping() {
		type plain writtenWait
		return n.Decode((*plain)(w)) //nolint:wrapcheck // it names the place
	}
	return n.Decode(&w.Time) //nolint:wrapcheck // it names the place
}

// writtenOnError is a word, or steps.
type writtenOnError struct {
	Word  string
	Steps []writtenStep
}

// UnmarshalDocument is of document.Unmarshaler.
func (w *writtenOnError) UnmarshalDocument(n document.Node) error {
	if n.IsList() {
		return n.Decode(&w.Steps) //nolint:wrapcheck // it names the place
	}
	return n.Decode(&w.Word) //nolint:wrapcheck // it names the place
}

// does lists what a step says it does; one that is well formed says one thing.
func (w *writtenStep) does() []Kind {
	var kinds []Kind
	add := func(kind Kind, is bool) {
		if is {
			kinds = append(kinds, kind)
		}
	}
	add(Use, w.Use != "")
	add(Ask, w.Approve != nil)
	add(Wait, w.Wait != nil)
	add(Set, len(w.Set) > 0)
	add(Fail, w.Fail != "")
	add(Call, w.Call != "")
	add(Parallel, len(w.Parallel) > 0)
	add(ForEach, w.ForEach != nil)
	add(Switch, w.Switch != "")
	add(Group, len(w.Steps) > 0 && w.ForEach == nil)
	return kinds
}

// goesWith lists the keys of a step that go with some of what a step may do, and not with the rest.
var goesWith = []struct { //nolint:gochecknoglobals // a constant list
	key   string
	kinds []Kind
	has   func(*writtenStep) bool
}{
	{"with", []Kind{Use, Call}, func(w *writtenStep) bool { return len(w.With) > 0 }},
	{"steps", []Kind{Group, ForEach}, func(w *writtenStep) bool { return len(w.Steps) > 0 }},
	{"cases", []Kind{Switch}, func(w *writtenStep) bool { return len(w.Cases) > 0 }},
	{"else", []Kind{Group, Switch}, func(w *writtenStep) bool { return len(w.Else) > 0 }},
	{"retry", []Kind{Use}, func(w *writtenStep) bool { return w.Retry != nil }},
	{"timeout", []Kind{Use}, func(w *writtenStep) bool { return w.Timeout != 0 }},
	{"within", []Kind{Use}, func(w *writtenStep) bool { return w.Within != 0 }},
	{"for", []Kind{Use}, func(w *writtenStep) bool { return w.For != 0 }},
}

// misplaced names the keys of a step that don't go with what it does.
func (w *writtenStep) misplaced(kind Kind) []string {
	var wrong []string
	for _, one := range goesWith {
		if one.has(w) && !slices.Contains(one.kinds, kind) {
			wrong = append(wrong, one.key)
		}
	}
	return wrong
}

// steps reads a list of steps at a path. Those without a name are named after what they are in.
func (r *reader) steps(path, under string, w []writtenStep, depth int) []Step {
	if depth > deepest {
		r.fail(path, "steps within steps, %d deep; at most %d are read", depth, deepest)
		return nil
	}
	var steps []Step
	for i := range w {
		at := document.At(path, i)
		id := w[i].ID
		if id == "" {
			id = fmt.Sprintf("%s-%d", under, i+1)
		}
		step := r.step(at, id, &w[i])
		if before, twice := r.ids[step.ID]; twice {
			r.fail(at+".id", "step %q stands already at %s", step.ID, before)
		}
		r.ids[step.ID] = at
		r.count++
		r.within(&step, &w[i], depth+1)
		steps = append(steps, step)
	}
	return steps
}

// within reads the steps in a step.
func (r *reader) within(s *Step, w *writtenStep, depth int) {
	s.Steps = r.steps(s.Path+".steps", s.ID, w.Steps, depth)
	s.Parallel = r.steps(s.Path+".parallel", s.ID, w.Parallel, depth)
	for i, c := range w.Cases {
		at := fmt.Sprintf("%s.cases[%d]", s.Path, i)
		read := Case{Steps: r.steps(at+".steps", fmt.Sprintf("%s-case-%d", s.ID, i+1), c.Steps, depth)}
		switch is := c.Is.(type) {
		case nil:
			r.fail(at+".is", "the value, or a list of values, for which these steps are")
		case []any:
			read.Is = is
		case map[string]any:
			r.fail(at+".is", "a mapping is no value to compare with")
		default:
			read.Is = []any{is}
		}
		s.Cases = append(s.Cases, read)
	}
	s.Else = r.steps(s.Path+".else", s.ID+"-else", w.Else, depth)
	s.Handler = r.steps(s.Path+".on_error", s.ID+"-error", w.OnError.Steps, depth)
}

func (r *reader) step(path, id string, w *writtenStep) Step {
	s := Step{ID: id, Summary: w.Summary, Path: path, Retry: DefaultRetry, OnError: FailRun}
	if w.ID != "" && !identifier.MatchString(w.ID) {
		r.fail(path+".id", "a step's id is lower-case letters, digits, - and _, not %q", w.ID)
	}
	s.If = r.condition(path+".if", w.If)
	switch does := w.does(); len(does) {
	case 0:
		r.fail(path, "a step has use (an action), approve (a question), or one of %s", listed([]Kind{Wait, Set, Fail, Call, Group, Parallel, ForEach, Switch}))
		return s
	case 1:
		s.Does = does[0]
	default:
		if slices.Contains(does, Use) && slices.Contains(does, Ask) {
			r.fail(path+".approve", "a step has either use or approve; put the question into a step of its own before this one")
			return s
		}
		r.fail(path, "a step does one thing, not %s", strings.ReplaceAll(listed(does), ", ", " and "))
		return s
	}
	for _, key := range w.misplaced(s.Does) {
		if s.Does == Ask && key == "with" {
			r.fail(path+".approve", "a question takes no with")
			continue
		}
		r.fail(path+"."+key, "there is no such key beside %s", s.Does)
	}
	r.what(&s, w)
	switch word := OnError(w.OnError.Word); word {
	case FailRun, Continue:
		s.OnError = word
	case "":
	default:
		r.fail(path+".on_error", "%q is not one of fail, continue; nor is it a list of steps", word)
	}
	return s
}

// what reads what a step does.
func (r *reader) what(s *Step, w *writtenStep) {
	s.With = r.arguments(s.Path+".with", w.With)
	switch s.Does {
	case Use:
		r.use(s, w)
	case Ask:
		s.Approve = r.approve(s.Path+".approve", w.Approve)
	case Wait:
		s.Wait = r.wait(s.Path+".wait", s.ID, w.Wait)
	case Set:
		s.Set = r.arguments(s.Path+".set", w.Set)
		for _, name := range slices.Sorted(maps.Keys(w.Set)) {
			if !variable.MatchString(name) {
				r.fail(document.Under(s.Path+".set", name), "a name is lower-case letters, digits and _, not %q", name)
			}
		}
	case Fail:
		value := r.value(s.Path+".fail", w.Fail)
		s.Fail = &value
	case Call:
		s.Called = w.Call
	case Parallel:
		if len(w.Parallel) > mostBranches {
			r.fail(s.Path+".parallel", "at most %d at once, not %d", mostBranches, len(w.Parallel))
		}
	case ForEach:
		s.Loop = r.loop(s.Path+".foreach", w)
	case Switch:
		s.On = r.expression(s.Path+".switch", w.Switch)
		if len(w.Cases) == 0 {
			r.fail(s.Path+".switch", "a switch has cases")
		}
	case Group:
		if len(w.Else) > 0 && w.If == "" {
			r.fail(s.Path+".else", "without an if it never comes to else")
		}
	}
}

func (r *reader) use(s *Step, w *writtenStep) {
	s.Action, s.Timeout, s.Within, s.For = w.Use, w.Timeout, w.Within, w.For
	if w.Retry != nil {
		s.Retry = r.retry(s.Path+".retry", Retry{Times: w.Retry.Times, Backoff: orElse(w.Retry.Backoff, DefaultRetry.Backoff)})
	}
	if s.Timeout < 0 || s.Timeout > time.Hour {
		r.fail(s.Path+".timeout", "between 1s and 1h, not %s", s.Timeout)
	}
	if s.Within < 0 || s.Within > longestWait {
		r.fail(s.Path+".within", "between 1s and %s, not %s", longestWait, s.Within)
	}
	if s.For != 0 && (s.For < time.Minute || s.For > longestWait) {
		r.fail(s.Path+".for", "between 1m and %s, not %s", longestWait, s.For)
	}
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

func (r *reader) approve(path string, w *writtenApprove) *Approve {
	a := &Approve{By: w.By, Within: w.Within, Otherwise: run.OtherwiseDeny, Quorum: max(w.Quorum, 1)}
	if a.Within < 0 {
		r.fail(path+".within", "a time from now, not %s", a.Within)
	}
	if w.Quorum < 0 || w.Quorum > 10 {
		r.fail(path+".quorum", "between 1 and 10 people, not %d", w.Quorum)
	}
	switch o := run.Otherwise(w.Otherwise); o {
	case run.OtherwiseDeny, run.OtherwiseEscalate, run.OtherwiseProceed:
		a.Otherwise = o
		if a.Within == 0 {
			r.fail(path+".otherwise", "without a time in within, otherwise never comes")
		}
	case "":
	default:
		r.fail(path+".otherwise", "%q is not one of deny, escalate, proceed", w.Otherwise)
	}
	before := time.Duration(0)
	for i, level := range w.Escalate {
		at := fmt.Sprintf("%s.escalate[%d].after", path, i)
		switch {
		case level.After <= before:
			r.fail(at, "later than what is before it (%s), counted from the question", before)
		case a.Within > 0 && level.After >= a.Within:
			r.fail(at, "the question's time is over by then: within is %s", a.Within)
		}
		before = level.After
		a.Escalate = append(a.Escalate, Level{After: level.After, By: level.By, Channel: level.Channel, OnCall: level.OnCall})
	}
	return a
}

func (r *reader) wait(path, id string, w *writtenWait) *Waiting {
	wait := &Waiting{Time: w.Time, Every: orElse(w.Every, 30*time.Second), Within: w.Within}
	if w.Until == "" {
		if w.Time <= 0 || w.Time > longestWait {
			r.fail(path, "a time of up to %s, or a condition in until", longestWait)
		}
		return wait
	}
	wait.Until = r.condition(path+".until", w.Until)
	if wait.Every < time.Second || wait.Every > time.Hour {
		r.fail(path+".every", "between 1s and 1h, not %s", wait.Every)
	}
	if wait.Within <= 0 || wait.Within > longestWait {
		r.fail(path+".within", "say how long at most, up to %s", longestWait)
	}
	switch w.Otherwise {
	case "", string(FailRun):
	case string(Continue):
		wait.GoOn = true
	default:
		r.fail(path+".otherwise", "%q is not one of fail, continue", w.Otherwise)
	}
	if w.Use != "" {
		wait.Look = &Step{
			ID: id, Path: path, Does: Use, Action: w.Use, With: r.arguments(path+".with", w.With), Retry: DefaultRetry, OnError: FailRun,
		}
	} else if len(w.With) > 0 {
		r.fail(path+".with", "there is no such key without use")
	}
	return wait
}

func (r *reader) loop(path string, w *writtenStep) *Loop {
	l := &Loop{In: r.expression(path+".in", w.ForEach.In), As: w.ForEach.As, AtMost: w.ForEach.AtMost, AtOnce: max(w.ForEach.AtOnce, 1)}
	if w.ForEach.In == "" {
		r.fail(path+".in", "an expression that gives a list")
	}
	if !variable.MatchString(l.As) {
		r.fail(path+".as", "the name of the item at hand, as vars.<name>: lower-case letters, digits and _, not %q", l.As)
	}
	if l.AtMost < 1 || l.AtMost > mostTurns {
		r.fail(path+".at_most", "a loop has a bound: say between 1 and %d; a list that is longer fails before the first turn", mostTurns)
	}
	if w.ForEach.AtOnce < 0 || l.AtOnce > mostBranches {
		r.fail(path+".at_once", "between 1 and %d, not %d", mostBranches, w.ForEach.AtOnce)
	}
	if len(w.Steps) == 0 {
		r.fail(path, "a loop has steps")
	}
	return l
}
