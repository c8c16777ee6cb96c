package replay_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/sigma"
)

// rule writes a rule that finds calls of one name.
func rule(id, name, title, level, call string) string {
	return fmt.Sprintf("title: %s\nid: %q\nname: %q\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  selection: {eventName: %s}\n"+
		"  condition: selection\nlevel: %s\n", title, id, name, call, level)
}

// sourceOf knows CloudTrail alone.
func sourceOf(ev event.Event) (source sigma.LogSource, text []byte) {
	if ev.Source == event.CloudTrail {
		return sigma.LogSource{Product: "aws", Service: "cloudtrail"}, ev.Raw
	}
	return sigma.LogSource{}, ev.Raw
}

func ruleset(t *testing.T, texts ...string) *replay.Ruleset {
	t.Helper()
	read, err := sigma.ParseCollection("rules.yaml", []byte(strings.ReplaceAll(strings.Join(texts, "---\n"), `id: ""`+"\n", "")), sigma.Options{})
	if err != nil {
		t.Fatal(err)
	}
	linked, err := read.Link(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := replay.NewRuleset(linked, func(h *sigma.Header) string { return h.Name }, sourceOf)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const (
	first  = "5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0a01"
	second = "5d4f4a3b-3a54-4d0a-9d83-2f3f6c1e0a02"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		old, now []string
		want     []string // name, state, added, removed, changed, kept
	}{
		{
			name: "the same",
			old:  []string{rule(first, "a", "A", "low", "One")},
			now:  []string{rule(first, "a", "A", "low", "One")},
		},
		{
			name: "by ID, though name and title are others",
			old:  []string{rule(first, "a", "A", "low", "One")},
			now:  []string{rule(first, "b", "B", "low", "Two")},
			want: []string{"b changed +2 -1 ~0 =0"},
		},
		{
			name: "by name, since the ID is another",
			old:  []string{rule(first, "a", "A", "low", "One")},
			now:  []string{rule(second, "a", "B", "high", "One")},
			want: []string{"a changed +0 -0 ~1 =0"},
		},
		{
			name: "by title, since there is no more",
			old:  []string{rule("", "", "A", "low", "One")},
			now:  []string{rule("", "", "A", "low", "[One, Two]")},
			want: []string{" changed +2 -0 ~0 =1"},
		},
		{
			name: "another rule took the name",
			old:  []string{rule(first, "a", "A", "low", "One")},
			now:  []string{rule(second, "a", "B", "low", "Two"), rule(first, "c", "C", "low", "One")},
			want: []string{"a new +2 -0 ~0 =0"},
		},
		{
			name: "one comes, one goes",
			old:  []string{rule(first, "a", "A", "low", "One")},
			now:  []string{rule(second, "b", "B", "low", "Two")},
			want: []string{"b new +2 -0 ~0 =0", "a gone +0 -1 ~0 =0"},
		},
	}
	logs := folder(t, map[string]string{"log.json": record("1", "One") + record("2", "Two") + record("3", "Two") + record("4", "Three")})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			diff := replay.NewDiff(ruleset(t, test.old...), ruleset(t, test.now...), 1)
			if _, err := (&replay.Logs{Paths: []string{logs}}).Read(t.Context(), diff.Take); err != nil {
				t.Fatal(err)
			}
			diff.End()
			var got []string
			for _, c := range diff.Changes() {
				got = append(got, fmt.Sprintf("%s %s +%d -%d ~%d =%d", c.Name, c.State, c.Added, c.Removed, c.Changed, c.Kept))
				if len(c.AddedSamples) != min(c.Added, 1) || len(c.RemovedSamples) != min(c.Removed, 1) {
					t.Errorf("got %d and %d samples, want one of each at most", len(c.AddedSamples), len(c.RemovedSamples))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff.Events != 4 {
				t.Errorf("got %d events, want 4", diff.Events)
			}
		})
	}
}

// counting is a correlation over calls of one name, by account, called many.
func counting(gte int, call string) string {
	return rule("", "call", "Call", "low", call) + fmt.Sprintf(
		"---\ntitle: Many\nname: many\ncorrelation: {type: event_count, rules: [call], group-by: [recipientAccountId], timespan: 10m, condition: {gte: %d}}\n", gte)
}

func TestCorrelationsAreCompared(t *testing.T) {
	t.Parallel()
	// Two bursts of one call: of four at noon, of two at one.
	var log strings.Builder
	for i, at := range []string{"13:00:00", "12:00:00", "12:02:00", "13:00:30", "12:01:00", "12:00:00"} {
		log.WriteString(strings.Replace(record(strconv.Itoa(i), "Again"), "12:00:00", at, 1))
	}
	log.WriteString(strings.Replace(record("0", "Again"), "12:00:00", "13:00:00", 1)) // delivered twice
	logs := folder(t, map[string]string{"log.json": log.String()})
	tests := []struct {
		name     string
		old, now string
		want     []string
	}{
		{"the same", counting(2, "Again"), counting(2, "Again"), nil},
		{"needs more", counting(2, "Again"), counting(3, "Again"), []string{"many +0 -1 =1"}},
		{"needs less", counting(5, "Again"), counting(2, "Again"), []string{"many +2 -0 =0"}},
		{"new", rule(second, "b", "B", "low", "Two"), counting(2, "Again"), []string{"many +2 -0 =0"}},
		{"of no call", counting(2, "Again"), counting(2, "Never"), []string{"many +0 -2 =0"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			diff := replay.NewDiff(ruleset(t, test.old), ruleset(t, test.now), 9)
			if _, err := (&replay.Logs{Paths: []string{logs}}).Read(t.Context(), diff.Take); err != nil {
				t.Fatal(err)
			}
			diff.End()
			var got []string
			for _, c := range diff.Changes() {
				got = append(got, fmt.Sprintf("%s +%d -%d =%d", c.Name, c.Added, c.Removed, c.Kept))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}
