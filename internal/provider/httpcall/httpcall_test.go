package httpcall_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/httpcall"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
	"github.com/riposte-sec/riposte/internal/secret"
)

const signingKey = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// wall is an API that blocks hosts: at once, or as a job that ends later. It knows calls by their Idempotency-Key.
type wall struct {
	mu    sync.Mutex
	calls map[string]string // request by key
	jobs  map[string]string // status by key
	order []string          // keys of jobs
	last  *http.Request
	wrong int    // status to answer instead
	text  string // body to answer instead
}

func (f *wall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = r
	body, _ := io.ReadAll(r.Body)
	path, below := strings.CutPrefix(r.URL.EscapedPath(), "/api")
	switch {
	case f.wrong != 0:
		w.Header().Set("Location", "http://192.0.2.1/elsewhere")
		w.WriteHeader(f.wrong)
		fmt.Fprintf(w, "you sent %q, %q", r.Header.Get("Authorization"), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	case f.text != "":
		_, _ = io.WriteString(w, f.text)
	case !below || r.Header.Get("Authorization") != "Bearer s3cretToken":
		w.WriteHeader(http.StatusTeapot)
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/hosts/") && path != "/hosts/absent":
		fmt.Fprintf(w, `{"path": %q, "query": %q, "token": "s3cretToken"}`, path, r.URL.RawQuery)
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/jobs/"):
		key := strings.TrimPrefix(path, "/jobs/")
		status, known := f.jobs[key]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"job": {"state": %q}, "blocked": 1}`, status)
	case r.Method != http.MethodGet && strings.HasPrefix(path, "/block"):
		f.calls[r.Header.Get("Idempotency-Key")] = r.Method + " " + path + " " + string(body)
		fmt.Fprint(w, `{"blocked": true}`)
	case r.Method == http.MethodPost && path == "/jobs":
		key := r.Header.Get("Idempotency-Key")
		if _, known := f.jobs[key]; !known {
			f.jobs[key] = "running"
			f.order = append(f.order, key)
		}
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"job": {"id": %q}}`, key)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// stand is a wall with the actions that reach it through a door.
type stand struct {
	*wall
	door      *providertest.Door
	get, call action.Action
}

func start(t *testing.T, path string) *stand {
	t.Helper()
	s := &stand{wall: &wall{calls: map[string]string{}, jobs: map[string]string{}}}
	server := httptest.NewServer(s.wall)
	t.Cleanup(server.Close)
	s.door = providertest.NewDoor(t, server.URL)
	h, err := httpcall.New(httpcall.Config{Endpoints: map[string]httpcall.Endpoint{
		"wall": {
			URL: s.door.URL + "/api/", Secret: secret.New(signingKey),
			Headers: map[string]courier.Text{"authorization": {Secret: secret.New("Bearer s3cretToken")}},
			Await:   httpcall.Await{Path: path, Field: "job.state", Until: []string{"done", "skipped"}, Failed: []string{"broken"}},
		},
		"reader": {URL: s.door.URL + "/api", Methods: []string{"GET"}},
	}}, courier.New(nil, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	all := h.Actions()
	s.get, s.call = all[0], all[1]
	return s
}

func input(params action.Params) action.Input {
	return action.Input{
		Place: action.Place{Account: "123456789012"}, Params: params, Incident: "INC-1", Run: "run-1", Step: "block",
		Reason: "Riposte playbook test", Token: "0123456789abcdef0123456789abcdef",
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	s := start(t, "/jobs/{job.id}")
	in := input(action.Params{
		"endpoint": "wall", "path": "hosts/{host}", "values": map[string]any{"host": "10.0.0.0/8 ?#é"}, "query": map[string]any{"a&b": "c d", "n": 7.0},
	})
	absent := input(action.Params{"endpoint": "wall", "path": "/hosts/absent"})
	providertest.Contract(t, providertest.Case{
		Action: s.get, Input: in, Missing: &absent, Door: s.door, State: func(*testing.T) string { return fmt.Sprint(s.calls) },
	})
	change, err := s.get.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := change.Outputs["body"].(map[string]any)
	if body["path"] != "/hosts/10.0.0.0%2F8%20%3F%23%C3%A9" || body["query"] != "a%26b=c+d&n=7" || body["token"] != "[secret]" {
		t.Errorf("got %v", body)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, "/jobs/{job.id}")
	for text, want := range map[string]string{
		`{"a": [1]}`: `{"a":[1]}`, `[1, 2]`: `{"value":[1,2]}`, ` `: `{}`, `null`: `{}`, `"x"`: `{"value":"x"}`,
		`<html>`: "not JSON", `{"a": "` + strings.Repeat("x", 64<<10) + `"}`: "more than 65536 bytes", strings.Repeat(" ", 65<<10): "more than",
		strings.Repeat("[", 60000): "not JSON",
	} {
		s.text = text
		for _, do := range []func() (map[string]any, error){
			func() (map[string]any, error) {
				change, err := s.get.Plan(t.Context(), input(action.Params{"endpoint": "wall"}))
				return change.Outputs, err
			},
			func() (map[string]any, error) {
				change, err := s.call.Plan(t.Context(), input(action.Params{"endpoint": "wall", "method": "POST"}))
				if err != nil {
					return nil, err
				}
				result, err := s.call.Apply(t.Context(), change)
				return result.Outputs, err
			},
		} {
			outputs, err := do()
			got, encoding := json.Marshal(outputs["body"])
			if err != nil {
				if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
					t.Errorf("%.20q: got %v, want an error of kind invalid with %q", text, err, want)
				}
			} else if encoding != nil || string(got) != want {
				t.Errorf("%.20q: got %s, want %s", text, got, want)
			}
		}
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	s := start(t, "/jobs/{job.id}")
	in := input(action.Params{
		"endpoint": "wall", "path": "/block/{ip}", "values": map[string]any{"ip": "192.0.2.7"}, "method": "PUT",
		"body": map[string]any{"reason": "<b>", "minutes": 5.0},
	})
	providertest.Contract(t, providertest.Case{
		Action: s.call, Input: in, Door: s.door, Repeats: true, State: func(*testing.T) string { return fmt.Sprint(s.calls) },
	})
	want := `PUT /block/192.0.2.7 {"minutes":5,"reason":"\u003cb\u003e"}`
	if got := s.calls[in.Token]; len(s.calls) != 1 || got != want {
		t.Errorf("got %v, want one call %s", s.calls, want)
	}
	if id, by := s.last.Header.Get("Webhook-Id"), s.last.Header.Get("Webhook-Signature"); id != in.Token || !strings.HasPrefix(by, "v1,") {
		t.Errorf("it is signed %q for the id %q", by, id)
	}
	if spec := s.call.Spec(); spec.Effect != action.Destroy || !strings.Contains(spec.Doc, "allow_destroy") {
		t.Errorf("its effect is %s", spec.Effect)
	}
}

// The result of what was accepted comes once, whether the API names the job or the token does.
func TestCallAwaits(t *testing.T) {
	t.Parallel()
	for path, forgets := range map[string]bool{"/jobs/{job.id}": true, "/jobs/{token}": false} {
		s := start(t, path)
		providertest.Await(t, providertest.Awaited{
			Action: s.call, Input: input(action.Params{"endpoint": "wall", "path": "/jobs", "method": "POST"}), Door: s.door, Forgets: forgets,
			Started: func(*testing.T) int { return len(s.jobs) },
			End: func(_ *testing.T, well bool) {
				s.jobs[s.order[len(s.order)-1]] = map[bool]string{true: "done", false: "broken"}[well]
			},
		})
	}
}

// What is answered at once is not waited for.
func TestCallThatIsDoneIsNotAwaited(t *testing.T) {
	t.Parallel()
	s := start(t, "/jobs/{job.id}")
	change, err := s.call.Plan(t.Context(), input(action.Params{"endpoint": "wall", "path": "/block/x", "method": "POST"}))
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.call.Apply(t.Context(), change)
	if err != nil {
		t.Fatal(err)
	}
	s.door.Seen()
	awaiter, ok := s.call.(action.Awaiter)
	if !ok {
		t.Fatal("it is no action.Awaiter")
	}
	got, over, err := awaiter.Await(t.Context(), action.Applied{Change: change, Result: result})
	if err != nil || !over || got.Outputs["status"] != int64(200) || len(s.door.Seen()) != 0 {
		t.Errorf("got %v, %t, %v, want the result of the call and no request", got, over, err)
	}
}

// Whoever writes a finding can't lead a request anywhere else.
func TestPathsStayBelow(t *testing.T) {
	t.Parallel()
	s := start(t, "/jobs/{job.id}")
	for _, path := range []string{
		"../admin", "/..", "/a/../b", "/a/./b", "/a/..;/b/../..", "//evil.example/", "/a//b", "/a?b", "/a#b", "/a%2e%2e/b", "/a\\..\\b", "/a b", "/é",
		"/a\r\nX: y", "/{Host}", "/{host", "/{a}{b}", "/.{a}", "/{none}",
	} {
		for _, do := range []action.Action{s.get, s.call} {
			in := input(action.Params{"endpoint": "wall", "path": path, "method": "POST", "values": map[string]any{"a": ".", "b": "."}})
			if _, err := do.Plan(t.Context(), in); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s, path %q: got %v, want it invalid", do.Spec().Name, path, err)
			}
		}
	}
	for _, value := range []any{"", ".", "..", "../x", "a/../b", "a\\..\\b", "a\x00", "a\r\nb", "/..", nil, []any{"x"}, map[string]any{}} {
		in := input(action.Params{"endpoint": "wall", "path": "/hosts/{host}", "values": map[string]any{"host": value}})
		if _, err := s.get.Plan(t.Context(), in); !fault.Is(err, fault.Invalid) {
			t.Errorf("value %q: got %v, want it invalid", value, err)
		}
	}
	for _, extra := range []action.Params{
		{"values": map[string]any{"host": "x"}},
		{"query": map[string]any{"a": []any{}}},
		{"query": map[string]any{"a": strings.Repeat("x", 9000)}},
		{"endpoint": "https://evil.example"},
	} {
		in := input(action.Params{"endpoint": "wall", "path": "/hosts/x"})
		maps.Copy(in.Params, extra)
		if _, err := s.get.Plan(t.Context(), in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: got %v, want it invalid", extra, err)
		}
	}
	if len(s.door.Seen()) != 0 {
		t.Error("something was sent")
	}
}

func FuzzPathsStayBelow(f *testing.F) {
	for _, seed := range [][2]string{{"/hosts/{host}", "10.0.0.0/8"}, {"{host}", ".."}, {"/a;{host}", "%2e%2e/"}, {"/{host}/x", "\\..\\"}} {
		f.Add(seed[0], seed[1])
	}
	var asked []string
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Host+r.URL.EscapedPath())
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	})
	h, err := httpcall.New(httpcall.Config{Endpoints: map[string]httpcall.Endpoint{"wall": {URL: "https://wall.example/api"}}},
		courier.New(transport, time.Now))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, host string) {
		asked = nil
		_, err := h.Actions()[0].Plan(t.Context(), input(action.Params{"endpoint": "wall", "path": path, "values": map[string]any{"host": host}}))
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v", err)
		}
		for _, address := range asked {
			parts := strings.FieldsFunc(address, func(r rune) bool { return r == '/' })
			if parts[0] != "wall.example" || parts[1] != "api" || slices.Contains(parts, "..") || slices.Contains(parts, ".") {
				t.Errorf("path %q with %q asks %s", path, host, address)
			}
		}
	})
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestFailures(t *testing.T) {
	t.Parallel()
	s := start(t, "/jobs/{job.id}")
	change, err := s.call.Plan(t.Context(), input(action.Params{"endpoint": "wall", "path": "/block/x", "method": "POST"}))
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]fault.Kind{
		301: fault.Invalid, 307: fault.Invalid, 400: fault.Invalid, 401: fault.Denied, 403: fault.Denied, 404: fault.NotFound, 409: fault.Conflict,
		410: fault.NotFound, 429: fault.Transient, 500: fault.Transient, 503: fault.Transient,
	} {
		s.wrong = status
		s.door.Seen()
		_, err := s.call.Apply(t.Context(), change)
		_, asking := s.get.Plan(t.Context(), input(action.Params{"endpoint": "wall", "path": "/hosts/x"}))
		for _, err := range []error{err, asking} {
			if !fault.Is(err, want) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "http endpoint wall") {
				t.Errorf("%d: got %v of kind %s, want %s with the name and no secret", status, err, fault.KindOf(err), want)
			}
		}
		if seen := s.door.Seen(); len(seen) != 2 {
			t.Errorf("%d: %d requests, want 2: redirects are not followed", status, len(seen))
		}
	}
}

func TestSecretsStayOutOfPlans(t *testing.T) {
	t.Parallel()
	s := start(t, "/jobs/{job.id}")
	for _, do := range []action.Action{s.get, s.call} {
		change, err := do.Plan(t.Context(), input(action.Params{"endpoint": "wall", "path": "/hosts/x", "method": "POST"}))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(change)
		if err != nil || strings.Contains(string(text), "s3cret") || strings.Contains(string(text), "whsec") {
			t.Errorf("the plan tells a secret: %s, %v", text, err)
		}
	}
}

func TestMethodsAreThoseOfTheEndpoint(t *testing.T) {
	t.Parallel()
	s := start(t, "/jobs/{job.id}")
	if _, err := action.Bind(s.call.Spec(), map[string]any{"endpoint": "reader"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("bound a call of an endpoint for reading: %v", err)
	}
	if _, err := s.call.Plan(t.Context(), input(action.Params{"endpoint": "reader", "method": "POST"})); !fault.Is(err, fault.Denied) {
		t.Errorf("planned a call of an endpoint for reading: %v", err)
	}
}

// An approval is for where the endpoint led when the plan was made.
func TestPlansAreForAnAddress(t *testing.T) {
	t.Parallel()
	s, other := start(t, "/jobs/{job.id}"), start(t, "/jobs/{job.id}")
	change, err := s.call.Plan(t.Context(), input(action.Params{"endpoint": "wall", "path": "/block/x", "method": "POST"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.call.Apply(t.Context(), change); err == nil || !strings.Contains(err.Error(), "changed since: url") || len(other.calls) != 0 {
		t.Errorf("got %v, want that the address changed", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	await := httpcall.Await{Path: "/j/{id}", Field: "state", Until: []string{"done"}}
	for want, e := range map[string]httpcall.Endpoint{
		"url: not an https":         {URL: "ftp://example.com"},
		"url: http is for this":     {URL: "http://example.com/"},
		"url: a user":               {URL: "https://u:s3cret@example.com/"},
		"url: a base URL":           {URL: "https://example.com/?key=s3cret"},
		"url: a base URL ":          {URL: "https://example.com/a/../b"},
		"url: a base URL has":       {URL: "https://example.com/a%2fb"},
		"timeout: ":                 {URL: "https://example.com", Timeout: time.Hour},
		"methods: ":                 {URL: "https://example.com", Methods: []string{"get"}},
		"secret: ":                  {URL: "https://example.com", Secret: secret.New("s3cret")},
		"headers.Host: ":            {URL: "https://example.com", Headers: map[string]courier.Text{"Host": {Secret: secret.New("s3cret")}}},
		"headers.Idempotency-Key: ": {URL: "https://example.com", Headers: map[string]courier.Text{"Idempotency-Key": {Secret: secret.New("x")}}},
		"await.path: say":           {URL: "https://example.com", Await: httpcall.Await{Field: "x"}},
		"await: say":                {URL: "https://example.com", Await: httpcall.Await{Path: "/x"}},
		"await.path: \"/../x":       {URL: "https://example.com", Await: httpcall.Await{Path: "/../x", Field: "a", Until: []string{"b"}}},
	} {
		_, err := httpcall.New(httpcall.Config{Endpoints: map[string]httpcall.Endpoint{"x": e, "y": {URL: "https://example.com", Await: await}}}, nil)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "http.endpoints.x."+strings.TrimSpace(want)) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want it invalid with %q", err, want)
		}
	}
	if h, err := httpcall.New(httpcall.Config{}, nil); err != nil || len(h.Actions()) != 0 {
		t.Errorf("got %v, want no actions where nothing is configured", err)
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	t.Parallel()
	doc, err := document.Parse("riposte.yaml", []byte(`
endpoints:
  wall:
    url: https://wall.example.com/api
    secret: {env: KEY}
    headers: {Authorization: {env: AUTH}, X-Team: blue}
    timeout: 5s
    methods: [GET, POST]
    await: {path: "/jobs/{id}", field: status, until: [done], failed: [error]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var c httpcall.Config
	if err := doc.Decode(&c); err != nil {
		t.Fatal(err)
	}
	key := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	warnings, err := doc.Resolve(func(name string) (string, bool) { return map[string]string{"KEY": key, "AUTH": "Bearer x"}[name], true })
	if err != nil || len(warnings) != 0 {
		t.Fatalf("got %v, %v; want no errors and no warnings", warnings, err)
	}
	if _, err := httpcall.New(c, nil); err != nil {
		t.Error(err)
	}
}
