package rulecase_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/rulecase"
	"github.com/riposte-sec/riposte/sigma"
)

const stop = `title: Stopped
id: 5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0a01
logsource: {product: aws, service: cloudtrail}
detection:
  selection:
    eventName: StopLogging
    errorCode: null
  condition: selection
`

const start = `title: Started
id: 5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0a02
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventName: StartLogging}
  condition: selection
`

func load(t *testing.T, files map[string]string) ([]rulecase.Case, []*sigma.Rule, error) {
	t.Helper()
	folder := fstest.MapFS{}
	var rules []*sigma.Rule
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text)}
		if !rulecase.IsTest(name) {
			parsed, err := sigma.Parse(name, []byte(text))
			if err != nil {
				t.Fatalf("parse %s: %v", name, err)
			}
			rules = append(rules, parsed...)
		}
	}
	cases, err := rulecase.Load(folder, ".")
	return cases, rules, err
}

func TestRun(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{
			name: "all as it should be",
			files: map[string]string{"aws/stop.yaml": stop, "aws/stop_test.yaml": `
- {name: stopped, match: true, event: {eventName: StopLogging}}
- {name: refused, match: false, event: {eventName: StopLogging, errorCode: AccessDenied}}
`},
		},
		{
			name: "a rule that is wrong both ways",
			files: map[string]string{"aws/stop.yaml": stop, "aws/stop_test.yaml": `
- {name: deleted, match: true, event: {eventName: DeleteTrail}}
- {name: by a friend, match: false, event: {eventName: StopLogging, user: alice}}
`},
			want: []string{
				`aws/stop_test.yaml:2: "deleted": the rule must match, but doesn't`,
				`aws/stop_test.yaml:3: "by a friend": the rule must not match, but does, by eventName="StopLogging", errorCode=""`,
			},
		},
		{
			name: "a test without a rule",
			files: map[string]string{"stop_test.yaml": `
- {name: stopped, match: true, event: {eventName: StopLogging}}
`},
			want: []string{`stop_test.yaml:2: "stopped": there is no rule in stop.yaml`},
		},
		{
			name: "several rules in a file",
			files: map[string]string{"both.yml": stop + "---\n" + start, "both_test.yml": `
- {name: by title, match: true, rule: Started, event: {eventName: StartLogging}}
- {name: by ID, match: false, rule: 5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0a01, event: {eventName: StartLogging}}
- {name: neither, match: true, event: {eventName: StartLogging}}
- {name: misspelt, match: true, rule: Startet, event: {eventName: StartLogging}}
`},
			want: []string{
				`both_test.yml:4: "neither": say which rule is meant, by rule: and its title; the file beside holds several`,
				`both_test.yml:5: "misspelt": the file beside holds no rule with the title, name or ID "Startet"`,
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cases, rules, err := load(t, test.files)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, texts(rulecase.Run(cases, rules))); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUntested(t *testing.T) {
	cases, rules, err := load(t, map[string]string{"both.yaml": stop + "---\n" + start, "both_test.yaml": `
- {name: started, match: true, rule: Started, event: {eventName: StartLogging}}
`})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"both.yaml:1: the rule has no test", "both.yaml:10: no test shows what the rule lets pass"}
	if diff := cmp.Diff(want, texts(rulecase.Untested(cases, rules))); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	cases[0].Match = false
	want[1] = "both.yaml:10: no test shows what the rule finds"
	if diff := cmp.Diff(want, texts(rulecase.Untested(cases, rules))); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "- {name: a, matches: true, event: {a: b}}", `x_test.yaml:1: [0].matches: there is no such key; did you mean "match"?`},
		{"no name", "- {match: true, event: {a: b}}", "x_test.yaml:1: [0]: a test needs a name"},
		{"no expectation", "- {name: a, event: {a: b}}", "x_test.yaml:1: [0]: say whether the rule must match: match: true or match: false"},
		{"no event", "- {name: a, match: true}", "x_test.yaml:1: [0]: a test needs an event, or events if it is a correlation's"},
		{"events are a mapping", "- {name: a, match: true, events: {a: b}}", "x_test.yaml:1: [0].events: is a mapping, not a list"},
		{"an event is text", "- {name: a, match: true, events: [b]}", "x_test.yaml:1: [0].events[0]: is text, not a mapping"},
		{
			"a misspelt key beside an event", "- {name: a, match: true, events: [{at: +0s, evnt: {a: b}}]}",
			`x_test.yaml:1: [0].events[0].evnt: there is no such key; did you mean "event"?`,
		},
		{"an empty event", "- {name: a, match: true, events: [{at: +0s}]}", "x_test.yaml:1: [0].events[0]: the event is empty"},
		{
			"no time", "- {name: a, match: true, events: [{a: b}, {c: d}]}",
			"x_test.yaml:1: [0].events[1]: the event doesn't tell its time: say when it was by at:, such as +5m",
		},
		{
			"a time that is none", "- {name: a, match: true, events: [{at: noon, event: {a: b}}]}",
			`x_test.yaml:1: [0].events[0].at: "noon" is neither a time such as 2026-03-04T12:00:00Z nor an offset from the first event such as +5m`,
		},
		{
			"too many", "- {name: a, match: true, events: [{times: 6000, event: {a: b}}, {at: +1h, times: 6000, event: {a: b}}]}",
			"x_test.yaml:1: [0].events[1]: a test has at most 10000 events",
		},
		{
			"no times", "- {name: a, match: true, events: [{times: 0, event: {a: b}}]}",
			"x_test.yaml:1: [0].events[0]: times is from 1 to 10000, and every is not negative",
		},
		{"not a list", "name: a", "x_test.yaml:1: is a mapping, not a list"},
		{"event is text", "- {name: a, match: true, event: b}", "x_test.yaml:1: [0].event: is text, not a mapping"},
		{
			"a name twice", "- {name: a, match: true, event: {a: b}}\n- {name: a, match: false, event: {a: c}}",
			`x_test.yaml:2: [1].name: "a" is the name of the test at line 1, too`,
		},
		{"not YAML", "- {name: a", "x_test.yaml:1: "},
		{"account without quotes", "- {name: a, match: true, event: {account: 012345678901}}", "x_test.yaml:1: [0].event.account: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := load(t, map[string]string{"x_test.yaml": test.text})
			if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want fault.Invalid: %s", err, test.want)
			}
			if len(document.Errors(err)) != 1 {
				t.Errorf("got %d mistakes, want 1", len(document.Errors(err)))
			}
		})
	}
}

func TestLoadTellsEveryFile(t *testing.T) {
	_, _, err := load(t, map[string]string{"a_test.yaml": "- {}", "b/c_test.yaml": "- {name: a}"})
	if got := len(document.Errors(err)); got != 2 {
		t.Errorf("got %d mistakes of two files, want 2: %v", got, err)
	}
}

func TestLoadOfNoFolder(t *testing.T) {
	if _, err := rulecase.Load(fstest.MapFS{}, "absent"); err == nil {
		t.Error("no error for a folder that isn't there")
	}
}

func texts(failures []rulecase.Result) []string {
	var all []string
	for _, f := range failures {
		all = append(all, f.String())
	}
	return all
}

func FuzzTest(f *testing.F) {
	f.Add("- {name: stopped, match: true, rule: Stopped, event: {eventName: StopLogging}}")
	f.Add("- {name: stopped, match: 1, rule: [], event: [{}, 0x1, ~]}")
	f.Add("- name: a\n  match: true\n" + login + "    - {times: 2, every: 1m}\n    - {at: +5m, event: {b: {c: ~}}}\n")
	f.Add("- {name: a, match: false, rule: guessed, events: [{at: '2026-03-04T12:00:00Z', times: 9, event: {eventTime: 1}}]}")
	f.Fuzz(func(t *testing.T, text string) {
		content := &rulecase.Content{}
		folder := fstest.MapFS{
			"x.yaml": &fstest.MapFile{Data: []byte(stop + "---\n" + failed + succeeded)}, "x_test.yaml": &fstest.MapFile{Data: []byte(text)},
		}
		if err := content.Read(folder, ".", ""); err != nil {
			t.Fatal(err)
		}
		if got := len(content.Test().Results); got != len(content.Cases) {
			t.Fatalf("got %d results of %d cases", got, len(content.Cases))
		}
		if _, err := rulecase.Load(folder, "."); err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("got %v, want fault.Invalid", err)
		}
	})
}
