// Package pagerduty wakes people through PagerDuty.
package pagerduty

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// defaultURL is where events go, unless the configuration says otherwise.
const defaultURL = "https://events.pagerduty.com/v2/enqueue"

// Config says which PagerDuty service a name in a playbook stands for.
type Config struct {
	// URL takes the events; https://events.pagerduty.com/v2/enqueue if empty. In the EU it is
	// https://events.eu.pagerduty.com/v2/enqueue.
	URL string `yaml:"url"`
	// Source is what alerts name as their origin; riposte if empty.
	Source string `yaml:"source"`
	// Services are PagerDuty's services by the name that playbooks use.
	Services map[string]Service `yaml:"services"`
}

// Service is one service, by the key of its Events API v2 integration.
type Service struct {
	RoutingKey secret.Secret `yaml:"routing_key"`
}

var routingKey = regexp.MustCompile(`^[A-Za-z0-9]{32}$`)

// PagerDuty sends events to the configured services.
type PagerDuty struct {
	config  Config
	courier *courier.Courier
}

// New checks the configuration. Errors are Invalid and name the key.
func New(c Config, courier *courier.Courier) (*PagerDuty, error) {
	if c.URL == "" {
		c.URL = defaultURL
	}
	if c.Source == "" {
		c.Source = "riposte"
	}
	var errs []error
	if err := checkURL(c.URL); err != nil {
		errs = append(errs, fmt.Errorf("pagerduty.url: %w", err))
	}
	if c.Source != legible(c.Source, longestSource) {
		errs = append(errs, fmt.Errorf("pagerduty.source: not one line of up to %d characters", longestSource))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		if !routingKey.MatchString(c.Services[name].RoutingKey.Reveal()) {
			errs = append(errs, fmt.Errorf("pagerduty.services.%s.routing_key: not the 32 letters and digits of an Events API v2 integration key", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return &PagerDuty{config: c, courier: courier}, nil
}

func checkURL(address string) error { return courier.CheckURL(address) }

// names are the services that playbooks can name.
func (p *PagerDuty) names() []string { return slices.Sorted(maps.Keys(p.config.Services)) }

// Actions are what the package adds to an installation: none where no service is configured.
func (p *PagerDuty) Actions() []action.Action {
	if len(p.config.Services) == 0 {
		return nil
	}
	return []action.Action{&trigger{p}, &resolve{p}}
}
