package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

func claim(t with, runID string, leg int64, node string) run.Journal {
	t.Helper()
	j, err := t.Claim(t.Context(), runID, leg, node)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestJournalIsLoadedAsItWasWritten(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		d := opened("1")
		save(t, t.Store, d)
		j := claim(t, "run-1", 1, "node-a")
		if j.Run.Fence != 1 {
			t.Errorf("got fence %d, want 1", j.Run.Fence)
		}
		change := &action.Change{Action: "a", Target: entity.Entity{Kind: entity.AccessKey, ID: "k"}, Before: []byte(`{"on":true}`), After: []byte(`{"on":false}`)}
		j.Run.State, j.Run.Wake, j.Run.Updated = run.Waiting, noon.Add(time.Hour), noon.Add(time.Minute)
		j.Steps = []run.Step{
			{Run: "run-1", ID: "b", Order: 0, Action: "a", State: run.Done, Change: change, Outputs: map[string]any{"x": "<&>"}, Started: noon},
			{Run: "run-1", ID: "a", Order: 1, Action: "a", State: run.Asked},
		}
		j.Approvals = []run.Approval{
			{ID: "z", Run: "run-1", Incident: "inc-1", Step: "b", Hash: "h", Asked: noon, Answer: run.Superseded},
			{ID: "y", Run: "run-1", Incident: "inc-1", Step: "a", Hash: "h", Asked: noon.Add(time.Second), Answer: run.Pending},
		}
		if err := t.Write(t.Context(), run.Entry{Run: j.Run, Steps: j.Steps, Approvals: j.Approvals}); err != nil {
			t.Fatal(err)
		}
		got, err := t.Load(t.Context(), "run-1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(j, got, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if got.Steps[0].Change.Hash() != change.Hash() {
			t.Error("the plan has another hash after it was stored")
		}
	})
}

func TestOnlyTheLastClaimerWrites(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		save(t, t.Store, opened("1"))
		first := claim(t, "run-1", 1, "node-a")
		second := claim(t, "run-1", 1, "node-b")
		entry := run.Entry{
			Run: first.Run, Steps: []run.Step{{Run: "run-1", ID: "s", State: run.Intended}},
			Records: []record.Record{record.New(noon, record.ActionIntended, record.System, nil)},
		}
		if err := t.Write(t.Context(), entry); !fault.Is(err, fault.Conflict) {
			t.Errorf("the first claimer's write: got %v, want a Conflict", err)
		}
		entry.Run = second.Run
		if err := t.Write(t.Context(), entry); err != nil {
			t.Error(err)
		}
		entry.Run.ID = "none"
		if err := t.Write(t.Context(), entry); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}
		if entries, err := t.LedgerEntries(t.Context(), store.LedgerFilter{Kind: record.ActionIntended}); err != nil || len(entries) != 1 {
			t.Errorf("got %d intentions recorded, %v; want 1", len(entries), err)
		}
	})
}

func TestLegs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		save(t, t.Store, opened("1"))
		conflicts := func(doing string, err error) {
			t.Helper()
			if !fault.Is(err, fault.Conflict) {
				t.Errorf("%s: got %v, want a Conflict", doing, err)
			}
		}
		_, err := t.Claim(t.Context(), "run-1", 2, "n")
		conflicts("claim a leg to come", err)
		if _, err := t.Claim(t.Context(), "none", 1, "n"); !fault.Is(err, fault.NotFound) {
			t.Errorf("claim what isn't there: got %v, want NotFound", err)
		}
		j := claim(t, "run-1", 1, "n")
		j.Run.State = run.Waiting
		if err := t.Write(t.Context(), run.Entry{Run: j.Run}); err != nil {
			t.Fatal(err)
		}
		_, err = t.Claim(t.Context(), "run-1", 1, "n")
		conflicts("claim a run that waits", err)

		next := j.Run
		next.State, next.Leg = run.Ready, 2
		if err := t.Write(t.Context(), run.Entry{Run: next}); err != nil {
			t.Fatal(err)
		}
		conflicts("write to the leg before", t.Write(t.Context(), run.Entry{Run: j.Run}))
		skipped := next
		skipped.Leg = 4
		conflicts("skip a leg", t.Write(t.Context(), run.Entry{Run: skipped}))
		_, err = t.Claim(t.Context(), "run-1", 1, "n")
		conflicts("claim the leg before", err)

		last := claim(t, "run-1", 2, "n").Run
		last.State, last.Ended = run.Succeeded, noon
		if err := t.Write(t.Context(), run.Entry{Run: last}); err != nil {
			t.Fatal(err)
		}
		reopened := last
		reopened.State = run.Ready
		conflicts("open a run that is over", t.Write(t.Context(), run.Entry{Run: reopened}))
		reopened.Leg++
		conflicts("open it at the next leg", t.Write(t.Context(), run.Entry{Run: reopened}))
	})
}

func TestCaps(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		save(t, t.Store, opened("1"))
		r := claim(t, "run-1", 1, "n").Run
		spend := func(step, account, target string, at time.Time) {
			t.Helper()
			if err := t.Write(t.Context(), run.Entry{Run: r, Effects: []run.Effect{{
				Time: at, Run: "run-1", Step: step, Playbook: "contain", Action: "a", Account: account, Region: "r", Kind: "user", Target: target,
			}}}); err != nil {
				t.Fatal(err)
			}
		}
		spend("1", "A", "x", noon)
		spend("2", "A", "y", noon)
		spend("3", "B", "y", noon)
		spend("old", "C", "z", noon.Add(-time.Hour))
		spend("undone", "D", "w", noon)
		if err := t.Write(t.Context(), run.Entry{Run: r, Steps: []run.Step{{Run: "run-1", ID: "undone", State: run.Undone}}}); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			of   run.Cap
			want int
		}{
			{run.Cap{Measure: run.Changes}, 3},
			{run.Cap{Measure: run.Changes, Account: "A"}, 2},
			{run.Cap{Measure: run.Changes, Playbook: "contain", Region: "r", Kind: "user"}, 3},
			{run.Cap{Measure: run.Changes, Playbook: "other"}, 0},
			{run.Cap{Measure: run.Changes, Region: "other"}, 0},
			{run.Cap{Measure: run.Changes, Kind: "other"}, 0},
			{run.Cap{Measure: run.Targets}, 2},
			{run.Cap{Measure: run.Targets, Itself: "y"}, 1},
			{run.Cap{Measure: run.Targets, Account: "B", Itself: "x"}, 1},
			{run.Cap{Measure: run.Accounts}, 2},
			{run.Cap{Measure: run.Accounts, Itself: "A"}, 1},
			{run.Cap{Measure: run.Accounts, Itself: "E"}, 2},
		} {
			test.of.Since = noon.Add(-30 * time.Minute)
			if got, err := t.Used(t.Context(), test.of); err != nil || got != test.want {
				t.Errorf("%+v: got %d, %v; want %d", test.of, got, err, test.want)
			}
		}
		if _, err := t.Used(t.Context(), run.Cap{Measure: "luck"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v, want Invalid", err)
		}
		effects, err := t.Effects(t.Context(), store.EffectFilter{Playbook: "contain", Account: "D", Run: "run-1", Since: noon})
		if err != nil || len(effects) != 1 || !effects[0].Undone || effects[0].Target != "w" {
			t.Errorf("got effects %+v, %v", effects, err)
		}

		entry := run.Entry{
			Run:     r,
			Effects: []run.Effect{{Time: noon, Run: "run-1", Step: "4", Playbook: "contain", Account: "A", Target: "v"}},
			Caps: []run.Cap{
				{Name: "changes", Measure: run.Changes, Most: 4, Since: noon},
				{Name: "targets", Measure: run.Targets, Most: 2, Since: noon, Itself: "v"},
			},
			Records: []record.Record{record.New(noon, record.ActionIntended, record.System, nil)},
		}
		err = t.Write(t.Context(), entry)
		reached, ok := errors.AsType[*run.CapReached](err)
		if !ok || reached.Cap.Name != "targets" || reached.Used != 2 {
			t.Errorf("got %v, want that the cap on targets is reached", err)
		}
		if entries, err := t.LedgerEntries(t.Context(), store.LedgerFilter{Kind: record.ActionIntended}); err != nil || len(entries) != 0 {
			t.Errorf("got %d intentions recorded, %v; want none", len(entries), err)
		}
		entry.Caps[1].Itself, entry.Effects[0].Target = "y", "y"
		for range 3 { // a step that is tried again spends once
			if err := t.Write(t.Context(), entry); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestCapsHoldWhenManySpendAtOnce lets more runs spend from one budget than it has.
func TestCapsHoldWhenManySpendAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		const runs, most = 20, 7
		errs := make(chan error, runs)
		for n := range runs {
			d := opened(fmt.Sprint("r", n))
			save(t, t.Store, d)
			go func() {
				errs <- t.Write(t.Context(), run.Entry{
					Run:     d.Runs[0],
					Effects: []run.Effect{{Time: noon, Run: d.Runs[0].ID, Step: "s", Playbook: "contain", Account: "A", Target: d.Runs[0].ID}},
					Caps:    []run.Cap{{Name: "changes", Measure: run.Changes, Most: most, Since: noon}},
				})
			}()
		}
		passed := 0
		for range runs {
			err := <-errs
			if _, reached := errors.AsType[*run.CapReached](err); err != nil && !reached {
				t.Error(err)
			} else if err == nil {
				passed++
			}
		}
		if passed != most {
			t.Errorf("%d passed, want %d", passed, most)
		}
	})
}

func TestIncidentMarks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		save(t, t.Store, opened("1"))
		r := claim(t, "run-1", 1, "n").Run
		for _, step := range []struct {
			mark      run.IncidentMark
			state     incident.State
			escalated bool
		}{
			{run.IncidentMark{}, incident.Open, false},
			{run.IncidentMark{Escalated: true}, incident.Open, true},
			{run.IncidentMark{Contained: true}, incident.Contained, true},
		} {
			if err := t.Write(t.Context(), run.Entry{Run: r, Incident: &step.mark}); err != nil {
				t.Fatal(err)
			}
			got, err := t.Incident(t.Context(), "inc-1")
			if err != nil || got.State != step.state || got.Escalated != step.escalated || len(got.Entities) != 1 {
				t.Errorf("after %+v: got %+v, %v", step.mark, got, err)
			}
		}
		if _, err := t.UpdateIncident(t.Context(), "inc-1", func(i *incident.Incident) error { i.State = incident.Closed; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := t.Write(t.Context(), run.Entry{Run: r, Incident: &run.IncidentMark{Contained: true}}); err != nil {
			t.Fatal(err)
		}
		if got, err := t.Incident(t.Context(), "inc-1"); err != nil || got.State != incident.Closed {
			t.Errorf("got %s, %v; want it still closed", got.State, err)
		}
	})
}

func TestDue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		const stale = 15 * time.Second
		now := noon.Add(time.Hour)
		keep := func(id string, state run.State, updated, wake time.Time) {
			t.Helper()
			d := opened(id)
			d.Runs[0].State, d.Runs[0].Updated, d.Runs[0].Wake = state, updated, wake
			save(t, t.Store, d)
		}
		keep("ready-stale", run.Ready, now.Add(-stale), time.Time{})
		keep("ready-fresh", run.Ready, now.Add(-stale+time.Second), time.Time{})
		keep("woken", run.Waiting, now, now)
		keep("later", run.Held, now, now.Add(time.Second))
		keep("forever", run.Waiting, noon, time.Time{})
		keep("over", run.Failed, noon, noon)
		keep("held", run.Held, now, now.Add(-time.Second))
		due := func(at time.Time, limit int) []string {
			t.Helper()
			runs, err := t.Due(t.Context(), at, stale, limit)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, r := range runs {
				ids = append(ids, r.ID)
			}
			return ids
		}
		if diff := cmp.Diff([]string{"run-held", "run-woken", "run-ready-stale"}, due(now, 10)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"run-held", "run-woken"}, due(now, 2)); diff != "" {
			t.Error(diff)
		}

		// A run that a living node has claimed is left to it, but not for ever. It was claimed at noon,
		// by the store's clock.
		keep("claimed", run.Ready, noon, time.Time{})
		claim(t, "run-claimed", 1, "node-a")
		at := noon.Add(stale)
		if err := t.Beat(t.Context(), "node-a", at); err != nil {
			t.Fatal(err)
		}
		if got := due(at, 10); len(got) != 0 {
			t.Errorf("got %v, want none while node-a lives", got)
		}
		if diff := cmp.Diff([]string{"run-claimed"}, due(at.Add(stale), 10)); diff != "" {
			t.Errorf("node-a is silent: %s", diff)
		}
		if err := t.Beat(t.Context(), "node-a", noon.Add(8*stale)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"run-claimed"}, due(noon.Add(8*stale), 10)); diff != "" {
			t.Errorf("node-a lives and did nothing for long: %s", diff)
		}
	})
}

func TestNodes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		for node, at := range map[string]time.Time{"a": noon, "b": noon.Add(time.Minute), "c": noon} {
			if err := t.Beat(t.Context(), node, at); err != nil {
				t.Fatal(err)
			}
		}
		lost, err := t.Lost(t.Context(), noon.Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a", "c"}, lost); diff != "" {
			t.Error(diff)
		}
		won := make(chan bool, 10)
		for n := range cap(won) {
			go func() {
				gone := record.New(noon, record.NodeLost, record.System, nil)
				mine, err := t.Bury(t.Context(), "a", fmt.Sprint("node-", n), gone)
				if err != nil {
					t.Error(err)
				}
				won <- mine
			}()
		}
		winners := 0
		for range cap(won) {
			if <-won {
				winners++
			}
		}
		if winners != 1 {
			t.Errorf("%d buried the node, want 1", winners)
		}
		if entries, err := t.LedgerEntries(t.Context(), store.LedgerFilter{Kind: record.NodeLost}); err != nil || len(entries) != 1 {
			t.Errorf("got %d records, %v; want 1", len(entries), err)
		}
		if lost, err := t.Lost(t.Context(), noon.Add(time.Second)); err != nil || len(lost) != 1 {
			t.Errorf("got lost nodes %v, %v; want c alone", lost, err)
		}
	})
}

func TestRails(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		rec := record.New(noon, record.GuardrailChanged, "ann", nil)
		all := guardrail.Freeze{ID: "everything", Scope: guardrail.Everything, Reason: "r", By: "ann", At: noon}
		over := guardrail.Freeze{ID: "account:1", Scope: guardrail.OfAccount, Value: "1", Reason: "r", By: "ann", At: noon, Until: noon}
		own := guardrail.Protection{ID: "own", Kind: entity.Role, Name: "riposte*", Reason: "ours", By: record.System, At: noon, Own: true}
		theirs := guardrail.Protection{ID: "theirs", Tag: "prod", Reason: "r", By: "ann", At: noon}
		for _, err := range []error{
			t.SetFreeze(t.Context(), all, rec), t.SetFreeze(t.Context(), over, rec),
			t.Protect(t.Context(), own, rec), t.Protect(t.Context(), theirs, rec), t.Protect(t.Context(), theirs, rec),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		freezes, err := t.Freezes(t.Context())
		if diff := cmp.Diff([]guardrail.Freeze{all}, freezes); err != nil || diff != "" {
			t.Error(err, diff)
		}
		protections, err := t.Protections(t.Context())
		if diff := cmp.Diff([]guardrail.Protection{own, theirs}, protections); err != nil || diff != "" {
			t.Error(err, diff)
		}
		freezes, protections, err = t.Standing(t.Context())
		if diff := cmp.Diff([]guardrail.Freeze{all}, freezes); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if diff := cmp.Diff([]guardrail.Protection{own, theirs}, protections); err != nil || diff != "" {
			t.Error(err, diff)
		}
		for _, err := range []error{t.LiftFreeze(t.Context(), "everything", rec), t.Unprotect(t.Context(), "theirs", rec)} {
			if err != nil {
				t.Error(err)
			}
		}
		for kind, err := range map[fault.Kind]error{
			fault.NotFound: t.LiftFreeze(t.Context(), "everything", rec),
			fault.Denied:   t.Unprotect(t.Context(), "own", rec),
		} {
			if !fault.Is(err, kind) {
				t.Errorf("got %v, want %s", err, kind)
			}
		}
		if err := t.Unprotect(t.Context(), "none", rec); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}
		if c, err := t.Counts(t.Context()); err != nil || c.LedgerSize != 7 {
			t.Errorf("got %d records, %v; want 7", c.LedgerSize, err)
		}
	})
}
