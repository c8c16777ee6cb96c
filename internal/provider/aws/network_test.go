package aws_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

// do is an action of any service's.
func (l *ec2Lab) do(name string) action.Action { //nolint:ireturn // what is tested are actions
	l.t.Helper()
	for _, do := range l.cloud.Actions() {
		if do.Spec().Name == name {
			return do
		}
	}
	l.t.Fatalf("no action is called %s", name)
	return nil
}

// reach is what somebody else's clients are made of.
func (l *ec2Lab) reach() sdk.Config {
	l.t.Helper()
	return given(config.LoadDefaultConfig(l.t.Context(), config.WithRegion(awstest.Region),
		config.WithBaseEndpoint(awstest.Emulator(l.t))))(l.t)
}

// plans plans an action, which must work.
func (l *ec2Lab) plans(name string, params map[string]any) action.Change {
	l.t.Helper()
	do := l.do(name)
	return given(do.Plan(l.t.Context(), l.input(do, params)))(l.t)
}

// refuses tests that planning an action gives an error of a kind, which says some words.
func (l *ec2Lab) refuses(name string, params map[string]any, kind fault.Kind, words string) {
	l.t.Helper()
	do := l.do(name)
	_, err := do.Plan(l.t.Context(), l.input(do, params))
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), words) {
		l.t.Errorf("plan %s with %v: got %v, want an error of kind %s that says %q", name, params, err, kind, words)
	}
}

// applies plans and applies an action, which must work.
func (l *ec2Lab) applies(name string, params map[string]any) action.Applied {
	l.t.Helper()
	change := l.plans(name, params)
	return action.Applied{Change: change, Result: given(l.do(name).Apply(l.t.Context(), change))(l.t)}
}

// says tests that an impact estimate has a line with all of the words.
func says(t *testing.T, impact []string, words ...string) {
	t.Helper()
	if !slices.ContainsFunc(impact, func(line string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) })
	}) {
		t.Errorf("no line says %q:\n%s", words, strings.Join(impact, "\n"))
	}
}

// absent gives an input that names something else.
func absent(in action.Input, name string, value any) *action.Input {
	in.Params = maps.Clone(in.Params)
	in.Params[name] = value
	return &in
}

// protocol is a small fake of operations that the emulator doesn't have. It speaks AWS's protocols, of which it
// knows the operation's name and the body, and stands before the emulator, which answers all else.
type protocol struct {
	mu sync.Mutex
	// answers gives what an operation answers: a value that becomes JSON, or text for the query protocol; or an error.
	answers map[string]func(body map[string]any) (any, *refusal)
}

// refusal is an error as a service gives it.
type refusal struct {
	status int
	code   string
}

// before puts the fake before the emulator.
func (p *protocol) before(t *testing.T) func(emulator string) string {
	t.Helper()
	return func(emulator string) string {
		onward := httputil.NewSingleHostReverseProxy(given(url.Parse(emulator))(t))
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, "the request broke off", http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			p.mu.Lock()
			defer p.mu.Unlock()
			name, asked := operation(r, body)
			if answer, known := p.answers[name]; known {
				p.answer(w, answer, asked)
				return
			}
			onward.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
}

// operation gives the name of what a request asks for, and its parameters.
func operation(r *http.Request, body []byte) (string, map[string]any) {
	asked := map[string]any{}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		_ = json.Unmarshal(body, &asked)
		return target[strings.LastIndexByte(target, '.')+1:], asked
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil
	}
	for key := range form {
		asked[key] = form.Get(key)
	}
	return form.Get("Action"), asked
}

func (p *protocol) answer(w http.ResponseWriter, answer func(map[string]any) (any, *refusal), asked map[string]any) {
	said, no := answer(asked)
	query := asked["Action"] != nil
	w.Header().Set("Content-Type", map[bool]string{true: "text/xml", false: "application/x-amz-json-1.1"}[query])
	switch {
	case no != nil && query:
		w.WriteHeader(no.status)
		_, _ = io.WriteString(w, `<Response><Errors><Error><Code>`+no.code+`</Code><Message>no</Message></Error></Errors>`+
			`<Error><Code>`+no.code+`</Code><Message>no</Message></Error></Response>`)
	case no != nil:
		w.Header().Set("X-Amzn-Errortype", no.code)
		w.WriteHeader(no.status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": no.code, "message": "no"})
	case query:
		text, _ := said.(string)
		_, _ = io.WriteString(w, text)
	default:
		_ = json.NewEncoder(w).Encode(said)
	}
}

// denied is an operation that the caller may not call.
func denied(map[string]any) (any, *refusal) {
	return nil, &refusal{http.StatusForbidden, "AccessDenied"}
}
