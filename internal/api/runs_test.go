package api_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

func TestRunsArePagedAndFiltered(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	states := []run.State{run.Ready, run.Waiting, run.Succeeded, run.Failed}
	var all []run.Run
	for n := range 13 {
		o.pass(time.Second)
		d := o.decided(strings.Replace(asking, "contain", "contain-"+string(rune('a'+n%2)), 1), func(d *run.Decision) { d.Runs[0].State = states[n%4] })
		all = append(all, d.Runs[0])
	}
	slices.Reverse(all)
	for query, fits := range map[string]func(run.Run) bool{
		"":                              func(run.Run) bool { return true },
		"state=waiting":                 func(r run.Run) bool { return r.State == run.Waiting },
		"state=waiting,failed":          func(r run.Run) bool { return r.State == run.Waiting || r.State == run.Failed },
		"playbook=contain-b":            func(r run.Run) bool { return r.Playbook == "contain-b" },
		"playbook=nothing":              func(run.Run) bool { return false },
		"incident=" + all[4].Incident:   func(r run.Run) bool { return r.ID == all[4].ID },
		"state=held&playbook=contain-a": func(run.Run) bool { return false },
	} {
		var want []string
		for _, r := range all {
			if fits(r) {
				want = append(want, r.ID)
			}
		}
		for _, limit := range []string{"1", "4", "500"} {
			values, err := url.ParseQuery(query + "&limit=" + limit)
			if err != nil {
				t.Fatal(err)
			}
			if got := pages(o, "/v1/runs", values, func(r run.Run) string { return r.ID }); !slices.Equal(got, want) {
				t.Errorf("%q, %s at once: got %v, want %v", query, limit, got, want)
			}
		}
	}
}

func TestAnAnswerIsForTheExactPlan(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	target := "/v1/approvals/" + asked.ID
	other := strings.Repeat("0", len(asked.Hash))
	for _, verb := range []string{"/approve", "/deny"} {
		o.ask(auth.Admin, http.MethodPost, target+verb, `{"hash":"`+other+`"}`).refused(http.StatusConflict, "not the one you saw")
	}
	o.ask(auth.Admin, http.MethodPost, target+"/approve", `{"hash":"`+strings.Repeat("0", 65)+`"}`).refused(http.StatusUnprocessableEntity, "hash")
	o.ask(auth.CloudArchitect, http.MethodPost, target+"/approve", `{"hash":"`+asked.Hash+`"}`).refused(http.StatusForbidden, asked.Roles...)
	o.work()
	if got := o.door(); got != "open" {
		t.Fatalf("the door is %q though nobody who may said yes", got)
	}
	decided := read[run.Approval](o.ask(auth.IncidentAnalyst, http.MethodPost, target+"/approve", `{"hash":"`+asked.Hash+`","reason":"seen"}`))
	if decided.Answer != run.Approved || decided.By != "incident_analyst" || decided.Reason != "seen" {
		t.Errorf("got %+v, want it approved by incident_analyst", decided)
	}
	o.work()
	if got := o.door(); got != "closed" {
		t.Errorf("the door is %q after a yes, want closed", got)
	}
	shown := get[api.RunDetail](o, "/v1/runs/"+asked.Run)
	if shown.Run.State != run.Succeeded || len(shown.Steps) != 1 || !shown.Steps[0].Verified {
		t.Errorf("got the run %s with %d steps, want it succeeded and verified", shown.Run.State, len(shown.Steps))
	}
	o.ask(auth.Admin, http.MethodPost, target+"/deny", `{}`).refused(http.StatusConflict, "answered already")
	if got := o.recorded(record.ApprovalDecided, "incident_analyst"); got != 1 {
		t.Errorf("the ledger says %d times who answered, want once", got)
	}
}

func TestAPlanThatTheWorldLeftBehindIsAskedAnew(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	o.world.Put(account, "door", "ajar")
	read[run.Approval](o.ask(auth.Admin, http.MethodPost, "/v1/approvals/"+asked.ID+"/approve", `{"hash":"`+asked.Hash+`"}`))
	o.work()
	if got := o.door(); got != "ajar" {
		t.Errorf("the door is %q by an approval of another plan", got)
	}
	open := get[store.Page[run.Approval]](o, "/v1/approvals").Items
	if len(open) != 1 || open[0].Hash == asked.Hash {
		t.Errorf("got %d open questions, want one for another hash", len(open))
	}
}

func TestDenying(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	denied := read[run.Approval](o.ask(auth.IncidentAnalyst, http.MethodPost, "/v1/approvals/"+asked.ID+"/deny", `{"reason":"too early"}`))
	o.work()
	if got := get[api.RunDetail](o, "/v1/runs/"+asked.Run).Run.State; denied.Answer != run.Refused || got != run.Denied || o.door() != "open" {
		t.Errorf("got the answer %s, the run %s and the door %q", denied.Answer, got, o.door())
	}
	for query, want := range map[string]int{"": 0, "?answer=denied": 1, "?answer=any": 1, "?answer=approved": 0, "?answer=any&incident=nothing": 0} {
		if got := get[store.Page[run.Approval]](o, "/v1/approvals"+query).Items; len(got) != want {
			t.Errorf("approvals%s: got %d, want %d", query, len(got), want)
		}
	}
}

func TestOfTwoAnswersAtOnceOneCounts(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	codes := make([]int, 8)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() {
			verb := []string{"/approve", "/deny"}[i%2]
			codes[i] = o.ask(auth.Admin, http.MethodPost, "/v1/approvals/"+asked.ID+verb, `{}`).code
		})
	}
	all.Wait()
	slices.Sort(codes)
	if codes[0] != http.StatusOK || slices.ContainsFunc(codes[1:], func(c int) bool { return c != http.StatusConflict }) {
		t.Errorf("got statuses %v, want one 200 and conflicts", codes)
	}
	if got := o.recorded(record.ApprovalDecided, "admin"); got != 1 {
		t.Errorf("the ledger has %d answers, want 1", got)
	}
}

func TestUndoing(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	o.ask(auth.Admin, http.MethodPost, "/v1/approvals/"+asked.ID+"/approve", `{}`)
	o.work()
	runs, matter := "/v1/runs/"+asked.Run+"/undo", "/v1/incidents/"+asked.Incident+"/undo"
	o.ask(auth.Admin, http.MethodPost, runs, `{"step":"nothing"}`).refused(http.StatusNotFound, "nothing")
	o.ask(auth.Admin, http.MethodPost, matter, `{"step":"close"}`).refused(http.StatusBadRequest, "belongs to a run")
	o.ask(auth.Admin, http.MethodPost, runs, `{"forced":true}`).refused(http.StatusUnprocessableEntity, "forced")

	o.world.Put(account, "door", "painted") // somebody changed it since
	undo := read[run.Run](o.ask(auth.IncidentAnalyst, http.MethodPost, runs, `{"step":"close"}`))
	o.work()
	if got := get[api.RunDetail](o, "/v1/runs/"+undo.ID); got.Run.State == run.Succeeded || o.door() != "painted" {
		t.Errorf("the undo is %s and the door %q; want it refused and the door left", got.Run.State, o.door())
	}
	forced := read[run.Run](o.ask(auth.IncidentAnalyst, http.MethodPost, matter, `{"force":true}`))
	o.work()
	if got := get[api.RunDetail](o, "/v1/runs/"+forced.ID).Run; got.State != run.Succeeded || o.door() != "open" || got.By != "incident_analyst" {
		t.Errorf("the forced undo is %s by %s and the door %q; want it open", got.State, got.By, o.door())
	}
}
