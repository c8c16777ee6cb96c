// Package document reads the YAML files that people write, strictly, and says where they are wrong.
//
// A mistake is an *Error with file, line, column and key; all that are in a file are reported at once.
// What makes a file ambiguous, hard to bound or hard to read is refused: unknown keys, keys that stand
// twice, aliases, tags, numbers with leading zeros where a text may be meant.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/internal/secret"
)

const (
	// largest is the size in bytes of the largest file that is read.
	largest = 1 << 20
	// deepest is how many mappings and lists may lie in one another.
	deepest = 60
	// mostDocuments is how many documents one file may hold.
	mostDocuments = 1000
	// mostErrors is how many mistakes of one document are told at once.
	mostErrors = 50
)

// Document is one parsed document, which knows where each of its keys stands.
type Document struct {
	file    string
	root    *yaml.Node
	secrets []written
}

// written is a secret and where it was written.
type written struct {
	path  string
	value secret.Secret
	plain bool
}

// Decode reads a file that holds one document into a struct or a map. Of files in which secrets can stand,
// use Parse and Document.Resolve.
func Decode(file string, data []byte, into any) error {
	doc, err := Parse(file, data)
	if err != nil {
		return err
	}
	return doc.Decode(into)
}

// DecodeAll reads a file of several documents, divided by lines of ---, into a slice: into is a pointer to
// one. A document with nothing in it is passed over.
func DecodeAll(file string, data []byte, into any) error {
	slice := reflect.ValueOf(into)
	if slice.Kind() != reflect.Pointer || slice.Elem().Kind() != reflect.Slice {
		panic(fmt.Sprintf("document: DecodeAll needs a pointer to a slice, not %T", into))
	}
	docs, err := ParseAll(file, data)
	if err != nil {
		return err
	}
	all := reflect.MakeSlice(slice.Elem().Type(), len(docs), len(docs))
	var mistakes []*Error
	for i, doc := range docs {
		mistakes = append(mistakes, Errors(doc.Decode(all.Index(i).Addr().Interface()))...)
	}
	slice.Elem().Set(all)
	return invalid(mistakes...)
}

// Parse reads a file that holds one document.
func Parse(file string, data []byte) (*Document, error) {
	docs, err := parse(file, data, 1)
	if err != nil {
		return nil, err
	}
	return docs[0], nil
}

// ParseAll reads a file that holds one document or more.
func ParseAll(file string, data []byte) ([]*Document, error) { return parse(file, data, mostDocuments) }

func parse(file string, data []byte, most int) ([]*Document, error) {
	if len(data) > largest {
		return nil, invalid(&Error{File: file, Reason: fmt.Sprintf("%d bytes; at most %d are read", len(data), largest)})
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var docs []*Document
	var mistakes []*Error
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, invalid(append(mistakes, syntax(file, err))...)
		}
		root := node.Content[0]
		if empty(root) {
			continue
		}
		if len(docs) == most {
			return nil, invalid(&Error{File: file, Line: root.Line, Reason: tooMany(most)})
		}
		doc := &Document{file: file, root: root}
		docs, mistakes = append(docs, doc), append(mistakes, doc.refused()...)
	}
	if len(docs) == 0 {
		mistakes = append(mistakes, &Error{File: file, Reason: "there is nothing in the file"})
	}
	if len(mistakes) > 0 {
		return nil, invalid(mistakes...)
	}
	return docs, nil
}

func tooMany(most int) string {
	if most == 1 {
		return "a second document; this kind of file holds one"
	}
	return fmt.Sprintf("more than %d documents", most)
}

var position = regexp.MustCompile(`(?s)^(?:yaml: )?(?:line (\d+): )?(?:column \d+: )?(.*)$`)

// syntax makes an Error of what the YAML parser says. It says nothing of the text, which may be secret.
func syntax(file string, err error) *Error {
	mistake := &Error{File: file, Reason: err.Error()}
	if found := position.FindStringSubmatch(err.Error()); found != nil {
		mistake.Line, _ = strconv.Atoi(found[1]) // 0 where there is none
		mistake.Reason = found[2]
	}
	if strings.HasPrefix(mistake.Reason, "unknown anchor") {
		mistake.Reason = "aliases are not read; put a text that begins with * into quotes"
	}
	return mistake
}

// Decode puts the document into a struct or a map. What the document doesn't say keeps its value, so
// defaults are set before. All mistakes are reported at once.
func (d *Document) Decode(into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		panic(fmt.Sprintf("document: Decode needs a pointer, not %T", into))
	}
	run := &decoding{doc: d}
	run.value(d.root, target.Elem(), "")
	return invalid(run.mistakes...)
}

// Resolve reads the secrets that Decode found from where they are kept: files, relative to the document's
// folder, and the environment, by lookup. What stands in the document in plain is returned as warnings.
func (d *Document) Resolve(lookup func(name string) (string, bool)) (warnings []*Error, err error) {
	var mistakes []*Error
	for _, s := range d.secrets {
		if s.plain {
			warnings = append(warnings, d.mistake(s.path, "a secret in plain; better write {file: path} or {env: NAME}"))
		}
		if err := s.value.Resolve(filepath.Dir(d.file), lookup); err != nil {
			mistakes = append(mistakes, d.mistake(s.path, err.Error()))
		}
	}
	return warnings, invalid(mistakes...)
}

// Errorf makes an error of kind Invalid about the key at a dotted path.
func (d *Document) Errorf(path, format string, args ...any) error {
	return invalid(d.mistake(path, fmt.Sprintf(format, args...)))
}

// Pos is where the key at a dotted path stands or, where it isn't in the document, what is nearest above it.
func (d *Document) Pos(path string) Pos {
	place := find(d.root, path)
	return Pos{File: d.file, Line: place.Line, Column: place.Column}
}

func (d *Document) mistake(path, reason string) *Error {
	at := d.Pos(path)
	return &Error{File: at.File, Line: at.Line, Column: at.Column, Key: path, Reason: reason}
}
