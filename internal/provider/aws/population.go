package aws

import (
	"context"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
)

// fresh is how long a count is good enough. Limits in percent are asked for before each action, and in an
// attack there are many; a place of a hundred thousand instances must not be listed for each.
const fresh = time.Minute

// census counts the things of a kind at places, and remembers a count for a while.
type census struct {
	count func(ctx context.Context, at action.Place) (int, error)

	mu    sync.Mutex
	known map[action.Place]counted
}

type counted struct {
	number int
	at     time.Time
}

func newCensus(count func(ctx context.Context, at action.Place) (int, error)) *census {
	return &census{count: count, known: map[action.Place]counted{}}
}

// of gives how many there are at a place, as counted less than a minute ago.
func (c *census) of(ctx context.Context, at action.Place) (int, error) {
	c.mu.Lock()
	last, ok := c.known[at]
	c.mu.Unlock()
	if ok && time.Since(last.at) < fresh {
		return last.number, nil
	}
	number, err := c.count(ctx, at)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[at] = counted{number: number, at: time.Now()}
	return number, nil
}
