package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// burst is many findings about few entities, all at once: a scanner that goes wild, or an attacker who wants
// to make us act until nothing works.
type burst struct {
	entities int
	findings int // about each
	budget   int // changes an hour
}

// play hands a burst to a server, and waits until every finding is decided and every run over or held. It gives how
// long that took and the most memory that the server had.
func (b burst) play(tb testing.TB, name string) (took time.Duration, megabytes float64) {
	tb.Helper()
	h := newHouse(tb, name)
	book := strings.Replace(disableKey, "steps:", fmt.Sprintf("limits: {per_hour: %d}\nsteps:", b.budget), 1)
	riposte := h.configure(settings{name: name, playbooks: map[string]string{"p": book}})
	var events [][]byte
	for i := range b.entities {
		key, event := h.estate.Leak(fmt.Sprintf("%s-%d", name, i))
		for n := range b.findings {
			other := bytes.ReplaceAll(event, []byte("finding-"+key), fmt.Appendf(nil, "finding-%d-%s", n, key))
			events = append(events, bytes.ReplaceAll(other, []byte("event-"+key), fmt.Appendf(nil, "event-%d-%s", n, key)))
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	riposte.start()
	riposte.ready()
	h.door.forget()
	began := time.Now()
	for at := 0; at < len(events); at += 100 {
		riposte.post(events[at:min(at+100, len(events))]...)
	}
	acted := func(c call) bool { return c.op == "UpdateAccessKey" }
	within := min(b.budget, b.entities)
	h.eventually(10*time.Minute, "the budget to be used", func() bool { return len(h.door.made(acted)) >= within })
	h.eventually(5*time.Minute, "no run to be left", func() bool { return len(riposte.runs("ready")) == 0 })
	took = time.Since(began)

	time.Sleep(time.Second) // for what should not come
	made := h.door.made(acted)
	keys := map[string]bool{}
	for _, c := range made {
		keys[parameter(tb, c.body, "AccessKeyId")] = true
	}
	if len(made) != within || len(keys) != within {
		tb.Errorf("%d changes of %d keys, want %d, each once", len(made), len(keys), within)
	}
	if all := riposte.runs(); len(all) != b.entities {
		tb.Errorf("%d runs for %d entities", len(all), b.entities)
	}
	if held := riposte.runs("held"); len(held) != b.entities-within {
		tb.Errorf("%d runs are held, want %d", len(held), b.entities-within)
	}
	if out, err := riposte.cli("ledger", "verify"); err != nil {
		tb.Errorf("the ledger: %v\n%s", err, out)
	}
	return took, riposte.peak()
}

// TestBurst is a small one.
func TestBurst(t *testing.T) {
	t.Parallel()
	burst{entities: 20, findings: 10, budget: 15}.play(t, "burst-small")
}

// BenchmarkBurst is 10,000 findings about 500 entities.
func BenchmarkBurst(b *testing.B) {
	for b.Loop() {
		took, megabytes := burst{entities: 500, findings: 20, budget: 400}.play(b, fmt.Sprintf("burst-%d", b.N))
		b.ReportMetric(10000/took.Seconds(), "findings/s")
		b.ReportMetric(took.Seconds(), "drained-s")
		b.ReportMetric(megabytes, "peak-MB")
		b.ReportMetric(0, "ns/op")
	}
}

// parameter gives a parameter of a call of a query API.
func parameter(tb testing.TB, body, name string) string {
	tb.Helper()
	_, after, found := strings.Cut(body, name+"=")
	if !found {
		tb.Fatalf("no %s in %q", name, body)
	}
	value, _, _ := strings.Cut(after, "&")
	return value
}

// peak is the most memory that the process had, in MB.
func (s *server) peak() float64 {
	s.house.tb.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.proc.Process.Pid), "status"))
	if err != nil {
		s.house.tb.Skip("memory is read from /proc, which is not here")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				s.house.tb.Fatal(err)
			}
			return float64(kilobytes) / 1024
		}
	}
	s.house.tb.Fatal("the process has no VmHWM")
	return 0
}
