package document_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

type inner struct {
	Within time.Duration `yaml:"within"`
	Count  int           `yaml:"count"`
}

type lent struct {
	Lent string `yaml:"lent"`
}

type Embedded struct {
	Also bool `yaml:"also"`
}

type outer struct {
	Name     string                   `yaml:"name"`
	Items    []inner                  `yaml:"items"`
	By       map[string]inner         `yaml:"by"`
	With     map[string]any           `yaml:"with"`
	Ptr      *inner                   `yaml:"ptr"`
	Severity finding.Severity         `yaml:"severity"`
	Until    time.Time                `yaml:"until"`
	Ratio    float64                  `yaml:"ratio"`
	Small    uint8                    `yaml:"small"`
	On       bool                     `yaml:"on"`
	Networks []netip.Prefix           `yaml:"networks"`
	Ports    map[int]string           `yaml:"ports"`
	Short    short                    `yaml:"short"`
	Shorts   map[string]short         `yaml:"shorts"`
	Any      any                      `yaml:"any"`
	Levels   map[finding.Severity]int `yaml:"levels"`
	Hidden   string                   `yaml:"-"`
	Untagged int
	Embedded
	More lent `yaml:",inline"`
}

// short is written as a word or, in full, as a mapping.
type short struct {
	Word  string `yaml:"word"`
	Times int    `yaml:"times"`
}

func (s *short) UnmarshalDocument(n document.Node) error {
	if text, ok := n.Text(); ok {
		if text == "bad" {
			return errors.New("is a bad word")
		}
		s.Word = text
		return nil
	}
	if n.IsList() {
		return n.Errorf("a word or a mapping, at %s of %s", n.Path(), n.Pos())
	}
	type long short
	return n.Decode((*long)(s))
}

func decode(text string) (outer, error) {
	var into outer
	err := document.Decode("test.yaml", []byte(text), &into)
	return into, err
}

func TestDecode(t *testing.T) {
	t.Parallel()
	got, err := decode(`# everything
name: 012345678901
items:
  - {within: 15m, count: 2}
  - count: -1
by: {a.b: {count: 1}}
ptr: {within: 0}
severity: HIGH
until: 2026-12-31
ratio: 3
small: 255
on: true
networks: [10.0.0.0/8]
ports: {443: https}
short: word
shorts: {x: {word: w, times: 3}}
any: [1, -2, 1.5, true, null, text, 2026-01-02, {a: {b: "1"}}]
levels: {low: 1}
untagged: 7
also: true
lent: yes
with:
`)
	if err != nil {
		t.Fatal(err)
	}
	want := outer{
		Name: "012345678901", Items: []inner{{15 * time.Minute, 2}, {0, -1}}, By: map[string]inner{"a.b": {Count: 1}},
		Ptr: &inner{}, Severity: finding.High, Until: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), Ratio: 3, Small: 255, On: true,
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Ports: map[int]string{443: "https"}, Short: short{Word: "word"},
		Shorts:   map[string]short{"x": {"w", 3}},
		Any:      []any{1, -2, 1.5, true, nil, "text", "2026-01-02", map[string]any{"a": map[string]any{"b": "1"}}},
		Levels:   map[finding.Severity]int{finding.Low: 1},
		Untagged: 7, Embedded: Embedded{true}, More: lent{"yes"},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDecodeKeepsDefaults(t *testing.T) {
	t.Parallel()
	into := outer{Name: "default", Small: 3, Items: []inner{{Count: 1}}, By: map[string]inner{"kept": {Count: 1}}}
	if err := document.Decode("test.yaml", []byte("small: 4\nname:\nby: {new: {count: 2}}\n"), &into); err != nil {
		t.Fatal(err)
	}
	want := outer{Name: "default", Small: 4, Items: []inner{{Count: 1}}, By: map[string]inner{"kept": {Count: 1}, "new": {Count: 2}}}
	if diff := cmp.Diff(want, into, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                                       {"test.yaml: there is nothing in the file"},
		"# only a comment\n":                     {"test.yaml: there is nothing in the file"},
		"name: a\nnaem: b\n":                     {`test.yaml:2: naem: there is no such key; did you mean "name"?`},
		"Name: a":                                {`test.yaml:1: Name: there is no such key; did you mean "name"?`},
		"hidden: a":                              {`test.yaml:1: hidden: there is no such key here; there are also, any, by,`},
		"items:\n  - within: 1h\n    cuont: 1":   {`test.yaml:3: items[0].cuont: there is no such key; did you mean "count"?`},
		"by:\n  x: {y: 1}":                       {"test.yaml:2: by.x.y: there is no such key here; there are count, within"},
		"name: a\nname: b":                       {"test.yaml:2: name: stands already at line 1"},
		"with: {a: {b: 1, b: 2}}":                {"test.yaml:1: with.a.b: stands already at line 1"},
		"items:\n  - count: many":                {"test.yaml:2: items[0].count: is text, not a whole number"},
		"items:\n  - count: 1.5":                 {"test.yaml:2: items[0].count: is the number 1.5, not a whole number"},
		"items: [{count: 007}]":                  {"test.yaml:1: items[0].count: write a number in decimal digits"},
		"items: [{count: 0x10}]":                 {"write a number in decimal digits"},
		"items: [{count: 99999999999999999999}]": {"items[0].count: "},
		"items:\n  - within: soon":               {`test.yaml:2: items[0].within: "soon" is not a duration`},
		"items:\n  - within: 15":                 {"test.yaml:2: items[0].within: 15 of what?"},
		"items: {a: 1}":                          {"items: is a mapping, not a list"},
		"items: [~]":                             {"items[0]: there is nothing here"},
		"- a":                                    {"test.yaml:1: is a list, not a mapping"},
		"by: [a]":                                {"by: is a list, not a mapping"},
		"name: [a]":                              {"name: is a list, not text"},
		"name: {a: b}":                           {"name: is a mapping, not text"},
		"severity: huge":                         {`severity: severity "huge" is not one of`},
		"severity: []":                           {"severity: is a list, not text"},
		"until: tomorrow":                        {`until: "tomorrow" is not a time`},
		"until: {}":                              {"until: is a mapping, not a time"},
		"items: [{within: []}]":                  {"items[0].within: is a list, not a duration"},
		"ratio: .inf":                            {"ratio: write a number in decimal digits"},
		"ratio: half":                            {"ratio: is text, not a number"},
		"small: 256":                             {"small: 256 is out of range"},
		"small: -1":                              {"small: -1 is out of range"},
		"on: yes":                                {"on: is text, not true or false"},
		"on: \"true\"":                           {"on: is text, not true or false"},
		"networks: [here]":                       {"networks[0]: "},
		"ports: {x: y}":                          {"ports.x: is text, not a whole number"},
		"levels: {x: 1}":                         {"levels.x: severity"},
		"short: bad":                             {"test.yaml:1: short: is a bad word"},
		"name: a\nshort: [b]":                    {"test.yaml:2: short: a word or a mapping, at short of test.yaml:2"},
		"short: {wrod: x}":                       {`test.yaml:1: short.wrod: there is no such key; did you mean "word"?`},
		"any: 012345678901":                      {"any: write a number in decimal digits without leading zeros, or as text in quotes"},
		"any: [.nan]":                            {"any[0]: write a number"},
		"name: [":                                {"test.yaml:1"},
		"a: &x 1\nname: *x":                      {"test.yaml:2: name: aliases are not read"},
		"name: *hunter2":                         {"test.yaml: aliases are not read; put a text that begins with * into quotes"},
		"with: {<<: {a: 1}}":                     {"a key is a plain word"},
		"with: {[a]: 1}":                         {"a key is a plain word"},
		"with: {~: 1}":                           {"a key is a plain word"},
		"name: !!binary aGk=":                    {"test.yaml:1: name: tags are not read"},
		"name: !vault x":                         {"test.yaml:1: name: tags are not read"},
		"name: a\n---\nname: b":                  {"test.yaml:3: a second document"},
		"with: " + strings.Repeat("[", 20000):    {"test.yaml"},
		"with: {a: " + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}": {"nested too deep"},
		"name: " + strings.Repeat("a", 1<<20):                                  {"at most 1048576 are read"},
		"name: \x00":                                                           {"test.yaml"},
		"nope: 1\nalso: 2\nsmall: x":                                           {"test.yaml:1: nope", "test.yaml:2: also: is the number 2", "test.yaml:3: small"},
	} {
		_, err := decode(text)
		if err == nil {
			t.Errorf("%.60q: no error", text)
			continue
		}
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%.60q: kind %v, want invalid", text, fault.KindOf(err))
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.60q: the error quotes what may be secret: %v", text, err)
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%.60q: got %q, want %q in it", text, err, part)
			}
		}
	}
}

func TestErrorsAreListed(t *testing.T) {
	t.Parallel()
	_, err := decode("name: x\nnaem: y\nitems:\n- count: z\n")
	want := []*document.Error{
		{File: "test.yaml", Line: 2, Column: 1, Key: "naem", Reason: "there is no such key", Hint: "name"},
		{File: "test.yaml", Line: 4, Column: 10, Key: "items[0].count", Reason: "is text, not a whole number"},
	}
	if diff := cmp.Diff(want, document.Errors(err)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := document.Errors(errors.New("another")); got != nil {
		t.Errorf("errors of another kind of error = %v, want none", got)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	_, err := decode("any:\n" + strings.Repeat("- 007\n", 5000))
	if got := len(document.Errors(err)); got != 50 {
		t.Errorf("got %d errors, want 50", got)
	}
}

func TestDecodeAll(t *testing.T) {
	t.Parallel()
	var got []inner
	if err := document.DecodeAll("test.yaml", []byte("---\ncount: 1\n---\n---\ncount: 2\n...\n"), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]inner{{Count: 1}, {Count: 2}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	err := document.DecodeAll("test.yaml", []byte("count: x\n---\ncuont: 2\n"), &got)
	want := []*document.Error{
		{File: "test.yaml", Line: 1, Column: 8, Key: "count", Reason: "is text, not a whole number"},
		{File: "test.yaml", Line: 3, Column: 1, Key: "cuont", Reason: "there is no such key", Hint: "count"},
	}
	if diff := cmp.Diff(want, document.Errors(err)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := document.DecodeAll("test.yaml", []byte(strings.Repeat("---\na: 1\n", 1001)), &got); err == nil {
		t.Error("1001 documents were read")
	}
}

func TestPos(t *testing.T) {
	t.Parallel()
	text := "name: a\nitems:\n  - count: 1\n  - count: 2\nwith:\n  a.b:\n    \"x]\\\"\": 1\n"
	doc, err := document.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]document.Pos{
		"":                        {"test.yaml", 1, 1},
		"name":                    {"test.yaml", 1, 1},
		"items":                   {"test.yaml", 2, 1},
		"items[1]":                {"test.yaml", 4, 5},
		"items[1].count":          {"test.yaml", 4, 5},
		"items[1].absent":         {"test.yaml", 4, 5},
		"items[9].count":          {"test.yaml", 2, 1},
		"items.count":             {"test.yaml", 2, 1},
		"absent":                  {"test.yaml", 1, 1},
		`with["a.b"]`:             {"test.yaml", 6, 3},
		`with["a.b"]["x]\""]`:     {"test.yaml", 7, 5},
		`with["a.b`:               {"test.yaml", 5, 1},
		"with[x":                  {"test.yaml", 5, 1},
		"name[99999999999999999]": {"test.yaml", 1, 1},
	} {
		if got := doc.Pos(path); got != want {
			t.Errorf("place of %s = %v, want %v", path, got, want)
		}
	}
	if got, want := doc.Errorf("items[1].count", "too %s", "many").Error(), "test.yaml:4: items[1].count: too many"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (document.Pos{File: "f"}).String(); got != "f" {
		t.Errorf("place without a line = %q, want f", got)
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	known := []string{"name", "summary", "steps", "if"}
	for word, want := range map[string]string{
		"naem": "name", "NAME": "name", "summry": "summary", "stesp": "steps", "step": "steps",
		"banana": "", "": "", "x": "", "fi": "if", strings.Repeat("name", 50): "",
	} {
		if got := document.Suggest(word, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: a\nitems: [{within: 1s}]\nwith: {a.b: [1]}"))
	f.Add([]byte("any: {a: 1.5, b: 2026-01-01, \"c]\": ~}\n---\nseverity: low\nshort: {word: x}"))
	f.Add([]byte("a: &a [*a, *a]\n<<: *a\n? [x]\n: !!int y"))
	f.Fuzz(func(t *testing.T, text []byte) {
		docs, err := document.ParseAll("fuzz", text)
		if err != nil {
			placed(t, err)
			return
		}
		for _, doc := range docs {
			var into outer
			if err := doc.Decode(&into); err != nil {
				placed(t, err)
			}
			var plain map[string]any
			if err := doc.Decode(&plain); err != nil {
				placed(t, err)
			}
		}
	})
}

// placed checks that an error is ours, says where, and says it within bounds.
func placed(t *testing.T, err error) {
	t.Helper()
	mistakes := document.Errors(err)
	if len(mistakes) == 0 || !fault.Is(err, fault.Invalid) {
		t.Fatalf("got %v, want errors with a place", err)
	}
	for _, mistake := range mistakes {
		if mistake.File != "fuzz" || mistake.Reason == "" {
			t.Errorf("got %+v, want file and reason", mistake)
		}
	}
}
