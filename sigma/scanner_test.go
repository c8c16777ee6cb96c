package sigma_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

// named is a rule with an ID of its own.
func named(tb testing.TB, id, detection string) *sigma.Rule {
	tb.Helper()
	return parseOne(tb, strings.Replace(ruleText(detection), "id: r", "id: "+id, 1), sigma.Options{})
}

// TestEngineKnowsTheLanguage fails when rules get parts that the engine wasn't taught. Compile them, or have
// compiler.add refuse them so that the interpreter evaluates such rules; only then change this list.
func TestEngineKnowsTheLanguage(t *testing.T) {
	want := []string{
		"Rule: selections condition unfiltered",
		"selection: name groups",
		"item: field modifiers atoms elements",
		"atom: written find literal isLiteral pattern expression",
		"modifiers: written operator all cased negated expand windash reference element flags encodings part",
		"expression: connective operands selection",
		"leaf: text node compact folded isFold inner",
		"found: present leaves",
		"view: event fields words",
	}
	if diff := cmp.Diff(want, sigma.Language()); diff != "" {
		t.Errorf("the language changed (-known +now):\n%s", diff)
	}
}

// TestEngineLeavesRules holds rules that are beyond the engine: they match all the same.
func TestEngineLeavesRules(t *testing.T) {
	path := strings.Repeat("a", 600)
	for name, c := range map[string]struct{ detection, event string }{
		"long path": {"s: {" + path + ": x}\ncondition: s", `{"` + path + `":"x"}`},
		"networks":  {"s: {a|cidr|expand: '%nets%', b: y}\ncondition: s", `{"a":"10.0.0.1","b":"y"}`},
		"element":   {"s: {a|element: {x: 1, y: 2}}\ncondition: s", `{"a":[{"x":1},{"x":1,"y":2}]}`},
		"long program": {
			"s:\n" + strings.Repeat("  - {a: x, b: y}\n", 500) + "condition: " + strings.Repeat("s and ", 20) + "s", `{"a":"x","b":"y"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := parseOne(t, ruleText(c.detection), sigma.Options{Placeholders: map[string][]string{"nets": {"10.0.0.0/8"}}})
			e := compile(t, []*sigma.Rule{r})
			if got := len(e.Beyond()); got != 1 {
				t.Fatalf("%d rules are left to the interpreter, want 1", got)
			}
			s := e.Scanner()
			s.Measure(true)
			if got := scan(t, s, []byte(c.event)); len(got) != 1 {
				t.Errorf("got %d matches, want 1", len(got))
			}
			if got := scan(t, s, []byte(`{"a":1}`)); len(got) != 0 {
				t.Errorf("got %d matches, want none", len(got))
			}
			if costs := s.Costs(); len(costs) != 1 || !costs[0].Interpreted || costs[0].Matches != 1 {
				t.Errorf("got costs %+v", costs)
			}
		})
	}
}

func TestEngineEvaluate(t *testing.T) {
	rules := []*sigma.Rule{parseOne(t, whole, sigma.Options{}), named(t, "here", "s: {a|contains: x}\ncondition: s"), named(t, "there", "s: {a|contains: x}\ncondition: s")}
	rules[2].LogSource.Product = "azure"
	e, set := compile(t, rules), newSet(t, rules)
	text := []byte(`{"a":{"k":"X"}}`)
	want := set.Evaluate(parseEvent(t, text), "aws", "cloudtrail", "")
	got, err := e.Evaluate(text, "aws", "cloudtrail", "")
	if err != nil || len(want) != 1 || len(got) != 1 || got[0].Rule != rules[1] {
		t.Fatalf("got %d hits and error %v, and %d hits of the set; want one of the second rule", len(got), err, len(want))
	}
	if diff := cmp.Diff(want[0].Match, got[0].Match); diff != "" {
		t.Errorf("the reasons differ (-set +engine):\n%s", diff)
	}
	if _, err := e.Evaluate([]byte(`{"a":`), "aws", "cloudtrail", ""); err == nil {
		t.Error("a broken event is not refused")
	}
	if got := e.Rules(); len(got) != len(rules) || got[2] != rules[2] {
		t.Errorf("got %d rules, want those that were compiled", len(got))
	}
	if _, err := sigma.Compile(append(rules, rules[1])); err == nil || asError(t, err).Key != "id" {
		t.Errorf("got %v, want a duplicate ID refused", err)
	}
}

func TestEngineIsSafeForConcurrentUse(t *testing.T) {
	e := compile(t, []*sigma.Rule{parseOne(t, whole, sigma.Options{}), named(t, "r", "s: {a|contains: x}\ncondition: s")})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for _, service := range []string{"cloudtrail", "CloudTrail", strings.Repeat("c", i), ""} {
				hits, err := e.Evaluate([]byte(`{"a":{"k":"X"}}`), "aws", service, "")
				if want := strings.EqualFold(service, "cloudtrail"); err != nil || want != (len(hits) == 1) {
					t.Errorf("%q: got %d hits and error %v", service, len(hits), err)
				}
			}
		})
	}
	group.Wait()
}

// TestEngineManySources has events of more combinations of log sources than get a plan of their own.
func TestEngineManySources(t *testing.T) {
	const names = 24 // of products, services and categories each
	if names*names <= sigma.MostPlans {
		t.Fatal("too few combinations")
	}
	var rules []*sigma.Rule
	for i := range names {
		for _, at := range []string{"product", "service", "category"} {
			text := fmt.Sprintf("title: T\nid: %s%d\nlogsource: {%s: n%d}\ndetection: {s: {a: x}, condition: s}\n", at, i, at, i)
			rules = append(rules, parseOne(t, text, sigma.Options{}))
		}
	}
	e := compile(t, rules)
	s := e.Scanner()
	for i := range names * names {
		product, service, category := fmt.Sprintf("n%d", i/names), fmt.Sprintf("n%d", i%names), fmt.Sprintf("n%d", (i/names+i)%names)
		got, err := s.Scan([]byte(`{"a":"x"}`), product, service, category)
		if err != nil || len(got) != 3 {
			t.Fatalf("%s %s %s: got %d matches and error %v, want 3", product, service, category, len(got), err)
		}
		for _, r := range got {
			if !r.LogSource.Covers(product, service, category) {
				t.Fatalf("%s matches an event of %s %s %s", r.ID, product, service, category)
			}
		}
	}
	if got := e.Plans(); got != sigma.MostPlans {
		t.Errorf("%d plans were made, want %d", got, sigma.MostPlans)
	}
}

// TestEngineTellsApart holds rules that differ in one thing, which must not share its answer, nor be taken to match
// by what is but a part of their text.
func TestEngineTellsApart(t *testing.T) {
	long := strings.Repeat("needle ", 20)
	items := []string{
		"a|contains: [xY, zz]", "a|contains|cased: [xY, zz]", "a|contains|all: [xY, zz]", "a|startswith: [xY, zz]", "a|endswith: [xY, zz]",
		"a|endswith|cased: [xY, zz]", "a|contains|neq: [xY, zz]", "a: 16", "a: '16'", "a|re: xy", "a|re|i: xy", "a|lt: 16", "a|lte: 16",
		"a|contains: '" + long + "end'", "a|contains: '" + long + "other'", "a: '" + long + "end'", "a|hour: 3", "a|day: 3", "a|hour|lt: 3",
		"a|contains: low", "a|contains|cased: low",
	}
	var rules []*sigma.Rule
	for i, item := range items {
		rules = append(rules, named(t, fmt.Sprintf("r%d", i), "s: {"+item+"}\ncondition: s"))
	}
	s := compile(t, rules).Scanner()
	for _, value := range []string{
		`"xY"`, `"xy"`, `"XY zz"`, `"zz"`, `"axYb"`, `"LOW"`, `16`, `"16"`, `1.6e1`, `"1.6e1"`, `"` + long + `end"`, `"` + long + `"`, `"` + long + `other"`,
		`"2024-01-02T03:00:00Z"`, `"2024-01-03T00:00:00Z"`, `15`, `[16,"zz"]`, `null`,
	} {
		text := []byte(`{"a":` + value + "}")
		want, err := interpreted(rules, text, [3]string{"aws", "cloudtrail", ""})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, ids(scan(t, s, text))); diff != "" {
			t.Errorf("%s (-interpreter +engine):\n%s", text, diff)
		}
	}
}

func TestCosts(t *testing.T) {
	s := compile(t, []*sigma.Rule{
		named(t, "seldom", "s: {a: [x, y]}\nf: {b: 1}\ncondition: s and not f"), named(t, "always", "s: {b: 1}\ncondition: not s"),
		named(t, "never", "s: {c: 1}\ncondition: s"),
	}).Scanner()
	scan(t, s, []byte(`{"a":"x"}`))
	if got := s.Costs(); got != nil {
		t.Errorf("got %v though nothing was measured", got)
	}
	s.Measure(true)
	for _, text := range []string{`{"a":"x"}`, `{"a":"y","b":1}`, `{"a":"z"}`, `{}`} {
		scan(t, s, []byte(text))
	}
	type counts struct{ Candidates, Matches int }
	costs := s.Costs()
	got := make(map[string]counts)
	for i, c := range costs {
		got[c.Rule.ID] = counts{c.Candidates, c.Matches}
		if c.Time < 0 || i > 0 && c.Time > costs[i-1].Time || c.Interpreted {
			t.Errorf("in place %d, %s costs %v", i, c.Rule.ID, c.Time)
		}
	}
	if diff := cmp.Diff(map[string]counts{"seldom": {2, 1}, "always": {4, 3}}, got); diff != "" {
		t.Errorf("costs differ (-want +got):\n%s", diff)
	}
	s.Measure(false)
	if got := s.Costs(); got != nil {
		t.Errorf("got %v after measuring", got)
	}
}

func TestRequired(t *testing.T) {
	for expression, want := range map[string][]string{
		"fo+bar":              {"bar"},
		"FOO":                 {"foo"},
		"(foo|ba[rz])x":       {"foox", "barx", "bazx"},
		"a(b|c)?d":            {"abd", "acd", "ad"},
		"(foo.*|x)bar":        {"bar"},
		"foo.*|bar+":          {"foo", "ba"},
		"foo|.*":              nil,
		"foo.*|x*":            nil,
		".*|foo":              nil,
		"a|b|":                nil,
		".*":                  nil,
		"[0-9]+":              {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
		"[^a]":                nil,
		"(?i)\u212aelvin":     {"kelvin"},
		"^(abc){2,}$":         {"abc"},
		"x*":                  nil,
		"()":                  nil,
		`\.exe$`:              {".exe"},
		"(":                   nil,
		"(a|.)x(b|.*)":        {"x"},
		"[^a]longest[01]two":  {"longest0two", "longest1two"},
		"one.*longest[^a]two": {"longest"},
	} {
		if diff := cmp.Diff(want, sigma.Required(expression)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expression, diff)
		}
	}
}
