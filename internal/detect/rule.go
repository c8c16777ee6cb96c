package detect

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/sigma"
)

// Rule is a rule or a correlation, with what findings say about it.
type Rule struct {
	sigma.Header
	// Name is what playbooks call it: rule:<Name>.
	Name     string
	Severity finding.Severity
	Tactics  []string // ATT&CK tactics: defense-evasion
	Attack   []string // ATT&CK techniques: T1562.008
	Response string   // what to do first, for people
	Sources  []sigma.LogSource
	// Correlated says that it tells of several events together.
	Correlated bool
}

var (
	nameForm      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{2,79}$`)
	techniqueForm = regexp.MustCompile(`^attack\.(t\d{4}(?:\.\d{3})?)$`)
	tacticForm    = regexp.MustCompile(`^attack\.([a-z]+(?:[-_][a-z]+)*)$`)
)

// Name is what a rule or a correlation is called: riposte.name, or else its id.
func Name(h *sigma.Header) string {
	if own, ok := h.Custom["riposte"].(map[string]any); ok {
		if name, told := own["name"]; told {
			text, _ := name.(string)
			return text
		}
	}
	return h.ID
}

// described lists the rules and correlations that give findings, not yet complete.
func described(linked *sigma.Linked) []*Rule {
	sources := map[string][]sigma.LogSource{}
	var all []*Rule
	for _, r := range linked.Rules {
		sources[r.Key()] = []sigma.LogSource{r.LogSource}
		if !r.Quiet {
			all = append(all, &Rule{Header: r.Header, Sources: sources[r.Key()]})
		}
	}
	for _, c := range linked.Correlations { // each after those that it refers to
		for _, key := range c.Inputs() {
			for _, source := range sources[key] {
				if !slices.Contains(sources[c.Key()], source) {
					sources[c.Key()] = append(sources[c.Key()], source)
				}
			}
		}
		if !c.Quiet {
			all = append(all, &Rule{Header: c.Header, Sources: sources[c.Key()], Correlated: true})
		}
	}
	return all
}

// complete reads what findings need of a rule: its name, its level, its ATT&CK tags.
func (r *Rule) complete() error {
	r.Name, r.Severity = Name(&r.Header), finding.Medium
	if !nameForm.MatchString(r.Name) {
		return fault.New(fault.Invalid, "%s:%d: findings are called after the rule: give it an id, or a riposte.name such as riposte-aws-trail-stopped; %q is none",
			r.File, r.Line, r.Name)
	}
	if r.Level != "" {
		severity, err := finding.ParseSeverity(r.Level)
		if err != nil {
			return fault.New(fault.Invalid, "%s:%d: level: %w", r.File, r.Line, err)
		}
		r.Severity = severity
	}
	for _, tag := range r.Tags {
		folded := strings.ToLower(tag)
		if technique := techniqueForm.FindStringSubmatch(folded); technique != nil {
			r.Attack = append(r.Attack, strings.ToUpper(technique[1]))
		} else if tactic := tacticForm.FindStringSubmatch(folded); tactic != nil {
			r.Tactics = append(r.Tactics, strings.ReplaceAll(tactic[1], "_", "-"))
		}
	}
	if own, ok := r.Custom["riposte"].(map[string]any); ok {
		r.Response, _ = own["response"].(string)
	}
	return nil
}

// told is a finding of the rule with what is the same in each.
func (r *Rule) told() finding.Finding {
	return finding.Finding{
		Product: finding.Riposte, Type: "rule:" + r.Name, Title: r.Title, Description: r.Description, Response: r.Response,
		Severity: r.Severity, Count: 1, Tactics: r.Tactics, Attack: r.Attack, Rule: r.Name, Version: r.Hash,
	}
}

// finding is that the rule matches an event.
func (r *Rule) finding(ev *event.Event, match sigma.Match) finding.Finding {
	f := r.told()
	f.Fingerprint = finding.Fingerprint(string(finding.Riposte), r.Name, ev.Key)
	f.FirstSeen, f.LastSeen, f.Received = ev.Time, ev.Time, ev.Received
	f.Account, f.Region, f.Entities, f.Events = ev.Account, ev.Region, ev.Entities, []string{ev.Key}
	for _, matched := range match.Fields {
		if len(f.Matched) == mostMatched {
			break
		}
		f.Matched = append(f.Matched, finding.Matched{Field: matched.Field, Value: matched.Value})
	}
	return f
}

// alert is that the correlation's condition holds for a group within a span of time: there is one finding for
// each of these, whatever the order in which its events come.
func (r *Rule) alert(a sigma.Alert) finding.Finding {
	f := r.told()
	f.Fingerprint = finding.Fingerprint(string(finding.Riposte), r.Name, a.Group, strconv.FormatInt(a.Bucket, 10))
	f.FirstSeen, f.LastSeen, f.Count = a.From, a.To, a.Count
	for _, name := range a.Correlation.GroupBy {
		if len(f.Matched) == mostMatched {
			break
		}
		f.Matched = append(f.Matched, finding.Matched{Field: name, Value: a.Values[name]})
	}
	f.Matched = append(f.Matched, finding.Matched{
		Field: string(a.Correlation.Type) + " in " + a.Correlation.Timespan.String(), Value: strconv.FormatFloat(a.Value, 'g', -1, 64),
	})
	return f
}
