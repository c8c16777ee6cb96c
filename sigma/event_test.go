package sigma_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/sigma"
)

func TestEventRefused(t *testing.T) {
	scanner := compile(t, nil).Scanner()
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "expected an object"},
		"a list":          {"[]", "expected an object"},
		"more":            {"{} {}", "offset 3: more after the object"},
		"open":            {`{"a":[1,`, "ends too early"},
		"deep":            {`{"a":` + strings.Repeat("[", 100_000), "nested deeper than 256"},
		"deep objects":    {strings.Repeat(`{"a":`, 300), "nested deeper than 256"},
		"many":            {`{"a":[` + strings.Repeat("0,", 1<<18) + "0]}", "more than 262144 values"},
		"zeros":           {`{"a":01}`, "not a number"},
		"fraction":        {`{"a":1.}`, "not a number"},
		"exponent":        {`{"a":1e}`, "not a number"},
		"word":            {`{"a":nul}`, "expected null"},
		"control":         {"{\"a\":\"\n\"}", "control character"},
		"escape":          {`{"a":"\x"}`, "escape"},
		"short u":         {`{"a":"\u12"}`, "four hexadecimal"},
		"string":          {`{"a":"x\"}`, "doesn't end"},
		"name":            {`{a:1}`, "expected a name"},
		"colon":           {`{"a" 1}`, "expected a colon"},
		"comma":           {`{"a":1 "b":2}`, "expected a comma"},
		"trailing comma":  {`{"a":[1,]}`, "no value begins"},
		"trailing object": {`{"a":1,}`, "expected a name"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := sigma.ParseEvent([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := scanner.Scan([]byte(c.text), "", "", ""); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the engine gives %v, want %q", err, c.want)
			}
		})
	}
}

func TestEventStrings(t *testing.T) {
	runCases(t, []matchCase{
		{`a: "😀/\"\\\\\b\f\n\r\t"`, []string{`{"a":"\ud83d\ude00\/\"\\\b\f\n\r\t"}`, `{"a":"😀/\"\\\b\f\n\r\t"}`}, nil},
		{`a: "\uFFFDx"`, []string{`{"a":"\ud83dx"}`, `{"a":"\ude00x"}`, "{\"a\":\"\xffx\"}"}, nil},
		{`a: "\uFFFDA"`, []string{`{"a":"\ud83d\u0041"}`}, nil},
		{`a: 1.10`, []string{` { "a" : 1.10 } `}, nil},
	})
}

func TestLargeObjects(t *testing.T) {
	var text strings.Builder
	text.WriteString(`{"k7":"first"`)
	for i := range 5000 {
		fmt.Fprintf(&text, `,"k%d":%d`, i, i)
	}
	text.WriteString("}")
	e := parseEvent(t, []byte(text.String()))
	for item, want := range map[string]bool{"k7: 7": true, "k7: first": false, "k4999: 4999": true, "k5000: null": true} {
		r := parseOne(t, ruleText("s: {"+item+"}\ncondition: s"), sigma.Options{})
		if _, got := r.Match(e); got != want {
			t.Errorf("%s: got %v, want %v", item, got, want)
		}
	}
}

func TestNewEvent(t *testing.T) {
	deep := map[string]any{"x": "y"}
	for range 1000 {
		deep = map[string]any{"x": deep}
	}
	e := sigma.NewEvent(map[string]any{
		"text": "T\xff", "number": json.Number("1.50"), "float": 2.5, "int": int64(3), "true": true, "false": false, "null": nil,
		"list": []any{"a", map[string]any{"b": "c"}}, "strings": []string{"p", "q"}, "object": map[string]any{"z": 1, "a": []any{}},
		"struct": struct{ A int }{7}, "nan": math.NaN(), "deep": deep,
	})
	for _, item := range []string{
		`text: "t\uFFFD"`, "number: 1.5", "number: '1.50'", "float: 2.5", "int: 3", "'true': true", "'false': false",
		"'null|exists': true", "'null': null", "list: a", "list.b: c", "strings|all: [p, q]", `object: '{"a":[],"z":1}'`,
		"struct.A: 7", "nan: nan", "deep.x.x|exists: true",
	} {
		r := parseOne(t, ruleText("s: {"+item+"}\ncondition: s"), sigma.Options{})
		if _, ok := r.Match(e); !ok {
			t.Errorf("%s doesn't match", item)
		}
	}
}

// TestReferencesBetweenLongLists would not end if each value were compared with each.
func TestReferencesBetweenLongLists(t *testing.T) {
	list := func(prefix, last string) string {
		var b strings.Builder
		for i := range 80_000 {
			fmt.Fprintf(&b, "\"%s%d\",", prefix, i)
		}
		return "[" + b.String() + `"` + last + `"]`
	}
	e := parseEvent(t, []byte(`{"a":`+list("x", "same")+`,"b":`+list("y", "SAME")+`,"c":`+list("z", "other")+`}`))
	for item, want := range map[string]bool{"a|fieldref: b": true, "a|fieldref: c": false, "a|fieldref|contains: c": false} {
		r := parseOne(t, ruleText("s: {'"+strings.Replace(item, ":", "':", 1)+"}\ncondition: s"), sigma.Options{})
		if _, got := r.Match(e); got != want {
			t.Errorf("%s: got %v, want %v", item, got, want)
		}
	}
}
