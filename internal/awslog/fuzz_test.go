package awslog_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// kinds is a record of each kind that is read.
func kinds() []string {
	return []string{
		`{"eventVersion":"1.08","eventTime":"2026-11-24T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"PutBucketPolicy","awsRegion":"eu-west-1","requestParameters":{"bucketName":"b"},"eventID":"e","recipientAccountId":"111122223333"}`,
		guardDutyEnvelope, asffEnvelope, asffDocument, `{"Findings":[` + asffDocument + `]}`, ocsfEnvelope, complianceEnvelope, itemEnvelope, alarmEnvelope, alarmNotice,
		`{"id":"x","detail-type":"Health","source":"aws.health","account":"1","region":"r","time":"2026-11-24T10:00:00Z","resources":["arn:aws:ec2:r:1:instance/i-1"],"detail":{}}`,
	}
}

// FuzzRecord reads any record, and makes the finding of what it gave. What is an event has a key, a source
// and its bytes; what isn't has an error of kind Invalid.
func FuzzRecord(f *testing.F) {
	for _, record := range kinds() {
		f.Add([]byte(record))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		events, err := awslog.Record(raw)
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("the error isn't of kind Invalid: %v", err)
		}
		if err == nil && len(events) == 0 && !bytes.Contains(raw, []byte(`indings`)) {
			t.Error("neither an event nor an error")
		}
		for _, ev := range events {
			sound(t, ev)
			if _, _, err := awslog.Finding(ev); err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("finding: the error isn't of kind Invalid: %v", err)
			}
		}
	})
}

// sound holds an event against what everything after it relies on.
func sound(t *testing.T, ev event.Event) {
	t.Helper()
	if ev.Key == "" || ev.Source == "" || !json.Valid(ev.Raw) {
		t.Errorf("event without key, source or JSON: %+v", ev)
	}
	for _, e := range ev.Entities {
		if e.Kind == "" || e.ID == "" || e.Part == "" || e.From == "" {
			t.Errorf("entity without kind, id, part or provenance: %+v", e)
		}
	}
}

// FuzzMessage reads any message of a queue or a topic.
func FuzzMessage(f *testing.F) {
	for _, record := range kinds() {
		f.Add([]byte(record))
		wrapped, err := json.Marshal(map[string]string{"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": record})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wrapped)
	}
	f.Add([]byte(`{"Records":[{"eventName":"ObjectCreated:Put","awsRegion":"r","s3":{"bucket":{"name":"b"},"object":{"key":"a%2Fb+c","size":3}}}]}`))
	f.Add([]byte(`{"s3Bucket":"b","s3ObjectKey":["k"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		content, err := awslog.Message(raw)
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("the error isn't of kind Invalid: %v", err)
		}
		for _, ev := range content.Events {
			sound(t, ev)
		}
		for _, object := range content.Objects {
			if object.Bucket == "" || object.Key == "" {
				t.Errorf("an object without bucket or key: %+v", object)
			}
		}
	})
}

// FuzzFile cuts any file into records, plain and compressed, and holds what it cuts from a list against the
// standard library.
func FuzzFile(f *testing.F) {
	for _, record := range kinds() {
		f.Add([]byte(record))
	}
	f.Add([]byte(`{"Records":[{"a":1},{"b":"x\"}]"}]}`))
	f.Add([]byte("{\"a\":1}\n{\"b\":2}\nrubbish\n[{\"c\":3}]"))
	f.Add([]byte(`{"x":{"Records":[1]},"Records":[{"a":[[]]}],"y":2}`))
	f.Add([]byte(strings.Repeat("[", 200)))
	limits := awslog.Limits{Record: 1 << 12, Inflated: 1 << 16}
	f.Fuzz(func(t *testing.T, file []byte) {
		plain, whole := pieces(t, file, limits)
		if zip, zipped := pieces(t, compressed(t, file), limits); len(file) < 1<<16 && !bytes.HasPrefix(file, []byte{0x1f, 0x8b}) {
			if zipped != whole || !slices.EqualFunc(plain, zip, bytes.Equal) {
				t.Errorf("plain %d pieces (whole: %v), compressed %d (whole: %v)", len(plain), whole, len(zip), zipped)
			}
		}
		var list []json.RawMessage
		if json.Unmarshal(file, &list) != nil || len(file) > limits.Record || bytes.Contains(file, []byte("Records")) {
			return
		}
		if !whole || len(plain) != len(list) {
			t.Fatalf("%d pieces of a list of %d; whole: %v", len(plain), len(list), whole)
		}
	})
}

// pieces gives what a file is cut into, and whether it was read to its end.
func pieces(t *testing.T, file []byte, limits awslog.Limits) (all [][]byte, whole bool) {
	t.Helper()
	err := awslog.File(bytes.NewReader(file), limits, func(p awslog.Piece) error {
		if p.Index != len(all) {
			t.Errorf("piece %d comes as number %d", p.Index, len(all))
		}
		if len(p.Raw) > limits.Record {
			t.Errorf("a piece has %d bytes; at most %d are allowed", len(p.Raw), limits.Record)
		}
		all = append(all, p.Raw)
		return nil
	})
	if err != nil && !fault.Is(err, fault.Invalid) {
		t.Errorf("the error isn't of kind Invalid: %v", err)
	}
	return all, err == nil
}

func compressed(t *testing.T, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
