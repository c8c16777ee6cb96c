package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/riposte-sec/riposte/internal/correlate"
	"github.com/riposte-sec/riposte/internal/event"
)

// observed is the body of an observation's row.
type observed struct {
	Rule   string   `json:"rule"`
	Event  string   `json:"event"`
	Value  string   `json:"value,omitempty"`
	Events []string `json:"events,omitempty"` // where they aren't the event alone
}

// groupOf is a group as rows are found by it: a group's values may be longer than an index takes. It is of the
// values as a row has them, or a group that was read from one would not be found again.
func groupOf(g correlate.Group) string { return digest(clean(g.Key)) }

func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Observed gives the latest observations of a group between two times, both excluded, at most so many.
func (tx *Tx) Observed(ctx context.Context, g correlate.Group, after, before time.Time, most int) ([]correlate.Observation, error) {
	rows, err := many(ctx, tx.db, scanObservation, `SELECT at, due, until, body FROM observations
		WHERE state = $1 AND grp = $2 AND at > $3 AND at < $4 ORDER BY at DESC LIMIT $5`,
		[]any{text(g.State), groupOf(g), after.UnixNano(), before.UnixNano(), most})
	for i := range rows {
		rows[i].Group = g.Key
	}
	return rows, tx.check("read observations", err)
}

func scanObservation(rows *sql.Rows) (correlate.Observation, error) {
	var o correlate.Observation
	var at, due, until int64
	var body string
	if err := rows.Scan(&at, &due, &until, &body); err != nil {
		return o, err
	}
	var written observed
	if err := decode(body, &written); err != nil {
		return o, err
	}
	o.Rule, o.Event, o.Value, o.Events = written.Rule, written.Event, written.Value, written.Events
	if o.Events == nil {
		o.Events = []string{o.Event}
	}
	o.Time, o.Due, o.Until = time.Unix(0, at).UTC(), timeOf(due), timeOf(until)
	return o, nil
}

// Observe keeps observations of a group. Those that are there already change nothing.
func (tx *Tx) Observe(ctx context.Context, g correlate.Group, observations []correlate.Observation) error {
	var args []any
	state, group := text(g.State), groupOf(g)
	for i := range observations {
		o := &observations[i]
		written := observed{Rule: o.Rule, Event: o.Event, Value: o.Value}
		if len(o.Events) != 1 || o.Events[0] != o.Event {
			written.Events = o.Events
		}
		body, err := encode(written)
		if err != nil {
			return err
		}
		at := o.Time.UnixNano()
		args = append(args, digest(state, g.Key, strconv.FormatInt(at, 10), o.Rule, o.Event, o.Value), state, group, clean(g.Key), at, micros(o.Due), micros(o.Until), body)
	}
	err := insert(ctx, tx.db, "INSERT INTO observations (id, state, grp, key, at, due, until, body) VALUES ", " ON CONFLICT (id) DO NOTHING", 8, args)
	return tx.check("keep observations", err)
}

// Forget drops the observations of a group before a time.
func (tx *Tx) Forget(ctx context.Context, g correlate.Group, before time.Time) error {
	_, err := tx.db.ExecContext(ctx, "DELETE FROM observations WHERE state = $1 AND grp = $2 AND at < $3",
		text(g.State), groupOf(g), before.UnixNano())
	return tx.check("drop observations", err)
}

// KeepEvents keeps log records until a time, though no finding has them yet.
func (tx *Tx) KeepEvents(ctx context.Context, events []event.Event, until time.Time) error {
	var args []any
	for i := range events {
		body, err := encode(&events[i])
		if err != nil {
			return err
		}
		args = append(args, text(events[i].Key), micros(events[i].Received), micros(until), body, blob(events[i].Raw))
	}
	for row := range slices.Chunk(args, 5) { // one by one: an event may be there twice
		_, err := tx.db.ExecContext(ctx, `INSERT INTO events (key, received, kept, body, raw) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (key) DO UPDATE SET kept = CASE
				WHEN events.kept > 0 AND events.kept < excluded.kept THEN excluded.kept ELSE events.kept END`, row...)
		if err != nil {
			return tx.check("keep events", err)
		}
	}
	return nil
}

// KeptEvents gives those of the log records that are still there, with their bytes.
func (tx *Tx) KeptEvents(ctx context.Context, keys []string) ([]event.Event, error) {
	var all []event.Event
	for chunk := range slices.Chunk(texts(keys), mostListed) {
		var args []any
		some, err := many(ctx, tx.db, scanEvent, "SELECT body, raw FROM events WHERE key IN ("+list(&args, chunk)+")", args)
		if err != nil {
			return nil, tx.check("read events", err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func scanEvent(rows *sql.Rows) (event.Event, error) {
	var body string
	var raw []byte
	if err := rows.Scan(&body, &raw); err != nil {
		return event.Event{}, err
	}
	var ev event.Event
	err := decode(body, &ev)
	ev.Raw = raw
	return ev, err
}

// DueSpans gives groups with windows that are complete at a time.
func (tx *Tx) DueSpans(ctx context.Context, now time.Time, most int) ([]correlate.Span, error) {
	spans, err := many(ctx, tx.db, scanSpan, `SELECT state, MIN(key), MIN(at), MAX(at) FROM observations
		WHERE due > 0 AND due <= $1 GROUP BY state, grp ORDER BY MIN(due) LIMIT $2`, []any{micros(now), most})
	return spans, tx.check("look for what is due", err)
}

func scanSpan(rows *sql.Rows) (correlate.Span, error) {
	var s correlate.Span
	var from, to int64
	err := rows.Scan(&s.State, &s.Key, &from, &to)
	s.From, s.To = time.Unix(0, from).UTC(), time.Unix(0, to).UTC()
	return s, err
}

// Judged says that what was due in a group at a time isn't any more.
func (tx *Tx) Judged(ctx context.Context, g correlate.Group, now time.Time) error {
	_, err := tx.db.ExecContext(ctx, "UPDATE observations SET due = 0 WHERE state = $1 AND grp = $2 AND due > 0 AND due <= $3",
		text(g.State), groupOf(g), micros(now))
	return tx.check("note what was judged", err)
}

// Told reports whether there is a finding of a fingerprint.
func (tx *Tx) Told(ctx context.Context, fingerprint string) (bool, error) {
	_, _, known, err := tx.Finding(ctx, fingerprint)
	return known, err
}

// pruneObserved drops what correlations no longer need: observations, and log records that no finding has.
func (tx *Tx) pruneObserved(ctx context.Context, now int64) (int, error) {
	total := 0
	for _, statement := range []string{
		"DELETE FROM observations WHERE id IN (SELECT id FROM observations WHERE until < $1 ORDER BY until LIMIT $2)",
		`DELETE FROM events WHERE key IN (SELECT e.key FROM events e WHERE e.kept > 0 AND e.kept < $1
			AND NOT EXISTS (SELECT 1 FROM finding_events l WHERE l.event = e.key) ORDER BY e.kept LIMIT $2)`,
	} {
		gone, err := tx.db.ExecContext(ctx, statement, now, pruned)
		if err != nil {
			return 0, tx.check("drop what correlations no longer need", err)
		}
		rows, err := gone.RowsAffected()
		if err != nil {
			return 0, tx.check("drop what correlations no longer need", err)
		}
		total += int(rows)
	}
	return total, nil
}
