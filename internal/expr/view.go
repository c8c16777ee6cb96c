package expr

import (
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
)

// ViewFinding is a finding as expressions see it: its fields, and for each kind of entity the id of the
// first one (targets before others), such as finding.access_key. A kind that is not there is absent, so
// reading it is an error; finding.has("access_key") asks first.
func ViewFinding(f *finding.Finding) map[string]any {
	view := map[string]any{
		"id": f.ID, "type": f.Type, "product": string(f.Product), "title": f.Title, "description": f.Description,
		"severity": int64(f.Severity), "count": int64(f.Count), "account": f.Account, "region": f.Region,
		"rule": f.Rule, "techniques": f.Attack, "tactics": f.Tactics,
		"first_seen": f.FirstSeen, "last_seen": f.LastSeen, "resolved": f.Resolved,
		"reference": f.Reference,
	}
	entities := make([]map[string]any, 0, len(f.Entities))
	for _, e := range f.Entities {
		entities = append(entities, map[string]any{
			"kind": string(e.Kind), "id": e.ID, "part": string(e.Part), "account": e.Account, "region": e.Region,
			"arn": e.ARN, "derived": e.Derived,
		})
		if _, taken := view[string(e.Kind)]; !taken {
			if first, ok := f.Entity(e.Kind); ok {
				view[string(e.Kind)] = first.ID
			}
		}
	}
	view["entities"] = entities
	return view
}

// FindingFields gives what an expression may read of a finding.
func FindingFields() map[string]Type {
	fields := ofView(ViewFinding(&finding.Finding{}))
	for _, kind := range entity.Kinds() {
		if _, taken := fields[string(kind)]; !taken {
			fields[string(kind)] = Text
		}
	}
	return fields
}

// ViewIncident is an incident as expressions see it.
func ViewIncident(i *incident.Incident) map[string]any {
	return map[string]any{
		"id": i.ID, "title": i.Title, "severity": int64(i.Severity), "state": string(i.State),
		"account": i.Account, "region": i.Region, "owner": i.Owner, "escalated": i.Escalated,
		"first_seen": i.FirstSeen, "last_seen": i.LastSeen, "findings": int64(i.Findings), "verdict": string(i.Verdict),
	}
}

// IncidentFields gives what an expression may read of an incident.
func IncidentFields() map[string]Type { return ofView(ViewIncident(&incident.Incident{})) }
