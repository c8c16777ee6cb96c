package sigma_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

const data = "../../shared/data"

// mostRefused is how many of the 3,754 rules are refused: both need placeholders that nobody gave.
const mostRefused = 2

func needData(tb testing.TB, path string) string {
	tb.Helper()
	path = filepath.Join(data, path)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("no shared data: %v", err)
	}
	return path
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// loadRules reads every rule below a folder and returns those that were refused apart.
func loadRules(tb testing.TB, folder string, o sigma.Options) ([]*sigma.Rule, []error) {
	tb.Helper()
	var rules []*sigma.Rule
	var refused []error
	err := filepath.WalkDir(needData(tb, folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yml" {
			return err
		}
		some, err := sigma.ParseWith(filepath.Base(path), read(tb, path), o)
		if err != nil {
			refused = append(refused, err)
		}
		rules = append(rules, some...)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return rules, refused
}

// records reads the raw events of a folder's files: one list a file, or one within Records.
func records(tb testing.TB, folder string) []json.RawMessage {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(needData(tb, folder), "*.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var all []json.RawMessage
	for _, file := range files {
		text := read(tb, file)
		var some []json.RawMessage
		if json.Unmarshal(text, &some) != nil {
			var wrapped struct{ Records []json.RawMessage }
			if err := json.Unmarshal(text, &wrapped); err != nil {
				tb.Fatalf("%s: %v", file, err)
			}
			some = wrapped.Records
		}
		all = append(all, some...)
	}
	return all
}

func newSet(tb testing.TB, rules []*sigma.Rule) *sigma.Set {
	tb.Helper()
	set, err := sigma.NewSet(rules)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func parseEvent(tb testing.TB, text []byte) *sigma.Event {
	tb.Helper()
	e, err := sigma.ParseEvent(text)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestGolden(t *testing.T) {
	rules, refused := loadRules(t, "sigma/rules/cloud/aws", sigma.Options{})
	if len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	set := newSet(t, rules)
	var got []string
	for _, folder := range []string{"invictus", "stratus"} {
		for _, record := range records(t, "cloudtrail/"+folder) {
			var id struct{ EventID string }
			if err := json.Unmarshal(record, &id); err != nil {
				t.Fatal(err)
			}
			e := parseEvent(t, record)
			hits := set.Evaluate(e, "aws", "cloudtrail", "")
			for _, hit := range hits {
				got = append(got, id.EventID+"\t"+hit.Rule.File+"\t"+folder)
			}
			checkIndex(t, set, e, hits)
		}
	}
	slices.Sort(got)
	golden := strings.Split(strings.TrimSpace(string(read(t, needData(t, "cloudtrail/golden_sigma_aws.tsv")))), "\n")
	slices.Sort(golden)
	if diff := cmp.Diff(golden, got); diff != "" {
		t.Errorf("matches differ (-want +got):\n%s", diff)
	}
}

// checkIndex holds what a set found against each rule by itself.
func checkIndex(t *testing.T, set *sigma.Set, e *sigma.Event, hits []sigma.Hit) {
	t.Helper()
	var want, got []string
	for _, hit := range hits {
		got = append(got, hit.Rule.File)
	}
	for _, r := range set.Rules() {
		if _, ok := r.Match(e); ok && r.LogSource.Covers("aws", "cloudtrail", "") {
			want = append(want, r.File)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the set and its rules differ (-rules +set):\n%s", diff)
	}
}

func TestRegression(t *testing.T) {
	rules, _ := loadRules(t, "sigma", sigma.Options{})
	byID := make(map[string]*sigma.Rule)
	for _, r := range rules {
		byID[r.ID] = r
	}
	set := newSet(t, rules)
	var cases []struct {
		Rule   string
		Events []json.RawMessage
	}
	if err := json.Unmarshal(read(t, needData(t, "sigma/regression.json")), &cases); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, c := range cases {
		r := byID[c.Rule]
		if r == nil {
			t.Errorf("rule %s was not loaded", c.Rule)
			continue
		}
		if matchesAny(t, set, r, c.Events) {
			passed++
		} else {
			t.Errorf("%s (%s) matches none of its events", r.File, r.ID)
		}
	}
	t.Logf("%d of %d pass", passed, len(cases))
}

func matchesAny(t *testing.T, set *sigma.Set, r *sigma.Rule, events []json.RawMessage) bool {
	t.Helper()
	return slices.ContainsFunc(events, func(text json.RawMessage) bool {
		e := parseEvent(t, text)
		m, ok := r.Match(e)
		if ok && len(m.Fields) == 0 {
			t.Errorf("%s matches but tells no field", r.File)
		}
		l := r.LogSource
		inSet := slices.ContainsFunc(set.Evaluate(e, l.Product, l.Service, l.Category), func(hit sigma.Hit) bool { return hit.Rule == r })
		if ok != inSet {
			t.Errorf("%s: alone %v, in the set %v", r.File, ok, inSet)
		}
		return ok
	})
}

func TestWorldLoads(t *testing.T) {
	rules, refused := loadRules(t, "sigma", sigma.Options{})
	t.Logf("%d rules loaded, %d files refused", len(rules), len(refused))
	for _, err := range refused {
		t.Logf("refused: %v", err)
		if mistake, ok := errors.AsType[*sigma.Error](err); !ok || mistake.Line == 0 || mistake.Key == "" {
			t.Errorf("refused without line and key: %v", err)
		}
	}
	if len(refused) > mostRefused {
		t.Errorf("%d refused, want at most %d", len(refused), mostRefused)
	}
	if got := len(rules) + len(refused); got != 3754 {
		t.Errorf("%d rules in all, want 3754", got)
	}
	rules, refused = loadRules(t, "sigma", sigma.Options{Placeholders: map[string][]string{"known_cdcs": {"DC*"}}})
	if len(refused) > 0 || len(rules) != 3754 {
		t.Errorf("with placeholders %d loaded, refused: %v", len(rules), refused)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	rules, _ := loadRules(b, "sigma/rules/cloud/aws", sigma.Options{})
	benchmark(b, newSet(b, rules), "aws", "cloudtrail", "")
}

// BenchmarkEvaluateWorld evaluates all rules, which cover one another's sources where they name none.
func BenchmarkEvaluateWorld(b *testing.B) {
	rules, _ := loadRules(b, "sigma", sigma.Options{})
	benchmark(b, newSet(b, rules), "aws", "cloudtrail", "")
}

func benchmark(b *testing.B, set *sigma.Set, product, service, category string) {
	b.Helper()
	raw := records(b, "cloudtrail/invictus")
	size := 0
	for _, text := range raw {
		size += len(text)
	}
	for _, from := range []string{"json", "parsed"} {
		b.Run(from, func(b *testing.B) {
			events := make([]*sigma.Event, len(raw))
			for i, text := range raw {
				events[i] = parseEvent(b, text)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size / len(raw)))
			n := 0
			for b.Loop() {
				e := events[n%len(events)]
				if from == "json" {
					e = parseEvent(b, raw[n%len(raw)])
				}
				set.Evaluate(e, product, service, category)
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(needData(b, "sigma/rules/cloud/aws/cloudtrail"), "*.yml"))
	if err != nil {
		b.Fatal(err)
	}
	texts := make([][]byte, len(files))
	size := 0
	for i, file := range files {
		texts[i] = bytes.Clone(read(b, file))
		size += len(texts[i])
	}
	b.ReportAllocs()
	b.SetBytes(int64(size / len(files)))
	n := 0
	for b.Loop() {
		if _, err := sigma.Parse("rule.yml", texts[n%len(texts)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rules/s")
}
