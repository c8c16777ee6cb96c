package sigma

import (
	"slices"
	"strings"
)

const (
	// mostEntries bounds the table of one automaton, in entries of four bytes.
	mostEntries = 1 << 23
	// longestNeedle is how many bytes of a needle are looked for at most; a part of a needle is as necessary.
	longestNeedle = 24
)

// automaton finds all needles of a field in one pass over a folded text, by a table of what follows each state
// for each class of bytes (Aho and Corasick, 1975). Capital letters of ASCII are in the class of small ones, so
// that plain text needs no folding.
type automaton struct {
	class  [256]uint8
	next   []uint32 // by a state and a class; states are multiplied by the number of classes
	accept uint32   // the first of the states in which needles end; these are the last ones
	width  uint32   // how many classes there are
	ends   []ending // by the number of an accepting state
	most   int      // the length of the longest needle, in bytes
}

// ending is what ends in a state.
type ending struct {
	lead  int32 // of the index, none where it is only others that end here
	other int32 // the number of the accepting state of the longest needle that ends here, too; none for none
}

// needle is a text to be found, and the number of the lead that it gives.
type needle struct {
	text string
	lead int32
}

// newAutomaton makes the automaton of needles, whose texts differ. None makes none.
func newAutomaton(needles []needle) *automaton {
	if len(needles) == 0 {
		return nil
	}
	slices.SortFunc(needles, func(x, y needle) int { return strings.Compare(x.text, y.text) })
	a := &automaton{}
	a.classify(needles)
	b := newBuilder(needles)
	b.link(a)
	b.fill(a)
	return a
}

// classify gives each byte that occurs in needles a class, and all others the class 0.
func (a *automaton) classify(needles []needle) {
	a.width = 1
	for _, n := range needles {
		a.most = max(a.most, len(n.text))
		for i := range len(n.text) {
			if c := &a.class[n.text[i]]; *c == 0 {
				*c = uint8(a.width) //nolint:gosec // below 256: folded text has no capital letters
				a.width++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
}

// cutTo returns to how many bytes texts are to be cut, so that the table of their automaton stays small enough.
func cutTo(texts []string) int {
	slices.Sort(texts)
	width := classes(texts)
	most := longestNeedle
	for most > 1 && states(texts, most)*width > mostEntries {
		most = most * 3 / 4
	}
	return most
}

// states counts the states of texts, which are sorted and cut to a length.
func states(texts []string, most int) int {
	count, before := 1, ""
	for _, text := range texts {
		text = text[:min(len(text), most)]
		count += len(text) - common(before, text)
		before = text
	}
	return count
}

// classes counts the bytes that occur in needles, and one for all others.
func classes(needles []string) int {
	var occurs [256]bool
	count := 1
	for _, n := range needles {
		for i := range len(n) {
			if !occurs[n[i]] {
				occurs[n[i]] = true
				count++
			}
		}
	}
	return count
}

// builder is an automaton being made: the tree of the needles' beginnings. State 0 is the root.
type builder struct {
	states []state
	order  []int32 // the states, nearest to the root first
}

// state is a node of the tree.
type state struct {
	byte     byte  // that leads here
	lead     int32 // of the needle that ends here
	child    int32 // the first one
	sibling  int32 // the next child of its parent
	suffix   int32 // the state of the longest suffix that is a state, too
	accepts  int32 // the nearest among the state and its suffixes where a needle ends
	numbered uint32
}

// newBuilder makes the tree of sorted needles.
func newBuilder(needles []needle) *builder {
	b := &builder{}
	b.add(0)
	path, before := []int32{0}, "" // the states of the needle before
	for _, n := range needles {
		path = path[:1+common(before, n.text)]
		for i := len(path) - 1; i < len(n.text); i++ {
			parent := path[i]
			path = append(path, b.add(n.text[i]))
			b.adopt(parent, path[i+1])
		}
		b.states[path[len(path)-1]].lead = n.lead
		before = n.text
	}
	return b
}

func (b *builder) add(c byte) int32 {
	b.states = append(b.states, state{byte: c, lead: none, child: none, sibling: none, accepts: none})
	return int32(len(b.states)) - 1 //nolint:gosec // bounded by mostEntries
}

func (b *builder) adopt(parent, child int32) {
	b.states[child].sibling = b.states[parent].child
	b.states[parent].child = child
}

// common is how many bytes two texts begin with alike.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// link finds each state's suffix and what it accepts, and numbers the states so that accepting ones are the last.
func (b *builder) link(a *automaton) {
	var accepting []int32
	number := uint32(0)
	b.order = append(b.order, 0)
	for i := 0; i < len(b.order); i++ {
		at := b.order[i]
		s := &b.states[at]
		if s.accepts = b.states[s.suffix].accepts; s.lead != none {
			s.accepts = at
		}
		if s.accepts == none {
			s.numbered = number
			number += a.width
		} else {
			accepting = append(accepting, at)
		}
		for child := s.child; child != none; child = b.states[child].sibling {
			b.states[child].suffix = b.suffix(at, b.states[child].byte)
			b.order = append(b.order, child)
		}
	}
	a.accept = number
	for _, at := range accepting {
		b.states[at].numbered = number
		number += a.width
		a.ends = append(a.ends, ending{lead: b.states[at].lead, other: none})
	}
	for i, at := range accepting {
		if other := b.states[b.states[at].suffix].accepts; other != none {
			a.ends[i].other = int32((b.states[other].numbered - a.accept) / a.width) //nolint:gosec // bounded by mostEntries
		}
	}
	a.next = make([]uint32, number)
}

// suffix finds the suffix of the state that a byte leads to from another one.
func (b *builder) suffix(from int32, c byte) int32 {
	for from != 0 {
		from = b.states[from].suffix
		for child := b.states[from].child; child != none; child = b.states[child].sibling {
			if b.states[child].byte == c {
				return child
			}
		}
	}
	return 0
}

// fill writes the table. A state leads on as its suffix does, but for its children.
func (b *builder) fill(a *automaton) {
	for _, at := range b.order {
		s := &b.states[at]
		row := a.next[s.numbered:][:a.width]
		if at != 0 {
			copy(row, a.next[b.states[s.suffix].numbered:][:a.width])
		}
		for child := s.child; child != none; child = b.states[child].sibling {
			row[a.class[b.states[child].byte]] = b.states[child].numbered
		}
	}
}
