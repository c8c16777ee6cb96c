package store

import (
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// Tx is a function's part of a transaction; see Store.Update.
type Tx struct {
	store   *Store
	db      *session
	q       *query.Queries // on db
	records []record.Record
	begun   begun // of this job
	failed  error // the first error of the database in this job
}

// Append adds records to the ledger, in this order, when the transaction is committed.
func (tx *Tx) Append(records ...record.Record) {
	tx.records = append(tx.records, records...)
}

// check gives an error of the database its kind, and remembers it: the job must not succeed after it. One
// that may have ended the transaction ends it for good, so that nothing is executed outside of it.
func (tx *Tx) check(doing string, err error) error {
	if err == nil {
		return nil
	}
	if tx.db.lost == nil && tx.store.engine.aborts(err) {
		tx.db.lost = err
	}
	err = tx.store.fault(doing, err)
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}
