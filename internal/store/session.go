package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// session is the writer's connection. It keeps its statements prepared, which is most of the speed on
// SQLite, and executes them under the transaction's context rather than its caller's: a caller that
// leaves must not cost the others their transaction.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	bound func() context.Context // the transaction's
}

func newSession(conn *sql.Conn) *session {
	return &session{conn: conn, stmts: map[string]*sql.Stmt{}}
}

func (s *session) begin(ctx context.Context) (*sql.Tx, error) {
	s.bound = func() context.Context { return ctx }
	return s.conn.BeginTx(ctx, nil)
}

func (s *session) close() error {
	var errs []error
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, s.conn.Close())...)
}

// exec executes a statement without arguments, prepared too.
func (s *session) exec(ctx context.Context, text string) error {
	_, err := s.ExecContext(ctx, text)
	return err
}

// ExecContext is of query.DBTX.
func (s *session) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	stmt, err := s.stmt(ctx, text) //nolint:sqlclosecheck // kept until the session is closed
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(s.bound(), args...) //nolint:contextcheck // see session
}

// QueryContext is of query.DBTX.
func (s *session) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	stmt, err := s.stmt(ctx, text) //nolint:sqlclosecheck // kept until the session is closed
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(s.bound(), args...) //nolint:contextcheck // see session
}

// QueryRowContext is of query.DBTX.
func (s *session) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	stmt, err := s.stmt(ctx, text) //nolint:sqlclosecheck // kept until the session is closed
	if err != nil {
		return s.conn.QueryRowContext(ctx, text, args...) // gives the error
	}
	return stmt.QueryRowContext(s.bound(), args...) //nolint:contextcheck // see session
}

// PrepareContext is of query.DBTX. The statement belongs to the session.
func (s *session) PrepareContext(ctx context.Context, text string) (*sql.Stmt, error) {
	return s.stmt(ctx, text)
}

// stmt gives a prepared statement. It fails where the caller's ctx has ended.
func (s *session) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if stmt, known := s.stmts[text]; known {
		return stmt, nil
	}
	stmt, err := s.conn.PrepareContext(s.bound(), text) //nolint:contextcheck // see session
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	s.stmts[text] = stmt
	return stmt, nil
}
