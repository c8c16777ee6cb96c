// Package durable starts legs of runs so that each is executed at least once, whatever crashes, on
// DBOS (https://docs.dbos.dev) over SQLite or PostgreSQL.
//
// A leg is a stretch of a run between two waits. While a run waits for a person or for a time there is
// no workflow, no goroutine and no query: that is why a thousand waiting runs cost nothing, and why an
// answer resumes its run at once instead of at the next poll (docs/design/respond.md has the figures).
package durable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite" // DBOS's own SQLite dialect

	"github.com/riposte-sec/riposte/internal/fault"
)

// version is pinned: DBOS would otherwise hash the binary and strand pending legs at an upgrade. What a
// leg does is decided by the run's journal and its playbook's text, not by the binary.
const version = "1"

// Leg names one stretch of a run.
type Leg struct {
	Run   string `json:"run"`
	Leg   int64  `json:"leg"`
	Fence int64  `json:"fence"` // the run's fence when the leg was started
}

// id makes a leg start once: a second Start of the same leg finds the first.
func (l Leg) id() string { return fmt.Sprintf("%s/%d/%d", l.Run, l.Leg, l.Fence) }

// Options say where the engine keeps its state and who it is.
type Options struct {
	// Store is a file path for SQLite or a postgres:// URL.
	Store string
	// Node is unique for each node and stable over restarts: what it left unfinished it finishes.
	Node   string
	Logger *slog.Logger
	// Concurrent bounds the legs executed at once; 64 if zero.
	Concurrent int
	// Advance executes a leg. It returns an error only if the leg should be executed again after a
	// restart; what a run's end looks like is in the run's journal.
	Advance func(ctx context.Context, leg Leg) error
}

// mostWaiting bounds the work that waits in memory to be executed.
const mostWaiting = 1024

var errClosing = fault.New(fault.Transient, "the process is ending")

// Engine executes legs.
type Engine struct {
	dbos    dbos.Context
	db      *sql.DB // SQLite only
	slots   chan struct{}
	advance func(context.Context, Leg) error
	logger  *slog.Logger
	closing atomic.Bool

	waiting chan func(context.Context) error
	cancel  context.CancelCauseFunc // of the work that is executed
	idle    chan struct{}           // closed when none is any more
}

// Open opens the store, makes its tables and executes what was left unfinished by this node.
func Open(ctx context.Context, o Options) (*Engine, error) {
	e := &Engine{
		advance: o.Advance, logger: o.Logger, slots: make(chan struct{}, 64),
		waiting: make(chan func(context.Context) error, mostWaiting), idle: make(chan struct{}),
	}
	if o.Concurrent > 0 {
		e.slots = make(chan struct{}, o.Concurrent)
	}
	config := dbos.Config{
		AppName: "riposte", ApplicationVersion: version, ExecutorID: o.Node,
		Logger: slog.New(quiet{o.Logger.Handler(), &e.closing}), SystemDBStartupTimeout: 20 * time.Second,
	}
	if isPostgres(o.Store) {
		config.DatabaseURL = o.Store
	} else {
		db, err := openSQLite(o.Store)
		if err != nil {
			return nil, err
		}
		e.db, config.SQLiteSystemDB = db, db
	}
	engine, err := dbos.NewContext(ctx, config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open durable store: %w", err), e.closeDB())
	}
	e.dbos = engine
	dbos.RegisterWorkflow(engine, e.workflow, dbos.WithWorkflowName("advance"), dbos.WithMaxRecoveryAttempts(math.MaxInt32))
	if err := dbos.Launch(engine); err != nil {
		return nil, errors.Join(fmt.Errorf("start durable engine: %w", err), e.closeDB())
	}
	ctx, e.cancel = context.WithCancelCause(ctx)
	go e.execute(ctx)
	return e, nil
}

// Start executes a leg soon, on this node. It returns when the intention is durable. Starting a leg that
// was started before does nothing.
func (e *Engine) Start(_ context.Context, leg Leg) error {
	_, err := dbos.RunWorkflow(e.dbos, e.workflow, leg, dbos.WithWorkflowID(leg.id()))
	if err != nil {
		return fault.Wrap(fault.Transient, fmt.Errorf("start leg %s: %w", leg.id(), err))
	}
	return nil
}

// Execute executes work soon, on this node, among the legs that are executed at once. It is not remembered:
// whoever gives it finds it again after a crash. Where too much waits already nothing is done, and it returns
// false.
func (e *Engine) Execute(work func(context.Context) error) bool {
	select {
	case e.waiting <- work:
		return true
	default:
		return false
	}
}

// execute executes the work that waits until ctx ends, then waits for what it began.
func (e *Engine) execute(ctx context.Context) {
	defer close(e.idle)
	var group sync.WaitGroup
	defer group.Wait()
	for {
		var work func(context.Context) error
		select {
		case work = <-e.waiting:
		case <-ctx.Done():
			return
		}
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		group.Go(func() {
			defer func() { <-e.slots }()
			if err := e.guarded(func() error { return work(ctx) }); err != nil && ctx.Err() == nil {
				e.logger.ErrorContext(ctx, "leg ended before its end", "err", err.Error())
			}
		})
	}
}

// Adopt executes on this node what dead nodes left unfinished. The caller has made sure that they are dead.
func (e *Engine) Adopt(_ context.Context, dead []string) (int, error) {
	runtime, ok := e.dbos.(recoverer)
	if !ok {
		return 0, fault.New(fault.Internal, "this version of DBOS cannot recover for others")
	}
	handles, err := runtime.RecoverPendingWorkflows(dead)
	if err != nil {
		return 0, fault.Wrap(fault.Transient, fmt.Errorf("adopt legs of %v: %w", dead, err))
	}
	return len(handles), nil
}

// tidyAtOnce bounds how many legs are forgotten in one statement.
const tidyAtOnce = 500

// Tidy forgets legs that ended before a time. What they did is in the journals of their runs.
func (e *Engine) Tidy(ctx context.Context, before time.Time) (int, error) {
	forgotten := 0
	for ctx.Err() == nil {
		over, err := dbos.ListWorkflows(e.dbos, dbos.WithFilterCompletedBefore(before), dbos.WithFilterLimit(tidyAtOnce),
			dbos.WithFilterStatus(dbos.WorkflowStatusSuccess, dbos.WorkflowStatusError, dbos.WorkflowStatusCancelled),
			dbos.WithFilterLoadInput(false), dbos.WithFilterLoadOutput(false))
		if err != nil {
			return forgotten, fault.Wrap(fault.Transient, fmt.Errorf("list legs that ended: %w", err))
		}
		if len(over) == 0 {
			break
		}
		ids := make([]string, 0, len(over))
		for _, leg := range over {
			ids = append(ids, leg.ID)
		}
		if err := dbos.DeleteWorkflows(e.dbos, ids); err != nil {
			return forgotten, fault.Wrap(fault.Transient, fmt.Errorf("forget legs that ended: %w", err))
		}
		forgotten += len(ids)
	}
	return forgotten, nil
}

// Close stops taking legs and waits up to patience for those in flight; the rest is executed at the next Open.
func (e *Engine) Close(patience time.Duration) error {
	e.closing.Store(true)
	e.cancel(errClosing)
	late := time.NewTimer(patience)
	defer late.Stop()
	err := dbos.Shutdown(e.dbos, patience)
	select {
	case <-e.idle:
	case <-late.C:
		err = errors.Join(err, fault.New(fault.Transient, "legs did not end within %s", patience))
	}
	return errors.Join(err, e.closeDB())
}

// recoverer is the part of DBOS's runtime interface that its Context doesn't show.
type recoverer interface {
	RecoverPendingWorkflows(executors []string) ([]dbos.WorkflowHandle[any], error)
}

// workflow is the only workflow there is.
func (e *Engine) workflow(ctx dbos.Context, leg Leg) (string, error) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	return "", e.guarded(func() error { return e.advance(ctx, leg) })
}

// guarded makes an error of a panic, which is a bug of ours in one run and must not end the process that
// responds for all others.
func (e *Engine) guarded(work func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			e.logger.Error("leg panicked", "err", fmt.Sprintf("%v\n%s", cause, debug.Stack()))
			err = fault.New(fault.Internal, "leg panicked: %v", cause)
		}
	}()
	return work()
}

func (e *Engine) closeDB() error {
	if e.db == nil {
		return nil
	}
	return e.db.Close()
}

// openSQLite opens a file whose commits survive a loss of power: DBOS's own handle would not sync each.
func openSQLite(path string) (*sql.DB, error) {
	query := url.Values{"_pragma": {
		"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)", "foreign_keys(ON)",
	}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	return db, nil
}

func isPostgres(store string) bool {
	parsed, err := url.Parse(store)
	return err == nil && (parsed.Scheme == "postgres" || parsed.Scheme == "postgresql")
}

// quiet lets only DBOS's warnings and errors through: its information is about its own tables. While it is being
// closed it complains that what it does is cancelled, which is so.
type quiet struct {
	slog.Handler
	closing *atomic.Bool
}

func (q quiet) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && !q.closing.Load()
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attrs), q.closing}
}

func (q quiet) WithGroup(name string) slog.Handler {
	return quiet{q.Handler.WithGroup(name), q.closing}
}
