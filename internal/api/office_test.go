package api_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/provider/push"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/secret"
	"github.com/riposte-sec/riposte/internal/store"
)

const account = "111111111111"

// sender is a machine that signs; sharedKey is its secret.
const (
	sender    = "collector"
	sharedKey = "0123456789abcdef0123456789abcdef"
)

// noon is when the office opens.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 123456789, time.UTC)

// office is a server with a store of its own, and somebody of each role who asks it.
type office struct {
	testing.TB
	*store.Store
	server  *api.Server
	options api.Options
	world   *actiontest.World
	runner  *respond.Runner
	board   *health.Board
	legs    *legs
	tokens  map[auth.Role]string
	file    string // of the store
	from    string // the address of all that ask; each has one of its own if empty
	taken   []event.Batch
	mu      sync.Mutex
	clock   time.Time
	made    int
}

// legs is a Starter whose legs wait until the test executes them.
type legs struct {
	mu      sync.Mutex
	waiting []leg
}

type leg struct {
	run string
	leg int64
}

// Start is of respond.Starter.
func (l *legs) Start(_ context.Context, runID string, n, _ int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, leg{runID, n})
	return nil
}

func (l *legs) take() (leg, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return leg{}, false
	}
	first := l.waiting[0]
	l.waiting = l.waiting[1:]
	return first, true
}

var theKey = sync.OnceValues(func() (*ledger.Key, error) {
	text, err := ledger.GenerateKey("riposte.dev/ledger/test")
	if err != nil {
		return nil, err
	}
	return ledger.ParseKey(text)
})

func newOffice(tb testing.TB, changes ...func(*api.Options)) *office {
	tb.Helper()
	o := &office{TB: tb, world: actiontest.New(), legs: &legs{}, clock: noon, board: health.New(time.Now)}
	key, err := theKey()
	if err != nil {
		tb.Fatal(err)
	}
	o.file = filepath.Join(tb.TempDir(), "riposte.db")
	o.Store, err = store.Open(tb.Context(), o.file, store.Options{Key: key, Now: o.now})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := o.Close(); err != nil {
			tb.Error(err)
		}
	})
	o.world.Put(account, "door", "open")
	quiet := slog.New(slog.DiscardHandler)
	o.runner = respond.New(respond.Options{
		Node: "node-a", Journal: o.Store, Rails: o.Store, Actions: o.world.Actions(), Policy: respond.Policy{Ceiling: run.Auto},
		Now: o.now, NewID: o.next, Logger: quiet,
	})
	o.runner.Connect(o.legs)
	content := api.Content{
		Rules:     []api.Rule{{Name: "trail-stopped", Title: "A trail was stopped", Severity: "high", File: "shipped:rules/trail.yaml"}},
		Playbooks: []api.Playbook{{Name: "contain", Summary: "Contain it.", Autonomy: run.Approve}},
		Actions:   []api.Action{{Name: actiontest.Set, Effect: string(action.Contain)}},
	}
	o.options = api.Options{
		Store: o.Store, Desk: o.runner, Keeper: o.keeper(), Board: o.board,
		Replay: func(_ context.Context, l event.Letter) error {
			_, err := awslog.Record(l.Raw)
			return err
		},
		Content: func() api.Content { return content },
		Sources: func(ctx context.Context) ([]api.Source, error) {
			seen, err := o.SeenSources(ctx)
			return make([]api.Source, len(seen)), err
		},
		Fixed:   []guardrail.Protection{{ID: "own-role-riposte", Kind: entity.Role, Name: "riposte", Reason: "Riposte itself stands on it", Own: true}},
		Events:  push.Events(o.sink, func(r *http.Request) string { return "http:" + r.RemoteAddr }, quiet),
		SNS:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "riposte_build_info 1\n") }),
		Version: "test", Now: o.now, NewID: o.next, Logger: quiet,
	}
	for _, change := range changes {
		change(&o.options)
	}
	o.server = api.New(o.options)
	return o
}

// keeper knows a token of each role, named like the role, and a sender who signs.
func (o *office) keeper() *auth.Keeper {
	o.Helper()
	o.tokens = map[auth.Role]string{}
	var c auth.Config
	for _, role := range auth.Roles() {
		token, hash, err := auth.Generate()
		if err != nil {
			o.Fatal(err)
		}
		o.tokens[role] = token
		c.Tokens = append(c.Tokens, auth.Token{Name: string(role), SHA256: hash, Roles: []auth.Role{role}})
	}
	c.Senders = []auth.Sender{{Name: sender, Secret: secret.New(sharedKey)}}
	keeper, err := auth.New(c, o.now)
	if err != nil {
		o.Fatal(err)
	}
	return keeper
}

func (o *office) sink(_ context.Context, b event.Batch) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken = append(o.taken, b)
	return nil
}

func (o *office) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.clock
}

// pass lets time go by.
func (o *office) pass(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clock = o.clock.Add(d)
}

// next makes ids that sort as they were made.
func (o *office) next() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.made++
	return fmt.Sprintf("id-%06d", o.made)
}

// reply is what came back.
type reply struct {
	tb     testing.TB
	code   int
	header http.Header
	body   string
}

// ask asks as somebody of a role, or of none.
func (o *office) ask(as auth.Role, method, target, body string, headers ...string) reply {
	o.Helper()
	request := httptest.NewRequestWithContext(o.Context(), method, target, strings.NewReader(body))
	request.RemoteAddr = o.from
	if o.from == "" { // everybody asks from elsewhere
		request.RemoteAddr = "[2001:db8:" + strings.TrimPrefix(o.next(), "id-00") + "::1]:1000"
	}
	if as != "" {
		request.Header.Set("Authorization", "Bearer "+o.tokens[as])
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	o.server.ServeHTTP(w, request)
	return reply{tb: o.TB, code: w.Code, header: w.Header(), body: w.Body.String()}
}

// get asks as an administrator and reads the answer.
func get[T any](o *office, target string) T { //nolint:ireturn // T is concrete
	o.Helper()
	return read[T](o.ask(auth.Admin, http.MethodGet, target, ""))
}

// read reads an answer, which must be a good one.
func read[T any](r reply) T { //nolint:ireturn // T is concrete
	r.tb.Helper()
	var into T
	if r.code/100 != 2 {
		r.tb.Fatalf("got status %d: %s", r.code, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &into); err != nil {
		r.tb.Fatalf("the answer is not JSON: %v\n%s", err, r.body)
	}
	return into
}

// refused checks that a request was refused with a problem document (RFC 9457) that says why.
func (r reply) refused(status int, parts ...string) {
	r.tb.Helper()
	if r.code != status {
		r.tb.Errorf("got status %d, want %d: %s", r.code, status, r.body)
		return
	}
	if got, want := r.header.Get("Content-Type"), "application/problem+json"; got != want {
		r.tb.Errorf("got content type %q, want %q", got, want)
	}
	var problem struct {
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal([]byte(r.body), &problem); err != nil || problem.Status != status || problem.Detail == "" {
		r.tb.Errorf("no problem with a detail: %v %s", err, r.body)
	}
	for _, part := range parts {
		if !strings.Contains(r.body, part) {
			r.tb.Errorf("the problem does not say %q: %s", part, r.body)
		}
	}
}

// asking is a playbook that changes the door when a person says yes.
const asking = `playbook: contain
summary: Close the door.
on: {findings: ["rule:*"]}
autonomy: approve
on_false_positive: undo
steps:
  - id: close
    use: test.world.set_thing
    with: {thing: door, to: closed}
`

// decided keeps a finding with an incident and a run of a playbook, and gives the decision. change may change it.
func (o *office) decided(text string, change func(*run.Decision)) run.Decision {
	o.Helper()
	parsed, err := playbook.Parse("test.yaml", []byte(text))
	if err != nil {
		o.Fatal(err)
	}
	now, n := o.now(), o.next()
	about := []entity.Entity{{Kind: entity.AccessKey, ID: "AKIA" + n, Part: entity.Actor, Account: account}}
	i := incident.Incident{
		ID: "inc-" + n, Title: "Somebody is in", State: incident.Open, Severity: finding.High, Account: account,
		FirstSeen: now, LastSeen: now, Opened: now, Updated: now, Findings: 1, Entities: about,
	}
	r := run.Run{
		ID: "run-" + n, Kind: run.Playbook, Incident: i.ID, Finding: "fin-" + n, Playbook: parsed.Name, Hash: parsed.Hash,
		Subject: "access_key=AKIA" + n, Autonomy: parsed.Autonomy, State: run.Ready, By: record.System, Created: now, Updated: now, Leg: 1,
	}
	d := run.Decision{
		Finding: finding.Finding{
			ID: "fin-" + n, Fingerprint: "print-" + n, Product: finding.Riposte, Type: "rule:trail-stopped", Title: "Somebody is in",
			Severity: finding.High, FirstSeen: now, LastSeen: now, Received: now, Count: 1, Account: account, Entities: about,
			Events: []string{"event-" + n},
		},
		Events:   []event.Event{{Key: "event-" + n, Source: event.CloudTrail, Time: now, Received: now, Name: "StopLogging", Raw: []byte(`{"n":1}`)}},
		Incident: &i, Runs: []run.Run{r}, Versions: []run.Version{{Name: parsed.Name, Hash: parsed.Hash, Text: parsed.Text}},
		Records: []record.Record{
			record.New(now, record.IncidentOpened, record.System, map[string]string{"finding": "fin-" + n}).About(i.ID, "", ""),
			record.New(now, record.RunStarted, record.System, map[string]string{"playbook": parsed.Name}).About(i.ID, r.ID, ""),
		},
	}
	if change != nil {
		change(&d)
	}
	if err := o.Update(o.Context(), func(tx *store.Tx) error { return tx.Save(o.Context(), d) }); err != nil {
		o.Fatal(err)
	}
	return d
}

// asked starts a run of the playbook that asks, up to its question.
func (o *office) asked() run.Approval {
	o.Helper()
	d := o.decided(asking, nil)
	if err := o.legs.Start(o.Context(), d.Runs[0].ID, 1, 0); err != nil {
		o.Fatal(err)
	}
	o.work()
	open := get[store.Page[run.Approval]](o, "/v1/approvals?incident="+d.Incident.ID).Items
	if len(open) != 1 {
		o.Fatalf("%d questions are open, want 1", len(open))
	}
	return open[0]
}

// work executes the legs that were started.
func (o *office) work() {
	o.Helper()
	for next, more := o.legs.take(); more; next, more = o.legs.take() {
		if err := o.runner.Advance(o.Context(), next.run, next.leg); err != nil {
			o.Fatal(err)
		}
	}
}

// tamper changes an entry of the ledger as somebody would who has the database's file.
func (o *office) tamper() {
	o.Helper()
	db, err := sql.Open("sqlite", o.file)
	if err != nil {
		o.Fatal(err)
	}
	changed, err := db.ExecContext(o.Context(), `UPDATE ledger_entries SET entry = replace(entry, 'contain', 'restrain') WHERE seq = 1`)
	if err = errors.Join(err, db.Close()); err != nil {
		o.Fatal(err)
	}
	if rows, err := changed.RowsAffected(); err != nil || rows != 1 {
		o.Fatalf("changed %d entries, %v", rows, err)
	}
}

func (o *office) door() string { return o.world.Values()[account+"/door"] }

// recorded counts the ledger's entries of a kind by who did it.
func (o *office) recorded(kind record.Kind, actor string) int {
	o.Helper()
	count := 0
	for _, e := range get[store.Page[ledger.Entry]](o, "/v1/ledger?limit=1000&kind="+string(kind)).Items {
		if e.Actor == actor {
			count++
		}
	}
	return count
}
