// Package incident holds findings that belong together, with a state, an owner and, at the end, a verdict.
package incident

import (
	"fmt"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/finding"
)

// State is where an incident stands.
type State string

// The states.
const (
	Open      State = "open"      // found, nothing contained yet
	Contained State = "contained" // a containing action was applied and verified
	Closed    State = "closed"    // a person gave a verdict
	Merged    State = "merged"    // part of another incident; see MergedInto
)

// Verdict is what a person concluded.
type Verdict string

// The verdicts. The zero value is none given.
const (
	TruePositive  Verdict = "true_positive"
	Benign        Verdict = "benign"         // really happened, and was expected
	FalsePositive Verdict = "false_positive" // did not happen as the finding says
)

// ParseVerdict reads a verdict.
func ParseVerdict(text string) (Verdict, error) {
	switch v := Verdict(text); v {
	case TruePositive, Benign, FalsePositive:
		return v, nil
	default:
		return "", fmt.Errorf("verdict %q is not one of %s, %s, %s", text, TruePositive, Benign, FalsePositive)
	}
}

// Incident is one matter to deal with.
type Incident struct {
	ID         string           `json:"id"` // ULID
	Title      string           `json:"title"`
	TitleSeen  time.Time        `json:"title_seen"` // event time of the finding that gave the title
	State      State            `json:"state"`
	Severity   finding.Severity `json:"severity"`
	Account    string           `json:"account,omitempty"`
	Region     string           `json:"region,omitempty"`
	Owner      string           `json:"owner,omitempty"`
	Escalated  bool             `json:"escalated"`
	FirstSeen  time.Time        `json:"first_seen"` // event time of the earliest finding
	LastSeen   time.Time        `json:"last_seen"`  // event time of the latest finding
	Opened     time.Time        `json:"opened"`
	Updated    time.Time        `json:"updated"`
	Closed     time.Time        `json:"closed,omitzero"`
	Verdict    Verdict          `json:"verdict,omitempty"`
	Note       string           `json:"note,omitempty"` // the reason given with the verdict
	MergedInto string           `json:"merged_into,omitempty"`
	Findings   int              `json:"findings"`
	Entities   []entity.Entity  `json:"entities,omitempty"`
}
