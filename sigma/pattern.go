package sigma

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What stands for other than itself among the tokens of a pattern. Runes are never negative.
const (
	anyRune rune = -1 // ?
	anyText rune = -2 // *
	anyDash rune = -3 // one of the dashes, by windash
)

// dashes are the characters that programs of Windows take for the beginning of a flag.
const dashes = "-/\u2013\u2014\u2015"

// tokens reads a Sigma string: * and ? are wildcards, a backslash takes their meaning away, and that of a
// further backslash. Before anything else a backslash is one.
func tokens(text string) []rune {
	runes := []rune(text)
	list := make([]rune, 0, len(runes))
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '\\' && i+1 < len(runes) && (runes[i+1] == '*' || runes[i+1] == '?' || runes[i+1] == '\\'):
			i++
			list = append(list, runes[i])
		case r == '*':
			list = append(list, anyText)
		case r == '?':
			list = append(list, anyRune)
		default:
			list = append(list, r)
		}
	}
	return list
}

// pattern is a string of a rule with its wildcards: segments with any text between them.
type pattern struct {
	segments []segment
	cased    bool
}

// segment is a stretch of a pattern without *.
type segment struct {
	literal string
	runes   []rune // nil where the segment is the literal
}

func newPattern(list []rune, m modifiers) *pattern {
	list = slices.Clone(list)
	for i, r := range list {
		switch {
		case m.windash && r >= 0 && strings.ContainsRune(dashes, r):
			list[i] = anyDash
		case !m.cased && r >= 0:
			list[i] = foldRune(r)
		}
	}
	if m.operator == contains || m.operator == endsWith {
		list = slices.Insert(list, 0, anyText)
	}
	if m.operator == contains || m.operator == startsWith {
		list = append(list, anyText)
	}
	p := &pattern{cased: m.cased}
	begin := 0
	for i, r := range list {
		if r == anyText {
			p.add(list[begin:i], false)
			begin = i + 1
		}
	}
	p.add(list[begin:], true)
	return p
}

// add appends a segment. Empty ones between two stars say nothing.
func (p *pattern) add(list []rune, last bool) {
	if len(list) == 0 && len(p.segments) > 0 && !last {
		return
	}
	if slices.Contains(list, anyRune) || slices.Contains(list, anyDash) {
		p.segments = append(p.segments, segment{runes: list})
		return
	}
	p.segments = append(p.segments, segment{literal: string(list)})
}

// literal is the only text that the pattern matches, where there is but one.
func (p *pattern) literal() (string, bool) {
	if len(p.segments) != 1 || p.segments[0].runes != nil || p.cased {
		return "", false
	}
	return p.segments[0].literal, true
}

// match reports whether the whole of a text fits, which is folded unless the pattern is cased.
func (p *pattern) match(text string) bool {
	at := p.segments[0].at(text, 0)
	if len(p.segments) == 1 || at < 0 {
		return at == len(text)
	}
	last := len(p.segments) - 1
	for i := 1; i < last; i++ {
		if at = p.segments[i].find(text, at); at < 0 {
			return false
		}
	}
	return p.segments[last].ends(text, at)
}

// at returns where the segment ends when it begins at an offset, else -1.
func (s *segment) at(text string, from int) int {
	if s.runes == nil {
		if strings.HasPrefix(text[from:], s.literal) {
			return from + len(s.literal)
		}
		return -1
	}
	for _, want := range s.runes {
		if from >= len(text) {
			return -1
		}
		got, size := utf8.DecodeRuneInString(text[from:])
		if !fits(want, got) {
			return -1
		}
		from += size
	}
	return from
}

// find returns the end of the segment's first occurrence at or after an offset, else -1. The first is as good
// as any, since each is of the same number of runes.
func (s *segment) find(text string, from int) int {
	if s.runes == nil {
		found := strings.Index(text[from:], s.literal)
		if found < 0 {
			return -1
		}
		return from + found + len(s.literal)
	}
	for from < len(text) {
		if end := s.at(text, from); end >= 0 {
			return end
		}
		_, size := utf8.DecodeRuneInString(text[from:])
		from += size
	}
	return -1
}

// ends reports whether the text ends with the segment, which must not begin before an offset.
func (s *segment) ends(text string, from int) bool {
	if s.runes == nil {
		return strings.HasSuffix(text[from:], s.literal)
	}
	begin := len(text)
	for range s.runes {
		if begin <= from {
			return false
		}
		_, size := utf8.DecodeLastRuneInString(text[:begin])
		begin -= size
	}
	return begin >= from && s.at(text, begin) == len(text)
}

func fits(want, got rune) bool {
	switch want {
	case anyRune:
		return true
	case anyDash:
		return strings.ContainsRune(dashes, got)
	}
	return want == got
}

// fold writes a text so that texts which differ in case alone are the same.
func fold(text string) string {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return strings.Map(foldRune, text)
		}
	}
	return strings.ToLower(text)
}

// foldRune returns the one that stands for all runes that differ in case alone.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if least < utf8.RuneSelf {
		return foldRune(least)
	}
	return least
}
