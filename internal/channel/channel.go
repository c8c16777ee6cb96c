// Package channel sends one message to everybody whom a named channel stands for, through whatever they
// use: playbooks say "security", the configuration says which Slack channel, address or pager that is.
package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Target is one way to reach a channel's people: a notifying action with its parameters. The message
// goes into the action's parameters message and, where it has one, subject.
type Target struct {
	Use  string         `yaml:"use"`
	With map[string]any `yaml:"with"`
}

// Config names the channels.
type Config map[string][]Target

// Name is the action's name in playbooks.
const Name = "notify"

// Notify is the action that playbooks use. It implements action.Action.
type Notify struct {
	channels Config
	actions  map[string]action.Action
}

// New checks the channels against the notifying actions of the installation.
func New(channels Config, actions []action.Action) (*Notify, error) {
	n := &Notify{channels: channels, actions: map[string]action.Action{}}
	for _, a := range actions {
		if a.Spec().Effect == action.Notify {
			n.actions[a.Spec().Name] = a
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		for i, target := range channels[name] {
			if err := n.check(target); err != nil {
				errs = append(errs, fmt.Errorf("channels.%s[%d]: %w", name, i, err))
			}
		}
	}
	return n, errors.Join(errs...)
}

func (n *Notify) check(t Target) error {
	known, ok := n.actions[t.Use]
	switch {
	case !ok && len(n.actions) == 0:
		return fault.New(fault.Invalid, "%q is no action that notifies: configure its provider", t.Use)
	case !ok:
		return fault.New(fault.Invalid, "%q is no action that notifies; there are %s", t.Use,
			strings.Join(slices.Sorted(maps.Keys(n.actions)), ", "))
	}
	_, err := action.Bind(known.Spec(), fill(known.Spec(), t, "check", "check"))
	return err
}

// Spec describes the action.
func (n *Notify) Spec() action.Spec {
	return action.Spec{
		Name: Name, Summary: "Tell the people of a channel", Effect: action.Notify,
		Doc: "Sends a message to every target that the configuration lists for the channel. " +
			"A channel without targets is no error: the message is in the ledger.",
		Params: []action.Param{
			{
				Name: "channel", Type: action.String, Required: true, Doc: "name of a channel in the configuration",
				Enum: slices.Sorted(maps.Keys(n.channels)), // one that there isn't is seen when the playbook is read
			},
			{Name: "message", Type: action.String, Required: true, Doc: "what to say"},
			{Name: "subject", Type: action.String, Doc: "a short headline; the incident if absent"},
		},
		Outputs: []action.Output{{Name: "delivered", Type: action.Int, Doc: "how many targets took the message"}},
	}
}

// Plan renders the message for each target.
func (n *Notify) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	name := in.Params.String("channel")
	subject := in.Params.String("subject")
	if subject == "" {
		subject = "Riposte, incident " + in.Incident
	}
	plans := []action.Change{}
	var calls []string
	for i, target := range n.channels[name] {
		do := n.actions[target.Use]
		params, err := action.Bind(do.Spec(), fill(do.Spec(), target, subject, in.Params.String("message")))
		if err != nil {
			return action.Change{}, err
		}
		one := in
		one.Params, one.Token = params, fmt.Sprintf("%s-%d", in.Token, i)
		plan, err := do.Plan(ctx, one)
		if err != nil {
			return action.Change{}, fmt.Errorf("channel %s, %s: %w", name, target.Use, err)
		}
		plans = append(plans, plan)
		calls = append(calls, plan.Calls...)
	}
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	after, err := json.Marshal(plans)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode messages: %w", err)
	}
	return action.Change{
		Action: Name, Place: in.Place, Params: params, Target: entity.Entity{Kind: entity.Resource, ID: "channel " + name},
		After: after, Calls: calls, Summary: fmt.Sprintf("Tell channel %s (%d targets)", name, len(plans)),
		Noop: len(plans) == 0, Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

// Apply sends to every target. One that fails doesn't keep the others from hearing; tried again, each
// message carries the token that it had, so that its receiver can tell.
func (n *Notify) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	var plans []action.Change
	if err := json.Unmarshal(c.After, &plans); err != nil {
		return action.Result{}, fmt.Errorf("read planned messages: %w", err)
	}
	if len(plans) == 0 {
		return action.Result{Outputs: map[string]any{"delivered": 0}, Note: "the channel has no targets: recorded only"}, nil
	}
	var errs []error
	for _, plan := range plans {
		do, ok := n.actions[plan.Action]
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "%s is no longer configured", plan.Action))
			continue
		}
		if _, err := do.Apply(ctx, plan); err != nil {
			errs = append(errs, err)
		}
	}
	delivered := len(plans) - len(errs)
	if delivered == 0 {
		return action.Result{}, unheard(errs)
	}
	result := action.Result{Changed: true, Outputs: map[string]any{"delivered": delivered}}
	if len(errs) > 0 {
		result.Note = "not delivered to all: " + errors.Join(errs...).Error()
	}
	return result, nil
}

// unheard joins the errors of a message that nobody got. Trying again helps where it may help any target.
func unheard(errs []error) error {
	joined := errors.Join(errs...)
	if slices.ContainsFunc(errs, func(err error) bool { return fault.Is(err, fault.Transient) }) {
		return fault.Wrap(fault.Transient, joined)
	}
	return joined
}

func fill(spec action.Spec, t Target, subject, message string) map[string]any {
	with := maps.Clone(t.With)
	if with == nil {
		with = map[string]any{}
	}
	with["message"] = message
	if spec.Takes("subject") {
		with["subject"] = subject
	}
	return with
}
