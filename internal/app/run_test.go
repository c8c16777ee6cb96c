package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/secret"
	"github.com/riposte-sec/riposte/internal/store"
)

// logged is a log that several write to.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is an app that runs, and its end.
type running struct {
	*app.App
	tb   testing.TB
	log  *logged
	data string
	stop context.CancelFunc
	done chan error
}

// run opens and runs a configuration; it is stopped when the test ends, if it wasn't before.
func run(tb testing.TB, c app.Config) *running {
	tb.Helper()
	r := &running{tb: tb, log: &logged{}, data: c.Data, done: make(chan error, 1)}
	opened, err := app.New(tb.Context(), c, r.options())
	if err != nil {
		tb.Fatal(err)
	}
	r.App = opened
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	r.stop = cancel
	go func() { r.done <- r.Run(ctx) }()
	tb.Cleanup(func() {
		if r.stop != nil {
			r.end()
		}
	})
	return r
}

func (r *running) options() app.Options {
	return app.Options{Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test", Now: time.Now}
}

// end stops it, which must go well.
func (r *running) end() {
	r.tb.Helper()
	r.stop()
	r.stop = nil
	if err := <-r.done; err != nil {
		r.tb.Errorf("it ended with %v", err)
	}
}

func (r *running) admin() *client.Client {
	r.tb.Helper()
	token := secret.FromFile(filepath.Join(r.data, app.TokenFile))
	if err := token.Resolve(".", nil); err != nil {
		r.tb.Fatal(err)
	}
	c, err := client.New(r.Address(), token, &http.Client{Timeout: 20 * time.Second})
	if err != nil {
		r.tb.Fatal(err)
	}
	return c
}

// local is a configuration of a server for this test alone.
func local(tb testing.TB) app.Config {
	tb.Helper()
	c := app.Defaults()
	c.Data, c.Listen = filepath.Join(tb.TempDir(), "data"), "127.0.0.1:0"
	return c
}

func TestClosingIsClean(t *testing.T) {
	t.Parallel()
	c := local(t)
	first := run(t, c)
	if err := first.admin().Get(t.Context(), "/v1/me", nil, nil); err != nil {
		t.Fatal(err)
	}
	address := first.Address()
	c.Listen = strings.TrimPrefix(address, "http://")
	first.end()
	if answer, err := http.Get(address + "/healthz"); err == nil {
		_ = answer.Body.Close()
		t.Error("it still answers")
	}
	if err := first.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	token, err := os.ReadFile(filepath.Join(c.Data, app.TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	second := run(t, c) // the store and the address are free
	again, err := os.ReadFile(filepath.Join(c.Data, app.TokenFile))
	if err != nil || string(again) != string(token) {
		t.Errorf("the administrator's token is another one after a restart: %v", err)
	}
	second.end()
}

func TestWhatIsKeptIsForThisUserAlone(t *testing.T) {
	t.Parallel()
	c := local(t)
	run(t, c).end()
	seen := 0
	err := filepath.WalkDir(c.Data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		about, err := entry.Info()
		if err == nil && about.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %s: others on this machine can read it", path, about.Mode())
		}
		seen++
		return err
	})
	if err != nil || seen < 5 {
		t.Errorf("saw %d files, %v", seen, err)
	}
}

func TestWhatCanNotBeOpenedIsTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*app.Config)
		says   string
	}{
		"address taken": {func(c *app.Config) { c.Listen = taken(t) }, "listen"},
		"data is a file": {func(c *app.Config) {
			c.Data = filepath.Join(files(t, map[string]string{"data": "x"}), "data")
		}, "data"},
		"data is another's": {func(c *app.Config) { run(t, *c) }, "another process"},
		"broken token":      {func(c *app.Config) { c.Data = files(t, map[string]string{app.TokenFile: "rip_x\n"}) }, "delete it"},
		"broken key":        {func(c *app.Config) { c.Data = files(t, map[string]string{"ledger.key": "x\n"}) }, "ledger"},
		"broken store": {func(c *app.Config) {
			c.Data = files(t, map[string]string{"riposte.db": strings.Repeat("no database ", 1000)})
		}, "damaged"},
		"store's address": {func(c *app.Config) { c.Store.URL = secret.New("postgres://riposte:hunter2@db:port/riposte") }, "PostgreSQL URL"},
		"cloud away": {func(c *app.Config) {
			c.AWS.Enabled, c.AWS.Region, c.AWS.Endpoint = true, "eu-central-1", "http://127.0.0.1:1"
		}, "aws"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := local(t)
			test.change(&c)
			_, err := app.New(t.Context(), c, (&running{log: &logged{}}).options())
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q said", err, test.says)
			}
		})
	}
}

// taken gives an address at which somebody else listens.
func taken(tb testing.TB) string {
	tb.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	tb.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// cloud is a stand-in for AWS: it says who we are, and its queue is empty. It is no test of the protocol.
func cloud(tb testing.TB) string {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if target := r.Header.Get("X-Amz-Target"); strings.HasPrefix(target, "AmazonSQS.") {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			_, _ = io.Copy(io.Discard, r.Body) // only then the end of who asked is noticed
			if strings.HasSuffix(target, "ReceiveMessage") {
				<-r.Context().Done()
			}
			_, _ = io.WriteString(w, "{}")
			return
		}
		_, _ = io.WriteString(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:sts::123456789012:assumed-role/riposte/i-0123456789abcdef0</Arn><UserId>AROA:x</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>`)
	}))
	tb.Cleanup(server.Close)
	return server.URL
}

// onCloud is a configuration with a queue.
func onCloud(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf(`listen: 127.0.0.1:0
aws: {enabled: true, region: eu-central-1, endpoint: %[1]q, assume_role: responder, external_id: {file: external}}
sources: {queues: [{url: %[1]q, buckets: [acme-trail]}]}
protect: [{tag: riposte=hands-off, reason: owned by the platform team}]
auth: {senders: [{name: collector, secret: {file: sender}}]}
slack: {token: {file: slack}, channels: {alerts: {webhook: {file: hook}}}}
webhook: {endpoints: {hook: {url: {file: hook}, secret: {file: whsec}}}}
pagerduty: {services: {pager: {routing_key: {file: pager}}}}
email: {host: 127.0.0.1, tls: none, from: riposte@example.com, username: u, password: {file: mail}, lists: {all: [a@example.com]}}
`, cloud(tb)+"/123456789012/riposte-events")
}

// secrets are the files of onCloud.
func secrets() map[string]string {
	return map[string]string{
		"external": "ext-Xq2hunter", "sender": "0123456789abcdef0123456789hunter", "slack": "xoxb-hunter-slack",
		"hook": "https://hooks.example.com/services/hunter-hook", "whsec": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		"pager": "0123456789abcdef0123456789hunt3r", "mail": "hunter-mail",
	}
}

func TestWhatRiposteStandsOnCanNotBeLifted(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "aws-hunter-secret")
	texts := secrets()
	texts["riposte.yaml"] = onCloud(t)
	folder := files(t, texts)
	c, warnings, err := app.ReadConfig(filepath.Join(folder, "riposte.yaml"))
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	c.Data = filepath.Join(folder, "data")
	r := run(t, c)
	var page store.Page[guardrail.Protection]
	if err := r.admin().Get(t.Context(), "/v1/protections", nil, &page); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range page.Items {
		got = append(got, strings.TrimSpace(string(p.Kind)+" "+p.Name+p.Tag+" "+p.Account))
		err := r.admin().Delete(t.Context(), "/v1/protections/"+strings.ReplaceAll(p.ID, "/", "%2F"), nil, nil)
		if !fault.Is(err, fault.Denied) && !fault.Is(err, fault.NotFound) || !p.Own {
			t.Errorf("%s: got %v, own %t; want that it can't be lifted", p.ID, err, p.Own)
		}
	}
	for _, want := range []string{
		"riposte=hands-off", "role riposte 123456789012", "instance i-0123456789abcdef0 123456789012", "role responder",
		"bucket acme-trail", "queue " + c.Sources.Queues[0].URL,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not protected; protected are %q", want, got)
		}
	}
	err = r.admin().Get(t.Context(), "/v1/protections", nil, &page)
	if err != nil || len(page.Items) != len(got) {
		t.Errorf("%d are left of %d, %v", len(page.Items), len(got), err)
	}
	r.end()
	told, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	all := r.log.String() + string(told) + fmt.Sprintf("%v %+v", c, c)
	texts["aws"] = "aws-hunter-secret"
	for name, text := range texts {
		if name != "riposte.yaml" && strings.Contains(all, text) {
			t.Errorf("the secret %s is told", name)
		}
	}
	token, err := os.ReadFile(filepath.Join(c.Data, app.TokenFile))
	if err != nil || strings.Contains(r.log.String(), strings.TrimSpace(string(token))) {
		t.Errorf("the log tells the administrator's token, %v", err)
	}
}
