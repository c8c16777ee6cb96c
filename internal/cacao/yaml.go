package cacao

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// order is that of keys in playbooks; those that aren't here come behind, by name.
var order = []string{ //nolint:gochecknoglobals // a constant list
	"playbook", "id", "summary", "description", "on", "autonomy", "limits", "allow_destroy", "on_false_positive", "inputs",
	"if", "is", "use", "approve", "wait", "set", "fail", "call", "foreach", "switch", "with", "cases", "parallel", "steps", "else", "finally",
	"type", "required", "default", "by", "quorum", "in", "as", "until", "retry", "timeout", "within", "for", "on_error",
}

// written gives a playbook as people write it.
func written(book entry) ([]byte, error) {
	node, err := nodeOf(book)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out.Bytes(), encoder.Close()
}

func nodeOf(v any) (*yaml.Node, error) {
	switch v := v.(type) {
	case entry:
		node := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.SortedFunc(maps.Keys(v), inOrder) {
			name, err := nodeOf(key)
			if err != nil {
				return nil, err
			}
			if slices.Contains(order, key) {
				name.Style = 0 // on is no truth value here
			}
			value, err := nodeOf(v[key])
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, name, value)
		}
		return node, nil
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for _, one := range v {
			value, err := nodeOf(one)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, value)
		}
		return node, nil
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(v.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}, nil
	}
	node := new(yaml.Node)
	if err := node.Encode(v); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return node, nil
}

func inOrder(a, b string) int {
	place := func(key string) int {
		if at := slices.Index(order, key); at >= 0 {
			return at
		}
		return len(order)
	}
	if by := place(a) - place(b); by != 0 {
		return by
	}
	return strings.Compare(a, b)
}
