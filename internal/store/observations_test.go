package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/correlate"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/sigma"
)

func observation(event string, after, due time.Duration) correlate.Observation {
	o := correlate.Observation{
		Observation: sigma.Observation{Rule: "r", Event: event, Time: noon.Add(after)}, Events: []string{event}, Until: noon.Add(time.Hour).Truncate(time.Microsecond),
	}
	if due > 0 {
		o.Due = noon.Add(due).Truncate(time.Microsecond)
	}
	return o
}

// within does something in a transaction of a store.
func within(t with, do func(tx *store.Tx) error) {
	t.Helper()
	if err := t.Update(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

// observedIn lists the events of a group's observations in a span.
func observedIn(t with, g correlate.Group, after, before time.Duration, most int) []string {
	t.Helper()
	var events []string
	within(t, func(tx *store.Tx) error {
		events = nil
		some, err := tx.Observed(t.Context(), g, noon.Add(after), noon.Add(before), most)
		for _, o := range some {
			events = append(events, o.Event)
		}
		return err
	})
	return events
}

func TestObservations(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		g := correlate.Group{State: "c@1", Key: `["eve"]`}
		all := []correlate.Observation{
			observation("a", 0, 0), observation("b", time.Nanosecond, 2*time.Minute), observation("c", time.Minute, time.Minute), observation("d", time.Minute, 3*time.Minute),
		}
		all[3].Events, all[3].Value = []string{"x", "y"}, "v"
		within(t, func(tx *store.Tx) error { return tx.Observe(t.Context(), g, all) })
		within(t, func(tx *store.Tx) error { return tx.Observe(t.Context(), g, all[1:3]) }) // again
		within(t, func(tx *store.Tx) error {
			return tx.Observe(t.Context(), correlate.Group{State: "c@2", Key: g.Key}, all[:1])
		})
		var got []correlate.Observation
		within(t, func(tx *store.Tx) (err error) {
			got, err = tx.Observed(t.Context(), g, noon.Add(-1), noon.Add(time.Hour), 10)
			return err
		})
		slices.SortFunc(got, func(a, b correlate.Observation) int { return strings.Compare(a.Event, b.Event) })
		want := slices.Clone(all)
		for i := range want {
			want[i].Group, want[i].Time = g.Key, want[i].Time.UTC()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := observedIn(t, g, 0, time.Minute, 10); !slices.Equal(got, []string{"b"}) {
			t.Errorf("between, both excluded: got %q, want b", got)
		}
		if got := observedIn(t, g, -1, time.Hour, 2); slices.Contains(got, "a") || len(got) != 2 {
			t.Errorf("at most two: got %q, want the latest", got)
		}
		within(t, func(tx *store.Tx) error { return tx.Forget(t.Context(), g, noon.Add(time.Minute)) })
		if got := observedIn(t, g, -1, time.Hour, 10); len(got) != 2 || slices.Contains(got, "a") || slices.Contains(got, "b") {
			t.Errorf("got %q, want what is not before the minute", got)
		}
	})
}

// Whatever the values of a group are, what is due in it is found, and is due no longer once it was judged.
func TestDueSpans(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		groups := []string{`["eve"]`, `["` + strings.Repeat("long", 2000) + `"]`, "nul \x00 and \xff broken", `["日本"]`}
		for _, key := range groups {
			within(t, func(tx *store.Tx) error {
				return tx.Observe(t.Context(), correlate.Group{State: "c@1", Key: key}, []correlate.Observation{
					observation("a", 0, time.Minute), observation("b", time.Second, time.Minute), observation("c", time.Hour, 2*time.Hour), observation("d", time.Second, 0),
				})
			})
		}
		now := noon.Add(2 * time.Minute)
		var spans []correlate.Span
		within(t, func(tx *store.Tx) (err error) {
			if spans, err = tx.DueSpans(t.Context(), now, 100); err != nil {
				return err
			}
			for _, span := range spans {
				known, err := tx.Observed(t.Context(), span.Group, span.From.Add(-1), span.To.Add(1), 10)
				if err != nil || len(known) != 3 || !span.From.Equal(noon) || !span.To.Equal(noon.Add(time.Second)) {
					t.Errorf("%.20q from %s to %s: %d observations, %v; want three in the second", span.Key, span.From, span.To, len(known), err)
				}
				if err := tx.Judged(t.Context(), span.Group, now); err != nil {
					return err
				}
			}
			again, err := tx.DueSpans(t.Context(), now, 100)
			if len(again) != 0 {
				t.Errorf("%d groups are due though they were judged", len(again))
			}
			return err
		})
		if len(spans) != len(groups) {
			t.Errorf("%d groups were due, want %d", len(spans), len(groups))
		}
	})
}

// A record is kept as long as the longest of those who keep it say, and for good once a finding has it.
func TestKeptEvents(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		d := opened("1")
		found := d.Events[0]
		lone := event.Event{Key: "lone", Received: noon, Raw: []byte(`{"lone":1}`)}
		for _, until := range []time.Duration{-time.Minute, time.Hour, -time.Hour} {
			within(t, func(tx *store.Tx) error {
				return tx.KeepEvents(t.Context(), []event.Event{lone, found, lone}, noon.Add(until))
			})
		}
		brief := event.Event{Key: "brief", Received: noon, Raw: []byte("{}")}
		within(t, func(tx *store.Tx) error {
			return tx.KeepEvents(t.Context(), []event.Event{brief}, noon.Add(-time.Minute))
		})
		save(t, t.Store, d)
		if _, err := t.Prune(t.Context(), noon.Add(-24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		var kept []event.Event
		within(t, func(tx *store.Tx) (err error) {
			kept, err = tx.KeptEvents(t.Context(), []string{"lone", found.Key, "brief", "never"})
			return err
		})
		var keys []string
		for _, ev := range kept {
			keys = append(keys, ev.Key+" "+string(ev.Raw))
		}
		slices.Sort(keys)
		want := []string{found.Key + " " + string(found.Raw), `lone {"lone":1}`}
		slices.Sort(want)
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
