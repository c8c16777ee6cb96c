package conformance_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma/conformance"
)

const good = `suite: 1
topic: x
about: Something.
choice: Not said.
cases:
  - name: a
    spec: rules#general
    detection: |
      s: {a: b}
      condition: s
    matches: ['{"a":"b"}']
  - name: b
    documents: "title: x"
    source: {product: gcp}
    stream:
      - {time: 2024-01-02T03:04:05Z, event: '{"a":1}', source: {product: aws}}
      - {time: 2024-01-02T03:04:06Z, event: '{"a":2}'}
    alerts:
      - {by: c, group: {a: b}, times: 2}
`

func TestLoadFrom(t *testing.T) {
	topics, err := conformance.LoadFrom(fstest.MapFS{"x.yml": {Data: []byte(good)}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := topics[0].Cases[0], topics[0].Cases[1]
	want := "title: x a\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  s: {a: b}\n  condition: s\n"
	if diff := cmp.Diff(want, a.Documents); diff != "" {
		t.Errorf("the rule around a detection differs (-want +got):\n%s", diff)
	}
	if a.Choice != "" || b.Choice != "Not said." {
		t.Errorf("got choices %q and %q", a.Choice, b.Choice)
	}
	got := []conformance.Source{a.Source, b.Stream[0].Source, b.Stream[1].Source}
	if diff := cmp.Diff([]conformance.Source{{Product: "aws", Service: "cloudtrail"}, {Product: "aws"}, {Product: "gcp"}}, got); diff != "" {
		t.Errorf("sources differ (-want +got):\n%s", diff)
	}
}

func TestLoadFromRefuses(t *testing.T) {
	for name, c := range map[string]struct{ old, put, want string }{
		"version":       {"suite: 1", "suite: 2", "version 2"},
		"name of file":  {"topic: x", "topic: y", "holds the topic y"},
		"unknown key":   {"about:", "abuot:", "abuot"},
		"no basis":      {"spec: rules#general", "choice: ''", "is there twice"},
		"both":          {"spec: rules#general", "spec: rules#general\n    choice: x", "either spec or choice"},
		"section":       {"rules#general", "page 7", "is no section"},
		"name":          {"name: a", "name: A b", "is no name"},
		"twice":         {"name: b", "name: a", "is there twice"},
		"two rules":     {"documents:", "rule: x\n    documents:", "one of rule, detection and documents"},
		"no events":     {"matches:", "why:", "string"},
		"refused":       {"matches:", "refused: true\n    matches:", "can't be refused and have events"},
		"optional":      {"matches:", "optional: true\n    matches:", "is optional, and so a choice"},
		"stream":        {"source: {product: gcp}", "matches: ['{}']", "needs events or a stream"},
		"time":          {"time: 2024-01-02T03:04:05Z, ", "", "event 1 of the stream has no time"},
		"alerts, alone": {"matches: ['{\"a\":\"b\"}']", "matches: ['{\"a\":\"b\"}']\n    alerts: [{by: c}]", "alerts without a stream"},
	} {
		if name == "no basis" { // the choice of the file would stand in
			c.old, c.put, c.want = "choice: Not said.\n", "", "needs either spec or choice"
		}
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the text has no %q", c.old)
			}
			_, err := conformance.LoadFrom(fstest.MapFS{"x.yml": {Data: []byte(strings.Replace(good, c.old, c.put, 1))}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// liar is an engine that says what it was told to.
type liar struct {
	load   error
	match  bool
	alerts []conformance.Alert
}

func (l *liar) Load(string, map[string][]string) error                       { return l.load }
func (l *liar) Match(string, conformance.Source) (bool, error)               { return l.match, nil }
func (l *liar) Correlate([]conformance.Arrival) ([]conformance.Alert, error) { return l.alerts, nil }

func TestCheck(t *testing.T) {
	group := func(user string, times int) conformance.Alert {
		return conformance.Alert{By: "c", Group: map[string]string{"user": user}, Times: times}
	}
	stream := []conformance.Arrival{{Event: "{}"}}
	for name, c := range map[string]struct {
		engine liar
		asked  conformance.Case
		want   []string
	}{
		"right":       {liar{match: true}, conformance.Case{Matches: []string{"{}"}}, nil},
		"missed":      {liar{}, conformance.Case{Matches: []string{"{}"}}, []string{"match is false, should be true: {}"}},
		"too much":    {liar{match: true}, conformance.Case{Misses: []string{"{}"}}, []string{"match is true, should be false: {}"}},
		"not refused": {liar{}, conformance.Case{Refused: true}, []string{"the documents should be refused"}},
		"refused":     {liar{load: conformance.ErrRefused}, conformance.Case{Misses: []string{"{}"}}, []string{"the documents should load: refused"}},
		"as it may":   {liar{load: conformance.ErrRefused}, conformance.Case{Optional: true, Misses: []string{"{}"}}, nil},
		"alerts": {
			liar{alerts: []conformance.Alert{group("b", 0), group("a", 0), group("a", 0)}},
			conformance.Case{Stream: stream, Alerts: []conformance.Alert{group("a", 2), group("b", 0)}},
			nil,
		},
		"other alerts": {
			liar{alerts: []conformance.Alert{group("a", 0), group("c", 0)}},
			conformance.Case{Stream: stream, Alerts: []conformance.Alert{group("a", 2), group("b", 0)}},
			[]string{`1 alerts of c user="a", should be 2`, `no alert of c user="b"`, `an alert too many, of c user="c"`},
		},
		"no alerts": {liar{alerts: []conformance.Alert{{By: "c"}}}, conformance.Case{Stream: stream}, []string{"an alert too many, of c"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := conformance.Check(&c.engine, c.asked)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
		})
	}
}
