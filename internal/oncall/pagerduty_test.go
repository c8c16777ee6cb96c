package oncall_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/oncall"
	"github.com/riposte-sec/riposte/internal/secret"
)

const token = "u+hunterNADNy"

// pager is a PagerDuty with one schedule.
type pager struct {
	*httptest.Server
	testing.TB
	mu     sync.Mutex
	asked  int
	status int
	on     []map[string]any
	clock  time.Time
}

func (p *pager) now() time.Time { return p.clock }

func on(email string, level int, start, end any) map[string]any {
	return map[string]any{
		"escalation_level": level, "start": start, "end": end, "schedule": map[string]any{"id": "PI7DH85"},
		"user": map[string]any{"id": "P1", "summary": email, "email": email, "description": strings.Repeat("d", 500)},
	}
}

func open(tb testing.TB) (*pager, *oncall.Rotations) {
	tb.Helper()
	p := &pager{TB: tb, status: http.StatusOK, clock: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked++
		query := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != "/oncalls" || query.Get("schedule_ids[]") != "PI7DH85" || query.Get("include[]") != "users" ||
			r.Header.Get("Authorization") != "Token token="+token || r.Header.Get("Accept") != "application/vnd.pagerduty+json;version=2" {
			tb.Errorf("got %s %s %v", r.Method, r.URL, r.Header)
		}
		w.WriteHeader(p.status)
		limit, _ := strconv.Atoi(query.Get("limit"))
		offset, _ := strconv.Atoi(query.Get("offset"))
		last := min(offset+limit, len(p.on))
		_ = json.NewEncoder(w).Encode(map[string]any{"oncalls": p.on[min(offset, last):last], "limit": limit, "offset": offset, "more": last < len(p.on), "echo": token})
	}))
	tb.Cleanup(p.Close)
	r, err := oncall.New(oncall.Config{"security": {PagerDuty: oncall.PagerDuty{
		Schedule: "PI7DH85", Token: secret.New(token), URL: p.URL, Roles: []string{"incident_analyst"},
	}}}, oncall.Options{Courier: courier.New(nil, p.now), Now: p.now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	return p, r
}

func at(p *pager) string { return p.clock.Format(time.RFC3339) }

func TestWhoIsOnCallAtPagerDuty(t *testing.T) {
	t.Parallel()
	p, r := open(t)
	p.on = []map[string]any{
		on("second@example.com", 2, nil, nil), on("ana@example.com", 1, "2026-03-04T09:00:00+01:00", "2026-03-05T09:00:00+01:00"),
		on("ana@example.com", 3, "2026-03-04T09:00:00+01:00", "2026-03-05T09:00:00+01:00"),
		on("ben@example.com", 1, "2026-03-05T08:00:00Z", "2026-03-06T08:00:00Z"), on("<script>", 1, nil, nil),
	}
	if got := whoAt(t, r, at(p)); got != "ana@example.com,second@example.com" {
		t.Errorf("got %q", got)
	}
	shift, err := r.Shift(t.Context(), "security", p.clock)
	if err != nil || !shift.Until.Equal(time.Date(2026, 3, 5, 8, 0, 0, 0, time.UTC)) || shift.People[0].Email != "ana@example.com" || len(shift.People[0].Roles) != 1 {
		t.Errorf("got %+v, %v", shift, err)
	}
	if got := whoAt(t, r, shift.Until.Format(time.RFC3339)); got != "ben@example.com,second@example.com" {
		t.Errorf("next is %q", got)
	}
	if p.asked != 1 {
		t.Errorf("PagerDuty was asked %d times within a minute, want once", p.asked)
	}
}

func TestTheLastKnownCountsWhilePagerDutyIsAway(t *testing.T) {
	t.Parallel()
	p, r := open(t)
	p.status = http.StatusBadGateway
	if _, err := r.Who(t.Context(), "security", p.clock); !fault.Is(err, fault.Transient) || strings.Contains(err.Error(), token) {
		t.Errorf("nothing is known yet: got %v, want it transient", err)
	}
	p.status = http.StatusOK
	p.on = []map[string]any{on("ana@example.com", 1, nil, "2026-03-05T08:00:00Z"), on("ben@example.com", 1, "2026-03-05T08:00:00Z", nil)}
	if got := whoAt(t, r, at(p)); got != "ana@example.com" {
		t.Errorf("got %q", got)
	}
	p.on = []map[string]any{on("cem@example.com", 1, nil, nil)}
	p.clock = p.clock.Add(59 * time.Second)
	if got := whoAt(t, r, at(p)); got != "ana@example.com" {
		t.Errorf("within a minute: got %q", got)
	}
	p.status = http.StatusInternalServerError
	p.clock = p.clock.Add(24 * time.Hour)
	if got := whoAt(t, r, at(p)); got != "ben@example.com" {
		t.Errorf("a day later, while it is away: got %q, want who it said would be", got)
	}
	before := p.asked
	for range 5 {
		whoAt(t, r, at(p))
	}
	if p.asked != before {
		t.Errorf("it was asked %d more times within a minute", p.asked-before)
	}
	p.status = http.StatusOK
	p.clock = p.clock.Add(time.Minute)
	if got := whoAt(t, r, at(p)); got != "cem@example.com" {
		t.Errorf("back again: got %q", got)
	}
	p.status = http.StatusUnauthorized
	p.clock = p.clock.Add(8 * 24 * time.Hour)
	if people, err := r.Who(t.Context(), "security", p.clock); err == nil {
		t.Errorf("longer than it said: got %v", people)
	}
}

func TestManyPagesOfPagerDuty(t *testing.T) {
	t.Parallel()
	p, r := open(t)
	for i := range 60 {
		p.on = append(p.on, on(fmt.Sprintf("p%02d@example.com", i), i+1, nil, nil))
	}
	if got := strings.Count(whoAt(t, r, at(p)), "@"); got != 60 || p.asked != 3 {
		t.Errorf("%d people of %d answers, want 60 of 3", got, p.asked)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	right := oncall.PagerDuty{Schedule: "PI7DH85", Token: secret.New(token), Roles: []string{"admin"}}
	with := func(change func(*oncall.PagerDuty)) oncall.Config {
		c := right
		change(&c)
		return oncall.Config{"security": {PagerDuty: c}}
	}
	for name, test := range map[string]struct {
		c    oncall.Config
		says string
	}{
		"right":    {with(func(*oncall.PagerDuty) {}), ""},
		"none":     {oncall.Config{"security": {}}, "either file or"},
		"both":     {oncall.Config{"security": {File: "x", PagerDuty: right}}, "either file or"},
		"no file":  {oncall.Config{"security": {File: "/nowhere/x.yaml"}}, "oncall.security: file"},
		"a name":   {oncall.Config{"Security Team": {PagerDuty: right}}, "lower-case"},
		"schedule": {with(func(c *oncall.PagerDuty) { c.Schedule = "x/../y" }), "pagerduty.schedule"},
		"token":    {with(func(c *oncall.PagerDuty) { c.Token = secret.New("hunter\n") }), "pagerduty.token"},
		"url":      {with(func(c *oncall.PagerDuty) { c.URL = "http://api.pagerduty.com" }), "pagerduty.url"},
		"roles":    {with(func(c *oncall.PagerDuty) { c.Roles = nil }), "pagerduty.roles"},
	} {
		_, err := oncall.New(test.c, oncall.Options{Logger: slog.New(slog.DiscardHandler)})
		if test.says == "" && err != nil || test.says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: got %v, want %q said", name, err, test.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
}
