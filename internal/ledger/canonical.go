package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/record"
)

const (
	// maxEntry bounds the canonical form of an entry in bytes, so that a verifier needs bounded memory.
	maxEntry = 16 << 20
	// maxSeq bounds what a forged export can make a verifier count.
	maxSeq = 1 << 60
)

// Entry is a record with its place in the ledger.
type Entry struct {
	Seq int64 `json:"seq"` // 0-based, without gaps
	record.Record
}

// Canonical is the one way to write an entry as bytes: the leaf data of the tree. It is RFC 8785 (keys
// sorted, no insignificant space, the shortest escapes) but for numbers, which keep the digits they were
// written with. Empty fields are left out; the time is RFC 3339 in UTC with as many fractional digits as
// it needs. An entry that can't be written so is Invalid.
func (e Entry) Canonical() ([]byte, error) {
	utc := e.Time.UTC()
	if utc.Year() < 0 || utc.Year() > 9999 {
		return nil, fault.New(fault.Invalid, "ledger entry %d: the year %d can't be written", e.Seq, utc.Year())
	}
	dst := make([]byte, 0, 256+len(e.Body))
	dst = append(dst, `{"actor":`...)
	dst = appendString(dst, e.Actor)
	if len(e.Body) > 0 {
		body, err := decode(e.Body)
		if err != nil {
			return nil, fault.New(fault.Invalid, "ledger entry %d: body: %w", e.Seq, err)
		}
		dst = append(dst, `,"body":`...)
		dst = appendValue(dst, body)
	}
	dst = appendField(dst, "incident", e.Incident)
	dst = append(dst, `,"kind":`...)
	dst = appendString(dst, string(e.Kind))
	dst = appendField(dst, "run", e.Run)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, e.Seq, 10)
	dst = appendField(dst, "step", e.Step)
	dst = append(dst, `,"time":"`...)
	dst = utc.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `"}`...)
	if len(dst) > maxEntry {
		return nil, fault.New(fault.Invalid, "ledger entry %d has %d bytes; at most %d are allowed", e.Seq, len(dst), maxEntry)
	}
	return dst, nil
}

// ParseEntry reads an entry's canonical form and refuses any other writing of it.
func ParseEntry(data []byte) (Entry, error) {
	var e Entry
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return Entry{}, fmt.Errorf("not a ledger entry: %w", err)
	}
	if e.Seq < 0 || e.Seq > maxSeq {
		return Entry{}, fmt.Errorf("ledger entry has the impossible number %d", e.Seq)
	}
	again, err := e.Canonical()
	if err != nil {
		return Entry{}, err
	}
	if !bytes.Equal(again, data) {
		return Entry{}, fmt.Errorf("ledger entry %d is not written in canonical form", e.Seq)
	}
	return e, nil
}

func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func appendField(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return appendString(dst, value)
}

func appendValue(dst []byte, v any) []byte {
	switch value := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, value)
	case json.Number:
		return append(dst, value...)
	case string:
		return appendString(dst, value)
	case []any:
		dst = append(dst, '[')
		for i, item := range value {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, item)
		}
		return append(dst, ']')
	case map[string]any:
		return appendObject(dst, value)
	default:
		panic(fmt.Sprintf("canonical JSON of %T", v)) // decode makes no other types
	}
}

func appendObject(dst []byte, object map[string]any) []byte {
	dst = append(dst, '{')
	for i, key := range slices.SortedFunc(maps.Keys(object), compareUTF16) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, key)
		dst = append(dst, ':')
		dst = appendValue(dst, object[key])
	}
	return append(dst, '}')
}

// compareUTF16 orders keys by their UTF-16 code units, as RFC 8785 asks.
func compareUTF16(a, b string) int {
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

const hexDigits = "0123456789abcdef"

// appendString escapes only what JSON must escape; bytes that aren't UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		if b := s[i]; b < utf8.RuneSelf {
			dst = appendASCII(dst, b)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return append(dst, '"')
}

func appendASCII(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\b':
		return append(dst, `\b`...)
	case '\t':
		return append(dst, `\t`...)
	case '\n':
		return append(dst, `\n`...)
	case '\f':
		return append(dst, `\f`...)
	case '\r':
		return append(dst, `\r`...)
	}
	if b < 0x20 {
		return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&0xf])
	}
	return append(dst, b)
}
