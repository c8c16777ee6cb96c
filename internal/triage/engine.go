package triage

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/run"
)

// Tx is the transaction in which a batch is decided. Its work may be done again; what counts is the last time.
type Tx interface {
	// Finding gives the finding of a fingerprint and the incident it is in.
	Finding(ctx context.Context, fingerprint string) (found finding.Finding, incidentID string, known bool, err error)
	// Candidates gives the incidents still open that have a finding about one of the entities, by key,
	// within a span of event time, and the incident also, if it is still open; oldest first.
	Candidates(ctx context.Context, keys []string, from, to time.Time, also string) ([]incident.Incident, error)
	// RunsOf gives the runs of incidents.
	RunsOf(ctx context.Context, incidents []string) ([]run.Run, error)
	// Save keeps a decision whole.
	Save(ctx context.Context, d run.Decision) error
	// SaveLetters keeps what could not be read.
	SaveLetters(ctx context.Context, letters []event.Letter) error
}

// Engine decides batches.
type Engine struct {
	policy atomic.Pointer[Policy]
	now    func() time.Time
	newID  func() string
}

// New makes an engine. The policy can be replaced while it works.
func New(policy Policy, now func() time.Time, newID func() string) *Engine {
	e := &Engine{now: now, newID: newID}
	e.policy.Store(&policy)
	return e
}

// SetPolicy replaces the policy for the batches to come.
func (e *Engine) SetPolicy(policy Policy) { e.policy.Store(&policy) }

// Ours reports whether Riposte itself caused an event.
func (e *Engine) Ours(ev event.Event) bool {
	_, ours := causedByUs(ev.Entities, e.policy.Load().Own)
	return ours
}

// Batch is what came of a batch of events.
type Batch struct {
	Findings []finding.Finding
	Events   map[string]event.Event // those behind the findings, by key
	Letters  []event.Letter
}

// Decide decides all findings of a batch, in order, and keeps the letters beside them. It returns what was
// decided, which holds once the transaction is committed.
func (e *Engine) Decide(ctx context.Context, tx Tx, batch Batch) ([]run.Decision, error) {
	var decisions []run.Decision
	for _, f := range batch.Findings {
		decision, news, err := e.one(ctx, tx, f, batch.Events)
		if err != nil {
			return nil, fmt.Errorf("decide finding %s: %w", f.Type, err)
		}
		if news {
			decisions = append(decisions, decision)
		}
	}
	if len(batch.Letters) == 0 {
		return decisions, nil
	}
	return decisions, tx.SaveLetters(ctx, batch.Letters)
}

func (e *Engine) one(ctx context.Context, tx Tx, f finding.Finding, events map[string]event.Event) (run.Decision, bool, error) {
	policy := e.policy.Load()
	known, err := e.look(ctx, tx, f, policy.Window)
	if err != nil {
		return run.Decision{}, false, err
	}
	decision, news := Decide(ctx, f, known, *policy, e.now(), e.newID)
	if !news {
		return run.Decision{}, false, nil
	}
	for i := range decision.Runs {
		decision.Runs[i].Trace = traceparent(ctx)
	}
	for _, key := range f.Events {
		if ev, ok := events[key]; ok {
			decision.Events = append(decision.Events, ev)
		}
	}
	return decision, true, tx.Save(ctx, decision)
}

// traceparent is the W3C trace context of the event's way, "" without one.
func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

func (e *Engine) look(ctx context.Context, tx Tx, f finding.Finding, window time.Duration) (Known, error) {
	var known Known
	before, in, found, err := tx.Finding(ctx, f.Fingerprint)
	if err != nil {
		return Known{}, err
	}
	if found {
		known.Finding, known.Incident = &before, in
	}
	var keys []string
	for _, shared := range f.Entities {
		if shared.Groups() {
			keys = append(keys, shared.Key())
		}
	}
	if known.Candidates, err = tx.Candidates(ctx, keys, f.FirstSeen.Add(-window), f.LastSeen.Add(window), in); err != nil {
		return Known{}, err
	}
	ids := make([]string, 0, len(known.Candidates))
	for _, candidate := range known.Candidates {
		ids = append(ids, candidate.ID)
	}
	if len(ids) > 0 {
		known.Runs, err = tx.RunsOf(ctx, ids)
	}
	return known, err
}
