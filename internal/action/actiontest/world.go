// Package actiontest holds a small world in memory with working actions on it, for tests.
package actiontest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// World is accounts with things in them. Each thing has a value and tags. It is safe for use by several
// goroutines.
type World struct {
	mu      sync.Mutex
	things  map[place]*thing
	told    []Told
	written []Written
	calls   []Call
	hooks   []*hooked
	orders  []*order
}

type place struct{ account, name string }

type thing struct {
	value string
	tags  map[string]string
}

// Told is a message that somebody got.
type Told struct {
	Text  string
	Token string
}

// Written is one change that an action made to the world, in place of one it only found made.
type Written struct {
	Action  string
	Account string
	Thing   string
	From    string
	To      string // "" for what was broken
	Run     string
	Step    string
}

// Phase is the part of an action that was called.
type Phase string

// The phases.
const (
	Planning  Phase = "plan"
	Applying  Phase = "apply"
	Verifying Phase = "verify"
	Drifting  Phase = "drift"
	Undoing   Phase = "undo"
	Restoring Phase = "restored"
)

// Call is one call of an action.
type Call struct {
	Phase   Phase
	Action  string
	Account string
	Thing   string // "" of Tell
	Run     string
	Step    string
}

// String names the call shortly.
func (c Call) String() string { return strings.TrimSuffix(fmt.Sprintf("%s %s", c.Phase, c.Step), " ") }

// Hook is what happens beside a call. Where it returns an error, the call does.
type Hook func(ctx context.Context, c Call) error

type hooked struct {
	phase Phase
	thing string
	left  int // how many more calls; negative is all
	after bool
	hook  Hook
}

// New makes an empty world.
func New() *World { return &World{things: map[place]*thing{}} }

// Put makes a thing have a value, as if somebody else had done it.
func (w *World) Put(account, name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.things[place{account, name}]; ok {
		known.value = value
		return
	}
	w.things[place{account, name}] = &thing{value: value}
}

// Tag gives a thing that is there a tag.
func (w *World) Tag(account, name, key, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.things[place{account, name}]; ok {
		if known.tags == nil {
			known.tags = map[string]string{}
		}
		known.tags[key] = value
	}
}

// Remove takes a thing away, as if somebody else had done it.
func (w *World) Remove(account, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.things, place{account, name})
}

// Values gives all things as they are, by account/name.
func (w *World) Values() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	values := make(map[string]string, len(w.things))
	for at, known := range w.things {
		values[at.account+"/"+at.name] = known.value
	}
	return values
}

// Written gives the changes that actions made, in their order.
func (w *World) Written() []Written {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.written)
}

// Told gives the messages that were delivered, in their order.
func (w *World) Told() []Told {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

// Calls gives all calls of actions, in their order.
func (w *World) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// Before sets a hook before the next times calls of a phase on a thing, or on all with the name "". A
// negative number of times is always.
func (w *World) Before(phase Phase, name string, times int, hook Hook) {
	w.hook(&hooked{phase: phase, thing: name, left: times, hook: hook})
}

// After sets a hook after a call did what it does: an error is an answer that was lost.
func (w *World) After(phase Phase, name string, times int, hook Hook) {
	w.hook(&hooked{phase: phase, thing: name, left: times, after: true, hook: hook})
}

func (w *World) hook(h *hooked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooks = append(w.hooks, h)
}

// Fail is a hook that fails with an error of a kind.
func Fail(kind fault.Kind) Hook {
	return func(_ context.Context, c Call) error {
		return fault.New(kind, "%s of %s does not work", c.Phase, c.Action)
	}
}

// Hang is a hook that waits until its caller has had enough.
func Hang(ctx context.Context, _ Call) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// Do is a hook that does something and doesn't fail.
func Do(something func()) Hook {
	return func(context.Context, Call) error { something(); return nil }
}

// visit notes a call and executes what is hooked to it around work.
func visit[T any](ctx context.Context, w *World, c Call, work func() (T, error)) (T, error) { //nolint:ireturn // T is concrete
	var none T
	before, after := w.note(c)
	for _, hook := range before {
		if err := hook(ctx, c); err != nil {
			return none, err
		}
	}
	if ctx.Err() != nil {
		return none, fault.Wrap(fault.Transient, context.Cause(ctx))
	}
	result, err := work()
	if err != nil {
		return none, err
	}
	for _, hook := range after {
		if err := hook(ctx, c); err != nil {
			return none, err
		}
	}
	return result, nil
}

// note keeps a call and takes the hooks that are for it.
func (w *World) note(c Call) (before, after []Hook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
	for _, h := range w.hooks {
		if h.left == 0 || h.phase != c.Phase || h.thing != "" && h.thing != c.Thing {
			continue
		}
		if h.left > 0 {
			h.left--
		}
		if h.after {
			after = append(after, h.hook)
		} else {
			before = append(before, h.hook)
		}
	}
	return before, after
}

func (w *World) get(account, name string) (string, map[string]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.things[place{account, name}]
	if !ok {
		return "", nil, fault.New(fault.NotFound, "there is no thing %s in account %s", name, account)
	}
	return known.value, maps.Clone(known.tags), nil
}

func (w *World) write(in action.Input, does, to string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := place{in.Account, in.Params.String("thing")}
	known, ok := w.things[at]
	if !ok {
		return fault.New(fault.NotFound, "there is no thing %s in account %s", at.name, at.account)
	}
	w.written = append(w.written, Written{
		Action: does, Account: at.account, Thing: at.name, From: known.value, To: to, Run: in.Run, Step: in.Step,
	})
	if does == Break {
		delete(w.things, at)
		return nil
	}
	known.value = to
	return nil
}

func (w *World) deliver(text, token string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.ContainsFunc(w.told, func(t Told) bool { return t.Token == token }) {
		return false
	}
	w.told = append(w.told, Told{Text: text, Token: token})
	return true
}

func (w *World) population(account string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := 0
	for at := range w.things {
		if at.account == account {
			count++
		}
	}
	return count
}
