package replay_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/sigma"
)

func TestCosts(t *testing.T) {
	t.Parallel()
	rules, err := sigma.Parse("rules.yaml", []byte(strings.Join([]string{
		rule(first, "one", "One", "low", "One"), rule(second, "both", "Both", "low", "[One, Two]"),
		strings.Replace(rule("5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0a03", "other", "Other", "low", "One"), "product: aws", "product: other", 1),
	}, "---\n")))
	if err != nil {
		t.Fatal(err)
	}
	aws := sigma.LogSource{Product: "aws", Service: "cloudtrail"}
	events := []replay.Asked{{Raw: []byte(record("1", "One")), Source: aws}, {Raw: []byte(record("2", "Two")), Source: aws}}
	// A clock on which every pass takes 2 microseconds.
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { now = now.Add(2 * time.Microsecond); return now }
	costs, err := replay.Costs(rules, func(h *sigma.Header) string { return h.Name }, events, clock, 50*time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]replay.Cost{}
	for _, c := range costs {
		name := c.Name
		c.Rule = nil
		got[name] = c
		if c.Own() != 0 {
			t.Errorf("%s costs %g ns of its own by a clock that is the same for all", name, c.Own())
		}
	}
	want := map[string]replay.Cost{
		"one":   {Events: 2, Matches: 1, Alone: 1000, Reading: 1000},
		"both":  {Events: 2, Matches: 2, Alone: 1000, Reading: 1000},
		"other": {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("costs (-want +got):\n%s", diff)
	}
}

// TestOwnCost checks that the dearest comes first, and that no rule costs less than nothing.
func TestOwnCost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ alone, reading, want float64 }{{10, 4, 6}, {4, 4, 0}, {3, 4, 0}} {
		c := replay.Cost{Alone: test.alone, Reading: test.reading}
		if got := c.Own(); got != test.want {
			t.Errorf("own cost of %+v is %g, want %g", test, got, test.want)
		}
	}
}

func TestSampledIsBounded(t *testing.T) {
	t.Parallel()
	sampled := replay.NewSampled(func(ev event.Event) sigma.LogSource {
		if ev.Source == event.CloudTrail {
			return sigma.LogSource{Product: "aws", Service: "cloudtrail"}
		}
		return sigma.LogSource{}
	})
	big := []byte(`{"pad":"` + strings.Repeat("x", 1<<20) + `"}`)
	batch := event.Batch{Events: []event.Event{{Source: event.GuardDuty, Raw: []byte("{}")}, {Source: event.CloudTrail, Raw: []byte("[]")}}}
	for range 100 {
		batch.Events = append(batch.Events, event.Event{Source: event.CloudTrail, Raw: big})
	}
	if err := sampled.Take(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	if len(sampled.All) == 0 || len(sampled.All) > 64 {
		t.Errorf("got %d events of a megabyte each, want at most 64", len(sampled.All))
	}
	if sampled.Events != 100 || sampled.Elsewhere != 1 || sampled.Unreadable != 1 {
		t.Errorf("got %+v, want 100 events, 1 of elsewhere, 1 that can't be read", sampled.Records)
	}
}
