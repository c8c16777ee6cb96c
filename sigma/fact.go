package sigma

// field gives a field of the event as the interpreter sees it. Its texts are the event's, or in side.
func (s *Scanner) field(number int32) *found {
	f := &s.facts[number]
	if f.event == s.now {
		return &f.found
	}
	switch at := &s.fields[number]; {
	case number == s.engine.keywords && s.whole:
		return s.interpreter().everything()
	case number == s.engine.keywords:
		s.everything(s.fact(number))
	case s.whole || at.event != s.now:
		s.fact(number).present = false
	default:
		to := s.fact(number)
		for i := at.first; i != none; i = s.spans[i].next {
			to.leaves = append(to.leaves, s.leaf(&s.spans[i]))
		}
	}
	return &f.found
}

// fact begins a field that is present.
func (s *Scanner) fact(number int32) *found {
	f := &s.facts[number]
	f.event, f.found.present = s.now, true
	if f.found.leaves = f.found.leaves[:0]; cap(f.found.leaves) > mostKept {
		f.found.leaves = nil
	}
	return &f.found
}

// leaf gives a value of the event as the interpreter sees it.
func (s *Scanner) leaf(at *span) leaf {
	l := leaf{node: &s.nodes[at.kind]}
	switch {
	case at.kind == kindNull:
		return l
	case at.kind == kindObject:
		l.compact = alias(s.short(at))
		l.folded = alias(s.folded(l.compact))
	case at.flags&(escaped|foreign) != 0 && at.kind == kindText:
		l.text = alias(s.decoded(at.begin, at.end))
		l.folded = alias(s.folded(l.text))
	default:
		l.text = alias(s.text[at.begin:at.end])
		l.folded = alias(s.folded(l.text))
	}
	l.isFold = true
	return l
}

// decoded gives what a string with escapes or foreign bytes says.
func (s *Scanner) decoded(begin, end int) []byte {
	from := len(s.side)
	s.side = appendDecoded(s.side, s.text[begin:end])
	return s.side[from:len(s.side):len(s.side)]
}

// short gives an object's compact text.
func (s *Scanner) short(at *span) []byte {
	from := len(s.side)
	s.side, s.scratch = appendShort(s.side, s.text[at.begin:at.end], s.scratch)
	return s.side[from:len(s.side):len(s.side)]
}

func (s *Scanner) folded(text string) []byte {
	from := len(s.side)
	s.side = appendFolded(s.side, text)
	return s.side[from:len(s.side):len(s.side)]
}

// everything finds each name and each scalar of an event that was read.
func (s *Scanner) everything(f *found) {
	for at := 0; at < len(s.text); {
		switch c := s.text[at]; {
		case c == '"':
			end, flags := closing(s.text, at+1)
			f.leaves = append(f.leaves, s.leaf(&span{begin: at + 1, end: end, kind: kindText, flags: flags}))
			at = end + 1
		case c == '-', c >= '0' && c <= '9', c == 't', c == 'f', c == 'n':
			end, _ := s.atom(at)
			f.leaves = append(f.leaves, s.leaf(&span{begin: at, end: end, kind: kindAt(c)}))
			at = end
		default:
			at++
		}
	}
}
