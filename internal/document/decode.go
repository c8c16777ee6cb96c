package document

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/internal/secret"
)

// Unmarshaler is a type that reads itself from a document, such as one that may be written short or long.
type Unmarshaler interface {
	UnmarshalDocument(n Node) error
}

// decoding is one document on its way into one Go value. It collects the mistakes.
type decoding struct {
	doc      *Document
	mistakes []*Error
	known    map[reflect.Type]fields
}

func (d *decoding) fail(n *yaml.Node, path, hint, format string, args ...any) {
	if len(d.mistakes) < mostErrors {
		d.mistakes = append(d.mistakes, &Error{
			File: d.doc.file, Line: n.Line, Column: n.Column, Key: path, Reason: fmt.Sprintf(format, args...), Hint: hint,
		})
	}
}

// value puts a node into v, which can be set. A node with nothing in it leaves v as it is.
func (d *decoding) value(n *yaml.Node, v reflect.Value, path string) {
	if empty(n) {
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), path)
		return
	}
	if d.itself(n, v, path) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.fields(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Interface:
		if v.NumMethod() > 0 {
			panic(fmt.Sprintf("document: %s can't be read from a file", v.Type()))
		}
		if plain := d.plain(n, path); plain != nil {
			v.Set(reflect.ValueOf(plain))
		}
	default:
		d.scalar(n, v, path)
	}
}

// itself decodes types that have a form of their own, and reports whether v is one.
func (d *decoding) itself(n *yaml.Node, v reflect.Value, path string) bool {
	switch into := v.Addr().Interface().(type) {
	case *secret.Secret:
		*into = d.secret(n, path)
	case *time.Duration:
		*into = d.duration(n, path)
	case *time.Time:
		*into = d.time(n, path)
	case Unmarshaler:
		d.adopt(n, path, into.UnmarshalDocument(Node{doc: d.doc, node: n, path: path}))
	case yaml.Unmarshaler:
		d.adopt(n, path, into.UnmarshalYAML(n))
	case encoding.TextUnmarshaler:
		if d.isScalar(n, path, "text") {
			d.adopt(n, path, into.UnmarshalText([]byte(n.Value)))
		}
	default:
		return false
	}
	return true
}

// adopt takes over an error of a type that reads itself: with its place, if it has none of its own.
func (d *decoding) adopt(n *yaml.Node, path string, err error) {
	var typed *yaml.TypeError
	switch placed := Errors(err); {
	case err == nil:
	case len(placed) > 0:
		d.mistakes = append(d.mistakes, placed...)
	case errors.As(err, &typed):
		for _, text := range typed.Errors {
			d.fail(n, path, "", "%s", position.FindStringSubmatch(text)[2])
		}
	default:
		d.fail(n, path, "", "%s", err.Error())
	}
}

func (d *decoding) fields(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "", "is %s, not a mapping", describe(n))
		return
	}
	known := d.fieldsOf(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		below := Under(path, key.Value)
		index, ok := known.index[key.Value]
		if !ok {
			d.unknown(key, below, known.names)
			continue
		}
		d.value(n.Content[i+1], v.FieldByIndex(index), below)
	}
}

func (d *decoding) unknown(key *yaml.Node, path string, known []string) {
	if near := Suggest(key.Value, known); near != "" {
		d.fail(key, path, near, "there is no such key")
		return
	}
	d.fail(key, path, "", "there is no such key here; there are %s", strings.Join(known, ", "))
}

func (d *decoding) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "", "is %s, not a mapping", describe(n))
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Content)/2))
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		below := Under(path, n.Content[i].Value)
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i], key, below)
		d.value(n.Content[i+1], value, below)
		v.SetMapIndex(key, value)
	}
}

func (d *decoding) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "", "is %s, not a list", describe(n))
		return
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		if empty(item) && v.Type().Elem().Kind() != reflect.Interface {
			d.fail(item, At(path, i), "", "there is nothing here")
			continue
		}
		d.value(item, items.Index(i), At(path, i))
	}
	v.Set(items)
}

// fields are the keys of a struct and where its fields are.
type fields struct {
	names []string // sorted
	index map[string][]int
}

func (d *decoding) fieldsOf(t reflect.Type) fields {
	if found, ok := d.known[t]; ok {
		return found
	}
	f := fields{index: map[string][]int{}}
	f.add(t, nil)
	for name := range f.index {
		f.names = append(f.names, name)
	}
	slices.Sort(f.names)
	if d.known == nil {
		d.known = map[reflect.Type]fields{}
	}
	d.known[t] = f
	return f
}

// add takes the fields of a struct: named by their yaml tag, else by their lower-case name. A struct that is
// embedded without a name, or tagged inline, lends its fields.
func (f *fields) add(t reflect.Type, at []int) {
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		index := append(slices.Clone(at), field.Index...)
		lends := field.Type.Kind() == reflect.Struct && (strings.Contains(options, "inline") || field.Anonymous && name == "")
		switch {
		case name == "-" || !field.IsExported() && !lends:
		case lends:
			f.add(field.Type, index)
		case name != "":
			f.index[name] = index
		default:
			f.index[strings.ToLower(field.Name)] = index
		}
	}
}
