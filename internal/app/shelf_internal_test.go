package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
)

const watchedRule = `title: Known admin signs in
id: 1a2b3c4d-0000-4000-8000-000000000001
logsource: {product: aws, service: cloudtrail}
detection:
  s: {eventName: ConsoleLogin}
  condition: s
---
title: Bob is expected
logsource: {product: aws, service: cloudtrail}
filter:
  rules: [1a2b3c4d-0000-4000-8000-000000000001]
  s: {userIdentity.userName: bob}
  condition: not s
owner: sec@example.com
reason: bob tests
expires: 2026-06-01T00:00:00Z
`

// watched is a shelf over a folder with one file, at a time that a test sets.
type watched struct {
	*shelf
	file string
	at   time.Time
	away bool // the store
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	folder := t.TempDir()
	w := &watched{file: filepath.Join(folder, "rules.yaml"), at: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
	c := ContentConfig{Rules: []string{folder}}
	specs := AllSpecs(Defaults())
	w.shelf = &shelf{
		load: func() (*Content, error) { return LoadContent(c, specs, specs, w.at) },
		placed: func(context.Context, *Content) error {
			if w.away {
				return fault.New(fault.Transient, "the store is away")
			}
			return nil
		},
		paths: c.paths(), now: func() time.Time { return w.at }, logger: slog.New(slog.DiscardHandler),
	}
	w.write(t, watchedRule)
	if err := w.take(t.Context(), state(w.paths)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watched) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// looks looks twice: what changed must have come to rest.
func (w *watched) looks(t *testing.T) {
	t.Helper()
	w.look(t.Context())
	w.look(t.Context())
}

// A filter hides nothing after its end, whatever the files are like by then.
func TestAFilterEndsThoughTheFilesAreBroken(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	if n := len(w.Content().Filters); n != 1 {
		t.Fatalf("%d filters are in force, want 1", n)
	}
	w.write(t, "title: [")
	w.looks(t)
	if w.Check(t.Context()) == nil || len(w.Content().Filters) != 1 {
		t.Fatalf("health tells %v, %d filters in force; want the mistake, and what was in force before", w.Check(t.Context()), len(w.Content().Filters))
	}
	w.at = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	w.looks(t)
	if c := w.Content(); len(c.Filters) != 0 || len(c.Expired) != 1 || len(c.Detector.Rules()) != 1 || !c.Until.IsZero() {
		t.Errorf("%d filters in force, %d ended, %d rules; want the rule without its filter", len(c.Filters), len(c.Expired), len(c.Detector.Rules()))
	}
	if w.Check(t.Context()) == nil {
		t.Error("health no longer tells of the mistake in the files")
	}
}

// What changed while the store was away comes into force when it is back, without another change.
func TestContentIsTakenWhenTheStoreIsBack(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	w.away = true
	w.write(t, watchedRule[:len(watchedRule)-1]+"\nlevel: low\n")
	before := w.Content()
	w.looks(t)
	if w.Content() != before || w.Check(t.Context()) == nil {
		t.Fatalf("content came into force that the ledger doesn't tell of: %v", w.Check(t.Context()))
	}
	w.away = false
	w.look(t.Context())
	if w.Content() == before || w.Check(t.Context()) != nil {
		t.Errorf("the new content isn't in force: %v", w.Check(t.Context()))
	}
}
