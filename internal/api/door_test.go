package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/health"
)

func TestBodiesThatAreNoneOfOurs(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	const target = "/v1/freezes"
	deep := strings.Repeat(`[`, 100_000)
	for name, test := range map[string]struct {
		body, kind string
		status     int
	}{
		"none":            {"", "application/json", http.StatusBadRequest},
		"cut":             {`{"scope":`, "application/json", http.StatusBadRequest},
		"two":             {`{"scope":"everything","reason":"r"} {}`, "application/json", http.StatusBadRequest},
		"deep":            {`{"reason":` + deep, "application/json", http.StatusBadRequest},
		"deep and closed": {`{"reason":` + deep + strings.Repeat("]", 100_000) + `}`, "application/json", http.StatusBadRequest},
		"large":           {`{"scope":"everything","reason":"` + strings.Repeat("r", 2<<20) + `"}`, "application/json", http.StatusRequestEntityTooLarge},
		"a form":          {"scope=everything&reason=r", "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType},
		"another format":  {"scope: everything", "application/yaml", http.StatusUnsupportedMediaType},
		"nothing":         {"null", "application/json", http.StatusUnprocessableEntity},
		"a list":          {"[]", "application/json", http.StatusUnprocessableEntity},
		"unknown key":     {`{"scope":"everything","reason":"r","Reason2":"r"}`, "application/json", http.StatusUnprocessableEntity},
	} {
		got := o.ask(auth.Admin, http.MethodPost, target, test.body, "Content-Type", test.kind)
		if got.code != test.status {
			t.Errorf("%s: got status %d, want %d: %.300s", name, got.code, test.status, got.body)
		}
		if len(got.body) > 64<<10 {
			t.Errorf("%s: the answer has %d bytes: it repeats what came", name, len(got.body))
		}
	}
	if list := o.ask(auth.Admin, http.MethodGet, target, ""); !strings.Contains(list.body, `"items":[]`) {
		t.Errorf("something is frozen after bad requests: %s", list.body)
	}
}

func TestHeadersKeepAnswersData(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, r := range append(routes(), route{method: http.MethodGet, path: "/healthz"}, route{method: http.MethodGet, path: "/readyz"},
		route{method: http.MethodGet, path: "/nowhere"}) {
		got := o.ask(auth.Admin, r.method, r.target(), r.body)
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got.header.Get(header) != want {
				t.Errorf("%s %s: %s is %q, want %q", r.method, r.path, header, got.header.Get(header), want)
			}
		}
		if got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: pages from elsewhere may read it", r.method, r.path)
		}
	}
}

func TestReadinessTellsWhatFailsToWhoMayKnow(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.board.Add(health.Part{Name: "queue", Check: func(context.Context) error { return errors.New("no such queue") }})
	o.board.Look(t.Context())
	for as, tells := range map[auth.Role]bool{"": false, auth.Monitor: false, auth.EventSender: false, auth.ComplianceOfficer: true} {
		got := o.ask(as, http.MethodGet, "/readyz", "")
		if got.code != http.StatusServiceUnavailable || strings.Contains(got.body, "no such queue") != tells {
			t.Errorf("as %q: got status %d, %s", as, got.code, got.body)
		}
	}
	o.from = "192.0.2.9:1"
	for range 100 { // probes name nobody
		o.ask("", http.MethodGet, "/readyz", "")
	}
	if got := o.ask("", http.MethodGet, "/v1/runs", ""); got.code != http.StatusUnauthorized {
		t.Errorf("after probes from its address: got status %d, want 401", got.code)
	}
}

func TestWhatIsInternalStaysInside(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	o := newOffice(t, func(o *api.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range described() {
		if strings.Contains("/v1/me /v1/status /v1/rules /v1/playbooks /v1/actions /v1/oncall", r.path) || strings.Contains(r.path, "export") ||
			strings.HasSuffix(r.path, "/plan") { // the planner is the application's
			continue
		}
		got := o.ask(auth.Admin, r.method, r.target(), r.body)
		if got.code < http.StatusInternalServerError {
			t.Errorf("%s %s on a closed store: got status %d: %s", r.method, r.path, got.code, got.body)
		}
		if strings.Contains(strings.ToLower(got.body), "sql") || strings.Contains(got.body, ".db") {
			t.Errorf("%s %s tells of the inside: %s", r.method, r.path, got.body)
		}
	}
	if !strings.Contains(log.String(), "request failed") {
		t.Error("the operator's log says nothing")
	}
}

func TestAServerWithoutOptionalPartsDescribesItself(t *testing.T) {
	t.Parallel()
	text, err := api.Describe("1.2.3")
	if err != nil || !json.Valid(text) || !strings.Contains(string(text), `"1.2.3"`) {
		t.Errorf("got %v, %.100s", err, text)
	}
	o := newOffice(t, func(o *api.Options) { o.Events, o.SNS, o.Metrics = nil, nil, nil })
	for _, path := range []string{"/v1/events", "/v1/sns"} {
		w := httptest.NewRecorder()
		o.server.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader("{}")))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s isn't there and answers %d", path, w.Code)
		}
	}
}
