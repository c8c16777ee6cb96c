package ticket

import (
	"strings"
	"unicode"

	"github.com/riposte-sec/riposte/internal/action"
)

// Our bounds of texts, in bytes.
const (
	longestText  = 16 << 10
	longestState = 200
)

// readable makes a text harmless for who reads it: valid, bounded, without control characters and marks that turn
// its direction around. Lines stay.
func readable(text string, longest int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r', r == unicode.ReplacementChar, unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	const mark = "…"
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest-len(mark)], "") + mark
	}
	return text
}

// line is a readable text in one line.
func line(text string, longest int) string {
	return readable(strings.Join(strings.Fields(readable(text, 4*longest)), " "), longest)
}

// about says from where a ticket or a comment comes.
func about(in action.Input) string {
	return "Riposte, incident " + line(in.Incident, longestState) + ", run " + line(in.Run, longestState) + ", " + marker(in)
}
