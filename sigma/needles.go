package sigma

import (
	"slices"
	"strings"
)

const (
	// mostStates bounds the table of one automaton, in entries of four bytes.
	mostStates = 1 << 24
	// longestNeedle is how many bytes of a needle are looked for at most; a part of a needle is as necessary.
	longestNeedle = 64
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
	b := newBuilder(needles)
	b.link()
	a := b.automaton()
	for _, n := range needles {
		a.most = max(a.most, len(n.text))
	}
	return a
}

// cutTo shortens needles so that their automaton's table stays small enough, and tells to how many bytes.
func cutTo(needles []string) int {
	most := longestNeedle
	for ; most > 1; most /= 2 {
		size := 0
		for _, n := range needles {
			size += min(len(n), most)
		}
		if size*classes(needles) <= mostStates {
			break
		}
	}
	return most
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

// builder is an automaton being made.
type builder struct {
	class  [256]uint8
	width  int
	next   []int32 // by state*width + class; 0, the root, where nothing leads on
	lead   []int32 // of the needle that ends in a state
	order  []int32 // the states, nearest to the root first
	suffix []int32 // the state of the longest suffix that is a state, too
}

func newBuilder(needles []needle) *builder {
	b := &builder{width: 1}
	slices.SortFunc(needles, func(x, y needle) int { return strings.Compare(x.text, y.text) })
	states, before := 1, ""
	for _, n := range needles {
		states += len(n.text) - common(before, n.text)
		before = n.text
	}
	for _, n := range needles {
		for i := range len(n.text) {
			if b.class[n.text[i]] == 0 {
				b.class[n.text[i]] = uint8(b.width) //nolint:gosec // there is no 256th: folded text has no capital letters
				b.width++
			}
		}
	}
	b.next, b.lead = make([]int32, 0, states*b.width), make([]int32, 0, states)
	b.state()
	for _, n := range needles {
		at := int32(0)
		for i := range len(n.text) {
			slot := int(at)*b.width + int(b.class[n.text[i]])
			if b.next[slot] == 0 {
				b.next[slot] = b.state()
			}
			at = b.next[slot]
		}
		b.lead[at] = n.lead
	}
	return b
}

// common is how many bytes two texts begin with alike.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// state adds a state and returns its number.
func (b *builder) state() int32 {
	number := int32(len(b.lead)) //nolint:gosec // bounded by mostStates
	b.next = b.next[:len(b.next)+b.width]
	b.lead = append(b.lead, none)
	return number
}

// link finds each state's suffix, and fills the table so that it leads on everywhere.
func (b *builder) link() {
	b.suffix = make([]int32, len(b.lead))
	b.order = append(b.order, 0)
	for i := 0; i < len(b.order); i++ {
		state := b.order[i]
		row := b.row(state)
		fallback := b.row(b.suffix[state])
		for class, to := range row {
			switch {
			case to == 0:
				row[class] = fallback[class]
			case state == 0:
				b.order = append(b.order, to)
			default:
				b.suffix[to] = fallback[class]
				b.order = append(b.order, to)
			}
		}
	}
}

func (b *builder) row(state int32) []int32 {
	return b.next[int(state)*b.width:][:b.width]
}

// automaton renumbers the states so that accepting ones are the last.
func (b *builder) automaton() *automaton {
	inherits := make([]int32, len(b.lead)) // the nearest accepting state among a state and its suffixes
	var plain, accepting []int32
	for _, state := range b.order {
		inherits[state] = none
		if state != 0 {
			inherits[state] = inherits[b.suffix[state]]
		}
		if b.lead[state] != none {
			inherits[state] = state
		}
		if inherits[state] == none {
			plain = append(plain, state)
		} else {
			accepting = append(accepting, state)
		}
	}
	number := make([]uint32, len(b.lead))
	for i, state := range slices.Concat(plain, accepting) {
		number[state] = uint32(i)
	}
	width := uint32(b.width)                                                                                             //nolint:gosec // at most 256
	a := &automaton{class: b.class, width: width, accept: uint32(len(plain)) * width, next: make([]uint32, len(b.next))} //nolint:gosec // as above
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
	for state := range b.lead {
		row := a.next[number[state]*width:][:width]
		for class, to := range b.row(int32(state)) {
			row[class] = number[to] * width
		}
	}
	first := uint32(len(plain)) //nolint:gosec // as above
	for _, state := range accepting {
		e := ending{lead: b.lead[state], other: none}
		from := b.suffix[state]
		if other := inherits[from]; other != none {
			e.other = int32(number[other] - first) //nolint:gosec // as above
		}
		a.ends = append(a.ends, e)
	}
	return a
}
