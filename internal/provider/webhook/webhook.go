// Package webhook posts signed messages to HTTP endpoints that the configuration names.
package webhook

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
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

// Text is written as it is or, where it is itself a secret, as {file: path} or {env: NAME}.
type Text = courier.Text

const longestTimeout = time.Minute

// Webhook sends to the configured endpoints.
type Webhook struct {
	endpoints map[string]endpoint
	courier   *courier.Courier
	now       func() time.Time
}

// endpoint is an Endpoint that was checked.
type endpoint struct {
	url     string
	key     courier.Key
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
		url: c.URL.Reveal(), timeout: c.Timeout, secrets: []secret.Secret{c.URL.Secret, c.Secret},
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
	if checked.key, err = courier.ParseKey(c.Secret.Reveal()); err != nil {
		return checked, fmt.Errorf("secret: %w", err)
	}
	header, secrets, err := courier.Headers(c.Headers)
	if err != nil {
		return checked, err
	}
	checked.header, checked.secrets = header, append(checked.secrets, secrets...)
	return checked, nil
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
