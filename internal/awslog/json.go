package awslog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
)

// Deepest is how many levels of objects and arrays a record may nest. CloudTrail's own stay below 30.
const Deepest = 100

// value is the text of one JSON value that parse has found valid, without space around it. A value that
// is not there is empty. Reading it allocates nothing but the strings it returns.
type value []byte

// parse finds the one JSON value that text holds. It is as strict as encoding/json and bounds the depth.
func parse(text []byte) (value, error) {
	start := space(text, 0)
	end, err := check(text, start, 0)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	if rest := space(text, end); rest != len(text) {
		return nil, fault.New(fault.Invalid, "byte %d: %q after the JSON value", rest, text[rest])
	}
	return value(text[start:end]), nil
}

// object is like parse, for what must be an object.
func object(text []byte) (value, error) {
	v, err := parse(text)
	if err == nil && v[0] != '{' {
		return nil, fault.New(fault.Invalid, "a JSON object is wanted, this is %s", v.sort())
	}
	return v, err
}

// space is the index of the first byte from i on that is not JSON white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// check finds the end of the value that starts at i.
func check(b []byte, i, depth int) (int, error) {
	if i >= len(b) {
		return i, fmt.Errorf("byte %d: the JSON value is cut off", i)
	}
	switch c := b[i]; {
	case c == '{' || c == '[':
		if depth == Deepest {
			return i, fmt.Errorf("byte %d: nested more than %d levels deep", i, Deepest)
		}
		if c == '{' {
			return checkObject(b, i, depth+1)
		}
		return checkArray(b, i, depth+1)
	case c == '"':
		return checkString(b, i)
	case c == '-' || c >= '0' && c <= '9':
		return checkNumber(b, i)
	}
	for _, literal := range []string{"true", "false", "null"} {
		if len(b)-i >= len(literal) && string(b[i:i+len(literal)]) == literal {
			return i + len(literal), nil
		}
	}
	return i, unexpected(b, i, "a JSON value")
}

func checkObject(b []byte, i, depth int) (int, error) {
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return i, unexpected(b, i, "a key")
		}
		end, err := checkString(b, i)
		if err != nil {
			return i, err
		}
		if i = space(b, end); i >= len(b) || b[i] != ':' {
			return i, unexpected(b, i, "a colon")
		}
		if end, err = check(b, space(b, i+1), depth); err != nil {
			return i, err
		}
		i = space(b, end)
		switch {
		case i < len(b) && b[i] == '}':
			return i + 1, nil
		case i >= len(b) || b[i] != ',':
			return i, unexpected(b, i, "a comma or a closing brace")
		}
		i = space(b, i+1)
	}
}

func checkArray(b []byte, i, depth int) (int, error) {
	i = space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, nil
	}
	for {
		end, err := check(b, i, depth)
		if err != nil {
			return i, err
		}
		i = space(b, end)
		switch {
		case i < len(b) && b[i] == ']':
			return i + 1, nil
		case i >= len(b) || b[i] != ',':
			return i, unexpected(b, i, "a comma or a closing bracket")
		}
		i = space(b, i+1)
	}
}

func checkString(b []byte, i int) (int, error) {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c < ' ':
			return i, fmt.Errorf("byte %d: control character %q in a string", i, c)
		case c == '\\':
			i++
			if i >= len(b) {
				break
			}
			if b[i] == 'u' {
				if len(b)-i < 5 || !hexadecimal(b[i+1:i+5]) {
					return i, fmt.Errorf("byte %d: bad \\u escape in a string", i)
				}
				i += 4
			} else if bytes.IndexByte([]byte(`"\/bfnrt`), b[i]) < 0 {
				return i, fmt.Errorf("byte %d: bad escape \\%c in a string", i, b[i])
			}
		}
	}
	return i, fmt.Errorf("byte %d: the string is cut off", i)
}

func hexadecimal(digits []byte) bool {
	for _, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

func checkNumber(b []byte, i int) (int, error) {
	if b[i] == '-' {
		i++
	}
	var ok bool
	if i < len(b) && b[i] == '0' {
		i++
	} else if i, ok = digits(b, i); !ok {
		return i, unexpected(b, i, "a digit")
	}
	if i < len(b) && b[i] == '.' {
		if i, ok = digits(b, i+1); !ok {
			return i, unexpected(b, i, "a digit")
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i, ok = digits(b, i); !ok {
			return i, unexpected(b, i, "a digit")
		}
	}
	return i, nil
}

// digits skips digits from i on and reports whether there was one.
func digits(b []byte, i int) (int, bool) {
	start := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i, i > start
}

func unexpected(b []byte, i int, want string) error {
	if i >= len(b) {
		return fmt.Errorf("byte %d: cut off where %s should be", i, want)
	}
	return fmt.Errorf("byte %d: %q where %s should be", i, b[i], want)
}

// skip is the end of the value that starts at i, in valid JSON.
func skip(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		for depth := 0; ; i++ {
			switch b[i] {
			case '"':
				i = skipString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] > ' ' {
		i++
	}
	return i
}

func skipString(b []byte, i int) int {
	for i++; ; i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

// fields gives the keys and values of an object in their order; nothing for anything else. A key is
// valid until the next one.
func (v value) fields() iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		if len(v) == 0 || v[0] != '{' {
			return
		}
		for i := space(v, 1); v[i] != '}'; {
			end := skipString(v, i)
			key := v[i+1 : end-1]
			if bytes.IndexByte(key, '\\') >= 0 {
				key = value(v[i:end].text())
			}
			start := space(v, space(v, end)+1)
			end = skip(v, start)
			if !yield(key, v[start:end]) {
				return
			}
			if i = space(v, end); v[i] == ',' {
				i = space(v, i+1)
			}
		}
	}
}

// items gives the members of an array; of anything else but null, the value itself. So one thing and a
// list of one are read alike.
func (v value) items() iter.Seq[value] {
	return func(yield func(value) bool) {
		if len(v) == 0 || v[0] == 'n' {
			return
		}
		if v[0] != '[' {
			yield(v)
			return
		}
		for i := space(v, 1); v[i] != ']'; {
			end := skip(v, i)
			if !yield(v[i:end]) {
				return
			}
			if i = space(v, end); v[i] == ',' {
				i = space(v, i+1)
			}
		}
	}
}

// get is the value at a path of keys, the last one where a key stands twice; empty if it is not there.
func (v value) get(path ...string) value {
	for _, step := range path {
		var found value
		for key, below := range v.fields() {
			if string(key) == step {
				found = below
			}
		}
		v = found
	}
	return v
}

// each gives the values at a path, through arrays on the way.
func (v value) each(path []string, yield func(value)) {
	for item := range v.items() {
		if len(path) == 0 {
			yield(item)
			continue
		}
		item.get(path[0]).each(path[1:], yield)
	}
}

// text is a string's content, and a number or a boolean as it is written; "" for anything else.
func (v value) text() string {
	if len(v) == 0 || v[0] == '{' || v[0] == '[' || v[0] == 'n' {
		return ""
	}
	if v[0] != '"' {
		return string(v)
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return strings.ToValidUTF8(string(inner), "\uFFFD")
	}
	var decoded string
	if err := json.Unmarshal(v, &decoded); err != nil {
		panic(fmt.Sprintf("decode checked string: %v", err))
	}
	return decoded
}

// str is the text at a path.
func (v value) str(path ...string) string { return v.get(path...).text() }

// float is the number at a path, also one written as a string; 0 if there is none.
func (v value) float(path ...string) float64 {
	number, err := strconv.ParseFloat(v.str(path...), 64)
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
		return 0
	}
	return number
}

// integer is the whole number at a path, 0 if there is none.
func (v value) integer(path ...string) int {
	number := v.float(path...)
	if number < -1<<31 || number > 1<<31 {
		return 0
	}
	return int(number)
}

// sort names what the value is, for errors.
func (v value) sort() string {
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}
