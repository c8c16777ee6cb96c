// Package policydoc reads and changes AWS's policy documents. What isn't meant to change stays as it was
// written, members in their order, numbers and escapes untouched.
//
// It follows the grammar of the IAM JSON policy language and is strict: a document that has anything else in
// it, or a name twice, is refused rather than understood in part.
package policydoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/riposte-sec/riposte/internal/fault"
)

// Largest bounds a document, in bytes. AWS's own bounds are 20 kB for a bucket, 32 kB for a key.
const Largest = 128 << 10

// Document is a policy document. The zero value is none: see New.
type Document struct {
	members    []member // in the order in which they were written; the statements are empty here
	statements []Statement
}

// member is one name with its value, as it was written.
type member struct {
	name  string
	value json.RawMessage
}

var (
	documentMembers  = []string{"Version", "Id", "Statement"}                                                                                //nolint:gochecknoglobals // a constant list
	statementMembers = []string{"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"} //nolint:gochecknoglobals // a constant list
)

// New is a document without statements.
func New() Document {
	return Document{members: []member{{"Version", json.RawMessage(`"2012-10-17"`)}, {name: "Statement"}}}
}

// Parse reads a document. Errors are of kind Invalid.
func Parse(text []byte) (Document, error) {
	d, err := parse(text)
	if err != nil {
		return Document{}, fault.WithHint(fault.New(fault.Invalid, "policy document: %w", err),
			"it isn't as AWS documents policies: look at it and change it by hand")
	}
	return d, nil
}

func parse(text []byte) (Document, error) {
	if len(text) > Largest {
		return Document{}, fmt.Errorf("it has %d bytes, more than %d", len(text), Largest)
	}
	var d Document
	var err error
	if d.members, err = members(text, documentMembers); err != nil {
		return Document{}, err
	}
	at := slices.IndexFunc(d.members, func(m member) bool { return m.name == "Statement" })
	if at < 0 {
		return Document{}, errors.New("it has no Statement")
	}
	list := []json.RawMessage{d.members[at].value}
	if d.members[at].value[0] == '[' {
		list = nil
		if err := json.Unmarshal(d.members[at].value, &list); err != nil {
			return Document{}, err
		}
	}
	d.members[at].value = nil
	for i, raw := range list {
		s, err := parseStatement(raw)
		if err != nil {
			return Document{}, fmt.Errorf("statement %d: %w", i+1, err)
		}
		d.statements = append(d.statements, s)
	}
	return d, nil
}

// members reads an object in its order, with no name twice and none that isn't known.
func members(text []byte, known []string) ([]member, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	var list []member
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		m := member{}
		m.name, _ = name.(string) // what is before a value in an object is a string
		if err := decoder.Decode(&m.value); err != nil {
			return nil, err
		}
		switch {
		case !slices.Contains(known, m.name):
			return nil, fmt.Errorf("%.64q is no member of it", m.name)
		case slices.ContainsFunc(list, func(o member) bool { return o.name == m.name }):
			return nil, fmt.Errorf("%s is there twice", m.name)
		}
		list = append(list, m)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something comes after it")
	}
	return list, nil
}

// Statements gives the statements in their order.
func (d Document) Statements() []Statement { return slices.Clone(d.statements) }

// Has reports whether a statement has that Sid.
func (d Document) Has(sid string) bool {
	return slices.ContainsFunc(d.statements, func(s Statement) bool { return s.Sid == sid })
}

// Put gives the document with a statement in place of those with its Sid, else at the end.
func (d Document) Put(s Statement) Document {
	kept := make([]Statement, 0, len(d.statements)+1)
	placed := false
	for _, old := range d.statements {
		switch {
		case old.Sid != s.Sid || s.Sid == "":
			kept = append(kept, old)
		case !placed:
			kept, placed = append(kept, s), true
		}
	}
	if !placed {
		kept = append(kept, s)
	}
	d.statements = kept
	return d
}

// Strip takes away from what statements allow the principals that are unwanted. A statement that allows nobody
// any more goes away whole. It tells what it took away, and from which statement.
func (d Document) Strip(unwanted func(Statement, Principal) bool) (Document, []Stripped) {
	return d.strip(func(s Statement, p Principal) bool { return s.Effect == Allow && unwanted(s, p) })
}

// Bury takes away the principals that were deleted: they mean nobody, and AWS takes no document that names them.
func (d Document) Bury() Document {
	d, _ = d.strip(func(_ Statement, p Principal) bool { return p.Dead() })
	return d
}

func (d Document) strip(unwanted func(Statement, Principal) bool) (Document, []Stripped) {
	var kept []Statement
	var gone []Stripped
	for i, s := range d.statements {
		left, taken := s.without(unwanted)
		for _, p := range taken {
			gone = append(gone, Stripped{Statement: s.label(i), Principal: p})
		}
		if len(taken) == 0 || len(left.Principals) > 0 {
			kept = append(kept, left)
		}
	}
	d.statements = kept
	return d, gone
}

// Stripped is a principal that was taken from a statement.
type Stripped struct {
	Statement string // its Sid, or its number
	Principal Principal
}

// Text is the document as JSON, without white space.
func (d Document) Text() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range d.members {
		value := m.value
		if m.name == "Statement" {
			value = d.list()
		}
		writeMember(&b, i, m.name, value)
	}
	b.WriteByte('}')
	return compact(b.Bytes())
}

func (d Document) list() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, s := range d.statements {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(s.text())
	}
	b.WriteByte(']')
	return b.Bytes()
}

func writeMember(b *bytes.Buffer, at int, name string, value json.RawMessage) {
	if at > 0 {
		b.WriteByte(',')
	}
	fmt.Fprintf(b, "%q:", name) // names are those of the grammar
	b.Write(value)
}

func compact(text []byte) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		panic(fmt.Sprintf("policydoc: wrote %q: %v", text, err)) // every part was parsed
	}
	return b.Bytes()
}
