package teams_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
	"github.com/riposte-sec/riposte/internal/provider/teams"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/secret"
)

const (
	flow  = "/workflows/0123/triggers/manual/paths/invoke?api-version=1&sig=s3cretSignature"
	anaID = "01234567-89ab-cdef-0123-456789abcdef"
	evil  = "[sign in](https://evil.example) <at>all</at> {{DATE(2017-02-14T06:08:39Z)}} *x*"
)

var (
	noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	key  = []byte("0123456789abcdef0123456789abcdef")
)

// room is a Teams that takes cards, our handler of what people say there, and a desk with one question.
type room struct {
	testing.TB
	theirs *httptest.Server
	ours   *httptest.Server
	notify action.Action

	mu     sync.Mutex
	got    []string
	status int
	answer string
	asked  question.Question
	took   []question.Answer
	fails  error
}

func (r *room) ByCode(_ context.Context, code string) (question.Question, error) {
	if code != question.Code(r.asked.Approval) {
		return question.Question{}, fault.New(fault.NotFound, "there is no question %q", code)
	}
	return r.asked, nil
}

func (r *room) Decide(_ context.Context, a question.Answer) (run.Approval, error) {
	if r.fails != nil {
		return r.asked.Approval, r.fails
	}
	r.took = append(r.took, a)
	r.asked.Answer, r.asked.By, r.asked.Reason = run.Refused, a.By, a.Reason
	if a.Yes {
		r.asked.Answer = run.Approved
	}
	return r.asked.Approval, nil
}

func open(tb testing.TB) *room {
	tb.Helper()
	change := action.Change{Summary: "Disable key of " + evil, Impact: []string{"2 jobs use it"}}
	r := &room{TB: tb, status: http.StatusAccepted, asked: question.Question{
		Approval: run.Approval{
			ID: "01JASK", Run: "01JRUN", Incident: "01JINC", Hash: strings.Repeat("ab", 32), Roles: []string{"incident_analyst"},
			Answer: run.Pending, Plans: []run.Plan{{Step: "off", Change: change}},
		},
		Playbook: "contain", Title: "Key used by " + evil, Severity: finding.High,
	}}
	r.theirs = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		text, _ := io.ReadAll(request.Body)
		if request.URL.RequestURI() != flow {
			tb.Errorf("unexpected request to %s", request.URL)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, string(text))
		w.WriteHeader(r.status)
		_, _ = io.WriteString(w, r.answer)
	}))
	tb.Cleanup(r.theirs.Close)
	x, err := teams.New(teams.Config{
		Channels: map[string]teams.Channel{"security": {URL: secret.New(r.theirs.URL + flow)}},
		Secret:   secret.New(base64.StdEncoding.EncodeToString(key)),
		Users:    map[string]question.Person{anaID: {Name: "ana", Roles: []string{"incident_analyst"}}},
	}, courier.New(nil, time.Now))
	if err != nil {
		tb.Fatal(err)
	}
	r.notify = x.Actions()[0]
	r.ours = httptest.NewServer(x.Messages(r, func() time.Time { return noon }, slog.New(slog.DiscardHandler)))
	tb.Cleanup(r.ours.Close)
	return r
}

func input(subject, message string) action.Input {
	return action.Input{
		Incident: "01JINC", Run: "01JRUN", Step: "tell", Token: "tok-1",
		Params: action.Params{"channel": "security", "subject": subject, "message": message},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	r := open(t)
	providertest.Notify(t, providertest.Notice{
		Action: r.notify, Input: input("Key disabled", "Key of ann is disabled"), Sent: func(*testing.T) []string { return r.got },
		Says: []string{"Key disabled", "of ann", "01JINC", "application/vnd.microsoft.card.adaptive"},
		Answer: func(status int) {
			r.status = status
			if status == 0 {
				r.status = http.StatusAccepted
			}
		},
	})
}

// texts gives every run of a card, and fails where there is another kind of text.
func texts(tb testing.TB, sent string) []string {
	tb.Helper()
	var message struct {
		Type        string
		Attachments []struct {
			ContentType string
			Content     struct {
				Type string
				Body []struct {
					Type    string
					Inlines []struct{ Type, Text string }
				}
				Actions []struct{ Type, URL string }
			}
		}
	}
	if err := json.Unmarshal([]byte(sent), &message); err != nil || message.Type != "message" || len(message.Attachments) != 1 {
		tb.Fatalf("%v: %s", err, sent)
	}
	content := message.Attachments[0].Content
	var all []string
	for _, b := range content.Body {
		if b.Type != "RichTextBlock" {
			tb.Errorf("a text is a %s, which knows Markdown", b.Type)
		}
		for _, inline := range b.Inlines {
			all = append(all, inline.Text)
		}
	}
	for _, a := range content.Actions {
		all = append(all, a.Type+" "+a.URL)
	}
	return all
}

func TestWhatOthersWroteIsInert(t *testing.T) {
	t.Parallel()
	r := open(t)
	for _, text := range []string{evil, "\x00\u202e\xff", strings.Repeat("é", 100_000), strings.Repeat("\"", 100_000), strings.Repeat("😀", 50_000)} {
		c, err := r.notify.Plan(t.Context(), input(text, text))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.After) > 24<<10 {
			t.Errorf("the card has %d bytes; Teams takes 28 KB", len(c.After))
		}
		for _, shown := range texts(t, string(c.After)) {
			if strings.Contains(shown, "{{") || strings.ContainsAny(shown, "\x00\u202e\ufffd") {
				t.Errorf("shown is %q", shown)
			}
		}
	}
}

func TestWhatWasNotDeliveredIsAnError(t *testing.T) {
	t.Parallel()
	r := open(t)
	c, err := r.notify.Plan(t.Context(), input("s", "m"))
	if err != nil {
		t.Fatal(err)
	}
	r.status = http.StatusOK
	for answer, want := range map[string]fault.Kind{
		"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x": fault.Transient,
		"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413 s3cretSignature":  fault.Invalid,
	} {
		r.answer = answer
		if _, err := r.notify.Apply(t.Context(), c); !fault.Is(err, want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v of kind %s, want %s", err, fault.KindOf(err), want)
		}
	}
	r.answer = "1"
	if _, err := r.notify.Apply(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestAsking(t *testing.T) {
	t.Parallel()
	r := open(t)
	asker, can := r.notify.(interface {
		Ask(ctx context.Context, params action.Params, t question.Telling) error
	})
	if !can {
		t.Fatal("teams.notify can't ask")
	}
	for range 100 {
		r.asked.Plans = append(r.asked.Plans, run.Plan{Change: action.Change{Summary: strings.Repeat("\"", 5000)}})
	}
	telling := question.Telling{
		Question: r.asked, Headline: "Approval needed: contain",
		Link: func(context.Context, question.Person) (string, error) { return "https://riposte.example.com/a/x", nil },
	}
	if err := asker.Ask(t.Context(), action.Params{"channel": "security"}, telling); err != nil {
		t.Fatal(err)
	}
	shown := strings.Join(texts(t, r.got[0]), "\n")
	if len(r.got[0]) > 24<<10 {
		t.Errorf("the card has %d bytes", len(r.got[0]))
	}
	for _, want := range []string{
		"Approval needed: contain", "Disable key of", "2 jobs use it", "abababababab", "approve " + question.Code(r.asked.Approval),
		"Action.OpenUrl https://riposte.example.com/a/x", "more plans are not shown",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the card lacks %q: %s", want, shown)
		}
	}
}

func sign(body string) string {
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(body))
	return "HMAC " + base64.StdEncoding.EncodeToString(sum.Sum(nil))
}

func (r *room) post(body string, authorization ...string) (status int, text string) {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, r.ours.URL, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	request.Header["Authorization"] = authorization
	answer, err := r.ours.Client().Do(request)
	if err != nil {
		r.Fatal(err)
	}
	said, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		r.Fatal(err)
	}
	return answer.StatusCode, string(said)
}

func says(id, text string, at time.Time) string {
	body, err := json.Marshal(map[string]any{
		"type": "message", "id": "1", "timestamp": at.Format("2006-01-02T15:04:05.0000000Z"), "text": text,
		"from": map[string]any{"id": "29:1abc", "name": "ana", "aadObjectId": id},
	})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func TestOnlyTeamsIsHeard(t *testing.T) {
	t.Parallel()
	r := open(t)
	body := says(anaID, "approve "+question.Code(r.asked.Approval), noon)
	old := says(anaID, "approve "+question.Code(r.asked.Approval), noon.Add(-6*time.Minute))
	for name, test := range map[string]struct {
		body   string
		header []string
	}{
		"none": {body, nil}, "another body": {body + " ", []string{sign(body)}}, "bearer": {body, []string{"Bearer " + sign(body)[5:]}},
		"empty": {body, []string{"HMAC "}}, "two": {body, []string{sign(body), sign(body)}}, "old": {old, []string{sign(old)}},
		"not base64": {body, []string{"HMAC ***"}},
	} {
		if status, _ := r.post(test.body, test.header...); status != http.StatusUnauthorized {
			t.Errorf("%s: got status %d, want 401", name, status)
		}
	}
	if status, _ := r.post("x", sign("x")); status != http.StatusBadRequest {
		t.Errorf("no JSON: got status %d", status)
	}
	large := strings.Repeat(" ", 300<<10)
	if status, _ := r.post(large, sign(large)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("large: got status %d", status)
	}
	if len(r.took) != 0 {
		t.Errorf("got %v", r.took)
	}
}

func TestWhatPeopleSay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		id, text string
		answers  string
		yes      bool
		reason   string
	}{
		"approve":        {anaID, "<at>Riposte</at> approve CODE", "Approved by ana", true, ""},
		"in capitals":    {strings.ToUpper(anaID), "<at>Riposte</at>&nbsp;APPROVE CODE thanks\n", "Approved by ana", true, "thanks"},
		"in a paragraph": {anaID, "<p><at id=\"0\">Riposte</at> deny CODE it is <b>ours</b> &amp; fine</p>", "Denied by ana: it is ours &amp; fine", false, "it is ours & fine"},
		"no reason":      {anaID, "deny CODE", "say why", false, "-"},
		"another code":   {anaID, "approve aaaaaaaaaa", "there is no question", false, "-"},
		"no order":       {anaID, "hello", "Say: approve CODE", false, "-"},
		"more before it": {anaID, "do not approve CODE", "Say: approve CODE", false, "-"},
		"a stranger":     {"11111111-89ab-cdef-0123-456789abcdef", "approve CODE", "does not know you", false, "-"},
		"nobody":         {"", "approve CODE", "does not know you", false, "-"},
	} {
		r := open(t)
		body := says(test.id, strings.ReplaceAll(test.text, "CODE", question.Code(r.asked.Approval)), noon.Add(4*time.Minute))
		status, answer := r.post(body, sign(body))
		var reply struct{ Type, Text string }
		if err := json.Unmarshal([]byte(answer), &reply); err != nil || status != http.StatusOK || reply.Type != "message" || !strings.Contains(reply.Text, test.answers) {
			t.Errorf("%s: got status %d, %s, %v; want %q", name, status, answer, err, test.answers)
		}
		if test.reason == "-" {
			if len(r.took) != 0 {
				t.Errorf("%s: got %+v", name, r.took)
			}
			continue
		}
		if len(r.took) != 1 || r.took[0].Yes != test.yes || r.took[0].Reason != test.reason || r.took[0].By != "ana" || r.took[0].Hash != r.asked.Hash {
			t.Errorf("%s: got %+v", name, r.took)
		}
	}
}

func TestFailuresStayInside(t *testing.T) {
	t.Parallel()
	r := open(t)
	body := says(anaID, "approve "+question.Code(r.asked.Approval), noon)
	r.fails = errors.New("sql: at /var/lib")
	if _, answer := r.post(body, sign(body)); !strings.Contains(answer, "something failed") || strings.Contains(answer, "/var") {
		t.Errorf("got %s", answer)
	}
	r.fails = fault.New(fault.Conflict, "answered already: approved by [eve](https://evil.example) <b>")
	if _, answer := r.post(body, sign(body)); strings.Contains(answer, "[eve]") || strings.Contains(answer, `\u003cb`) {
		t.Errorf("the answer has markup: %s", answer)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	ana := question.Person{Name: "ana", Roles: []string{"incident_analyst"}}
	right := secret.New(base64.StdEncoding.EncodeToString(key))
	for name, test := range map[string]struct {
		c    teams.Config
		says string
	}{
		"nothing":    {teams.Config{}, ""},
		"right":      {teams.Config{Secret: right, Users: map[string]question.Person{anaID: ana}}, ""},
		"no base64":  {teams.Config{Secret: secret.New("hunter2 hunter2 hunter2")}, "teams.secret"},
		"short":      {teams.Config{Secret: secret.New("aGk=")}, "teams.secret"},
		"no secret":  {teams.Config{Users: map[string]question.Person{anaID: ana}}, "teams.secret"},
		"no id":      {teams.Config{Secret: right, Users: map[string]question.Person{"ana@example.com": ana}}, "object id"},
		"no role":    {teams.Config{Secret: right, Users: map[string]question.Person{anaID: {Name: "ana"}}}, "roles"},
		"plain http": {teams.Config{Channels: map[string]teams.Channel{"x": {URL: secret.New("http://example.com/hunter2")}}}, "teams.channels.x.url"},
	} {
		_, err := teams.New(test.c, courier.New(nil, time.Now))
		if test.says == "" && err != nil || test.says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: got %v, want %q said", name, err, test.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
}
