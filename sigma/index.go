package sigma

import "slices"

// need is a field with a literal that an event must have there.
type need struct {
	field   string
	literal string
}

// index finds the rules of which an event has what every match needs.
type index struct {
	fields []indexedField
	always []int // rules that need nothing that can be indexed
}

// indexedField leads from a field's values to rules.
type indexedField struct {
	name  string
	rules map[string][]int
}

// weigh counts the distinct literals that rules ask for, by field. Fields with many tell events apart best.
func weigh(rules []*Rule) map[string]int {
	seen := make(map[need]bool)
	weights := make(map[string]int)
	for _, r := range rules {
		for _, s := range r.selections {
			for _, g := range s.groups {
				for i := range g {
					for _, n := range g[i].needs() {
						if !seen[n] {
							seen[n] = true
							weights[n.field]++
						}
					}
				}
			}
		}
	}
	return weights
}

// newIndex indexes some of the rules, given by their numbers.
func newIndex(rules []*Rule, members []int, weights map[string]int) index {
	var x index
	at := make(map[string]int)
	for _, member := range members {
		needs := rules[member].needs(rules[member].condition, weights)
		if len(needs) == 0 {
			x.always = append(x.always, member)
		}
		for _, n := range needs {
			i, ok := at[n.field]
			if !ok {
				i = len(x.fields)
				at[n.field] = i
				x.fields = append(x.fields, indexedField{name: n.field, rules: make(map[string][]int)})
			}
			if list := x.fields[i].rules[n.literal]; !slices.Contains(list, member) {
				x.fields[i].rules[n.literal] = append(list, member)
			}
		}
	}
	return x
}

// candidates appends the numbers of the rules that may match, some of them more than once.
func (x *index) candidates(v *view, to []int) []int {
	to = append(to, x.always...)
	for i := range x.fields {
		f := v.field(x.fields[i].name)
		for j := range f.leaves {
			l := &f.leaves[j]
			if l.null() {
				continue
			}
			to = append(to, x.fields[i].rules[l.fold()]...)
			if n := l.number(); n != l.text {
				to = append(to, x.fields[i].rules[n]...)
			}
		}
	}
	return to
}

// needs lists literals of which every event that fulfils an expression has one. None means that nothing can
// be said.
func (r *Rule) needs(x *expression, weights map[string]int) []need {
	if x == nil {
		return nil
	}
	switch x.connective {
	case both:
		var best []need
		for _, operand := range x.operands {
			best = better(best, r.needs(operand, weights), weights)
		}
		return best
	case either:
		var all []need
		for _, operand := range x.operands {
			some := r.needs(operand, weights)
			if len(some) == 0 {
				return nil
			}
			all = append(all, some...)
		}
		return all
	case negation:
		return nil
	default:
		return r.selections[x.selection].needs(weights)
	}
}

func (s *selection) needs(weights map[string]int) []need {
	var all []need
	for _, g := range s.groups {
		var best []need
		for i := range g {
			best = better(best, g[i].needs(), weights)
		}
		if len(best) == 0 {
			return nil
		}
		all = append(all, best...)
	}
	return all
}

// needs of an item are its values, when all of them are literals.
func (it *item) needs() []need {
	if it.field == "" || it.modifiers.negated || it.modifiers.element {
		return nil
	}
	all := make([]need, 0, len(it.atoms))
	for i := range it.atoms {
		if !it.atoms[i].isLiteral {
			return nil
		}
		all = append(all, need{field: it.field, literal: it.atoms[i].literal})
	}
	return all
}

// better returns the one of two sets of needs that fewer events fulfil: the one whose least telling field
// tells more, then the shorter one.
func better(a, b []need, weights map[string]int) []need {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return b
	}
	x, y := telling(a, weights), telling(b, weights)
	if y > x || y == x && len(b) < len(a) {
		return b
	}
	return a
}

func telling(needs []need, weights map[string]int) int {
	least := weights[needs[0].field]
	for _, n := range needs[1:] {
		least = min(least, weights[n.field])
	}
	return least
}
