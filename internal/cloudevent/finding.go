package cloudevent

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

// Schema is the JSON schema of the data of events of FindingType.
//
//go:embed finding.schema.json
var Schema []byte

// typePrefix comes before the type that the sender gave, so that nobody passes for a product or a rule.
const typePrefix = "webhook:"

// Bounds of a finding's parts, in bytes and in members.
const (
	longestType     = 200
	longestTitle    = 500
	longestText     = 8000
	longestID       = 2048
	mostEntities    = 100
	mostMembers     = 50
	longestAccount  = 64
	longestPrint    = 500
	earliestCounted = 1
)

// handed is the data of an event of FindingType.
type handed struct {
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Severity    string            `json:"severity"`
	Fingerprint string            `json:"fingerprint"`
	FirstSeen   string            `json:"first_seen"`
	LastSeen    string            `json:"last_seen"`
	Count       int               `json:"count"`
	Account     string            `json:"account"`
	Region      string            `json:"region"`
	Resolved    bool              `json:"resolved"`
	Techniques  []string          `json:"techniques"`
	Tactics     []string          `json:"tactics"`
	Entities    []handedEntity    `json:"entities"`
	Reference   map[string]string `json:"reference"`
}

type handedEntity struct {
	Kind     entity.Kind `json:"kind"`
	ID       string      `json:"id"`
	Part     entity.Part `json:"part"`
	Provider string      `json:"provider"`
	Account  string      `json:"account"`
	Region   string      `json:"region"`
	ARN      string      `json:"arn"`
}

// Made makes the finding of an event that Record gave. It reports false for events of other sources.
func Made(ev event.Event) (finding.Finding, bool, error) {
	if ev.Source != event.Webhook {
		return finding.Finding{}, false, nil
	}
	var e Event
	if err := json.Unmarshal(ev.Raw, &e); err != nil {
		return finding.Finding{}, false, fault.New(fault.Invalid, "not a CloudEvent: %w", err)
	}
	data, err := e.data()
	if err != nil {
		return finding.Finding{}, false, err
	}
	f, err := e.finding(data)
	if err != nil {
		return finding.Finding{}, false, err
	}
	f.Received, f.Events = ev.Received, []string{ev.Key}
	return f, true, nil
}

// finding reads the data. Errors name each field that is wrong.
func (e *Event) finding(data []byte) (finding.Finding, error) {
	var h handed
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields() // a mistyped name would be a finding without what it says
	if err := decoder.Decode(&h); err != nil {
		return finding.Finding{}, fault.New(fault.Invalid, "data is no finding: %w", err)
	}
	c := &checks{}
	f := finding.Finding{
		Product: finding.Webhook, Type: typePrefix + h.Type, Title: h.Title, Description: h.Description, Count: max(h.Count, earliestCounted),
		Account: h.Account, Region: h.Region, Resolved: h.Resolved, Attack: h.Techniques, Tactics: h.Tactics, Reference: h.Reference,
	}
	switch {
	case h.LastSeen != "":
		f.LastSeen = c.time("last_seen", h.LastSeen)
	case e.Time != "":
		f.LastSeen = c.time("time", e.Time)
	default: // not the time at which it came: the same event again would be another one
		c.that(false, "last_seen", "is missing, and the event has no time either")
	}
	f.FirstSeen = f.LastSeen
	if h.FirstSeen != "" {
		f.FirstSeen = c.time("first_seen", h.FirstSeen)
	}
	c.that(!f.FirstSeen.After(f.LastSeen), "first_seen", "is after last_seen")
	var err error
	if f.Severity, err = finding.ParseSeverity(h.Severity); err != nil || f.Severity == finding.Unknown {
		c.that(false, "severity", "%.40q is not informational, low, medium, high or critical", h.Severity)
	}
	c.check(&h)
	f.Fingerprint = finding.Fingerprint(string(finding.Webhook), e.Source, e.ID)
	if h.Fingerprint != "" {
		f.Fingerprint = finding.Fingerprint(string(finding.Webhook), e.Source, "", h.Fingerprint)
	}
	for i, said := range h.Entities[:min(len(h.Entities), mostEntities)] {
		f.Entities = append(f.Entities, c.entity(i, said))
	}
	return f, fault.Wrap(fault.Invalid, errors.Join(c.errs...))
}

// typeForm is what types may be: playbooks match them by patterns, so nothing in them is one.
var typeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._:/!&()+-]*$`)

// checks gathers what is wrong, by field.
type checks struct{ errs []error }

func (c *checks) that(holds bool, field, format string, args ...any) {
	if !holds {
		c.errs = append(c.errs, fault.New(fault.Invalid, "data."+field+": "+format, args...))
	}
}

func (c *checks) time(field, text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	c.that(err == nil, field, "%.40q is not a time such as 2026-11-24T10:00:00Z", text)
	return t.UTC()
}

func (c *checks) text(field, text string, longest int, required bool) {
	c.that(!required || strings.TrimSpace(text) != "", field, "is missing")
	c.that(len(text) <= longest, field, "has more than %d bytes", longest)
}

func (c *checks) check(h *handed) {
	c.that(typeForm.MatchString(h.Type) && len(h.Type) <= longestType, "type", "%.60q is not a name of at most %d letters, digits and ._:/-", h.Type, longestType)
	c.text("title", h.Title, longestTitle, true)
	c.text("description", h.Description, longestText, false)
	c.text("fingerprint", h.Fingerprint, longestPrint, false)
	c.text("account", h.Account, longestAccount, false)
	c.text("region", h.Region, longestAccount, false)
	c.that(h.Count >= 0, "count", "is negative")
	c.that(len(h.Entities) <= mostEntities, "entities", "%d of them; at most %d are taken", len(h.Entities), mostEntities)
	for name, list := range map[string][]string{"techniques": h.Techniques, "tactics": h.Tactics} {
		c.that(len(list) <= mostMembers, name, "%d of them; at most %d are taken", len(list), mostMembers)
		for _, one := range list {
			c.text(name, one, longestAccount, true)
		}
	}
	c.that(len(h.Reference) <= mostMembers, "reference", "%d of them; at most %d are taken", len(h.Reference), mostMembers)
	for name, value := range h.Reference {
		c.text("reference", name, longestAccount, true)
		c.text("reference", value, longestID, false)
	}
}

func (c *checks) entity(i int, h handedEntity) entity.Entity {
	at := "entities[" + strconv.Itoa(i) + "]."
	c.that(slices.Contains(entity.Kinds(), h.Kind), at+"kind", "%.40q is no kind of entity", string(h.Kind))
	c.text(at+"id", h.ID, longestID, true)
	c.text(at+"arn", h.ARN, longestID, false)
	for name, text := range map[string]string{"account": h.Account, "region": h.Region, "provider": h.Provider} {
		c.text(at+name, text, longestAccount, false)
	}
	if h.Kind == entity.IP {
		_, err := netip.ParseAddr(h.ID)
		c.that(err == nil, at+"id", "%.60q is no IP address", h.ID)
	}
	if h.Part == "" {
		h.Part = entity.Target
	}
	c.that(slices.Contains([]entity.Part{entity.Actor, entity.Target, entity.Origin, entity.Context}, h.Part), at+"part",
		"%.40q is not actor, target, origin or context", string(h.Part))
	return entity.Entity{
		Kind: h.Kind, ID: h.ID, Part: h.Part, Provider: h.Provider, Account: h.Account, Region: h.Region, ARN: h.ARN,
		From: "data." + strings.TrimSuffix(at, "."),
	}
}
