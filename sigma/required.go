package sigma

import "regexp/syntax"

const (
	mostRequired      = 32   // texts of which a match needs one
	mostRequiredBytes = 1024 // of all of them
)

// required lists folded texts of which every text that a regular expression matches has one, once folded. None
// means that nothing can be said.
func required(expression string) []string {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil
	}
	r := requirement(parsed.Simplify())
	return r.texts()
}

// requires is what is known of the texts that a part of an expression matches.
type requires struct {
	exact []string // all of them, folded; none where they can't be listed
	some  []string // texts of which each has one
}

// texts lists what must be there, whichever way it is known.
func (r requires) texts() []string {
	if telling := length(r.exact); telling > 0 && telling >= length(r.some) {
		return r.exact
	}
	return r.some
}

// length is that of the shortest text; -1 for none.
func length(texts []string) int {
	shortest := -1
	for _, text := range texts {
		if shortest < 0 || len(text) < shortest {
			shortest = len(text)
		}
	}
	return shortest
}

func requirement(x *syntax.Regexp) requires {
	switch x.Op { //nolint:exhaustive // of the others nothing is known
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return requires{exact: []string{""}}
	case syntax.OpLiteral:
		return requires{exact: []string{fold(string(x.Rune))}}
	case syntax.OpCharClass:
		return requires{exact: members(x.Rune)}
	case syntax.OpCapture:
		return requirement(x.Sub[0])
	case syntax.OpPlus:
		return requires{some: requirement(x.Sub[0]).texts()}
	case syntax.OpQuest:
		if exact := requirement(x.Sub[0]).exact; exact != nil {
			return requires{exact: union(exact, []string{""})}
		}
	case syntax.OpConcat:
		return sequence(x.Sub)
	case syntax.OpAlternate:
		return alternation(x.Sub)
	}
	return requires{}
}

// members lists a small class of characters, folded.
func members(ranges []rune) []string {
	var all []string
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] >= mostRequired {
			return nil
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if all = union(all, []string{string(foldRune(r))}); all == nil {
				return nil
			}
		}
	}
	return all
}

// sequence joins what can be listed, part by part, and takes the most telling stretch of it.
func sequence(parts []*syntax.Regexp) requires {
	var best []string
	run, whole := []string{""}, true
	for _, part := range parts {
		r := requirement(part)
		joined := product(run, r.exact)
		if joined == nil {
			whole = false
			best = moreTelling(moreTelling(best, run), r.texts())
			if joined = r.exact; joined == nil {
				joined = []string{""}
			}
		}
		run = joined
	}
	if whole {
		return requires{exact: run}
	}
	return requires{some: moreTelling(best, run)}
}

// alternation takes what each branch needs together. A branch that needs nothing frees all.
func alternation(branches []*syntax.Regexp) requires {
	var exact, some []string
	listed, needed := true, true
	for _, branch := range branches {
		r := requirement(branch)
		if listed = listed && r.exact != nil; listed {
			exact = union(exact, r.exact)
			listed = exact != nil
		}
		texts := r.texts()
		if needed = needed && length(texts) > 0; needed {
			some = union(some, texts)
			needed = some != nil
		}
	}
	if listed {
		return requires{exact: exact}
	}
	if needed {
		return requires{some: some}
	}
	return requires{}
}

// moreTelling returns the texts of which the shortest is longer.
func moreTelling(a, b []string) []string {
	if length(b) > length(a) && length(b) > 0 {
		return b
	}
	if length(a) > 0 {
		return a
	}
	return nil
}

// product lists each text of one list followed by each of another; none where these are too many.
func product(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 || len(a)*len(b) > mostRequired {
		return nil
	}
	var all []string
	for _, x := range a {
		for _, y := range b {
			if all = union(all, []string{x + y}); all == nil {
				return nil
			}
		}
	}
	return all
}

// union lists the texts of both lists once; none where these are too many.
func union(a, b []string) []string {
	all := append([]string(nil), a...)
	size := 0
	for _, text := range all {
		size += len(text)
	}
next:
	for _, text := range b {
		for _, had := range all {
			if had == text {
				continue next
			}
		}
		all = append(all, text)
		if size += len(text); len(all) > mostRequired || size > mostRequiredBytes {
			return nil
		}
	}
	return all
}
