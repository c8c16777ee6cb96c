package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

// docs/benchmarks.md tells the method of each of these.

const threeRequests = `playbook: three-requests
summary: Send three requests.
on: {findings: ["guardduty:UnauthorizedAccess:IAMUser/*"]}
autonomy: auto
steps:
  - {id: one, use: webhook.send, with: {endpoint: hook, message: "one {{ finding.access_key }}"}}
  - {id: two, use: webhook.send, with: {endpoint: hook, message: "two {{ finding.access_key }}"}}
  - {id: three, use: webhook.send, with: {endpoint: hook, message: "three {{ finding.access_key }}"}}
`

const askFirst = `playbook: ask-first
summary: Ask a person, then tell.
on: {findings: ["guardduty:UnauthorizedAccess:IAMUser/*"]}
autonomy: auto
steps:
  - {id: sure, approve: {by: [incident_analyst], within: 24h, otherwise: deny}}
  - {id: tell, use: webhook.send, with: {endpoint: hook, message: "{{ finding.access_key }}"}}
`

const disableKey = `playbook: disable-key
summary: Disable a leaked key.
on: {findings: ["guardduty:UnauthorizedAccess:IAMUser/*"]}
autonomy: auto
steps:
  - {id: disable, use: aws.iam.disable_access_key, with: {access_key_id: "{{ finding.access_key }}"}}
`

// BenchmarkFirstCall measures from the queue's message at the door to the first mutating call at the door,
// less the time that the emulator took for the calls in between.
func BenchmarkFirstCall(b *testing.B) {
	h := newHouse(b, "first-call")
	riposte := h.configure(settings{name: "one", playbooks: map[string]string{"p": disableKey}})
	riposte.start()
	riposte.ready()
	const matters = 200
	var own []time.Duration
	for b.Loop() {
		for i := range matters {
			_, event := h.estate.Leak(fmt.Sprintf("first-%d-%d", b.N, i))
			h.door.forget()
			h.estate.Send(event)
			mutating := func(c call) bool { return c.op == "UpdateAccessKey" }
			h.eventually(20*time.Second, "the key to be disabled", func() bool { return len(h.door.made(mutating)) == 1 })
			own = append(own, ownTime(h.door, h.door.made(mutating)[0]))
			h.eventually(20*time.Second, "the message to be deleted", func() bool {
				return len(h.door.made(func(c call) bool { return c.op == "DeleteMessage" })) == 1
			})
		}
	}
	slices.Sort(own)
	b.ReportMetric(milliseconds(own[len(own)/2]), "p50-ms")
	b.ReportMetric(milliseconds(own[len(own)*99/100]), "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// ownTime is Riposte's own between the end of the receive that gave the message and the start of the mutating
// call: the union of the emulator's times in between is taken out.
func ownTime(d *door, mutating call) time.Duration {
	received := d.made(func(c call) bool { return c.op == "ReceiveMessage" && strings.Contains(c.body, "ReceiptHandle") })
	from := received[0].ended
	total := mutating.begun.Sub(from)
	covered := from
	for _, c := range d.made(func(c call) bool {
		return c.op != "ReceiveMessage" && c.begun.Before(mutating.begun) && c.ended.After(from)
	}) {
		begin, end := later(c.begun, covered), c.ended
		if end.After(mutating.begun) {
			end = mutating.begun
		}
		if end.After(begin) {
			total -= end.Sub(begin)
			covered = end
		}
	}
	return total
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkDurableRuns measures runs of three HTTP steps each, everything journaled, many at once.
func BenchmarkDurableRuns(b *testing.B) {
	for _, where := range []string{"sqlite", "postgres"} {
		b.Run(where, func(b *testing.B) {
			h := newHouse(b, "durable-"+where)
			riposte := h.configure(h.at(b, where, settings{playbooks: map[string]string{"p": threeRequests}, noQueue: true}))
			riposte.start()
			riposte.ready()
			const batch, batches = 50, 20
			done := int64(0)
			var spent time.Duration
			for b.Loop() {
				began := time.Now()
				for n := range batches {
					var events [][]byte
					for i := range batch {
						key := fmt.Sprintf("AKIA%d%06d", b.N, n*batch+i)
						events = append(events, awstest.Leaked("user-"+key, key))
					}
					riposte.post(events...)
				}
				done += 3 * batch * batches
				h.eventually(5*time.Minute, "all requests to come", func() bool { return h.hooks.came.Load() >= done })
				h.eventually(time.Minute, "all runs to end", func() bool { return len(riposte.runs("ready")) == 0 })
				spent += time.Since(began)
			}
			b.ReportMetric(float64(done/3)/spent.Seconds(), "runs/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkWaiting measures what a thousand runs cost that wait for a person, and how soon an answer lets its
// run go on.
func BenchmarkWaiting(b *testing.B) {
	for _, where := range []string{"sqlite", "postgres"} {
		b.Run(where, func(b *testing.B) {
			h := newHouse(b, "waiting-"+where)
			riposte := h.configure(h.at(b, where, settings{playbooks: map[string]string{"p": askFirst}, noQueue: true}))
			riposte.start()
			riposte.ready()
			time.Sleep(2 * time.Second)
			idleMemory, idleCPU := riposte.cost(5 * time.Second)
			var resumes []time.Duration
			for b.Loop() {
				for n := range 20 {
					var events [][]byte
					for i := range 50 {
						key := fmt.Sprintf("AKIA%d%06d", b.N, n*50+i)
						events = append(events, awstest.Leaked("user-"+key, key))
					}
					riposte.post(events...)
				}
				h.eventually(2*time.Minute, "all runs to wait", func() bool { return len(riposte.runs("waiting")) >= 1000 })
				time.Sleep(3 * time.Second)
				memory, cpu := riposte.cost(10 * time.Second)
				b.ReportMetric(memory-idleMemory, "more-MB")
				b.ReportMetric(100*(cpu-idleCPU), "more-%core")
				for _, asked := range riposte.pending(50) {
					came := h.hooks.came.Load()
					began := time.Now()
					if err := riposte.client().Post(b.Context(), "/v1/approvals/"+asked.ID+"/approve", api.Answer{Hash: asked.Hash}, nil); err != nil {
						b.Fatal(err)
					}
					for h.hooks.came.Load() == came {
						time.Sleep(100 * time.Microsecond)
					}
					resumes = append(resumes, time.Since(began))
				}
			}
			slices.Sort(resumes)
			b.ReportMetric(milliseconds(resumes[len(resumes)/2]), "resume-p50-ms")
			b.ReportMetric(milliseconds(resumes[len(resumes)-1]), "resume-max-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkColdStart measures from starting the process on an empty data folder, and on one that was used, to
// the first answer that all parts work; and the memory of a server that has nothing to do.
func BenchmarkColdStart(b *testing.B) {
	h := newHouse(b, "cold")
	var starts []time.Duration
	memory := 0.0
	for b.Loop() {
		for i := range 10 {
			s := h.configure(settings{name: fmt.Sprintf("cold-%d-%d", b.N, i/2)}) // each folder twice
			began := time.Now()
			s.start()
			for s.readiness() != 200 {
				time.Sleep(time.Millisecond)
			}
			starts = append(starts, time.Since(began))
			if i == 9 {
				time.Sleep(5 * time.Second)
				memory, _ = s.cost(time.Second)
			}
			s.kill()
		}
	}
	slices.Sort(starts)
	b.ReportMetric(milliseconds(starts[len(starts)/2]), "p50-ms")
	b.ReportMetric(milliseconds(starts[len(starts)-1]), "max-ms")
	b.ReportMetric(memory, "idle-MB")
	b.ReportMetric(0, "ns/op")
}

// at puts a server's state where a benchmark wants it.
func (h *house) at(tb testing.TB, where string, s settings) settings {
	tb.Helper()
	s.name = where
	if where == "postgres" {
		key, err := ledger.GenerateKey("riposte.example/bench")
		if err != nil {
			tb.Fatal(err)
		}
		s.store, s.key = storetest.Postgres(tb), key
	}
	return s
}

// cost gives the resident memory of the process in MB, and the share of a core that it uses over a while.
func (s *server) cost(over time.Duration) (megabytes, cores float64) {
	s.house.tb.Helper()
	before := s.cpu()
	time.Sleep(over)
	cores = (s.cpu() - before).Seconds() / over.Seconds()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.proc.Process.Pid), "status"))
	if err != nil {
		s.house.tb.Skip("memory is read from /proc, which is not here")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				s.house.tb.Fatal(err)
			}
			megabytes = float64(kilobytes) / 1024
		}
	}
	return megabytes, cores
}

// cpu is the processor time that the process used so far.
func (s *server) cpu() time.Duration {
	s.house.tb.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.proc.Process.Pid), "stat"))
	if err != nil {
		s.house.tb.Skip("processor time is read from /proc, which is not here")
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	ticks := 0
	for _, at := range []int{11, 12} { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(fields[at])
		if err != nil {
			s.house.tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (s *server) pending(most int) []run.Approval {
	s.house.tb.Helper()
	var page store.Page[run.Approval]
	if err := s.client().Get(s.house.tb.Context(), "/v1/approvals?limit="+strconv.Itoa(most), nil, &page); err != nil {
		s.house.tb.Fatal(err)
	}
	return page.Items
}
