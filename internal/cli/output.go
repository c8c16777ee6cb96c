package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
)

// longest is how many characters of one value are shown in a table.
const longest = 90

// show writes a value as JSON, or has people's form written.
func (r *root) show(v any, people func()) error {
	if !r.json {
		people()
		return nil
	}
	text, err := asJSON(v)
	if err != nil {
		return err
	}
	_, err = r.Out.Write(text)
	return err
}

// asJSON writes a value as indented JSON that is harmless to a terminal: what isn't printable is escaped.
func asJSON(v any) ([]byte, error) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	var out bytes.Buffer
	for _, c := range plain.String() {
		switch {
		case c == '\n' || unicode.IsPrint(c): // the encoder has escaped what is below a space
			out.WriteRune(c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, c)
		}
	}
	return out.Bytes(), nil
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

// flat is a text on one line.
func flat(text string) string { return strings.ReplaceAll(clean(text), "\n", " ") }

// brief is a text on one line, bounded.
func brief(text string) string {
	text = flat(text)
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

// line writes values as the format says, each on one line: a value with line breaks in it must not look like
// lines of ours.
func (r *root) line(format string, args ...any) {
	for i, arg := range args {
		switch text := arg.(type) {
		case error:
			args[i] = flat(text.Error())
		case fmt.Stringer:
			args[i] = flat(text.String())
		default:
			if v := reflect.ValueOf(arg); v.Kind() == reflect.String {
				args[i] = flat(v.String())
			}
		}
	}
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
