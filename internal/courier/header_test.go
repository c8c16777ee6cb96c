package courier_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

func TestPostByOtherMethodsAndBounds(t *testing.T) {
	t.Parallel()
	server, c, _ := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+strings.Repeat("x", 100-len(r.Method)))
	})
	for _, test := range []struct {
		method, begins string
		largest        int64
		length         int
		cut            bool
	}{
		{"", "POST", 0, 100, false}, {"GET", "GET", 100, 100, false}, {"DELETE", "DELETE", 99, 99, true}, {"PATCH", "PATCH", 1000, 100, false},
	} {
		p := parcel(server)
		p.Method, p.Largest = test.method, test.largest
		reply, err := c.Post(t.Context(), p)
		if err != nil || !strings.HasPrefix(string(reply.Body), test.begins) || len(reply.Body) != test.length || reply.Cut != test.cut {
			t.Errorf("%q, at most %d: got %d bytes, cut %t, %v, want %d, %t", test.method, test.largest, len(reply.Body), reply.Cut, err, test.length, test.cut)
		}
	}
}

// A receiver may echo a credential without the word before it.
func TestHeadersTellTheirSecrets(t *testing.T) {
	t.Parallel()
	header, secrets, err := courier.Headers(map[string]courier.Text{"authorization": {Secret: secret.New("Bearer " + token)}})
	if err != nil || header.Get("Authorization") != "Bearer "+token {
		t.Fatalf("got %v, %v", header, err)
	}
	server, c, _ := start(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "you are "+token) })
	reply, err := c.Post(t.Context(), courier.Parcel{Receiver: "r", URL: server.URL, Header: header, Secrets: secrets})
	if err != nil || string(reply.Body) != "you are [secret]" {
		t.Errorf("got %q, %v", reply.Body, err)
	}
	for _, name := range []string{"Host", "webhook-id", "idempotency-key", "a b"} {
		if _, _, err := courier.Headers(map[string]courier.Text{name: {Secret: secret.New(token)}}); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: got %v, want it refused without its value", name, err)
		}
	}
}

// The example of the Standard Webhooks specification.
func TestSign(t *testing.T) {
	t.Parallel()
	key, err := courier.ParseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	key.Sign(header, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got, want := header.Get("Webhook-Signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
