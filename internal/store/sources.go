package store

import (
	"context"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// Seen is a source of events and what is known of it, over all nodes and restarts.
type Seen struct {
	Source event.Source
	Latest time.Time // time of the newest event
	Heard  time.Time // when a node last took any in
	Events int64     // taken in, first time
}

// SeenSources gives the sources that events came from, by name.
func (s *Store) SeenSources(ctx context.Context) ([]Seen, error) {
	rows, err := s.q.SeenSources(ctx)
	if err != nil {
		return nil, s.fault("read sources", err)
	}
	all := make([]Seen, 0, len(rows))
	for _, row := range rows {
		all = append(all, Seen{Source: event.Source(row.Source), Latest: timeOf(row.Latest), Heard: timeOf(row.Heard), Events: row.Events})
	}
	return all, nil
}

// NoteSources adds to what is known of sources: Events are counted on top, times are the newest.
func (s *Store) NoteSources(ctx context.Context, more []Seen) error {
	if len(more) == 0 {
		return nil
	}
	return s.Update(ctx, func(tx *Tx) error {
		for _, one := range more {
			err := tx.q.NoteSource(ctx, query.NoteSourceParams{
				Source: text(string(one.Source)), Latest: micros(one.Latest), Heard: micros(one.Heard), Events: one.Events,
			})
			if err != nil {
				return tx.check("note source", err)
			}
		}
		return nil
	})
}
