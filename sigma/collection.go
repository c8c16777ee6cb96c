package sigma

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Collection is what files of detections hold: rules, correlations over their matches, and filters.
type Collection struct {
	Rules        []*Rule
	Correlations []*Correlation
	Filters      []*Filter
}

// reference is the ID or the name of a rule, where a document mentions it.
type reference struct {
	text string
	line int
	path string
}

// ParseCollection reads all documents of one file, of any kind. A document that is refused gives errors of type
// [*Error], joined; the other documents are returned beside them. What documents refer to is looked up by
// [Collection.Link], when all files have been added.
func ParseCollection(file string, text []byte, o Options) (Collection, error) {
	var c Collection
	if len(text) > maxText {
		return c, &Error{File: file, Problem: fmt.Sprintf("longer than %d bytes", maxText)}
	}
	var mistakes []error
	parts := split(text)
	for _, part := range parts {
		d := &document{file: file, before: part.line - 1, options: o}
		d.collect(part.text, &c)
		mistakes = append(mistakes, d.mistakes...)
	}
	if len(parts) == 0 {
		return c, &Error{File: file, Problem: "holds no document"}
	}
	return c, errors.Join(mistakes...)
}

// Add appends what another collection holds.
func (c *Collection) Add(other Collection) {
	c.Rules = append(c.Rules, other.Rules...)
	c.Correlations = append(c.Correlations, other.Correlations...)
	c.Filters = append(c.Filters, other.Filters...)
}

// collect reads a document of any kind and adds it, unless it was refused.
func (d *document) collect(text []byte, to *Collection) {
	top := d.parse(text)
	if top == nil {
		return
	}
	entries := d.entries(top, "")
	if d.outdated(entries) || d.mixed(entries) {
		return
	}
	var read Collection
	switch {
	case has(entries, "correlation"):
		read.Correlations = append(read.Correlations, d.correlation(top, entries, hash(text)))
	case has(entries, "filter"):
		read.Filters = append(read.Filters, d.filter(top, entries, hash(text)))
	default:
		read.Rules = append(read.Rules, d.detecting(top, entries, hash(text)))
	}
	if len(d.mistakes) == 0 {
		to.Add(read)
	}
}

// mixed refuses a document of two kinds.
func (d *document) mixed(entries []entry) bool {
	first := ""
	for _, e := range entries {
		if e.name != "detection" && e.name != "correlation" && e.name != "filter" {
			continue
		}
		if first != "" {
			d.refuse(e.key, e.name, "a document with %s can't have %s, too; write two", first, e.name)
			return true
		}
		first = e.name
	}
	return false
}

// references reads a list of IDs or names of rules. One alone is a list of one.
func (d *document) references(e entry) []reference {
	nodes := []*yaml.Node{e.value}
	if e.value.Kind == yaml.SequenceNode {
		nodes = e.value.Content
	}
	var all []reference
	seen := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		text := d.text(entry{path: e.path, value: n})
		switch {
		case n.Kind != yaml.ScalarNode: // refused already
		case text == "":
			d.refuse(n, e.path, "needs the ID or the name of a rule")
		case seen[text]:
			d.refuse(n, e.path, "%q is given twice", text)
		default:
			seen[text] = true
			all = append(all, reference{text: text, line: d.before + n.Line, path: e.path})
		}
	}
	if len(nodes) == 0 {
		d.refuse(e.value, e.path, "names no rule")
	}
	return all
}
