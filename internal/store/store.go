package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// Options are a store's parts.
type Options struct {
	Logger *slog.Logger // nothing is logged if nil
	// Key signs the ledger's head with every commit. Without it the ledger has no checkpoints and can't be
	// exported.
	Key *ledger.Key
	Now func() time.Time // time.Now if nil
}

// Store is the state of one Riposte, shared by its nodes where it is on PostgreSQL.
type Store struct {
	logger *slog.Logger
	key    *ledger.Key // may be nil
	now    func() time.Time
	engine engine
	write  *sql.DB // one writer goroutine uses it
	read   *sql.DB
	q      *query.Queries // on read

	gate    sync.RWMutex // held for reading while a job is queued, for writing to close
	closed  bool
	queue   chan *job
	stopped chan struct{}
}

// engine is what differs between SQLite and PostgreSQL.
type engine struct {
	name     string
	readHead string // reads the ledger's head so that no other writer changes it meanwhile
	// limit bounds a transaction in time; 0 where nothing but the disk can be waited for.
	limit    time.Duration
	snapshot *sql.TxOptions // of transactions that read
	classify func(error) (fault.Kind, string)
	// broken tells that the connection is of no use any more.
	broken func(error) bool
	// aborts tells that the database may have rolled the whole transaction back by itself.
	aborts func(error) bool
	// passing tells that the same transaction may succeed if it is tried again now.
	passing func(error) bool
}

var errClosed = fault.New(fault.Transient, "the store is closed")

// Open opens the store that dsn names, a file path for SQLite or a postgres:// URL, makes or migrates its
// tables, and starts its writer. Close ends both.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{logger: o.Logger, key: o.Key, now: o.Now, queue: make(chan *job, mostQueued), stopped: make(chan struct{})}
	if err := s.connect(ctx, dsn); err != nil {
		return nil, errors.Join(err, s.disconnect())
	}
	s.q = query.New(s.read)
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(s.fault("open store", err), s.disconnect())
	}
	w := &writer{store: s}
	go w.run(context.WithoutCancel(ctx))
	return s, nil
}

func (s *Store) connect(ctx context.Context, dsn string) error {
	if isPostgres(dsn) {
		return s.openPostgres(ctx, dsn)
	}
	if scheme, _, found := strings.Cut(dsn, "://"); found || dsn == "" {
		return fault.New(fault.Invalid, "a store is a file's path or a postgres:// URL, not %q", scheme)
	}
	return s.openSQLite(dsn)
}

func (s *Store) prepare(ctx context.Context) error {
	if err := migrate(ctx, s.write, s.engine.name); err != nil {
		return err
	}
	return s.openLedger(ctx)
}

// Close lets what is queued be written, then closes the store.
func (s *Store) Close() error {
	s.gate.Lock()
	if s.closed {
		s.gate.Unlock()
		return nil
	}
	s.closed = true
	close(s.queue)
	s.gate.Unlock()
	<-s.stopped
	return s.disconnect()
}

func (s *Store) disconnect() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Ping writes one row, through the same way as all writing.
func (s *Store) Ping(ctx context.Context) error {
	return s.Update(ctx, func(tx *Tx) error {
		return s.fault("write to the store", tx.q.Probe(ctx, micros(s.now())))
	})
}

// fault gives an error of the database its kind and says what was done. It keeps errors that have a kind.
func (s *Store) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fault.Wrap(fault.NotFound, fmt.Errorf("%s: %w", doing, err))
	}
	if _, classified := errors.AsType[*fault.Error](err); classified || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	kind, hint := s.engine.classify(err)
	wrapped := fault.Wrap(kind, fmt.Errorf("%s: %w", doing, err))
	if hint != "" {
		return fault.WithHint(wrapped, hint)
	}
	return wrapped
}

// absent is the error for what was named and does not exist.
func absent(what, id string) error {
	return fault.New(fault.NotFound, "there is no %s %s", what, id)
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}
