package action

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/riposte-sec/riposte/internal/entity"
)

// States keeps the states of things in place of a provider, for tests of what is done with an action.
type States interface {
	// Get gives the state of a target as JSON, an error of kind NotFound where there is no such thing.
	Get(in Input, target entity.Entity) (json.RawMessage, error)
	Put(in Input, target entity.Entity, state json.RawMessage)
	// Know adds what a plan knows beyond the state: tags, impact, what else is touched, outputs.
	Know(in Input, c *Change)
}

// Simulated is an action on states that are kept elsewhere.
type Simulated interface {
	Action
	Verifier
	Undoer
}

// Simulable is an action whose decisions can be had without its provider.
type Simulable interface {
	// Simulate gives the action on other states: what it wants, calls and says is its own, what it reads and
	// writes is theirs.
	Simulate(states States) Simulated
	// Blank gives a pointer to a state with nothing in it, to read one into.
	Blank() any
}

// Blank is of Simulable.
func (s *Setting[S]) Blank() any { return new(S) }

// Simulate is of Simulable.
func (s *Setting[S]) Simulate(states States) Simulated { //nolint:ireturn // it is of Simulable
	other := *s
	other.Read = func(_ context.Context, in Input) (now S, err error) {
		text, err := states.Get(in, s.Target(in))
		if err != nil {
			return now, err //nolint:wrapcheck // it says what isn't there
		}
		if err := json.Unmarshal(text, &now); err != nil {
			return now, fmt.Errorf("read the state of %s: %w", s.Target(in).ID, err)
		}
		return now, nil
	}
	other.Write = func(_ context.Context, in Input, _, to S) (S, error) {
		text, err := encode(to)
		if err == nil {
			states.Put(in, s.Target(in), text)
		}
		return to, err
	}
	other.Facts = func(_ context.Context, in Input, _ S, c *Change) error {
		states.Know(in, c)
		return nil
	}
	return &other
}
