package replay_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/sigma"
)

// TestCosts checks what of costs is not time: of which events rules were candidates, and that neither depends on
// how often they are asked.
func TestCosts(t *testing.T) {
	t.Parallel()
	rules, err := sigma.Parse("rules.yaml", []byte(strings.Join([]string{
		rule(first, "one", "One", "low", "One"),
		strings.Replace(rule(second, "any", "Any", "low", "One"), "eventName: One", "eventName|re: '.'", 1),
		strings.Replace(rule("5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0a03", "other", "Other", "low", "One"), "product: aws", "product: other", 1),
	}, "---\n")))
	if err != nil {
		t.Fatal(err)
	}
	aws := sigma.LogSource{Product: "aws", Service: "cloudtrail"}
	events := []replay.Asked{
		{Text: []byte(record("1", "One")), Source: aws}, {Text: []byte(record("2", "Two")), Source: aws}, {Text: []byte(record("3", "Two")), Source: aws},
	}
	want := map[string]replay.Cost{
		"one": {Events: 3, Candidates: 1, Matches: 1}, "any": {Events: 3, Candidates: 3, Matches: 3}, "other": {},
	}
	for _, passes := range []int{1, 4} {
		left := passes
		costs, err := replay.Costs(rules, func(h *sigma.Header) string { return h.Name }, events, func() bool { left--; return left > 0 })
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]replay.Cost{}
		for i, c := range costs {
			got[c.Name] = c
			if i > 0 && c.Nanos > costs[i-1].Nanos {
				t.Errorf("%s comes after what costs less", c.Name)
			}
		}
		ignored := cmp.Options{cmpopts.IgnoreFields(replay.Cost{}, "Rule", "Nanos"), cmpopts.IgnoreUnexported(replay.Cost{})}
		if diff := cmp.Diff(want, got, ignored); diff != "" {
			t.Errorf("%d passes (-want +got):\n%s", passes, diff)
		}
	}
}

func TestSampledIsBounded(t *testing.T) {
	t.Parallel()
	sampled := replay.NewSampled(sourceOf)
	big := []byte(`{"pad":"` + strings.Repeat("x", 1<<20) + `"}`)
	batch := event.Batch{Events: []event.Event{{Source: event.GuardDuty, Raw: []byte("{}")}, {Source: event.CloudTrail, Raw: []byte("[]")}}}
	for range 100 {
		batch.Events = append(batch.Events, event.Event{Source: event.CloudTrail, Raw: big})
	}
	if err := sampled.Take(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if len(sampled.All) == 0 || len(sampled.All) > 64 {
		t.Errorf("got %d events of a megabyte each, want at most 64", len(sampled.All))
	}
	if sampled.Events != 100 || sampled.Elsewhere != 1 || sampled.Unreadable != 1 {
		t.Errorf("got %+v, want 100 events, 1 of elsewhere, 1 that can't be read", sampled.Records)
	}
}
