package rulecase

// shown is what tests show of a rule, a correlation or a filter.
type shown struct{ matches, passes bool }

func (s shown) with(match bool) shown {
	return shown{matches: s.matches || match, passes: s.passes || !match}
}

// lacks tells what no test shows, "" if nothing is lacking.
func (s shown) lacks(of subject) string {
	kind, does := "rule", "finds"
	switch {
	case of.correlation != nil:
		kind = "correlation"
	case of.filter != nil:
		kind, does = "filter", "leaves" // what matches in spite of it
	}
	switch {
	case !s.matches && !s.passes:
		return "the " + kind + " has no test"
	case !s.matches:
		return "no test shows what the " + kind + " " + does
	case !s.passes && of.filter != nil:
		return "no test shows what the filter hides"
	case !s.passes:
		return "no test shows what the " + kind + " lets pass"
	}
	return ""
}
