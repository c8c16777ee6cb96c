package approvallink_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/approvallink"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// desk has one question, and takes answers as the runner does: the first counts, and only for its hash.
type desk struct {
	mu    sync.Mutex
	asked question.Question
	took  []question.Answer
	fails error
}

func (d *desk) Question(_ context.Context, id string) (question.Question, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if id != d.asked.ID {
		return question.Question{}, fault.New(fault.NotFound, "there is no approval %s", id)
	}
	return d.asked, nil
}

func (d *desk) Decide(_ context.Context, a question.Answer) (run.Approval, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fails != nil:
		return d.asked.Approval, d.fails
	case d.asked.Answer != run.Pending:
		return d.asked.Approval, fault.New(fault.Conflict, "this question was answered already: %s by %s", d.asked.Answer, d.asked.By)
	case a.Hash != d.asked.Hash:
		return d.asked.Approval, fault.New(fault.Conflict, "the plan is not the one you saw; look again")
	}
	d.took = append(d.took, a)
	d.asked.Answer, d.asked.By, d.asked.Reason, d.asked.Decided = run.Refused, a.By, a.Reason, noon
	if a.Yes {
		d.asked.Answer = run.Approved
	}
	return d.asked.Approval, nil
}

// place is a server of links, on a store of its own.
type place struct {
	testing.TB
	*httptest.Server
	desk  *desk
	links *approvallink.Links
	log   strings.Builder
	mu    sync.Mutex
	clock time.Time
	miss  atomic.Int32
}

func (p *place) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock
}

func (p *place) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock = p.clock.Add(d)
}

const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{.}}</style>`

func open(tb testing.TB) *place {
	tb.Helper()
	kept, err := store.Open(tb.Context(), filepath.Join(tb.TempDir(), "riposte.db"), store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := kept.Close(); err != nil {
			tb.Error(err)
		}
	})
	change := action.Change{
		Summary: "Disable key " + evil, Impact: []string{"breaks " + evil}, Calls: []string{"iam:UpdateAccessKey " + evil},
	}
	p := &place{TB: tb, clock: noon, desk: &desk{asked: question.Question{
		Approval: run.Approval{
			ID: "01JASK", Run: "01JRUN", Incident: "01JINC", Step: "sure", Hash: strings.Repeat("ab", 32), Roles: []string{"incident_analyst"},
			Deadline: noon.Add(15 * time.Minute), Otherwise: run.OtherwiseDeny, Answer: run.Pending, Plans: []run.Plan{{Step: "off", Change: change}},
		},
		Playbook: "contain", Title: "Key of " + evil, Severity: finding.High,
	}}}
	mux := http.NewServeMux()
	p.Server = httptest.NewServer(mux)
	tb.Cleanup(p.Close)
	p.links = approvallink.New(approvallink.Config{BaseURL: p.URL + "/"}, approvallink.Options{
		Store: kept, Desk: p.desk, Now: p.now, Missed: func(*http.Request) bool { return p.miss.Add(1) > 20 },
		Logger: slog.New(slog.NewTextHandler(&p.log, nil)),
	})
	mux.Handle("GET /a/{token}", p.links)
	mux.Handle("POST /a/{token}", p.links)
	return p
}

func (p *place) mint() string {
	p.Helper()
	link, err := p.links.Mint(p.Context(), p.desk.asked, "ann@example.com", []string{"incident_analyst"})
	if err != nil {
		p.Fatal(err)
	}
	return link
}

type seen struct {
	status int
	header http.Header
	body   string
}

func (p *place) get(method, link string) seen { return p.send(method, link, "", "") }

func (p *place) post(link string, pairs ...string) seen {
	form := url.Values{"hash": {p.desk.asked.Hash}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return p.send(http.MethodPost, link, "application/x-www-form-urlencoded", form.Encode())
}

func (p *place) send(method, link, kind, body string) seen {
	request, err := http.NewRequestWithContext(p.Context(), method, link, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	answer, err := p.Client().Do(request)
	if err != nil {
		p.Error(err)
		return seen{}
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		p.Error(err)
	}
	return seen{answer.StatusCode, answer.Header, string(text)}
}

func (s seen) says(tb testing.TB, status int, parts ...string) {
	tb.Helper()
	if s.status != status {
		tb.Errorf("got status %d, want %d: %s", s.status, status, s.body)
	}
	for _, part := range parts {
		if !strings.Contains(s.body, part) {
			tb.Errorf("the page does not say %q: %s", part, s.body)
		}
	}
}

func TestThePageIsInert(t *testing.T) {
	t.Parallel()
	p := open(t)
	link := p.mint()
	if !regexp.MustCompile(`^` + regexp.QuoteMeta(p.URL) + `/a/[A-Za-z0-9_-]{43}$`).MatchString(link) {
		t.Errorf("got %q", link)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodGet} { // whoever only looks decides nothing
		p.get(method, link).says(t, http.StatusOK)
	}
	page := p.get(http.MethodGet, link)
	page.says(t, http.StatusOK, "contain", "01JINC", "Disable key", "abababababab", "Answer before 2026-03-04 12:15 UTC", "&lt;script&gt;", p.desk.asked.Hash)
	for _, raw := range []string{"<script", "<img", "http://", "https://"} {
		if strings.Contains(page.body, raw) {
			t.Errorf("the page has %q in it: %s", raw, page.body)
		}
	}
	_, rest, _ := strings.Cut(page.body, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Robots-Tag": "noindex, nofollow, noarchive",
		"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
	}
	for name, value := range want {
		if got := page.header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if len(p.desk.took) != 0 {
		t.Errorf("looking decided: %v", p.desk.took)
	}
}

func TestALinkAnswersOnce(t *testing.T) {
	t.Parallel()
	p := open(t)
	link, other := p.mint(), p.mint()
	p.post(link, "answer", "deny").says(t, http.StatusBadRequest, "Say why you deny it")
	p.post(link, "answer", "maybe").says(t, http.StatusBadRequest, "one of the buttons")
	p.post(link, "answer", "approve", "hash", strings.Repeat("cd", 32)).says(t, http.StatusBadRequest, "not the one that you saw")
	p.send(http.MethodPost, link, "application/json", `{"answer":"approve"}`).says(t, http.StatusBadRequest)
	p.post(link, "answer", "approve", "reason", strings.Repeat("r", 70_000)).says(t, http.StatusBadRequest, "too long")
	if len(p.desk.took) != 0 {
		t.Fatalf("wrong answers were taken: %v", p.desk.took)
	}
	p.post(link, "answer", "deny", "reason", " it is\x00\u202e ours\n<b>").says(t, http.StatusOK, "recorded", "Denied by link:ann@example.com", "it is ours &lt;b&gt;")
	if len(p.desk.took) != 1 {
		t.Fatalf("got %v", p.desk.took)
	}
	got := p.desk.took[0]
	token := link[strings.LastIndexByte(link, '/')+1:]
	digest := sha256.Sum256([]byte(token))
	if got.By != "link:ann@example.com" || got.Reason != "it is ours <b>" || got.Yes || got.Hash != p.desk.asked.Hash ||
		got.Via != "link "+hex.EncodeToString(digest[:])[:12] || len(got.Roles) != 1 {
		t.Errorf("got %+v", got)
	}
	for _, again := range []seen{p.post(link, "answer", "approve"), p.get(http.MethodGet, link)} {
		again.says(t, http.StatusGone, "used already", "Denied by link:ann@example.com")
	}
	p.get(http.MethodGet, other).says(t, http.StatusGone, "Denied by link:ann@example.com at 2026-03-04 12:00 UTC")
	if strings.Contains(p.log.String(), token) {
		t.Error("the log tells the token")
	}
}

func TestOfManyAtOnceOneAnswers(t *testing.T) {
	t.Parallel()
	p := open(t)
	link := p.mint()
	var taken atomic.Int32
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			answer := []string{"approve", "deny"}[i%2]
			if got := p.post(link, "answer", answer, "reason", "r"); got.status == http.StatusOK {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 || len(p.desk.took) != 1 {
		t.Errorf("%d were told that they answered, %d did; want 1", taken.Load(), len(p.desk.took))
	}
}

func TestALinkEnds(t *testing.T) {
	t.Parallel()
	p := open(t)
	link := p.mint()
	p.pass(15*time.Minute - time.Second)
	p.get(http.MethodGet, link).says(t, http.StatusOK)
	p.pass(time.Second)
	p.get(http.MethodGet, link).says(t, http.StatusGone, "expired")
	p.post(link, "answer", "approve").says(t, http.StatusGone, "expired")
	p.desk.asked.Deadline = time.Time{} // it stays open: no link does for longer than a day
	link = p.mint()
	p.pass(24*time.Hour - time.Second)
	p.get(http.MethodGet, link).says(t, http.StatusOK)
	p.pass(time.Second)
	p.get(http.MethodGet, link).says(t, http.StatusGone, "expired")
	link = p.mint()
	p.desk.asked.Hash = strings.Repeat("ef", 32)
	p.post(link, "answer", "approve").says(t, http.StatusGone, "not the one that this link is for")
	if len(p.desk.took) != 0 {
		t.Errorf("got %v", p.desk.took)
	}
}

func TestAFailureGivesTheLinkBack(t *testing.T) {
	t.Parallel()
	p := open(t)
	link := p.mint()
	for _, test := range []struct {
		fails  error
		status int
		says   string
	}{
		{fault.New(fault.Transient, "the disk at /var/x is full"), http.StatusServiceUnavailable, "try again"},
		{fault.New(fault.Conflict, "run 01JRUN is ready, it does not wait for an answer; look again"), http.StatusConflict, "look again"},
		{fault.New(fault.Denied, "this question is for cloud_architect"), http.StatusConflict, "is for cloud_architect"},
	} {
		p.desk.fails = test.fails
		got := p.post(link, "answer", "approve")
		got.says(t, test.status, test.says)
		if strings.Contains(got.body, "/var/x") {
			t.Errorf("the page tells of the inside: %s", got.body)
		}
	}
	p.desk.fails = nil
	p.post(link, "answer", "approve").says(t, http.StatusOK, "Approved by link:ann@example.com")
}

func TestGuessing(t *testing.T) {
	t.Parallel()
	p := open(t)
	link := p.mint()
	wrong := p.URL + "/a/" + strings.Repeat("A", 43)
	for _, bad := range []string{wrong, p.URL + "/a/x", p.URL + "/a/" + strings.Repeat("*", 43), link[:len(link)-1], link + "A"} {
		p.get(http.MethodGet, bad).says(t, http.StatusNotFound, "no such link")
		p.post(bad, "answer", "approve").says(t, http.StatusNotFound)
	}
	for range 20 {
		p.get(http.MethodGet, wrong)
	}
	p.get(http.MethodGet, wrong).says(t, http.StatusTooManyRequests)
	p.get(http.MethodGet, link).says(t, http.StatusOK) // a right one is served whatever else comes
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]bool{
		"": true, "https://riposte.example.com": true, "https://example.com/riposte/": true, "http://127.0.0.1:8473": true,
		"http://riposte.example.com": false, "riposte.example.com": false, "https://a:b@example.com": false, "https://example.com/?x=": false,
		"https://example.com/#a": false, "javascript:alert(1)": false,
	} {
		if err := (approvallink.Config{BaseURL: base}).Check(); (err == nil) != want {
			t.Errorf("%q: got %v, want it right: %t", base, err, want)
		}
	}
}
