package playcase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/triage"
)

// start is the time at which tests begin, unless their events are later.
var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

const (
	// mostRounds bounds how often a run is woken.
	mostRounds = 20_000
	// longest bounds the virtual time that a test takes.
	longest = 400 * 24 * time.Hour
	// stale is how long a run is left to a process that died.
	stale = 15 * time.Second
)

var errDied = errors.New("the process died")

// accident is the death of the process at a commit, before or after it comes to pass.
type accident struct {
	at    int // which commit, from 1; 0 for none
	after bool
}

// String says when it happens.
func (a accident) String() string {
	if a.after {
		return fmt.Sprintf("after commit %d", a.at)
	}
	return fmt.Sprintf("before commit %d", a.at)
}

// theatre is where the tests of one playbook are played, one after the other.
type theatre struct {
	runner *respond.Runner
	now    time.Time
	mu     sync.Mutex

	account *account
	journal *journal
	legs    []leg
	ids     int
	commits int
	happens accident
	alive   context.Context //nolint:containedctx // what the process lives for, which a test ends
	die     context.CancelCauseFunc
}

type leg struct {
	run string
	leg int64
}

func newTheatre(actions []action.Action) *theatre {
	t := &theatre{}
	t.runner = respond.New(respond.Options{
		Node: "test", Actions: emulated(actions, func() *account { return t.account }), Announcer: t,
		Now: t.clock, NewID: t.newID, Pause: t.pause, Logger: slog.New(slog.DiscardHandler),
	})
	t.runner.Connect(t)
	return t
}

// clock is the time of the story.
func (t *theatre) clock() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

func (t *theatre) goOn(to time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to.After(t.now) {
		t.now = to
	}
}

// pause lets time go by at once.
func (t *theatre) pause(ctx context.Context, d time.Duration) bool {
	t.goOn(t.clock().Add(d))
	return ctx.Err() == nil
}

func (t *theatre) newID() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ids++
	return fmt.Sprintf("id-%06d", t.ids)
}

// Start is of respond.Starter.
func (t *theatre) Start(_ context.Context, runID string, n, _ int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.legs = append(t.legs, leg{runID, n})
	return nil
}

func (t *theatre) take() (leg, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.legs) == 0 {
		return leg{}, false
	}
	first := t.legs[0]
	t.legs = t.legs[1:]
	return first, true
}

// Announce is of respond.Announcer.
func (t *theatre) Announce(_ context.Context, n respond.Notice) error {
	m := message{kind: n.Kind, channel: strings.Join(n.Channels, ", "), onCall: strings.Join(n.OnCall, ", "), text: n.Title + "\n" + n.Text}
	t.account.mu.Lock()
	defer t.account.mu.Unlock()
	t.account.noticed = append(t.account.noticed, m)
	return nil
}

// around makes a commit, or lets the process die at it.
func (t *theatre) around(commit func() error) error {
	if t.alive.Err() != nil {
		return errDied
	}
	t.commits++
	dies := t.commits == t.happens.at
	if dies && !t.happens.after {
		t.die(errDied)
		return errDied
	}
	if err := commit(); err != nil {
		return err
	}
	t.account.committed()
	if dies {
		t.die(errDied)
		return errDied
	}
	return nil
}

// live begins a process.
func (t *theatre) live(ctx context.Context) {
	t.alive, t.die = context.WithCancelCause(ctx)
}

// outcome is what a telling came to.
type outcome struct {
	started bool
	why     string // it did not start
	subject string

	run     run.Run
	steps   []run.Step
	asks    []run.Approval
	notices []message
	calls   []call
	told    []message
	before  map[thing]string
	after   map[thing]string
	undo    run.Run
	undone  map[thing]string
	undoing []run.Step
	wrong   []string // what of the script could not be played
	commits int
}

// tell plays a test once.
func (t *theatre) tell(ctx context.Context, test *held, f finding.Finding, happens accident) (*outcome, error) {
	t.now, t.legs, t.ids, t.commits, t.happens = start, nil, 0, 0, happens
	if !f.LastSeen.IsZero() {
		t.goOn(f.LastSeen.Add(time.Minute))
	}
	t.account = newAccount(test, t.clock)
	t.live(ctx)
	defer func() { t.die(nil) }()
	got := &outcome{before: t.account.state()}
	d := t.decide(ctx, test, f, got)
	if !got.started {
		return got, nil
	}
	t.journal = newJournal(d, t.clock)
	t.journal.around, t.journal.protections = t.around, test.protections(t.now)
	ceiling := run.Auto
	if test.Ceiling != "" {
		ceiling = run.Autonomy(test.Ceiling)
	}
	t.runner.Journal, t.runner.Rails, t.runner.Policy.Ceiling = t.journal, t.journal, ceiling

	script := &script{left: slices.Clone(test.Approvals)}
	id := d.Runs[0].ID
	if err := t.Start(ctx, id, 1, 0); err != nil {
		return got, err
	}
	if err := t.finish(ctx, id, script); err != nil {
		return got, err
	}
	t.collect(id, got)
	got.wrong = script.wrong
	for _, a := range script.left {
		got.wrong = append(got.wrong, fmt.Sprintf("approvals: %s was never asked about %s, or not that often", a.By, a.Step))
	}
	var err error
	if len(got.calls) > 0 || !maps.Equal(got.before, got.after) {
		err = t.undo(ctx, id, got)
	}
	got.commits = t.commits
	return got, err
}

// decide lets triage decide what becomes of a finding. It notes what it is about, or why nothing starts.
func (t *theatre) decide(ctx context.Context, test *held, f finding.Finding, got *outcome) run.Decision {
	ceiling := run.Auto
	if test.Ceiling != "" {
		ceiling = run.Autonomy(test.Ceiling)
	}
	policy := triage.Policy{Playbooks: []*playbook.Playbook{test.book}, Ceiling: ceiling, Window: time.Hour}
	d, news := triage.Decide(ctx, f, triage.Known{}, policy, t.clock(), t.newID)
	if !news || len(d.Runs) == 0 {
		got.why = why(ctx, test.book, f, d)
		return d
	}
	if test.Autonomy != "" {
		d.Runs[0].Autonomy = run.Least(run.Autonomy(test.Autonomy), ceiling)
	}
	got.started, got.subject = true, d.Runs[0].Subject
	return d
}

// why says why a playbook doesn't answer a finding.
func why(_ context.Context, book *playbook.Playbook, f finding.Finding, d run.Decision) string {
	if !slices.ContainsFunc(book.Findings, func(pattern string) bool { return guardrail.Glob(pattern, f.Type) }) {
		return fmt.Sprintf("the type %s is none of %s", f.Type, strings.Join(book.Findings, ", "))
	}
	for _, r := range d.Records {
		if strings.Contains(string(r.Body), `"why"`) {
			return "on.if: " + string(r.Body)
		}
	}
	return "on.if is false"
}

// finish plays a run to its end, or until nothing more would ever happen.
func (t *theatre) finish(ctx context.Context, id string, script *script) error {
	until := t.clock().Add(longest)
	for range mostRounds {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if t.alive.Err() != nil {
			if err := t.revive(ctx); err != nil {
				return err
			}
		}
		if next, more := t.take(); more {
			err := t.runner.Advance(t.alive, next.run, next.leg)
			if err != nil && t.alive.Err() == nil {
				return err //nolint:wrapcheck // it says what went wrong
			}
			continue
		}
		now := t.journal.run(id)
		if now.State.Final() || now.State == run.Ready && t.alive.Err() == nil {
			return nil
		}
		if t.alive.Err() != nil {
			continue
		}
		wake, answers := now.Wake, script.due(t.journal.open(id))
		if answers != nil && (wake.IsZero() || !answers.at.After(wake)) {
			t.goOn(answers.at)
			t.answer(script, answers)
			continue
		}
		if wake.IsZero() || wake.After(until) {
			return nil
		}
		t.goOn(wake)
		if err := t.runner.Wake(t.alive, now); err != nil && t.alive.Err() == nil {
			return err //nolint:wrapcheck // it says what went wrong
		}
	}
	return nil
}

// revive begins a new process, which finds what the one before left.
func (t *theatre) revive(ctx context.Context) error {
	t.account.died()
	t.live(ctx)
	t.mu.Lock()
	t.legs = nil
	t.mu.Unlock()
	t.goOn(t.clock().Add(stale))
	runs, err := t.journal.RunsOfIncident(ctx, "")
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.State == run.Ready {
			if err := t.runner.Wake(t.alive, r); err != nil {
				return err //nolint:wrapcheck // it says what went wrong
			}
		}
	}
	return nil
}

// script is what people answer.
type script struct {
	left  []approval
	wrong []string
}

// due is an answer whose question is asked.
type due struct {
	approval
	asked run.Approval
	at    time.Time
}

// due gives the next answer, if its question is open.
func (s *script) due(open []run.Approval) *due {
	if len(s.left) == 0 {
		return nil
	}
	for _, asked := range open {
		if plays(s.left[0].Step, asked.Step) {
			return &due{s.left[0], asked, asked.Asked.Add(s.left[0].After)}
		}
	}
	return nil
}

// answer gives an answer to its question. Where the process dies at that, it may have been taken or not.
func (t *theatre) answer(s *script, d *due) {
	roles := d.Roles
	if len(roles) == 0 && d.Refused == "" {
		roles = d.asked.Roles[:1]
	}
	_, err := t.runner.Decide(t.alive, t.journal, respond.Answer{
		Approval: d.asked.ID, Hash: d.asked.Hash, Yes: bool(d.Answer), By: d.By, Roles: roles, Reason: d.Reason,
	})
	if t.alive.Err() != nil {
		now, lookErr := t.journal.Approval(context.WithoutCancel(t.alive), d.asked.ID)
		taken := lookErr == nil && (now.Answer != run.Pending || len(now.Votes) > len(d.asked.Votes))
		if taken {
			s.left = s.left[1:]
		}
		return
	}
	s.left = s.left[1:]
	switch {
	case err != nil && d.Refused == "":
		s.wrong = append(s.wrong, fmt.Sprintf("approvals: the answer of %s to %s was not taken: %v", d.By, d.Step, err))
	case err == nil && d.Refused != "":
		s.wrong = append(s.wrong, fmt.Sprintf("approvals: the answer of %s to %s was taken; it should be refused: %s", d.By, d.Step, d.Refused))
	case err != nil && !strings.Contains(err.Error(), d.Refused):
		s.wrong = append(s.wrong, fmt.Sprintf("approvals: the answer of %s to %s was refused: %v; want %q in it", d.By, d.Step, err, d.Refused))
	}
}

// collect notes what a run came to.
func (t *theatre) collect(id string, got *outcome) {
	j := t.journal
	j.mu.Lock()
	for _, s := range j.steps {
		if s.Run == id {
			got.steps = append(got.steps, s)
		}
	}
	got.asks = slices.Clone(j.approvals)
	j.mu.Unlock()
	slices.SortStableFunc(got.steps, func(a, b run.Step) int { return a.Order - b.Order })
	got.run = j.run(id)
	got.after = t.account.state()
	got.calls, got.told, got.notices = slices.Clone(t.account.calls), slices.Clone(t.account.told), slices.Clone(t.account.noticed)
}

// undo takes back what the run did.
func (t *theatre) undo(ctx context.Context, id string, got *outcome) error {
	var undo run.Run
	for {
		var err error
		undo, err = t.runner.Undo(t.alive, t.journal, got.run.Incident, run.Undoing{Runs: []string{id}}, "test")
		if err == nil {
			break
		}
		if t.alive.Err() == nil {
			if fault.Is(err, fault.Conflict) {
				got.undo = run.Run{State: run.Failed, Reason: err.Error()}
				return nil
			}
			return err //nolint:wrapcheck // it says what went wrong
		}
		if err := t.revive(ctx); err != nil {
			return err
		}
	}
	if err := t.finish(ctx, undo.ID, &script{}); err != nil {
		return err
	}
	got.undo, got.undone = t.journal.run(undo.ID), t.account.state()
	t.journal.mu.Lock()
	defer t.journal.mu.Unlock()
	for _, s := range t.journal.steps {
		if s.Run == undo.ID {
			got.undoing = append(got.undoing, s)
		}
	}
	return nil
}

// calling gives a playbook that calls another with inputs, so that it can be started.
func calling(book *playbook.Playbook, all []*playbook.Playbook, inputs map[string]any) (*playbook.Playbook, error) {
	text := fmt.Sprintf("playbook: test-of-%.50s\nsummary: Calls it.\nautonomy: auto\non: {findings: [test]}\nsteps:\n  - id: call\n    call: %s\n",
		book.Name, book.Name)
	if len(inputs) > 0 {
		encoded, err := json.Marshal(inputs) // which is YAML, too
		if err != nil {
			return nil, fmt.Errorf("encode inputs: %w", err)
		}
		text += "    with: " + string(encoded) + "\n"
	}
	caller, err := playbook.Parse("inputs of the test", []byte(text))
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the place
	}
	return caller, playbook.Link(append([]*playbook.Playbook{caller}, all...)) //nolint:wrapcheck // it names the place
}
