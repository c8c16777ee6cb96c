package store

import (
	"context"
	"time"

	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/run"
)

// IncidentCount is how many incidents are in a state with a severity.
type IncidentCount struct {
	State    incident.State
	Severity finding.Severity
	Count    int64
}

// Counts are what metrics tell of the store.
type Counts struct {
	Incidents  []IncidentCount
	Runs       map[run.State]int64
	Pending    int64 // approvals nobody answered yet
	Letters    int64 // dead letters not replayed
	LedgerSize int64
	// OldestReady is since when the run has been ready that has been so the longest; zero if none is.
	OldestReady time.Time
}

// Counts counts.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	var c Counts
	incidents, err := s.q.CountIncidents(ctx)
	if err != nil {
		return c, s.fault("count incidents", err)
	}
	for _, row := range incidents {
		severity := finding.Severity(row.Severity) //nolint:gosec // it was one when it was written
		c.Incidents = append(c.Incidents, IncidentCount{incident.State(row.State), severity, row.N})
	}
	runs, err := s.q.CountRuns(ctx)
	if err != nil {
		return c, s.fault("count runs", err)
	}
	c.Runs = make(map[run.State]int64, len(runs))
	for _, row := range runs {
		c.Runs[run.State(row.State)] = row.N
	}
	if c.Pending, err = s.q.CountPending(ctx); err != nil {
		return c, s.fault("count approvals", err)
	}
	if c.Letters, err = s.q.CountLetters(ctx); err != nil {
		return c, s.fault("count dead letters", err)
	}
	head, err := s.q.LedgerHead(ctx)
	if err != nil {
		return c, s.fault("read the ledger's head", err)
	}
	oldest, err := s.q.OldestReady(ctx)
	if err != nil {
		return c, s.fault("look for ready runs", err)
	}
	c.LedgerSize, c.OldestReady = head.Size, timeOf(oldest)
	return c, nil
}
