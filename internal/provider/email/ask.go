package email

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
)

// Ask mails a question to everybody on a list, each alone: a link in it is theirs.
func (s *send) Ask(ctx context.Context, params action.Params, t question.Telling) error {
	name := params.String("to")
	people, known := s.mail.lists[name]
	if !known {
		return fault.New(fault.Invalid, "email.lists has no %.100q; there are %s", name, strings.Join(s.mail.names(), ", "))
	}
	var errs []error
	for i, to := range people {
		one := t
		one.Token = fmt.Sprintf("%s-%d", t.Token, i)
		errs = append(errs, s.mail.ask(ctx, to, question.Person{Name: to.Address}, one))
	}
	return errors.Join(errs...)
}

// AskPerson mails a question to somebody at an address that the configuration names elsewhere.
func (m *Mail) AskPerson(ctx context.Context, to string, who question.Person, t question.Telling) error {
	if m.from == nil {
		return fault.New(fault.Invalid, "email is not configured")
	}
	person, err := address(to)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return m.ask(ctx, person, who, t)
}

// TellPerson mails a text to somebody at an address that the configuration names elsewhere. The token is the
// same for every attempt.
func (m *Mail) TellPerson(ctx context.Context, to string, in action.Input) error {
	if m.from == nil {
		return fault.New(fault.Invalid, "email is not configured")
	}
	person, err := address(to)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return m.mail(ctx, person, in)
}

// ReachesPeople reports whether mail is configured.
func (m *Mail) ReachesPeople() bool { return m.from != nil }

func (m *Mail) ask(ctx context.Context, to *mail.Address, who question.Person, t question.Telling) error {
	link, err := t.Link(ctx, who)
	if err != nil {
		return err
	}
	return m.mail(ctx, to, action.Input{
		Incident: t.Incident, Run: t.Run, Token: t.Token,
		Params: action.Params{"subject": t.Headline, "message": t.Text() + "\n\n" + t.How(link)},
	})
}

// mail mails to one person.
func (m *Mail) mail(ctx context.Context, to *mail.Address, in action.Input) error {
	refused, err := m.deliver(ctx, letter{
		From: m.from.String(), Sender: m.from.Address, To: []string{to.String()}, Receivers: []string{to.Address},
		Incident: legible(in.Incident, longestSubject), Subject: subject(in), Text: text(in), MessageID: messageID(in) + "@" + domain(m.from),
	})
	if err == nil && len(refused) > 0 {
		return fault.New(fault.Invalid, "the server refused %s", strings.Join(refused, "; "))
	}
	return err
}
