package sigma

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Filter is an exclusion that lives apart from the rules it concerns, and so outlasts their updates. Its
// condition becomes part of theirs: both must hold. Therefore it says what stays, as in "not selection".
type Filter struct {
	Header
	LogSource LogSource
	Rules     []string  // IDs or names of the rules concerned
	Any       bool      // all rules of the log source are concerned
	Owner     string    // whom to ask
	Reason    string    // why what it hides is expected
	Expires   time.Time // from when on it hides nothing; zero for never

	references []reference
	selections []selection
	condition  *expression
}

// Expired reports whether the filter is out of force at a time.
func (f *Filter) Expired(at time.Time) bool {
	return !f.Expires.IsZero() && !at.Before(f.Expires)
}

// filter reads the keys of a filter.
func (d *document) filter(top *yaml.Node, entries []entry, hash string) *Filter {
	f := &Filter{Header: Header{File: d.file, Line: d.before + top.Line, Hash: hash}}
	for _, e := range entries {
		switch e.name {
		case "logsource":
			f.LogSource = d.logSource(e)
		case "filter":
			d.exclusion(f, e)
		case "owner":
			f.Owner = d.text(e)
		case "reason":
			f.Reason = d.text(e)
		case "expires":
			f.Expires = d.expiry(e)
		default:
			if !d.header(&f.Header, e) {
				d.custom(&f.Header, e)
			}
		}
	}
	d.needs(top, entries, "title", "logsource")
	return f
}

// exclusion reads whom a filter concerns, and what of them stays.
func (d *document) exclusion(f *Filter, e entry) {
	if e.value.Kind != yaml.MappingNode {
		d.refuse(e.value, e.path, "must be a mapping, not %s", kindOf(e.value))
		return
	}
	found := false
	for i := 0; i+1 < len(e.value.Content); i += 2 {
		key, value := e.value.Content[i], e.value.Content[i+1]
		switch key.Value {
		case "rules":
			found = true
			d.concerned(f, entry{name: key.Value, path: e.path + ".rules", key: key, value: value})
		case "condition":
			if value.Kind == yaml.SequenceNode {
				d.refuse(value, e.path+".condition", "must be one condition; of several, any would be enough for a match to stay")
				return
			}
		}
	}
	if !found {
		d.refuse(e.key, e.path+".rules", "is missing; any means each rule of the log source")
	}
	f.selections, f.condition = d.detection(e, "rules")
	if len(d.mistakes) == 0 && !f.condition.idle() {
		d.refuse(e.value, e.path+".condition", "would keep back all that it doesn't select: it is added to the rule's own condition by and, "+
			"so that what to exclude is written as not selection")
	}
}

func (d *document) concerned(f *Filter, e entry) {
	if e.value.Kind == yaml.ScalarNode && (strings.EqualFold(e.value.Value, "any") || strings.EqualFold(e.value.Value, "all")) {
		f.Any = true
		return
	}
	f.references = d.references(e)
	for _, r := range f.references {
		f.Rules = append(f.Rules, r.text)
	}
}

// expiry reads a time. A date alone ends with that day, in UTC.
func (d *document) expiry(e entry) time.Time {
	text := d.text(e)
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1)
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d.refuse(e.value, e.path, "%q is neither a date such as 2026-12-31 nor a time such as 2026-12-31T12:00:00Z", text)
	}
	return at
}

// idle reports whether an expression holds where no selection does.
func (x *expression) idle() bool {
	switch x.connective {
	case both:
		return !slices.ContainsFunc(x.operands, func(o *expression) bool { return !o.idle() })
	case either:
		return slices.ContainsFunc(x.operands, (*expression).idle)
	case negation:
		return !x.operands[0].idle()
	default:
		return false
	}
}

// shifted is the expression for selections that stand further back in their list.
func (x *expression) shifted(by int) *expression {
	moved := &expression{connective: x.connective, selection: x.selection}
	if x.connective == selected {
		moved.selection += by
	}
	for _, o := range x.operands {
		moved.operands = append(moved.operands, o.shifted(by))
	}
	return moved
}

// filtered is the rule with filters as part of its condition.
func (r *Rule) filtered(filters []*Filter) *Rule {
	changed := *r
	changed.Filters, changed.unfiltered = filters, r
	changed.selections = slices.Clone(r.selections)
	operands := []*expression{r.condition}
	for _, f := range filters {
		operands = append(operands, f.condition.shifted(len(changed.selections)))
		for _, s := range f.selections {
			changed.selections = append(changed.selections, selection{name: f.Key() + "." + s.name, groups: s.groups})
		}
	}
	changed.condition = &expression{connective: both, operands: operands}
	return &changed
}

// Unfiltered is the rule without its filters, as it was read.
func (r *Rule) Unfiltered() *Rule {
	if r.unfiltered != nil {
		return r.unfiltered
	}
	return r
}

// HiddenBy lists the filters that keep the rule from matching an event. It is empty where the rule matches, or
// wouldn't without filters either.
func (r *Rule) HiddenBy(e *Event) []*Filter {
	if len(r.Filters) == 0 {
		return nil
	}
	v := newView(e)
	if _, ok := r.Unfiltered().match(v); !ok {
		return nil
	}
	var hiding []*Filter
	for _, f := range r.Filters {
		if alone := (&Rule{selections: f.selections}); !alone.holds(f.condition, v) {
			hiding = append(hiding, f)
		}
	}
	return hiding
}
