package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/riposte-sec/riposte/internal/fault"
)

const enginePostgres = "postgres"

// transactionLimit bounds a transaction on PostgreSQL, so that a network that swallows packets holds
// nobody up for longer.
const transactionLimit = 30 * time.Second

// openPostgres connects to the server that a URL names.
func (s *Store) openPostgres(ctx context.Context, dsn string) error {
	s.engine = engine{
		name:     enginePostgres,
		readHead: "SELECT size, root, note FROM ledger_head WHERE id = 1 FOR UPDATE",
		limit:    transactionLimit,
		snapshot: &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		classify: classifyPostgres,
		broken:   brokenPostgres,
		aborts:   brokenPostgres, // else it waits for a rollback, to the savepoint or of all
		passing:  passingPostgres,
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fault.New(fault.Invalid, "open store: the PostgreSQL URL can't be read: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	config.DialFunc = dialer.DialContext // a server that vanished is noticed within half a minute
	// The server ends what we can no longer end: a node that vanishes must not keep the ledger's head.
	for name, value := range map[string]string{
		"application_name": "riposte", "statement_timeout": "25s", "lock_timeout": "20s",
		"idle_in_transaction_session_timeout": "20s", "tcp_keepalives_idle": "10",
	} {
		if _, given := config.RuntimeParams[name]; !given {
			config.RuntimeParams[name] = value
		}
	}
	s.write = stdlib.OpenDB(*config)
	s.write.SetMaxOpenConns(2) // the writer, and a migration's lock
	s.read = stdlib.OpenDB(*config)
	s.read.SetMaxOpenConns(max(8, 2*runtime.NumCPU()))
	s.read.SetMaxIdleConns(max(8, 2*runtime.NumCPU()))
	s.read.SetConnMaxIdleTime(5 * time.Minute)
	if err := s.write.PingContext(ctx); err != nil {
		return s.fault("open store", err)
	}
	return nil
}

func classifyPostgres(err error) (kind fault.Kind, hint string) {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifySQLState(e.Code)
	}
	if brokenPostgres(err) {
		return fault.Transient, "PostgreSQL can't be reached; it is tried again"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Transient, "PostgreSQL did not answer in time"
	}
	return fault.Internal, ""
}

func classifySQLState(code string) (kind fault.Kind, hint string) {
	switch {
	case code == "23505": // unique_violation
		return fault.Conflict, ""
	case code == "53100":
		return fault.Transient, "PostgreSQL's disk is full; free some space"
	case code == "25006": // read_only_sql_transaction
		return fault.Transient, "PostgreSQL takes no writes: is this a standby?"
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"):
		return fault.Transient, "PostgreSQL is shutting down or starting"
	case strings.HasPrefix(code, "53"), strings.HasPrefix(code, "58"):
		return fault.Transient, "PostgreSQL is short of something; its log says of what"
	case strings.HasPrefix(code, "40"), code == "55P03", code == "57014", code == "25P03":
		return fault.Transient, ""
	case strings.HasPrefix(code, "28"), strings.HasPrefix(code, "3D"):
		return fault.Invalid, "look at the user, the password and the database's name in the store's URL"
	}
	return fault.Internal, ""
}

func brokenPostgres(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "57P") || e.Code == "25P03"
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, gone := range []error{
		sql.ErrConnDone, driver.ErrBadConn, pgconn.ErrConnClosed, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

func passingPostgres(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(e.Code, "40")
}
