package document

import (
	"errors"
	"fmt"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
)

// Error is one mistake in a file.
type Error struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`   // 1-based; 0 where it concerns the whole file
	Column int    `json:"column,omitempty"` // 1-based; 0 where unknown
	Key    string `json:"key,omitempty"`    // dotted path, such as steps[2].with.user
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"` // what was probably meant
}

// Error names file, line, key, reason and hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Reason)
	if e.Hint != "" {
		fmt.Fprintf(&b, "; did you mean %q?", e.Hint)
	}
	return b.String()
}

// Errors lists every mistake within err, in the order in which they were joined.
func Errors(err error) []*Error {
	if err == nil {
		return nil
	}
	if mistake, ok := err.(*Error); ok { //nolint:errorlint // the tree is walked here, level by level
		return []*Error{mistake}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Error
		for _, one := range joined.Unwrap() {
			all = append(all, Errors(one)...)
		}
		return all
	}
	return Errors(errors.Unwrap(err))
}

// invalid joins mistakes into one error of kind Invalid, nil for none.
func invalid(mistakes ...*Error) error {
	errs := make([]error, len(mistakes))
	for i, mistake := range mistakes {
		errs[i] = mistake
	}
	return fault.Wrap(fault.Invalid, errors.Join(errs...))
}
