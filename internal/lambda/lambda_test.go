package lambda_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/lambda"
)

// worker remembers what it was asked to do.
type worker struct {
	did     []string
	refuses string // the key of an event that can't be made durable
	works   time.Duration
}

func (w *worker) Take(_ context.Context, b event.Batch) error {
	for _, ev := range b.Events {
		if ev.Key == w.refuses {
			return errors.New("away")
		}
		w.did = append(w.did, ev.Key)
	}
	for _, l := range b.Letters {
		w.did = append(w.did, "letter "+l.Format)
	}
	return nil
}

func (w *worker) Settle(ctx context.Context) {
	w.did = append(w.did, "settle")
	select {
	case <-ctx.Done():
	case <-time.After(w.works):
	}
}

func (w *worker) Close() error {
	w.did = append(w.did, "close")
	return nil
}

func trail(id string) string {
	return `{"eventVersion":"1.08","eventID":"` + id + `","eventTime":"2026-11-20T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"PutObject","awsRegion":"r","recipientAccountId":"1"}`
}

func message(id, body string) map[string]string {
	return map[string]string{"messageId": id, "eventSource": "aws:sqs", "body": body, "eventSourceARN": "arn:aws:sqs:r:1:q"}
}

func TestHandle(t *testing.T) {
	t.Parallel()
	batch, err := json.Marshal(map[string]any{"Records": []any{
		message("m1", trail("a")), message("m2", trail("b")), message("m3", "nonsense"), message("m4", `{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		payload, refuses string
		did              []string
		answer           string
		fails            bool
	}{
		"an event": {
			payload: `{"id":"e","detail-type":"AWS API Call via CloudTrail","source":"aws.s3","account":"1","region":"r","time":"2026-11-20T10:00:00Z","detail":` + trail("a") + `}`,
			did:     []string{"aws.cloudtrail|a|1", "settle", "close"}, answer: "null",
		},
		"a batch":          {payload: string(batch), did: []string{"aws.cloudtrail|a|1", "aws.cloudtrail|b|1", "letter aws.message", "letter aws.message", "settle", "close"}, answer: `{"batchItemFailures":[]}`},
		"a part of it":     {payload: string(batch), refuses: "aws.cloudtrail|a|1", did: []string{"aws.cloudtrail|b|1", "letter aws.message", "letter aws.message", "settle", "close"}, answer: `{"batchItemFailures":[{"itemIdentifier":"m1"}]}`},
		"not durable":      {payload: trail("a"), refuses: "aws.cloudtrail|a|1", did: []string{"settle", "close"}, fails: true},
		"a tick":           {payload: `{"riposte":"tick"}`, did: []string{"settle", "close"}, answer: "null"},
		"a schedule":       {payload: `{"source":"aws.events","detail-type":"Scheduled Event","detail":{}}`, did: []string{"settle", "close"}, answer: "null"},
		"unknown":          {payload: `{"what":1}`, did: []string{"letter aws.message", "settle", "close"}, answer: "null"},
		"no object at all": {payload: `"x"`, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &worker{refuses: test.refuses}
			h := lambda.Handler{Logger: slog.New(slog.DiscardHandler), Open: func(context.Context) (lambda.Riposte, error) { return w, nil }}
			answer, err := h.Handle(t.Context(), json.RawMessage(test.payload))
			if (err != nil) != test.fails {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(test.did, w.did); diff != "" {
				t.Errorf("did (-want +got):\n%s", diff)
			}
			if text, err := json.Marshal(answer); !test.fails && (err != nil || string(text) != test.answer) {
				t.Errorf("answered %s, %v; want %s", text, err, test.answer)
			}
		})
	}
}

// TestStopsInTime closes before the invocation's end, however long there would be work.
func TestStopsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &worker{works: time.Hour}
		h := lambda.Handler{Margin: 5 * time.Second, Logger: slog.New(slog.DiscardHandler), Open: func(context.Context) (lambda.Riposte, error) { return w, nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := h.Handle(ctx, json.RawMessage(`{"riposte":"tick"}`)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 25*time.Second {
			t.Errorf("it took %s, want 25 s", took)
		}
	})
}

func TestWhatCanNotBeOpenedComesAgain(t *testing.T) {
	t.Parallel()
	h := lambda.Handler{Logger: slog.New(slog.DiscardHandler), Open: func(context.Context) (lambda.Riposte, error) { return nil, errors.New("no database") }}
	if _, err := h.Handle(t.Context(), json.RawMessage(trail("a"))); err == nil || !strings.Contains(err.Error(), "no database") {
		t.Errorf("got %v", err)
	}
}
