package teams

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/riposte-sec/riposte/internal/question"
)

const (
	// largest is ours: Teams takes about 28 KB, and grows what it takes.
	largest = 24 << 10
	// The longest texts, in characters.
	longestSubject = 150
	longestMessage = 6000
	longestPlan    = 500
	// mostPlans is how many plans a card shows.
	mostPlans = 10
)

// envelope is what incoming webhooks and Workflows take.
type envelope struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	Content     card   `json:"content"`
}

// card is an Adaptive Card.
type card struct {
	Schema  string    `json:"$schema"`
	Type    string    `json:"type"`
	Version string    `json:"version"`
	Body    []block   `json:"body"`
	Actions []openURL `json:"actions,omitempty"`
}

// block is a RichTextBlock: its runs, unlike a TextBlock, are shown as they are, without Markdown. So a text
// of an attacker's becomes no link.
type block struct {
	Type      string `json:"type"`
	Separator bool   `json:"separator,omitempty"`
	Inlines   []part `json:"inlines"`
}

type part struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
	Subtle bool   `json:"isSubtle,omitempty"`
}

type openURL struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

func rich(p part) block {
	p.Type, p.Text = "TextRun", inert(p.Text)
	return block{Type: "RichTextBlock", Inlines: []part{p}}
}

// inert keeps Teams from computing {{DATE(...)}} and the like.
func inert(s string) string { return strings.ReplaceAll(s, "{{", "{ {") }

func wrap(body []block, actions ...openURL) envelope {
	return envelope{Type: "message", Attachments: []attachment{{
		ContentType: "application/vnd.microsoft.card.adaptive",
		Content: card{
			Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4", Body: body, Actions: actions,
		},
	}}}
}

// message lays out a headline and a text, cut until it is small enough.
func message(subject, text, about string) ([]byte, error) {
	for longest := longestMessage; ; longest /= 2 {
		body := []block{rich(part{Text: subject, Weight: "Bolder", Size: "Medium"}), rich(part{Text: lines(text, longest)})}
		if about != "" {
			body = append(body, rich(part{Text: about, Subtle: true}))
		}
		encoded, err := json.Marshal(wrap(body))
		if err != nil {
			return nil, fmt.Errorf("encode message to teams: %w", err)
		}
		if len(encoded) <= largest || longest < longestSubject {
			return encoded, nil
		}
	}
}

// ask lays out a question, with fewer plans where it would be too large.
func ask(q question.Question, headline, link string, typed bool) ([]byte, error) {
	for most := mostPlans; ; most /= 2 {
		body := []block{rich(part{Text: question.Legible(headline, longestSubject), Weight: "Bolder", Size: "Medium"})}
		if q.Title != "" {
			body = append(body, rich(part{Text: question.Legible(q.Severity.String()+": "+q.Title, longestPlan)}))
		}
		body = append(body, plans(q, most)...)
		facts := append(q.Facts(), "riposte approvals show "+q.ID)
		if typed {
			code := question.Code(q.Approval)
			facts = append(facts, "Or mention the webhook here with: approve "+code+", or: deny "+code+" and why")
		}
		body = append(body, rich(part{Text: strings.Join(facts, "\n"), Subtle: true}))
		var actions []openURL
		if link != "" {
			actions = []openURL{{Type: "Action.OpenUrl", Title: "Look, and answer once", URL: link}}
		}
		encoded, err := json.Marshal(wrap(body, actions...))
		if err != nil {
			return nil, fmt.Errorf("encode question to teams: %w", err)
		}
		if len(encoded) <= largest || most == 0 {
			return encoded, nil
		}
	}
}

func plans(q question.Question, most int) []block {
	if len(q.Plans) == 0 {
		return []block{rich(part{Text: "Nothing would be changed before the next question."})}
	}
	var all []block
	for i, p := range q.Plans {
		if i == most {
			return append(all, rich(part{Text: fmt.Sprintf("%d more plans are not shown here: look before you answer.", len(q.Plans)-most)}))
		}
		one := rich(part{Text: question.Legible(p.Change.Summary, longestPlan), Weight: "Bolder"})
		one.Separator = true
		all = append(all, one)
		if impact := question.Legible(strings.Join(p.Change.Impact, "; "), longestPlan); impact != "" {
			all = append(all, rich(part{Text: "Impact: " + impact}))
		}
	}
	return all
}

// lines makes a text of several lines fit for people, as question.Legible does for one.
func lines(s string, longest int) string {
	runes := make([]rune, 0, min(len(s), longest+1))
	for _, r := range strings.ReplaceAll(s, "\r\n", "\n") {
		switch {
		case r == '\r', r == '\u2028', r == '\u2029':
			r = '\n'
		case r == '\n', r == '\t':
		case r == unicode.ReplacementChar, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			continue
		}
		if runes = append(runes, r); len(runes) > longest {
			runes = append(runes[:longest-1], '…')
			break
		}
	}
	if s = strings.TrimSpace(string(runes)); s == "" {
		return "(no text)"
	}
	return s
}
