package ledger

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/riposte-sec/riposte/internal/record"
)

// Hashes is where a tree's hashes are kept, within the transaction that appends.
type Hashes interface {
	// ReadHashes gives the hashes at indexes, in their order.
	ReadHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
}

// Head is the state of a tree: how many entries, and the hash of all of them.
type Head struct {
	Size int64
	Root tlog.Hash
}

// EmptyHead is the head of a tree without entries.
func EmptyHead() Head { return Head{Root: emptyRoot()} }

// Leaf is an entry as it is to be stored.
type Leaf struct {
	Entry Entry
	Data  []byte // Entry.Canonical
}

// Appended is what an append adds to the storage.
type Appended struct {
	Leaves []Leaf
	// Hashes go to consecutive indexes, the first to First.
	First  int64
	Hashes []tlog.Hash
	Head   Head

	edge frontier
}

// Tree appends records. It keeps the right edge of the tree, so that a single writer reads nothing; where
// the stored head isn't the one it knows, another node wrote, and it reads O(log n) hashes. It is for one
// goroutine. The zero value is ready.
type Tree struct {
	head Head
	edge frontier
}

// Append computes what records add to the tree whose head is stored as head. Nothing changes in t until
// Committed.
func (t *Tree) Append(ctx context.Context, in Hashes, head Head, records []record.Record) (Appended, error) {
	edge, err := t.edgeAt(ctx, in, head)
	if err != nil {
		return Appended{}, err
	}
	added := Appended{
		First: tlog.StoredHashIndex(0, edge.size), Leaves: make([]Leaf, 0, len(records)),
		Hashes: make([]tlog.Hash, 0, 2*len(records)),
	}
	for _, r := range records {
		entry := Entry{Seq: edge.size, Record: r}
		data, err := entry.Canonical()
		if err != nil {
			return Appended{}, err
		}
		added.Leaves = append(added.Leaves, Leaf{Entry: entry, Data: data})
		added.Hashes = append(added.Hashes, edge.add(tlog.RecordHash(data))...)
	}
	added.Head, added.edge = Head{Size: edge.size, Root: edge.root()}, edge
	return added, nil
}

// Committed tells the tree that what was appended is durable.
func (t *Tree) Committed(a Appended) { t.head, t.edge = a.Head, a.edge }

func (t *Tree) edgeAt(ctx context.Context, in Hashes, head Head) (frontier, error) {
	if t.head == head {
		return t.edge.clone(), nil
	}
	tops, err := in.ReadHashes(ctx, frontierIndexes(head.Size))
	if err != nil {
		return frontier{}, fmt.Errorf("read the edge of the ledger's tree: %w", err)
	}
	edge := frontier{size: head.Size, tops: tops}
	if edge.root() != head.Root {
		return frontier{}, fmt.Errorf("the ledger's stored hashes don't give its stored root at size %d: it was tampered with, or damaged", head.Size)
	}
	return edge, nil
}
