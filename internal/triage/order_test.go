package triage_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/triage"
)

// transaction does work in a transaction, all or nothing.
type transaction func(ctx context.Context, work func(triage.Tx) error) error

func inStore(s *store.Store) transaction {
	return func(ctx context.Context, work func(triage.Tx) error) error {
		return s.Update(ctx, func(tx *store.Tx) error { return work(tx) })
	}
}

// desk decides each batch in a transaction of its own, as the program does.
type desk struct {
	*triage.Engine
	in transaction
}

func (d desk) Decide(ctx context.Context, batch triage.Batch) ([]run.Decision, error) {
	var decided []run.Decision
	err := d.in(ctx, func(tx triage.Tx) (err error) {
		decided, err = d.Engine.Decide(ctx, tx, batch)
		return err
	})
	if err != nil {
		return nil, err
	}
	return decided, nil
}

func openStore(tb testing.TB) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), filepath.Join(tb.TempDir(), "riposte.db"), store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// engine gives triage on a store, with a clock that goes on by a second a look.
func engine(s *store.Store, p triage.Policy) desk {
	var clock, id atomic.Int64
	now := func() time.Time { return noon.Add(24*time.Hour + time.Duration(clock.Add(1))*time.Second) }
	return desk{triage.New(p, now, func() string { return fmt.Sprintf("id-%08d", id.Add(1)) }), inStore(s)}
}

// world is what people see of a store once everything came: its incidents that aren't merged, and what
// was started.
type world struct {
	Incidents []string
	Runs      []string
}

// seen describes the incidents about a salt, without the salt: titles, severities, times, counts, entities, runs.
func seen(t *testing.T, s *store.Store, salt string) world {
	t.Helper()
	var w world
	page, err := s.Incidents(t.Context(), store.IncidentFilter{Entity: "salt" + salt, States: []incident.State{incident.Open, incident.Contained}, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, listed := range page.Items {
		i, err := s.Incident(t.Context(), listed.ID)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range i.Entities {
			names = append(names, string(e.Part)+" "+e.Key())
		}
		slices.Sort(names)
		told := fmt.Sprintf("%s %s %s..%s findings=%d: %s", i.Title, i.Severity, i.FirstSeen.Format(time.TimeOnly), i.LastSeen.Format(time.TimeOnly),
			i.Findings, strings.Join(names, ", "))
		w.Incidents = append(w.Incidents, strings.ReplaceAll(told, salt, ""))
		inside, err := s.Findings(t.Context(), store.FindingFilter{Incident: i.ID, Limit: 200})
		if err != nil || len(inside.Items) != i.Findings {
			t.Errorf("%s says %d findings, and has %d: %v", i.ID, i.Findings, len(inside.Items), err)
		}
		runs, err := s.RunsOfIncident(t.Context(), i.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			w.Runs = append(w.Runs, strings.ReplaceAll(i.Title+": "+r.Playbook+" "+r.Subject, salt, ""))
		}
	}
	slices.Sort(w.Incidents)
	slices.Sort(w.Runs)
	w.Runs = slices.Compact(w.Runs) // two incidents that turn out to be one may both have answered
	return w
}

// salted makes findings that have nothing to do with those of another salt, in a store shared by all.
func salted(all []finding.Finding, salt string) []finding.Finding {
	made := make([]finding.Finding, 0, len(all))
	for _, f := range all {
		f.Fingerprint += salt
		f.Events = []string{f.Events[0] + salt}
		f.Entities = slices.Clone(f.Entities)
		for i := range f.Entities {
			if f.Entities[i].Kind != entity.IP {
				f.Entities[i].ID += salt
			}
		}
		f.Entities = append(f.Entities, entity.Entity{Kind: entity.Account, ID: "salt" + salt, Part: entity.Context})
		made = append(made, f)
	}
	return made
}

func deliver(t *testing.T, e desk, batches ...[]finding.Finding) {
	t.Helper()
	for _, batch := range batches {
		events := map[string]event.Event{}
		for _, f := range batch {
			events[f.Events[0]] = event.Event{Key: f.Events[0], Time: f.LastSeen, Received: noon, Raw: []byte("{}")}
		}
		if _, err := e.Decide(t.Context(), triage.Batch{Findings: batch, Events: events}); err != nil {
			t.Fatal(err)
		}
	}
}

// told makes one telling of a finding, minutes after noon.
func told(name string, minute int, severity finding.Severity, names ...string) finding.Finding {
	at := noon.Add(time.Duration(minute) * time.Minute)
	f := finding.Finding{
		Fingerprint: name, Product: finding.GuardDuty, Type: "guardduty:" + name, Title: "Finding " + name, Severity: severity,
		FirstSeen: at, LastSeen: at, Received: at, Count: 1, Events: []string{fmt.Sprint(name, "@", minute)},
	}
	for _, name := range names {
		kind, id, _ := strings.Cut(name, ":")
		f.Entities = append(f.Entities, entity.Entity{Kind: entity.Kind(kind), ID: id, Part: entity.Target})
	}
	return f
}

func orderPolicy(t *testing.T) triage.Policy {
	t.Helper()
	p := policyOf(t, run.Approve, disables, `
playbook: isolate
summary: Isolate the instance of a grave finding.
on: {findings: ["guardduty:*"], if: finding.severity >= HIGH && finding.has("instance")}
autonomy: auto
steps: [{use: aws.ec2.isolate_instance, with: {instance_id: "{{ finding.instance }}"}}]
`, `
playbook: tell
summary: Tell people.
on: {findings: ["*"]}
autonomy: auto
steps: [{use: notify, with: {channel: security, message: "{{ finding.title }}"}}]
`)
	p.Window = time.Hour
	return p
}

// sets are findings whose every order of arrival must lead to the same.
func sets() map[string][]finding.Finding {
	return map[string][]finding.Finding{
		"apart": {told("a", 0, finding.High, "access_key:AKIA1"), told("b", 1, finding.Low, "instance:i-1"), told("c", 2, finding.Low)},
		"chain": {
			told("a", 0, finding.Low, "access_key:AKIA1", "user:ann"), told("b", 1, finding.High, "user:ann", "role:admin"),
			told("c", 2, finding.High, "role:admin", "instance:i-1"), told("d", 3, finding.Medium, "instance:i-1", "bucket:logs"),
		},
		"star, known last": {
			told("a", 0, finding.Medium, "access_key:AKIA1"), told("b", 1, finding.Medium, "access_key:AKIA2"),
			told("c", 2, finding.Medium, "instance:i-1"), told("d", 3, finding.Low, "access_key:AKIA1", "access_key:AKIA2", "instance:i-1"),
		},
		"too far apart": {
			told("a", 0, finding.High, "access_key:AKIA1"), told("b", 30, finding.Low, "access_key:AKIA1"),
			told("c", 300, finding.High, "access_key:AKIA1"), told("d", 361, finding.High, "access_key:AKIA1"),
		},
		"one that bridges the time": {
			told("a", 0, finding.Low, "access_key:AKIA1"), told("b", 59, finding.High, "access_key:AKIA1"),
			told("c", 118, finding.Low, "access_key:AKIA1"), told("d", 60, finding.Low, "instance:i-1"),
		},
		"equal titles and times": {
			told("b", 0, finding.High, "access_key:AKIA1"), told("a", 0, finding.High, "access_key:AKIA1"),
			told("c", 0, finding.High, "instance:i-1", "access_key:AKIA1"), told("d", 0, finding.High, "instance:i-1"),
		},
		"one finding told again": {
			told("a", 0, finding.Low, "instance:i-1"), again(told("a", 20, finding.Critical, "instance:i-1", "access_key:AKIA1"), 0, 3),
			again(told("a", 40, finding.Medium, "instance:i-1"), 0, 7), told("b", 50, finding.Low, "access_key:AKIA1"),
		},
		"what everybody shares": {
			told("a", 0, finding.High, "ip:10.0.0.1", "instance:i-1"), told("b", 1, finding.High, "ip:10.0.0.1", "instance:i-2"),
			told("c", 2, finding.High, "vpc:vpc-1", "access_key:AKIA1"), told("d", 3, finding.High, "vpc:vpc-1", "instance:i-2"),
		},
	}
}

// again makes a telling of a finding that began earlier and was counted more often.
func again(f finding.Finding, began, count int) finding.Finding {
	f.FirstSeen, f.Count = noon.Add(time.Duration(began)*time.Minute), count
	return f
}

// However findings are ordered, repeated and cut into batches: the same incidents, the same runs.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	e := engine(s, orderPolicy(t))
	for name, all := range sets() {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(len(name))))
			want := arrive(t, s, e, name, all)
			for order := range permutations(len(all)) {
				var arranged []finding.Finding
				for _, i := range order {
					arranged = append(arranged, all[i])
				}
				got := arrive(t, s, e, fmt.Sprint(name, order), batches(random, duplicated(random, arranged))...)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("order %v: (-as they happened +so)\n%s", order, diff)
				}
			}
			t.Logf("%d incidents, %d runs", len(want.Incidents), len(want.Runs))
		})
	}
}

// The same of many findings: some days of them, each about a few of a few things.
func TestOrderOfManyDoesNotMatter(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	e := engine(s, orderPolicy(t))
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(2, seed))
		all := many(random, 30)
		want := arrive(t, s, e, fmt.Sprint("sorted", seed), all)
		for n := range 6 {
			shuffled := slices.Clone(all)
			random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			got := arrive(t, s, e, fmt.Sprint("shuffled", seed, "-", n), batches(random, duplicated(random, shuffled))...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, shuffle %d: (-as they happened +so)\n%s", seed, n, diff)
			}
		}
	}
}

// Whoever makes one incident of a thousand entities does not make it slow: it names no more of them, and
// still takes in what concerns the others.
func TestAnIncidentNamesABoundedNumberOfEntities(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	e := engine(s, triage.Policy{Window: time.Hour})
	var all []finding.Finding
	for n := range 120 {
		names := []string{"access_key:AKIA1"}
		for i := range 10 {
			names = append(names, fmt.Sprint("user:", n, "-", i))
		}
		all = append(all, told(fmt.Sprint("f", n), n%60, finding.Low, names...))
	}
	got := arrive(t, s, e, "many", all, []finding.Finding{told("last", 10, finding.Critical, "user:119-9")})
	if len(got.Incidents) != 1 || !strings.Contains(got.Incidents[0], "Finding last") || !strings.Contains(got.Incidents[0], "findings=121") {
		t.Fatalf("got %d incidents: %.80s", len(got.Incidents), got.Incidents)
	}
	if named := strings.Count(got.Incidents[0], "|"); named != 2*1000 {
		t.Errorf("it names %d entities, want 1000", named/2)
	}
}

// many makes findings in order of time: half an hour of them each day, so that what is near is near to all.
func many(random *rand.Rand, n int) []finding.Finding {
	kinds := []entity.Kind{entity.AccessKey, entity.Instance, entity.User, entity.Bucket, entity.VPC}
	var all []finding.Finding
	for i := range n {
		var names []string
		for range 1 + random.IntN(2) {
			names = append(names, fmt.Sprintf("%s:%d", kinds[random.IntN(len(kinds))], random.IntN(5)))
		}
		minute := 24*60*random.IntN(3) + random.IntN(30)
		all = append(all, told(fmt.Sprint("f", i), minute, finding.Severity(1+random.IntN(5)), names...))
	}
	slices.SortFunc(all, func(a, b finding.Finding) int { return a.LastSeen.Compare(b.LastSeen) })
	return all
}

// arrive delivers findings, salted, and tells what came of them.
func arrive(t *testing.T, s *store.Store, e desk, name string, delivered ...[]finding.Finding) world {
	t.Helper()
	salt := "#" + name + "#"
	for _, batch := range delivered {
		deliver(t, e, salted(batch, salt))
	}
	return seen(t, s, salt)
}

// permutations gives every order of the numbers below n.
func permutations(n int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		var place func(order []int) bool
		place = func(order []int) bool {
			if len(order) == n {
				return yield(order)
			}
			for i := range n {
				if !slices.Contains(order, i) && !place(append(slices.Clone(order), i)) {
					return false
				}
			}
			return true
		}
		place(nil)
	}
}

// duplicated repeats some findings, anywhere after their first time.
func duplicated(random *rand.Rand, all []finding.Finding) []finding.Finding {
	doubled := slices.Clone(all)
	for at, f := range all {
		if random.IntN(2) == 0 {
			first := slices.IndexFunc(doubled, func(other finding.Finding) bool { return other.Events[0] == f.Events[0] })
			doubled = slices.Insert(doubled, first+1+random.IntN(len(doubled)-first), all[at])
		}
	}
	return doubled
}

// batches cuts findings into batches.
func batches(random *rand.Rand, all []finding.Finding) [][]finding.Finding {
	var cut [][]finding.Finding
	for len(all) > 0 {
		n := 1 + random.IntN(len(all))
		cut, all = append(cut, all[:n]), all[n:]
	}
	return cut
}

func closing(t *testing.T, s *store.Store, id string) error {
	t.Helper()
	_, err := s.UpdateIncident(t.Context(), id, func(i *incident.Incident) error {
		i.State, i.Verdict = incident.Closed, incident.TruePositive
		return nil
	})
	return err
}
