// Package secret holds values that nobody reads by accident: printed, logged or encoded they say "[secret]".
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	redacted = "[secret]"
	// largest is the size in bytes of the largest file that a secret is read from.
	largest = 64 << 10
)

// Secret is a value such as a token or a password, or the place it comes from. The zero value is none.
// Copies share the value: what is resolved once is resolved everywhere.
type Secret struct {
	held *held
}

type held struct {
	file string
	env  string
	// text is nil until resolved. It is a pointer below a pointer, so that fmt finds an address at most
	// where it can't call Format: in unexported fields.
	text *string
}

// New holds a text.
func New(text string) Secret { return Secret{&held{text: &text}} }

// FromFile is what a file holds, less the line break at its end, once it is resolved.
func FromFile(path string) Secret { return Secret{&held{file: path}} }

// FromEnv is the value of an environment variable, once it is resolved.
func FromEnv(name string) Secret { return Secret{&held{env: name}} }

// Resolve reads the secret from where it is kept: a file, relative to folder, or the environment, by
// lookup. The error names the place, never the value. Resolved already, it does nothing.
func (s Secret) Resolve(folder string, lookup func(name string) (string, bool)) error {
	if s.held == nil || s.held.text != nil {
		return nil
	}
	text, err := s.held.read(folder, lookup)
	if err != nil {
		return err
	}
	s.held.text = &text
	return nil
}

func (h *held) read(folder string, lookup func(string) (string, bool)) (string, error) {
	if h.env != "" {
		text, set := lookup(h.env)
		if !set || text == "" {
			return "", fault.New(fault.Invalid, "the environment variable %s is not set", h.env)
		}
		return text, nil
	}
	path := h.file
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	text, err := readFile(path)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err)
	}
	return text, nil
}

func readFile(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the operator's configuration names the file
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, largest+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if len(text) > largest {
		return "", fmt.Errorf("%s is too large for a secret: over %d bytes", path, largest)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 {
		return "", fmt.Errorf("%s is empty", path)
	}
	return string(text), nil
}

// Reveal gives the value, "" for the zero Secret. It panics where Resolve was not called: to go on with an
// empty password would be worse.
func (s Secret) Reveal() string {
	if s.held == nil {
		return ""
	}
	if s.held.text == nil {
		panic("secret: revealed before it was resolved")
	}
	return *s.held.text
}

// IsZero reports whether there is no secret at all.
func (s Secret) IsZero() bool { return s.held == nil }

// String never gives the value.
func (s Secret) String() string { return redacted }

// Format never gives the value, whatever the verb.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// LogValue never gives the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText never gives the value, in JSON, YAML or any other encoding.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
