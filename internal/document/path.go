package document

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Pos is where something stands in a file.
type Pos struct {
	File   string
	Line   int // 1-based; 0 where it concerns the whole file
	Column int // 1-based
}

// String is file:line, as editors and terminals take it.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Under gives the dotted path of a key below a path: Under("steps[2].with", "user"). A key that has a dot
// or a bracket in it is quoted: tags["aws:x.y"].
func Under(path, key string) string {
	switch {
	case key == "" || strings.ContainsAny(key, ".[]\""):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

// At gives the dotted path of an item in the list at a path.
func At(path string, index int) string { return path + "[" + strconv.Itoa(index) + "]" }

// step is one part of a path: a key or, if it is written in brackets without quotes, an index.
type step struct {
	key   string
	index int
	item  bool
}

// steps takes a path apart. Of a path that isn't well formed it gives what is before the fault.
func steps(path string) []step {
	var parts []step
	for path != "" {
		if path[0] != '[' {
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			parts, path = append(parts, step{key: path[:end]}), path[end:]
			continue
		}
		quoted, err := strconv.QuotedPrefix(path[1:])
		if err != nil {
			index, rest, closed := strings.Cut(path[1:], "]")
			n, err := strconv.Atoi(index)
			if !closed || err != nil {
				return parts
			}
			parts, path = append(parts, step{index: n, item: true}), rest
			continue
		}
		key, err := strconv.Unquote(quoted)
		rest, closed := strings.CutPrefix(path[1+len(quoted):], "]")
		if err != nil || !closed {
			return parts
		}
		parts, path = append(parts, step{key: key}), rest
	}
	return parts
}

// find gives the node that says where a path is: its key where it has one, else its value. Where the path
// isn't in the document it is that of what is nearest above.
func find(root *yaml.Node, path string) *yaml.Node {
	node, place := root, root
	for _, s := range steps(path) {
		where, value := child(node, s)
		if value == nil {
			break
		}
		place, node = where, value
	}
	return place
}

func child(n *yaml.Node, s step) (place, value *yaml.Node) {
	if s.item {
		if n.Kind == yaml.SequenceNode && s.index >= 0 && s.index < len(n.Content) {
			return n.Content[s.index], n.Content[s.index]
		}
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == s.key {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}
