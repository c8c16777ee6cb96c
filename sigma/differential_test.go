package sigma_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/sigma"
)

// generated is what one series of choices makes: rules that were read, and events.
func generated(c *choices) ([]*sigma.Rule, []string, [][]byte) {
	o := sigma.Options{Placeholders: map[string][]string{"list": {"foo", "b*", "1"}, "one": {"k"}, "nets": {"10.0.0.0/8"}}}
	c.choose()
	var rules []*sigma.Rule
	var texts []string
	for i := range 1 + c.below(6) {
		text := c.rule(i)
		some, err := sigma.ParseWith("rule.yml", []byte(text), o)
		if err != nil {
			continue
		}
		rules, texts = append(rules, some...), append(texts, text)
	}
	var events [][]byte
	for range 1 + c.below(6) {
		events = append(events, c.event())
	}
	return rules, texts, events
}

// agree holds the engine against the interpreter, rule by rule, and returns how many matches there were.
func agree(t *testing.T, data []byte) (pairs, matches int) {
	t.Helper()
	rules, texts, events := generated(&choices{bytes: data})
	if len(rules) == 0 {
		return 0, 0
	}
	e := compile(t, rules)
	s := e.Scanner()
	for _, text := range events {
		for _, source := range [][3]string{{"aws", "cloudtrail", "x"}, {"AWS", "", "X"}, {"azure", "other", ""}} {
			want, err := interpreted(rules, text, source)
			got, refused := s.Scan(text, source[0], source[1], source[2])
			if fmt.Sprint(err) != fmt.Sprint(refused) {
				t.Fatalf("%q: the engine gives error %v, ParseEvent %v", text, refused, err)
			}
			if ids := ids(got); !slices.Equal(ids, want) {
				t.Fatalf("of %q the engine finds %q, the interpreter %q\n%s", text, ids, want, strings.Join(texts, "---\n"))
			}
			pairs += len(rules)
			matches += len(want)
		}
	}
	return pairs, matches
}

func interpreted(rules []*sigma.Rule, text []byte, source [3]string) ([]string, error) {
	e, err := sigma.ParseEvent(text)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range rules {
		if _, ok := r.Match(e); ok && r.LogSource.Covers(source[0], source[1], source[2]) {
			ids = append(ids, r.ID)
		}
	}
	return ids, nil
}

// TestEngineAgrees holds the engine against the interpreter for thousands of generated rules and events.
func TestEngineAgrees(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pairs, matches := 0, 0
	for range 4000 {
		data := make([]byte, 500+random.IntN(2500))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		p, m := agree(t, data)
		pairs += p
		matches += m
	}
	t.Logf("%d pairs of rules and events, %d matches", pairs, matches)
	if matches < pairs/50 {
		t.Errorf("%d of %d pairs match; the generator has lost its aim", matches, pairs)
	}
}

// FuzzEngine makes rules and events of the fuzzer's bytes and holds the engine against the interpreter.
func FuzzEngine(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		data := make([]byte, 600)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= 1<<12 {
			agree(t, data)
		}
	})
}

// fixedRules ask for something of every kind.
func fixedRules(tb testing.TB) []*sigma.Rule {
	tb.Helper()
	var rules []*sigma.Rule
	for i, detection := range []string{
		"s: {a: [foo, 'b*r', 16, null]}\ncondition: s", "s: {a.b|contains: [k, straße]}\ncondition: s", "s: {a.b.c|re: 'fo+|[0-9]x'}\ncondition: s",
		"s: [foo, kelvin, '\"x', ':1']\ncondition: s", "s: {'|all': [a, b]}\ncondition: s", "s: {a|exists: true, b|neq: x}\ncondition: s",
		"s: {a|fieldref: a.b}\ncondition: s", "s: {a|gt: 5}\nt: {b|cidr: 10.0.0.0/8}\ncondition: s or t", "s: {b: '{\"c\":1}'}\ncondition: s",
		"s: {a: ''}\ncondition: not s", "s: {\"\uFFFD\": \"\uFFFD\"}\ncondition: s", "s: {a|cased|startswith: Foo}\ncondition: s",
		"s: {b|hour: 3}\ncondition: s", "s: {a|windash|contains: -x}\ncondition: s", "s: {a|element: {b: k, c: 1}}\ncondition: s",
	} {
		rules = append(rules, named(tb, fmt.Sprintf("r%d", i), detection))
	}
	return rules
}

// FuzzScan holds the engine against the interpreter for any text as an event.
func FuzzScan(f *testing.F) {
	deep := func(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) + "}" }
	within := func(levels int) string {
		return strings.Repeat("[", levels) + `{"b":"k"}` + strings.Repeat("]", levels) + "}"
	}
	many := func(values int) string { return "[" + strings.Repeat("0,", values-1) + "0]}" }
	for _, seed := range []string{
		`{"a":"foo","a":"x"}`, `{"a.b":"k","a":{"b":["\u212a",{"c":"fooo"}]}}`, `{"a":{"b":1},"a.b":2}`, "{\"\xff\xfe\":\"\xff\"}", `{"b":{"c" : 1}}`,
		`{"a":[1.6e1,-0,1E5,[null]],"b":"10.0.0.1"}`, `{"x":"\ud83d\ude00\ud83d","y":"\"x"}`, `{"a":"\u`, `{"a":"\u123`, `{"a":"\u1234`, `{"a":01}`, `{"a":tru}`, "{\"a\":\"\n\"}", " { } ",
		`{"a":"Foo -x","b":"2024-01-01T03:00:00Z"}`, `{"\u0061":"\u0066oo"}`, `{"a":[[[{"b":"straſſe"}]]]}`, `[]`, `{"a":"` + strings.Repeat("x", 500) + `foo"}`,
		`{"a":` + strings.Repeat(`{"b":`, 300), `{"a":` + deep(256), `{"a":` + deep(255), `{"z":` + deep(255), `{"z":` + deep(256), `{"a":[{"b":"K","c":1}]}`, `{"a":` + within(254),
		`{"a":` + within(255), `{"z":` + within(254), `{"z":` + within(255),
		`{"z":` + many(1<<18-2), `{"a":` + many(1<<18-2), `{"z":` + many(1<<18-1), `{"a":` + many(1<<18-1),
	} {
		f.Add([]byte(seed))
	}
	rules := fixedRules(f)
	s := compile(f, rules).Scanner()
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := interpreted(rules, text, [3]string{"aws", "cloudtrail", ""})
		got, refused := s.Scan(text, "aws", "cloudtrail", "")
		if fmt.Sprint(err) != fmt.Sprint(refused) {
			t.Fatalf("%.2000q: the engine gives error %v, ParseEvent %v", text, refused, err)
		}
		if ids := ids(got); !slices.Equal(ids, want) {
			t.Errorf("of %.2000q the engine finds %q, the interpreter %q", text, ids, want)
		}
	})
}

func ids(rules []*sigma.Rule) []string {
	var all []string
	for _, r := range rules {
		all = append(all, r.ID)
	}
	return all
}
