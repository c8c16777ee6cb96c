package slack

import (
	"strings"
	"unicode"
	"unicode/utf16"
)

// Slack's bounds, in characters.
const (
	longestHeader  = 150
	longestSection = 3000
	// longestMessage is ours. Escaped, it fits into 21 blocks at worst; a message can have 50.
	longestMessage = 12000
)

// message is what chat.postMessage and incoming webhooks take.
type message struct {
	Channel     string  `json:"channel,omitempty"`
	TS          string  `json:"ts,omitempty"` // of the message that chat.update changes
	Text        string  `json:"text"`         // for notifications on a phone
	Blocks      []block `json:"blocks"`
	UnfurlLinks bool    `json:"unfurl_links"`
	UnfurlMedia bool    `json:"unfurl_media"`
}

type block struct {
	Type     string `json:"type"`
	ID       string `json:"block_id,omitempty"`
	Text     *text  `json:"text,omitempty"`
	Elements []any  `json:"elements,omitempty"` // texts of a context, buttons of actions
	Label    *text  `json:"label,omitempty"`    // of an input
	Element  *field `json:"element,omitempty"`  // of an input
}

type text struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji,omitempty"`    // of plain_text alone
	Verbatim *bool  `json:"verbatim,omitempty"` // of mrkdwn alone
}

func plain(s string) *text { return &text{Type: "plain_text", Text: s, Emoji: new(false)} }

// mrkdwn is text in which Slack finds no links, channels or mentions by itself; escaped, it has none at all.
func mrkdwn(s string) *text { return &text{Type: "mrkdwn", Text: s, Verbatim: new(true)} }

// compose lays out a message. The texts are attackers' texts in part: they end up escaped and bounded.
func compose(channel, subject, body, about string) message {
	headline := first(escaped(subject), longestHeader)
	m := message{Channel: channel, Text: headline, Blocks: []block{{Type: "header", Text: plain(headline)}}}
	for _, part := range pieces(escaped(body), longestSection) {
		m.Blocks = append(m.Blocks, block{Type: "section", Text: mrkdwn(part)})
	}
	if about != "" {
		m.Blocks = append(m.Blocks, block{Type: "context", Elements: []any{mrkdwn(first(escaped(about), longestSection))}})
	}
	return m
}

// escaped gives each character of a text as Slack wants it written.
func escaped(s string) []string {
	written := make([]string, 0, len(s))
	for _, r := range s {
		switch r {
		case '&':
			written = append(written, "&amp;")
		case '<':
			written = append(written, "&lt;")
		case '>':
			written = append(written, "&gt;")
		default:
			written = append(written, string(r))
		}
	}
	return written
}

// pieces joins characters to texts of bounded length.
func pieces(characters []string, longest int) []string {
	var all []string
	var piece strings.Builder
	used := 0
	for _, c := range characters {
		if used+units(c) > longest {
			all = append(all, piece.String())
			piece.Reset()
			used = 0
		}
		piece.WriteString(c)
		used += units(c)
	}
	return append(all, piece.String())
}

// first joins as many characters as fit, with a mark at the end if some don't.
func first(characters []string, longest int) string {
	whole := pieces(characters, longest)
	if len(whole) == 1 {
		return whole[0]
	}
	return pieces(characters, longest-1)[0] + "…"
}

// units is a text's length as Slack may count it, at most: in UTF-16.
func units(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// legible makes a text that anybody may have written fit for people: valid, bounded, not blank, without
// control characters or marks that turn the direction of what follows.
func legible(s string, longest int) string {
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

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
