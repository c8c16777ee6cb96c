package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/riposte-sec/riposte/internal/ledger"
)

func TestVerifyWhole(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2, 3, 8, 33} {
		m := filled(t, size)
		for name, saved := range map[string][]byte{"no checkpoint": nil, "the same checkpoint": m.checkpoint(t)} {
			o := ledger.VerifyOptions{Verifier: m.key.Verifier(), Saved: saved}
			report, err := ledger.Verify(bytes.NewReader(m.export(t)), o)
			if err != nil || report.Size != int64(size) || !report.Trusted || report.Root != m.head.Root.String() {
				t.Errorf("%d entries, %s: got %+v, %v", size, name, report, err)
			}
		}
	}
	m := filled(t, 3)
	if report, err := ledger.Verify(bytes.NewReader(m.export(t)), ledger.VerifyOptions{}); err != nil || report.Trusted {
		t.Errorf("with the export's own key: got %+v, %v; want it whole, and not trusted", report, err)
	}
}

// TestVerifyNamesWhatIsWrong plays what somebody might do to an export.
func TestVerifyNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	m := filled(t, 10)
	old := m.checkpoint(t)
	m.append(t, sample(10), sample(11), sample(12))
	whole := bytes.SplitAfter(m.export(t), []byte("\n")) // line n+1 is entry n
	whole = whole[:len(whole)-1]
	other := filled(t, 13)

	for name, test := range map[string]struct {
		tamper func(lines [][]byte) [][]byte
		saved  []byte
		seq    int64
		says   string
	}{
		"changed byte": {func(l [][]byte) [][]byte {
			l[5] = bytes.Replace(l[5], []byte("step-4"), []byte("step-5"), 1)
			return l
		}, nil, 4, "entry 4 was changed"},
		"changed entry with its hash": {func(l [][]byte) [][]byte {
			data := bytes.Replace(m.leaves[4].Data, []byte("step-4"), []byte("step-5"), 1)
			l[5] = line(data)
			return l
		}, nil, -1, "changed together with their hashes"},
		"changed entry with its hash, after a saved checkpoint": {func(l [][]byte) [][]byte {
			data := bytes.Replace(m.leaves[11].Data, []byte("step-11"), []byte("step-10"), 1)
			l[12] = line(data)
			return l
		}, old, -1, "after entry 9"},
		"changed entry with its hash, before a saved checkpoint": {func(l [][]byte) [][]byte {
			data := bytes.Replace(m.leaves[4].Data, []byte("step-4"), []byte("step-5"), 1)
			l[5] = line(data)
			return l
		}, old, -1, "first 10 entries are not those of the saved checkpoint"},
		"deleted row": {func(l [][]byte) [][]byte {
			return slices.Delete(l, 5, 6)
		}, nil, 4, "entry 4 is missing"},
		"deleted rows": {func(l [][]byte) [][]byte {
			return slices.Delete(l, 5, 8)
		}, nil, 5, "entry 5 is missing"},
		"reordered pair": {func(l [][]byte) [][]byte {
			l[5], l[6] = l[6], l[5]
			return l
		}, nil, 4, "entry 4 is out of order: it stands after entry 5"},
		"inserted row": {func(l [][]byte) [][]byte {
			return slices.Insert(l, 6, l[5])
		}, nil, 4, "an entry was inserted"},
		"cut tail": {func(l [][]byte) [][]byte {
			return slices.Delete(l, 9, 14)
		}, nil, 8, "entries 8 to 12 are missing: the tail was cut"},
		"cut file": {func(l [][]byte) [][]byte {
			return l[:9]
		}, nil, 8, "entries 8 to 12 are missing"},
		"cut in the middle of a line": {func(l [][]byte) [][]byte {
			return append(l[:9], l[9][:20])
		}, nil, 8, "the line of entry 8 is malformed"},
		"a consistent export of an older size": {func([][]byte) [][]byte {
			shorter := filled(t, 8)
			shorter.key = m.key
			return [][]byte{shorter.export(t)}
		}, old, 8, "the saved checkpoint covers 10 entries, here are only 8"},
		"history rewritten by the key's holder": {func([][]byte) [][]byte {
			rewritten := filled(t, 3)
			rewritten.append(t, sample(99))
			for i := 4; i < 13; i++ {
				rewritten.append(t, sample(i))
			}
			rewritten.key = m.key
			return [][]byte{rewritten.export(t)}
		}, old, -1, "history was rewritten"},
		"signed by another": {func([][]byte) [][]byte {
			return [][]byte{other.export(t)}
		}, nil, -1, "names another key"},
		"signature replaced": {func(l [][]byte) [][]byte {
			l[14] = bytes.SplitAfter(other.export(t), []byte("\n"))[14]
			return l
		}, nil, -1, "checkpoint"},
		"malformed line": {func(l [][]byte) [][]byte {
			l[5] = []byte("{not JSON\n")
			return l
		}, nil, 4, "the line of entry 4 is malformed"},
		"something after the end": {func(l [][]byte) [][]byte {
			return append(l, l[5])
		}, nil, -1, "after the checkpoint"},
		"nothing at all": {func([][]byte) [][]byte { return nil }, nil, -1, "the header is malformed"},
		"not a saved checkpoint": {func(l [][]byte) [][]byte {
			return l
		}, []byte("never signed"), -1, "the saved checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			export := bytes.Join(test.tamper(slices.Clone(whole)), nil)
			report, err := ledger.Verify(bytes.NewReader(export), ledger.VerifyOptions{Verifier: m.key.Verifier(), Saved: test.saved})
			if _, found := errors.AsType[*ledger.TamperedError](err); !found {
				t.Fatalf("got error %v, want that it was tampered with", err)
			}
			named := func(p ledger.Problem) bool { return p.Seq == test.seq && strings.Contains(p.What, test.says) }
			if !slices.ContainsFunc(report.Problems, named) {
				t.Errorf("got problems %+v, want one of entry %d that says %q", report.Problems, test.seq, test.says)
			}
		})
	}
}

// line writes an entry with the hash that it has.
func line(data []byte) []byte {
	return fmt.Appendf(nil, "{\"entry\":%s,\"hash\":\"%s\"}\n", data, tlog.RecordHash(data))
}

func TestVerifyFindsEveryChangedByte(t *testing.T) {
	t.Parallel()
	m := filled(t, 4)
	export := m.export(t)
	for at := range export {
		for _, bit := range []byte{1, 4, 32, 128} {
			changed := bytes.Clone(export)
			changed[at] ^= bit
			if _, err := ledger.Verify(bytes.NewReader(changed), ledger.VerifyOptions{Verifier: m.key.Verifier()}); err == nil {
				t.Fatalf("byte %d changed from %q to %q: not found", at, export[at], changed[at])
			}
		}
	}
	for at := range export {
		if _, err := ledger.Verify(bytes.NewReader(export[:at]), ledger.VerifyOptions{Verifier: m.key.Verifier()}); err == nil {
			t.Fatalf("cut at byte %d: not found", at)
		}
	}
}

func TestVerifyBoundsWhatItKeeps(t *testing.T) {
	t.Parallel()
	m := filled(t, 300)
	lines := bytes.SplitAfter(m.export(t), []byte("\n"))
	for i := 1; i <= 300; i++ {
		lines[i] = bytes.Replace(lines[i], []byte("step"), []byte("stop"), 1)
	}
	report, err := ledger.Verify(bytes.NewReader(bytes.Join(lines, nil)), ledger.VerifyOptions{Verifier: m.key.Verifier()})
	if err == nil || len(report.Problems)+report.More < 300 || len(report.Problems) > 100 {
		t.Errorf("got %d problems and %d more, %v", len(report.Problems), report.More, err)
	}
	long := append(bytes.Clone(lines[0]), bytes.Repeat([]byte("x"), 17<<20)...)
	if _, err := ledger.Verify(bytes.NewReader(long), ledger.VerifyOptions{}); err == nil {
		t.Error("a line of 17 MB was accepted")
	}
	far := [][]byte{lines[0]}
	for _, seq := range []int64{1 << 50, 1<<50 + 3, 1<<62 + 1, 0} {
		far = append(far, line(fmt.Appendf(nil, `{"actor":"","kind":"k","seq":%d,"time":"2026-03-04T12:00:00Z"}`, seq)))
	}
	if _, err := ledger.Verify(bytes.NewReader(bytes.Join(far, nil)), ledger.VerifyOptions{}); err == nil {
		t.Error("gaps of nearly all numbers were accepted")
	}
}

func TestVerifyStoredNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tamper func(m *memory)
		seq    int64
		says   string
	}{
		"nothing":            {func(*memory) {}, 0, ""},
		"changed data":       {func(m *memory) { m.leaves[6].Data = bytes.Replace(m.leaves[6].Data, []byte("n"), []byte("m"), 1) }, 6, "entry 6"},
		"changed leaf hash":  {func(m *memory) { m.hashes[tlog.StoredHashIndex(0, 6)][0] ^= 1 }, 6, "entry 6 was changed"},
		"changed hash above": {func(m *memory) { m.hashes[tlog.StoredHashIndex(1, 1)][0] ^= 1 }, 3, "stored hash over 2 entries"},
		"cut":                {func(m *memory) { m.leaves = m.leaves[:7] }, 7, "the tail was cut"},
		"added": {func(m *memory) {
			signed := m.head
			m.append(t, sample(10))
			m.head = signed
		}, 10, "beyond what the checkpoint covers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := filled(t, 10)
			test.tamper(m)
			report, err := ledger.VerifyStored(m.checkpoint(t), m.key.Verifier(), m.stored())
			if test.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || len(report.Problems) == 0 || report.Problems[0].Seq != test.seq || !strings.Contains(report.Problems[0].What, test.says) {
				t.Errorf("got %v, want first a problem of entry %d that says %q", err, test.seq, test.says)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	m := filled(f, 3)
	export := m.export(f)
	f.Add(export)
	f.Add(export[:len(export)/2])
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := ledger.Verify(bytes.NewReader(data), ledger.VerifyOptions{Verifier: m.key.Verifier()})
		if err == nil && !bytes.Equal(data, export) {
			t.Errorf("accepted what was never signed: %+v", report)
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"actor":"","body":{"a":1},"kind":"k","seq":0,"time":"2026-03-04T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entry, err := ledger.ParseEntry(data)
		if err != nil {
			return
		}
		again, err := entry.Canonical()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s reads as %s, %v", data, again, err)
		}
	})
}
