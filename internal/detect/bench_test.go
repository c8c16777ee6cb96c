package detect_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/event"
)

// trails are the records of an attack in a real account, three thousand of them.
const trails = "../../../shared/data/cloudtrail/invictus"

// shipped makes a detector of the rules that Riposte ships.
func shipped(tb testing.TB) *detect.Detector {
	tb.Helper()
	files, err := fs.Glob(content.Files, "rules/aws/*.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var texts []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.yaml") {
			continue
		}
		text, err := fs.ReadFile(content.Files, file)
		if err != nil {
			tb.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return detector(tb, texts...)
}

func attack(tb testing.TB) []event.Event {
	tb.Helper()
	files, err := filepath.Glob(trails + "/*.json")
	if err != nil || len(files) == 0 {
		tb.Skip("the records are not there: ", trails)
	}
	var all []event.Event
	for _, file := range files {
		in, err := os.Open(file)
		if err != nil {
			tb.Fatal(err)
		}
		err = awslog.Read(file, in, awslog.Limits{}, func(events []event.Event, letters []event.Letter) error {
			if len(letters) > 0 {
				tb.Errorf("%s can't be read: %s", letters[0].Origin, letters[0].Reason)
			}
			all = append(all, events...)
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
		if err := in.Close(); err != nil {
			tb.Error(err)
		}
	}
	return all
}

// TestAttack wants that an attack is found and that a record gives the same findings whatever comes with it.
func TestAttack(t *testing.T) {
	t.Parallel()
	d, events := shipped(t), attack(t)
	found, letters := split(d.Detect(events))
	if len(found) == 0 || len(found) > len(events)/2 || len(letters) > 0 {
		t.Fatalf("%d findings, %d letters of %d events", len(found), len(letters), len(events))
	}
	n := 0
	for _, ev := range events {
		alone, _ := split(d.Detect([]event.Event{ev}))
		for _, f := range alone {
			if f.Fingerprint != found[n].Fingerprint {
				t.Fatalf("finding %d is %s of %v alone, %s of %v among all", n, f.Type, f.Events, found[n].Type, found[n].Events)
			}
			n++
		}
	}
	types := map[string]int{}
	for _, f := range found {
		types[f.Type]++
	}
	t.Logf("%d findings of %d rules in %d events", len(found), len(types), len(events))
}

func BenchmarkDetect(b *testing.B) {
	d, events := shipped(b), attack(b)
	size := 0
	for _, ev := range events {
		size += len(ev.Raw)
	}
	b.ReportAllocs()
	b.SetBytes(int64(size / len(events)))
	at := 0
	for b.Loop() {
		d.Detect(events[at : at+1])
		at = (at + 1) % len(events)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(len(d.Rules())), "rules")
}
