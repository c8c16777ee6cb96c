package store_test

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/store"
)

func FuzzCursor(f *testing.F) {
	s := open(f, filepath.Join(f.TempDir(), "riposte.db"))
	save(f, s, opened("1"), opened("2"))
	first, err := s.Incidents(f.Context(), store.IncidentFilter{Limit: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first.Next)
	f.Add("")
	f.Add("MTIz")
	f.Fuzz(func(t *testing.T, cursor string) {
		if _, err := s.Incidents(t.Context(), store.IncidentFilter{Cursor: cursor}); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\xff\xfe")
	f.Add(strings.Repeat("é", 500))
	f.Fuzz(func(t *testing.T, s string) {
		got := store.Text(s)
		if !utf8.ValidString(got) || strings.Contains(got, "\x00") || len(got) > 400 || store.Text(got) != got {
			t.Errorf("%q became %q", s, got)
		}
		if len(s) <= 400 && utf8.ValidString(s) && !strings.Contains(s, "\x00") && got != s {
			t.Errorf("%q was fine and became %q", s, got)
		}
	})
}
