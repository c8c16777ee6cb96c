package ledger

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"golang.org/x/mod/sumdb/tlog"
)

// VerifyOptions say what an export is verified against.
type VerifyOptions struct {
	// Verifier is the public key that must have signed; "" takes the export's own, which shows that the
	// export is whole but not who made it.
	Verifier string
	// Saved is an older checkpoint of the same ledger that was kept elsewhere; nil is none. It is what
	// shows a cut tail and a history rewritten by somebody who holds the key.
	Saved []byte
}

// maxLine bounds a line of an export: an entry, its hash and the names around them.
const maxLine = maxEntry + 1024

// Verify checks an export offline, in one pass and in bounded memory. An error of type *TamperedError says that
// the ledger isn't what was signed, any other that it couldn't be read. The report comes with both.
func Verify(r io.Reader, o VerifyOptions) (Report, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	first, err := readLine(lines)
	if err != nil && !errors.Is(err, io.EOF) {
		return Report{}, fmt.Errorf("read ledger export: %w", err)
	}
	a := &audit{}
	h, err := parseHeader(first)
	if err != nil {
		a.problem(-1, "the header is malformed: %v", err)
		return a.result()
	}
	a.trust(h, o)
	checkpoint, err := a.lines(lines)
	if err != nil {
		return a.report, err
	}
	if checkpoint == nil {
		a.problem(-1, "the export ends without a valid checkpoint")
		a.end(Head{Size: h.Size, Root: a.edge.root()})
		return a.result()
	}
	if checkpoint.Size != h.Size || checkpoint.Origin != h.Origin {
		a.problem(-1, "the header says %d entries of %s, the checkpoint %d of %s", h.Size, h.Origin, checkpoint.Size, checkpoint.Origin)
	}
	a.end(checkpoint.Head)
	return a.result()
}

// trust settles which key counts, and opens the saved checkpoint with it.
func (a *audit) trust(h header, o VerifyOptions) {
	a.report.Origin, a.report.Verifier = h.Origin, h.Verifier
	if o.Verifier != "" {
		a.report.Verifier, a.report.Trusted = o.Verifier, true
		if o.Verifier != h.Verifier {
			a.problem(-1, "the export names another key than the one given: %s", h.Verifier)
		}
	}
	if o.Saved == nil {
		return
	}
	saved, err := OpenCheckpoint(o.Saved, a.report.Verifier)
	if err != nil {
		a.problem(-1, "the saved checkpoint: %v", err)
		return
	}
	a.saved, a.report.Saved = &saved, saved.Size
	if saved.Origin != h.Origin {
		a.problem(-1, "the saved checkpoint is of %s, the export of %s", saved.Origin, h.Origin)
	}
}

// lines goes through the entries up to the checkpoint and what must not come after it.
func (a *audit) lines(lines *bufio.Reader) (*Checkpoint, error) {
	var checkpoint *Checkpoint
	for closed := false; ; {
		line, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read ledger export: %w", err)
		}
		if len(line) == 0 {
			return checkpoint, nil
		}
		switch {
		case closed:
			a.problem(-1, "there is something after the checkpoint")
			return checkpoint, nil
		case bytes.HasPrefix(line, []byte(`{"checkpoint":`)):
			closed = true
			checkpoint = a.checkpoint(line)
		default:
			a.line(line)
		}
	}
}

func (a *audit) checkpoint(line []byte) *Checkpoint {
	var trailer struct {
		Checkpoint string `json:"checkpoint"`
	}
	if err := json.Unmarshal(line, &trailer); err != nil || !bytes.Equal(appendTrailer(nil, trailer.Checkpoint), line) {
		a.problem(-1, "the checkpoint's line is malformed")
		return nil
	}
	opened, err := OpenCheckpoint([]byte(trailer.Checkpoint), a.report.Verifier)
	if err != nil {
		a.problem(-1, "%v", err)
		return nil
	}
	return &opened
}

func (a *audit) line(line []byte) {
	data, listed, err := parseLine(line)
	var entry Entry
	if err == nil {
		entry, err = ParseEntry(data)
	}
	if err != nil {
		a.problem(a.next, "the line of entry %d is malformed: %v", a.next, err)
		a.next++ // it stands in that entry's place
		return
	}
	a.entry(entry.Seq, data, listed)
}

func parseHeader(line []byte) (header, error) {
	var h header
	if err := json.Unmarshal(line, &h); err != nil {
		return h, err
	}
	if h.Version != exportVersion {
		return h, fmt.Errorf("its version is %d, not %d", h.Version, exportVersion)
	}
	if !bytes.Equal(appendHeader(nil, h), line) {
		return h, errors.New("it is not written exactly")
	}
	return h, nil
}

// parseLine takes a line apart. It has one form, so there is nothing to parse but the entry within.
func parseLine(line []byte) (data []byte, listed tlog.Hash, err error) {
	const opens, between, closes = `{"entry":`, `,"hash":"`, "\"}\n"
	hashAt := len(line) - len(closes) - base64.StdEncoding.EncodedLen(tlog.HashSize)
	dataEnd := hashAt - len(between)
	if dataEnd < len(opens) || !bytes.HasPrefix(line, []byte(opens)) ||
		!bytes.HasPrefix(line[dataEnd:], []byte(between)) || !bytes.HasSuffix(line, []byte(closes)) {
		return nil, listed, errors.New("it is not an entry with its hash")
	}
	listed, err = parseHash(string(line[hashAt : len(line)-len(closes)]))
	return line[len(opens):dataEnd], listed, err
}

// readLine gives the next line with its end, and io.EOF with the last if that has no end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return nil, fmt.Errorf("a line has more than %d bytes", maxLine)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// VerifyStored checks a ledger in its place: that each entry has the hash stored with it, that the stored
// hashes of the tree follow from the entries, and that the signed head is theirs.
func VerifyStored(signed []byte, verifier string, entries iter.Seq2[Stored, error]) (Report, error) {
	a := &audit{report: Report{Verifier: verifier, Trusted: true}}
	for stored, err := range entries {
		if err != nil {
			return a.report, fmt.Errorf("read ledger: %w", err)
		}
		a.stored(stored)
	}
	checkpoint, err := OpenCheckpoint(signed, verifier)
	if err != nil {
		a.problem(-1, "the stored %v", err)
		a.end(Head{Size: a.next, Root: a.edge.root()})
		return a.result()
	}
	a.report.Origin = checkpoint.Origin
	a.end(checkpoint.Head)
	return a.result()
}

func (a *audit) stored(s Stored) {
	if s.Wrong != "" {
		a.problem(s.Seq, "entry %d: %s", s.Seq, s.Wrong)
	}
	intact := s.Seq == a.next && len(a.gaps) == 0
	if parsed, err := ParseEntry(s.Data); err != nil {
		a.problem(s.Seq, "entry %d can't be read: %v", s.Seq, err)
	} else if parsed.Seq != s.Seq {
		a.problem(s.Seq, "entry %d stands in the place of entry %d", parsed.Seq, s.Seq)
	}
	completed := a.entry(s.Seq, s.Data, s.leaf())
	if !intact { // hashes above a gap can't be compared
		return
	}
	for level, hash := range completed {
		if level >= len(s.Hashes) || s.Hashes[level] != hash {
			a.problem(s.Seq, "the stored hash over %d entries up to entry %d does not follow from them", 1<<level, s.Seq)
			return
		}
	}
}
