package sigma

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// maxText is how long a file of rules may be, in bytes.
const maxText = 1 << 20

// Rule is one detection, ready to match.
type Rule struct {
	Header
	Fields    []string // what an analyst wants to see of the event
	Scope     []string
	LogSource LogSource
	// Filters are those that are part of the condition, since [Collection.Link].
	Filters []*Filter
	// Quiet says that the rule's matches are for correlations only, and no alerts of their own. It's set by
	// [Collection.Link].
	Quiet bool

	selections []selection
	condition  *expression
	unfiltered *Rule // the rule as it was read, where this one has filters
}

// LogSource says which events a rule is meant for.
type LogSource struct {
	Category   string
	Product    string
	Service    string
	Definition string // how the source must be configured, for people
}

// Covers reports whether events of a source are meant. What the rule leaves empty covers everything.
func (l LogSource) Covers(product, service, category string) bool {
	return covers(l.Product, product) && covers(l.Service, service) && covers(l.Category, category)
}

func covers(rule, event string) bool {
	return rule == "" || strings.EqualFold(rule, event)
}

// Options is what rules may need from their surroundings.
type Options struct {
	// Placeholders are the values that the expand modifier puts in, by name without percent signs. They may
	// hold wildcards. [LoadLookups] reads them from files. Rules keep the values that they were read with:
	// to change them, read the rules again and use the new ones from then on.
	Placeholders map[string][]string
}

// Parse reads the rules of one file, which may hold several documents. See [ParseWith].
func Parse(file string, text []byte) ([]*Rule, error) {
	return ParseWith(file, text, Options{})
}

// ParseWith reads the rules of one file, which may hold several documents. A document that is refused gives
// errors of type [*Error], joined; the rules of the other documents are returned beside them. Correlations and
// filters are refused; [ParseCollection] reads them.
func ParseWith(file string, text []byte, o Options) ([]*Rule, error) {
	if len(text) > maxText {
		return nil, &Error{File: file, Problem: fmt.Sprintf("longer than %d bytes", maxText)}
	}
	var rules []*Rule
	var mistakes []error
	for _, part := range split(text) {
		d := &document{file: file, before: part.line - 1, options: o}
		if rule := d.rule(part.text); len(d.mistakes) == 0 {
			rules = append(rules, rule)
		}
		mistakes = append(mistakes, d.mistakes...)
	}
	if len(rules) == 0 && len(mistakes) == 0 {
		return nil, &Error{File: file, Problem: "holds no rule"}
	}
	return rules, errors.Join(mistakes...)
}

// part is the text of one document.
type part struct {
	text []byte
	line int // of its beginning, 1-based
}

// split cuts a file into its documents, each with the marker that it begins with. A line that begins with
// three dashes begins a document wherever it stands. Parts without content are left out.
func split(text []byte) []part {
	var parts []part
	start, startLine, filled := 0, 1, false
	at, line := 0, 0
	for at < len(text) {
		line++
		end := len(text)
		if newline := bytes.IndexByte(text[at:], '\n'); newline >= 0 {
			end = at + newline + 1
		}
		said := text[at:end]
		if marks(said) {
			if filled {
				parts = append(parts, part{text: text[start:at], line: startLine})
			}
			start, startLine, filled = at, line, false
			said = said[3:]
		}
		filled = filled || content(said)
		at = end
	}
	if filled {
		parts = append(parts, part{text: text[start:], line: startLine})
	}
	return parts
}

// marks reports whether a line begins a document.
func marks(line []byte) bool {
	return bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || bytes.IndexByte([]byte(" \t\r\n"), line[3]) >= 0)
}

// content reports whether a line is more than space, comment or directive.
func content(line []byte) bool {
	line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))
	return len(line) > 0 && line[0] != '#' && line[0] != '%' && !bytes.Equal(line, []byte("..."))
}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
