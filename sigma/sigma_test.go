package sigma_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/sigma"
)

// ruleText is a rule with the detection given, which is indented as it must be.
func ruleText(detection string) string {
	return "title: T\nid: r\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n" + indented(detection)
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

func parseOne(tb testing.TB, text string, o sigma.Options) *sigma.Rule {
	tb.Helper()
	rules, err := sigma.ParseWith("rule.yml", []byte(text), o)
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	if len(rules) != 1 {
		tb.Fatalf("got %d rules, want 1", len(rules))
	}
	return rules[0]
}

// matchCase is one item of a selection with events that it should match, and others.
type matchCase struct {
	item    string
	matches []string
	others  []string
}

func runCases(t *testing.T, cases []matchCase) {
	t.Helper()
	o := sigma.Options{Placeholders: map[string][]string{
		"admins": {"root", "adm*"}, "admin": {"root"}, "nets": {"10.0.0.0/8", "fd00::/8"}, "sep": {"-", "_"},
	}}
	for _, c := range cases {
		t.Run(c.item, func(t *testing.T) {
			detection := "s:\n" + indented(c.item) + "condition: s"
			r := parseOne(t, ruleText(detection), o)
			set, scanner := newSet(t, []*sigma.Rule{r}), compile(t, []*sigma.Rule{r}).Scanner()
			check := func(text string, want bool) {
				e := parseEvent(t, []byte(text))
				if _, got := r.Match(e); got != want {
					t.Errorf("%s: got %v, want %v", text, got, want)
				}
				if got := len(set.Evaluate(e, "aws", "cloudtrail", "")) == 1; got != want {
					t.Errorf("%s in a set: got %v, want %v", text, got, want)
				}
				if got := len(scan(t, scanner, []byte(text))) == 1; got != want {
					t.Errorf("%s in an engine: got %v, want %v", text, got, want)
				}
			}
			for _, text := range c.matches {
				check(text, true)
			}
			for _, text := range c.others {
				check(text, false)
			}
		})
	}
}

func TestValues(t *testing.T) {
	runCases(t, []matchCase{
		{`a: Foo`, []string{`{"a":"foo"}`, `{"a":"FOO"}`}, []string{`{"a":"foo "}`, `{"a":"xfoo"}`, `{"b":"foo"}`, `{"a":null}`, `{}`}},
		{`a: straße`, []string{`{"a":"STRAßE"}`, `{"a":"ſtraẞe"}`}, []string{`{"a":"strasse"}`}},
		{`a: [x, y]`, []string{`{"a":"Y"}`}, []string{`{"a":"z"}`}},
		{`a: f*o`, []string{`{"a":"fo"}`, `{"a":"foo\no"}`}, []string{`{"a":"of"}`, `{"a":"f"}`}},
		{`a: f?o`, []string{`{"a":"fxo"}`, `{"a":"fäo"}`, `{"a":"f\u0000o"}`}, []string{`{"a":"fo"}`, `{"a":"fxxo"}`}},
		{`a: '*a?b*'`, []string{`{"a":"xxaab"}`, `{"a":"aaéb1"}`}, []string{`{"a":"ab"}`, `{"a":"a"}`}},
		{`a: '*a*?b'`, []string{`{"a":"xa-b"}`}, []string{`{"a":"xab"}`}},
		{`a: 'ab*bc'`, []string{`{"a":"abbc"}`}, []string{`{"a":"abc"}`}},
		{`a: 'a\*b\?'`, []string{`{"a":"A*b?"}`}, []string{`{"a":"axb?"}`, `{"a":"a*bx"}`}},
		{`a: 'c:\dir\\*'`, []string{`{"a":"C:\\dir\\x"}`}, []string{`{"a":"c:\\dir"}`, `{"a":"c:\\dir*"}`}},
		{`a: 'c:\\dir\\\*'`, []string{`{"a":"C:\\dir\\*"}`}, []string{`{"a":"c:\\dir\\x"}`}},
		{`a: '\\\\host'`, []string{`{"a":"\\\\host"}`}, []string{`{"a":"\\host"}`}},
		{`a: '*'`, []string{`{"a":""}`, `{"a":0}`, `{"a":{}}`}, []string{`{"a":null}`, `{"a":[]}`, `{}`}},
		{`a: ''`, []string{`{"a":""}`, `{"a":["x",""]}`}, []string{`{"a":null}`, `{}`, `{"a":" "}`}},
		{`a: null`, []string{`{}`, `{"a":null}`, `{"a":["x",null]}`}, []string{`{"a":""}`, `{"a":[]}`, `{"a":{}}`}},
		{`a: [null, '']`, []string{`{}`, `{"a":null}`, `{"a":""}`}, []string{`{"a":"x"}`}},
		{`a: 4624`, []string{`{"a":4624}`, `{"a":"4624"}`, `{"a":4624.0}`, `{"a":4.624e3}`}, []string{`{"a":46240}`, `{"a":"4624.0"}`}},
		{`a: -0`, []string{`{"a":0}`, `{"a":-0}`, `{"a":0.0}`}, []string{`{"a":""}`, `{"a":1}`}},
		{`a: 0x10`, []string{`{"a":16}`, `{"a":"16"}`}, []string{`{"a":"0x10"}`}},
		{`a: '0x10'`, []string{`{"a":"0X10"}`}, []string{`{"a":16}`}},
		{`a: 007`, []string{`{"a":"007"}`}, []string{`{"a":7}`}},
		{`a: 1.50`, []string{`{"a":1.5}`, `{"a":"1.5"}`}, []string{`{"a":15}`}},
		{`a: 9007199254740993`, []string{`{"a":9007199254740993}`}, []string{`{"a":9007199254740992}`}},
		{`a: true`, []string{`{"a":true}`, `{"a":"True"}`}, []string{`{"a":false}`, `{"a":1}`}},
		{`a: 'true'`, []string{`{"a":true}`}, []string{`{"a":false}`}},
		{`a: 2024-01-02`, []string{`{"a":"2024-01-02"}`}, []string{`{"a":"2024-01-02T00:00:00Z"}`}},
	})
}

func TestFields(t *testing.T) {
	runCases(t, []matchCase{
		{`a.b: x`, []string{`{"a":{"b":"x"}}`, `{"a.b":"x"}`, `{"a":[{"b":"y"},{"b":"x"}]}`, `{"a":{"b":["y","x"]}}`, `{"a":[[{"b":[["x"]]}]]}`}, []string{`{"a":"x"}`, `{"b":"x"}`, `{"a.b":"y","a":{"b":"x"}}`}},
		{`a.b.c: x`, []string{`{"a":{"b.c":"x"}}`, `{"a":{"b":{"c":"x"}}}`, `{"a.b.c":"x"}`}, []string{`{"a":{"b":{"d":"x"}}}`}},
		{`a: '{"b":[1,null,true,"x\\"\\u0001"]}'`, nil, []string{`{"a":"b"}`}},
		{`a|contains: '"k":"v"'`, []string{`{"a": {"x": 1, "k" : "V"}}`, `{"a":[1,{"k":"v"}]}`}, []string{`{"a":{"k":["v"]}}`}},
		{`a: '{"k":"é\\\\"}'`, []string{`{"a":{"k":"\u00e9\\"}}`}, nil},
		{`a: x`, []string{`{"a":"y","a":"x"}`}, []string{`{"a":"x","a":"y"}`}},
		{`a.b: null`, []string{`{}`, `{"a":1}`, `{"a":{"b":null}}`, `{"a":[]}`}, []string{`{"a":[{"b":1},{}]}`}},
		{`"a b": x`, []string{`{"a b":"x"}`}, []string{`{"a":"x"}`}},
	})
}

func TestModifiers(t *testing.T) {
	runCases(t, []matchCase{
		{`a|contains: oo`, []string{`{"a":"FOO"}`, `{"a":"oo"}`}, []string{`{"a":"o"}`, `{}`}},
		{`a|contains: o?b*r`, []string{`{"a":"fooxbaar!"}`}, []string{`{"a":"fobar"}`}},
		{`a|contains: 12`, []string{`{"a":9123}`, `{"a":"x12"}`}, []string{`{"a":1}`}},
		{`a|startswith: fo`, []string{`{"a":"FOO"}`}, []string{`{"a":"ofo"}`}},
		{`a|endswith: '\x.exe'`, []string{`{"a":"C:\\X.EXE"}`}, []string{`{"a":"x.exe"}`, `{"a":"\\x.exe "}`}},
		{`a|endswith: '?b'`, []string{`{"a":"xéb"}`}, []string{`{"a":"b"}`}},
		{`a|contains|all: [x, y]`, []string{`{"a":"y-x"}`, `{"a":["x","y"]}`}, []string{`{"a":"x"}`}},
		{`a|all: ['*x*', 'y*']`, []string{`{"a":"yx"}`}, []string{`{"a":"xy"}`}},
		{`a|cased: Foo`, []string{`{"a":"Foo"}`}, []string{`{"a":"foo"}`}},
		{`a|contains|cased: oO`, []string{`{"a":"foOo"}`}, []string{`{"a":"fooo"}`}},
		{`a|exists: true`, []string{`{"a":1}`, `{"a":null}`, `{"a":[]}`, `{"a":""}`}, []string{`{"b":1}`}},
		{`a.b|exists: false`, []string{`{}`, `{"a":1}`, `{"a":{}}`}, []string{`{"a":{"b":null}}`}},
		{`a|neq: x`, []string{`{"a":"y"}`, `{}`, `{"a":null}`}, []string{`{"a":"X"}`, `{"a":["y","x"]}`}},
		{`a|neq: [1, 2]`, []string{`{"a":3}`}, []string{`{"a":2}`, `{"a":1.0}`}},
		{`a|contains|neq: x`, []string{`{"a":"y"}`}, []string{`{"a":"axb"}`}},
		{`a|re: '^f.o$'`, []string{`{"a":"fxo"}`, `{"a":["n","foo"]}`}, []string{`{"a":"Fxo"}`, `{"a":"f\no"}`, `{"a":"xfoo"}`}},
		{`a|re: 'o+'`, []string{`{"a":"foo"}`}, []string{`{"a":"x"}`}},
		{`a|re|i: 'FOO'`, []string{`{"a":"xfoo"}`}, []string{`{"a":"fo"}`}},
		{`a|re|s: 'a.b'`, []string{`{"a":"a\nb"}`}, []string{`{"a":"A\nb"}`}},
		{`a|re|m: '^b$'`, []string{`{"a":"a\nb\nc"}`}, []string{`{"a":"ab"}`}},
		{`a|re|i|m|s: '^B.c'`, []string{`{"a":"a\nb\nc"}`}, []string{`{"a":"ab"}`}},
		{`a|re: '^[0-9]{3}$'`, []string{`{"a":404}`}, []string{`{"a":4040}`}},
		{`a|cidr: 10.0.0.0/8`, []string{`{"a":"10.255.0.1"}`, `{"a":"::ffff:10.0.0.1"}`}, []string{`{"a":"11.0.0.1"}`, `{"a":"x"}`, `{"a":10}`}},
		{`a|cidr: ['fe80::/10', '192.168.1.1']`, []string{`{"a":"FE80::1%eth0"}`, `{"a":"192.168.1.1"}`}, []string{`{"a":"192.168.1.2"}`}},
		{`a|lt: 5`, []string{`{"a":4.9}`, `{"a":"-7"}`, `{"a":"04"}`}, []string{`{"a":5}`, `{"a":"x"}`, `{}`, `{"a":true}`, `{"a":""}`}},
		{`a|lte: 5`, []string{`{"a":5}`, `{"a":5.0}`}, []string{`{"a":5.01}`}},
		{`a|gt: 9007199254740992`, []string{`{"a":9007199254740993}`, `{"a":1e30}`}, []string{`{"a":9007199254740992}`, `{"a":-9007199254740993}`}},
		{`a|gte: -1.5`, []string{`{"a":-1.5}`, `{"a":[-9,0]}`}, []string{`{"a":-2}`}},
		{`a|gt|neq: 5`, []string{`{"a":5}`}, []string{`{"a":6}`}},
		{`a|fieldref: b.c`, []string{`{"a":"X","b":{"c":"x"}}`, `{"a":1,"b.c":"1"}`, `{"a":["p","q"],"b":[{"c":"q"}]}`}, []string{`{"a":"x"}`, `{"b":{"c":"x"}}`, `{"a":null,"b":{"c":null}}`, `{"a":"x","b":{"c":"y"}}`}},
		{`a|fieldref|cased: b`, []string{`{"a":"x","b":"x"}`}, []string{`{"a":"x","b":"X"}`}},
		{`a|fieldref|neq: b`, []string{`{"a":"x","b":"y"}`, `{"a":"x"}`}, []string{`{"a":"x","b":"X"}`}},
		{`a|fieldref|startswith: b`, []string{`{"a":"xy","b":"x"}`, `{"a":"*y","b":"*"}`}, []string{`{"a":"xy","b":"y"}`, `{"a":"xy","b":"*"}`}},
		{`a|fieldref|contains: b`, []string{`{"a":"xyz","b":"Y"}`}, []string{`{"a":"y","b":"xy"}`}},
		{`a|endswith|fieldref: b`, []string{`{"a":"xyz","b":"Z"}`}, []string{`{"a":"zy","b":"z"}`}},
		{`a|expand: '%admins%'`, []string{`{"a":"root"}`, `{"a":"administrator"}`}, []string{`{"a":"%admins%"}`, `{"a":"user"}`}},
		{`a|expand|contains: 'u%sep%%admins%.'`, []string{`{"a":"xu_root.y"}`, `{"a":"u-admin."}`}, []string{`{"a":"uroot."}`}},
		{`a|expand: '\%plain%admins%'`, []string{`{"a":"%plainroot"}`}, []string{`{"a":"plainroot"}`}},
		{`a|expand: '50% of'`, []string{`{"a":"50% of"}`}, []string{`{"a":"50"}`}},
		{`a|cidr|expand: '%nets%'`, []string{`{"a":"10.1.1.1"}`, `{"a":"fd12::1"}`}, []string{`{"a":"12.1.1.1"}`}},
		{`a: '%admins%'`, []string{`{"a":"%admins%"}`}, []string{`{"a":"root"}`}},
	})
}

func TestEncodings(t *testing.T) {
	runCases(t, []matchCase{
		{`a|base64: 'foobar'`, []string{`{"a":"Zm9vYmFy"}`}, []string{`{"a":"xZm9vYmFy"}`}},
		{`a|base64|contains|cased: 'foo'`, []string{`{"a":"-Zm9v-"}`}, []string{`{"a":"zm9v"}`}},
		{`a|base64: 'a\*'`, []string{`{"a":"YSo="}`}, nil},
		// base64 of "foo bar baz", "xfoo bar baz" and "xxfoo bar baz"
		{`a|base64offset|contains: 'foo bar'`, []string{`{"a":"Zm9vIGJhciBiYXo="}`, `{"a":"eGZvbyBiYXIgYmF6"}`, `{"a":"eHhmb28gYmFyIGJheg=="}`}, []string{`{"a":"Zm9vYmFy"}`}},
		{`a|base64offset|contains|all: ['foo bar', 'baz']`, []string{`{"a":"Zm9vIGJhciBiYXo="}`}, []string{`{"a":"Zm9vIGJhcg=="}`}},
		{`a|windash|base64|contains|all: [' -x', ' /y']`, []string{`{"a":"IC94 IC15"}`}, []string{`{"a":"IC94"}`}},
		// base64 of UTF-16LE "ping"
		{`a|wide|base64: ping`, []string{`{"a":"cABpAG4AZwA="}`}, []string{`{"a":"cGluZw=="}`}},
		{`a|utf16le|base64offset|contains: ping`, []string{`{"a":"cABpAG4AZwAgADEA"}`}, []string{`{"a":"cGluZw=="}`}},
		{`a|utf16be|base64: ab`, []string{`{"a":"AGEAYg=="}`}, []string{`{"a":"YQBiAA=="}`}},
		{`a|utf16|base64: ab`, []string{`{"a":"//5hAGIA"}`}, []string{`{"a":"YQBiAA=="}`}},
		{`a|wide: ab`, []string{`{"a":"a\u0000b\u0000"}`}, []string{`{"a":"ab"}`}},
		{`a|utf16: a`, []string{`{"a":"\u00ff\u00fea\u0000"}`}, []string{`{"a":"a\u0000"}`}},
		{`a|utf16be|contains: a`, []string{`{"a":"x\u0000a"}`}, []string{`{"a":"a\u0000"}`}},
		{`a|contains|windash: ' -enc'`, []string{`{"a":"x -ENC"}`, `{"a":"x /enc"}`, `{"a":"x –enc"}`, `{"a":"x —enc"}`, `{"a":"x ―enc"}`}, []string{`{"a":"x +enc"}`, `{"a":"xenc"}`}},
		{`a|windash|endswith: '-a-b'`, []string{`{"a":"/a—b"}`, `{"a":"x/a-b"}`}, []string{`{"a":"-ab"}`}},
		// base64 of " /x" and " -x"
		{`a|windash|base64|contains: ' -x'`, []string{`{"a":"IC94"}`, `{"a":"IC14"}`}, []string{`{"a":"ICt4"}`}},
	})
}

func TestDates(t *testing.T) {
	runCases(t, []matchCase{
		{`a|hour: 23`, []string{`{"a":"2024-12-30T23:59:01Z"}`, `{"a":"2024-12-30T23:59:01.123+02:00"}`, `{"a":"2024-12-30 23:00:00"}`}, []string{`{"a":"2024-12-30T22:59:01Z"}`, `{"a":"2024-12-30"}`, `{"a":"23"}`, `{"a":23}`, `{}`}},
		{`a|minute|gte: 30`, []string{`{"a":"2024-12-30T23:30:01Z"}`}, []string{`{"a":"2024-12-30T23:29:59Z"}`}},
		{`a|day: 30`, []string{`{"a":"2024-12-30"}`}, []string{`{"a":"2024-12-31"}`}},
		{`a|week: 1`, []string{`{"a":"2024-12-30T00:00:00Z"}`}, []string{`{"a":"2024-12-29T00:00:00Z"}`}},
		{`a|month|lt: 3`, []string{`{"a":"2024-02-28T00:00:00"}`}, []string{`{"a":"2024-03-01T00:00:00"}`}},
		{`a|year: [2023, 2024]`, []string{`{"a":"2024-02-28T00:00:00Z"}`}, []string{`{"a":"2025-02-28T00:00:00Z"}`}},
		{`a|hour|neq: 3`, []string{`{"a":"2024-02-28T00:00:00Z"}`}, []string{`{"a":"2024-02-28T03:00:00Z"}`}},
	})
}

func TestKeywords(t *testing.T) {
	runCases(t, []matchCase{
		{"- Evil\n- n*se", []string{`{"a":{"b":["xEVILx"]}}`, `{"a":{"evil.io/x":1}}`, `{"a":"noise!"}`}, []string{`{"a":"n","b":"se"}`, `{}`}},
		{`'|all': [one, two]`, []string{`{"a":"ONE","b":["two"]}`}, []string{`{"a":"one"}`}},
		{`'|re': 'k[0-9]'`, []string{`{"k1":0}`, `{"a":"k2"}`}, []string{`{"K1":0}`}},
		{`'|startswith': 'k'`, []string{`{"k1":0}`}, []string{`{"xk":"ak"}`}},
		{`- 4624`, []string{`{"a":4624}`}, []string{`{"a":462}`}},
		{"- a: x\n- b: y\n  c: z", []string{`{"a":"x"}`, `{"b":"y","c":"z"}`}, []string{`{"b":"y"}`}},
		{"- a: x\n- word", []string{`{"a":"x"}`, `{"b":"a word"}`}, []string{`{"b":"y"}`}},
		{"a: x\nb: y", []string{`{"a":"x","b":"y"}`}, []string{`{"a":"x"}`, `{"b":"y"}`}},
		{`lone`, []string{`{"a":"a lone word"}`}, []string{`{"a":"x"}`}},
	})
}

func TestConditions(t *testing.T) {
	selections := "s1: {a: 1}\ns2: {b: 1}\nfilter_x: {c: 1}\n_hidden: {d: 1}\n"
	for _, c := range []struct {
		condition string
		want      string // which of the events below match, by letters
	}{
		{"s1", "a ab abc abcd"},
		{"s1 and s2", "ab abc abcd"},
		{"s1 or s2", "a b ab abc abcd"},
		{"not s1", "b c d"},
		{"not not s1", "a ab abc abcd"},
		{"s1 and not filter_x", "a ab"},
		{"s1 or s2 and filter_x", "a ab abc abcd"},
		{"(s1 or s2) and filter_x", "abc abcd"},
		{"not (s1 or s2)", "c d"},
		{"not s1 and s2", "b"},
		{"1 of s*", "a b ab abc abcd"},
		{"any of s*", "a b ab abc abcd"},
		{"all of s*", "ab abc abcd"},
		{"1 of them", "a b c ab abc abcd"},
		{"all of them", "abc abcd"},
		{"all of s* and not 1 of filter_*", "ab"},
		{"1 of *_*", "c abc abcd"},
		{"1 of _*", "d abcd"},
		{"_hidden", "d abcd"},
		{"all of s1", "a ab abc abcd"},
		{"S1 AND s2", ""},
		{"s1 AND NOT s2", "a"},
		{"1 OF s2", "b ab abc abcd"},
		{"[filter_x, s2 and not s1]", "b c abc abcd"},
		{"((s1)and(s2))", "ab abc abcd"},
		{"|\n  s1 and\n  s2", "ab abc abcd"},
	} {
		t.Run(c.condition, func(t *testing.T) {
			rules, err := sigma.Parse("rule.yml", []byte(ruleText(selections+"condition: "+c.condition)))
			if c.want == "" {
				if err == nil {
					t.Error("got no error, want one")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, letters := range []string{"a", "b", "c", "d", "ab", "abc", "abcd"} {
				fields := make(map[string]any)
				for _, letter := range letters {
					fields[string(letter)] = 1
				}
				e := sigma.NewEvent(fields)
				_, ok := rules[0].Match(e)
				if ok {
					got = append(got, letters)
				}
				if hits := newSet(t, rules).Evaluate(e, "aws", "cloudtrail", ""); ok != (len(hits) == 1) {
					t.Errorf("%s: alone %v, in a set %d hits", letters, ok, len(hits))
				}
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func asError(t *testing.T, err error) *sigma.Error {
	t.Helper()
	mistake, ok := errors.AsType[*sigma.Error](err)
	if !ok {
		t.Fatalf("got %v, want a *sigma.Error", err)
	}
	return mistake
}
