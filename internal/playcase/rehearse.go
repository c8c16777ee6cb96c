package playcase

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/triage"
)

// Rehearsing is what a rehearsal needs: a playbook, what was found, and how the world can be looked at.
type Rehearsing struct {
	Playbook *playbook.Playbook
	Finding  finding.Finding
	Incident *incident.Incident // nil: the finding's own
	Actions  []action.Action    // they plan; none is applied
	Rails    respond.Rails
	Policy   respond.Policy
	Now      func() time.Time
	Logger   *slog.Logger
}

// Rehearsal is what a playbook would do now.
type Rehearsal struct {
	Playbook string       `json:"playbook"`
	Hash     string       `json:"hash"`
	Autonomy run.Autonomy `json:"autonomy" doc:"the playbook's, bounded by the organisation's ceiling"`
	Finding  string       `json:"finding" doc:"its type"`
	Title    string       `json:"title"`
	Starts   bool         `json:"starts" doc:"whether the playbook answers the finding"`
	Why      string       `json:"why,omitempty" doc:"it doesn't answer it, or nothing more can be known"`
	Subject  string       `json:"subject,omitempty" doc:"what the run would be about"`
	Steps    []Rehearsed  `json:"steps"`
}

// Rehearsed is what one step would do now.
type Rehearsed struct {
	Step       string             `json:"step"`
	Does       string             `json:"does"`
	Action     string             `json:"action,omitempty"`
	Would      string             `json:"would" doc:"read, change, tell, ask, wait, skip, go on; unknown where it can't be known yet"`
	Plan       *action.Change     `json:"plan,omitempty"`
	Hash       string             `json:"hash,omitempty" doc:"of the plan, as an approval has it"`
	Verdict    *guardrail.Verdict `json:"verdict,omitempty" doc:"what the guardrails say of the plan now"`
	Asks       *Asked             `json:"asks,omitempty" doc:"who would be asked"`
	Outputs    map[string]any     `json:"outputs,omitempty" doc:"of what it read"`
	Unknown    string             `json:"unknown,omitempty" doc:"why more can't be known yet"`
	Reversible bool               `json:"reversible,omitempty" doc:"the change can be undone"`
}

// Asked is who answers a question, and how long there is.
type Asked struct {
	Roles     []string      `json:"roles"`
	Quorum    int           `json:"quorum"`
	Within    string        `json:"within,omitempty"`
	Otherwise run.Otherwise `json:"otherwise"`
}

// Rehearse lets the runner carry out a playbook that may only observe, in memory, and tells what it would do. The
// actions plan with what they see of the world; none is applied, nobody is told, nothing is kept.
func Rehearse(ctx context.Context, o Rehearsing) (Rehearsal, error) {
	r := &rehearsal{Rehearsing: o}
	told := Rehearsal{
		Playbook: o.Playbook.Name, Hash: o.Playbook.Hash, Autonomy: run.Least(o.Playbook.Autonomy, o.Policy.Ceiling),
		Finding: o.Finding.Type, Title: o.Finding.Title, Steps: []Rehearsed{},
	}
	policy := triage.Policy{Playbooks: []*playbook.Playbook{o.Playbook}, Ceiling: run.Observe, Window: time.Hour}
	known := triage.Known{}
	if o.Incident != nil {
		known.Candidates, known.Incident = []incident.Incident{*o.Incident}, o.Incident.ID
	}
	fresh := o.Finding
	fresh.ID, fresh.Resolved = "", false
	d, _ := triage.Decide(ctx, fresh, known, policy, o.Now(), r.newID)
	if len(d.Runs) == 0 {
		told.Why = why(ctx, o.Playbook, o.Finding, d)
		return told, nil
	}
	told.Starts, told.Subject = true, d.Runs[0].Subject
	r.journal = newJournal(d, r.now)
	r.journal.around = func(commit func() error) error { return commit() }
	id := d.Runs[0].ID
	stuck, err := r.play(ctx, id)
	if err != nil {
		return told, err
	}
	now := r.journal.run(id)
	if now.State == run.Failed || now.State == run.Blocked {
		stuck = now.Reason
	}
	told.Why = stuck
	return told, r.tell(ctx, id, stuck, &told)
}

// rehearsal is one being played.
type rehearsal struct {
	Rehearsing
	journal *journal

	mu   sync.Mutex
	legs []leg
	ids  int
	skip time.Duration // waits that were passed over
}

func (r *rehearsal) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Now().Add(r.skip)
}

func (r *rehearsal) newID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids++
	return fmt.Sprintf("rehearsal-%d", r.ids)
}

// Start is of respond.Starter.
func (r *rehearsal) Start(_ context.Context, runID string, n, _ int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.legs = append(r.legs, leg{runID, n})
	return nil
}

// onlyPlans is an action that is never applied. What it could do beyond that isn't there.
type onlyPlans struct{ of action.Action }

// Spec is of action.Action.
func (p onlyPlans) Spec() action.Spec { return p.of.Spec() }

// Plan is of action.Action.
func (p onlyPlans) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return p.of.Plan(ctx, in) //nolint:wrapcheck // it is the action's
}

// Apply is of action.Action. Messages pass and aren't sent; a runner that observes applies no change.
func (p onlyPlans) Apply(context.Context, action.Change) (action.Result, error) {
	spec := p.of.Spec()
	if spec.Effect.Changes() {
		return action.Result{}, fault.New(fault.Internal, "a rehearsal must not apply %s", spec.Name)
	}
	outputs := make(map[string]any, len(spec.Outputs))
	for _, o := range spec.Outputs {
		outputs[o.Name] = nothing(o.Type)
	}
	return action.Result{Outputs: outputs}, nil
}

// play lets the runner go as far as it can. It tells why it can't go on, "" where it came to the end.
func (r *rehearsal) play(ctx context.Context, id string) (stuck string, err error) {
	actions := make([]action.Action, 0, len(r.Actions))
	for _, a := range r.Actions {
		actions = append(actions, onlyPlans{a})
	}
	runner := respond.New(respond.Options{
		Node: "rehearsal", Journal: r.journal, Rails: r.Rails, Actions: actions, Policy: respond.Policy{Ceiling: run.Observe},
		Now: r.now, NewID: r.newID, Logger: r.Logger,
	})
	runner.Connect(r)
	r.legs = []leg{{id, 1}}
	for range mostRounds {
		for len(r.legs) > 0 {
			next := r.legs[0]
			r.legs = r.legs[1:]
			if err := runner.Advance(ctx, next.run, next.leg); err != nil {
				return "", err //nolint:wrapcheck // it says what went wrong
			}
		}
		now := r.journal.run(id)
		if now.State.Final() {
			return "", nil
		}
		if now.Wake.IsZero() || now.State == run.Held || r.looks() {
			return now.Reason, nil
		}
		r.mu.Lock()
		r.skip += now.Wake.Sub(r.Now().Add(r.skip))
		r.mu.Unlock()
		if err := runner.Wake(ctx, now); err != nil {
			return "", err //nolint:wrapcheck // it says what went wrong
		}
	}
	return "it goes on for too long", nil
}

// looks reports whether a step waits until the world is otherwise.
func (r *rehearsal) looks() bool {
	return slices.ContainsFunc(r.journal.steps, func(s run.Step) bool {
		step, _ := locate(r.Playbook, s.ID)
		return s.State == run.Begun && step != nil && step.Wait != nil && step.Wait.Until != nil
	})
}

// locate finds a step of a run in the playbook, and the playbooks on the way to it, its own last.
func locate(book *playbook.Playbook, id string) (*playbook.Step, []*playbook.Playbook) {
	books := []*playbook.Playbook{book}
	var step *playbook.Step
	for part := range strings.SplitSeq(id, "/") {
		name, _, _ := strings.Cut(part, "[")
		own := books[len(books)-1]
		p, is := within(own.Steps, name, "")
		if !is {
			if p, is = within(own.Finally, name, ""); !is {
				return nil, books
			}
		}
		if step = p.step; step.Calls != nil {
			books = append(books, step.Calls)
		}
	}
	if step != nil && step.Calls != nil {
		books = books[:len(books)-1]
	}
	return step, books
}

// tell describes the steps of the run, and those that it did not come to.
func (r *rehearsal) tell(ctx context.Context, id, stuck string, told *Rehearsal) error {
	freezes, protections, err := r.Rails.Standing(ctx)
	if err != nil {
		return err //nolint:wrapcheck // the store's errors say what failed
	}
	seen := map[string]bool{}
	for _, s := range r.journal.steps {
		if s.Run != id {
			continue
		}
		seen[plain(s.ID)] = true
		one, err := r.step(ctx, s, freezes, protections)
		if err != nil {
			return err
		}
		told.Steps = append(told.Steps, one)
	}
	if stuck == "" {
		return nil
	}
	r.Playbook.Walk(func(step *playbook.Step) {
		if !seen[step.ID] {
			seen[step.ID] = true
			told.Steps = append(told.Steps, Rehearsed{
				Step: step.ID, Does: string(step.Does), Action: step.Action, Would: "unknown", Unknown: "it comes after what can't be known: " + stuck,
			})
		}
	})
	return nil
}

// step describes one step.
func (r *rehearsal) step(ctx context.Context, s run.Step, freezes []guardrail.Freeze, protections []guardrail.Protection) (Rehearsed, error) {
	one := Rehearsed{Step: s.ID, Does: s.Does, Action: s.Action, Would: "go on", Plan: s.Change, Unknown: s.Error}
	step, books := locate(r.Playbook, s.ID)
	do := slices.IndexFunc(r.Actions, func(a action.Action) bool { return a.Spec().Name == s.Action })
	switch {
	case s.State == run.Skipped:
		one.Would = "skip"
	case s.State == run.Broken && s.Change == nil, s.State == "":
		one.Would = "unknown"
	case step != nil && step.Approve != nil:
		one.Would, one.Asks = "ask", asks(*step.Approve)
	case step != nil && step.Wait != nil:
		one.Would, one.Outputs = "wait", s.Outputs
	case do < 0 || step == nil:
	case s.Change == nil:
		one.Would, one.Outputs = "read", s.Outputs
	case !r.Actions[do].Spec().Effect.Changes():
		one.Would = "tell"
	default:
		one.Would = "change"
		_, one.Reversible = r.Actions[do].(action.Undoer)
		verdict, err := r.verdict(ctx, books, r.Actions[do].Spec(), *s.Change, freezes, protections)
		if err != nil {
			return one, err
		}
		one.Verdict, one.Hash = &verdict, s.Change.Hash()
		if verdict.Outcome == guardrail.Ask {
			one.Asks = asks(books[len(books)-1].Asks(step))
		}
	}
	return one, nil
}

func asks(who playbook.Approve) *Asked {
	a := &Asked{Roles: who.By, Quorum: max(who.Quorum, 1), Otherwise: who.Otherwise}
	if len(a.Roles) == 0 {
		a.Roles = []string{"incident_analyst"}
	}
	if who.Within > 0 {
		a.Within = who.Within.String()
	}
	return a
}

// verdict is what the guardrails would say of a change of a run with the autonomy that it really has.
func (r *rehearsal) verdict(ctx context.Context, books []*playbook.Playbook, spec action.Spec, change action.Change,
	freezes []guardrail.Freeze, protections []guardrail.Protection,
) (guardrail.Verdict, error) {
	q := guardrail.Question{
		Now: r.Now(), Effect: spec.Effect, Change: change, Playbook: r.Playbook.Name, Autonomy: r.Policy.Ceiling, Destroys: true,
		Freezes: freezes, Protections: protections,
	}
	for i, book := range books {
		q.Autonomy = run.Least(q.Autonomy, book.Autonomy)
		q.Destroys = q.Destroys && slices.Contains(book.Destroys, spec.Name)
		if i > 0 {
			q.Called = append(q.Called, book.Name)
		}
	}
	caps := respond.Caps(q.Now, "playbook "+r.Playbook.Name, r.Playbook.Name, r.Playbook.Limits, change)
	for _, c := range append(caps, respond.Caps(q.Now, "organisation", "", r.Policy.Limits, change)...) {
		used, err := r.Rails.Used(ctx, c)
		if err != nil {
			return guardrail.Verdict{}, err //nolint:wrapcheck // the store's errors say what failed
		}
		q.Budgets = append(q.Budgets, guardrail.Budget{Name: c.Name, Used: used, Most: c.Most})
	}
	return guardrail.Check(q), nil
}
