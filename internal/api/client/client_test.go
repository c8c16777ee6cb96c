package client_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

const token = "rip_token"

// serving makes a client of a server that answers by do.
func serving(t *testing.T, do http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(do)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL+"/", secret.New(token), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewRefusesWhatIsNoServer(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "127.0.0.1:8473", "localhost", "ftp://example.com", "http://", "/v1", "http://a b"} {
		if _, err := client.New(base, secret.Secret{}, http.DefaultClient); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "http://127.0.0.1:8473") {
			t.Errorf("%q: got %v, want it refused with an example", base, err)
		}
	}
}

func TestRequestsAreAsTheServerReadsThem(t *testing.T) {
	t.Parallel()
	var got string
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = strings.Join([]string{r.Method, r.URL.String(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)}, " ")
		_, _ = io.WriteString(w, `{"done":true}`)
	})
	var into struct{ Done bool }
	for want, call := range map[string]func() error{
		"GET /v1/runs?state=held%2Cwaiting Bearer rip_token  ": func() error {
			return c.Get(t.Context(), "/v1/runs", url.Values{"state": {"held,waiting"}}, &into)
		},
		"POST /v1/freezes Bearer rip_token application/json {}": func() error { return c.Post(t.Context(), "/v1/freezes", nil, &into) },
		"DELETE /v1/freezes/x?reason=a+b Bearer rip_token  ": func() error {
			return c.Delete(t.Context(), "/v1/freezes/x", url.Values{"reason": {"a b"}}, &into)
		},
		"POST /v1/events Bearer rip_token application/x-ndjson {}\n": func() error {
			return c.Send(t.Context(), "/v1/events", "application/x-ndjson", strings.NewReader("{}\n"), nil)
		},
	} {
		if err := call(); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if !into.Done {
		t.Error("the answer was not read")
	}
}

func TestProblemsKeepTheirKindAndSayWhatToDo(t *testing.T) {
	t.Parallel()
	var status int
	var body string
	c := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	const problem = `{"detail":"validation failed","errors":[{"message":"expected number","location":"query.limit"}]}`
	for _, test := range []struct {
		status int
		body   string
		kind   fault.Kind
		says   []string
	}{
		{http.StatusUnprocessableEntity, problem, fault.Invalid, []string{"validation failed; query.limit: expected number"}},
		{http.StatusBadRequest, "plain text\n", fault.Invalid, []string{"plain text"}},
		{http.StatusUnauthorized, problem, fault.Denied, []string{"RIPOSTE_TOKEN"}},
		{http.StatusForbidden, problem, fault.Denied, nil},
		{http.StatusNotFound, "", fault.NotFound, nil},
		{http.StatusConflict, problem, fault.Conflict, nil},
		{http.StatusTooManyRequests, problem, fault.Transient, []string{"try again"}},
		{http.StatusBadGateway, "<html>", fault.Transient, []string{"try again"}},
		{http.StatusServiceUnavailable, problem, fault.Transient, []string{"try again"}},
		{http.StatusInternalServerError, problem, fault.Internal, nil},
		{http.StatusTeapot, "[1,", fault.Invalid, []string{"[1,"}},
	} {
		status, body = test.status, test.body
		for _, call := range []func() error{
			func() error { return c.Get(t.Context(), "/x", nil, nil) },
			func() error { return c.Copy(t.Context(), "/x", io.Discard) },
		} {
			err := call()
			if fault.KindOf(err) != test.kind || err == nil || err.Error() == "" {
				t.Errorf("status %d: got %v of kind %s, want %s", status, err, fault.KindOf(err), test.kind)
				continue
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("status %d: %q does not say %q", status, err, part)
				}
			}
		}
	}
}

func TestAnAbsentServerIsNamed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c, err := client.New(server.URL, secret.New(token), http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Get(t.Context(), "/v1/runs", nil, nil)
	if !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), server.URL) || !strings.Contains(err.Error(), "--url") {
		t.Errorf("got %v, want the server named, and what to do", err)
	}
	if strings.Contains(err.Error(), token) {
		t.Errorf("the error tells the token: %v", err)
	}
}

func TestTheTokenStaysWithItsServer(t *testing.T) {
	t.Parallel()
	var stolen string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen = r.Header.Get("Authorization") }))
	defer other.Close()
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	c := serving(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) })
	_ = c.Get(t.Context(), "/v1/runs", nil, nil) // what it says doesn't matter
	if stolen != "" {
		t.Errorf("a redirect took the token to another server: %q", stolen)
	}
}

func TestACopyIsWhole(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("entry\n"), 100_000)
	c := serving(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(want) })
	var got bytes.Buffer
	if err := c.Copy(t.Context(), "/v1/ledger/export", &got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got %d bytes, %v; want %d", got.Len(), err, len(want))
	}
	cut := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
	})
	if err := cut.Copy(t.Context(), "/v1/ledger/export", io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut answer: got %v, want an error", err)
	}
}
