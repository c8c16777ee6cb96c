package telemetry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/ingest"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/telemetry"
)

// counted is a store that counts, or is away.
type counted struct {
	counts store.Counts
	err    error
}

func (c counted) Counts(context.Context) (store.Counts, error) { return c.counts, c.err }

// scrape gives what Prometheus would read.
func scrape(t *testing.T, c counted, change func(*telemetry.Metrics)) (int, string) {
	t.Helper()
	board := health.New(time.Now)
	board.Add(
		health.Part{Name: "store", Check: func(context.Context) error { return c.err }},
		health.Part{Name: "sqs:events", Check: func(context.Context) error { return nil }},
	)
	board.Look(t.Context())
	stats := func() ingest.Stats {
		return ingest.Stats{
			Sources: map[event.Source]ingest.Counts{event.CloudTrail: {Received: 5, Duplicates: 1, Passed: 3, Refused: 1, Latest: time.Unix(1000, 0)}},
			Letters: map[string]uint64{"record": 2}, Failed: 4,
		}
	}
	m := telemetry.New("1.2.3", c, stats, board)
	if change != nil {
		change(m)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestMetricsTellWhatIs(t *testing.T) {
	t.Parallel()
	counts := store.Counts{
		Incidents: []store.IncidentCount{{State: incident.Open, Severity: finding.High, Count: 2}},
		Runs:      map[run.State]int64{run.Held: 3}, Pending: 7, Letters: 6, LedgerSize: 99, OldestReady: time.Now().Add(-time.Minute),
	}
	code, text := scrape(t, counted{counts: counts}, func(m *telemetry.Metrics) {
		m.Step(respond.Outcome{Action: "aws.iam.disable_access_key", State: run.Done, Took: 20 * time.Millisecond})
		m.Decided(3 * time.Millisecond)
	})
	if code != http.StatusOK {
		t.Fatalf("got status %d: %s", code, text)
	}
	for _, line := range []string{
		`riposte_build_info{version="1.2.3"} 1`,
		`riposte_events_total{result="passed",source="aws.cloudtrail"} 3`,
		`riposte_events_total{result="duplicate",source="aws.cloudtrail"} 1`,
		`riposte_event_newest_timestamp_seconds{source="aws.cloudtrail"} 1000`,
		`riposte_dead_letters_total{format="record"} 2`,
		`riposte_batches_failed_total 4`,
		`riposte_dead_letters 6`,
		`riposte_incidents{severity="high",state="open"} 2`,
		`riposte_runs{state="held"} 3`,
		`riposte_runs{state="waiting"} 0`,
		`riposte_approvals_pending 7`,
		`riposte_ledger_entries 99`,
		`riposte_part_up{part="store"} 1`,
		`riposte_step_seconds_count{action="aws.iam.disable_access_key",state="done"} 1`,
		`riposte_decide_seconds_count 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is not told", line)
		}
	}
	if _, after, found := strings.Cut(text, "\nriposte_run_ready_oldest_seconds "); !found || after[0] < '1' {
		t.Error("since when the oldest run is ready is not told")
	}
}

// When the store is away is when metrics are needed.
func TestMetricsTellThatTheStoreIsAway(t *testing.T) {
	t.Parallel()
	code, text := scrape(t, counted{err: errors.New("away")}, nil)
	if code != http.StatusOK {
		t.Fatalf("got status %d: %s", code, text)
	}
	for _, line := range []string{
		`riposte_part_up{part="store"} 0`, `riposte_part_up{part="sqs:events"} 1`, `riposte_batches_failed_total 4`,
		`riposte_events_total{result="received",source="aws.cloudtrail"} 5`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is not told", line)
		}
	}
	if strings.Contains(text, "riposte_incidents{") {
		t.Error("incidents are counted though nobody can")
	}
}

func TestTracesArrive(t *testing.T) {
	var came atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && r.URL.Path == "/v1/traces" && len(body) > 0 {
			came.Add(1)
		}
	}))
	defer collector.Close()
	before := otel.GetTracerProvider()
	defer otel.SetTracerProvider(before)
	flush, err := telemetry.Trace(t.Context(), telemetry.Config{Traces: collector.URL}, "1.2.3", "node-a")
	if err != nil {
		t.Fatal(err)
	}
	_, span := otel.Tracer("test").Start(t.Context(), "take in")
	span.End()
	if err := flush(t.Context()); err != nil || came.Load() == 0 {
		t.Errorf("%d requests came, %v", came.Load(), err)
	}
}

func TestTracesThatGoNowhere(t *testing.T) {
	t.Parallel()
	flush, err := telemetry.Trace(t.Context(), telemetry.Config{}, "1.2.3", "node-a")
	if err != nil || flush(t.Context()) != nil {
		t.Errorf("without an endpoint: %v", err)
	}
	for _, c := range []telemetry.Config{{Traces: "localhost:4318"}, {Traces: "http://"}, {Share: -1}, {Share: 1.1}} {
		if _, err := telemetry.Trace(t.Context(), c, "1.2.3", "node-a"); err == nil || !strings.Contains(err.Error(), "telemetry.") {
			t.Errorf("%+v: got %v, want the key named", c, err)
		}
	}
}
