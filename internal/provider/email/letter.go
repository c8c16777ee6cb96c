package email

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode"
)

const (
	// The longest texts that are sent, in characters.
	longestSubject = 200
	longestText    = 64 << 10
	// encodedPart is how many bytes are put into one encoded word, which has at most 75 characters.
	encodedPart = 42
)

// letter is one mail. All but its date is planned.
type letter struct {
	From      string   `json:"from"` // as in the header, encoded
	To        []string `json:"to"`
	Sender    string   `json:"sender"` // the bare addresses
	Receivers []string `json:"receivers"`
	MessageID string   `json:"message_id"`
	Incident  string   `json:"incident,omitempty"`
	Subject   string   `json:"subject"`
	Text      string   `json:"text"`
}

// write gives the mail as RFC 5322 has it. No header has a line break in it that isn't ours.
func (l letter) write(out io.Writer, date time.Time) error {
	headers := [][2]string{
		{"From", l.From},
		{"To", strings.Join(l.To, ",\r\n ")},
		{"Subject", encoded(legible(l.Subject, longestSubject))},
		{"Date", date.Format(time.RFC1123Z)},
		{"Message-ID", "<" + l.MessageID + ">"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
		{"Auto-Submitted", "auto-generated"},
	}
	if l.Incident != "" {
		headers = append(headers, [2]string{"X-Riposte-Incident", encoded(legible(l.Incident, longestSubject))})
	}
	for _, h := range headers {
		if _, err := fmt.Fprintf(out, "%s: %s\r\n", h[0], h[1]); err != nil {
			return fmt.Errorf("write header: %w", err)
		}
	}
	if _, err := io.WriteString(out, "\r\n"); err != nil {
		return fmt.Errorf("write header: %w", err)
	}
	body := quotedprintable.NewWriter(out)
	if _, err := io.WriteString(body, strings.ReplaceAll(l.Text, "\n", "\r\n")+"\r\n"); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	if err := body.Close(); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	return nil
}

// encoded gives one line as a header can hold it: as it is, or in encoded words (RFC 2047). What looks like
// an encoded word is encoded, so that nobody smuggles in what we took out.
func encoded(line string) string {
	outside := func(r rune) bool { return r < ' ' || r > '~' }
	if !strings.ContainsFunc(line, outside) && !strings.Contains(line, "=?") {
		return line
	}
	var words []string
	part := ""
	for _, r := range line {
		if len(part)+len(string(r)) > encodedPart {
			words = append(words, word(part))
			part = ""
		}
		part += string(r)
	}
	return strings.Join(append(words, word(part)), "\r\n ")
}

func word(part string) string {
	return "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(part)) + "?="
}

// legible makes a text that anybody may have written one line that is fit for people: valid, bounded, without
// control characters or marks that turn the direction of what follows.
func legible(s string, longest int) string {
	return readable(strings.Join(strings.Fields(s), " "), longest)
}

// readable is legible for texts of several lines.
func readable(s string, longest int) string {
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
	return strings.TrimSpace(string(runes))
}
