// Package telemetry shows operators what Riposte does: metrics for Prometheus, traces by OpenTelemetry.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/follow"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/ingest"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// tracesPath is where a collector takes traces, by the specification of OTLP/HTTP.
const tracesPath = "/v1/traces"

// Config says where traces go.
type Config struct {
	// Traces is the OTLP/HTTP endpoint that takes traces, such as http://localhost:4318; none if empty.
	Traces string `yaml:"traces"`
	// Share of the traces that are kept, 0 to 1; all if zero.
	Share float64 `yaml:"share"`
}

// Check finds what is wrong. Errors are Invalid and name the key.
func (c Config) Check() error {
	var errs []error
	if parsed, err := url.Parse(c.Traces); c.Traces != "" && (err != nil || parsed.Host == "") {
		errs = append(errs, fmt.Errorf("telemetry.traces: %q is not a URL such as http://localhost:4318", c.Traces))
	}
	if !(c.Share >= 0 && c.Share <= 1) { // nor is what is no number
		errs = append(errs, fmt.Errorf("telemetry.share: %v is not from 0 to 1", c.Share))
	}
	return fault.Wrap(fault.Invalid, errors.Join(errs...))
}

// Trace starts sending traces. The returned function sends what is left and stops.
func Trace(ctx context.Context, c Config, version, node string) (func(context.Context) error, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Traces == "" {
		return func(context.Context) error { return nil }, nil
	}
	endpoint, err := url.Parse(c.Traces)
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = tracesPath
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint.String()))
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	if c.Share <= 0 {
		c.Share = 1
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Share))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "riposte"), attribute.String("service.version", version),
			attribute.String("service.instance.id", node))),
	)
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}

// Counter gives what the store counts.
type Counter interface {
	Counts(ctx context.Context) (store.Counts, error)
}

// Metrics are all of a process's.
type Metrics struct {
	registry *prometheus.Registry
	steps    *prometheus.HistogramVec
	decided  prometheus.Histogram
}

// New makes metrics that read the parts when they are asked.
func New(version string, counts Counter, stats func() ingest.Stats, board *health.Board) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "riposte_step_seconds", Help: "Time from a step's start to its end, waiting included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600, 3600},
		}, []string{"action", "state"}),
		decided: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "riposte_decide_seconds", Help: "Time to detect, triage and make durable one batch of events.",
			Buckets: prometheus.ExponentialBuckets(.0005, 2, 16),
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "riposte_build_info", Help: "1, labelled by version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.steps, m.decided, build, &state{counts: counts, stats: stats, board: board},
	)
	return m
}

// Follow shows how far what follows the ledger has come.
func (m *Metrics) Follow(states func() []follow.State, now func() time.Time) {
	m.registry.MustRegister(&followers{states, now})
}

// Step observes one ended attempt of a step.
func (m *Metrics) Step(o respond.Outcome) {
	m.steps.WithLabelValues(o.Action, string(o.State)).Observe(o.Took.Seconds())
}

// Decided observes how long one batch took.
func (m *Metrics) Decided(took time.Duration) { m.decided.Observe(took.Seconds()) }

// Handler serves the metrics: without those of the store while it is away.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// state reads what is at the moment when it is asked.
type state struct {
	counts Counter
	stats  func() ingest.Stats
	board  *health.Board
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("riposte_"+name, help, labels, nil)
}

var ( //nolint:gochecknoglobals // constant descriptions
	events    = describe("events_total", "Events by source and what became of them.", "source", "result")
	newest    = describe("event_newest_timestamp_seconds", "Time of the newest event of a source.", "source")
	letters   = describe("dead_letters_total", "Records set aside since the start, by format.", "format")
	failed    = describe("batches_failed_total", "Batches that could not be made durable, and come again.")
	unread    = describe("dead_letters", "Records set aside and not replayed.")
	incidents = describe("incidents", "Incidents by state and severity.", "state", "severity")
	runs      = describe("runs", "Runs by state.", "state")
	pending   = describe("approvals_pending", "Questions nobody answered yet.")
	size      = describe("ledger_entries", "Entries of the ledger.")
	oldest    = describe("run_ready_oldest_seconds", "Since when the oldest ready run has been ready.")
	up        = describe("part_up", "1 if a part works.", "part")
	lag       = describe("follower_lag_seconds", "How long the oldest record waits that a follower has not handed on.", "follower")
	failing   = describe("follower_failures", "Tries of a follower that failed since one did not.", "follower")
	handed    = describe("follower_records_total", "Records that a follower of this process handed on.", "follower")
)

// followers reads how far each has come at the moment when it is asked.
type followers struct {
	states func() []follow.State
	now    func() time.Time
}

// Describe implements prometheus.Collector: which followers there are is in the configuration.
func (f *followers) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f *followers) Collect(out chan<- prometheus.Metric) {
	for _, s := range f.states() {
		out <- gauge(lag, s.Lag(f.now()).Seconds(), s.Name)
		out <- gauge(failing, float64(s.Failed), s.Name)
		out <- prometheus.MustNewConstMetric(handed, prometheus.CounterValue, float64(s.Count), s.Name)
	}
}

// Describe implements prometheus.Collector: it is unchecked, for its labels come with what happens.
func (s *state) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *state) Collect(out chan<- prometheus.Metric) {
	s.intake(out)
	states, _ := s.board.States()
	for _, part := range states {
		value := 0.0
		if part.OK {
			value = 1
		}
		out <- gauge(up, value, part.Name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	counts, err := s.counts.Counts(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(incidents, err)
		return
	}
	for _, i := range counts.Incidents {
		out <- gauge(incidents, float64(i.Count), string(i.State), i.Severity.String())
	}
	for _, known := range []run.State{run.Ready, run.Waiting, run.Held, run.Succeeded, run.Observed, run.Denied, run.Blocked, run.Failed, run.Cancelled} {
		out <- gauge(runs, float64(counts.Runs[known]), string(known))
	}
	out <- gauge(pending, float64(counts.Pending))
	out <- gauge(unread, float64(counts.Letters))
	out <- gauge(size, float64(counts.LedgerSize))
	age := 0.0
	if !counts.OldestReady.IsZero() {
		age = time.Since(counts.OldestReady).Seconds()
	}
	out <- gauge(oldest, age)
}

func (s *state) intake(out chan<- prometheus.Metric) {
	stats := s.stats()
	for source, counts := range stats.Sources {
		for result, n := range map[string]uint64{
			"received": counts.Received, "duplicate": counts.Duplicates, "passed": counts.Passed, "refused": counts.Refused,
		} {
			out <- prometheus.MustNewConstMetric(events, prometheus.CounterValue, float64(n), string(source), result)
		}
		if !counts.Latest.IsZero() {
			out <- gauge(newest, float64(counts.Latest.Unix()), string(source))
		}
	}
	for format, n := range stats.Letters {
		out <- prometheus.MustNewConstMetric(letters, prometheus.CounterValue, float64(n), format)
	}
	out <- prometheus.MustNewConstMetric(failed, prometheus.CounterValue, float64(stats.Failed))
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric { //nolint:ireturn // it has no other type
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
