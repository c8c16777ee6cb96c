// Package app wires the parts of Riposte into one process.
//
// The way of one event: a source reads it, ingest checks and deduplicates it, detect makes findings of it,
// correlate those of several events together, triage decides them, store keeps the decision, respond carries out the runs.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel"
	"golang.org/x/sync/errgroup"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/approvallink"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/channel"
	"github.com/riposte-sec/riposte/internal/correlate"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/durable"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/follow"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/ingest"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/cloudevents"
	"github.com/riposte-sec/riposte/internal/provider/push"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
	"github.com/riposte-sec/riposte/internal/telemetry"
	"github.com/riposte-sec/riposte/internal/triage"
)

// patience is how long runs in flight are waited for at the end; what is left is finished after a restart.
const patience = 10 * time.Second

// Options are what the process around the app gives.
type Options struct {
	Logger  *slog.Logger
	Version string
	Now     func() time.Time
	// Transport carries messages to Slack and the like; a safe one of its own if nil.
	Transport http.RoundTripper

	errand *Errand // that it works for; nil where it serves
}

// App is one running Riposte.
type App struct {
	config       Config
	options      Options
	node         string
	store        *store.Store
	cloud        *aws.Cloud        // nil where AWS isn't enabled
	organization *aws.Organization // nil where the accounts follow none
	queues       []*aws.Queue
	intake       *ingest.Intake
	register     *register
	runner       *respond.Runner
	durable      *durable.Engine
	keeper       *auth.Keeper
	told         *messengers
	desk         *answers
	links        *approvallink.Links // nil where they are off
	board        *health.Board
	shelf        *shelf
	early        func() (*Content, error) // the content, which is loaded while other parts are opened
	way          *pipeline
	followers    []*follow.Follower
	origin       string // of the ledger
	listener     net.Listener
	server       *http.Server
	flush        func(context.Context) error // of traces
	lock         *os.File                    // of the data folder
	token        string                      // file of the local administrator's token, "" if there is none
}

// New opens everything that Run needs. Close it if Run isn't called.
func New(ctx context.Context, c Config, o Options) (*App, error) {
	a := &App{config: c, options: o, board: health.New(o.Now)}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close()) //nolint:contextcheck // closing outlives ctx
	}
	return a, nil
}

func newID() string { return ulid.Make().String() }

func (a *App) open(ctx context.Context) error {
	a.early = a.loadEarly()
	var err error
	if err = os.MkdirAll(a.config.Data, 0o700); err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("data: %w", err))
	}
	if a.lock, err = lock(a.config.Data); err != nil {
		return err
	}
	if a.node, err = nodeName(a.config); err != nil {
		return err
	}
	if a.flush, err = telemetry.Trace(ctx, a.config.Telemetry, a.options.Version, a.node); err != nil {
		return err
	}
	if err = a.openStore(ctx); err != nil {
		return err
	}
	return a.wire(ctx)
}

func (a *App) openStore(ctx context.Context) error {
	key, err := ledgerKey(a.config)
	if err != nil {
		return err
	}
	a.origin = key.Origin()
	a.store, err = store.Open(ctx, a.state("riposte.db"), store.Options{Logger: a.options.Logger, Key: key, Now: a.options.Now})
	if err != nil {
		return err
	}
	a.board.Add(health.Part{Name: "store", Check: a.store.Ping})
	return nil
}

// wire puts the parts together, in the order of an event's way backwards: each needs the one after it.
func (a *App) wire(ctx context.Context) error {
	log, now := a.options.Logger, a.options.Now
	if a.config.AWS.Enabled {
		cloud, err := aws.Connect(ctx, a.config.AWS)
		if err != nil {
			return err
		}
		a.cloud = cloud
		a.board.Add(health.Part{Name: "aws", Check: cloud.Ping})
		if err := a.followOrganization(ctx); err != nil {
			return err
		}
	}
	post := courier.New(a.options.Transport, now)
	told, err := newMessengers(&a.config, post, now, log)
	if err != nil {
		return err
	}
	actions, notify, err := a.config.actions(a.cloud, told)
	if err != nil {
		return err
	}
	if a.keeper, err = a.newKeeper(); err != nil {
		return err
	}
	fixed, err := a.config.protections(now())
	if err != nil {
		return err
	}
	suppressions, err := a.config.suppressions()
	if err != nil {
		return err
	}
	guard := &rails{Store: a.store}
	ceiling := run.Autonomy(a.config.Respond.Autonomy)

	intake := ingest.Options{Now: now, NewID: newID}
	metrics := telemetry.New(a.options.Version, a.store, func() ingest.Stats { return a.intake.Stats() }, a.board)
	a.told, a.desk = told, &answers{store: a.store}
	a.runner = respond.New(respond.Options{
		Node: a.node, Journal: a.store, Rails: guard, Actions: actions, Announcer: a.announcer(notify),
		Policy: respond.Policy{Ceiling: ceiling, Limits: a.config.Respond.Limits, GiveUp: a.config.Respond.GiveUp},
		Now:    now, NewID: newID, Logger: log, Observe: metrics.Step,
	})
	a.desk.runner = a.runner
	legs := &starter{}
	if a.options.errand != nil {
		legs.note = a.options.errand.started.add
	}
	a.runner.Connect(legs)
	policy := triage.Policy{Suppressions: suppressions, Ceiling: ceiling, Window: a.config.Triage.Window}
	if a.cloud != nil {
		policy.Own = a.cloud.Own()
	}
	decide := triage.New(policy, now, newID)
	if err := a.openShelf(ctx, specsOf(actions), func(c *Content) {
		policy.Playbooks = c.Playbooks
		decide.SetPolicy(policy)
	}); err != nil {
		return err
	}
	a.way = &pipeline{
		content: a.shelf.Content, correlate: correlate.New(a.config.Triage.Lateness, decide.Ours, now), triage: decide, store: a.store, starter: legs, runner: a.runner,
		newID: newID, observe: metrics.Decided, logger: log, tracer: otel.Tracer("riposte"),
	}
	a.intake = ingest.New(a.way.take, intake)
	a.register = newRegister(a.store, a.intake.Stats, now)
	if err := a.openSources(); err != nil {
		return err
	}
	if err := a.openFollowers(ctx, specsOf(actions), post); err != nil {
		return err
	}
	metrics.Follow(a.following, now)
	guard.fixed = append(fixed, a.stands(now())...)
	if err := a.private("durable.db"); err != nil {
		return err
	}
	legs.engine, err = durable.Open(ctx, durable.Options{
		Store: a.state("durable.db"), Node: a.node, Logger: log,
		Advance: a.advance,
	})
	if err != nil {
		return err
	}
	a.durable = legs.engine
	if a.options.errand != nil {
		return nil
	}
	return a.listen(ctx, specsOf(actions), ceiling, metrics, guard)
}

// advance executes a leg of a run.
func (a *App) advance(ctx context.Context, leg durable.Leg) error {
	if e := a.options.errand; e != nil {
		e.legs.Add(1)
		defer e.legs.Add(-1)
	}
	return a.runner.Advance(ctx, leg.Run, leg.Leg)
}

// openShelf takes the content that is there, and tells inForce of it and of what takes its place later.
func (a *App) openShelf(ctx context.Context, have []action.Spec, inForce func(*Content)) error {
	a.shelf = &shelf{
		load: func() (*Content, error) {
			if early := a.early; early != nil {
				a.early = nil
				return early()
			}
			return LoadContent(a.config.Content, AllSpecs(a.config), have, a.options.Now())
		},
		placed: func(ctx context.Context, c *Content) error {
			taken := record.New(a.options.Now(), record.ContentTaken, record.System, c.summary())
			if err := a.store.Update(ctx, func(tx *store.Tx) error { tx.Append(taken); return nil }); err != nil {
				return err
			}
			for _, off := range c.Off {
				a.options.Logger.InfoContext(ctx, "part of the shipped content is off", "what", off)
			}
			for _, f := range c.Expired {
				a.options.Logger.WarnContext(ctx, "filter has ended and hides nothing", "file", f.File, "filter", f.Title, "owner", f.Owner)
			}
			for _, name := range c.Unknown {
				a.options.Logger.WarnContext(ctx, "content.disabled names what there is not", "name", name)
			}
			inForce(c)
			a.options.Logger.InfoContext(ctx, "content is in force", "rules", len(c.Detector.Rules()), "playbooks", len(c.Playbooks))
			return nil
		},
		paths: a.config.Content.paths(), now: a.options.Now, logger: a.options.Logger,
	}
	a.board.Add(health.Part{Name: "content", Check: a.shelf.Check, Minor: true})
	return a.shelf.take(ctx, state(a.shelf.paths))
}

// loadEarly begins to load the content while the store is opened, and gives what waits for it.
func (a *App) loadEarly() func() (*Content, error) {
	var loaded *Content
	var err error
	done := make(chan struct{})
	go func(c Config) {
		defer close(done)
		specs := AllSpecs(c)
		have := specs
		if !c.AWS.Enabled {
			have = slices.DeleteFunc(slices.Clone(specs), func(s action.Spec) bool { return strings.HasPrefix(s.Name, "aws.") })
		}
		loaded, err = LoadContent(c.Content, specs, have, a.options.Now())
	}(a.config)
	return func() (*Content, error) {
		<-done
		return loaded, err
	}
}

func (a *App) openSources() error {
	for i, c := range a.config.Sources.Queues {
		queue, err := a.cloud.Queue(c, a.intake.Accept, a.options.Logger)
		if err != nil {
			return fmt.Errorf("sources.queues[%d]: %w", i, err)
		}
		a.queues = append(a.queues, queue)
		a.board.Add(health.Part{Name: queue.Name(), Check: queue.Check})
	}
	return nil
}

// stands lists what Riposte itself stands on, as protections that can't be lifted.
func (a *App) stands(now time.Time) []guardrail.Protection {
	if a.cloud == nil {
		return nil
	}
	own := a.cloud.Stands()
	for _, queue := range a.queues {
		own = append(own, queue.Stands()...)
	}
	var fixed []guardrail.Protection
	for _, e := range own {
		fixed = append(fixed, guardrail.Protection{
			ID: "own-" + string(e.Kind) + "-" + e.ID, Kind: e.Kind, Name: e.ID, Account: e.Account, Reason: "Riposte itself stands on it",
			By: "riposte", At: now, Own: true,
		})
	}
	return fixed
}

func (a *App) listen(ctx context.Context, specs []action.Spec, ceiling run.Autonomy, metrics *telemetry.Metrics, guard *rails) error {
	log := a.options.Logger
	accept := event.Sink(a.intake.Accept)
	client := &http.Client{Timeout: 15 * time.Second, Transport: courier.Transport()}
	options := api.Options{
		Store: a.store, Desk: a.runner, Keeper: a.keeper, Board: a.board, Replay: a.replay,
		Content: func() api.Content { return a.shelf.Content().described(specs, ceiling) },
		Fixed:   guard.fixed, Sources: a.register.Sources, Plan: a.plan,
		Events: push.Events(accept, func(r *http.Request) string { return "http:" + r.RemoteAddr }, log, cloudevents.Intake), Metrics: metrics.Handler(),
		Version: a.options.Version, Now: a.options.Now, NewID: newID, Logger: log,
	}
	if len(a.config.Sources.SNS.Topics) > 0 {
		options.SNS = push.NewSNS(a.config.Sources.SNS, accept, client, a.options.Now, log)
	}
	a.doors(&options)
	a.server = &http.Server{
		Handler: api.New(options), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	var err error
	a.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", a.config.Listen)
	if err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("listen: %w", err))
	}
	return nil
}

// newKeeper knows who may come in. Where the configuration names nobody, there is a local administrator whose
// token is in the data folder, readable by this user alone.
func (a *App) newKeeper() (*auth.Keeper, error) {
	who := a.config.Auth
	if len(who.Tokens) == 0 {
		hash, err := a.localToken()
		if err != nil {
			return nil, err
		}
		who.Tokens = []auth.Token{{Name: "local-admin", SHA256: hash, Roles: []auth.Role{auth.Admin}}}
	}
	return auth.New(who, a.options.Now)
}

// Address is where the API listens.
func (a *App) Address() string {
	scheme := "http"
	if a.config.TLS.Certificate != "" {
		scheme = "https"
	}
	return scheme + "://" + a.listener.Addr().String()
}

// Board tells how the parts are.
func (a *App) Board() *health.Board { return a.board }

// Stats tells what came in.
func (a *App) Stats() ingest.Stats { return a.intake.Stats() }

// Run works until ctx ends, then closes everything.
func (a *App) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	watch := &respond.Watch{Runner: a.runner, Roster: a.store, Adopter: a.durable}
	group.Go(func() error { return watch.Run(ctx) })
	group.Go(func() error { return a.board.Run(ctx) })
	group.Go(func() error { return a.tidy(ctx) })
	group.Go(func() error { return a.shelf.Run(ctx) })
	group.Go(func() error { return a.way.Run(ctx) })
	group.Go(func() error { return a.noteSources(ctx) })
	group.Go(func() error { return a.settle(ctx, a.desk, a.told.slack) })
	group.Go(func() error { return a.followAccounts(ctx) })
	group.Go(func() error { return a.serve(ctx) })
	for _, queue := range a.queues {
		group.Go(func() error { return queue.Run(ctx) })
	}
	for _, follower := range a.followers {
		group.Go(func() error { return follower.Run(ctx) })
	}
	giveBack()
	a.options.Logger.InfoContext(ctx, "riposte is up", "address", a.Address(), "node", a.node, "version", a.options.Version)
	if a.token != "" {
		a.options.Logger.InfoContext(ctx, "no tokens are configured: the local administrator's is in a file", "file", a.token)
	}
	err := group.Wait()
	return errors.Join(err, a.Close()) //nolint:contextcheck // closing outlives ctx
}

func (a *App) serve(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() {
		if a.config.TLS.Certificate != "" {
			ended <- a.server.ServeTLS(a.listener, a.config.TLS.Certificate, a.config.TLS.Key)
			return
		}
		ended <- a.server.Serve(a.listener)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := a.server.Shutdown(closing)
	if errors.Is(err, context.DeadlineExceeded) {
		err = a.server.Close()
	}
	<-ended //nolint:errcheck // it says that we closed it
	return err
}

// tidy throws away what nobody needs any more, once an hour.
func (a *App) tidy(ctx context.Context) error {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		pruned, err := a.store.Prune(ctx, a.options.Now().Add(-a.config.Store.Retention))
		legs, tidying := a.durable.Tidy(ctx, a.options.Now().Add(-time.Hour))
		if err := errors.Join(err, tidying); err != nil && ctx.Err() == nil {
			a.options.Logger.ErrorContext(ctx, "tidy up", "err", err.Error())
			continue
		}
		a.options.Logger.InfoContext(ctx, "tidied up", "rows", pruned, "legs", legs)
	}
}

// Close ends what New opened. Runs in flight are waited for; the rest goes on after the next start.
func (a *App) Close() error {
	var errs []error
	if a.listener != nil {
		if err := a.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.durable != nil {
		errs = append(errs, a.durable.Close(patience))
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.flush != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, a.flush(ctx))
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	a.listener, a.durable, a.store, a.flush, a.lock = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

// actions are all of an installation, and the one among them that tells channels.
func (c *Config) actions(cloud *aws.Cloud, told *messengers) ([]action.Action, *channel.Notify, error) {
	all := slices.Clone(told.actions)
	if cloud != nil {
		all = append(all, cloud.Actions()...)
	}
	notify, err := channel.New(c.Channels, all)
	if err != nil {
		return nil, nil, err
	}
	return append(all, notify), notify, nil
}

// AllSpecs describes every action of this build, for checks without a cloud.
func AllSpecs(c Config) []action.Spec { return specsOf(offline(c)) }

func specsOf(actions []action.Action) []action.Spec {
	specs := make([]action.Spec, 0, len(actions))
	for _, a := range actions {
		specs = append(specs, a.Spec())
	}
	return specs
}
