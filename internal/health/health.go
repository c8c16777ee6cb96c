// Package health knows which parts of a running Riposte work.
package health

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Part is something that works or doesn't: a source, the store, the cloud.
type Part struct {
	Name string
	// Check returns nil if the part works. It is bounded by the board's patience.
	Check func(ctx context.Context) error
	// Minor says that the rest works without it: it is told, and doesn't keep Riposte from being ready.
	Minor bool
	// Note tells people more of a part that works; nil where there is nothing to tell.
	Note func() string
}

// State is how a part is.
type State struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
	Note  string    `json:"note,omitempty"`
	Since time.Time `json:"since" doc:"since when it has been so"`
}

const (
	// every is the time between two looks.
	every = 3 * time.Second
	// patience bounds one check.
	patience = 5 * time.Second
)

var errSilent = errors.New("no answer in time")

// Board shows how the parts are. Asking it costs nothing: it looks by itself.
type Board struct {
	now func() time.Time

	mu     sync.Mutex
	parts  []Part
	states map[string]State
}

// New makes a board of no parts.
func New(now func() time.Time) *Board { return &Board{now: now, states: map[string]State{}} }

// Add puts a part on the board.
func (b *Board) Add(parts ...Part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = append(b.parts, parts...)
}

// Run looks at the parts until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		b.Look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Look checks all parts at the same time.
func (b *Board) Look(ctx context.Context) {
	b.mu.Lock()
	parts := slices.Clone(b.parts)
	b.mu.Unlock()
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() {
			bounded, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
			defer cancel()
			b.set(part, part.Check(bounded))
		})
	}
	all.Wait()
}

func (b *Board) set(part Part, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := part.Name
	state := State{Name: name, OK: err == nil}
	if part.Note != nil {
		state.Note = part.Note()
	}
	if err != nil {
		state.Error = err.Error()
	}
	before, known := b.states[name]
	state.Since = before.Since
	if !known || before.OK != state.OK {
		state.Since = b.now()
	}
	b.states[name] = state
}

// States gives how the parts are, in the order in which they were added, and whether all work, but for minor
// ones. A part that wasn't looked at yet doesn't.
func (b *Board) States() (states []State, ready bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ready = true
	for _, part := range b.parts {
		state, looked := b.states[part.Name]
		if !looked {
			state = State{Name: part.Name, Error: "not looked at yet", Since: b.now()}
		}
		states, ready = append(states, state), ready && (state.OK || part.Minor)
	}
	return states, ready
}
