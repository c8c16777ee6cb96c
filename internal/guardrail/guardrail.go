// Package guardrail decides what bounds an action: autonomy, protected entities, budgets, freezes.
//
// Check is pure: it gets the plan and the state of the guardrails as values. The runner asks it for
// every action at the last moment and journals the verdict.
package guardrail

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/run"
)

// Scope is what a freeze covers.
type Scope string

// The scopes.
const (
	Everything Scope = "everything"
	OfAccount  Scope = "account"
	OfPlaybook Scope = "playbook"
)

// Freeze stops every change within its scope until it is lifted or ends by itself.
type Freeze struct {
	ID     string    `json:"id"` // scope, or scope:value
	Scope  Scope     `json:"scope"`
	Value  string    `json:"value,omitempty"` // account id or playbook name
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"` // zero: until lifted
}

// Protection names entities that no action may change. Every field that is set must match; patterns
// take * for any run of characters.
type Protection struct {
	ID      string      `json:"id"`
	Kind    entity.Kind `json:"kind,omitempty"`
	Name    string      `json:"name,omitempty"`    // pattern on the entity's id
	ARN     string      `json:"arn,omitempty"`     // pattern on its ARN
	Account string      `json:"account,omitempty"` // account id
	Tag     string      `json:"tag,omitempty"`     // key, or key=value
	Reason  string      `json:"reason"`
	By      string      `json:"by"`
	At      time.Time   `json:"at"`
	// Own marks what Riposte itself stands on; it can't be lifted.
	Own bool `json:"own,omitempty"`
}

// Limits bound how much a playbook, an account or Riposte as a whole may change. Zero is no limit.
type Limits struct {
	PerHour          int     `json:"per_hour,omitempty" yaml:"per_hour"`                   // applied changes
	PerAccountHour   int     `json:"per_account_hour,omitempty" yaml:"per_account_hour"`   // applied changes in one account
	DistinctAccounts int     `json:"distinct_accounts,omitempty" yaml:"distinct_accounts"` // accounts touched in an hour
	DistinctTargets  int     `json:"distinct_targets,omitempty" yaml:"distinct_targets"`   // targets touched in an hour
	Percent          float64 `json:"percent,omitempty" yaml:"percent"`                     // of the target's kind at its place, in an hour
}

// Window is the time over which limits count.
const Window = time.Hour

// Outcome is what the guardrails say.
type Outcome string

// The outcomes, from harmless to final.
const (
	Pass  Outcome = "pass"  // go on
	Ask   Outcome = "ask"   // a person must approve this plan first
	Plan  Outcome = "plan"  // observe only: the plan is all there is
	Wait  Outcome = "wait"  // not now: frozen, or a budget is used up; look again later
	Block Outcome = "block" // never: the target is protected
)

// Verdict is an outcome with its reasons, journaled as it is.
type Verdict struct {
	Outcome Outcome  `json:"outcome"`
	Reasons []string `json:"reasons,omitempty"`
}

// Budget is one limit's use, measured before the action.
type Budget struct {
	Name string
	Used int
	Most int
}

// Question is all that Check looks at.
type Question struct {
	Now         time.Time
	Effect      action.Effect
	Change      action.Change
	Playbook    string
	Called      []string     // the playbooks by which it was called, where the step is of another
	Autonomy    run.Autonomy // of the playbook, bounded by the ceiling
	Destroys    bool         // the playbook names this destroying action as allowed without a person
	Approved    bool         // a person approved exactly this plan
	Voided      bool         // a person approved another plan of this step; the world moved since
	Freezes     []Freeze
	Protections []Protection
	Budgets     []Budget
}

// Check decides. Reads and messages always pass, but for a freeze of messages there is none: people
// must hear of a freeze's consequences.
func Check(q Question) Verdict {
	if !q.Effect.Changes() {
		return Verdict{Outcome: Pass}
	}
	if reasons := protectedBy(q.Change, q.Protections); len(reasons) > 0 {
		return Verdict{Block, reasons}
	}
	if q.Change.Noop {
		return Verdict{Outcome: Pass, Reasons: []string{"it is already so"}}
	}
	if q.Autonomy != run.Approve && q.Autonomy != run.Auto { // nor does one that nobody knows let anything pass
		return Verdict{Plan, []string{"autonomy is observe"}}
	}
	if reasons := frozenBy(q); len(reasons) > 0 {
		return Verdict{Wait, reasons}
	}
	if reasons := exhausted(q.Budgets); len(reasons) > 0 {
		return Verdict{Wait, reasons}
	}
	if q.Approved {
		return Verdict{Outcome: Pass, Reasons: []string{"approved"}}
	}
	if q.Voided {
		return Verdict{Ask, []string{"it is no longer what was approved"}}
	}
	if q.Autonomy == run.Approve {
		return Verdict{Ask, []string{"autonomy is approve"}}
	}
	if q.Effect != action.Contain && !q.Destroys {
		return Verdict{Ask, []string{q.Change.Action + " cannot be undone"}}
	}
	return Verdict{Outcome: Pass, Reasons: []string{"autonomy is auto"}}
}

func protectedBy(c action.Change, protections []Protection) []string {
	var reasons []string
	for _, p := range protections {
		for _, e := range append([]entity.Entity{c.Target}, c.Touches...) {
			tags := c.Tags
			if e.Key() != c.Target.Key() {
				tags = nil
			}
			reason := fmt.Sprintf("%s %s is protected: %s", e.Kind, e.ID, p.Reason)
			if p.Covers(e, c.Place, tags) && !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
		}
	}
	return reasons
}

// Covers reports whether an entity at a place, with its tags, is protected by p.
func (p Protection) Covers(e entity.Entity, at action.Place, tags map[string]string) bool {
	if p.Kind == "" && p.Name == "" && p.ARN == "" && p.Account == "" && p.Tag == "" {
		return false
	}
	if p.Kind != "" && p.Kind != e.Kind {
		return false
	}
	if p.Name != "" && !Glob(p.Name, e.ID) {
		return false
	}
	if p.ARN != "" && !Glob(p.ARN, e.ARN) && !Glob(p.ARN, e.ID) {
		return false
	}
	if p.Account != "" && p.Account != e.Account && p.Account != at.Account {
		return false
	}
	if p.Tag != "" {
		key, want, valued := strings.Cut(p.Tag, "=")
		value, present := tags[key]
		if !present || valued && value != want {
			return false
		}
	}
	return true
}

func frozenBy(q Question) []string {
	return Frozen(q.Freezes, q.Now, q.Change.Account, append([]string{q.Playbook}, q.Called...)...)
}

// Frozen says by what changes in an account by playbooks are frozen at a time, nothing if they aren't.
func Frozen(freezes []Freeze, now time.Time, account string, playbooks ...string) []string {
	var reasons []string
	for _, f := range freezes {
		if !f.Until.IsZero() && !now.Before(f.Until) {
			continue
		}
		covered := f.Scope == Everything ||
			f.Scope == OfAccount && f.Value == account ||
			f.Scope == OfPlaybook && slices.Contains(playbooks, f.Value)
		if covered {
			reasons = append(reasons, fmt.Sprintf("frozen by %s: %s", f.By, f.Reason))
		}
	}
	return reasons
}

func exhausted(budgets []Budget) []string {
	var reasons []string
	for _, b := range budgets {
		if b.Used >= b.Most {
			reasons = append(reasons, fmt.Sprintf("budget %s is used up: %d of %d", b.Name, b.Used, b.Most))
		}
	}
	return reasons
}

// Glob matches a text against a pattern in which * stands for any run of characters, case-sensitively.
func Glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}
