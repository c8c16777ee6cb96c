package kube_test

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/kube"
	"github.com/riposte-sec/riposte/internal/secret"
)

const token = "k8s-aws-v1.not-a-secret"

// server starts an API server that answers by a function.
func server(t *testing.T, answer http.HandlerFunc) *kube.Client {
	t.Helper()
	s := httptest.NewTLSServer(answer)
	t.Cleanup(s.Close)
	client, err := kube.New(s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), secret.New(token))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestRefusalsHaveAKind(t *testing.T) {
	for status, want := range map[int]fault.Kind{
		http.StatusUnauthorized: fault.Denied, http.StatusForbidden: fault.Denied, http.StatusNotFound: fault.NotFound,
		http.StatusConflict: fault.Transient, http.StatusTooManyRequests: fault.Transient, http.StatusInternalServerError: fault.Transient,
		http.StatusUnprocessableEntity: fault.Invalid, http.StatusFound: fault.Internal,
	} {
		client := server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"kind":"Status","reason":"Why","message":"`+strings.Repeat("m", 5000)+`"}`)
		})
		_, err := client.Pod(t.Context(), "pay", "till")
		if !fault.Is(err, want) || len(err.Error()) > 800 || strings.Contains(err.Error(), token) {
			t.Errorf("%d: got %v, want a short error of kind %s", status, err, want)
		}
		if denied := want == fault.Denied; denied != strings.Contains(err.Error(), "access entry") {
			t.Errorf("%d: the error says what to do: %t, want %t", status, !denied, denied)
		}
	}
}

func TestNewRefusesWhatIsNoServer(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for endpoint, ca := range map[string][]byte{
		"http://127.0.0.1:1": authority, "127.0.0.1": authority, "https://": authority, s.URL: []byte("no certificate"),
	} {
		if _, err := kube.New(endpoint, ca, secret.New(token)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error of kind invalid", endpoint, err)
		}
	}
}

// A certificate of another authority is no reason to try again, and the token isn't shown to it.
func TestAnotherAuthorityIsDenied(t *testing.T) {
	shown := false
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { shown = true }))
	t.Cleanup(s.Close)
	client, err := kube.New(s.URL, []byte(elsewhere), secret.New(token))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Node(t.Context(), "n"); !fault.Is(err, fault.Denied) || shown {
		t.Errorf("got %v, shown %t; want an error of kind denied", err, shown)
	}
}

func TestPathsAreNotLeft(t *testing.T) {
	var path string
	client := server(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.EscapedPath()
		_, _ = io.WriteString(w, `{}`)
	})
	if _, err := client.Pod(t.Context(), "pay", "../../nodes/x?y"); err != nil || path != "/api/v1/namespaces/pay/pods/..%2F..%2Fnodes%2Fx%3Fy" {
		t.Errorf("got %s, %v", path, err)
	}
	for _, bad := range []string{"", "A", "a/b", "a..b", "-a", "a b", strings.Repeat("a", 254)} {
		if err := kube.CheckName("pod", bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q is taken for a name", bad)
		}
	}
	for _, good := range []string{"till-1", "ip-10-0-1-2.eu-central-1.compute.internal", "0"} {
		if err := kube.CheckName("pod", good); err != nil {
			t.Error(err)
		}
	}
}

// Network policies add up, so what matters is which of them let something of a pod through.
func TestAdmits(t *testing.T) {
	labels := map[string]string{"app": "till", "tier": "back"}
	for spec, want := range map[string]bool{
		`{"podSelector":{}}`: false, `{"podSelector":{},"ingress":[]}`: false, `{"podSelector":{},"ingress":[{}]}`: true,
		`{"podSelector":{"matchLabels":{"app":"till"}},"egress":[{}]}`:                                             true,
		`{"podSelector":{"matchLabels":{"app":"till","tier":"front"}},"egress":[{}]}`:                              false,
		`{"podSelector":{"matchLabels":{"other":""}},"egress":[{}]}`:                                               false,
		`{"podSelector":{"matchExpressions":[{"key":"app","operator":"In","values":["till","x"]}]},"egress":[{}]}`: true,
		`{"podSelector":{"matchExpressions":[{"key":"app","operator":"NotIn","values":["till"]}]},"egress":[{}]}`:  false,
		`{"podSelector":{"matchExpressions":[{"key":"gone","operator":"NotIn","values":["till"]}]},"egress":[{}]}`: true,
		`{"podSelector":{"matchExpressions":[{"key":"app","operator":"Exists"}]},"egress":[{}]}`:                   true,
		`{"podSelector":{"matchExpressions":[{"key":"app","operator":"DoesNotExist"}]},"egress":[{}]}`:             false,
		`{"podSelector":{"matchExpressions":[{"key":"app","operator":"Unheard","values":["x"]}]},"ingress":[{}]}`:  true,
		`{"podSelector":"unreadable"}`: true,
	} {
		if got := (kube.Policy{Spec: json.RawMessage(spec)}).Admits(labels); got != want {
			t.Errorf("%s: got %t, want %t", spec, got, want)
		}
	}
}

// elsewhere is an authority that signed nothing. Its key is not kept.
const elsewhere = `-----BEGIN CERTIFICATE-----
MIIBfjCCASWgAwIBAgIURSEKIyM5IOcFV0IYrDo+ZoWRX9MwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJZWxzZXdoZXJlMCAXDTI2MTEyNTE1MzU1MFoYDzIxMjYxMTAx
MTUzNTUwWjAUMRIwEAYDVQQDDAllbHNld2hlcmUwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ70bvHFc7lTwdXvZfGoUGnPPf3G+MY9XqlPNdIDO6aIDlGs7p2TMgH
gtMnoP/aZukI/ZmkZ0N1kD7YiuJlzeoko1MwUTAdBgNVHQ4EFgQU/m6KrCzQ8zOZ
FV1LPGF4HJrkxDkwHwYDVR0jBBgwFoAU/m6KrCzQ8zOZFV1LPGF4HJrkxDkwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAkP53sw3sEROLtbS+s8zL8
+gRkYxlYnIOkerPQnx6XjwIga7wJh4LDS+sXozp/G/pEKoeR0HJFeNt4RESwLafi
lv8=
-----END CERTIFICATE-----`
