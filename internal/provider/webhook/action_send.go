package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// messageType is the body's type, by which receivers route.
	messageType = "riposte.message"
	// The longest texts that are sent, in bytes.
	longestSubject = 1 << 10
	longestMessage = 64 << 10
)

// body is what is sent. All but the time is planned.
type body struct {
	Type     string    `json:"type"`
	Time     time.Time `json:"time,omitzero"`
	Incident string    `json:"incident"`
	Run      string    `json:"run"`
	Step     string    `json:"step"`
	Subject  string    `json:"subject"`
	Message  string    `json:"message"`
}

// send posts a message to an endpoint.
type send struct{ webhook *Webhook }

// Spec describes the action.
func (s *send) Spec() action.Spec {
	return action.Spec{
		Name: "webhook.send", Summary: "Post a signed message to an HTTP endpoint", Effect: action.Notify,
		Doc: "Posts JSON with `type` (riposte.message), `time`, `incident`, `run`, `step`, `subject` and `message`, " +
			"signed as in the Standard Webhooks specification. The header `webhook-id` is the same for every attempt " +
			"of one step: a receiver that has seen it can pass the message over. `time` and `webhook-timestamp` are " +
			"those of the attempt. A message over 64 KiB is cut. What an attacker wrote is in these texts as it was " +
			"written: it is the receiver who knows what to escape.",
		Params: []action.Param{
			{
				Name: "endpoint", Type: action.String, Required: true, Enum: s.webhook.names(),
				Doc: "name of an endpoint in the configuration, webhook.endpoints",
			},
			{Name: "message", Type: action.String, Required: true, Doc: "what to say"},
			{Name: "subject", Type: action.String, Doc: "a short headline"},
		},
		Outputs: []action.Output{{Name: "status", Type: action.Int, Doc: "the status that the endpoint answered"}},
		Timeout: longestTimeout,
	}
}

// Plan writes the body. It sends nothing.
func (s *send) Plan(_ context.Context, in action.Input) (action.Change, error) {
	name := in.Params.String("endpoint")
	if _, err := s.endpoint(name); err != nil {
		return action.Change{}, err
	}
	planned := body{
		Type: messageType, Incident: in.Incident, Run: in.Run, Step: in.Step,
		Subject: bounded(in.Params.String("subject"), longestSubject), Message: bounded(in.Params.String("message"), longestMessage),
	}
	after, err := json.Marshal(planned)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode message to webhook: %w", err)
	}
	params, err := json.Marshal(action.Params{"endpoint": name, "subject": planned.Subject, "message": planned.Message})
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return action.Change{
		Action: s.Spec().Name, Place: in.Place, Params: params,
		Target: entity.Entity{Kind: entity.Resource, ID: "webhook " + name, Provider: "webhook"},
		After:  after, Calls: []string{"webhook:Post " + name}, Summary: "Post a message to webhook " + name,
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

func (s *send) endpoint(name string) (endpoint, error) {
	to, known := s.webhook.endpoints[name]
	if !known {
		return to, fault.New(fault.Invalid, "webhook.endpoints has no %.100q; there are %s", name,
			strings.Join(s.webhook.names(), ", "))
	}
	return to, nil
}

// Apply posts what was planned, with the time at which it does.
func (s *send) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return action.Result{}, err
	}
	name := in.Params.String("endpoint")
	to, err := s.endpoint(name)
	if err != nil {
		return action.Result{}, err
	}
	var planned body
	if err := json.Unmarshal(c.After, &planned); err != nil {
		return action.Result{}, fmt.Errorf("read planned message: %w", err)
	}
	now := s.webhook.now()
	planned.Time = now.UTC()
	text, err := json.Marshal(planned)
	if err != nil {
		return action.Result{}, fmt.Errorf("encode message to webhook: %w", err)
	}
	reply, err := s.webhook.courier.Post(ctx, courier.Parcel{
		Receiver: "webhook " + name, URL: to.url, Header: to.headers(messageID(c), now, text), Body: text,
		Timeout: to.timeout, Secrets: to.secrets,
	})
	if err != nil {
		return action.Result{}, err
	}
	return action.Result{Changed: true, Outputs: map[string]any{"status": int64(reply.Status)}}, nil
}

// headers are the endpoint's own and the signature's.
func (e endpoint) headers(id string, now time.Time, text []byte) http.Header {
	header := e.header.Clone()
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "Riposte")
	}
	header.Set("Content-Type", "application/json")
	e.key.Sign(header, id, now, text)
	return header
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// messageID is the change's token where it can stand in a header, else a hash.
func messageID(c action.Change) string {
	if idPattern.MatchString(c.Token) {
		return c.Token
	}
	sum := sha256.Sum256([]byte(c.Token + "\x00" + c.Hash()))
	return hex.EncodeToString(sum[:16])
}

// bounded is a text's valid beginning, with a mark at its end if there was more.
func bounded(s string, longest int) string {
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "… (cut)"
	}
	return strings.ToValidUTF8(s, "")
}
