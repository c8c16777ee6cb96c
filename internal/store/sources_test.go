package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/store"
)

func TestSourcesAreAddedUp(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		if none, err := t.SeenSources(t.Context()); err != nil || len(none) > 0 {
			t.Errorf("a new store has seen %v, %v", none, err)
		}
		now := noon.Truncate(time.Microsecond)
		later := now.Add(time.Minute)
		for _, more := range [][]store.Seen{
			{{Source: event.GuardDuty, Latest: now, Heard: now, Events: 1}, {Source: event.CloudTrail, Latest: now, Heard: now, Events: 10}},
			nil,
			{{Source: event.CloudTrail, Latest: later, Heard: later, Events: 5}},
			{{Source: event.CloudTrail, Latest: now.Add(-time.Hour), Heard: now, Events: 2}}, // another node, late
		} {
			if err := t.NoteSources(t.Context(), more); err != nil {
				t.Fatal(err)
			}
		}
		want := []store.Seen{
			{Source: event.CloudTrail, Latest: later, Heard: later, Events: 17},
			{Source: event.GuardDuty, Latest: now, Heard: now, Events: 1},
		}
		got, err := t.SeenSources(t.Context())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
}
