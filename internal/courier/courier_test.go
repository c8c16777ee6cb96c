package courier_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

const token = "s3cret-t0ken"

// clock is a clock that stands until it is moved.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func start(t *testing.T, handle http.HandlerFunc) (*httptest.Server, *courier.Courier, *clock) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	c := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	transport := courier.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	return server, courier.New(transport, c.Now), c
}

func parcel(server *httptest.Server) courier.Parcel {
	return courier.Parcel{
		Receiver: "the receiver", URL: server.URL + "/hook/" + token, Body: []byte(`{"a":1}`),
		Header: http.Header{"Authorization": {"Bearer " + token}}, Secrets: []secret.Secret{secret.New(token)},
	}
}

func TestPost(t *testing.T) {
	t.Parallel()
	connections := map[string]bool{}
	server, c, _ := start(t, func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr] = true
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || string(body) != `{"a":1}` || r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("got %s %q %v", r.Method, body, r.Header)
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "you sent "+r.Header.Get("Authorization"))
	})
	for range 5 {
		reply, err := c.Post(t.Context(), parcel(server))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(reply.Body), "you sent Bearer [secret]"; reply.Status != 202 || got != want {
			t.Errorf("got %d %q, want 202 %q", reply.Status, got, want)
		}
	}
	if len(connections) != 1 {
		t.Errorf("5 requests took %d connections, want 1", len(connections))
	}
}

func TestStatusDecidesTheKind(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]fault.Kind{
		301: fault.Invalid, 302: fault.Invalid, 307: fault.Invalid, 400: fault.Invalid, 404: fault.Invalid, 410: fault.Invalid,
		401: fault.Denied, 403: fault.Denied, 407: fault.Denied,
		408: fault.Transient, 425: fault.Transient, 429: fault.Transient, 500: fault.Transient, 502: fault.Transient, 503: fault.Transient,
	} {
		calls := 0
		server, c, _ := start(t, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "no:\x00\n "+token)
		})
		_, err := c.Post(t.Context(), parcel(server))
		if !fault.Is(err, want) {
			t.Errorf("%d: got %v (%v), want kind %v", status, fault.KindOf(err), err, want)
		}
		refused, ok := errors.AsType[*courier.Refused](err)
		if !ok || refused.Status != status || refused.Body != "no: [secret]" {
			t.Errorf("%d: got %+v", status, refused)
		}
		if strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "the receiver") {
			t.Errorf("%d: got %q, want the receiver and no secret in it", status, err)
		}
		if calls != 1 {
			t.Errorf("%d: %d requests, want 1: a redirect is not followed", status, calls)
		}
	}
}

func TestRetryAfterIsRespected(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"30": 30 * time.Second, "99999999": 10 * time.Minute, "-1": 0, "soon": 0, "1h": 0, "": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2020 03:05:05 GMT": 0,
	} {
		calls := 0
		server, c, clock := start(t, func(w http.ResponseWriter, _ *http.Request) {
			if calls++; calls == 1 {
				w.Header().Set("Retry-After", header)
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
		_, err := c.Post(t.Context(), parcel(server))
		if refused, ok := errors.AsType[*courier.Refused](err); !ok || refused.Wait != want {
			t.Errorf("%q: got %v, want to wait %s", header, err, want)
		}
		if want > 0 {
			clock.now = clock.now.Add(want - time.Millisecond)
			if _, err := c.Post(t.Context(), parcel(server)); !fault.Is(err, fault.Transient) || calls != 1 {
				t.Errorf("%q: too early: got %v after %d requests, want a transient error and no request", header, err, calls)
			}
			clock.now = clock.now.Add(time.Millisecond)
		}
		if _, err := c.Post(t.Context(), parcel(server)); err != nil {
			t.Errorf("%q: after the wait: %v", header, err)
		}
	}
}

func TestLargeAnswersAreCut(t *testing.T) {
	t.Parallel()
	server, c, _ := start(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	reply, err := c.Post(t.Context(), parcel(server))
	if err != nil || len(reply.Body) != 64<<10 {
		t.Errorf("got %d bytes, %v; want 65536", len(reply.Body), err)
	}
}

func TestNetworkErrorsPassAndTellNoSecret(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	server, c, _ := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "slow" {
			<-over // the server sees that the client is gone only if the body came before
			return
		}
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = connection.Close()
		}
	})
	t.Cleanup(func() { close(over) }) // before the server is closed, which waits for its requests
	slow := parcel(server)
	slow.Header, slow.Timeout = http.Header{"Authorization": {"slow"}}, time.Millisecond
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, try := range map[string]func() error{
		"closed":    func() error { _, err := c.Post(t.Context(), parcel(server)); return err },
		"slow":      func() error { _, err := c.Post(t.Context(), slow); return err },
		"cancelled": func() error { _, err := c.Post(cancelled, parcel(server)); return err },
		"nobody": func() error {
			nobody := parcel(server)
			nobody.URL = "http://127.0.0.1:1/" + token
			_, err := c.Post(t.Context(), nobody)
			return err
		},
	} {
		err := try()
		if !fault.Is(err, fault.Transient) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: got %v, want a transient error without the secret", name, err)
		}
	}
	if _, err := c.Post(t.Context(), courier.Parcel{Receiver: "r", URL: "http://[" + token}); !fault.Is(err, fault.Invalid) ||
		strings.Contains(err.Error(), token) {
		t.Errorf("got %v, want an invalid one without the address", err)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for address, allowed := range map[string]bool{
		"https://example.com/x?y=z": true, "http://127.0.0.1:8080/x": true, "http://localhost/x": true, "http://[::1]:1/": true,
		"http://example.com/": false, "ftp://example.com/": false, "https://user:" + token + "@example.com/": false,
		"/path": false, "": false, "https://": false, "https://:443/": false, "http://[" + token: false, "https://a/#b": false,
		"http://127.0.0.1.example.com/": false,
	} {
		err := courier.CheckURL(address)
		if (err == nil) != allowed {
			t.Errorf("%q: got %v, want allowed %v", address, err, allowed)
		}
		if err != nil && (!fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), token)) {
			t.Errorf("%q: got %v, want an invalid one without the address", address, err)
		}
	}
}
