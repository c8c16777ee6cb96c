package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// Claim takes a run for a node to execute one leg of, raises its fence and gives its journal. It returns a
// Conflict where the run is no longer at that leg or is not ready.
func (s *Store) Claim(ctx context.Context, runID string, leg int64, node string) (run.Journal, error) {
	var journal run.Journal
	err := s.Update(ctx, func(tx *Tx) error {
		rows, err := tx.q.ClaimRun(ctx, query.ClaimRunParams{ID: text(runID), Leg: leg, Node: text(node), Updated: micros(s.now())})
		if err != nil {
			return tx.check("claim run", err)
		}
		if journal, err = readJournal(ctx, tx.q, runID); err != nil {
			return tx.check("claim run", err)
		}
		if r := journal.Run; rows == 0 {
			return fault.New(fault.Conflict, "run %s is %s at leg %d, it can't be claimed for leg %d", r.ID, r.State, r.Leg, leg)
		}
		return nil
	})
	return journal, err
}

// Load gives a run's journal as it is at one moment.
func (s *Store) Load(ctx context.Context, runID string) (run.Journal, error) {
	var journal run.Journal
	err := s.snapshot(ctx, func(db query.DBTX) (err error) {
		journal, err = readJournal(ctx, query.New(db), runID)
		return s.fault("load run", err)
	})
	return journal, err
}

func readJournal(ctx context.Context, q *query.Queries, runID string) (run.Journal, error) {
	row, err := q.Journal(ctx, text(runID))
	if errors.Is(err, sql.ErrNoRows) {
		return run.Journal{}, absent("run", runID)
	}
	if err != nil {
		return run.Journal{}, err
	}
	j := run.Journal{Playbook: row.Playbook}
	if j.Run, err = runOf(query.RunRow{
		Incident: row.Incident, Leg: row.Leg, Fence: row.Fence, Updated: row.Updated, Body: row.Body,
	}); err != nil {
		return j, err
	}
	if row.Finding.Valid {
		if err := decode(row.Finding.String, &j.Finding); err != nil {
			return j, err
		}
	}
	if row.IncidentBody.Valid {
		if j.Incident, err = incidentOf(query.IncidentRow{
			State: row.IncidentState.String, MergedInto: row.MergedInto.String, Updated: row.IncidentUpdated.Int64,
			Body: row.IncidentBody.String, Entities: row.Entities.String,
		}); err != nil {
			return j, err
		}
	}
	parts, err := q.JournalParts(ctx, j.Run.ID)
	if err != nil {
		return j, err
	}
	for _, part := range parts {
		if err := addPart(&j, part); err != nil {
			return j, err
		}
	}
	return j, nil
}

func addPart(j *run.Journal, part query.JournalPartsRow) error {
	if part.Part == 0 {
		j.Steps = append(j.Steps, run.Step{})
		return decode(part.Body, &j.Steps[len(j.Steps)-1])
	}
	a, err := approvalOf(query.ApprovalRow{Incident: part.Incident, Body: part.Body})
	j.Approvals = append(j.Approvals, a)
	return err
}

// Write adds an entry to a run's journal in one transaction, with its records. It returns a Conflict where
// another claimed the run since, where the run is at another leg (the entry's may be the next: it advances
// the run) or over; and a *run.CapReached where a cap is used up.
func (s *Store) Write(ctx context.Context, e run.Entry) error {
	return s.Update(ctx, func(tx *Tx) error { return tx.write(ctx, e) })
}

func (tx *Tx) write(ctx context.Context, e run.Entry) error {
	if err := tx.advance(ctx, e.Run); err != nil {
		return err
	}
	if err := tx.spend(ctx, e); err != nil {
		return err
	}
	for i := range e.Steps {
		if err := tx.saveStep(ctx, &e.Steps[i]); err != nil {
			return err
		}
	}
	for i := range e.Approvals {
		if err := tx.saveApproval(ctx, e.Run.ID, &e.Approvals[i]); err != nil {
			return err
		}
	}
	for _, other := range e.Starts {
		if _, err := tx.insertRun(ctx, other, claim{}); err != nil {
			return err
		}
	}
	if e.Incident != nil {
		if err := tx.mark(ctx, *e.Incident, e.Run); err != nil {
			return err
		}
	}
	tx.Append(e.Records...)
	return nil
}

// advance writes the run itself, if it is still the writer's.
func (tx *Tx) advance(ctx context.Context, r run.Run) error {
	body, err := encode(r)
	if err != nil {
		return err
	}
	tx.db.expect(1)
	rows, err := tx.q.AdvanceRun(ctx, query.AdvanceRunParams{
		ID: text(r.ID), Fence: r.Fence, Leg: r.Leg, State: string(r.State), Wake: wakeOf(r), Ready: readyOf(r),
		Updated: micros(r.Updated), Body: body,
	})
	if err != nil || rows == 1 {
		return tx.check("write run", err)
	}
	row, err := tx.q.Run(ctx, text(r.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return absent("run", r.ID)
	}
	if err != nil {
		return tx.check("write run", err)
	}
	now, err := runOf(row)
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "run %s is %s at leg %d with fence %d; leg %d with fence %d may not write to it",
		r.ID, now.State, now.Leg, now.Fence, r.Leg, r.Fence)
}

// spend checks the caps, then adds the effects. A step that is tried again spends once: its effect takes the
// place of its earlier one.
func (tx *Tx) spend(ctx context.Context, e run.Entry) error {
	for _, effect := range e.Effects {
		if err := tx.q.DeleteEffect(ctx, effect.Run, text(effect.Step)); err != nil {
			return tx.check("save effect", err)
		}
	}
	for _, c := range e.Caps {
		used, err := used(ctx, tx.q, c)
		if err != nil {
			return tx.check("count effects", err)
		}
		if used >= c.Most {
			return &run.CapReached{Cap: c, Used: used}
		}
	}
	for _, effect := range e.Effects {
		err := tx.q.SaveEffect(ctx, query.SaveEffectParams{
			Run: effect.Run, Step: text(effect.Step), At: micros(effect.Time), Playbook: text(effect.Playbook), Action: text(effect.Action),
			Account: text(effect.Account), Region: text(effect.Region), Kind: text(effect.Kind), Target: text(effect.Target),
		})
		if err != nil {
			return tx.check("save effect", err)
		}
	}
	return nil
}

func (tx *Tx) saveStep(ctx context.Context, step *run.Step) error {
	body, err := encode(step)
	if err != nil {
		return err
	}
	saved := tx.q.SaveStep(ctx, query.SaveStepParams{Run: text(step.Run), ID: text(step.ID), Pos: int64(step.Order), Body: body})
	if err := tx.check("save step", saved); err != nil || step.State != run.Undone {
		return err
	}
	return tx.check("undo effect", tx.q.UndoEffect(ctx, text(step.Run), text(step.ID)))
}

func (tx *Tx) saveApproval(ctx context.Context, runID string, a *run.Approval) error {
	body, err := encode(a)
	if err != nil {
		return err
	}
	return tx.check("save approval", tx.q.SaveApproval(ctx, query.SaveApprovalParams{
		ID: text(a.ID), Run: text(runID), Answer: string(a.Answer), Asked: micros(a.Asked), Body: body,
	}))
}

// mark notes on a run's incident what the run says about it.
func (tx *Tx) mark(ctx context.Context, m run.IncidentMark, r run.Run) error {
	row, err := tx.q.IncidentOfRun(ctx, text(r.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return nil // a run by hand may have none
	}
	if err != nil {
		return tx.check("read incident", err)
	}
	i, err := incidentOf(query.IncidentRow{State: row.State, MergedInto: row.MergedInto, Updated: row.Updated, Body: row.Body})
	if err != nil {
		return err
	}
	contains := m.Contained && i.State == incident.Open
	escalates := m.Escalated && !i.Escalated
	if !contains && !escalates {
		return nil
	}
	if contains {
		i.State = incident.Contained
	}
	i.Escalated = i.Escalated || m.Escalated
	i.Updated = r.Updated
	body, err := encode(i)
	if err != nil {
		return err
	}
	return tx.check("mark incident", tx.q.MarkIncident(ctx, query.MarkIncidentParams{
		ID: i.ID, State: string(i.State), Updated: micros(i.Updated), Body: body,
	}))
}

// CreateRun keeps a run that a person started, with the version of the playbook it keeps. It returns a
// Conflict where its incident has a run of that playbook about that subject.
func (s *Store) CreateRun(ctx context.Context, r run.Run, v run.Version, records ...record.Record) error {
	return s.Update(ctx, func(tx *Tx) error {
		if err := tx.q.InsertVersion(ctx, text(v.Name), v.Hash, blob(v.Text)); err != nil {
			return tx.check("save playbook version", err)
		}
		fresh, err := tx.insertRun(ctx, r, claim{})
		if err != nil {
			return err
		}
		if !fresh {
			return fault.New(fault.Conflict, "incident %s has a run of %s about %q already", r.Incident, r.Playbook, r.Subject)
		}
		tx.Append(records...)
		return nil
	})
}

// Used tells how much of a cap is used, by effects that were not undone.
func (s *Store) Used(ctx context.Context, c run.Cap) (int, error) {
	count, err := used(ctx, s.q, c)
	return count, s.fault("count effects", err)
}

func used(ctx context.Context, q *query.Queries, c run.Cap) (int, error) {
	since, playbook, account, region, kind := micros(c.Since), text(c.Playbook), text(c.Account), text(c.Region), text(c.Kind)
	var count int64
	var err error
	switch c.Measure {
	case run.Changes:
		count, err = q.CountChanges(ctx, query.CountChangesParams{
			Since: since, Playbook: playbook, Account: account, Region: region, Kind: kind,
		})
	case run.Targets:
		count, err = q.CountTargets(ctx, query.CountTargetsParams{
			Since: since, Itself: text(c.Itself), Playbook: playbook, Account: account, Region: region, Kind: kind,
		})
	case run.Accounts:
		count, err = q.CountAccounts(ctx, query.CountAccountsParams{
			Since: since, Itself: text(c.Itself), Playbook: playbook, Account: account, Region: region, Kind: kind,
		})
	default:
		err = fault.New(fault.Invalid, "cap %s measures %q, which nobody counts", c.Name, c.Measure)
	}
	return int(count), err
}
