package sigma

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
	"sort"
)

// exactly is how many bits a sum of any numbers of 64 bits takes.
const exactly = 2200

// sighting is an observation within its group.
type sighting struct {
	at    int64 // nanoseconds since 1970
	event string
	value string
	rule  int  // which input of the correlation
	holds bool // the condition, at the window that ends here
}

// token is what is counted: an event, a value, or an event with its number.
type token struct {
	event string
	value string
}

// window measures the sightings that it holds. They are added in the order of time.
type window struct {
	c       *Correlation
	tokens  map[token]int
	rules   []int // sightings of each
	present uint64
	around  []int // the same, from a timespan before the end to one after it
	nearby  uint64
	chains  [][]int64 // of each alternative in order: the latest begin of a chain up to each of its rules
	last    []int64   // sighting of each rule, in order only
	sum     *big.Float
	numbers ranked
}

func newWindow(c *Correlation) *window {
	w := &window{c: c, rules: make([]int, len(c.inputs)), tokens: make(map[token]int)}
	if c.ahead() > 0 {
		w.around = make([]int, len(c.inputs))
	}
	if c.Type == TemporalOrdered {
		w.last = filled(len(c.inputs))
		for _, a := range c.alternatives {
			w.chains = append(w.chains, filled(bits.OnesCount64(a.present)))
		}
	}
	if c.Type == ValueSum || c.Type == ValueAvg {
		w.sum = new(big.Float).SetPrec(exactly)
	}
	return w
}

func filled(size int) []int64 {
	return slices.Repeat([]int64{math.MinInt64}, size)
}

func (w *window) add(s *sighting) {
	w.rules[s.rule]++
	w.present |= 1 << s.rule
	if w.last != nil {
		w.link(s)
	}
	if w.c.Type.temporal() {
		return
	}
	t := w.token(s)
	if w.tokens[t]++; w.tokens[t] == 1 && w.c.Type.numeric() {
		w.calculate(s, 1)
	}
}

func (w *window) remove(s *sighting) {
	if w.rules[s.rule]--; w.rules[s.rule] == 0 {
		w.present &^= 1 << s.rule
	}
	if w.c.Type.temporal() {
		return
	}
	t := w.token(s)
	if w.tokens[t]--; w.tokens[t] == 0 {
		delete(w.tokens, t)
		if w.c.Type.numeric() {
			w.calculate(s, -1)
		}
	}
}

// surround counts a sighting that comes within a timespan of the window's end, or that leaves.
func (w *window) surround(s *sighting, by int) {
	if w.around == nil {
		return
	}
	if w.around[s.rule] += by; w.around[s.rule] == 0 {
		w.nearby &^= 1 << s.rule
	} else {
		w.nearby |= 1 << s.rule
	}
}

func (w *window) token(s *sighting) token {
	switch w.c.Type {
	case EventCount:
		return token{event: s.event}
	case ValueCount:
		return token{value: s.value}
	default:
		return token{event: s.event, value: s.value}
	}
}

// calculate takes a number in, or out.
func (w *window) calculate(s *sighting, sign float64) {
	n, _ := w.c.number(s.value)
	switch {
	case w.sum != nil:
		w.sum.Add(w.sum, new(big.Float).SetFloat64(n*sign))
	case sign > 0:
		w.numbers.insert(n)
	default:
		w.numbers.remove(n)
	}
}

// link makes chains longer by a sighting. Sightings of the same time are in any order that a chain needs.
func (w *window) link(s *sighting) {
	w.last[s.rule] = s.at
	for i, a := range w.c.alternatives {
		if a.present&(1<<s.rule) == 0 {
			continue
		}
		chain := w.chains[i]
		step := bits.OnesCount64(a.present & (1<<s.rule - 1))
		begin := s.at
		if step > 0 {
			begin = chain[step-1]
		}
		chain[step] = max(chain[step], begin)
		rest := a.present &^ (1<<(s.rule+1) - 1)
		for step++; rest != 0; step++ {
			next := bits.TrailingZeros64(rest)
			if w.last[next] != s.at {
				break
			}
			chain[step] = max(chain[step], chain[step-1])
			rest &= rest - 1
		}
	}
}

// holds reports whether the condition does, for a window that ends at a time.
func (w *window) holds(end int64) bool {
	if !w.c.Type.temporal() || len(w.c.alternatives) == 0 {
		return w.c.bounds.hold(w.measure())
	}
	for i, a := range w.c.alternatives {
		if w.present&a.present != a.present || w.nearby&a.absent != 0 {
			continue
		}
		if w.chains == nil {
			return true
		}
		if chain := w.chains[i]; chain[len(chain)-1] > end-int64(w.c.Timespan) {
			return true
		}
	}
	return false
}

// measure is what the type measures.
func (w *window) measure() float64 {
	switch w.c.Type {
	case Temporal, TemporalOrdered:
		return float64(bits.OnesCount64(w.present))
	case ValueSum:
		sum, _ := w.sum.Float64()
		return sum
	case ValueAvg:
		sum, _ := w.sum.Float64()
		return sum / float64(len(w.tokens))
	case ValuePercentile:
		return w.numbers.at(int(math.Ceil(w.c.Percentile*float64(w.numbers.size)/100)) - 1)
	case ValueMedian:
		half := w.numbers.size / 2
		if w.numbers.size%2 == 1 {
			return w.numbers.at(half)
		}
		return w.numbers.at(half-1)/2 + w.numbers.at(half)/2
	default:
		return float64(len(w.tokens))
	}
}

// mostInBlock is how many numbers a block takes until it is cut in two.
const mostInBlock = 512

// ranked is numbers in their order, in blocks, none of them empty.
type ranked struct {
	blocks [][]float64
	size   int
}

// block returns the number of the block in which a value is, or belongs.
func (r *ranked) block(v float64) int {
	return min(max(len(r.blocks)-1, 0), sort.Search(len(r.blocks), func(i int) bool {
		return r.blocks[i][len(r.blocks[i])-1] >= v
	}))
}

func (r *ranked) insert(v float64) {
	r.size++
	if len(r.blocks) == 0 {
		r.blocks = [][]float64{{v}}
		return
	}
	b := r.block(v)
	at, _ := slices.BinarySearch(r.blocks[b], v)
	r.blocks[b] = slices.Insert(r.blocks[b], at, v)
	if full := r.blocks[b]; len(full) > mostInBlock {
		r.blocks[b] = slices.Clone(full[:mostInBlock/2])
		r.blocks = slices.Insert(r.blocks, b+1, slices.Clone(full[mostInBlock/2:]))
	}
}

func (r *ranked) remove(v float64) {
	b := r.block(v)
	at, ok := slices.BinarySearch(r.blocks[b], v)
	if !ok {
		return
	}
	r.size--
	if r.blocks[b] = slices.Delete(r.blocks[b], at, at+1); len(r.blocks[b]) == 0 {
		r.blocks = slices.Delete(r.blocks, b, b+1)
	}
}

// at returns the number with so many before it.
func (r *ranked) at(rank int) float64 {
	for _, block := range r.blocks {
		if rank < len(block) {
			return block[rank]
		}
		rank -= len(block)
	}
	return math.NaN()
}
