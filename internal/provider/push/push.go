// Package push takes in what others send over HTTP: events by POST, notifications of Amazon SNS.
package push

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// largestBody is the size in bytes of the largest request that is read, compressed or not.
	largestBody = 16 << 20
	// largestInflated bounds what a compressed request may hold.
	largestInflated = 256 << 20
	// handful is how many records are handed on at once.
	handful = 500
)

// Receipt says what became of a request. It is the answer's body.
type Receipt struct {
	// Accepted counts the records that are durable, known ones included.
	Accepted int `json:"accepted"`
	// SetAside counts the records that could not be read; they are dead letters.
	SetAside int `json:"set_aside"`
}

// Events takes POST requests of CloudTrail records, EventBridge events and findings: one as an object,
// several as an array, as {"Records": [...]} or one a line; gzip is recognised. The origin says who sent
// it. It answers 202 when everything is durable, 400 if the body is damaged, 503 if it should come again.
func Events(sink event.Sink, origin func(*http.Request) string, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		receipt, err := takeIn(r.Context(), http.MaxBytesReader(w, r.Body, largestBody), sink, origin(r))
		if err != nil {
			refuse(w, r, err, logger)
			return
		}
		answer(w, http.StatusAccepted, receipt)
	})
}

func takeIn(ctx context.Context, body readCloser, sink event.Sink, origin string) (Receipt, error) {
	var receipt Receipt
	var batch event.Batch
	hand := func() error {
		if len(batch.Events) == 0 && len(batch.Letters) == 0 {
			return nil
		}
		if err := sink(ctx, batch); err != nil {
			return err
		}
		receipt.Accepted += len(batch.Events)
		receipt.SetAside += len(batch.Letters)
		batch = event.Batch{}
		return nil
	}
	err := awslog.Read(origin, body, awslog.Limits{Inflated: largestInflated}, func(events []event.Event, letters []event.Letter) error {
		batch.Events, batch.Letters = append(batch.Events, events...), append(batch.Letters, letters...)
		if len(batch.Events)+len(batch.Letters) < handful {
			return nil
		}
		return hand()
	})
	return receipt, errors.Join(err, hand())
}

type readCloser interface {
	Read(p []byte) (int, error)
	Close() error
}

// refuse answers with a problem document (RFC 9457).
func refuse(w http.ResponseWriter, r *http.Request, err error, logger *slog.Logger) {
	status, detail := http.StatusServiceUnavailable, "not durable yet; send it again"
	tooLarge, isTooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case isTooLarge:
		status, detail = http.StatusRequestEntityTooLarge, tooLarge.Error()
	case fault.Is(err, fault.Invalid):
		status, detail = http.StatusBadRequest, fault.Message(err)
	case fault.Is(err, fault.Denied):
		status, detail = http.StatusForbidden, fault.Message(err)
	}
	logger.WarnContext(r.Context(), "request not taken in", "origin", "push", "status", status, "err", err.Error())
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, status, map[string]any{"status": status, "title": http.StatusText(status), "detail": detail})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked is gone then
}
