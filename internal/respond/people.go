package respond

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// Desk is what people's decisions need of the store.
type Desk interface {
	Approval(ctx context.Context, id string) (run.Approval, error)
	// CreateRun keeps a run that a person started.
	CreateRun(ctx context.Context, r run.Run, v run.Version, records ...record.Record) error
	// RunsOfIncident gives an incident's runs, newest first.
	RunsOfIncident(ctx context.Context, incident string) ([]run.Run, error)
}

// Answer is a person's answer to a question.
type Answer struct {
	Approval string
	Hash     string // of the plans the person saw; an answer to other plans is refused
	Yes      bool
	By       string
	Roles    []string
	Reason   string
	// Via is the way it came, where that counts once: a link. "" otherwise.
	Via string
}

// Decide takes a person's answer and lets the run go on at once; a yes that isn't the last one needed is kept.
func (r *Runner) Decide(ctx context.Context, desk Desk, a Answer) (run.Approval, error) {
	asked, err := desk.Approval(ctx, a.Approval)
	if err != nil {
		return asked, err
	}
	if err := answerable(asked, a); err != nil {
		return asked, err
	}
	if err := r.parkedRun(ctx, asked.Run); err != nil {
		return asked, err
	}
	next, asked, err := r.answer(ctx, asked, a)
	if err != nil {
		return asked, err
	}
	if asked.Answer != run.Pending {
		r.start(ctx, next)
	}
	return asked, nil
}

// start starts a run's leg. What led to it is durable: where it can't be started now, the watch does later.
func (r *Runner) start(ctx context.Context, ready run.Run) {
	if err := r.starter.Start(ctx, ready.ID, ready.Leg, ready.Fence); err != nil {
		r.Logger.WarnContext(ctx, "leg starts later", "run", ready.ID, "leg", ready.Leg, "err", err.Error())
	}
}

// answer writes an answer down, if the question is still open then: of two that come at once the first counts.
func (r *Runner) answer(ctx context.Context, asked run.Approval, a Answer) (run.Run, run.Approval, error) {
	r.answering.Lock()
	defer r.answering.Unlock()
	journal, err := r.Journal.Load(ctx, asked.Run)
	if err != nil {
		return run.Run{}, asked, err
	}
	for _, known := range journal.Approvals {
		if known.ID == asked.ID {
			asked = known
		}
	}
	if err := answerable(asked, a); err != nil {
		return run.Run{}, asked, err
	}
	next := journal.Run
	if !parkedAt(next.State) {
		return next, asked, notWaiting(next)
	}
	next.Updated = r.Now()
	if r.vote(&asked, a); asked.Answer != run.Pending {
		next.State, next.Reason, next.Wake = run.Ready, "", time.Time{}
		next.Leg++
	}
	decided := record.New(r.Now(), record.ApprovalDecided, a.By, map[string]any{
		"approval": asked.ID, "hash": asked.Hash, "answer": asked.Answer, "reason": a.Reason, "via": a.Via,
		"yes": a.Yes, "votes": len(asked.Votes), "quorum": asked.Quorum,
	}).About(asked.Incident, asked.Run, asked.Step)
	return next, asked, r.Journal.Write(ctx, run.Entry{Run: next, Approvals: []run.Approval{asked}, Records: []record.Record{decided}})
}

// vote adds an answer to a question: a no decides it, so does the last yes that it needs.
func (r *Runner) vote(asked *run.Approval, a Answer) {
	if a.Yes {
		asked.Votes = append(slices.Clone(asked.Votes), run.Vote{By: a.By, Reason: a.Reason, Via: a.Via, At: r.Now()})
		if len(asked.Votes) < asked.Quorum {
			return
		}
	}
	asked.Answer, asked.By, asked.Reason, asked.Decided = run.Refused, a.By, a.Reason, r.Now()
	if a.Yes {
		asked.Answer = run.Approved
	}
	if len(asked.Votes) > 1 && a.Yes {
		names := make([]string, 0, len(asked.Votes))
		for _, vote := range asked.Votes {
			names = append(names, vote.By)
		}
		asked.By = strings.Join(names, ", ")
	}
}

// parkedRun waits for a run that is just about to wait for an answer.
func (r *Runner) parkedRun(ctx context.Context, runID string) error {
	for attempt := 0; ; attempt++ {
		journal, err := r.Journal.Load(ctx, runID)
		if err != nil || parkedAt(journal.Run.State) {
			return err
		}
		if journal.Run.State != run.Ready || attempt > 6 || !r.Pause(ctx, backoff(10*time.Millisecond, attempt, time.Second)) {
			return notWaiting(journal.Run)
		}
	}
}

// parkedAt reports whether a run takes an answer: it waits for one, or is held with its question open.
func parkedAt(s run.State) bool { return s == run.Waiting || s == run.Held }

func notWaiting(r run.Run) error {
	return fault.New(fault.Conflict, "run %s is %s, it does not wait for an answer; look again", r.ID, r.State)
}

func answerable(asked run.Approval, a Answer) error {
	if asked.Answer != run.Pending {
		return fault.New(fault.Conflict, "this question was answered already: %s by %s", asked.Answer, asked.By)
	}
	if a.Hash != "" && a.Hash != asked.Hash {
		return fault.New(fault.Conflict, "the plan is not the one you saw; look again")
	}
	if slices.ContainsFunc(asked.Barred, func(name string) bool { return question.OnePerson(name, a.By) }) {
		return fault.New(fault.Denied, "%s brought this question about and can't answer it; somebody else has to", a.By)
	}
	for _, vote := range asked.Votes {
		if a.Yes && (question.OnePerson(vote.By, a.By) || a.Via != "" && vote.Via == a.Via) {
			return fault.New(fault.Conflict, "%s has said yes already; %d different people have to", a.By, asked.Quorum)
		}
	}
	if slices.Contains(a.Roles, "admin") {
		return nil
	}
	for _, role := range a.Roles {
		if slices.Contains(asked.Roles, role) {
			return nil
		}
	}
	return fault.New(fault.Denied, "this question is for %s", strings.Join(asked.Roles, ", "))
}

// Undo starts a run that takes back what other runs applied: one step, whole runs, or all of an incident.
func (r *Runner) Undo(ctx context.Context, desk Desk, incidentID string, what run.Undoing, by string) (run.Run, error) {
	if len(what.Runs) == 0 {
		runs, err := desk.RunsOfIncident(ctx, incidentID)
		if err != nil {
			return run.Run{}, err
		}
		for _, other := range runs {
			if other.Kind == run.Playbook {
				what.Runs = append(what.Runs, other.ID)
			}
		}
	}
	if len(what.Runs) == 0 {
		return run.Run{}, fault.New(fault.NotFound, "incident %s has no runs to undo", incidentID)
	}
	first, err := r.Journal.Load(ctx, what.Runs[0])
	if err != nil {
		return run.Run{}, err
	}
	if what.Step != "" && !slices.ContainsFunc(first.Steps, func(s run.Step) bool { return s.ID == what.Step }) {
		return run.Run{}, fault.New(fault.NotFound, "run %s has no step %q", first.Run.ID, what.Step)
	}
	for _, target := range what.Runs {
		if err := r.stop(ctx, target, by); err != nil {
			return run.Run{}, err
		}
	}
	undo := run.Run{
		ID: r.NewID(), Kind: run.Undo, Incident: first.Run.Incident, Finding: first.Run.Finding, Playbook: first.Run.Playbook,
		Hash: first.Run.Hash, Subject: "undo " + r.NewID(), Autonomy: run.Auto, State: run.Ready, By: by,
		Created: r.Now(), Updated: r.Now(), Leg: 1, Undoes: &what,
	}
	begun := record.New(r.Now(), record.RunStarted, by, map[string]any{"kind": run.Undo, "undoes": what}).
		About(undo.Incident, undo.ID, "")
	version := run.Version{Name: first.Run.Playbook, Hash: first.Run.Hash, Text: first.Playbook}
	if err := desk.CreateRun(ctx, undo, version, begun); err != nil {
		return run.Run{}, err
	}
	r.start(ctx, undo)
	return undo, nil
}

// Conclude does to an incident's runs what closing it means: those that wait are cancelled and, where it
// was a false positive, what playbooks applied that say so is taken back. It gives the undoing run, nil if
// there is none.
func (r *Runner) Conclude(ctx context.Context, desk Desk, incidentID string, verdict incident.Verdict, by string) (*run.Run, error) {
	runs, err := desk.RunsOfIncident(ctx, incidentID)
	if err != nil {
		return nil, err
	}
	var retract []string
	for _, one := range runs {
		if one.Kind != run.Playbook {
			continue
		}
		if err := r.stop(ctx, one.ID, by); err != nil {
			return nil, err
		}
		journal, err := r.Journal.Load(ctx, one.ID)
		if err != nil {
			return nil, err
		}
		book, err := r.playbook(journal)
		if err != nil {
			return nil, err
		}
		if verdict == incident.FalsePositive && book.OnFalsePositive == playbook.UndoChanges && r.changed(journal) {
			retract = append(retract, one.ID)
		}
	}
	if len(retract) == 0 {
		return nil, nil //nolint:nilnil // nothing to take back
	}
	undo, err := r.Undo(ctx, desk, incidentID, run.Undoing{Runs: retract}, by)
	return &undo, err
}

// changed reports whether a run changed the world, or may have.
func (r *Runner) changed(j run.Journal) bool {
	return slices.ContainsFunc(j.Steps, func(s run.Step) bool {
		do, known := r.actions[s.Action]
		return known && do.Spec().Effect.Changes() && s.Change != nil && !s.Change.Noop &&
			(s.State == run.Done || s.State == run.Intended || s.State == run.Broken)
	})
}

// stop cancels a run that waits, so that it doesn't apply again what is about to be taken back. One that
// is being advanced right now can't be undone yet.
func (r *Runner) stop(ctx context.Context, runID, by string) error {
	journal, err := r.Journal.Load(ctx, runID)
	if err != nil {
		return err
	}
	stopped := journal.Run
	switch {
	case stopped.State.Final():
		return nil
	case stopped.State == run.Ready:
		return fault.WithHint(fault.New(fault.Conflict, "run %s is being carried out", runID), "freeze it, or try again in a moment")
	}
	return r.Cancel(ctx, journal, by, "undone by "+by)
}

// Cancel ends a run that waits.
func (r *Runner) Cancel(ctx context.Context, journal run.Journal, by, why string) error {
	s := &session{Runner: r, journal: journal, run: journal.Run}
	s.run.State, s.run.Reason, s.run.Ended, s.run.Updated, s.run.Wake = run.Cancelled, why, r.Now(), r.Now(), time.Time{}
	s.run.Leg++ // a leg under way finds that it is over
	s.supersede()
	s.added.Records = append(s.added.Records, s.entry(record.RunEnded, by, "", map[string]any{"state": run.Cancelled, "reason": why}))
	s.added.Run = s.run
	if err := r.Journal.Write(ctx, s.added); err != nil {
		return fmt.Errorf("cancel run %s: %w", s.run.ID, err)
	}
	return nil
}
