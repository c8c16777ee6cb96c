package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// longest is how many characters of one value are shown in a table.
const longest = 90

// show writes a value as JSON, or has people's form written.
func (r *root) show(v any, people func()) error {
	if !r.json {
		people()
		return nil
	}
	encoder := json.NewEncoder(r.Out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// clean makes a text harmless to a terminal: whoever wrote the log may have written it. What isn't
// printable becomes \x.. or \u..; line breaks stay.
func clean(text string) string {
	var out strings.Builder
	for _, c := range text {
		switch {
		case c == '\n' || c == ' ' || unicode.IsPrint(c):
			out.WriteRune(c)
		case c == '\t':
			out.WriteByte(' ')
		case c < 0x80:
			fmt.Fprintf(&out, `\x%02x`, c)
		default:
			fmt.Fprintf(&out, `\u%04x`, c)
		}
	}
	return out.String()
}

// brief is a text on one line, bounded.
func brief(text string) string {
	text = strings.ReplaceAll(clean(text), "\n", " ")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return text
}

// table writes rows below a head.
func (r *root) table(head []string, rows [][]string) {
	w := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for _, cell := range row {
			cells = append(cells, brief(cell))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // a closed pipe: nobody reads on
}

func (r *root) line(format string, args ...any) {
	fmt.Fprintln(r.Out, clean(fmt.Sprintf(format, args...)))
}

// when is a time as people read it, in UTC.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
