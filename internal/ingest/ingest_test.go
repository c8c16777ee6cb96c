package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/ingest"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// sink remembers what it took, and fails as long as it is told to.
type sink struct {
	mu      sync.Mutex
	batches []event.Batch
	err     error
}

func (s *sink) take(_ context.Context, b event.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.batches = append(s.batches, b)
	return nil
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// keys lists the keys of all events taken, in order.
func (s *sink) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, b := range s.batches {
		for _, ev := range b.Events {
			keys = append(keys, ev.Key)
		}
	}
	return keys
}

func (s *sink) letters() []event.Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	var letters []event.Letter
	for _, b := range s.batches {
		letters = append(letters, b.Letters...)
	}
	return letters
}

func options() ingest.Options {
	n := 0
	var mu sync.Mutex
	return ingest.Options{
		Now: func() time.Time { return noon },
		NewID: func() string {
			mu.Lock()
			defer mu.Unlock()
			n++
			return fmt.Sprintf("letter-%d", n)
		},
	}
}

func trail(keys ...string) event.Batch {
	var b event.Batch
	for _, key := range keys {
		b.Events = append(b.Events, event.Event{Key: key, Source: event.CloudTrail, Time: noon.Add(-time.Minute), Name: "StopLogging"})
	}
	return b
}

func accept(t *testing.T, i *ingest.Intake, b event.Batch) {
	t.Helper()
	if err := i.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func TestDuplicatesPassOnce(t *testing.T) {
	var s sink
	i := ingest.New(s.take, options())
	accept(t, i, trail("a", "b", "a"))
	accept(t, i, trail("b", "c"))
	accept(t, i, trail("a"))
	if diff := cmp.Diff([]string{"a", "b", "c"}, s.keys()); diff != "" {
		t.Errorf("passed (-want +got):\n%s", diff)
	}
	want := ingest.Stats{
		Sources:    map[event.Source]ingest.Counts{event.CloudTrail: {Received: 6, Duplicates: 3, Passed: 3, Latest: noon.Add(-time.Minute)}},
		Letters:    map[string]uint64{},
		Remembered: 3,
	}
	if diff := cmp.Diff(want, i.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	if len(s.batches) != 2 {
		t.Errorf("%d batches were handed on, want 2: one of duplicates only is none", len(s.batches))
	}
}

func TestStamps(t *testing.T) {
	var s sink
	b := trail("a")
	accept(t, ingest.New(s.take, options()), b)
	if got := s.batches[0].Events[0].Received; !got.Equal(noon) {
		t.Errorf("received is %s, want %s", got, noon)
	}
	if !b.Events[0].Received.IsZero() {
		t.Error("the source's own batch was changed")
	}
}

func TestFailureIsNotRemembered(t *testing.T) {
	var s sink
	i := ingest.New(s.take, options())
	broken := errors.New("disk full")
	s.fail(broken)
	if err := i.Accept(t.Context(), trail("a")); !errors.Is(err, broken) {
		t.Fatalf("got %v, want %v", err, broken)
	}
	s.fail(nil)
	accept(t, i, trail("a"))
	if diff := cmp.Diff([]string{"a"}, s.keys()); diff != "" {
		t.Errorf("passed (-want +got):\n%s", diff)
	}
	if got := i.Stats().Failed; got != 1 {
		t.Errorf("%d failures counted, want 1", got)
	}
}

func TestSplitsLargeBatches(t *testing.T) {
	var s sink
	o := options()
	o.Batch = 3
	i := ingest.New(s.take, o)
	keys := strings.Split("abcdefgh", "")
	b := trail(keys...)
	b.Letters = []event.Letter{{Format: "x", Raw: []byte("?")}}
	accept(t, i, b)
	var sizes []int
	for _, b := range s.batches {
		sizes = append(sizes, len(b.Events))
	}
	if diff := cmp.Diff([]int{3, 3, 2}, sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
	if got := len(s.letters()); got != 1 {
		t.Errorf("%d letters, want 1", got)
	}
	if diff := cmp.Diff(keys, s.keys()); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestRefuses(t *testing.T) {
	cases := []struct {
		name   string
		change func(*event.Event)
		reason string
	}{
		{"no key", func(ev *event.Event) { ev.Key = "" }, "no key"},
		{"endless key", func(ev *event.Event) { ev.Key = strings.Repeat("k", 2000) }, "2000 bytes"},
		{"no source", func(ev *event.Event) { ev.Source = "" }, "no source"},
		{"no time", func(ev *event.Event) { ev.Time = time.Time{} }, "no plausible time"},
		{"before the cloud", func(ev *event.Event) { ev.Time = time.Unix(0, 0) }, "no plausible time"},
		{"the future", func(ev *event.Event) { ev.Time = noon.Add(61 * time.Minute) }, "in the future"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var s sink
			b := trail("good", "bad")
			c.change(&b.Events[1])
			b.Events[1].Raw, b.Events[1].Origin = []byte("{}"), "file:1"
			accept(t, ingest.New(s.take, options()), b)
			if diff := cmp.Diff([]string{"good"}, s.keys()); diff != "" {
				t.Errorf("passed (-want +got):\n%s", diff)
			}
			letters := s.letters()
			if len(letters) != 1 || !strings.Contains(letters[0].Reason, c.reason) {
				t.Fatalf("letters: %+v, want one about %q", letters, c.reason)
			}
			want := event.Letter{
				ID: "letter-1", Format: string(b.Events[1].Source), Origin: "file:1", Reason: letters[0].Reason, Raw: []byte("{}"),
				Received: noon, Count: 1,
			}
			if diff := cmp.Diff(want, letters[0]); diff != "" {
				t.Errorf("letter (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClockThatIsABitAhead(t *testing.T) {
	var s sink
	b := trail("a")
	b.Events[0].Time = noon.Add(59 * time.Minute)
	accept(t, ingest.New(s.take, options()), b)
	if len(s.keys()) != 1 {
		t.Error("an event 59 minutes ahead was refused")
	}
}

func TestOnlyLetters(t *testing.T) {
	var s sink
	accept(t, ingest.New(s.take, options()), event.Batch{Letters: []event.Letter{{ID: "own", Format: "x"}}})
	if got := s.letters(); len(got) != 1 || got[0].ID != "own" || got[0].Received != noon {
		t.Errorf("letters: %+v", got)
	}
}

// TestMemoryIsBounded fills the memory and looks what it still knows.
func TestMemoryIsBounded(t *testing.T) {
	var s sink
	o := options()
	o.Keys = 100
	i := ingest.New(s.take, o)
	for n := range 1000 {
		accept(t, i, trail(fmt.Sprintf("key-%d", n)))
	}
	if got := i.Stats().Remembered; got < 100 || got > 200 {
		t.Errorf("%d keys are remembered, want 100 to 200", got)
	}
	before := len(s.keys())
	for n := 900; n < 1000; n++ {
		accept(t, i, trail(fmt.Sprintf("key-%d", n)))
	}
	if got := len(s.keys()); got != before {
		t.Errorf("%d of the last 100 keys were forgotten", got-before)
	}
}

// TestWindow has event time pass, with events that come late in between.
func TestWindow(t *testing.T) {
	var s sink
	clock := noon
	o := options()
	o.Now = func() time.Time { return clock }
	o.Window = time.Hour
	i := ingest.New(s.take, o)
	at := func(key string, when time.Time) event.Batch {
		b := trail(key)
		b.Events[0].Time = when
		return b
	}
	accept(t, i, at("first", clock))
	for n := range 59 {
		clock = clock.Add(time.Minute)
		accept(t, i, at(fmt.Sprintf("late-%d", n), clock.Add(-300*24*time.Hour)))
		accept(t, i, at(fmt.Sprintf("now-%d", n), clock))
		accept(t, i, at("first", noon))
	}
	if got := slices.Index(s.keys()[1:], "first"); got >= 0 {
		t.Error("a key was forgotten within the window")
	}
	for n := range 200 {
		clock = clock.Add(time.Minute)
		accept(t, i, at(fmt.Sprintf("later-%d", n), clock))
	}
	if got := i.Stats().Remembered; got > 150 {
		t.Errorf("%d keys are remembered after three hours, with a window of one", got)
	}
}

// TestSameEventAtOnce lets two sources bring one event while the first is still on its way.
func TestSameEventAtOnce(t *testing.T) {
	for _, outcome := range []error{nil, errors.New("store away")} {
		t.Run(fmt.Sprint(outcome), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s sink
				first := true
				next := func(ctx context.Context, b event.Batch) error {
					if first {
						first = false
						time.Sleep(time.Second)
						if outcome != nil {
							return outcome
						}
					}
					return s.take(ctx, b)
				}
				i := ingest.New(next, options())
				results := make(chan error, 2)
				go func() { results <- i.Accept(t.Context(), trail("a", "b")) }()
				synctest.Wait()
				go func() { results <- i.Accept(t.Context(), trail("b", "c")) }()
				synctest.Wait()
				select {
				case err := <-results:
					t.Fatalf("one returned (%v) while its event was on its way", err)
				default:
				}
				if err := <-results; !errors.Is(err, outcome) {
					t.Errorf("the first returned %v, want %v", err, outcome)
				}
				if err := <-results; err != nil {
					t.Errorf("the second returned %v", err)
				}
				want := []string{"c", "a", "b"}
				if outcome != nil {
					want = []string{"c", "b"}
				}
				if diff := cmp.Diff(want, s.keys()); diff != "" {
					t.Errorf("passed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		i := ingest.New(func(context.Context, event.Batch) error { <-hold; return nil }, options())
		done := make(chan error)
		go func() { done <- i.Accept(t.Context(), trail("a")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := i.Accept(ctx, trail("a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		close(hold)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestPanicBelow releases what was on its way.
func TestPanicBelow(t *testing.T) {
	var s sink
	first := true
	i := ingest.New(func(ctx context.Context, b event.Batch) error {
		if first {
			first = false
			panic("bug")
		}
		return s.take(ctx, b)
	}, options())
	func() {
		defer func() { _ = recover() }()
		_ = i.Accept(t.Context(), trail("a"))
	}()
	accept(t, i, trail("a"))
	if len(s.keys()) != 1 {
		t.Error("the event was lost with the panic")
	}
}

// TestManyAtOnce has many sources deliver overlapping batches to a sink that often fails: in the end
// everything has passed exactly once.
func TestManyAtOnce(t *testing.T) {
	var (
		mu     sync.Mutex
		taken  = map[string]int{}
		rounds int
	)
	i := ingest.New(func(_ context.Context, b event.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		if rounds++; rounds%3 == 0 {
			return errors.New("try again")
		}
		for _, ev := range b.Events {
			taken[ev.Key]++
		}
		return nil
	}, options())
	var sources sync.WaitGroup
	for source := range 8 {
		sources.Go(func() {
			for n := range 100 {
				var keys []string
				for k := range 10 {
					keys = append(keys, fmt.Sprintf("key-%d", (n*7+k*3+source)%500))
				}
				for i.Accept(t.Context(), trail(keys...)) != nil {
					continue
				}
			}
		})
	}
	sources.Wait()
	for key, times := range taken {
		if times != 1 {
			t.Errorf("%s passed %d times", key, times)
		}
	}
	if len(taken) != 500 {
		t.Errorf("%d of 500 keys passed", len(taken))
	}
}

func BenchmarkAccept(b *testing.B) {
	i := ingest.New(func(context.Context, event.Batch) error { return nil }, ingest.Options{
		Now: func() time.Time { return noon }, NewID: func() string { return "" },
	})
	n := 0
	for b.Loop() {
		n++
		if err := i.Accept(b.Context(), trail(fmt.Sprintf("aws.cloudtrail|%036d|111122223333", n))); err != nil {
			b.Fatal(err)
		}
	}
}
