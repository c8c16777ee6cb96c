package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/riposte-sec/riposte/internal/fault"
)

// micros is how a time is kept in a column: microseconds since 1970, 0 for none. Bodies keep every digit.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// longest is how long a text may be in an index, in bytes; PostgreSQL's indexes take less than 2,704.
const longest = 400

// clean makes what others wrote fit for a column: valid UTF-8 without NUL. Each byte that isn't UTF-8
// becomes U+FFFD, as in JSON.
func clean(s string) string {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return s
}

// text makes what others wrote fit for a column that is indexed: clean and bounded. A longer text keeps
// its beginning and gets a hash of the whole, so that different ones stay different.
func text(s string) string {
	s = clean(s)
	if len(s) <= longest {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:longest-70], "") + "..." + hex.EncodeToString(sum[:])
}

func texts(all []string) []string {
	cleaned := make([]string, 0, len(all))
	for _, s := range all {
		cleaned = append(cleaned, text(s))
	}
	return cleaned
}

// encode writes a noun as a row's body.
func encode(v any) (string, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return "", fault.New(fault.Invalid, "encode %T: %w", v, err)
	}
	if !utf8.Valid(body) {
		return clean(string(body)), nil // a raw message may hold anything
	}
	return string(body), nil
}

// blob is what is kept of bytes: nil is none, not unknown.
func blob(raw []byte) []byte {
	if raw == nil {
		return []byte{}
	}
	return raw
}

// decode reads a row's body into a noun.
func decode(body string, into any) error {
	if err := json.Unmarshal([]byte(body), into); err != nil {
		return fault.New(fault.Internal, "the store holds a broken %T: %w", into, err)
	}
	return nil
}

// decodeAll reads the bodies of several rows.
func decodeAll[T any](bodies []string) ([]T, error) {
	all := make([]T, len(bodies))
	for i, body := range bodies {
		if err := decode(body, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// encoder encodes several nouns in a row; the first error stays.
type encoder struct{ err error }

func (e *encoder) body(v any) string {
	body, err := encode(v)
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("write to the store: %w", err)
	}
	return body
}
