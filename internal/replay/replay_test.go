package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/replay"
)

// record is a call of CloudTrail.
func record(id, name string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","eventTime":"2026-03-04T12:00:00Z","eventID":%q,"eventSource":"cloudtrail.amazonaws.com",`+
		`"eventName":%q,"recipientAccountId":"111122223333","userIdentity":{"type":"Root","accountId":"111122223333"}}`, id, name)
}

// folder makes a folder of files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// gathered is a sink that keeps what it takes.
type gathered struct{ events, letters []string }

func (g *gathered) take(_ context.Context, b event.Batch) error {
	for _, ev := range b.Events {
		g.events = append(g.events, ev.Name)
	}
	for _, letter := range b.Letters {
		g.letters = append(g.letters, letter.Reason)
	}
	return nil
}

func TestReadInOrder(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"b/two.json": `{"Records":[` + record("2", "Two") + "," + record("3", "Three") + "]}",
		"a/one.log":  record("1", "One"),
		"notes.md":   "not a log",
		"named.txt":  record("4", "Four"),
	})
	var got gathered
	logs := replay.Logs{
		Paths: []string{dir, filepath.Join(dir, "named.txt"), replay.Stdin}, Stdin: strings.NewReader(record("5", "Five")),
	}
	problems, err := logs.Read(t.Context(), got.take)
	if err != nil || len(problems) > 0 {
		t.Fatalf("got %v, %v", problems, err)
	}
	if diff := cmp.Diff([]string{"One", "Two", "Three", "Four", "Five"}, got.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestProblemsDontStopReading(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"1.json": `{"Records":[` + record("1", "One") + ",", "2.json.gz": "\x1f\x8bnothing", "3.json": "no JSON\n" + record("3", "Three"),
	})
	var got gathered
	logs := replay.Logs{Paths: []string{filepath.Join(dir, "absent"), dir}}
	problems, err := logs.Read(t.Context(), got.take)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, p := range problems {
		files = append(files, filepath.Base(p.File))
	}
	if diff := cmp.Diff([]string{"absent", "1.json", "2.json.gz"}, files); diff != "" {
		t.Errorf("files with problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"One", "Three"}, got.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"not a JSON object"}, got.letters); diff != "" {
		t.Errorf("letters (-want +got):\n%s", diff)
	}
}

func TestLettersAreBounded(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"junk.log": strings.Repeat("junk\n", 1234), "more.log": "junk\n"})
	var got gathered
	logs := replay.Logs{Paths: []string{dir}, Letters: 100}
	problems, err := logs.Read(t.Context(), got.take)
	if err != nil || len(got.letters) != 101 {
		t.Errorf("got %d letters, %v, want 100 of the one file and 1 of the other", len(got.letters), err)
	}
	if len(problems) != 1 || problems[0].Reason != "1134 more records cannot be read" {
		t.Errorf("got %v, want 1134 more records of one file", problems)
	}
}

func TestSinkStopsReading(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"1.json": record("1", "One"), "2.json": record("2", "Two")})
	full := errors.New("full")
	calls := 0
	logs := replay.Logs{Paths: []string{dir}}
	_, err := logs.Read(t.Context(), func(context.Context, event.Batch) error { calls++; return full })
	if !errors.Is(err, full) || calls != 1 {
		t.Errorf("got %v after %d calls, want the sink's error after 1", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got gathered
	if _, err := logs.Read(ctx, got.take); !errors.Is(err, context.Canceled) || len(got.events) > 0 {
		t.Errorf("got %v and %d events of a cancelled context", err, len(got.events))
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var many bytes.Buffer
	for range 1200 {
		many.WriteString(record("x", "Again") + "\n")
	}
	dir := folder(t, map[string]string{"1.json": record("1", "One"), "2.json": many.String()})
	var told []replay.Progress
	var got gathered
	logs := replay.Logs{Paths: []string{dir}, Progress: func(p replay.Progress) { told = append(told, p) }}
	if _, err := logs.Read(t.Context(), got.take); err != nil {
		t.Fatal(err)
	}
	last := told[len(told)-1]
	size := int64(len(record("1", "One")) + many.Len())
	if last.Files != 2 || last.AllFiles != 2 || last.Bytes != size || last.AllBytes != size || last.Events != 1201 {
		t.Errorf("the last progress is %+v, want 2 files, %d bytes, 1201 events", last, size)
	}
	for i, p := range told {
		if i > 0 && (p.Bytes < told[i-1].Bytes || p.Events < told[i-1].Events || p.BeginOfFile != (p.File != told[i-1].File)) {
			t.Errorf("progress goes from %+v to %+v", told[i-1], p)
		}
	}
}
