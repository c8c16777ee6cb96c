package awslog

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// FormatRecord is the format of dead letters whose bytes Record refused.
const FormatRecord = "aws.record"

// Limits bound what a file may make us hold and do. Zero fields take the defaults.
type Limits struct {
	// Record is the size in bytes of the largest record; 1 MiB if zero. AWS's own are at most 256 KiB.
	Record int
	// Inflated is how many bytes a compressed file may hold; 2 GiB if zero.
	Inflated int64
}

const (
	defaultRecord   = 1 << 20
	defaultInflated = 2 << 30
	// kept is how many bytes of a record that is too large are kept for people to look at.
	kept = 16 << 10
	// mostLetters is how many records of one file become letters of their own.
	mostLetters = 100
)

func (l Limits) orDefault() Limits {
	if l.Record <= 0 {
		l.Record = defaultRecord
	}
	if l.Inflated <= 0 {
		l.Inflated = defaultInflated
	}
	return l
}

// Piece is one record of a file.
type Piece struct {
	Index int // 0-based, in the file
	Raw   []byte
	// Err says why the piece can't be a record: too large, too deep, not JSON. Raw is then its beginning.
	Err error

	within *wrapping // nil where nothing is around it
}

// Events maps the piece.
func (p *Piece) Events() ([]event.Event, error) {
	switch {
	case p.Err != nil:
		return nil, p.Err
	case p.within == nil:
		return Record(p.Raw)
	}
	return p.within.record(p.Raw)
}

// Alone is the piece as it can be read by itself.
func (p *Piece) Alone() []byte {
	if p.within == nil || p.Err != nil {
		return p.Raw
	}
	return p.within.alone(p.Raw)
}

// File finds the records of a file: {"Records":[...]}, a JSON array, one JSON value a line, a single
// value, or several of these one after the other; gzip is recognised and may have several members. What CloudWatch
// Logs hands to subscribers, and lists of audit events, are read member by member, too. It holds one record at a
// time. A record that is broken is a Piece with an error, and the rest goes on.
//
// It returns each's error as it is; what reading r returned, wrapped; and a fault.Invalid where the file
// ends too early or is damaged. The records before are then given already.
func File(r io.Reader, limits Limits, each func(Piece) error) error {
	limits = limits.orDefault()
	source := &watched{r: r}
	s := &splitter{limit: limits.Record, each: each}
	plain, err := inflate(source, limits.Inflated)
	if err == nil {
		s.in = bufio.NewReaderSize(plain, 64<<10)
		err = s.run()
	}
	switch {
	case err == nil:
		return nil
	case s.stopped != nil:
		return s.stopped
	case source.err != nil && errors.Is(err, source.err):
		return fmt.Errorf("read: %w", err)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, io.ErrUnexpectedEOF), corrupt(err):
		return fault.Wrap(fault.Invalid, fmt.Errorf("the file is damaged or cut off: %w", err))
	}
	return err
}

// Read maps each record of a file and gives what came of it: events, or the letter of a record that can't
// be read. Both are there where a record holds several of which some can't be read. The name says where,
// for people. Of a file that is no log at all there are not endless letters: those after the first
// hundred become one, at the end. Errors are those of File.
func Read(name string, r io.Reader, limits Limits, each func([]event.Event, []event.Letter) error) error {
	letters := 0
	var rest event.Letter
	err := File(r, limits, func(p Piece) error {
		origin := name + "#" + strconv.Itoa(p.Index)
		events, err := p.Events()
		for i := range events {
			events[i].Origin = origin
		}
		if err == nil {
			return each(events, nil)
		}
		letter := event.Letter{Format: FormatRecord, Origin: origin, Reason: err.Error(), Raw: p.Alone()}
		if letters++; letters > mostLetters {
			rest = letter
			return each(events, nil)
		}
		return each(events, []event.Letter{letter})
	})
	if letters > mostLetters && (err == nil || fault.Is(err, fault.Invalid)) {
		rest.Reason = fmt.Sprintf("the last of %d more records of the file that can't be read: %s", letters-mostLetters, rest.Reason)
		err = errors.Join(err, each(nil, []event.Letter{rest}))
	}
	return err
}

// watched remembers how reading ended, to tell a damaged file from a connection that broke.
type watched struct {
	r   io.Reader
	err error
}

// Read reads from the reader below.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

func corrupt(err error) bool {
	_, is := errors.AsType[flate.CorruptInputError](err)
	return is
}

// inflate gives the plain bytes of r, which may be compressed.
func inflate(r io.Reader, most int64) (io.Reader, error) {
	in := bufio.NewReader(r)
	magic, err := in.Peek(2)
	if errors.Is(err, io.EOF) || err == nil && !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return in, nil
	}
	if err != nil {
		return nil, err
	}
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	return &bounded{r: unzipped, left: most, most: most}, nil
}

// bounded refuses to read more than a number of bytes, so that a small file can't keep us busy for days.
type bounded struct {
	r          io.Reader
	left, most int64
}

// Read reads from the reader below.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fault.New(fault.Invalid, "the file inflates to more than %d bytes", b.most)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// errNotJSON is the error of a record that cannot be told from what follows it.
var errNotJSON = fault.New(fault.Invalid, "not a JSON object")

// splitter cuts a stream into records.
type splitter struct {
	in      *bufio.Reader
	limit   int
	index   int
	each    func(Piece) error
	stopped error  // what each returned
	scratch []byte // of the record being read
	size    int    // of the record being read; more than scratch where it is too large
	within  *wrapping
}

func (s *splitter) run() error {
	if mark, err := s.in.Peek(3); err == nil && string(mark) == "\uFEFF" {
		s.drop(3)
	}
	for {
		c, err := s.next(false)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case c == '[':
			s.drop(1)
			err = s.list()
		case c == '{':
			err = s.value(true)
		default:
			s.scratch, s.size = s.scratch[:0], 0
			err = s.badLine()
		}
		if err != nil {
			return err
		}
	}
}

// list reads the members of a list up to its end.
func (s *splitter) list() error {
	for {
		c, err := s.next(true)
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case c == ']':
			s.drop(1)
			return nil
		}
		if err := s.value(false); err != nil {
			return err
		}
	}
}

// next skips white space, and commas if asked to, and gives the byte after it without taking it.
func (s *splitter) next(commas bool) (byte, error) {
	for {
		c, err := s.in.ReadByte()
		if err != nil {
			return 0, err
		}
		switch {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == ',' && commas:
		default:
			return c, s.in.UnreadByte()
		}
	}
}

// value reads one value and hands it on. Where it is an object with a list of records, its members are the
// records and it isn't one itself. At the top of a file a broken value ends with its line.
func (s *splitter) value(top bool) error {
	w := walker{top: top}
	s.scratch, s.size = s.scratch[:0], 0
	var wrapper *wrapping
	for {
		chunk, err := s.chunk()
		if err != nil {
			return early(err)
		}
		n, result := 0, more
		for n < len(chunk) && result == more {
			result = w.step(chunk[n])
			n++
		}
		if result == over || result == broken {
			n-- // the byte isn't part of the value
		}
		s.keep(chunk[:n])
		s.drop(n)
		switch {
		case result == enter:
			if wrapper, err = s.enter(&w, wrapper); err != nil {
				return err
			}
		case result == broken && w.fresh:
			return s.emit(errNotJSON)
		case result == broken, result == over && s.size == 0:
			return s.badLine()
		case result == done || result == over:
			if wrapper != nil {
				return nil
			}
			return s.emit(s.verdict(&w))
		}
	}
}

// enter reads the list that begins, if it is one of records. What is around it is asked for once in each value.
func (s *splitter) enter(w *walker, wrapper *wrapping) (*wrapping, error) {
	if wrapper == nil {
		around, may := enters(string(w.name), s.scratch)
		if !may {
			w.closed = true
			w.descend('[')
			return nil, nil
		}
		wrapper = around
	}
	s.within = wrapper
	err := s.list()
	s.within = nil
	w.name = w.name[:0]
	return wrapper, err
}

// verdict says why the value just read is no record, if it isn't.
func (s *splitter) verdict(w *walker) error {
	switch {
	case s.size > s.limit:
		return fault.New(fault.Invalid, "the record has %d bytes; at most %d are read", s.size, s.limit)
	case w.deep:
		return fault.New(fault.Invalid, "the record is nested more than %d levels deep", Deepest)
	}
	return nil
}

// keep remembers bytes of the record being read, as long as it isn't too large.
func (s *splitter) keep(b []byte) {
	s.size += len(b)
	s.scratch = append(s.scratch, b[:min(len(b), s.limit-len(s.scratch))]...)
}

// emit hands on the record just read.
func (s *splitter) emit(err error) error {
	raw := s.scratch
	if err != nil {
		raw = raw[:min(len(raw), kept)]
	}
	index := s.index
	s.index++
	s.stopped = s.each(Piece{Index: index, Raw: bytes.Clone(raw), Err: err, within: s.within})
	return s.stopped
}

// badLine gives up on a value and goes on after the end of the line.
func (s *splitter) badLine() error {
	for {
		chunk, err := s.chunk()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		end := bytes.IndexByte(chunk, '\n')
		if end < 0 {
			s.keep(chunk)
			s.drop(len(chunk))
			continue
		}
		s.keep(chunk[:end])
		s.drop(end + 1)
		break
	}
	return s.emit(errNotJSON)
}

// chunk gives bytes that wait to be read, at least one.
func (s *splitter) chunk() ([]byte, error) {
	if s.in.Buffered() == 0 {
		if _, err := s.in.Peek(1); err != nil {
			return nil, err
		}
	}
	return s.in.Peek(s.in.Buffered())
}

// drop takes bytes that chunk or next gave.
func (s *splitter) drop(n int) {
	if _, err := s.in.Discard(n); err != nil {
		panic(fmt.Sprintf("discard %d of %d buffered bytes: %v", n, s.in.Buffered(), err))
	}
}

// early is the error of a file that ends within a value.
func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
