package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

// intake is a queue and a bucket at the emulator, the tap through which Riposte reads them, and the basin
// that takes in what it reads.
type intake struct {
	t      *testing.T
	tap    *tap
	basin  *basin
	cloud  *aws.Cloud
	queue  string // its URL
	bucket string
	sqs    *sqs.Client
	s3     *s3.Client
	sns    *sns.Client
}

func newIntake(t *testing.T) *intake {
	t.Helper()
	emulator := awstest.Emulator(t)
	awstest.Credentials(t)
	bell := &bell{ring: make(chan struct{})}
	in := &intake{t: t, tap: newTap(t, emulator, bell), basin: &basin{bell: bell}, bucket: "trail-" + awstest.Account()}
	cloud, err := aws.Connect(t.Context(), aws.Config{Enabled: true, Region: awstest.Region, Endpoint: in.tap.URL})
	if err != nil {
		t.Fatal(err)
	}
	in.cloud = cloud
	reach, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(awstest.Region), config.WithBaseEndpoint(emulator))
	if err != nil {
		t.Fatal(err)
	}
	in.sqs, in.sns = sqs.NewFromConfig(reach), sns.NewFromConfig(reach)
	in.s3 = s3.NewFromConfig(reach, func(o *s3.Options) { o.UsePathStyle = true })
	in.queue = *given(in.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: sdk.String("q-" + in.bucket)}))(t).QueueUrl
	given(in.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &in.bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: awstest.Region},
	}))(t)
	return in
}

// source is a source of the queue that may read the bucket.
func (in *intake) source() *aws.Queue {
	in.t.Helper()
	config := aws.QueueConfig{URL: in.queue, Buckets: []string{in.bucket}, Workers: 1}
	return given(in.cloud.Queue(config, in.basin.take, slog.New(slog.DiscardHandler)))(in.t)
}

// run runs a source until the returned function, or the end of the test, stops it.
func (in *intake) run(source *aws.Queue) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(in.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			in.t.Errorf("run: %v", err)
		}
	})
	in.t.Cleanup(stop)
	return stop
}

func (in *intake) put(key string, content []byte) {
	in.t.Helper()
	given(in.s3.PutObject(in.t.Context(), &s3.PutObjectInput{Bucket: &in.bucket, Key: &key, Body: bytes.NewReader(content)}))(in.t)
}

func (in *intake) send(messages ...string) {
	in.t.Helper()
	for _, text := range messages {
		given(in.sqs.SendMessage(in.t.Context(), &sqs.SendMessageInput{QueueUrl: &in.queue, MessageBody: &text}))(in.t)
	}
}

// notice is S3's own announcement of objects, as it comes directly.
func (in *intake) notice(keys ...string) string { return noticeOf(in.bucket, awstest.Region, keys...) }

func noticeOf(bucket, region string, keys ...string) string {
	var records []string
	for _, key := range keys {
		records = append(records, fmt.Sprintf(`{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":%q,
"eventTime":"2026-11-24T12:00:00.000Z","eventName":"ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0","bucket":{"name":%q},
"object":{"key":%q,"size":1024}}}`, region, bucket, url.QueryEscape(key)))
	}
	return `{"Records":[` + strings.Join(records, ",") + `]}`
}

// acknowledged waits until a number of messages were deleted.
func (in *intake) acknowledged(n int) {
	in.t.Helper()
	in.tap.await(in.t, fmt.Sprintf("%d messages to be deleted", n), func() bool { return in.tap.deleted() >= n })
	if got := in.tap.deleted(); got != n {
		in.t.Errorf("%d messages were deleted, want %d", got, n)
	}
}

// left counts the messages that are still in the queue, in flight or not.
func (in *intake) left() string {
	in.t.Helper()
	got := given(in.sqs.GetQueueAttributes(in.t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &in.queue, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	}))(in.t)
	return got.Attributes["ApproximateNumberOfMessages"] + "+" + got.Attributes["ApproximateNumberOfMessagesNotVisible"]
}

// bell rings whenever something happened that somebody may wait for.
type bell struct {
	mu   sync.Mutex
	ring chan struct{}
}

func (b *bell) rings() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ring)
	b.ring = make(chan struct{})
}

func (b *bell) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	patience := time.NewTimer(60 * time.Second)
	defer patience.Stop()
	for {
		b.mu.Lock()
		ring := b.ring
		b.mu.Unlock()
		if done() {
			return
		}
		select {
		case <-ring:
		case <-patience.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// tap stands between Riposte and the emulator: it tells what is asked, can answer in the emulator's place,
// and lets a message that comes again later come at once.
type tap struct {
	*bell
	URL string

	mu    sync.Mutex
	asked []asked
	fault func(operation string, w http.ResponseWriter) bool // nil lets everything through
}

// asked is a request that the emulator got.
type asked struct{ operation, body string }

func newTap(t *testing.T, emulator string, b *bell) *tap {
	t.Helper()
	target := must[*url.URL](t)(url.Parse(emulator))
	proxy := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	tap := &tap{bell: b}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tap.pass(w, r, proxy) }))
	t.Cleanup(server.Close)
	tap.URL = server.URL
	return tap
}

func (p *tap) pass(w http.ResponseWriter, r *http.Request, emulator http.Handler) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if operation == "" && r.Method == http.MethodGet {
		operation = "GetObject"
	}
	p.mu.Lock()
	fault := p.fault
	p.mu.Unlock()
	if fault != nil && fault(operation, w) { // it may break the connection off
		p.rings()
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	sent := body
	if operation == "ChangeMessageVisibility" {
		sent = soon(body)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(sent)), int64(len(sent))
	emulator.ServeHTTP(w, r)
	p.mu.Lock()
	p.asked = append(p.asked, asked{operation, string(body)})
	p.mu.Unlock()
	p.rings()
}

func soon(body []byte) []byte {
	var request map[string]any
	if json.Unmarshal(body, &request) != nil {
		return body
	}
	request["VisibilityTimeout"] = 0
	sent, err := json.Marshal(request)
	if err != nil {
		return body
	}
	return sent
}

// breaks answers an operation in the emulator's place, until repaired.
func (p *tap) breaks(operation string, answer func(http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = func(asked string, w http.ResponseWriter) bool {
		if asked != operation {
			return false
		}
		answer(w)
		return true
	}
}

func (p *tap) repair() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
}

func (p *tap) bodies(operation string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, a := range p.asked {
		if a.operation == operation {
			all = append(all, a.body)
		}
	}
	return all
}

func (p *tap) deleted() int { return len(p.bodies("DeleteMessage")) }

// basin is what follows the source.
type basin struct {
	*bell
	mu      sync.Mutex
	err     error
	before  func() // called with each batch, before it is taken or refused
	refused int
	events  []event.Event
	letters []event.Letter
}

func (b *basin) take(_ context.Context, batch event.Batch) error {
	defer b.rings()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before != nil {
		b.before()
	}
	if b.err != nil {
		b.refused++
		return b.err
	}
	b.events = append(b.events, batch.Events...)
	b.letters = append(b.letters, batch.Letters...)
	return nil
}

func (b *basin) fails(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *basin) refusals() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

// names lists the ids of the records taken, sorted, each once.
func (b *basin) names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, ev := range b.events {
		names = append(names, strings.Split(ev.Key, "|")[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// reasons tells why letters were set aside, sorted.
func (b *basin) reasons() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var reasons []string
	for _, l := range b.letters {
		reasons = append(reasons, l.Reason)
	}
	slices.Sort(reasons)
	return reasons
}

// apiCall is a record of CloudTrail, by its id.
func apiCall(id string) string {
	return fmt.Sprintf(`{"eventVersion":"1.09","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::123456789012:user/eve","accountId":"123456789012","userName":"eve"},
"eventTime":"2026-11-24T12:00:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","sourceIPAddress":"198.51.100.7",
"requestParameters":{"name":"main"},"responseElements":null,"eventID":%q,"recipientAccountId":"123456789012","eventCategory":"Management"}`, id)
}

func trailFile(ids ...string) []byte {
	var records []string
	for _, id := range ids {
		records = append(records, apiCall(id))
	}
	return []byte(`{"Records":[` + strings.Join(records, ",") + `]}`)
}

func bridged(id string) string {
	return `{"version":"0","id":"e-1","detail-type":"AWS API Call via CloudTrail","source":"aws.cloudtrail","account":"123456789012",
"time":"2026-11-24T12:00:00Z","region":"eu-central-1","resources":[],"detail":` + apiCall(id) + `}`
}

func TestQueueTakesInEveryFormOfMessage(t *testing.T) {
	in := newIntake(t)
	in.put("direct.json", trailFile("direct-1", "direct-2"))
	in.put("AWSLogs/1/Cloud Trail/a+b=c é.json.gz", zipped(t, trailFile("gzip")))
	in.put("created.json", trailFile("created"))
	in.put("announced.json.gz", zipped(t, trailFile("announced")))
	for _, key := range []string{"wrapped.json", "one.json", "two.json"} {
		in.put(key, trailFile(strings.TrimSuffix(key, ".json")))
	}
	in.send(
		in.notice("direct.json"), in.notice("AWSLogs/1/Cloud Trail/a+b=c é.json.gz"), in.notice("one.json", "two.json"),
		bridged("bridge"), apiCall("bare"),
		fmt.Sprintf(`{"s3Bucket":%q,"s3ObjectKey":["announced.json.gz"]}`, in.bucket),
		fmt.Sprintf(`{"version":"0","id":"e-2","detail-type":"Object Created","source":"aws.s3","account":"123456789012","region":"eu-central-1",
"time":"2026-11-24T12:00:00Z","resources":[],"detail":{"bucket":{"name":%q},"object":{"key":"created.json","size":10}}}`, in.bucket),
	)
	in.publish(in.notice("wrapped.json"), bridged("wrapped bridge"))
	in.run(in.source())
	in.acknowledged(9)
	want := []string{"announced", "bare", "bridge", "created", "direct-1", "direct-2", "gzip", "one", "two", "wrapped", "wrapped bridge"}
	if diff := cmp.Diff(want, in.basin.names()); diff != "" {
		t.Errorf("taken in (-want +got):\n%s", diff)
	}
	if got := in.basin.reasons(); len(got) > 0 {
		t.Errorf("set aside: %q", got)
	}
	if got := in.left(); got != "0+0" {
		t.Errorf("%s messages are left", got)
	}
	for _, ev := range in.basin.events {
		if !strings.HasPrefix(ev.Origin, "s3://"+in.bucket+"/") && !strings.HasPrefix(ev.Origin, "sqs:q-"+in.bucket+"/") {
			t.Errorf("%s came from %q", ev.Key, ev.Origin)
		}
	}
}

// publish has SNS wrap messages: a topic to which the queue subscribes.
func (in *intake) publish(messages ...string) {
	in.t.Helper()
	topic := given(in.sns.CreateTopic(in.t.Context(), &sns.CreateTopicInput{Name: sdk.String("t-" + in.bucket)}))(in.t).TopicArn
	given(in.sns.Subscribe(in.t.Context(), &sns.SubscribeInput{
		TopicArn: topic, Protocol: sdk.String("sqs"), Endpoint: sdk.String("arn:aws:sqs:" + awstest.Region + ":" + awstest.Home + ":q-" + in.bucket),
	}))(in.t)
	for _, message := range messages {
		given(in.sns.Publish(in.t.Context(), &sns.PublishInput{TopicArn: topic, Message: &message}))(in.t)
	}
}

// TestQueueReadsWhatS3Announces has S3 itself write the message.
func TestQueueReadsWhatS3Announces(t *testing.T) {
	in := newIntake(t)
	given(in.s3.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: &in.bucket, NotificationConfiguration: &s3types.NotificationConfiguration{
			QueueConfigurations: []s3types.QueueConfiguration{{
				QueueArn: sdk.String("arn:aws:sqs:" + awstest.Region + ":" + awstest.Home + ":q-" + in.bucket),
				Events:   []s3types.Event{s3types.EventS3ObjectCreated},
			}},
		},
	}))(t)
	in.put("AWSLogs/2026/11/24/trail.json.gz", zipped(t, trailFile("from S3")))
	in.run(in.source())
	in.tap.await(t, "the record", func() bool { return len(in.basin.names()) > 0 })
	if diff := cmp.Diff([]string{"from S3"}, in.basin.names()); diff != "" {
		t.Errorf("taken in (-want +got):\n%s", diff)
	}
}

func TestQueueAcknowledgesOnlyWhatIsDurable(t *testing.T) {
	in := newIntake(t)
	in.put("trail.json", trailFile("in a file"))
	in.basin.before = func() {
		if in.tap.deleted() > 0 && len(in.basin.events) == 0 {
			t.Error("a message was deleted before it was durable")
		}
	}
	in.basin.fails(errors.New("disk full"))
	source := in.source()
	in.run(source)
	in.send(in.notice("trail.json"))
	in.tap.await(t, "two deliveries", func() bool { return in.basin.refusals() >= 2 })
	if got := in.tap.deleted(); got != 0 {
		t.Fatalf("%d messages were deleted that nobody took in", got)
	}
	if err := source.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "disk full") || !strings.Contains(err.Error(), source.Name()) {
		t.Errorf("the source's health is %v, want the trouble with its name", err)
	}
	in.basin.fails(nil)
	in.acknowledged(1)
	if diff := cmp.Diff([]string{"in a file"}, in.basin.names()); diff != "" {
		t.Errorf("taken in (-want +got):\n%s", diff)
	}
	if err := source.Check(t.Context()); err != nil {
		t.Errorf("health after recovery: %v", err)
	}
	in.waits()
}

// waits checks that each failed try asked for a longer wait than the one before.
func (in *intake) waits() {
	in.t.Helper()
	last := 0
	for _, body := range in.tap.bodies("ChangeMessageVisibility") {
		var request struct{ VisibilityTimeout int }
		if err := json.Unmarshal([]byte(body), &request); err != nil {
			in.t.Fatal(err)
		}
		if request.VisibilityTimeout <= last || request.VisibilityTimeout > 900 {
			in.t.Errorf("a message waits %d s after %d s, want more, at most 900", request.VisibilityTimeout, last)
		}
		last = request.VisibilityTimeout
	}
	if last == 0 {
		in.t.Error("no message was given back")
	}
}

// TestQueueSurvivesTheCloudsFailures breaks one operation in each way that AWS does: while it is broken, no
// message is lost or acknowledged, and health says so.
func TestQueueSurvivesTheCloudsFailures(t *testing.T) {
	xml := func(status int, code string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
		}
	}
	answer := func(status int, code string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"__type":"com.amazonaws.sqs#`+code+`","message":"no"}`)
		}
	}
	for name, c := range map[string]struct {
		operation string
		answer    func(http.ResponseWriter)
	}{
		"S3 is busy":              {"GetObject", xml(http.StatusServiceUnavailable, "SlowDown")},
		"S3 fails":                {"GetObject", xml(http.StatusInternalServerError, "InternalError")},
		"S3 refuses":              {"GetObject", xml(http.StatusForbidden, "AccessDenied")},
		"credentials have ended":  {"GetObject", xml(http.StatusBadRequest, "ExpiredToken")},
		"S3 breaks off":           {"GetObject", breakOff},
		"SQS throttles":           {"ReceiveMessage", answer(http.StatusBadRequest, "RequestThrottled")},
		"SQS fails":               {"ReceiveMessage", answer(http.StatusServiceUnavailable, "ServiceUnavailable")},
		"the way to SQS is cut":   {"ReceiveMessage", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
		"SQS has lost the queue":  {"ReceiveMessage", answer(http.StatusBadRequest, "QueueDoesNotExist")},
		"SQS refuses the receive": {"ReceiveMessage", answer(http.StatusForbidden, "AccessDeniedException")},
	} {
		t.Run(name, func(t *testing.T) {
			in := newIntake(t)
			in.put("trail.json", trailFile("a", "b"))
			in.send(in.notice("trail.json"))
			in.tap.breaks(c.operation, c.answer)
			source := in.source()
			in.run(source)
			in.tap.await(t, "trouble", func() bool { return source.Check(t.Context()) != nil || in.healthChanges() })
			if got := in.tap.deleted(); got != 0 || len(in.basin.reasons()) != 0 {
				t.Errorf("%d messages were deleted and %q set aside while %s", got, in.basin.reasons(), name)
			}
			in.tap.repair()
			in.acknowledged(1)
			if diff := cmp.Diff([]string{"a", "b"}, in.basin.names()); diff != "" {
				t.Errorf("taken in (-want +got):\n%s", diff)
			}
			if err := source.Check(t.Context()); err != nil {
				t.Errorf("health after recovery: %v", err)
			}
		})
	}
}

// healthChanges rings soon, for a source says nothing when its health changes.
func (in *intake) healthChanges() bool {
	time.AfterFunc(10*time.Millisecond, in.tap.rings)
	return false
}

// breakOff sends the beginning of an object and cuts the connection.
func breakOff(w http.ResponseWriter) {
	content := trailFile("a", "b")
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content[:len(content)-20])
	if err := http.NewResponseController(w).Flush(); err == nil {
		panic(http.ErrAbortHandler)
	}
}

// TestQueueWhoseDeletesAreLost takes a message in again that it couldn't delete: what follows knows it.
func TestQueueWhoseDeletesAreLost(t *testing.T) {
	in := newIntake(t)
	in.tap.breaks("DeleteMessage", func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) })
	in.run(in.source())
	in.send(bridged("once"))
	in.tap.await(t, "the record", func() bool { return len(in.basin.names()) > 0 })
	in.tap.repair()
	if diff := cmp.Diff([]string{"once"}, in.basin.names()); diff != "" {
		t.Errorf("taken in (-want +got):\n%s", diff)
	}
}

func TestQueueFinishesWhatItHoldsWhenItEnds(t *testing.T) {
	in := newIntake(t)
	working, goOn := make(chan struct{}), make(chan struct{})
	in.basin.before = func() { close(working); <-goOn }
	stop := in.run(in.source())
	in.send(bridged("in hand"))
	<-working
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(goOn)
	<-stopped
	in.acknowledged(1)
}

func TestQueueIgnoresTestsOfTheWay(t *testing.T) {
	in := newIntake(t)
	in.send(`{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-24T12:00:00Z","Bucket":"`+in.bucket+`"}`,
		strings.Replace(in.notice("gone.json"), "ObjectCreated:Put", "ObjectRemoved:Delete", 1))
	in.run(in.source())
	in.acknowledged(2)
	if len(in.basin.names()) != 0 || len(in.basin.reasons()) != 0 {
		t.Errorf("taken in %q, set aside %q, want nothing", in.basin.names(), in.basin.reasons())
	}
}

func TestQueueKnowsItself(t *testing.T) {
	in := newIntake(t)
	source := in.source()
	if got, want := source.Name(), "sqs:q-"+in.bucket; got != want {
		t.Errorf("got name %q, want %q", got, want)
	}
	want := []entity.Entity{
		{Kind: entity.Queue, ID: in.queue, ARN: "arn:aws:sqs:" + awstest.Region + ":" + awstest.Home + ":q-" + in.bucket},
		{Kind: entity.Bucket, ID: in.bucket},
	}
	if diff := cmp.Diff(want, source.Stands()); diff != "" {
		t.Errorf("stands on (-want +got):\n%s", diff)
	}
}

func TestQueueRefusesWhatIsNoQueuesURL(t *testing.T) {
	cloud := connect(t)
	for _, text := range []string{"", "queue", "https://sqs.eu-central-1.amazonaws.com/", "https://sqs.eu-central-1.amazonaws.com/123456789012/", "://", "http:///a/b"} {
		_, err := cloud.Queue(aws.QueueConfig{URL: text}, nil, nil)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "url") {
			t.Errorf("%q: got %v, want an error of kind invalid that names the key", text, err)
		}
	}
}
