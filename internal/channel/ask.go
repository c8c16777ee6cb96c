package channel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
)

// Asker is a notifying action that can put a question before people in a form of its own: with buttons, or
// to each of them alone.
type Asker interface {
	Ask(ctx context.Context, params action.Params, t question.Telling) error
}

// Ask puts a question before everybody of a channel. Whom one way doesn't reach, another may: the error names
// those that failed. It never has a link in it.
func (n *Notify) Ask(ctx context.Context, name string, t question.Telling) error {
	targets, known := n.channels[name]
	if !known {
		return fault.New(fault.Invalid, "there is no channel %.100q", name)
	}
	var made []string
	mint := t.Link
	t.Link = func(ctx context.Context, to question.Person) (string, error) {
		link, err := mint(ctx, to)
		if link != "" {
			made = append(made, link)
		}
		return link, err
	}
	var errs []error
	for i, target := range targets {
		one := t
		one.Token = fmt.Sprintf("%s-%d", t.Token, i)
		if err := n.ask(ctx, target, one); err != nil {
			errs = append(errs, fmt.Errorf("channel %s, %s: %w", name, target.Use, err))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	err := errors.Join(errs...)
	if len(errs) == len(targets) {
		err = unheard(errs)
	}
	return &unlinked{err: err, links: made}
}

func (n *Notify) ask(ctx context.Context, target Target, t question.Telling) error {
	do, ok := n.actions[target.Use]
	if !ok {
		return fault.New(fault.Invalid, "%s is no longer configured", target.Use)
	}
	message := t.Text()
	asker, able := do.(Asker)
	if !able {
		link, err := t.Link(ctx, question.Person{})
		if err != nil {
			return err
		}
		message += "\n" + t.How(link)
	}
	params, err := action.Bind(do.Spec(), fill(do.Spec(), target, t.Headline, message))
	if err != nil {
		return err
	}
	if able {
		return asker.Ask(ctx, params, t)
	}
	plan, err := do.Plan(ctx, action.Input{Params: params, Incident: t.Incident, Run: t.Run, Token: t.Token})
	if err != nil {
		return err
	}
	_, err = do.Apply(ctx, plan)
	return err
}

// unlinked is an error without the links that a receiver may have echoed.
type unlinked struct {
	err   error
	links []string
}

// Error is the error's text without links.
func (u *unlinked) Error() string {
	text := u.err.Error()
	for _, link := range u.links {
		text = strings.ReplaceAll(text, link, "[link]")
		text = strings.ReplaceAll(text, link[strings.LastIndexByte(link, '/')+1:], "[link]")
	}
	return text
}

// Unwrap gives the error as it was.
func (u *unlinked) Unwrap() error { return u.err }
