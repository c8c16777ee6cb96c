package sigma

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// alias gives bytes as text without copying. Whoever calls it uses the text no longer than the bytes stay as
// they are; for the engine that is one event.
func alias(bytes []byte) string {
	return unsafe.String(unsafe.SliceData(bytes), len(bytes)) //nolint:gosec // the one place where text is shared
}

// appendDecoded appends what a checked JSON string says, as scanner.string reads it.
func appendDecoded(out, said []byte) []byte {
	for i := 0; i < len(said); {
		switch c := said[i]; {
		case c == '\\':
			out, i = appendEscape(out, said, i+1)
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, size := utf8.DecodeRune(said[i:])
			out = utf8.AppendRune(out, r)
			i += size
			for r == utf8.RuneError && size == 1 && i < len(said) && said[i] >= utf8.RuneSelf {
				// a run of bytes that aren't UTF-8 is one U+FFFD
				if r, size = utf8.DecodeRune(said[i:]); r != utf8.RuneError || size != 1 {
					break
				}
				i++
			}
		}
	}
	return out
}

// appendEscape appends what an escape says, whose backslash stands before an offset, and returns the offset
// after it.
func appendEscape(out, said []byte, at int) ([]byte, int) {
	c := said[at]
	if c != 'u' {
		return append(out, "\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, c)]), at + 1
	}
	r := hexRune(said[at+1:])
	at += 5
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(out, r), at
	}
	if len(said) >= at+6 && said[at] == '\\' && said[at+1] == 'u' {
		if pair := utf16.DecodeRune(r, hexRune(said[at+2:])); pair != utf8.RuneError {
			return utf8.AppendRune(out, pair), at + 6
		}
	}
	return utf8.AppendRune(out, utf8.RuneError), at
}

// hexRune reads four hexadecimal digits that were checked.
func hexRune(digits []byte) rune {
	var r rune
	for _, c := range digits[:4] {
		switch {
		case c >= 'a':
			c -= 'a' - 10
		case c >= 'A':
			c -= 'A' - 10
		default:
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendFolded appends a text as fold writes it.
func appendFolded(out []byte, text string) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			out = append(out, lower[c])
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		out = utf8.AppendRune(out, foldRune(r))
		i += size
	}
	return out
}

// lower has the small letter of each capital one, and every other byte itself.
var lower = lowerTable()

func lowerTable() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			table[i] += 'a' - 'A'
		}
	}
	return table
}

// appendShort appends a checked JSON text as appendCompact writes what it says. The scratch is returned, too.
func appendShort(out, text, scratch []byte) (short, used []byte) {
	for at := 0; at < len(text); {
		switch c := text[at]; c {
		case ' ', '\n', '\t', '\r':
			at++
		case '"':
			end, flags := closing(text, at+1)
			if flags == 0 {
				out = append(out, text[at:end+1]...)
			} else {
				scratch = appendDecoded(scratch[:0], text[at+1:end])
				out = appendQuoted(out, alias(scratch))
			}
			at = end + 1
		default:
			out = append(out, c)
			at++
		}
	}
	return out, scratch
}
