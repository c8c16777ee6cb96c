package app

import (
	"errors"
	"slices"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/provider/httpcall"
	"github.com/riposte-sec/riposte/internal/provider/ticket"
	"github.com/riposte-sec/riposte/internal/provider/wasm"
)

// bridges are the actions that reach what the user has: APIs, tickets, functions in a sandbox.
func bridges(c *Config, post *courier.Courier) ([]action.Action, error) {
	calls, callsErr := httpcall.New(c.HTTP, post)
	tickets, ticketsErr := ticket.New(c.Tickets, post)
	modules, modulesErr := wasm.New(c.WASM)
	if err := errors.Join(callsErr, ticketsErr, modulesErr); err != nil {
		return nil, err
	}
	return slices.Concat(calls.Actions(), tickets.Actions(), modules.Actions()), nil
}
