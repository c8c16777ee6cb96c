package playcase

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
)

// held is a test that was held against its playbook and the actions.
type held struct {
	*Test
	book    *playbook.Playbook
	things  map[thing]json.RawMessage
	after   map[thing]json.RawMessage
	answers map[string]*answer
	raws    [][]byte // events
}

// answer is what a test says of a step, or of an action.
type answer struct {
	outputs    []map[string]any
	tags       map[string]string
	impact     []string
	population int
	before     json.RawMessage
	after      json.RawMessage
	calls      []string
	summary    string
	noop       bool
	later      *later
}

// later is a result that comes after a time.
type later struct {
	After   time.Duration
	Outputs map[string]any
	Fails   string
}

// saidOfChange is an answer of an action that changes or tells something, as people write it.
type saidOfChange struct {
	Outputs    map[string]any
	Tags       map[string]string
	Impact     []string
	Population int
	Before     any
	After      any
	Calls      []string
	Summary    string
	Noop       bool
	Later      *later
}

// holder holds the tests of a file against a playbook and the actions that there are.
type holder struct {
	suite   *Suite
	book    *playbook.Playbook
	actions map[string]action.Action
	steps   map[string]string // of the playbook and those that it calls: what action each uses, "" for none
	errs    []error
}

func newHolder(s *Suite, book *playbook.Playbook, actions []action.Action) *holder {
	h := &holder{suite: s, book: book, actions: map[string]action.Action{}, steps: map[string]string{}}
	for _, a := range actions {
		h.actions[a.Spec().Name] = a
	}
	h.know(book, map[string]bool{})
	return h
}

func (h *holder) know(book *playbook.Playbook, seen map[string]bool) {
	if seen[book.Name] {
		return
	}
	seen[book.Name] = true
	book.Walk(func(step *playbook.Step) {
		if h.steps[step.ID] == "" {
			h.steps[step.ID] = step.Action
		}
		if step.Calls != nil {
			h.know(step.Calls, seen)
		}
	})
}

func (h *holder) fail(t *Test, key, format string, args ...any) {
	h.errs = append(h.errs, h.suite.mistake(t, key, format, args...))
}

// hold checks a test and makes what it says ready to be used.
func (h *holder) hold(t *Test) *held {
	one := &held{Test: t, book: h.book, answers: map[string]*answer{}}
	one.things, one.after = h.things(t, "world", t.World, true), h.things(t, "expect.after", t.Expect.After, false)
	for _, name := range slices.Sorted(maps.Keys(t.Answers)) {
		if said := h.answer(t, name, t.Answers[name]); said != nil {
			one.answers[name] = said
		}
	}
	h.named(t)
	if t.Inputs != nil && len(h.book.Findings) > 0 {
		h.fail(t, "inputs", "this playbook is started by findings; inputs are for one that others call")
	}
	if t.Inputs == nil && len(h.book.Findings) == 0 {
		h.fail(t, "", "this playbook is called by others: give it inputs in place of a finding (an empty mapping where it takes none)")
	}
	var err error
	if one.raws, err = t.raw(); err != nil {
		h.fail(t, "", "%s", err)
	}
	return one
}

// named checks the names of steps wherever a test has one.
func (h *holder) named(t *Test) {
	for i, a := range t.Approvals {
		h.step(t, document.At("approvals", i)+".step", a.Step)
	}
	for i, f := range t.Faults {
		at := document.At("faults", i)
		h.step(t, at+".step", f.Step)
		h.fits(t, at, f)
	}
	for _, id := range slices.Sorted(maps.Keys(t.Expect.Steps)) {
		h.step(t, document.Under("expect.steps", id), id)
		h.state(t, document.Under("expect.steps", id), t.Expect.Steps[id])
	}
	for i, a := range t.Expect.Asks {
		h.step(t, document.At("expect.asks", i)+".step", a.Step)
		for n, id := range a.Plans {
			h.step(t, document.At(document.At("expect.asks", i)+".plans", n), id)
		}
	}
}

// fits refuses faults that can't be.
func (h *holder) fits(t *Test, at string, f failure) {
	switch {
	case f.Kind == moved && f.Phase != applying && f.Phase != undoes:
		h.fail(t, at+".phase", "somebody moves a target between plan and apply, or before it is undone: phase is apply or undo")
	case f.Kind == notHeld && f.Phase != verifying:
		h.fail(t, at+".phase", "what does not hold is seen when it is read back: phase is verify")
	case f.Kind == lostAnswer && f.Phase != applying && f.Phase != undoes:
		h.fail(t, at+".phase", "an answer is lost of what changes something: phase is apply or undo")
	case f.To != nil && f.Kind != moved:
		h.fail(t, at+".to", "only a target that somebody moved has a state that it moved to")
	case f.To != nil:
		name := h.steps[plain(f.Step)]
		if simulable, ok := h.actions[name].(action.Simulable); ok {
			h.encode(t, at+".to", simulable.Blank(), f.To)
		} else {
			h.fail(t, at+".to", "the states of %s aren't known: leave it out", name)
		}
	}
}

var states = []run.StepState{ //nolint:gochecknoglobals // a constant list
	run.Asked, run.Planned, run.Begun, run.Awaited, run.Intended, run.Done, run.Skipped, run.Stopped, run.Broken, run.Undone, never,
}

// never is what a test calls the state of a step that the run never came to.
const never run.StepState = "none"

func (h *holder) state(t *Test, at, text string) {
	var known []string
	for _, s := range states {
		known = append(known, string(s))
	}
	if !slices.Contains(known, text) {
		h.fail(t, at, "%q is no state of a step; there are %s", text, strings.Join(known, ", "))
	}
}

func (h *holder) step(t *Test, at, id string) {
	if _, known := h.steps[plain(id)]; !known {
		h.unknown(t, at, "step of the playbook", id, slices.Sorted(maps.Keys(h.steps)))
	}
}

func (h *holder) unknown(t *Test, at, what, name string, known []string) {
	if near := document.Suggest(name, known); near != "" {
		h.fail(t, at, "%q is no %s; did you mean %q?", name, what, near)
		return
	}
	h.fail(t, at, "%q is no %s; there are %s", name, what, strings.Join(known, ", "))
}

// things reads states of targets, each as its action knows it. Where whole is false they need not be whole.
func (h *holder) things(t *Test, key string, world map[string]map[string]any, whole bool) map[thing]json.RawMessage {
	read := map[thing]json.RawMessage{}
	for _, does := range slices.Sorted(maps.Keys(world)) {
		at := document.Under(key, does)
		genuine, known := h.actions[does]
		simulable, sets := genuine.(action.Simulable)
		switch {
		case !known:
			h.unknown(t, at, "action", does, slices.Sorted(maps.Keys(h.actions)))
			continue
		case !sets:
			h.fail(t, at, "%s sets no state that is known here: say under answers what it does", does)
			continue
		}
		for _, target := range slices.Sorted(maps.Keys(world[does])) {
			below := document.Under(at, target)
			text, ok := h.encode(t, below, simulable.Blank(), world[does][target])
			if ok && whole {
				read[thing{does, target}] = text
			} else if ok {
				partial, _ := json.Marshal(world[does][target]) //nolint:errchkjson // it was encoded just now
				read[thing{does, target}] = partial
			}
		}
	}
	return read
}

// encode reads what a test says of a state into the state's own type, and gives it as the action keeps it.
func (h *holder) encode(t *Test, at string, into, said any) (json.RawMessage, bool) {
	before := len(h.errs)
	said = h.strict(t, at, reflect.TypeOf(into).Elem(), said)
	if len(h.errs) > before {
		return nil, false
	}
	text, err := json.Marshal(said)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is {
		h.fail(t, strings.TrimSuffix(at+"."+wrong.Field, "."), "is a %s, not a %s", wrong.Value, wrong.Type.Kind())
		return nil, false
	}
	if err == nil {
		text, err = json.Marshal(into)
	}
	if err != nil {
		h.fail(t, at, "%s", err)
	}
	return text, err == nil
}

var rawMessage = reflect.TypeFor[json.RawMessage]()

// strict finds the keys that a state doesn't have. It gives the value, with texts of JSON where JSON is kept.
func (h *holder) strict(t *Test, at string, of reflect.Type, said any) any {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of == rawMessage {
		if text, is := said.(string); is && json.Valid([]byte(text)) {
			var compact bytes.Buffer
			if json.Compact(&compact, []byte(text)) == nil {
				return json.RawMessage(compact.Bytes())
			}
		}
		return said
	}
	switch value := said.(type) {
	case map[string]any:
		if of.Kind() != reflect.Struct {
			return said
		}
		fields := jsonFields(of)
		made := make(map[string]any, len(value))
		for _, name := range slices.Sorted(maps.Keys(value)) {
			below := document.Under(at, name)
			if field, known := fields[name]; known {
				made[name] = h.strict(t, below, field, value[name])
			} else {
				h.unknown(t, below, "part of this state", name, slices.Sorted(maps.Keys(fields)))
			}
		}
		return made
	case []any:
		if of.Kind() != reflect.Slice {
			return said
		}
		made := make([]any, 0, len(value))
		for i, item := range value {
			made = append(made, h.strict(t, document.At(at, i), of.Elem(), item))
		}
		return made
	}
	return said
}

func jsonFields(of reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case !field.IsExported() || name == "-":
		case name == "":
			fields[field.Name] = field.Type
		default:
			fields[name] = field.Type
		}
	}
	return fields
}

// answer reads what a test says of a step or an action.
func (h *holder) answer(t *Test, name string, said said) *answer {
	at := document.Under("answers", name)
	does := name
	if _, isAction := h.actions[name]; !isAction {
		used, isStep := h.steps[plain(name)]
		if !isStep {
			known := append(slices.Sorted(maps.Keys(h.steps)), slices.Sorted(maps.Keys(h.actions))...)
			h.unknown(t, at, "step of the playbook and no action", name, known)
			return nil
		}
		if does = used; does == "" {
			h.fail(t, at, "step %s uses no action that could answer", name)
			return nil
		}
	}
	genuine, known := h.actions[does]
	if !known {
		return nil // the playbook's own mistake
	}
	if genuine.Spec().Effect == action.Read {
		var outputs any
		if said.given {
			if err := said.node.Decode(&outputs); err != nil {
				h.errs = append(h.errs, err)
				return nil
			}
		}
		return h.reading(t, at, genuine.Spec(), outputs)
	}
	return h.change(t, at, genuine, said)
}

// reading is the answer of an action that reads: its outputs, or a list of them, one for each time.
func (h *holder) reading(t *Test, at string, spec action.Spec, said any) *answer {
	list, several := said.([]any)
	if !several {
		list = []any{said}
	}
	var a answer
	for i, one := range list {
		below := at
		if several {
			below = document.At(at, i)
		}
		outputs, is := one.(map[string]any)
		if !is && one != nil {
			h.fail(t, below, "the outputs of %s, by name", spec.Name)
			continue
		}
		h.outputs(t, below, spec, outputs)
		a.outputs = append(a.outputs, outputs)
	}
	return &a
}

// outputs checks the names and types of outputs.
func (h *holder) outputs(t *Test, at string, spec action.Spec, given map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		i := slices.IndexFunc(spec.Outputs, func(o action.Output) bool { return o.Name == name })
		below := document.Under(at, name)
		if i < 0 {
			h.unknown(t, below, "output of "+spec.Name, name, names(spec.Outputs))
			continue
		}
		if want := spec.Outputs[i].Type; !isOf(want, given[name]) {
			h.fail(t, below, "is not of the type %s", want)
		}
	}
}

func isOf(want action.Type, value any) bool {
	switch want {
	case action.Int:
		_, is := value.(int)
		_, too := value.(int64)
		return is || too
	case action.Bool:
		_, is := value.(bool)
		return is
	case action.Strings:
		_, is := value.([]any)
		return is
	case action.Object:
		_, is := value.(map[string]any)
		return is
	case action.String, action.Duration, action.Time:
		_, is := value.(string)
		return is
	}
	return true
}

// change is the answer of an action that changes or tells something.
func (h *holder) change(t *Test, at string, genuine action.Action, said said) *answer {
	var w saidOfChange
	if said.given {
		if err := said.node.Decode(&w); err != nil {
			h.errs = append(h.errs, err)
			return nil
		}
	}
	spec := genuine.Spec()
	if _, sets := genuine.(action.Simulable); sets {
		for _, key := range []struct {
			name string
			is   bool
		}{{"before", w.Before != nil}, {"after", w.After != nil}, {"calls", w.Calls != nil}, {"summary", w.Summary != ""}, {"noop", w.Noop}} {
			if key.is {
				h.fail(t, document.Under(at, key.name), "%s knows that itself, from its state in world", spec.Name)
			}
		}
	}
	if _, waits := genuine.(action.Awaiter); w.Later != nil && !waits {
		h.fail(t, at+".later", "%s has no result that comes later", spec.Name)
	}
	h.outputs(t, at+".outputs", spec, w.Outputs)
	a := &answer{
		tags: w.Tags, impact: w.Impact, population: w.Population, calls: w.Calls, summary: w.Summary, noop: w.Noop, later: w.Later,
	}
	if w.Outputs != nil {
		a.outputs = []map[string]any{w.Outputs}
	}
	if w.Later != nil {
		h.outputs(t, at+".later.outputs", spec, w.Later.Outputs)
	}
	for _, state := range []struct {
		said any
		into *json.RawMessage
	}{{w.Before, &a.before}, {w.After, &a.after}} {
		if state.said == nil {
			continue
		}
		text, err := json.Marshal(state.said)
		if err != nil {
			h.errs = append(h.errs, fmt.Errorf("encode state: %w", err))
		}
		*state.into = text
	}
	return a
}
