package oncall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
)

// Reach is the ways to people.
type Reach interface {
	Tell(ctx context.Context, p Person, in action.Input) error
	Ask(ctx context.Context, p Person, t question.Telling) error
}

// Action is the action's name in playbooks and channels.
const Action = "oncall.notify"

// Notify is the action that tells whoever is on call. It implements action.Action, and asks questions.
type Notify struct {
	rotations *Rotations
	reach     Reach
	now       func() time.Time
}

// NewNotify makes the action.
func NewNotify(r *Rotations, reach Reach, now func() time.Time) *Notify {
	return &Notify{rotations: r, reach: reach, now: now}
}

// Spec describes the action.
func (n *Notify) Spec() action.Spec {
	return action.Spec{
		Name: Action, Summary: "Tell whoever is on call", Effect: action.Notify,
		Doc: "Tells those who are on call in a rotation when the message is sent, each by Slack and by mail, as far as " +
			"both are configured and known of them. That nobody is on call is an error.",
		Params: []action.Param{
			{
				Name: "rotation", Type: action.String, Required: true, Enum: n.rotations.Names(),
				Doc: "name of a rotation in the configuration, oncall",
			},
			{Name: "message", Type: action.String, Required: true, Doc: "what to say"},
			{Name: "subject", Type: action.String, Doc: "a short headline; the incident if absent"},
		},
		Outputs: []action.Output{{Name: "told", Type: action.Strings, Doc: "names of those who were reached"}},
	}
}

// Plan says whom the message is for, by the rotation's name: who that is shows when it is sent.
func (n *Notify) Plan(_ context.Context, in action.Input) (action.Change, error) {
	name := in.Params.String("rotation")
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return action.Change{
		Action: n.Spec().Name, Place: in.Place, Params: params, Target: entity.Entity{Kind: entity.Resource, ID: "rotation " + name},
		Calls: []string{"oncall:Tell " + name}, Summary: "Tell whoever is on call in " + name,
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

// Apply tells whoever is on call now.
func (n *Notify) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return action.Result{}, err
	}
	if in.Params.String("subject") == "" {
		in.Params["subject"] = strings.TrimSuffix("Riposte, incident "+in.Incident, ", incident ")
	}
	told, err := n.each(ctx, in.Params.String("rotation"), func(p Person) error { return n.reach.Tell(ctx, p, in) })
	if len(told) == 0 {
		return action.Result{}, err
	}
	result := action.Result{Changed: true, Outputs: map[string]any{"told": told}}
	if err != nil {
		result.Note = "not everybody was reached: " + err.Error()
	}
	return result, nil
}

// Ask puts a question before whoever is on call now, each alone: a link in it is theirs.
func (n *Notify) Ask(ctx context.Context, params action.Params, t question.Telling) error {
	_, err := n.each(ctx, params.String("rotation"), func(p Person) error { return n.reach.Ask(ctx, p, t) })
	return err
}

// each does something for everybody who is on call, and names those for whom it worked.
func (n *Notify) each(ctx context.Context, rotation string, do func(Person) error) ([]string, error) {
	people, err := n.rotations.Who(ctx, rotation, n.now())
	if err != nil {
		return nil, err
	}
	if len(people) == 0 {
		return nil, fault.New(fault.Transient, "nobody is on call in %s", rotation)
	}
	var reached []string
	var errs []error
	for _, p := range people {
		if err := do(p); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
			continue
		}
		reached = append(reached, p.Name)
	}
	return reached, errors.Join(errs...)
}
