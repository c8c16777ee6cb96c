package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/riposte-sec/riposte/internal/fault"
)

func TestKinds(t *testing.T) {
	t.Parallel()
	transient := fault.New(fault.Transient, "away")
	for name, test := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"nothing":            {nil, fault.Internal},
		"unclassified":       {io.EOF, fault.Internal},
		"new":                {transient, fault.Transient},
		"within another":     {fmt.Errorf("read: %w", transient), fault.Transient},
		"joined":             {errors.Join(io.EOF, transient), fault.Transient},
		"the outermost":      {fault.Wrap(fault.NotFound, fmt.Errorf("look: %w", transient)), fault.NotFound},
		"new around another": {fault.New(fault.Denied, "no: %w", transient), fault.Denied},
		"with a hint":        {fault.WithHint(fmt.Errorf("read: %w", transient), "wait"), fault.Transient},
		"hint alone":         {fault.WithHint(io.EOF, "wait"), fault.Internal},
	} {
		if got := fault.KindOf(test.err); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
		if fault.Is(test.err, test.want) != (test.err != nil) || fault.Is(test.err, fault.Conflict) {
			t.Errorf("%s: is of another kind, too", name)
		}
	}
	if fault.Wrap(fault.Invalid, nil) != nil || fault.WithHint(nil, "wait") != nil {
		t.Error("an error was made of none")
	}
}

func TestKindNames(t *testing.T) {
	t.Parallel()
	for kind, want := range map[fault.Kind]string{
		fault.Internal: "internal", fault.Invalid: "invalid", fault.NotFound: "not_found", fault.Denied: "denied",
		fault.Conflict: "conflict", fault.Transient: "transient", fault.Kind(99): "internal",
	} {
		if kind.String() != want {
			t.Errorf("%d is called %s, want %s", kind, kind, want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"no door 7":                      fault.New(fault.NotFound, "no door %d", 7),
		"no door: EOF":                   fault.New(fault.NotFound, "no door: %w", io.EOF),
		"EOF":                            fault.Wrap(fault.Transient, io.EOF),
		"EOF (wait)":                     fault.WithHint(io.EOF, "wait"),
		"no door (knock)":                fault.WithHint(fault.New(fault.NotFound, "no door"), "knock"),
		"cannot open: EOF (knock)":       &fault.Error{Message: "cannot open", Err: io.EOF, Hint: "knock"},
		"open: no door: EOF (ask, wait)": fault.WithHint(fmt.Errorf("open: %w", fault.New(fault.NotFound, "no door: %w", io.EOF)), "ask, wait"),
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCausesAreReached(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"new":      fault.New(fault.Invalid, "read: %w", io.EOF),
		"new, two": fault.New(fault.Invalid, "read: %w, %w", io.ErrUnexpectedEOF, io.EOF),
		"wrap":     fault.Wrap(fault.Invalid, fmt.Errorf("read: %w", io.EOF)),
		"hint":     fault.WithHint(fmt.Errorf("read: %w", io.EOF), "wait"),
		"deep":     fault.Wrap(fault.Invalid, fault.WithHint(fault.New(fault.Transient, "a: %w", fmt.Errorf("b: %w", io.EOF)), "c")),
	} {
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v is not the error that it wraps", name, err)
		}
	}
}

// What a user may read is apart from what an operator reads.
func TestMessage(t *testing.T) {
	t.Parallel()
	const neutral = "internal error; the operator's log has the cause"
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"unclassified":     {errors.New("password=hunter2"), neutral},
		"internal":         {fault.New(fault.Internal, "password=hunter2"), neutral},
		"invalid":          {fault.New(fault.Invalid, "the name is empty"), "the name is empty"},
		"within":           {fmt.Errorf("read row 7: %w", fault.New(fault.NotFound, "no such run")), "no such run"},
		"wrapped":          {fault.Wrap(fault.Invalid, errors.New("bad line 3")), "bad line 3"},
		"with a cause":     {&fault.Error{Kind: fault.Denied, Message: "not allowed", Err: errors.New("role x lacks y")}, "not allowed"},
		"with a hint":      {fault.WithHint(fault.New(fault.Invalid, "the name is empty"), "give one"), "the name is empty"},
		"kind and no more": {&fault.Error{Kind: fault.Denied}, "denied"},
	} {
		if got := fault.Message(test.err); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
