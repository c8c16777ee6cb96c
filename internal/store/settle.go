package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// unsureError says that the connection was lost in a commit: it may have happened.
type unsureError struct {
	err   error
	after ledger.Appended
}

// Error says so.
func (u *unsureError) Error() string { return "commit, whose outcome is unknown: " + u.err.Error() }

// Unwrap gives the cause.
func (u *unsureError) Unwrap() error { return u.err }

func (w *writer) uncommitted(err error, after ledger.Appended) error {
	if !w.store.engine.broken(err) {
		return fmt.Errorf("commit: %w", err)
	}
	return &unsureError{err: err, after: after}
}

// settle finds out whether a commit happened whose answer was lost. The ledger tells: its entries are
// committed with all else. Where the transaction had none, it stays unsettled.
func (w *writer) settle(ctx context.Context, u *unsureError) (settled, committed bool) {
	if len(u.after.Leaves) == 0 {
		return false, false
	}
	first := u.after.Leaves[0]
	for try := 1; try <= mostTries; try++ {
		entry, err := w.look(ctx, first.Entry.Seq)
		switch {
		case err == nil:
			return true, entry == string(first.Data)
		case errors.Is(err, sql.ErrNoRows):
			return true, false
		}
		pause(try)
	}
	return false, false
}

// look reads an entry of the ledger when no writer is in the middle of anything, the lost transaction
// included.
func (w *writer) look(ctx context.Context, seq int64) (entry string, err error) {
	bounded, cancel := w.bound(ctx)
	defer cancel()
	if err := w.connect(bounded); err != nil {
		return "", err
	}
	db, err := w.conn.begin(bounded)
	if err != nil {
		w.drop()
		return "", err
	}
	defer w.abandon(db)
	if _, err := w.head(bounded); err != nil {
		return "", err
	}
	return query.New(w.conn).LedgerEntry(bounded, seq)
}

func pause(try int) { time.Sleep(time.Duration(try*try) * 10 * time.Millisecond) }
