package awslog

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// FormatMessage is the format of dead letters whose bytes Message refused, or whose objects could not be
// read.
const FormatMessage = "aws.message"

// Content is what a message of a queue or a topic says.
type Content struct {
	Events  []event.Event
	Objects []Object
	Topic   string // ARN of the SNS topic it came through, "" if none
	Ignored string // why nothing follows from it, or from a part of it
}

// Object is an object in S3 that holds records.
type Object struct {
	Bucket string
	Key    string
	Region string // of the bucket, "" if the message doesn't say
	Size   int64  // in bytes, 0 if the message doesn't say
}

// nested is how many wrappings a message may have: a topic to a topic to a queue.
const nested = 4

// Message reads what SQS or SNS delivers: an S3 notification, one of CloudTrail's own, an EventBridge
// event, a record, or any of these wrapped by SNS. Where a part of it can't be read, the rest comes with
// the error.
func Message(raw []byte) (Content, error) { return message(raw, nested) }

func message(raw []byte, wrappings int) (Content, error) {
	body, err := object(raw)
	if err != nil {
		return Content{}, err
	}
	switch {
	case body.get("Type") != nil && body.get("TopicArn") != nil:
		return notification(body, wrappings)
	case body.str("Event") == "s3:TestEvent":
		return Content{Ignored: "S3's test of the notification"}, nil
	case body.get("Records") != nil:
		return recordsOf(body.get("Records"))
	case body.get("s3ObjectKey") != nil && body.get("s3Bucket") != nil:
		return announced(body), nil
	case body.str("detail-type") == "Object Created" && body.str("source") == "aws.s3":
		var c Content
		detail := body.get("detail")
		size := detail.float("object", "size")
		c.object(Object{Bucket: detail.str("bucket", "name"), Key: detail.str("object", "key"), Region: body.str("region"), Size: int64(size)})
		return c, nil
	}
	events, err := Record(raw)
	return Content{Events: events}, err
}

// notification unwraps what SNS delivers.
func notification(body value, wrappings int) (Content, error) {
	topic := body.str("TopicArn")
	if kind := body.str("Type"); kind != "Notification" {
		return Content{Topic: topic, Ignored: "an SNS message of type " + kind}, nil
	}
	if wrappings == 0 {
		return Content{Topic: topic}, fault.New(fault.Invalid, "wrapped by SNS more than %d times", nested)
	}
	text := body.str("Message")
	if strings.HasPrefix(text, "CloudTrail validation message") {
		return Content{Topic: topic, Ignored: "CloudTrail's test of the topic"}, nil
	}
	c, err := message([]byte(text), wrappings-1)
	c.Topic = topic
	return c, err
}

// recordsOf reads the records of an S3 notification, or records themselves.
func recordsOf(list value) (Content, error) {
	if list[0] != '[' {
		return Content{}, fault.New(fault.Invalid, "Records is %s, not a list", list.sort())
	}
	var c Content
	var errs []error
	var direct []value
	for item := range list.items() {
		s3 := item.get("s3")
		if s3 == nil {
			direct = append(direct, item)
			continue
		}
		if name := item.str("eventName"); !strings.Contains(name, "ObjectCreated") {
			c.Ignored = "S3's " + name
			continue
		}
		key, err := url.QueryUnescape(s3.str("object", "key"))
		if err != nil {
			errs = append(errs, fmt.Errorf("object key %q is not URL-encoded", s3.str("object", "key")))
			continue
		}
		size := s3.float("object", "size")
		c.object(Object{Bucket: s3.str("bucket", "name"), Key: key, Region: item.str("awsRegion"), Size: int64(size)})
	}
	for _, item := range direct {
		events, err := Record(item)
		c.Events = append(c.Events, events...)
		errs = append(errs, err)
	}
	return c, fault.Wrap(fault.Invalid, errors.Join(errs...))
}

// announced reads CloudTrail's own notice of new log files.
func announced(body value) Content {
	var c Content
	for item := range body.get("s3ObjectKey").items() {
		c.object(Object{Bucket: body.str("s3Bucket"), Key: item.text()})
	}
	return c
}

// object adds an object, unless it is one that AWS writes beside its logs.
func (c *Content) object(o Object) {
	switch {
	case o.Bucket == "" || o.Key == "":
		c.Ignored = "an object without bucket or key"
	case strings.Contains(o.Key, "/CloudTrail-Digest/"):
		c.Ignored = "a digest of CloudTrail"
	case strings.HasSuffix(o.Key, "/"), strings.HasSuffix(o.Key, "/ConfigWritabilityCheckFile"):
		c.Ignored = "an object that holds no records"
	default:
		c.Objects = append(c.Objects, o)
	}
}
