package sigma_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/sigma"
)

// FuzzParse reads any rule and holds it against any event, alone and in a set, whose index must lose nothing.
func FuzzParse(f *testing.F) {
	event := []byte(`{"eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","userIdentity":{"arn":"a:user/x"},"a":[1,"x",null]}`)
	f.Add([]byte(whole), event)
	for _, detection := range []string{
		"s: {a|re|i: 'x+'}\ncondition: s", "s: {a|wide|base64offset|contains: x, b|windash: -x}\ncondition: s",
		"s: {a|hour|gt: 1, b|lt: 3, c|cidr: 10.0.0.0/8}\ncondition: not s", "s1: [a, b]\ns2: [{a: 1}, {b: null}]\ncondition: [1 of s*, all of them]",
		"s: {a|fieldref: b, c|exists: false, d|neq: 1e3}\ncondition: s", "s: {a: [1, x, 007, null, true]}\ncondition: s",
	} {
		f.Add([]byte(ruleText(detection)), event)
	}
	f.Fuzz(func(t *testing.T, text, event []byte) {
		rules, err := sigma.Parse("rule.yml", text)
		if err != nil {
			if _, ok := errors.AsType[*sigma.Error](err); !ok {
				t.Fatalf("got %T, want a *sigma.Error", err)
			}
		}
		e, err := sigma.ParseEvent(event)
		if err != nil {
			return
		}
		for _, r := range rules {
			set, err := sigma.NewSet([]*sigma.Rule{r})
			if err != nil {
				t.Fatal(err)
			}
			_, want := r.Match(e)
			if got := len(set.Evaluate(e, r.LogSource.Product, r.LogSource.Service, r.LogSource.Category)) == 1; got != want {
				t.Errorf("alone %v, in a set %v", want, got)
			}
		}
	})
}

// FuzzMatch compares the matching of patterns with regular expressions that say the same.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"a*b?c", "AxxbyC"}, {`\*\?\\*`, `*?\x`}, {"**", ""}, {"*?a*?", "éaé"}, {"ſKß", "skẞ"}, {"?*?", "x"}, {"ab*bc", "abc"}, {`\\\*`, `\*`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(value) || strings.ContainsRune(pattern, utf8.RuneError) || len(pattern) > 100 {
			return
		}
		for modifier, around := range map[string][2]string{
			"": {"", ""}, "|contains": {".*", ".*"}, "|startswith": {"", ".*"}, "|endswith": {".*", ""}, "|cased": {"", ""},
		} {
			text, err := yaml.Marshal(map[string]any{
				"title": "T", "logsource": map[string]string{"product": "x"},
				"detection": map[string]any{"s": map[string]any{"a" + modifier: []string{pattern}}, "condition": "s"},
			})
			if err != nil {
				return
			}
			rules, err := sigma.Parse("rule.yml", text)
			if err != nil {
				return // the YAML writer writes what its reader refuses
			}
			flags := "(?is)"
			if modifier == "|cased" {
				flags = "(?s)"
			}
			want := regexp.MustCompile(flags + `\A` + around[0] + asRegexp(pattern) + around[1] + `\z`).MatchString(value)
			if _, got := rules[0].Match(sigma.NewEvent(map[string]any{"a": value})); got != want {
				t.Errorf("%q%s against %q: got %v, want %v", pattern, modifier, value, got, want)
			}
		}
	})
}

// asRegexp writes a Sigma string as a regular expression.
func asRegexp(pattern string) string {
	var b strings.Builder
	for pattern != "" {
		switch {
		case strings.HasPrefix(pattern, `\*`), strings.HasPrefix(pattern, `\?`), strings.HasPrefix(pattern, `\\`):
			b.WriteString(regexp.QuoteMeta(pattern[1:2]))
			pattern = pattern[2:]
			continue
		case pattern[0] == '*':
			b.WriteString(".*")
		case pattern[0] == '?':
			b.WriteString(".")
		default:
			_, size := utf8.DecodeRuneInString(pattern)
			b.WriteString(regexp.QuoteMeta(pattern[:size]))
			pattern = pattern[size:]
			continue
		}
		pattern = pattern[1:]
	}
	return b.String()
}

// FuzzEvent holds the JSON reader against the standard library's.
func FuzzEvent(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-0.5e+3,"\u00e9\ud83d\ude00\n",true,false,null,{}]}`, `{"a":01}`, `{`, `[]`, "{\"\xff\":\"\xff\"}", `{} x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := sigma.ParseEvent(text)
		valid := json.Valid(text) && strings.HasPrefix(strings.TrimLeft(string(text), " \t\r\n"), "{")
		if valid == (err == nil) {
			return
		}
		if err != nil && (strings.Contains(err.Error(), "deeper than") || strings.Contains(err.Error(), "more than")) {
			return
		}
		t.Errorf("%q: got error %v, want valid %v", text, err, valid)
	})
}

// FuzzCollection reads and links any file, and correlates any events by it in two orders, which must agree.
func FuzzCollection(f *testing.F) {
	f.Add([]byte(everyKind), "abcabcaab", int64(1))
	f.Add([]byte(base("a", "a")+correlationText("c", "type: temporal\nrules: [a, d]\ntimespan: 5m")+
		correlationText("d", "type: temporal\nrules: [c]\ntimespan: 5m")), "aa", int64(60))
	f.Add([]byte(base("a", "a")+filterText("f", "expires: 2026-03-01\nowner: x\n", "rules: any\ns: {call: b}\ncondition: not s")+
		correlationText("c", "type: value_avg\nrules: a\ntimespan: 1w\ncondition: {field: n, neq: 0.1}")), "aaa", int64(7))
	f.Fuzz(func(t *testing.T, text []byte, calls string, step int64) {
		c, err := sigma.ParseCollection("file.yml", text, sigma.Options{})
		if err != nil && !errors.As(err, new(*sigma.Error)) {
			t.Fatalf("got %T, want a *sigma.Error", err)
		}
		linked, err := c.Link(noon)
		if err != nil && !errors.As(err, new(*sigma.Error)) {
			t.Fatalf("got %T, want a *sigma.Error", err)
		}
		if len(calls) > 50 || step < 0 || step > 1e6 || len(linked.Correlations) == 0 {
			return
		}
		var events []happening
		for i, call := range calls {
			at := noon.Add(time.Duration(int64(i)*step) * time.Second)
			events = append(events, happen(i, at, map[string]any{"call": string(call), "who": "u", "where": "x", "what": i, "n": i}))
		}
		want := final(t, linked, events, sigma.CorrelatorOptions{Lateness: sigma.Unbounded}, 1)
		slices.Reverse(events)
		got := final(t, linked, events, sigma.CorrelatorOptions{Lateness: sigma.Unbounded}, 1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the order of events matters (-forth +back):\n%s", diff)
		}
	})
}

// FuzzLookups reads any list, of each kind.
func FuzzLookups(f *testing.F) {
	for _, seed := range []string{"a\n# b\nc # d\n", "a,b\n\"c\n", "- a\n- 1\n", "[\"a\",1]", "\ufeffx", "a: b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, file := range []string{"a.txt", "a.csv", "a.yaml", "a.json"} {
			got, err := sigma.LoadLookups(lists(map[string]string{file: string(text)}), "lists")
			if err != nil && !errors.As(err, new(*sigma.Error)) {
				t.Fatalf("%s: got %T, want a *sigma.Error", file, err)
			}
			if _, read := got["a"]; read == (err != nil) {
				t.Errorf("%s: read %v, error %v", file, read, err)
			}
			for _, value := range got["a"] {
				if value == "" || !utf8.ValidString(value) {
					t.Errorf("%s: kept the value %q", file, value)
				}
			}
		}
	})
}
