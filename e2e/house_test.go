// Package e2e runs the real binary against real parts: an emulator of AWS, PostgreSQL, a receiver of webhooks.
package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api/client"
	_ "github.com/riposte-sec/riposte/internal/cli" // all of the binary: go test must not take a result from its cache when that changed
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/secret"
	"github.com/riposte-sec/riposte/internal/store"
)

// binary builds the command once for the test process.
var binary = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "riposte-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "riposte")
	out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, "github.com/riposte-sec/riposte/cmd/riposte").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// house is a place for servers to run in: the cloud behind its door, a queue, a receiver of webhooks.
type house struct {
	tb     testing.TB
	folder string
	door   *door
	hooks  *hooks
	estate *awstest.Estate
}

func newHouse(tb testing.TB, queue string) *house {
	tb.Helper()
	h := &house{tb: tb, folder: tb.TempDir(), door: newDoor(tb, awstest.Emulator(tb)), hooks: newHooks(tb)}
	h.estate = awstest.NewEstate(tb, h.door.emulator, queue)
	return h
}

// settings says how a server of the house is configured.
type settings struct {
	name      string // of its data folder
	store     string // URL of PostgreSQL; embedded if empty
	playbooks map[string]string
	rules     string // folder of rules, in place of the shipped ones
	key       string // of the ledger, where nodes share a store
	noQueue   bool
}

// server is one process.
type server struct {
	house  *house
	config string
	url    string
	token  string
	log    string
	proc   *exec.Cmd
	dead   chan struct{}
}

// configure writes a server's configuration.
func (h *house) configure(s settings) *server {
	h.tb.Helper()
	folder := filepath.Join(h.folder, s.name)
	books := filepath.Join(folder, "playbooks")
	if err := os.MkdirAll(books, 0o700); err != nil {
		h.tb.Fatal(err)
	}
	for name, text := range s.playbooks {
		write(h.tb, filepath.Join(books, name+".yaml"), text)
	}
	address := free(h.tb)
	content := fmt.Sprintf("shipped: %t, playbooks: [playbooks]", len(s.playbooks) == 0 && s.rules == "")
	if s.rules != "" {
		content += ", rules: [" + s.rules + "]"
	}
	text := fmt.Sprintf("data: data\nlisten: %s\ncontent: {%s}\n", address, content) +
		"respond: {limits: {per_hour: 100000, per_account_hour: 100000, distinct_accounts: 1000}}\n" +
		fmt.Sprintf("webhook: {endpoints: {hook: {url: %s, secret: {env: HOOK_SECRET}}}}\n", h.hooks.server.URL)
	if !s.noQueue {
		text += fmt.Sprintf("aws: {enabled: true, region: %s, endpoint: %s}\nsources: {queues: [{url: %s}]}\n",
			awstest.Region, h.door.url(), strings.Replace(h.estate.Queue, h.door.emulator, h.door.url(), 1))
	}
	if s.store != "" {
		write(h.tb, filepath.Join(folder, "store.url"), s.store)
		write(h.tb, filepath.Join(folder, "ledger.key"), s.key)
		text += "store: {url: {file: store.url}, ledger_key: {file: ledger.key}}\n"
	}
	file := filepath.Join(folder, "riposte.yaml")
	write(h.tb, file, text)
	return &server{
		house: h, config: file, url: "http://" + address, token: filepath.Join(folder, "data", "admin.token"),
		log: filepath.Join(folder, "log"),
	}
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func free(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (s *server) command(ctx context.Context, args ...string) *exec.Cmd {
	s.house.tb.Helper()
	path, err := binary()
	if err != nil {
		s.house.tb.Fatal(err)
	}
	c := exec.CommandContext(ctx, path, args...)
	c.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=", "AWS_PROFILE=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"HOOK_SECRET=whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "RIPOSTE_URL="+s.url, "RIPOSTE_TOKEN_FILE="+s.token, "RIPOSTE_TOKEN=")
	return c
}

// start starts the process. It is killed when the test ends.
func (s *server) start() {
	s.house.tb.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.house.tb.Fatal(err)
	}
	s.proc = s.command(context.Background(), "serve", "--config", s.config)
	s.proc.Stderr, s.proc.Stdout = log, log
	if err := s.proc.Start(); err != nil {
		s.house.tb.Fatal(err)
	}
	s.dead = make(chan struct{})
	go func(c *exec.Cmd, dead chan struct{}) {
		_ = c.Wait() // killed
		_ = log.Close()
		close(dead)
	}(s.proc, s.dead)
	s.house.tb.Cleanup(func() {
		s.kill()
		if text, err := os.ReadFile(s.log); err == nil && s.house.tb.Failed() {
			s.house.tb.Logf("the end of %s:\n%s", s.log, text[max(0, len(text)-8000):])
		}
	})
}

// kill ends the process as a loss of power would, and waits until it is gone.
func (s *server) kill() {
	if s.proc != nil && s.proc.Process != nil {
		_ = s.proc.Process.Kill() // it may be dead already
		<-s.dead
	}
}

// ready waits until all parts of the server work.
func (s *server) ready() {
	s.house.tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); s.readiness() != http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			out, err := s.cli("status")
			_ = s.proc.Process.Signal(syscall.SIGQUIT) // it tells in its log what it is at
			<-s.dead
			s.house.tb.Fatalf("the server is not ready after 30s: %v\n%s", err, out)
		}
	}
}

// readiness is what /readyz answers, 0 if it doesn't.
func (s *server) readiness() int {
	answer, err := http.Get(s.url + "/readyz")
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

func (s *server) client() *client.Client {
	s.house.tb.Helper()
	token := secret.FromFile(s.token)
	if err := token.Resolve(".", nil); err != nil {
		s.house.tb.Fatal(err)
	}
	c, err := client.New(s.url, token, &http.Client{Timeout: 20 * time.Second})
	if err != nil {
		s.house.tb.Fatal(err)
	}
	return c
}

// cli runs a command against the server and gives what it wrote.
func (s *server) cli(args ...string) (string, error) {
	s.house.tb.Helper()
	out, err := s.command(s.house.tb.Context(), args...).CombinedOutput()
	return string(out), err
}

// runs gives the runs in some states, all if none is given.
func (s *server) runs(states ...string) []run.Run {
	s.house.tb.Helper()
	var all []run.Run
	for cursor := ""; ; {
		query := url.Values{"limit": {"500"}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		if len(states) > 0 {
			query.Set("state", strings.Join(states, ","))
		}
		var page store.Page[run.Run]
		if err := s.client().Get(s.house.tb.Context(), "/v1/runs", query, &page); err != nil {
			s.house.tb.Fatal(err)
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

func (h *house) eventually(patience time.Duration, what string, holds func() bool) {
	h.tb.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.tb.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// post hands events to a server.
func (s *server) post(events ...[]byte) {
	s.house.tb.Helper()
	body := bytes.Join(events, []byte("\n"))
	if err := s.client().Send(s.house.tb.Context(), "/v1/events", "application/x-ndjson", bytes.NewReader(body), nil); err != nil {
		s.house.tb.Fatal(err)
	}
}

// hooks receives webhooks and remembers their ids.
type hooks struct {
	server *httptest.Server
	came   atomic.Int64
	mu     sync.Mutex
	ids    map[string]int
	bodies map[string]string
}

func newHooks(tb testing.TB) *hooks {
	tb.Helper()
	h := &hooks{ids: map[string]int{}, bodies: map[string]string{}}
	h.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ids[r.Header.Get("Webhook-Id")]++
		h.bodies[r.Header.Get("Webhook-Id")] = string(body)
		h.came.Add(1)
	}))
	tb.Cleanup(h.server.Close)
	return h
}

func (h *hooks) distinct() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ids)
}
