// Package teams tells and asks people in Microsoft Teams.
package teams

import (
	"encoding/base64"
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

// Config says which channel of Teams a name in a playbook stands for, and who may answer there.
type Config struct {
	// Channels are channels by the name that playbooks use.
	Channels map[string]Channel `yaml:"channels"`
	// Secret is the security token that Teams showed when the outgoing webhook was made: a key in base64. With
	// it people answer by mentioning the webhook.
	Secret secret.Secret `yaml:"secret"`
	// Users are who may answer, by their object ids in Microsoft Entra ID.
	Users map[string]question.Person `yaml:"users"`
}

// Channel is one channel, by the address of a Workflow ("When a Teams webhook request is received") or of an
// incoming webhook.
type Channel struct {
	URL secret.Secret `yaml:"url"`
}

// secrets are what gives the address away: itself, its path, and the signature in its query.
func (c Channel) secrets() []secret.Secret {
	all := []secret.Secret{c.URL}
	if address, err := url.Parse(c.URL.Reveal()); err == nil {
		all = append(all, secret.New(address.RequestURI()), secret.New(address.Path), secret.New(address.Query().Get("sig")))
	}
	return all
}

// shortestKey is how many bytes a key needs; those of Teams have 32.
const shortestKey = 16

var objectID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Teams sends to the configured channels.
type Teams struct {
	config  Config
	key     []byte
	courier *courier.Courier
}

// New checks the configuration. Errors are Invalid and name the key.
func New(c Config, courier *courier.Courier) (*Teams, error) {
	t := &Teams{config: c, courier: courier}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Channels)) {
		if err := checkURL(c.Channels[name].URL.Reveal()); err != nil {
			errs = append(errs, fmt.Errorf("teams.channels.%s.url: %w", name, err))
		}
	}
	errs = append(errs, t.checkPeople())
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return t, nil
}

func checkURL(address string) error { return courier.CheckURL(address) }

func (t *Teams) checkPeople() error {
	var errs []error
	if !t.config.Secret.IsZero() {
		key, err := base64.StdEncoding.DecodeString(t.config.Secret.Reveal())
		if err != nil || len(key) < shortestKey {
			errs = append(errs, errors.New("teams.secret: not a key in base64, as Teams shows it when an outgoing webhook is made"))
		}
		t.key = key
	}
	if len(t.config.Users) > 0 && t.config.Secret.IsZero() {
		errs = append(errs, errors.New("teams.users: needs teams.secret, by which Teams proves who they are"))
	}
	for _, id := range slices.Sorted(maps.Keys(t.config.Users)) {
		if !objectID.MatchString(id) {
			errs = append(errs, fmt.Errorf("teams.users: %.100q is no object id such as 01234567-89ab-cdef-0123-456789abcdef, in lower case", id))
			continue
		}
		if err := t.config.Users[id].Check(); err != nil {
			errs = append(errs, fmt.Errorf("teams.users.%s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// names are the channels that playbooks can name.
func (t *Teams) names() []string { return slices.Sorted(maps.Keys(t.config.Channels)) }

// Actions are what the package adds to an installation: none where no channel is configured.
func (t *Teams) Actions() []action.Action {
	if len(t.config.Channels) == 0 {
		return nil
	}
	return []action.Action{&notify{t}}
}

func (t *Teams) channel(name string) (Channel, error) {
	channel, known := t.config.Channels[name]
	if !known {
		return channel, fault.New(fault.Invalid, "teams.channels has no %.100q; there are %s", name, strings.Join(t.names(), ", "))
	}
	return channel, nil
}
