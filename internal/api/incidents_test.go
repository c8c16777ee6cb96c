package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// hostile is what somebody may have put into a log: markup, a terminal's control sequence, a line that looks
// like ours, text that runs backwards, a zero byte.
const hostile = "</script><img src=x onerror=alert(1)>\x1b[2J\x1b]0;owned\x07\r\nincident closed\u202egpj.exe\u0000\"'"

// pages walks through a list and gives the ids of all its items.
func pages[T any](o *office, target string, query url.Values, id func(T) string) []string {
	o.Helper()
	var ids []string
	for range 100 {
		page := get[store.Page[T]](o, target+"?"+query.Encode())
		for _, item := range page.Items {
			ids = append(ids, id(item))
		}
		if page.Next == "" {
			return ids
		}
		query.Set("cursor", page.Next)
	}
	o.Fatalf("%s has no end", target)
	return nil
}

func TestIncidentsArePagedAndFiltered(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	states := []incident.State{incident.Open, incident.Contained, incident.Closed}
	severities := []finding.Severity{finding.Low, finding.Medium, finding.High, finding.Critical}
	var all []incident.Incident
	for n := range 24 {
		o.pass(time.Second)
		d := o.decided(asking, func(d *run.Decision) {
			d.Incident.State, d.Incident.Severity = states[n%3], severities[n%4]
			d.Incident.Account = fmt.Sprintf("%012d", n%2)
			d.Incident.Title = fmt.Sprintf("Matter %02d of 100%%", n)
		})
		all = append(all, *d.Incident)
	}
	slices.Reverse(all)
	for name, test := range map[string]struct {
		query string
		fits  func(incident.Incident) bool
	}{
		"without a filter": {"", func(i incident.Incident) bool { return i.State != incident.Closed }},
		"closed":           {"state=closed", func(i incident.Incident) bool { return i.State == incident.Closed }},
		"two states":       {"state=closed,open", func(i incident.Incident) bool { return i.State != incident.Contained }},
		"severity":         {"severity=high", func(i incident.Incident) bool { return i.State != incident.Closed && i.Severity >= finding.High }},
		"account":          {"account=000000000001", func(i incident.Incident) bool { return i.State != incident.Closed && i.Account == "000000000001" }},
		"entity":           {"state=open,contained,closed&entity=" + all[3].Entities[0].ID, func(i incident.Incident) bool { return i.ID == all[3].ID }},
		"text":             {"text=matter+07", func(i incident.Incident) bool { return strings.HasPrefix(i.Title, "Matter 07") }},
		"text as it is":    {"text=%25", func(i incident.Incident) bool { return i.State != incident.Closed }},
		"injection":        {"text='+OR+1=1+--", func(incident.Incident) bool { return false }},
	} {
		var want []string
		for _, i := range all {
			if test.fits(i) {
				want = append(want, i.ID)
			}
		}
		for _, limit := range []string{"1", "5", "500"} {
			query, err := url.ParseQuery(test.query + "&limit=" + limit)
			if err != nil {
				t.Fatal(err)
			}
			if got := pages(o, "/v1/incidents", query, func(i incident.Incident) string { return i.ID }); !slices.Equal(got, want) {
				t.Errorf("%s, %s at once: got %v, want %v", name, limit, got, want)
			}
		}
	}
}

func TestListsRefuseWhatMeansNothing(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, list := range []string{"/v1/incidents", "/v1/runs", "/v1/approvals", "/v1/deadletters", "/v1/ledger"} {
		for query, names := range map[string]string{
			"limit=0": "query.limit", "limit=-1": "query.limit", "limit=5000": "query.limit", "limit=many": "query.limit",
			"limit=99999999999999999999": "query.limit", "what=ever": "query.what",
		} {
			o.ask(auth.Admin, http.MethodGet, list+"?"+query, "").refused(http.StatusUnprocessableEntity, names)
		}
	}
	for _, list := range []string{"/v1/incidents", "/v1/runs", "/v1/deadletters"} {
		for _, cursor := range []string{"x", "AAAA", "fHw", "LTF8", url.QueryEscape("' OR 1=1")} {
			got := o.ask(auth.Admin, http.MethodGet, list+"?cursor="+cursor, "")
			if cursor == "LTF8" && got.code == http.StatusOK { // "-1|" is a position before everything
				continue
			}
			got.refused(http.StatusBadRequest, "cursor")
		}
	}
	for target, part := range map[string]string{
		"/v1/incidents?state=opened":      "query.state",
		"/v1/runs?state=running":          "query.state",
		"/v1/approvals?answer=yes":        "query.answer",
		"/v1/ledger?from=-1":              "query.from",
		"/v1/ledger/proof/first":          "path.seq",
		"/v1/incidents/" + long:           "path.id",
		"/v1/incidents?text=" + long + "": "query.text",
	} {
		o.ask(auth.Admin, http.MethodGet, target, "").refused(http.StatusUnprocessableEntity, part)
	}
	o.ask(auth.Admin, http.MethodGet, "/v1/incidents?severity=worst", "").refused(http.StatusBadRequest, "worst", "critical")
	o.ask(auth.Admin, http.MethodGet, "/v1/ledger?wait=soon", "").refused(http.StatusBadRequest, "wait", "10s")
}

var long = strings.Repeat("l", 300)

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, r := range described() {
		if !strings.Contains(r.path, "{") {
			continue
		}
		for _, id := range []string{"nothing", "%00", "%2e%2e", "%27%20OR%201%3D1", "%ff"} {
			if strings.Contains(r.path, "{seq}") {
				id = "999999"
			}
			target := strings.NewReplacer("{id}", id, "{seq}", id).Replace(r.path)
			got := o.ask(auth.Admin, r.method, target, r.body)
			if got.code != http.StatusNotFound {
				t.Errorf("%s %s: got status %d, want 404: %s", r.method, target, got.code, got.body)
			}
		}
	}
	if got := o.ask(auth.Admin, http.MethodPut, "/v1/incidents", ""); got.code != http.StatusMethodNotAllowed {
		t.Errorf("another method: got status %d, want 405", got.code)
	}
}

func TestAnIncidentIsShownWithAllThatBelongsToIt(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	o.asked() // another one
	shown := get[api.IncidentDetail](o, "/v1/incidents/"+asked.Incident)
	if shown.Incident.ID != asked.Incident || len(shown.Findings) != 1 || len(shown.Runs) != 1 || len(shown.Approvals) != 1 {
		t.Errorf("got %d findings, %d runs, %d approvals; want one each", len(shown.Findings), len(shown.Runs), len(shown.Approvals))
	}
	for _, e := range shown.Timeline {
		if e.Incident != asked.Incident {
			t.Errorf("entry %d of the timeline is about %s", e.Seq, e.Incident)
		}
	}
	if len(shown.Timeline) < 3 {
		t.Errorf("the timeline has %d entries; want the opening, the start and the question at least", len(shown.Timeline))
	}
	found := get[api.FindingDetail](o, "/v1/findings/"+shown.Findings[0].ID)
	if len(found.Events) != 1 || found.Events[0].Raw != `{"n":1}` {
		t.Errorf("got events %+v, want the one with its bytes", found.Events)
	}
}

func TestClosing(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	target := "/v1/incidents/" + asked.Incident + "/close"
	for body, part := range map[string]string{
		`{"verdict":"true_positive"}`:                                     "note",
		`{"note":"n"}`:                                                    "verdict",
		`{"verdict":"maybe","note":"n"}`:                                  "true_positive",
		`{"verdict":"benign","note":""}`:                                  "note",
		`{"verdict":"benign","note":"n","force":true}`:                    "force",
		`{"verdict":"benign","note":"` + strings.Repeat("n", 5000) + `"}`: "note",
		`{"verdict":7,"note":"n"}`:                                        "verdict",
		`[]`:                                                              "body",
	} {
		o.ask(auth.IncidentAnalyst, http.MethodPost, target, body).refused(http.StatusUnprocessableEntity, part)
	}
	if got := get[api.IncidentDetail](o, "/v1/incidents/"+asked.Incident).Incident.State; got != incident.Open {
		t.Fatalf("the incident is %s after bad requests", got)
	}
	closed := read[api.Closed](o.ask(auth.IncidentAnalyst, http.MethodPost, target, `{"verdict":"benign","note":"a drill"}`))
	if closed.Incident.State != incident.Closed || closed.Incident.Verdict != incident.Benign || closed.Incident.Note != "a drill" || closed.Undo != nil {
		t.Errorf("got %+v, want it closed as benign without an undo", closed)
	}
	if got := get[run.Approval](o, "/v1/approvals/"+asked.ID).Answer; got != run.Superseded {
		t.Errorf("its question is %s, want superseded", got)
	}
	if got := o.recorded(record.IncidentClosed, "incident_analyst"); got != 1 {
		t.Errorf("the ledger says %d times who closed it, want once", got)
	}
	o.ask(auth.IncidentAnalyst, http.MethodPost, target, `{"verdict":"true_positive","note":"no"}`).refused(http.StatusConflict, "closed already")
}

func TestAFalsePositiveTakesBackWhatWasApplied(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	read[run.Approval](o.ask(auth.Admin, http.MethodPost, "/v1/approvals/"+asked.ID+"/approve", `{"hash":"`+asked.Hash+`"}`))
	o.work()
	if got := o.door(); got != "closed" {
		t.Fatalf("the door is %q, want closed", got)
	}
	closed := read[api.Closed](o.ask(auth.SecurityEngineer, http.MethodPost, "/v1/incidents/"+asked.Incident+"/close", `{"verdict":"false_positive","note":"ours"}`))
	o.work()
	if closed.Undo == nil || o.door() != "open" {
		t.Errorf("got the undo %v and the door %q, want it open again", closed.Undo, o.door())
	}
}

func TestHostileTextComesOutAsData(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	d := o.decided(asking, func(d *run.Decision) {
		d.Incident.Title, d.Finding.Title = hostile, hostile
		d.Incident.Entities[0].ID = hostile
		d.Events[0].Raw = []byte(hostile + "\xff\xfe")
		d.Events[0].Name = hostile
	})
	for _, target := range []string{"/v1/incidents", "/v1/incidents/" + d.Incident.ID, "/v1/findings/" + d.Finding.ID} {
		got := o.ask(auth.Admin, http.MethodGet, target, "")
		if got.code != http.StatusOK || !json.Valid([]byte(got.body)) {
			t.Fatalf("%s: got status %d, %q", target, got.code, got.body)
		}
		for _, c := range got.body {
			if c < 0x20 && c != '\n' {
				t.Errorf("%s: the control character %U comes out as it is", target, c)
			}
		}
		if kind := got.header.Get("Content-Type"); kind != "application/json" || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got content type %q, nosniff %q", target, kind, got.header.Get("X-Content-Type-Options"))
		}
	}
	// What a database of text can't hold, the zero byte, is the only thing that is lost.
	if got, want := get[api.IncidentDetail](o, "/v1/incidents/"+d.Incident.ID).Incident.Title, hostile; got != want {
		t.Errorf("got the title %q, want %q", got, want)
	}
	o.ask(auth.Admin, http.MethodGet, "/v1/incidents/"+url.PathEscape(hostile), "").refused(http.StatusNotFound)
	o.ask(auth.Admin, http.MethodPost, "/v1/freezes", `{"scope":"<script>","reason":"r"}`).refused(http.StatusUnprocessableEntity)
}
