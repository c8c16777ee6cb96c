package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
	"github.com/riposte-sec/riposte/internal/provider/webhook"
	"github.com/riposte-sec/riposte/internal/secret"
)

var (
	key    = []byte("0123456789abcdef0123456789abcdef")
	encKey = "whsec_" + base64.StdEncoding.EncodeToString(key)
)

// letter is one request as the receiver got it.
type letter struct {
	header http.Header
	body   string
}

// receiver is an endpoint that checks signatures.
type receiver struct {
	*httptest.Server
	send   action.Action
	got    []letter
	status int
}

func start(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusNoContent}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.got = append(r.got, letter{q.Header, string(body)})
		verify(t, q.Header, body)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(r.status)
		if r.status >= 300 {
			_, _ = io.WriteString(w, "you sent "+q.Header.Get("Authorization")+" to "+q.URL.String())
		}
	}))
	t.Cleanup(r.Close)
	x, err := webhook.New(webhook.Config{Endpoints: map[string]webhook.Endpoint{"soar": {
		URL: webhook.Text{Secret: secret.New(r.URL + "/hook?k=s3cretURL")}, Secret: secret.New(encKey),
		Headers: map[string]webhook.Text{
			"authorization": {Secret: secret.New("Bearer s3cretHeader")}, "X-Team": {Secret: secret.New("blue")},
		},
	}}}, courier.New(nil, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	r.send = x.Actions()[0]
	return r
}

// verify does what the specification asks of a receiver.
func verify(t *testing.T, header http.Header, body []byte) {
	t.Helper()
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "." + string(body)))
	if got, want := header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("got signature %q, want %q", got, want)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age < -time.Minute || age > time.Minute {
		t.Errorf("got timestamp %q, want about now", timestamp)
	}
	if id == "" || len(id) > 128 || strings.ContainsAny(id, ". \r\n") {
		t.Errorf("got id %q", id)
	}
}

func input(subject, message string) action.Input {
	return action.Input{
		Incident: "01JINC", Run: "01JRUN", Step: "tell", Token: "tok-1",
		Params: action.Params{"endpoint": "soar", "subject": subject, "message": message},
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
	if strings.Contains(string(journaled), "s3cret") || strings.Contains(string(journaled), encKey) {
		t.Errorf("the plan tells a secret: %s", journaled)
	}
	var back action.Change
	if err := json.Unmarshal(journaled, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// withoutTime takes the attempt's time out of a body and checks it.
func withoutTime(t *testing.T, body string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	text, _ := m["time"].(string)
	if at, err := time.Parse(time.RFC3339, text); err != nil || time.Since(at) > time.Minute || at.Location() != time.UTC {
		t.Errorf("got time %q, want now in UTC", text)
	}
	delete(m, "time")
	return m
}

func TestContract(t *testing.T) {
	t.Parallel()
	r := start(t)
	a := r.send
	if spec := a.Spec(); spec.Name != "webhook.send" || spec.Effect != action.Notify || spec.Doc == "" {
		t.Errorf("got %+v", spec)
	}
	c := plan(t, a, input("Key disabled", "<b>AKIA & co.</b>"))
	if again := plan(t, a, input("Key disabled", "<b>AKIA & co.</b>")); again.Hash() != c.Hash() {
		t.Error("two plans of one input differ")
	}
	if len(r.got) != 0 {
		t.Fatalf("Plan sent %v", r.got)
	}
	for range 2 {
		result, err := a.Apply(t.Context(), c)
		if err != nil || !result.Changed || result.Outputs["status"] != int64(204) {
			t.Fatalf("got %+v, %v", result, err)
		}
	}
	for _, got := range r.got {
		for name, want := range map[string]string{
			"Webhook-Id": "tok-1", "Content-Type": "application/json", "User-Agent": "Riposte", "X-Team": "blue", "Authorization": "Bearer s3cretHeader",
		} {
			if got := got.header.Get(name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		want := map[string]any{
			"type": "riposte.message", "incident": "01JINC", "run": "01JRUN", "step": "tell",
			"subject": "Key disabled", "message": "<b>AKIA & co.</b>",
		}
		if diff := cmp.Diff(want, withoutTime(t, got.body)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestKeepsTheContract(t *testing.T) {
	t.Parallel()
	r := start(t)
	a := r.send
	providertest.Notify(t, providertest.Notice{
		Action: a, Input: input("Key disabled", "Key AKIA... of ann"), Says: []string{"Key disabled", "of ann", "01JINC"},
		Sent: func(*testing.T) []string {
			var sent []string
			for _, l := range r.got {
				sent = append(sent, l.body)
			}
			return sent
		},
		Answer: func(status int) { r.status = max(status, http.StatusOK) },
	})
}

func TestAttackersTexts(t *testing.T) {
	t.Parallel()
	r := start(t)
	a := r.send
	for _, attack := range []string{
		"a\r\nX-Injected: yes", "\x00\x1b\u202e", "\xff\xfe", `"},"type":"other`, "", strings.Repeat("x", 1<<20), strings.Repeat("😀", 1<<18),
		strings.Repeat("\x00", 1<<20), "x" + strings.Repeat("😀", 1<<18),
	} {
		in := input(attack, attack)
		in.Token = attack
		c := plan(t, a, in)
		if _, err := a.Apply(t.Context(), c); err != nil {
			t.Fatalf("%.40q: %v", attack, err)
		}
		got := r.got[len(r.got)-1]
		if len(got.body) > 1<<19 || got.header.Get("X-Injected") != "" {
			t.Errorf("%.40q: got %d bytes, %v", attack, len(got.body), got.header)
		}
		m := withoutTime(t, got.body)
		message, _ := m["message"].(string)
		if m["type"] != "riposte.message" || !utf8.ValidString(message) || len(message) > 65<<10 || strings.Contains(message, "\ufffd") {
			t.Errorf("%.40q: got %.80q", attack, message)
		}
		if len(attack) < 1000 && message != strings.ToValidUTF8(attack, "") {
			t.Errorf("%.40q: got %.80q, want it as it was written", attack, message)
		}
		if _, err := a.Apply(t.Context(), c); err != nil || r.got[len(r.got)-1].header.Get("webhook-id") != got.header.Get("webhook-id") {
			t.Errorf("%.40q: another attempt has another id, or %v", attack, err)
		}
	}
}

func TestErrorsHaveTheirKind(t *testing.T) {
	t.Parallel()
	r := start(t)
	a := r.send
	c := plan(t, a, input("s", "m"))
	for status, want := range map[int]fault.Kind{
		301: fault.Invalid, 400: fault.Invalid, 401: fault.Denied, 403: fault.Denied, 410: fault.Invalid, 429: fault.Transient, 500: fault.Transient,
	} {
		r.status, r.got = status, nil
		_, err := a.Apply(t.Context(), c)
		if !fault.Is(err, want) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "webhook soar") {
			t.Errorf("%d: got %v (%v), want %v with the name and no secret", status, err, fault.KindOf(err), want)
		}
		if len(r.got) != 1 {
			t.Errorf("%d: %d requests, want 1", status, len(r.got))
		}
	}
	r.Close()
	if _, err := a.Apply(t.Context(), c); !fault.Is(err, fault.Transient) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("away: got %v, want it transient", err)
	}
	in := input("s", "m")
	in.Params["endpoint"] = "https://evil.example/"
	if _, err := a.Plan(t.Context(), in); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "there are soar") {
		t.Errorf("got %v, want the endpoints that there are", err)
	}
}

func TestAWrongNameIsSeenEarly(t *testing.T) {
	t.Parallel()
	_, err := action.Bind(start(t).send.Spec(), map[string]any{"endpoint": "nobody", "message": "m"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `"nobody" is not one of `) {
		t.Errorf("got %v, want the names that there are", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	text := func(s string) webhook.Text { return webhook.Text{Secret: secret.New(s)} }
	good := webhook.Endpoint{URL: text("https://example.com/"), Secret: secret.New(encKey)}
	with := func(change func(*webhook.Endpoint)) webhook.Endpoint {
		e := good
		change(&e)
		return e
	}
	header := func(name, value string) webhook.Endpoint {
		return with(func(e *webhook.Endpoint) { e.Headers = map[string]webhook.Text{name: text(value)} })
	}
	key := func(s string) webhook.Endpoint {
		return with(func(e *webhook.Endpoint) { e.Secret = secret.New(s) })
	}
	for _, c := range []struct {
		want string
		webhook.Endpoint
	}{
		{"url: ", webhook.Endpoint{Secret: secret.New(encKey)}},
		{"url: ", with(func(e *webhook.Endpoint) { e.URL = text("http://example.com/s3cret") })},
		{"url: ", with(func(e *webhook.Endpoint) { e.URL = text("https://u:s3cret@example.com/") })},
		{"secret: ", webhook.Endpoint{URL: text("https://example.com/")}},
		{"secret: ", key("s3cret")},
		{"secret: ", key(strings.TrimPrefix(encKey, "whsec_"))},
		{"secret: ", key("whsec_s3cretno!base64")},
		{"secret: ", key("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)))},
		{"secret: ", key("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)))},
		{"headers.a b: ", header("a b", "s3cret")},
		{"headers.webhook-id: ", header("webhook-id", "s3cret")},
		{"headers.host: ", header("host", "s3cret")},
		{"headers.content-type: ", header("content-type", "s3cret")},
		{"headers.X: ", header("X", "s3cret\r\nY: z")},
		{"timeout: ", with(func(e *webhook.Endpoint) { e.Timeout = time.Hour })},
		{"timeout: ", with(func(e *webhook.Endpoint) { e.Timeout = -1 })},
	} {
		_, err := webhook.New(webhook.Config{Endpoints: map[string]webhook.Endpoint{"soar": c.Endpoint}}, nil)
		if want := "webhook.endpoints.soar." + c.want; !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want it invalid with %q", err, want)
		}
	}
	if x, err := webhook.New(webhook.Config{}, nil); err != nil || len(x.Actions()) != 0 {
		t.Errorf("got %v, want no actions where nothing is configured", err)
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	t.Parallel()
	doc, err := document.Parse("riposte.yaml", []byte(`
endpoints:
  plain: {url: "https://example.com/", secret: {env: KEY}, headers: {X-Team: blue, Authorization: {env: AUTH}}, timeout: 5s}
  hidden: {url: {env: URL}, secret: {env: KEY}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var c webhook.Config
	if err := doc.Decode(&c); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"KEY": encKey, "AUTH": "Bearer x", "URL": "https://example.com/hidden"}
	warnings, err := doc.Resolve(func(name string) (string, bool) { v, ok := values[name]; return v, ok })
	if err != nil || len(warnings) != 0 {
		t.Fatalf("got %v, %v; want no errors and no warnings", warnings, err)
	}
	if _, err := webhook.New(c, nil); err != nil {
		t.Error(err)
	}
	if got, want := c.Endpoints["hidden"].URL.Reveal(), values["URL"]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
