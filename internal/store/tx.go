package store

import (
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// Tx is a function's part of a transaction; see Store.Update.
type Tx struct {
	store   *Store
	db      query.DBTX
	q       *query.Queries
	records []record.Record
	failed  error // the first error of the database in this job
}

func newTx(s *Store, db query.DBTX) *Tx {
	return &Tx{store: s, db: db, q: query.New(db)}
}

// Append adds records to the ledger, in this order, when the transaction is committed.
func (tx *Tx) Append(records ...record.Record) {
	tx.records = append(tx.records, records...)
}

// check gives an error of the database its kind, and remembers it: the job must not succeed after it.
func (tx *Tx) check(doing string, err error) error {
	if err == nil {
		return nil
	}
	err = tx.store.fault(doing, err)
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}
