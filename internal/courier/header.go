package courier

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

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

// ours are the headers that a configuration can't set.
var ours = []string{
	"Content-Type", "Content-Length", "Content-Encoding", "Host", "Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect",
	"Idempotency-Key",
}

// Headers makes headers of what a configuration sends along, such as Authorization, and lists the secrets in
// them. Errors name the header and not its value.
func Headers(configured map[string]Text) (http.Header, []secret.Secret, error) {
	header := http.Header{}
	var secrets []secret.Secret
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		value := configured[name]
		if err := checkHeader(name, value.Reveal()); err != nil {
			return nil, nil, fmt.Errorf("headers.%s: %w", name, err)
		}
		header.Set(name, value.Reveal())
		secrets = append(secrets, value.Secret)
		if _, credential, two := strings.Cut(value.Reveal(), " "); two { // a receiver may echo less than the whole
			secrets = append(secrets, secret.New(credential))
		}
	}
	return header, secrets, nil
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
