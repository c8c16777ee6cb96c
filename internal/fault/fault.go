// Package fault holds the few kinds of error that somebody decides by: the edge maps them to a status,
// the runner to a retry.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what a caller can do about an error.
type Kind uint8

// The kinds. The zero value is Internal: an error nobody classified is our fault until shown otherwise.
const (
	Internal  Kind = iota // a bug or a broken part of ours
	Invalid               // the input is wrong; the same input fails again
	NotFound              // what was named does not exist
	Denied                // the caller, or Riposte itself, may not do this
	Conflict              // the world is not as the caller believed; look again
	Transient             // trying again later may work
)

// String is the kind's name as it appears in logs and in the API's problem documents.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case NotFound:
		return "not_found"
	case Denied:
		return "denied"
	case Conflict:
		return "conflict"
	case Transient:
		return "transient"
	case Internal:
	}
	return "internal"
}

// Error is an error with a kind. Message may be shown to a user; Err is for the operator.
type Error struct {
	Kind    Kind
	Message string
	Hint    string // what to do next; may be empty
	Err     error
}

// Error gives the message, then the operator's cause, then the hint.
func (e *Error) Error() string {
	text := e.Message
	if e.Err != nil {
		if cause := e.Err.Error(); cause != "" && text != "" {
			text += ": " + cause
		} else {
			text += cause
		}
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap gives the operator's cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of a kind. Like fmt.Errorf it takes %w.
func New(kind Kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: wrapped(err)}
}

// Wrap gives err a kind and keeps its text. It returns nil for nil.
func Wrap(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Err: err}
}

// WithHint adds what to do next to an error and keeps its kind. It returns nil for nil.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Err: err, Hint: hint}
}

// KindOf is the kind of the outermost classified error in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of a kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Message is what a user may read of err: the outermost public message, or a neutral sentence for
// an internal error.
func Message(err error) string {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind == Internal {
		return "internal error; the operator's log has the cause"
	}
	if e.Message != "" {
		return e.Message
	}
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Kind.String()
}

// silent keeps a wrapped cause reachable for errors.Is without printing it a second time.
type silent struct{ err error }

// wrapped gives what err wraps, one error or several, silent; nil where it wraps none.
func wrapped(err error) error {
	if _, several := err.(interface{ Unwrap() []error }); several || errors.Unwrap(err) != nil {
		return silent{err}
	}
	return nil
}

func (s silent) Error() string { return "" }
func (s silent) Unwrap() error { return s.err }
