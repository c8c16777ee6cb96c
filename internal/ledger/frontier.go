package ledger

import (
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a Merkle tree: the roots of its complete subtrees, the largest first. It
// is all that appending and the tree's root need.
type frontier struct {
	size int64
	tops []tlog.Hash
}

// add appends a leaf and gives the hashes that this completes, in the order in which tlog stores them: the
// first is at tlog.StoredHashIndex(0, n) for the n-th leaf, the others follow it.
func (f *frontier) add(leaf tlog.Hash) []tlog.Hash {
	done := make([]tlog.Hash, 1, 2)
	done[0] = leaf
	top := leaf
	for n := f.size; n&1 == 1; n >>= 1 {
		last := len(f.tops) - 1
		top = tlog.NodeHash(f.tops[last], top)
		f.tops = f.tops[:last]
		done = append(done, top)
	}
	f.tops = append(f.tops, top)
	f.size++
	return done
}

// root is the hash of the whole tree.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		return emptyRoot()
	}
	root := f.tops[len(f.tops)-1]
	for _, left := range slices.Backward(f.tops[:len(f.tops)-1]) {
		root = tlog.NodeHash(left, root)
	}
	return root
}

func (f *frontier) clone() frontier { return frontier{size: f.size, tops: slices.Clone(f.tops)} }

// frontierIndexes gives where the tops of a tree of a size are stored.
func frontierIndexes(size int64) []int64 {
	var indexes []int64
	var before int64 // leaves left of the subtree
	for rest := size; rest > 0; {
		level := bits.Len64(uint64(rest)) - 1
		indexes = append(indexes, tlog.StoredHashIndex(level, before>>level))
		before += 1 << level
		rest -= 1 << level
	}
	return indexes
}

func emptyRoot() tlog.Hash {
	root, err := tlog.TreeHash(0, nil)
	if err != nil {
		panic(err) // a tree of size 0 reads nothing
	}
	return root
}
