package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
)

// Provider is how messages of this package are kept.
const Provider = "slack"

const (
	// mostPlans is how many plans a message shows; the page and the command line show all.
	mostPlans = 20
	// longestPlan is how much of one plan is shown, in characters before they are escaped.
	longestPlan = 500
	// longestReason is how long a reason may be, in characters.
	longestReason = 2000
	longestButton = 75
	// The buttons and the field of the form.
	actApprove, actDeny, actLink = "riposte_approve", "riposte_deny", "riposte_link"
	actReason                    = "riposte_reason"
	formDeny                     = "riposte_deny_form"
)

type button struct {
	Type    string   `json:"type"`
	ID      string   `json:"action_id"`
	Text    *text    `json:"text"`
	Style   string   `json:"style,omitempty"`
	Value   string   `json:"value,omitempty"`
	URL     string   `json:"url,omitempty"`
	Confirm *confirm `json:"confirm,omitempty"`
}

type confirm struct {
	Title   *text `json:"title"`
	Text    *text `json:"text"`
	Confirm *text `json:"confirm"`
	Deny    *text `json:"deny"`
}

type field struct {
	Type      string `json:"type"`
	ID        string `json:"action_id"`
	Multiline bool   `json:"multiline"`
	MaxLength int    `json:"max_length"`
}

// asked is what a button carries: the question and exactly the plans that it was about. It isn't secret.
func asked(a run.Approval) string { return a.ID + " " + a.Hash }

// Ask posts a question: what would be changed, and buttons where Slack can tell us who pressed them. The link
// is a button too, so that it is neither shown nor followed by Slack.
func (n *notify) Ask(ctx context.Context, params action.Params, t question.Telling) error {
	name := params.String("channel")
	channel, err := n.channel(name)
	if err != nil {
		return err
	}
	return n.slack.ask(ctx, "slack channel "+name, channel, question.Person{}, t)
}

// AskPerson puts a question before one person, in a conversation of theirs with the bot. id is theirs in Slack.
func (s *Slack) AskPerson(ctx context.Context, id string, who question.Person, t question.Telling) error {
	if !userID.MatchString(id) || s.config.Token.IsZero() {
		return fault.New(fault.Invalid, "slack: needs slack.token, and a user's id such as U0123456789")
	}
	return s.ask(ctx, "slack user "+id, Channel{ID: id}, who, t)
}

// TellPerson posts a message into a conversation of one person with the bot.
func (s *Slack) TellPerson(ctx context.Context, id, subject, body string) error {
	if !userID.MatchString(id) || s.config.Token.IsZero() {
		return fault.New(fault.Invalid, "slack: needs slack.token, and a user's id such as U0123456789")
	}
	text, err := json.Marshal(compose(id, legible(oneLine(subject), longestSubject), legible(body, longestMessage), ""))
	if err != nil {
		return fmt.Errorf("encode message to slack: %w", err)
	}
	_, err = s.call(ctx, "slack user "+id, "chat.postMessage", text)
	return err
}

// ReachesPeople reports whether the bot can talk to people.
func (s *Slack) ReachesPeople() bool { return !s.config.Token.IsZero() }

func (s *Slack) ask(ctx context.Context, receiver string, channel Channel, who question.Person, t question.Telling) error {
	link, err := t.Link(ctx, who)
	if err != nil {
		return err
	}
	m := layOut(t.Question, t.Headline)
	m.Channel = channel.ID
	if buttons := s.buttons(t.Question, link); len(buttons) > 0 {
		m.Blocks = append(m.Blocks, block{Type: "actions", Elements: buttons})
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode question to slack: %w", err)
	}
	if channel.ID == "" {
		_, err := s.courier.Post(ctx, courier.Parcel{
			Receiver: receiver, URL: channel.Webhook.Reveal(), Body: body, Header: jsonHeader(), Secrets: channel.secrets(),
		})
		return err
	}
	sent, err := s.call(ctx, receiver, "chat.postMessage", body)
	if err != nil || sent.TS == "" {
		return err
	}
	place := sent.Channel // a person's id stands for a conversation with them, which has its own
	if place == "" {
		place = channel.ID
	}
	return t.Sent(ctx, question.Message{Provider: Provider, Place: place, ID: sent.TS, Approval: t.ID})
}

// buttons are those by which a question can be answered.
func (s *Slack) buttons(q question.Question, link string) []any {
	var all []any
	if !s.config.SigningSecret.IsZero() {
		sure := &confirm{
			Title: plain("Approve?"), Confirm: plain("Approve"), Deny: plain("Back"),
			Text: plain("Exactly the plan " + question.ShortHash(q.Approval) + " will be carried out."),
		}
		all = append(all,
			button{Type: "button", ID: actApprove, Text: plain("Approve"), Style: "primary", Value: asked(q.Approval), Confirm: sure},
			button{Type: "button", ID: actDeny, Text: plain("Deny"), Style: "danger", Value: asked(q.Approval)})
	}
	if link != "" {
		all = append(all, button{Type: "button", ID: actLink, Text: plain(first(escaped("Look, and answer once"), longestButton)), URL: link})
	}
	return all
}

// layOut lays out a question without its buttons. The texts are attackers' in part: they end up escaped, bounded
// and, in plain_text, without any markup.
func layOut(q question.Question, headline string) message {
	headline = first(escaped(legible(oneLine(headline), longestSubject)), longestHeader)
	m := message{Text: headline, Blocks: []block{{Type: "header", Text: plain(headline)}}}
	section := func(s string) {
		m.Blocks = append(m.Blocks, block{Type: "section", Text: plain(first(escaped(s), longestSection))})
	}
	if q.Title != "" {
		section(question.Legible(q.Severity.String()+": "+q.Title, longestPlan))
	}
	for i, p := range q.Plans {
		if i == mostPlans {
			section(fmt.Sprintf("%d more plans are not shown here: look before you answer.", len(q.Plans)-mostPlans))
			break
		}
		line := question.Legible(p.Change.Summary, longestPlan)
		if impact := question.Legible(strings.Join(p.Change.Impact, "; "), longestPlan); impact != "" {
			line += "\nImpact: " + impact
		}
		section(line)
	}
	if len(q.Plans) == 0 {
		section("Nothing would be changed before the next question.")
	}
	facts := strings.Join(append(q.Facts(), "riposte approvals show "+q.ID), "\n")
	m.Blocks = append(m.Blocks, block{Type: "context", Elements: []any{plain(first(escaped(facts), longestSection))}})
	return m
}

// over lays out a question that isn't open any more: what it was, and what became of it.
func over(q question.Question) message {
	m := layOut(q, "Riposte asked: "+q.Playbook)
	said := first(escaped(question.Legible(question.Said(q.Approval), longestSection)), longestSection)
	m.Text = said
	m.Blocks = append(m.Blocks, block{Type: "section", Text: plain(said)})
	return m
}

// Settle changes a message about a question that isn't open any more: it says what became of it and has no
// buttons. An error of kind Transient is worth another try.
func (s *Slack) Settle(ctx context.Context, m question.Message, q question.Question) error {
	if s.config.Token.IsZero() {
		return fault.New(fault.Invalid, "slack.token is gone: a message about approval %s stays as it is", q.ID)
	}
	changed := over(q)
	changed.Channel, changed.TS = m.Place, m.ID
	body, err := json.Marshal(changed)
	if err != nil {
		return fmt.Errorf("encode change of a message to slack: %w", err)
	}
	_, err = s.call(ctx, "slack channel "+m.Place, "chat.update", body)
	return err
}

// patience bounds what follows a pressed button, after Slack has its answer.
const patience = 30 * time.Second
