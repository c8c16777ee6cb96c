package slack

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
	"github.com/riposte-sec/riposte/internal/secret"
)

// longestSubject is ours; Slack's header is shorter only where characters are escaped.
const longestSubject = 150

// notify posts a message into a channel.
type notify struct{ slack *Slack }

// Spec describes the action.
func (n *notify) Spec() action.Spec {
	return action.Spec{
		Name: "slack.notify", Summary: "Post a message into a Slack channel", Effect: action.Notify,
		Doc: "Posts a headline and a text by an incoming webhook, or by chat.postMessage where the channel is " +
			"configured by its id. `*bold*` and the like work; `&`, `<` and `>` are escaped, so that nothing in the " +
			"text becomes a link or a mention. A text over 12,000 characters is cut. Slack takes no idempotency " +
			"token: tried again after an answer that got lost, the message can come twice.",
		Params: []action.Param{
			{
				Name: "channel", Type: action.String, Required: true, Enum: n.slack.names(),
				Doc: "name of a channel in the configuration, slack.channels",
			},
			{Name: "message", Type: action.String, Required: true, Doc: "what to say"},
			{Name: "subject", Type: action.String, Doc: "a short headline; the incident if absent"},
		},
		Outputs: []action.Output{{Name: "ts", Type: action.String, Doc: "Slack's id of the message; empty for a webhook"}},
	}
}

// Plan lays the message out. It sends nothing.
func (n *notify) Plan(_ context.Context, in action.Input) (action.Change, error) {
	name := in.Params.String("channel")
	channel, err := n.channel(name)
	if err != nil {
		return action.Change{}, err
	}
	subject := in.Params.String("subject")
	if subject == "" {
		subject = strings.TrimSuffix("Riposte, incident "+in.Incident, ", incident ")
	}
	subject = legible(oneLine(subject), longestSubject)
	body := legible(in.Params.String("message"), longestMessage)
	after, err := json.Marshal(compose(channel.ID, subject, body, about(in)))
	if err != nil {
		return action.Change{}, fmt.Errorf("encode message to slack: %w", err)
	}
	params, err := json.Marshal(action.Params{"channel": name, "subject": subject, "message": body})
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	call := "slack:IncomingWebhook " + name
	if channel.ID != "" {
		call = "slack:chat.postMessage " + channel.ID
	}
	return action.Change{
		Action: n.Spec().Name, Place: in.Place, Params: params,
		Target: entity.Entity{Kind: entity.Resource, ID: "slack channel " + name, Provider: "slack"},
		After:  after, Calls: []string{call}, Summary: "Post into Slack channel " + name + ": " + subject,
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

func about(in action.Input) string {
	if in.Incident == "" {
		return ""
	}
	return "incident " + legible(oneLine(in.Incident), longestSubject) + ", run " + legible(oneLine(in.Run), longestSubject)
}

func (n *notify) channel(name string) (Channel, error) {
	channel, known := n.slack.config.Channels[name]
	if !known {
		return channel, fault.New(fault.Invalid, "slack.channels has no %.100q; there are %s", name,
			strings.Join(n.slack.names(), ", "))
	}
	return channel, nil
}

// Apply posts the message that was planned.
func (n *notify) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return action.Result{}, err
	}
	name := in.Params.String("channel")
	channel, err := n.channel(name)
	if err != nil {
		return action.Result{}, err
	}
	ts, err := n.post(ctx, "slack channel "+name, channel, c.After)
	if err != nil {
		return action.Result{}, err
	}
	return action.Result{Changed: true, Outputs: map[string]any{"ts": ts}}, nil
}

func (n *notify) post(ctx context.Context, receiver string, to Channel, body []byte) (ts string, err error) {
	if to.ID == "" {
		_, err := n.slack.courier.Post(ctx, courier.Parcel{
			Receiver: receiver, URL: to.Webhook.Reveal(), Body: body, Header: jsonHeader(), Secrets: to.secrets(),
		})
		return "", err
	}
	sent, err := n.slack.call(ctx, receiver, "chat.postMessage", body)
	return sent.TS, err
}

func jsonHeader() http.Header {
	return http.Header{"Content-Type": {"application/json; charset=utf-8"}}
}

// reply is what a method answers, with status 200 whether or not it worked.
type reply struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error"`
	TS      string `json:"ts"`
	Channel string `json:"channel"`
}

// call calls a method of Slack's as the bot.
func (s *Slack) call(ctx context.Context, receiver, method string, body []byte) (reply, error) {
	header := jsonHeader()
	header.Set("Authorization", "Bearer "+s.config.Token.Reveal())
	got, err := s.courier.Post(ctx, courier.Parcel{
		Receiver: receiver, URL: s.config.API + "/" + method, Body: body, Header: header, Secrets: []secret.Secret{s.config.Token},
	})
	if err != nil {
		return reply{}, err
	}
	var answer reply
	if err := json.Unmarshal(got.Body, &answer); err != nil {
		return reply{}, fault.New(fault.Transient, "%s: an answer that is not JSON", receiver)
	}
	if !answer.OK {
		return reply{}, fault.New(kindOf(answer.Error), "%s: Slack says %.100q", receiver, answer.Error)
	}
	return answer, nil
}

// kindOf says what can be done about an error code of Slack's.
func kindOf(code string) fault.Kind {
	switch code {
	case "ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout",
		"team_added_to_org":
		return fault.Transient
	case "not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired", "missing_scope",
		"no_permission", "not_in_channel", "restricted_action", "ekm_access_denied", "access_denied", "org_login_required",
		"not_allowed_token_type", "two_factor_setup_required":
		return fault.Denied
	}
	return fault.Invalid
}
