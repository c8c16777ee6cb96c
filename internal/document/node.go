package document

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Node is one value of a document, as an Unmarshaler gets it.
type Node struct {
	doc  *Document
	node *yaml.Node
	path string
}

// Decode puts the value into a Go value, as strictly as Document.Decode. To decode itself, a type converts to
// one without its methods.
func (n Node) Decode(into any) error {
	run := &decoding{doc: n.doc}
	run.value(n.node, reflect.ValueOf(into).Elem(), n.path)
	return invalid(run.mistakes...)
}

// Text is the value as it is written, and whether it is one word, number or text.
func (n Node) Text() (string, bool) { return n.node.Value, n.node.Kind == yaml.ScalarNode }

// IsMapping reports whether the value has keys.
func (n Node) IsMapping() bool { return n.node.Kind == yaml.MappingNode }

// IsList reports whether the value has items.
func (n Node) IsList() bool { return n.node.Kind == yaml.SequenceNode }

// Path is the value's dotted path in its document.
func (n Node) Path() string { return n.path }

// Pos is where the value stands.
func (n Node) Pos() Pos { return Pos{File: n.doc.file, Line: n.node.Line, Column: n.node.Column} }

// Errorf makes an error of kind Invalid about the value.
func (n Node) Errorf(format string, args ...any) error {
	return invalid(&Error{
		File: n.doc.file, Line: n.node.Line, Column: n.node.Column, Key: n.path, Reason: fmt.Sprintf(format, args...),
	})
}
