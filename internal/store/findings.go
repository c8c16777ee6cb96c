package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// Finding is a finding with what became of it.
type Finding struct {
	finding.Finding
	Incident   string `json:"incident,omitempty"`
	Suppressed string `json:"suppressed,omitempty"` // id of the suppression
}

// FindingFilter selects findings. Empty fields select all.
type FindingFilter struct {
	Incident   string
	Suppressed bool // only those
	Product    finding.Product
	Type       string
	Severity   finding.Severity // at least
	Since      time.Time        // received then or later
	Until      time.Time        // received before
	Limit      int
	Cursor     string
}

// Findings gives a page of findings, the last received first.
func (s *Store) Findings(ctx context.Context, f FindingFilter) (Page[Finding], error) {
	p, err := paging(f.Limit, f.Cursor)
	if err != nil {
		return Page[Finding]{}, err
	}
	var args []any
	conditions := findingConditions(f, &args)
	conditions = append(conditions, p.after(&args, "received", "id")...)
	statement := "SELECT incident, suppressed, body FROM findings" + where(conditions) +
		" ORDER BY received DESC, id DESC LIMIT " + arg(&args, p.limit+1)
	found, err := many(ctx, s.read, scanFinding, statement, args)
	if err != nil {
		return Page[Finding]{}, s.fault("list findings", err)
	}
	return page(p, found, func(f Finding) (int64, string) { return micros(f.Received), f.ID }), nil
}

func findingConditions(f FindingFilter, args *[]any) []string {
	var conditions []string
	if f.Incident != "" {
		conditions = append(conditions, "incident = "+arg(args, text(f.Incident)))
	}
	if f.Suppressed {
		conditions = append(conditions, "suppressed <> ''")
	}
	if f.Product != "" {
		conditions = append(conditions, "product = "+arg(args, text(string(f.Product))))
	}
	if f.Type != "" {
		conditions = append(conditions, "type = "+arg(args, text(f.Type)))
	}
	if f.Severity > finding.Unknown {
		conditions = append(conditions, "severity >= "+arg(args, int64(f.Severity)))
	}
	if !f.Since.IsZero() {
		conditions = append(conditions, "received >= "+arg(args, micros(f.Since)))
	}
	if !f.Until.IsZero() {
		conditions = append(conditions, "received < "+arg(args, micros(f.Until)))
	}
	return conditions
}

func scanFinding(rows *sql.Rows) (Finding, error) {
	var row query.FindingRow
	if err := rows.Scan(&row.Incident, &row.Suppressed, &row.Body); err != nil {
		return Finding{}, err
	}
	return findingOf(row)
}

func findingOf(row query.FindingRow) (Finding, error) {
	f := Finding{Incident: row.Incident, Suppressed: row.Suppressed}
	return f, decode(row.Body, &f.Finding)
}

// Finding gives a finding by its id.
func (s *Store) Finding(ctx context.Context, id string) (Finding, error) {
	row, err := s.q.Finding(ctx, text(id))
	if errors.Is(err, sql.ErrNoRows) {
		return Finding{}, absent("finding", id)
	}
	if err != nil {
		return Finding{}, s.fault("read finding", err)
	}
	return findingOf(row)
}

// FindingEvents gives the events behind a finding with their raw bytes, in the order they were received.
func (s *Store) FindingEvents(ctx context.Context, findingID string) ([]event.Event, error) {
	rows, err := s.q.FindingEvents(ctx, text(findingID))
	if err != nil {
		return nil, s.fault("read events of finding", err)
	}
	events := make([]event.Event, len(rows))
	for i, row := range rows {
		if err := decode(row.Body, &events[i]); err != nil {
			return nil, err
		}
		events[i].Raw = row.Raw
	}
	return events, nil
}

// SaveLetters keeps what could not be read. Of the same bytes in the same format the count rises, and
// they are unread again.
func (tx *Tx) SaveLetters(ctx context.Context, letters []event.Letter) error {
	for _, l := range letters {
		sum := sha256.Sum256(l.Raw)
		format, digest := text(l.Format), hex.EncodeToString(sum[:])
		known, err := tx.q.LetterAgain(ctx, query.LetterAgainParams{
			Format: format, Digest: digest, Received: micros(l.Received), Origin: clean(l.Origin), Reason: clean(l.Reason),
		})
		if err != nil {
			return tx.check("save dead letter", err)
		}
		if known > 0 {
			continue
		}
		err = tx.q.InsertLetter(ctx, query.InsertLetterParams{
			ID: l.ID, Format: format, Digest: digest, Origin: clean(l.Origin), Reason: clean(l.Reason), Raw: blob(l.Raw),
			Received: micros(l.Received), Count: int64(max(1, l.Count)), Replayed: micros(l.Replayed),
		})
		if err != nil {
			return tx.check("save dead letter", err)
		}
	}
	return nil
}

// LetterFilter selects dead letters. Empty fields select all.
type LetterFilter struct {
	Format string
	Unread bool // only those not replayed since they last came
	Limit  int
	Cursor string
}

// Letters gives a page of dead letters, the last received first, without their bytes.
func (s *Store) Letters(ctx context.Context, f LetterFilter) (Page[event.Letter], error) {
	p, err := paging(f.Limit, f.Cursor)
	if err != nil {
		return Page[event.Letter]{}, err
	}
	var args []any
	conditions := p.after(&args, "received", "id")
	if f.Format != "" {
		conditions = append(conditions, "format = "+arg(&args, text(f.Format)))
	}
	if f.Unread {
		conditions = append(conditions, "replayed = 0")
	}
	statement := "SELECT id, format, origin, reason, received, count, replayed FROM letters" + where(conditions) +
		" ORDER BY received DESC, id DESC LIMIT " + arg(&args, p.limit+1)
	found, err := many(ctx, s.read, scanLetter, statement, args)
	if err != nil {
		return Page[event.Letter]{}, s.fault("list dead letters", err)
	}
	return page(p, found, func(l event.Letter) (int64, string) { return micros(l.Received), l.ID }), nil
}

func scanLetter(rows *sql.Rows) (event.Letter, error) {
	var row query.LetterRow
	err := rows.Scan(&row.ID, &row.Format, &row.Origin, &row.Reason, &row.Received, &row.Count, &row.Replayed)
	return letterOf(row), err
}

func letterOf(row query.LetterRow) event.Letter {
	return event.Letter{
		ID: row.ID, Format: row.Format, Origin: row.Origin, Reason: row.Reason, Raw: row.Raw, Received: timeOf(row.Received),
		Count: int(row.Count), Replayed: timeOf(row.Replayed),
	}
}

// Letter gives a dead letter with its bytes.
func (s *Store) Letter(ctx context.Context, id string) (event.Letter, error) {
	row, err := s.q.Letter(ctx, text(id))
	if errors.Is(err, sql.ErrNoRows) {
		return event.Letter{}, absent("dead letter", id)
	}
	return letterOf(row), s.fault("read dead letter", err)
}

// MarkReplayed notes that a dead letter was read after all.
func (s *Store) MarkReplayed(ctx context.Context, id string, now time.Time, records ...record.Record) error {
	return s.Update(ctx, func(tx *Tx) error {
		rows, err := tx.q.MarkReplayed(ctx, text(id), micros(now))
		return tx.one(rows, err, "dead letter", id, records)
	})
}

// DeleteLetter throws a dead letter away.
func (s *Store) DeleteLetter(ctx context.Context, id string, records ...record.Record) error {
	return s.Update(ctx, func(tx *Tx) error {
		rows, err := tx.q.DeleteLetter(ctx, text(id))
		return tx.one(rows, err, "dead letter", id, records)
	})
}

// one ends a change of one named row: NotFound if there was none, else its records are appended.
func (tx *Tx) one(rows int64, err error, what, id string, records []record.Record) error {
	if err != nil {
		return tx.check("change "+what, err)
	}
	if rows == 0 {
		return absent(what, id)
	}
	tx.Append(records...)
	return nil
}
