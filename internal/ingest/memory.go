package ingest

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
)

// memory knows the keys of events that are durable, and of those on their way. It holds two generations of
// the durable ones and forgets the older, whole, when the younger is full or when event time has moved on by
// the window since it began. Event time is that of the newest event: old ones that come late don't move it.
type memory struct {
	window time.Duration
	most   int // keys in one generation
	seeds  [2]maphash.Seed

	mu     sync.Mutex
	latest time.Time // event time
	began  time.Time // event time when the young generation began
	young  map[digest]struct{}
	old    map[digest]struct{}
	flying map[digest]*flight
}

// digest stands for a key. Its seeds are this process's own, so nobody can make two keys alike.
type digest [2]uint64

// flight is one claim that is being handed on.
type flight struct {
	keys   []digest
	latest time.Time     // event time
	done   chan struct{} // closed when it is durable, or has failed
}

// claim says what to do with the events of a chunk.
type claim struct {
	fresh   []event.Event // to hand on
	mine    *flight       // for fresh; nil if there are none
	waiting []event.Event // on their way with somebody else
	others  []*flight     // for waiting
	known   []event.Event // durable already, or twice in the chunk
}

func newMemory(window time.Duration, keys int) *memory {
	return &memory{
		window: window, most: keys, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		young: map[digest]struct{}{}, old: map[digest]struct{}{}, flying: map[digest]*flight{},
	}
}

func (m *memory) digest(key string) digest {
	return digest{maphash.String(m.seeds[0], key), maphash.String(m.seeds[1], key)}
}

// claim takes the events that nobody has, in one step, so that two claims never wait for each other.
func (m *memory) claim(events []event.Event) claim {
	var c claim
	seen := map[*flight]bool{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ev := range events {
		key := m.digest(ev.Key)
		other := m.flying[key]
		switch {
		case m.durable(key), other != nil && other == c.mine:
			c.known = append(c.known, ev)
		case other != nil:
			c.waiting = append(c.waiting, ev)
			if !seen[other] {
				seen[other] = true
				c.others = append(c.others, other)
			}
		default:
			if c.mine == nil {
				c.mine = &flight{done: make(chan struct{})}
			}
			m.flying[key] = c.mine
			c.mine.keys = append(c.mine.keys, key)
			if ev.Time.After(c.mine.latest) {
				c.mine.latest = ev.Time
			}
			c.fresh = append(c.fresh, ev)
		}
	}
	return c
}

// release ends a flight. Its keys are remembered if it is durable.
func (m *memory) release(f *flight, durable bool) {
	if f == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range f.keys {
		delete(m.flying, key)
	}
	if durable {
		m.remember(f)
	}
	close(f.done)
}

func (m *memory) durable(key digest) bool {
	if _, known := m.young[key]; known {
		return true
	}
	_, known := m.old[key]
	return known
}

func (m *memory) remember(f *flight) {
	if f.latest.After(m.latest) {
		m.latest = f.latest
	}
	if len(m.young) == 0 {
		m.began = m.latest
	}
	for _, key := range f.keys {
		m.young[key] = struct{}{}
	}
	if len(m.young) >= m.most || m.latest.Sub(m.began) > m.window {
		m.old, m.young = m.young, map[digest]struct{}{}
	}
}

// size is how many keys are remembered.
func (m *memory) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.young) + len(m.old)
}
