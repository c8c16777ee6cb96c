package app

import (
	"errors"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/provider/email"
	"github.com/riposte-sec/riposte/internal/provider/pagerduty"
	"github.com/riposte-sec/riposte/internal/provider/slack"
	"github.com/riposte-sec/riposte/internal/provider/webhook"
)

// messengers are the actions by which people outside are told.
func messengers(c *Config, post *courier.Courier) ([]action.Action, error) {
	chat, chatErr := slack.New(c.Slack, post)
	hooks, hooksErr := webhook.New(c.Webhook, post)
	mail, mailErr := email.New(c.Email, post)
	pager, pagerErr := pagerduty.New(c.PagerDuty, post)
	if err := errors.Join(chatErr, hooksErr, mailErr, pagerErr); err != nil {
		return nil, err
	}
	all := append(chat.Actions(), hooks.Actions()...)
	return append(append(all, mail.Actions()...), pager.Actions()...), nil
}
