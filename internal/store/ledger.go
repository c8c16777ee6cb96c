package store

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// openLedger makes the head of a new ledger, and says so where an old one was signed by somebody else.
func (s *Store) openLedger(ctx context.Context) error {
	q := query.New(s.write)
	empty := ledger.EmptyHead()
	note, err := s.sign(empty)
	if err != nil {
		return err
	}
	if err := q.InsertLedgerHead(ctx, empty.Root[:], note); err != nil {
		return fmt.Errorf("make ledger: %w", err)
	}
	head, err := q.LedgerHead(ctx)
	if err != nil {
		return fmt.Errorf("read the ledger's head: %w", err)
	}
	if s.key == nil {
		return nil
	}
	if _, err := ledger.OpenCheckpoint([]byte(head.Note), s.key.Verifier()); err != nil {
		s.logger.ErrorContext(ctx, "the ledger's head is not signed by this node's key", "err", err.Error(), "verifier", s.key.Verifier())
	}
	return nil
}

func (s *Store) sign(h ledger.Head) (string, error) {
	if s.key == nil {
		return "", nil
	}
	signed, err := s.key.Sign(h)
	return string(signed), err
}

// head reads the ledger's head and keeps other writers away from it until the transaction ends.
func (w *writer) head(ctx context.Context) (ledger.Head, error) {
	var size int64
	var root []byte
	var note string
	if err := w.conn.QueryRowContext(ctx, w.store.engine.readHead).Scan(&size, &root, &note); err != nil {
		return ledger.Head{}, fmt.Errorf("read the ledger's head: %w", err)
	}
	return headOf(size, root)
}

func headOf(size int64, root []byte) (ledger.Head, error) {
	if len(root) != tlog.HashSize {
		return ledger.Head{}, fmt.Errorf("the ledger's root has %d bytes", len(root))
	}
	return ledger.Head{Size: size, Root: tlog.Hash(root)}, nil
}

// append adds a transaction's records to the ledger.
func (w *writer) append(ctx context.Context, head ledger.Head, records []record.Record) (ledger.Appended, error) {
	added, err := w.tree.Append(ctx, hashes{w.conn}, head, records)
	if err != nil || len(records) == 0 {
		return added, err
	}
	note, err := w.store.sign(added.Head)
	if err != nil {
		return added, err
	}
	rows := make([]any, 0, 5*len(added.Leaves))
	for _, leaf := range added.Leaves {
		e := leaf.Entry
		rows = append(rows, e.Seq, text(string(e.Kind)), text(e.Incident), text(e.Run), string(leaf.Data))
	}
	if err := insert(ctx, w.conn, "INSERT INTO ledger_entries (seq, kind, incident, run, entry) VALUES ", "", 5, rows); err != nil {
		return added, fmt.Errorf("append to the ledger: %w", err)
	}
	rows = rows[:0]
	for i := range added.Hashes {
		rows = append(rows, added.First+int64(i), added.Hashes[i][:])
	}
	if err := insert(ctx, w.conn, "INSERT INTO ledger_hashes (idx, hash) VALUES ", "", 2, rows); err != nil {
		return added, fmt.Errorf("append to the ledger: %w", err)
	}
	if err := query.New(w.conn).UpdateLedgerHead(ctx, added.Head.Size, added.Head.Root[:], note); err != nil {
		return added, fmt.Errorf("append to the ledger: %w", err)
	}
	return added, nil
}

// hashes reads the ledger's hashes.
type hashes struct{ db query.DBTX }

// ReadHashes is of ledger.Hashes.
func (h hashes) ReadHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	q := query.New(h.db)
	read := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		hash, err := q.LedgerHash(ctx, index)
		if err != nil {
			return nil, fmt.Errorf("read hash %d: %w", index, err)
		}
		if len(hash) != tlog.HashSize {
			return nil, fmt.Errorf("hash %d has %d bytes", index, len(hash))
		}
		read = append(read, tlog.Hash(hash))
	}
	return read, nil
}
