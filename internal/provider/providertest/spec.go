package providertest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

var (
	actionName    = regexp.MustCompile(`^[a-z]+\.[a-z0-9]+\.[a-z]+(_[a-z0-9]+)+$`)
	localName     = regexp.MustCompile(`^[a-z]+\.[a-z]+$`) // of what the configuration names, which has no permissions of its own
	fieldName     = regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)*$`)
	permission    = regexp.MustCompile(`^[a-z0-9-]+:[A-Z][A-Za-z0-9]+$`)
	permittedARN  = regexp.MustCompile(`^(\*|arn:\{partition\}:[a-z0-9-]+:(\{region\}|us-east-1)?:(\{account\})?:.+)$`)
	paramTypes    = []action.Type{action.String, action.Int, action.Bool, action.Duration, action.Strings, action.Object}
	outputTypes   = append(slices.Clone(paramTypes), action.Time)
	phases        = []action.Phase{action.PlanPhase, action.ApplyPhase, action.UndoPhase}
	phasesOf      = map[action.Effect][]action.Phase{action.Read: phases[:1], action.Contain: phases, action.Destroy: phases[:2]}
	longestSpared = 100
)

// checkSpec tests that documentation, forms and least-privilege policies can be made from a spec.
func checkSpec(t *testing.T, do action.Action) {
	t.Helper()
	spec := do.Spec()
	if !actionName.MatchString(spec.Name) && !localName.MatchString(spec.Name) {
		t.Errorf("name %q is neither provider.service.verb_noun nor provider.verb", spec.Name)
	}
	checkWords(t, spec)
	checkAbilities(t, do)
	checkFields(t, spec)
	checkPermissions(t, spec)
}

func checkWords(t *testing.T, spec action.Spec) {
	t.Helper()
	if spec.Summary == "" || strings.Contains(spec.Summary, "\n") || len(spec.Summary) > longestSpared {
		t.Errorf("summary %q is not one line of at most %d bytes", spec.Summary, longestSpared)
	}
	if len(spec.Doc) <= len(spec.Summary) {
		t.Errorf("documentation says no more than the summary: %q", spec.Doc)
	}
	if spec.Timeout < 0 || spec.Settle < 0 || spec.Timeout > time.Hour || spec.Settle > time.Hour {
		t.Errorf("timeout %v or time to settle %v is not sensible", spec.Timeout, spec.Settle)
	}
}

func checkAbilities(t *testing.T, do action.Action) {
	t.Helper()
	switch effect := do.Spec().Effect; effect {
	case action.Contain:
		if _, ok := do.(action.Verifier); !ok {
			t.Error("it contains and is no action.Verifier")
		}
		if _, ok := do.(action.Undoer); !ok {
			t.Error("it contains and is no action.Undoer")
		}
	case action.Read, action.Notify, action.Destroy:
		if _, ok := do.(action.Undoer); ok {
			t.Errorf("its effect is %s, and it is an action.Undoer", effect)
		}
	default:
		t.Errorf("effect %q is unknown", effect)
	}
}

func checkFields(t *testing.T, spec action.Spec) {
	t.Helper()
	seen := map[string]bool{}
	once := func(name, doc string) {
		if !fieldName.MatchString(name) || seen[name] {
			t.Errorf("%q is no snake_case name, or there twice", name)
		}
		if doc == "" {
			t.Errorf("%s has no documentation", name)
		}
		seen[name] = true
	}
	for _, p := range spec.Params {
		once(p.Name, p.Doc)
		checkParam(t, spec, p)
	}
	clear(seen)
	for _, o := range spec.Outputs {
		once(o.Name, o.Doc)
		if !slices.Contains(outputTypes, o.Type) {
			t.Errorf("output %s has the unknown type %q", o.Name, o.Type)
		}
	}
}

func checkParam(t *testing.T, spec action.Spec, p action.Param) {
	t.Helper()
	if !slices.Contains(paramTypes, p.Type) {
		t.Errorf("parameter %s has the type %q, which no parameter can have", p.Name, p.Type)
	}
	if p.Required && p.Default != nil {
		t.Errorf("parameter %s is required and has a default", p.Name)
	}
	if p.Entity != "" && !slices.Contains(entity.Kinds(), p.Entity) {
		t.Errorf("parameter %s takes an entity of the unknown kind %q", p.Name, p.Entity)
	}
	if p.Default == nil {
		return
	}
	alone := action.Spec{Name: spec.Name, Params: []action.Param{p}}
	if _, err := action.Bind(alone, map[string]any{p.Name: p.Default}); err != nil {
		t.Errorf("a default does not fit its parameter: %v", err)
	}
}

func checkPermissions(t *testing.T, spec action.Spec) {
	t.Helper()
	used := map[action.Phase]bool{}
	for _, p := range spec.Permissions {
		used[p.Phase] = true
		if !permission.MatchString(p.Name) {
			t.Errorf("permission %q is not service:Operation", p.Name)
		}
		if !permittedARN.MatchString(p.Resource) {
			t.Errorf("permission %s: resource %q is neither * nor arn:{partition}:service:{region}:{account}:...", p.Name, p.Resource)
		}
		if !slices.Contains(phases, p.Phase) {
			t.Errorf("permission %s has the unknown phase %q", p.Name, p.Phase)
		}
	}
	for _, phase := range phasesOf[spec.Effect] {
		if !used[phase] && !localName.MatchString(spec.Name) {
			t.Errorf("no permission is listed for the phase %s", phase)
		}
	}
}

// checkOutputs tests that exactly the promised outputs are there, of the promised types.
func checkOutputs(t *testing.T, spec action.Spec, got map[string]any) {
	t.Helper()
	var back map[string]any
	through(t, got, &back)
	for name := range back {
		if !slices.ContainsFunc(spec.Outputs, func(o action.Output) bool { return o.Name == name }) {
			t.Errorf("output %s is not in the spec", name)
		}
	}
	for _, o := range spec.Outputs {
		value, there := back[o.Name]
		if !there {
			t.Errorf("output %s is missing", o.Name)
			continue
		}
		if err := fits(o, value); err != nil {
			t.Errorf("output %s: %v", o.Name, err)
		}
	}
}

// fits tells whether a value, back from the journal, is of an output's type.
func fits(o action.Output, value any) error {
	if o.Type == action.Time {
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("is a %T, not a time", value)
		}
		if text == "" {
			return nil // not known
		}
		_, err := time.Parse(time.RFC3339, text)
		return err
	}
	alone := action.Spec{Name: "output", Params: []action.Param{{Name: o.Name, Type: o.Type, Required: false}}}
	bound, err := action.Bind(alone, map[string]any{o.Name: value})
	if err == nil && len(bound) == 0 {
		return fmt.Errorf("is null, not a %s", o.Type)
	}
	return err
}
