// Package push takes in what others send over HTTP: events by POST, notifications of Amazon SNS.
package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

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
	// Why says for the first of those what is wrong with them.
	Why []string `json:"why,omitempty"`
}

const (
	// mostReasons is how many reasons a receipt has, longestReason how long each may be, in bytes.
	mostReasons, longestReason = 10, 1000
)

// count adds a batch that is durable.
func (r *Receipt) count(b event.Batch) {
	r.Accepted += len(b.Events)
	r.SetAside += len(b.Letters)
	for i := range b.Letters {
		if reason := b.Letters[i].Reason; len(r.Why) < mostReasons {
			r.Why = append(r.Why, strings.ToValidUTF8(reason[:min(len(reason), longestReason)], ""))
		}
	}
}

// Form recognises requests of a form of its own. It gives the function that reads their bodies, nil for others.
type Form func(r *http.Request) (func(body []byte) (event.Batch, error), error)

// Events takes POST requests of CloudTrail records, EventBridge events and findings: one as an object,
// several as an array, as {"Records": [...]} or one a line; gzip is recognised. The origin says who sent
// it. It answers 202 when everything is durable, 400 if the body is damaged, 503 if it should come again.
// Requests of other forms are theirs to read.
func Events(sink event.Sink, origin func(*http.Request) string, logger *slog.Logger, forms ...Form) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		receipt, err := takeRequest(r, http.MaxBytesReader(w, r.Body, largestBody), sink, origin(r), forms)
		if err != nil {
			refuse(w, r, err, logger)
			return
		}
		answer(w, http.StatusAccepted, receipt)
	})
}

func takeRequest(r *http.Request, body readCloser, sink event.Sink, origin string, forms []Form) (Receipt, error) {
	for _, form := range forms {
		read, err := form(r)
		if err != nil {
			return Receipt{}, err
		}
		if read != nil {
			return takeForm(r.Context(), body, sink, origin, read)
		}
	}
	return takeIn(r.Context(), body, sink, origin)
}

func takeForm(ctx context.Context, body readCloser, sink event.Sink, origin string, read func([]byte) (event.Batch, error)) (Receipt, error) {
	var receipt Receipt
	text, err := io.ReadAll(body)
	if err != nil {
		return receipt, fmt.Errorf("read: %w", err)
	}
	batch, err := read(text)
	if err != nil {
		return receipt, err
	}
	for i := range batch.Events {
		batch.Events[i].Origin = origin
	}
	for i := range batch.Letters {
		batch.Letters[i].Origin = origin
	}
	if err := sink(ctx, batch); err != nil {
		return receipt, err
	}
	receipt.count(batch)
	return receipt, nil
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
		receipt.count(batch)
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
