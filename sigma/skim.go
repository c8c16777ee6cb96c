package sigma

import (
	"encoding/binary"
	"math/bits"
)

// What a string or a number holds that its bytes don't say plainly.
const (
	escaped uint8 = 1 << iota // a backslash
	foreign                   // a byte beyond ASCII, which may not even be UTF-8
	odd                       // a number that isn't a plain integer
)

const (
	eachByte = 0x0101010101010101
	topBits  = 0x8080808080808080
)

// skimmer checks JSON without keeping any of it, by the grammar and the bounds of [ParseEvent]. Its methods
// take the offset to go on from and return the one after what they read, negative where ParseEvent must say
// what is wrong.
type skimmer struct {
	text    []byte
	values  int
	words   bool               // whether strings with escapes or foreign bytes are noted
	unplain []extent           // these strings
	objects [maxDepth + 1]bool // whether an open level is an object
}

// extent is a stretch of the text.
type extent struct{ begin, end int }

// space skips white space.
func (s *skimmer) space(at int) int {
	for at < len(s.text) && (s.text[at] == ' ' || s.text[at] == '\n' || s.text[at] == '\t' || s.text[at] == '\r') {
		at++
	}
	return at
}

// is reports whether a byte stands at an offset.
func (s *skimmer) is(at int, c byte) bool {
	return at < len(s.text) && s.text[at] == c
}

// skip reads one value, within as many levels as depth says.
func (s *skimmer) skip(at, depth int) int {
	text, floor := s.text, depth
value:
	if s.values++; s.values > maxValues {
		return -1
	}
	for at < len(text) && text[at] <= ' ' {
		if at = s.space(at); at < len(text) && text[at] < ' ' {
			return -1
		}
	}
	if at >= len(text) {
		return -1
	}
	switch text[at] {
	case '"':
		if at = s.string(at + 1); at < 0 {
			return -1
		}
	case '{':
		if depth++; depth > maxDepth {
			return -1
		}
		s.objects[depth] = true
		if at = s.space(at + 1); !s.is(at, '}') {
			goto name
		}
		at++
		depth--
	case '[':
		if depth++; depth > maxDepth {
			return -1
		}
		s.objects[depth] = false
		if at = s.space(at + 1); !s.is(at, ']') {
			goto value
		}
		at++
		depth--
	default:
		if at, _ = s.atom(at); at < 0 {
			return -1
		}
	}
after:
	if depth == floor {
		return at
	}
	if at < len(text) && text[at] <= ' ' {
		at = s.space(at)
	}
	if at >= len(text) {
		return -1
	}
	switch c := text[at]; {
	case c == ',':
		at++
		if !s.objects[depth] {
			goto value
		}
	case c == '}' && s.objects[depth], c == ']' && !s.objects[depth]:
		at++
		depth--
		goto after
	default:
		return -1
	}
name:
	if at < len(text) && text[at] <= ' ' {
		at = s.space(at)
	}
	if at >= len(text) || text[at] != '"' {
		return -1
	}
	if at = s.string(at + 1); at < 0 {
		return -1
	}
	if at = s.colon(at); at < 0 {
		return -1
	}
	goto value
}

// colon steps over the colon after a name.
func (s *skimmer) colon(at int) int {
	if s.is(at, ':') {
		return at + 1
	}
	if at = s.space(at); s.is(at, ':') {
		return at + 1
	}
	return -1
}

// string reads a string from the byte after its quote on.
func (s *skimmer) string(at int) int {
	end, flags := closing(s.text, at)
	if end < 0 {
		return -1
	}
	if flags != 0 && s.words {
		s.unplain = append(s.unplain, extent{at, end})
	}
	return end + 1
}

// atom reads true, false, null or a number.
func (s *skimmer) atom(at int) (int, uint8) {
	text := s.text[at:]
	switch {
	case len(text) >= 4 && (string(text[:4]) == "true" || string(text[:4]) == "null"):
		return at + 4, 0
	case len(text) >= 5 && string(text[:5]) == "false":
		return at + 5, 0
	}
	return s.number(at)
}

// number reads a number and tells whether it is other than a plain integer.
func (s *skimmer) number(at int) (int, uint8) {
	var flags uint8
	begin := at
	if s.is(at, '-') {
		at++
	}
	whole := at
	if at = s.digits(at); at == whole || s.text[whole] == '0' && at > whole+1 {
		return -1, 0
	}
	if s.text[whole] == '0' && whole > begin {
		flags = odd
	}
	if s.is(at, '.') {
		fraction := at + 1
		if at = s.digits(fraction); at == fraction {
			return -1, 0
		}
		flags = odd
	}
	if s.is(at, 'e') || s.is(at, 'E') {
		at++
		if s.is(at, '+') || s.is(at, '-') {
			at++
		}
		exponent := at
		if at = s.digits(at); at == exponent {
			return -1, 0
		}
		flags = odd
	}
	return at, flags
}

func (s *skimmer) digits(at int) int {
	for at < len(s.text) && '0' <= s.text[at] && s.text[at] <= '9' {
		at++
	}
	return at
}

// closing returns where the quote stands that ends the string whose first byte is at an offset, and what the
// string holds. It is negative for what is no string. Eight bytes are looked at together: of a word minus a
// byte, the top bits tell which bytes were below it, up to the first.
func closing(text []byte, at int) (int, uint8) {
	var flags uint8
	high := uint64(topBits)
	for {
		for at+8 <= len(text) {
			w := binary.LittleEndian.Uint64(text[at:])
			quote, backslash := w^'"'*eachByte, w^'\\'*eachByte
			special := (((quote-eachByte)|(backslash-eachByte)|(w-' '*eachByte))&^w | w&high) & topBits
			if special != 0 {
				at += bits.TrailingZeros64(special) >> 3
				break
			}
			at += 8
		}
		if at >= len(text) {
			return -1, 0
		}
		switch c := text[at]; {
		case c == '"':
			return at, flags
		case c == '\\':
			flags |= escaped
			if at = escape(text, at+1); at < 0 {
				return -1, 0
			}
		case c < ' ':
			return -1, 0
		default:
			if c >= 0x80 {
				flags |= foreign
				high = 0
			}
			at++
		}
	}
}

// escape reads what follows a backslash.
func escape(text []byte, at int) int {
	if at >= len(text) {
		return -1
	}
	switch text[at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return at + 1
	case 'u':
		if at+5 > len(text) {
			return -1
		}
		for _, c := range text[at+1 : at+5] {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return -1
			}
		}
		return at + 5
	}
	return -1
}
