package sigma

// pass reads the text of one event once. It checks all of it, and keeps where the values of the fields in a
// trie stand. What is rare it leaves to ParseEvent: two members of one name, and a path that is there both as
// a name with dots and as steps.
type pass struct {
	skimmer
	trie   *trie
	now    uint64 // the event's number, for what is remembered of an event
	visits uint64 // objects looked into so far, of all events
	seen   []visited
	fields []spans // by the numbers of fields
	spans  []span
	found  []int32 // the fields that are present
	name   []byte  // scratch for names with escapes
}

// visited is what is known of an edge in the object that is read.
type visited struct {
	here     uint64 // the last object that had the member
	literals uint64 // the last object that had a member whose name begins with this one and a dot
	last     int    // the number of the last such member, where walk looks
}

// spans is what an event has at a field.
type spans struct {
	event       uint64 // for which the rest is true
	first, last int32
}

// span is one value, as it stands in the text.
type span struct {
	begin, end int // a string's without quotes
	next       int32
	kind       kind
	flags      uint8
}

// mostKept is how many spans are kept for the next event; beyond it an event was out of the ordinary.
const mostKept = 1 << 12

// read reads an event. It reports false where ParseEvent has to.
func (p *pass) read(text []byte, t *trie) bool {
	p.text, p.trie = text, t
	p.values = 1
	p.reset()
	at := p.space(0)
	if !p.is(at, '{') {
		return false
	}
	if at = p.object(at+1, 0, 1); at < 0 {
		return false
	}
	return p.space(at) == len(text)
}

func (p *pass) reset() {
	if cap(p.spans) > mostKept {
		p.spans = nil
	}
	if cap(p.unplain) > mostKept {
		p.unplain = nil
	}
	p.spans, p.found, p.unplain = p.spans[:0], p.found[:0], p.unplain[:0]
	if len(p.seen) < len(p.trie.edges) {
		p.seen = make([]visited, len(p.trie.edges))
	}
}

// object reads the members of an object that a node of the trie is for, from the byte after its brace on.
func (p *pass) object(at int, node int32, depth int) int {
	if depth > maxDepth {
		return -1
	}
	p.visits++
	visit := p.visits
	if at = p.space(at); p.is(at, '}') {
		return at + 1
	}
	for {
		edge, after := p.member(at, node)
		if after < 0 {
			return -1
		}
		switch {
		case edge == none:
			at = p.skip(after, depth)
		case p.twice(edge, visit):
			return -1
		default:
			e := &p.trie.edges[edge]
			if e.field != none {
				p.touch(e.field)
			}
			at = p.value(after, e.field, e.node, depth)
		}
		if at < 0 {
			return -1
		}
		if !p.is(at, ',') {
			if at = p.space(at); p.is(at, '}') {
				return at + 1
			}
			if !p.is(at, ',') {
				return -1
			}
		}
		at++
	}
}

// member reads a member's name and colon, and returns the name's edge.
func (p *pass) member(at int, node int32) (edge int32, after int) {
	if !p.is(at, '"') {
		if at = p.space(at); !p.is(at, '"') {
			return none, -1
		}
	}
	begin := at + 1
	end, flags := closing(p.text, begin)
	if end < 0 {
		return none, -1
	}
	if flags == 0 {
		edge = p.trie.edge(node, headAt(p.text, begin, end), p.text[begin:end])
	} else {
		if p.words {
			p.unplain = append(p.unplain, extent{begin, end})
		}
		p.name = appendDecoded(p.name[:0], p.text[begin:end])
		edge = p.trie.edge(node, headOf(p.name), p.name)
	}
	return edge, p.colon(end + 1)
}

// twice notes that an object has a member, and reports whether it is for ParseEvent.
func (p *pass) twice(edge int32, visit uint64) bool {
	v, e := &p.seen[edge], &p.trie.edges[edge]
	if v.here == visit || v.literals == visit {
		return true
	}
	v.here = visit
	if e.first != none {
		first := &p.seen[e.first]
		first.literals = visit
		return first.here == visit
	}
	return false
}

// touch notes that a field is present.
func (p *pass) touch(field int32) {
	if f := &p.fields[field]; f.event != p.now {
		*f = spans{event: p.now, first: none, last: none}
		p.found = append(p.found, field)
	}
}

// value reads a value of a field, or one that fields lie below, or both.
func (p *pass) value(at int, field, node int32, depth int) int {
	if field == none && node == none {
		return p.skip(at, depth)
	}
	if p.values++; p.values > maxValues {
		return -1
	}
	if at < len(p.text) && p.text[at] <= ' ' {
		at = p.space(at)
	}
	if at >= len(p.text) {
		return -1
	}
	begin := at
	switch p.text[at] {
	case '"':
		end, flags := closing(p.text, at+1)
		if end < 0 {
			return -1
		}
		if flags != 0 && p.words {
			p.unplain = append(p.unplain, extent{at + 1, end})
		}
		p.keep(field, span{begin: at + 1, end: end, kind: kindText, flags: flags})
		return end + 1
	case '[':
		return p.list(at+1, field, node, depth+1)
	case '{':
		if node != none {
			at = p.object(at+1, node, depth+1)
		} else {
			p.values--
			at = p.skip(at, depth)
		}
		p.keep(field, span{begin: begin, end: at, kind: kindObject})
		return at
	}
	at, flags := p.atom(at)
	p.keep(field, span{begin: begin, end: at, kind: kindAt(p.text[begin]), flags: flags})
	return at
}

// kindAt is the kind of what is neither text nor a list nor an object, by its first byte.
func kindAt(c byte) kind {
	switch c {
	case 'n':
		return kindNull
	case 't', 'f':
		return kindBoolean
	}
	return kindNumber
}

// list reads the members of a list, each as if it stood alone.
func (p *pass) list(at int, field, node int32, depth int) int {
	if depth > maxDepth {
		return -1
	}
	if at = p.space(at); p.is(at, ']') {
		return at + 1
	}
	for {
		if at = p.value(at, field, node, depth); at < 0 {
			return -1
		}
		at = p.space(at)
		if p.is(at, ']') {
			return at + 1
		}
		if !p.is(at, ',') {
			return -1
		}
		at++
	}
}

// keep appends a value to a field's. There is no more to an event that couldn't be read.
func (p *pass) keep(field int32, s span) {
	if field == none || s.end < 0 {
		return
	}
	number := int32(len(p.spans)) //nolint:gosec // at most maxValues
	s.next = none
	p.spans = append(p.spans, s)
	f := &p.fields[field]
	if f.last == none {
		f.first = number
	} else {
		p.spans[f.last].next = number
	}
	f.last = number
}
