package sigma

import (
	"fmt"
	"slices"
	"strings"
)

// operator is how a value is held against a field. The zero operator is equality.
type operator string

const (
	equals     operator = ""
	contains   operator = "contains"
	startsWith operator = "startswith"
	endsWith   operator = "endswith"
	matches    operator = "re"
	within     operator = "cidr"
	exists     operator = "exists"
	less       operator = "lt"
	atMost     operator = "lte"
	greater    operator = "gt"
	atLeast    operator = "gte"
)

// textual reports whether the operator compares text with wildcards.
func (o operator) textual() bool {
	return o == equals || o == contains || o == startsWith || o == endsWith
}

// ordering reports whether the operator compares numbers by size.
func (o operator) ordering() bool {
	return o == less || o == atMost || o == greater || o == atLeast
}

// modifiers is what follows a field's name, understood.
type modifiers struct {
	written   string // as in the rule, with pipes between
	operator  operator
	all       bool
	cased     bool
	negated   bool // neq
	expand    bool
	windash   bool
	reference bool     // fieldref
	element   bool     // of our own: the values are mappings of what one member of a list fulfils
	flags     string   // of re: any of i, m, s
	encodings []string // in order
	part      string   // of a date: minute, hour, day, week, month, year
}

// parseModifiers understands the names after a field. keyword is set where there is no field.
func parseModifiers(names []string, keyword bool) (modifiers, error) {
	m := modifiers{written: strings.Join(names, "|")}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return m, fmt.Errorf("modifier %q is given twice", name)
		}
		if err := m.add(name); err != nil {
			return m, err
		}
	}
	return m, m.check(keyword)
}

// add takes one modifier, in the order of the rule.
func (m *modifiers) add(name string) error {
	switch name {
	case "all":
		m.all = true
	case "cased":
		m.cased = true
	case "neq":
		m.negated = true
	case "expand":
		m.expand = true
	case "windash":
		m.windash = true
	case "fieldref":
		m.reference = true
	case "element":
		m.element = true
	case "i", "m", "s":
		if m.operator != matches {
			return fmt.Errorf("modifier %q must come after re", name)
		}
		m.flags += name
	case "contains", "startswith", "endswith", "re", "cidr", "exists", "lt", "lte", "gt", "gte":
		if m.operator != equals {
			return fmt.Errorf("modifiers %q and %q exclude each other", m.operator, name)
		}
		m.operator = operator(name)
	case "base64", "base64offset", "wide", "utf16le", "utf16be", "utf16":
		if m.operator != equals {
			return fmt.Errorf("modifier %q must come before %q", name, m.operator)
		}
		m.encodings = append(m.encodings, name)
	case "minute", "hour", "day", "week", "month", "year":
		if m.part != "" {
			return fmt.Errorf("modifiers %q and %q exclude each other", m.part, name)
		}
		m.part = name
	default:
		return fmt.Errorf("modifier %q is unknown", name)
	}
	return nil
}

// check refuses what doesn't go together.
func (m *modifiers) check(keyword bool) error {
	if m.element && (keyword || m.cased || m.expand || m.windash || m.reference || m.part != "" || m.operator != equals || m.encodings != nil) {
		return fmt.Errorf("modifier element stands with a field and takes none but all and neq, not %q", m.written)
	}
	if keyword && (m.reference || m.part != "" || m.operator == within || m.operator == exists || m.operator.ordering()) {
		return fmt.Errorf("modifiers %q need a field", m.written)
	}
	transformed := m.windash || len(m.encodings) > 0
	switch {
	case m.operator == exists && m.written != string(exists):
		return fmt.Errorf("modifier exists stands alone, not in %q", m.written)
	case m.reference && (!m.operator.textual() || transformed || m.expand || m.part != ""):
		return fmt.Errorf("modifier fieldref takes none but contains, startswith, endswith, cased, all and neq, not %q", m.written)
	case m.part != "" && (!m.operator.ordering() && m.operator != equals || transformed || m.expand || m.cased):
		return fmt.Errorf("modifier %q takes none but lt, lte, gt, gte, all and neq, not %q", m.part, m.written)
	case m.operator.ordering() && (transformed || m.expand || m.cased):
		return fmt.Errorf("modifier %q compares numbers; in %q it can't", m.operator, m.written)
	case (m.operator == matches || m.operator == within) && (transformed || m.cased):
		return fmt.Errorf("modifier %q takes none that changes text, as in %q", m.operator, m.written)
	}
	return nil
}
