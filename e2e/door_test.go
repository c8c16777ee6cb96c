package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// door stands before the emulator: it tells calls apart, counts them, and lets a test interfere.
//
// It also takes the wait out of receiving from queues: it asks the emulator anew until there is a message or
// the caller is gone, so that a killed process doesn't leave a receive behind that swallows what comes next,
// and lets messages come again after a second instead of a minute.
type door struct {
	emulator string
	server   *httptest.Server
	client   *http.Client

	mu    sync.Mutex
	calls []call
	// before and after are told of each call but receives; an answer of false breaks the connection.
	before, after func(op string) bool
	// refuse gives an answer in the cloud's place, or false.
	refuse func(op string) (status int, body string, refused bool)
}

// call is one that the emulator answered.
type call struct {
	op     string
	body   string
	begun  time.Time
	ended  time.Time
	status int
}

func newDoor(tb testing.TB, emulator string) *door {
	tb.Helper()
	d := &door{emulator: emulator, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	d.server = httptest.NewServer(d)
	tb.Cleanup(d.server.Close)
	return d
}

func (d *door) url() string { return d.server.URL }

// watch sets what is told of each call.
func (d *door) watch(before, after func(op string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before, d.after = before, after
}

// made gives the calls so far that a filter picks.
func (d *door) made(pick func(call) bool) []call {
	d.mu.Lock()
	defer d.mu.Unlock()
	var picked []call
	for _, c := range d.calls {
		if pick(c) {
			picked = append(picked, c)
		}
	}
	return picked
}

func (d *door) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = nil
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	op := operation(r, body)
	if op == "ReceiveMessage" {
		d.receive(w, r, body)
		return
	}
	d.mu.Lock()
	before, after, refuse := d.before, d.after, d.refuse
	d.mu.Unlock()
	if refuse != nil {
		if status, body, refused := refuse(op); refused {
			answer(w, status, http.Header{"Content-Type": {"text/xml"}}, []byte(body))
			return
		}
	}
	if before != nil && !before(op) {
		panic(http.ErrAbortHandler)
	}
	begun := time.Now()
	// What reached the cloud is carried out, whatever becomes of the caller.
	status, header, reply, err := d.forward(r.WithContext(context.WithoutCancel(r.Context())), body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	d.note(call{op: op, body: string(body), begun: begun, ended: time.Now(), status: status})
	if after != nil && !after(op) {
		panic(http.ErrAbortHandler)
	}
	answer(w, status, header, reply)
}

func (d *door) note(c call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, c)
}

func (d *door) receive(w http.ResponseWriter, r *http.Request, body []byte) {
	var in map[string]any
	if json.Unmarshal(body, &in) != nil {
		panic(http.ErrAbortHandler)
	}
	in["WaitTimeSeconds"], in["VisibilityTimeout"] = 0, 1
	body, _ = json.Marshal(in)
	until := time.Now().Add(20 * time.Second)
	for r.Context().Err() == nil {
		begun := time.Now()
		status, header, reply, err := d.forward(r, body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if bytes.Contains(reply, []byte("ReceiptHandle")) || status != http.StatusOK || time.Now().After(until) {
			d.note(call{op: "ReceiveMessage", body: string(reply), begun: begun, ended: time.Now(), status: status})
			answer(w, status, header, reply)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (d *door) forward(r *http.Request, body []byte) (int, http.Header, []byte, error) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, d.emulator+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header = r.Header.Clone()
	request.Header.Set("Host", r.Host)
	request.Host = r.Host
	got, err := d.client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer got.Body.Close()
	reply, err := io.ReadAll(got.Body)
	return got.StatusCode, got.Header, reply, err
}

func answer(w http.ResponseWriter, status int, header http.Header, reply []byte) {
	for name, values := range header {
		if name != "Content-Length" && name != "Transfer-Encoding" && name != "Connection" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(reply)
}

// operation names a call: by the target header of JSON protocols, the form's Action of query protocols, and
// the method and path of REST.
func operation(r *http.Request, body []byte) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndexByte(target, '.')+1:]
	}
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") != "" {
		return form.Get("Action")
	}
	return r.Method + " " + r.URL.Path
}
