package store

import (
	"context"
	"time"
)

// pruned is how many rows go in one transaction, so that nobody waits long for it.
const pruned = 500

// Prune throws away raw events that were received before a time and are not behind an incident that is
// still open, dead letters of that age, when findings of that age saw their entities, links that ended before
// it, and what correlations no longer need. Findings, incidents and the ledger stay. It returns how many rows went.
func (s *Store) Prune(ctx context.Context, before time.Time) (int, error) {
	total := 0
	for {
		var gone int
		err := s.Update(ctx, func(tx *Tx) (err error) {
			gone, err = tx.prune(ctx, micros(before))
			return err
		})
		total += gone
		if err != nil || gone == 0 {
			return total, err
		}
	}
}

func (tx *Tx) prune(ctx context.Context, before int64) (int, error) {
	events, err := tx.q.OldEvents(ctx, before, pruned)
	if err != nil {
		return 0, tx.check("look for old events", err)
	}
	for _, key := range events {
		if err := tx.check("delete event", tx.q.UnlinkEvent(ctx, key)); err != nil {
			return 0, err
		}
		if err := tx.check("delete event", tx.q.DeleteEvent(ctx, key)); err != nil {
			return 0, err
		}
	}
	names, err := tx.pruneNames(ctx, before)
	if err != nil {
		return 0, err
	}
	observed, err := tx.pruneObserved(ctx, micros(tx.store.now()))
	if err != nil {
		return 0, err
	}
	letters, err := tx.q.OldLetters(ctx, before, pruned)
	if err != nil {
		return 0, tx.check("look for old dead letters", err)
	}
	for _, id := range letters {
		if _, err := tx.q.DeleteLetter(ctx, id); err != nil {
			return 0, tx.check("delete dead letter", err)
		}
	}
	links, err := tx.pruneLinks(ctx, before)
	if err != nil {
		return 0, err
	}
	return len(events) + len(letters) + names + observed + links, nil
}

// pruneNames forgets when old findings saw their entities: nothing that comes now is near them in time.
func (tx *Tx) pruneNames(ctx context.Context, before int64) (int, error) {
	gone, err := tx.db.ExecContext(ctx, `DELETE FROM finding_names WHERE (name, finding) IN (
		SELECT name, finding FROM finding_names WHERE last_seen < $1 ORDER BY last_seen LIMIT $2)`, before, pruned)
	if err != nil {
		return 0, tx.check("forget what old findings saw", err)
	}
	rows, err := gone.RowsAffected()
	return int(rows), tx.check("forget what old findings saw", err)
}
