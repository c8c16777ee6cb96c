package store_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

// noon is the time of the tests. It has nanoseconds, which bodies keep.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 123456789, time.UTC)

// with is a test with a store.
type with struct {
	*testing.T
	*store.Store
}

// onBoth runs a test on a new store of each kind.
func onBoth(t *testing.T, test func(with)) {
	t.Helper()
	for name, dsn := range map[string]func(testing.TB) string{
		"sqlite":   func(tb testing.TB) string { tb.Helper(); return filepath.Join(tb.TempDir(), "riposte.db") },
		"postgres": storetest.Postgres,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(with{t, open(t, dsn(t))})
		})
	}
}

func open(tb testing.TB, dsn string) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), dsn, store.Options{Key: key(tb), Now: func() time.Time { return noon }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// key is the same in all tests, so that stores on one database agree.
func key(tb testing.TB) *ledger.Key {
	tb.Helper()
	k, err := theKey()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

var theKey = sync.OnceValues(func() (*ledger.Key, error) {
	text, err := ledger.GenerateKey("riposte.dev/ledger/test")
	if err != nil {
		return nil, err
	}
	return ledger.ParseKey(text)
})

// opened makes a decision that opens an incident with one run.
func opened(n string) run.Decision {
	about := entity.Entity{Kind: entity.AccessKey, ID: "AKIA" + n, Part: entity.Actor, Account: "111111111111"}
	i := incident.Incident{
		ID: "inc-" + n, Title: "Key used from Elsewhere " + n, TitleSeen: noon, State: incident.Open, Severity: finding.High, Account: "111111111111",
		FirstSeen: noon, LastSeen: noon, Opened: noon, Updated: noon, Findings: 1, Entities: []entity.Entity{about},
	}
	return run.Decision{
		Finding: finding.Finding{
			ID: "fin-" + n, Fingerprint: "print-" + n, Product: finding.Riposte, Type: "rule:x", Title: "t", Severity: finding.High,
			FirstSeen: noon, LastSeen: noon, Received: noon, Count: 1, Entities: i.Entities, Events: []string{"event-" + n},
		},
		Events:   []event.Event{{Key: "event-" + n, Source: event.CloudTrail, Time: noon, Received: noon, Name: "X", Raw: []byte("{\"n\":1}")}},
		Incident: &i,
		Runs: []run.Run{{
			ID: "run-" + n, Kind: run.Playbook, Incident: i.ID, Finding: "fin-" + n, Playbook: "contain", Hash: "h1", Subject: "access_key=" + about.ID,
			Autonomy: run.Auto, State: run.Ready, By: record.System, Created: noon, Updated: noon, Leg: 1,
		}},
		Versions: []run.Version{{Name: "contain", Hash: "h1", Text: []byte("playbook: contain\n")}},
		Records: []record.Record{
			record.New(noon, record.IncidentOpened, record.System, map[string]string{"finding": "fin-" + n}).About(i.ID, "", ""),
			record.New(noon, record.RunStarted, record.System, map[string]string{"playbook": "contain"}).About(i.ID, "run-"+n, ""),
		},
	}
}

func save(tb testing.TB, s *store.Store, decisions ...run.Decision) {
	tb.Helper()
	err := s.Update(tb.Context(), func(tx *store.Tx) error {
		for _, d := range decisions {
			if err := tx.Save(tb.Context(), d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func TestDecisionIsKept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		d := opened("1")
		save(t, t.Store, d)
		got, err := t.Incident(t.Context(), "inc-1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*d.Incident, got); diff != "" {
			t.Error(diff)
		}
		journal, err := t.Load(t.Context(), "run-1")
		if err != nil {
			t.Fatal(err)
		}
		want := run.Journal{Run: d.Runs[0], Playbook: d.Versions[0].Text, Finding: d.Finding, Incident: *d.Incident}
		if diff := cmp.Diff(want, journal, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		events, err := t.FindingEvents(t.Context(), "fin-1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d.Events, events); diff != "" {
			t.Error(diff)
		}
		if report, err := t.VerifyLedger(t.Context()); err != nil || report.Size != 2 {
			t.Errorf("ledger: %v, %+v", err, report)
		}
	})
}

func TestUpdateOfFailingFunctionIsTakenBackAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		errNo := errors.New("no")
		err := t.Update(t.Context(), func(tx *store.Tx) error {
			if err := tx.Save(t.Context(), opened("1")); err != nil {
				return err
			}
			return errNo
		})
		if !errors.Is(err, errNo) {
			t.Errorf("got error %v, want %v", err, errNo)
		}
		if _, err := t.Incident(t.Context(), "inc-1"); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want that it isn't there", err)
		}
		save(t, t.Store, opened("2"))
		if report, err := t.VerifyLedger(t.Context()); err != nil || report.Size != 2 {
			t.Errorf("ledger: %v, %+v", err, report)
		}
	})
}
