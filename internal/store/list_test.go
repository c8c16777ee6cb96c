package store_test

import (
	"fmt"
	"slices"
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

// numbered saves n incidents, opened one after another, but for every tenth, which is opened with the one
// before. Their states, severities and accounts differ.
func numbered(t with, n int) []incident.Incident {
	t.Helper()
	states := []incident.State{incident.Open, incident.Contained, incident.Closed}
	var decisions []run.Decision
	var all []incident.Incident
	for i := range n {
		d := opened(fmt.Sprintf("%03d", i))
		d.Incident.Opened = noon.Add(time.Duration(i-i/10) * time.Second)
		d.Incident.State = states[i%3]
		d.Incident.Severity = finding.Severity(1 + i%5)
		d.Incident.Account = fmt.Sprint("account-", i%4)
		d.Incident.Owner = map[bool]string{true: "ann"}[i%2 == 0]
		d.Incident.Entities = append(d.Incident.Entities, entity.Entity{Kind: entity.Bucket, ID: fmt.Sprint("bucket-", i%7)})
		d.Finding.Received = d.Incident.Opened
		d.Runs[0].Created = d.Incident.Opened
		decisions = append(decisions, d)
		all = append(all, *d.Incident)
	}
	save(t, t.Store, decisions...)
	slices.Reverse(all)
	slices.SortStableFunc(all, func(a, b incident.Incident) int { return b.Opened.Compare(a.Opened) })
	return all
}

func TestIncidentsAreFiltered(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		all := numbered(t, 60)
		for name, test := range map[string]struct {
			filter store.IncidentFilter
			fits   func(incident.Incident) bool
		}{
			"all":      {store.IncidentFilter{}, func(incident.Incident) bool { return true }},
			"states":   {store.IncidentFilter{States: []incident.State{incident.Open, incident.Closed}}, func(i incident.Incident) bool { return i.State != incident.Contained }},
			"severity": {store.IncidentFilter{Severity: finding.High}, func(i incident.Incident) bool { return i.Severity >= finding.High }},
			"account": {store.IncidentFilter{Account: "account-3", States: []incident.State{incident.Open}}, func(i incident.Incident) bool {
				return i.Account == "account-3" && i.State == incident.Open
			}},
			"owner":  {store.IncidentFilter{Owner: "ann"}, func(i incident.Incident) bool { return i.Owner == "ann" }},
			"text":   {store.IncidentFilter{Text: "ELSEWHERE 01"}, func(i incident.Incident) bool { return i.ID >= "inc-010" && i.ID < "inc-020" }},
			"like":   {store.IncidentFilter{Text: "%"}, func(incident.Incident) bool { return false }},
			"since":  {store.IncidentFilter{Since: noon.Add(20 * time.Second)}, func(i incident.Incident) bool { return !i.Opened.Before(noon.Add(20 * time.Second)) }},
			"until":  {store.IncidentFilter{Until: noon.Add(20 * time.Second)}, func(i incident.Incident) bool { return i.Opened.Before(noon.Add(20 * time.Second)) }},
			"entity": {store.IncidentFilter{Entity: "bucket-5"}, func(i incident.Incident) bool { return i.Entities[1].ID == "bucket-5" }},
			"entity's key": {store.IncidentFilter{Entity: "bucket||bucket-5", Severity: finding.Medium}, func(i incident.Incident) bool {
				return i.Entities[1].ID == "bucket-5" && i.Severity >= finding.Medium
			}},
		} {
			var want []string
			for _, i := range all {
				if test.fits(i) {
					want = append(want, i.ID)
				}
			}
			for _, limit := range []int{0, 1, 7} {
				test.filter.Limit = limit
				got := walk(t, func(cursor string) (store.Page[incident.Incident], error) {
					test.filter.Cursor = cursor
					return t.Incidents(t.Context(), test.filter)
				}, func(i incident.Incident) string { return i.ID })
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s in pages of %d: %s", name, limit, diff)
				}
			}
		}
		for _, cursor := range []string{"x", "!", "MTIz", "eHx5"} {
			if _, err := t.Incidents(t.Context(), store.IncidentFilter{Cursor: cursor}); !fault.Is(err, fault.Invalid) {
				t.Errorf("cursor %q: got %v, want Invalid", cursor, err)
			}
		}
	})
}

// walk goes through all pages and gives the ids.
func walk[T any](t with, read func(cursor string) (store.Page[T], error), id func(T) string) []string {
	t.Helper()
	var ids []string
	for cursor := ""; ; {
		page, err := read(cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			ids = append(ids, id(item))
		}
		if cursor = page.Next; cursor == "" {
			return ids
		}
	}
}

func TestPagesAreStableWhileMoreComes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		all := numbered(t, 30)
		first, err := t.Incidents(t.Context(), store.IncidentFilter{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		newer := opened("newer")
		newer.Incident.Opened = noon.Add(time.Hour)
		save(t, t.Store, newer)
		second, err := t.Incidents(t.Context(), store.IncidentFilter{Limit: 10, Cursor: first.Next})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(all[10:20], second.Items, cmpopts.IgnoreFields(incident.Incident{}, "Entities")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRunsFindingsAndApprovalsAreListed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		numbered(t, 25)
		for _, n := range []string{"001", "002", "003"} {
			ask(t, t.Store, "run-"+n, "app-"+n)
		}
		j, err := t.Load(t.Context(), "run-002")
		if err != nil {
			t.Fatal(err)
		}
		j.Approvals[0].Answer, j.Run.State, j.Run.Leg = run.Refused, run.Denied, 2
		if err := t.Write(t.Context(), run.Entry{Run: j.Run, Approvals: j.Approvals}); err != nil {
			t.Fatal(err)
		}
		runs := func(f store.RunFilter) []string {
			f.Limit = 4
			return walk(t, func(cursor string) (store.Page[run.Run], error) {
				f.Cursor = cursor
				return t.Runs(t.Context(), f)
			}, func(r run.Run) string { return r.ID })
		}
		if got := runs(store.RunFilter{}); len(got) != 25 || got[0] != "run-024" {
			t.Errorf("got %v, want all 25, run-024 first", got)
		}
		if diff := cmp.Diff([]string{"run-003", "run-002", "run-001"}, runs(store.RunFilter{States: []run.State{run.Waiting, run.Denied}})); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"run-007"}, runs(store.RunFilter{Incident: "inc-007", Playbook: "contain", States: []run.State{run.Ready}})); diff != "" {
			t.Error(diff)
		}
		if got := runs(store.RunFilter{Playbook: "none"}); got != nil {
			t.Errorf("got %v, want none", got)
		}

		findings := func(f store.FindingFilter) []string {
			f.Limit = 4
			return walk(t, func(cursor string) (store.Page[store.Finding], error) {
				f.Cursor = cursor
				return t.Findings(t.Context(), f)
			}, func(f store.Finding) string { return f.ID })
		}
		if got := findings(store.FindingFilter{Product: finding.Riposte, Type: "rule:x", Severity: finding.High}); len(got) != 25 || got[0] != "fin-024" {
			t.Errorf("got %v, want all 25, fin-024 first", got)
		}
		until := noon.Add(3 * time.Second)
		if diff := cmp.Diff([]string{"fin-002", "fin-001"}, findings(store.FindingFilter{Since: noon.Add(time.Second), Until: until})); diff != "" {
			t.Error(diff)
		}
		if got := findings(store.FindingFilter{Severity: finding.Critical}); got != nil {
			t.Errorf("got %v, want none", got)
		}
		if f, err := t.Finding(t.Context(), "fin-001"); err != nil || f.Incident != "inc-001" {
			t.Errorf("got %+v, %v", f, err)
		}
		if _, err := t.Finding(t.Context(), "none"); !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want NotFound", err)
		}

		pending, err := t.Approvals(t.Context(), store.ApprovalFilter{Answer: run.Pending, Limit: 1})
		if err != nil || len(pending) != 1 || pending[0].ID != "app-003" {
			t.Fatalf("got %+v, %v; want app-003", pending, err)
		}
		more, err := t.Approvals(t.Context(), store.ApprovalFilter{Answer: run.Pending, After: "app-003"})
		if err != nil || len(more) != 1 || more[0].ID != "app-001" {
			t.Errorf("got %+v, %v; want app-001", more, err)
		}
		if one, err := t.Approvals(t.Context(), store.ApprovalFilter{Run: "run-002"}); err != nil || len(one) != 1 || one[0].Answer != run.Refused {
			t.Errorf("got %+v, %v", one, err)
		}
		for _, err := range []error{
			func() error { _, err := t.Approval(t.Context(), "none"); return err }(),
			func() error { _, err := t.Approvals(t.Context(), store.ApprovalFilter{After: "none"}); return err }(),
			func() error { _, err := t.Incident(t.Context(), "none"); return err }(),
			func() error { _, err := t.Load(t.Context(), "none"); return err }(),
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("got %v, want NotFound", err)
			}
		}
	})
}

func TestCounts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		empty, err := t.Counts(t.Context())
		if diff := cmp.Diff(store.Counts{Runs: map[run.State]int64{}}, empty); err != nil || diff != "" {
			t.Error(err, diff)
		}
		one, two := opened("1"), opened("2")
		two.Incident.Severity, two.Runs[0].State = finding.Critical, run.Waiting
		one.Runs[0].Updated = noon.Add(-time.Hour).Truncate(time.Microsecond)
		save(t, t.Store, one, two, opened("3"))
		ask(t, t.Store, "run-2", "app")
		if err := t.Update(t.Context(), func(tx *store.Tx) error {
			return tx.SaveLetters(t.Context(), []event.Letter{{ID: "l", Received: noon}})
		}); err != nil {
			t.Fatal(err)
		}
		want := store.Counts{
			Incidents: []store.IncidentCount{
				{State: incident.Open, Severity: finding.High, Count: 2}, {State: incident.Open, Severity: finding.Critical, Count: 1},
			},
			Runs: map[run.State]int64{run.Ready: 2, run.Waiting: 1}, Pending: 1, Letters: 1, LedgerSize: 7, OldestReady: one.Runs[0].Updated,
		}
		got, err := t.Counts(t.Context())
		bySeverity := cmpopts.SortSlices(func(a, b store.IncidentCount) bool { return a.Severity < b.Severity })
		if diff := cmp.Diff(want, got, bySeverity); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
}

func TestLedgerEntriesAreFiltered(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		save(t, t.Store, opened("1"), opened("2"))
		for name, test := range map[string]struct {
			filter store.LedgerFilter
			want   []int64
		}{
			"all":      {store.LedgerFilter{}, []int64{0, 1, 2, 3}},
			"from":     {store.LedgerFilter{From: 2, Limit: 1}, []int64{2}},
			"incident": {store.LedgerFilter{Incident: "inc-2"}, []int64{2, 3}},
			"run":      {store.LedgerFilter{Run: "run-1"}, []int64{1}},
			"kind":     {store.LedgerFilter{Kind: record.IncidentOpened}, []int64{0, 2}},
			"none":     {store.LedgerFilter{Kind: record.IncidentOpened, Run: "run-1"}, nil},
		} {
			entries, err := t.LedgerEntries(t.Context(), test.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, e := range entries {
				got = append(got, e.Seq)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}
