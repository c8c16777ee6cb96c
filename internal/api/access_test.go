package api_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/auth"
)

// route is what a request needs. Its path names something that isn't there.
type route struct {
	method, path, body string
	need               auth.Permission
}

// described are the routes that the OpenAPI document has to have, by hand: who may do what must not change
// because a line in the code did.
func described() []route {
	const get, post, drop = http.MethodGet, http.MethodPost, http.MethodDelete
	return []route{
		{get, "/v1/incidents", "", auth.IncidentsRead},
		{get, "/v1/incidents/{id}", "", auth.IncidentsRead},
		{post, "/v1/incidents/{id}/close", `{"verdict":"benign","note":"n"}`, auth.IncidentsWrite},
		{post, "/v1/incidents/{id}/undo", `{}`, auth.RunsUndo},
		{post, "/v1/incidents/{id}/plan", `{"playbook":"p"}`, auth.RunsApprove},
		{get, "/v1/findings", "", auth.IncidentsRead},
		{get, "/v1/findings/{id}", "", auth.IncidentsRead},
		{get, "/v1/runs", "", auth.IncidentsRead},
		{get, "/v1/runs/{id}", "", auth.IncidentsRead},
		{post, "/v1/runs/{id}/undo", `{}`, auth.RunsUndo},
		{get, "/v1/approvals", "", auth.IncidentsRead},
		{get, "/v1/approvals/{id}", "", auth.IncidentsRead},
		{post, "/v1/approvals/{id}/approve", `{}`, auth.RunsApprove},
		{post, "/v1/approvals/{id}/deny", `{}`, auth.RunsApprove},
		{get, "/v1/freezes", "", auth.RailsRead},
		{post, "/v1/freezes", `{"scope":"everything","reason":"r"}`, auth.RailsFreeze},
		{drop, "/v1/freezes/{id}", "", auth.RailsUnfreeze},
		{get, "/v1/protections", "", auth.RailsRead},
		{post, "/v1/protections", `{"name":"x","reason":"r"}`, auth.RailsProtect},
		{drop, "/v1/protections/{id}", "", auth.RailsProtect},
		{get, "/v1/deadletters", "", auth.LettersRead},
		{get, "/v1/deadletters/{id}", "", auth.LettersRead},
		{post, "/v1/deadletters/{id}/replay", "", auth.LettersReplay},
		{drop, "/v1/deadletters/{id}", "", auth.LettersReplay},
		{get, "/v1/ledger", "", auth.LedgerRead},
		{get, "/v1/ledger/checkpoint", "", auth.LedgerRead},
		{get, "/v1/ledger/verify", "", auth.LedgerRead},
		{get, "/v1/ledger/export", "", auth.LedgerRead},
		{get, "/v1/ledger/proof/{seq}", "", auth.LedgerRead},
		{get, "/v1/me", "", auth.IncidentsRead},
		{get, "/v1/status", "", auth.IncidentsRead},
		{get, "/v1/rules", "", auth.ConfigRead},
		{get, "/v1/playbooks", "", auth.ConfigRead},
		{get, "/v1/actions", "", auth.ConfigRead},
		{get, "/v1/sources", "", auth.ConfigRead},
		{get, "/v1/oncall", "", auth.IncidentsRead},
	}
}

// routes are all that need a token.
func routes() []route {
	return append(described(),
		route{http.MethodGet, "/metrics", "", auth.MetricsRead},
		route{http.MethodGet, "/openapi.json", "", auth.IncidentsRead},
		route{http.MethodPost, "/v1/events", `{"eventVersion":"1.08"}`, auth.EventsWrite})
}

// target is a route's path with names of nothing.
func (r route) target() string {
	return strings.NewReplacer("{id}", "nothing", "{seq}", "999999").Replace(r.path)
}

func TestEveryRouteLetsInWhoMayAndNobodyElse(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, r := range routes() {
		for _, role := range auth.Roles() {
			got := o.ask(role, r.method, r.target(), r.body)
			switch {
			case got.code == http.StatusUnauthorized, got.code >= http.StatusInternalServerError:
				t.Errorf("%s %s as %s: got status %d: %s", r.method, r.path, role, got.code, got.body)
			case role.May(r.need) == (got.code == http.StatusForbidden):
				t.Errorf("%s %s as %s: got status %d; who has %s may, nobody else", r.method, r.path, role, got.code, r.need)
			case got.code == http.StatusForbidden && !strings.Contains(got.body, string(r.need)):
				t.Errorf("%s %s as %s: the answer does not say what is lacking: %s", r.method, r.path, role, got.body)
			}
		}
	}
}

func TestNothingWithoutAToken(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	all := routes()
	for _, path := range []string{"/openapi.yaml", "/openapi-3.0.json", "/openapi-3.0.yaml", "/schemas/Run.json", "/docs", "/", "/v1", "/debug/pprof/"} {
		all = append(all, route{method: http.MethodGet, path: path})
	}
	for _, r := range all {
		got := o.ask("", r.method, r.target(), r.body)
		if got.code != http.StatusUnauthorized && (r.need != "" || got.code != http.StatusNotFound) {
			t.Errorf("%s %s: got status %d without a token: %.200s", r.method, r.path, got.code, got.body)
		}
		if got.code == http.StatusUnauthorized && got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s %s: the answer does not say how to authenticate", r.method, r.path)
		}
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusOK} {
		if got := o.ask("", http.MethodGet, path, ""); got.code != want {
			t.Errorf("%s: got status %d, want %d", path, got.code, want)
		}
	}
}

func TestTheDescriptionHasEveryRoute(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Description string
			Tags        []string
		}
		Security   []map[string][]string
		Components struct {
			SecuritySchemes map[string]struct{ Type, Scheme string } `json:"securitySchemes"`
			Schemas         map[string]any
		}
	}
	text := o.ask(auth.ComplianceOfficer, http.MethodGet, "/openapi.json", "")
	if err := json.Unmarshal([]byte(text.body), &document); err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, methods := range document.Paths {
		known += len(methods)
	}
	if want := described(); known != len(want) {
		t.Errorf("the description has %d operations, want %d: is a new one in the test's table?", known, len(want))
	}
	var ids []string
	for _, r := range described() {
		op, has := document.Paths[r.path][strings.ToLower(r.method)]
		if !has {
			t.Errorf("%s %s is not described", r.method, r.path)
			continue
		}
		if op.Summary == "" || len(op.Tags) != 1 || !strings.Contains(op.Description, string(r.need)) {
			t.Errorf("%s %s: got %+v, want a summary, a tag and the permission %s", r.method, r.path, op, r.need)
		}
		ids = append(ids, op.OperationID)
	}
	slices.Sort(ids)
	if distinct := slices.Compact(slices.Clone(ids)); len(distinct) != len(ids) {
		t.Errorf("operations share names: %v", ids)
	}
	if scheme := document.Components.SecuritySchemes["token"]; scheme.Scheme != "bearer" || len(document.Security) != 1 {
		t.Errorf("got %+v, want bearer tokens for everything", document.Security)
	}
	if strings.Contains(text.body, "$ref") && len(document.Components.Schemas) == 0 {
		t.Error("the description refers to schemas that it lacks")
	}
}

func TestWrongTokensAreCountedByAddress(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	unknown, _, err := auth.Generate()
	if err != nil {
		t.Fatal(err)
	}
	o.from = "192.0.2.1:1234"
	seen := map[int]bool{}
	for range 200 {
		seen[o.ask("", http.MethodGet, "/v1/runs", "", "Authorization", "Bearer "+unknown).code] = true
	}
	if !seen[http.StatusUnauthorized] || !seen[http.StatusTooManyRequests] || len(seen) != 2 {
		t.Errorf("got statuses %v, want 401 and then 429", seen)
	}
	if got := o.ask(auth.Admin, http.MethodGet, "/v1/runs", ""); got.code != http.StatusOK {
		t.Errorf("a right token from that address: got status %d, want 200", got.code)
	}
}

func TestEventsFromWhoSignsThem(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	sign := func(body, timestamp string) string {
		mac := hmac.New(sha256.New, []byte(sharedKey))
		mac.Write([]byte(timestamp + "." + body))
		return "v1=" + hex.EncodeToString(mac.Sum(nil))
	}
	const body = `{"what": "is this"}`
	now := strconv.FormatInt(noon.Unix(), 10)
	old := strconv.FormatInt(noon.Unix()-3600, 10)
	for name, test := range map[string]struct {
		sender, timestamp, signature, body string
		status                             int
	}{
		"as signed":       {sender, now, sign(body, now), body, http.StatusAccepted},
		"sender implied":  {"", now, sign(body, now), body, http.StatusAccepted},
		"another body":    {sender, now, sign(body, now), body + " ", http.StatusUnauthorized},
		"old":             {sender, old, sign(body, old), body, http.StatusUnauthorized},
		"no time":         {sender, "", sign(body, ""), body, http.StatusUnauthorized},
		"unknown sender":  {"mallory", now, sign(body, now), body, http.StatusUnauthorized},
		"empty signature": {sender, now, "v1=", body, http.StatusUnauthorized},
	} {
		headers := []string{auth.SignatureHeader, test.signature, auth.TimestampHeader, test.timestamp}
		if test.sender != "" {
			headers = append(headers, auth.SenderHeader, test.sender)
		}
		if got := o.ask("", http.MethodPost, "/v1/events", test.body, headers...); got.code != test.status {
			t.Errorf("%s: got status %d, want %d: %s", name, got.code, test.status, got.body)
		}
	}
	large := strings.Repeat(" ", 17<<20)
	if got := o.ask("", http.MethodPost, "/v1/events", large, auth.SignatureHeader, sign(large, now), auth.TimestampHeader, now); got.code != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: got status %d, want 413", got.code)
	}
	for _, r := range routes() {
		if r.path == "/v1/events" {
			continue
		}
		if got := o.ask("", r.method, r.target(), r.body, auth.SignatureHeader, sign(r.body, now), auth.TimestampHeader, now); got.code != http.StatusUnauthorized {
			t.Errorf("%s %s signed by a sender: got status %d, want 401", r.method, r.path, got.code)
		}
	}
}
