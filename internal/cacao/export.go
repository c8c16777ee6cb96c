package cacao

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playbook"
)

// About is what a file says of a playbook that the playbook doesn't say itself.
type About struct {
	Actions  []action.Spec
	Time     time.Time // when the playbook was written
	Severity int       // of what it answers: 1 to 100; 0 where nobody knows
	Labels   []string
}

// entry is a mapping as people write it.
type entry = map[string]any

// extra is what a step's extension says: our step without those within, and what ties it to CACAO's.
type extra struct {
	Step  entry       `json:"step"`            // nil for a guard
	Guard bool        `json:"guard,omitempty"` // the step is there for the condition, or the failure, of the one within
	Cases []extraCase `json:"cases,omitempty"`
}

// extraCase ties a case of ours to the key of one of its ways.
type extraCase struct {
	Is  any    `json:"is"`
	Key string `json:"key"`
}

// Export writes a playbook as CACAO. What CACAO can't say is in an extension: who reads the file again with Import
// has the same playbook, and other tools have its steps, branches and conditions, and what to do by hand.
func Export(p *playbook.Playbook, about About) (*File, error) {
	doc, err := document.Parse(p.File, p.Source)
	if err != nil {
		return nil, err
	}
	var written entry
	if err := doc.Decode(&written); err != nil {
		return nil, err
	}
	us, at := identifier("identity", "riposte"), about.Time.UTC().Format("2006-01-02T15:04:05.000Z")
	e := &exporter{book: p, about: about, file: &File{
		Type: "playbook", SpecVersion: version, ID: identifier("playbook", p.Name), Name: p.Name,
		Description: strings.TrimSpace(p.Summary + "\n\n" + p.Description), CreatedBy: us, Created: at, Modified: at,
		Severity: about.Severity, Labels: about.Labels, Workflow: map[string]*Step{}, Variables: map[string]Variable{},
		Agents: map[string]Party{}, Targets: map[string]Party{},
		Definitions: map[string]Definition{extension: {
			Type: "extension-definition", Name: "riposte", CreatedBy: us, Version: "1",
			Schema:      "https://github.com/riposte-sec/riposte/blob/main/docs/cacao.md",
			Description: "A playbook's steps as Riposte writes them: its action or question, parameters, retries.",
		}},
	}}
	e.variables()
	e.head(written)
	return e.file, e.file.Check()
}

type exporter struct {
	book  *playbook.Playbook
	about About
	file  *File
}

// head writes all but the steps.
func (e *exporter) head(written entry) {
	e.file.Types = e.types()
	end := e.end("")
	next := end
	if last := list(written["finally"]); len(last) > 0 {
		next = e.chain("finally", last, end)
		e.file.Exception = next
	}
	first := e.chain("steps", list(written["steps"]), next)
	e.file.Start = e.add(startStep, "", &Step{Name: "start", OnCompletion: first})
	head := maps.Clone(written)
	delete(head, "steps")
	delete(head, "finally")
	e.file.Extensions = map[string]json.RawMessage{extension: packed(head)}
}

// types tells what a playbook is for by what its actions do.
func (e *exporter) types() []string {
	var types []string
	for _, name := range e.book.Uses() {
		switch e.spec(name).Effect {
		case action.Read:
			types = append(types, "investigation")
		case action.Notify:
			types = append(types, "notification")
		case action.Contain, action.Destroy:
			types = append(types, "mitigation")
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func (e *exporter) spec(name string) action.Spec {
	at := slices.IndexFunc(e.about.Actions, func(s action.Spec) bool { return s.Name == name })
	if at < 0 {
		return action.Spec{Name: name}
	}
	return e.about.Actions[at]
}

// variables names what the playbook reads of the finding and takes from its caller.
func (e *exporter) variables() {
	fields := expr.FindingFields()
	read := func(paths [][]string) {
		for _, path := range paths {
			if len(path) > 1 && path[0] == string(expr.Finding) {
				e.file.Variables[variable(path[:2]...)] = Variable{Type: findingType(path[1], fields[path[1]]), Description: "of the finding", External: true}
			}
		}
	}
	if e.book.If != nil {
		read(e.book.If.Paths())
	}
	e.book.Walk(func(s *playbook.Step) {
		if s.If != nil {
			read(s.If.Paths())
		}
		for _, arg := range s.With {
			if arg.Value.Template != nil {
				read(arg.Value.Template.Paths())
			}
		}
	})
	for _, input := range e.book.Inputs {
		e.file.Variables[variable("inputs", input.Name)] = Variable{Type: variableType(input.Type), Description: input.Doc, External: true}
	}
}

// variable is the name in CACAO of what an expression reads.
func variable(path ...string) string {
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			return c
		}
		return '_'
	}, strings.Join(path, "_"))
	const longest = 190
	return "__" + name[:min(len(name), longest)] + "__"
}

func findingType(name string, of expr.Type) string {
	if name == "ip" {
		return "ipv4-addr"
	}
	switch of.String() {
	case expr.Number.String():
		return "integer"
	case expr.Truth.String():
		return "bool"
	}
	return "string"
}

func variableType(t action.Type) string {
	switch t {
	case action.Int:
		return "integer"
	case action.Bool:
		return "bool"
	case action.Object:
		return "dictionary"
	default:
		return "string"
	}
}

// add puts a step into the workflow, under a name that is the same each time.
func (e *exporter) add(kind, path string, s *Step) string {
	id := identifier(kind, e.book.Name, path)
	s.Type = kind
	e.file.Workflow[id] = s
	return id
}

func (e *exporter) end(path string) string { return e.add(endStep, path, &Step{Name: "end"}) }

// chain writes steps one after the other, and gives the first; next comes after the last.
func (e *exporter) chain(path string, steps []any, next string) string {
	for i, one := range slices.Backward(steps) {
		if written, is := one.(entry); is {
			next = e.step(document.At(path, i), written, next)
		}
	}
	return next
}

// branch is a chain with an end of its own.
func (e *exporter) branch(path string, steps []any) string {
	return e.chain(path, steps, e.end(path))
}

// step writes one step. One that is skipped by a condition, or whose failure isn't the run's, is within a step of its
// own: whatever happens within, the way goes on after it.
func (e *exporter) step(path string, written entry, next string) string {
	handler := list(written["on_error"])
	caught := len(handler) > 0 || written["on_error"] == "continue"
	group := list(written["steps"]) != nil && written["foreach"] == nil
	condition := text(written["if"])
	guarded := caught || condition != "" && !group
	after := next
	if guarded {
		after = e.end(path + ".guard")
	}
	s := &Step{Name: text(written["id"]), Description: text(written["summary"]), OnCompletion: after}
	if caught {
		s.OnCompletion, s.OnSuccess = "", after
		s.OnFailure = e.branch(path+".on_error", handler)
	}
	own := maps.Clone(written)
	for _, key := range []string{"steps", "parallel", "cases", "else"} {
		delete(own, key)
	}
	if len(handler) > 0 {
		delete(own, "on_error")
	}
	more := extra{Step: own}
	kind := e.does(path, written, s, &more)
	s.Extensions = map[string]json.RawMessage{extension: packed(more)}
	id := e.add(kind, path, s)
	if !guarded {
		return id
	}
	if condition == "" || group {
		condition = "true"
	}
	return e.add(ifStep, path+".guard", &Step{
		Name: s.Name, Condition: condition, OnTrue: id, OnCompletion: next,
		Extensions: map[string]json.RawMessage{extension: packed(extra{Guard: true})},
	})
}

// does writes what a step does, and gives its type.
func (e *exporter) does(path string, written entry, s *Step, more *extra) string {
	switch {
	case written["call"] != nil:
		s.PlaybookID = identifier("playbook", text(written["call"]))
		s.In = e.reads(written["with"])
		return callStep
	case list(written["parallel"]) != nil:
		for i, one := range list(written["parallel"]) {
			at := document.At(path+".parallel", i)
			s.Next = append(s.Next, e.branch(at+".branch", []any{one}))
		}
		if len(s.Next) == 1 { // one is none for CACAO
			s.Next = append(s.Next, e.end(path+".parallel"))
		}
		return parallelStep
	case written["foreach"] != nil:
		loop, _ := written["foreach"].(entry)
		s.Condition = "there are more of: " + text(loop["in"])
		s.OnTrue = e.branch(path+".steps", list(written["steps"]))
		return whileStep
	case written["switch"] != nil:
		e.cases(path, written, s, more)
		return switchStep
	case list(written["steps"]) != nil:
		s.Condition = text(written["if"])
		if s.Condition == "" {
			s.Condition = "true"
		}
		s.OnTrue = e.branch(path+".steps", list(written["steps"]))
		if other := list(written["else"]); len(other) > 0 {
			s.OnFalse = e.branch(path+".else", other)
		}
		return ifStep
	}
	e.command(written, s)
	return actionStep
}

func (e *exporter) cases(path string, written entry, s *Step, more *extra) {
	s.Switch, s.Cases = text(written["switch"]), map[string]string{}
	for i, one := range list(written["cases"]) {
		of, _ := one.(entry)
		at := document.At(path+".cases", i)
		to := e.branch(at, list(of["steps"]))
		values := list(of["is"])
		if values == nil {
			values = []any{of["is"]}
		}
		first := ""
		for _, value := range append(values, fmt.Sprintf("case %d", i+1)) {
			key := bounded(fmt.Sprint(value), 200)
			if _, taken := s.Cases[key]; taken || key == otherwise || key == "" {
				continue
			}
			if first != "" && value == any(fmt.Sprintf("case %d", i+1)) {
				continue // it has a key already
			}
			s.Cases[key] = to
			if first == "" {
				first = key
			}
		}
		more.Cases = append(more.Cases, extraCase{Is: of["is"], Key: first})
	}
	if other := list(written["else"]); len(other) > 0 {
		s.Cases[otherwise] = e.branch(path+".else", other)
	}
}

// command says what a person would do in the place of Riposte, or asks that person.
func (e *exporter) command(written entry, s *Step) {
	var said string
	s.Agent = e.party(e.file.Agents, "security-category", Party{Name: "Riposte", Category: []string{"orchestrator"}})
	switch {
	case written["use"] != nil:
		spec := e.spec(text(written["use"]))
		said = strings.TrimSuffix(fmt.Sprintf("Use the action %s with %s", spec.Name, packed(written["with"])), " with null")
		s.In = e.reads(written["with"])
		if provider, _, is := strings.Cut(spec.Name, "."); is && spec.Effect != action.Notify {
			s.Targets = []string{e.party(e.file.Targets, "security-category", Party{Name: provider, Category: []string{"server"}, Description: "The account that the finding is about."})}
		}
		e.outputs(written, spec, s)
	case written["approve"] != nil:
		said = "Decide whether to go on: "
		ask, _ := written["approve"].(entry)
		roles := list(ask["by"])
		if len(roles) == 0 {
			roles = []any{"incident_analyst"}
		}
		for i, role := range roles {
			group := e.party(e.file.Agents, "group", Party{Name: text(role), Description: "Who has this role in Riposte."})
			if i == 0 {
				s.Agent = group
			}
			s.Targets = append(s.Targets, group)
		}
		said += string(packed(ask))
		if within, err := time.ParseDuration(text(ask["within"])); err == nil {
			s.Timeout = within.Milliseconds()
		}
	case written["wait"] != nil:
		said = "Wait: " + string(packed(written["wait"]))
	case written["set"] != nil:
		said = "Note: " + string(packed(written["set"]))
	default:
		said = "End this: " + text(written["fail"])
	}
	s.Commands = []Command{{Type: "manual", Command: said, Description: text(written["summary"])}}
}

// reads lists the variables that values read.
func (e *exporter) reads(with any) []string {
	var names []string
	for name := range e.file.Variables {
		path := strings.Trim(name, "_")
		for _, start := range []string{"finding", "inputs"} {
			if field, is := strings.CutPrefix(path, start+"_"); is && strings.Contains(string(packed(with)), start+"."+field) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (e *exporter) outputs(written entry, spec action.Spec, s *Step) {
	for _, out := range spec.Outputs {
		if id := text(written["id"]); id != "" {
			name := variable("steps", id, out.Name)
			s.Out = append(s.Out, name)
			if s.Variables == nil {
				s.Variables = map[string]Variable{}
			}
			s.Variables[name] = Variable{Type: variableType(out.Type), Description: out.Doc}
		}
	}
}

func (e *exporter) party(all map[string]Party, kind string, p Party) string {
	id := identifier(kind, p.Name)
	p.Type = kind
	all[id] = p
	return id
}

func list(v any) []any {
	all, _ := v.([]any)
	return all
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// packed is a value as JSON, in which 1.0 stays what it is.
func packed(v any) json.RawMessage {
	switch v := v.(type) {
	case extra:
		v.Step, _ = exact(v.Step).(entry)
		for i := range v.Cases {
			v.Cases[i].Is = exact(v.Cases[i].Is)
		}
		return marshaled(v)
	default:
		return marshaled(exact(v))
	}
}

func marshaled(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fault.New(fault.Invalid, "what was read from a document is no JSON: %v", err))
	}
	return text
}

func exact(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return json.Number(fmt.Sprintf("%.1f", v))
		}
	case []any:
		all := make([]any, 0, len(v))
		for _, one := range v {
			all = append(all, exact(one))
		}
		return all
	case entry:
		if v == nil {
			return nil
		}
		all := make(entry, len(v))
		for key, one := range v {
			all[key] = exact(one)
		}
		return all
	}
	return v
}
