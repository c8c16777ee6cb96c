package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// mostListed bounds the values of one IN list.
const mostListed = 500

// Finding gives the finding of a fingerprint and the incident it is in, "" if none.
func (tx *Tx) Finding(ctx context.Context, fingerprint string) (found finding.Finding, incidentID string, known bool, err error) {
	row, err := tx.q.FindingByFingerprint(ctx, text(fingerprint))
	if errors.Is(err, sql.ErrNoRows) {
		return finding.Finding{}, "", false, nil
	}
	if err != nil {
		return finding.Finding{}, "", false, tx.check("read finding", err)
	}
	return found, row.Incident, true, decode(row.Body, &found)
}

// Candidates gives the incidents that are open or contained and have a finding that saw one of the entities
// between from and to; and the incident also, if it is open or contained, whatever it shares. The oldest
// comes first. They have their entities.
func (tx *Tx) Candidates(ctx context.Context, keys []string, from, to time.Time, also string) ([]incident.Incident, error) {
	found := map[string]incident.Incident{}
	for chunk := range slices.Chunk(texts(keys), mostListed) {
		args := []any{micros(from), micros(to)}
		statement := incidentColumns + ` FROM incidents i WHERE i.state IN ('open', 'contained') AND i.id IN (
			SELECT f.incident FROM finding_names n JOIN findings f ON f.id = n.finding
			WHERE n.last_seen >= $1 AND n.first_seen <= $2 AND n.name IN (` + list(&args, chunk) + `))`
		if err := tx.candidates(ctx, found, statement, args); err != nil {
			return nil, err
		}
	}
	if _, known := found[also]; also != "" && !known {
		statement := incidentColumns + ` FROM incidents i WHERE i.id = $1 AND i.state IN ('open', 'contained')`
		if err := tx.candidates(ctx, found, statement, []any{also}); err != nil {
			return nil, err
		}
	}
	candidates := make([]incident.Incident, 0, len(found))
	for _, candidate := range found {
		candidates = append(candidates, candidate)
	}
	slices.SortFunc(candidates, func(a, b incident.Incident) int {
		return cmp.Or(a.Opened.Compare(b.Opened), strings.Compare(a.ID, b.ID))
	})
	return candidates, nil
}

func (tx *Tx) candidates(ctx context.Context, into map[string]incident.Incident, statement string, args []any) error {
	rows, err := many(ctx, tx.db, scanIncident, statement, args)
	if err != nil {
		return tx.check("read candidate incidents", err)
	}
	for _, row := range rows {
		into[row.ID] = row
	}
	return nil
}

// RunsOf gives the runs of incidents, oldest first.
func (tx *Tx) RunsOf(ctx context.Context, incidents []string) ([]run.Run, error) {
	var runs []run.Run
	for chunk := range slices.Chunk(incidents, mostListed) {
		var args []any
		statement := runColumns + ` FROM runs r WHERE r.incident IN (` + list(&args, chunk) + `) ORDER BY r.created, r.id`
		found, err := many(ctx, tx.db, scanRun, statement, args)
		if err != nil {
			return nil, tx.check("read runs of incidents", err)
		}
		runs = append(runs, found...)
	}
	return runs, nil
}

// Save keeps a decision: the finding (by its fingerprint), the events behind it, its incident, what was
// merged into that, the runs to start and the records. A run of the same playbook about the same subject
// in the same incident is there already: it is left out, with its records.
func (tx *Tx) Save(ctx context.Context, d run.Decision) error {
	if err := tx.saveFinding(ctx, d); err != nil {
		return err
	}
	if d.Incident != nil {
		if err := tx.saveDecided(ctx, d); err != nil {
			return err
		}
	}
	for _, v := range d.Versions {
		if err := tx.q.InsertVersion(ctx, text(v.Name), v.Hash, blob(v.Text)); err != nil {
			return tx.check("save playbook version", err)
		}
	}
	doubled := map[string]bool{}
	for _, r := range d.Runs {
		fresh, err := tx.saveRun(ctx, r, d.Versions)
		if err != nil {
			return err
		}
		doubled[r.ID] = !fresh
	}
	for _, rec := range d.Records {
		if rec.Run == "" || !doubled[rec.Run] {
			tx.Append(rec)
		}
	}
	return nil
}

func (tx *Tx) saveFinding(ctx context.Context, d run.Decision) error {
	f := d.Finding
	body, err := encode(f)
	if err != nil {
		return err
	}
	in := ""
	if d.Incident != nil {
		in = d.Incident.ID
	}
	id, err := tx.q.UpdateFinding(ctx, query.UpdateFindingParams{
		Fingerprint: text(f.Fingerprint), Incident: in, Suppressed: text(d.Suppressed), Severity: int64(f.Severity), Body: body,
	})
	if errors.Is(err, sql.ErrNoRows) {
		id = f.ID
		err = tx.q.InsertFinding(ctx, query.InsertFindingParams{
			ID: f.ID, Fingerprint: text(f.Fingerprint), Incident: in, Suppressed: text(d.Suppressed), Product: text(string(f.Product)),
			Type: text(f.Type), Severity: int64(f.Severity), Received: micros(f.Received), Body: body,
		})
	}
	if err != nil {
		return tx.check("save finding", err)
	}
	tx.begun.sawFinding(id, body)
	if err := tx.nameFinding(ctx, id, &f); err != nil {
		return err
	}
	for i := range d.Events {
		if err := tx.saveEvent(ctx, id, &d.Events[i]); err != nil {
			return err
		}
	}
	return nil
}

// nameFinding keeps when a finding saw its entities. What it saw decides what belongs together, not what its
// incident did: so the order in which findings come doesn't matter.
func (tx *Tx) nameFinding(ctx context.Context, id string, f *finding.Finding) error {
	seen := map[string]bool{}
	var rows []any
	for _, e := range f.Entities {
		if name := text(e.Key()); e.Groups() && !seen[name] {
			seen[name] = true
			rows = append(rows, name, id, micros(f.FirstSeen), micros(f.LastSeen))
		}
	}
	err := insert(ctx, tx.db, "INSERT INTO finding_names (name, finding, first_seen, last_seen) VALUES ",
		" ON CONFLICT (name, finding) DO UPDATE SET first_seen = excluded.first_seen, last_seen = excluded.last_seen", 4, rows)
	return tx.check("name finding", err)
}

func (tx *Tx) saveEvent(ctx context.Context, findingID string, e *event.Event) error {
	body, err := encode(e)
	if err != nil {
		return err
	}
	key := text(e.Key)
	saved := tx.q.InsertEvent(ctx, query.InsertEventParams{Key: key, Received: micros(e.Received), Body: body, Raw: blob(e.Raw)})
	if err := tx.check("save event", saved); err != nil {
		return err
	}
	return tx.check("link event", tx.q.LinkEvent(ctx, findingID, key))
}

// saveDecided keeps a decision's incident and brings what was merged into it along.
func (tx *Tx) saveDecided(ctx context.Context, d run.Decision) error {
	fresh, err := tx.saveIncident(ctx, d.Incident)
	if err != nil {
		return err
	}
	named := d.Finding.Entities // the others have their names already
	if fresh {
		named = d.Incident.Entities
	}
	if err := tx.name(ctx, d.Incident, named); err != nil {
		return err
	}
	for _, merged := range d.Merge {
		if err := tx.merge(ctx, merged, d.Incident); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) merge(ctx context.Context, merged string, into *incident.Incident) error {
	const doing = "merge incident"
	tx.begun.sawMerged(merged)
	moves := []func() error{
		func() error { return tx.q.MoveMerged(ctx, into.ID, merged) },
		func() error { _, err := tx.q.MergeIncident(ctx, merged, into.ID, micros(into.Updated)); return err },
		func() error { return tx.q.MoveFindings(ctx, into.ID, merged) },
		func() error { return tx.q.MoveRuns(ctx, into.ID, merged) },
		func() error { return tx.q.MoveApprovals(ctx, into.ID, merged) },
		func() error { return tx.q.CopyNames(ctx, micros(into.Opened), into.ID, merged) },
	}
	for _, move := range moves {
		if err := tx.check(doing, move()); err != nil {
			return err
		}
	}
	return nil
}

// saveRun adds a run that was decided, claimed where the job begins runs, and reports whether it was not there
// already.
func (tx *Tx) saveRun(ctx context.Context, r run.Run, versions []run.Version) (fresh bool, err error) {
	var by claim
	if tx.begun.node != "" && r.State == run.Ready {
		by = claim{node: tx.begun.node, leg: r.Leg}
		r.Fence++
	}
	if fresh, err = tx.insertRun(ctx, r, by); fresh && by.node != "" {
		tx.begun.sawRun(r, versions)
	}
	return fresh, err
}

// claim is by whom a run is claimed, and for which leg.
type claim struct {
	node string
	leg  int64
}

// insertRun adds a run, and reports whether it was not there already.
func (tx *Tx) insertRun(ctx context.Context, r run.Run, by claim) (fresh bool, err error) {
	body, err := encode(r)
	if err != nil {
		return false, err
	}
	tx.db.expect(1)
	rows, err := tx.q.InsertRun(ctx, query.InsertRunParams{
		ID: r.ID, BeganIn: r.Incident, Incident: r.Incident, Finding: r.Finding, Playbook: text(r.Playbook), Hash: r.Hash,
		Subject: text(r.Subject), State: string(r.State), Node: by.node, Claimed: by.leg, Leg: r.Leg, Fence: r.Fence,
		Wake: wakeOf(r), Ready: readyOf(r), Created: micros(r.Created), Updated: micros(r.Updated), Body: body,
	})
	return rows == 1, tx.check("save run", err)
}

// wakeOf is when a run that waits is to be looked at, 0 for never.
func wakeOf(r run.Run) int64 {
	if r.State != run.Waiting && r.State != run.Held {
		return 0
	}
	return micros(r.Wake)
}

// readyOf is since when a run has been ready without anybody having to do with it, 0 unless it is ready.
func readyOf(r run.Run) int64 {
	if r.State != run.Ready {
		return 0
	}
	return micros(r.Updated)
}

// scanRun reads runColumns.
func scanRun(rows *sql.Rows) (run.Run, error) {
	var row query.RunRow
	if err := rows.Scan(&row.Incident, &row.Leg, &row.Fence, &row.Updated, &row.Body); err != nil {
		return run.Run{}, err
	}
	return runOf(row)
}

const runColumns = `SELECT r.incident, r.leg, r.fence, r.updated, r.body`

// runOf gives the run of a row, whose columns prevail.
func runOf(row query.RunRow) (run.Run, error) {
	var r run.Run
	err := decode(row.Body, &r)
	r.Incident, r.Leg, r.Fence = row.Incident, row.Leg, row.Fence
	if updated := timeOf(row.Updated); micros(r.Updated) != row.Updated {
		r.Updated = updated
	}
	return r, err
}

const incidentColumns = `SELECT i.id, i.state, i.merged_into, i.updated, i.body, i.entities`

// scanIncident reads incidentColumns.
func scanIncident(rows *sql.Rows) (incident.Incident, error) {
	var id string
	var row query.IncidentRow
	if err := rows.Scan(&id, &row.State, &row.MergedInto, &row.Updated, &row.Body, &row.Entities); err != nil {
		return incident.Incident{}, err
	}
	return incidentOf(row)
}

// incidentOf gives the incident of a row, whose columns prevail.
func incidentOf(row query.IncidentRow) (incident.Incident, error) {
	var i incident.Incident
	if err := decode(row.Body, &i); err != nil {
		return i, err
	}
	i.State, i.MergedInto = incident.State(row.State), row.MergedInto
	if micros(i.Updated) != row.Updated {
		i.Updated = timeOf(row.Updated)
	}
	if row.Entities != "" {
		return i, decode(row.Entities, &i.Entities)
	}
	return i, nil
}

// saveIncident inserts or replaces an incident, and reports whether it is new.
func (tx *Tx) saveIncident(ctx context.Context, i *incident.Incident) (fresh bool, err error) {
	bare := *i
	bare.Entities = nil
	var enc encoder
	body, entities := enc.body(bare), enc.body(i.Entities)
	if enc.err != nil {
		return false, enc.err
	}
	tx.begun.sawIncident(i, body, entities)
	title := text(strings.ToLower(i.Title))
	rows, err := tx.q.UpdateIncident(ctx, query.UpdateIncidentParams{
		ID: i.ID, State: string(i.State), Severity: int64(i.Severity), Account: text(i.Account), Owner: text(i.Owner), Title: title,
		FirstSeen: micros(i.FirstSeen), LastSeen: micros(i.LastSeen), Updated: micros(i.Updated), MergedInto: i.MergedInto,
		Body: body, Entities: entities,
	})
	if err != nil || rows == 1 {
		return false, tx.check("save incident", err)
	}
	return true, tx.check("save incident", tx.q.InsertIncident(ctx, query.InsertIncidentParams{
		ID: i.ID, State: string(i.State), Severity: int64(i.Severity), Account: text(i.Account), Owner: text(i.Owner), Title: title,
		FirstSeen: micros(i.FirstSeen), LastSeen: micros(i.LastSeen), Opened: micros(i.Opened), Updated: micros(i.Updated),
		MergedInto: i.MergedInto, Body: body, Entities: entities,
	}))
}
