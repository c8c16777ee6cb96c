package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/store/query"
)

const (
	mostQueued  = 1024 // jobs that wait; a caller beyond that waits for its place
	mostBatched = 256  // jobs in one transaction
	mostTries   = 5    // of one transaction, where the database asks for another
	// mostTrying bounds the time after which another try begins; the callers wait meanwhile.
	mostTrying = 2 * time.Second
)

// job is a function that waits for its transaction.
type job struct {
	fn    func(*Tx) error
	left  func() error // why its caller no longer waits; nil while it does
	state atomic.Int32
	done  chan struct{} // closed when err is final
	err   error
	bug   any // what fn panicked with
}

// The states of a job: only one of the writer and the caller moves it on from waiting.
const (
	jobWaiting int32 = iota
	jobTaken
	jobAbandoned
)

// Update executes fn in a transaction and returns when what it did is durable. An error of fn takes back
// all that fn did, and is returned.
//
// fn shares its transaction with others and may be executed again when the database asks for it: it must
// have no effect but on tx and on variables that it sets anew each time. It must not write to s by other
// ways than tx: that would wait for itself. A caller whose ctx ends while fn
// waits leaves with the cause; while fn is being executed, its statements fail with the cause. An error
// of kind Transient may rarely come though the transaction was committed: when the connection was lost in
// between.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	j := &job{fn: fn, done: make(chan struct{}), left: func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}}
	if err := s.enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobWaiting, jobAbandoned) {
			return context.Cause(ctx)
		}
		<-j.done
	}
	if j.bug != nil {
		panic(j.bug)
	}
	return j.err
}

func (s *Store) enqueue(ctx context.Context, j *job) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return errClosed
	}
	select {
	case s.queue <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// writer is the one goroutine that writes.
type writer struct {
	store *Store
	conn  *session // nil while there is none
	tree  ledger.Tree
}

// run executes jobs until the queue is closed and empty.
func (w *writer) run(ctx context.Context) {
	defer close(w.store.stopped)
	defer w.drop()
	for first := range w.store.queue {
		if batch := w.gather(first); len(batch) > 0 {
			w.execute(ctx, batch)
		}
	}
}

// gather takes what waits together with the first.
func (w *writer) gather(first *job) []*job {
	var batch []*job
	for j := first; ; {
		if j.state.CompareAndSwap(jobWaiting, jobTaken) {
			batch = append(batch, j)
		}
		if len(batch) == mostBatched {
			return batch
		}
		select {
		case next, open := <-w.store.queue:
			if !open {
				return batch
			}
			j = next
		default:
			return batch
		}
	}
}

// execute brings a batch to its end and tells the callers. Where the batch fails as a whole, each job
// gets a transaction of its own, so that one too large for a full disk doesn't take the others with it.
func (w *writer) execute(ctx context.Context, batch []*job) {
	err := w.persist(ctx, batch)
	if err != nil && len(batch) > 1 && !w.store.engine.broken(err) {
		for _, j := range batch {
			w.execute(ctx, []*job{j})
		}
		return
	}
	for _, j := range batch {
		if err != nil {
			j.err = w.store.fault("write to the store", err)
		}
		close(j.done)
	}
}

// persist commits a batch, again where the database asks for it or the connection broke before the commit.
func (w *writer) persist(ctx context.Context, batch []*job) error {
	begun := time.Now()
	for try, guesses := 1, true; ; try++ {
		err := w.transact(ctx, batch, guesses)
		if err == nil {
			return nil
		}
		if errors.Is(err, errGuess) && guesses {
			guesses = false
			continue
		}
		if unsure, ok := errors.AsType[*unsureError](err); ok {
			settled, committed := w.settle(ctx, unsure)
			if committed {
				return nil
			}
			if !settled {
				return err
			}
		}
		again := w.store.engine.passing(err) || w.store.engine.broken(err)
		if !again || try == mostTries || time.Since(begun) > mostTrying {
			return err
		}
		pause(try)
	}
}

// transact executes a batch in one transaction. The errors of single jobs are left with them.
func (w *writer) transact(ctx context.Context, batch []*job, guesses bool) (err error) {
	bounded, cancel := w.bound(ctx)
	defer cancel()
	if err := w.connect(bounded); err != nil {
		return err
	}
	w.conn.guesses = guesses
	db, err := w.conn.begin(bounded)
	if err != nil {
		w.drop()
		return err
	}
	defer func() {
		if err != nil {
			w.abandon(db)
		}
	}()
	head, err := w.head(bounded)
	if err != nil {
		return err
	}
	tx := &Tx{store: w.store, db: w.conn, q: query.New(w.conn)}
	if kept, err := w.perform(bounded, tx, db, batch); err != nil || !kept {
		return err
	}
	added, err := w.append(bounded, head, tx.records)
	if err != nil {
		return err
	}
	if err := w.conn.flush(); err != nil { //nolint:contextcheck // see session
		return err
	}
	if err := db.Commit(); err != nil {
		return w.uncommitted(err, added)
	}
	w.tree.Committed(added)
	return nil
}

// bound limits a transaction in time, where the engine needs it.
func (w *writer) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.store.engine.limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, w.store.engine.limit)
}

// perform executes the jobs of a batch. One that is alone needs no savepoint: where it fails all is rolled back,
// and kept is false. It returns an error only if the transaction is lost.
func (w *writer) perform(ctx context.Context, tx *Tx, db *sql.Tx, batch []*job) (kept bool, err error) {
	if len(batch) > 1 {
		for _, j := range batch {
			if err := w.one(ctx, tx, j); err != nil {
				return false, err
			}
		}
		return true, nil
	}
	alone := batch[0]
	alone.err = w.call(tx, alone)
	if w.conn.lost != nil {
		return false, w.conn.lost
	}
	if alone.err != nil {
		w.abandon(db)
	}
	return alone.err == nil, nil
}

// one executes a job within a savepoint. It returns an error only if the transaction is lost.
func (w *writer) one(ctx context.Context, tx *Tx, j *job) error {
	if err := w.conn.exec(ctx, "SAVEPOINT job"); err != nil {
		return err
	}
	before := len(tx.records)
	j.err = w.call(tx, j)
	if w.conn.lost != nil {
		return w.conn.lost
	}
	if j.err == nil {
		return w.conn.exec(ctx, "RELEASE SAVEPOINT job")
	}
	tx.records = tx.records[:before]
	if err := w.conn.exec(ctx, "ROLLBACK TO SAVEPOINT job"); err != nil {
		return errors.Join(j.err, err) // the job's error is the cause: it cost the transaction
	}
	return w.conn.exec(ctx, "RELEASE SAVEPOINT job")
}

// call runs a job's function. A panic is a bug of the caller's, and panics there.
func (w *writer) call(tx *Tx, j *job) (err error) {
	if err := j.left(); err != nil {
		return err
	}
	defer func() {
		if cause := recover(); cause != nil {
			j.bug = fmt.Sprintf("%v\n%s", cause, debug.Stack())
			err = fault.New(fault.Internal, "panic: %v", cause)
		}
	}()
	j.bug, tx.failed, tx.begun = nil, nil, begun{}
	if err := j.fn(tx); err != nil {
		if cause := j.left(); cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			return cause
		}
		return err
	}
	return tx.failed // an error that fn overlooked
}

func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	conn, err := w.store.write.Conn(ctx)
	if err != nil {
		return err
	}
	w.conn = newSession(conn, w.store.engine.name == enginePostgres)
	return nil
}

// abandon rolls a transaction back. That fails where SQLite did it by itself, or the connection broke.
func (w *writer) abandon(db *sql.Tx) {
	if err := db.Rollback(); err != nil && w.store.engine.broken(err) {
		w.drop()
	}
}

// drop closes the connection. The next transaction opens another.
func (w *writer) drop() {
	if w.conn == nil {
		return
	}
	if err := w.conn.close(); err != nil {
		w.store.logger.Debug("close the writer's connection", "err", err.Error())
	}
	w.conn = nil
}
