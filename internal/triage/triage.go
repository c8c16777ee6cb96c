// Package triage decides what becomes of a finding: known already, expected, part of an incident, and
// which playbooks answer it.
//
// Decide is the one place of these decisions, a pure function; Engine brings it what is known and
// keeps what it says, in one transaction.
package triage

import (
	"context"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// mostNamed bounds the entities that an incident or a finding names itself, and the events a finding does:
// whoever causes findings decides how many there are. What is beyond is with the findings and their events,
// and still brings findings together.
const mostNamed = 1000

// Policy is what triage decides by.
type Policy struct {
	Suppressions []Suppression
	Playbooks    []*playbook.Playbook
	// Ceiling is the most autonomy any playbook has here.
	Ceiling run.Autonomy
	// Window is how far apart in event time two findings about one entity may be to belong together.
	Window time.Duration
	// Own are patterns of our own principals' ARNs: what they cause never starts a run.
	Own []string
}

// Suppression declares findings expected: scoped, reasoned, owned, with an end.
type Suppression struct {
	ID      string
	If      *expr.Expr
	Reason  string
	Owner   string
	Expires time.Time
}

// Known is what the store knows that bears on a finding.
type Known struct {
	Finding    *finding.Finding    // the one with this fingerprint, if it came before
	Incident   string              // the incident that one is in, "" if none
	Candidates []incident.Incident // open ones with a finding near in time about a shared entity; oldest first
	Runs       []run.Run           // of the candidates
}

// Decide says what becomes of f. It returns false where nothing does: f is known and says nothing new.
func Decide(ctx context.Context, f finding.Finding, known Known, policy Policy, now time.Time, newID func() string) (run.Decision, bool) {
	f, news := merge(f, known.Finding, newID)
	if !news {
		return run.Decision{}, false
	}
	decision := run.Decision{Finding: f}

	if f.Resolved && (known.Finding == nil || len(known.Candidates) == 0) {
		return run.Decision{}, false // good news about something we never heard of, or that is closed
	}
	if by, own := causedByUs(f.Entities, policy.Own); own {
		decision.Finding.Inert = "caused by Riposte's own session " + by
		decision.Records = append(decision.Records, silenced(now, &decision.Finding, "self", decision.Finding.Inert))
		return decision, true
	}
	if s, why, found := suppression(ctx, &f, policy.Suppressions, now); found {
		decision.Suppressed = s
		decision.Records = append(decision.Records, silenced(now, &f, s, why))
		return decision, true
	}

	group(&decision, known, now, newID)
	if !f.Resolved {
		choosePlaybooks(ctx, &decision, known, policy, now, newID)
	}
	return decision, true
}

// merge folds another telling of a finding into the one known by its fingerprint, and reports whether
// there is news. What was said of the latest time prevails; what only grows is joined, so that tellings
// may come in any order.
func merge(f finding.Finding, before *finding.Finding, newID func() string) (finding.Finding, bool) {
	if before == nil {
		f.ID = newID()
		return f, true
	}
	merged := f
	if f.LastSeen.Before(before.LastSeen) {
		merged = *before
	}
	merged.ID, merged.Inert = before.ID, before.Inert
	merged.Severity = max(f.Severity, before.Severity)
	merged.Count = max(f.Count, before.Count)
	merged.FirstSeen, merged.LastSeen = before.FirstSeen, before.LastSeen
	if f.FirstSeen.Before(merged.FirstSeen) {
		merged.FirstSeen = f.FirstSeen
	}
	if f.LastSeen.After(merged.LastSeen) {
		merged.LastSeen = f.LastSeen
	}
	merged.Entities = union(before.Entities, f.Entities)
	merged.Events = behind(before.Events, f.Events)
	return merged, tellsMore(&merged, before)
}

func tellsMore(merged, before *finding.Finding) bool {
	return merged.Severity != before.Severity || merged.Count != before.Count || merged.Resolved != before.Resolved ||
		!merged.FirstSeen.Equal(before.FirstSeen) || !merged.LastSeen.Equal(before.LastSeen) ||
		len(merged.Entities) != len(before.Entities)
}

func causedByUs(entities []entity.Entity, own []string) (string, bool) {
	for _, e := range entities {
		if e.Part != entity.Actor {
			continue
		}
		for _, pattern := range own {
			if isOurs(pattern, e.ARN) || isOurs(pattern, e.ID) {
				return e.ID, true
			}
		}
	}
	return "", false
}

// isOurs matches a principal's name. One without a name is nobody, least of all us.
func isOurs(pattern, name string) bool { return name != "" && guardrail.Glob(pattern, name) }

// suppression finds the first suppression that covers f. One that can't be computed for f, because f
// lacks what it asks for, doesn't cover it.
func suppression(ctx context.Context, f *finding.Finding, all []Suppression, now time.Time) (id, why string, found bool) {
	for _, s := range all {
		if !now.Before(s.Expires) {
			continue
		}
		covered, err := s.If.True(ctx, expr.Scope{expr.Finding: expr.ViewFinding(f)})
		if err == nil && covered {
			return s.ID, s.Reason + " (" + s.Owner + ")", true
		}
	}
	return "", "", false
}

func silenced(now time.Time, f *finding.Finding, by, why string) record.Record {
	return record.New(now, record.FindingSuppressed, record.System, map[string]string{
		"finding": f.ID, "type": f.Type, "by": by, "why": why,
	})
}

// group puts the finding into the oldest candidate, and the other candidates with it: they turned out
// to be one matter. With no candidate it opens an incident.
func group(d *run.Decision, known Known, now time.Time, newID func() string) {
	f := &d.Finding
	if len(known.Candidates) == 0 {
		d.Incident = &incident.Incident{
			ID: newID(), Title: f.Title, TitleSeen: f.FirstSeen, State: incident.Open, Severity: f.Severity,
			Account: f.Account, Region: f.Region, FirstSeen: f.FirstSeen, LastSeen: f.LastSeen, Opened: now, Updated: now,
			Findings: 1, Entities: union(nil, f.Entities),
		}
		d.Records = append(d.Records, record.New(now, record.IncidentOpened, record.System, map[string]any{
			"finding": f.ID, "type": f.Type, "severity": f.Severity, "title": f.Title,
		}).About(d.Incident.ID, "", ""))
		return
	}
	grown := known.Candidates[0]
	for _, other := range known.Candidates[1:] {
		d.Merge = append(d.Merge, other.ID)
		grown.Findings += other.Findings
		grown.Entities = union(grown.Entities, other.Entities)
		grown.Escalated = grown.Escalated || other.Escalated
		if grown.Owner == "" {
			grown.Owner = other.Owner
		}
		if other.State == incident.Contained {
			grown.State = incident.Contained
		}
		include(&grown, other.Title, other.TitleSeen, other.Severity, other.FirstSeen, other.LastSeen)
		d.Records = append(d.Records, record.New(now, record.IncidentMerged, record.System, map[string]string{
			"merged": other.ID, "into": grown.ID, "by_finding": f.ID,
		}).About(grown.ID, "", ""))
	}
	counted := func(i incident.Incident) bool { return i.ID == known.Incident }
	if !slices.ContainsFunc(known.Candidates, counted) {
		grown.Findings++
	}
	grown.Entities = union(grown.Entities, f.Entities)
	grown.Updated = now
	include(&grown, f.Title, f.FirstSeen, f.Severity, f.FirstSeen, f.LastSeen)
	d.Incident = &grown
	d.Records = append(d.Records, record.New(now, record.IncidentGrew, record.System, map[string]any{
		"finding": f.ID, "type": f.Type, "severity": f.Severity, "count": f.Count, "resolved": f.Resolved,
	}).About(grown.ID, "", ""))
}

// include widens an incident by a finding or by another incident. The title is that of the gravest
// finding, the earliest of those, so that the order of arrival doesn't matter.
func include(i *incident.Incident, title string, seen time.Time, severity finding.Severity, first, last time.Time) {
	graver := severity > i.Severity
	earlier := severity == i.Severity && (seen.Before(i.TitleSeen) || seen.Equal(i.TitleSeen) && title < i.Title)
	if graver || earlier {
		i.Title, i.TitleSeen, i.Severity = title, seen, severity
	}
	if first.Before(i.FirstSeen) {
		i.FirstSeen = first
	}
	if last.After(i.LastSeen) {
		i.LastSeen = last
	}
}

// choosePlaybooks adds a run for each playbook that answers the finding and has not yet been started
// for the same subject in this incident.
func choosePlaybooks(ctx context.Context, d *run.Decision, known Known, policy Policy, now time.Time, newID func() string) {
	scope := expr.Scope{expr.Finding: expr.ViewFinding(&d.Finding), expr.Incident: expr.ViewIncident(d.Incident)}
	for _, p := range policy.Playbooks {
		answers, err := p.Answers(ctx, d.Finding.Type, scope)
		if err != nil {
			d.Records = append(d.Records, record.New(now, record.PlaybookSkipped, record.System, map[string]string{
				"playbook": p.Name, "finding": d.Finding.ID, "why": err.Error(),
			}).About(d.Incident.ID, "", ""))
			continue
		}
		subject := p.Subject(&d.Finding)
		if !answers || started(known.Runs, p.Name, subject) {
			continue
		}
		started := run.Run{
			ID: newID(), Kind: run.Playbook, Incident: d.Incident.ID, Finding: d.Finding.ID, Playbook: p.Name, Hash: p.Hash,
			Subject: subject, Autonomy: run.Least(p.Autonomy, policy.Ceiling), State: run.Ready, By: record.System,
			Created: now, Updated: now, Leg: 1,
		}
		d.Runs = append(d.Runs, started)
		d.Versions = append(d.Versions, run.Version{Name: p.Name, Hash: p.Hash, Text: p.Text})
		d.Records = append(d.Records, record.New(now, record.RunStarted, record.System, map[string]any{
			"playbook": p.Name, "hash": p.Hash, "subject": subject, "autonomy": started.Autonomy, "finding": d.Finding.ID,
		}).About(d.Incident.ID, started.ID, ""))
	}
}

func started(runs []run.Run, name, subject string) bool {
	return slices.ContainsFunc(runs, func(r run.Run) bool {
		return r.Kind == run.Playbook && r.Playbook == name && r.Subject == subject
	})
}

// union adds entities to a set by key, up to mostNamed; the first one seen stays.
func union(set, more []entity.Entity) []entity.Entity {
	joined := slices.Clone(set)
	for _, e := range more {
		same := func(known entity.Entity) bool {
			return known.ID == e.ID && known.Part == e.Part && known.Key() == e.Key()
		}
		if len(joined) < mostNamed && !slices.ContainsFunc(joined, same) {
			joined = append(joined, e)
		}
	}
	return joined
}

// behind joins the keys of the events behind a finding, up to mostNamed.
func behind(before, more []string) []string {
	if len(before) >= mostNamed {
		return before
	}
	return slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(before), more...))))
}
