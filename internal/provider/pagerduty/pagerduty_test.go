package pagerduty_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/pagerduty"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
	"github.com/riposte-sec/riposte/internal/secret"
)

const routingKey = "R0123456789abcdefghijklmnopqrstu"

// server is the Events API as far as it is documented: it joins events by their key.
type server struct {
	*httptest.Server
	trigger, resolve action.Action
	got              []map[string]any
	open             map[string]int
	status           int
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{open: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var e map[string]any
		if err := json.Unmarshal(body, &e); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %.80q: %v", body, err)
		}
		s.got = append(s.got, e)
		if s.status != 0 {
			w.WriteHeader(s.status)
			_, _ = io.WriteString(w, `{"status":"invalid event","errors":["`+routingKey+`"]}`)
			return
		}
		id, _ := e["dedup_key"].(string)
		if s.open[id]++; e["event_action"] == "resolve" {
			delete(s.open, id)
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"success","message":"Event processed","dedup_key":"x"}`)
	}))
	t.Cleanup(s.Close)
	x, err := pagerduty.New(pagerduty.Config{
		URL: s.URL + "/v2/enqueue", Services: map[string]pagerduty.Service{"cloud": {RoutingKey: secret.New(routingKey)}},
	}, courier.New(nil, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	s.trigger, s.resolve = x.Actions()[0], x.Actions()[1]
	return s
}

func input(params action.Params) action.Input {
	params["service"] = "cloud"
	return action.Input{
		Place: action.Place{Account: "111122223333", Region: "eu-central-1"}, Incident: "01JINC", Run: "01JRUN", Step: "page", Token: "tok-1",
		Params: params,
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
	if strings.Contains(string(journaled), routingKey) {
		t.Errorf("the plan tells the routing key: %s", journaled)
	}
	var back action.Change
	if err := json.Unmarshal(journaled, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func apply(t *testing.T, a action.Action, c action.Change) {
	t.Helper()
	result, err := a.Apply(t.Context(), c)
	if err != nil || !result.Changed || result.Outputs["dedup_key"] != "riposte-01JINC" {
		t.Fatalf("got %+v, %v", result, err)
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	s := start(t)
	trigger, resolve := s.trigger, s.resolve
	params := action.Params{"subject": "Key disabled", "message": "Key AKIA...\nof ann", "severity": "critical"}
	c := plan(t, trigger, input(params))
	if again := plan(t, trigger, input(params)); again.Hash() != c.Hash() {
		t.Error("two plans of one input differ")
	}
	end := plan(t, resolve, input(action.Params{}))
	if len(s.got) != 0 {
		t.Fatalf("Plan sent %v", s.got)
	}
	apply(t, trigger, c)
	apply(t, trigger, c)
	if len(s.open) != 1 {
		t.Errorf("got the alerts %v, want one", s.open)
	}
	apply(t, resolve, end)
	apply(t, resolve, end)
	if len(s.open) != 0 {
		t.Errorf("got the alerts %v, want none", s.open)
	}
	want := map[string]any{
		"routing_key": routingKey, "event_action": "trigger", "dedup_key": "riposte-01JINC", "client": "Riposte",
		"payload": map[string]any{
			"summary": "Key disabled: Key AKIA... of ann", "source": "riposte", "severity": "critical", "group": "111122223333",
			"custom_details": map[string]any{
				"message": "Key AKIA...\nof ann", "incident": "01JINC", "run": "01JRUN", "step": "page", "account": "111122223333", "region": "eu-central-1",
			},
		},
	}
	if diff := cmp.Diff(want, s.got[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want = map[string]any{"routing_key": routingKey, "event_action": "resolve", "dedup_key": "riposte-01JINC"}
	if diff := cmp.Diff(want, s.got[2]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, a := range []action.Action{trigger, resolve} {
		if spec := a.Spec(); spec.Effect != action.Notify || spec.Doc == "" || !spec.Takes("service") {
			t.Errorf("got %+v", spec)
		}
	}
}

func TestKeepsTheContract(t *testing.T) {
	t.Parallel()
	s := start(t)
	trigger, resolve := s.trigger, s.resolve
	for _, n := range []providertest.Notice{
		{Action: trigger, Input: input(action.Params{"subject": "Key disabled", "message": "of ann"}), Says: []string{"Key disabled: of ann"}},
		{Action: resolve, Input: input(action.Params{}), Says: []string{"resolve", "riposte-01JINC"}},
	} {
		n.Answer = func(status int) { s.status = status }
		n.Sent = func(t *testing.T) []string {
			t.Helper()
			var sent []string
			for _, e := range s.got {
				text, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				sent = append(sent, string(text))
			}
			return sent
		}
		providertest.Notify(t, n)
	}
}

func TestSeverities(t *testing.T) {
	t.Parallel()
	trigger := start(t).trigger
	for given, want := range map[string]string{
		"": "error", "critical": "critical", "HIGH": "error", "medium": "warning", "low": "info", "informational": "info", "info": "info",
		"error": "error", "Warning": "warning", "5": "critical", "4": "error", "3": "warning", "2": "info", "1": "info",
		"0": "", "6": "", "-1": "", "300": "", "unknown": "", "fatal\n": "",
	} {
		c, err := trigger.Plan(t.Context(), input(action.Params{"message": "m", "severity": given}))
		if want == "" {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: got %s, %v; want it invalid", given, c.After, err)
			}
			continue
		}
		if err != nil || !strings.Contains(string(c.After), `"severity":"`+want+`"`) {
			t.Errorf("%q: got %s, %v; want %q", given, c.After, err, want)
		}
	}
}

func TestAttackersTexts(t *testing.T) {
	t.Parallel()
	s := start(t)
	trigger := s.trigger
	for _, attack := range []string{
		"a\r\nb\u2028c", "\x00\x1b[2J\u202e\u2066", "\xff\xfe", `"},"routing_key":"other`, "", "\x00", strings.Repeat("x", 1<<20),
		strings.Repeat("😀", 1<<18), strings.Repeat("\xff", 1<<20), strings.Repeat("\n", 1<<20),
	} {
		for _, params := range []action.Params{{"message": attack}, {"message": "m", "subject": attack}, {"message": attack, "subject": attack}} {
			in := input(params)
			in.Step = attack
			c := plan(t, trigger, in)
			if len(c.After) > 200<<10 || len(c.Params) > 200<<10 {
				t.Errorf("%.40q: a plan of %d and %d bytes", attack, len(c.After), len(c.Params))
			}
			apply(t, trigger, c)
			e := s.got[len(s.got)-1]
			payload, _ := e["payload"].(map[string]any)
			summary, _ := payload["summary"].(string)
			if n := utf8.RuneCountInString(summary); n == 0 || n > 1024 || strings.ContainsAny(summary, "\r\n\x00\x1b\u202e\u2066\u2028\ufffd") {
				t.Errorf("%.40q: got summary %.80q of %d characters", attack, summary, n)
			}
			if e["routing_key"] != routingKey {
				t.Errorf("%.40q: got routing key %v", attack, e["routing_key"])
			}
		}
	}
}

func TestDedupKeyWithoutIncident(t *testing.T) {
	t.Parallel()
	resolve := start(t).resolve
	for want, in := range map[string]action.Input{
		"riposte-01JRUN": {Run: "01JRUN", Token: "tok"},
		"riposte-tok":    {Token: "tok"},
		"riposte-" + strings.Repeat("x", 246) + "…": {Incident: strings.Repeat("x", 1000)},
	} {
		in.Params = action.Params{"service": "cloud"}
		c := plan(t, resolve, in)
		var e struct {
			DedupKey string `json:"dedup_key"`
		}
		if err := json.Unmarshal(c.After, &e); err != nil || e.DedupKey != want {
			t.Errorf("got %q, %v; want %q", e.DedupKey, err, want)
		}
	}
}

func TestErrorsHaveTheirKind(t *testing.T) {
	t.Parallel()
	s := start(t)
	trigger, resolve := s.trigger, s.resolve
	c := plan(t, trigger, input(action.Params{"message": "m"}))
	for status, want := range map[int]fault.Kind{400: fault.Invalid, 403: fault.Denied, 429: fault.Transient, 502: fault.Transient} {
		s.status = status
		_, err := trigger.Apply(t.Context(), c)
		if !fault.Is(err, want) || strings.Contains(err.Error(), routingKey) || !strings.Contains(err.Error(), "pagerduty service cloud") {
			t.Errorf("%d: got %v (%v), want %v with the service and no secret", status, err, fault.KindOf(err), want)
		}
	}
	for _, a := range []action.Action{trigger, resolve} {
		in := input(action.Params{"message": "m"})
		in.Params["service"] = "nobody"
		if _, err := a.Plan(t.Context(), in); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "there are cloud") {
			t.Errorf("got %v, want the services that there are", err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]pagerduty.Config{
		"pagerduty.url: ":    {URL: "http://example.com/"},
		"pagerduty.source: ": {Source: "a\nb"},
		"pagerduty.services.x.routing_key: ": {Services: map[string]pagerduty.Service{
			"x": {}, "y": {RoutingKey: secret.New(routingKey)},
		}},
		"pagerduty.services.y.routing_key: ": {Services: map[string]pagerduty.Service{"y": {RoutingKey: secret.New(routingKey + "\n")}}},
	} {
		_, err := pagerduty.New(c, nil)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), routingKey) {
			t.Errorf("got %v, want it invalid with %q", err, want)
		}
	}
	if x, err := pagerduty.New(pagerduty.Config{}, nil); err != nil || len(x.Actions()) != 0 {
		t.Errorf("got %v, want no actions where nothing is configured", err)
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	t.Parallel()
	doc, err := document.Parse("riposte.yaml", []byte("url: https://events.eu.pagerduty.com/v2/enqueue\nservices: {cloud: {routing_key: {env: PD}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var c pagerduty.Config
	if err := doc.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if _, err := doc.Resolve(func(string) (string, bool) { return routingKey, true }); err != nil {
		t.Fatal(err)
	}
	if _, err := pagerduty.New(c, nil); err != nil {
		t.Error(err)
	}
}
