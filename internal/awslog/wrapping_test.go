package awslog_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// zipped compresses a text.
func zipped(tb testing.TB, text []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// packed is a text as CloudWatch Logs hands it to a function.
func packed(tb testing.TB, text []byte) []byte {
	tb.Helper()
	return fmt.Appendf(nil, `{"awslogs":{"data":%q}}`, base64.StdEncoding.EncodeToString(zipped(tb, text)))
}

// readAll gives all that comes of a file.
func readAll(tb testing.TB, text []byte, limits awslog.Limits) ([]event.Event, []event.Letter) {
	tb.Helper()
	var events []event.Event
	var letters []event.Letter
	err := awslog.Read("file", bytes.NewReader(text), limits, func(some []event.Event, unread []event.Letter) error {
		events, letters = append(events, some...), append(letters, unread...)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return events, letters
}

// way is one in which the same three audit events come.
type way struct {
	text    []byte
	cluster bool // it says of which one they are
}

// however lists the ways.
func however(tb testing.TB) map[string]way {
	tb.Helper()
	lines, subscription := bytes.TrimSpace(sample(tb, "lines.jsonl")), bytes.TrimSpace(sample(tb, "subscription.json"))
	inList := func(text []byte) []byte { return fmt.Appendf(nil, "[%s]", text) }
	control := `{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],` +
		`"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}`
	return map[string]way{
		"lines":                            {lines, false},
		"a list":                           {inList(bytes.ReplaceAll(lines, []byte("\n"), []byte(","))), false},
		"lines, compressed":                {zipped(tb, lines), false},
		"a list of audit events":           {sample(tb, "list.json"), false},
		"a subscription":                   {subscription, true},
		"a subscription, compressed":       {zipped(tb, subscription), true},
		"a subscription in a list":         {inList(subscription), true},
		"two, one after the other":         {slices.Concat(subscription, subscription), true},
		"two, compressed one by one":       {slices.Concat(zipped(tb, []byte(control)), zipped(tb, subscription)), true},
		"a subscription, packed":           {packed(tb, subscription), true},
		"a subscription, packed in a list": {inList(packed(tb, subscription)), true},
	}
}

// keys lists the keys of events, in their order and once each.
func keys(events []event.Event) []string {
	var all []string
	for _, ev := range events {
		all = append(all, ev.Key)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestOneKeyHoweverItComes(t *testing.T) {
	want, _ := readAll(t, sample(t, "lines.jsonl"), awslog.Limits{})
	for name, way := range however(t) {
		events, letters := readAll(t, way.text, awslog.Limits{})
		for _, l := range letters {
			t.Errorf("%s: letter: %s", name, l.Reason)
		}
		if diff := cmp.Diff(keys(want), keys(events)); diff != "" {
			t.Errorf("%s: keys differ (-want +got):\n%s", name, diff)
		}
		for _, ev := range events {
			e, known := ev.Entity(entity.Cluster)
			if known != way.cluster || known && (e.ID != "shop-prod" || e.Account != "444455556666" || e.From != "logGroup") {
				t.Errorf("%s: got the cluster %+v", name, e)
			}
			if known != (ev.Account == "444455556666") {
				t.Errorf("%s: got account %q", name, ev.Account)
			}
		}
	}
}

func TestMessageOfASubscription(t *testing.T) {
	for _, text := range [][]byte{sample(t, "subscription.json"), packed(t, sample(t, "subscription.json"))} {
		c, err := awslog.Message(text)
		if err != nil || len(c.Events) != 3 {
			t.Errorf("got %d events and %v, want 3", len(c.Events), err)
		}
	}
}

// Messages are kept as the API server wrote them.
func TestRawOfALogEvent(t *testing.T) {
	events, _ := readAll(t, sample(t, "subscription.json"), awslog.Limits{})
	lines := bytes.Split(bytes.TrimSpace(sample(t, "lines.jsonl")), []byte("\n"))
	for i, ev := range events {
		if diff := cmp.Diff(string(lines[i]), string(ev.Raw)); diff != "" {
			t.Errorf("event %d differs (-want +got):\n%s", i, diff)
		}
	}
}

const around = `{"messageType":"DATA_MESSAGE","owner":"444455556666","logGroup":%q,"logStream":%q,"subscriptionFilters":["f"],"logEvents":[%s]}`

func TestLogEvents(t *testing.T) {
	good := `{"id":"1","timestamp":1,"message":"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"a\",\"stageTimestamp\":\"2024-05-06T07:08:09Z\"}"}`
	trail := `{"id":"2","message":"{\"eventVersion\":\"1.08\",\"eventTime\":\"2024-05-06T07:08:09Z\",\"eventSource\":\"s3.amazonaws.com\",\"eventName\":\"GetObject\",\"eventID\":\"x\"}"}`
	text := `{"id":"3","timestamp":1,"message":"I0506 07:08:09 controller.go:1] started"}`
	flow := `{"id":"4","message":"{\"version\":2,\"account_id\":\"1\"}"}`
	const group, stream = "/aws/eks/shop-prod/cluster", "kube-apiserver-audit-0123"
	for name, c := range map[string]struct {
		group, stream, list string
		events              int
		letters             []string
	}{
		"audit events":                {group, stream, good + "," + good, 2, nil},
		"none":                        {group, stream, "", 0, nil},
		"of another group":            {"kops-audit", "x", good, 1, nil},
		"of a trail":                  {"aws-cloudtrail-logs", "x", trail, 1, nil},
		"text among them":             {group, stream, good + "," + text + "," + good, 2, []string{"message of log event 3 of " + group}},
		"another part of the cluster": {group, "kube-controller-manager-0123", text, 0, nil},
		"records of an unknown kind":  {"flow", "eni-1", flow + "," + good, 1, []string{"log event 4 of flow is not of a kind that is known"}},
		"what is no log event":        {group, stream, `"x",` + good + `,{},7`, 1, []string{"a JSON object is wanted", "message of log event ", "a JSON object is wanted"}},
		"broken in the middle":        {group, stream, good + `,{"message":}`, 1, []string{"JSON value"}},
	} {
		t.Run(name, func(t *testing.T) {
			whole := fmt.Appendf(nil, around, c.group, c.stream, c.list)
			events, letters := readAll(t, whole, awslog.Limits{})
			if len(events) != c.events {
				t.Errorf("got %d events, want %d", len(events), c.events)
			}
			var reasons []string
			for i, l := range letters {
				reasons = append(reasons, l.Reason)
				if i < len(c.letters) && strings.Contains(l.Reason, c.letters[i]) {
					reasons[i] = c.letters[i]
				}
			}
			if diff := cmp.Diff(c.letters, reasons); diff != "" {
				t.Errorf("letters differ (-want +got):\n%s", diff)
			}
			if name == "broken in the middle" {
				return // by itself it isn't JSON
			}
			alone, err := awslog.Record(whole)
			if len(alone) != c.events || (err != nil) != (len(c.letters) > 0) || err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("as one record: got %d events and %v", len(alone), err)
			}
		})
	}
}

// A letter holds what is needed to read it again, and only what could not be read.
func TestLetterOfALogEvent(t *testing.T) {
	bad := `{"id":"7","message":"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"a\"}"}`
	_, letters := readAll(t, fmt.Appendf(nil, around, "/aws/eks/shop-prod/cluster", "kube-apiserver-audit-0", bad+","+bad), awslog.Limits{})
	if len(letters) != 2 || letters[0].Origin != "file#0" || letters[1].Origin != "file#1" {
		t.Fatalf("got %+v", letters)
	}
	want := fmt.Sprintf(around, "/aws/eks/shop-prod/cluster", "kube-apiserver-audit-0", bad)
	if diff := cmp.Diff(want, string(letters[1].Raw)); diff != "" {
		t.Errorf("the letter differs (-want +got):\n%s", diff)
	}
	mended := bytes.Replace(letters[1].Raw, []byte(`\"auditID\":`), []byte(`\"stageTimestamp\":\"2024-05-06T07:08:09Z\",\"auditID\":`), 1)
	ev := recorded(t, mended)
	if e, ok := ev.Entity(entity.Cluster); !ok || e.ID != "shop-prod" {
		t.Errorf("got entities %v", named(ev))
	}
}

// A batch may hold far more than one record may; it's each of its members that counts.
func TestLargeSubscription(t *testing.T) {
	good := `{"id":"1","message":"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"a\",\"stageTimestamp\":\"2024-05-06T07:08:09Z\"}"}`
	large := `{"id":"2","message":"` + strings.Repeat("x", 3000) + `"}`
	list := strings.Repeat(good+",", 200) + large + "," + good
	for name, text := range map[string][]byte{
		"plain":      fmt.Appendf(nil, around, "/aws/eks/c/cluster", "kube-apiserver-audit-0", list),
		"with space": fmt.Appendf(nil, strings.ReplaceAll(around, ",", " ,\n "), "/aws/eks/c/cluster", "kube-apiserver-audit-0", list),
	} {
		events, letters := readAll(t, text, awslog.Limits{Record: 2000})
		if len(events) != 201 || len(letters) != 1 || !strings.Contains(letters[0].Reason, "at most 2000") {
			t.Errorf("%s: got %d events, letters %v", name, len(events), letters)
		}
	}
	_, letters := readAll(t, fmt.Appendf(nil, around, strings.Repeat("g", 5000), "s", good), awslog.Limits{Record: 2000})
	if len(letters) != 1 {
		t.Errorf("of a group with a name that is too long: got letters %v", letters)
	}
}

// What only looks like a list of records is one record, as before.
func TestListsThatAreNone(t *testing.T) {
	for name, text := range map[string]string{
		"items of a trail":  `{"eventVersion":"1.08","eventTime":"2024-05-06T07:08:09Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"x","items":[{"a":1},[2]],"logEvents":[1],"items":[]}`,
		"items, then more":  `{"items":[],"eventVersion":"1.08","eventTime":"2024-05-06T07:08:09Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"x"}`,
		"records after all": `{"items":[{}],"Records":[{"eventVersion":"1.08","eventTime":"2024-05-06T07:08:09Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"x"}]}`,
	} {
		events, letters := readAll(t, []byte(text), awslog.Limits{})
		if len(events) != 1 || events[0].Source != event.CloudTrail || len(letters) > 0 {
			t.Errorf("%s: got %d events, letters %v", name, len(events), letters)
		}
	}
}

func TestPackedRefuses(t *testing.T) {
	bomb := bytes.Repeat([]byte(" "), 33<<20)
	for name, text := range map[string]string{
		"not base64":       `{"awslogs":{"data":"%"}}`,
		"no data":          `{"awslogs":{}}`,
		"not compressed":   `{"awslogs":{"data":"e30="}}`,
		"cut off":          string(packed(t, sample(t, "subscription.json"))[:400]) + `"}}`,
		"too much":         string(packed(t, bomb)),
		"something else":   string(packed(t, []byte(`{"a":1}`))),
		"packed twice":     string(packed(t, packed(t, sample(t, "subscription.json")))),
		"not JSON":         string(packed(t, []byte(`messageType`))),
		"no log events":    string(packed(t, []byte(`{"messageType":"DATA_MESSAGE","logEvents":{}}`))),
		"an unknown type":  string(packed(t, []byte(`{"messageType":"X","logEvents":[{}]}`))),
		"a type of number": string(packed(t, []byte(`{"messageType":1,"logEvents":[{}]}`))),
	} {
		if events, err := awslog.Record([]byte(text)); !fault.Is(err, fault.Invalid) || len(events) > 0 {
			t.Errorf("%s: got %d events and %v", name, len(events), err)
		}
	}
}

func FuzzReadWrappings(f *testing.F) {
	for _, way := range however(f) {
		f.Add(way.text)
	}
	f.Add([]byte(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{},{"items":[]}],"items":[1],"Records":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		err := awslog.Read("file", bytes.NewReader(text), awslog.Limits{Record: 1 << 16, Inflated: 1 << 20}, func(events []event.Event, letters []event.Letter) error {
			for _, l := range letters {
				if l.Reason == "" || len(l.Raw) > 1<<16+4<<10+2 {
					t.Errorf("a letter with reason %q and %d bytes", l.Reason, len(l.Raw))
				}
			}
			for _, ev := range events {
				if ev.Key == "" || ev.Origin == "" {
					t.Errorf("an event with key %q of %q", ev.Key, ev.Origin)
				}
			}
			return nil
		})
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("the error is %v", err)
		}
	})
}
