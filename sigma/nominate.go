package sigma

// nominate makes rules candidates by what the event holds.
func (s *Scanner) nominate() {
	s.candidates = append(s.candidates, s.plan.always...)
	for _, field := range s.found {
		x := s.plan.fields[field]
		if x == nil {
			continue
		}
		s.give(x.present, true)
		if len(x.literals) == 0 && x.automaton == nil {
			continue
		}
		if s.whole {
			s.leaves(x, s.field(field))
			continue
		}
		for i := s.fields[field].first; i != none; i = s.spans[i].next {
			s.span(x, &s.spans[i])
		}
	}
	switch x := s.plan.words; {
	case x == nil:
	case s.whole:
		s.leaves(x, s.field(s.engine.keywords))
	default:
		s.nominateWords(x)
	}
}

// nominateWords looks for keywords. A name or a value without escapes stands in the text as it is, so that what
// lies between those with escapes is looked through in one go. A needle with bytes of JSON's grammar may be found
// there though no name or value has it, and proves nothing; see planner.provable.
func (s *Scanner) nominateWords(x *fieldIndex) {
	from := 0
	for _, at := range s.unplain {
		s.needles(x, s.text[from:at.begin])
		s.needles(x, s.folded(alias(s.decoded(at.begin, at.end))))
		from = at.end
	}
	s.needles(x, s.text[from:])
}

// leaves follows the values of a field of an event that ParseEvent read.
func (s *Scanner) leaves(x *fieldIndex, f *found) {
	for i := range f.leaves {
		l := &f.leaves[i]
		if l.null() {
			continue
		}
		s.folding(x, []byte(l.fold()))
		if n := l.number(); n != l.text {
			s.literal(x, []byte(n), false)
		}
	}
}

// span follows a value of a field.
func (s *Scanner) span(x *fieldIndex, at *span) {
	switch {
	case at.kind == kindNull:
		return
	case at.kind == kindObject:
		s.folding(x, s.folded(alias(s.short(at))))
		return
	case at.flags&(escaped|foreign) != 0 && at.kind == kindText:
		s.folding(x, s.folded(alias(s.decoded(at.begin, at.end))))
		return
	}
	text := s.text[at.begin:at.end]
	if len(text) <= x.longest {
		s.scratch = appendLower(s.scratch[:0], text)
		s.literal(x, s.scratch, true)
	}
	s.needles(x, text)
	if at.flags&odd != 0 {
		s.literal(x, []byte(canonical(string(text))), false)
	}
}

// folding follows a folded text of a field.
func (s *Scanner) folding(x *fieldIndex, folded []byte) {
	s.literal(x, folded, true)
	s.needles(x, folded)
}

func (s *Scanner) literal(x *fieldIndex, folded []byte, proves bool) {
	if len(folded) > x.longest {
		return
	}
	if number, ok := x.literals[string(folded)]; ok {
		s.give(number, proves)
	}
}

// needles finds what is within a text that is folded, or of which only ASCII letters aren't. A long text is gone
// through in four places at once, since each step waits for the one before it.
func (s *Scanner) needles(x *fieldIndex, text []byte) {
	a := x.automaton
	if a == nil {
		return
	}
	quarter := (len(text) - a.most) / 4
	if quarter < 2*a.most {
		s.needle(x, text)
		return
	}
	// Each stretch goes on into the next one by as much as a needle may be long.
	length := quarter + a.most
	t1, t2, t3, t4 := text[:length], text[quarter:][:length], text[2*quarter:][:length], text[3*quarter:][:length]
	next, class, accept := a.next, &a.class, a.accept
	var s1, s2, s3, s4 uint32
	for i, c := range t1 {
		s1 = next[s1+uint32(class[c])]
		s2 = next[s2+uint32(class[t2[i]])]
		s3 = next[s3+uint32(class[t3[i]])]
		s4 = next[s4+uint32(class[t4[i]])]
		if s1 >= accept || s2 >= accept || s3 >= accept || s4 >= accept {
			s.ending(x, s1)
			s.ending(x, s2)
			s.ending(x, s3)
			s.ending(x, s4)
		}
	}
	s.needle(x, text[4*quarter:])
}

func (s *Scanner) needle(x *fieldIndex, text []byte) {
	a := x.automaton
	state, next, class, accept := uint32(0), a.next, &a.class, a.accept
	for _, c := range text {
		if state = next[state+uint32(class[c])]; state >= accept {
			s.ending(x, state)
		}
	}
}

// ending follows all needles that end in a state. Each is followed once for an event, whoever wrote the event.
func (s *Scanner) ending(x *fieldIndex, state uint32) {
	a := x.automaton
	if state < a.accept {
		return
	}
	number := int32((state - a.accept) / a.width) //nolint:gosec // bounded by mostEntries
	for number != none && s.endings[x.endings+int(number)] != s.now {
		s.endings[x.endings+int(number)] = s.now
		e := a.ends[number]
		s.give(e.lead, true)
		number = e.other
	}
}

// give follows a lead.
func (s *Scanner) give(number int32, proves bool) {
	if number == none {
		return
	}
	l := &s.plan.leads[number]
	for _, rule := range l.rules {
		if s.marks[rule] != s.now {
			s.marks[rule] = s.now
			s.candidates = append(s.candidates, rule)
		}
	}
	if proves {
		for _, predicate := range l.sure {
			s.answers[predicate] = s.now<<1 | 1
		}
	}
}

// appendLower appends a text with small letters for the capital ones of ASCII.
func appendLower(out, text []byte) []byte {
	for _, c := range text {
		out = append(out, lower[c])
	}
	return out
}
