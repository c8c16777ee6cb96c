// Package httpcall asks and calls HTTP APIs of the user's own that the configuration names.
package httpcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// Config names the endpoints: a playbook can't call anything else.
type Config struct {
	Endpoints map[string]Endpoint `yaml:"endpoints"`
}

// Endpoint is one API.
type Endpoint struct {
	// URL is below which all calls are: https, or http to this very machine. It is shown in plans; what is
	// secret goes into headers.
	URL string `yaml:"url"`
	// Secret signs what is sent, as in the Standard Webhooks specification; nothing is signed if absent.
	Secret secret.Secret `yaml:"secret"`
	// Headers are sent along, such as Authorization.
	Headers map[string]courier.Text `yaml:"headers"`
	// Timeout bounds one request; 10 s if zero.
	Timeout time.Duration `yaml:"timeout"`
	// Methods are those that playbooks may use; all if empty.
	Methods []string `yaml:"methods"`
	// Await says how the result of what the API has accepted (202) is found.
	Await Await `yaml:"await"`
}

// Await is how one asks for a result that comes later.
type Await struct {
	// Path is below the endpoint's URL. {token} in it is the Idempotency-Key, any other {name} a field of the
	// answer that accepted the call, with dots for fields within fields.
	Path string `yaml:"path"`
	// Field of the answer that tells how it is, with dots for fields within fields.
	Field string `yaml:"field"`
	// Until are the field's values at a good end, Failed those at a bad one. With any other it goes on.
	Until  []string `yaml:"until"`
	Failed []string `yaml:"failed"`
}

const (
	longestTimeout = time.Minute
	// longestWait is how long a result is waited for that comes later.
	longestWait = 6 * time.Hour
)

// methods are those of calls; reads are GET.
var methods = []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// HTTP calls the configured endpoints.
type HTTP struct {
	endpoints map[string]endpoint
	courier   *courier.Courier
	now       func() time.Time
}

// endpoint is an Endpoint that was checked.
type endpoint struct {
	name    string
	base    *url.URL // without a slash at its end
	key     courier.Key
	header  http.Header
	timeout time.Duration
	methods []string
	await   Await
	secrets []secret.Secret
}

// New checks the configuration. Errors are Invalid and name the key.
func New(c Config, courier *courier.Courier) (*HTTP, error) {
	h := &HTTP{endpoints: map[string]endpoint{}, courier: courier, now: time.Now}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Endpoints)) {
		checked, err := check(name, c.Endpoints[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("http.endpoints.%s.%w", name, err))
		}
		h.endpoints[name] = checked
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return h, nil
}

func check(name string, c Endpoint) (endpoint, error) {
	e := endpoint{name: name, timeout: c.Timeout, methods: c.Methods, await: c.Await, secrets: []secret.Secret{c.Secret}}
	if err := courier.CheckURL(c.URL); err != nil {
		return e, fmt.Errorf("url: %w", err)
	}
	base, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil || base.RawQuery != "" || base.ForceQuery || strings.Contains(base.EscapedPath(), "%") || hasDots(base.Path) {
		return e, fault.New(fault.Invalid, "url: a base URL has a plain path and no ?query; playbooks give the query, headers the secrets")
	}
	e.base = base
	if c.Timeout < 0 || c.Timeout > longestTimeout {
		return e, fmt.Errorf("timeout: %s is not between 0 and %s", c.Timeout, longestTimeout)
	}
	for _, method := range c.Methods {
		if method != http.MethodGet && !slices.Contains(methods, method) {
			return e, fmt.Errorf("methods: %.20q is not one of GET, %s", method, strings.Join(methods, ", "))
		}
	}
	if !c.Secret.IsZero() {
		if e.key, err = courier.ParseKey(c.Secret.Reveal()); err != nil {
			return e, fmt.Errorf("secret: %w", err)
		}
	}
	header, secrets, err := courier.Headers(c.Headers)
	if err != nil {
		return e, err
	}
	e.header, e.secrets = header, append(e.secrets, secrets...)
	return e, c.Await.check()
}

func (a Await) check() error {
	if a.Path == "" {
		if a.Field != "" || len(a.Until) > 0 || len(a.Failed) > 0 {
			return errors.New("await.path: say below which path the result is")
		}
		return nil
	}
	if a.Field == "" || len(a.Until) == 0 {
		return errors.New("await: say which field tells how it is (field), and with which values it is over (until)")
	}
	values := map[string]string{}
	for _, name := range placeholders(a.Path) {
		values[name] = "x"
	}
	if _, err := below(a.Path, values); err != nil {
		return fmt.Errorf("await.path: %w", err)
	}
	return nil
}

// may reports whether playbooks may use a method.
func (e endpoint) may(method string) bool {
	return len(e.methods) == 0 || slices.Contains(e.methods, method)
}

// names are the endpoints that playbooks can name for any of some methods.
func (h *HTTP) names(methods ...string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(h.endpoints)) {
		if slices.ContainsFunc(methods, h.endpoints[name].may) {
			names = append(names, name)
		}
	}
	return names
}

// endpoint gives the one of a name, for a method.
func (h *HTTP) endpoint(name, method string) (endpoint, error) {
	e, known := h.endpoints[name]
	if !known {
		return e, fault.New(fault.Invalid, "http.endpoints has no %.100q; there are %s", name, strings.Join(h.names(append(methods, http.MethodGet)...), ", "))
	}
	if !e.may(method) {
		return e, fault.WithHint(fault.New(fault.Denied, "http endpoint %s may not be asked to %.20q", name, method),
			"http.endpoints."+name+".methods lists what it may")
	}
	return e, nil
}

// Actions are what the package adds to an installation: none where no endpoint is configured.
func (h *HTTP) Actions() []action.Action {
	var all []action.Action
	if len(h.names(http.MethodGet)) > 0 {
		all = append(all, &get{h})
	}
	if len(h.names(methods...)) > 0 {
		all = append(all, &call{h})
	}
	return all
}

// answer makes a value of a JSON answer: an object is itself, any other value is under "value", none is empty.
func answer(who string, reply courier.Reply) (map[string]any, error) {
	if reply.Cut {
		return nil, fault.WithHint(fault.New(fault.Invalid, "%s answers more than %d bytes", who, len(reply.Body)), "ask for less")
	}
	if len(strings.TrimSpace(string(reply.Body))) == 0 {
		return map[string]any{}, nil
	}
	var value any
	if err := json.Unmarshal(reply.Body, &value); err != nil {
		return nil, fault.New(fault.Invalid, "%s answers what is not JSON", who)
	}
	switch value := value.(type) {
	case map[string]any:
		return value, nil
	case nil:
		return map[string]any{}, nil
	default:
		return map[string]any{"value": value}, nil
	}
}

// field gives a value within an answer as text, by a path with dots.
func field(object map[string]any, path string) (string, bool) {
	var value any = object
	for part := range strings.SplitSeq(path, ".") {
		within, ok := value.(map[string]any)
		if !ok {
			return "", false
		}
		if value, ok = within[part]; !ok {
			return "", false
		}
	}
	return plain(value)
}

// plain gives a text, a number or a truth value as text.
func plain(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case bool, int, int64:
		return fmt.Sprint(value), true
	case float64:
		text, err := json.Marshal(value)
		return string(text), err == nil
	}
	return "", false
}

// refusal gives an answer that isn't success its kind: what isn't there is told apart.
func refusal(err error) error {
	refused, ok := errors.AsType[*courier.Refused](err)
	if ok && (refused.Status == http.StatusNotFound || refused.Status == http.StatusGone) {
		return fault.Wrap(fault.NotFound, err)
	}
	if ok && refused.Status == http.StatusConflict {
		return fault.Wrap(fault.Conflict, err)
	}
	return err
}
