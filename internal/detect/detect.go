// Package detect makes findings of events: those of our rules, and those that products made.
//
// It is pure and works in event time: events in, findings out, and what correlations observe of them. What
// can't be evaluated becomes a letter, and the rest goes on.
package detect

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/cloudevent"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/sigma"
)

// mostMatched bounds the fields listed with a finding.
const mostMatched = 20

// Detector evaluates rules. It doesn't change, and is used by any number of sources at once.
type Detector struct {
	linked       *sigma.Linked
	engine       *sigma.Engine
	rules        map[string]*Rule // those that give findings, correlations too, by key
	correlations map[string]*sigma.Correlation
}

// New makes a detector of linked rules and correlations. Errors are Invalid: two of one id or name, a wrong name.
func New(linked *sigma.Linked) (*Detector, error) {
	engine, err := sigma.Compile(linked.Rules)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	d := &Detector{linked: linked, engine: engine, rules: map[string]*Rule{}, correlations: map[string]*sigma.Correlation{}}
	names := map[string]*Rule{}
	for _, rule := range described(linked) {
		if err := rule.complete(); err != nil {
			return nil, err
		}
		if other, taken := names[rule.Name]; taken {
			return nil, fault.New(fault.Invalid, "%s:%d: the rule is called %s, as the one in %s:%d",
				rule.File, rule.Line, rule.Name, other.File, other.Line)
		}
		names[rule.Name] = rule
		d.rules[rule.Key()] = rule
	}
	for _, c := range linked.Correlations {
		d.correlations[c.Key()] = c
	}
	return d, nil
}

// Rules gives the rules and correlations that make findings, by name.
func (d *Detector) Rules() []*Rule {
	all := make([]*Rule, 0, len(d.rules))
	for _, rule := range d.rules {
		all = append(all, rule)
	}
	slices.SortFunc(all, func(a, b *Rule) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Seen is what a batch of events shows, in the order of the events.
type Seen struct {
	Findings []finding.Finding
	// Observations are what correlations have to count. What follows from them depends on what came before.
	Observations []sigma.Observation
	Letters      []event.Letter // of what can't be evaluated
}

// Detect evaluates events.
func (d *Detector) Detect(events []event.Event) Seen {
	var seen Seen
	for i := range events {
		if err := d.one(&events[i], &seen); err != nil {
			ev := events[i]
			seen.Letters = append(seen.Letters, event.Letter{
				Format: awslog.FormatRecord, Origin: ev.Origin, Reason: err.Error(), Raw: ev.Raw, Received: ev.Received, Count: 1,
			})
		}
	}
	return seen
}

func (d *Detector) one(ev *event.Event, seen *Seen) error {
	made, is, err := productFinding(*ev)
	if err != nil {
		return fmt.Errorf("make a finding: %w", err)
	}
	if is { // it counts, whatever rules can make of it
		seen.Findings = append(seen.Findings, made)
	}
	text := AsRead(ev)
	hits, err := d.hits(ev.Source, text)
	if err != nil {
		return err
	}
	var record *sigma.Event // read once, where a correlation wants it
	for _, hit := range hits {
		if rule := d.rules[hit.Rule.Key()]; rule != nil {
			seen.Findings = append(seen.Findings, rule.finding(ev, hit.Match))
		}
		if !d.linked.Observed(hit.Rule) {
			continue
		}
		if record == nil {
			if record, err = sigma.ParseEvent(text); err != nil {
				return fmt.Errorf("read for correlations: %w", err)
			}
		}
		seen.Observations = append(seen.Observations, d.linked.Observe(hit.Rule, record, ev.Key, ev.Time)...)
	}
	return nil
}

// productFinding makes the finding of an event that is one.
func productFinding(ev event.Event) (finding.Finding, bool, error) {
	if ev.Source == event.Webhook {
		return cloudevent.Made(ev)
	}
	return awslog.Finding(ev)
}

func (d *Detector) hits(source event.Source, text []byte) ([]sigma.Hit, error) {
	product, service := LogSource(source)
	if product == "" {
		return nil, nil
	}
	hits, err := d.engine.Evaluate(text, product, service, "")
	if err != nil {
		return nil, fmt.Errorf("read for rules: %w", err)
	}
	return hits, nil
}

// AsRead is an event as rules read it: as its source wrote it. GuardDuty's findings come with an envelope of
// EventBridge, or without one from S3; rules see them within it, whichever way they came.
func AsRead(ev *event.Event) []byte {
	if ev.Source != event.GuardDuty {
		return ev.Raw
	}
	return fmt.Appendf(nil, `{"detail-type":"GuardDuty Finding","source":"aws.guardduty","account":%s,"region":%s,"detail":%s}`,
		quoted(ev.Account), quoted(ev.Region), ev.Raw)
}

func quoted(text string) []byte {
	out, err := json.Marshal(text)
	if err != nil {
		return []byte(`""`) // a string always has a JSON
	}
	return out
}

// LogSource is what Sigma calls a source; both are empty where no rule is asked of it.
func LogSource(source event.Source) (product, service string) {
	switch source {
	case event.CloudTrail:
		return "aws", "cloudtrail"
	case event.GuardDuty:
		return "aws", "guardduty"
	case event.KubernetesAudit:
		return "kubernetes", "audit"
	default:
		return "", ""
	}
}

// Correlator evaluates the correlations in memory, for logs that are read to their end.
func (d *Detector) Correlator() *sigma.Correlator {
	return sigma.NewCorrelator(d.linked, sigma.CorrelatorOptions{Lateness: sigma.Unbounded})
}

// Correlation gives the correlation of a key, nil if it isn't in force.
func (d *Detector) Correlation(key string) *sigma.Correlation { return d.correlations[key] }

// ObserveAlert tells what an alert of one correlation means to others.
func (d *Detector) ObserveAlert(a sigma.Alert) []sigma.Observation { return d.linked.ObserveAlert(a) }

// Alerted makes the finding of a correlation's alert, without the events behind it. It reports false where
// the alert is there for other correlations only.
func (d *Detector) Alerted(a sigma.Alert) (finding.Finding, bool) {
	rule := d.rules[a.Correlation.Key()]
	if rule == nil {
		return finding.Finding{}, false
	}
	return rule.alert(a), true
}
