package sigma

import "slices"

// hint is what of an event tells that a rule may match.
type hint uint8

const (
	hintPresence hint = iota // the field is there
	hintLiteral              // the field has the text, folded, as one of its values
	hintNeedle               // one of the field's values, folded, has the text within
)

// signal is a necessary condition that is cheap to see.
type signal struct {
	field string // empty for keywords
	hint  hint
	text  string // folded
	sure  int32  // the predicate that holds where the signal is given, or none
}

// form is how an atom looks at its field.
type form uint8

const (
	formUnknown    form = iota // only the interpreter knows
	formPattern                // text with wildcards
	formExpression             // a regular expression
	formNumber                 // a number by its value
	formValue                  // anything else about one value that isn't null
	formReference              // another field
	formNull                   // null or absence
	formExists                 // presence or absence
)

// form tells what the engine knows of one of the item's atoms. What was added to the language since is unknown.
func (it *item) form(a *atom) form {
	m := &it.modifiers
	switch {
	case a.pattern != nil:
		return formPattern
	case a.expression != nil:
		return formExpression
	case m.expand:
		return formUnknown
	case m.reference:
		return formReference
	case m.operator == exists:
		return formExists
	case a.isLiteral:
		return formNumber
	case m.operator == within, m.operator.ordering(), m.part != "":
		return formValue
	case m.operator == equals && a.written == "null":
		return formNull
	}
	return formUnknown
}

// signals lists some of which every event that fulfils the item gives at least one: those of its values, or of
// the best of them where it asks for all. The field must at least be there, unless absence will do. None means
// that nothing can be said. The item is given by its predicate, too.
func (it *item) signals(predicate int32) []signal {
	if it.modifiers.negated {
		return nil
	}
	var all []signal
	for i := range it.atoms {
		some := it.atomSignals(&it.atoms[i], predicate)
		switch {
		case !it.modifiers.all && some == nil:
			return nil
		case !it.modifiers.all:
			all = append(all, some...)
		case shortest(some) > shortest(all):
			all = some
		}
	}
	if it.modifiers.all && len(it.atoms) > 1 {
		for i := range all {
			all[i].sure = none
		}
	}
	return all
}

// shortest is the length of the shortest text, negative where there is none.
func shortest(signals []signal) int {
	least := -1
	for i, s := range signals {
		if i == 0 || len(s.text) < least {
			least = len(s.text)
		}
	}
	return least
}

func (it *item) atomSignals(a *atom, predicate int32) []signal {
	there := []signal{{field: it.field, hint: hintPresence, sure: none}}
	switch it.form(a) { //nolint:exhaustive // the others have no signal
	case formPattern:
		if a.isLiteral {
			return []signal{{field: it.field, hint: hintLiteral, text: a.literal, sure: predicate}}
		}
		text, sure := a.pattern.needle()
		if text == "" {
			return there
		}
		if !sure {
			predicate = none
		}
		return []signal{{field: it.field, hint: hintNeedle, text: text, sure: predicate}}
	case formExpression:
		var all []signal
		for _, text := range required(a.expression.String()) {
			all = append(all, signal{field: it.field, hint: hintNeedle, text: text, sure: none})
		}
		if all == nil {
			return there
		}
		return all
	case formNumber:
		return []signal{{field: it.field, hint: hintLiteral, text: fold(a.literal), sure: none}}
	case formValue, formReference:
		return there
	case formExists:
		if _, ok := a.find(nil, &found{present: true}); ok {
			return there
		}
	}
	return nil
}

// needle returns the longest text that is in every text the pattern matches, once both are folded, and whether
// being within it is all that the pattern asks for.
func (p *pattern) needle() (string, bool) {
	var best string
	for i := range p.segments {
		s := &p.segments[i]
		if s.runes == nil {
			if len(s.literal) > len(best) {
				best = s.literal
			}
			continue
		}
		begin := 0
		for j := 0; j <= len(s.runes); j++ {
			if j == len(s.runes) || s.runes[j] < 0 {
				if run := string(s.runes[begin:j]); len(run) > len(best) {
					best = run
				}
				begin = j + 1
			}
		}
	}
	around := len(p.segments) == 3 && p.segments[0].empty() && p.segments[2].empty()
	return fold(best), around && !p.cased && p.segments[1].runes == nil
}

func (s *segment) empty() bool {
	return s.runes == nil && s.literal == ""
}

// weights tell how well the texts that are asked for in a field tell events apart: how many there are.
type weights map[string]int

// weighSignals counts the distinct texts that items ask for, by field.
func weighSignals(all [][]signal) weights {
	seen := make(map[signal]bool)
	w := make(weights)
	for _, signals := range all {
		for _, s := range signals {
			s.sure = none
			if s.hint != hintPresence && !seen[s] {
				seen[s] = true
				w[s.field]++
			}
		}
	}
	return w
}

// telling is how much a signal's absence can be hoped for. The more texts are asked for in a field, the more
// events have none of them; a short needle is in many texts; a field that is there says little.
func (w weights) telling(s signal) int {
	switch {
	case s.hint == hintPresence && s.field == "":
		return 0
	case s.hint == hintPresence:
		return 1
	case s.hint == hintNeedle && len(s.text) < 8:
		return min(2*w[s.field], 1<<(2*len(s.text)))
	}
	return 2 * w[s.field]
}

// better returns the signals that fewer events give: those whose least telling one tells more, or else the
// fewer ones.
func (w weights) better(a, b []signal) []signal {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return b
	}
	x, y := w.least(a), w.least(b)
	if y > x || y == x && len(b) < len(a) {
		return b
	}
	return a
}

func (w weights) least(signals []signal) int {
	return w.telling(slices.MinFunc(signals, func(a, b signal) int { return w.telling(a) - w.telling(b) }))
}
