package app

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/cloudevent"
	"github.com/riposte-sec/riposte/internal/correlate"
	"github.com/riposte-sec/riposte/internal/durable"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/triage"
)

// dueEvery is the time between two looks for windows of correlations that are complete.
const dueEvery = 10 * time.Second

// pipeline is the way of a batch of events, from the intake to the runs that it starts: detect; correlate,
// decide and keep in one transaction; start. Its take is an event.Sink.
type pipeline struct {
	content   func() *Content
	correlate *correlate.Engine
	triage    *triage.Engine
	store     *store.Store
	starter   respond.Starter
	runner    *respond.Runner
	newID     func() string
	observe   func(took time.Duration)
	logger    *slog.Logger
	tracer    trace.Tracer
}

func (p *pipeline) take(ctx context.Context, b event.Batch) error {
	ctx, span := p.tracer.Start(ctx, "decide", trace.WithAttributes(attribute.Int("events", len(b.Events))))
	defer span.End()
	began := time.Now()
	detector := p.content().Detector
	seen := detector.Detect(b.Events)
	for i := range seen.Letters {
		seen.Letters[i].ID = p.newID()
	}
	events, letters := byKey(b.Events), slices.Concat(b.Letters, seen.Letters)
	if len(seen.Findings) == 0 && len(seen.Observations) == 0 && len(letters) == 0 {
		return nil
	}
	err := p.decide(ctx, func(tx *store.Tx) (triage.Batch, error) {
		found, err := p.correlate.Take(ctx, tx, detector, seen.Observations, events)
		maps.Copy(found.Events, events)
		return triage.Batch{Findings: slices.Concat(seen.Findings, found.Findings), Events: found.Events, Letters: letters}, err
	})
	if err == nil {
		p.observe(time.Since(began))
	}
	return err
}

// due decides what correlations find when the time of their windows is over. It reports whether there is more.
func (p *pipeline) due(ctx context.Context) (more bool, err error) {
	detector := p.content().Detector
	err = p.decide(ctx, func(tx *store.Tx) (triage.Batch, error) {
		found, further, err := p.correlate.Due(ctx, tx, detector)
		more = further
		return triage.Batch{Findings: found.Findings, Events: found.Events}, err
	})
	return more, err
}

// decide has triage decide a batch in the transaction that gives it, and starts what follows.
func (p *pipeline) decide(ctx context.Context, gather func(*store.Tx) (triage.Batch, error)) error {
	var decisions []run.Decision
	var begun []run.Journal
	err := p.store.Update(ctx, func(tx *store.Tx) error {
		batch, err := gather(tx)
		if err != nil {
			return err
		}
		tx.Begin(p.runner.Node)
		if decisions, err = p.triage.Decide(ctx, tx, batch); err != nil {
			return err
		}
		begun, err = tx.Begun()
		return err
	})
	if err != nil {
		return err
	}
	p.start(ctx, decisions, begun)
	return nil
}

// Run looks for what is due until ctx ends.
func (p *pipeline) Run(ctx context.Context) error {
	ticker := time.NewTicker(dueEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = p.due(ctx); err != nil {
				if ctx.Err() == nil {
					p.logger.ErrorContext(ctx, "judge correlations", "err", err.Error())
				}
				break // at the next look
			}
		}
	}
}

// start starts the runs that were decided: at once those that this node has begun with, the others as all legs
// are. They are durable: one that can't be started now is found by the watch.
func (p *pipeline) start(ctx context.Context, decisions []run.Decision, begun []run.Journal) {
	known := make(map[string]bool, len(begun))
	for _, journal := range begun {
		known[journal.Run.ID] = true
		p.runner.Begin(ctx, journal)
	}
	for _, decision := range decisions {
		for _, r := range decision.Runs {
			if known[r.ID] {
				continue
			}
			if err := p.starter.Start(ctx, r.ID, r.Leg, r.Fence); err != nil {
				p.logger.WarnContext(ctx, "run starts later", "run", r.ID, "err", err.Error())
			}
		}
	}
}

func byKey(events []event.Event) map[string]event.Event {
	keyed := make(map[string]event.Event, len(events))
	for _, ev := range events {
		keyed[ev.Key] = ev
	}
	return keyed
}

// starter starts legs on the durable engine.
type starter struct {
	engine *durable.Engine
	note   func(runID string) // of what is started; may be nil
}

func (s *starter) Start(ctx context.Context, runID string, leg, fence int64) error {
	if s.note != nil {
		s.note(runID)
	}
	return s.engine.Start(ctx, durable.Leg{Run: runID, Leg: leg, Fence: fence})
}

// Execute executes work in this process, which the engine doesn't remember. Who has to know of every leg starts
// it.
func (s *starter) Execute(work func(context.Context) error) bool {
	return s.note == nil && s.engine.Execute(work)
}

// rails are the guardrails of the store and those that can't be lifted: what Riposte stands on, and what
// the configuration protects.
type rails struct {
	*store.Store
	fixed []guardrail.Protection
}

// Standing is of respond.Rails.
func (r *rails) Standing(ctx context.Context) ([]guardrail.Freeze, []guardrail.Protection, error) {
	freezes, set, err := r.Store.Standing(ctx)
	return freezes, append(set, r.fixed...), err
}

// replay reads a dead letter once more, with what first refused it.
func (a *App) replay(ctx context.Context, l event.Letter) error {
	if l.Format == awslog.FormatMessage {
		for _, queue := range a.queues {
			if strings.HasPrefix(l.Origin, queue.Name()+"/") {
				return queue.Replay(ctx, l.Raw, l.Origin)
			}
		}
		content, err := awslog.Message(l.Raw)
		if err != nil {
			return err
		}
		return a.intake.Accept(ctx, event.Batch{Events: content.Events})
	}
	read := awslog.Record
	if l.Format == cloudevent.Format || l.Format == string(event.Webhook) {
		read = cloudevent.Record
	}
	events, err := read(l.Raw)
	if err != nil {
		return err
	}
	return event.Strict(a.intake.Accept)(ctx, event.Batch{Events: events})
}
