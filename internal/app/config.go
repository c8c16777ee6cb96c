package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/channel"
	"github.com/riposte-sec/riposte/internal/config"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/oncall"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/cloudevents"
	"github.com/riposte-sec/riposte/internal/provider/email"
	"github.com/riposte-sec/riposte/internal/provider/httpcall"
	"github.com/riposte-sec/riposte/internal/provider/pagerduty"
	"github.com/riposte-sec/riposte/internal/provider/push"
	"github.com/riposte-sec/riposte/internal/provider/slack"
	"github.com/riposte-sec/riposte/internal/provider/teams"
	"github.com/riposte-sec/riposte/internal/provider/ticket"
	"github.com/riposte-sec/riposte/internal/provider/wasm"
	"github.com/riposte-sec/riposte/internal/provider/webhook"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/secret"
	"github.com/riposte-sec/riposte/internal/telemetry"
	"github.com/riposte-sec/riposte/internal/triage"
)

// Config is the whole configuration file. docs/configuration.md describes every key.
type Config struct {
	// Node names this process among those that share a store; made and kept in the data folder if empty.
	Node string `yaml:"node"`
	// Data is the folder of the embedded store and of the ledger's key.
	Data string `yaml:"data"`
	// Listen is the address of the API.
	Listen string      `yaml:"listen"`
	TLS    TLSConfig   `yaml:"tls"`
	Store  StoreConfig `yaml:"store"`
	Log    LogConfig   `yaml:"log"`

	Content      ContentConfig       `yaml:"content"`
	Triage       TriageConfig        `yaml:"triage"`
	Respond      RespondConfig       `yaml:"respond"`
	Suppressions []SuppressionConfig `yaml:"suppressions"`
	Protect      []ProtectConfig     `yaml:"protect"`
	Channels     channel.Config      `yaml:"channels"`
	Approvals    ApprovalsConfig     `yaml:"approvals"`
	OnCall       oncall.Config       `yaml:"oncall"`

	Sources   SourcesConfig    `yaml:"sources"`
	Auth      auth.Config      `yaml:"auth"`
	Telemetry telemetry.Config `yaml:"telemetry"`

	AWS       aws.Config       `yaml:"aws"`
	Slack     slack.Config     `yaml:"slack"`
	Webhook   webhook.Config   `yaml:"webhook"`
	Teams     teams.Config     `yaml:"teams"`
	Email     email.Config     `yaml:"email"`
	PagerDuty pagerduty.Config `yaml:"pagerduty"`

	CloudEvents cloudevents.Config `yaml:"cloudevents"`
	HTTP        httpcall.Config    `yaml:"http"`
	Tickets     ticket.Config      `yaml:"tickets"`
	WASM        wasm.Config        `yaml:"wasm"`
}

// TLSConfig makes the API speak TLS.
type TLSConfig struct {
	Certificate string `yaml:"certificate"` // PEM file, with intermediates
	Key         string `yaml:"key"`         // PEM file
}

// StoreConfig says where state is.
type StoreConfig struct {
	// URL of PostgreSQL; SQLite in the data folder if absent.
	URL secret.Secret `yaml:"url"`
	// LedgerKey signs the ledger's head; made and kept in the data folder if absent. Nodes that share a store
	// share the key.
	LedgerKey secret.Secret `yaml:"ledger_key"`
	// Retention is how long raw events and dead letters are kept that no open incident needs.
	Retention time.Duration `yaml:"retention"`
}

// LogConfig says what the process logs.
type LogConfig struct {
	Level  slog.Level `yaml:"level"`
	Format string     `yaml:"format"` // text or json
}

// ContentConfig says which rules and playbooks are in force.
type ContentConfig struct {
	// Shipped says whether those in the binary are.
	Shipped bool `yaml:"shipped"`
	// Rules and Playbooks are folders or files of one's own. One of the same name replaces a shipped one.
	Rules     []string `yaml:"rules"`
	Playbooks []string `yaml:"playbooks"`
	// Lookups are folders of lists that placeholders in rules stand for, a list a file.
	Lookups []string `yaml:"lookups"`
	// Disabled are names of rules and playbooks that are off.
	Disabled []string `yaml:"disabled"`
}

// TriageConfig says how findings become incidents.
type TriageConfig struct {
	// Window is how far apart two findings about one entity may be to be one incident.
	Window time.Duration `yaml:"window"`
	// Lateness is how late an event may come that correlations wait for which ask for little or nothing.
	Lateness time.Duration `yaml:"lateness"`
}

// RespondConfig bounds what runs may do.
type RespondConfig struct {
	// Autonomy is the most that any playbook has: observe, approve or auto.
	Autonomy string           `yaml:"autonomy"`
	Limits   guardrail.Limits `yaml:"limits"`
	// GiveUp is how long a step that fails for passing reasons is tried again.
	GiveUp time.Duration `yaml:"give_up"`
	// Announce is the channel that hears of questions and escalations.
	Announce string `yaml:"announce"`
	// BreakGlass are patterns on the names of users and roles that are kept for emergencies: no action touches them.
	BreakGlass []string `yaml:"break_glass"`
}

// SuppressionConfig declares findings expected.
type SuppressionConfig struct {
	ID      string    `yaml:"id"`
	If      string    `yaml:"if"`
	Reason  string    `yaml:"reason"`
	Owner   string    `yaml:"owner"`
	Expires time.Time `yaml:"expires"`
}

// ProtectConfig names entities that no action may change; every field that is set must match.
type ProtectConfig struct {
	Kind    string `yaml:"kind"`
	Name    string `yaml:"name"`
	ARN     string `yaml:"arn"`
	Account string `yaml:"account"`
	Tag     string `yaml:"tag"`
	Reason  string `yaml:"reason"`
}

// SourcesConfig says where events come from, beside what is pushed to /v1/events.
type SourcesConfig struct {
	Queues []aws.QueueConfig `yaml:"queues"`
	SNS    push.SNSConfig    `yaml:"sns"`
}

// DefaultListen is where the API listens unless told otherwise.
const DefaultListen = "127.0.0.1:8473"

// Defaults is the configuration without a file: embedded store, shipped content, no cloud, and nothing that
// can be undone happens without a person unless its playbook says so.
func Defaults() Config {
	return Config{
		Data: "riposte-data", Listen: DefaultListen,
		Store:   StoreConfig{Retention: 90 * 24 * time.Hour},
		Log:     LogConfig{Format: "text"},
		Content: ContentConfig{Shipped: true},
		Triage:  TriageConfig{Window: 2 * time.Hour, Lateness: 15 * time.Minute},
		Respond: RespondConfig{
			Autonomy: string(run.Auto), GiveUp: 24 * time.Hour, Announce: "security", BreakGlass: breakGlass(),
			Limits: guardrail.Limits{PerHour: 100, PerAccountHour: 50, DistinctAccounts: 10},
		},
		Channels: channel.Config{"security": nil},
		AWS:      aws.Config{Organization: aws.OrganizationConfig{Refresh: aws.DefaultRefresh}},
	}
}

// ReadConfig reads a file over the defaults; without a path it gives the defaults. Warnings are for the log.
func ReadConfig(path string) (Config, []string, error) {
	c := Defaults()
	if path == "" {
		return c, nil, c.check()
	}
	found, err := config.Read(path, &c)
	if err != nil {
		return c, nil, err
	}
	var warnings []string
	for _, w := range found {
		warnings = append(warnings, w.Error())
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && c.TLS.Certificate == "" && !courier.Local(host) {
		warnings = append(warnings, "listen: other machines reach "+c.Listen+
			", and tokens and events come in plain: set tls, or let a proxy speak TLS before it")
	}
	c.relativeTo(filepath.Dir(path))
	return c, warnings, locate(path, c.check())
}

// relativeTo makes paths in the file relative to its folder, so that it means the same from everywhere.
func (c *Config) relativeTo(folder string) {
	paths := []*string{&c.Data, &c.TLS.Certificate, &c.TLS.Key, &c.WASM.Modules}
	for i := range c.Content.Rules {
		paths = append(paths, &c.Content.Rules[i])
	}
	for i := range c.Content.Playbooks {
		paths = append(paths, &c.Content.Playbooks[i])
	}
	for i := range c.Content.Lookups {
		paths = append(paths, &c.Content.Lookups[i])
	}
	for name, source := range c.OnCall {
		if source.File != "" && !filepath.IsAbs(source.File) {
			source.File = filepath.Join(folder, source.File)
			c.OnCall[name] = source
		}
	}
	for _, path := range paths {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
}

// longestSuppression keeps anybody from silencing findings for good.
const longestSuppression = 366 * 24 * time.Hour

func (c *Config) suppressions() ([]triage.Suppression, error) {
	var made []triage.Suppression
	var errs []error
	seen := map[string]bool{}
	for i, s := range c.Suppressions {
		key := fmt.Sprintf("suppressions[%d]", i)
		condition, err := expr.CompileBool(s.If)
		switch {
		case err != nil:
			errs = append(errs, wrong(key+".if", "%v", err))
		case s.ID == "" || seen[s.ID]:
			errs = append(errs, wrong(key+".id", "an id of its own is needed; the ledger refers to it"))
		case s.Reason == "" || s.Owner == "":
			errs = append(errs, wrong(key, "say the reason, and who owns it"))
		case s.Expires.IsZero() || s.Expires.After(time.Now().Add(longestSuppression)):
			errs = append(errs, wrong(key+".expires", "a suppression ends, at the latest in a year"))
		}
		seen[s.ID] = true
		made = append(made, triage.Suppression{ID: s.ID, If: condition, Reason: s.Reason, Owner: s.Owner, Expires: s.Expires})
	}
	return made, errors.Join(errs...)
}

// breakGlass is how people call what is kept for emergencies, in the ways in which they write it.
func breakGlass() []string {
	var patterns []string
	for _, words := range [][2]string{{"break", "glass"}, {"emergency", "access"}} {
		first, second := words[0], words[1]
		upper := func(word string) string { return strings.ToUpper(word[:1]) + word[1:] }
		for _, between := range []string{"", "-", "_", "."} {
			patterns = append(patterns, "*"+first+between+second+"*", "*"+upper(first)+between+upper(second)+"*")
		}
	}
	return patterns
}

func (c *Config) protections(now time.Time) ([]guardrail.Protection, error) {
	var made []guardrail.Protection
	var errs []error
	for i, p := range c.Protect {
		key := fmt.Sprintf("protect[%d]", i)
		if p.Kind == "" && p.Name == "" && p.ARN == "" && p.Account == "" && p.Tag == "" {
			errs = append(errs, wrong(key, "say what is protected: kind, name, arn, account or tag"))
		}
		if p.Kind != "" && !slices.Contains(entity.Kinds(), entity.Kind(p.Kind)) {
			errs = append(errs, wrong(key+".kind", "%q is no kind of entity", p.Kind))
		}
		if p.Account != "" && !aws.IsAccount(p.Account) {
			errs = append(errs, wrong(key+".account", "%q is no account: its id has 12 digits", p.Account))
		}
		made = append(made, guardrail.Protection{
			ID: fmt.Sprintf("config-%d", i), Kind: entity.Kind(p.Kind), Name: p.Name, ARN: p.ARN, Account: p.Account, Tag: p.Tag,
			Reason: p.Reason, By: "configuration", At: now, Own: true,
		})
	}
	for _, pattern := range c.Respond.BreakGlass {
		for _, kind := range []entity.Kind{entity.User, entity.Role} {
			made = append(made, guardrail.Protection{
				ID: fmt.Sprintf("break-glass-%s-%s", kind, pattern), Kind: kind, Name: pattern, Reason: "it is kept for emergencies",
				By: "configuration", At: now, Own: true,
			})
		}
	}
	return made, errors.Join(errs...)
}
