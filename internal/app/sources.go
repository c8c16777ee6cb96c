package app

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/ingest"
	"github.com/riposte-sec/riposte/internal/store"
)

// noted is how often the store learns what came from which source.
const noted = time.Minute

// register knows which sources were heard of. It is off the way of events: what is new it takes from the
// intake's counts, and it tells the store once a minute.
type register struct {
	store *store.Store
	stats func() ingest.Stats
	now   func() time.Time

	mu   sync.Mutex              // held while the store is told, so that nothing counts twice
	told map[event.Source]uint64 // events of which the store knows
}

func newRegister(s *store.Store, stats func() ingest.Stats, now func() time.Time) *register {
	return &register{store: s, stats: stats, now: now, told: map[event.Source]uint64{}}
}

// news is what came in since the store was told.
func (r *register) news() []store.Seen {
	var more []store.Seen
	now := r.now()
	for source, counts := range r.stats().Sources {
		if fresh := counts.Passed - r.told[source]; fresh > 0 {
			more = append(more, store.Seen{Source: source, Latest: counts.Latest, Heard: now, Events: int64(fresh)}) //nolint:gosec // a count of events
		}
	}
	return more
}

// note tells the store what is new. What it can't be told now, it is told the next time.
func (r *register) note(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	more := r.news()
	if err := r.store.NoteSources(ctx, more); err != nil {
		return err
	}
	for _, one := range more {
		r.told[one.Source] += uint64(one.Events) //nolint:gosec // it was one a moment ago
	}
	return nil
}

// Sources tells what the store knows, and what this node took in since.
func (r *register) Sources(ctx context.Context) ([]api.Source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, err := r.store.SeenSources(ctx)
	if err != nil {
		return nil, err
	}
	for _, fresh := range r.news() {
		at := slices.IndexFunc(seen, func(known store.Seen) bool { return known.Source == fresh.Source })
		if at < 0 {
			seen = append(seen, fresh)
			continue
		}
		known := &seen[at]
		known.Events, known.Heard = known.Events+fresh.Events, fresh.Heard
		if fresh.Latest.After(known.Latest) {
			known.Latest = fresh.Latest
		}
	}
	all := make([]api.Source, 0, len(seen))
	for _, one := range seen {
		told := api.Source{Name: string(one.Source), Latest: one.Latest, Heard: one.Heard, Events: one.Events}
		told.Product, told.Service = detect.LogSource(one.Source)
		all = append(all, told)
	}
	slices.SortFunc(all, func(a, b api.Source) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// noteSources notes which sources were heard of, once a minute and at the end.
func (a *App) noteSources(ctx context.Context) error {
	ticker := time.NewTicker(noted)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := a.register.note(last); err != nil {
				a.options.Logger.WarnContext(last, "note sources", "err", err.Error())
			}
			return nil
		case <-ticker.C:
			if err := a.register.note(ctx); err != nil && ctx.Err() == nil {
				a.options.Logger.WarnContext(ctx, "note sources", "err", err.Error())
			}
		}
	}
}
