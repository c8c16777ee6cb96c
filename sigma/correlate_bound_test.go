package sigma_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

// hot is one collection of which all matches are in one group.
func hot(tb testing.TB, kind, rest string) *sigma.Linked {
	tb.Helper()
	return link(tb, base("a", "a")+base("b", "b")+correlationText("hot", "type: "+kind+"\ntimespan: 30m\n"+rest))
}

// hotEvents are events of one group, one every second, in the order of time.
func hotEvents(count int) []happening {
	events := make([]happening, count)
	for i := range events {
		call := "a"
		if i%17 == 3 {
			call = "b"
		}
		events[i] = happen(i, noon.Add(time.Duration(i)*time.Second), map[string]any{
			"call": call, "what": strconv.Itoa(i % 1000), "n": number(fmt.Sprintf("%d.25", i*7919%1000)),
		})
	}
	return events
}

var hotKinds = map[string][2]string{
	"count":      {"event_count", "rules: [a]\ncondition: {gte: 100}"},
	"never":      {"event_count", "rules: [a]\ncondition: {gte: 10000000}"},
	"values":     {"value_count", "rules: [a, b]\ncondition: {field: what, gte: 900}"},
	"sum":        {"value_sum", "rules: [a]\ncondition: {field: n, gt: 800000}"},
	"median":     {"value_median", "rules: [a]\ncondition: {field: n, gt: 499}"},
	"percentile": {"value_percentile", "rules: [a]\ncondition: {field: n, percentile: 95, gt: 950}"},
	"few":        {"event_count", "rules: [b]\ncondition: {lte: 104}"},
	"order":      {"temporal_ordered", "rules: [b, a]"},
	"without":    {"temporal", "rules: [a, b]\ncondition: a and not b"},
}

func TestHotGroups(t *testing.T) {
	events := hotEvents(2500)
	r := rand.New(rand.NewPCG(1, 2))
	shuffled := slices.Clone(events)
	r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for name, kind := range hotKinds {
		t.Run(name, func(t *testing.T) {
			linked := hot(t, kind[0], kind[1])
			want := byJudging(linked, events)
			for _, way := range []struct {
				events []happening
				late   time.Duration
			}{{events, time.Nanosecond}, {jittered(r, events, 10*time.Minute), 10 * time.Minute}, {shuffled, sigma.Unbounded}} {
				if diff := cmp.Diff(want, final(t, linked, way.events, sigma.CorrelatorOptions{Lateness: way.late}, 1)); diff != "" {
					t.Errorf("alerts differ (-judge +correlator):\n%s", diff)
				}
			}
		})
	}
}

func TestCorrelatorIsBounded(t *testing.T) {
	linked := link(t, everyKind)
	r := rand.New(rand.NewPCG(3, 4))
	events := randomEvents(r, 600)
	for _, o := range []sigma.CorrelatorOptions{
		{MaxGroups: 5, Lateness: sigma.Unbounded},
		{MaxObservations: 3, Lateness: sigma.Unbounded},
		{MaxTotal: 20, Lateness: sigma.Unbounded},
		{MaxGroups: 3, MaxObservations: 1, MaxTotal: 2, Lateness: time.Minute},
		{MaxGroups: 40, MaxObservations: 2, MaxTotal: 50, Lateness: time.Hour},
	} {
		c := sigma.NewCorrelator(linked, o)
		for _, h := range events {
			var hits []sigma.Hit
			for _, rule := range linked.Rules {
				if _, ok := rule.Match(h.event); ok {
					hits = append(hits, sigma.Hit{Rule: rule})
				}
			}
			c.Observe(hits, h.event, h.key, h.at)
			s := c.Stats()
			if o.MaxGroups > 0 && s.Groups > o.MaxGroups || o.MaxTotal > 0 && s.Observations > o.MaxTotal ||
				o.MaxObservations > 0 && s.Observations > s.Groups*o.MaxObservations {
				t.Fatalf("%+v: kept %+v", o, s)
			}
		}
		if s := c.Stats(); s.Dropped+s.Evicted == 0 {
			t.Errorf("%+v: nothing was left out: %+v", o, s)
		}
		c.Flush()
		if s := c.Stats(); s.Groups != 0 || s.Observations != 0 {
			t.Errorf("%+v: left behind %+v", o, s)
		}
	}
}

func TestLateIsLeftOut(t *testing.T) {
	linked := hot(t, "event_count", "rules: [a]\ncondition: {gte: 2}")
	c := sigma.NewCorrelator(linked, sigma.CorrelatorOptions{Lateness: 10 * time.Minute})
	at := func(minutes int) []sigma.Alert {
		h := happen(minutes, noon.Add(time.Duration(minutes)*time.Minute), map[string]any{"call": "a"})
		return c.Observe([]sigma.Hit{{Rule: linked.Rules[0]}}, h.event, h.key, h.at)
	}
	at(40)
	at(29)
	if got := c.Stats(); got.Late != 1 || got.Observations != 1 {
		t.Errorf("got %+v, want one late and one kept", got)
	}
	if got := at(30); len(got) != 1 || got[0].Final || got[0].Count != 2 {
		t.Errorf("got %+v, want an alert of two", got)
	}
	if got := at(30); len(got) != 0 {
		t.Errorf("got %+v of a duplicate", got)
	}
	if got := c.Stats(); got.Observations != 2 {
		t.Errorf("got %+v, want a duplicate kept once", got)
	}
}

// BenchmarkCorrelator tells what an observation costs in a group of the size given, which should depend on it but
// little.
func BenchmarkCorrelator(b *testing.B) {
	for _, name := range []string{"count", "never", "values", "sum", "median", "order", "without"} {
		kind := hotKinds[name]
		linked := link(b, base("a", "a")+base("b", "b")+correlationText("hot", "type: "+kind[0]+"\ntimespan: 7d\n"+kind[1]))
		for _, size := range []int{1000, 10_000, 100_000} {
			events := hotEvents(size)
			r := rand.New(rand.NewPCG(1, 2))
			shuffled := slices.Clone(events)
			r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			for _, order := range []struct {
				name   string
				events []happening
				late   time.Duration
			}{{"in-order", events, time.Nanosecond}, {"shuffled", shuffled, sigma.Unbounded}} {
				var all []sigma.Observation
				for _, h := range order.events {
					for _, rule := range linked.Rules {
						if _, ok := rule.Match(h.event); ok {
							all = append(all, linked.Observe(rule, h.event, h.key, h.at)...)
						}
					}
				}
				b.Run(fmt.Sprintf("%s/%s/%d", name, order.name, size), func(b *testing.B) {
					for b.Loop() {
						c := sigma.NewCorrelator(linked, sigma.CorrelatorOptions{Lateness: order.late})
						for i := range all {
							c.Take(all[i:i+1], all[i].Time)
						}
						c.Flush()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/observation")
				})
			}
		}
	}
}
