// Package slack tells people in Slack.
package slack

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/secret"
)

// defaultAPI is where Slack's methods are, unless the configuration says otherwise.
const defaultAPI = "https://slack.com/api"

// Config says which Slack channel a name in a playbook stands for.
type Config struct {
	// API is where Slack's methods are; https://slack.com/api if empty.
	API string `yaml:"api"`
	// Token is the bot token (scope chat:write) for channels that are given by their id.
	Token secret.Secret `yaml:"token"`
	// Channels are the Slack channels by the name that playbooks use.
	Channels map[string]Channel `yaml:"channels"`
	// SigningSecret is by which Slack signs what it sends us; questions have buttons where it is set.
	SigningSecret secret.Secret `yaml:"signing_secret"`
	// Users are who may answer in Slack, by their ids there.
	Users map[string]question.Person `yaml:"users"`
}

// Channel is one Slack channel: an incoming webhook, or the id of a channel that the bot is in.
type Channel struct {
	Webhook secret.Secret `yaml:"webhook"`
	ID      string        `yaml:"id"`
}

// secrets are what gives the webhook away: its address, and the path of it.
func (c Channel) secrets() []secret.Secret {
	address, err := url.Parse(c.Webhook.Reveal())
	if err != nil {
		return []secret.Secret{c.Webhook}
	}
	return []secret.Secret{c.Webhook, secret.New(address.RequestURI())}
}

var (
	channelID = regexp.MustCompile(`^[CGD][A-Z0-9]{2,20}$`)
	userID    = regexp.MustCompile(`^[UW][A-Z0-9]{2,20}$`)
)

// shortestSigningSecret guards against a value that was cut; Slack's have 32 characters.
const shortestSigningSecret = 16

// Slack sends to the configured channels.
type Slack struct {
	config  Config
	courier *courier.Courier
}

// New checks the configuration. Errors are Invalid and name the key.
func New(c Config, courier *courier.Courier) (*Slack, error) {
	if c.API == "" {
		c.API = defaultAPI
	}
	c.API = strings.TrimSuffix(c.API, "/")
	errs := []error{at("slack.api", checkURL(c.API))}
	for _, name := range slices.Sorted(maps.Keys(c.Channels)) {
		errs = append(errs, at("slack.channels."+name, c.check(c.Channels[name])))
	}
	errs = append(errs, c.checkPeople())
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return &Slack{config: c, courier: courier}, nil
}

// checkPeople checks who may answer.
func (c Config) checkPeople() error {
	var errs []error
	if !c.SigningSecret.IsZero() && len(c.SigningSecret.Reveal()) < shortestSigningSecret {
		errs = append(errs, fault.New(fault.Invalid, "slack.signing_secret: shorter than %d characters", shortestSigningSecret))
	}
	if len(c.Users) > 0 && c.SigningSecret.IsZero() {
		errs = append(errs, fault.New(fault.Invalid, "slack.users: needs slack.signing_secret, by which Slack proves who they are"))
	}
	for _, id := range slices.Sorted(maps.Keys(c.Users)) {
		if !userID.MatchString(id) {
			errs = append(errs, fault.New(fault.Invalid, "slack.users: %.100q is no user's id such as U0123456789", id))
			continue
		}
		errs = append(errs, at("slack.users."+id, c.Users[id].Check()))
	}
	return errors.Join(errs...)
}

func (c Config) check(channel Channel) error {
	switch {
	case channel.Webhook.IsZero() == (channel.ID == ""):
		return fault.New(fault.Invalid, "needs either webhook or id")
	case channel.ID == "":
		return at("webhook", checkURL(channel.Webhook.Reveal()))
	case !channelID.MatchString(channel.ID):
		return fault.New(fault.Invalid, "id: %q is no channel's id such as C0123456789", channel.ID)
	case c.Token.IsZero():
		return fault.New(fault.Invalid, "id: needs slack.token, a bot token that may chat:write")
	case !isToken(c.Token.Reveal()):
		return fault.New(fault.Invalid, "id: slack.token is no token such as xoxb-...")
	}
	return nil
}

func checkURL(address string) error { return courier.CheckURL(address) }

// isToken reports whether a text can stand in a header and may be a token.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

func at(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
}

// names are the channels that playbooks can name.
func (s *Slack) names() []string { return slices.Sorted(maps.Keys(s.config.Channels)) }

// Actions are what the package adds to an installation: none where no channel is configured.
func (s *Slack) Actions() []action.Action {
	if len(s.config.Channels) == 0 {
		return nil
	}
	return []action.Action{&notify{s}}
}
