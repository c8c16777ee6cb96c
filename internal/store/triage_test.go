package store_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

func TestFindingIsOneByItsFingerprint(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		first := opened("1")
		save(t, t.Store, first)
		again := opened("1")
		again.Finding.Count, again.Finding.LastSeen, again.Finding.Severity = 3, noon.Add(time.Hour), finding.Critical
		again.Events = append(again.Events, event.Event{Key: "event-2", Time: noon, Received: noon.Add(time.Second), Raw: []byte{0, 255}})
		again.Runs, again.Records = nil, nil
		save(t, t.Store, again)
		err := t.Update(t.Context(), func(tx *store.Tx) error {
			got, in, known, err := tx.Finding(t.Context(), "print-1")
			if diff := cmp.Diff(again.Finding, got); diff != "" || in != "inc-1" || !known {
				t.Errorf("in %q, known %t, %s", in, known, diff)
			}
			if _, _, known, err := tx.Finding(t.Context(), "print-2"); known || err != nil {
				t.Errorf("a finding that never came is known: %v", err)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		events, err := t.FindingEvents(t.Context(), "fin-1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(again.Events, events); diff != "" {
			t.Error(diff)
		}
		page, err := t.Findings(t.Context(), store.FindingFilter{})
		if err != nil || len(page.Items) != 1 {
			t.Errorf("got %d findings, %v; want 1", len(page.Items), err)
		}
	})
}

func TestSuppressedFindingHasNoIncident(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		d := opened("1")
		d.Incident, d.Runs, d.Suppressed = nil, nil, "scanner"
		save(t, t.Store, d, opened("2"))
		page, err := t.Findings(t.Context(), store.FindingFilter{Suppressed: true})
		if err != nil {
			t.Fatal(err)
		}
		want := []store.Finding{{Finding: d.Finding, Suppressed: "scanner"}}
		if diff := cmp.Diff(want, page.Items); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFindingThatIsSuppressedLaterStaysInItsIncident(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		d := opened("1")
		save(t, t.Store, d)
		d.Incident, d.Runs, d.Suppressed = nil, nil, "scanner"
		save(t, t.Store, d)
		got, err := t.Finding(t.Context(), "fin-1")
		if err != nil || got.Incident != "inc-1" || got.Suppressed != "scanner" {
			t.Errorf("got %q suppressed by %q, %v", got.Incident, got.Suppressed, err)
		}
	})
}

func TestPrune(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		for name, state := range map[string]incident.State{"open": incident.Open, "closed": incident.Closed, "young": incident.Closed} {
			d := opened(name)
			d.Incident.State = state
			if name == "young" {
				d.Events[0].Received = noon.Add(time.Hour)
			}
			save(t, t.Store, d)
		}
		var letters []event.Letter
		for n := range 1200 {
			letters = append(letters, event.Letter{ID: fmt.Sprint("l", n), Raw: []byte(strconv.Itoa(n)), Received: noon.Add(time.Duration(n) * time.Millisecond)})
		}
		if err := t.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveLetters(t.Context(), letters) }); err != nil {
			t.Fatal(err)
		}
		gone, err := t.Prune(t.Context(), noon.Add(1100*time.Millisecond))
		if err != nil || gone != 1104 {
			t.Errorf("pruned %d, %v; want 1 event, 1,100 letters and what 3 findings saw", gone, err)
		}
		for name, want := range map[string]int{"open": 1, "closed": 0, "young": 1} {
			if events, err := t.FindingEvents(t.Context(), "fin-"+name); err != nil || len(events) != want {
				t.Errorf("%s: got %d events, %v; want %d", name, len(events), err, want)
			}
		}
	})
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		at := func(n string, opens, first, last time.Duration, state incident.State) run.Decision {
			d := opened(n)
			d.Incident.Opened, d.Incident.State = noon.Add(opens), state
			d.Incident.FirstSeen, d.Incident.LastSeen = noon.Add(first), noon.Add(last)
			d.Incident.Entities = append(d.Incident.Entities, entity.Entity{Kind: entity.Bucket, ID: "shared"})
			d.Finding.FirstSeen, d.Finding.LastSeen, d.Finding.Entities = noon.Add(first), noon.Add(last), d.Incident.Entities
			return d
		}
		save(t, t.Store,
			at("late", 2*time.Hour, 0, time.Minute, incident.Contained),
			at("early", time.Hour, 0, time.Minute, incident.Open),
			at("alike", time.Hour, 0, time.Minute, incident.Open),
			at("closed", 0, 0, time.Minute, incident.Closed),
			at("before", 0, -2*time.Hour, -time.Hour, incident.Open),
			at("after", 0, time.Hour, 2*time.Hour, incident.Open),
			at("edge", 3*time.Hour, -time.Hour, 0, incident.Open),
		)
		many := []string{(entity.Entity{Kind: entity.Bucket, ID: "shared"}).Key()}
		for i := range 1200 {
			many = append(many, fmt.Sprint("none-", i))
		}
		for name, test := range map[string]struct {
			keys []string
			also string
			want []string
		}{
			"shared":        {many[:1], "", []string{"inc-alike", "inc-early", "inc-late", "inc-edge"}},
			"of many":       {many, "", []string{"inc-alike", "inc-early", "inc-late", "inc-edge"}},
			"also":          {many[:1], "inc-after", []string{"inc-after", "inc-alike", "inc-early", "inc-late", "inc-edge"}},
			"only also":     {nil, "inc-before", []string{"inc-before"}},
			"also closed":   {nil, "inc-closed", nil},
			"nothing known": {[]string{"x"}, "inc-unknown", nil},
		} {
			err := t.Update(t.Context(), func(tx *store.Tx) error {
				found, err := tx.Candidates(t.Context(), test.keys, noon, noon.Add(30*time.Minute), test.also)
				var got []string
				for _, i := range found {
					got = append(got, i.ID)
					if len(i.Entities) != 2 {
						t.Errorf("%s: %s has %d entities, want 2", name, i.ID, len(i.Entities))
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestClosedIncidentIsNoCandidateUntilItIsOpenAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		d := opened("1")
		save(t, t.Store, d)
		for _, state := range []incident.State{incident.Closed, incident.Open} {
			closing := record.New(noon, record.IncidentClosed, "ann", nil).About("inc-1", "", "")
			changed, err := t.UpdateIncident(t.Context(), "inc-1", func(i *incident.Incident) error {
				i.State, i.Owner = state, "ann"
				return nil
			}, closing)
			if err != nil || changed.Owner != "ann" || len(changed.Entities) != 1 {
				t.Fatalf("got %+v, %v", changed, err)
			}
			want := map[incident.State]int{incident.Open: 1}[state]
			err = t.Update(t.Context(), func(tx *store.Tx) error {
				found, err := tx.Candidates(t.Context(), []string{d.Incident.Entities[0].Key()}, noon, noon, "inc-1")
				if len(found) != want {
					t.Errorf("%s: got %d candidates, want %d", state, len(found), want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := t.UpdateIncident(t.Context(), "inc-1", func(*incident.Incident) error {
			return fault.New(fault.Denied, "no")
		}); !fault.Is(err, fault.Denied) {
			t.Errorf("got %v, want the error of the change", err)
		}
		if _, err := t.UpdateIncident(t.Context(), "none", func(*incident.Incident) error { return nil }); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}
	})
}

func TestMergeBringsEverythingAlong(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		one, two, three := opened("1"), opened("2"), opened("3")
		save(t, t.Store, one, two, three)
		ask(t, t.Store, "run-2", "app-2")

		merge := func(into run.Decision, merged string) {
			t.Helper()
			into.Merge, into.Runs = []string{merged}, nil
			into.Records = []record.Record{record.New(noon, record.IncidentMerged, record.System, nil).About(into.Incident.ID, "", "")}
			into.Incident.Updated = noon.Add(time.Minute)
			save(t, t.Store, into)
		}
		merge(one, "inc-2")
		merge(three, "inc-1") // inc-2 is now part of inc-3

		for _, id := range []string{"inc-1", "inc-2"} {
			got, err := t.Incident(t.Context(), id)
			if err != nil || got.State != incident.Merged || got.MergedInto != "inc-3" {
				t.Errorf("%s: got %s into %q, %v", id, got.State, got.MergedInto, err)
			}
		}
		runs, err := t.RunsOfIncident(t.Context(), "inc-3")
		if err != nil || len(runs) != 3 || runs[0].Incident != "inc-3" {
			t.Errorf("got runs %+v, %v; want all three in inc-3", runs, err)
		}
		findings, err := t.Findings(t.Context(), store.FindingFilter{Incident: "inc-3"})
		if err != nil || len(findings.Items) != 3 {
			t.Errorf("got %d findings, %v; want 3", len(findings.Items), err)
		}
		approvals, err := t.Approvals(t.Context(), store.ApprovalFilter{Incident: "inc-3"})
		if err != nil || len(approvals) != 1 || approvals[0].Incident != "inc-3" {
			t.Errorf("got approvals %+v, %v", approvals, err)
		}
		entries, err := t.LedgerEntries(t.Context(), store.LedgerFilter{Incident: "inc-3"})
		if err != nil || len(entries) != 9 {
			t.Errorf("got %d ledger entries, %v; want those of all three: 9", len(entries), err)
		}
		err = t.Update(t.Context(), func(tx *store.Tx) error {
			found, err := tx.Candidates(t.Context(), []string{two.Incident.Entities[0].Key()}, noon, noon, "inc-2")
			if len(found) != 1 || found[0].ID != "inc-3" {
				t.Errorf("the merged one's entity leads to %+v, want inc-3", found)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		// What the run writes later belongs to inc-3, whatever it believes.
		r := runs[0]
		for _, candidate := range runs {
			if candidate.ID == "run-2" {
				r = candidate
			}
		}
		r.Incident = "inc-2"
		if err := t.Write(t.Context(), run.Entry{Run: r, Incident: &run.IncidentMark{Contained: true}}); err != nil {
			t.Fatal(err)
		}
		if got, err := t.Incident(t.Context(), "inc-3"); err != nil || got.State != incident.Contained {
			t.Errorf("got %s, %v; want that inc-3 is contained", got.State, err)
		}
	})
}

// ask lets a run ask a question.
func ask(tb testing.TB, s *store.Store, runID, approval string) {
	tb.Helper()
	j, err := s.Load(tb.Context(), runID)
	if err != nil {
		tb.Fatal(err)
	}
	j.Run.State = run.Waiting
	question := run.Approval{ID: approval, Run: runID, Incident: j.Run.Incident, Step: "s", Hash: "h", Asked: noon, Answer: run.Pending}
	if err := s.Write(tb.Context(), run.Entry{
		Run: j.Run, Approvals: []run.Approval{question},
		Records: []record.Record{record.New(noon, record.ApprovalAsked, record.System, nil).About(j.Run.Incident, runID, "s")},
	}); err != nil {
		tb.Fatal(err)
	}
}

func TestRunIsStartedOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		d := opened("1")
		save(t, t.Store, d)
		again := opened("1")
		again.Runs[0].ID, again.Records[1].Run = "run-again", "run-again"
		save(t, t.Store, again)
		runs, err := t.RunsOfIncident(t.Context(), "inc-1")
		if err != nil || len(runs) != 1 || runs[0].ID != "run-1" {
			t.Errorf("got runs %+v, %v; want run-1 alone", runs, err)
		}
		entries, err := t.LedgerEntries(t.Context(), store.LedgerFilter{Kind: record.RunStarted})
		if err != nil || len(entries) != 1 {
			t.Errorf("got %d starts recorded, %v; want 1", len(entries), err)
		}
		err = t.CreateRun(t.Context(), again.Runs[0], run.Version{Name: "contain", Hash: "h1"})
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("got %v, want a Conflict", err)
		}
		byHand := again.Runs[0]
		byHand.Subject, byHand.Hash = "by hand", "h2"
		started := record.New(noon, record.RunStarted, "ann", nil).About("inc-1", byHand.ID, "")
		if err := t.CreateRun(t.Context(), byHand, run.Version{Name: "contain", Hash: "h2", Text: []byte("v2")}, started); err != nil {
			t.Fatal(err)
		}
		if j, err := t.Load(t.Context(), byHand.ID); err != nil || string(j.Playbook) != "v2" {
			t.Errorf("got version %q, %v", j.Playbook, err)
		}
		err = t.Update(t.Context(), func(tx *store.Tx) error {
			runs, err := tx.RunsOf(t.Context(), []string{"inc-1", "none"})
			if len(runs) != 2 {
				t.Errorf("got %d runs, want 2", len(runs))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestHostileTexts plays what an attacker may put into an event.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		for n, evil := range []string{"a\x00b", "\xff\xfe", strings.Repeat("x", 100_000), "'; DROP TABLE runs; --", "%_!", "\u2028😀", strings.Repeat("é", 5000)} {
			d := opened(strconv.Itoa(n))
			d.Finding.Fingerprint, d.Finding.Title, d.Finding.Type, d.Finding.Account = evil, evil, evil, evil
			d.Incident.Title, d.Incident.Account, d.Incident.Owner = evil, evil, evil
			d.Incident.Entities = []entity.Entity{{Kind: entity.Bucket, ID: evil, Account: evil}}
			d.Finding.Entities = d.Incident.Entities
			d.Events[0].Key, d.Events[0].Name, d.Events[0].Raw = evil, evil, []byte(evil)
			d.Runs[0].Subject = evil
			d.Records = append(d.Records, record.New(noon, record.Kind(evil), evil, map[string]string{evil: evil}).About(evil, evil, evil))
			save(t, t.Store, d)
			err := t.Update(t.Context(), func(tx *store.Tx) error {
				_, in, known, err := tx.Finding(t.Context(), evil)
				if err != nil || !known || in != d.Incident.ID {
					t.Errorf("%.20q: known %t in %q, %v", evil, known, in, err)
				}
				found, err := tx.Candidates(t.Context(), []string{d.Incident.Entities[0].Key()}, noon, noon, "")
				if len(found) != 1 || found[0].ID != d.Incident.ID {
					t.Errorf("%.20q: its entity leads to %d incidents, %v", evil, len(found), err)
				}
				return tx.SaveLetters(t.Context(), []event.Letter{{ID: strconv.Itoa(n), Format: evil, Origin: evil, Reason: evil, Raw: []byte(evil), Received: noon}})
			})
			if err != nil {
				t.Fatalf("%.20q: %v", evil, err)
			}
			for _, filter := range []store.IncidentFilter{{Account: evil}, {Owner: evil}, {Entity: evil}} {
				if page, err := t.Incidents(t.Context(), filter); err != nil || len(page.Items) != 1 {
					t.Errorf("%.20q: found %d incidents, %v", evil, len(page.Items), err)
				}
			}
			if events, err := t.FindingEvents(t.Context(), d.Finding.ID); err != nil || string(events[0].Raw) != evil {
				t.Errorf("%.20q: the raw bytes are not as they came: %v", evil, err)
			}
		}
		if _, err := t.VerifyLedger(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTimesAreExact(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		for n, at := range []time.Time{
			{}, time.Unix(0, 0).UTC(), time.Date(1969, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		} {
			d := opened(strconv.Itoa(n))
			d.Finding.FirstSeen, d.Incident.FirstSeen, d.Runs[0].Wake = at, at, at
			save(t, t.Store, d)
			j, err := t.Load(t.Context(), d.Runs[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			want := run.Journal{Run: d.Runs[0], Playbook: d.Versions[0].Text, Finding: d.Finding, Incident: *d.Incident}
			if diff := cmp.Diff(want, j, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		}
		d := opened("never")
		d.Incident.FirstSeen = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
		err := t.Update(t.Context(), func(tx *store.Tx) error { return tx.Save(t.Context(), d) })
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v for the year 12026, want Invalid", err)
		}
	})
}

func TestLetters(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		keep := func(letters ...event.Letter) {
			t.Helper()
			if err := t.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveLetters(t.Context(), letters) }); err != nil {
				t.Fatal(err)
			}
		}
		one := event.Letter{ID: "l1", Format: "f", Origin: "o", Reason: "bad", Raw: []byte("{"), Received: noon.Truncate(time.Microsecond), Count: 1}
		keep(one, event.Letter{ID: "l2", Format: "g", Raw: []byte("{"), Received: noon})
		again := one
		again.ID, again.Reason, again.Received = "l3", "still bad", one.Received.Add(time.Minute)
		keep(again)

		want := again
		want.ID, want.Count = "l1", 2
		got, err := t.Letter(t.Context(), "l1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		replayed := record.New(noon, record.LetterReplayed, "ann", map[string]string{"letter": "l1"})
		if err := t.MarkReplayed(t.Context(), "l1", noon, replayed); err != nil {
			t.Fatal(err)
		}
		unread, err := t.Letters(t.Context(), store.LetterFilter{Unread: true})
		if err != nil || len(unread.Items) != 1 || unread.Items[0].ID != "l2" || unread.Items[0].Raw != nil {
			t.Errorf("got %+v, %v; want l2 without its bytes", unread.Items, err)
		}
		keep(again) // came again, still unreadable
		all, err := t.Letters(t.Context(), store.LetterFilter{Unread: true, Format: "f"})
		if err != nil || len(all.Items) != 1 || all.Items[0].Count != 3 {
			t.Errorf("got %+v, %v; want l1, three times", all.Items, err)
		}
		if err := t.DeleteLetter(t.Context(), "l1"); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			t.DeleteLetter(t.Context(), "l1"), t.MarkReplayed(t.Context(), "l1", noon), func() error { _, err := t.Letter(t.Context(), "l1"); return err }(),
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("got %v, want NotFound", err)
			}
		}
	})
}

// Two findings belong together by when they saw what they share. When their incidents saw anything else
// doesn't count: otherwise the order in which findings come would.
func TestCandidatesGoByWhenTheEntityWasSeen(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		x := entity.Entity{Kind: entity.User, ID: "x", Account: "1"}
		y := entity.Entity{Kind: entity.User, ID: "y", Account: "1"}
		first, second := opened("1"), opened("1")
		first.Finding.FirstSeen, first.Finding.LastSeen = noon, noon
		first.Finding.Entities = []entity.Entity{x}
		second.Finding.ID, second.Finding.Fingerprint = "fin-2", "print-2"
		second.Finding.FirstSeen, second.Finding.LastSeen = noon.Add(50*time.Minute), noon.Add(50*time.Minute)
		second.Finding.Entities = []entity.Entity{x, y}
		second.Incident.FirstSeen, second.Incident.LastSeen = noon, noon.Add(50*time.Minute)
		second.Incident.Entities = []entity.Entity{x, y}
		second.Runs, second.Versions, second.Events = nil, nil, nil
		save(t, t.Store, first, second)
		for name, test := range map[string]struct {
			about entity.Entity
			at    time.Duration
			want  int
		}{
			"what the first saw, near it":              {x, -50 * time.Minute, 1},
			"what only the second saw, near it":        {y, 20 * time.Minute, 1},
			"what only the second saw, near the first": {y, -50 * time.Minute, 0},
		} {
			err := t.Update(t.Context(), func(tx *store.Tx) error {
				got, err := tx.Candidates(t.Context(), []string{test.about.Key()}, noon.Add(test.at-time.Hour), noon.Add(test.at+time.Hour), "")
				if len(got) != test.want {
					t.Errorf("%s: got %d candidates, want %d", name, len(got), test.want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
