package sigma

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// none stands for no field, no node and no edge.
const none int32 = -1

// trie leads from the names of an event's members to the fields that rules refer to. A node stands for the
// part of paths that was followed so far. As in found.collect, at each node a field's rest is one name, or its
// first step is.
type trie struct {
	nodes []trieNode
	edges []trieEdge
	slots []int32 // of all nodes: edges by their hash
}

// trieNode is a table of edges, open addressed, less than half full.
type trieNode struct {
	base  uint32 // its first slot
	shift uint8  // 64 less the bits of a hash
}

// trieEdge is a name that leads on.
type trieEdge struct {
	head     uint64 // the name's first bytes, as headOf gives them
	name     string
	field    int32   // that the member is
	node     int32   // for the fields that go on below the member
	first    int32   // of an edge whose name holds dots, the edge of its first step
	literals []int32 // of a first step, the edges whose names begin with it and a dot
}

// newTrie makes the trie of fields, given by their numbers and names. Keywords' field, without a name, is not
// in it.
func newTrie(fields []int32, names []string) *trie {
	t := &trie{}
	rests := make([]pathRest, 0, len(fields))
	for _, f := range fields {
		if names[f] != "" {
			rests = append(rests, pathRest{f, names[f]})
		}
	}
	t.grow(rests)
	return t
}

// pathRest is what is left of a field's path at a node.
type pathRest struct {
	field int32
	rest  string
}

// grow makes the node of some rests of paths and all nodes below, and returns its number.
func (t *trie) grow(rests []pathRest) int32 {
	number := int32(len(t.nodes)) //nolint:gosec // there are fewer nodes than bytes of rules
	t.nodes = append(t.nodes, trieNode{})
	at := make(map[string]int)
	var edges []trieEdge
	var below [][]pathRest
	edge := func(name string) int {
		i, ok := at[name]
		if !ok {
			i = len(edges)
			at[name] = i
			edges = append(edges, trieEdge{name: name, head: headOf(name), field: none, node: none, first: none})
			below = append(below, nil)
		}
		return i
	}
	first := int32(len(t.edges)) //nolint:gosec // as above
	for _, r := range rests {
		literal := edge(r.rest)
		edges[literal].field = r.field
		if head, rest, ok := strings.Cut(r.rest, "."); ok {
			step := edge(head)
			below[step] = append(below[step], pathRest{r.field, rest})
			edges[literal].first = first + int32(step)                                //nolint:gosec // as above
			edges[step].literals = append(edges[step].literals, first+int32(literal)) //nolint:gosec // as above
		}
	}
	t.edges = append(t.edges, edges...)
	t.place(number, int(first), len(edges))
	for i := range edges {
		if below[i] != nil {
			t.edges[int(first)+i].node = t.grow(below[i])
		}
	}
	return number
}

// place puts a node's edges into slots.
func (t *trie) place(node int32, first, count int) {
	width := bits.Len(uint(count)) + 1
	n := trieNode{base: uint32(len(t.slots)), shift: uint8(64 - width)} //nolint:gosec // bounded by the bytes of rules
	t.nodes[node] = n
	slots := make([]int32, 1<<width)
	for i := range slots {
		slots[i] = none
	}
	for i := range count {
		e := &t.edges[first+i]
		at := hashHead(e.head, len(e.name)) >> n.shift
		for slots[at] != none {
			at = (at + 1) & uint64(len(slots)-1) //nolint:gosec // a length
		}
		slots[at] = int32(first + i) //nolint:gosec // as above
	}
	t.slots = append(t.slots, slots...)
}

// edge returns the edge of a name at a node. The head is the name's, as headOf gives it.
func (t *trie) edge(node int32, head uint64, name []byte) int32 {
	n := t.nodes[node]
	mask := uint64(1)<<(64-n.shift) - 1
	for at := hashHead(head, len(name)) >> n.shift; ; at = (at + 1) & mask {
		i := t.slots[uint64(n.base)+at]
		if i == none {
			return none
		}
		if e := &t.edges[i]; e.head == head && len(e.name) == len(name) && (len(name) <= 8 || e.name[8:] == string(name[8:])) {
			return i
		}
	}
}

func hashHead(head uint64, length int) uint64 {
	return (head ^ uint64(length)<<56) * 0x9e3779b97f4a7c15 //nolint:gosec // a length is never negative
}

// headOf packs the first eight bytes of a name, the first one lowest, zeros behind a shorter one.
func headOf[T string | []byte](name T) uint64 {
	var first [8]byte
	copy(first[:], name)
	return binary.LittleEndian.Uint64(first[:])
}

// headAt is headOf of a name within a text, without going through its bytes where eight follow.
func headAt(text []byte, begin, end int) uint64 {
	if begin+8 > len(text) {
		return headOf(text[begin:end])
	}
	head := binary.LittleEndian.Uint64(text[begin:])
	if length := end - begin; length < 8 {
		head &= 1<<(8*length) - 1
	}
	return head
}
