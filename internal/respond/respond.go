// Package respond carries out runs: it plans, asks the guardrails and people, journals, applies, verifies,
// and takes back, so that a crash at any point loses nothing and repeats nothing that isn't safe to repeat.
//
// A run is advanced in legs, each from one wait to the next. Advance executes a leg:
// claim the run's journal, go through its steps, write down each intention before the world is touched and
// each outcome after, and end or park. docs/design/respond.md tells why.
package respond

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// Journal is where runs are kept.
type Journal interface {
	// Claim takes a run for a node to execute one leg of, and raises its fence. It returns a Conflict
	// where the run is no longer at that leg or is not ready.
	Claim(ctx context.Context, runID string, leg int64, node string) (run.Journal, error)
	Load(ctx context.Context, runID string) (run.Journal, error)
	// Write adds to the journal in one transaction. It returns a Conflict where another claimed the run
	// since, and a *run.CapReached where a cap is used up.
	Write(ctx context.Context, e run.Entry) error
}

// Rails is the state of the guardrails.
type Rails interface {
	// Standing gives the freezes in force and what no action may change.
	Standing(ctx context.Context) ([]guardrail.Freeze, []guardrail.Protection, error)
	// Used tells how much of a cap is used.
	Used(ctx context.Context, c run.Cap) (int, error)
}

// Starter executes legs, at least once each.
type Starter interface {
	Start(ctx context.Context, runID string, leg, fence int64) error
}

// Executor is what a Starter may be, too: it executes work soon, in this process alone. It returns false where
// too much waits already.
type Executor interface {
	Execute(work func(ctx context.Context) error) bool
}

// Announcer tells people that Riposte needs them.
type Announcer interface {
	Announce(ctx context.Context, n Notice) error
}

// Notice is what people are told outside of a playbook's own messages.
type Notice struct {
	Kind     string   // approval, escalation
	Channels []string // by name; none is the organisation's own
	OnCall   []string // rotations whose people it goes to
	Incident string
	Run      string
	Approval string
	Title    string
	Text     string
	Token    string
}

// Policy bounds what runs may do, above what their playbooks say.
type Policy struct {
	Ceiling run.Autonomy
	Limits  guardrail.Limits
	// GiveUp is how long a step that fails for passing reasons is tried again.
	GiveUp time.Duration
}

// Options are a Runner's parts.
type Options struct {
	Node      string
	Journal   Journal
	Rails     Rails
	Actions   []action.Action
	Announcer Announcer // nil tells nobody
	Policy    Policy
	Now       func() time.Time
	NewID     func() string
	Logger    *slog.Logger
	// Pause waits, or returns false when ctx ends first; nil waits by the system's clock.
	Pause func(ctx context.Context, d time.Duration) bool
	// Observe is told of every ended attempt of a step; nil is allowed.
	Observe func(Outcome)
}

// Outcome is one ended attempt of a step, for metrics.
type Outcome struct {
	Playbook string
	Action   string
	State    run.StepState
	Took     time.Duration
}

// Runner advances runs.
type Runner struct {
	Options
	actions map[string]action.Action
	starter Starter
	tracer  trace.Tracer

	answering sync.Mutex // held while an answer is checked and written

	mu     sync.Mutex
	active map[string]int64              // the latest leg of each run that this process is at
	parsed map[string]*playbook.Playbook // by hash
}

// New makes a runner. Connect must be called before the first leg is started.
func New(o Options) *Runner {
	r := &Runner{
		Options: o, actions: make(map[string]action.Action, len(o.Actions)), active: map[string]int64{},
		parsed: map[string]*playbook.Playbook{}, tracer: otel.Tracer("riposte/respond"),
	}
	for _, a := range o.Actions {
		r.actions[a.Spec().Name] = a
	}
	if r.Observe == nil {
		r.Observe = func(Outcome) {}
	}
	if r.Pause == nil {
		r.Pause = pause
	}
	if r.Policy.GiveUp == 0 {
		r.Policy.GiveUp = 24 * time.Hour
	}
	return r
}

// Connect gives the runner what starts its legs; the two need each other.
func (r *Runner) Connect(s Starter) { r.starter = s }

// fresh is for how long a journal in memory may wait for its leg to be executed. After it the run is claimed again.
const fresh = 5 * time.Second

// Begin executes the first leg of a run soon, which was decided as claimed by this node and whose journal is
// known. That the run is this node's is durable already, so nothing else is made durable first: after a crash
// it is found by that (Watch). Where too much waits here, the leg is started as others are.
func (r *Runner) Begin(ctx context.Context, j run.Journal) {
	runID, leg := j.Run.ID, j.Run.Leg
	here, ok := r.starter.(Executor)
	if !ok || !r.begin(runID, leg) {
		r.start(ctx, j.Run)
		return
	}
	waits := here.Execute(func(ctx context.Context) error {
		defer r.end(runID, leg)
		if r.Now().Sub(j.Run.Updated) > fresh {
			return r.carryOut(ctx, runID, leg, nil)
		}
		return r.carryOut(ctx, runID, leg, &j)
	})
	if !waits {
		r.end(runID, leg)
		r.start(ctx, j.Run)
	}
}

// Advance executes one leg of a run. It returns an error only where the leg should be executed again by
// whoever comes next: the process is ending. Whatever else goes wrong is part of the run's journal.
func (r *Runner) Advance(ctx context.Context, runID string, leg int64) error {
	if !r.begin(runID, leg) {
		return nil // this process is at it already
	}
	defer r.end(runID, leg)
	return r.carryOut(ctx, runID, leg, nil)
}

// carryOut executes a leg, with the journal where it is known, and again after errors of the store.
func (r *Runner) carryOut(ctx context.Context, runID string, leg int64, known *run.Journal) error {
	for attempt := 0; ; attempt++ {
		err := r.advance(ctx, runID, leg, known)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case fault.Is(err, fault.Conflict), fault.Is(err, fault.NotFound):
			r.Logger.InfoContext(ctx, "leg is no longer ours", "run", runID, "leg", leg, "err", err.Error())
			return nil
		}
		known = nil // what was written of it, if anything, is to be read
		r.Logger.ErrorContext(ctx, "leg interrupted, trying again", "run", runID, "leg", leg, "err", err.Error())
		if !r.Pause(ctx, backoff(200*time.Millisecond, attempt, 30*time.Second)) {
			return context.Cause(ctx)
		}
	}
}

func (r *Runner) advance(ctx context.Context, runID string, leg int64, known *run.Journal) error {
	if known == nil {
		claimed, err := r.Journal.Claim(ctx, runID, leg, r.Node)
		if err != nil {
			return err
		}
		known = &claimed
	}
	journal := *known
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": journal.Run.Trace})
	ctx, span := r.tracer.Start(ctx, "respond", trace.WithAttributes(
		attribute.String("run", runID), attribute.String("playbook", journal.Run.Playbook)))
	defer span.End()
	s := &session{Runner: r, journal: journal, run: journal.Run, finding: expr.ViewFinding(&journal.Finding)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run.Kind == run.Undo {
		return s.takeBack(ctx)
	}
	return s.play(ctx)
}

// begin notes that this process is at a leg. The leg before may still be telling people what it did.
func (r *Runner) begin(runID string, leg int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[runID] >= leg {
		return false
	}
	r.active[runID] = leg
	return true
}

func (r *Runner) end(runID string, leg int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[runID] == leg {
		delete(r.active, runID)
	}
}

// playbook gives the version of the playbook that a run keeps.
func (r *Runner) playbook(j run.Journal) (*playbook.Playbook, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.parsed[j.Run.Hash]; ok {
		return known, nil
	}
	parsed, err := playbook.Parse(j.Run.Playbook, j.Playbook)
	if err != nil {
		return nil, fmt.Errorf("read the version of %s that the run keeps: %w", j.Run.Playbook, err)
	}
	r.parsed[j.Run.Hash] = parsed
	return parsed, nil
}

// session is one leg being executed: the journal as it is, and what is to be added to it at the next write.
//
// Whoever works on it holds mu: branches that are carried out at once take turns, and let go of it (away) while
// they wait for the world.
type session struct {
	*Runner
	mu      sync.Mutex
	journal run.Journal
	run     run.Run
	finding map[string]any // as expressions see it
	added   run.Entry

	lost      error     // why nothing can be written any more
	owing     bool      // an outcome is noted that must be written before anything else is done
	deferring int       // branches are under way at once; what has to ask comes back for it
	waits     []waiting // what the run will wait for
	notices   []Notice  // what people are told once the run waits or ends
}

// away lets the other branches work on the session for as long as work takes. It must not touch it.
func (s *session) away(work func() error) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	return work()
}

// pause waits, or returns false when ctx ends first.
func (s *session) pause(ctx context.Context, d time.Duration) bool {
	return s.away(func() error {
		if !s.Pause(ctx, d) {
			return context.Cause(ctx)
		}
		return nil
	}) == nil
}

// note adds a step's state to the next write.
func (s *session) note(step run.Step, records ...record.Record) {
	for i, known := range s.journal.Steps {
		if known.Run == step.Run && known.ID == step.ID {
			step.Order = known.Order // it was begun then
			s.journal.Steps[i] = step
			s.keep(step, records)
			return
		}
	}
	step.Order = len(s.journal.Steps)
	s.journal.Steps = append(s.journal.Steps, step)
	s.keep(step, records)
}

func (s *session) keep(step run.Step, records []record.Record) {
	s.added.Records = append(s.added.Records, records...)
	for i, known := range s.added.Steps {
		if known.Run == step.Run && known.ID == step.ID {
			s.added.Steps[i] = step
			return
		}
	}
	s.added.Steps = append(s.added.Steps, step)
}

// step gives a step's state, fresh if it has none.
func (s *session) step(id string, of *playbook.Step) run.Step {
	for _, known := range s.journal.Steps {
		if known.Run == s.run.ID && known.ID == id {
			return known
		}
	}
	return run.Step{Run: s.run.ID, ID: id, Does: string(of.Does), Action: of.Action}
}

// write makes everything noted durable.
func (s *session) write(ctx context.Context) error {
	if s.lost != nil {
		return s.lost
	}
	s.run.Updated = s.Now()
	s.added.Run = s.run
	err := s.Journal.Write(ctx, s.added)
	if reached, ok := errors.AsType[*run.CapReached](err); ok {
		s.added.Effects, s.added.Caps = nil, nil
		return reached
	}
	if err != nil {
		s.lost = fmt.Errorf("write journal: %w", err) // whether it was written or not: the leg knows no longer
		return s.lost
	}
	s.added, s.owing = run.Entry{}, false
	return nil
}

// finish ends the run. Where it ended badly, people are told.
func (s *session) finish(ctx context.Context, state run.State, reason string) error {
	s.run.State, s.run.Reason, s.run.Ended, s.run.Wake = state, reason, s.Now(), time.Time{}
	s.supersede()
	s.record(record.RunEnded, "", map[string]any{"state": state, "reason": reason})
	bad := state == run.Failed || state == run.Blocked
	if bad {
		s.mark().Escalated = true
		s.record(record.IncidentEscalated, "", map[string]any{"why": reason})
	}
	if err := s.write(ctx); err != nil {
		return err
	}
	s.Logger.InfoContext(ctx, "run ended", "run", s.run.ID, "playbook", s.run.Playbook, "state", string(state), "reason", reason)
	told := false // of what went wrong
	for _, notice := range s.notices {
		if notice.Approval == "" { // nobody has to answer any more
			s.announce(ctx, notice)
			told = true
		}
	}
	if bad && !told {
		s.announce(ctx, Notice{
			Kind: "escalation", Title: fmt.Sprintf("Run of %s %s", s.run.Playbook, state), Text: reason, Token: s.run.ID,
		})
	}
	return nil
}

func (s *session) record(kind record.Kind, step string, body any) {
	s.added.Records = append(s.added.Records, s.entry(kind, record.System, step, body))
}

func (s *session) entry(kind record.Kind, actor, step string, body any) record.Record {
	return record.New(s.Now(), kind, actor, body).About(s.run.Incident, s.run.ID, step)
}

func (s *session) mark() *run.IncidentMark {
	if s.added.Incident == nil {
		s.added.Incident = &run.IncidentMark{}
	}
	return s.added.Incident
}

// announce tells people, as well as it can: what they are told about is in the journal in any case.
func (s *session) announce(ctx context.Context, n Notice) {
	if s.Announcer == nil {
		return
	}
	n.Incident, n.Run = s.run.Incident, s.run.ID
	if err := s.away(func() error { return s.Announcer.Announce(ctx, n) }); err != nil {
		s.Logger.ErrorContext(ctx, "notice not delivered", "run", s.run.ID, "kind", n.Kind, "err", err.Error())
	}
}

func backoff(first time.Duration, attempt int, most time.Duration) time.Duration {
	if attempt > 20 {
		return most
	}
	return min(first<<attempt, most)
}

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
