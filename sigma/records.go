package sigma

import (
	"errors"
	"fmt"
	"iter"
)

var errNoRecords = errors.New("read records: neither a list nor an object with a list named Records")

// Records gives the records of a log file as CloudTrail writes it to S3, {"Records":[...]}, or of a list of them. A
// record is a part of the text; that it is an event is checked by whoever reads it, such as a [Scanner]. What is
// around the records is. Where the file can't be gone on with, the last that is given is an error.
func Records(text []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := recordReader{text: text, yield: yield}
		if err := r.file(); err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// errStopped is that nobody wants more records.
var errStopped = errors.New("stopped")

// recordReader cuts records out of a file.
type recordReader struct {
	text  []byte
	at    int
	yield func([]byte, error) bool
}

func (r *recordReader) file() error {
	var err error
	switch r.next() {
	case '[':
		err = r.list()
	case '{':
		err = r.object()
	default:
		err = errNoRecords
	}
	if err == nil && r.next() != 0 {
		err = r.broken()
	}
	return err
}

func (r *recordReader) broken() error {
	return fmt.Errorf("read records: offset %d: not the JSON that should be here", r.at)
}

// next returns the next byte after white space, 0 at the end.
func (r *recordReader) next() byte {
	for ; r.at < len(r.text); r.at++ {
		if c := r.text[r.at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// object reads what is around the records.
func (r *recordReader) object() error {
	found := false
	for more := true; more; more = r.next() == ',' {
		r.at++
		if r.next() != '"' {
			return r.broken()
		}
		name, ok := r.value()
		if !ok || r.next() != ':' {
			return r.broken()
		}
		r.at++
		if string(name) == `"Records"` && r.next() == '[' {
			found = true
			if err := r.list(); err != nil {
				return err
			}
		} else if _, ok := r.value(); !ok {
			return r.broken()
		}
	}
	if r.next() != '}' {
		return r.broken()
	}
	r.at++
	if !found {
		return errNoRecords
	}
	return nil
}

// list gives the members of a list.
func (r *recordReader) list() error {
	r.at++
	if r.next() == ']' {
		r.at++
		return nil
	}
	for {
		r.next()
		record, ok := r.value()
		if !ok {
			return r.broken()
		}
		if !r.yield(record, nil) {
			return errStopped
		}
		switch r.next() {
		case ',':
			r.at++
		case ']':
			r.at++
			return nil
		default:
			return r.broken()
		}
	}
}

// value finds the end of a value by its braces, brackets and quotes alone.
func (r *recordReader) value() ([]byte, bool) {
	text, at, depth := r.text, r.at, 0
	for at < len(text) {
		switch text[at] {
		case '"':
			end, _ := closing(text, at+1)
			if end < 0 {
				return nil, false
			}
			at = end
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return nil, false
			}
		default:
			if depth == 0 { // a number or a word
				for at++; at < len(text) && text[at] > ' ' && text[at] != ',' && text[at] != ']' && text[at] != '}'; at++ {
				}
				at--
			}
		}
		at++
		if depth <= 0 {
			value := text[r.at:at:at]
			r.at = at
			return value, depth == 0
		}
	}
	return nil, false
}
