package sigma_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

func TestElements(t *testing.T) {
	runCases(t, []matchCase{
		{
			`a|element: {port: 22, from|contains: '0/0'}`,
			[]string{`{"a":[{"port":80,"from":"x"},{"port":22,"from":"0.0.0.0/0"}]}`, `{"a":{"port":22,"from":["x","0.0.0.0/0"]}}`, `{"a":[[{"port":22,"from":"0/0"}]]}`},
			[]string{`{"a":[{"port":22,"from":"x"},{"port":80,"from":"0.0.0.0/0"}]}`, `{"a":[]}`, `{}`, `{"a":null}`, `{"a":[null,22]}`},
		},
		{`a.b|element: {c.d: x, e: y}`, []string{`{"a":{"b":[{"c":{"d":"x"},"e":"y"}]}}`, `{"a":[{"b":{"c.d":"x","e":"y"}}]}`}, []string{`{"a":{"b":[{"c":{"d":"x"}},{"e":"y"}]}}`}},
		{"a|element:\n  - {k: x}\n  - {k: y, v: 1}", []string{`{"a":[{"k":"x"}]}`, `{"a":[{"k":"y","v":1}]}`}, []string{`{"a":[{"k":"y"},{"v":1}]}`}},
		{"a|element|all:\n  - {k: x, v: 1}\n  - {k: y, v: 2}", []string{`{"a":[{"k":"y","v":2},{"k":"x","v":1}]}`}, []string{`{"a":[{"k":"x","v":2},{"k":"y","v":1}]}`, `{"a":[{"k":"x","v":1}]}`}},
		{`a|element|neq: {k: x, v: 1}`, []string{`{"a":[{"k":"x","v":2},{"k":"y","v":1}]}`, `{}`}, []string{`{"a":[{"k":"z"},{"k":"x","v":1}]}`}},
		{`a|element: {k: null, v|exists: true, w|neq: 3}`, []string{`{"a":[{"v":1}]}`}, []string{`{"a":[{"k":1,"v":1},{"k":null}]}`, `{"a":[{"v":1,"w":3}]}`, `{"a":[]}`, `{}`}},
		{`a|element: {k|fieldref: v}`, []string{`{"a":[{"k":"x","v":"X"}],"v":"z"}`}, []string{`{"a":[{"k":"x","v":"y"},{"k":"y"}],"v":"x"}`}},
		{`a|element: {b|element: {c: 1, d: 2}, e: 3}`, []string{`{"a":[{"b":[{"c":1,"d":2}],"e":3}]}`}, []string{`{"a":[{"b":[{"c":1},{"d":2}],"e":3}]}`, `{"a":[{"b":[{"c":1,"d":2}]},{"e":3}]}`}},
		{`a|element: {'|contains|all': [x, y]}`, []string{`{"a":["z","x-y"]}`, `{"a":[{"p":"x","q":["y"]}]}`}, []string{`{"a":["x","y"]}`}},
		{`a|element: {'|re': '^[0-9]+$'}`, []string{`{"a":["z","12"]}`, `{"a":12}`}, []string{`{"a":["x1"]}`}},
	})
}

func TestElementsTellWhich(t *testing.T) {
	r := parseOne(t, ruleText("s: {a.b|element: {port: 22, from|element: {cidr|endswith: /0}, '|contains': x}, c|element|neq: {d: 1}}\ncondition: s"), sigma.Options{})
	m, ok := r.Match(parseEvent(t, []byte(`{"a":{"b":[{"port":1},{"port":22,"from":[{"cidr":"10/8"},{"cidr":"x/0"}]}]}}`)))
	if !ok {
		t.Fatal("got no match")
	}
	want := sigma.Match{Fields: []sigma.Matched{
		{Selection: "s", Field: "a.b[1].port", Value: "22", Pattern: "22"},
		{Selection: "s", Field: "a.b[1].from[1].cidr", Value: "x/0", Pattern: "endswith: /0"},
		{Selection: "s", Field: "a.b[1]", Value: "x/0", Pattern: "contains: x"},
		{Selection: "s", Field: "c", Pattern: "element|neq"},
	}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("the match differs (-want +got):\n%s", diff)
	}
}

func TestRefusedElements(t *testing.T) {
	deep := strings.Repeat("{a|element: ", 9) + "{b: 1}" + strings.Repeat("}", 9)
	for _, c := range []struct{ item, problem string }{
		{`a|element: x`, "needs a mapping of what holds for one member of the list, not text"},
		{`a|element: [{b: 1}, x]`, "needs a mapping"},
		{`a|element: []`, "has no values"},
		{`a|element: {}`, "selects nothing"},
		{`a|element|contains: {b: 1}`, "takes none but all and neq"},
		{`a|cased|element: {b: 1}`, "takes none but all and neq"},
		{`'|element': {b: 1}`, "stands with a field"},
		{`a|element: {b|no: 1}`, `modifier "no" is unknown`},
		{`a|element: ` + deep, "nested deeper than 8"},
		{`a: {b: 1}`, "not a mapping"},
	} {
		_, err := sigma.Parse("rule.yml", []byte(ruleText("s:\n"+indented(c.item)+"condition: s")))
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: got %v, want %q", c.item, err, c.problem)
		}
	}
}
