package action

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Type is the type of a parameter or an output.
type Type string

// The types, with the Go types their values have in Params.
const (
	String   Type = "string"   // string
	Int      Type = "int"      // int64
	Bool     Type = "bool"     // bool
	Duration Type = "duration" // string as in time.ParseDuration
	Strings  Type = "strings"  // []string
	Object   Type = "object"   // map[string]any
	Time     Type = "time"     // string, RFC 3339; outputs only
)

// Param is one parameter of an action.
type Param struct {
	Name     string
	Type     Type
	Doc      string
	Required bool
	Default  any
	Enum     []string
	// Entity is the kind of entity whose id the parameter takes, where it takes one.
	Entity entity.Kind
}

// Params are an action's parameters by name, checked against its Spec by Bind.
type Params map[string]any

// Bind checks given against a specification: unknown names, missing ones, wrong types. It fills in
// defaults. Errors are of kind Invalid and name the parameter.
func Bind(spec Spec, given map[string]any) (Params, error) {
	bound := Params{}
	for name := range given {
		if !slices.ContainsFunc(spec.Params, func(p Param) bool { return p.Name == name }) {
			return nil, fault.New(fault.Invalid, "%s has no parameter %q; it takes %s", spec.Name, name, names(spec.Params))
		}
	}
	for _, p := range spec.Params {
		value, present := given[p.Name]
		if !present || value == nil {
			if p.Required {
				return nil, fault.New(fault.Invalid, "%s needs the parameter %q: %s", spec.Name, p.Name, p.Doc)
			}
			if p.Default != nil {
				bound[p.Name] = p.Default
			}
			continue
		}
		converted, err := convert(p, value)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s: parameter %q: %w", spec.Name, p.Name, err)
		}
		bound[p.Name] = converted
	}
	return bound, nil
}

func names(params []Param) string {
	list := make([]string, 0, len(params))
	for _, p := range params {
		list = append(list, p.Name)
	}
	return strings.Join(list, ", ")
}

func convert(p Param, value any) (any, error) {
	switch p.Type {
	case String, Duration:
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("is %s, not text", described(value))
		}
		if p.Required && text == "" {
			return nil, errors.New("is empty")
		}
		if len(p.Enum) > 0 && !slices.Contains(p.Enum, text) {
			return nil, fmt.Errorf("%q is not one of %s", text, strings.Join(p.Enum, ", "))
		}
		if p.Type == Duration {
			if _, err := time.ParseDuration(text); err != nil {
				return nil, err
			}
		}
		return text, nil
	case Int:
		return toInt(value)
	case Bool:
		truth, ok := value.(bool)
		if !ok {
			return nil, fmt.Errorf("is %s, not true or false", described(value))
		}
		return truth, nil
	case Strings:
		return toStrings(value)
	case Object:
		object, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("is %s, not a mapping", described(value))
		}
		return object, nil
	case Time:
	}
	return nil, fmt.Errorf("has the type %q, which no parameter can have", p.Type)
}

func toInt(value any) (any, error) {
	switch n := value.(type) {
	case int:
		return int64(n), nil
	case int64:
		return n, nil
	case float64: // from JSON
		if n == float64(int64(n)) {
			return int64(n), nil
		}
	}
	return nil, fmt.Errorf("is %s, not a whole number", described(value))
}

func toStrings(value any) (any, error) {
	switch list := value.(type) {
	case []string:
		return list, nil
	case []any:
		texts := make([]string, 0, len(list))
		for i, item := range list {
			text, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("item %d is %s, not text", i, described(item))
			}
			texts = append(texts, text)
		}
		return texts, nil
	}
	return nil, fmt.Errorf("is %s, not a list of texts", described(value))
}

// described says what a value is, in the words of those who write playbooks.
func described(value any) string {
	switch value := value.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case int, int64, float64:
		return fmt.Sprintf("the number %v", value)
	case []any, []string:
		return "a list"
	case map[string]any:
		return "a mapping"
	case nil:
		return "nothing"
	default:
		return fmt.Sprintf("a %T", value)
	}
}

// String gives a string parameter, "" if absent.
func (p Params) String(name string) string {
	text, _ := p[name].(string)
	return text
}

// Bool gives a boolean parameter, false if absent.
func (p Params) Bool(name string) bool {
	truth, _ := p[name].(bool)
	return truth
}

// Int gives a whole-number parameter, 0 if absent. Numbers that went through JSON are converted.
func (p Params) Int(name string) int64 {
	switch n := p[name].(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}

// Strings gives a list parameter, nil if absent.
func (p Params) Strings(name string) []string {
	texts, err := toStrings(p[name])
	if err != nil {
		return nil
	}
	list, _ := texts.([]string)
	return list
}

// Duration gives a duration parameter, 0 if absent.
func (p Params) Duration(name string) time.Duration {
	d, err := time.ParseDuration(p.String(name))
	if err != nil {
		return 0 // Bind has checked it
	}
	return d
}
