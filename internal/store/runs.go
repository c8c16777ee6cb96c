package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// RunFilter selects runs. Empty fields select all.
type RunFilter struct {
	States   []run.State
	Incident string
	Playbook string
	Limit    int
	Cursor   string
}

// Runs gives a page of runs, the last created first.
func (s *Store) Runs(ctx context.Context, f RunFilter) (Page[run.Run], error) {
	p, err := paging(f.Limit, f.Cursor)
	if err != nil {
		return Page[run.Run]{}, err
	}
	var args []any
	conditions := p.after(&args, "r.created", "r.id")
	if f.Incident != "" {
		conditions = append(conditions, "r.incident = "+arg(&args, text(f.Incident)))
	}
	if f.Playbook != "" {
		conditions = append(conditions, "r.playbook = "+arg(&args, text(f.Playbook)))
	}
	const order = " ORDER BY r.created DESC, r.id DESC LIMIT "
	statement := runColumns + " FROM runs r" + where(conditions) + order + arg(&args, p.limit+1)
	if len(f.States) > 0 {
		args = args[:len(args)-1]
		choice := "SELECT r.id, r.created AS at FROM runs r"
		ids := eachState(choice, "r.state", f.States, conditions, order, p.limit+1, &args)
		statement = runColumns + " FROM (" + ids + ") c JOIN runs r ON r.id = c.id ORDER BY c.at DESC, c.id DESC"
	}
	found, err := many(ctx, s.read, scanRun, statement, args)
	if err != nil {
		return Page[run.Run]{}, s.fault("list runs", err)
	}
	return page(p, found, func(r run.Run) (int64, string) { return micros(r.Created), r.ID }), nil
}

// RunsOfIncident gives all runs of an incident, the last created first.
func (s *Store) RunsOfIncident(ctx context.Context, incidentID string) ([]run.Run, error) {
	statement := runColumns + " FROM runs r WHERE r.incident = $1 ORDER BY r.created DESC, r.id DESC"
	found, err := many(ctx, s.read, scanRun, statement, []any{text(incidentID)})
	return found, s.fault("list runs of incident", err)
}

// patience is how many times stale a ready run may be, whose node lives and has claimed it: it is most
// likely in the middle of a long step.
const patience = 8

// Due gives runs that somebody should look at: those whose wake has come, and ready ones that were not
// touched for stale. One that a living node has claimed is left to that node for longer.
func (s *Store) Due(ctx context.Context, now time.Time, stale time.Duration, limit int) ([]run.Run, error) {
	most := int32(min(max(limit, 0), mostLimit))
	waking, err := s.q.DueWake(ctx, micros(now), most)
	if err != nil {
		return nil, s.fault("look for due runs", err)
	}
	ready, err := s.q.DueReady(ctx, micros(now.Add(-stale)), micros(now.Add(-patience*stale)), most)
	if err != nil {
		return nil, s.fault("look for due runs", err)
	}
	due := make([]run.Run, 0, len(waking)+len(ready))
	for _, row := range waking {
		r, err := runOf(query.RunRow(row))
		if err != nil {
			return nil, err
		}
		due = append(due, r)
	}
	for _, row := range ready {
		r, err := runOf(query.RunRow(row))
		if err != nil {
			return nil, err
		}
		due = append(due, r)
	}
	return due[:min(len(due), int(most))], nil
}

// Effect is an applied change, as budgets count it.
type Effect struct {
	run.Effect
	Undone bool
}

// EffectFilter selects effects. Empty fields select all.
type EffectFilter struct {
	Run      string
	Playbook string
	Account  string
	Since    time.Time
	Limit    int
}

// Effects gives the newest effects, the latest first.
func (s *Store) Effects(ctx context.Context, f EffectFilter) ([]Effect, error) {
	p, err := paging(f.Limit, "")
	if err != nil {
		return nil, err
	}
	var args []any
	var conditions []string
	if f.Run != "" {
		conditions = append(conditions, "run = "+arg(&args, text(f.Run)))
	}
	if f.Playbook != "" {
		conditions = append(conditions, "playbook = "+arg(&args, text(f.Playbook)))
	}
	if f.Account != "" {
		conditions = append(conditions, "account = "+arg(&args, text(f.Account)))
	}
	if !f.Since.IsZero() {
		conditions = append(conditions, "at >= "+arg(&args, micros(f.Since)))
	}
	statement := "SELECT run, step, at, playbook, action, account, region, kind, target, undone FROM effects" +
		where(conditions) + " ORDER BY at DESC, run DESC, step DESC LIMIT " + arg(&args, p.limit)
	found, err := many(ctx, s.read, scanEffect, statement, args)
	return found, s.fault("list effects", err)
}

func scanEffect(rows *sql.Rows) (Effect, error) {
	var e Effect
	var at int64
	err := rows.Scan(&e.Run, &e.Step, &at, &e.Playbook, &e.Action, &e.Account, &e.Region, &e.Kind, &e.Target, &e.Undone)
	e.Time = timeOf(at)
	return e, err
}

// Approval gives a question to a person.
func (s *Store) Approval(ctx context.Context, id string) (run.Approval, error) {
	row, err := s.q.Approval(ctx, text(id))
	if errors.Is(err, sql.ErrNoRows) {
		return run.Approval{}, absent("approval", id)
	}
	if err != nil {
		return run.Approval{}, s.fault("read approval", err)
	}
	return approvalOf(row)
}

func approvalOf(row query.ApprovalRow) (run.Approval, error) {
	var a run.Approval
	err := decode(row.Body, &a)
	a.Incident = row.Incident
	return a, err
}

// ApprovalFilter selects approvals. Empty fields select all.
type ApprovalFilter struct {
	Answer   run.Answer
	Incident string
	Run      string
	Limit    int
	After    string // the id of an approval: only those that come after it in the list
}

// Approvals gives questions to people, the last asked first.
func (s *Store) Approvals(ctx context.Context, f ApprovalFilter) ([]run.Approval, error) {
	p, err := paging(f.Limit, "")
	if err != nil {
		return nil, err
	}
	if f.After != "" {
		last, err := s.Approval(ctx, f.After)
		if err != nil {
			return nil, err
		}
		p.given, p.at, p.id = true, micros(last.Asked), text(last.ID)
	}
	var args []any
	conditions := p.after(&args, "asked", "id")
	if f.Answer != "" {
		conditions = append(conditions, "answer = "+arg(&args, string(f.Answer)))
	}
	if f.Incident != "" {
		conditions = append(conditions, "incident = "+arg(&args, text(f.Incident)))
	}
	if f.Run != "" {
		conditions = append(conditions, "run = "+arg(&args, text(f.Run)))
	}
	statement := "SELECT incident, body FROM approvals" + where(conditions) + " ORDER BY asked DESC, id DESC LIMIT " + arg(&args, p.limit)
	found, err := many(ctx, s.read, scanApproval, statement, args)
	return found, s.fault("list approvals", err)
}

func scanApproval(rows *sql.Rows) (run.Approval, error) {
	var row query.ApprovalRow
	if err := rows.Scan(&row.Incident, &row.Body); err != nil {
		return run.Approval{}, err
	}
	return approvalOf(row)
}

// ReadyOf gives the ready runs that a node claimed for the leg they are at and has had nothing to do with since
// before.
func (s *Store) ReadyOf(ctx context.Context, node string, before time.Time, limit int) ([]run.Run, error) {
	const doing = "look for runs of a node"
	rows, err := s.q.ReadyOf(ctx, micros(before), text(node), int32(min(max(limit, 0), mostLimit)))
	if err != nil {
		return nil, s.fault(doing, err)
	}
	runs := make([]run.Run, 0, len(rows))
	for _, row := range rows {
		r, err := runOf(query.RunRow(row))
		if err != nil {
			return nil, s.fault(doing, err)
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// Beat notes that a node lives.
func (s *Store) Beat(ctx context.Context, node string, now time.Time) error {
	return s.Update(ctx, func(tx *Tx) error { return tx.check("beat", tx.q.SaveBeat(ctx, text(node), micros(now))) })
}

// Lost gives the nodes whose last beat is older than before.
func (s *Store) Lost(ctx context.Context, before time.Time) ([]string, error) {
	nodes, err := s.q.Lost(ctx, micros(before))
	return nodes, s.fault("look for lost nodes", err)
}

// Bury declares a node dead. Of several callers one gets true, and its record is kept. A node that was
// only slow is known again from its next beat; what it still writes to runs that were taken over is refused.
func (s *Store) Bury(ctx context.Context, node, _ string, rec record.Record) (bool, error) {
	var mine bool
	err := s.Update(ctx, func(tx *Tx) error {
		rows, err := tx.q.Bury(ctx, text(node))
		if mine = rows > 0; mine {
			tx.Append(rec)
		}
		return tx.check("bury node", err)
	})
	return mine && err == nil, err
}
