package sigma_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

func TestFilters(t *testing.T) {
	linked := link(t, base("a", "x")+base("b", "x")+strings.Replace(base("c", "x"), "service: cloudtrail", "service: guardduty", 1)+
		filterText("scanner", "", "rules: [a, id-b]\ns: {who: scanner}\nt: {from|cidr: 10.0.0.0/8}\ncondition: not (s and t)")+
		strings.Replace(filterText("everywhere", "expires: 2026-03-01T12:00:01Z\n", "rules: any\ns: {test: true}\ncondition: not s"), "{product: aws}", "{product: aws, service: cloudtrail}", 1)+
		filterText("gone", "expires: 2026-03-01T12:00:00Z\n", "rules: any\ns: {who: anyone}\ncondition: not s")+
		filterText("later", "expires: 2026-03-01\n", "rules: [a]\n_s: {n|gte: 3}\ns: {n|lt: 9}\ncondition: not 1 of _s or not s"))
	titles := func(filters []*sigma.Filter) string {
		var all []string
		for _, f := range filters {
			all = append(all, f.Title)
		}
		return strings.Join(all, " ")
	}
	if got := titles(linked.Filters) + ", " + titles(linked.Expired); got != "scanner everywhere later, gone" {
		t.Errorf("filters in force and expired: %s", got)
	}
	if want := noon.Add(time.Second); !linked.NextExpiry.Equal(want) {
		t.Errorf("got the next expiry %v, want %v", linked.NextExpiry, want)
	}
	for i, want := range []string{"scanner everywhere later", "scanner everywhere", ""} {
		// Filters of any rule come first, in the order of the files; then those by name.
		if diff := cmp.Diff(strings.Fields(want), strings.Fields(titles(linked.Rules[i].Filters))); diff != "" {
			t.Errorf("filters of %s differ (-want +got):\n%s", linked.Rules[i].Title, diff)
		}
	}
	set := newSet(t, linked.Rules)
	engine, err := sigma.Compile(linked.Rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ event, a, b, c string }{
		{`{"call":"x","who":"scanner","from":"10.1.1.1"}`, "scanner", "scanner", ""},
		{`{"call":"x","who":"scanner","from":"11.1.1.1"}`, "", "", ""},
		{`{"call":"x","who":"anyone"}`, "", "", ""},
		{`{"call":"x","test":true,"who":"scanner","from":"10.1.1.1"}`, "scanner everywhere", "scanner everywhere", ""},
		{`{"call":"x","n":5}`, "later", "", ""},
		{`{"call":"x","n":9}`, "", "", ""},
	} {
		e := parseEvent(t, []byte(c.event))
		for i, want := range []string{c.a, c.b, c.c} {
			r := linked.Rules[i]
			if got := titles(r.HiddenBy(e)); got != want {
				t.Errorf("%s: %s is hidden by %q, want %q", c.event, r.Title, got, want)
			}
			if _, got := r.Match(e); got != (want == "") {
				t.Errorf("%s: %s matches: %v", c.event, r.Title, got)
			}
			if _, got := r.Unfiltered().Match(e); !got {
				t.Errorf("%s: %s without its filters doesn't match", c.event, r.Title)
			}
			found := false
			for _, hit := range set.Evaluate(e, "aws", r.LogSource.Service, "") {
				found = found || hit.Rule == r
			}
			hits, err := engine.Evaluate([]byte(c.event), "aws", r.LogSource.Service, "")
			if err != nil {
				t.Fatal(err)
			}
			foundFast := false
			for _, hit := range hits {
				foundFast = foundFast || hit.Rule == r
			}
			if found != (want == "") || foundFast != found {
				t.Errorf("%s: %s in a set %v, in an engine %v", c.event, r.Title, found, foundFast)
			}
		}
	}
	other := parseEvent(t, []byte(`{"call":"y","who":"scanner","from":"10.1.1.1"}`))
	if got := linked.Rules[0].HiddenBy(other); got != nil {
		t.Errorf("what the rule doesn't want is hidden by %s", titles(got))
	}
}

func TestRelinkAfterExpiry(t *testing.T) {
	c := parseCollection(t, base("a", "x")+filterText("f", "expires: 2026-03-01T12:00:01Z\n", "rules: any\ns: {who: u}\ncondition: not s"))
	e := parseEvent(t, []byte(`{"call":"x","who":"u"}`))
	matches := func(at time.Time) bool {
		linked, err := c.Link(at)
		if err != nil {
			t.Fatal(err)
		}
		_, ok := linked.Rules[0].Match(e)
		return ok
	}
	before, after := matches(noon), matches(noon.Add(time.Second))
	if before || !after || matches(noon) {
		t.Errorf("matches before the expiry: %v, after: %v", before, after)
	}
	if _, ok := c.Rules[0].Match(e); !ok || len(c.Rules[0].Filters) > 0 {
		t.Error("linking changed the collection")
	}
}

func TestFilteredRuleFeedsCorrelation(t *testing.T) {
	linked := link(t, base("a", "x")+correlationText("c", "type: event_count\nrules: [a]\ntimespan: 1m\ncondition: {gte: 1}")+
		filterText("f", "", "rules: a\ns: {who: u}\ncondition: not s"))
	r := linked.Rules[0]
	if len(r.Filters) != 1 || !r.Quiet || !linked.Observed(r) || !linked.Observed(r.Unfiltered()) {
		t.Errorf("got filters %v, quiet %v", r.Filters, r.Quiet)
	}
}
