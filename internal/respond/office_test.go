package respond_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/durable"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

const account = "111111111111"

// office is where a story takes place: a world, a store and a runner, with a queue for its legs.
type office struct {
	testing.TB
	*store.Store
	world   *actiontest.World
	legs    *queue
	told    *told
	options respond.Options
	runner  *respond.Runner
	count   *counter
}

// counter makes ids that sort as they were made.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return fmt.Sprintf("id-%06d", c.n)
}

// queue is a Starter whose legs wait until the story executes them. Like the durable engine it takes a leg once.
type queue struct {
	mu      sync.Mutex
	known   map[durable.Leg]bool
	waiting []durable.Leg
	work    []func(context.Context) error // in memory alone
	full    bool
}

// Execute is of respond.Executor.
func (q *queue) Execute(work func(context.Context) error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.full {
		q.work = append(q.work, work)
	}
	return !q.full
}

// takeWork gives the work that waits, which is then forgotten.
func (q *queue) takeWork() []func(context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	work := q.work
	q.work = nil
	return work
}

// Start is of respond.Starter.
func (q *queue) Start(_ context.Context, runID string, leg, fence int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	started := durable.Leg{Run: runID, Leg: leg, Fence: fence}
	if !q.known[started] {
		q.known[started] = true
		q.waiting = append(q.waiting, started)
	}
	return nil
}

func (q *queue) take() (durable.Leg, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return durable.Leg{}, false
	}
	first := q.waiting[0]
	q.waiting = q.waiting[1:]
	return first, true
}

// told is an Announcer that remembers.
type told struct {
	mu      sync.Mutex
	notices []respond.Notice
}

// Announce is of respond.Announcer.
func (a *told) Announce(_ context.Context, n respond.Notice) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notices = append(a.notices, n)
	return nil
}

func (a *told) kinds() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var kinds []string
	for _, n := range a.notices {
		kinds = append(kinds, n.Kind)
	}
	return strings.Join(kinds, " ")
}

// story tells a story in a bubble of its own time.
func story(t *testing.T, tell func(o *office), changes ...func(*respond.Options)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { tell(newOffice(t, changes...)) })
}

func newOffice(tb testing.TB, changes ...func(*respond.Options)) *office {
	tb.Helper()
	s, err := store.Open(tb.Context(), filepath.Join(tb.TempDir(), "riposte.db"), store.Options{Key: key(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	world, ids := actiontest.New(), &counter{}
	for _, name := range []string{"door", "window", "gate", "lamp"} {
		world.Put(account, name, "open")
	}
	o := &office{TB: tb, Store: s, world: world, told: &told{}, count: ids}
	o.options = respond.Options{
		Node: "node-a", Journal: s, Rails: s, Actions: world.Actions(), Announcer: o.told,
		Policy: respond.Policy{Ceiling: run.Auto}, Now: time.Now, NewID: ids.next, Logger: slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&o.options)
	}
	o.restart()
	return o
}

// restart begins a new process: what was in memory is gone, what was started and not done is to be found again.
func (o *office) restart(changes ...func(*respond.Options)) {
	for _, change := range changes {
		change(&o.options)
	}
	o.legs = &queue{known: map[durable.Leg]bool{}}
	o.runner = respond.New(o.options)
	o.runner.Connect(o.legs)
}

var theKey = sync.OnceValues(func() (*ledger.Key, error) {
	text, err := ledger.GenerateKey("riposte.dev/ledger/test")
	if err != nil {
		return nil, err
	}
	return ledger.ParseKey(text)
})

func key(tb testing.TB) *ledger.Key {
	tb.Helper()
	k, err := theKey()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// book writes a playbook with a head like all others.
func book(autonomy run.Autonomy, rest string) string {
	head := "playbook: contain\nsummary: Contain it.\non: {findings: [\"rule:*\"]}\nautonomy: " + string(autonomy) + "\n"
	return head + strings.ReplaceAll(rest, "\t", "  ")
}

// decide keeps what triage would: a finding, its incident and a run of a playbook for it.
func (o *office) decide(text string) run.Decision {
	o.Helper()
	parsed, err := playbook.Parse("test.yaml", []byte(text))
	if err != nil {
		o.Fatal(err)
	}
	now, n := time.Now(), o.count.next()
	about := []entity.Entity{{Kind: entity.AccessKey, ID: "AKIA" + n, Account: account}}
	i := incident.Incident{
		ID: "inc-" + n, Title: "Somebody is in", State: incident.Open, Severity: finding.High, Account: account,
		FirstSeen: now, LastSeen: now, Opened: now, Updated: now, Findings: 1, Entities: about,
	}
	r := run.Run{
		ID: "run-" + n, Kind: run.Playbook, Incident: i.ID, Finding: "fin-" + n, Playbook: parsed.Name, Hash: parsed.Hash,
		Subject: "access_key=AKIA" + n, Autonomy: parsed.Autonomy, State: run.Ready, By: record.System, Created: now, Updated: now, Leg: 1,
	}
	return run.Decision{
		Finding: finding.Finding{
			ID: "fin-" + n, Fingerprint: "print-" + n, Product: finding.Riposte, Type: "rule:x", Title: "Somebody is in",
			Severity: finding.High, FirstSeen: now, LastSeen: now, Received: now, Count: 1, Account: account, Entities: about,
		},
		Incident: &i, Runs: []run.Run{r}, Versions: []run.Version{{Name: parsed.Name, Hash: parsed.Hash, Text: parsed.Text}},
		Records: []record.Record{record.New(now, record.RunStarted, record.System, nil).About(i.ID, r.ID, "")},
	}
}

// begin starts a run and executes its first leg.
func (o *office) begin(text string) string {
	o.Helper()
	id := o.create(text)
	o.work()
	return id
}

// create starts a run without executing anything.
func (o *office) create(text string) string {
	o.Helper()
	d := o.decide(text)
	if err := o.Update(o.Context(), func(tx *store.Tx) error { return tx.Save(o.Context(), d) }); err != nil {
		o.Fatal(err)
	}
	if err := o.legs.Start(o.Context(), d.Runs[0].ID, 1, 0); err != nil {
		o.Fatal(err)
	}
	return d.Runs[0].ID
}

// resolve starts a run as it is started when it is decided: claimed for the runner's node, its journal in memory.
func (o *office) resolve(text string) string {
	o.Helper()
	d := o.decide(text)
	var begun []run.Journal
	err := o.Update(o.Context(), func(tx *store.Tx) (err error) {
		tx.Begin(o.runner.Node)
		if err := tx.Save(o.Context(), d); err != nil {
			return err
		}
		begun, err = tx.Begun()
		return err
	})
	if err != nil || len(begun) != 1 {
		o.Fatalf("%d runs were begun, %v", len(begun), err)
	}
	o.runner.Begin(o.Context(), begun[0])
	return begun[0].Run.ID
}

// work executes the legs that were started.
func (o *office) work() {
	o.Helper()
	for _, work := range o.legs.takeWork() {
		if err := work(o.Context()); err != nil {
			o.Fatal(err)
		}
	}
	for leg, more := o.legs.take(); more; leg, more = o.legs.take() {
		if err := o.runner.Advance(o.Context(), leg.Run, leg.Leg); err != nil {
			o.Fatal(err)
		}
	}
}

// later lets time go by in the story, wakes what is due, as a Watch does, and executes it.
func (o *office) later(d time.Duration) {
	o.Helper()
	time.Sleep(d) // of the bubble
	due, err := o.Due(o.Context(), time.Now(), 15*time.Second, 100)
	if err != nil {
		o.Fatal(err)
	}
	for _, r := range due {
		if err := o.runner.Wake(o.Context(), r); err != nil {
			o.Fatal(err)
		}
	}
	o.work()
}

func (o *office) journal(id string) run.Journal {
	o.Helper()
	j, err := o.Load(o.Context(), id)
	if err != nil {
		o.Fatal(err)
	}
	return j
}

func (o *office) step(id, stepID string) run.Step {
	o.Helper()
	for _, s := range o.journal(id).Steps {
		if s.ID == stepID {
			return s
		}
	}
	o.Fatalf("run %s has no step %s", id, stepID)
	return run.Step{}
}

// is checks the state of a run, and of its steps where they are given as "id=state".
func (o *office) is(id string, want run.State, steps ...string) {
	o.Helper()
	j := o.journal(id)
	if j.Run.State != want {
		o.Errorf("run %s is %s (%s), want %s", id, j.Run.State, j.Run.Reason, want)
	}
	var states []string
	for _, s := range j.Steps {
		states = append(states, s.ID+"="+string(s.State))
	}
	if got, want := strings.Join(states, " "), strings.Join(steps, " "); len(steps) > 0 && got != want {
		o.Errorf("steps of run %s are %s, want %s", id, got, want)
	}
}

func (o *office) reason(id, part string) {
	o.Helper()
	if got := o.journal(id).Run.Reason; !strings.Contains(got, part) {
		o.Errorf("run %s: got the reason %q, want one with %q", id, got, part)
	}
}

// value checks a thing of the world.
func (o *office) value(thing, want string) {
	o.Helper()
	if got := o.world.Values()[account+"/"+thing]; got != want {
		o.Errorf("%s is %q, want %q", thing, got, want)
	}
}

// recorded gives the kinds of the ledger's entries about a run, shortly, with their steps.
func (o *office) recorded(id string) string {
	o.Helper()
	var kinds []string
	for _, e := range o.entries(id, "") {
		kinds = append(kinds, strings.TrimSpace(string(e.Kind)+" "+e.Step))
	}
	return strings.Join(kinds, ", ")
}

func (o *office) entries(id string, kind record.Kind) []ledger.Entry {
	o.Helper()
	entries, err := o.LedgerEntries(o.Context(), store.LedgerFilter{Run: id, Kind: kind, Limit: 1000})
	if err != nil {
		o.Fatal(err)
	}
	return entries
}

// pending gives the one question that is open.
func (o *office) pending(id string) run.Approval {
	o.Helper()
	open, err := o.Approvals(o.Context(), store.ApprovalFilter{Run: id, Answer: run.Pending})
	if err != nil || len(open) != 1 {
		o.Fatalf("%d questions are open, %v; want 1", len(open), err)
	}
	return open[0]
}

// answer answers the open question as somebody who may.
func (o *office) answer(id string, yes bool) run.Approval {
	o.Helper()
	asked := o.pending(id)
	decided, err := o.runner.Decide(o.Context(), o.Store, respond.Answer{
		Approval: asked.ID, Hash: asked.Hash, Yes: yes, By: "ann", Roles: []string{"incident_analyst"}, Reason: "because",
	})
	if err != nil {
		o.Fatal(err)
	}
	o.work()
	return decided
}

func (o *office) freeze(f guardrail.Freeze) {
	o.Helper()
	if err := o.SetFreeze(o.Context(), f, record.New(time.Now(), record.GuardrailChanged, "ann", f)); err != nil {
		o.Fatal(err)
	}
}

func (o *office) unfreeze(id string) {
	o.Helper()
	if err := o.LiftFreeze(o.Context(), id, record.New(time.Now(), record.GuardrailChanged, "ann", nil)); err != nil {
		o.Fatal(err)
	}
}

func ceiling(a run.Autonomy) func(*respond.Options) {
	return func(o *respond.Options) { o.Policy.Ceiling = a }
}

func containsAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
