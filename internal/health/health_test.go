package health_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riposte-sec/riposte/internal/health"
)

func TestBoardTellsWhatFailsAndSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken error
		board := health.New(time.Now)
		board.Add(
			health.Part{Name: "store", Check: func(context.Context) error { return nil }},
			health.Part{Name: "source", Check: func(context.Context) error { return broken }},
		)
		if _, ready := board.States(); ready {
			t.Error("ready before anybody looked")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = board.Run(ctx) }()
		synctest.Wait()
		if states, ready := board.States(); !ready {
			t.Errorf("not ready: %+v", states)
		}
		broken = errors.New("away")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		since := time.Now()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		states, ready := board.States()
		if ready || states[1].Error != "away" || states[1].Since.After(since) || !states[0].OK {
			t.Errorf("got ready %v, %+v", ready, states)
		}
	})
}

func TestBoardIsNotHeldUpByASilentPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := health.New(time.Now)
		board.Add(health.Part{Name: "slow", Check: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }})
		board.Look(t.Context())
		if states, ready := board.States(); ready || states[0].Error == "" {
			t.Errorf("got ready %v, %+v", ready, states)
		}
	})
}
