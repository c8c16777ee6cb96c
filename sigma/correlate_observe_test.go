package sigma_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

func TestObserve(t *testing.T) {
	linked := link(t, base("a", "x")+base("b", "x")+
		correlationText("tuples", "type: value_count\nrules: [a]\ngroup-by: [who, where]\ntimespan: 1m\ncondition: {field: [what, how], gte: 2}")+
		correlationText("sum", "type: value_sum\nrules: [a]\ngroup-by: [user.name]\ntimespan: 1m\ncondition: {field: n, gte: 2}")+
		correlationText("total", "type: value_sum\nrules: [a]\ntimespan: 1m\ncondition: {field: n, lt: 2}")+
		correlationText("alias", "type: event_count\nrules: [a, b]\ngroup-by: [actor]\naliases: {actor: {a: who, id-b: where}}\ntimespan: 1m\ncondition: {gte: 2}"))
	long := strings.Repeat("é", 200)
	for _, c := range []struct {
		rule  int
		event string
		want  []string
	}{
		{0, `{}`, nil},
		{0, `{"who":"u","where":1.0,"what":"p","how":true}`, []string{`tuples id-a ["u","1"] ["p","true"]`, `alias id-a ["u"] `}},
		{1, `{"who":"u","where":"x\"y"}`, []string{`alias id-b ["x\"y"] `}},
		{0, `{"who":["u","v","u",null],"where":"x","what":["p","q"],"how":0}`, []string{
			`tuples id-a ["u","x"] ["p","0"]`, `tuples id-a ["u","x"] ["q","0"]`, `tuples id-a ["v","x"] ["p","0"]`, `tuples id-a ["v","x"] ["q","0"]`,
			`alias id-a ["u"] `, `alias id-a ["v"] `,
		}},
		{0, `{"who":"u","where":{"x":1},"what":"p","how":1}`, []string{`alias id-a ["u"] `}},
		{0, `{"who":"","where":"x"}`, []string{`alias id-a [""] `}},
		{0, `{"user":[{"name":"u"},{"name":"v"}],"n":"1.5"}`, []string{`sum id-a ["u"] 1.5`, `sum id-a ["v"] 1.5`, `total id-a [] 1.5`}},
		{0, `{"user.name":"u","n":-1}`, []string{`total id-a [] -1`}},
		{0, `{"user.name":"u","n":"many"}`, nil},
		{0, `{"user.name":"u","n":1e999}`, nil},
		{0, `{"user.name":"u","n":true}`, nil},
	} {
		e := parseEvent(t, []byte(c.event))
		var got []string
		for _, o := range linked.Observe(linked.Rules[c.rule], e, "k", noon) {
			got = append(got, fmt.Sprintf("%s %s %s %s", strings.TrimPrefix(o.Correlation, "id-"), o.Rule, o.Group, o.Value))
			if o.Event != "k" || !o.Time.Equal(noon) {
				t.Errorf("got %+v", o)
			}
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: observations differ (-want +got):\n%s", c.event, diff)
		}
	}
	one := func(who string) sigma.Observation {
		all := linked.Observe(linked.Rules[0], sigma.NewEvent(map[string]any{"who": who}), "k", noon)
		if len(all) != 1 {
			t.Fatalf("got %d observations, want 1", len(all))
		}
		return all[0]
	}
	x, y := one(long+"x"), one(long+"y")
	if x.Group == y.Group || len(x.Group) > 400 || x.Values["actor"] == long {
		t.Errorf("long values: %q and %q", x.Group, y.Group)
	}
	if again := one(x.Values["actor"]); again.Group == x.Group {
		t.Errorf("a value that looks like the short form of another is taken for it: %q", again.Group)
	}
	for _, at := range []time.Time{time.Unix(-1, 0), time.Date(2200, 1, 1, 0, 0, 0, 1, time.UTC), {}} {
		if got := linked.Observe(linked.Rules[0], sigma.NewEvent(map[string]any{"who": "u"}), "k", at); got != nil {
			t.Errorf("%v: got %v", at, got)
		}
	}
}

func TestObserveIsBounded(t *testing.T) {
	linked := link(t, base("a", "x")+correlationText("c", "type: value_count\nrules: [a]\ngroup-by: [who, where]\ntimespan: 1m\ncondition: {field: what, gte: 2}"))
	var many []any
	for i := range 5000 {
		many = append(many, i)
	}
	all := linked.Observe(linked.Rules[0], sigma.NewEvent(map[string]any{"who": many, "where": many, "what": many}), "k", noon)
	if len(all) != 256 {
		t.Errorf("got %d observations, want 256", len(all))
	}
}

func TestAlertTells(t *testing.T) {
	linked := link(t, base("a", "a")+base("b", "b")+
		correlationText("inner", "type: value_sum\nrules: [a]\ngroup-by: [who]\ntimespan: 10m\ncondition: {field: n, gte: 3}")+
		correlationText("outer", "type: temporal_ordered\nrules: [inner, b]\ngroup-by: [who]\ntimespan: 10m"))
	c := sigma.NewCorrelator(linked, sigma.CorrelatorOptions{})
	take := func(rule, minutes int) []sigma.Alert {
		h := happen(minutes, noon.Add(time.Duration(minutes)*time.Minute), map[string]any{"who": "u", "n": 1})
		return c.Observe([]sigma.Hit{{Rule: linked.Rules[rule]}}, h.event, h.key, h.at)
	}
	var got []sigma.Alert
	for _, minutes := range []int{1, 2, 3, 4, 5} {
		got = append(got, take(0, minutes)...)
	}
	got = append(got, take(1, 6)...)
	got = append(got, c.Flush()...)
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	evidence := func(rule string, minutes int) sigma.Evidence {
		return sigma.Evidence{Rule: rule, Event: fmt.Sprintf("e%05d", minutes), Time: at(minutes)}
	}
	bucket := noon.Unix() / 600
	inner := sigma.Alert{
		Correlation: linked.Correlations[0], Group: `["u"]`, Values: map[string]string{"who": "u"}, Bucket: bucket,
		At: at(3), From: at(1), To: at(3), Value: 3, Count: 3, Rules: []string{"id-a"},
		Events: []sigma.Evidence{evidence("id-a", 1), evidence("id-a", 2), evidence("id-a", 3)}, Ends: []time.Time{at(3)},
	}
	final := inner
	final.To, final.Value, final.Count, final.Final = at(5), 5, 5, true
	final.Events = append(slices.Clone(inner.Events), evidence("id-a", 4), evidence("id-a", 5))
	final.Ends = []time.Time{at(3), at(4), at(5)}
	key := fmt.Sprintf(`["id-inner","[\"u\"]","%d"]`, bucket)
	outer := sigma.Alert{
		Correlation: linked.Correlations[1], Group: `["u"]`, Values: map[string]string{"who": "u"}, Bucket: bucket,
		At: at(6), From: at(3), To: at(6), Value: 2, Count: 2, Rules: []string{"id-inner", "id-b"},
		Events: []sigma.Evidence{{Rule: "id-inner", Event: key, Time: at(3)}, evidence("id-b", 6)},
	}
	outerFinal := outer
	outerFinal.Final = true
	same := cmp.Comparer(func(a, b *sigma.Correlation) bool { return a == b })
	if diff := cmp.Diff([]sigma.Alert{inner, outer, final, outerFinal}, got, same); diff != "" {
		t.Errorf("alerts differ (-want +got):\n%s", diff)
	}
	if got := got[0].Key(); got != key {
		t.Errorf("got the key %s, want %s", got, key)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	linked := link(t, base("a", "a")+base("b", "b")+correlationText("c", "type: temporal\nrules: [a, b]\ntimespan: 1h"))
	c := sigma.NewCorrelator(linked, sigma.CorrelatorOptions{})
	for i := range 500 {
		h := happen(i, noon.Add(time.Duration(i)*time.Second), nil)
		c.Observe([]sigma.Hit{{Rule: linked.Rules[0]}}, h.event, h.key, h.at)
	}
	h := happen(500, noon.Add(500*time.Second), nil)
	alerts := c.Observe([]sigma.Hit{{Rule: linked.Rules[1]}}, h.event, h.key, h.at)
	if len(alerts) != 1 || alerts[0].Count != 501 || len(alerts[0].Events) != 100 {
		t.Fatalf("got %+v", alerts)
	}
	var shown []string
	for _, e := range alerts[0].Events {
		shown = append(shown, e.Event)
	}
	if shown[0] != "e00000" || !slices.Contains(shown, "e00499") || shown[99] != "e00500" {
		t.Errorf("shown: %v", shown)
	}
}
