package sigma_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

// everyKind is one collection with correlations of all types, over the rules a, b and c.
var everyKind = func() string {
	var b strings.Builder
	for _, name := range []string{"a", "b", "c"} {
		b.WriteString(base(name, name))
	}
	for name, body := range map[string]string{
		"count":      "type: event_count\nrules: [a]\ngroup-by: [who]\ntimespan: 5m\ncondition: {gte: 3}",
		"twoRules":   "type: event_count\nrules: [a, b]\ngroup-by: [who, where]\ntimespan: 3m\ncondition: {gt: 2}",
		"ungrouped":  "type: event_count\nrules: [c]\ntimespan: 1m\ncondition: {gte: 2}",
		"few":        "type: event_count\nrules: [a]\ngroup-by: [who]\ntimespan: 5m\ncondition: {lte: 1}",
		"exactly":    "type: event_count\nrules: [b]\ngroup-by: [who]\ntimespan: 7m\ncondition: {eq: 2}",
		"unlike":     "type: event_count\nrules: [b]\ngroup-by: [who]\ntimespan: 7m\ncondition: {neq: 2}",
		"between":    "type: event_count\nrules: [a, b, c]\ngroup-by: [who]\ntimespan: 4m\ncondition: {gt: 2, lt: 5}",
		"values":     "type: value_count\nrules: [a, b]\ngroup-by: [who]\ntimespan: 6m\ncondition: {field: what, gte: 3}",
		"tuples":     "type: value_count\nrules: [a, b]\ngroup-by: [who]\ntimespan: 6m\ncondition: {field: [what, where], gte: 4}",
		"fewValues":  "type: value_count\nrules: [a]\ngroup-by: [who]\ntimespan: 6m\ncondition: {field: what, lt: 2}",
		"sum":        "type: value_sum\nrules: [a, c]\ngroup-by: [who]\ntimespan: 5m\ncondition: {field: n, gt: 10.5}",
		"sumBelow":   "type: value_sum\nrules: [a]\ngroup-by: [who]\ntimespan: 5m\ncondition: {field: n, lt: -2}",
		"mean":       "type: value_avg\nrules: [a, b]\ngroup-by: [who]\ntimespan: 5m\ncondition: {field: n, gte: 3}",
		"percentile": "type: value_percentile\nrules: [a, b]\ngroup-by: [who]\ntimespan: 9m\ncondition: {field: n, percentile: 75, gt: 4}",
		"median":     "type: value_median\nrules: [a, b, c]\ngroup-by: [who]\ntimespan: 9m\ncondition: {field: n, lte: 0.5}",
		"together":   "type: temporal\nrules: [a, b, c]\ngroup-by: [who]\ntimespan: 2m",
		"twoOf":      "type: temporal\nrules: [a, b, c]\ngroup-by: [who]\ntimespan: 90s\ncondition: {gte: 2}",
		"onlyOne":    "type: temporal\nrules: [a, b, c]\ngroup-by: [who]\ntimespan: 90s\ncondition: {eq: 1}",
		"without":    "type: temporal\nrules: [a, b]\ngroup-by: [who]\ntimespan: 2m\ncondition: a and not b",
		"oneWith":    "type: temporal\nrules: [a, b, c]\ngroup-by: [who]\ntimespan: 2m\ncondition: (a or b) and c",
		"notBoth":    "type: temporal\nrules: [a, b, c]\ngroup-by: [who]\ntimespan: 2m\ncondition: a and not (b and c)",
		"lonely":     "type: temporal\nrules: [a, b, c]\ngroup-by: [who]\ntimespan: 3m\ncondition: a and b and not c",
		"doubly":     "type: temporal\nrules: [a, b]\ngroup-by: [who]\ntimespan: 1m\ncondition: not (not a or not b)",
		"inOrder":    "type: temporal_ordered\nrules: [c, a, b]\ngroup-by: [who]\ntimespan: 4m",
		"twoInOrder": "type: temporal_ordered\nrules: [b, a, c]\ngroup-by: [who]\ntimespan: 2m\ncondition: {gte: 2}",
		"orWith":     "type: temporal_ordered\nrules: [c, a, b]\ngroup-by: [who]\ntimespan: 2m\ncondition: (a or b) and c",
		"orderNot":   "type: temporal_ordered\nrules: [b, a, c]\ngroup-by: [who]\ntimespan: 3m\ncondition: a and b and not c",
		"inner":      "type: event_count\nrules: [a]\ngroup-by: [who, where]\ntimespan: 2m\ncondition: {gte: 2}",
		"outer":      "type: temporal_ordered\nrules: [inner, b]\ngroup-by: [who]\ntimespan: 5m",
		"alerts":     "type: event_count\nrules: [inner]\ngroup-by: [who]\ntimespan: 10m\ncondition: {gte: 3}",
		"places":     "type: value_count\nrules: [inner, c]\ngroup-by: [who]\ntimespan: 8m\ncondition: {field: where, gte: 2}",
		"unfollowed": "type: temporal\nrules: [inner, b]\ngroup-by: [who]\ntimespan: 2m\ncondition: inner and not b",
		"third":      "type: temporal\nrules: [outer, unfollowed]\ngroup-by: [who]\ntimespan: 9m\ncondition: {gte: 1}",
		"overLonely": "type: temporal\nrules: [lonely, c]\ngroup-by: [who]\ntimespan: 20m\ncondition: lonely and c",
		"named":      "type: temporal\nrules: [a, b]\ngroup-by: [actor]\naliases: {actor: {a: who, b: where}}\ntimespan: 4m",
	} {
		b.WriteString(correlationText(name, body))
	}
	return b.String()
}()

// randomEvents are events within two hours, with few values so that much coincides.
func randomEvents(r *rand.Rand, count int) []happening {
	texts := func(all ...any) any { return all[r.IntN(len(all))] }
	events := make([]happening, count)
	for i := range events {
		at := noon.Add(time.Duration(r.IntN(7200/5)*5) * time.Second)
		events[i] = happen(i, at, map[string]any{
			"call": texts("a", "b", "c", "a", "none"), "who": texts("u", "v", "u", []any{"u", "v"}, nil),
			"where": texts("x", "y", "u", 7), "what": texts("p", "q", "r", "s", []any{"p", "t"}, nil),
			"n": texts(number("0.1"), number("3"), number("-4.5"), number("1e3"), "7", "no", number("5"), number("0.5")),
		})
	}
	return events
}

// final gives what a correlator says of events in the end, by key.
func final(t *testing.T, linked *sigma.Linked, events []happening, o sigma.CorrelatorOptions, batch int) map[string]told {
	t.Helper()
	c := sigma.NewCorrelator(linked, o)
	all := make(map[string]told)
	concluded := make(map[string]bool)
	take := func(alerts []sigma.Alert) {
		for _, a := range alerts {
			if concluded[a.Key()] {
				t.Fatalf("%s: an alert after its final one", a.Key())
			}
			concluded[a.Key()] = a.Final
			all[a.Key()] = toldOf(a)
		}
	}
	var waiting []sigma.Observation
	for i, h := range events {
		var hits []sigma.Hit
		for _, r := range linked.Rules {
			if m, ok := r.Match(h.event); ok {
				hits = append(hits, sigma.Hit{Rule: r, Match: m})
			}
		}
		if batch == 1 {
			take(c.Observe(hits, h.event, h.key, h.at))
			continue
		}
		for _, hit := range hits {
			waiting = append(waiting, linked.Observe(hit.Rule, h.event, h.key, h.at)...)
		}
		if i%batch == batch-1 || i == len(events)-1 {
			newest := slices.MaxFunc(events[:i+1], func(a, b happening) int { return a.at.Compare(b.at) })
			take(c.Take(waiting, newest.at))
			waiting = nil
		}
	}
	take(c.Flush())
	for key, last := range concluded {
		if !last {
			t.Errorf("%s was never final", key)
		}
	}
	if s := c.Stats(); s.Late+s.Dropped+s.Evicted+s.Groups+s.Observations > 0 {
		t.Errorf("left behind: %+v", s)
	}
	return all
}

func toldOf(a sigma.Alert) told {
	return told{
		Group: a.Group, Bucket: a.Bucket, At: a.At, From: a.From, To: a.To, Value: a.Value, Count: a.Count,
		Rules: a.Rules, Events: a.Events,
	}
}

func TestCorrelatorAgreesWithOracle(t *testing.T) {
	linked := link(t, everyKind)
	fired := make(map[string]bool)
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		events := randomEvents(r, 40+int(seed)*20)
		want := oracle(linked, events)
		for key := range want {
			fired[strings.SplitN(key, `"`, 3)[1]] = true
		}
		shuffled := slices.Clone(events)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		sorted := slices.Clone(events)
		slices.SortStableFunc(sorted, func(a, b happening) int { return a.at.Compare(b.at) })
		for _, way := range []struct {
			name   string
			events []happening
			late   time.Duration
			batch  int
		}{
			{"as they come", events, sigma.Unbounded, 1},
			{"shuffled twice", append(shuffled, events...), sigma.Unbounded, 1},
			{"shuffled in batches", shuffled, sigma.Unbounded, 7},
			{"in order", sorted, time.Nanosecond, 1},
			{"in order, batches", sorted, time.Hour, 13},
			{"nearly in order", jittered(r, sorted, 15*time.Minute), 0, 1},
			{"nearly in order, in batches", jittered(r, sorted, time.Minute), 15 * time.Minute, 5},
		} {
			got := final(t, linked, way.events, sigma.CorrelatorOptions{Lateness: way.late}, way.batch)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, %s: alerts differ (-oracle +correlator):\n%s", seed, way.name, diff)
			}
		}
		if diff := cmp.Diff(want, byJudging(linked, shuffled)); diff != "" {
			t.Fatalf("seed %d: alerts differ (-oracle +judge):\n%s", seed, diff)
		}
	}
	for _, c := range linked.Correlations {
		if !fired[c.Key()] {
			t.Errorf("%s never held; the test says nothing of it", c.Title)
		}
	}
}

// jittered is events in an order in which none comes later than a newer one by more than a duration. Some come
// twice.
func jittered(r *rand.Rand, sorted []happening, by time.Duration) []happening {
	type delivery struct {
		happening
		delivered time.Time
	}
	var all []delivery
	for _, h := range sorted {
		for range 1 + r.IntN(2) {
			all = append(all, delivery{h, h.at.Add(time.Duration(r.Int64N(int64(by))))})
		}
	}
	slices.SortStableFunc(all, func(a, b delivery) int { return a.delivered.Compare(b.delivered) })
	events := make([]happening, len(all))
	for i, d := range all {
		events[i] = d.happening
	}
	return events
}

// byJudging works as one does who keeps observations in a table: it judges the buckets that are concerned.
func byJudging(linked *sigma.Linked, events []happening) map[string]told {
	table := make(map[string][]sigma.Observation)
	put := func(all []sigma.Observation) {
		for _, o := range all {
			table[o.Correlation+o.Group] = append(table[o.Correlation+o.Group], o)
		}
	}
	for _, h := range events {
		for _, r := range linked.Rules {
			if _, ok := r.Match(h.event); ok {
				put(linked.Observe(r, h.event, h.key, h.at))
			}
		}
	}
	all := make(map[string]told)
	for _, c := range linked.Correlations {
		for key, group := range table {
			if group[0].Correlation != c.Key() {
				continue
			}
			done := make(map[int64]bool)
			for _, o := range table[key] {
				first, last := c.Buckets(o.Time)
				for bucket := first; bucket <= last; bucket++ {
					if done[bucket] {
						continue
					}
					done[bucket] = true
					after, before := c.Needed(bucket, bucket)
					some := between(group, after, before.Add(-1))
					for _, a := range c.Judge(some, bucket, bucket, noon.AddDate(1, 0, 0)) {
						put(linked.ObserveAlert(a))
						all[a.Key()] = toldOf(a)
					}
				}
			}
		}
	}
	return all
}

func TestJudgeWaitsForTheWatermark(t *testing.T) {
	linked := link(t, everyKind)
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	observe := func(name string, minutes ...int) []sigma.Observation {
		var all []sigma.Observation
		for i, m := range minutes {
			h := happen(i, at(m), map[string]any{"call": "a", "who": "u"})
			all = append(all, linked.Observe(linked.Rules[0], h.event, h.key, h.at)...)
		}
		return slices.DeleteFunc(all, func(o sigma.Observation) bool { return o.Correlation != "id-"+name })
	}
	correlation := func(name string) *sigma.Correlation {
		i := slices.IndexFunc(linked.Correlations, func(c *sigma.Correlation) bool { return c.Title == name })
		return linked.Correlations[i]
	}
	judge := func(name string, watermark time.Time, minutes ...int) string {
		c := correlation(name)
		first, last := c.Buckets(at(0))
		var said []string
		for _, a := range c.Judge(observe(name, minutes...), first, last, watermark) {
			said = append(said, fmt.Sprintf("%s %d-%d final %v", a.Values["who"], int(a.At.Sub(noon).Minutes()), int(a.To.Sub(noon).Minutes()), a.Final))
		}
		return strings.Join(said, ", ")
	}
	for _, c := range []struct {
		name      string
		watermark time.Time
		minutes   []int
		want      string
	}{
		{"count", time.Time{}, []int{0, 1, 2}, "u 2-2 final false"},
		{"count", at(5), []int{0, 1, 2, 4}, "u 2-4 final true"},
		{"count", at(5), []int{0, 1}, ""},
		{"few", time.Time{}, []int{0}, ""},
		{"few", at(0), []int{0}, ""},
		{"few", at(1), []int{0}, "u 0-0 final false"},
		{"few", at(1), []int{-1, 0}, ""},
		{"few", at(5), []int{0, 3}, "u 0-0 final true"},
		{"without", at(2), []int{0}, ""},
		{"without", at(3), []int{0}, "u 0-0 final false"},
		{"without", at(4), []int{0, 1}, "u 0-1 final true"},
	} {
		if got := judge(c.name, c.watermark, c.minutes...); got != c.want {
			t.Errorf("%s at %v of %v: got %q, want %q", c.name, c.watermark, c.minutes, got, c.want)
		}
	}
	if got := correlation("overLonely").Due(at(0)); !got.After(at(5)) {
		t.Errorf("a correlation of a correlation is due at %v, before that one can be known", got)
	}
}
