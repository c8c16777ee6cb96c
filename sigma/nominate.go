package sigma

// nominate makes rules candidates by what the event holds.
func (s *Scanner) nominate() {
	s.candidates = append(s.candidates, s.plan.always...)
	if s.view != nil {
		s.nominateParsed()
		return
	}
	for _, field := range s.found {
		x := s.plan.fields[field]
		if x == nil {
			continue
		}
		s.give(x.present, true)
		if len(x.literals) == 0 && x.automaton == nil {
			continue
		}
		for i := s.fields[field].first; i != none; i = s.spans[i].next {
			s.span(x, &s.spans[i])
		}
	}
	if x := s.plan.words; x != nil {
		// A name or a value without escapes stands in the text as it is. What else the text has, such as
		// quotes, may be found, too; so this proves nothing.
		s.needles(x, s.text, false)
		for _, at := range s.unplain {
			s.needles(x, s.folded(alias(s.decoded(at.begin, at.end))), true)
		}
	}
}

// nominateParsed does the same for an event that ParseEvent read.
func (s *Scanner) nominateParsed() {
	for number, x := range s.plan.fields {
		if x == nil {
			continue
		}
		f := s.field(int32(number)) //nolint:gosec // fields are numbered so
		if f.present {
			s.give(x.present, true)
		}
		s.leaves(x, f)
	}
	if s.plan.words != nil {
		s.leaves(s.plan.words, s.view.everything())
	}
}

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
	s.needles(x, text, true)
	if at.flags&odd != 0 {
		s.literal(x, []byte(canonical(string(text))), false)
	}
}

// folding follows a folded text of a field.
func (s *Scanner) folding(x *fieldIndex, folded []byte) {
	s.literal(x, folded, true)
	s.needles(x, folded, true)
}

func (s *Scanner) literal(x *fieldIndex, folded []byte, proves bool) {
	if len(folded) > x.longest {
		return
	}
	if number, ok := x.literals[string(folded)]; ok {
		s.give(number, proves)
	}
}

// needles finds what is within a text that is folded, or of which only ASCII letters aren't. Each ending is
// followed once for an event, whoever wrote the text.
func (s *Scanner) needles(x *fieldIndex, text []byte, proves bool) {
	a := x.automaton
	if a == nil {
		return
	}
	state, next, class, accept := uint32(0), a.next, &a.class, a.accept
	for _, c := range text {
		if state = next[state+uint32(class[c])]; state >= accept {
			s.ending(x, int32((state-accept)/a.width), proves) //nolint:gosec // bounded by mostStates
		}
	}
}

// ending follows all needles that end in a state.
func (s *Scanner) ending(x *fieldIndex, number int32, proves bool) {
	stamp := s.now << 1
	if proves {
		stamp++
	}
	for number != none && s.endings[x.endings+int(number)] < stamp {
		s.endings[x.endings+int(number)] = stamp
		e := x.automaton.ends[number]
		s.give(e.lead, proves)
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
