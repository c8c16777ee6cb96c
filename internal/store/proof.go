package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// LedgerFilter selects entries of the ledger. Empty fields select all.
type LedgerFilter struct {
	From     int64  // the first seq
	Incident string // with those of the incidents merged into it
	Run      string
	Kind     record.Kind
	Limit    int
}

// LedgerEntries gives entries of the ledger in their order.
func (s *Store) LedgerEntries(ctx context.Context, f LedgerFilter) ([]ledger.Entry, error) {
	p, err := paging(f.Limit, "")
	if err != nil {
		return nil, err
	}
	var args []any
	conditions := []string{"seq >= " + arg(&args, f.From)}
	if f.Incident != "" {
		id := arg(&args, text(f.Incident))
		conditions = append(conditions, "incident <> ''",
			"(incident = "+id+" OR incident IN (SELECT m.id FROM incidents m WHERE m.merged_into <> '' AND m.merged_into = "+id+"))")
	}
	if f.Run != "" {
		conditions = append(conditions, "run <> '' AND run = "+arg(&args, text(f.Run)))
	}
	if f.Kind != "" {
		conditions = append(conditions, "kind = "+arg(&args, text(string(f.Kind))))
	}
	statement := "SELECT entry FROM ledger_entries" + where(conditions) + " ORDER BY seq LIMIT " + arg(&args, p.limit)
	found, err := many(ctx, s.read, scanEntry, statement, args)
	return found, s.fault("read ledger", err)
}

func scanEntry(rows *sql.Rows) (ledger.Entry, error) {
	var data string
	if err := rows.Scan(&data); err != nil {
		return ledger.Entry{}, err
	}
	return ledger.ParseEntry([]byte(data))
}

// LedgerCheckpoint gives the ledger's head as it was signed with the last record: what to keep elsewhere.
func (s *Store) LedgerCheckpoint(ctx context.Context) ([]byte, error) {
	return s.checkpoint(ctx, s.q)
}

func (s *Store) checkpoint(ctx context.Context, q *query.Queries) ([]byte, error) {
	if s.key == nil {
		return nil, fault.New(fault.Invalid, "this store has no key for its ledger")
	}
	head, err := q.LedgerHead(ctx)
	if err != nil {
		return nil, s.fault("read the ledger's head", err)
	}
	return []byte(head.Note), nil
}

// ExportLedger writes the whole ledger with its checkpoint, as ledger.Verify reads it.
func (s *Store) ExportLedger(ctx context.Context, w io.Writer) error {
	return s.snapshot(ctx, func(db query.DBTX) error {
		signed, err := s.checkpoint(ctx, query.New(db))
		if err != nil {
			return err
		}
		return ledger.Export(w, s.key.Verifier(), signed, s.stored(ctx, db))
	})
}

// VerifyLedger checks the ledger in its place: the rows, the hashes stored with them, the signed head.
// An error of type *ledger.TamperedError says that they don't agree.
func (s *Store) VerifyLedger(ctx context.Context) (ledger.Report, error) {
	var report ledger.Report
	err := s.snapshot(ctx, func(db query.DBTX) error {
		signed, err := s.checkpoint(ctx, query.New(db))
		if err != nil {
			return err
		}
		report, err = ledger.VerifyStored(signed, s.key.Verifier(), s.stored(ctx, db))
		return err
	})
	return report, err
}

// ProveEntry gives the proof that an entry is in the ledger, to be checked offline with ledger.CheckProof.
func (s *Store) ProveEntry(ctx context.Context, seq int64) (ledger.Proof, error) {
	var proof ledger.Proof
	err := s.snapshot(ctx, func(db query.DBTX) error {
		q := query.New(db)
		signed, err := s.checkpoint(ctx, q)
		if err != nil {
			return err
		}
		data, err := q.LedgerEntry(ctx, seq)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "the ledger has no entry %d", seq)
		}
		if err != nil {
			return s.fault("read ledger", err)
		}
		proof, err = ledger.Prove(ctx, hashes{db}, seq, []byte(data), signed, s.key.Verifier())
		return err
	})
	return proof, err
}

// snapshot lets work read the store as it is at one moment.
func (s *Store) snapshot(ctx context.Context, work func(query.DBTX) error) error {
	tx, err := s.read.BeginTx(ctx, s.engine.snapshot)
	if err != nil {
		return s.fault("read the store", err)
	}
	defer func() { _ = tx.Rollback() }() // it only read
	return work(tx)
}

// chunk is how many entries of the ledger are in memory at once.
const chunk = 500

// stored gives the ledger's entries as they are in the database, with the hashes stored with each.
func (s *Store) stored(ctx context.Context, db query.DBTX) iter.Seq2[ledger.Stored, error] {
	return func(yield func(ledger.Stored, error) bool) {
		for after := int64(-1); ; {
			entries, err := s.storedAfter(ctx, db, after)
			if err != nil {
				yield(ledger.Stored{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if len(entries) < chunk {
				return
			}
			after = entries[len(entries)-1].Seq
		}
	}
}

func (s *Store) storedAfter(ctx context.Context, db query.DBTX, after int64) ([]ledger.Stored, error) {
	const statement = "SELECT seq, kind, incident, run, entry FROM ledger_entries WHERE seq > $1 ORDER BY seq LIMIT $2"
	entries, err := many(ctx, db, scanStored, statement, []any{after, chunk})
	if err != nil || len(entries) == 0 {
		return entries, s.fault("read ledger", err)
	}
	first := tlog.StoredHashIndex(0, entries[0].Seq)
	last := tlog.StoredHashIndex(0, entries[len(entries)-1].Seq) + 64
	found, err := readHashes(ctx, db, first, last)
	if err != nil {
		return nil, s.fault("read ledger", err)
	}
	for i := range entries {
		at := tlog.StoredHashIndex(0, entries[i].Seq)
		for n := range int64(bits.TrailingZeros64(^uint64(entries[i].Seq)) + 1) { //nolint:gosec // only its bits count
			entries[i].Hashes = append(entries[i].Hashes, found[at+n])
		}
	}
	return entries, nil
}

// scanStored reads an entry and compares the columns it is found by with what it says.
func scanStored(rows *sql.Rows) (ledger.Stored, error) {
	var kind, incident, run, data string
	var e ledger.Stored
	if err := rows.Scan(&e.Seq, &kind, &incident, &run, &data); err != nil {
		return e, err
	}
	e.Data = []byte(data)
	said, err := ledger.ParseEntry(e.Data)
	if err == nil && (text(string(said.Kind)) != kind || text(said.Incident) != incident || text(said.Run) != run) {
		e.Wrong = "the columns it is found by were changed"
	}
	return e, nil
}

// readHashes reads a span of stored hashes. One that is missing or malformed is left out.
func readHashes(ctx context.Context, db query.DBTX, first, last int64) (map[int64]tlog.Hash, error) {
	rows, err := db.QueryContext(ctx, "SELECT idx, hash FROM ledger_hashes WHERE idx >= $1 AND idx <= $2", first, last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[int64]tlog.Hash{}
	for rows.Next() {
		var index int64
		var hash []byte
		if err := rows.Scan(&index, &hash); err != nil {
			return nil, err
		}
		if len(hash) == tlog.HashSize {
			found[index] = tlog.Hash(hash)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read hashes: %w", err)
	}
	return found, nil
}
