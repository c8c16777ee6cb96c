package sigma

import "slices"

// Scanner holds events against the rules of an engine, one at a time. It keeps what it needs for that, so that
// an event costs no allocation. It is not safe for concurrent use; an engine has any number of scanners.
type Scanner struct {
	engine *Engine
	plan   *plan
	wide   bool // whether the plan is of more rules than cover the source
	source [3]string
	routes map[[3]string]route

	pass
	event   *Event // once parsed
	view    *view  // the interpreter's, once needed
	whole   bool   // whether ParseEvent read the event instead of the pass
	facts   []fact
	hidden  []int    // by fields: how often walk has found it to be elsewhere
	answers []uint64 // by predicates: twice the event's number, and one more for yes
	marks   []uint64 // by rules: the last event of which they were candidates
	endings []uint64 // by the endings of the plan's automata: the last event that had them
	side    []byte   // decoded texts
	scratch []byte
	nodes   [kindObject + 1]value

	candidates []int32
	matched    []*Rule
	costs      []cost // nil unless they are measured
}

// route is where the events of a source are led.
type route struct {
	plan *plan
	wide bool
}

const (
	mostRoutes = 256     // that a scanner remembers
	mostSide   = 1 << 20 // bytes of decoded texts that are kept for the next event
)

// fact is a field of the event as the interpreter sees it.
type fact struct {
	event uint64 // for which it is true
	found found
}

// Scanner makes a scanner.
func (e *Engine) Scanner() *Scanner {
	s := &Scanner{
		engine:  e,
		routes:  make(map[[3]string]route),
		facts:   make([]fact, len(e.compiler.names)),
		hidden:  make([]int, len(e.compiler.names)),
		answers: make([]uint64, len(e.compiler.predicates)),
		marks:   make([]uint64, len(e.rules)),
	}
	s.fields = make([]spans, len(e.compiler.names))
	for i := range s.nodes {
		s.nodes[i].kind = kind(i)
	}
	return s
}

// Scan returns the rules that cover a source and match an event of it, a JSON object, in the engine's order. The
// result is valid until the next call. The event is refused with the error of [ParseEvent] where that refuses it.
func (s *Scanner) Scan(text []byte, product, service, category string) ([]*Rule, error) {
	s.route(product, service, category)
	s.begin(text)
	if !s.read(text, s.plan.trie) {
		event, err := s.parsed()
		if err != nil {
			return nil, err
		}
		s.whole = true
		s.walk(event)
	}
	s.nominate()
	slices.Sort(s.candidates)
	for _, number := range s.candidates {
		r := s.engine.rules[number]
		if (!s.wide || r.LogSource.Covers(product, service, category)) && s.measured(number) {
			s.matched = append(s.matched, r)
		}
	}
	return s.matched, nil
}

// route finds the plan for a source.
func (s *Scanner) route(product, service, category string) {
	source := [3]string{product, service, category}
	if s.plan != nil && s.source == source {
		return
	}
	r, ok := s.routes[source]
	if !ok {
		r.plan, r.wide = s.engine.plan(product, service, category)
		if len(s.routes) >= mostRoutes {
			clear(s.routes)
		}
		s.routes[source] = r
	}
	s.source, s.plan, s.wide = source, r.plan, r.wide
	s.words = r.plan.words != nil
	if len(s.endings) < r.plan.endings {
		s.endings = make([]uint64, r.plan.endings)
	}
}

// begin forgets the last event.
func (s *Scanner) begin(text []byte) {
	s.text, s.event, s.view, s.whole = text, nil, nil, false
	s.now++
	s.candidates, s.matched = s.candidates[:0], s.matched[:0]
	if s.side = s.side[:0]; cap(s.side) > mostSide {
		s.side = nil
	}
}

// parsed returns the event as the interpreter reads it.
func (s *Scanner) parsed() (*Event, error) {
	var err error
	if s.event == nil {
		s.event, err = ParseEvent(s.text)
	}
	return s.event, err
}

// holds reports whether a rule matches.
func (s *Scanner) holds(number int32) bool {
	if s.engine.beyond[number] {
		return s.interpreted(number)
	}
	p := &s.engine.programs[number]
	at := p.start
	for at >= 0 {
		one := &p.steps[at]
		if s.answer(one.predicate) {
			at = one.yes
		} else {
			at = one.no
		}
	}
	return at == accept
}

// interpreted asks the interpreter.
func (s *Scanner) interpreted(number int32) bool {
	v := s.interpreter()
	if v == nil {
		return false // what the pass has read ParseEvent reads, too
	}
	_, ok := s.engine.rules[number].match(v)
	return ok
}

// interpreter gives the interpreter's view of the event, nil where ParseEvent refuses it.
func (s *Scanner) interpreter() *view {
	if s.view == nil {
		event, err := s.parsed()
		if err != nil {
			return nil
		}
		s.view = newView(event)
	}
	return s.view
}

// answer reports whether a predicate holds, its negation aside.
func (s *Scanner) answer(number int32) bool {
	if known := s.answers[number]; known>>1 == s.now {
		return known&1 == 1
	}
	answer := s.engine.compiler.predicates[number].holds(s)
	s.answers[number] = s.now << 1
	if answer {
		s.answers[number]++
	}
	return answer
}

func (p *predicate) holds(s *Scanner) bool {
	f := s.field(p.field)
	for i := range f.leaves {
		if l := &f.leaves[i]; p.texts != nil && !l.null() {
			if _, ok := p.texts[l.fold()]; ok {
				return true
			}
		}
	}
	var v *view
	if len(p.rest) > 0 && p.refer != nil {
		v = s.reference(p)
	}
	all := p.item.modifiers.all
	for _, a := range p.rest {
		if _, ok := a.find(v, f); ok != all {
			return ok
		}
	}
	return all
}

// reference gives atoms the fields that they refer to.
func (s *Scanner) reference(p *predicate) *view {
	v := &view{fields: make(map[string]*found, len(p.refer))}
	for _, field := range p.refer {
		v.fields[s.engine.compiler.names[field]] = s.field(field)
	}
	return v
}
