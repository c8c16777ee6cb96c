package slack_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/provider/slack"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/secret"
)

const (
	signingSecret = "0123456789abcdef0123456789abcdef"
	mention       = "<!channel> <https://evil.example|sign in> & *bold* @here"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// office is a Slack that takes our calls, our handler of what people do there, and a desk with one question.
type office struct {
	testing.TB
	slack *httptest.Server // theirs
	ours  *httptest.Server
	app   *slack.Slack

	mu    sync.Mutex
	calls []call
	asked question.Question
	took  []question.Answer
	fails error
}

type call struct {
	path string
	body map[string]any
	text string
}

func (o *office) Question(context.Context, string) (question.Question, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked, nil
}

func (o *office) Decide(_ context.Context, a question.Answer) (run.Approval, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fails != nil {
		return o.asked.Approval, o.fails
	}
	if o.asked.Answer != run.Pending {
		return o.asked.Approval, fault.New(fault.Conflict, "this question was answered already: %s by %s", o.asked.Answer, o.asked.By)
	}
	o.took = append(o.took, a)
	o.asked.Answer, o.asked.By, o.asked.Reason = run.Refused, a.By, a.Reason
	if a.Yes {
		o.asked.Answer = run.Approved
	}
	return o.asked.Approval, nil
}

func newOffice(tb testing.TB, token string) *office {
	tb.Helper()
	change := action.Change{Summary: "Disable key of " + mention, Impact: []string{"2 jobs use it " + mention}}
	o := &office{TB: tb, asked: question.Question{
		Approval: run.Approval{
			ID: "01JASK", Run: "01JRUN", Incident: "01JINC", Hash: strings.Repeat("ab", 32), Roles: []string{"incident_analyst"},
			Deadline: noon.Add(time.Hour), Otherwise: run.OtherwiseDeny, Answer: run.Pending, Plans: []run.Plan{{Step: "off", Change: change}},
		},
		Playbook: "contain", Title: "Key used by " + mention, Severity: finding.High,
	}}
	o.slack = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got := call{path: r.URL.Path, text: string(text)}
		if err := json.Unmarshal(text, &got.body); err != nil {
			tb.Errorf("%s: not JSON: %s", r.URL.Path, text)
		}
		o.mu.Lock()
		o.calls = append(o.calls, got)
		o.mu.Unlock()
		_, _ = io.WriteString(w, `{"ok":true,"ts":"1503435956.000247","channel":"D999"}`)
	}))
	tb.Cleanup(o.slack.Close)
	c := slack.Config{
		API: o.slack.URL + "/api", SigningSecret: secret.New(signingSecret),
		Users:    map[string]question.Person{"U0ANA": {Name: "ana", Roles: []string{"incident_analyst"}}},
		Channels: map[string]slack.Channel{"hook": {Webhook: secret.New(o.slack.URL + hookPath)}},
	}
	if token != "" {
		c.Token = secret.New(token)
		c.Channels["bot"] = slack.Channel{ID: "C0123456789"}
	}
	var err error
	if o.app, err = slack.New(c, courier.New(nil, time.Now)); err != nil {
		tb.Fatal(err)
	}
	o.ours = httptest.NewServer(o.app.Interactions(o, func() time.Time { return noon }, slog.New(slog.DiscardHandler)))
	tb.Cleanup(o.ours.Close)
	return o
}

func signature(body string, at time.Time) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	sum := hmac.New(sha256.New, []byte(signingSecret))
	sum.Write([]byte("v0:" + stamp + ":" + body))
	return http.Header{
		"X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(sum.Sum(nil))},
		"Content-Type": {"application/x-www-form-urlencoded"},
	}
}

func (o *office) post(body string, header http.Header) int {
	o.Helper()
	request, err := http.NewRequestWithContext(o.Context(), http.MethodPost, o.ours.URL, strings.NewReader(body))
	if err != nil {
		o.Fatal(err)
	}
	request.Header = header
	answer, err := o.ours.Client().Do(request)
	if err != nil {
		o.Fatal(err)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		o.Error(err)
	}
	return answer.StatusCode
}

// does sends what somebody did, signed, and waits until all that follows is done.
func (o *office) does(payload map[string]any) []call {
	o.Helper()
	o.mu.Lock()
	o.calls = nil
	o.mu.Unlock()
	text, err := json.Marshal(payload)
	if err != nil {
		o.Fatal(err)
	}
	body := url.Values{"payload": {string(text)}}.Encode()
	if status := o.post(body, signature(body, noon)); status != http.StatusOK {
		o.Errorf("got status %d", status)
	}
	o.ours.Close() // waits for handlers
	o.ours = httptest.NewServer(o.app.Interactions(o, func() time.Time { return noon }, slog.New(slog.DiscardHandler)))
	o.Cleanup(o.ours.Close)
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls
}

func (o *office) press(user, button string) map[string]any {
	return map[string]any{
		"type": "block_actions", "user": map[string]any{"id": user, "name": "admin"}, "trigger_id": "13345224609.738474920",
		"response_url": o.slack.URL + "/actions/T0/1/x",
		"actions":      []any{map[string]any{"action_id": button, "value": o.asked.ID + " " + o.asked.Hash}},
	}
}

func TestAskingPostsButtons(t *testing.T) {
	t.Parallel()
	o := newOffice(t, botToken)
	var sent []question.Message
	telling := question.Telling{
		Question: o.asked, Headline: "Approval needed: contain " + mention, Token: "tok",
		Link: func(_ context.Context, to question.Person) (string, error) {
			return "https://riposte.example.com/a/x" + to.Name, nil
		},
		Sent: func(_ context.Context, m question.Message) error { sent = append(sent, m); return nil },
	}
	asker, can := o.app.Actions()[0].(interface {
		Ask(ctx context.Context, params action.Params, t question.Telling) error
	})
	if !can {
		t.Fatal("slack.notify can't ask")
	}
	for _, channel := range []string{"hook", "bot"} {
		if err := asker.Ask(t.Context(), action.Params{"channel": channel}, telling); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.app.AskPerson(t.Context(), "U0ANA", question.Person{Name: "ana"}, telling); err != nil {
		t.Fatal(err)
	}
	if len(o.calls) != 3 || o.calls[0].path != hookPath || o.calls[1].body["channel"] != "C0123456789" || o.calls[2].body["channel"] != "U0ANA" {
		t.Fatalf("got %+v", o.calls)
	}
	for _, c := range o.calls {
		for _, want := range []string{
			"riposte_approve", "riposte_deny", "01JASK " + o.asked.Hash, "https://riposte.example.com/a/x", "abababababab", "Disable key of", "2 jobs use it",
			"Answer before 2026-03-04 13:00 UTC", `"confirm"`,
		} {
			if !strings.Contains(c.text, want) {
				t.Errorf("the message lacks %q: %s", want, c.text)
			}
		}
		for _, raw := range []string{"<!channel>", "<https://evil", `\u003c!channel`, `"mrkdwn"`} {
			if strings.Contains(c.text, raw) {
				t.Errorf("the message has %q in it: %s", raw, c.text)
			}
		}
	}
	want := question.Message{Provider: slack.Provider, Place: "D999", ID: "1503435956.000247", Approval: "01JASK"}
	if len(sent) != 2 || sent[0] != want {
		t.Errorf("got %+v, want two of %+v", sent, want)
	}
	o.asked.Answer, o.asked.By, o.asked.Reason = run.Approved, "ben", "sure "+mention
	if err := o.app.Settle(t.Context(), want, o.asked); err != nil {
		t.Fatal(err)
	}
	last := o.calls[len(o.calls)-1]
	if last.path != "/api/chat.update" || last.body["ts"] != want.ID || last.body["channel"] != "D999" || !strings.Contains(last.text, "Approved by ben") ||
		strings.Contains(last.text, "riposte_approve") || strings.Contains(last.text, "!channel>") {
		t.Errorf("got %s", last.text)
	}
}

func TestManyAndLongPlansFit(t *testing.T) {
	t.Parallel()
	o := newOffice(t, botToken)
	change := action.Change{Summary: strings.Repeat("&", 10_000), Impact: []string{strings.Repeat("<", 10_000)}}
	for range 300 {
		o.asked.Plans = append(o.asked.Plans, run.Plan{Change: change})
	}
	o.asked.Title = strings.Repeat("😀", 10_000)
	telling := question.Telling{
		Question: o.asked, Headline: strings.Repeat("&", 1000),
		Link: func(context.Context, question.Person) (string, error) { return "", nil }, Sent: func(context.Context, question.Message) error { return nil },
	}
	if err := o.app.AskPerson(t.Context(), "U0ANA", question.Person{}, telling); err != nil {
		t.Fatal(err)
	}
	blocks, _ := o.calls[0].body["blocks"].([]any)
	if len(blocks) > 50 || !strings.Contains(o.calls[0].text, "281 more plans are not shown") {
		t.Errorf("%d blocks: %.500s", len(blocks), o.calls[0].text)
	}
	for _, b := range blocks {
		if text, is := b.(map[string]any)["text"].(map[string]any); is {
			if s, _ := text["text"].(string); len([]rune(s)) > 3000 {
				t.Errorf("a section has %d characters", len([]rune(s)))
			}
		}
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "")
	payload, err := json.Marshal(o.press("U0ANA", "riposte_approve"))
	if err != nil {
		t.Fatal(err)
	}
	body := url.Values{"payload": {string(payload)}}.Encode()
	changed := func(change func(http.Header)) http.Header {
		header := signature(body, noon)
		change(header)
		return header
	}
	for name, test := range map[string]struct {
		body   string
		header http.Header
	}{
		"none":           {body, http.Header{}},
		"another body":   {body + "&x=1", signature(body, noon)},
		"old":            {body, signature(body, noon.Add(-5*time.Minute-time.Second))},
		"early":          {body, signature(body, noon.Add(5*time.Minute+time.Second))},
		"another time":   {body, changed(func(h http.Header) { h.Set("X-Slack-Request-Timestamp", strconv.FormatInt(noon.Unix()+1, 10)) })},
		"+ time":         {body, changed(func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "+"+h.Get("X-Slack-Request-Timestamp")) })},
		"v1":             {body, changed(func(h http.Header) { h.Set("X-Slack-Signature", "v1"+h.Get("X-Slack-Signature")[2:]) })},
		"cut":            {body, changed(func(h http.Header) { h.Set("X-Slack-Signature", h.Get("X-Slack-Signature")[:40]) })},
		"empty":          {body, changed(func(h http.Header) { h.Set("X-Slack-Signature", "v0=") })},
		"two signatures": {body, changed(func(h http.Header) { h.Add("X-Slack-Signature", h.Get("X-Slack-Signature")) })},
	} {
		if status := o.post(test.body, test.header); status != http.StatusUnauthorized {
			t.Errorf("%s: got status %d, want 401", name, status)
		}
	}
	if len(o.took) != 0 || len(o.calls) != 0 {
		t.Errorf("unsigned requests led to %v, %v", o.took, o.calls)
	}
	for name, garbage := range map[string]string{"no form": "%zz", "no payload": "a=b", "no JSON": "payload=x"} {
		if status := o.post(garbage, signature(garbage, noon)); status != http.StatusBadRequest {
			t.Errorf("%s: got status %d, want 400", name, status)
		}
	}
	large := strings.Repeat("x", 600<<10)
	if status := o.post(large, signature(large, noon)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("large: got status %d, want 413", status)
	}
	if status := o.post(body, signature(body, noon.Add(-5*time.Minute))); status != http.StatusOK {
		t.Errorf("5 minutes old: got status %d, want 200", status)
	}
}

func TestApprovingInSlack(t *testing.T) {
	t.Parallel()
	o := newOffice(t, botToken)
	calls := o.does(o.press("U0ANA", "riposte_approve"))
	want := question.Answer{Approval: "01JASK", Hash: o.asked.Hash, Yes: true, By: "ana", Roles: []string{"incident_analyst"}}
	if len(o.took) != 1 || o.took[0].By != want.By || !o.took[0].Yes || o.took[0].Hash != want.Hash || o.took[0].Via != "" {
		t.Fatalf("got %+v, want %+v", o.took, want)
	}
	if len(calls) != 1 || calls[0].path != "/actions/T0/1/x" || calls[0].body["replace_original"] != true || !strings.Contains(calls[0].text, "Approved by ana") {
		t.Errorf("got %+v", calls)
	}
	calls = o.does(o.press("U0ANA", "riposte_approve")) // again
	if len(o.took) != 1 || len(calls) != 2 || calls[0].body["response_type"] != "ephemeral" || !strings.Contains(calls[0].text, "answered already") {
		t.Errorf("got %+v", calls)
	}
}

func TestStrangersInSlack(t *testing.T) {
	t.Parallel()
	o := newOffice(t, botToken)
	for _, button := range []string{"riposte_approve", "riposte_deny"} {
		calls := o.does(o.press("U0EVE", button))
		if len(o.took) != 0 || len(calls) != 1 || calls[0].body["response_type"] != "ephemeral" || calls[0].body["replace_original"] != false ||
			!strings.Contains(calls[0].text, "does not know you") {
			t.Errorf("%s: got %+v, %+v", button, o.took, calls)
		}
	}
	form := map[string]any{"type": "view_submission", "user": map[string]any{"id": "U0EVE"}, "view": map[string]any{
		"callback_id": "riposte_deny_form", "private_metadata": `{"asked":"01JASK ` + o.asked.Hash + `","response_url":"` + o.slack.URL + `/actions/T0/1/x"}`,
	}}
	if o.does(form); len(o.took) != 0 {
		t.Errorf("a stranger's form was taken: %+v", o.took)
	}
}

func TestDenyingAsksForAReason(t *testing.T) {
	t.Parallel()
	o := newOffice(t, botToken)
	calls := o.does(o.press("U0ANA", "riposte_deny"))
	if len(o.took) != 0 || len(calls) != 1 || calls[0].path != "/api/views.open" || calls[0].body["trigger_id"] != "13345224609.738474920" {
		t.Fatalf("got %+v, %+v", o.took, calls)
	}
	view, _ := calls[0].body["view"].(map[string]any)
	calls = o.does(map[string]any{"type": "view_submission", "user": map[string]any{"id": "U0ANA"}, "view": map[string]any{
		"callback_id": view["callback_id"], "private_metadata": view["private_metadata"],
		"state": map[string]any{"values": map[string]any{"riposte_reason": map[string]any{"riposte_reason": map[string]any{"value": "ours\x00"}}}},
	}})
	if len(o.took) != 1 || o.took[0].Yes || o.took[0].Reason != "ours" || o.took[0].Hash != o.asked.Hash {
		t.Errorf("got %+v", o.took)
	}
	if len(calls) != 1 || !strings.Contains(calls[0].text, "Denied by ana: ours") {
		t.Errorf("got %+v", calls)
	}
	alone := newOffice(t, "") // a webhook can't open forms
	if alone.does(alone.press("U0ANA", "riposte_deny")); len(alone.took) != 1 || alone.took[0].Yes || alone.took[0].Reason == "" {
		t.Errorf("got %+v", alone.took)
	}
}

func TestWhatFailsIsTold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		says string
	}{
		{fault.New(fault.Conflict, "the plan is not the one you saw; look again"), "look again"},
		{fault.New(fault.Denied, "this question is for cloud_architect"), "for cloud_architect"},
		{errors.New("sql: at /var/lib"), "something failed"},
	} {
		o := newOffice(t, botToken)
		o.fails = test.err
		calls := o.does(o.press("U0ANA", "riposte_approve"))
		if len(calls) != 1 || calls[0].body["response_type"] != "ephemeral" || !strings.Contains(calls[0].text, test.says) || strings.Contains(calls[0].text, "/var") {
			t.Errorf("got %+v", calls)
		}
	}
}

func TestOnlySlackIsToldOfAnAnswer(t *testing.T) {
	t.Parallel()
	o := newOffice(t, botToken)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody else was told") }))
	t.Cleanup(elsewhere.Close)
	for _, to := range []string{elsewhere.URL + "/x", "https://hooks.slack.com.evil.example/x", "file:///etc/passwd", "https://hooks.slack.com@127.0.0.1/"} {
		press := o.press("U0EVE", "riposte_approve")
		press["response_url"] = to
		if calls := o.does(press); len(calls) != 0 {
			t.Errorf("%s: got %+v", to, calls)
		}
	}
}

func TestPeopleOfTheConfiguration(t *testing.T) {
	t.Parallel()
	ana := question.Person{Name: "ana", Roles: []string{"incident_analyst"}}
	for name, test := range map[string]struct {
		c    slack.Config
		says string
	}{
		"right":       {slack.Config{SigningSecret: secret.New(signingSecret), Users: map[string]question.Person{"U0ANA": ana}}, ""},
		"no secret":   {slack.Config{Users: map[string]question.Person{"U0ANA": ana}}, "slack.signing_secret"},
		"cut":         {slack.Config{SigningSecret: secret.New("8f74")}, "slack.signing_secret"},
		"no id":       {slack.Config{SigningSecret: secret.New(signingSecret), Users: map[string]question.Person{"ana": ana}}, "U0123456789"},
		"no roles":    {slack.Config{SigningSecret: secret.New(signingSecret), Users: map[string]question.Person{"U0ANA": {Name: "ana"}}}, "slack.users.U0ANA: roles"},
		"ours":        {slack.Config{SigningSecret: secret.New(signingSecret), Users: map[string]question.Person{"U0ANA": {Name: "Riposte", Roles: ana.Roles}}}, "taken"},
		"like a link": {slack.Config{SigningSecret: secret.New(signingSecret), Users: map[string]question.Person{"U0ANA": {Name: "link:x", Roles: ana.Roles}}}, "name"},
	} {
		_, err := slack.New(test.c, courier.New(nil, time.Now))
		if test.says == "" && err != nil || test.says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: got %v, want %q said", name, err, test.says)
		}
	}
}
