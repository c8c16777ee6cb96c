package sigma_test

import "testing"

// TestCombinedModifiers holds modifiers together that rules combine more rarely.
func TestCombinedModifiers(t *testing.T) {
	runCases(t, []matchCase{
		// base64 of "x root y", at three offsets
		{`a|expand|base64offset|contains: '%admin%'`, []string{`{"a":"eCByb290IHk="}`, `{"a":"IHJvb3QgeQ=="}`, `{"a":"cm9vdCB5"}`}, []string{`{"a":"cm8gb3Q="}`}},
		// base64 of UTF-16LE "root"
		{`a|expand|wide|base64: '%admin%'`, []string{`{"a":"cgBvAG8AdAA="}`}, []string{`{"a":"cm9vdA=="}`}},
		{`a|expand|windash: '-%admin%'`, []string{`{"a":"/ROOT"}`, `{"a":"―root"}`}, []string{`{"a":"root"}`}},
		{`a|expand|startswith|cased: '%admin%'`, []string{`{"a":"root:x"}`}, []string{`{"a":"Root:x"}`}},
		{`a|expand|re|i: '^%admin%[0-9]$'`, []string{`{"a":"Root7"}`}, []string{`{"a":"root"}`}},
		{`a|expand|neq: '%admin%'`, []string{`{"a":"x"}`, `{}`}, []string{`{"a":"ROOT"}`}},
		{`a|utf16be|base64offset|contains: ab`, []string{`{"a":"AGEAYg=="}`, `{"a":"eABhAGI="}`}, []string{`{"a":"YWI="}`}},
		{`a|utf16|base64offset|contains: ab`, []string{`{"a":"//5hAGIA"}`}, []string{`{"a":"YQBiAA=="}`}},
		{`a|base64offset|contains|cased: 'foo bar'`, []string{`{"a":"eGZvbyBiYXIgYmF6"}`}, []string{`{"a":"EGZVBYBIYXIGYMF6"}`}},
		{`a|windash|startswith|cased: -X`, []string{`{"a":"/X1"}`}, []string{`{"a":"/x1"}`}},
		{`a|windash|contains|all: [' -a', ' /b']`, []string{`{"a":"x /a –b"}`}, []string{`{"a":"x -a b"}`}},
		{`a|fieldref|all: [b, c]`, []string{`{"a":["x","y"],"b":"x","c":"y"}`}, []string{`{"a":"x","b":"x","c":"y"}`}},
		{`a|fieldref|contains|neq: b`, []string{`{"a":"xyz","b":"q"}`, `{"a":"x"}`}, []string{`{"a":"xyz","b":"Y"}`}},
		{`a|fieldref|endswith|cased: b`, []string{`{"a":"xY","b":"Y"}`}, []string{`{"a":"xY","b":"y"}`}},
		{`a|cidr|all: [10.0.0.0/8, 10.1.0.0/16]`, []string{`{"a":"10.1.2.3"}`}, []string{`{"a":"10.2.2.3"}`}},
		{`a|cidr|neq: [10.0.0.0/8, 'fd00::/8']`, []string{`{"a":"11.1.1.1"}`, `{"a":"x"}`}, []string{`{"a":"10.1.1.1"}`, `{"a":"fd00::1"}`}},
		{`a|re|i|neq: '^adm'`, []string{`{"a":"x"}`, `{}`}, []string{`{"a":"ADMIN"}`}},
		{`a|re|all: ['x', 'y$']`, []string{`{"a":"xy"}`}, []string{`{"a":"yx"}`}},
		{`a|re|m|s: '^b.c$'`, []string{`{"a":"a\nb\nc"}`}, []string{`{"a":"ab\nc"}`}},
		{`a|neq|all: [x, y]`, []string{`{"a":"x"}`, `{"a":"z"}`}, []string{`{"a":["x","y"]}`}},
		{`a|cased|neq: X`, []string{`{"a":"x"}`}, []string{`{"a":"X"}`}},
		{`a|neq: null`, []string{`{"a":1}`, `{"a":""}`}, []string{`{"a":null}`, `{}`}},
		{`a|lt|all: [9, 5]`, []string{`{"a":4}`}, []string{`{"a":6}`}},
		{`a|gte|neq: 5`, []string{`{"a":4}`, `{"a":"x"}`}, []string{`{"a":5}`}},
		{`a|hour|gte|neq: 9`, []string{`{"a":"2024-12-30T08:59:01Z"}`, `{}`}, []string{`{"a":"2024-12-30T09:00:00Z"}`}},
		{`a|minute: [0, 30]`, []string{`{"a":"2024-12-30 10:30:59"}`}, []string{`{"a":"2024-12-30 10:31:00"}`}},
		{`a|day|lte: 7`, []string{`{"a":"2024-12-07"}`}, []string{`{"a":"2024-12-08"}`}},
		{`a|year|gt: 2023`, []string{`{"a":"2024-01-01T00:00:00Z"}`}, []string{`{"a":"2023-12-31T23:59:59Z"}`}},
		{`a|contains|all|cased: [X, y]`, []string{`{"a":"yX"}`}, []string{`{"a":"yx"}`}},
		{`'|windash|all': [-a, /b]`, []string{`{"k":"/a","l":"—b"}`}, []string{`{"k":"/a"}`}},
		{`'|re|i': 'FOO[0-9]'`, []string{`{"k":"xfoo1"}`}, []string{`{"k":"foo"}`}},
		{`'|neq': [x]`, []string{`{"k":"y"}`}, []string{`{"k":"axb"}`}},
		{`'|cased': X`, []string{`{"k":"aX"}`}, []string{`{"k":"ax"}`}},
		{`'|base64offset|contains': 'foo bar'`, []string{`{"k":"eGZvbyBiYXIgYmF6"}`}, []string{`{"k":"foo bar"}`}},
		{`'|expand': '%admin%'`, []string{`{"k":"a root"}`}, []string{`{"k":"user"}`}},
	})
}
