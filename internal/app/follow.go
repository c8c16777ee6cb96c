package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/follow"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/cloudevents"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

const (
	// mostReported bounds the findings of an incident that a product is told of.
	mostReported = 5000
	// mostRuns bounds the runs of an incident whose steps are told.
	mostRuns = 100
	// mostMerges bounds how often an incident was merged into another that was merged.
	mostMerges = 20
)

// openFollowers makes what follows the ledger. A new follower begins at the ledger's end as it is now.
func (a *App) openFollowers(ctx context.Context, specs []action.Spec, post *courier.Courier) error {
	if a.cloud != nil && a.config.AWS.SecurityHub.Report {
		reports := &reports{store: a.store, changes: changing(specs)}
		reports.hub = a.cloud.Reporter(a.recorded, a.options.Now)
		a.follow(&follow.Follower{
			Name: "securityhub", Wants: func(k record.Kind) bool { return k == record.RunEnded || k == record.IncidentClosed },
			Deliver: reports.deliver, Skips: []fault.Kind{fault.Invalid, fault.NotFound, fault.Denied, fault.Internal},
		})
	}
	receivers, err := cloudevents.New(a.config.CloudEvents, a.origin, post, a.options.Now)
	if err != nil {
		return err
	}
	for _, to := range receivers {
		a.follow(&follow.Follower{
			Name: "cloudevents/" + to.Name, Wants: to.Wants, Deliver: send(to), Skips: []fault.Kind{fault.Invalid},
		})
	}
	for _, f := range a.followers {
		if _, err := a.store.Cursor(ctx, f.Name); err != nil {
			return err
		}
	}
	return nil
}

// follow adds a follower.
func (a *App) follow(f *follow.Follower) {
	f.Node, f.Cursors, f.Now, f.Logger = a.node, a.store, a.options.Now, a.options.Logger
	a.followers = append(a.followers, f)
	a.board.Add(health.Part{Name: "follower " + f.Name, Check: f.Check, Minor: true})
}

// following tells how the followers are.
func (a *App) following() []follow.State {
	states := make([]follow.State, 0, len(a.followers))
	for _, f := range a.followers {
		states = append(states, f.State())
	}
	return states
}

// recorded adds records to the ledger, durably.
func (a *App) recorded(ctx context.Context, records ...record.Record) error {
	return a.store.Update(ctx, func(tx *store.Tx) error { tx.Append(records...); return nil })
}

// changing names the actions that change the world.
func changing(specs []action.Spec) map[string]bool {
	changes := map[string]bool{}
	for _, spec := range specs {
		changes[spec.Name] = spec.Effect.Changes()
	}
	return changes
}

// send hands entries to a receiver of CloudEvents, one after the other.
func send(to *cloudevents.Receiver) func(context.Context, []ledger.Entry) (follow.Delivered, error) {
	return func(ctx context.Context, entries []ledger.Entry) (follow.Delivered, error) {
		var done follow.Delivered
		for _, e := range entries {
			canonical, err := e.Canonical()
			if err != nil {
				return done, err
			}
			if err := to.Send(ctx, cloudevents.Entry{Seq: e.Seq, Record: e.Record, Canonical: canonical}); err != nil {
				return done, fmt.Errorf("record %d: %w", e.Seq, err)
			}
			done.Count++
		}
		return done, nil
	}
}

// reports tells Security Hub what became of the incidents that entries of the ledger are about.
type reports struct {
	store   *store.Store
	hub     *aws.Reporter
	changes map[string]bool // by action
}

// deliver tells of each incident once, as it is now, however many entries are about it.
func (r *reports) deliver(ctx context.Context, entries []ledger.Entry) (follow.Delivered, error) {
	var done follow.Delivered
	told := map[string]bool{}
	for _, e := range entries {
		outcome, err := r.outcome(ctx, e.Incident)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return done, err
		}
		if id := outcome.Incident.ID; err == nil && !told[id] {
			records, err := r.hub.Report(ctx, outcome)
			done.Records = append(done.Records, records...)
			if err != nil {
				return done, fmt.Errorf("report incident %s: %w", id, err)
			}
			told[id] = true
		}
		done.Count++
	}
	return done, nil
}

// outcome reads an incident, or the one that it was merged into, with what belongs to it.
func (r *reports) outcome(ctx context.Context, id string) (aws.Outcome, error) {
	var o aws.Outcome
	if id == "" {
		return o, fault.New(fault.NotFound, "it is about no incident")
	}
	for range mostMerges {
		var err error
		if o.Incident, err = r.store.Incident(ctx, id); err != nil {
			return o, err
		}
		if o.Incident.State != incident.Merged {
			break
		}
		id = o.Incident.MergedInto
	}
	for cursor := ""; len(o.Findings) < mostReported; {
		page, err := r.store.Findings(ctx, store.FindingFilter{Incident: id, Limit: 1000, Cursor: cursor})
		if err != nil {
			return o, err
		}
		for i := range page.Items {
			o.Findings = append(o.Findings, page.Items[i].Finding)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	runs, err := r.store.Runs(ctx, store.RunFilter{Incident: id, Limit: mostRuns})
	if err != nil {
		return o, err
	}
	o.Runs = runs.Items
	slices.SortFunc(o.Runs, func(a, b run.Run) int { return a.Created.Compare(b.Created) })
	var errs []error
	for i := range o.Runs {
		journal, err := r.store.Load(ctx, o.Runs[i].ID)
		for _, step := range journal.Steps {
			if step.State == run.Done && r.changes[step.Action] && step.Result != nil && step.Result.Changed {
				o.Done = append(o.Done, step)
			}
		}
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}
