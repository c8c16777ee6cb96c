package teams

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
)

// notify posts a card into a channel.
type notify struct{ teams *Teams }

// Spec describes the action.
func (n *notify) Spec() action.Spec {
	return action.Spec{
		Name: "teams.notify", Summary: "Post a card into a Microsoft Teams channel", Effect: action.Notify,
		Doc: "Posts a headline and a text as an Adaptive Card, by a Workflow's address or an incoming webhook. Texts are " +
			"shown as they are, without Markdown, so that nothing in them becomes a link. A text over 6,000 characters " +
			"is cut, or a shorter one where the card would be larger than Teams takes. Teams takes no idempotency token: tried " +
			"again after an answer that got lost, the card can come twice.",
		Params: []action.Param{
			{
				Name: "channel", Type: action.String, Required: true, Enum: n.teams.names(),
				Doc: "name of a channel in the configuration, teams.channels",
			},
			{Name: "message", Type: action.String, Required: true, Doc: "what to say"},
			{Name: "subject", Type: action.String, Doc: "a short headline; the incident if absent"},
		},
		Outputs: []action.Output{{Name: "status", Type: action.Int, Doc: "the status that Teams answered"}},
	}
}

// Plan lays the card out. It sends nothing.
func (n *notify) Plan(_ context.Context, in action.Input) (action.Change, error) {
	name := in.Params.String("channel")
	if _, err := n.teams.channel(name); err != nil {
		return action.Change{}, err
	}
	subject := question.Legible(in.Params.String("subject"), longestSubject)
	if subject == "" {
		subject = strings.TrimSuffix("Riposte, incident "+question.Legible(in.Incident, longestSubject), ", incident ")
	}
	body := lines(in.Params.String("message"), longestMessage)
	after, err := message(subject, body, about(in))
	if err != nil {
		return action.Change{}, err
	}
	params, err := json.Marshal(action.Params{"channel": name, "subject": subject, "message": body})
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return action.Change{
		Action: n.Spec().Name, Place: in.Place, Params: params,
		Target: entity.Entity{Kind: entity.Resource, ID: "teams channel " + name, Provider: "teams"},
		After:  after, Calls: []string{"teams:Webhook " + name}, Summary: "Post into Teams channel " + name + ": " + subject,
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

func about(in action.Input) string {
	if in.Incident == "" {
		return ""
	}
	return "incident " + question.Legible(in.Incident, longestSubject) + ", run " + question.Legible(in.Run, longestSubject)
}

// Apply posts the card that was planned.
func (n *notify) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return action.Result{}, err
	}
	status, err := n.teams.post(ctx, in.Params.String("channel"), c.After)
	if err != nil {
		return action.Result{}, err
	}
	return action.Result{Changed: true, Outputs: map[string]any{"status": int64(status)}}, nil
}

// Ask posts a question: what would be changed, a link to answer by, and a code to type where Teams can tell us
// who typed it.
func (n *notify) Ask(ctx context.Context, params action.Params, t question.Telling) error {
	link, err := t.Link(ctx, question.Person{})
	if err != nil {
		return err
	}
	body, err := ask(t.Question, t.Headline, link, n.teams.key != nil)
	if err != nil {
		return err
	}
	_, err = n.teams.post(ctx, params.String("channel"), body)
	return err
}

func (t *Teams) post(ctx context.Context, name string, body []byte) (status int, err error) {
	channel, err := t.channel(name)
	if err != nil {
		return 0, err
	}
	reply, err := t.courier.Post(ctx, courier.Parcel{
		Receiver: "teams channel " + name, URL: channel.URL.Reveal(), Body: body, Secrets: channel.secrets(),
		Header: http.Header{"Content-Type": {"application/json"}},
	})
	if err != nil {
		return 0, err
	}
	return reply.Status, delivered(name, string(reply.Body))
}

// delivered understands the answer of an incoming webhook, which has status 200 even where the card wasn't
// delivered: its body tells. A Workflow answers 202 and nothing.
func delivered(name, body string) error {
	if !strings.Contains(strings.ToLower(body), "delivery failed") {
		return nil
	}
	kind := fault.Invalid
	for _, status := range []string{"429", "500", "502", "503", "504"} {
		if strings.Contains(body, "HTTP error "+status) {
			kind = fault.Transient
		}
	}
	return fault.New(kind, "teams channel %s: %s", name, question.Legible(body, 200))
}
