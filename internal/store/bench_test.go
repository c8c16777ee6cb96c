package store_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

// entryOf is what one step of a run writes: the run, the step, an effect and a record.
func entryOf(r run.Run, n int) run.Entry {
	return run.Entry{
		Run:     r,
		Steps:   []run.Step{{Run: r.ID, ID: fmt.Sprintf("step-%d", n%5), Action: "aws.iam.disable_access_key", State: run.Intended}},
		Effects: []run.Effect{{Time: noon, Run: r.ID, Step: fmt.Sprintf("step-%d", n%5), Playbook: r.Playbook, Account: "1", Target: "t"}},
		Records: []record.Record{record.New(noon, record.ActionIntended, record.System, map[string]int{"n": n}).About(r.Incident, r.ID, "s")},
	}
}

// BenchmarkWrite tells how many entries of run journals a second many writers get durable.
func BenchmarkWrite(b *testing.B) {
	for name, dsn := range map[string]func(testing.TB) string{
		"sqlite":   func(tb testing.TB) string { tb.Helper(); return filepath.Join(tb.TempDir(), "riposte.db") },
		"postgres": storetest.Postgres,
	} {
		for _, writers := range []int{1, 8, 50, 200} {
			b.Run(fmt.Sprintf("%s/writers=%d", name, writers), func(b *testing.B) {
				s := open(b, dsn(b))
				runs := make([]run.Run, writers)
				for i := range runs {
					d := opened(strconv.Itoa(i))
					save(b, s, d)
					runs[i] = d.Runs[0]
				}
				var done atomic.Int64
				var group sync.WaitGroup
				b.ResetTimer()
				for _, r := range runs {
					group.Go(func() {
						for n := done.Add(1); n <= int64(b.N); n = done.Add(1) {
							if err := s.Write(b.Context(), entryOf(r, int(n))); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			})
		}
	}
}

// BenchmarkPages tells how long a page takes in a store of 100,000 incidents.
func BenchmarkPages(b *testing.B) {
	for name, dsn := range map[string]func(testing.TB) string{
		"sqlite":   func(tb testing.TB) string { tb.Helper(); return filepath.Join(tb.TempDir(), "riposte.db") },
		"postgres": storetest.Postgres,
	} {
		s := open(b, dsn(b))
		fill(b, s, 100_000)
		for _, of := range []struct {
			what   string
			filter store.IncidentFilter
		}{
			{"newest", store.IncidentFilter{}},
			{"open", store.IncidentFilter{States: []incident.State{incident.Open}}},
			{"critical", store.IncidentFilter{Severity: finding.Critical}},
			{"account", store.IncidentFilter{Account: "account-77"}},
			{"no-account", store.IncidentFilter{Account: "none"}},
			{"text", store.IncidentFilter{Text: "elsewhere 4711"}},
			{"entity", store.IncidentFilter{Entity: "AKIA4711"}},
			{"account-entity", store.IncidentFilter{Entity: "111111111111"}},
		} {
			b.Run(name+"/"+of.what, func(b *testing.B) {
				for b.Loop() {
					if _, err := s.Incidents(b.Context(), of.filter); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(name+"/counts", func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Counts(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/decision", func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				save(b, s, opened(fmt.Sprintf("more-%d", n)))
			}
		})
		b.Run(name+"/load", func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Load(b.Context(), "run-4711"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/verify-ledger", func(b *testing.B) {
			for b.Loop() {
				if _, err := s.VerifyLedger(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fill saves n incidents, most of them closed.
func fill(b *testing.B, s *store.Store, n int) {
	b.Helper()
	for first := 0; first < n; first += 500 {
		var decisions []run.Decision
		for i := first; i < first+500; i++ {
			d := opened(strconv.Itoa(i))
			d.Incident.Opened = noon.Add(time.Duration(i) * time.Second)
			d.Incident.Entities = append(d.Incident.Entities, entity.Entity{Kind: entity.Account, ID: "111111111111"})
			d.Incident.Account = fmt.Sprintf("account-%d", i%1000)
			d.Incident.Severity = finding.Severity(1 + i%4)
			if i%5000 == 0 {
				d.Incident.Severity = finding.Critical
			}
			if i%100 != 0 {
				d.Incident.State = incident.Closed
			}
			decisions = append(decisions, d)
		}
		save(b, s, decisions...)
	}
}
