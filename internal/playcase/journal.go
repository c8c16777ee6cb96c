package playcase

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// journal keeps the runs of one incident in memory, as the store keeps them: it is a respond.Journal, Rails and
// Desk. What goes in and out goes through JSON, so that a run reads what it would read after a crash.
type journal struct {
	now         func() time.Time
	protections []guardrail.Protection
	// around is called with each commit, which it makes or doesn't.
	around func(commit func() error) error

	mu        sync.Mutex
	finding   finding.Finding
	incident  incident.Incident
	versions  map[string][]byte // by hash
	runs      []run.Run
	steps     []run.Step
	approvals []run.Approval
	effects   []spent
}

type spent struct {
	run.Effect
	undone bool
}

// newJournal keeps what triage decided.
func newJournal(d run.Decision, now func() time.Time) *journal {
	j := &journal{now: now, finding: d.Finding, incident: *d.Incident, versions: map[string][]byte{}, runs: slices.Clone(d.Runs)}
	for _, v := range d.Versions {
		j.versions[v.Hash] = v.Text
	}
	return j
}

// Claim is of respond.Journal.
func (j *journal) Claim(_ context.Context, runID string, leg int64, _ string) (run.Journal, error) {
	var claimed run.Journal
	err := j.around(func() error {
		j.mu.Lock()
		defer j.mu.Unlock()
		at, err := j.at(runID)
		if err != nil {
			return err
		}
		if r := &j.runs[at]; r.State != run.Ready || r.Leg != leg {
			return fault.New(fault.Conflict, "run %s is %s at leg %d, it can't be claimed for leg %d", r.ID, r.State, r.Leg, leg)
		}
		j.runs[at].Fence++
		j.runs[at].Updated = j.now()
		claimed, err = j.load(at)
		return err
	})
	return claimed, err
}

// Load is of respond.Journal.
func (j *journal) Load(_ context.Context, runID string) (run.Journal, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at, err := j.at(runID)
	if err != nil {
		return run.Journal{}, err
	}
	return j.load(at)
}

func (j *journal) at(runID string) (int, error) {
	at := slices.IndexFunc(j.runs, func(r run.Run) bool { return r.ID == runID })
	if at < 0 {
		return 0, fault.New(fault.NotFound, "there is no run %s", runID)
	}
	return at, nil
}

func (j *journal) load(at int) (run.Journal, error) {
	r := j.runs[at]
	whole := run.Journal{Run: r, Finding: j.finding, Incident: j.incident}
	for _, step := range j.steps {
		if step.Run == r.ID {
			whole.Steps = append(whole.Steps, step)
		}
	}
	slices.SortStableFunc(whole.Steps, func(a, b run.Step) int { return a.Order - b.Order })
	for _, a := range j.approvals {
		if a.Run == r.ID {
			whole.Approvals = append(whole.Approvals, a)
		}
	}
	var copied run.Journal
	err := again(whole, &copied)
	copied.Playbook = j.versions[r.Hash]
	return copied, err
}

// again makes a value anew by way of JSON.
func again[T any](from T, into *T) error {
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("copy %T: %w", from, err)
	}
	return nil
}

// Write is of respond.Journal.
func (j *journal) Write(_ context.Context, e run.Entry) error {
	return j.around(func() error {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.write(e)
	})
}

func (j *journal) write(e run.Entry) error {
	at, err := j.at(e.Run.ID)
	if err != nil {
		return err
	}
	now := j.runs[at]
	if now.State.Final() || now.Fence != e.Run.Fence || e.Run.Leg != now.Leg && e.Run.Leg != now.Leg+1 {
		return fault.New(fault.Conflict, "run %s is %s at leg %d with fence %d; leg %d with fence %d may not write to it",
			e.Run.ID, now.State, now.Leg, now.Fence, e.Run.Leg, e.Run.Fence)
	}
	kept, err := j.spend(e)
	if err != nil {
		return err
	}
	var copied run.Entry
	if err := again(run.Entry{Run: e.Run, Steps: e.Steps, Approvals: e.Approvals, Starts: e.Starts}, &copied); err != nil {
		return err
	}
	j.effects, j.runs[at] = kept, copied.Run
	for _, step := range copied.Steps {
		j.save(step)
	}
	for _, a := range copied.Approvals {
		same := func(known run.Approval) bool { return known.ID == a.ID }
		if i := slices.IndexFunc(j.approvals, same); i >= 0 {
			j.approvals[i] = a
		} else {
			j.approvals = append(j.approvals, a)
		}
	}
	j.runs = append(j.runs, copied.Starts...)
	if m := e.Incident; m != nil {
		if m.Contained && j.incident.State == incident.Open {
			j.incident.State = incident.Contained
		}
		j.incident.Escalated = j.incident.Escalated || m.Escalated
	}
	return nil
}

func (j *journal) save(step run.Step) {
	if step.State == run.Undone {
		for i := range j.effects {
			if j.effects[i].Run == step.Run && j.effects[i].Step == step.ID {
				j.effects[i].undone = true
			}
		}
	}
	same := func(known run.Step) bool { return known.Run == step.Run && known.ID == step.ID }
	if i := slices.IndexFunc(j.steps, same); i >= 0 {
		j.steps[i] = step
		return
	}
	j.steps = append(j.steps, step)
}

// spend checks the caps of an entry and gives the effects with its own.
func (j *journal) spend(e run.Entry) ([]spent, error) {
	kept := slices.Clone(j.effects)
	for _, effect := range e.Effects {
		kept = slices.DeleteFunc(kept, func(s spent) bool { return s.Run == effect.Run && s.Step == effect.Step })
	}
	for _, c := range e.Caps {
		if used := count(kept, c); used >= c.Most {
			return nil, &run.CapReached{Cap: c, Used: used}
		}
	}
	for _, effect := range e.Effects {
		kept = append(kept, spent{Effect: effect})
	}
	return kept, nil
}

// count tells how much of a cap is used.
func count(effects []spent, c run.Cap) int {
	seen, changes := map[string]bool{}, 0
	for _, e := range effects {
		fits := func(want, is string) bool { return want == "" || want == is }
		if e.undone || e.Time.Before(c.Since) || !fits(c.Playbook, e.Playbook) || !fits(c.Account, e.Account) ||
			!fits(c.Region, e.Region) || !fits(c.Kind, e.Kind) {
			continue
		}
		changes++
		if c.Measure == run.Accounts && e.Account != c.Itself {
			seen[e.Account] = true
		}
		if c.Measure == run.Targets && e.Target != c.Itself {
			seen[e.Target] = true
		}
	}
	if c.Measure == run.Changes {
		return changes
	}
	return len(seen)
}

// Standing is of respond.Rails.
func (j *journal) Standing(context.Context) ([]guardrail.Freeze, []guardrail.Protection, error) {
	return nil, j.protections, nil
}

// Used is of respond.Rails.
func (j *journal) Used(_ context.Context, c run.Cap) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return count(j.effects, c), nil
}

// Approval is of respond.Desk.
func (j *journal) Approval(_ context.Context, id string) (run.Approval, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, a := range j.approvals {
		if a.ID == id {
			return a, nil
		}
	}
	return run.Approval{}, fault.New(fault.NotFound, "there is no question %s", id)
}

// CreateRun is of respond.Desk.
func (j *journal) CreateRun(_ context.Context, r run.Run, v run.Version, _ ...record.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.versions[v.Hash] = v.Text
	j.runs = append(j.runs, r)
	return nil
}

// RunsOfIncident is of respond.Desk.
func (j *journal) RunsOfIncident(context.Context, string) ([]run.Run, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	runs := slices.Clone(j.runs)
	slices.Reverse(runs)
	return runs, nil
}

// run gives a run as it is now.
func (j *journal) run(id string) run.Run {
	j.mu.Lock()
	defer j.mu.Unlock()
	at, err := j.at(id)
	if err != nil {
		return run.Run{ID: id}
	}
	return j.runs[at]
}

// open gives the questions of a run that wait for an answer, oldest first.
func (j *journal) open(id string) []run.Approval {
	j.mu.Lock()
	defer j.mu.Unlock()
	var open []run.Approval
	for _, a := range j.approvals {
		if a.Run == id && a.Answer == run.Pending {
			open = append(open, a)
		}
	}
	return open
}
