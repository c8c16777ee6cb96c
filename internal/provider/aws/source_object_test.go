package aws_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

func zipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// damaged flips a bit near the end of a gzip file.
func damaged(file []byte) []byte {
	file = bytes.Clone(file)
	file[len(file)-6] ^= 1
	return file
}

// TestDamageIsSetAside delivers one message of each kind of damage among good ones: each becomes a letter
// and is acknowledged, what can be read of it is, and the others are taken in.
func TestDamageIsSetAside(t *testing.T) {
	for name, c := range map[string]struct {
		object  []byte // nil: there is none
		message string // in place of the object's notice
		want    []string
		reason  string
		format  string
	}{
		"the object is missing":   {reason: "NoSuchKey", format: awslog.FormatMessage},
		"the gzip is damaged":     {object: damaged(zipped(t, trailFile("x", "y"))), want: []string{"x", "y"}, reason: "damaged or cut off", format: awslog.FormatMessage},
		"the gzip is cut off":     {object: zipped(t, trailFile("x", "y"))[:40], reason: "damaged or cut off", format: awslog.FormatMessage},
		"the JSON is cut off":     {object: trailFile("x", "y")[:900], want: []string{"x"}, reason: "cut off", format: awslog.FormatMessage},
		"it is no JSON":           {object: []byte("<html>no</html>"), reason: "not a JSON object", format: awslog.FormatRecord},
		"a record is 10 MB":       {object: among(`{"eventVersion":"` + strings.Repeat("x", 10<<20) + `"}`), want: []string{"x", "y"}, reason: "at most 1048576 are read", format: awslog.FormatRecord},
		"a record is deep":        {object: among(`{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`), want: []string{"x", "y"}, reason: "nested more than 100 levels", format: awslog.FormatRecord},
		"a record is of no kind":  {object: among(`{"what":"is this"}`), want: []string{"x", "y"}, reason: "not a record of a kind", format: awslog.FormatRecord},
		"the message is no JSON":  {message: "hello", reason: "JSON", format: awslog.FormatMessage},
		"the message is deep":     {message: strings.Repeat(`{"a":`, 20_000), reason: "nested more than", format: awslog.FormatMessage},
		"the message has a wrong": {message: `{"Records":[` + apiCall("x") + `,{"what":1}]}`, want: []string{"x"}, reason: "not a record of a kind", format: awslog.FormatMessage},
		"the bucket isn't listed": {message: noticeOf("somebody-elses", awstest.Region, "k"), reason: "does not list", format: awslog.FormatMessage},
		"the region is no region": {message: "REGION", reason: "region", format: awslog.FormatMessage},
	} {
		t.Run(name, func(t *testing.T) {
			in := newIntake(t)
			in.put("good.json", trailFile("good"))
			message := c.message
			switch message {
			case "REGION":
				in.put("here.json", trailFile("here"))
				message = noticeOf(in.bucket, "eu-central-1.example.com/#", "here.json")
			case "":
				message = in.notice("bad.json")
			}
			if c.object != nil {
				in.put("bad.json", c.object)
			}
			in.send(bridged("before"), message, in.notice("good.json"))
			in.run(in.source())
			in.acknowledged(3)
			want := append([]string{"before", "good"}, c.want...)
			if diff := cmp.Diff(want, in.basin.names()); diff != "" {
				t.Errorf("taken in (-want +got):\n%s", diff)
			}
			if len(in.basin.letters) != 1 {
				t.Fatalf("set aside: %q, want one letter", in.basin.reasons())
			}
			l := in.basin.letters[0]
			if !strings.Contains(l.Reason, c.reason) || l.Format != c.format || l.Origin == "" || len(l.Raw) == 0 {
				t.Errorf("letter of format %q from %q because of %q, want %q because of %q", l.Format, l.Origin, l.Reason, c.format, c.reason)
			}
			if l.Format == awslog.FormatMessage && string(l.Raw) != message {
				t.Errorf("the letter holds %.200q, want the message", l.Raw)
			}
		})
	}
}

// among is a file with a record between two good ones.
func among(record string) []byte {
	return []byte(`{"Records":[` + apiCall("x") + "," + record + "," + apiCall("y") + `]}`)
}

// TestPartOfAMessageDoesNotHoldUpTheRest has one message announce a missing object between two good ones.
func TestPartOfAMessageDoesNotHoldUpTheRest(t *testing.T) {
	in := newIntake(t)
	in.put("a.json", trailFile("a"))
	in.put("c.json", trailFile("c"))
	in.send(in.notice("a.json", "b.json", "c.json"))
	in.run(in.source())
	in.acknowledged(1)
	if diff := cmp.Diff([]string{"a", "c"}, in.basin.names()); diff != "" {
		t.Errorf("taken in (-want +got):\n%s", diff)
	}
	if got := in.basin.reasons(); len(got) != 1 || !strings.Contains(got[0], "b.json") {
		t.Errorf("set aside: %q, want the one that is missing", got)
	}
}

// TestLargeFilesComeInHandfuls bounds what is held at once.
func TestLargeFilesComeInHandfuls(t *testing.T) {
	in := newIntake(t)
	var ids []string
	for n := range 1201 {
		ids = append(ids, fmt.Sprintf("id-%04d", n))
	}
	batches := 0
	in.basin.before = func() { batches++ }
	in.put("large.json.gz", zipped(t, trailFile(ids...)))
	in.send(in.notice("large.json.gz"))
	in.run(in.source())
	in.acknowledged(1)
	if diff := cmp.Diff(ids, in.basin.names()); diff != "" {
		t.Errorf("taken in (-want +got):\n%s", diff)
	}
	if batches != 3 {
		t.Errorf("%d batches, want 3 of at most 500", batches)
	}
}

// TestLettersAreReplayed reads once more what was set aside, after its reason is gone.
func TestLettersAreReplayed(t *testing.T) {
	in := newIntake(t)
	message := in.notice("late.json")
	in.send(message)
	stop := in.run(in.source())
	in.acknowledged(1)
	stop()
	letter := in.basin.letters[0]
	if err := in.source().Replay(t.Context(), letter.Raw, letter.Origin); !fault.Is(err, fault.Invalid) {
		t.Errorf("replay of what is still missing: got %v, want an error of kind invalid", err)
	}
	in.put("late.json", trailFile("late"))
	narrow := given(in.cloud.Queue(aws.QueueConfig{URL: in.queue}, in.basin.take, slog.New(slog.DiscardHandler)))(t)
	if err := narrow.Replay(t.Context(), letter.Raw, letter.Origin); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "buckets") {
		t.Errorf("replay from a bucket that isn't listed: got %v, want an error of kind invalid with a hint", err)
	}
	if err := in.source().Replay(t.Context(), letter.Raw, letter.Origin); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"late"}, in.basin.names()); diff != "" {
		t.Errorf("taken in (-want +got):\n%s", diff)
	}
	want := []event.Letter{letter}
	if diff := cmp.Diff(want, in.basin.letters); diff != "" {
		t.Errorf("letters, the same failing again makes none (-want +got):\n%s", diff)
	}
}
