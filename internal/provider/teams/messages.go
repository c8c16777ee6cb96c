package teams

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
)

const (
	// window is how far a message's time may be from now, either way.
	window = 5 * time.Minute
	// largestMessage bounds what Teams sends, in bytes.
	largestMessage = 256 << 10
	// patience bounds the work on a message: Teams waits 5 s for our answer.
	patience = 4 * time.Second
)

// Desk finds questions and takes answers.
type Desk interface {
	// ByCode gives the question of a code; the error is NotFound where there is none.
	ByCode(ctx context.Context, code string) (question.Question, error)
	Decide(ctx context.Context, a question.Answer) (run.Approval, error)
}

// Messages takes what people say to the outgoing webhook, as Teams posts it.
type Messages struct {
	teams  *Teams
	desk   Desk
	now    func() time.Time
	logger *slog.Logger
}

// Messages serves an outgoing webhook's callback address; nil where there is no secret.
func (t *Teams) Messages(desk Desk, now func() time.Time, logger *slog.Logger) *Messages {
	if t.key == nil {
		return nil
	}
	return &Messages{teams: t, desk: desk, now: now, logger: logger}
}

// said is what is read of an activity.
type said struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Text      string    `json:"text"`
	From      struct {
		ObjectID string `json:"aadObjectId"`
	} `json:"from"`
}

// ServeHTTP checks that Teams sent the message, does what it says and answers below it.
func (m *Messages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestMessage))
	if err != nil {
		http.Error(w, "too large, or cut", http.StatusRequestEntityTooLarge)
		return
	}
	if !m.signed(r.Header.Values("Authorization"), body) {
		http.Error(w, "not signed by Teams", http.StatusUnauthorized)
		return
	}
	var message said
	if err := json.Unmarshal(body, &message); err != nil || message.Type != "message" {
		http.Error(w, "not a message", http.StatusBadRequest)
		return
	}
	if age := m.now().Sub(message.Timestamp).Abs(); age > window {
		http.Error(w, "not of now; check the clock", http.StatusUnauthorized)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	// Teams shows the text as Markdown and HTML: what others wrote in it is escaped.
	reply := map[string]string{"type": "message", "text": escape(m.take(ctx, message))}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(reply) // whoever asked is gone then
}

// signed checks the HMAC-SHA256 of the raw body, by which Teams signs what an outgoing webhook gets.
func (m *Messages) signed(headers []string, body []byte) bool {
	if len(headers) != 1 {
		return false
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if !strings.EqualFold(scheme, "HMAC") || err != nil {
		return false
	}
	sum := hmac.New(sha256.New, m.teams.key)
	sum.Write(body)
	return hmac.Equal(signature, sum.Sum(nil))
}

const usage = "Say: approve CODE, or: deny CODE and why. The code is in the question."

// take does what somebody said, and gives what to answer.
func (m *Messages) take(ctx context.Context, message said) string {
	person, known := m.teams.config.Users[strings.ToLower(message.From.ObjectID)]
	if !known {
		m.logger.WarnContext(ctx, "somebody in teams whom nobody configured wants to answer", "user", question.Legible(message.From.ObjectID, 40))
		return "Riposte does not know you: nothing happened. Who may answer is configured by teams.users."
	}
	yes, code, reason, ok := order(message.Text)
	if !ok {
		return usage
	}
	if !yes && reason == "" {
		return "Nothing happened: say why you deny it. " + usage
	}
	q, err := m.desk.ByCode(ctx, code)
	if err != nil {
		return m.failure(ctx, err)
	}
	decided, err := m.desk.Decide(ctx, question.Answer{
		Approval: q.ID, Hash: q.Hash, Yes: yes, By: person.Name, Roles: person.Roles, Reason: reason,
	})
	switch {
	case err != nil:
		return m.failure(ctx, err)
	case decided.Answer == run.Pending:
		return "Your answer counts. The question is still open: others have to answer too."
	}
	return question.Said(decided)
}

func (m *Messages) failure(ctx context.Context, err error) string {
	switch fault.KindOf(err) {
	case fault.Conflict, fault.Denied, fault.NotFound, fault.Invalid:
		return "Not taken: " + fault.Message(err)
	case fault.Transient, fault.Internal:
	}
	m.logger.ErrorContext(ctx, "answer from teams not taken", "err", err.Error())
	return "Not taken: something failed. Look by riposte approvals, then try again."
}

var (
	mention = regexp.MustCompile(`(?s)<at\b[^>]*>.*?</at>`)
	tag     = regexp.MustCompile(`<[^>]*>`)
	command = regexp.MustCompile(`(?is)^(approve|deny)\s+([a-z2-7]{10})(?:\s+(.*))?$`)
)

// order reads a message without its mention and markup.
func order(text string) (yes bool, code, reason string, ok bool) {
	text = html.UnescapeString(tag.ReplaceAllString(mention.ReplaceAllString(text, " "), " "))
	found := command.FindStringSubmatch(question.Reason(text))
	if found == nil {
		return false, "", "", false
	}
	return strings.EqualFold(found[1], "approve"), strings.ToLower(found[2]), strings.TrimSpace(found[3]), true
}

// escape writes a text so that Teams shows it as it is: no HTML, no Markdown.
func escape(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case strings.ContainsRune("<>&", r):
			out.WriteString(html.EscapeString(string(r)))
			continue
		case strings.ContainsRune("\\`*_{}[]()#+!|~", r):
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}
