package sigma

import (
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// selection is what a rule's condition refers to by name: it holds when one of its groups does.
type selection struct {
	name   string
	groups []group
}

// group holds when each of its items does.
type group []item

// item is a field with the values that it should have.
type item struct {
	field     string // empty for keywords
	modifiers modifiers
	atoms     []atom
	elements  []group // in place of atoms, where the modifier is element
}

// detection compiles selections and the condition over them, the heart of a rule and of a filter. Keys that
// the caller reads are left out.
func (d *document) detection(e entry, others ...string) ([]selection, *expression) {
	var selections []selection
	var condition *entry
	for _, member := range d.entries(e.value, e.path) {
		switch {
		case slices.Contains(others, member.name):
		case member.name == "condition":
			condition = &member
		case member.name == "timeframe":
			d.refuse(member.key, member.path, "belongs to Sigma 1; counting in time needs a correlation")
		default:
			selections = append(selections, d.selection(member))
		}
	}
	if condition == nil {
		d.refuse(e.key, e.path+".condition", "is missing")
		return nil, nil
	}
	return selections, d.condition(*condition, selections)
}

func (d *document) selection(e entry) selection {
	s := selection{name: e.name}
	switch e.value.Kind {
	case yaml.MappingNode:
		s.groups = append(s.groups, d.group(e.value, e.path))
	case yaml.SequenceNode:
		s.groups = d.alternatives(e)
	default:
		s.groups = append(s.groups, d.keywords([]*yaml.Node{e.value}, e.path))
	}
	if len(s.groups) == 0 {
		d.refuse(e.value, e.path, "selects nothing")
	}
	return s
}

// alternatives reads a list of maps, of keywords, or of both.
func (d *document) alternatives(e entry) []group {
	var groups []group
	var words []*yaml.Node
	for _, n := range e.value.Content {
		if n.Kind == yaml.MappingNode {
			groups = append(groups, d.group(n, e.path))
		} else {
			words = append(words, n)
		}
	}
	if len(words) > 0 {
		groups = append(groups, d.keywords(words, e.path))
	}
	return groups
}

func (d *document) keywords(words []*yaml.Node, path string) group {
	return group{d.item("", nil, words, entry{path: path, value: words[0]})}
}

func (d *document) group(n *yaml.Node, path string) group {
	entries := d.entries(n, path)
	if len(entries) == 0 && n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		d.refuse(n, path, "selects nothing")
	}
	g := make(group, 0, len(entries))
	for _, e := range entries {
		names := strings.Split(e.name, "|")
		values := []*yaml.Node{e.value}
		if e.value.Kind == yaml.SequenceNode {
			values = e.value.Content
		}
		g = append(g, d.item(names[0], names[1:], values, e))
	}
	return g
}

// item compiles the values of one field. Without a name they are keywords, contained anywhere.
func (d *document) item(field string, names []string, values []*yaml.Node, e entry) item {
	m, err := parseModifiers(names, field == "")
	if err != nil {
		d.refuse(e.value, e.path, "%s", err)
		return item{}
	}
	if field == "" && m.operator == equals {
		m.operator = contains
	}
	it := item{field: field, modifiers: m}
	if len(values) == 0 {
		d.refuse(e.value, e.path, "has no values")
	}
	if m.element {
		d.elements(&it, values, e)
		return it
	}
	if m.operator == exists && len(values) > 1 {
		d.refuse(values[1], e.path, "modifier exists takes one value")
	}
	for _, n := range values {
		atoms, err := d.atoms(n, m)
		if err == nil && len(it.atoms)+len(atoms) > mostVariants {
			err = errors.New("stands for too many values")
		}
		if err != nil {
			d.refuse(n, e.path, "%s", err)
			continue
		}
		it.atoms = append(it.atoms, atoms...)
	}
	return it
}
