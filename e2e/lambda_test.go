package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

// content gives a file's text.
func content(tb testing.TB, path string) string {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// platform is Lambda's runtime API (2018-06-01), as a function sees it.
type platform struct {
	*httptest.Server
	waiting chan invocation
	mu      sync.Mutex
	open    map[string]invocation
	count   int
}

// invocation is one, and where its answer goes.
type invocation struct {
	id       string
	payload  string
	deadline time.Time
	answer   chan string // "response ..." or "error ..."
}

func newPlatform(tb testing.TB) *platform {
	tb.Helper()
	p := &platform{waiting: make(chan invocation, 10), open: map[string]invocation{}}
	apis := http.NewServeMux()
	apis.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case next := <-p.waiting:
			p.mu.Lock()
			p.open[next.id] = next
			p.mu.Unlock()
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", next.id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(next.deadline.UnixMilli(), 10))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:riposte")
			_, _ = io.WriteString(w, next.payload)
		case <-r.Context().Done():
		}
	})
	apis.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/{what}", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open[r.PathValue("id")].answer <- r.PathValue("what") + " " + string(body)
		w.WriteHeader(http.StatusAccepted)
	})
	p.Server = httptest.NewServer(apis)
	tb.Cleanup(p.CloseClientConnections)
	return p
}

// invoke hands in a payload, to be answered within a time.
func (p *platform) invoke(payload string, within time.Duration) invocation {
	p.mu.Lock()
	p.count++
	i := invocation{id: fmt.Sprintf("request-%d", p.count), payload: payload, deadline: time.Now().Add(within), answer: make(chan string, 1)}
	p.mu.Unlock()
	p.waiting <- i
	return i
}

// answered waits for the answer of an invocation, which must come within its time.
func (p *platform) answered(tb testing.TB, payload string, within time.Duration) string {
	tb.Helper()
	i := p.invoke(payload, within)
	select {
	case answer := <-i.answer:
		return answer
	case <-time.After(time.Until(i.deadline)):
		tb.Fatalf("%s was not answered within %s", i.id, within)
		return ""
	}
}

// function starts a process of the function. It is killed when the test ends.
func (p *platform) function(s *server) *exec.Cmd {
	s.house.tb.Helper()
	c := s.command(context.Background(), "lambda", "--config", s.config, "--margin", "2s")
	c.Env = append(c.Env, "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(p.URL, "http://"))
	var log strings.Builder
	c.Stderr, c.Stdout = &log, &log
	if err := c.Start(); err != nil {
		s.house.tb.Fatal(err)
	}
	s.house.tb.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if s.house.tb.Failed() {
			s.house.tb.Logf("a function's log:\n%s", log.String())
		}
	})
	return c
}

// TestFunction answers events, batches of a queue and ticks; it finishes what a killed invocation left.
func TestFunction(t *testing.T) {
	h := newHouse(t, "function")
	key, err := ledger.GenerateKey("riposte.example/function")
	if err != nil {
		t.Fatal(err)
	}
	s := h.configure(settings{name: "function", store: storetest.Postgres(t), key: key, playbooks: map[string]string{"contain-key": containKey}})
	text := content(t, s.config)
	before, _, _ := strings.Cut(text, "sources: ")
	_, after, _ := strings.Cut(text, "store: ")
	write(t, s.config, before+"store: "+after)
	p := newPlatform(t)
	first := p.function(s)

	_, event := h.estate.Leak("function-0")
	if got := p.answered(t, string(event), 30*time.Second); got != "response null" {
		t.Fatalf("an event is answered by %s", got)
	}
	if h.estate.KeyStatus("function-0") == "Active" {
		t.Error("the answer came before the key was disabled")
	}

	// A queue's batch: two events and what can't be read, which is set aside and doesn't come again.
	var records []map[string]string
	for n := 1; n <= 2; n++ {
		_, event := h.estate.Leak(fmt.Sprintf("function-%d", n))
		records = append(records, map[string]string{"messageId": strconv.Itoa(n), "eventSource": "aws:sqs", "body": string(event)})
	}
	records = append(records, map[string]string{"messageId": "3", "eventSource": "aws:sqs", "body": "no event"})
	batch, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.answered(t, string(batch), 30*time.Second); got != `response {"batchItemFailures":[]}` {
		t.Errorf("a batch is answered by %s", got)
	}
	for n := 1; n <= 2; n++ {
		if h.estate.KeyStatus(fmt.Sprintf("function-%d", n)) == "Active" {
			t.Errorf("the key of message %d is active", n)
		}
	}

	// The process is killed while it disables a key.
	dying := make(chan struct{})
	var once sync.Once
	h.door.watch(func(op string) bool {
		if op == "UpdateAccessKey" {
			once.Do(func() {
				_ = first.Process.Kill()
				close(dying)
			})
			return false
		}
		return true
	}, nil)
	_, event = h.estate.Leak("function-killed")
	p.invoke(string(event), 30*time.Second)
	select {
	case <-dying:
	case <-time.After(30 * time.Second):
		t.Fatal("it did not come to act")
	}
	_ = first.Wait()
	h.door.watch(nil, nil)
	if h.estate.KeyStatus("function-killed") != "Active" {
		t.Fatal("the key was disabled nevertheless")
	}
	p.function(s)
	h.eventually(90*time.Second, "a tick finishes what was left", func() bool {
		if got := p.answered(t, `{"riposte":"tick"}`, 20*time.Second); got != "response null" {
			t.Fatalf("a tick is answered by %s", got)
		}
		return h.estate.KeyStatus("function-killed") != "Active"
	})
	verifyFunction(t, s, key)
}

// verifyFunction holds the ledger to what it must be: whole, and each change intended and ended once.
func verifyFunction(t *testing.T, s *server, key string) {
	t.Helper()
	signing, err := ledger.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := store.Open(t.Context(), strings.TrimSpace(content(t, filepath.Join(filepath.Dir(s.config), "store.url"))), store.Options{Key: signing})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if _, err := kept.VerifyLedger(t.Context()); err != nil {
		t.Error(err)
	}
	counts, err := kept.Counts(t.Context())
	if err != nil || counts.Letters != 1 || counts.Runs["succeeded"] != 4 || counts.Runs["ready"] != 0 {
		t.Errorf("%+v, %v", counts, err)
	}
}

// TestFunctionRefuses what can't be one's configuration.
func TestFunctionRefuses(t *testing.T) {
	h := newHouse(t, "function-refuses")
	s := h.configure(settings{name: "refuses"})
	out, err := s.cli("lambda", "--config", s.config)
	for _, want := range []string{"store.url", "SQLite can't be used", "store.ledger_key", "sources.queues"} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("got %v, %s; want %q", err, out, want)
		}
	}
}
