package sigma

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// mostVariants is how many values one value of a rule may stand for.
const mostVariants = 10_000

// encoded applies the encodings of a rule to a literal, in order.
func encoded(list []rune, m modifiers) ([][]rune, error) {
	if slices.Contains(list, anyText) || slices.Contains(list, anyRune) {
		return nil, fmt.Errorf("a value with wildcards can't be encoded by %q", m.encodings[0])
	}
	literals, err := dashed(list, m.windash)
	if err != nil {
		return nil, err
	}
	var all [][]rune
	for _, literal := range literals {
		texts, isText := [][]byte{[]byte(string(literal))}, true
		for _, encoding := range m.encodings {
			var next [][]byte
			for _, text := range texts {
				next = append(next, encode(encoding, text)...)
			}
			texts, isText = next, strings.HasPrefix(encoding, "base64")
		}
		for _, text := range texts {
			all = append(all, asRunes(text, isText))
		}
	}
	return all, nil
}

// encode gives the forms that one encoding gives a text.
func encode(encoding string, text []byte) [][]byte {
	switch encoding {
	case "base64":
		return [][]byte{base64.StdEncoding.AppendEncode(nil, text)}
	case "base64offset":
		return shifted(text)
	case "utf16be":
		return [][]byte{inUTF16(text, binary.BigEndian, nil)}
	case "utf16":
		return [][]byte{inUTF16(text, binary.LittleEndian, []byte{0xff, 0xfe})}
	default: // wide, utf16le
		return [][]byte{inUTF16(text, binary.LittleEndian, nil)}
	}
}

// shifted gives the three base64 forms of a text that begins somewhere within another one, without the
// characters at both ends that depend on what is around it.
func shifted(text []byte) [][]byte {
	forms := make([][]byte, 0, 3)
	for before := range 3 {
		whole := base64.StdEncoding.AppendEncode(nil, append(make([]byte, before), text...))
		begin := []int{0, 2, 3}[before]
		end := len(whole) - []int{0, 3, 2}[(len(text)+before)%3]
		if begin < end {
			forms = append(forms, whole[begin:end])
		}
	}
	return forms
}

func inUTF16(text []byte, order binary.AppendByteOrder, mark []byte) []byte {
	out := mark
	for _, unit := range utf16.Encode([]rune(string(text))) {
		out = order.AppendUint16(out, unit)
	}
	return out
}

// asRunes reads bytes as text, or as one character a byte.
func asRunes(text []byte, isText bool) []rune {
	if isText {
		return []rune(string(text))
	}
	list := make([]rune, len(text))
	for i, b := range text {
		list[i] = rune(b)
	}
	return list
}

// dashed lists the texts that windash makes of one, when they must be written out to be encoded.
func dashed(list []rune, windash bool) ([][]rune, error) {
	all := [][]rune{list}
	if !windash {
		return all, nil
	}
	for i, r := range list {
		if !strings.ContainsRune(dashes, r) {
			continue
		}
		var next [][]rune
		for _, text := range all {
			for _, dash := range dashes {
				variant := slices.Clone(text)
				variant[i] = dash
				next = append(next, variant)
			}
		}
		if all = next; len(all) > mostVariants {
			return nil, errors.New("has too many dashes for windash with an encoding")
		}
	}
	return all, nil
}

// expanded puts the values of placeholders in. Values of several placeholders are combined.
func expanded(text string, placeholders map[string][]string) ([]string, error) {
	all := []string{""}
	for text != "" {
		literal, name, rest := nextPlaceholder(text)
		values := []string{""}
		if name != "" {
			given, known := placeholders[name]
			if !known {
				return nil, fmt.Errorf("placeholder %%%s%% has no value", name)
			}
			values = given
		}
		if len(all)*len(values) > mostVariants {
			return nil, fmt.Errorf("placeholders stand for more than %d values", mostVariants)
		}
		next := make([]string, 0, len(all)*len(values))
		for _, before := range all {
			for _, value := range values {
				next = append(next, before+literal+value)
			}
		}
		all, text = next, rest
	}
	return all, nil
}

// nextPlaceholder cuts a text at its first placeholder. An escaped percent sign begins none.
func nextPlaceholder(text string) (literal, name, rest string) {
	var before strings.Builder
	for i := 0; i < len(text); i++ {
		if strings.HasPrefix(text[i:], `\%`) {
			before.WriteByte('%')
			i++
			continue
		}
		if text[i] == '%' {
			if end := strings.IndexByte(text[i+1:], '%'); end > 0 && placeholderName(text[i+1:i+1+end]) {
				return before.String(), text[i+1 : i+1+end], text[i+2+end:]
			}
		}
		before.WriteByte(text[i])
	}
	return before.String(), "", ""
}

func placeholderName(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}
