package triage_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/triage"
)

func TestABatchIsDecidedWhole(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	letters := []event.Letter{{ID: "letter-1", Format: "record", Reason: "no JSON", Raw: []byte("{"), Received: noon, Count: 1}}
	broken := errors.New("out of paper")
	work := func(after error) transaction {
		return func(ctx context.Context, decide func(triage.Tx) error) error {
			return s.Update(ctx, func(tx *store.Tx) error { return errors.Join(decide(tx), after) })
		}
	}
	batch := triage.Batch{
		Findings: []finding.Finding{told("a", 0, finding.High, "access_key:AKIA1"), told("a", 0, finding.High, "access_key:AKIA1")},
		Events:   map[string]event.Event{"a@0": {Key: "a@0", Time: noon, Received: noon, Raw: []byte(`{"a":1}`)}, "b@0": {Key: "b@0"}},
		Letters:  letters,
	}
	n := 0
	newID := func() string { n++; return "id-" + string(rune('a'+n)) }
	now := func() time.Time { return noon }

	if got, err := (desk{triage.New(orderPolicy(t), now, newID), work(broken)}).Decide(t.Context(), batch); !errors.Is(err, broken) || got != nil {
		t.Errorf("got %d decisions, %v; want the store's error alone", len(got), err)
	}
	if page, err := s.Findings(t.Context(), store.FindingFilter{}); err != nil || len(page.Items) != 0 {
		t.Errorf("got %d findings, %v, of a batch that was refused", len(page.Items), err)
	}
	if page, err := s.Letters(t.Context(), store.LetterFilter{}); err != nil || len(page.Items) != 0 {
		t.Errorf("got %d letters, %v, of a batch that was refused", len(page.Items), err)
	}

	decisions, err := desk{triage.New(orderPolicy(t), now, newID), work(nil)}.Decide(t.Context(), batch)
	if err != nil || len(decisions) != 1 || len(decisions[0].Runs) != 2 || len(decisions[0].Events) != 1 {
		t.Fatalf("got %+v, %v; want one decision with two runs and one event", decisions, err)
	}
	page, err := s.Letters(t.Context(), store.LetterFilter{})
	letters[0].Raw = nil // a list leaves them out
	if diff := cmp.Diff(letters, page.Items); diff != "" || err != nil {
		t.Error(diff, err)
	}
	events, err := s.FindingEvents(t.Context(), decisions[0].Finding.ID)
	if err != nil || len(events) != 1 || string(events[0].Raw) != `{"a":1}` {
		t.Errorf("got %+v, %v; want the event as it came", events, err)
	}
	entries, err := s.LedgerEntries(t.Context(), store.LedgerFilter{})
	if err != nil || len(entries) != len(decisions[0].Records) {
		t.Errorf("ledger of %d entries, %v; want %d", len(entries), err, len(decisions[0].Records))
	}
}

func TestNothingToDecideTouchesNothing(t *testing.T) {
	t.Parallel()
	e := triage.New(triage.Policy{}, func() time.Time { return noon }, func() string { return "id" })
	if got, err := e.Decide(t.Context(), nil, triage.Batch{}); got != nil || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// The store may run the work again, after a commit that it could not tell from a failure.
func TestWorkThatIsDoneAgain(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	twice := func(ctx context.Context, work func(triage.Tx) error) error {
		abandoned := errors.New("abandoned")
		err := s.Update(ctx, func(tx *store.Tx) error { return errors.Join(work(tx), abandoned) })
		if !errors.Is(err, abandoned) {
			return err
		}
		return s.Update(ctx, func(tx *store.Tx) error { return work(tx) })
	}
	n := 0
	newID := func() string { n++; return "id-" + string(rune('a'+n)) }
	e := desk{triage.New(orderPolicy(t), func() time.Time { return noon }, newID), twice}
	decisions, err := e.Decide(t.Context(), triage.Batch{Findings: []finding.Finding{told("a", 0, finding.High, "instance:i-1")}})
	if err != nil || len(decisions) != 1 {
		t.Fatalf("got %d decisions, %v; want those of the second time alone", len(decisions), err)
	}
	if _, err := s.Incident(t.Context(), decisions[0].Incident.ID); err != nil {
		t.Error(err)
	}
}

func TestPolicyIsReplaced(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	e := engine(s, triage.Policy{Window: time.Hour})
	e.SetPolicy(orderPolicy(t))
	decisions, err := e.Decide(t.Context(), triage.Batch{Findings: []finding.Finding{told("a", 0, finding.High, "access_key:AKIA1")}})
	if err != nil || len(decisions[0].Runs) != 2 {
		t.Errorf("got %+v, %v; want the runs of the new policy", decisions, err)
	}
}

// A closed matter stays closed: what comes later about the same is another one, with runs of its own.
func TestAClosedIncidentIsNotReopened(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	e := engine(s, orderPolicy(t))
	decide := func(f finding.Finding) run.Decision {
		decisions, err := e.Decide(t.Context(), triage.Batch{Findings: []finding.Finding{f}})
		if err != nil || len(decisions) != 1 {
			t.Fatalf("got %d decisions, %v", len(decisions), err)
		}
		return decisions[0]
	}
	first := decide(told("a", 0, finding.High, "access_key:AKIA1"))
	if err := closing(t, s, first.Incident.ID); err != nil {
		t.Fatal(err)
	}
	for _, f := range []finding.Finding{told("b", 1, finding.High, "access_key:AKIA1"), again(told("a", 2, finding.High, "access_key:AKIA1"), 0, 2)} {
		next := decide(f)
		if next.Incident.ID == first.Incident.ID {
			t.Fatalf("%s went into the closed incident", f.Fingerprint)
		}
		if f.Fingerprint == "b" && len(next.Runs) != 2 {
			t.Errorf("%d runs of the new incident, want 2", len(next.Runs))
		}
	}
}

func TestRunsCarryTheTraceOfTheirEvent(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	decisions, err := engine(s, orderPolicy(t)).Decide(ctx, triage.Batch{Findings: []finding.Finding{told("a", 0, finding.High)}})
	if err != nil || decisions[0].Runs[0].Trace != "00-01000000000000000000000000000000-0200000000000000-01" {
		t.Errorf("got %+v, %v", decisions, err)
	}
}

// failing is a transaction in which one kind of thing can't be done.
type failing struct {
	triage.Tx
	at  string
	err error
}

func (f failing) Finding(ctx context.Context, fingerprint string) (finding.Finding, string, bool, error) {
	if f.at == "finding" {
		return finding.Finding{}, "", false, f.err
	}
	return f.Tx.Finding(ctx, fingerprint)
}

func (f failing) RunsOf(ctx context.Context, incidents []string) ([]run.Run, error) {
	if f.at == "runs" {
		return nil, f.err
	}
	return f.Tx.RunsOf(ctx, incidents)
}

func (f failing) Save(ctx context.Context, d run.Decision) error {
	if f.at == "save" {
		return f.err
	}
	return f.Tx.Save(ctx, d)
}

func (f failing) SaveLetters(ctx context.Context, letters []event.Letter) error {
	if f.at == "letters" {
		return f.err
	}
	return f.Tx.SaveLetters(ctx, letters)
}

// The kind of the store's error is what the source decides by: it must come through.
func TestErrorsOfTheStoreKeepTheirKind(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	n := 0
	newID := func() string { n++; return "id-" + string(rune('a'+n)) }
	all := []finding.Finding{told("a", 0, finding.High, "access_key:AKIA1"), told("b", 0, finding.High, "access_key:AKIA1")}
	for _, at := range []string{"finding", "runs", "save", "letters"} {
		broken := func(ctx context.Context, work func(triage.Tx) error) error {
			return s.Update(ctx, func(tx *store.Tx) error { return work(failing{tx, at, fault.New(fault.Transient, "full")}) })
		}
		e := desk{triage.New(triage.Policy{Window: time.Hour}, func() time.Time { return noon }, newID), broken}
		if _, err := e.Decide(t.Context(), triage.Batch{Findings: all, Letters: []event.Letter{{ID: "letter-" + at, Raw: []byte(at)}}}); !fault.Is(err, fault.Transient) {
			t.Errorf("%s: got %v, want Transient", at, err)
		}
	}
}

func TestOurs(t *testing.T) {
	t.Parallel()
	e := triage.New(triage.Policy{Own: []string{"arn:aws:sts::*:assumed-role/riposte/*"}}, func() time.Time { return noon }, func() string { return "id" })
	by := func(part entity.Part, arn string) event.Event {
		return event.Event{Entities: []entity.Entity{{Kind: entity.Session, ID: arn, ARN: arn, Part: part}}}
	}
	const own = "arn:aws:sts::111122223333:assumed-role/riposte/riposte"
	for name, test := range map[string]struct {
		ev   event.Event
		want bool
	}{
		"by us":        {by(entity.Actor, own), true},
		"against us":   {by(entity.Target, own), false},
		"by others":    {by(entity.Actor, "arn:aws:sts::111122223333:assumed-role/admin/eve"), false},
		"by nobody":    {by(entity.Actor, ""), false},
		"of no entity": {event.Event{}, false},
	} {
		if got := e.Ours(test.ev); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
