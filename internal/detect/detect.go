// Package detect makes findings of events: those of our rules, and those that products made.
//
// It is pure and works in event time: events in, findings out. What can't be evaluated becomes a letter,
// and the rest goes on.
package detect

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/sigma"
)

// mostMatched bounds the fields listed with a finding.
const mostMatched = 20

// Rule is a rule with what findings say about it.
type Rule struct {
	*sigma.Rule
	// Name is what playbooks call it: rule:<Name>.
	Name     string
	Severity finding.Severity
	Tactics  []string // ATT&CK tactics: defense-evasion
	Attack   []string // ATT&CK techniques: T1562.008
}

// Detector evaluates rules. It doesn't change, and is used by any number of sources at once.
type Detector struct {
	set   *sigma.Set
	rules map[*sigma.Rule]*Rule
}

// New makes a detector of parsed rules. Errors are Invalid: two rules of one id or name, a wrong name.
func New(parsed []*sigma.Rule) (*Detector, error) {
	set, err := sigma.NewSet(parsed)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	d := &Detector{set: set, rules: make(map[*sigma.Rule]*Rule, len(parsed))}
	names := map[string]*sigma.Rule{}
	for _, p := range parsed {
		rule, err := describe(p)
		if err != nil {
			return nil, err
		}
		if other, taken := names[rule.Name]; taken {
			return nil, fault.New(fault.Invalid, "%s:%d: the rule is called %s, as the one in %s:%d",
				p.File, p.Line, rule.Name, other.File, other.Line)
		}
		names[rule.Name] = p
		d.rules[p] = rule
	}
	return d, nil
}

// Rules gives the rules by name.
func (d *Detector) Rules() []*Rule {
	all := make([]*Rule, 0, len(d.rules))
	for _, rule := range d.rules {
		all = append(all, rule)
	}
	slices.SortFunc(all, func(a, b *Rule) int { return strings.Compare(a.Name, b.Name) })
	return all
}

var (
	nameForm      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{2,79}$`)
	techniqueForm = regexp.MustCompile(`^attack\.(t\d{4}(?:\.\d{3})?)$`)
	tacticForm    = regexp.MustCompile(`^attack\.([a-z]+(?:[-_][a-z]+)*)$`)
)

// Name is what a rule is called: riposte.name, or else its id.
func Name(p *sigma.Rule) string {
	if own, ok := p.Custom["riposte"].(map[string]any); ok {
		name, _ := own["name"].(string)
		return name
	}
	return p.ID
}

// describe reads what findings need of a rule: its name, its level, its ATT&CK tags.
func describe(p *sigma.Rule) (*Rule, error) {
	rule := &Rule{Rule: p, Name: Name(p), Severity: finding.Medium}
	if !nameForm.MatchString(rule.Name) {
		return nil, fault.New(fault.Invalid, "%s:%d: findings are called after the rule: give it an id, or a riposte.name such as riposte-aws-trail-stopped; %q is none",
			p.File, p.Line, rule.Name)
	}
	if p.Level != "" {
		severity, err := finding.ParseSeverity(p.Level)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s:%d: level: %w", p.File, p.Line, err)
		}
		rule.Severity = severity
	}
	for _, tag := range p.Tags {
		folded := strings.ToLower(tag)
		if technique := techniqueForm.FindStringSubmatch(folded); technique != nil {
			rule.Attack = append(rule.Attack, strings.ToUpper(technique[1]))
		} else if tactic := tacticForm.FindStringSubmatch(folded); tactic != nil {
			rule.Tactics = append(rule.Tactics, strings.ReplaceAll(tactic[1], "_", "-"))
		}
	}
	return rule, nil
}

// Detect gives the findings of events, in the order of the events, and letters of those it can't evaluate.
func (d *Detector) Detect(events []event.Event) ([]finding.Finding, []event.Letter) {
	var found []finding.Finding
	var letters []event.Letter
	for _, ev := range events {
		made, err := d.one(ev)
		if err != nil {
			letters = append(letters, event.Letter{
				Format: awslog.FormatRecord, Origin: ev.Origin, Reason: err.Error(), Raw: ev.Raw, Received: ev.Received, Count: 1,
			})
			continue
		}
		found = append(found, made...)
	}
	return found, letters
}

func (d *Detector) one(ev event.Event) ([]finding.Finding, error) {
	made, is, err := awslog.Finding(ev)
	if err != nil {
		return nil, fmt.Errorf("make a finding: %w", err)
	}
	if is {
		return []finding.Finding{made}, nil
	}
	product, service := LogSource(ev.Source)
	if product == "" {
		return nil, nil
	}
	record, err := sigma.ParseEvent(ev.Raw)
	if err != nil {
		return nil, fmt.Errorf("read for rules: %w", err)
	}
	hits := d.set.Evaluate(record, product, service, "")
	found := make([]finding.Finding, 0, len(hits))
	for _, hit := range hits {
		found = append(found, d.finding(ev, hit))
	}
	return found, nil
}

// LogSource is what Sigma calls a source; both are empty where no rule is asked of it.
func LogSource(source event.Source) (product, service string) {
	if source == event.CloudTrail {
		return "aws", "cloudtrail"
	}
	return "", ""
}

func (d *Detector) finding(ev event.Event, hit sigma.Hit) finding.Finding {
	rule := d.rules[hit.Rule]
	f := finding.Finding{
		Fingerprint: finding.Fingerprint(string(finding.Riposte), rule.Name, ev.Key),
		Product:     finding.Riposte, Type: "rule:" + rule.Name, Title: rule.Title, Description: rule.Description,
		Severity: rule.Severity, FirstSeen: ev.Time, LastSeen: ev.Time, Received: ev.Received, Count: 1,
		Account: ev.Account, Region: ev.Region, Tactics: rule.Tactics, Attack: rule.Attack,
		Entities: ev.Entities, Events: []string{ev.Key}, Rule: rule.Name, Version: rule.Hash,
	}
	for _, matched := range hit.Match.Fields {
		if len(f.Matched) == mostMatched {
			break
		}
		f.Matched = append(f.Matched, finding.Matched{Field: matched.Field, Value: matched.Value})
	}
	return f
}
