// Package event holds one log record or notification, as its source wrote it, in a small normalised envelope.
package event

import (
	"context"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Source names where events come from. It decides which rules apply and how findings are typed.
type Source string

// The sources of this build.
const (
	CloudTrail      Source = "aws.cloudtrail"
	GuardDuty       Source = "aws.guardduty"
	SecurityHub     Source = "aws.securityhub"
	ConfigChange    Source = "aws.config.item"
	ConfigCompliant Source = "aws.config.compliance"
	CloudWatchAlarm Source = "aws.cloudwatch.alarm"
	EventBridge     Source = "aws.eventbridge" // an envelope of another kind
	KubernetesAudit Source = "kubernetes.audit"
	Webhook         Source = "webhook"
)

// Event is one record.
type Event struct {
	// Key is the deduplication key, unique for one happening at one source: for CloudTrail
	// "aws.cloudtrail|<eventID>|<recipientAccountId>".
	Key      string    `json:"key"`
	Source   Source    `json:"source"`
	Time     time.Time `json:"time"`     // when it happened, by the source
	Received time.Time `json:"received"` // when we read it
	Account  string    `json:"account,omitempty"`
	Region   string    `json:"region,omitempty"`
	// Service and Name are the API's service and operation (ec2.amazonaws.com, RunInstances), or the
	// product's finding type.
	Service string `json:"service,omitempty"`
	Name    string `json:"name"`
	// ErrorCode is set where the source says that the call did not succeed.
	ErrorCode string          `json:"error_code,omitempty"`
	Entities  []entity.Entity `json:"entities,omitempty"`
	// Origin says where we read it, for people: s3://bucket/key#17, sqs:queue, file:line.
	Origin string `json:"origin,omitempty"`
	// Raw is the record exactly as the source wrote it.
	Raw []byte `json:"-"`
}

// Entity gives the first entity of a kind, and whether there is one.
func (e *Event) Entity(kind entity.Kind) (entity.Entity, bool) {
	for _, found := range e.Entities {
		if found.Kind == kind {
			return found, true
		}
	}
	return entity.Entity{}, false
}

// Letter is something a source delivered that could not be read: a dead letter. It waits, visible, until
// a person replays or deletes it.
type Letter struct {
	ID       string    `json:"id"`     // ULID
	Format   string    `json:"format"` // which decoder refused it; replay uses the same
	Origin   string    `json:"origin"`
	Reason   string    `json:"reason"`
	Raw      []byte    `json:"raw"`
	Received time.Time `json:"received"`
	Count    int       `json:"count"` // how often the same bytes came
	Replayed time.Time `json:"replayed,omitzero"`
}

// Batch is what a source hands over at once. A record that can't be read is a letter; it doesn't
// hold up the rest.
type Batch struct {
	Events  []Event
	Letters []Letter
}

// Sink takes a batch. It returns nil when everything that follows from the batch is durable; only then
// may the source acknowledge to its origin. A batch delivered again has no further effect.
type Sink func(ctx context.Context, b Batch) error

// Strict is a sink that refuses what can't be read, instead of setting it aside.
func Strict(sink Sink) Sink {
	return func(ctx context.Context, b Batch) error {
		if len(b.Letters) > 0 {
			return fault.New(fault.Invalid, "it still cannot be read: %s", b.Letters[0].Reason)
		}
		return sink(ctx, b)
	}
}
