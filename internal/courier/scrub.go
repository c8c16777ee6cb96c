package courier

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"

	"github.com/riposte-sec/riposte/internal/secret"
)

// shortest is the length from which a secret is looked for: replacing every "a" helps nobody.
const shortest = 4

// redact replaces secrets, as they are and as JSON writes them.
func redact(text []byte, secrets []secret.Secret) []byte {
	for _, s := range secrets {
		plain := s.Reveal()
		if len(plain) < shortest {
			continue
		}
		text = bytes.ReplaceAll(text, []byte(plain), []byte(s.String()))
		if quoted, err := json.Marshal(plain); err == nil {
			text = bytes.ReplaceAll(text, quoted[1:len(quoted)-1], []byte(s.String()))
		}
	}
	return text
}

// scrubbed is an error without the secrets that may be in its text.
type scrubbed struct {
	err     error
	secrets []secret.Secret
}

// Error is the error's text, redacted.
func (s *scrubbed) Error() string { return string(redact([]byte(s.err.Error()), s.secrets)) }

// Unwrap gives the error as it was.
func (s *scrubbed) Unwrap() error { return s.err }

// excerpt is the beginning of a body as one line of printable text.
func excerpt(body []byte) string {
	const longest = 200
	text := strings.ToValidUTF8(string(body[:min(len(body), longest)]), "")
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	return strings.Join(strings.Fields(text), " ")
}
