package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
)

func (o *office) entries(query url.Values) []ledger.Entry {
	o.Helper()
	return get[store.Page[ledger.Entry]](o, "/v1/ledger?"+query.Encode()).Items
}

func TestLedgerIsListedInItsOrder(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	first, second := o.asked(), o.asked()
	all := o.entries(url.Values{"limit": {"1000"}})
	for i, e := range all {
		if e.Seq != int64(i) {
			t.Fatalf("entry %d has the number %d", i, e.Seq)
		}
	}
	if got := o.entries(url.Values{"from": {"3"}, "limit": {"2"}}); len(got) != 2 || got[0].Seq != 3 {
		t.Errorf("from 3: got %d entries, want 2", len(got))
	}
	mine := o.entries(url.Values{"run": {first.Run}, "limit": {"1000"}})
	about := o.entries(url.Values{"incident": {second.Incident}, "limit": {"1000"}})
	if len(mine) == 0 || len(about) == 0 || len(mine)+len(about) >= len(all)+2 {
		t.Errorf("got %d and %d entries of %d", len(mine), len(about), len(all))
	}
	for _, e := range mine {
		if e.Run != first.Run {
			t.Errorf("entry %d is about run %s", e.Seq, e.Run)
		}
	}
	if got := o.entries(url.Values{"kind": {"no.such"}}); len(got) != 0 {
		t.Errorf("of an unknown kind: got %d entries", len(got))
	}
}

func TestLedgerIsWaitedFor(t *testing.T) {
	t.Parallel()
	o := newOffice(t, func(o *api.Options) { o.Now = time.Now })
	came := make(chan reply, 1)
	go func() { came <- o.ask(auth.Admin, http.MethodGet, "/v1/ledger?wait=20s", "") }()
	o.decided(asking, nil)
	if got := read[store.Page[ledger.Entry]](<-came).Items; len(got) == 0 {
		t.Error("got nothing though an entry came")
	}
	end := len(o.entries(url.Values{"limit": {"1000"}}))
	for _, wait := range []string{"-1h", "0s", "1ms"} {
		if got := o.entries(url.Values{"from": {strconv.Itoa(end)}, "wait": {wait}}); len(got) != 0 {
			t.Errorf("wait %s: got %d entries", wait, len(got))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/ledger?wait=30s&from="+strconv.Itoa(end), nil)
	request.Header.Set("Authorization", "Bearer "+o.tokens[auth.Admin])
	o.server.ServeHTTP(httptest.NewRecorder(), request) // it ends with whoever asked
}

func TestLedgerExportIsVerifiedOffline(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.asked()
	head := get[api.Checkpoint](o, "/v1/ledger/checkpoint").Checkpoint
	o.asked()
	exported := o.ask(auth.ComplianceOfficer, http.MethodGet, "/v1/ledger/export", "")
	if got := exported.header.Get("Content-Disposition"); exported.code != http.StatusOK || !strings.HasPrefix(got, "attachment") {
		t.Fatalf("got status %d, disposition %q", exported.code, got)
	}
	key, err := theKey()
	if err != nil {
		t.Fatal(err)
	}
	whole := ledger.VerifyOptions{Verifier: key.Verifier(), Saved: []byte(head)}
	report, err := ledger.Verify(strings.NewReader(exported.body), whole)
	if err != nil || !report.Trusted || report.Size == 0 {
		t.Fatalf("got %+v, %v", report, err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(exported.body), "\n")
	for name, changed := range map[string]string{
		"a changed byte":   strings.Replace(exported.body, "contain", "contait", 1),
		"a deleted entry":  strings.Join(append(append([]string{}, lines[:3]...), lines[4:]...), ""),
		"a reordered pair": strings.Join(append(append([]string{}, lines[0], lines[2], lines[1]), lines[3:]...), ""),
		"a cut tail":       strings.Join(lines[:len(lines)-1], ""),
	} {
		_, err := ledger.Verify(strings.NewReader(changed), whole)
		if _, found := errors.AsType[*ledger.TamperedError](err); changed == exported.body || !found {
			t.Errorf("%s: got %v, want it found", name, err)
		}
	}
	if v := get[api.Verified](o, "/v1/ledger/verify"); !v.OK || v.Report.Size != report.Size {
		t.Errorf("in its place: got %+v", v)
	}
}

func TestAnEntryIsProved(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.asked()
	key, err := theKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range o.entries(url.Values{"limit": {"1000"}}) {
		proof := get[ledger.Proof](o, "/v1/ledger/proof/"+strconv.FormatInt(e.Seq, 10))
		proved, err := ledger.CheckProof(proof, key.Verifier())
		if err != nil || proved.Seq != e.Seq || proved.Kind != e.Kind {
			t.Errorf("entry %d: got %+v, %v", e.Seq, proved, err)
		}
	}
	o.ask(auth.Admin, http.MethodGet, "/v1/ledger/proof/999999", "").refused(http.StatusNotFound, "999999")
}

func TestATamperedLedgerIsTold(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.asked()
	o.tamper()
	v := get[api.Verified](o, "/v1/ledger/verify")
	if v.OK || v.Problem == "" || len(v.Report.Problems) == 0 {
		t.Errorf("got %+v, want it found", v)
	}
	if o.recorded(record.IncidentOpened, record.System) == 0 {
		t.Error("what is there can't be listed any more")
	}
}
