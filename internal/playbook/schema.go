package playbook

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/run"
)

// shape is a JSON Schema, or a part of one.
type shape = map[string]any

const (
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	templatePattern = `\{\{`
)

// Schema writes the JSON Schema (2020-12) of the files that Parse reads, for editors: made from the types they are
// read into and the installation's actions. It says what a file looks like. What Check says about names, types of
// expressions and order is beyond it.
func Schema(in Installation) ([]byte, error) {
	s := &schemer{in: in, defs: shape{
		"duration": shape{"type": "string", "pattern": durationPattern, "description": "A time such as 90s, 15m or 1h30m."},
		"template": shape{"type": "string", "pattern": templatePattern, "description": "A text with expressions in double braces."},
	}}
	root := s.of(reflect.TypeFor[written](), "")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Riposte playbook"
	root["$defs"] = s.defs
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema of playbooks: %w", err)
	}
	return append(text, '\n'), nil
}

type schemer struct {
	in   Installation
	defs shape
}

// of gives the shape of what is read into a type. Place names it in the tables below.
func (s *schemer) of(t reflect.Type, place string) shape {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return shape{"$ref": "#/$defs/duration"}
	case reflect.TypeFor[writtenStep]():
		if s.defs["step"] == nil {
			s.defs["step"] = shape{} // it holds itself
			s.defs["step"] = s.step(s.object(t, "step"))
		}
		return shape{"$ref": "#/$defs/step"}
	case reflect.TypeFor[writtenWait]():
		return shape{"anyOf": []shape{{"$ref": "#/$defs/duration"}, s.uses(s.object(t, "wait"))}}
	case reflect.TypeFor[writtenOnError]():
		return shape{"anyOf": []shape{{"enum": []OnError{FailRun, Continue}}, {"type": "array", "items": s.of(reflect.TypeFor[writtenStep](), "")}}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem(), place)
	case reflect.Struct:
		return s.object(t, place)
	case reflect.Slice:
		return shape{"type": "array", "items": s.of(t.Elem(), place)}
	case reflect.Map:
		return shape{"type": "object", "additionalProperties": s.of(t.Elem(), place)}
	case reflect.String:
		return shape{"type": []string{"string", "number", "boolean"}} // YAML's words without quotes
	case reflect.Int:
		return shape{"type": "integer"}
	case reflect.Float64:
		return shape{"type": "number"}
	case reflect.Bool:
		return shape{"type": "boolean"}
	default:
		return shape{}
	}
}

// object gives the shape of a struct: its keys, what is known of each, and which there must be.
func (s *schemer) object(t reflect.Type, place string) shape {
	keys := shape{}
	for field := range t.Fields() {
		key := field.Tag.Get("yaml")
		if key == "-" {
			continue
		}
		at := strings.TrimPrefix(place+"."+key, ".")
		one := s.of(field.Type, at)
		if doc := keyDocs[at]; doc != "" {
			one["description"] = doc
		}
		s.refine(at, one)
		keys[key] = one
	}
	object := shape{"type": "object", "properties": keys, "additionalProperties": false}
	maps.Copy(object, objectRules[place])
	return object
}

// refine adds what the parser and the check ask of a key beyond its type.
func (s *schemer) refine(at string, one shape) {
	maps.Copy(one, keyRules[at])
	switch at {
	case "step.use":
		s.enum(one, s.actions(func(action.Effect) bool { return true }))
	case "wait.use":
		s.enum(one, s.actions(func(e action.Effect) bool { return e == action.Read }))
	case "allow_destroy":
		s.items(one, s.actions(func(e action.Effect) bool { return e == action.Destroy }))
	case "step.approve.by", "step.approve.escalate.by":
		s.items(one, named(s.in.Roles))
	case "step.approve.escalate.on_call":
		s.enum(one, named(s.in.Rotations))
	}
}

// enum bounds a text to names, each with what it is. None are no bound.
func (s *schemer) enum(one shape, of []shape) {
	if len(of) > 0 {
		one["type"], one["anyOf"] = "string", of
	}
}

func (s *schemer) items(list shape, of []shape) {
	if item, is := list["items"].(shape); is {
		s.enum(item, of)
	}
}

func named(names []string) []shape {
	all := make([]shape, 0, len(names))
	for _, name := range names {
		all = append(all, shape{"const": name})
	}
	return all
}

// actions lists those of some effects, by name.
func (s *schemer) actions(of func(action.Effect) bool) []shape {
	var all []shape
	for _, spec := range s.specs() {
		if of(spec.Effect) {
			all = append(all, shape{"const": spec.Name, "description": fmt.Sprintf("%s (%s)", spec.Summary, spec.Effect)})
		}
	}
	return all
}

func (s *schemer) specs() []action.Spec {
	return slices.SortedFunc(slices.Values(s.in.Actions), func(a, b action.Spec) int { return compare(a.Name, b.Name) })
}

// step adds to the shape of a step that it does one thing, and which keys go with what.
func (s *schemer) step(object shape) shape {
	var one []shape
	for _, kind := range []Kind{Use, Ask, Wait, Set, Fail, Call, Parallel, ForEach, Switch} {
		one = append(one, shape{"required": []string{string(kind)}})
	}
	one = append(one, shape{"required": []string{string(Group)}, "not": shape{"required": []string{string(ForEach)}}})
	object["oneOf"] = one
	beside := shape{}
	for _, rule := range goesWith {
		var kinds []shape
		for _, kind := range rule.kinds {
			kinds = append(kinds, shape{"required": []string{string(kind)}})
		}
		beside[rule.key] = shape{"anyOf": kinds}
	}
	object["dependentSchemas"] = beside
	return s.uses(object)
}

// uses adds the parameters of each action to what may use one.
func (s *schemer) uses(object shape) shape {
	var all []shape
	for _, spec := range s.specs() {
		name := "with:" + spec.Name
		s.defs[name] = arguments(spec)
		then := shape{"properties": shape{"with": shape{"$ref": "#/$defs/" + name}}}
		if slices.ContainsFunc(spec.Params, func(p action.Param) bool { return p.Required }) {
			then["required"] = []string{"with"}
		}
		all = append(all, shape{
			"if":   shape{"properties": shape{"use": shape{"const": spec.Name}}, "required": []string{"use"}},
			"then": then,
		})
	}
	if len(all) > 0 {
		object["allOf"] = all
	}
	return object
}

// arguments is the shape of an action's parameters.
func arguments(spec action.Spec) shape {
	params := shape{}
	required := []string{}
	for _, p := range spec.Params {
		params[p.Name] = argument(p)
		if p.Required {
			required = append(required, p.Name)
		}
	}
	for _, where := range []string{"account", "region"} {
		if !spec.Takes(where) {
			params[where] = shape{"type": "string", "minLength": 1, "description": "Where to act, if it isn't where the finding is."}
		}
	}
	return shape{"type": "object", "properties": params, "required": required, "additionalProperties": false}
}

// argument is the shape of one parameter: a value of its type, or a template that gives one.
func argument(p action.Param) shape {
	var value shape
	switch p.Type {
	case action.Int:
		value = shape{"type": "integer"}
	case action.Bool:
		value = shape{"type": "boolean"}
	case action.Duration:
		value = shape{"type": "string"} // the parameter's own bounds are the action's
	case action.Strings:
		value = shape{"type": "array", "items": shape{"type": "string"}}
	case action.Object:
		value = shape{"type": "object"}
	default:
		value = shape{"type": "string"}
	}
	if len(p.Enum) > 0 {
		value["enum"] = p.Enum
	}
	if p.Required && value["type"] == "string" {
		value["minLength"] = 1
	}
	choice := []shape{value, {"$ref": "#/$defs/template"}}
	if !p.Required {
		choice = append(choice, shape{"type": "null"})
	}
	one := shape{"anyOf": choice}
	if p.Doc != "" {
		one["description"] = p.Doc
	}
	if p.Default != nil {
		one["default"] = p.Default
	}
	return one
}

// objectRules say of places which keys there must be.
var objectRules = map[string]shape{ //nolint:gochecknoglobals // a constant table
	"": {
		"required": []string{"playbook", "summary", "autonomy", "steps"},
		"anyOf":    []shape{{"required": []string{"on"}}, {"required": []string{"inputs"}}},
	},
	"step": {"dependentRequired": shape{string(ForEach): []string{"steps"}, string(Switch): []string{"cases"}}},
	"step.approve": {
		"dependentRequired": shape{"otherwise": []string{"within"}},
	},
	"step.approve.escalate": {"required": []string{"after"}},
	"step.foreach":          {"required": []string{"in", "as", "at_most"}},
	"step.cases":            {"required": []string{"is"}},
	"wait":                  {"required": []string{"until", "within"}, "dependentRequired": shape{"with": []string{"use"}}},
	"inputs":                {"required": []string{"type"}, "not": shape{"required": []string{"default", "required"}, "properties": shape{"required": shape{"const": true}}}},
}

// keyRules are the bounds and words of keys.
var keyRules = map[string]shape{ //nolint:gochecknoglobals // a constant table
	"playbook":                {"type": "string", "pattern": identifier.String()},
	"on.findings":             {"minItems": 1, "items": shape{"type": "string", "minLength": 1}},
	"autonomy":                {"type": "string", "enum": []run.Autonomy{run.Observe, run.Approve, run.Auto}},
	"on_false_positive":       {"type": "string", "enum": []OnFalsePositive{UndoChanges, KeepChanges}},
	"limits.per_hour":         {"minimum": 0},
	"limits.per_account_hour": {"minimum": 0}, "limits.distinct_accounts": {"minimum": 0}, "limits.distinct_targets": {"minimum": 0},
	"limits.percent":         {"minimum": 0, "maximum": 100},
	"inputs":                 {"propertyNames": shape{"pattern": variable.String()}},
	"inputs.type":            {"type": "string", "enum": inputTypes},
	"steps":                  {"minItems": 1, "maxItems": mostSteps},
	"step.id":                {"type": "string", "pattern": identifier.String()},
	"step.parallel":          {"minItems": 1, "maxItems": mostBranches},
	"step.steps":             {"minItems": 1},
	"step.cases":             {"minItems": 1},
	"step.cases.is":          {"type": []string{"string", "number", "boolean", "array"}},
	"step.set":               {"minProperties": 1, "propertyNames": shape{"pattern": variable.String()}},
	"step.foreach.as":        {"type": "string", "pattern": variable.String()},
	"step.foreach.at_most":   {"minimum": 1, "maximum": mostTurns},
	"step.foreach.at_once":   {"minimum": 0, "maximum": mostBranches},
	"step.retry.times":       {"minimum": 0, "maximum": mostRetries},
	"step.approve.quorum":    {"minimum": 0, "maximum": 10},
	"step.approve.otherwise": {"type": "string", "enum": []run.Otherwise{run.OtherwiseDeny, run.OtherwiseEscalate, run.OtherwiseProceed}},
	"wait.otherwise":         {"type": "string", "enum": []OnError{FailRun, Continue}},
}

// keyDocs are what an editor shows of keys.
var keyDocs = map[string]string{ //nolint:gochecknoglobals // a constant table
	"playbook": "Its name: lower-case letters, digits, - and _.", "summary": "One sentence about what it does.",
	"description": "At length, for who reads it at night: the expected outcome, how to recover.",
	"on":          "When it applies.", "on.findings": "Finding types that it answers; * stands for any run of characters.",
	"on.if":                   "A condition (CEL) on the finding and its incident.",
	"autonomy":                "observe plans only; approve asks before each change; auto asks only before what can't be undone.",
	"limits":                  "How much its runs may change within an hour; 0 is no limit.",
	"limits.per_hour":         "Applied changes.",
	"limits.per_account_hour": "Applied changes in one account.", "limits.distinct_accounts": "Accounts that are touched.",
	"limits.distinct_targets": "Targets that are touched.", "limits.percent": "Targets in percent of those of their kind at their place.",
	"allow_destroy":     "Actions without undo that need no person, where autonomy and ceiling are auto.",
	"on_false_positive": "undo takes the changes back when the incident is closed as a false positive.",
	"inputs":            "What it takes where other playbooks call it, read as inputs.<name>.",
	"inputs.type":       "The type of the value.", "inputs.required": "Whether a caller has to give it.",
	"inputs.default": "The value where a caller gives none.", "inputs.description": "What it is, for people.",
	"steps":   "One after the other.",
	"finally": "Steps that come however the others ended.",

	"step.id": "Its name, as other steps read it.", "step.summary": "A sentence for people.",
	"step.if": "A condition (CEL); where it is false, the step is skipped.", "step.use": "An action.",
	"step.with":             "Parameters of the action, or inputs of the called playbook. Values may be templates.",
	"step.approve":          "A question to people: go on with what comes next, or not.",
	"step.approve.by":       "Roles, any of which may answer.",
	"step.approve.quorum":   "How many different people must say yes.",
	"step.approve.within":   "How long there is to answer.",
	"step.approve.escalate": "Whom the question goes to when it has stood for a while.", "step.approve.otherwise": "What happens when nobody answered in time.",
	"step.approve.escalate.after":   "Counted from the question.",
	"step.approve.escalate.by":      "Further roles that may answer.",
	"step.approve.escalate.channel": "The channel that is told.", "step.approve.escalate.on_call": "The rotation whose person is told.",
	"step.wait":     "A time, or a condition with how to look.",
	"step.set":      "Names for values, read as vars.<name>. Values may be templates.",
	"step.fail":     "Ends what it stands in badly, and says why.",
	"step.call":     "The name of a playbook whose steps are carried out.",
	"step.steps":    "Steps one after the other: of this group, or of each turn of foreach.",
	"step.parallel": "Steps at once.", "step.foreach": "The steps are carried out for each item of a list.",
	"step.foreach.in": "An expression (CEL) that gives a list.", "step.foreach.as": "The item at hand, as vars.<name>.",
	"step.foreach.at_most": "A longer list fails before the first turn.", "step.foreach.at_once": "Turns at a time; 1 if left out.",
	"step.switch": "An expression (CEL) that the cases are compared with.", "step.cases": "The first that is so is carried out.",
	"step.cases.is": "The value, or a list of values.", "step.cases.steps": "Its steps.",
	"step.else":    "Steps where the condition is false, or where no case is so.",
	"step.retry":   "How often an attempt is repeated that may pass by itself.",
	"step.timeout": "Of one attempt.", "step.within": "For a result that comes later.", "step.for": "The change is taken back after that time.",
	"step.retry.times": "Attempts after the first.", "step.retry.backoff": "The wait before the second, doubled each time.",
	"step.on_error": "fail ends the run, continue goes on; or steps that deal with the failure.",

	"wait.until": "A condition (CEL) that is waited for.", "wait.use": "An action that reads, before each look.",
	"wait.with": "Its parameters.", "wait.every": "The time between looks.", "wait.within": "How long at most.",
	"wait.otherwise": "What happens when that is over.",
}
