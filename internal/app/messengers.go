package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/oncall"
	"github.com/riposte-sec/riposte/internal/provider/email"
	"github.com/riposte-sec/riposte/internal/provider/pagerduty"
	"github.com/riposte-sec/riposte/internal/provider/slack"
	"github.com/riposte-sec/riposte/internal/provider/teams"
	"github.com/riposte-sec/riposte/internal/provider/webhook"
	"github.com/riposte-sec/riposte/internal/question"
)

// messengers are the ways by which people outside are told and asked.
type messengers struct {
	slack     *slack.Slack
	teams     *teams.Teams
	mail      *email.Mail
	rotations *oncall.Rotations
	actions   []action.Action
}

func newMessengers(c *Config, post *courier.Courier, now func() time.Time, logger *slog.Logger) (*messengers, error) {
	chat, chatErr := slack.New(c.Slack, post)
	rooms, roomsErr := teams.New(c.Teams, post)
	hooks, hooksErr := webhook.New(c.Webhook, post)
	mail, mailErr := email.New(c.Email, post)
	pager, pagerErr := pagerduty.New(c.PagerDuty, post)
	rotations, rotationsErr := oncall.New(c.OnCall, oncall.Options{Courier: post, Now: now, Logger: logger})
	reach, reachErr := bridges(c, post)
	if err := errors.Join(chatErr, roomsErr, hooksErr, mailErr, pagerErr, rotationsErr, reachErr); err != nil {
		return nil, err
	}
	m := &messengers{slack: chat, teams: rooms, mail: mail, rotations: rotations}
	for _, some := range [][]action.Action{chat.Actions(), rooms.Actions(), hooks.Actions(), mail.Actions(), pager.Actions(), reach} {
		m.actions = append(m.actions, some...)
	}
	if len(rotations.Names()) > 0 {
		m.actions = append(m.actions, oncall.NewNotify(rotations, m, now))
	}
	return m, nil
}

// Tell is of oncall.Reach.
func (m *messengers) Tell(ctx context.Context, p oncall.Person, in action.Input) error {
	return m.reach(p,
		func() error {
			return m.slack.TellPerson(ctx, p.Slack, in.Params.String("subject"), in.Params.String("message"))
		},
		func() error { return m.mail.TellPerson(ctx, p.Email, in) })
}

// Ask is of oncall.Reach.
func (m *messengers) Ask(ctx context.Context, p oncall.Person, t question.Telling) error {
	return m.reach(p,
		func() error { return m.slack.AskPerson(ctx, p.Slack, p.Person, t) },
		func() error { return m.mail.AskPerson(ctx, p.Email, p.Person, t) })
}

// reach takes every way to a person. It is enough that one leads there.
func (m *messengers) reach(p oncall.Person, bySlack, byMail func() error) error {
	var errs []error
	ways := 0
	if p.Slack != "" && m.slack.ReachesPeople() {
		ways++
		errs = append(errs, bySlack())
	}
	if p.Email != "" && m.mail.ReachesPeople() {
		ways++
		errs = append(errs, byMail())
	}
	if ways == 0 {
		return fault.New(fault.Invalid, "nobody can reach %s: configure slack.token or email, and say their id or address", p.Name)
	}
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return errors.Join(errs...)
}
