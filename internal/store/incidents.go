package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
)

// name makes an incident findable by entities.
func (tx *Tx) name(ctx context.Context, i *incident.Incident, entities []entity.Entity) error {
	seen := map[string]bool{}
	var rows []any
	for _, e := range entities {
		for _, name := range []string{text(e.Key()), text(e.ID)} {
			if !seen[name] {
				seen[name] = true
				rows = append(rows, name, micros(i.Opened), i.ID)
			}
		}
	}
	err := insert(ctx, tx.db, "INSERT INTO incident_names (name, opened, incident) VALUES ", " ON CONFLICT DO NOTHING", 3, rows)
	return tx.check("name incident", err)
}

// Incident gives an incident with its entities. One that was merged is given as such.
func (s *Store) Incident(ctx context.Context, id string) (incident.Incident, error) {
	row, err := s.q.Incident(ctx, text(id))
	if errors.Is(err, sql.ErrNoRows) {
		return incident.Incident{}, absent("incident", id)
	}
	if err != nil {
		return incident.Incident{}, s.fault("read incident", err)
	}
	return incidentOf(row)
}

// UpdateIncident lets change alter an incident and keeps it together with records. An error of change
// leaves it as it was. It returns the incident as it then is. change may be called again.
func (s *Store) UpdateIncident(ctx context.Context, id string, change func(*incident.Incident) error, records ...record.Record) (incident.Incident, error) {
	var changed incident.Incident
	err := s.Update(ctx, func(tx *Tx) error {
		row, err := tx.q.Incident(ctx, text(id))
		if errors.Is(err, sql.ErrNoRows) {
			return absent("incident", id)
		}
		if err != nil {
			return tx.check("read incident", err)
		}
		if changed, err = incidentOf(row); err != nil {
			return err
		}
		if err := change(&changed); err != nil {
			return err
		}
		if _, err := tx.saveIncident(ctx, &changed); err != nil {
			return err
		}
		tx.Append(records...)
		return nil
	})
	return changed, err
}

// IncidentFilter selects incidents. Empty fields select all.
type IncidentFilter struct {
	States   []incident.State
	Severity finding.Severity // at least
	Account  string
	Owner    string
	Text     string    // part of the title, in any case
	Since    time.Time // opened then or later
	Until    time.Time // opened before
	Entity   string    // an entity's id, or its key
	Limit    int
	Cursor   string
}

// Incidents gives a page of incidents, the last opened first, without their entities.
func (s *Store) Incidents(ctx context.Context, f IncidentFilter) (Page[incident.Incident], error) {
	p, err := paging(f.Limit, f.Cursor)
	if err != nil {
		return Page[incident.Incident]{}, err
	}
	states := f.States
	if len(states) == 0 {
		states = []incident.State{incident.Open, incident.Contained, incident.Closed, incident.Merged}
	}
	var args []any
	from, opened := "incidents i", "i.opened"
	if f.Entity != "" {
		from = "incident_names n JOIN incidents i ON i.id = n.incident"
		opened = "n.opened"
	}
	conditions := incidentConditions(f, &args)
	conditions = append(conditions, p.after(&args, opened, "i.id")...)
	if !f.Since.IsZero() {
		conditions = append(conditions, opened+" >= "+arg(&args, micros(f.Since)))
	}
	if !f.Until.IsZero() {
		conditions = append(conditions, opened+" < "+arg(&args, micros(f.Until)))
	}
	choice := "SELECT i.id, " + opened + " AS at FROM " + from
	var ids string
	if f.Entity != "" || f.Account != "" { // few, and found by that
		conditions = append(conditions, "i.state IN ("+list(&args, states)+")")
		ids = choice + where(conditions) + " ORDER BY " + opened + " DESC, i.id DESC LIMIT " + arg(&args, p.limit+1)
	} else {
		ids = eachState(choice, "i.state", states, conditions, " ORDER BY i.opened DESC, i.id DESC LIMIT ", p.limit+1, &args)
	}
	statement := strings.Replace(incidentColumns, "i.entities", "''", 1) + " FROM (" + ids + ") c JOIN incidents i ON i.id = c.id ORDER BY c.at DESC, c.id DESC"
	found, err := many(ctx, s.read, scanIncident, statement, args)
	if err != nil {
		return Page[incident.Incident]{}, s.fault("list incidents", err)
	}
	return page(p, found, func(i incident.Incident) (int64, string) { return micros(i.Opened), i.ID }), nil
}

func incidentConditions(f IncidentFilter, args *[]any) []string {
	var conditions []string
	if f.Severity > finding.Unknown {
		conditions = append(conditions, "i.severity >= "+arg(args, int64(f.Severity)))
	}
	if f.Account != "" {
		conditions = append(conditions, "i.account = "+arg(args, text(f.Account)))
	}
	if f.Owner != "" {
		conditions = append(conditions, "i.owner = "+arg(args, text(f.Owner)))
	}
	if f.Text != "" {
		conditions = append(conditions, "i.title LIKE "+arg(args, contains(f.Text))+" ESCAPE '!'")
	}
	if f.Entity != "" {
		conditions = append(conditions, "n.name = "+arg(args, text(f.Entity)))
	}
	return conditions
}
