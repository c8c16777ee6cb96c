package sigma

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxDepth  = 256     // of nested lists and objects
	maxValues = 1 << 18 // in one event, of any kind
	// manyMembers is from how many members on an object is looked up by hash.
	manyMembers = 32
)

// kind is the type of a JSON value.
type kind uint8

const (
	kindNull kind = iota
	kindBoolean
	kindNumber
	kindText
	kindList
	kindObject
)

// value is one JSON value.
type value struct {
	kind  kind
	text  string         // of a scalar; a number and a boolean as written
	kids  []member       // of a list or an object
	index map[string]int // of an object with many members
}

// member is one value within a list, or with its name within an object.
type member struct {
	name  string
	value value
}

// member returns what an object holds by a name, nil for nothing. The last of equal names counts.
func (v *value) member(name string) *value {
	if v.index != nil {
		if i, ok := v.index[name]; ok {
			return &v.kids[i].value
		}
		return nil
	}
	for i := len(v.kids) - 1; i >= 0; i-- {
		if v.kids[i].name == name {
			return &v.kids[i].value
		}
	}
	return nil
}

func newObject(kids []member) value {
	v := value{kind: kindObject, kids: kids}
	if len(kids) > manyMembers {
		v.index = make(map[string]int, len(kids))
		for i := range kids {
			v.index[kids[i].name] = i
		}
	}
	return v
}

// scanner reads one JSON text. Strings without escapes are slices of it.
type scanner struct {
	text   string
	at     int
	values int
	open   []member // members of lists and objects that haven't ended
}

func (s *scanner) fail(format string, args ...any) error {
	return fmt.Errorf("offset %d: %s", s.at, fmt.Sprintf(format, args...))
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// next returns the next byte after space, 0 at the end.
func (s *scanner) next() byte {
	s.space()
	if s.at == len(s.text) {
		return 0
	}
	return s.text[s.at]
}

func (s *scanner) value(depth int) (value, error) {
	if s.values++; s.values > maxValues {
		return value{}, s.fail("more than %d values", maxValues)
	}
	switch c := s.next(); {
	case c == '{' || c == '[':
		if depth >= maxDepth {
			return value{}, s.fail("nested deeper than %d", maxDepth)
		}
		return s.container(c, depth+1)
	case c == '"':
		said, err := s.string()
		return value{kind: kindText, text: said}, err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true", kindBoolean)
	case c == 'f':
		return s.word("false", kindBoolean)
	case c == 'n':
		return s.word("null", kindNull)
	case s.at == len(s.text):
		return value{}, s.fail("ends too early")
	}
	return value{}, s.fail("no value begins with %q", s.text[s.at])
}

func (s *scanner) word(word string, k kind) (value, error) {
	if !strings.HasPrefix(s.text[s.at:], word) {
		return value{}, s.fail("expected %s", word)
	}
	s.at += len(word)
	if k == kindNull {
		word = ""
	}
	return value{kind: k, text: word}, nil
}

// container reads a list or an object, whose first byte is next.
func (s *scanner) container(begin byte, depth int) (value, error) {
	end := begin + 2 // ] and } stand two after [ and {
	s.at++
	first := len(s.open)
	for more := s.next() != end; more; {
		var m member
		var err error
		if begin == '{' {
			if m.name, err = s.name(); err != nil {
				return value{}, err
			}
		}
		if m.value, err = s.value(depth); err != nil {
			return value{}, err
		}
		s.open = append(s.open, m)
		switch s.next() {
		case ',':
			s.at++
		case end:
			more = false
		default:
			return value{}, s.fail("expected a comma or %q", end)
		}
	}
	s.at++
	kids := append([]member(nil), s.open[first:]...)
	s.open = s.open[:first]
	if begin == '{' {
		return newObject(kids), nil
	}
	return value{kind: kindList, kids: kids}, nil
}

// name reads a member's name and the colon after it.
func (s *scanner) name() (string, error) {
	if s.next() != '"' {
		return "", s.fail("expected a name")
	}
	name, err := s.string()
	if err != nil {
		return "", err
	}
	if s.next() != ':' {
		return "", s.fail("expected a colon")
	}
	s.at++
	return name, nil
}

// number reads a number by JSON's grammar; it stays text.
func (s *scanner) number() (value, error) {
	begin := s.at
	if s.text[s.at] == '-' {
		s.at++
	}
	whole := s.at
	if !s.digits() || s.text[whole] == '0' && s.at > whole+1 {
		return value{}, s.fail("not a number")
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		if !s.digits() {
			return value{}, s.fail("not a number")
		}
	}
	if s.at < len(s.text) && (s.text[s.at] == 'e' || s.text[s.at] == 'E') {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		if !s.digits() {
			return value{}, s.fail("not a number")
		}
	}
	return value{kind: kindNumber, text: s.text[begin:s.at]}, nil
}

func (s *scanner) digits() bool {
	begin := s.at
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > begin
}

// string reads a string, whose quote is next. What isn't UTF-8 becomes U+FFFD.
func (s *scanner) string() (string, error) {
	s.at++
	begin, escaped, ascii := s.at, false, true
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			said := s.text[begin:s.at]
			s.at++
			if !ascii && !utf8.ValidString(said) {
				said = strings.ToValidUTF8(said, "\ufffd")
			}
			if escaped {
				return unescaped(said)
			}
			return said, nil
		case c < ' ':
			return "", s.fail("a string holds a control character")
		case c == '\\':
			escaped = true
			s.at++
		case c >= utf8.RuneSelf:
			ascii = false
		}
		s.at++
	}
	s.at = len(s.text)
	return "", s.fail("a string doesn't end")
}

var (
	errEscape  = errors.New("a string holds an escape that JSON doesn't know")
	errNumber4 = errors.New("a string holds \\u without four hexadecimal digits")
)

// unescaped resolves the escapes of a string.
func unescaped(said string) (string, error) {
	out := make([]byte, 0, len(said))
	for {
		i := strings.IndexByte(said, '\\')
		if i < 0 {
			return string(append(out, said...)), nil
		}
		out = append(out, said[:i]...)
		if i+1 >= len(said) {
			return "", errEscape
		}
		c := said[i+1]
		said = said[i+2:]
		if c != 'u' {
			at := strings.IndexByte(`"\/bfnrt`, c)
			if at < 0 {
				return "", errEscape
			}
			out = append(out, "\"\\/\b\f\n\r\t"[at])
			continue
		}
		r, ok := hex4(said)
		if !ok {
			return "", errNumber4
		}
		said = said[4:]
		if utf16.IsSurrogate(r) {
			r, said = surrogates(r, said)
		}
		out = utf8.AppendRune(out, r)
	}
}

// surrogates joins the first half of a pair to the second one, if that follows. One alone is U+FFFD.
func surrogates(first rune, rest string) (rune, string) {
	if strings.HasPrefix(rest, `\u`) {
		if second, ok := hex4(rest[2:]); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r, rest[6:]
			}
		}
	}
	return utf8.RuneError, rest
}

func hex4(said string) (rune, bool) {
	if len(said) < 4 || strings.Trim(said[:4], "0123456789abcdefABCDEF") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(said[:4], 16, 16)
	return rune(n), err == nil
}
