package store_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
)

func TestExportVerifiesOffline(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		save(t, t.Store, opened("1"))
		saved, err := t.LedgerCheckpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 1100 { // more than is read at once
			if err := t.Update(t.Context(), func(tx *store.Tx) error {
				tx.Append(record.New(noon, record.IncidentGrew, record.System, map[string]any{"z": 1, "a": "<&>"}))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if t.Name() != "" && t.Failed() {
				return
			}
		}
		var export bytes.Buffer
		if err := t.ExportLedger(t.Context(), &export); err != nil {
			t.Fatal(err)
		}
		report, err := ledger.Verify(&export, ledger.VerifyOptions{Verifier: key(t).Verifier(), Saved: saved})
		if err != nil || report.Size != 1102 || report.Saved != 2 {
			t.Errorf("got %+v, %v", report, err)
		}
		proof, err := t.ProveEntry(t.Context(), 700)
		if err != nil {
			t.Fatal(err)
		}
		if entry, err := ledger.CheckProof(proof, key(t).Verifier()); err != nil || entry.Seq != 700 {
			t.Errorf("got entry %d, %v; want 700", entry.Seq, err)
		}
		if _, err := t.ProveEntry(t.Context(), 5000); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}
	})
}

// TestTamperingInTheDatabaseIsFound plays somebody who can write to the database but has no key.
func TestTamperingInTheDatabaseIsFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		statements []string
		seq        int64
		says       string
		export     bool // an export made afterwards shows it, too
	}{
		"changed entry": {
			[]string{"UPDATE ledger_entries SET entry = REPLACE(entry, 'fin-2', 'fin-9') WHERE seq = 2"}, 2, "entry 2 was changed", true,
		},
		"changed column": {
			[]string{"UPDATE ledger_entries SET incident = 'inc-9' WHERE seq = 2"}, 2, "columns it is found by", false,
		},
		"deleted entry": {[]string{"DELETE FROM ledger_entries WHERE seq = 2"}, 2, "entry 2 is missing", true},
		"swapped entries": {[]string{
			"UPDATE ledger_entries SET seq = 99 WHERE seq = 2", "UPDATE ledger_entries SET seq = 2 WHERE seq = 4", "UPDATE ledger_entries SET seq = 4 WHERE seq = 99",
		}, 2, "entry 4 stands in the place of entry 2", true},
		"cut tail": {[]string{"DELETE FROM ledger_entries WHERE seq >= 4"}, 4, "the tail was cut", true},
		"changed hash": {
			[]string{"UPDATE ledger_hashes SET hash = (SELECT h.hash FROM ledger_hashes h WHERE h.idx = 0) WHERE idx = 1"}, 1, "entry 1 was changed", true,
		},
		"changed hash above": {
			[]string{"UPDATE ledger_hashes SET hash = (SELECT h.hash FROM ledger_hashes h WHERE h.idx = 0) WHERE idx = 2"}, 1, "over 2 entries", false,
		},
		"deleted hash": {[]string{"DELETE FROM ledger_hashes WHERE idx = 1"}, 1, "entry 1 was changed", true},
		"changed head": {[]string{"UPDATE ledger_head SET note = REPLACE(note, '6', '4')"}, -1, "checkpoint", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, filepath.Join(t.TempDir(), "riposte.db"))
			save(t, s, opened("1"), opened("2"), opened("3"))
			for _, statement := range test.statements {
				if err := s.Execute(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			report, err := s.VerifyLedger(t.Context())
			if _, found := errors.AsType[*ledger.TamperedError](err); !found {
				t.Fatalf("got %v, want that it was tampered with", err)
			}
			named := func(p ledger.Problem) bool { return p.Seq == test.seq && strings.Contains(p.What, test.says) }
			if !slices.ContainsFunc(report.Problems, named) {
				t.Errorf("got %+v, want a problem of entry %d that says %q", report.Problems, test.seq, test.says)
			}
			var export bytes.Buffer
			if err := s.ExportLedger(t.Context(), &export); err != nil {
				t.Log(err) // a head that can't be opened can't be exported
				return
			}
			_, err = ledger.Verify(&export, ledger.VerifyOptions{Verifier: key(t).Verifier()})
			if _, found := errors.AsType[*ledger.TamperedError](err); found != test.export {
				t.Errorf("the export: got %v, want tampering shown: %t", err, test.export)
			}
		})
	}
}

func TestStoreWithoutKey(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "riposte.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, opened("1"))
	_, err = s.LedgerCheckpoint(t.Context())
	_, verified := s.VerifyLedger(t.Context())
	for _, err := range []error{err, verified, s.ExportLedger(t.Context(), &bytes.Buffer{})} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v, want Invalid", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
