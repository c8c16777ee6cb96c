package sigma

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// atom is one value of a rule, ready to be held against a field.
type atom struct {
	written string // the value as in the rule
	// find returns the first value of the field that fits. Where it is the field's presence that counts, there
	// is none to return.
	find func(v *view, f *found) (*leaf, bool)
	// literal is the folded text that a value must be, where that is all.
	literal   string
	isLiteral bool
	// pattern or expression is what find looks for, where it is one of these. The engine makes its index of them.
	pattern    *pattern
	expression *regexp.Regexp
}

// onLeaf makes a finder of what looks at one value that isn't null.
func onLeaf(test func(l *leaf) bool) func(*view, *found) (*leaf, bool) {
	return func(_ *view, f *found) (*leaf, bool) {
		for i := range f.leaves {
			if l := &f.leaves[i]; !l.null() && test(l) {
				return l, true
			}
		}
		return nil, false
	}
}

// atoms compiles one scalar of a rule.
func (d *document) atoms(n *yaml.Node, m modifiers) ([]atom, error) {
	if n.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("a value must be text, a number, true, false or null, not %s", kindOf(n))
	}
	switch n.Tag {
	case "!!null":
		return nullAtom(m)
	case "!!bool":
		return boolAtom(n, m)
	case "!!int", "!!float":
		if padded(n.Value) {
			return d.textAtoms(n.Value, m)
		}
		return numberAtoms(n, m)
	case "!!str", "!!timestamp":
		return d.textAtoms(n.Value, m)
	}
	return nil, fmt.Errorf("a value must be text, a number, true, false or null, not %s", kindOf(n))
}

func nullAtom(m modifiers) ([]atom, error) {
	if m.operator != equals || m.cased || m.expand || m.windash || m.reference || m.part != "" || m.encodings != nil {
		return nil, fmt.Errorf("null can't be used with %q", m.written)
	}
	return []atom{{written: "null", find: func(_ *view, f *found) (*leaf, bool) {
		if !f.present {
			return nil, true
		}
		for i := range f.leaves {
			if f.leaves[i].null() {
				return &f.leaves[i], true
			}
		}
		return nil, false
	}}}, nil
}

func boolAtom(n *yaml.Node, m modifiers) ([]atom, error) {
	var value bool
	if err := n.Decode(&value); err != nil {
		return nil, fmt.Errorf("%q is neither true nor false", n.Value)
	}
	if m.operator == exists {
		return []atom{{written: n.Value, find: func(_ *view, f *found) (*leaf, bool) {
			return nil, f.present == value
		}}}, nil
	}
	if !plain(m) {
		return nil, fmt.Errorf("true and false can't be used with %q", m.written)
	}
	text := "false"
	if value {
		text = "true"
	}
	return []atom{patternAtom(n.Value, []rune(text), m)}, nil
}

// plain reports whether values of any type may be compared, as text.
func plain(m modifiers) bool {
	return m.operator.textual() && !m.reference && !m.expand && !m.windash && m.part == "" && len(m.encodings) == 0
}

func numberAtoms(n *yaml.Node, m modifiers) ([]atom, error) {
	number, err := decimal(n)
	if err != nil {
		return nil, err
	}
	switch {
	case m.part != "":
		if err := checkPart(m.part, number); err != nil {
			return nil, err
		}
		return []atom{partAtom(n.Value, number, m)}, nil
	case m.operator.ordering():
		return []atom{{written: n.Value, find: onLeaf(func(l *leaf) bool {
			order, ok := compareNumbers(l.text, number)
			return ok && holds(m.operator, order)
		})}}, nil
	case !plain(m):
		return nil, fmt.Errorf("a number can't be used with %q; text is in quotes", m.written)
	case m.operator == equals:
		return []atom{{written: n.Value, literal: number, isLiteral: true, find: onLeaf(func(l *leaf) bool {
			return l.number() == number
		})}}, nil
	}
	return []atom{patternAtom(n.Value, []rune(number), m)}, nil
}

// padded reports whether a number has leading zeros. YAML's versions disagree on what that is; rules that do
// so mean an identifier of fixed length, which is text.
func padded(n string) bool {
	digits := strings.TrimPrefix(n, "-")
	return isInteger(n) && len(digits) > 1 && digits[0] == '0'
}

// decimal writes a number of YAML as JSON would.
func decimal(n *yaml.Node) (string, error) {
	if isInteger(n.Value) {
		return canonical(n.Value), nil
	}
	if _, ok := float(n.Value); ok && n.Tag == "!!float" {
		return canonical(n.Value), nil
	}
	var whole int64
	if err := n.Decode(&whole); err != nil {
		return "", fmt.Errorf("%s is not a number that a rule can use", n.Value)
	}
	return strconv.FormatInt(whole, 10), nil
}

func holds(o operator, order int) bool {
	switch o {
	case less:
		return order < 0
	case atMost:
		return order <= 0
	case greater:
		return order > 0
	case atLeast:
		return order >= 0
	default:
		return order == 0
	}
}

func partAtom(written, number string, m modifiers) atom {
	return atom{written: written, find: onLeaf(func(l *leaf) bool {
		got, ok := datePart(l.text, m.part)
		if !ok {
			return false
		}
		order, ok := compareNumbers(got, number)
		return ok && holds(m.operator, order)
	})}
}

// textAtoms compiles text, which may stand for several values.
func (d *document) textAtoms(text string, m modifiers) ([]atom, error) {
	if m.operator.ordering() || m.part != "" {
		return nil, fmt.Errorf("%q needs a number, not the text %q", m.written, text)
	}
	if m.operator == exists {
		return nil, fmt.Errorf("modifier exists needs true or false, not the text %q", text)
	}
	if m.reference {
		return referenceAtom(text, m)
	}
	values := []string{text}
	if m.expand {
		if all, whole, err := d.list(text, m); whole {
			return all, err
		}
		var err error
		if values, err = expanded(text, d.options.Placeholders); err != nil {
			return nil, err
		}
		if len(values) == 0 {
			return []atom{nothing(text)}, nil
		}
	}
	var all []atom
	for _, value := range values {
		some, err := stringAtoms(value, m)
		if err != nil {
			return nil, err
		}
		for i := range some {
			some[i].written = text
		}
		all = append(all, some...)
	}
	return all, nil
}

func stringAtoms(value string, m modifiers) ([]atom, error) {
	if m.operator == matches {
		return expressionAtom(value, m)
	}
	if m.operator == within {
		return networkAtom(value)
	}
	if len(m.encodings) == 0 {
		return []atom{patternAtom(value, tokens(value), m)}, nil
	}
	variants, err := encoded(tokens(value), m)
	if err != nil {
		return nil, err
	}
	m.windash = false
	all := make([]atom, 0, len(variants))
	for _, variant := range variants {
		all = append(all, patternAtom(value, variant, m))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%q is too short for base64offset", value)
	}
	if m.all && len(all) > 1 {
		return []atom{anyOf(all)}, nil
	}
	return all, nil
}

// anyOf makes one atom of the forms of a value, each of which will do though all values must be there.
func anyOf(forms []atom) atom {
	return atom{find: func(v *view, f *found) (*leaf, bool) {
		for i := range forms {
			if l, ok := forms[i].find(v, f); ok {
				return l, true
			}
		}
		return nil, false
	}}
}

func patternAtom(written string, list []rune, m modifiers) atom {
	p := newPattern(list, m)
	a := atom{written: written, pattern: p}
	a.literal, a.isLiteral = p.literal()
	a.find = onLeaf(func(l *leaf) bool { return p.match(l.compared(p.cased)) })
	return a
}

func expressionAtom(value string, m modifiers) ([]atom, error) {
	source := value
	if m.flags != "" {
		source = "(?" + m.flags + ")" + value
	}
	compiled, err := regexp.Compile(source)
	if err != nil {
		return nil, unsupported(value, err)
	}
	return []atom{{expression: compiled, find: onLeaf(func(l *leaf) bool { return compiled.MatchString(l.original()) })}}, nil
}

// unsupported tells why a regular expression was refused.
func unsupported(value string, err error) error {
	wrong, ok := errors.AsType[*syntax.Error](err)
	if !ok {
		return fmt.Errorf("the regular expression %q can't be read: %w", value, err)
	}
	behind := strings.HasPrefix(wrong.Expr, "(?<=") || strings.HasPrefix(wrong.Expr, "(?<!")
	switch {
	case behind, wrong.Code == syntax.ErrInvalidPerlOp:
		return fmt.Errorf("the regular expression %q needs look-around or the like, which RE2 lacks: %s", value, wrong.Expr)
	case wrong.Code == syntax.ErrInvalidEscape:
		return fmt.Errorf("the regular expression %q needs a back reference or escape that RE2 lacks: %s", value, wrong.Expr)
	}
	return fmt.Errorf("the regular expression %q can't be read: %s: %s", value, wrong.Code, wrong.Expr)
}

func networkAtom(value string) ([]atom, error) {
	network, err := parseNetwork(value)
	if err != nil {
		return nil, err
	}
	return []atom{{find: onLeaf(func(l *leaf) bool {
		address, err := netip.ParseAddr(l.text)
		if err != nil {
			return false
		}
		address = address.WithZone("")
		return network.Contains(address) || network.Contains(address.Unmap())
	})}}, nil
}
