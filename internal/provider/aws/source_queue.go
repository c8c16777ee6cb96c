package aws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// QueueConfig says which SQS queue to read and which buckets its messages may point to.
type QueueConfig struct {
	// URL is the queue's.
	URL string `yaml:"url"`
	// Buckets are the buckets from which files are read that the queue's messages announce. Objects
	// elsewhere are set aside: whoever can write to the queue must not make Riposte read at will.
	Buckets []string `yaml:"buckets"`
	// Workers is how many receives wait at once; 2 if zero.
	Workers int `yaml:"workers"`
}

const (
	// visibility is how long a message is ours without a word from us, in seconds.
	visibility = 60
	// longPoll is how long a receive waits for a message, in seconds.
	longPoll = 20
	// longestDelay bounds how long a message waits for its next try, in seconds.
	longestDelay = 900
)

// Queue is a source: SQS messages that are EventBridge events, or announce CloudTrail's files in S3. A
// message is deleted when everything that follows from it is durable, and not before.
type Queue struct {
	cloud  *Cloud
	config QueueConfig
	place  placeOf
	client *sqs.Client
	sink   event.Sink
	logger *slog.Logger
	tracer trace.Tracer

	mu      sync.Mutex
	trouble error     // of the last receive or message; nil if it went well
	since   time.Time // of the trouble
}

// Queue makes a source of a queue. Errors are Invalid and name the key.
func (c *Cloud) Queue(config QueueConfig, sink event.Sink, logger *slog.Logger) (*Queue, error) {
	place, err := parseQueueURL(config.URL, c.self)
	if err != nil {
		return nil, err
	}
	if config.Workers <= 0 {
		config.Workers = 2
	}
	reach := c.home.Copy()
	reach.Region = place.Region
	return &Queue{
		cloud: c, config: config, place: place, client: sqs.NewFromConfig(reach), sink: sink, logger: logger,
		tracer: otel.Tracer("riposte/source"),
	}, nil
}

// Name is the source's in logs, metrics and health: sqs:name.
func (q *Queue) Name() string { return "sqs:" + q.place.name }

// Stands lists what the source stands on at AWS, for protection: the queue and its buckets.
func (q *Queue) Stands() []entity.Entity {
	own := []entity.Entity{{Kind: entity.Queue, ID: q.config.URL, ARN: q.place.arn(q.cloud.self.Partition)}}
	for _, bucket := range q.config.Buckets {
		own = append(own, entity.Entity{Kind: entity.Bucket, ID: bucket})
	}
	return own
}

// Check tells what is wrong with the source, nil if nothing is.
func (q *Queue) Check(context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.trouble == nil {
		return nil
	}
	return fmt.Errorf("%s since %s: %w", q.Name(), q.since.UTC().Format(time.RFC3339), q.trouble)
}

func (q *Queue) report(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil && q.trouble == nil {
		q.since = time.Now()
	}
	q.trouble = err
}

// Run reads until ctx ends.
func (q *Queue) Run(ctx context.Context) error {
	var readers sync.WaitGroup
	for range q.config.Workers {
		readers.Go(func() { q.read(ctx) })
	}
	readers.Wait()
	return nil
}

func (q *Queue) read(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		messages, err := q.receive(ctx)
		switch {
		case err == nil:
			failures = 0
			q.handle(ctx, messages)
		case ctx.Err() == nil:
			q.report(err)
			q.logger.ErrorContext(ctx, "receive from queue", "origin", q.Name(), "err", err.Error())
			sleep(ctx, min(time.Second<<min(failures, 5), 30*time.Second))
			failures++
		}
	}
}

func (q *Queue) receive(ctx context.Context) ([]types.Message, error) {
	got, err := q.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(q.config.URL), MaxNumberOfMessages: 10, WaitTimeSeconds: longPoll, VisibilityTimeout: visibility,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return nil, fmt.Errorf("receive: %w", classify(err))
	}
	if len(got.Messages) == 0 {
		q.report(nil)
	}
	return got.Messages, nil
}

// handle takes messages in at the same time: one that is slow or broken doesn't hold up the others.
func (q *Queue) handle(ctx context.Context, messages []types.Message) {
	var each sync.WaitGroup
	for _, m := range messages {
		each.Go(func() { q.one(ctx, m) })
	}
	each.Wait()
}

// one takes a message in and acknowledges it, or lets it come again later.
func (q *Queue) one(ctx context.Context, m types.Message) {
	ctx, span := q.tracer.Start(ctx, "take in", trace.WithAttributes(
		attribute.String("source", q.Name()), attribute.String("message", aws.ToString(m.MessageId))))
	defer span.End()
	release := q.hold(ctx, m)
	err := q.take(ctx, []byte(aws.ToString(m.Body)), q.Name()+"/"+aws.ToString(m.MessageId), q.sink)
	release()
	q.report(err)
	if err != nil {
		q.logger.ErrorContext(ctx, "message not taken in; it comes again", "origin", q.Name(), "err", err.Error())
		q.later(ctx, m)
		return
	}
	// What was taken in is acknowledged even while the process ends.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, err = q.client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String(q.config.URL), ReceiptHandle: m.ReceiptHandle})
	if err != nil { // it comes again, and is known
		q.logger.WarnContext(ctx, "acknowledge message", "origin", q.Name(), "err", err.Error())
	}
}

// hold keeps a message ours until release is called.
func (q *Queue) hold(ctx context.Context, m types.Message) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() {
		for sleep(ctx, visibility*time.Second/3) {
			q.visible(ctx, m, visibility)
		}
	})
	return func() { cancel(); keeper.Wait() }
}

// later lets a message come again, after a time that doubles with each try.
func (q *Queue) later(ctx context.Context, m types.Message) {
	tries, err := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if err != nil {
		tries = 1
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	q.visible(ctx, m, int32(min(1<<min(tries, 10), longestDelay))) //nolint:gosec // at most 900
}

func (q *Queue) visible(ctx context.Context, m types.Message, seconds int32) {
	_, err := q.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: aws.String(q.config.URL), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds,
	})
	if err != nil && ctx.Err() == nil {
		q.logger.WarnContext(ctx, "change a message's visibility", "origin", q.Name(), "err", err.Error())
	}
}

// take hands on what a message says: its events and the records of the objects it announces. It returns
// nil when everything is durable, what can't be read included.
func (q *Queue) take(ctx context.Context, body []byte, origin string, sink event.Sink) error {
	content, unreadable := awslog.Message(body)
	var batch event.Batch
	for _, ev := range content.Events {
		ev.Origin = origin
		batch.Events = append(batch.Events, ev)
	}
	if unreadable != nil {
		batch.Letters = append(batch.Letters, event.Letter{
			Format: awslog.FormatMessage, Origin: origin, Reason: unreadable.Error(), Raw: body,
		})
	}
	for _, object := range content.Objects {
		err := q.cloud.readObject(ctx, object, q.config.Buckets, sink)
		switch {
		case err == nil:
		case fault.Is(err, fault.Invalid), fault.Is(err, fault.NotFound):
			batch.Letters = append(batch.Letters, event.Letter{
				Format: awslog.FormatMessage, Origin: origin, Reason: err.Error(), Raw: body,
			})
		default:
			return err
		}
	}
	if len(batch.Events) == 0 && len(batch.Letters) == 0 {
		return nil
	}
	return sink(ctx, batch)
}

// Replay reads the bytes of a message that was set aside once more. It returns an error of kind Invalid
// where they still can't be read.
func (q *Queue) Replay(ctx context.Context, body []byte, origin string) error {
	return q.take(ctx, body, origin, event.Strict(q.sink))
}

// placeOf is where a queue is.
type placeOf struct {
	Region  string
	account string
	name    string
}

func (p placeOf) arn(partition string) string {
	return arn.ARN{Partition: partition, Service: "sqs", Region: p.Region, AccountID: p.account, Resource: p.name}.String()
}

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errNoQueueURL = errors.New("not a queue's URL such as https://sqs.eu-central-1.amazonaws.com/123456789012/name")
