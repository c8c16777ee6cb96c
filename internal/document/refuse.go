package document

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// refused lists what no file of ours may have: aliases, tags, keys that aren't words or stand twice, depth.
func (d *Document) refused() []*Error {
	r := &refusal{file: d.file}
	r.look(d.root, "", 0)
	return r.mistakes
}

type refusal struct {
	file     string
	mistakes []*Error
}

func (r *refusal) add(n *yaml.Node, path, reason string) {
	if len(r.mistakes) < mostErrors {
		r.mistakes = append(r.mistakes, &Error{File: r.file, Line: n.Line, Column: n.Column, Key: path, Reason: reason})
	}
}

func (r *refusal) look(n *yaml.Node, path string, depth int) {
	switch {
	case depth > deepest:
		r.add(n, path, "nested too deep")
		return
	case n.Style&yaml.TaggedStyle != 0:
		r.add(n, path, "tags are not read; put a text into quotes")
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		r.add(n, path, "aliases are not read; write it out")
	case yaml.MappingNode:
		r.mapping(n, path, depth)
	case yaml.SequenceNode:
		for i, item := range n.Content {
			r.look(item, At(path, i), depth+1)
		}
	case yaml.DocumentNode, yaml.ScalarNode:
	}
}

func (r *refusal) mapping(n *yaml.Node, path string, depth int) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || empty(key) || key.ShortTag() == "!!merge" || key.Style&yaml.TaggedStyle != 0 {
			r.add(key, path, "a key is a plain word")
			continue
		}
		below := Under(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			r.add(key, below, fmt.Sprintf("stands already at line %d", line))
			continue
		}
		seen[key.Value] = key.Line
		r.look(n.Content[i+1], below, depth+1)
	}
}
