// Package question holds what people are asked about a run, as they meet it in chat, mail or on a page.
package question

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// Question is an approval with what a person wants to know before answering. The texts in it may be an
// attacker's: who shows them bounds and escapes them.
type Question struct {
	run.Approval
	Playbook string
	Title    string // the incident's
	Severity finding.Severity
}

// Answer is a person's answer, from wherever it came.
type Answer struct {
	Approval string
	Hash     string // of the plans that the person saw; never empty
	Yes      bool
	By       string
	Roles    []string
	Reason   string
	// Via names the link that it came by, "" otherwise: of several people who have to answer, it counts for one.
	Via string
}

// Person is somebody who may answer from outside, as the configuration knows them.
type Person struct {
	// Name is what the ledger says of all that they decide; the same as that of their token, if they have one.
	Name  string   `yaml:"name"`
	Roles []string `yaml:"roles"`
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`)

// Check checks a person of the configuration, but for whether there are such roles. Errors are Invalid.
func (p Person) Check() error {
	switch {
	case !namePattern.MatchString(p.Name):
		return fault.New(fault.Invalid, "name: %.100q is not up to 64 letters, digits and . _ @ + -", p.Name)
	case strings.EqualFold(p.Name, record.System):
		return fault.New(fault.Invalid, "name: %q is taken", p.Name)
	case len(p.Roles) == 0:
		return fault.New(fault.Invalid, "roles: there is none")
	}
	return nil
}

// Telling is a question on its way to people.
type Telling struct {
	Question
	Headline string
	Token    string // idempotency token: the same for every attempt
	// Link makes a link by which an addressee can answer once, with their roles; without any, with those whom
	// the question asks. Nobody is the channel itself. It gives "" where links are off, or the addressee has
	// no role that may answer.
	Link func(ctx context.Context, to Person) (string, error)
	// Sent notes a message that can be changed once the question is answered.
	Sent func(ctx context.Context, m Message) error
}

// Message is one that was sent about a question and can be changed.
type Message struct {
	Provider string // slack
	Place    string // as the provider names it: a channel's id
	ID       string
	Approval string
	Sent     time.Time
}

const (
	// mostPlans is how many plans a text shows.
	mostPlans = 20
	// longestLine is how much of what others wrote is on one line, in characters.
	longestLine = 500
)

// Text is the question in plain lines, for those who have no better form. What others wrote stays on its own
// line: nobody adds one that looks like ours.
func (q Question) Text() string {
	lines := []string{}
	for i, p := range q.Plans {
		if i == mostPlans {
			lines = append(lines, fmt.Sprintf("%d more plans are not shown: look before you answer.", len(q.Plans)-mostPlans))
			break
		}
		line := Legible(p.Change.Summary, longestLine)
		if impact := Legible(strings.Join(p.Change.Impact, "; "), longestLine); impact != "" {
			line += " (" + impact + ")"
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		lines = append(lines, "Nothing would be changed before the next question.")
	}
	return strings.Join(append(lines, q.Facts()...), "\n")
}

// How tells how the question can be answered; by a link too where there is one.
func (q Question) How(link string) string {
	text := "Look: riposte approvals show " + q.ID + "\nApprove: riposte approve " + q.ID
	if link != "" {
		text += "\nLook, and answer once: " + link
	}
	return text
}

// Facts are what identifies the question: lines without anything that others wrote.
func (q Question) Facts() []string {
	facts := []string{
		fmt.Sprintf("Incident %s, run %s.", q.Incident, q.Run),
		fmt.Sprintf("Plan %s, for %s.", ShortHash(q.Approval), strings.Join(q.Roles, ", ")),
	}
	if q.Quorum > 1 {
		facts = append(facts, fmt.Sprintf("%d different people have to say yes; %d did.", q.Quorum, len(q.Votes)))
	}
	if !q.Deadline.IsZero() {
		facts = append(facts, "Answer before "+q.Deadline.UTC().Format(moment)+"; otherwise: "+string(q.Otherwise)+".")
	}
	return facts
}

const moment = "2006-01-02 15:04 UTC"

// hashShown is how many digits of a hash people compare.
const hashShown = 12

// ShortHash is the beginning of the plans' hash, for people to compare.
func ShortHash(a run.Approval) string { return a.Hash[:min(len(a.Hash), hashShown)] }

// codeBytes make ten characters of a code.
const codeBytes = 6

// Code is a short name of a question about exact plans, for people to type. It is no secret: it gives nobody
// the right to answer.
func Code(a run.Approval) string {
	sum := sha256.Sum256([]byte(a.ID + "\x00" + a.Hash))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:codeBytes]))
}

// Said tells in a sentence what became of a question.
func Said(a run.Approval) string {
	var text string
	switch a.Answer {
	case run.Pending:
		return "The question is open."
	case run.Approved:
		text = "Approved"
	case run.Refused:
		text = "Denied"
	case run.Expired:
		text = "Expired: nobody answered in time"
	case run.Superseded:
		text = "Withdrawn: the plan changed, or the run ended, before an answer came"
		return text + at(a.Decided) + "."
	}
	if a.By != "" {
		text += " by " + a.By
	}
	text += at(a.Decided)
	if reason := Legible(a.Reason, longestReason); reason != "" {
		return text + ": " + reason
	}
	return text + "."
}

func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " at " + t.UTC().Format(moment)
}

// longestReason is how much of a reason is kept, in characters.
const longestReason = 2000

// Reason makes what a person typed fit for the ledger: one bounded text without control characters.
func Reason(text string) string { return Legible(text, longestReason) }

// Legible makes a text that anybody may have written one line that is fit for people: valid, bounded in
// characters, without control characters or marks that turn the direction of what follows.
func Legible(s string, longest int) string {
	runes := make([]rune, 0, min(len(s), longest+1))
	space := true // at the beginning none is written
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			if space {
				continue
			}
			r, space = ' ', true
		case r == unicode.ReplacementChar, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			continue
		default:
			space = false
		}
		if runes = append(runes, r); len(runes) > longest {
			runes = append(runes[:longest-1], '…')
			break
		}
	}
	return strings.TrimSpace(string(runes))
}

// ByLink begins the name of whoever answers by a link.
const ByLink = "link:"

// OnePerson reports whether two names may be one person's: by a link or without, as an address or without its domain,
// in whatever case.
func OnePerson(a, b string) bool {
	local := func(name string) string {
		name, _, _ = strings.Cut(strings.TrimPrefix(name, ByLink), "@")
		return name
	}
	return strings.EqualFold(local(a), local(b))
}
