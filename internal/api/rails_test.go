package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

func TestAFreezeHoldsAndLiftingItLetsGo(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	asked := o.asked()
	for _, body := range []string{
		`{"scope":"everything","reason":"looking","for":"2h"}`,
		`{"scope":"account","value":"` + account + `","reason":"looking"}`,
		`{"scope":"playbook","value":"contain","reason":"looking"}`,
	} {
		frozen := read[guardrail.Freeze](o.ask(auth.CloudArchitect, http.MethodPost, "/v1/freezes", body))
		if frozen.By != "cloud_architect" || frozen.Reason != "looking" || !frozen.At.Equal(o.now()) {
			t.Errorf("got %+v", frozen)
		}
	}
	if got := get[store.Page[guardrail.Freeze]](o, "/v1/freezes").Items; len(got) != 3 || !got[1].Until.Equal(noon.Add(2*time.Hour)) {
		t.Errorf("got the freezes %+v", got)
	}
	o.ask(auth.Admin, http.MethodPost, "/v1/approvals/"+asked.ID+"/approve", `{}`)
	o.work()
	if got := get[api.RunDetail](o, "/v1/runs/"+asked.Run).Run.State; got != run.Held || o.door() != "open" {
		t.Fatalf("the run is %s and the door %q; want it held", got, o.door())
	}
	for _, id := range []string{"everything", "account:" + account, "playbook:contain"} {
		read[api.Done](o.ask(auth.SecurityEngineer, http.MethodDelete, "/v1/freezes/"+id+"?reason=done", ""))
		o.work()
	}
	if got := get[api.RunDetail](o, "/v1/runs/"+asked.Run).Run.State; got != run.Succeeded || o.door() != "closed" {
		t.Errorf("the run is %s and the door %q; want it to go on at once", got, o.door())
	}
	o.ask(auth.Admin, http.MethodDelete, "/v1/freezes/everything", "").refused(http.StatusNotFound, "everything")
	if got := o.recorded(record.GuardrailChanged, "cloud_architect") + o.recorded(record.GuardrailChanged, "security_engineer"); got != 6 {
		t.Errorf("the ledger has %d changes of guardrails, want 6", got)
	}
}

func TestAFreezeEndsByItself(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	read[guardrail.Freeze](o.ask(auth.Admin, http.MethodPost, "/v1/freezes", `{"scope":"everything","reason":"r","for":"90m"}`))
	o.pass(90 * time.Minute)
	if got := get[store.Page[guardrail.Freeze]](o, "/v1/freezes").Items; len(got) != 0 {
		t.Errorf("got %+v after its end", got)
	}
}

func TestFreezesThatWouldFreezeNothingAreRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for body, want := range map[string]struct {
		status int
		part   string
	}{
		`{"scope":"everything"}`:                                         {http.StatusUnprocessableEntity, "reason"},
		`{"scope":"everything","reason":""}`:                             {http.StatusUnprocessableEntity, "reason"},
		`{"scope":"region","value":"x","reason":"r"}`:                    {http.StatusUnprocessableEntity, "playbook"},
		`{"scope":"everything","value":"x","reason":"r"}`:                {http.StatusBadRequest, "has no value"},
		`{"scope":"account","reason":"r"}`:                               {http.StatusBadRequest, "name the account"},
		`{"scope":"account","value":"11111111111","reason":"r"}`:         {http.StatusBadRequest, "12 digits"},
		`{"scope":"account","value":"prod","reason":"r"}`:                {http.StatusBadRequest, "12 digits"},
		`{"scope":"playbook","value":"contain-all","reason":"r"}`:        {http.StatusBadRequest, "contain"},
		`{"scope":"everything","reason":"r","for":"2 hours"}`:            {http.StatusBadRequest, "2h"},
		`{"scope":"everything","reason":"r","for":"-2h"}`:                {http.StatusBadRequest, "2h"},
		`{"scope":"everything","reason":"r","for":"0s"}`:                 {http.StatusBadRequest, "2h"},
		`{"scope":"everything","reason":"r","for":"99999999999999999h"}`: {http.StatusBadRequest, "2h"},
	} {
		o.ask(auth.Admin, http.MethodPost, "/v1/freezes", body).refused(want.status, want.part)
	}
	if got := get[store.Page[guardrail.Freeze]](o, "/v1/freezes").Items; len(got) != 0 {
		t.Errorf("got %+v of bad requests", got)
	}
}

func TestAPlaybookThatOnlyRunsInFlightHaveCanBeFrozen(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.decided(strings.Replace(asking, "playbook: contain", "playbook: removed-since", 1), nil)
	frozen := read[guardrail.Freeze](o.ask(auth.Admin, http.MethodPost, "/v1/freezes", `{"scope":"playbook","value":"removed-since","reason":"r"}`))
	if frozen.ID != "playbook:removed-since" {
		t.Errorf("got %+v", frozen)
	}
}

func TestProtections(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	fixed := get[store.Page[guardrail.Protection]](o, "/v1/protections").Items
	if len(fixed) != 1 || !fixed[0].Own {
		t.Fatalf("got %+v, want what Riposte stands on", fixed)
	}
	set := read[guardrail.Protection](o.ask(auth.CloudArchitect, http.MethodPost, "/v1/protections", `{"name":"do*","reason":"ours"}`))
	if set.By != "cloud_architect" || set.Own {
		t.Errorf("got %+v", set)
	}
	asked := o.decided(strings.Replace(asking, "autonomy: approve", "autonomy: auto", 1), nil).Runs[0]
	if err := o.legs.Start(t.Context(), asked.ID, 1, 0); err != nil {
		t.Fatal(err)
	}
	o.work()
	if got := get[api.RunDetail](o, "/v1/runs/"+asked.ID).Run; got.State != run.Blocked || !strings.Contains(got.Reason, "ours") || o.door() != "open" {
		t.Errorf("the run is %s (%s) and the door %q; want it blocked", got.State, got.Reason, o.door())
	}
	o.ask(auth.CloudArchitect, http.MethodDelete, "/v1/protections/own-role-riposte", "").refused(http.StatusForbidden, "can't be lifted")
	read[api.Done](o.ask(auth.CloudArchitect, http.MethodDelete, "/v1/protections/"+set.ID, ""))
	o.ask(auth.CloudArchitect, http.MethodDelete, "/v1/protections/"+set.ID, "").refused(http.StatusNotFound)
	if got := o.recorded(record.GuardrailChanged, "cloud_architect"); got != 2 {
		t.Errorf("the ledger has %d changes of guardrails, want 2", got)
	}
}

func TestProtectionsThatWouldProtectNothingAreRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for body, want := range map[string]struct {
		status int
		part   string
	}{
		`{"reason":"r"}`:                                 {http.StatusBadRequest, "freeze everything"},
		`{"name":"x"}`:                                   {http.StatusUnprocessableEntity, "reason"},
		`{"kind":"server","reason":"r"}`:                 {http.StatusBadRequest, "server"},
		`{"account":"1234","reason":"r"}`:                {http.StatusBadRequest, "12 digits"},
		`{"account":"prod","reason":"r"}`:                {http.StatusBadRequest, "12 digits"},
		`{"name":"x","reason":"r","region":"eu"}`:        {http.StatusUnprocessableEntity, "region"},
		fmt.Sprintf(`{"name":%q,"reason":"r"}`, longest): {http.StatusUnprocessableEntity, "name"},
	} {
		o.ask(auth.Admin, http.MethodPost, "/v1/protections", body).refused(want.status, want.part)
	}
}

var longest = strings.Repeat("n", 301)
