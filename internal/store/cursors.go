package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/follow"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store/query"
)

const cursorByName = "SELECT name, seq, holder, until, moved, since, error FROM cursors WHERE name = $1"

// Cursor gives a follower's cursor, and makes it at the ledger's end where there is none.
func (s *Store) Cursor(ctx context.Context, name string) (follow.Cursor, error) {
	found, err := many(ctx, s.read, scanCursor, cursorByName, []any{text(name)})
	if err != nil {
		return follow.Cursor{}, s.fault("read cursor", err)
	}
	if len(found) == 1 {
		return found[0], nil
	}
	var made follow.Cursor
	err = s.Update(ctx, func(tx *Tx) error {
		_, err := tx.db.ExecContext(ctx, `INSERT INTO cursors (name, seq, holder, until, moved, since, error)
			SELECT $1, size, '', 0, 0, 0, '' FROM ledger_head WHERE id = 1 ON CONFLICT DO NOTHING`, text(name))
		if err != nil {
			return tx.check("make cursor", err)
		}
		made, err = tx.cursor(ctx, name)
		return err
	})
	return made, err
}

func (tx *Tx) cursor(ctx context.Context, name string) (follow.Cursor, error) {
	found, err := many(ctx, query.DBTX(tx.db), scanCursor, cursorByName, []any{text(name)})
	if err != nil {
		return follow.Cursor{}, tx.check("read cursor", err)
	}
	if len(found) == 0 {
		return follow.Cursor{}, absent("cursor", name)
	}
	return found[0], nil
}

func scanCursor(rows *sql.Rows) (follow.Cursor, error) {
	var c follow.Cursor
	var until, moved, since int64
	err := rows.Scan(&c.Name, &c.Seq, &c.Holder, &until, &moved, &since, &c.Error)
	c.Until, c.Moved, c.Since = timeOf(until), timeOf(moved), timeOf(since)
	return c, err
}

// HoldCursor lets a node move a cursor until a time, if no other node may. Times are the nodes' own, so their
// clocks may differ by less than what is asked for.
func (s *Store) HoldCursor(ctx context.Context, name, node string, until time.Time) (follow.Cursor, bool, error) {
	var held follow.Cursor
	mine := false
	err := s.Update(ctx, func(tx *Tx) error {
		mine = false
		var err error
		if held, err = tx.cursor(ctx, name); err != nil {
			return err
		}
		if held.Holder != "" && held.Holder != node && held.Until.After(s.now()) {
			return nil
		}
		mine, held.Holder, held.Until = true, node, until
		_, err = tx.db.ExecContext(ctx, "UPDATE cursors SET holder = $1, until = $2 WHERE name = $3", text(node), micros(until), text(name))
		return tx.check("hold cursor", err)
	})
	return held, mine, err
}

// MoveCursor keeps where a cursor has come, together with records, if its holder still holds it.
func (s *Store) MoveCursor(ctx context.Context, c follow.Cursor, records ...record.Record) error {
	return s.Update(ctx, func(tx *Tx) error {
		now, err := tx.cursor(ctx, c.Name)
		if err != nil {
			return err
		}
		if now.Holder != text(c.Holder) {
			return fault.New(fault.Conflict, "the cursor of %s is held by %q, not by %q", c.Name, now.Holder, c.Holder)
		}
		_, err = tx.db.ExecContext(ctx, "UPDATE cursors SET seq = $1, moved = $2, since = $3, error = $4 WHERE name = $5",
			c.Seq, micros(c.Moved), micros(c.Since), clean(c.Error), text(c.Name))
		if err != nil {
			return tx.check("move cursor", err)
		}
		tx.Append(records...)
		return nil
	})
}

// LedgerFrom gives entries of the ledger from a number on, in their order.
func (s *Store) LedgerFrom(ctx context.Context, seq int64, most int) ([]ledger.Entry, error) {
	return s.LedgerEntries(ctx, LedgerFilter{From: seq, Limit: most})
}
