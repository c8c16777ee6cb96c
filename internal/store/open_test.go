package store_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

func TestOpenSQLiteFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "odd ?name%20#&=é.db")
	s := open(t, path)
	save(t, s, opened("1"))
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) < 2 {
		t.Fatalf("got files %v, %v", files, err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(file.Name(), filepath.Base(path)) || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", file.Name(), info.Mode().Perm())
		}
	}
}

func TestOpenAgain(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(testing.TB) string{
		"sqlite":   func(tb testing.TB) string { tb.Helper(); return filepath.Join(tb.TempDir(), "riposte.db") },
		"postgres": storetest.Postgres,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := dsn(t)
			for n := range 3 {
				s, err := store.Open(t.Context(), address, store.Options{Key: key(t)})
				if err != nil {
					t.Fatal(err)
				}
				save(t, s, opened(string(rune('a'+n))))
				if report, err := s.VerifyLedger(t.Context()); err != nil || report.Size != int64(2*n+2) {
					t.Errorf("got %d records, %v; want %d", report.Size, err, 2*n+2)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			s := open(t, address)
			if err := s.Execute(t.Context(), "INSERT INTO schema_version (version_id, is_applied) VALUES (99, $1)", true); err != nil {
				t.Fatal(err)
			}
			_, err := store.Open(t.Context(), address, store.Options{})
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "newer Riposte") {
				t.Errorf("got %v, want that the schema is too new", err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	garbage := filepath.Join(folder, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		dsn  string
		kind fault.Kind
	}{
		"a folder":           {folder, fault.Invalid},
		"another file":       {garbage, fault.Internal},
		"nothing":            {"", fault.Invalid},
		"another engine":     {"mysql://h/x", fault.Invalid},
		"a malformed URL":    {"postgres://h:port/x", fault.Invalid},
		"a server not there": {"postgres://u@127.0.0.1:1/x?sslmode=disable", fault.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := store.Open(t.Context(), test.dsn, store.Options{}); !fault.Is(err, test.kind) || err == nil {
				t.Errorf("got %v, want it %s", err, test.kind)
			}
		})
	}
	t.Run("a database not there", func(t *testing.T) {
		t.Parallel()
		dsn := strings.Replace(storetest.Postgres(t), "/test_", "/none_", 1)
		if _, err := store.Open(t.Context(), dsn, store.Options{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v, want it invalid", err)
		}
	})
}

// loud keeps the messages of a logger.
type loud struct {
	slog.Handler
	said *[]string
}

func (l loud) Enabled(context.Context, slog.Level) bool { return true }

func (l loud) Handle(_ context.Context, r slog.Record) error {
	*l.said = append(*l.said, r.Message)
	return nil
}

func TestLedgerOfAnotherKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "riposte.db")
	s, err := store.Open(t.Context(), path, store.Options{Key: key(t)})
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, opened("1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := ledger.LoadOrCreateKey(filepath.Join(t.TempDir(), "other.key"))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s, err = store.Open(t.Context(), path, store.Options{Key: other, Logger: slog.New(loud{slog.DiscardHandler, &said})})
	if err != nil {
		t.Fatal(err)
	}
	if len(said) == 0 || !strings.Contains(said[0], "not signed by this node's key") {
		t.Errorf("got log %q, want that another key signed", said)
	}
	if _, err := s.VerifyLedger(t.Context()); err == nil {
		t.Error("a ledger that another key signed verifies")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
