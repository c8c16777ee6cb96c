package rulecase_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/rulecase"
)

// failed is a rule that correlations count, with the correlations.
const failed = `title: Sign-in failed
id: 5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0b01
name: failed
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventName: ConsoleLogin, responseElements.ConsoleLogin: Failure}
  condition: selection
---
title: Many failures
id: 5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0b02
correlation:
  type: event_count
  rules: [failed]
  group-by: [sourceIPAddress]
  timespan: 10m
  condition: {gte: 3}
riposte: {name: many-failures}
`

// succeeded adds a correlation in which order matters.
const succeeded = `---
title: Sign-in succeeded
name: succeeded
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventName: ConsoleLogin, responseElements.ConsoleLogin: Success}
  condition: selection
---
title: Guessed
name: guessed
correlation:
  type: temporal_ordered
  rules: [many, succeeded]
  group-by: [sourceIPAddress]
  timespan: 1h
---
title: Many failures, for others
name: many
correlation:
  type: event_count
  rules: [failed]
  group-by: [sourceIPAddress]
  timespan: 10m
  condition: {gte: 3}
`

// login is how a case begins: a record that its events have in common.
const login = `  event: {eventName: ConsoleLogin, eventTime: '2026-03-04T12:00:00Z', sourceIPAddress: 198.51.100.7, responseElements: {ConsoleLogin: Failure}}
  events:
`

func read(t *testing.T, files map[string]string, library ...string) *rulecase.Content {
	t.Helper()
	folder := fstest.MapFS{}
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text)}
	}
	content := &rulecase.Content{}
	for i, text := range library {
		other := &rulecase.Content{}
		name := fmt.Sprintf("library-%d.yaml", i)
		if err := other.Read(fstest.MapFS{name: &fstest.MapFile{Data: []byte(text)}}, ".", "shipped:"); err != nil {
			t.Fatal(err)
		}
		content.Library.Add(other.Collection)
	}
	if err := content.Read(folder, ".", ""); err != nil {
		t.Fatal(err)
	}
	if len(content.Mistakes) > 0 {
		t.Fatalf("the files are wrong: %v", content.Mistakes)
	}
	return content
}

func TestCorrelations(t *testing.T) {
	tests := []struct {
		name, rules, cases string
		want               []string
	}{
		{
			name: "counted, repeated, grouped", rules: failed, cases: `
- name: three within ten minutes
  match: true
` + login + `
    - {times: 3, every: 4m}
- name: too slow
  match: false
` + login + `
    - {times: 3, every: 5m}
- name: from two addresses
  match: false
  rule: many-failures
` + login + `
    - {times: 2}
    - {at: +1m, event: {sourceIPAddress: 198.51.100.8}}
- name: the times are their own
  match: true
  events:
    - {eventName: ConsoleLogin, eventTime: '2026-03-04T12:00:00Z', sourceIPAddress: a, responseElements: {ConsoleLogin: Failure}}
    - {eventName: ConsoleLogin, eventTime: '2026-03-04T11:59:00Z', sourceIPAddress: a, responseElements: {ConsoleLogin: Failure}}
    - {at: '2026-03-04T12:01:00Z', event: {eventName: ConsoleLogin, sourceIPAddress: a, responseElements: {ConsoleLogin: Failure}}}
- {name: the rule, match: true, event: {eventName: ConsoleLogin, responseElements: {ConsoleLogin: Failure}}}
- {name: another result, match: false, event: {eventName: ConsoleLogin, responseElements: {ConsoleLogin: Success}}}
`,
		},
		{
			name: "wrong both ways", rules: failed, cases: `
- name: two
  match: true
` + login + `
    - {times: 2}
- name: three
  match: false
` + login + `
    - {times: 3}
- name: one
  match: true
  rule: Many failures
  event: {eventName: ConsoleLogin, eventTime: '2026-03-04T12:00:00Z', sourceIPAddress: a, responseElements: {ConsoleLogin: Failure}}
`,
			want: []string{
				`x_test.yaml:2: "two": the correlation must match, but doesn't: of 2 events failed matches 2`,
				`x_test.yaml:8: "three": the correlation must not match, but does: at 2026-03-04 12:00:02 over 3 events of sourceIPAddress="198.51.100.7"`,
				`x_test.yaml:14: "one": the correlation must match, but doesn't: of 1 events failed matches 1`,
				"x.yaml:1: the rule has no test",
			},
		},
		{
			name: "in order, over another correlation", rules: failed + succeeded, cases: `
- name: guessed
  match: true
  rule: guessed
` + login + `
    - {times: 3}
    - {at: +1m, event: {responseElements: {ConsoleLogin: Success}}}
- name: known at once
  match: false
  rule: guessed
` + login + `
    - {at: +0s, event: {responseElements: {ConsoleLogin: Success}}}
    - {at: +1m, times: 3}
- name: which one
  match: true
` + login + `
    - {times: 3}
- name: a rule
  match: true
  rule: succeeded
` + login + `
    - {times: 3}
`,
			want: []string{
				`x_test.yaml:18: "which one": say which rule is meant, by rule: and its title; the file beside holds several`,
				`x_test.yaml:24: "a rule": events are for a correlation; the rule "Sign-in succeeded" is asked of one event`,
				"x.yaml:1: the rule has no test", "x.yaml:19: the rule has no test", "x.yaml:9: the correlation has no test",
				"x.yaml:34: the correlation has no test",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			content := read(t, map[string]string{"x.yaml": test.rules, "x_test.yaml": test.cases})
			report := content.Test()
			if diff := cmp.Diff(test.want, texts(append(report.Failed(), report.Untested...))); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReferencesIntoTheLibrary(t *testing.T) {
	const over = `title: Failures of anybody
correlation: {type: event_count, rules: [failed], timespan: 10m, condition: {gte: 2}}
`
	cases := "- name: two\n  match: true\n" + login + "    - {times: 2}\n- name: one\n  match: false\n" + login + "    - {at: +0s}\n"
	files := map[string]string{"x.yaml": over, "x_test.yaml": cases}
	content := read(t, files)
	if diff := cmp.Diff([]string{`x.yaml:2: correlation.rules: "failed" is the ID or the name of no rule and no correlation`}, texts(content.Link())); diff != "" {
		t.Errorf("mistakes without the library (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`x_test.yaml:1: "two": the correlation was refused`, `x_test.yaml:6: "one": the correlation was refused`},
		texts(content.Test().Failed())); diff != "" {
		t.Errorf("failures without the library (-want +got):\n%s", diff)
	}
	content = read(t, files, failed)
	report := content.Test()
	if got := append(append(content.Link(), report.Failed()...), report.Untested...); len(got) > 0 {
		t.Errorf("got %v with the library, want nothing wrong", texts(got))
	}
	// A copy of the library's own rule stands for it.
	files["own.yaml"] = failed
	if got := read(t, files, failed).Link(); len(got) > 0 {
		t.Errorf("got %v with a copy of the library, want nothing wrong", texts(got))
	}
}

func TestFilters(t *testing.T) {
	const filter = `title: Our scanner
logsource: {product: aws, service: cloudtrail}
filter:
  rules: [failed]
  selection: {sourceIPAddress: 203.0.113.9}
  condition: not selection
`
	tests := []struct {
		name, cases string
		want        []string
	}{
		{
			name: "hides and leaves", cases: `
- {name: ours, match: false, event: {eventName: ConsoleLogin, sourceIPAddress: 203.0.113.9, responseElements: {ConsoleLogin: Failure}}}
- {name: others, match: true, rule: failed, event: {eventName: ConsoleLogin, sourceIPAddress: 203.0.113.8, responseElements: {ConsoleLogin: Failure}}}
`,
		},
		{
			name: "wrong", cases: `
- {name: ours, match: true, event: {eventName: ConsoleLogin, sourceIPAddress: 203.0.113.9, responseElements: {ConsoleLogin: Failure}}}
- {name: others, match: false, event: {eventName: ConsoleLogin, sourceIPAddress: 203.0.113.8, responseElements: {ConsoleLogin: Failure}}}
- {name: shows nothing, match: false, event: {eventName: ConsoleLogin, sourceIPAddress: 203.0.113.9}}
- {name: another rule, match: false, rule: Started, event: {eventName: ConsoleLogin, sourceIPAddress: 203.0.113.9}}
`,
			want: []string{
				`filters_test.yaml:2: "ours": the filter must leave the match, but "Our scanner" hides it`,
				`filters_test.yaml:3: "others": the filter must hide the match, but doesn't`,
				`filters_test.yaml:4: "shows nothing": the rule "Sign-in failed" doesn't match the event without the filter either, so the test shows nothing`,
				`filters_test.yaml:5: "another rule": the filters beside it concern no rule with the title, name or ID "Started"`,
				"filters.yaml:1: the filter has no test",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			content := read(t, map[string]string{"filters.yaml": filter, "filters_test.yaml": test.cases}, failed)
			report := content.Test()
			if diff := cmp.Diff(test.want, texts(append(report.Failed(), report.Untested...))); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
		})
	}
	// The rule's own tests are of the rule as it was written, whatever an installation filters.
	content := read(t, map[string]string{
		"filters.yaml": filter, "x.yaml": failed,
		"x_test.yaml": "- {name: a, match: true, event: {eventName: ConsoleLogin, sourceIPAddress: 203.0.113.9, responseElements: {ConsoleLogin: Failure}}}",
	})
	if got := content.Test().Failed(); len(got) > 0 {
		t.Errorf("a filter made a rule's own test fail: %v", texts(got))
	}
}
