// Package run holds one durable execution of a playbook for an incident, with its steps and the
// questions it asks.
package run

import (
	"fmt"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
)

// Autonomy is how far a playbook may go without a person.
type Autonomy string

// The levels, from least to most.
const (
	Observe Autonomy = "observe" // plan only
	Approve Autonomy = "approve" // a person says yes to each change
	Auto    Autonomy = "auto"    // changes that can be undone need nobody
)

// ParseAutonomy reads a level.
func ParseAutonomy(text string) (Autonomy, error) {
	switch a := Autonomy(text); a {
	case Observe, Approve, Auto:
		return a, nil
	default:
		return "", fmt.Errorf("autonomy %q is not one of observe, approve, auto", text)
	}
}

// Least gives the lower of two levels.
func Least(a, b Autonomy) Autonomy {
	rank := func(x Autonomy) int {
		switch x {
		case Auto:
			return 2
		case Approve:
			return 1
		case Observe:
		}
		return 0
	}
	if rank(a) < rank(b) {
		return a
	}
	return b
}

// Kind says what a run does.
type Kind string

// The kinds.
const (
	Playbook Kind = "playbook"
	Undo     Kind = "undo" // takes back the steps of another run
)

// State is where a run stands.
type State string

// The states. Ready, Waiting and Held go on; the others are final.
const (
	Ready     State = "ready"     // a node should advance it now
	Waiting   State = "waiting"   // for a person's answer, a time, a condition or a result
	Held      State = "held"      // to be tried again at Wake: frozen, throttled, over a limit
	Succeeded State = "succeeded" // every step done and verified, or skipped by its condition
	Observed  State = "observed"  // planned to the end; autonomy allows no more
	Denied    State = "denied"    // a person said no, or nobody answered in time
	Blocked   State = "blocked"   // a guardrail said no
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Final reports whether the run is over.
func (s State) Final() bool { return s != Ready && s != Waiting && s != Held }

// Run is one execution.
type Run struct {
	ID       string `json:"id"` // ULID
	Kind     Kind   `json:"kind"`
	Incident string `json:"incident"`
	Finding  string `json:"finding,omitempty"` // the finding that started it
	Playbook string `json:"playbook"`
	Hash     string `json:"hash"` // of the playbook's text; the run keeps that version
	// Subject is what the run is about within its incident, such as "access_key=AKIA...". An incident has
	// one run of a playbook per subject.
	Subject  string    `json:"subject,omitempty"`
	Autonomy Autonomy  `json:"autonomy"` // in force: the playbook's, bounded by the ceiling
	State    State     `json:"state"`
	Reason   string    `json:"reason,omitempty"` // why it is in that state, for people
	By       string    `json:"by"`               // who started it
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Ended    time.Time `json:"ended,omitzero"`
	Wake     time.Time `json:"wake,omitzero"` // when to look at it again: a deadline, a retry

	// Trace is the W3C traceparent of the event's way that led here.
	Trace string `json:"trace,omitempty"`
	// Leg counts the stretches between two waits. Each is one durable workflow, started once.
	Leg int64 `json:"leg"`
	// Fence rises when another node takes the run over; a write with an older one is refused.
	Fence int64 `json:"fence"`

	Undoes *Undoing `json:"undoes,omitempty"` // of kind Undo
}

// Undoing says what an undo run takes back: the runs in this order, each with its last step first.
type Undoing struct {
	Runs  []string `json:"runs"`
	Step  string   `json:"step,omitempty"`  // only this step, of a single run
	Force bool     `json:"force,omitempty"` // even where somebody changed the resource since
	Timed bool     `json:"timed,omitempty"` // the playbook said for how long; nobody asked for it now
}

// StepState is where a step stands.
type StepState string

// The states of a step.
const (
	Asked    StepState = "asked"    // a person was asked about its plan
	Planned  StepState = "planned"  // its plan is all there is: autonomy allows no more
	Begun    StepState = "begun"    // steps within it, or a wait, are under way
	Awaited  StepState = "awaited"  // started elsewhere; its result is to come
	Intended StepState = "intended" // the ledger says it will be applied; it may or may not have been
	Done     StepState = "done"     // applied and verified, or a read
	Skipped  StepState = "skipped"  // its condition was false
	Stopped  StepState = "stopped"  // a guardrail or a person said no
	Broken   StepState = "failed"
	Undone   StepState = "undone" // done, then taken back
)

// Step is one step of a run.
type Step struct {
	Run string `json:"run"`
	// ID is the step's in the playbook, or "step-3"; in a turn of a loop "each[2]/disable", in a called
	// playbook "contain/disable".
	ID     string    `json:"id"`
	Order  int       `json:"order"`          // 0-based position: when it was begun
	Does   string    `json:"does,omitempty"` // what kind of step it is, as in the playbook: use, foreach, approve...
	Action string    `json:"action"`         // "" where it uses none
	State  StepState `json:"state"`
	// Ends is how the run ends by this step, unless the playbook goes on without it.
	Ends     State          `json:"ends,omitempty"`
	Change   *action.Change `json:"change,omitempty"`
	Result   *action.Result `json:"result,omitempty"`
	Outputs  map[string]any `json:"outputs,omitempty"`
	Attempts int            `json:"attempts"`
	Verified bool           `json:"verified"`
	Error    string         `json:"error,omitempty"`
	Started  time.Time      `json:"started,omitzero"`
	Ended    time.Time      `json:"ended,omitzero"`
}

// Answer is what became of a question.
type Answer string

// The answers. The zero value is not valid.
const (
	Pending    Answer = "pending"
	Approved   Answer = "approved"
	Refused    Answer = "denied"
	Expired    Answer = "expired"
	Superseded Answer = "superseded" // the world moved, or the run ended, before an answer came
)

// Otherwise is what happens when nobody answers in time.
type Otherwise string

// The ways.
const (
	OtherwiseDeny     Otherwise = "deny"     // the run ends, nothing is changed
	OtherwiseEscalate Otherwise = "escalate" // more people are told; the question stays open
	OtherwiseProceed  Otherwise = "proceed"  // act; only where the ceiling is auto
)

// Approval is a question to a person about exact plans.
type Approval struct {
	ID        string    `json:"id"` // ULID
	Run       string    `json:"run"`
	Incident  string    `json:"incident"`
	Step      string    `json:"step"` // where the run waits
	Hash      string    `json:"hash"` // of the plans together; an answer is for this hash
	Plans     []Plan    `json:"plans"`
	Roles     []string  `json:"roles"` // who may answer
	Asked     time.Time `json:"asked"`
	Deadline  time.Time `json:"deadline,omitzero"`
	Otherwise Otherwise `json:"otherwise"`
	Escalated bool      `json:"escalated,omitempty"`
	// Levels are whom it goes to by time; Level is how many of them it went to.
	Levels []Level `json:"levels,omitempty"`
	Level  int     `json:"level,omitempty"`
	// Quorum is how many different people must say yes; Votes are those who have.
	Quorum int    `json:"quorum,omitempty"`
	Votes  []Vote `json:"votes,omitempty"`
	// Barred may not answer: who started the run, and whom its finding names as having done it.
	Barred  []string  `json:"barred,omitempty"`
	Answer  Answer    `json:"answer"`
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Decided time.Time `json:"decided,omitzero"`
}

// Vote is one person's yes to a question that needs several.
type Vote struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Via    string    `json:"via,omitempty"` // the way it came: "" by the API, or such as a link, which counts once
	At     time.Time `json:"at"`
}

// Level is whom a question goes to when it has stood for a while.
type Level struct {
	At      time.Time `json:"at"`
	Roles   []string  `json:"roles,omitempty"` // further ones that may answer
	Channel string    `json:"channel,omitempty"`
	OnCall  string    `json:"on_call,omitempty"` // name of a rotation
}

// Plan is the plan of one step within a question.
type Plan struct {
	Step   string        `json:"step"`
	Change action.Change `json:"change"`
	Hash   string        `json:"hash"` // Change.Hash
}

// Journal is all that is known of one run: what a node needs to go on with it.
type Journal struct {
	Run       Run
	Playbook  []byte // the text of the version the run keeps
	Finding   finding.Finding
	Incident  incident.Incident
	Steps     []Step     // in order
	Approvals []Approval // oldest first
}

// Entry is what one moment of a run adds to its journal. It is written in one transaction with its
// records, and refused with a Conflict when Run.Fence or Run.Leg is no longer the run's.
type Entry struct {
	Run       Run
	Steps     []Step     // inserted or replaced, by run and id
	Approvals []Approval // inserted or replaced, by id
	// Effects are written with the intention, so that a budget is spent before the world is touched.
	Effects []Effect
	// Caps are checked in the same transaction, before Effects are added: where one is used up, nothing
	// is written and the error is a *CapReached.
	Caps []Cap
	// Starts are runs that this moment brings about, such as one that takes a change back after a time.
	Starts   []Run
	Incident *IncidentMark
	Records  []record.Record
}

// IncidentMark is what a run says about its incident.
type IncidentMark struct {
	Contained bool
	Escalated bool
}

// Effect is one applied change, kept for budgets: who spent what, where, when.
type Effect struct {
	Time     time.Time
	Run      string
	Step     string
	Playbook string
	Action   string
	Account  string
	Region   string
	Kind     string // entity kind of the target
	Target   string // entity key
}

// Measure is what a cap counts.
type Measure string

// The measures, each of effects that were not undone.
const (
	Changes  Measure = "changes"
	Targets  Measure = "targets"  // distinct, other than the cap's own target
	Accounts Measure = "accounts" // distinct, other than the cap's own account
)

// Cap is one limit as it applies to one action: of what, since when, at most how many before this one.
type Cap struct {
	Name    string
	Measure Measure
	Most    int
	Since   time.Time
	// What is counted; "" is any.
	Playbook string
	Account  string
	Region   string
	Kind     string
	// Itself is the target or account that is about to be touched: touching it again isn't one more.
	Itself string
}

// CapReached says that a cap is used up.
type CapReached struct { //nolint:errname // it says what happened
	Cap  Cap
	Used int
}

// Error names the cap.
func (c *CapReached) Error() string {
	return fmt.Sprintf("limit %s is used up: %d of %d", c.Cap.Name, c.Used, c.Cap.Most)
}

// Version is a playbook's text by its hash, kept as long as runs refer to it.
type Version struct {
	Name string
	Hash string
	Text []byte
}

// Decision is what triage says of one finding; the store keeps it whole or not at all.
type Decision struct {
	Finding finding.Finding
	Events  []event.Event // behind the finding; their raw bytes are kept
	// Suppressed is the id of the suppression that silenced the finding, "" if none did.
	Suppressed string
	// Incident is what the finding belongs to, as it is with the finding in it; nil where suppressed.
	Incident *incident.Incident
	Merge    []string // ids of incidents that turned out to be part of Incident
	Runs     []Run
	Versions []Version
	Records  []record.Record
}
