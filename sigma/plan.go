package sigma

import (
	"maps"
	"slices"
	"strings"
)

// plan is all that is needed for the events of one log source: what to read of them, and which rules that
// makes candidates.
type plan struct {
	rules   []int32 // that cover the source, in the engine's order
	trie    *trie
	always  []int32 // rules that give no signal
	fields  []*fieldIndex
	words   *fieldIndex // of keywords; nil where there are none
	leads   []lead
	endings int // of all automata
}

// lead is what a signal leads to.
type lead struct {
	rules []int32
	sure  []int32 // predicates that hold where there is the signal
}

// join adds what another lead has.
func (l *lead) join(other lead) {
	l.rules = append(l.rules, other.rules...)
	slices.Sort(l.rules)
	l.rules = slices.Compact(l.rules)
	l.sure = append(l.sure, other.sure...)
	slices.Sort(l.sure)
	l.sure = slices.Compact(l.sure)
}

// fieldIndex leads from what a field holds to leads.
type fieldIndex struct {
	present   int32
	literals  map[string]int32
	longest   int // of the literals, in bytes
	automaton *automaton
	endings   int // where the automaton's endings begin among the plan's
}

// planner makes a plan.
type planner struct {
	*compiler
	plan    *plan
	weights weights
	signals map[signal]lead
}

// newPlan makes the plan of some rules, given by their numbers.
func (c *compiler) newPlan(rules []*Rule, programs []program, members []int32) *plan {
	p := &planner{
		compiler: c,
		plan:     &plan{rules: members, fields: make([]*fieldIndex, len(c.names))},
		weights:  c.weigh(rules, members),
		signals:  make(map[signal]lead),
	}
	for _, number := range members {
		p.rule(rules[number], number)
	}
	p.build()
	p.plan.trie = newTrie(p.used(programs), c.names)
	return p.plan
}

func (c *compiler) weigh(rules []*Rule, members []int32) weights {
	var all [][]signal
	for _, number := range members {
		for _, s := range rules[number].selections {
			for _, g := range s.groups {
				for i := range g {
					all = append(all, c.items[&g[i]].signals)
				}
			}
		}
	}
	return weighSignals(all)
}

// rule enters a rule under the best of its signals.
func (p *planner) rule(r *Rule, number int32) {
	var signals []signal
	if r.condition != nil {
		signals = p.compiler.signals(r, r.condition, p.weights)
	}
	if len(signals) == 0 || slices.ContainsFunc(signals, everywhere) {
		p.plan.always = append(p.plan.always, number)
		return
	}
	for _, s := range signals {
		sure := s.sure
		s.sure = none
		l := p.signals[s]
		if len(l.rules) == 0 || l.rules[len(l.rules)-1] != number {
			l.rules = append(l.rules, number)
		}
		if sure != none {
			l.sure = append(l.sure, sure)
		}
		p.signals[s] = l
	}
}

// everywhere reports whether any event gives a signal.
func everywhere(s signal) bool {
	return s.field == "" && s.hint != hintNeedle
}

// build makes the indexes of fields.
func (p *planner) build() {
	texts := make(map[string]map[string]lead) // by field
	for s, l := range p.signals {
		switch x := p.index(s.field); s.hint {
		case hintPresence:
			x.present = p.lead(l)
		case hintLiteral:
			x.literals[s.text] = p.lead(l)
			x.longest = max(x.longest, len(s.text))
		case hintNeedle:
			if texts[s.field] == nil {
				texts[s.field] = make(map[string]lead)
			}
			texts[s.field][s.text] = l
		}
	}
	for field, leads := range texts {
		x := p.index(field)
		x.automaton = newAutomaton(p.needles(leads, field == ""))
		x.endings = p.plan.endings
		p.plan.endings += len(x.automaton.ends)
	}
}

// lead numbers a lead.
func (p *planner) lead(l lead) int32 {
	var tidy lead
	tidy.join(l)
	p.plan.leads = append(p.plan.leads, tidy)
	return int32(len(p.plan.leads)) - 1 //nolint:gosec // bounded by the bytes of rules
}

// needles makes needles of texts, cut where they are too many or too long. What is cut proves nothing.
func (p *planner) needles(leads map[string]lead, words bool) []needle {
	most := cutTo(slices.Collect(maps.Keys(leads)))
	cut := make(map[string]lead, len(leads))
	for text, l := range leads {
		if len(text) > most {
			text, l.sure = text[:most], nil
		}
		if words && !provable(text) {
			l.sure = nil
		}
		joined := cut[text]
		joined.rules = append(joined.rules, l.rules...)
		joined.sure = append(joined.sure, l.sure...)
		cut[text] = joined
	}
	list := make([]needle, 0, len(cut))
	for text, l := range cut {
		list = append(list, needle{text, p.lead(l)})
	}
	return list
}

// provable reports whether a needle that is found in a JSON text, outside of strings with escapes, is within a
// name or a scalar other than null.
func provable(text string) bool {
	return !strings.ContainsAny(text, "\"\\:,[]{} \t\r\n") && !strings.Contains("null", text)
}

// index returns a field's index.
func (p *planner) index(field string) *fieldIndex {
	x := &p.plan.words
	if field != "" {
		x = &p.plan.fields[p.fields[field]]
	}
	if *x == nil {
		*x = &fieldIndex{present: none, literals: make(map[string]int32)}
	}
	return *x
}

// used lists the fields that the plan's rules look at.
func (p *planner) used(programs []program) []int32 {
	used := make([]bool, len(p.names))
	for _, number := range p.plan.rules {
		for _, step := range programs[number].steps {
			one := &p.predicates[step.predicate]
			used[one.field] = true
			for _, field := range one.refer {
				used[field] = true
			}
		}
	}
	for s := range p.signals {
		used[p.fields[s.field]] = true
	}
	var fields []int32
	for field, is := range used {
		if is {
			fields = append(fields, int32(field))
		}
	}
	return fields
}
