package respond_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/durable"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// long is a playbook with everything in it that a run can go through.
var long = book(run.Auto, `
limits: {per_hour: 10, distinct_targets: 10}
steps:
	- id: look
	  use: test.world.read_thing
	  with: {thing: lamp}
	- id: door
	  use: test.world.set_thing
	  with: {thing: door, to: shut}
	- id: say
	  use: test.world.tell_people
	  with: {message: "the door was {{ steps.door.was }}"}
	- id: never
	  if: steps.look.value == "shut"
	  use: test.world.break_thing
	  with: {thing: door}
	- id: sure
	  approve: {by: [incident_analyst], within: 20m, otherwise: escalate}
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: "not {{ steps.look.value }}"}
	- id: gate
	  use: test.world.set_thing
	  with: {thing: gate, to: shut}
	- id: lamp
	  use: test.world.break_thing
	  with: {thing: lamp}
`)

var errDied = errors.New("the process died")

// accident happens at one of the commits to a journal.
type accident struct {
	at      int  // which commit, counted from 1
	commits bool // it comes to pass, and only its answer is lost
	dies    bool // the process with it
	// remembers tells whether the durable engine knows after a death which legs it had begun, or whether they must
	// be found in the store.
	remembers bool
	count     int
	dead      bool
	die       func()
}

func (a *accident) String() string {
	what := map[bool]string{true: "lost answer", false: "failure"}[a.commits]
	if a.dies {
		what = map[bool]string{true: "death after", false: "death before"}[a.commits]
	}
	return fmt.Sprintf("%s at commit %d", what, a.at)
}

func (a *accident) around(commit func() error) error {
	if a.dead {
		return errDied
	}
	if a.count++; a.count != a.at {
		return commit()
	}
	if a.commits {
		if err := commit(); err != nil {
			return err
		}
	}
	if a.dies {
		a.dead = true
		a.die()
		return errDied
	}
	return fault.New(fault.Transient, "the store did not answer")
}

// shaky is a journal at which an accident happens.
type shaky struct {
	respond.Journal
	accident *accident
}

// Claim is of respond.Journal.
func (s *shaky) Claim(ctx context.Context, runID string, leg int64, node string) (j run.Journal, err error) {
	err = s.accident.around(func() error {
		j, err = s.Journal.Claim(ctx, runID, leg, node)
		return err
	})
	return j, err
}

// Write is of respond.Journal.
func (s *shaky) Write(ctx context.Context, e run.Entry) error {
	return s.accident.around(func() error { return s.Journal.Write(ctx, e) })
}

// outcome is what a story comes to, whatever happened on its way.
type outcome struct {
	World   map[string]string
	Written []actiontest.Written
	Told    []string
	Steps   []string
	Ended   map[string]int // by step, how many changes the ledger says were made
	Runs    int            // how many ends of runs the ledger has
	Effects int
}

// TestAccidentsAtEveryCommit lets a process die, and its store fail, at each commit of a long run and of its
// undoing, before and after it came to pass. A new process goes on. Nothing is done twice, nothing is lost.
func TestAccidentsAtEveryCommit(t *testing.T) {
	t.Parallel()
	disturb(t, live, func(o outcome) bool { return len(o.Written) == 7 && len(o.Told) == 1 }, 25)
}

// TestAccidentsInBranches does the same to a run with branches at once, loops, called playbooks and results that
// come later.
func TestAccidentsInBranches(t *testing.T) {
	t.Parallel()
	disturb(t, liveInBranches, func(o outcome) bool { return len(o.Written) == 8 && len(o.Told) == 3 }, 15)
}

// disturb tells a story undisturbed, which must be as it should, and once with each accident at each commit.
func disturb(t *testing.T, live func(*office, *accident) outcome, should func(outcome) bool, commits int) {
	t.Helper()
	want, count := undisturbed(t, live)
	if !should(want) || count < commits {
		t.Fatalf("the undisturbed story is not what it should be: %d commits, %+v", count, want)
	}
	for at := 1; at <= count; at++ {
		for _, a := range []accident{{}, {commits: true}, {dies: true}, {dies: true, commits: true}} {
			for _, remembers := range []bool{true, false} {
				if !remembers && !a.dies {
					continue
				}
				happens := a
				happens.at, happens.remembers = at, remembers
				disturbed(t, live, happens, want)
			}
		}
	}
}

// TestAccidentsOfWhatBeganAtOnce does the same to the first leg of a run that its node began with the decision:
// the durable engine knows nothing of it.
func TestAccidentsOfWhatBeganAtOnce(t *testing.T) {
	t.Parallel()
	usual, _ := undisturbed(t, live)
	want, commits := undisturbed(t, liveAtOnce)
	if diff := cmp.Diff(usual, want); diff != "" {
		t.Fatalf("a run that begins at once comes to something else (-usual +at once):\n%s", diff)
	}
	const first = 9 // commits of the first leg: the others are as above
	if commits < first {
		t.Fatalf("the story has %d commits", commits)
	}
	for at := 1; at <= first; at++ {
		for _, a := range []accident{{}, {commits: true}, {dies: true}, {dies: true, commits: true}} {
			a.at = at
			disturbed(t, liveAtOnce, a, want)
		}
	}
}

func undisturbed(t *testing.T, story func(*office, *accident) outcome) (want outcome, commits int) {
	t.Helper()
	calm := &accident{remembers: true}
	t.Run("none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { want = story(newOffice(t), calm) })
	})
	if t.Failed() {
		t.FailNow()
	}
	return want, calm.count
}

func disturbed(t *testing.T, story func(*office, *accident) outcome, a accident, want outcome) {
	t.Helper()
	t.Run(fmt.Sprintf("%s, legs remembered %t", a.String(), a.remembers), func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			if diff := cmp.Diff(want, story(newOffice(t), &a)); diff != "" {
				t.Errorf("it came to something else (-want +got):\n%s", diff)
			}
		})
	})
}

// live plays the long run and undoes it, with an accident on the way.
func live(o *office, a *accident) outcome {
	return (&process{office: o, accident: a}).live((*office).create)
}

// liveAtOnce does so with a run that begins at once.
func liveAtOnce(o *office, a *accident) outcome {
	return (&process{office: o, accident: a}).live((*office).resolve)
}

func (p *process) live(begin func(*office, string) string) outcome {
	o, a := p.office, p.accident
	o.Helper()
	p.start()
	for _, thing := range []string{"door", "window", "gate", "lamp"} {
		o.world.Before(actiontest.Applying, thing, -1, func(_ context.Context, c actiontest.Call) error {
			if !strings.Contains(o.recorded(c.Run), "action.intended "+c.Step) { //nolint:contextcheck // the story has its own
				o.Errorf("%s was applied before the ledger said so", c.Step)
			}
			return nil
		})
	}
	o.world.Before(actiontest.Applying, "gate", 1, actiontest.Do(func() { o.world.Put(account, "gate", "ajar") }))
	id := begin(o, long)
	p.finish(id)
	o.is(id, run.Succeeded)
	result := outcome{Effects: p.effects(id), Steps: states(o.journal(id))}
	undoing := p.undo(id)
	p.finish(undoing)
	o.is(undoing, run.Failed)
	o.reason(undoing, "1 of 4 changes were not undone") // the lamp is broken for good

	result.World, result.Written = o.world.Values(), o.world.Written()
	for i := range result.Written {
		result.Written[i].Run = "" // ids depend on how many were made
	}
	for _, message := range o.world.Told() {
		result.Told = append(result.Told, message.Text)
	}
	result.Steps = append(result.Steps, states(o.journal(undoing))...)
	result.Ended = map[string]int{}
	for _, kind := range []record.Kind{record.ActionEnded, record.UndoEnded} {
		for _, e := range append(o.entries(id, kind), o.entries(undoing, kind)...) {
			if containsAll(string(e.Body), `"state":"done"`) {
				result.Ended[strings.TrimPrefix(e.Step, id+"/")]++
			}
		}
	}
	result.Runs = len(o.entries(id, record.RunEnded)) + len(o.entries(undoing, record.RunEnded))
	if _, err := o.VerifyLedger(o.Context()); err != nil {
		o.Error(err)
	}
	if a.at > 0 && a.count < a.at {
		o.Errorf("the accident did not happen: %d commits", a.count)
	}
	return result
}

// branching is a playbook whose steps are carried out at once, again and again, by other playbooks, and later.
const branching = `
steps:
	- id: both
	  parallel:
		- {id: door, use: test.world.set_thing, with: {thing: door, to: shut}, for: 24h}
		- id: rest
		  steps:
			- {id: look, use: test.world.read_thing, with: {thing: window}}
			- {id: sure, approve: {}}
			- {id: window, call: helper, with: {thing: window, to: "not {{ steps.look.value }}"}}
	- id: each
	  foreach: {in: "['gate', 'lamp']", as: thing, at_most: 5, at_once: 2}
	  steps:
		- {id: shut, use: test.world.set_thing, with: {thing: "{{ vars.thing }}", to: shut}}
	- {id: key, use: test.world.order_thing, with: {thing: key}}
	- {id: say, use: test.world.tell_people, with: {message: "the key is {{ steps.key.value }}"}}
	- {id: no, use: test.world.set_thing, with: {thing: nothing, to: shut}, on_error: [{id: so, use: test.world.tell_people, with: {message: "{{ error.step }}"}}]}
`

// liveInBranches plays the branching run and undoes it, with an accident on the way.
func liveInBranches(o *office, a *accident) outcome {
	o.Helper()
	p := &process{office: o, accident: a}
	p.start()
	o.world.After(actiontest.Applying, "", -1, actiontest.Do(func() { o.world.Bring("key", "silver") }))
	id := o.create(calling(o, book(run.Auto, branching), fmt.Sprintf(helper, "auto")))
	p.finish(id)
	o.is(id, run.Succeeded)
	result := outcome{Effects: p.effects(id), Steps: states(o.journal(id))}
	undoing := p.undo(id)
	p.finish(undoing)
	o.is(undoing, run.Succeeded)
	time.Sleep(24 * time.Hour) // the door is not taken back once more
	for _, other := range o.runs(id) {
		p.finish(other)
	}

	result.World, result.Written = o.world.Values(), o.world.Written()
	for i := range result.Written {
		result.Written[i].Run = ""
	}
	slices.SortFunc(result.Written, func(a, b actiontest.Written) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for _, message := range o.world.Told() {
		result.Told = append(result.Told, message.Text)
	}
	slices.Sort(result.Steps)
	slices.Sort(result.Told)
	for _, other := range o.runs(id) {
		result.Runs += len(o.entries(other, record.RunEnded))
	}
	if got := o.world.Orders("key"); got != 1 {
		o.Errorf("ordered %d times", got)
	}
	if _, err := o.VerifyLedger(o.Context()); err != nil {
		o.Error(err)
	}
	if a.at > 0 && a.count < a.at {
		o.Errorf("the accident did not happen: %d commits", a.count)
	}
	return result
}

// runs gives the runs of a run's incident.
func (o *office) runs(id string) []string {
	o.Helper()
	all, err := o.RunsOfIncident(o.Context(), o.journal(id).Run.Incident)
	if err != nil {
		o.Fatal(err)
	}
	var ids []string
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	return ids
}

func states(j run.Journal) []string {
	var list []string
	for _, s := range j.Steps {
		changed := s.Result != nil && s.Result.Changed
		list = append(list, fmt.Sprintf("%s %s verified=%t changed=%t %s", s.ID[strings.IndexByte(s.ID, '/')+1:], s.State, s.Verified, changed, s.Error))
	}
	return list
}

// process is a process that may die.
type process struct {
	*office
	accident *accident
	ctx      context.Context // it is what the process lives for
}

func (p *process) start() {
	before := p.legs
	p.restart(func(o *respond.Options) { o.Journal = &shaky{p.Store, p.accident} })
	if p.accident.remembers {
		before.takeWork() // that nobody remembers
		p.legs = before
		p.runner.Connect(before)
	}
	ctx, cancel := context.WithCancelCause(p.Context())
	p.ctx, p.accident.dead, p.accident.die = ctx, false, func() { cancel(errDied) }
	context.AfterFunc(p.Context(), func() { cancel(nil) })
	left, err := p.ReadyOf(p.Context(), p.runner.Node, time.Now(), 100)
	if err != nil {
		p.Fatal(err)
	}
	p.wake(left)
}

func (p *process) wake(due []run.Run) {
	for _, r := range due {
		if err := p.runner.Wake(p.ctx, r); err != nil && !p.accident.dead && !fault.Is(err, fault.Transient) {
			p.Error(err)
		}
	}
}

// finish works, answers, and lets time go by until a run is over.
func (p *process) finish(id string) {
	p.Helper()
	for range 60 {
		if p.journal(id).Run.State.Final() {
			return
		}
		p.round(id)
		if p.accident.dead {
			p.start()
		}
	}
	p.Fatalf("run %s is still %s after an hour: %s", id, p.journal(id).Run.State, p.journal(id).Run.Reason)
}

func (p *process) round(id string) {
	for _, work := range p.legs.takeWork() {
		if err := work(p.ctx); err != nil {
			if !p.accident.dead {
				p.Errorf("work was given up by a process that lives: %v", err)
			}
			return
		}
	}
	for leg, more := p.legs.take(); more; leg, more = p.legs.take() {
		if err := p.runner.Advance(p.ctx, leg.Run, leg.Leg); err != nil {
			p.again(leg)
			return
		}
	}
	open, err := p.Approvals(p.Context(), store.ApprovalFilter{Run: id, Answer: run.Pending})
	if err != nil {
		p.Fatal(err)
	}
	for _, asked := range open {
		if _, err := p.runner.Decide(p.ctx, p.Store, respond.Answer{
			Approval: asked.ID, Hash: asked.Hash, Yes: true, By: "ann", Roles: []string{"incident_analyst"},
		}); err != nil && !p.accident.dead && !fault.Is(err, fault.Transient) {
			p.Error(err)
		}
	}
	if p.accident.dead {
		return
	}
	time.Sleep(time.Minute)
	due, err := p.Due(p.Context(), time.Now(), 15*time.Second, 100)
	if err != nil {
		p.Fatal(err)
	}
	p.wake(due)
}

// again lets a leg be executed at the next start, as the durable engine does with one that didn't end.
func (p *process) again(leg durable.Leg) {
	if !p.accident.dead {
		p.Errorf("leg %v was given back by a process that lives", leg)
	}
	p.legs.mu.Lock()
	defer p.legs.mu.Unlock()
	p.legs.waiting = append([]durable.Leg{leg}, p.legs.waiting...)
}

func (p *process) undo(id string) string {
	p.Helper()
	undoing, err := p.runner.Undo(p.ctx, p.Store, p.journal(id).Run.Incident, run.Undoing{Runs: []string{id}, Force: true}, "ann")
	if err != nil {
		p.Fatal(err)
	}
	return undoing.ID
}

func (p *process) effects(id string) int {
	p.Helper()
	effects, err := p.Effects(p.Context(), store.EffectFilter{Run: id})
	if err != nil {
		p.Fatal(err)
	}
	count := 0
	for _, e := range effects {
		if !e.Undone {
			count++
		}
	}
	return count
}

// TestEndOfAProcessGivesTheLegBack: whoever stops a process in the middle of a step loses nothing.
func TestEndOfAProcessGivesTheLegBack(t *testing.T) {
	for _, phase := range []actiontest.Phase{actiontest.Planning, actiontest.Applying, actiontest.Verifying} {
		t.Run(string(phase), func(t *testing.T) {
			story(t, func(o *office) {
				stopped := errors.New("the operator stops it")
				ctx, cancel := context.WithCancelCause(o.Context())
				o.world.Before(phase, "door", 1, func(ctx context.Context, _ actiontest.Call) error {
					cancel(stopped)
					return actiontest.Hang(ctx, actiontest.Call{})
				})
				id := o.create(book(run.Auto, shut))
				if err := o.runner.Advance(ctx, id, 1); !errors.Is(err, stopped) {
					o.Errorf("got %v, want %v", err, stopped)
				}
				o.is(id, run.Ready)
				if got := o.recorded(id); strings.Contains(got, ".ended") {
					o.Errorf("the ledger says that something ended: %s", got)
				}
				o.restart()
				if err := o.runner.Advance(o.Context(), id, 1); err != nil {
					o.Fatal(err)
				}
				o.is(id, run.Succeeded, "door=done")
				if got := o.world.Written(); len(got) != 1 {
					o.Errorf("written %v, want once", got)
				}
			})
		})
	}
}
