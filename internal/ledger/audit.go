package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Problem is one thing wrong with a ledger.
type Problem struct {
	Seq  int64  `json:"seq"` // the entry, or -1 where it can't be said which
	What string `json:"what"`
}

// Report is what verifying found.
type Report struct {
	Origin string `json:"origin"`
	// Verifier is the public key that the checkpoint was checked with. Trusted tells that the caller gave
	// it: a key taken from the export itself proves that the export is whole, not who made it.
	Verifier string    `json:"verifier"`
	Trusted  bool      `json:"trusted"`
	Size     int64     `json:"size"` // entries that the checkpoint covers
	Root     string    `json:"root"`
	Saved    int64     `json:"saved,omitempty"` // size of the older checkpoint it was compared with
	Problems []Problem `json:"problems,omitempty"`
	More     int       `json:"more,omitempty"` // problems beyond those listed
}

// TamperedError is the error of a ledger that isn't as it was signed. The report has all that was found.
type TamperedError struct{ Report Report }

// Error names the first problems.
func (t *TamperedError) Error() string {
	const most = 3
	var said []string
	for i, p := range t.Report.Problems {
		if i == most {
			said = append(said, fmt.Sprintf("and %d more", len(t.Report.Problems)-most+t.Report.More))
			break
		}
		said = append(said, p.What)
	}
	return "the ledger does not verify: " + strings.Join(said, "; ")
}

const (
	mostProblems = 100
	mostGaps     = 10_000
)

// audit goes through the entries of a ledger in the order in which they are found.
type audit struct {
	report Report
	saved  *Checkpoint
	edge   frontier       // over the listed leaf hashes
	next   int64          // the seq that should come
	gaps   map[int64]bool // seqs that were passed over and may still come
}

func (a *audit) problem(seq int64, format string, args ...any) {
	if len(a.report.Problems) == mostProblems {
		a.report.More++
		return
	}
	a.report.Problems = append(a.report.Problems, Problem{Seq: seq, What: fmt.Sprintf(format, args...)})
}

// entry takes the next entry: its place, its canonical bytes, and the leaf hash listed with it. It gives
// the hashes that the leaf completes.
func (a *audit) entry(seq int64, data []byte, listed tlog.Hash) []tlog.Hash {
	a.place(seq)
	if tlog.RecordHash(data) != listed {
		a.problem(seq, "entry %d was changed: it does not have the hash it was recorded with", seq)
	}
	done := a.edge.add(listed)
	if a.saved != nil && a.edge.size == a.saved.Size {
		a.compareSaved()
	}
	return done
}

// place checks the order and tells gaps, swaps and insertions apart.
func (a *audit) place(seq int64) {
	switch {
	case seq == a.next:
		a.next++
	case seq > a.next:
		a.gap(a.next, seq)
		a.next = seq + 1
	case a.gaps[seq]:
		delete(a.gaps, seq)
		a.problem(seq, "entry %d is out of order: it stands after entry %d", seq, a.next-1)
	default:
		a.problem(seq, "entry %d stands here a second time: an entry was inserted", seq)
	}
}

func (a *audit) gap(from, to int64) {
	if a.gaps == nil {
		a.gaps = map[int64]bool{}
	}
	for seq := from; seq < to; seq++ {
		if len(a.gaps) == mostGaps {
			a.problem(seq, "entries %d to %d are missing", seq, to-1)
			return
		}
		a.gaps[seq] = true
	}
}

func (a *audit) compareSaved() {
	if a.edge.root() != a.saved.Root {
		a.problem(-1, "the first %d entries are not those of the saved checkpoint: history was rewritten", a.saved.Size)
	}
}

// end compares what was found with the head that was signed.
func (a *audit) end(head Head) {
	a.report.Size, a.report.Root = head.Size, head.Root.String()
	for _, seq := range slices.Sorted(maps.Keys(a.gaps)) {
		a.problem(seq, "entry %d is missing", seq)
	}
	if a.next < head.Size {
		a.problem(a.next, "entries %d to %d are missing: the tail was cut", a.next, head.Size-1)
	}
	if a.next > head.Size {
		a.problem(head.Size, "entries %d to %d are beyond what the checkpoint covers", head.Size, a.next-1)
	}
	if a.saved != nil && a.saved.Size > head.Size {
		a.problem(head.Size, "the saved checkpoint covers %d entries, here are only %d: the tail was cut", a.saved.Size, head.Size)
	}
	if len(a.report.Problems) == 0 && a.edge.root() != head.Root {
		a.problem(-1, "the entries do not have the root that was signed: entries were changed together with their hashes%s", a.after())
	}
}

// after says where a change that can't be placed must be.
func (a *audit) after() string {
	if a.saved == nil || a.saved.Size == 0 {
		return ""
	}
	return fmt.Sprintf(", after entry %d, which the saved checkpoint still covers", a.saved.Size-1)
}

func (a *audit) result() (Report, error) {
	if len(a.report.Problems) > 0 {
		return a.report, &TamperedError{a.report}
	}
	return a.report, nil
}
