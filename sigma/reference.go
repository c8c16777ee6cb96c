package sigma

import (
	"errors"
	"strings"
)

// maxCompared is how many bytes of two fields are compared for one reference that isn't equality. Lists on both
// sides would take an attacker's square of time otherwise; fields of real logs are far below.
const maxCompared = 1 << 26

// referenceAtom compares with another field of the event.
func referenceAtom(name string, m modifiers) ([]atom, error) {
	if name == "" {
		return nil, errors.New("fieldref needs the name of a field")
	}
	find := func(v *view, f *found) (*leaf, bool) { return sameText(f, v.field(name), m.cased) }
	if compare := partly(m.operator); compare != nil {
		find = func(v *view, f *found) (*leaf, bool) { return relatedText(f, v.field(name), m.cased, compare) }
	}
	return []atom{{written: name, find: find}}, nil
}

// partly returns what compares the beginning, the end or any part of texts; nil for equality.
func partly(o operator) func(text, part string) bool {
	switch o {
	case contains:
		return strings.Contains
	case startsWith:
		return strings.HasPrefix
	case endsWith:
		return strings.HasSuffix
	default:
		return nil
	}
}

// sameText returns the first value of a field that another field has, too.
func sameText(f, other *found, cased bool) (*leaf, bool) {
	theirs := make(map[string]bool, len(other.leaves))
	for i := range other.leaves {
		if l := &other.leaves[i]; !l.null() {
			theirs[l.compared(cased)] = true
		}
	}
	for i := range f.leaves {
		if l := &f.leaves[i]; !l.null() && theirs[l.compared(cased)] {
			return l, true
		}
	}
	return nil, false
}

// relatedText returns the first value of a field that stands in a relation to one of another field.
func relatedText(f, other *found, cased bool, compare func(text, part string) bool) (*leaf, bool) {
	left := maxCompared
	for i := range f.leaves {
		l := &f.leaves[i]
		for j := range other.leaves {
			o := &other.leaves[j]
			if l.null() || o.null() {
				continue
			}
			text, part := l.compared(cased), o.compared(cased)
			if left -= len(text) + len(part) + 1; left < 0 {
				return nil, false
			}
			if compare(text, part) {
				return l, true
			}
		}
	}
	return nil, false
}
