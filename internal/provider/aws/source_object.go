package aws

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// handful is how many records of a file are handed on at once.
const handful = 500

// readObject hands on the records of an object in S3. Errors are Invalid or NotFound where reading it
// again won't help.
func (c *Cloud) readObject(ctx context.Context, o awslog.Object, allowed []string, sink event.Sink) error {
	where := "s3://" + o.Bucket + "/" + o.Key
	if !slices.Contains(allowed, o.Bucket) {
		return fault.WithHint(fault.New(fault.Invalid, "%s is in a bucket that the queue's configuration does not list", where),
			"add it to buckets, then replay the dead letter")
	}
	reach := c.home.Copy()
	if o.Region != "" {
		if err := checkRegion(o.Region); err != nil {
			return fmt.Errorf("get %s: %w", where, err)
		}
		reach.Region = o.Region
	}
	got, err := c.storage(reach).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key)})
	if err != nil {
		return fmt.Errorf("get %s: %w", where, classify(err))
	}
	var batch event.Batch
	hand := func() error {
		if len(batch.Events) == 0 && len(batch.Letters) == 0 {
			return nil
		}
		err := sink(ctx, batch)
		batch = event.Batch{}
		if err != nil {
			return &handedOn{err}
		}
		return nil
	}
	err = awslog.Read(where, got.Body, awslog.Limits{}, func(events []event.Event, letters []event.Letter) error {
		batch.Events, batch.Letters = append(batch.Events, events...), append(batch.Letters, letters...)
		if len(batch.Events)+len(batch.Letters) < handful {
			return nil
		}
		return hand()
	})
	_ = got.Body.Close() // all that it held was read, or reading it told why not
	if err == nil {
		err = hand()
	}
	if further, ok := errors.AsType[*handedOn](err); ok {
		return further.error
	}
	if err != nil && !fault.Is(err, fault.Invalid) {
		return fault.Wrap(fault.Transient, fmt.Errorf("read %s: %w", where, err)) // the connection broke
	}
	if err != nil {
		if rest := hand(); rest != nil { // what came before the damage
			return errors.Unwrap(rest)
		}
		return err
	}
	return nil
}

// handedOn marks an error of what follows, apart from those of reading.
type handedOn struct{ error } //nolint:errname // it marks an error

func (h *handedOn) Unwrap() error { return h.error }

// storage is a client of S3. At an emulator buckets are in the path, not in the host's name.
func (c *Cloud) storage(reach aws.Config) *s3.Client {
	return s3.NewFromConfig(reach, func(o *s3.Options) { o.UsePathStyle = c.options.Endpoint != "" })
}

// parseQueueURL reads where a queue is from its URL. An emulator's says no region: it is our home's.
func parseQueueURL(text string, self Self) (placeOf, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" {
		return placeOf{}, fault.New(fault.Invalid, "url: %q: %w", text, errNoQueueURL)
	}
	parts := strings.Split(strings.Trim(parsed.Path, "/"), "/")
	if len(parts) != 2 || parts[1] == "" {
		return placeOf{}, fault.New(fault.Invalid, "url: %q: %w", text, errNoQueueURL)
	}
	place := placeOf{Region: self.Region, account: parts[0], name: parts[1]}
	if labels := strings.Split(parsed.Hostname(), "."); len(labels) >= 4 && labels[0] == "sqs" {
		place.Region = labels[1]
	}
	return place, nil
}
