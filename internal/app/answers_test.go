package app_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/channel"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/oncall"
	"github.com/riposte-sec/riposte/internal/provider/slack"
	"github.com/riposte-sec/riposte/internal/provider/teams"
	"github.com/riposte-sec/riposte/internal/provider/webhook"
	"github.com/riposte-sec/riposte/internal/question"
	riposte "github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/secret"
	"github.com/riposte-sec/riposte/internal/store"
)

// asking is a playbook that asks before it does anything.
const asking = `playbook: ask
summary: Ask somebody.
on: {findings: ["rule:*"]}
autonomy: approve
steps:
  - id: sure
    approve: {by: [incident_analyst], within: 15m, otherwise: deny}
  - {id: tell, use: notify, with: {channel: quiet, message: done}}
`

const (
	slackKey = "0123456789abcdef0123456789abcdef"
	anaEntra = "01234567-89ab-cdef-0123-456789abcdef"
)

var teamsKey = []byte("fedcba9876543210fedcba9876543210")

// outside is all services that Riposte tells, in one.
type outside struct {
	*httptest.Server
	mu  sync.Mutex
	got map[string][]string // bodies by path
}

func (o *outside) sent(path string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.got[path])
}

func newOutside(tb testing.TB) *outside {
	tb.Helper()
	o := &outside{got: map[string][]string{}}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.got[r.URL.Path] = append(o.got[r.URL.Path], string(text))
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, `{"ok":true,"ts":"1503435956.00024`+strconv.Itoa(len(o.got[r.URL.Path]))+`","channel":"C0123456789"}`)
	}))
	tb.Cleanup(o.Close)
	return o
}

// asked runs a server that asks everybody, and has it ask about each of some users. It gives the questions, the
// last first.
func asked(tb testing.TB, users ...string) (*running, *outside, []riposte.Approval) {
	tb.Helper()
	r, o := answering(tb, asking)
	for n, user := range users {
		r.stopLogging(n, user)
	}
	var page store.Page[riposte.Approval]
	until(tb, "everybody is asked", func() bool {
		if err := r.admin().Get(tb.Context(), "/v1/approvals", nil, &page); err != nil {
			tb.Fatal(err)
		}
		n := len(users)
		return len(page.Items) == n && len(o.sent("/api/chat.postMessage")) == 2*n && len(o.sent("/hook")) == n && len(o.sent("/teams")) == n
	})
	return r, o, page.Items
}

// answering runs a server with a playbook, which tells and asks an outside.
func answering(tb testing.TB, book string) (*running, *outside) {
	tb.Helper()
	o := newOutside(tb)
	folder := files(tb, map[string]string{
		"rules/r.yaml": rule(oneID, "Trail stopped"), "playbooks/ask.yaml": book,
		"rotation.yaml": "time_zone: UTC\npeople: [{name: ana, slack: U0ANA, roles: [incident_analyst]}]\nstart: 2026-01-01T00:00\nevery: {days: 1}\n",
	})
	ana := question.Person{Name: "ana", Roles: []string{"incident_analyst"}}
	c := local(tb)
	c.Content = app.ContentConfig{Rules: []string{filepath.Join(folder, "rules")}, Playbooks: []string{filepath.Join(folder, "playbooks")}}
	c.Approvals.Links.BaseURL = "https://riposte.example.com"
	c.Slack = slack.Config{
		API: o.URL + "/api", Token: secret.New("xoxb-1"), SigningSecret: secret.New(slackKey), Users: map[string]question.Person{
			"U0ANA": ana, "U0BEN": {Name: "ben", Roles: ana.Roles}, "U0CEM": {Name: "cem", Roles: ana.Roles},
			"U0EVE": {Name: "eve", Roles: []string{"compliance_officer"}},
		},
		Channels: map[string]slack.Channel{"alerts": {ID: "C0123456789"}},
	}
	c.Teams = teams.Config{
		Channels: map[string]teams.Channel{"alerts": {URL: secret.New(o.URL + "/teams")}}, Secret: secret.New(base64.StdEncoding.EncodeToString(teamsKey)),
		Users: map[string]question.Person{anaEntra: ana},
	}
	c.Webhook.Endpoints = map[string]webhook.Endpoint{}
	for _, name := range []string{"hook", "broken"} {
		c.Webhook.Endpoints[name] = webhook.Endpoint{
			URL: webhook.Text{Secret: secret.New(o.URL + "/" + name)}, Secret: secret.New("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
		}
	}
	c.OnCall = oncall.Config{"security": {File: filepath.Join(folder, "rotation.yaml")}}
	c.Channels = channel.Config{"quiet": nil, "broken": {{Use: "webhook.send", With: map[string]any{"endpoint": "broken"}}}, "security": {
		{Use: "slack.notify", With: map[string]any{"channel": "alerts"}},
		{Use: "teams.notify", With: map[string]any{"channel": "alerts"}},
		{Use: "webhook.send", With: map[string]any{"endpoint": "hook"}},
		{Use: "oncall.notify", With: map[string]any{"rotation": "security"}},
	}}
	return run(tb, c), o
}

// stopLogging hands in an event: a user of an account of their own stops a trail.
func (r *running) stopLogging(n int, user string) {
	r.tb.Helper()
	account := "11111111111" + strconv.Itoa(n)
	event := map[string]any{
		"eventVersion": "1.08", "eventTime": time.Now().UTC().Format(time.RFC3339), "eventSource": "cloudtrail.amazonaws.com",
		"eventName": "StopLogging", "awsRegion": "eu-central-1", "sourceIPAddress": "198.51.100." + strconv.Itoa(n+1), "eventID": "e-" + account,
		"recipientAccountId": account, "userIdentity": map[string]any{
			"type": "IAMUser", "principalId": "AIDA" + account, "arn": "arn:aws:iam::" + account + ":user/" + user, "accountId": account, "userName": user,
		},
	}
	if err := r.admin().Post(r.tb.Context(), "/v1/events", event, nil); err != nil {
		r.tb.Fatal(err)
	}
}

// until waits for what several processes bring about.
func until(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(40 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("it never was so that %s", what)
		}
	}
}

func (r *running) send(target, body string, header http.Header) (status int, text string) {
	r.tb.Helper()
	request, err := http.NewRequestWithContext(r.tb.Context(), http.MethodPost, r.Address()+target, strings.NewReader(body))
	if err != nil {
		r.tb.Fatal(err)
	}
	request.Header = header
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.tb.Fatal(err)
	}
	said, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		r.tb.Fatal(err)
	}
	return answer.StatusCode, string(said)
}

func (r *running) approval(id string) riposte.Approval {
	r.tb.Helper()
	var a riposte.Approval
	if err := r.admin().Get(r.tb.Context(), "/v1/approvals/"+id, nil, &a); err != nil {
		r.tb.Fatal(err)
	}
	return a
}

// press presses a button of a question in Slack.
func (r *running) press(o *outside, user, button string, about riposte.Approval) {
	r.tb.Helper()
	pressed, err := json.Marshal(map[string]any{
		"type": "block_actions", "user": map[string]any{"id": user}, "response_url": o.URL + "/actions/1",
		"actions": []any{map[string]any{"action_id": button, "value": about.ID + " " + about.Hash}},
	})
	if err != nil {
		r.tb.Fatal(err)
	}
	body := url.Values{"payload": {string(pressed)}}.Encode()
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	status, text := r.send("/v1/slack/interactions", body, http.Header{
		"X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(mac([]byte(slackKey), "v0:"+stamp+":"+body))},
	})
	if status != http.StatusOK || text != "" {
		r.tb.Errorf("got status %d: %s", status, text)
	}
}

func mac(key []byte, text string) []byte {
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(text))
	return sum.Sum(nil)
}

var linkPattern = regexp.MustCompile(`https://riposte\.example\.com(/a/[A-Za-z0-9_-]{43})`)

func TestPeopleAnswerWhereTheyAre(t *testing.T) {
	t.Parallel()
	r, o, open := asked(t, "u0", "u1", "u2")
	bySlack, byTeams, byLink := open[0], open[1], open[2]

	r.press(o, "U0ANA", "riposte_approve", bySlack)
	until(t, "the answer from Slack counts", func() bool { return r.approval(bySlack.ID).Answer == riposte.Approved })
	if got := r.approval(bySlack.ID); got.By != "ana" {
		t.Errorf("got %+v", got)
	}

	said, err := json.Marshal(map[string]any{
		"type": "message", "timestamp": time.Now().UTC(), "text": "<at>Riposte</at> deny " + question.Code(byTeams) + " it is ours",
		"from": map[string]any{"aadObjectId": anaEntra},
	})
	if err != nil {
		t.Fatal(err)
	}
	status, text := r.send("/v1/teams/messages", string(said), http.Header{
		"Authorization": {"HMAC " + base64.StdEncoding.EncodeToString(mac(teamsKey, string(said)))},
	})
	if got := r.approval(byTeams.ID); status != http.StatusOK || got.Answer != riposte.Refused || got.By != "ana" || got.Reason != "it is ours" {
		t.Errorf("got status %d, %s, %+v", status, text, got)
	}

	links := map[string]bool{}
	for _, path := range []string{"/api/chat.postMessage", "/hook", "/teams"} {
		for _, sent := range o.sent(path) {
			found := linkPattern.FindStringSubmatch(sent)
			if found == nil {
				t.Fatalf("%s: there is no link in %s", path, sent)
			}
			links[found[1]] = true
		}
	}
	if len(links) != 12 {
		t.Errorf("%d links, want one for each of 4 addressees of 3 questions", len(links))
	}
	index := slices.IndexFunc(o.sent("/hook"), func(sent string) bool { return strings.Contains(sent, byLink.ID) })
	link := linkPattern.FindStringSubmatch(o.sent("/hook")[index])[1]
	page, err := http.Get(r.Address() + link)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := io.ReadAll(page.Body)
	if err := errors.Join(err, page.Body.Close()); err != nil || page.StatusCode != http.StatusOK || !bytes.Contains(shown, []byte(byLink.Hash)) ||
		page.Header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action 'self'") {
		t.Errorf("%v, status %d, %v: %s", err, page.StatusCode, page.Header, shown)
	}
	if got := r.approval(byLink.ID); got.Answer != riposte.Pending {
		t.Errorf("looking decided: %+v", got)
	}
	form := url.Values{"answer": {"approve"}, "hash": {byLink.Hash}, "reason": {"seen"}}.Encode()
	kind := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if status, text := r.send(link, form, kind); status != http.StatusOK {
		t.Errorf("got status %d: %s", status, text)
	}
	if got := r.approval(byLink.ID); got.Answer != riposte.Approved || got.By != "link:security" || got.Reason != "seen" {
		t.Errorf("got %+v", got)
	}
	if status, text := r.send(link, form, kind); status != http.StatusGone || !strings.Contains(text, "Approved by link:security") {
		t.Errorf("a second time: got status %d: %s", status, text)
	}

	until(t, "all messages in Slack say what became of it", func() bool { return len(o.sent("/api/chat.update")) >= 6 })
	all := strings.Join(o.sent("/api/chat.update"), "\n")
	for _, want := range []string{"Approved by ana", "Denied by ana", "it is ours", "Approved by link:security"} {
		if !strings.Contains(all, want) {
			t.Errorf("no message in Slack says %q: %s", want, all)
		}
	}
	if strings.Contains(all, "riposte_approve") || linkPattern.MatchString(all) {
		t.Errorf("a message has buttons still: %s", all)
	}
	r.nothingTellsLinks(links)
}

// nothingTellsLinks looks for tokens where they must not be.
func (r *running) nothingTellsLinks(links map[string]bool) {
	r.tb.Helper()
	var entries store.Page[ledger.Entry]
	if err := r.admin().Get(r.tb.Context(), "/v1/ledger", url.Values{"limit": {"1000"}}, &entries); err != nil {
		r.tb.Fatal(err)
	}
	kept, err := json.Marshal(entries)
	if err != nil {
		r.tb.Fatal(err)
	}
	for link := range links {
		token := strings.TrimPrefix(link, "/a/")
		if strings.Contains(r.log.String(), token) || bytes.Contains(kept, []byte(token)) {
			r.tb.Errorf("a link's token is in the log or the ledger")
		}
	}
}

func TestWhoIsOnCallIsShown(t *testing.T) {
	t.Parallel()
	r, o, open := asked(t, "u0")
	var page store.Page[api.OnCall]
	if err := r.admin().Get(t.Context(), "/v1/oncall", nil, &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 1 || page.Items[0].Rotation != "security" || len(page.Items[0].Now.People) != 1 || page.Items[0].Now.People[0].Name != "ana" {
		t.Errorf("got %+v", page.Items)
	}
	// Whoever is on call has a link with their own name.
	index := slices.IndexFunc(o.sent("/api/chat.postMessage"), func(sent string) bool { return strings.Contains(sent, `"channel":"U0ANA"`) })
	if index < 0 {
		t.Fatalf("ana was not asked: %v", o.sent("/api/chat.postMessage"))
	}
	link := linkPattern.FindStringSubmatch(o.sent("/api/chat.postMessage")[index])[1]
	form := url.Values{"answer": {"deny"}, "hash": {open[0].Hash}, "reason": {"no"}}.Encode()
	status, text := r.send(link, form, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	if got := r.approval(open[0].ID); status != http.StatusOK || got.By != "link:ana" || got.Answer != riposte.Refused {
		t.Errorf("got status %d, %+v: %s", status, got, text)
	}
}

func TestMistakesAboutPeople(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"slack: {signing_secret: 0123456789abcdef, users: {U0ANA: {name: ana, roles: [boss]}}}\n":            "slack.users.U0ANA.roles",
		"teams: {secret: MDEyMzQ1Njc4OWFiY2RlZg==, users: {" + anaEntra + ": {name: ana, roles: [boss]}}}\n": "teams.users",
		"oncall: {security: {pagerduty: {schedule: PI7DH85, token: x, roles: [boss]}}}\n":                    "oncall.security.pagerduty.roles",
		"approvals: {links: {base_url: \"http://riposte.example.com\"}}\n":                                   "approvals.links.base_url",
		"oncall: {security: {file: nowhere.yaml}}\n":                                                         "oncall.security",
		"channels: {security: [{use: oncall.notify, with: {rotation: security}}]}\n":                         "oncall.notify",
	} {
		folder := files(t, map[string]string{"riposte.yaml": text})
		_, _, err := app.ReadConfig(filepath.Join(folder, "riposte.yaml"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "riposte.yaml:1") {
			t.Errorf("got %v, want %s named with its line", err, want)
		}
	}
}

const fourEyes = `playbook: ask
summary: Ask two people.
on: {findings: ["rule:*"]}
autonomy: approve
steps:
  - id: sure
    approve: {by: [incident_analyst], quorum: 2, within: 1h, otherwise: deny, escalate: [{after: 1s, on_call: security}]}
  - {id: tell, use: notify, with: {channel: quiet, message: done}}
`

func TestSeveralPeopleAreSeveralPeople(t *testing.T) {
	t.Parallel()
	r, o := answering(t, fourEyes)
	r.stopLogging(0, "ana") // she brought it about
	var page store.Page[riposte.Approval]
	until(t, "whoever is on call is asked too", func() bool {
		if err := r.admin().Get(t.Context(), "/v1/approvals", nil, &page); err != nil {
			t.Fatal(err)
		}
		// Twice the channel, in which whoever is on call is asked too; once whoever is on call alone.
		return len(o.sent("/api/chat.postMessage")) == 5 && len(page.Items) == 1
	})
	for _, path := range []string{"/api/chat.postMessage", "/hook", "/teams"} {
		for _, sent := range o.sent(path) {
			if linkPattern.MatchString(sent) || !strings.Contains(sent, "2 different people have to say yes") {
				t.Errorf("%s: nobody knows who reads it, or she may not answer: %s", path, sent)
			}
		}
	}
	question := page.Items[0]
	told := 0
	press := func(user, says string) {
		t.Helper()
		r.press(o, user, "riposte_approve", question)
		until(t, user+" is told", func() bool { return len(o.sent("/actions/1")) > told })
		if got := o.sent("/actions/1")[told]; !strings.Contains(got, says) {
			t.Errorf("%s is told %s; want %q", user, got, says)
		}
		told = len(o.sent("/actions/1"))
	}
	press("U0ANA", "can't answer it")
	press("U0EVE", "runs.approve")
	press("U0BEN", "still open")
	press("U0BEN", "has said yes already")
	press("U0CEM", "Approved by ben, cem")
	if got := r.approval(question.ID); got.Answer != riposte.Approved || got.By != "ben, cem" {
		t.Errorf("got %+v", got)
	}
}

const failing = `playbook: ask
summary: Tell those who can't be reached.
on: {findings: ["rule:*"]}
autonomy: auto
steps:
  - {id: tell, use: notify, with: {channel: broken, message: hello}}
`

func TestWhatIsNoQuestionIsToldToo(t *testing.T) {
	t.Parallel()
	r, o := answering(t, failing)
	r.stopLogging(0, "u0")
	until(t, "everybody hears that the run failed", func() bool {
		return len(o.sent("/hook")) == 1 && len(o.sent("/teams")) == 1 && len(o.sent("/api/chat.postMessage")) == 2
	})
	for _, path := range []string{"/api/chat.postMessage", "/hook", "/teams"} {
		for _, sent := range o.sent(path) {
			if !strings.Contains(sent, "Run of ask failed") || strings.Contains(sent, "riposte_approve") || linkPattern.MatchString(sent) {
				t.Errorf("%s got %s", path, sent)
			}
		}
	}
}

func TestARotationThatThereIsNotIsSeen(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"ask.yaml": strings.ReplaceAll(fourEyes, "on_call: security", "on_call: nobody")})
	_, err := load(app.ContentConfig{Playbooks: []string{folder}})
	if err == nil || !strings.Contains(err.Error(), "nobody") || !strings.Contains(err.Error(), "ask.yaml:7") {
		t.Errorf("got %v, want file, line and the rotation named", err)
	}
}
