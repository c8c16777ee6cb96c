// Package ticket opens tickets in Jira, ServiceNow and GitHub, and waits until people have closed them.
package ticket

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// Config names where tickets are opened: a playbook can't open them anywhere else.
type Config map[string]System

// System is a project of Jira, a table of ServiceNow or a repository at GitHub.
type System struct {
	// Kind is jira, servicenow or github.
	Kind string `yaml:"kind"`
	// URL of the installation; https://api.github.com if empty for github.
	URL string `yaml:"url"`
	// User and Token are who opens tickets: an e-mail address and an API token at Jira, a user and a password at
	// ServiceNow. Without a user, the token alone is sent as a bearer token.
	User  string        `yaml:"user"`
	Token secret.Secret `yaml:"token"`

	// Project is the key of a Jira project, Type the type of its issues; Task if empty.
	Project string `yaml:"project"`
	Type    string `yaml:"type"`
	// Table of ServiceNow; incident if empty. Closed are the values of its state that mean closed, beside
	// inactive; 6, 7 and 8 if empty, which are an incident's Resolved, Closed and Canceled.
	Table  string   `yaml:"table"`
	Closed []string `yaml:"closed"`
	// Repository at GitHub: owner/name.
	Repository string `yaml:"repository"`

	// Labels are put on issues of Jira and GitHub.
	Labels []string `yaml:"labels"`
	// Fields are set in tickets of Jira and ServiceNow as they are, such as assignment_group.
	Fields map[string]any `yaml:"fields"`
}

// draft is a ticket that is to be opened. The texts are bounded, and legible.
type draft struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	// About says from where it comes: incident, run, and the marker by which it is found again.
	About string `json:"about"`
}

// opened is a ticket that is there.
type opened struct {
	key        string // SEC-12, INC0010001, 12
	url        string // for people
	state      string // in the system's words
	resolution string // how it ended, in the system's words
	closed     bool
	note       string // what a person should know of how it was opened
}

// tracker keeps tickets. Its find, by a marker, is of kind NotFound where there is none.
type tracker interface {
	find(ctx context.Context, marker string) (opened, error)
	open(ctx context.Context, marker string, d draft) (opened, error)
	read(ctx context.Context, key string) (opened, error)
}

// commenter keeps what people say about tickets. Its said, by a marker, is of kind NotFound where nobody said it.
type commenter interface {
	said(ctx context.Context, key, marker string) (id string, err error)
	say(ctx context.Context, key, text string) (id string, err error)
}

// system is one of the configured.
type system struct {
	tracker   tracker
	commenter commenter
	longest   int // of a title, in bytes
	keys      *regexp.Regexp
}

// Tickets opens tickets in the configured systems.
type Tickets struct{ systems map[string]system }

// New checks the configuration. Errors are Invalid and name the key.
func New(c Config, courier *courier.Courier) (*Tickets, error) {
	t := &Tickets{map[string]system{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c)) {
		made, err := build(name, c[name], courier)
		if err != nil {
			errs = append(errs, fmt.Errorf("tickets.%s.%w", name, err))
		}
		t.systems[name] = made
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return t, nil
}

func build(name string, c System, post *courier.Courier) (system, error) {
	if c.Kind == "github" && c.URL == "" {
		c.URL = "https://api.github.com"
	}
	if err := courier.CheckURL(c.URL); err != nil {
		return system{}, fmt.Errorf("url: %w", err)
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if strings.ContainsAny(c.URL, "?%") {
		return system{}, fault.New(fault.Invalid, "url: it is the installation's own, without a ?query")
	}
	if !isToken(c.Token.Reveal()) || strings.ContainsFunc(c.User, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return system{}, fault.New(fault.Invalid, "token: needs a token, and a user where the installation asks for one")
	}
	d := desk{name: "ticket system " + name, url: c.URL, courier: post, secrets: []secret.Secret{c.Token}}
	d.header = http.Header{"Accept": {"application/json"}, "User-Agent": {"Riposte"}, "Authorization": {"Bearer " + c.Token.Reveal()}}
	if c.User != "" {
		basic := base64.StdEncoding.EncodeToString([]byte(c.User + ":" + c.Token.Reveal()))
		d.header.Set("Authorization", "Basic "+basic)
		d.secrets = append(d.secrets, secret.New(basic))
	}
	switch c.Kind {
	case "jira":
		return newJira(c, d)
	case "servicenow":
		return newServiceNow(c, d)
	case "github":
		return newGitHub(c, d)
	}
	return system{}, fault.New(fault.Invalid, "kind: %.20q is not one of jira, servicenow, github", c.Kind)
}

// isToken reports whether a text can stand in a header and may be a token.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// names are the systems that playbooks can name.
func (t *Tickets) names() []string { return slices.Sorted(maps.Keys(t.systems)) }

func (t *Tickets) system(name string) (system, error) {
	s, known := t.systems[name]
	if !known {
		return s, fault.New(fault.Invalid, "tickets has no %.100q; there are %s", name, strings.Join(t.names(), ", "))
	}
	return s, nil
}

// Actions are what the package adds to an installation: none where no system is configured.
func (t *Tickets) Actions() []action.Action {
	if len(t.systems) == 0 {
		return nil
	}
	return []action.Action{&open{t}, &comment{t}}
}
