package slack

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/secret"
)

const (
	// window is how far the time of a request may be from now, either way.
	window = 5 * time.Minute
	// largestInteraction bounds what Slack sends: the message with the button is in it.
	largestInteraction = 512 << 10
	version            = "v0"
)

// Desk knows questions and takes answers.
type Desk interface {
	Question(ctx context.Context, approval string) (question.Question, error)
	Decide(ctx context.Context, a question.Answer) (run.Approval, error)
}

// Interactions takes what people do with our messages, as Slack posts it.
type Interactions struct {
	slack  *Slack
	desk   Desk
	now    func() time.Time
	logger *slog.Logger
}

// Interactions serves Slack's request URL of an app; nil where there is no signing secret.
func (s *Slack) Interactions(desk Desk, now func() time.Time, logger *slog.Logger) *Interactions {
	if s.config.SigningSecret.IsZero() {
		return nil
	}
	return &Interactions{slack: s, desk: desk, now: now, logger: logger}
}

// interaction is what is read of a block_actions or view_submission payload.
type interaction struct {
	Type string `json:"type"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	Trigger     string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
	Actions     []struct {
		ID    string `json:"action_id"`
		Value string `json:"value"`
	} `json:"actions"`
	View struct {
		Callback string `json:"callback_id"`
		Metadata string `json:"private_metadata"`
		State    struct {
			Values map[string]map[string]struct {
				Value string `json:"value"`
			} `json:"values"`
		} `json:"state"`
	} `json:"view"`
}

// metadata goes with the form that asks for a reason, and comes back with it.
type metadata struct {
	Asked       string `json:"asked"`
	ResponseURL string `json:"response_url"`
}

// ServeHTTP checks that Slack sent the request, answers it at once (Slack waits 3 s), then does what is to be
// done and tells the person through Slack.
func (i *Interactions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestInteraction))
	if err != nil {
		http.Error(w, "too large, or cut", http.StatusRequestEntityTooLarge)
		return
	}
	if !i.signed(r.Header, body) {
		http.Error(w, "not signed by Slack", http.StatusUnauthorized)
		return
	}
	var did interaction
	form, err := url.ParseQuery(string(body))
	if err == nil {
		err = json.Unmarshal([]byte(form.Get("payload")), &did)
	}
	if err != nil {
		http.Error(w, "not an interaction", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		i.logger.WarnContext(r.Context(), "answer to slack", "err", err.Error())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience) // Slack hangs up now
	defer cancel()
	i.take(ctx, did)
}

// signed checks Slack's signature of version 0: HMAC-SHA256 over v0, the timestamp and the raw body.
func (i *Interactions) signed(header http.Header, body []byte) bool {
	stamps, signatures := header.Values("X-Slack-Request-Timestamp"), header.Values("X-Slack-Signature")
	if len(stamps) != 1 || len(signatures) != 1 {
		return false
	}
	seconds, err := strconv.ParseInt(stamps[0], 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != stamps[0] {
		return false
	}
	now, most := i.now().Unix(), int64(window/time.Second)
	if seconds < now-most || seconds > now+most {
		return false
	}
	text, is := strings.CutPrefix(signatures[0], version+"=")
	signature, err := hex.DecodeString(text)
	if !is || err != nil {
		return false
	}
	sum := hmac.New(sha256.New, []byte(i.slack.config.SigningSecret.Reveal()))
	sum.Write([]byte(version + ":" + stamps[0] + ":"))
	sum.Write(body)
	return hmac.Equal(signature, sum.Sum(nil))
}

// take does what a person did. A payload of another kind is none of ours.
func (i *Interactions) take(ctx context.Context, did interaction) {
	switch {
	case did.Type == "block_actions" && len(did.Actions) == 1:
		pressed := did.Actions[0]
		switch pressed.ID {
		case actApprove:
			i.answer(ctx, did.User.ID, pressed.Value, did.ResponseURL, true, "")
		case actDeny:
			i.deny(ctx, did, pressed.Value)
		}
	case did.Type == "view_submission" && did.View.Callback == formDeny:
		var about metadata
		if err := json.Unmarshal([]byte(did.View.Metadata), &about); err != nil {
			i.logger.WarnContext(ctx, "slack form without its question")
			return
		}
		reason := did.View.State.Values[actReason][actReason].Value
		i.answer(ctx, did.User.ID, about.Asked, about.ResponseURL, false, reason)
	}
}

// deny asks for a reason where the bot can open a form. A webhook alone can't: then the denial stands without
// one rather than not at all.
func (i *Interactions) deny(ctx context.Context, did interaction, asked string) {
	if _, known := i.slack.config.Users[did.User.ID]; !known || i.slack.config.Token.IsZero() {
		i.answer(ctx, did.User.ID, asked, did.ResponseURL, false, "denied in Slack, without a reason")
		return
	}
	about, err := json.Marshal(metadata{Asked: asked, ResponseURL: did.ResponseURL})
	if err != nil {
		i.logger.ErrorContext(ctx, "encode form to slack", "err", err.Error())
		return
	}
	form, err := json.Marshal(map[string]any{"trigger_id": did.Trigger, "view": map[string]any{
		"type": "modal", "callback_id": formDeny, "private_metadata": string(about),
		"title": plain("Deny the plan"), "submit": plain("Deny"), "close": plain("Back"),
		"blocks": []block{{
			Type: "input", ID: actReason, Label: plain("Why? It is recorded."),
			Element: &field{Type: "plain_text_input", ID: actReason, Multiline: true, MaxLength: longestReason},
		}},
	}})
	if err == nil {
		_, err = i.slack.call(ctx, "slack form", "views.open", form)
	}
	if err != nil {
		i.logger.WarnContext(ctx, "slack form not opened", "err", err.Error())
		i.whisper(ctx, did.ResponseURL, "The form for your reason can't be opened; press Deny again, or use riposte deny.")
	}
}

// answer takes an answer of a person whom the configuration knows.
func (i *Interactions) answer(ctx context.Context, user, asked, responseURL string, yes bool, reason string) {
	person, known := i.slack.config.Users[user]
	if !known {
		i.logger.WarnContext(ctx, "somebody in slack whom nobody configured wants to answer", "user", question.Legible(user, 30))
		i.whisper(ctx, responseURL, "Riposte does not know you: nothing happened. Who may answer is configured by slack.users.")
		return
	}
	approval, hash, _ := strings.Cut(asked, " ")
	if approval == "" || hash == "" {
		i.logger.WarnContext(ctx, "slack button without its question")
		return
	}
	decided, err := i.desk.Decide(ctx, question.Answer{
		Approval: approval, Hash: hash, Yes: yes, By: person.Name, Roles: person.Roles, Reason: question.Reason(reason),
	})
	if err != nil {
		i.notTaken(ctx, approval, responseURL, err)
		return
	}
	if decided.Answer == run.Pending {
		i.whisper(ctx, responseURL, "Your answer counts. The question is still open: others have to answer too.")
		return
	}
	i.replace(ctx, approval, responseURL)
}

// notTaken says why an answer wasn't; where the question is over, the message says so from now on.
func (i *Interactions) notTaken(ctx context.Context, approval, responseURL string, err error) {
	switch fault.KindOf(err) {
	case fault.Conflict, fault.Denied, fault.NotFound, fault.Invalid:
		i.whisper(ctx, responseURL, "Not taken: "+fault.Message(err))
		i.replace(ctx, approval, responseURL)
	case fault.Transient, fault.Internal:
		i.logger.ErrorContext(ctx, "answer from slack not taken", "err", err.Error())
		i.whisper(ctx, responseURL, "Not taken: something failed. Try again in a moment.")
	}
}

// replace changes the message with the button, if its question isn't open any more.
func (i *Interactions) replace(ctx context.Context, approval, responseURL string) {
	q, err := i.desk.Question(ctx, approval)
	if err != nil || q.Answer == run.Pending {
		return
	}
	m := over(q)
	i.respond(ctx, responseURL, map[string]any{"replace_original": true, "text": m.Text, "blocks": m.Blocks})
}

// whisper tells the person who pressed a button, and nobody else.
func (i *Interactions) whisper(ctx context.Context, responseURL, say string) {
	say = first(escaped(question.Legible(say, longestSection)), longestSection)
	i.respond(ctx, responseURL, map[string]any{
		"response_type": "ephemeral", "replace_original": false, "text": say, "blocks": []block{{Type: "section", Text: plain(say)}},
	})
}

// respond posts to where Slack said that an interaction is answered.
func (i *Interactions) respond(ctx context.Context, to string, body map[string]any) {
	err := i.slack.checkResponse(to)
	var encoded []byte
	if err == nil {
		encoded, err = json.Marshal(body)
	}
	if err == nil {
		_, err = i.slack.courier.Post(ctx, courier.Parcel{
			Receiver: "slack response", URL: to, Body: encoded, Header: jsonHeader(), Secrets: []secret.Secret{secret.New(to)},
		})
	}
	if err != nil {
		i.logger.WarnContext(ctx, "slack was not told what became of an answer", "err", err.Error())
	}
}

// checkResponse lets us post to Slack and to nobody else, whoever got hold of the signing secret.
func (s *Slack) checkResponse(to string) error {
	if err := courier.CheckURL(to); err != nil {
		return fmt.Errorf("response_url: %w", err)
	}
	target, err := url.Parse(to)
	if err != nil {
		return errors.New("response_url: not a URL")
	}
	api, err := url.Parse(s.config.API)
	if err == nil && target.Host == api.Host || target.Host == "hooks.slack.com" || target.Host == "hooks.slack-gov.com" {
		return nil
	}
	return fault.New(fault.Invalid, "response_url: not at Slack")
}
