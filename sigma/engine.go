package sigma

import (
	"slices"
	"sync"
)

// Engine is many rules, compiled together to be held against raw events. It finds what a [Set] of the same rules
// finds, an order of magnitude faster. It is safe for concurrent use; a [Scanner] does the work.
type Engine struct {
	rules    []*Rule
	programs []program
	beyond   []bool // rules that are left to the interpreter
	compiler *compiler
	keywords int32 // the number of the field without a name
	sources  []engineSource

	mutex sync.Mutex // of making plans
	plans sync.Map   // *plan by the string of the sources that cover an event's
	made  int
	every *plan // of all rules, once mostPlans were made
	pool  sync.Pool
}

// engineSource is the rules of one log source.
type engineSource struct {
	logSource LogSource
	members   []int32
}

// mostPlans bounds how many combinations of log sources get a plan of their own.
const mostPlans = 512

// Compile makes an engine of rules. Two with the same ID are refused, as [NewSet] does.
func Compile(rules []*Rule) (*Engine, error) {
	set, err := NewSet(rules)
	if err != nil {
		return nil, err
	}
	e := &Engine{rules: set.rules, compiler: newCompiler()}
	for _, r := range e.rules {
		p, err := e.compiler.program(r)
		e.programs = append(e.programs, p)
		e.beyond = append(e.beyond, err != nil)
	}
	e.compiler.byKey = nil
	e.keywords = none
	if number, ok := e.compiler.fields[""]; ok {
		e.keywords = number
	}
	e.route()
	e.pool.New = func() any { return e.Scanner() }
	return e, nil
}

// route sorts the rules by log source.
func (e *Engine) route() {
	at := make(map[LogSource]int)
	for number, r := range e.rules {
		l := r.LogSource
		l.Definition = ""
		i, ok := at[l]
		if !ok {
			i = len(e.sources)
			at[l] = i
			e.sources = append(e.sources, engineSource{logSource: l})
		}
		e.sources[i].members = append(e.sources[i].members, int32(number))
	}
}

// Rules lists the rules, in the order in which they were given.
func (e *Engine) Rules() []*Rule {
	return slices.Clone(e.rules)
}

// Evaluate returns the rules that cover a source and match an event of it, in the engine's order, with what made
// them match. The event is refused as [ParseEvent] does.
func (e *Engine) Evaluate(text []byte, product, service, category string) ([]Hit, error) {
	s, _ := e.pool.Get().(*Scanner)
	defer func() {
		s.begin(nil)
		e.pool.Put(s)
	}()
	rules, err := s.Scan(text, product, service, category)
	if err != nil || len(rules) == 0 {
		return nil, err
	}
	event, err := s.parsed()
	if err != nil {
		return nil, err
	}
	hits := make([]Hit, 0, len(rules))
	v := newView(event)
	for _, r := range rules {
		m, _ := r.match(v)
		hits = append(hits, Hit{Rule: r, Match: m})
	}
	return hits, nil
}

// plan returns the plan of a source, and makes it when there are events of the source for the first time. It
// reports whether the plan is of more rules than cover the source.
func (e *Engine) plan(product, service, category string) (p *plan, wide bool) {
	var key []byte
	var covering []int
	for i := range e.sources {
		if e.sources[i].logSource.Covers(product, service, category) {
			key = append(key, byte(i), byte(i>>8), byte(i>>16), byte(i>>24))
			covering = append(covering, i)
		}
	}
	if p, ok := e.plans.Load(string(key)); ok {
		return p.(*plan), false
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if p, ok := e.plans.Load(string(key)); ok {
		return p.(*plan), false
	}
	if e.made >= mostPlans {
		if e.every == nil {
			e.every = e.planOf(nil, true)
		}
		return e.every, true
	}
	e.made++
	p = e.planOf(covering, false)
	e.plans.Store(string(key), p)
	return p, false
}

func (e *Engine) planOf(sources []int, all bool) *plan {
	var members []int32
	for i := range e.sources {
		if all || slices.Contains(sources, i) {
			members = append(members, e.sources[i].members...)
		}
	}
	slices.Sort(members)
	return e.compiler.newPlan(e.rules, e.programs, members)
}
