// Package action holds the contract of what Riposte can do to the world.
//
// An action can Plan (reads only: what is, what would change), Apply exactly that change (safe twice),
// Verify by reading back, and Undo to what Plan saw. It decides nothing about whether it may act: that
// is the runner's and the guardrails' part, in one place for all actions.
package action

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
)

// Effect is what an action does to the world at worst. Guardrails and approvals go by it.
type Effect string

// The effects.
const (
	Read    Effect = "read"    // changes nothing; Plan's outputs are all there is
	Notify  Effect = "notify"  // tells somebody
	Contain Effect = "contain" // changes the world and can be undone
	Destroy Effect = "destroy" // changes the world for good
)

// Changes reports whether the effect alters what an attacker or an operator would see in the cloud. One
// that nobody declared is taken for one that does.
func (e Effect) Changes() bool { return e != Read && e != Notify }

// Action is one thing that Riposte can do.
type Action interface {
	Spec() Spec
	// Plan reads what is and says what Apply would change. It never writes.
	Plan(ctx context.Context, in Input) (Change, error)
	// Apply makes exactly the change that Plan made and nothing else. It looks before it acts: applied
	// already, it changes nothing; if the world moved since Plan, it returns a *Moved error.
	Apply(ctx context.Context, c Change) (Result, error)
}

// Verifier is an action that can prove its effect by reading it back.
type Verifier interface {
	// Verify returns nil if the change holds now, a *NotHeld error if it does not.
	Verify(ctx context.Context, a Applied) error
}

// Undoer is an action whose change can be taken back. Every action of effect contain is one.
type Undoer interface {
	// Drift lists what somebody else changed since Apply; undo would overwrite it.
	Drift(ctx context.Context, a Applied) ([]Difference, error)
	// Undo restores what Plan saw. Where Drift isn't empty it returns a *Moved error, unless forced.
	Undo(ctx context.Context, a Applied, force bool) (Result, error)
	// Restored returns nil if what Plan saw holds again, a *NotHeld error if it does not.
	Restored(ctx context.Context, a Applied) error
}

// Awaiter is an action that starts something elsewhere (a function, a workflow, a runbook) whose result comes
// after Apply has returned. The run waits for it without holding anything: a process may end meanwhile.
type Awaiter interface {
	// Await looks once at what Apply started. It returns false while that goes on; once it is over, the result
	// that takes the place of Apply's. An error of kind Transient is tried again, any other ends the step:
	// what was started has failed, or nobody knows of it any more.
	Await(ctx context.Context, a Applied) (Result, bool, error)
}

// Counter is an action that can say how many things of its target's kind there are at a place, for
// limits in percent.
type Counter interface {
	Population(ctx context.Context, at Place) (int, error)
}

// Place is where in the cloud an action acts.
type Place struct {
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
}

// Input is what Plan gets.
type Input struct {
	Place
	Params   Params
	Incident string // id, for tags and descriptions
	Run      string
	Step     string
	Reason   string // a sentence for descriptions that people read at the provider
	Token    string // idempotency token, the same for every attempt of one step of one run
}

// Change is a plan: what is, what will be, and the calls that lead there. It is journaled before Apply
// and is all that Apply gets.
type Change struct {
	Action string `json:"action"`
	Place
	Params   json.RawMessage   `json:"params,omitempty"`
	Target   entity.Entity     `json:"target"`
	Tags     map[string]string `json:"tags,omitempty"`    // the target's, for protection rules
	Touches  []entity.Entity   `json:"touches,omitempty"` // what else changes with it
	Before   json.RawMessage   `json:"before,omitempty"`
	After    json.RawMessage   `json:"after,omitempty"`
	Calls    []string          `json:"calls,omitempty"` // service:Operation and its object, in order
	Summary  string            `json:"summary"`
	Impact   []string          `json:"impact,omitempty"` // what a person should know before saying yes
	Noop     bool              `json:"noop,omitempty"`   // it is already as wanted
	Outputs  map[string]any    `json:"outputs,omitempty"`
	Incident string            `json:"incident,omitempty"`
	Run      string            `json:"run,omitempty"`
	Step     string            `json:"step,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Token    string            `json:"token,omitempty"`
}

// Hash identifies the plan: the target, what is, what will be and the calls. An approval is for a hash.
// What may differ between two readings of an unchanged world (impact, outputs) is not in it.
func (c Change) Hash() string {
	binding := struct {
		Action        string
		Place         Place
		Params        json.RawMessage
		Target        string
		Touches       []string
		Before, After json.RawMessage
		Calls         []string
	}{c.Action, c.Place, orNull(c.Params), c.Target.Key(), nil, orNull(c.Before), orNull(c.After), c.Calls}
	for _, touched := range c.Touches {
		binding.Touches = append(binding.Touches, touched.Key())
	}
	text, err := json.Marshal(binding)
	if err != nil {
		panic(fmt.Sprintf("hash change of %s: %v", c.Action, err)) // raw messages come from json.Marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// orNull makes nothing out of an empty message, as the journal does.
func orNull(m json.RawMessage) json.RawMessage {
	if len(m) == 0 {
		return nil
	}
	return m
}

// Input gives back what Plan got, as far as Apply, Verify and Undo may know it.
func (c Change) Input() (Input, error) {
	in := Input{
		Place: c.Place, Params: Params{}, Incident: c.Incident, Run: c.Run, Step: c.Step, Reason: c.Reason, Token: c.Token,
	}
	if len(c.Params) > 0 {
		if err := json.Unmarshal(c.Params, &in.Params); err != nil {
			return Input{}, fmt.Errorf("read parameters of planned %s: %w", c.Action, err)
		}
	}
	return in, nil
}

// Result is what Apply or Undo did.
type Result struct {
	Changed bool            `json:"changed"`        // false: it was so already
	Left    json.RawMessage `json:"left,omitempty"` // the state it left; drift is measured against it
	Outputs map[string]any  `json:"outputs,omitempty"`
	Note    string          `json:"note,omitempty"` // what a person should know of the outcome
}

// Applied is a change together with what applying it did.
type Applied struct {
	Change Change `json:"change"`
	Result Result `json:"result"`
}

// Moved says that the world is not as the plan saw it.
type Moved struct { //nolint:errname // it reads action.Moved
	Action      string
	Target      string
	Differences []Difference
}

// Error lists the differences.
func (m *Moved) Error() string {
	return fmt.Sprintf("%s: %s changed since: %s", m.Action, m.Target, Describe(m.Differences))
}

// NotHeld says that a change, read back, is not there.
type NotHeld struct { //nolint:errname // it reads action.NotHeld
	Action      string
	Target      string
	Differences []Difference
}

// Error lists the differences.
func (n *NotHeld) Error() string {
	return fmt.Sprintf("%s: %s is not as it should be: %s", n.Action, n.Target, Describe(n.Differences))
}

// Spec describes an action: its documentation, form, permissions and limits come from it.
type Spec struct {
	Name    string // aws.iam.disable_access_key
	Summary string // one line, imperative
	Doc     string // what it does, what it does not, what undo restores; Markdown
	Effect  Effect
	Params  []Param
	Outputs []Output
	// Permissions are what the provider's identity needs, by phase.
	Permissions []Permission
	// Timeout bounds one Plan, Apply, Verify or Undo; 30 s if zero.
	Timeout time.Duration
	// Within bounds how long an Awaiter's result is waited for; an hour if zero.
	Within time.Duration
	// Settle bounds how long Verify is tried again after Apply, for providers that are eventually
	// consistent; 15 s if zero.
	Settle time.Duration
}

// Takes reports whether the action has a parameter of that name.
func (s Spec) Takes(name string) bool {
	return slices.ContainsFunc(s.Params, func(p Param) bool { return p.Name == name })
}

// Output is one value that later steps can use as steps.<id>.<name>.
type Output struct {
	Name string
	Type Type
	Doc  string
}

// Phase is when a permission is needed.
type Phase string

// The phases.
const (
	PlanPhase  Phase = "plan"
	ApplyPhase Phase = "apply"
	UndoPhase  Phase = "undo"
)

// Permission is one permission at the provider, in its own words.
type Permission struct {
	Name string // iam:UpdateAccessKey
	// Resource is an ARN pattern, with {account}, {region} and {partition}; "*" where the API has no
	// resource-level permission.
	Resource string
	// Conditions are as in the provider's policy language: operator, key, values.
	Conditions map[string]map[string][]string
	Phase      Phase
}
