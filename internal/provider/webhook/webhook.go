// Package webhook posts signed messages to HTTP endpoints that the configuration names.
package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// Config names the endpoints: a playbook can't post anywhere else.
type Config struct {
	Endpoints map[string]Endpoint `yaml:"endpoints"`
}

// Endpoint is one receiver.
type Endpoint struct {
	// URL is https, or http to this very machine.
	URL Text `yaml:"url"`
	// Secret signs what is sent, as in the Standard Webhooks specification: whsec_ and 24 to 64 bytes in base64.
	Secret secret.Secret `yaml:"secret"`
	// Headers are sent along, such as Authorization.
	Headers map[string]Text `yaml:"headers"`
	// Timeout bounds one request; 10 s if zero.
	Timeout time.Duration `yaml:"timeout"`
}

// Text is written as it is or, where it is itself a secret, as {file: path} or {env: NAME}. It is treated as
// a secret either way.
type Text struct{ secret.Secret }

// UnmarshalDocument reads either form.
func (t *Text) UnmarshalDocument(n document.Node) error {
	if text, plain := n.Text(); plain {
		t.Secret = secret.New(text)
		return nil
	}
	return n.Decode(&t.Secret)
}

const (
	keyPrefix = "whsec_"
	// The specification's bounds of a key, in bytes.
	shortestKey, longestKey = 24, 64
	longestTimeout          = time.Minute
)

// Webhook sends to the configured endpoints.
type Webhook struct {
	endpoints map[string]endpoint
	courier   *courier.Courier
	now       func() time.Time
}

// endpoint is an Endpoint that was checked.
type endpoint struct {
	url     string
	key     []byte
	header  http.Header
	timeout time.Duration
	secrets []secret.Secret
}

// New checks the configuration. Errors are Invalid and name the key.
func New(c Config, courier *courier.Courier) (*Webhook, error) {
	w := &Webhook{endpoints: map[string]endpoint{}, courier: courier, now: time.Now}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Endpoints)) {
		checked, err := check(c.Endpoints[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("webhook.endpoints.%s.%w", name, err))
		}
		w.endpoints[name] = checked
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return w, nil
}

func check(c Endpoint) (endpoint, error) {
	checked := endpoint{
		url: c.URL.Reveal(), header: http.Header{}, timeout: c.Timeout, secrets: []secret.Secret{c.URL.Secret, c.Secret},
	}
	if err := courier.CheckURL(checked.url); err != nil {
		return checked, fmt.Errorf("url: %w", err)
	}
	if address, err := url.Parse(checked.url); err == nil { // a receiver may echo less than the whole
		checked.secrets = append(checked.secrets, secret.New(address.RequestURI()))
	}
	if c.Timeout < 0 || c.Timeout > longestTimeout {
		return checked, fmt.Errorf("timeout: %s is not between 0 and %s", c.Timeout, longestTimeout)
	}
	var err error
	if checked.key, err = parseKey(c.Secret.Reveal()); err != nil {
		return checked, fmt.Errorf("secret: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value := c.Headers[name]
		if err := checkHeader(name, value.Reveal()); err != nil {
			return checked, fmt.Errorf("headers.%s: %w", name, err)
		}
		checked.header.Set(name, value.Reveal())
		checked.secrets = append(checked.secrets, value.Secret)
	}
	return checked, nil
}

// parseKey reads a signing key. Its errors don't quote it.
func parseKey(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < shortestKey || len(key) > longestKey {
		return nil, fault.New(fault.Invalid, "needs %s and base64 of %d to %d random bytes, as `openssl rand -base64 32` makes",
			keyPrefix, shortestKey, longestKey)
	}
	return key, nil
}

func checkHeader(name, value string) error {
	switch canonical := http.CanonicalHeaderKey(name); {
	case !httpguts.ValidHeaderFieldName(name):
		return fault.New(fault.Invalid, "no name of a header")
	case strings.HasPrefix(canonical, "Webhook-") || slices.Contains(ours, canonical):
		return fault.New(fault.Invalid, "Riposte sets this header itself")
	case !httpguts.ValidHeaderFieldValue(value):
		return fault.New(fault.Invalid, "its value has control characters in it")
	}
	return nil
}

// ours are the headers that the configuration can't set.
var ours = []string{
	"Content-Type", "Content-Length", "Content-Encoding", "Host", "Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect",
}

// names are the endpoints that playbooks can name.
func (w *Webhook) names() []string { return slices.Sorted(maps.Keys(w.endpoints)) }

// Actions are what the package adds to an installation: none where no endpoint is configured.
func (w *Webhook) Actions() []action.Action {
	if len(w.endpoints) == 0 {
		return nil
	}
	return []action.Action{&send{w}}
}
