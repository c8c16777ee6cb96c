// Package record holds one entry of the ledger, before it is hashed into it.
package record

import (
	"encoding/json"
	"fmt"
	"time"
)

// Kind names what happened. Kinds are stable: auditors and exports select by them.
type Kind string

// The kinds, in the order in which a matter usually goes.
const (
	IncidentOpened    Kind = "incident.opened"
	IncidentGrew      Kind = "incident.grew"
	IncidentMerged    Kind = "incident.merged"
	IncidentEscalated Kind = "incident.escalated"
	IncidentClosed    Kind = "incident.closed"
	FindingSuppressed Kind = "finding.suppressed"
	PlaybookSkipped   Kind = "playbook.skipped" // its condition could not be computed for the finding
	RunStarted        Kind = "run.started"
	RunEnded          Kind = "run.ended"
	ActionPlanned     Kind = "action.planned" // plan, guardrails' verdict; nothing was changed
	ApprovalAsked     Kind = "approval.asked"
	ApprovalDecided   Kind = "approval.decided"
	ActionIntended    Kind = "action.intended" // written before the world is touched
	ActionStarted     Kind = "action.started"  // elsewhere; its result is to come
	ActionEnded       Kind = "action.ended"    // outcome and proof, or the error
	UndoIntended      Kind = "undo.intended"
	UndoEnded         Kind = "undo.ended"
	GuardrailChanged  Kind = "guardrail.changed" // freeze, unfreeze, protect, unprotect
	SuppressionSet    Kind = "suppression.set"
	LetterReplayed    Kind = "deadletter.replayed"
	LetterDeleted     Kind = "deadletter.deleted"
	ContentTaken      Kind = "content.taken"   // rules and playbooks came into force
	NodeLost          Kind = "node.lost"       // another node took over a dead one's runs
	ReportIntended    Kind = "report.intended" // written before an outcome is told to the product that found it
	ReportEnded       Kind = "report.ended"
	DeliverySkipped   Kind = "delivery.skipped" // a record that a receiver outside would not take
)

// Kinds lists every kind, in the order of the constants.
func Kinds() []Kind {
	return []Kind{
		IncidentOpened, IncidentGrew, IncidentMerged, IncidentEscalated, IncidentClosed, FindingSuppressed, PlaybookSkipped, RunStarted,
		RunEnded, ActionPlanned, ApprovalAsked, ApprovalDecided, ActionIntended, ActionEnded, UndoIntended, UndoEnded, GuardrailChanged,
		SuppressionSet, LetterReplayed, LetterDeleted, ContentTaken, NodeLost, ReportIntended, ReportEnded, DeliverySkipped,
	}
}

// Record is one entry. Body is any JSON; it never holds a secret or a raw event.
type Record struct {
	Time     time.Time       `json:"time"`
	Kind     Kind            `json:"kind"`
	Actor    string          `json:"actor"` // token name of a person, or "riposte"
	Incident string          `json:"incident,omitempty"`
	Run      string          `json:"run,omitempty"`
	Step     string          `json:"step,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
}

// System is the actor of what Riposte does by itself.
const System = "riposte"

// New makes a record whose body is v as JSON. v is one of our own types, so that it cannot be encoded
// is a bug of ours and panics.
func New(now time.Time, kind Kind, actor string, v any) Record {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("record %s: %v", kind, err))
	}
	return Record{Time: now, Kind: kind, Actor: actor, Body: body}
}

// About says what the record is about.
func (r Record) About(incident, run, step string) Record {
	r.Incident, r.Run, r.Step = incident, run, step
	return r
}
