package sigma

import (
	"strings"
	"unicode/utf8"
)

const (
	mostMatched = 64  // fields that a match tells of
	longestText = 256 // bytes of each value that it tells
)

// Match tells why a rule matched.
type Match struct {
	Fields []Matched
}

// Matched is a field of the event that a rule asked for. Texts longer than 256 bytes are cut.
type Matched struct {
	Selection string
	Field     string // empty for a keyword
	Value     string // as in the event; empty where the rule asks for absence or mere presence
	Pattern   string // as in the rule, after its modifiers
}

// Match reports whether the rule matches an event, and which fields made it so. Where the event comes from
// isn't asked; a [Set] does.
func (r *Rule) Match(e *Event) (Match, bool) {
	return r.match(newView(e))
}

func (r *Rule) match(v *view) (Match, bool) {
	if r.condition == nil || !r.holds(r.condition, v) {
		return Match{}, false
	}
	var m Match
	r.explain(r.condition, v, &m)
	return m, true
}

func (r *Rule) holds(x *expression, v *view) bool {
	switch x.connective {
	case both:
		for _, operand := range x.operands {
			if !r.holds(operand, v) {
				return false
			}
		}
		return true
	case either:
		for _, operand := range x.operands {
			if r.holds(operand, v) {
				return true
			}
		}
		return false
	case negation:
		return !r.holds(x.operands[0], v)
	default:
		return r.selections[x.selection].holds(v)
	}
}

func (s *selection) holds(v *view) bool {
	for _, g := range s.groups {
		if g.holds(v) {
			return true
		}
	}
	return false
}

func (g group) holds(v *view) bool {
	for i := range g {
		if !g[i].holds(v) {
			return false
		}
	}
	return true
}

func (it *item) holds(v *view) bool {
	return it.found(v, v.field(it.field)) != it.modifiers.negated
}

// found reports whether one value is there, or each of them.
func (it *item) found(v *view, f *found) bool {
	if it.modifiers.element {
		return it.foundElement(f)
	}
	for i := range it.atoms {
		if _, ok := it.atoms[i].find(v, f); ok != it.modifiers.all {
			return ok
		}
	}
	return it.modifiers.all
}

// explain collects what made an expression hold. A negation has nothing to show.
func (r *Rule) explain(x *expression, v *view, m *Match) {
	switch x.connective {
	case negation:
	case selected:
		r.selections[x.selection].explain(v, m)
	default:
		for _, operand := range x.operands {
			if r.holds(operand, v) {
				r.explain(operand, v, m)
			}
		}
	}
}

func (s *selection) explain(v *view, m *Match) {
	for _, g := range s.groups {
		if !g.holds(v) {
			continue
		}
		for i := range g {
			g[i].explain(s.name, v, m)
		}
	}
}

func (it *item) explain(selection string, v *view, m *Match) {
	f := v.field(it.field)
	if it.modifiers.element {
		it.explainElement(selection, f, m)
		return
	}
	for i := range it.atoms {
		a := &it.atoms[i]
		l, ok := a.find(v, f)
		if ok == it.modifiers.negated {
			continue
		}
		m.add(it.matched(selection, a, f, l))
		if !it.modifiers.all {
			return
		}
	}
}

func (it *item) matched(selection string, a *atom, f *found, l *leaf) Matched {
	one := Matched{Selection: selection, Field: it.field, Pattern: a.written}
	if it.modifiers.written != "" {
		one.Pattern = it.modifiers.written + ": " + a.written
	}
	one.Pattern = cut(one.Pattern)
	if l == nil && it.modifiers.negated && len(f.leaves) > 0 {
		l = &f.leaves[0]
	}
	if l != nil {
		one.Value = cut(l.original())
	}
	return one
}

// add appends a field, while there is room.
func (m *Match) add(one Matched) {
	if len(m.Fields) < mostMatched {
		m.Fields = append(m.Fields, one)
	}
}

// cut shortens a text to what may be reported, at the border of a character.
func cut(text string) string {
	if len(text) <= longestText {
		return strings.Clone(text)
	}
	end := longestText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.Clone(text[:end])
}
