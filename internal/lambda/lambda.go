// Package lambda answers the invocations of an AWS Lambda function: events of EventBridge, batches of an SQS queue,
// and ticks of a schedule.
package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"         //nolint:depguard // this package is the function
	runtime "github.com/aws/aws-lambda-go/lambda" //nolint:depguard // this is where the function runs

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Riposte works for one invocation.
type Riposte interface {
	// Take returns nil when all that follows from a batch is durable.
	Take(ctx context.Context, b event.Batch) error
	// Settle finishes what can be finished before ctx ends.
	Settle(ctx context.Context)
	// Close leaves the rest to the next invocation.
	Close() error
}

// Handler answers invocations. Each opens a Riposte of its own and closes it before it answers: between invocations
// the machine stands still, and nothing would keep a connection or a lease alive.
type Handler struct {
	Open func(ctx context.Context) (Riposte, error)
	// Margin is how long before the invocation's end the work stops, so that there is time to close; 5 s if zero.
	Margin time.Duration
	Logger *slog.Logger
}

const (
	defaultMargin = 5 * time.Second
	// leastWork is what of an invocation is worked at least, however short it is.
	leastWork = 500 * time.Millisecond
)

var errMargin = errors.New("the invocation ends soon")

// Run answers invocations until the process ends.
func (h *Handler) Run(ctx context.Context) {
	runtime.StartWithOptions(h.Handle, runtime.WithContext(ctx))
}

// parcel is what one message gave. Its id is "" where there is only one.
type parcel struct {
	id    string
	batch event.Batch
}

// tick is what wakes without an event: {"riposte": "tick"}, or a scheduled event of EventBridge.
type tick struct {
	Riposte    string `json:"riposte"`
	DetailType string `json:"detail-type"`
	Source     string `json:"source"`
}

// Handle answers one invocation. An error makes Lambda deliver the event again; of a queue's batch it tells instead
// which messages come again.
func (h *Handler) Handle(ctx context.Context, payload json.RawMessage) (any, error) {
	parcels, queue, err := unpack(payload)
	if err != nil {
		return nil, err
	}
	working, cancel := h.bound(ctx)
	defer cancel()
	riposte, err := h.Open(working)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	var failed []string
	var errs []error
	for _, p := range parcels {
		if err := riposte.Take(working, p.batch); err != nil {
			h.Logger.ErrorContext(ctx, "take in", "err", err.Error())
			failed, errs = append(failed, p.id), append(errs, err)
		}
	}
	riposte.Settle(working)
	if err := riposte.Close(); err != nil {
		h.Logger.WarnContext(ctx, "close", "err", err.Error()) // what is durable is durable
	}
	if !queue {
		return nil, errors.Join(errs...)
	}
	answer := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for _, id := range failed {
		answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: id})
	}
	return answer, nil
}

// bound ends the work before the invocation does.
func (h *Handler) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, has := ctx.Deadline()
	if !has {
		return context.WithCancel(ctx)
	}
	margin := h.Margin
	if margin <= 0 {
		margin = defaultMargin
	}
	work := max(time.Until(deadline)-margin, leastWork)
	return context.WithTimeoutCause(ctx, work, errMargin)
}

// unpack reads what the function was invoked with: nothing to take in for a tick, a parcel a message for a queue's
// batch, which it reports, else one.
func unpack(payload []byte) (parcels []parcel, queue bool, err error) {
	var batch events.SQSEvent
	if err := json.Unmarshal(payload, &batch); err == nil && len(batch.Records) > 0 && batch.Records[0].EventSource == "aws:sqs" {
		for i := range batch.Records {
			m := &batch.Records[i]
			parcels = append(parcels, parcel{m.MessageId, read([]byte(m.Body), "sqs:"+m.EventSourceARN)})
		}
		return parcels, true, nil
	}
	var t tick
	if err := json.Unmarshal(payload, &t); err != nil {
		return nil, false, fault.New(fault.Invalid, "the function is invoked with no JSON object: %w", err)
	}
	if t.Riposte == "tick" || t.Source == "aws.events" && t.DetailType == "Scheduled Event" {
		return nil, false, nil
	}
	return []parcel{{batch: read(payload, "lambda")}}, false, nil
}

// read reads one message. What can't be read is a letter, and so is a notice of files: the function reads none.
func read(raw []byte, origin string) event.Batch {
	content, err := awslog.Message(raw)
	for i := range content.Events {
		content.Events[i].Origin = origin
	}
	if err == nil && len(content.Objects) > 0 {
		err = fault.New(fault.Invalid, "it announces s3://%s/%s: the function reads no files, `riposte serve` does",
			content.Objects[0].Bucket, content.Objects[0].Key)
	}
	batch := event.Batch{Events: content.Events}
	if err != nil {
		batch.Letters = []event.Letter{{Format: awslog.FormatMessage, Origin: origin, Reason: err.Error(), Raw: raw}}
	}
	return batch
}
