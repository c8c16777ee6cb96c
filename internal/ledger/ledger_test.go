package ledger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 123456789, time.UTC)

// memory is a ledger kept in memory.
type memory struct {
	key    *ledger.Key
	tree   ledger.Tree
	head   ledger.Head
	leaves []ledger.Leaf
	hashes []tlog.Hash
	reads  int
}

func newMemory(tb testing.TB) *memory {
	tb.Helper()
	text, err := ledger.GenerateKey("riposte.dev/ledger/test")
	if err != nil {
		tb.Fatal(err)
	}
	key, err := ledger.ParseKey(text)
	if err != nil {
		tb.Fatal(err)
	}
	return &memory{key: key, head: ledger.EmptyHead()}
}

// ReadHashes is of ledger.Hashes.
func (m *memory) ReadHashes(_ context.Context, indexes []int64) ([]tlog.Hash, error) {
	m.reads += len(indexes)
	read := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		read = append(read, m.hashes[index])
	}
	return read, nil
}

func (m *memory) append(tb testing.TB, records ...record.Record) {
	tb.Helper()
	m.appendWith(tb, &m.tree, records...)
}

func (m *memory) appendWith(tb testing.TB, tree *ledger.Tree, records ...record.Record) {
	tb.Helper()
	added, err := tree.Append(tb.Context(), m, m.head, records)
	if err != nil {
		tb.Fatal(err)
	}
	if int(added.First) != len(m.hashes) {
		tb.Fatalf("hashes go to index %d, want %d", added.First, len(m.hashes))
	}
	m.leaves = append(m.leaves, added.Leaves...)
	m.hashes = append(m.hashes, added.Hashes...)
	m.head = added.Head
	tree.Committed(added)
}

func (m *memory) checkpoint(tb testing.TB) []byte {
	tb.Helper()
	signed, err := m.key.Sign(m.head)
	if err != nil {
		tb.Fatal(err)
	}
	return signed
}

// stored gives the entries as a storage does.
func (m *memory) stored() iter.Seq2[ledger.Stored, error] {
	return func(yield func(ledger.Stored, error) bool) {
		for i, leaf := range m.leaves {
			first, next := tlog.StoredHashIndex(0, int64(i)), tlog.StoredHashIndex(0, int64(i+1))
			if !yield(ledger.Stored{Seq: int64(i), Data: leaf.Data, Hashes: m.hashes[first:min(int(next), len(m.hashes))]}, nil) {
				return
			}
		}
	}
}

func (m *memory) export(tb testing.TB) []byte {
	tb.Helper()
	var out bytes.Buffer
	if err := ledger.Export(&out, m.key.Verifier(), m.checkpoint(tb), m.stored()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// filled gives a ledger with n records.
func filled(tb testing.TB, n int) *memory {
	tb.Helper()
	m := newMemory(tb)
	for i := range n {
		m.append(tb, sample(i))
	}
	return m
}

func sample(i int) record.Record {
	return record.New(noon.Add(time.Duration(i)*time.Second), record.ActionIntended, record.System, map[string]any{
		"action": "aws.iam.disable_access_key", "n": i,
	}).About("inc", "run", fmt.Sprintf("step-%d", i))
}

func TestTreeIsThatOfTlog(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	for n := range int64(70) {
		want, err := tlog.TreeHash(n, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			return m.ReadHashes(t.Context(), indexes)
		}))
		if err != nil {
			t.Fatal(err)
		}
		if m.head.Root != want || m.head.Size != n {
			t.Fatalf("got head %d %s, want %d %s", m.head.Size, m.head.Root, n, want)
		}
		m.append(t, sample(int(n)))
	}
}

func TestTreeReadsNothingUnlessAnotherWrote(t *testing.T) {
	t.Parallel()
	m := filled(t, 100)
	if m.reads != 0 {
		t.Errorf("a single writer read %d hashes, want none", m.reads)
	}
	var other ledger.Tree
	m.appendWith(t, &other, sample(100))
	if m.reads == 0 || m.reads > 7 {
		t.Errorf("another writer read %d hashes of a tree of 100, want 1 to 7", m.reads)
	}
	m.append(t, sample(101))
	if report, err := ledger.Verify(bytes.NewReader(m.export(t)), ledger.VerifyOptions{Verifier: m.key.Verifier()}); err != nil || report.Size != 102 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestUncommittedAppendLeavesNoTrace(t *testing.T) {
	t.Parallel()
	m := filled(t, 5)
	if _, err := m.tree.Append(t.Context(), m, m.head, []record.Record{sample(98)}); err != nil {
		t.Fatal(err)
	}
	var other ledger.Tree
	m.appendWith(t, &other, sample(99)) // as many as were not committed
	m.append(t, sample(6))
	if _, err := ledger.VerifyStored(m.checkpoint(t), m.key.Verifier(), m.stored()); err != nil {
		t.Error(err)
	}
}

func TestDamagedEdgeIsNotBuiltUpon(t *testing.T) {
	t.Parallel()
	m := filled(t, 4)
	m.hashes[len(m.hashes)-1][0] ^= 1
	var fresh ledger.Tree
	if _, err := fresh.Append(t.Context(), m, m.head, []record.Record{sample(4)}); err == nil {
		t.Error("appended to a tree whose stored hashes don't give its root")
	}
}

func TestProof(t *testing.T) {
	t.Parallel()
	m := filled(t, 11)
	signed := m.checkpoint(t)
	for seq := range int64(11) {
		proof, err := ledger.Prove(t.Context(), m, seq, m.leaves[seq].Data, signed, m.key.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		carried, err := json.Marshal(proof)
		if err != nil {
			t.Fatal(err)
		}
		var arrived ledger.Proof
		if err := json.Unmarshal(carried, &arrived); err != nil {
			t.Fatal(err)
		}
		entry, err := ledger.CheckProof(arrived, m.key.Verifier())
		if err != nil || entry.Seq != seq {
			t.Errorf("proof of %d: got entry %d, %v", seq, entry.Seq, err)
		}
		arrived.Entry = m.leaves[(seq+1)%11].Data
		if _, err := ledger.CheckProof(arrived, m.key.Verifier()); err == nil {
			t.Errorf("the proof of entry %d proves another", seq)
		}
	}
	if _, err := ledger.Prove(t.Context(), m, 11, nil, signed, m.key.Verifier()); err == nil {
		t.Error("proved an entry that isn't there")
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state", "ledger.key")
	keys := make(chan *ledger.Key, 8)
	for range cap(keys) { // processes that start together
		go func() {
			key, err := ledger.LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
			}
			keys <- key
		}()
	}
	first := <-keys
	for range cap(keys) - 1 {
		if key := <-keys; key == nil || first == nil || key.Verifier() != first.Verifier() {
			t.Fatal("two processes made two keys")
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("key file has mode %o, want 600", got)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the key are %v, %v", left, err)
	}
	signed, err := first.Sign(ledger.EmptyHead())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := ledger.OpenCheckpoint(signed, first.Verifier()); err != nil || c.Origin != first.Origin() {
		t.Errorf("got %+v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte("PRIVATE+KEY+x+00000000+AAAA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.LoadOrCreateKey(path); err == nil {
		t.Error("a broken key file was accepted")
	}
}

func BenchmarkAppend(b *testing.B) {
	m := newMemory(b)
	rec := sample(1)
	for b.Loop() {
		m.append(b, rec)
	}
}

func BenchmarkVerify10000(b *testing.B) {
	m := filled(b, 10_000)
	export := m.export(b)
	for b.Loop() {
		if _, err := ledger.Verify(bytes.NewReader(export), ledger.VerifyOptions{Verifier: m.key.Verifier()}); err != nil {
			b.Fatal(err)
		}
	}
}
