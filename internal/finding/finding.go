// Package finding holds something that may need a response: what our rules or a product found.
// It follows OCSF Detection Finding (2004) and Compliance Finding (2003) in meaning.
package finding

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
)

// Severity orders findings and incidents; the numbers are OCSF's severity_id.
type Severity uint8

// The severities. The zero value is Unknown.
const (
	Unknown Severity = iota
	Informational
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"unknown", "informational", "low", "medium", "high", "critical"}

// String is the lower-case name.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return severityNames[Unknown]
}

// MarshalText writes the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name in any case.
func (s *Severity) UnmarshalText(text []byte) error {
	parsed, err := ParseSeverity(string(text))
	*s = parsed
	return err
}

// ParseSeverity reads a name in any case; "info" is short for informational.
func ParseSeverity(name string) (Severity, error) {
	folded := strings.ToLower(name)
	if folded == "info" {
		return Informational, nil
	}
	for i, known := range severityNames {
		if folded == known {
			return Severity(i), nil
		}
	}
	return Unknown, fmt.Errorf("severity %q is not one of %s", name, strings.Join(severityNames[1:], ", "))
}

// Product names who found it.
type Product string

// The products.
const (
	Riposte     Product = "riposte" // our own rules
	GuardDuty   Product = "guardduty"
	SecurityHub Product = "securityhub"
	Config      Product = "config"
	CloudWatch  Product = "cloudwatch"
	Webhook     Product = "webhook"
)

// Finding is one thing found.
type Finding struct {
	ID string `json:"id"` // ULID
	// Fingerprint makes redelivery harmless: two findings with one fingerprint are one.
	Fingerprint string  `json:"fingerprint"`
	Product     Product `json:"product"`
	// Type is what playbooks match: "rule:<id>", "guardduty:UnauthorizedAccess:IAMUser/...",
	// "securityhub:<control or type>", "config:<rule>", "cloudwatch:<alarm>".
	Type        string    `json:"type"`
	Title       string    `json:"title"`
	Description string    `json:"description,omitempty"`
	Severity    Severity  `json:"severity"`
	FirstSeen   time.Time `json:"first_seen"` // event time
	LastSeen    time.Time `json:"last_seen"`  // event time
	Received    time.Time `json:"received"`
	// Count is how often the product says it happened; 1 for our rules.
	Count    int             `json:"count"`
	Account  string          `json:"account,omitempty"`
	Region   string          `json:"region,omitempty"`
	Tactics  []string        `json:"tactics,omitempty"`    // ATT&CK tactic names: defense-evasion
	Attack   []string        `json:"techniques,omitempty"` // ATT&CK technique ids: T1562.008
	Entities []entity.Entity `json:"entities,omitempty"`
	Events   []string        `json:"events,omitempty"` // keys of the events behind it
	// Rule is the rule's id and Version its content hash, where a rule of ours found it.
	Rule    string `json:"rule,omitempty"`
	Version string `json:"version,omitempty"`
	// Matched lists the fields that made the rule match, for people.
	Matched []Matched `json:"matched,omitempty"`
	// Response says what to do first, where the rule does.
	Response string `json:"response,omitempty"`
	// Reference identifies the finding at its product, so that outcomes can be written back:
	// detector_id and finding_id, or product_arn and id.
	Reference map[string]string `json:"reference,omitempty"`
	// Resolved is set when the product says the matter is over: an alarm back to OK, a resource compliant.
	Resolved bool `json:"resolved,omitempty"`
	// Inert says why a finding never starts a run, such as "caused by Riposte's own session".
	Inert string `json:"inert,omitempty"`
}

// Matched is one field of an event that made a rule match.
type Matched struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// Entity gives the first entity of a kind (targets before others) and whether there is one.
func (f *Finding) Entity(kind entity.Kind) (entity.Entity, bool) {
	var first entity.Entity
	found := false
	for _, e := range f.Entities {
		if e.Kind != kind {
			continue
		}
		if e.Part == entity.Target {
			return e, true
		}
		if !found {
			first, found = e, true
		}
	}
	return first, found
}

// Fingerprint hashes the parts that make a finding itself.
func Fingerprint(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
