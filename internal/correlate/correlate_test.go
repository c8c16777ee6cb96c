package correlate_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/correlate"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/store/storetest"
	"github.com/riposte-sec/riposte/internal/triage"
	"github.com/riposte-sec/riposte/sigma"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

const content = `title: Denied
id: denied
name: denied
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {errorCode: AccessDenied}
  condition: selection
---
title: Many denied
id: many-denied
name: many_denied
correlation: {type: event_count, rules: [denied], group-by: [userIdentity.arn], timespan: 10m, condition: {gte: 4}}
level: high
---
title: Many services tried
id: many-services
correlation: {type: value_count, rules: [denied], group-by: [userIdentity.arn], timespan: 10m, condition: {field: eventSource, gte: 3}}
---
title: Hardly any denied
id: hardly-denied
correlation: {type: event_count, rules: [denied], group-by: [userIdentity.arn], timespan: 10m, condition: {lt: 2}}
---
title: Denied in two spans
id: denied-in-two-spans
correlation: {type: event_count, rules: [many_denied], group-by: [userIdentity.arn], timespan: 1h, condition: {gte: 2}, generate: true}
`

func detector(t *testing.T) *detect.Detector {
	t.Helper()
	all, err := sigma.ParseCollection("all.yaml", []byte(content), sigma.Options{})
	if err != nil {
		t.Fatal(err)
	}
	linked, err := all.Link(noon)
	if err != nil {
		t.Fatal(err)
	}
	d, err := detect.New(linked)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// denied is a call that was refused, some seconds after noon.
func denied(n int, user, service string, second int) event.Event {
	at := noon.Add(time.Duration(second) * time.Second)
	arn := "arn:aws:iam::111122223333:user/" + user
	return event.Event{
		Key: fmt.Sprintf("aws.cloudtrail|e-%d|111122223333", n), Source: event.CloudTrail, Time: at, Received: noon, Account: "111122223333", Region: "eu-west-1",
		Entities: []entity.Entity{{Kind: entity.User, ID: user, Account: "111122223333", Part: entity.Actor}},
		Raw:      fmt.Appendf(nil, `{"eventName":"X","eventSource":%q,"errorCode":"AccessDenied","userIdentity":{"arn":%q}}`, service, arn),
	}
}

// node is a Riposte on a store, with a clock of its own.
type node struct {
	*testing.T
	store  *store.Store
	d      *detect.Detector
	engine *correlate.Engine
	now    time.Time
	ids    int
}

// ours is what the user riposte does.
func ours(ev event.Event) bool {
	return slices.ContainsFunc(ev.Entities, func(e entity.Entity) bool { return e.ID == "riposte" })
}

func newNode(t *testing.T, dsn string, d *detect.Detector) *node {
	t.Helper()
	n := &node{T: t, d: d, now: noon.Add(3 * time.Hour)}
	clock := func() time.Time { return n.now }
	var err error
	if n.store, err = store.Open(t.Context(), dsn, store.Options{Now: clock}); err != nil {
		t.Fatal(err)
	}
	n.engine = correlate.New(15*time.Minute, ours, clock)
	return n
}

func (n *node) close() {
	n.Helper()
	if err := n.store.Close(); err != nil {
		n.Error(err)
	}
}

// decide has triage keep what was found, in the transaction that found it.
func (n *node) decide(find func(tx *store.Tx) (correlate.Found, error)) {
	n.Helper()
	policy := triage.Policy{Window: time.Hour, Ceiling: run.Auto}
	desk := triage.New(policy, func() time.Time { return n.now }, func() string { n.ids++; return fmt.Sprintf("%p-%d", n, n.ids) })
	err := n.store.Update(n.Context(), func(tx *store.Tx) error {
		found, err := find(tx)
		if err != nil {
			return err
		}
		_, err = desk.Decide(n.Context(), tx, triage.Batch{Findings: found.Findings, Events: found.Events})
		return err
	})
	if err != nil {
		n.Fatal(err)
	}
}

func (n *node) take(events ...event.Event) {
	n.Helper()
	seen := n.d.Detect(events)
	keyed := map[string]event.Event{}
	for _, ev := range events {
		keyed[ev.Key] = ev
	}
	n.decide(func(tx *store.Tx) (correlate.Found, error) {
		return n.engine.Take(n.Context(), tx, n.d, seen.Observations, keyed)
	})
}

// later lets three hours pass and judges what is due.
func (n *node) later() {
	n.Helper()
	n.now = n.now.Add(3 * time.Hour)
	for more := true; more; {
		n.decide(func(tx *store.Tx) (found correlate.Found, err error) {
			found, more, err = n.engine.Due(n.Context(), tx, n.d)
			return found, err
		})
	}
}

// told is what people see in the end.
func (n *node) told(ctx context.Context) []string {
	n.Helper()
	page, err := n.store.Findings(ctx, store.FindingFilter{Limit: 500})
	if err != nil {
		n.Fatal(err)
	}
	var all []string
	for _, f := range page.Items {
		all = append(all, fmt.Sprintf("%s %s %s..%s count=%d events=%d %v", f.Title, f.Severity, f.FirstSeen.Format(time.TimeOnly),
			f.LastSeen.Format(time.TimeOnly), f.Count, len(f.Events), f.Entities))
	}
	slices.Sort(all)
	return all
}

// events are those of three users: one is denied once, one several times within a span, one in two spans.
func events() []event.Event {
	var all []event.Event
	add := func(user, service string, seconds ...int) {
		for _, s := range seconds {
			all = append(all, denied(len(all), user, service, s))
		}
	}
	add("once", "s3.amazonaws.com", 60)
	add("twice", "s3.amazonaws.com", 100, 200, 300, 400, 500, 1500, 1510, 1520, 1530)
	add("busy", "s3.amazonaws.com", 10, 20, 30, 40)
	add("busy", "ec2.amazonaws.com", 50)
	add("busy", "iam.amazonaws.com", 700)
	add("busy", "iam.amazonaws.com", 590)
	return all
}

// TestWhateverTheWayOfEvents delivers the same events in order to one node, and shuffled, doubled, cut into
// batches, to nodes that share a store, and that start anew in between: people see the same in the end.
func TestWhateverTheWayOfEvents(t *testing.T) {
	t.Parallel()
	d := detector(t)
	plain := newNode(t, filepath.Join(t.TempDir(), "plain.db"), d)
	defer plain.close()
	plain.take(events()...)
	plain.later()
	want := plain.told(t.Context())
	if len(want) != 3+1+4+1 { // many denied, many services, hardly any, in two spans
		t.Errorf("%d findings in order, want 9:\n%q", len(want), want)
	}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			all := append(events(), events()...)
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			dsn := storetest.Postgres(t)
			if seed%2 == 0 {
				dsn = filepath.Join(t.TempDir(), "riposte.db")
			}
			nodes := []*node{newNode(t, dsn, d)}
			if seed%2 == 1 {
				nodes = append(nodes, newNode(t, dsn, d))
			}
			for len(all) > 0 {
				at := random.IntN(len(nodes))
				size := min(len(all), 1+random.IntN(5))
				nodes[at].take(all[:size]...)
				all = all[size:]
				if len(nodes) == 1 && random.IntN(3) == 0 { // a restart
					nodes[0].close()
					nodes[0] = newNode(t, dsn, d)
				}
			}
			for _, n := range nodes {
				n.later()
			}
			if diff := cmp.Diff(want, nodes[0].told(t.Context())); diff != "" {
				t.Errorf("in order, and in whatever order (-want +got):\n%s", diff)
			}
			for _, n := range nodes {
				n.close()
			}
		})
	}
}

// TestTheRecordsBehindAreKept has the records of earlier batches with the finding, and lets go of those that no
// finding has.
func TestTheRecordsBehindAreKept(t *testing.T) {
	t.Parallel()
	n := newNode(t, filepath.Join(t.TempDir(), "riposte.db"), detector(t))
	defer n.close()
	for i := range 4 {
		n.take(denied(i, "eve", "s3.amazonaws.com", i))
	}
	n.take(denied(9, "bob", "s3.amazonaws.com", 5))
	page, err := n.store.Findings(t.Context(), store.FindingFilter{})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("got %d findings, %v; want eve's", len(page.Items), err)
	}
	behind, err := n.store.FindingEvents(t.Context(), page.Items[0].ID)
	if err != nil || len(behind) != 4 || len(behind[0].Raw) == 0 {
		t.Errorf("got %d records, %v; want the four with their bytes", len(behind), err)
	}
	n.later()
	n.now = n.now.Add(24 * time.Hour)
	gone, err := n.store.Prune(t.Context(), noon.Add(-time.Hour))
	if err != nil || gone == 0 {
		t.Errorf("pruned %d, %v; want the observations and bob's record", gone, err)
	}
	if behind, err := n.store.FindingEvents(t.Context(), page.Items[0].ID); err != nil || len(behind) != 4 {
		t.Errorf("got %d records, %v, after pruning; want the four", len(behind), err)
	}
	if again, err := n.store.Prune(t.Context(), noon.Add(-time.Hour)); err != nil || again != 0 {
		t.Errorf("pruned %d more, %v", again, err)
	}
}

// TestNothingGrowsWithoutBound observes one group more often than is kept.
func TestNothingGrowsWithoutBound(t *testing.T) {
	t.Parallel()
	n := newNode(t, filepath.Join(t.TempDir(), "riposte.db"), detector(t))
	defer n.close()
	keys := map[string]bool{}
	for batch := range 12 {
		var all []event.Event
		for i := range 1000 {
			all = append(all, denied(batch*1000+i, "eve", "s3.amazonaws.com", batch))
		}
		n.take(all...)
	}
	err := n.store.Update(t.Context(), func(tx *store.Tx) error {
		clear(keys)
		c := n.d.Correlation("many-denied")
		g := correlate.Group{State: c.Key() + "@" + c.Hash[:12], Key: `["arn:aws:iam::111122223333:user/eve"]`}
		kept, err := tx.Observed(t.Context(), g, noon.Add(-time.Hour), noon.Add(time.Hour), 1<<20)
		for _, o := range kept {
			keys[o.Event] = true
		}
		return err
	})
	if err != nil || len(keys) == 0 || len(keys) > correlate.Most+1000 {
		t.Errorf("%d observations of one group are kept, %v; want at most %d and a batch", len(keys), err, correlate.Most)
	}
	if _, still := keys["aws.cloudtrail|e-11999|111122223333"]; !still {
		t.Errorf("the newest were dropped: %d kept, %v", len(keys), slices.Sorted(maps.Keys(keys))[:3])
	}
}

// TestWhatRiposteDoesDoesNotCount has Riposte's own calls among those of others: they are no part of the matter, and
// so can't make it look like ours.
func TestWhatRiposteDoesDoesNotCount(t *testing.T) {
	t.Parallel()
	n := newNode(t, filepath.Join(t.TempDir(), "riposte.db"), detector(t))
	defer n.close()
	for i := range 5 {
		own := denied(100+i, "eve", "s3.amazonaws.com", i) // in the same group
		own.Entities = []entity.Entity{{Kind: entity.User, ID: "riposte", Account: "111122223333", Part: entity.Actor}}
		n.take(own, denied(i, "eve", "s3.amazonaws.com", i))
	}
	n.later()
	for _, told := range n.told(t.Context()) {
		if strings.Contains(told, "riposte") || strings.HasPrefix(told, "Many denied") && !strings.Contains(told, "count=5 events=5") {
			t.Errorf("told: %s; want the five of eve alone", told)
		}
	}
}
