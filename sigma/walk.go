package sigma

// walk finds the fields of an event that ParseEvent read, as the pass does, names given twice and paths that are
// there in two ways included.
func (s *Scanner) walk(e *Event) {
	s.found = s.found[:0] // what the pass found before it gave up
	s.fieldsOf(&e.root, none, 0)
}

// fieldsOf takes a value of a field, and the fields below it.
func (s *Scanner) fieldsOf(v *value, field, node int32) {
	if v.kind == kindList {
		for i := range v.kids {
			s.fieldsOf(&v.kids[i].value, field, node)
		}
		return
	}
	if field != none {
		f := &s.facts[field].found
		f.leaves = append(f.leaves, leaf{text: v.text, node: v})
	}
	if v.kind == kindObject && node != none {
		s.members(v, node)
	}
}

// members takes the fields that lie within an object: of equal names the last counts, and a name with dots before
// its steps.
func (s *Scanner) members(v *value, node int32) {
	s.visits++
	visit := s.visits
	for i := range v.kids {
		if edge := s.edge(node, v.kids[i].name); edge != none {
			seen := &s.seen[edge]
			seen.here, seen.last = visit, i
		}
	}
	for i := range v.kids {
		edge := s.edge(node, v.kids[i].name)
		if edge == none || s.seen[edge].last != i {
			continue
		}
		e := &s.trie.edges[edge]
		s.hide(e, visit, 1)
		field := e.field
		if field != none && s.hidden[field] > 0 {
			field = none
		}
		if field != none && s.facts[field].event != s.now {
			s.fact(field)
			s.found = append(s.found, field)
		}
		s.fieldsOf(&v.kids[i].value, field, e.node)
		s.hide(e, visit, -1)
	}
}

// hide hides the fields below a member that the object has under a name with dots, or shows them again.
func (s *Scanner) hide(e *trieEdge, visit uint64, by int) {
	for _, literal := range e.literals {
		if s.seen[literal].here == visit {
			s.hidden[s.trie.edges[literal].field] += by
		}
	}
}

func (s *Scanner) edge(node int32, name string) int32 {
	s.name = append(s.name[:0], name...)
	return s.trie.edge(node, headOf(s.name), s.name)
}
