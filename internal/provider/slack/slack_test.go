package slack_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
	"github.com/riposte-sec/riposte/internal/provider/slack"
	"github.com/riposte-sec/riposte/internal/secret"
)

const (
	hookPath = "/services/T000/B000/s3cretPath"
	botToken = "xoxb-s3cret-t0ken"
)

// server is a Slack that takes messages by webhook and by chat.postMessage.
type server struct {
	*httptest.Server
	notify action.Action
	got    []string
	status int
	answer string
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{status: http.StatusOK}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer := "ok"
		switch r.URL.Path {
		case hookPath:
		case "/api/chat.postMessage":
			answer = `{"ok":true,"ts":"1503435956.000247","channel":"C0123456789"}`
			if got, want := r.Header.Get("Authorization"), "Bearer "+botToken; got != want {
				t.Errorf("got authorization %q, want %q", got, want)
			}
		default:
			t.Errorf("unexpected request to %s", r.URL.Path)
		}
		if s.answer != "" {
			answer = s.answer
		}
		s.got = append(s.got, string(body))
		w.WriteHeader(s.status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	x, err := slack.New(slack.Config{
		API: s.URL + "/api/", Token: secret.New(botToken),
		Channels: map[string]slack.Channel{
			"security": {Webhook: secret.New(s.URL + hookPath)},
			"oncall":   {ID: "C0123456789"},
		},
	}, courier.New(nil, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	s.notify = x.Actions()[0]
	return s
}

func input(channel, subject, message string) action.Input {
	return action.Input{
		Place: action.Place{Account: "111122223333", Region: "eu-central-1"}, Incident: "01JINC", Run: "01JRUN", Step: "tell", Token: "tok-1",
		Params: action.Params{"channel": channel, "subject": subject, "message": message},
	}
}

func plan(t *testing.T, a action.Action, in action.Input) action.Change {
	t.Helper()
	c, err := a.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	journaled, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{hookPath, "s3cretPath", botToken} {
		if strings.Contains(string(journaled), private) {
			t.Errorf("the plan tells a secret: %s", journaled)
		}
	}
	var back action.Change
	if err := json.Unmarshal(journaled, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, channel := range []string{"security", "oncall"} {
		s := start(t)
		a := s.notify
		if spec := a.Spec(); spec.Name != "slack.notify" || spec.Effect != action.Notify || spec.Summary == "" || spec.Doc == "" {
			t.Errorf("got %+v", spec)
		}
		in := input(channel, "Key disabled", "Key AKIA... of ann is disabled")
		c := plan(t, a, in)
		if again := plan(t, a, in); again.Hash() != c.Hash() {
			t.Error("two plans of one input differ")
		}
		if len(s.got) != 0 {
			t.Fatalf("%s: Plan sent %v", channel, s.got)
		}
		result, err := a.Apply(t.Context(), c)
		if err != nil || !result.Changed {
			t.Fatalf("got %+v, %v", result, err)
		}
		if len(s.got) != 1 || s.got[0] != string(c.After) {
			t.Errorf("%s: got %v, want once what was planned: %s", channel, s.got, c.After)
		}
		if want := map[string]string{"security": "", "oncall": "1503435956.000247"}[channel]; result.Outputs["ts"] != want {
			t.Errorf("got ts %v, want %q", result.Outputs["ts"], want)
		}
		providertest.Notify(t, providertest.Notice{
			Action: a, Input: in, Sent: func(*testing.T) []string { return s.got }, Says: []string{"Key disabled", "of ann", "01JINC"},
			Answer: func(status int) { s.status = max(status, http.StatusOK) },
		})
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	a := start(t).notify
	got := string(plan(t, a, input("oncall", "R&D <key>", "*Bold* & <b>\nsecond line")).After)
	want := `{"channel":"C0123456789","text":"R\u0026amp;D \u0026lt;key\u0026gt;","blocks":[` +
		`{"type":"header","text":{"type":"plain_text","text":"R\u0026amp;D \u0026lt;key\u0026gt;","emoji":false}},` +
		`{"type":"section","text":{"type":"mrkdwn","text":"*Bold* \u0026amp; \u0026lt;b\u0026gt;\nsecond line","verbatim":true}},` +
		`{"type":"context","elements":[{"type":"mrkdwn","text":"incident 01JINC, run 01JRUN","verbatim":true}]}],` +
		`"unfurl_links":false,"unfurl_media":false}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	in := input("oncall", "", "x")
	if got := plan(t, a, in); !strings.Contains(got.Summary, "Riposte, incident 01JINC") {
		t.Errorf("got %q, want the incident for a subject", got.Summary)
	}
}

// attacks are texts that an attacker may have put into the name of a thing.
var attacks = []string{
	"<!everyone> <!channel> <!here> @channel @everyone <@U012345> <#C012345>",
	"<https://evil.example|sign in here>",
	"&lt;!everyone&gt; &<&>",
	"line\r\nline\rline\u2028line\u2029line\nline",
	"\x00\x07\x1b[2Jclear\u202egnp.exe\u2066x\u2069\ufeff\x7f\u0085",
	"\xff\xfe\xc0\xaf invalid \xed\xa0\x80",
	"", " \n\t", "\x00",
	strings.Repeat("a", 1<<20), strings.Repeat("<", 1<<20), strings.Repeat("&", 12001), strings.Repeat("😀", 1<<18),
	strings.Repeat("\x00", 1<<20), strings.Repeat("\xff", 1<<20), strings.Repeat("\n", 1<<20), strings.Repeat("é", 3000) + "<",
	`"}]}`, `\u003c!everyone\u003e`,
}

var entities = regexp.MustCompile(`&(amp|lt|gt);`)

func TestAttackersTexts(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.notify
	for _, attack := range attacks {
		for _, in := range []action.Input{input("security", attack, "x"), input("oncall", "x", attack), input("oncall", attack, attack)} {
			in.Incident, in.Token = attack, ""
			c := plan(t, a, in)
			if len(c.After) > 200<<10 || len(c.Params) > 200<<10 {
				t.Errorf("%.40q: a plan of %d and %d bytes", attack, len(c.After), len(c.Params))
			}
			if _, err := a.Apply(t.Context(), c); err != nil {
				t.Fatalf("%.40q: %v", attack, err)
			}
			checkMessage(t, attack, s.got[len(s.got)-1])
		}
	}
}

func checkMessage(t *testing.T, attack, body string) {
	t.Helper()
	type text struct {
		Type, Text string
		Verbatim   *bool
	}
	var m struct {
		Text   string
		Blocks []struct {
			Type     string
			Text     text
			Elements []text
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%.40q: %v", attack, err)
	}
	if n := len(m.Blocks); n < 2 || n > 50 {
		t.Errorf("%.40q: %d blocks", attack, n)
	}
	all := []text{{Text: m.Text}}
	for i, b := range m.Blocks {
		all = append(all, append(b.Elements, b.Text)...)
		if longest := map[bool]int{true: 150, false: 3000}[i == 0]; len(utf16.Encode([]rune(b.Text.Text))) > longest {
			t.Errorf("%.40q: block %d has %d characters", attack, i, len(b.Text.Text))
		}
		if b.Type != "context" && strings.TrimSpace(b.Text.Text) == "" {
			t.Errorf("%.40q: block %d is empty", attack, i)
		}
	}
	for _, x := range all {
		bare := entities.ReplaceAllString(x.Text, "")
		if strings.ContainsAny(bare, "<>&\r\x00\x1b\x7f\u202e\u2066\u2028\u0085") || !utf8.ValidString(x.Text) || strings.Contains(bare, "\ufffd") {
			t.Errorf("%.40q: becomes %.80q", attack, x.Text)
		}
		if x.Type == "mrkdwn" && (x.Verbatim == nil || !*x.Verbatim) {
			t.Errorf("%.40q: Slack looks for links and mentions in %.80q", attack, x.Text)
		}
	}
}

func TestNothingIsLostInPieces(t *testing.T) {
	t.Parallel()
	a := start(t).notify
	message := strings.Repeat("0123456789<>&é😀\n", 800)
	var m struct {
		Blocks []struct{ Text struct{ Text string } }
	}
	if err := json.Unmarshal(plan(t, a, input("security", "s", message)).After, &m); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, b := range m.Blocks[1:] {
		got.WriteString(b.Text.Text)
	}
	want := strings.NewReplacer("<", "&lt;", ">", "&gt;", "&", "&amp;").Replace(string([]rune(message)[:11999]) + "…")
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsHaveTheirKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		channel string
		status  int
		answer  string
		want    fault.Kind
	}{
		"webhook gone":      {"security", 404, "no_service", fault.Invalid},
		"webhook forbidden": {"security", 403, "action_prohibited " + hookPath, fault.Denied},
		"server down":       {"security", 503, "", fault.Transient},
		"rate":              {"oncall", 429, "", fault.Transient},
		"ratelimited":       {"oncall", 200, `{"ok":false,"error":"ratelimited"}`, fault.Transient},
		"token":             {"oncall", 200, `{"ok":false,"error":"invalid_auth"}`, fault.Denied},
		"channel":           {"oncall", 200, `{"ok":false,"error":"channel_not_found ` + botToken + `"}`, fault.Invalid},
		"no JSON":           {"oncall", 200, `<html>` + botToken, fault.Transient},
	} {
		s := start(t)
		a := s.notify
		s.status, s.answer = c.status, c.answer
		change := plan(t, a, input(c.channel, "s", "m"))
		_, err := a.Apply(t.Context(), change)
		if !fault.Is(err, c.want) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "slack channel "+c.channel) {
			t.Errorf("%s: got %v (%v), want %v with the channel and no secret", name, err, fault.KindOf(err), c.want)
		}
		s.status, s.answer = 200, ""
		if c.status == 200 {
			if result, err := a.Apply(t.Context(), change); err != nil || !result.Changed {
				t.Errorf("%s: later: got %+v, %v; want it sent", name, result, err)
			}
		}
	}
	a := start(t).notify
	if _, err := a.Plan(t.Context(), input("nobody", "s", "m")); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "oncall, security") {
		t.Errorf("got %v, want the channels that there are", err)
	}
	gone := plan(t, a, input("oncall", "s", "m"))
	gone.Params = json.RawMessage(`{"channel":"gone"}`)
	if _, err := a.Apply(t.Context(), gone); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want a channel that is gone to be invalid", err)
	}
}

func TestAWrongNameIsSeenEarly(t *testing.T) {
	t.Parallel()
	_, err := action.Bind(start(t).notify.Spec(), map[string]any{"channel": "nobody", "message": "m"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `"nobody" is not one of `) {
		t.Errorf("got %v, want the names that there are", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	channel := func(c slack.Channel) map[string]slack.Channel { return map[string]slack.Channel{"x": c} }
	hook := secret.New("https://hooks.example.com/" + botToken)
	for want, c := range map[string]slack.Config{
		"slack.api: ":                     {API: "http://slack.example.com"},
		"slack.channels.x: needs either":  {Channels: channel(slack.Channel{})},
		"slack.channels.x: needs either ": {Channels: channel(slack.Channel{Webhook: hook, ID: "C0123456789"}), Token: hook},
		"slack.channels.x: webhook: ":     {Channels: channel(slack.Channel{Webhook: secret.New("http://example.com/" + botToken)})},
		"slack.channels.x: id: needs":     {Channels: channel(slack.Channel{ID: "C0123456789"})},
		"slack.channels.x: id: slack.tok": {Channels: channel(slack.Channel{ID: "C0123456789"}), Token: secret.New("xoxb-s3cret\r\nX: y")},
		`slack.channels.x: id: "#general`: {Channels: channel(slack.Channel{ID: "#general"}), Token: secret.New(botToken)},
	} {
		_, err := slack.New(c, nil)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want it invalid with %q", err, want)
		}
	}
	none, err := slack.New(slack.Config{}, nil)
	if err != nil || len(none.Actions()) != 0 {
		t.Errorf("got %v, want no actions where nothing is configured", err)
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	t.Parallel()
	doc, err := document.Parse("riposte.yaml", []byte(`
token: {env: SLACK_TOKEN}
channels:
  security: {webhook: {env: SLACK_HOOK}}
  oncall: {id: C0123456789}
`))
	if err != nil {
		t.Fatal(err)
	}
	var c slack.Config
	if err := doc.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if _, err := doc.Resolve(func(name string) (string, bool) { return "https://example.com/" + name, true }); err != nil {
		t.Fatal(err)
	}
	if _, err := slack.New(c, nil); err != nil {
		t.Error(err)
	}
}

func TestTheContextEndsIt(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(release)
	x, err := slack.New(slack.Config{Channels: map[string]slack.Channel{"security": {Webhook: secret.New(hanging.URL)}}}, courier.New(nil, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	c := plan(t, x.Actions()[0], input("security", "s", "m"))
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	if _, err := x.Actions()[0].Apply(ctx, c); !fault.Is(err, fault.Transient) || !errors.Is(err, stopped) {
		t.Errorf("got %v, want it transient with its cause", err)
	}
}
