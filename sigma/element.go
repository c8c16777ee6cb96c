package sigma

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mostNested is how deep elements of elements may go.
const mostNested = 8

// elements compiles what the modifier element asks of the members of a list: mappings, each with items for one
// and the same member.
func (d *document) elements(it *item, values []*yaml.Node, e entry) {
	if d.nested++; d.nested > mostNested {
		d.refuse(e.value, e.path, "elements are nested deeper than %d", mostNested)
		return
	}
	defer func() { d.nested-- }()
	for _, n := range values {
		if n.Kind != yaml.MappingNode {
			d.refuse(n, e.path, "modifier element needs a mapping of what holds for one member of the list, not %s", kindOf(n))
			continue
		}
		it.elements = append(it.elements, d.group(n, e.path))
	}
}

// view is the leaf as an event of its own.
func (l *leaf) view() *view {
	if l.inner == nil {
		l.inner = newView(&Event{root: *l.node})
	}
	return l.inner
}

// element returns the number of the first member of the list that fulfils a group, else -1.
func (f *found) element(g group) int {
	for i := range f.leaves {
		if l := &f.leaves[i]; !l.null() && g.holds(l.view()) {
			return i
		}
	}
	return -1
}

// foundElement reports whether some member fulfils one of the groups, or each of them is fulfilled by one.
func (it *item) foundElement(f *found) bool {
	for _, g := range it.elements {
		if ok := f.element(g) >= 0; ok != it.modifiers.all {
			return ok
		}
	}
	return it.modifiers.all
}

// explainElement collects what made a member fulfil a group. Its fields are told with the member's number.
func (it *item) explainElement(selection string, f *found, m *Match) {
	if it.modifiers.negated {
		m.add(Matched{Selection: selection, Field: it.field, Pattern: it.modifiers.written})
		return
	}
	for _, g := range it.elements {
		at := f.element(g)
		if at < 0 {
			continue
		}
		before := len(m.Fields)
		for i := range g {
			g[i].explain(selection, f.leaves[at].view(), m)
		}
		place := it.field + "[" + strconv.Itoa(at) + "]"
		for i := before; i < len(m.Fields); i++ {
			m.Fields[i].Field = strings.TrimSuffix(place+"."+m.Fields[i].Field, ".")
		}
		if !it.modifiers.all {
			return
		}
	}
}
