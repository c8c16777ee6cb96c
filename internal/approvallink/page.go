package approvallink

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"html/template"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
)

const (
	// largestForm is how large an answer may be, in bytes.
	largestForm = 64 << 10
	// longestText is how much of one text that others wrote is shown, in characters.
	longestText = 1000
	// mostShown is how many plans, impacts and calls are shown each.
	mostShown = 50
)

// page is what a link shows.
type page struct {
	Style    template.CSS
	Title    string
	Note     string // what became of it, or why it can't be answered
	Open     bool   // it can be answered now
	Question *shown
}

type shown struct {
	Playbook, Incident, IncidentTitle, Severity, Step string
	Hash                                              string
	Facts                                             []string
	Plans                                             []plan
	More                                              int // plans that aren't shown
}

type plan struct {
	Summary, Target, Place string
	Impact, Calls          []string
}

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem}section,form{border:1px solid #bbb;border-radius:6px;padding:1rem;margin:1rem 0}
code{overflow-wrap:anywhere}p,li,dd{overflow-wrap:anywhere}label{display:block}
input[type=text]{width:100%;box-sizing:border-box;font:inherit;padding:.4rem}
button{font:inherit;padding:.5rem 1.2rem;margin-top:.6rem}.note{font-weight:bold}`

var layout = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex,nofollow"><title>{{.Title}}</title><style>{{.Style}}</style></head><body>
<h1>{{.Title}}</h1>
{{with .Note}}<p class="note">{{.}}</p>{{end}}
{{with .Question}}<p>Playbook <b>{{.Playbook}}</b>, step {{.Step}}. Incident {{.Incident}}, {{.Severity}}: {{.IncidentTitle}}</p>
{{range .Plans}}<section><p><b>{{.Summary}}</b></p><p>{{.Target}}{{with .Place}} in {{.}}{{end}}</p>
{{with .Impact}}<p>Know before you answer:</p><ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{with .Calls}}<p>Calls:</p><ul>{{range .}}<li><code>{{.}}</code></li>{{end}}</ul>{{end}}</section>
{{else}}<p>Nothing would be changed before the next question.</p>{{end}}
{{with .More}}<p>{{.}} more plans are not shown: look by <code>riposte approvals show</code> before you answer.</p>{{end}}
<ul>{{range .Facts}}<li>{{.}}</li>{{end}}</ul><p>Hash of the plans: <code>{{.Hash}}</code></p>{{end}}
{{if .Open}}<form method="post"><input type="hidden" name="hash" value="{{.Question.Hash}}">
<label>Reason <input type="text" name="reason" maxlength="2000" autocomplete="off"></label>
<button name="answer" value="approve">Approve exactly this</button></form>
<form method="post"><input type="hidden" name="hash" value="{{.Question.Hash}}">
<label>Reason, needed to deny <input type="text" name="reason" maxlength="2000" autocomplete="off" required></label>
<button name="answer" value="deny">Deny</button></form>
<p>The link works once. The answer is recorded with your reason.</p>{{end}}
</body></html>
`))

// policy lets the page show itself and be sent back, and nothing else: no script, no picture, no frame.
func policy() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}

// ServeHTTP shows a question by GET and takes an answer by POST: whatever only looks at links (scanners of
// mail, previews of chats) decides nothing.
func (l *Links) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy())
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Robots-Tag", "noindex, nofollow, noarchive")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	found, q, err := l.find(r)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	if note := l.over(found, q); note != "" {
		l.show(w, r, http.StatusGone, page{Title: "Riposte: this link is over", Note: note})
		return
	}
	if r.Method == http.MethodPost {
		l.answer(w, r, found, q)
		return
	}
	l.show(w, r, http.StatusOK, page{Title: "Riposte asks: approve or deny", Open: true, Question: show(q)})
}

// find gives the link that a request names, with its question.
func (l *Links) find(r *http.Request) (Link, question.Question, error) {
	token := r.PathValue("token")
	if !isToken(token) {
		return Link{}, question.Question{}, fault.New(fault.NotFound, "there is no such link")
	}
	want := digest(token)
	found, err := l.Store.Link(r.Context(), want)
	if err != nil {
		return Link{}, question.Question{}, err
	}
	if subtle.ConstantTimeCompare([]byte(found.Digest), []byte(want)) != 1 {
		return Link{}, question.Question{}, fault.New(fault.NotFound, "there is no such link")
	}
	q, err := l.Desk.Question(r.Context(), found.Approval)
	if err != nil && fault.Is(err, fault.NotFound) { // it is gone; the link isn't a guess
		return found, q, fault.New(fault.Conflict, "the question is gone")
	}
	return found, q, err
}

// over says why a link can't be used any more, "" if it can.
func (l *Links) over(found Link, q question.Question) string {
	switch {
	case !found.Used.IsZero() && q.Answer == run.Pending:
		return "This link was used already, and its answer counts. The question is still open: others have to answer too."
	case !found.Used.IsZero():
		return "This link was used already. " + question.Said(q.Approval)
	case q.Answer != run.Pending:
		return question.Said(q.Approval)
	case !l.Now().Before(found.Expires):
		return "This link has expired. The question is still open: answer it by riposte approvals, or in the channel."
	case found.Hash != q.Hash:
		return "The plan is not the one that this link is for. Look again."
	}
	return ""
}

func (l *Links) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch fault.KindOf(err) {
	case fault.NotFound:
		if l.Missed(r) {
			w.Header().Set("Retry-After", "60")
			l.show(w, r, http.StatusTooManyRequests, page{Title: "Riposte: too many attempts", Note: "Try again in a minute."})
			return
		}
		l.show(w, r, http.StatusNotFound, page{Title: "Riposte: no such link", Note: "Is it cut, or very old?"})
	case fault.Conflict:
		l.show(w, r, http.StatusGone, page{Title: "Riposte: this link is over", Note: fault.Message(err)})
	case fault.Invalid, fault.Denied, fault.Transient, fault.Internal:
		l.Logger.ErrorContext(r.Context(), "link not served", "err", err.Error())
		l.show(w, r, http.StatusServiceUnavailable, page{Title: "Riposte: not now", Note: "Something failed; try again in a moment."})
	}
}

func (l *Links) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	p.Style = style
	_ = layout.Execute(w, p) // whoever asked is gone then
}

// answer takes what a person sent. The link is used up before the decision: two answers at once are one.
func (l *Links) answer(w http.ResponseWriter, r *http.Request, found Link, q question.Question) {
	given, err := read(w, r, found)
	if err != nil {
		l.show(w, r, http.StatusBadRequest, page{
			Title: "Riposte asks: approve or deny", Note: fault.Message(err), Open: true, Question: show(q),
		})
		return
	}
	// A browser that goes away must not leave an answer half taken.
	ctx := context.WithoutCancel(r.Context())
	used := l.Now()
	mine, err := l.Store.UseLink(ctx, found.Digest, used)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	if !mine {
		l.again(w, r, found)
		return
	}
	decided, err := l.Desk.Decide(ctx, given)
	if err == nil {
		note := question.Said(decided)
		if decided.Answer == run.Pending {
			note = "Your answer counts. The question is still open: others have to answer too."
		}
		l.show(w, r, http.StatusOK, page{Title: "Riposte: your answer is recorded", Note: note})
		return
	}
	l.failed(ctx, w, r, found, used, err)
}

// again answers somebody who was second.
func (l *Links) again(w http.ResponseWriter, r *http.Request, found Link) {
	q, err := l.Desk.Question(r.Context(), found.Approval)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	found.Used = l.Now()
	l.show(w, r, http.StatusGone, page{Title: "Riposte: this link is over", Note: l.over(found, q)})
}

// failed gives back a link whose answer wasn't taken, and says why.
func (l *Links) failed(ctx context.Context, w http.ResponseWriter, r *http.Request, found Link, used time.Time, err error) {
	if releasing := l.Store.ReleaseLink(ctx, found.Digest, used); releasing != nil {
		l.Logger.ErrorContext(ctx, "link not given back", "err", releasing.Error())
	}
	switch fault.KindOf(err) {
	case fault.Conflict, fault.Denied, fault.Invalid:
		l.show(w, r, http.StatusConflict, page{Title: "Riposte: your answer was not taken", Note: fault.Message(err)})
	case fault.NotFound, fault.Transient, fault.Internal:
		l.Logger.ErrorContext(ctx, "answer not taken", "err", err.Error())
		l.show(w, r, http.StatusServiceUnavailable, page{
			Title: "Riposte: your answer was not taken", Note: "Something failed; try again in a moment.",
		})
	}
}

// read reads the form of an answer.
func read(w http.ResponseWriter, r *http.Request, found Link) (question.Answer, error) {
	a := question.Answer{Approval: found.Approval, Hash: found.Hash, By: found.By(), Roles: found.Roles, Via: found.Via()}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return a, fault.New(fault.Invalid, "Answer by one of the forms.")
	}
	r.Body = http.MaxBytesReader(w, r.Body, largestForm)
	if err := r.ParseForm(); err != nil {
		return a, fault.New(fault.Invalid, "The form can't be read: is the reason too long?")
	}
	if r.PostForm.Get("hash") != found.Hash {
		return a, fault.New(fault.Invalid, "The plan is not the one that you saw. Look again.")
	}
	a.Reason = question.Reason(r.PostForm.Get("reason"))
	switch r.PostForm.Get("answer") {
	case "approve":
		a.Yes = true
	case "deny":
		if a.Reason == "" {
			return a, fault.New(fault.Invalid, "Say why you deny it.")
		}
	default:
		return a, fault.New(fault.Invalid, "Answer by one of the buttons.")
	}
	return a, nil
}

// show gives a question as the page has it, bounded.
func show(q question.Question) *shown {
	s := &shown{
		Playbook: text(q.Playbook), Incident: text(q.Incident), IncidentTitle: text(q.Title), Severity: q.Severity.String(),
		Step: text(q.Step), Hash: q.Hash, Facts: q.Facts(),
	}
	for i, p := range q.Plans {
		if i == mostShown {
			s.More = len(q.Plans) - mostShown
			break
		}
		c := p.Change
		target := text(strings.TrimSpace(string(c.Target.Kind) + " " + c.Target.ID))
		place := text(strings.Trim(c.Account+" "+c.Region, " "))
		s.Plans = append(s.Plans, plan{Summary: text(c.Summary), Target: target, Place: place, Impact: texts(c.Impact), Calls: texts(c.Calls)})
	}
	return s
}

func text(s string) string { return question.Legible(s, longestText) }

func texts(all []string) []string {
	shown := make([]string, 0, min(len(all), mostShown+1))
	for i, s := range all {
		if i == mostShown {
			shown = append(shown, "…")
			break
		}
		shown = append(shown, text(s))
	}
	return shown
}
