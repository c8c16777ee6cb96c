package sigma

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mostMistakes is how many reasons one document is refused for; more help nobody.
const mostMistakes = 50

// document is one YAML document on its way to a rule. It collects the mistakes.
type document struct {
	file     string
	before   int // lines of the file before it
	options  Options
	nested   int // elements that are being read
	mistakes []error
}

// entry is one member of a mapping.
type entry struct {
	name  string
	path  string // dotted, for errors
	key   *yaml.Node
	value *yaml.Node
}

func (d *document) refuse(n *yaml.Node, path, format string, args ...any) {
	if len(d.mistakes) >= mostMistakes {
		return
	}
	line := d.before + 1
	if n != nil {
		line = d.before + n.Line
	}
	d.mistakes = append(d.mistakes, &Error{File: d.file, Line: line, Key: path, Problem: fmt.Sprintf(format, args...)})
}

// rule reads a document that must be a rule. It is of use only when there were no mistakes.
func (d *document) rule(text []byte) *Rule {
	top := d.parse(text)
	if top == nil {
		return nil
	}
	entries := d.entries(top, "")
	if d.foreign(entries) {
		return nil
	}
	return d.detecting(top, entries, hash(text))
}

// detecting reads the keys of a rule.
func (d *document) detecting(top *yaml.Node, entries []entry, hash string) *Rule {
	r := &Rule{Header: Header{File: d.file, Line: d.before + top.Line, Hash: hash}}
	for _, e := range entries {
		switch e.name {
		case "fields":
			r.Fields = d.texts(e)
		case "scope":
			r.Scope = d.texts(e)
		case "logsource":
			r.LogSource = d.logSource(e)
		case "detection":
			r.selections, r.condition = d.detection(e)
		default:
			if !d.header(&r.Header, e) {
				d.custom(&r.Header, e)
			}
		}
	}
	d.needs(top, entries, "title", "logsource", "detection")
	return r
}

// needs refuses a mapping that lacks keys.
func (d *document) needs(n *yaml.Node, entries []entry, names ...string) {
	for _, name := range names {
		if !has(entries, name) {
			d.refuse(n, name, "is missing")
		}
	}
}

func has(entries []entry, name string) bool {
	return slices.ContainsFunc(entries, func(e entry) bool { return e.name == name })
}

// parse returns the document's top mapping, nil where there is none.
func (d *document) parse(text []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root, second yaml.Node
	if err := decoder.Decode(&root); err != nil {
		d.malformed(err)
		return nil
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			d.malformed(err)
		} else {
			d.refuse(&second, "", "a further document begins without ---")
		}
		return nil
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		d.refuse(&root, "", "is not a mapping of keys to values")
		return nil
	}
	return root.Content[0]
}

// malformed notes an error of the YAML reader, whose message begins with the line.
func (d *document) malformed(err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	n := &yaml.Node{Line: 1}
	if _, scan := fmt.Sscanf(message, "line %d:", &n.Line); scan == nil {
		_, message, _ = strings.Cut(message, ": ")
	}
	d.refuse(n, "", "is not YAML: %s", message)
}

// foreign refuses documents of Sigma that are not rules.
func (d *document) foreign(entries []entry) bool {
	for _, e := range entries {
		switch e.name {
		case "correlation":
			d.refuse(e.key, e.name, "a correlation is not a detection; it can't be read as one")
		case "filter":
			d.refuse(e.key, e.name, "a filter is not a detection; it can't be read as one")
		default:
			continue
		}
		return true
	}
	return d.outdated(entries)
}

// outdated refuses documents that only Sigma 1 knows.
func (d *document) outdated(entries []entry) bool {
	for _, e := range entries {
		if e.name == "action" {
			d.refuse(e.key, e.name, "rule collections by action belong to Sigma 1; write each rule out")
			return true
		}
	}
	return false
}

// entries lists the members of a mapping, in their order. Duplicates and keys that aren't plain are refused.
func (d *document) entries(n *yaml.Node, path string) []entry {
	if n.Kind != yaml.MappingNode {
		d.refuse(n, path, "must be a mapping, not %s", kindOf(n))
		return nil
	}
	seen := make(map[string]bool, len(n.Content)/2)
	entries := make([]entry, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			d.refuse(key, path, "a key must be plain text, not %s", kindOf(key))
		case seen[key.Value]:
			d.refuse(key, at, "is given twice")
		default:
			seen[key.Value] = true
			entries = append(entries, entry{name: key.Value, path: at, key: key, value: value})
		}
	}
	return entries
}

// text is the value of a key that holds one scalar.
func (d *document) text(e entry) string {
	if e.value.Kind != yaml.ScalarNode {
		d.refuse(e.value, e.path, "must be text, not %s", kindOf(e.value))
		return ""
	}
	if e.value.Tag == "!!null" {
		return ""
	}
	return e.value.Value
}

// texts is the value of a key that holds a list of scalars. One alone is a list of one.
func (d *document) texts(e entry) []string {
	nodes := e.value.Content
	if e.value.Kind == yaml.ScalarNode {
		if e.value.Tag == "!!null" {
			return nil
		}
		nodes = []*yaml.Node{e.value}
	} else if e.value.Kind != yaml.SequenceNode {
		d.refuse(e.value, e.path, "must be a list, not %s", kindOf(e.value))
		return nil
	}
	list := make([]string, 0, len(nodes))
	for _, n := range nodes {
		list = append(list, d.text(entry{path: e.path, value: n}))
	}
	return list
}

// kindOf names a node for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias, which rules may not use"
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			return "null"
		case "!!int", "!!float":
			return "a number"
		case "!!bool":
			return "true or false"
		case "!!str":
			return "text"
		case "!!merge":
			return "a merge key"
		}
		return "a value with tag " + n.Tag
	default:
		return "nothing"
	}
}
