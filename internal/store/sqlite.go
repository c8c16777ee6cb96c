package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/riposte-sec/riposte/internal/fault"
)

const engineSQLite = "sqlite"

// openSQLite opens the file at path, readable by the owner alone: it holds raw events. There is one
// connection that writes, each commit synced to disk, and several that read beside it.
func (s *Store) openSQLite(path string) error {
	s.engine = engine{
		name:     engineSQLite,
		readHead: "SELECT size, root, note FROM ledger_head WHERE id = 1",
		snapshot: &sql.TxOptions{ReadOnly: true},
		classify: classifySQLite,
		broken:   func(err error) bool { return errors.Is(err, sql.ErrConnDone) },
		aborts:   abortsSQLite,
		passing:  func(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_BUSY },
	}
	if err := createPrivate(path); err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("open store %s: %w", path, err))
	}
	pragmas := []string{
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "cache_size(-16000)",
		"journal_size_limit(67108864)", "wal_autocheckpoint(4000)", // pages: the same few are written again and again
	}
	var err error
	if s.write, err = sqliteAt(path, pragmas); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sqliteAt(path, append(pragmas, "query_only(ON)")); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(max(4, runtime.NumCPU()))
	s.read.SetMaxIdleConns(max(4, runtime.NumCPU()))
	return nil
}

func sqliteAt(path string, pragmas []string) (*sql.DB, error) {
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	address := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return db, nil
}

// createPrivate makes the file and its folder where they are missing; SQLite gives its other files the
// same mode.
func createPrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's path
	if err != nil {
		return err
	}
	return file.Close()
}

func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff // the low byte is the primary code
	}
	return sqlite3.SQLITE_OK
}

// abortsSQLite lists the errors after which SQLite may roll back by itself.
func abortsSQLite(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_INTERRUPT,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

func classifySQLite(err error) (kind fault.Kind, hint string) {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_FULL:
		return fault.Transient, "the store's disk is full; free some space"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fault.Transient, "another process holds the store; only one may write to it"
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return fault.Transient, "the store's file can't be read or written; look at its disk"
	case sqlite3.SQLITE_READONLY:
		return fault.Transient, "the store's file is read-only"
	case sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return fault.Transient, ""
	case sqlite3.SQLITE_CONSTRAINT:
		return fault.Conflict, ""
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fault.Internal, "the store's file is damaged; restore a backup"
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrConnDone) {
		return fault.Transient, ""
	}
	return fault.Internal, ""
}
