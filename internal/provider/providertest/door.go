package providertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Door stands between an action and its provider. It keeps what was asked, and can break the way there or
// the way back.
type Door struct {
	// URL is the door's address, in place of the provider's.
	URL string

	mu    sync.Mutex
	seen  []Request
	whole int // how many requests go through before the door breaks; negative: it doesn't
	lost  bool
	broke bool
}

// Request is one that came to the door.
type Request struct {
	Method, Path, Body string
}

// The statuses by which a broken door answers: as an error that may pass, but not one which clients of
// providers try again by themselves.
const broken = http.StatusNotImplemented

// NewDoor opens a door to a provider.
func NewDoor(tb testing.TB, provider string) *Door {
	tb.Helper()
	target, err := url.Parse(provider)
	if err != nil {
		tb.Fatal(err)
	}
	d := &Door{whole: -1}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.pass(w, r, proxy) }))
	tb.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

func (d *Door) pass(w http.ResponseWriter, r *http.Request, provider http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the request broke off", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	through, answered := d.enter(Request{r.Method, r.URL.Path, string(body)})
	switch {
	case answered:
		provider.ServeHTTP(w, r)
	case through:
		provider.ServeHTTP(httptest.NewRecorder(), r)
		fallthrough
	default:
		http.Error(w, "the door is broken", broken)
	}
}

// enter notes a request, and tells whether it gets through and whether its answer comes back.
func (d *Door) enter(r Request) (through, answered bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, r)
	if d.whole < 0 {
		return true, true
	}
	if d.whole > 0 {
		d.whole--
		return true, true
	}
	through = d.lost && !d.broke // one request gets through whose answer is lost, and nothing after it
	d.broke = true
	return through, false
}

// Break lets a number of requests through, then none. If lost, the first that would not get through does,
// and only its answer is lost.
func (d *Door) Break(after int, lost bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.whole, d.lost, d.broke = after, lost, false
}

// Repair lets everything through again, and tells whether the door broke for anybody.
func (d *Door) Repair() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.whole = -1
	return d.broke
}

// Seen gives the requests that came since the last time it was asked.
func (d *Door) Seen() []Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := slices.Clone(d.seen)
	d.seen = nil
	return seen
}

// mostCalls bounds how many calls of an action the suite breaks.
const mostCalls = 60

// interrupted: at every call of Apply and of Undo the process may die, before the call or before its answer.
// Done again, each ends as if nothing had happened.
func (c Case) interrupted(t *testing.T) {
	if c.Door == nil {
		t.Skip("the case has no door to break")
	}
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("apply, lost=%t", lost), func(t *testing.T) { c.interruptedApply(t, lost) })
		t.Run(fmt.Sprintf("undo, lost=%t", lost), func(t *testing.T) { c.interruptedUndo(t, lost) })
	}
}

func (c Case) interruptedApply(t *testing.T, lost bool) {
	t.Helper()
	before := c.State(t)
	for calls := range mostCalls {
		change := journaled(t, c.planned(t))
		broke := c.breaks(t, calls, lost, "Apply", func() error {
			_, err := c.Action.Apply(t.Context(), change)
			return err
		})
		done := c.apply(t, change)
		c.holds(t, done)
		c.driftIs(t, done, false)
		c.undo(t, done, false)
		c.restored(t, done)
		c.isStill(t, before, fmt.Sprintf("Apply interrupted after %d calls, Apply and Undo", calls))
		if !broke || t.Failed() {
			return
		}
	}
	t.Errorf("Apply makes more than %d calls", mostCalls)
}

func (c Case) interruptedUndo(t *testing.T, lost bool) {
	t.Helper()
	before := c.State(t)
	for calls := range mostCalls {
		done := c.apply(t, journaled(t, c.planned(t)))
		broke := c.breaks(t, calls, lost, "Undo", func() error {
			_, err := c.undoer(t).Undo(t.Context(), done, false)
			return err
		})
		c.driftIs(t, done, false)
		c.undo(t, done, false)
		c.restored(t, done)
		c.isStill(t, before, fmt.Sprintf("Undo interrupted after %d calls and Undo", calls))
		if !broke || t.Failed() {
			return
		}
	}
	t.Errorf("Undo makes more than %d calls", mostCalls)
}

// breaks does work behind a door that breaks after some calls, and tells whether it broke.
func (c Case) breaks(t *testing.T, after int, lost bool, what string, work func() error) bool {
	t.Helper()
	c.Door.Break(after, lost)
	err := work()
	broke := c.Door.Repair()
	if _, moved := errors.AsType[*action.Moved](err); moved || broke && err != nil && !fault.Is(err, fault.Transient) {
		t.Errorf("%s, interrupted after %d calls: got %v, want an error of kind transient", what, after, err)
	}
	if !broke && err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return broke
}
