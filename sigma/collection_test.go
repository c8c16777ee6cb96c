package sigma_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

// base is a rule that matches events with the value of a field.
func base(name, value string) string {
	return "title: " + name + "\nid: id-" + name + "\nname: " + name + "\nlogsource: {product: aws, service: cloudtrail}\n" +
		"detection: {s: {call: " + value + "}, condition: s}\n---\n"
}

// correlationText is a correlation with the body given.
func correlationText(name, body string) string {
	return "title: " + name + "\nid: id-" + name + "\nname: " + name + "\ncorrelation:\n" + indented(body) + "---\n"
}

func filterText(name, extra, body string) string {
	return "title: " + name + "\nid: id-" + name + "\nlogsource: {product: aws}\n" + extra + "filter:\n" + indented(body) + "---\n"
}

func parseCollection(tb testing.TB, text string) *sigma.Collection {
	tb.Helper()
	c, err := sigma.ParseCollection("file.yml", []byte(text), sigma.Options{})
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	return &c
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func link(tb testing.TB, text string) *sigma.Linked {
	tb.Helper()
	linked, err := parseCollection(tb, text).Link(noon)
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	return linked
}

func TestCollectionReadsEveryKind(t *testing.T) {
	text := base("a", "x") + correlationText("many", "type: value_count\nrules: [a]\ngroup-by: [who, where]\ntimespan: 90m\n"+
		"condition: {field: [what, how], gt: 3, lte: 10}\naliases: {who: {a: user.name}}\ngenerate: true") +
		filterText("ours", "owner: blue\nreason: The scanner does this.\nexpires: 2026-06-30\n", "rules: [a]\nscanner: {who: scanner}\ncondition: not scanner")
	c := parseCollection(t, text)
	if len(c.Rules) != 1 || len(c.Correlations) != 1 || len(c.Filters) != 1 {
		t.Fatalf("got %d rules, %d correlations, %d filters", len(c.Rules), len(c.Correlations), len(c.Filters))
	}
	got := c.Correlations[0]
	want := sigma.Correlation{
		Header: got.Header, Type: sigma.ValueCount, Rules: []string{"a"}, GroupBy: []string{"who", "where"},
		Aliases: map[string]map[string]string{"who": {"a": "user.name"}}, Timespan: 90 * time.Minute,
		Condition: "gt 3 and lte 10", Fields: []string{"what", "how"}, Generate: true,
	}
	if diff := cmp.Diff(want, *got, ignoreUnexported); diff != "" {
		t.Errorf("the correlation differs (-want +got):\n%s", diff)
	}
	if got.Title != "many" || got.Line != 7 || got.Key() != "id-many" || len(got.Hash) != 64 {
		t.Errorf("header %+v", got.Header)
	}
	f := c.Filters[0]
	wantFilter := sigma.Filter{
		Header: f.Header, LogSource: sigma.LogSource{Product: "aws"}, Rules: []string{"a"}, Owner: "blue",
		Reason: "The scanner does this.", Expires: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(wantFilter, *f, ignoreUnexported); diff != "" {
		t.Errorf("the filter differs (-want +got):\n%s", diff)
	}
}

func TestRefusedCorrelations(t *testing.T) {
	count := "rules: [a]\ngroup-by: [who]\ntimespan: 5m\n"
	both := "rules: [a, b]\ngroup-by: [who]\ntimespan: 5m\n"
	for _, c := range []struct{ body, key, problem string }{
		{"type: near\n" + count + "condition: {gte: 1}", ".type", `"near" is none of event_count, value_count`},
		{"type: ''\n" + count + "condition: {gte: 1}", ".type", "is none of event_count"},
		{count + "condition: {gte: 1}", ".type", "is missing"},
		{"type: event_count\nrules: [a]\ncondition: {gte: 1}", ".timespan", "is missing"},
		{"type: event_count\ntimespan: 5m\ncondition: {gte: 1}", ".rules", "is missing"},
		{"type: event_count\n" + count, ".condition", "is missing"},
		{"type: event_count\nrules: []\ntimespan: 5m\ncondition: {gte: 1}", ".rules", "names no rule"},
		{"type: event_count\nrules: [a, a]\ntimespan: 5m\ncondition: {gte: 1}", ".rules", `"a" is given twice`},
		{"type: event_count\nrules: [{a: b}]\ntimespan: 5m\ncondition: {gte: 1}", ".rules", "must be text, not a mapping"},
		{"type: event_count\nrules: [a]\ntimespan: 5M\ncondition: {gte: 1}", ".timespan", `"5M" is no timespan`},
		{"type: event_count\nrules: [a]\ntimespan: 0s\ncondition: {gte: 1}", ".timespan", "must be above zero"},
		{"type: event_count\nrules: [a]\ntimespan: 367d\ncondition: {gte: 1}", ".timespan", "at most 366 days"},
		{"type: event_count\nrules: [a]\ntimespan: 4294967295w\ncondition: {gte: 1}", ".timespan", "at most 366 days"},
		{"type: event_count\nrules: [a]\ntimespan: -5m\ncondition: {gte: 1}", ".timespan", "is no timespan"},
		{"type: event_count\nrules: [a]\ntimespan: ''\ncondition: {gte: 1}", ".timespan", "is empty"},
		{"type: event_count\n" + count + "window: 5m\ncondition: {gte: 1}", ".window", "is no key of a correlation"},
		{"type: event_count\n" + count + "condition: {more: 1}", ".condition.more", "is none of gt, gte"},
		{"type: event_count\n" + count + "condition: {}", ".condition", "compares with nothing"},
		{"type: event_count\n" + count + "condition: {gte: '5'}", ".condition.gte", "must be a number, not text"},
		{"type: event_count\n" + count + "condition: {gte: 1.5}", ".condition.gte", "must be a whole number"},
		{"type: event_count\n" + count + "condition: {gte: .inf}", ".condition.gte", "must be a number"},
		{"type: event_count\n" + count + "condition: {lt: 1}", ".condition", "can never hold: lt 1"},
		{"type: event_count\n" + count + "condition: {gt: 5, lt: 6}", ".condition", "can never hold: gt 5 and lt 6"},
		{"type: event_count\n" + count + "condition: {eq: 5, neq: 5}", ".condition", "can never hold"},
		{"type: value_sum\n" + count + "condition: {field: n, gt: 5, lte: 5}", ".condition", "can never hold"},
		{"type: event_count\n" + count + "condition: {gte: 5, field: x}", ".condition.field", "means nothing to event_count"},
		{"type: event_count\n" + count + "condition: a and b", ".condition", "must be a mapping of comparisons"},
		{"type: event_count\n" + count + "condition: {gte: 5, percentile: 95}", ".condition.percentile", "belongs to value_percentile"},
		{"type: value_count\n" + count + "condition: {gte: 5}", ".condition.field", "is missing; value_count needs it"},
		{"type: value_sum\n" + count + "condition: {gte: 5, field: [x, y]}", ".condition.field", "must be one field"},
		{"type: value_count\n" + count + "condition: {gte: 5, field: [x, x]}", ".condition.field", "given twice"},
		{"type: value_percentile\n" + count + "condition: {gte: 5, field: x}", ".condition.percentile", "is missing"},
		{"type: value_percentile\n" + count + "condition: {gte: 5, field: x, percentile: 101}", ".condition.percentile", "up to 100"},
		{"type: temporal\n" + both + "condition: {gte: 3}", ".condition", "can never hold: gte 3"},
		{"type: temporal_ordered\n" + both + "condition: {lt: 2}", ".condition", "of rules in order must be gt or gte"},
		{"type: temporal\n" + both + "condition: a and c", ".condition", `selection "c" is not defined`},
		{"type: temporal\n" + both + "condition: a", ".condition", "says nothing of the rule b"},
		{"type: temporal\n" + both + "condition: a or not b", ".condition", "holds where nothing is observed"},
		{"type: temporal\n" + both + "condition: a and b and not a", ".condition", "can never hold"},
		{"type: temporal\n" + both + "condition: [a, b]", ".condition", "must be a mapping"},
		{"type: temporal\ngroup-by: who\ntimespan: 5m", ".rules", "is missing"},
		{"type: event_count\n" + count + "condition: {gte: 1}\ngenerate: maybe", ".generate", "must be true or false"},
		{"type: event_count\n" + count + "condition: {gte: 1}\naliases: [x]", ".aliases", "must be a mapping"},
		{"type: event_count\n" + count + "condition: {gte: 1}\naliases: {x: {a: ''}}", ".aliases.x.a", "needs the name of a field"},
		{"type: event_count\nrules: [a]\ngroup-by: [x, '']\ntimespan: 5m\ncondition: {gte: 1}", ".group-by", "empty or given twice"},
	} {
		_, err := sigma.ParseCollection("file.yml", []byte(correlationText("c", c.body)), sigma.Options{})
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: got %v, want %q", c.body, err, c.problem)
			continue
		}
		if got := asError(t, err); got.Key != "correlation"+c.key || got.Line < 4 || got.File != "file.yml" {
			t.Errorf("%s: got %+v, want the key correlation%s", c.body, got, c.key)
		}
	}
}

func TestRefusedFilters(t *testing.T) {
	for _, c := range []struct{ extra, body, key, problem string }{
		{"", "s: {a: 1}\ncondition: not s", "filter.rules", "is missing; any means each rule"},
		{"", "rules: []\ns: {a: 1}\ncondition: not s", "filter.rules", "names no rule"},
		{"", "rules: any\ns: {a: 1}\ncondition: s", "filter.condition", "what to exclude is written as not selection"},
		{"", "rules: any\ns: {a: 1}\nt: {b: 1}\ncondition: not s and t", "filter.condition", "would keep back all that it doesn't select"},
		{"", "rules: any\ns: {a: 1}\ncondition: [not s, not s]", "filter.condition", "must be one condition"},
		{"", "rules: any\ns: {a: 1}", "filter.condition", "is missing"},
		{"", "rules: any\ns: {a|no: 1}\ncondition: not s", "filter.s.a|no", `modifier "no" is unknown`},
		{"", "[a]", "filter", "must be a mapping"},
		{"expires: tomorrow\n", "rules: any\ns: {a: 1}\ncondition: not s", "expires", "neither a date"},
		{"detection: {}\n", "rules: any\ns: {a: 1}\ncondition: not s", "filter", "a document with detection can't have filter"},
	} {
		_, err := sigma.ParseCollection("file.yml", []byte(filterText("f", c.extra, c.body)), sigma.Options{})
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: got %v, want %q", c.body, err, c.problem)
			continue
		}
		if got := asError(t, err); got.Key != c.key {
			t.Errorf("%s: got the key %s, want %s", c.body, got.Key, c.key)
		}
	}
}

func TestLinkResolves(t *testing.T) {
	linked := link(t, correlationText("outer", "type: temporal\nrules: [inner, id-b]\ngroup-by: [who]\ntimespan: 1h")+
		base("a", "x")+base("b", "y")+base("c", "z")+
		correlationText("inner", "type: event_count\nrules: [a, id-c]\ngroup-by: [who]\ntimespan: 5m\ncondition: {gte: 2}\ngenerate: true"))
	var titles []string
	for _, c := range linked.Correlations {
		titles = append(titles, c.Title)
	}
	if diff := cmp.Diff([]string{"inner", "outer"}, titles); diff != "" {
		t.Errorf("order differs (-want +got):\n%s", diff)
	}
	quiet := make(map[string]bool)
	for _, r := range linked.Rules {
		quiet[r.Title] = r.Quiet
	}
	for _, c := range linked.Correlations {
		quiet[c.Title] = c.Quiet
	}
	if diff := cmp.Diff(map[string]bool{"a": false, "b": true, "c": false, "inner": true, "outer": false}, quiet); diff != "" {
		t.Errorf("quiet differs (-want +got):\n%s", diff)
	}
}

func TestLinkRefuses(t *testing.T) {
	temporal := func(name, rules string) string {
		return correlationText(name, "type: temporal\nrules: ["+rules+"]\ngroup-by: [who]\ntimespan: 5m")
	}
	for name, c := range map[string]struct {
		text  string
		want  []string
		links int // correlations that are left
	}{
		"unknown":   {base("a", "x") + temporal("c", "a, b"), []string{`file.yml:12: correlation.rules: "b" is the ID or the name of no rule`}, 0},
		"itself":    {temporal("c", "c"), []string{"correlation.rules: refers to itself: c → c"}, 0},
		"circle":    {base("a", "x") + temporal("c", "a, d") + temporal("d", "e") + temporal("e", "a, c") + temporal("f", "a"), []string{"refers to itself: c → d → e → c"}, 1},
		"of it":     {temporal("c", "d") + temporal("d", "b"), []string{`"b" is the ID`, "refers to d, which was refused"}, 0},
		"same ID":   {base("a", "x") + base("a", "y"), []string{"file.yml:7: id: id-a is the ID of the rule at file.yml:1, too"}, 0},
		"ambiguous": {strings.Replace(base("a", "x"), "id-a", "1", 1) + strings.Replace(base("a", "x"), "id-a", "2", 1) + temporal("c", "a"), []string{`"a" may mean file.yml:1 or file.yml:7; say which by its ID`}, 0},
		"twice":     {base("a", "x") + temporal("c", "a, id-a"), []string{`"id-a" is a rule that is named before, too`}, 0},
		"alias of another": {
			base("a", "x") + base("b", "x") + correlationText("c", "type: temporal\nrules: [a]\ngroup-by: [who]\naliases: {who: {a: x, b: y}}\ntimespan: 5m"),
			[]string{"correlation.aliases.who.b: is none of the correlation's rules"},
			0,
		},
		"alias unknown": {
			base("a", "x") + correlationText("c", "type: temporal\nrules: [a]\ngroup-by: [who]\naliases: {who: {a: x, z: y}}\ntimespan: 5m"),
			[]string{"correlation.aliases.who.z: is none of the correlation's rules"},
			0,
		},
		"alias silent": {
			base("a", "x") + base("b", "x") + correlationText("c", "type: temporal\nrules: [a, b]\ngroup-by: [who]\naliases: {who: {a: x}}\ntimespan: 5m"),
			[]string{"file.yml:20: correlation.aliases.who: doesn't say what it is in the events of b"},
			0,
		},
		"no such field": {
			base("a", "x") + temporal("c", "a") + correlationText("d", "type: temporal\nrules: [c]\ngroup-by: [where]\ntimespan: 5m"),
			[]string{`correlation.group-by: the correlation c has no field "where"; it groups by who`},
			1,
		},
		"no field to count": {
			base("a", "x") + temporal("c", "a") + correlationText("d", "type: value_count\nrules: [c]\ngroup-by: [who]\ntimespan: 5m\ncondition: {field: what, gte: 2}"),
			[]string{`correlation.condition.field: the correlation c has no field "what"`},
			1,
		},
		"filter unknown":     {filterText("f", "", "rules: [a]\ns: {a: 1}\ncondition: not s"), []string{`filter.rules: "a" is the ID or the name of no rule`}, 0},
		"filter correlation": {base("a", "x") + temporal("c", "a") + filterText("f", "", "rules: [c]\ns: {a: 1}\ncondition: not s"), []string{"is a correlation; filter the rules"}, 1},
		"filter elsewhere": {
			strings.Replace(base("a", "x"), "product: aws", "product: azure", 1) + filterText("f", "", "rules: a\ns: {a: 1}\ncondition: not s"),
			[]string{"the filter's log source isn't that of the rule a at file.yml:1"},
			0,
		},
		"nameless": {
			base("a", "x") + strings.Repeat("title: T\nname: n\ncorrelation: {type: temporal, rules: [a], timespan: 5m}\n---\n", 2),
			[]string{"name: the correlation at file.yml:7 is called the same"},
			1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			linked, err := parseCollection(t, c.text).Link(noon)
			if err == nil {
				t.Fatal("got no error")
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(c.want) {
				t.Errorf("got %d errors, want %d: %v", len(got), len(c.want), err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
			if got := asError(t, err); got.File != "file.yml" || got.Line == 0 {
				t.Errorf("got %+v, want a file and a line", got)
			}
			if len(linked.Correlations) != c.links {
				t.Errorf("%d correlations are left, want %d", len(linked.Correlations), c.links)
			}
		})
	}
}

var ignoreUnexported = cmp.FilterPath(func(p cmp.Path) bool {
	field, ok := p.Last().(cmp.StructField)
	return ok && field.Name() != "" && strings.ToLower(field.Name()[:1]) == field.Name()[:1]
}, cmp.Ignore())
