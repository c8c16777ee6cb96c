package sigma

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Event is one record of a log. It doesn't change once made.
type Event struct {
	root value
}

// ParseEvent reads an event, which must be a JSON object. Numbers stay as they are written. An event nested
// deeper than 256, or of more than 262,144 values, is refused.
func ParseEvent(text []byte) (*Event, error) {
	s := &scanner{text: string(text)}
	if s.next() != '{' {
		return nil, fmt.Errorf("read event: %w", s.fail("expected an object"))
	}
	root, err := s.value(0)
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	if s.next(); s.at != len(s.text) {
		return nil, fmt.Errorf("read event: %w", s.fail("more after the object"))
	}
	return &Event{root: root}, nil
}

// NewEvent makes an event of what a JSON reader made. Members are in the order of their names. What lies
// deeper than 256 is taken for null.
func NewEvent(fields map[string]any) *Event {
	return &Event{root: valueOf(fields, 0)}
}

func valueOf(from any, depth int) value {
	switch v := from.(type) {
	case nil:
		return value{}
	case string:
		return value{kind: kindText, text: strings.ToValidUTF8(v, "\ufffd")}
	case json.Number:
		return value{kind: kindNumber, text: v.String()}
	case bool:
		if v {
			return value{kind: kindBoolean, text: "true"}
		}
		return value{kind: kindBoolean, text: "false"}
	case map[string]any:
		return objectOf(v, depth)
	case []any:
		return listOf(v, depth)
	}
	return marshalled(from, depth)
}

func objectOf(from map[string]any, depth int) value {
	if depth >= maxDepth {
		return value{}
	}
	kids := make([]member, 0, len(from))
	for name, v := range from {
		kids = append(kids, member{name: strings.ToValidUTF8(name, "\ufffd"), value: valueOf(v, depth+1)})
	}
	slices.SortFunc(kids, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return newObject(kids)
}

func listOf(from []any, depth int) value {
	if depth >= maxDepth {
		return value{}
	}
	kids := make([]member, len(from))
	for i, v := range from {
		kids[i].value = valueOf(v, depth+1)
	}
	return value{kind: kindList, kids: kids}
}

// marshalled takes any other type as its JSON, or else as its text.
func marshalled(from any, depth int) value {
	encoded, err := json.Marshal(from)
	if err == nil {
		s := &scanner{text: string(encoded)}
		if v, err := s.value(depth); err == nil {
			return v
		}
		return value{}
	}
	return value{kind: kindText, text: strings.ToValidUTF8(fmt.Sprint(from), "\ufffd")}
}

// appendCompact writes a value as JSON without space.
func appendCompact(out []byte, v *value) []byte {
	switch v.kind {
	case kindNull:
		return append(out, "null"...)
	case kindText:
		return appendQuoted(out, v.text)
	case kindList:
		out = append(out, '[')
		for i := range v.kids {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendCompact(out, &v.kids[i].value)
		}
		return append(out, ']')
	case kindObject:
		out = append(out, '{')
		for i := range v.kids {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(appendQuoted(out, v.kids[i].name), ':')
			out = appendCompact(out, &v.kids[i].value)
		}
		return append(out, '}')
	default:
		return append(out, v.text...)
	}
}

// appendQuoted writes a string with the escapes that JSON needs and no others.
func appendQuoted(out []byte, said string) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(said) {
		switch c := said[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c >= ' ':
			out = append(out, c)
		default:
			if at := strings.IndexByte("\b\f\n\r\t", c); at >= 0 {
				out = append(out, '\\', "bfnrt"[at])
			} else {
				out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			}
		}
	}
	return append(out, '"')
}
