package email

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// send mails a text to a list.
type send struct{ mail *Mail }

// Spec describes the action.
func (s *send) Spec() action.Spec {
	return action.Spec{
		Name: "email.send", Summary: "Send mail to a list of people", Effect: action.Notify,
		Doc: "Sends plain text to everybody on a list of the configuration, over an encrypted connection. The " +
			"Message-ID is the same for every attempt of one step; servers that look at it show the mail once. " +
			"Where the server refuses some of the addresses, the others get the mail and the result says so. A text " +
			"over 65,536 characters is cut.",
		Params: []action.Param{
			{Name: "to", Type: action.String, Required: true, Enum: s.mail.names(), Doc: "name of a list in the configuration, email.lists"},
			{Name: "message", Type: action.String, Required: true, Doc: "what to say"},
			{Name: "subject", Type: action.String, Doc: "the subject; the incident if absent"},
		},
		Outputs: []action.Output{
			{Name: "message_id", Type: action.String, Doc: "the mail's Message-ID"},
			{Name: "accepted", Type: action.Int, Doc: "how many addresses the server took"},
		},
	}
}

// Plan writes the mail. It sends nothing.
func (s *send) Plan(_ context.Context, in action.Input) (action.Change, error) {
	name := in.Params.String("to")
	people, known := s.mail.lists[name]
	if !known {
		return action.Change{}, fault.New(fault.Invalid, "email.lists has no %.100q; there are %s", name,
			strings.Join(s.mail.names(), ", "))
	}
	planned := letter{
		From: s.mail.from.String(), Sender: s.mail.from.Address, Incident: legible(in.Incident, longestSubject),
		Subject: subject(in), Text: text(in), MessageID: messageID(in) + "@" + domain(s.mail.from),
	}
	for _, to := range people {
		planned.To = append(planned.To, to.String())
		planned.Receivers = append(planned.Receivers, to.Address)
	}
	after, err := json.Marshal(planned)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode mail: %w", err)
	}
	params, err := json.Marshal(action.Params{
		"to": name, "subject": planned.Subject, "message": readable(in.Params.String("message"), longestText),
	})
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return action.Change{
		Action: s.Spec().Name, Place: in.Place, Params: params,
		Target: entity.Entity{Kind: entity.Resource, ID: "mail list " + name, Provider: "email"},
		After:  after, Calls: []string{"smtp:DATA " + name},
		Summary:  fmt.Sprintf("Mail to list %s (%d addresses): %s", name, len(people), planned.Subject),
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

func subject(in action.Input) string {
	if given := legible(in.Params.String("subject"), longestSubject); given != "" {
		return given
	}
	if in.Incident == "" {
		return "Riposte"
	}
	return legible("Riposte, incident "+in.Incident, longestSubject)
}

func text(in action.Input) string {
	message := readable(in.Params.String("message"), longestText)
	if message == "" {
		message = "(no text)"
	}
	if in.Incident != "" {
		message += "\n\n-- \nRiposte, incident " + legible(in.Incident, longestSubject) + ", run " + legible(in.Run, longestSubject)
	}
	return message
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// messageID is the left part of the Message-ID: the token where it can stand there, else a hash.
func messageID(in action.Input) string {
	if idPattern.MatchString(in.Token) {
		return in.Token
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", in.Token, in.Run, in.Step, in.Params.String("message")))
	return hex.EncodeToString(sum[:16])
}

// Apply sends the mail that was planned, with the date at which it does.
func (s *send) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	var planned letter
	if err := json.Unmarshal(c.After, &planned); err != nil {
		return action.Result{}, fmt.Errorf("read planned mail: %w", err)
	}
	refused, err := s.mail.deliver(ctx, planned)
	if err != nil {
		return action.Result{}, err
	}
	result := action.Result{Changed: true, Outputs: map[string]any{
		"message_id": planned.MessageID, "accepted": int64(len(planned.Receivers) - len(refused)),
	}}
	if len(refused) > 0 {
		result.Note = "the server refused " + strings.Join(refused, "; ")
	}
	return result, nil
}
