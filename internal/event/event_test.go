package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

func TestEntity(t *testing.T) {
	t.Parallel()
	ev := event.Event{Entities: []entity.Entity{
		{Kind: entity.User, ID: "eve", Part: entity.Actor}, {Kind: entity.User, ID: "ann", Part: entity.Target},
	}}
	if got, ok := ev.Entity(entity.User); !ok || got.ID != "eve" {
		t.Errorf("got %+v, %t; want the first", got, ok)
	}
	if got, ok := ev.Entity(entity.Bucket); ok || got.ID != "" {
		t.Errorf("got %+v, which is not there", got)
	}
}

func TestRawStaysOutOfJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(event.Event{Key: "k", Raw: []byte("secret")})
	if err != nil || strings.Contains(string(text), "ecret") || strings.Contains(string(text), "aw") {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestStrict(t *testing.T) {
	t.Parallel()
	failed := errors.New("disk full")
	var taken []event.Batch
	sink := event.Strict(func(_ context.Context, b event.Batch) error {
		taken = append(taken, b)
		return failed
	})
	err := sink(t.Context(), event.Batch{Events: []event.Event{{Key: "k"}}, Letters: []event.Letter{{Reason: "no JSON"}, {Reason: "other"}}})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "no JSON") || len(taken) != 0 {
		t.Errorf("got %v, and %d batches were taken", err, len(taken))
	}
	if err := sink(t.Context(), event.Batch{Events: []event.Event{{Key: "k"}}}); !errors.Is(err, failed) || len(taken) != 1 {
		t.Errorf("got %v, and %d batches were taken", err, len(taken))
	}
}
