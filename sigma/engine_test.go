package sigma_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

func compile(tb testing.TB, rules []*sigma.Rule) *sigma.Engine {
	tb.Helper()
	e, err := sigma.Compile(rules)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// everywhere are rules that cover every source.
func everywhere(rules []*sigma.Rule) []*sigma.Rule {
	all := make([]*sigma.Rule, len(rules))
	for i, r := range rules {
		wide := *r
		wide.LogSource = sigma.LogSource{}
		all[i] = &wide
	}
	return all
}

func files(rules []*sigma.Rule) []string {
	var all []string
	for _, r := range rules {
		all = append(all, r.File)
	}
	return all
}

func scan(tb testing.TB, s *sigma.Scanner, text []byte) []*sigma.Rule {
	tb.Helper()
	rules, err := s.Scan(text, "aws", "cloudtrail", "")
	if err != nil {
		tb.Fatal(err)
	}
	return rules
}

func TestEngineGolden(t *testing.T) {
	rules, _ := loadRules(t, "sigma/rules/cloud/aws", sigma.Options{})
	s := compile(t, rules).Scanner()
	var got []string
	for _, folder := range []string{"invictus", "stratus"} {
		for _, record := range records(t, "cloudtrail/"+folder) {
			var id struct{ EventID string }
			if err := json.Unmarshal(record, &id); err != nil {
				t.Fatal(err)
			}
			for _, r := range scan(t, s, record) {
				got = append(got, id.EventID+"\t"+r.File+"\t"+folder)
			}
		}
	}
	slices.Sort(got)
	golden := strings.Split(strings.TrimSpace(string(read(t, needData(t, "cloudtrail/golden_sigma_aws.tsv")))), "\n")
	slices.Sort(golden)
	if diff := cmp.Diff(golden, got); diff != "" {
		t.Errorf("matches differ (-want +got):\n%s", diff)
	}
}

// TestEngineWorld holds all rules, whatever their source, against all events of CloudTrail.
func TestEngineWorld(t *testing.T) {
	rules, _ := loadRules(t, "sigma", sigma.Options{Placeholders: map[string][]string{"known_cdcs": {"DC*"}}})
	rules = everywhere(rules)
	set, s := newSet(t, rules), compile(t, rules).Scanner()
	matches := 0
	for _, folder := range []string{"invictus", "stratus", "traildiscover"} {
		for _, record := range records(t, "cloudtrail/"+folder) {
			var want []*sigma.Rule
			for _, hit := range set.Evaluate(parseEvent(t, record), "aws", "cloudtrail", "") {
				want = append(want, hit.Rule)
			}
			got := scan(t, s, record)
			if !slices.Equal(want, got) {
				t.Errorf("matches of %s differ (-set +engine):\n%s", record, cmp.Diff(files(want), files(got)))
			}
			matches += len(got)
		}
	}
	t.Logf("%d matches", matches)
}

func TestEngineRegression(t *testing.T) {
	rules, _ := loadRules(t, "sigma", sigma.Options{})
	e := compile(t, rules)
	s, wide, set := e.Scanner(), compile(t, everywhere(rules)).Scanner(), newSet(t, everywhere(rules))
	byID := make(map[string]*sigma.Rule)
	for _, r := range rules {
		byID[r.ID] = r
	}
	var cases []struct {
		Rule   string
		Events []json.RawMessage
	}
	if err := json.Unmarshal(read(t, needData(t, "sigma/regression.json")), &cases); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, c := range cases {
		l := byID[c.Rule].LogSource
		found := false
		for _, text := range c.Events {
			got, err := s.Scan(text, l.Product, l.Service, l.Category)
			if err != nil {
				t.Fatal(err)
			}
			found = found || slices.Contains(got, byID[c.Rule])
			var want []string
			for _, hit := range set.Evaluate(parseEvent(t, text), "", "", "") {
				want = append(want, hit.Rule.File)
			}
			if diff := cmp.Diff(want, files(scan(t, wide, text))); diff != "" {
				t.Errorf("all rules' matches differ (-set +engine):\n%s", diff)
			}
		}
		if !found {
			t.Errorf("%s matches none of its events", c.Rule)
			continue
		}
		passed++
	}
	t.Logf("%d of %d pass", passed, len(cases))
}
