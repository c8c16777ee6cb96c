// Package demo plays an attack on an emulated account, with a whole Riposte answering, and shows what happens.
//
// Nothing in it is for show alone: the server is the product on its defaults, what is told comes from its API
// and from the emulator, and the demonstration fails where something isn't as it should be.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awsdemo"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/secret"
	"github.com/riposte-sec/riposte/internal/store"
)

// Options are what the demonstration needs.
type Options struct {
	Endpoint string // of the emulator
	Version  string
	Stay     bool // leave the server up at the end
	Listen   string
	Out      io.Writer
	Log      io.Writer // where the server logs
}

// patience bounds the wait for what an act leads to.
const patience = 60 * time.Second

// stage is the demonstration while it is played.
type stage struct {
	Options
	account *awsdemo.Account
	app     *app.App
	admin   *client.Client
	analyst *client.Client
	folder  string
	tokens  map[auth.Role]string

	teller  *teller
	before  []awsdemo.Fact
	results []result
	failed  []string
}

// result is a row of the summary.
type result struct {
	act       string
	decided   time.Duration // from the act to the first record about it
	contained time.Duration // from the act to the last proof, the wait for the answer included
	runs      string
}

// Run plays the demonstration. It returns an error where something isn't as it should be.
func Run(ctx context.Context, o Options) error {
	s := &stage{Options: o, tokens: map[auth.Role]string{}}
	folder, err := os.MkdirTemp("", "riposte-demo-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	s.folder = folder
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	err = s.prepare(serving, ended)
	if err == nil {
		err = s.play(ctx)
	}
	if err == nil && o.Stay {
		s.stay(ctx)
	}
	stop()
	if s.app != nil {
		if e := <-ended; e != nil && !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, os.RemoveAll(folder))
}

// prepare puts the account into the emulator and starts the server.
func (s *stage) prepare(ctx context.Context, ended chan<- error) error {
	var err error
	if s.account, err = awsdemo.Connect(ctx, s.Endpoint, time.Now); err != nil {
		return err
	}
	s.title("The account")
	if err := s.account.Seed(ctx); err != nil {
		return err
	}
	s.say("a company's account is in the emulator: trail, buckets, queue, user with a key, role, network with flow logs, two servers")
	began := time.Now()
	settings, err := s.settings()
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	if s.app, err = app.New(ctx, settings, app.Options{Logger: logger, Version: s.Version, Now: time.Now}); err != nil {
		return err
	}
	go func() { ended <- s.app.Run(ctx) }()
	if s.admin, err = s.client(auth.Admin); err != nil {
		return err
	}
	if s.analyst, err = s.client(auth.IncidentAnalyst); err != nil {
		return err
	}
	if err := s.until(ctx, "the server to be ready", func() (bool, error) { _, ready := s.app.Board().States(); return ready, nil }); err != nil {
		return err
	}
	s.say("Riposte %s is ready at %s after %s", s.Version, s.app.Address(), time.Since(began).Round(time.Millisecond))
	return nil
}

// settings are the embedded defaults, the account's queue, and a token for each part that is played.
func (s *stage) settings() (app.Config, error) {
	c := app.Defaults()
	c.Data, c.Listen = s.folder, s.Listen
	c.AWS = aws.Config{Enabled: true, Region: awsdemo.Region, Endpoint: s.Endpoint}
	c.Sources.Queues = []aws.QueueConfig{{URL: s.account.Queue, Buckets: []string{awsdemo.LogBucket}}}
	for _, role := range []auth.Role{auth.Admin, auth.IncidentAnalyst} {
		token, hash, err := auth.Generate()
		if err != nil {
			return c, err
		}
		s.tokens[role] = token
		c.Auth.Tokens = append(c.Auth.Tokens, auth.Token{Name: "demo-" + string(role), SHA256: hash, Roles: []auth.Role{role}})
	}
	return c, nil
}

func (s *stage) client(role auth.Role) (*client.Client, error) {
	return client.New(s.app.Address(), secret.New(s.tokens[role]), &http.Client{Timeout: time.Minute})
}

func (s *stage) play(ctx context.Context) error {
	var err error
	if s.before, err = s.account.State(ctx); err != nil {
		return err
	}
	s.title("Before the attack, as the emulator tells it")
	s.facts(s.before, nil)

	telling, stop := context.WithCancel(ctx)
	defer stop()
	s.teller = newTeller(s, s.admin)
	told := make(chan struct{})
	go func() { defer close(told); s.teller.run(telling) }()

	s.title("The attack")
	for i, act := range s.account.Attack() {
		if err := s.act(ctx, i+1, act); err != nil {
			return err
		}
	}
	for _, part := range []func(context.Context) error{s.contained, s.repeat, s.undo, s.proof} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	stop()
	<-told
	return s.summary()
}

// act plays one act and waits until everything that follows from it is done.
func (s *stage) act(ctx context.Context, n int, act awsdemo.Act) error {
	s.say("\n%d. The intruder %s", n, act.Title)
	passed, seen := s.passed(), s.teller.count()
	began := time.Now()
	if err := act.Do(ctx); err != nil {
		return fmt.Errorf("play act %d: %w", n, err)
	}
	if err := s.until(ctx, "the event to be taken in", func() (bool, error) { return s.passed() > passed, nil }); err != nil {
		return err
	}
	if err := s.settled(ctx); err != nil {
		return err
	}
	s.results = append(s.results, s.teller.result(seen, began, fmt.Sprintf("%d. %s", n, short(act.Title))))
	return nil
}

// settled waits until no run is on its way: whatever asks is answered by the teller.
func (s *stage) settled(ctx context.Context) error {
	return s.until(ctx, "the runs to end", func() (bool, error) {
		var open store.Page[run.Run]
		if err := s.admin.Get(ctx, "/v1/runs", url.Values{"state": {"ready,waiting,held"}}, &open); err != nil {
			return false, err
		}
		size, err := s.size(ctx)
		return len(open.Items) == 0 && int64(s.teller.count()) >= size, err
	})
}

func (s *stage) size(ctx context.Context) (int64, error) {
	var v api.Verified
	err := s.admin.Get(ctx, "/v1/ledger/verify", nil, &v)
	return v.Report.Size, err
}

func (s *stage) passed() uint64 {
	var passed uint64
	for _, counts := range s.app.Stats().Sources {
		passed += counts.Passed
	}
	return passed
}

func (s *stage) until(ctx context.Context, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(patience)
	for {
		yes, err := done()
		if err != nil || yes {
			return err
		}
		if time.Now().After(deadline) {
			return fault.New(fault.Transient, "waited %s for %s", patience, what)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// contained compares the emulator's account with what should be.
func (s *stage) contained(ctx context.Context) error {
	after, err := s.account.State(ctx)
	if err != nil {
		return err
	}
	s.title("After the response, as the emulator tells it")
	s.facts(after, s.before)
	s.expect("the trail logs again", is(after, "trail "+awsdemo.Trail, "logging") == "yes")
	s.expect("the bucket is closed to the public", is(after, "bucket "+awsdemo.DataBucket, "public access") == "blocked")
	s.expect("the stolen key is inactive", is(after, "key of "+awsdemo.KeyUser, "status") == "Inactive")
	s.expect("the server is cut off", is(after, "instance acme-web-1", "security groups") != is(s.before, "instance acme-web-1", "security groups"))
	s.expect("the server's role is gone", is(after, "instance acme-web-1", "instance profile") == "none")
	s.expect("the evidence is kept", is(after, "instance acme-web-1", "snapshots kept as evidence") != "0")
	s.expect("nothing else was touched", is(after, "instance acme-db-1", "security groups") == is(s.before, "instance acme-db-1", "security groups"))
	return nil
}

// repeat delivers a file once more, as queues do.
func (s *stage) repeat(ctx context.Context) error {
	s.title("The same file again, as queues deliver")
	before, err := s.size(ctx)
	if err != nil {
		return err
	}
	known := s.duplicates()
	if err := s.account.Again(ctx); err != nil {
		return err
	}
	if err := s.until(ctx, "the file to come again", func() (bool, error) { return s.duplicates() > known, nil }); err != nil {
		return err
	}
	after, err := s.size(ctx)
	s.expect("the events are known, nothing follows from them", after == before)
	return err
}

func (s *stage) duplicates() uint64 {
	var known uint64
	for _, counts := range s.app.Stats().Sources {
		known += counts.Duplicates
	}
	return known
}

// undo takes back the isolation, and holds what is then against what was before.
func (s *stage) undo(ctx context.Context) error {
	s.title("The analyst finds that the server is needed: undo")
	var runs store.Page[run.Run]
	if err := s.admin.Get(ctx, "/v1/runs", url.Values{"playbook": {"isolate-compromised-instance"}}, &runs); err != nil {
		return err
	}
	if len(runs.Items) == 0 {
		return fault.New(fault.NotFound, "nothing was isolated")
	}
	var undo run.Run
	if err := s.analyst.Post(ctx, "/v1/runs/"+runs.Items[0].ID+"/undo", api.Undo{}, &undo); err != nil {
		return err
	}
	if err := s.settled(ctx); err != nil {
		return err
	}
	after, err := s.account.State(ctx)
	if err != nil {
		return err
	}
	s.facts(after, s.before)
	same := true
	for _, fact := range s.before {
		if fact.Resource == "instance acme-web-1" && fact.What != "snapshots kept as evidence" {
			same = same && is(after, fact.Resource, fact.What) == fact.Is
		}
	}
	s.expect("the server is exactly as it was before", same)
	return nil
}

// proof exports the ledger and verifies it offline, against a checkpoint kept apart.
func (s *stage) proof(ctx context.Context) error {
	s.title("The record")
	var head api.Checkpoint
	if err := s.admin.Get(ctx, "/v1/ledger/checkpoint", nil, &head); err != nil {
		return err
	}
	path := filepath.Join(s.folder, "ledger.jsonl")
	file, err := os.Create(path) //nolint:gosec // in the demonstration's own folder
	if err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	if err := errors.Join(s.admin.Copy(ctx, "/v1/ledger/export", file), file.Close()); err != nil {
		return err
	}
	report, err := verifyFile(path, []byte(head.Checkpoint))
	if err != nil {
		s.expect("the ledger verifies offline: "+err.Error(), false)
		return nil //nolint:nilerr // it is told, and counted
	}
	s.expect(fmt.Sprintf("the ledger of %d entries verifies offline, root %.16s…", report.Size, report.Root), true)
	text, err := os.ReadFile(path) //nolint:gosec // in the demonstration's own folder
	if err != nil {
		return fmt.Errorf("read export: %w", err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil { //nolint:gosec // in the demonstration's own folder
		return fmt.Errorf("write export: %w", err)
	}
	_, err = verifyFile(path, []byte(head.Checkpoint))
	s.expect("with one bit changed it does not", err != nil)
	return nil
}

func verifyFile(path string, saved []byte) (ledger.Report, error) {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return ledger.Report{}, fmt.Errorf("open export: %w", err)
	}
	report, err := ledger.Verify(file, ledger.VerifyOptions{Saved: saved})
	return report, errors.Join(err, file.Close())
}

func (s *stage) summary() error {
	s.title("Summary")
	rows := [][]string{{"WHAT THE INTRUDER DID", "DECIDED AFTER", "DONE AFTER", "RUNS"}}
	for _, r := range s.results {
		rows = append(rows, []string{r.act, took(r.decided), took(r.contained), r.runs})
	}
	s.table(rows)
	stats := s.app.Stats()
	var events uint64
	for _, counts := range stats.Sources {
		events += counts.Received
	}
	s.say("\n%d events received, %d of them known already; %d records in the ledger", events, s.duplicates(), s.teller.count())
	if len(s.failed) > 0 {
		return fault.New(fault.Internal, "%d things are not as they should be: %v", len(s.failed), s.failed)
	}
	s.say("everything is as it should be")
	return nil
}

// stay leaves the server up for people to look around, until they end it.
func (s *stage) stay(ctx context.Context) {
	token := filepath.Join(s.folder, app.TokenFile)
	if err := os.WriteFile(token, []byte(s.tokens[auth.Admin]+"\n"), 0o600); err != nil {
		s.say("the token could not be written: %v", err)
		return
	}
	s.title("The server stays up; end it with Ctrl-C")
	s.say("in another terminal:\n\n  export RIPOSTE_URL=%s RIPOSTE_TOKEN_FILE=%s\n  bin/riposte incidents list\n  bin/riposte runs list\n  bin/riposte ledger show --follow", s.app.Address(), token)
	<-ctx.Done()
}

func (s *stage) expect(what string, holds bool) {
	if holds {
		s.say("  ✓ %s", what)
		return
	}
	s.failed = append(s.failed, what)
	s.say("  ✗ NOT SO: %s", what)
}

func is(facts []awsdemo.Fact, resource, what string) string {
	at := slices.IndexFunc(facts, func(f awsdemo.Fact) bool { return f.Resource == resource && f.What == what })
	if at < 0 {
		return "?"
	}
	return facts[at].Is
}
