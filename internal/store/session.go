package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// session is the writer's connection. It executes statements under the transaction's context rather than
// its caller's: a caller that leaves must not cost the others their transaction.
//
// On SQLite it keeps its statements prepared, which is most of the speed. On PostgreSQL, where each
// statement is a round trip, it keeps back those that nobody waits for the outcome of and sends them
// together with the next that somebody does; an error of one that was kept back fails the transaction. So does a
// wrong guess: who is all but sure how many rows a statement will change says so beforehand, and doesn't wait to
// be told (expect). The transaction is then done again without guessing.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	bound func() context.Context // the transaction's

	pipelined bool
	guesses   bool // what is expected is taken for granted until it is known
	expected  int64
	kept      []*keptBack
	lost      error // why the transaction can only be rolled back
}

// mostKept bounds the statements that are kept back.
const mostKept = 512

// errGuess says that a statement changed another number of rows than was taken for granted.
var errGuess = errors.New("a statement did not change the rows that it was expected to")

// expect says how many rows the next statement will change, in all likelihood; at least one.
func (s *session) expect(rows int64) {
	if s.pipelined && s.guesses {
		s.expected = rows
	}
}

func newSession(conn *sql.Conn, pipelined bool) *session {
	return &session{conn: conn, stmts: map[string]*sql.Stmt{}, pipelined: pipelined}
}

func (s *session) begin(ctx context.Context) (*sql.Tx, error) {
	s.bound = func() context.Context { return ctx }
	s.kept, s.lost, s.expected = nil, nil, 0
	return s.conn.BeginTx(ctx, nil)
}

// close closes the connection for good: it isn't known in which state it is.
func (s *session) close() error {
	var errs []error
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	err := s.conn.Raw(func(any) error { return driver.ErrBadConn })
	if !errors.Is(err, driver.ErrBadConn) {
		errs = append(errs, err)
	}
	if err := s.conn.Close(); !errors.Is(err, sql.ErrConnDone) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// exec executes a statement without arguments.
func (s *session) exec(ctx context.Context, text string) error {
	_, err := s.ExecContext(ctx, text)
	return err
}

// ExecContext is of query.DBTX.
func (s *session) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if s.pipelined {
		return s.keep(ctx, text, args)
	}
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
		return s.conn.QueryRowContext(ctx, text, args...) // gives an error, as the transaction is lost
	}
	return stmt.QueryRowContext(s.bound(), args...) //nolint:contextcheck // see session
}

// PrepareContext is of query.DBTX. The statement belongs to the session.
func (s *session) PrepareContext(ctx context.Context, text string) (*sql.Stmt, error) {
	return s.stmt(ctx, text)
}

// stmt gives a prepared statement, when what was kept back is done. It fails where the caller's ctx has
// ended.
func (s *session) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := s.flush(); err != nil { //nolint:contextcheck // see session
		return nil, err
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

// keptBack is a statement that was not sent yet. It is its own result.
type keptBack struct {
	session *session
	text    string
	args    []any
	guess   int64 // 0 where nothing is taken for granted
	rows    int64
	done    bool
}

// RowsAffected is of sql.Result: who asks for it waits for the statement, unless it is taken for granted.
func (k *keptBack) RowsAffected() (int64, error) {
	if k.guess > 0 {
		return k.guess, nil
	}
	if !k.done {
		if err := k.session.flush(); err != nil {
			return 0, err
		}
	}
	return k.rows, nil
}

// LastInsertId is of sql.Result.
func (k *keptBack) LastInsertId() (int64, error) {
	return 0, errors.New("PostgreSQL gives no last insert id")
}

func (s *session) keep(ctx context.Context, text string, args []any) (sql.Result, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	k := &keptBack{session: s, text: text, args: slices.Clone(args), guess: s.expected}
	s.expected = 0
	s.kept = append(s.kept, k)
	if len(s.kept) < mostKept {
		return k, nil
	}
	return k, s.flush() //nolint:contextcheck // see session
}

// flush executes what was kept back, in one round trip.
func (s *session) flush() error {
	if s.lost != nil || len(s.kept) == 0 {
		return s.lost
	}
	kept := s.kept
	s.kept = nil
	s.lost = s.conn.Raw(func(driverConn any) error {
		conn, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("%T can't send statements together", driverConn)
		}
		return send(s.bound(), conn.Conn(), kept)
	})
	return s.lost
}

func send(ctx context.Context, conn *pgx.Conn, kept []*keptBack) error {
	batch := &pgx.Batch{}
	for _, k := range kept {
		batch.Queue(k.text, k.args...)
	}
	results := conn.SendBatch(ctx, batch)
	for _, k := range kept {
		tag, err := results.Exec()
		if err != nil {
			return errors.Join(err, results.Close())
		}
		k.rows, k.done = tag.RowsAffected(), true
		if k.guess > 0 && k.rows != k.guess {
			return errors.Join(errGuess, results.Close())
		}
	}
	return results.Close()
}
