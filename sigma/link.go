package sigma

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Linked is a collection of which the references are known and the filters are part of the rules: ready to
// evaluate. It doesn't change.
type Linked struct {
	Rules        []*Rule
	Correlations []*Correlation // each after those that it refers to
	Filters      []*Filter      // in force
	Expired      []*Filter
	// NextExpiry is when the next filter ends, zero for never. Whoever evaluates links the collection again then.
	NextExpiry time.Time

	uses map[string][]use // by the key of a rule or a correlation
}

// use is a correlation that refers to something, and the number that it has there.
type use struct {
	correlation *Correlation
	input       int
}

// input is what a correlation refers to: a rule, or another correlation.
type input struct {
	key     string
	groupBy map[string]string // the field for each of the correlation's own names
	fields  []string          // whose values are counted
}

// target is what a reference may mean. One of both is set.
type target struct {
	rule        *Rule
	correlation *Correlation
}

func (t target) header() *Header {
	if t.rule != nil {
		return &t.rule.Header
	}
	return &t.correlation.Header
}

// linker resolves references.
type linker struct {
	at       time.Time
	byID     map[string]target
	byName   map[string][]target
	filters  map[*Rule][]*Filter
	linked   *Linked
	byKey    map[string]*Correlation // those linked
	state    map[*Correlation]linkState
	path     []*Correlation // from the outermost correlation to the present one
	circular map[*Correlation]bool
	mistakes []error
}

type linkState uint8

const (
	unseen linkState = iota
	open
	done
	refused
)

// Link resolves what correlations and filters refer to, and makes the filters that are in force at a time part
// of their rules. The collection itself doesn't change, and may be linked again for another time, or with more
// in it. What can't be resolved gives errors of type [*Error], joined, and is left out of what is returned
// beside them: a correlation of which a rule is missing, those that refer to it, correlations in a circle,
// filters that would never apply.
func (c *Collection) Link(at time.Time) (*Linked, error) {
	l := &linker{
		at: at, byID: make(map[string]target), byName: make(map[string][]target), filters: make(map[*Rule][]*Filter),
		linked: &Linked{uses: make(map[string][]use)}, byKey: make(map[string]*Correlation),
		state: make(map[*Correlation]linkState), circular: make(map[*Correlation]bool),
	}
	rules := l.register(c)
	for _, one := range c.Correlations {
		l.correlation(one)
	}
	loud := l.loud()
	for _, r := range rules {
		l.linked.Rules = append(l.linked.Rules, l.rule(r, loud))
	}
	for _, one := range l.linked.Correlations {
		one.Quiet = one.referred && !loud[one.Key()]
	}
	return l.linked, errors.Join(l.mistakes...)
}

// register makes rules and correlations known by ID and name, and sorts the filters to their rules.
func (l *linker) register(c *Collection) []*Rule {
	var rules []*Rule
	for _, r := range c.Rules {
		r = r.Unfiltered()
		if l.add(target{rule: r}) {
			rules = append(rules, r)
		}
	}
	for _, one := range c.Correlations {
		if !l.add(target{correlation: one}) {
			l.state[one] = refused
		}
	}
	for _, f := range c.Filters {
		l.filter(f, rules)
	}
	return rules
}

// add makes a target known, unless another one has its ID.
func (l *linker) add(t target) bool {
	h := t.header()
	if h.ID != "" {
		if first, taken := l.byID[h.ID]; taken {
			l.refuse(h, h.Line, "id", "%s is the ID of the rule at %s:%d, too", h.ID, first.header().File, first.header().Line)
			return false
		}
		l.byID[h.ID] = t
	}
	if h.Name != "" {
		l.byName[h.Name] = append(l.byName[h.Name], t)
	}
	return true
}

func (l *linker) refuse(h *Header, line int, key, format string, args ...any) {
	l.mistakes = append(l.mistakes, &Error{File: h.File, Line: line, Key: key, Problem: fmt.Sprintf(format, args...)})
}

// resolve finds what a reference means.
func (l *linker) resolve(h *Header, r reference) (target, bool) {
	var all []target
	if t, ok := l.byID[r.text]; ok {
		all = append(all, t)
	}
	for _, t := range l.byName[r.text] {
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	switch len(all) {
	case 0:
		l.refuse(h, r.line, r.path, "%q is the ID or the name of no rule and no correlation", r.text)
		return target{}, false
	case 1:
		return all[0], true
	}
	a, b := all[0].header(), all[1].header()
	l.refuse(h, r.line, r.path, "%q may mean %s:%d or %s:%d; say which by its ID", r.text, a.File, a.Line, b.File, b.Line)
	return target{}, false
}

// correlation links one correlation, after those that it refers to.
func (l *linker) correlation(c *Correlation) bool {
	switch l.state[c] {
	case done:
		return true
	case refused:
		return false
	case open:
		l.circle(c)
		return false
	case unseen:
	}
	l.state[c] = open
	l.path = append(l.path, c)
	linked := *c
	linked.inputs = nil
	ok := true
	for _, r := range c.references {
		ok = l.input(&linked, r) && ok
	}
	l.path = l.path[:len(l.path)-1]
	if !ok || !l.aliased(&linked) || !l.alone(&linked) {
		l.state[c] = refused
		return false
	}
	l.state[c] = done
	l.publish(&linked)
	return true
}

// input links one of a correlation's references.
func (l *linker) input(c *Correlation, r reference) bool {
	t, ok := l.resolve(&c.Header, r)
	if !ok {
		return false
	}
	if t.correlation != nil && !l.correlation(t.correlation) {
		if l.state[t.correlation] == refused && !l.circular[t.correlation] {
			l.refuse(&c.Header, r.line, r.path, "refers to %s, which was refused", r.text)
		}
		return false
	}
	in := input{key: t.header().Key()}
	if slices.ContainsFunc(c.inputs, func(other input) bool { return other.key == in.key }) {
		l.refuse(&c.Header, r.line, r.path, "%q is a rule that is named before, too", r.text)
		return false
	}
	in.groupBy = make(map[string]string, len(c.GroupBy))
	for _, name := range c.GroupBy {
		in.groupBy[name] = l.field(c, name, t)
	}
	for _, name := range c.Fields {
		in.fields = append(in.fields, l.field(c, name, t))
	}
	ok = l.carried(c, r, t, in)
	if of := t.correlation; of != nil {
		linked := l.byKey[in.key]
		c.lag, c.depth = max(c.lag, linked.lag+of.ahead()+int64(of.Timespan)), max(c.depth, linked.depth+1)
		if c.depth > mostChained {
			l.refuse(&c.Header, r.line, r.path, "is a chain of more than %d correlations", mostChained+1)
			return false
		}
	}
	c.inputs = append(c.inputs, in)
	return ok
}

// field is what a name of a correlation means in the events of one of its rules, empty where an alias doesn't
// say.
func (l *linker) field(c *Correlation, name string, t target) string {
	alias, ok := c.Aliases[name]
	if !ok {
		return name
	}
	h := t.header()
	if field, ok := alias[h.ID]; ok && h.ID != "" {
		return field
	}
	return alias[h.Name]
}

// carried checks that what a correlation refers to has the fields that it asks for.
func (l *linker) carried(c *Correlation, r reference, t target, in input) bool {
	ok := true
	check := func(name, field string, line int, key string) {
		switch {
		case field == "":
			l.refuse(&c.Header, c.aliasLines[name], "correlation.aliases."+name, "doesn't say what it is in the events of %s", r.text)
			ok = false
		case t.correlation != nil && !slices.Contains(t.correlation.GroupBy, field):
			l.refuse(&c.Header, line, key, "the correlation %s has no field %q; it groups by %s",
				r.text, field, strings.Join(t.correlation.GroupBy, ", "))
			ok = false
		}
	}
	for _, name := range c.GroupBy {
		check(name, in.groupBy[name], c.groupLine, "correlation.group-by")
	}
	for i, name := range c.Fields {
		check(name, in.fields[i], c.fieldLine, "correlation.condition.field")
	}
	return ok
}

// aliased checks that aliases speak of the correlation's own rules.
func (l *linker) aliased(c *Correlation) bool {
	ok := true
	for _, name := range slices.Sorted(maps.Keys(c.Aliases)) {
		for _, rule := range slices.Sorted(maps.Keys(c.Aliases[name])) {
			t, known := l.byID[rule]
			if !known && len(l.byName[rule]) > 0 {
				t, known = l.byName[rule][0], true
			}
			if !known || !slices.ContainsFunc(c.inputs, func(in input) bool { return in.key == t.header().Key() }) {
				l.refuse(&c.Header, c.aliasLines[name], "correlation.aliases."+name+"."+rule, "is none of the correlation's rules")
				ok = false
			}
		}
	}
	return ok
}

// circle refuses a correlation that is reached by what it refers to.
func (l *linker) circle(c *Correlation) {
	var names []string
	for _, one := range l.path[slices.Index(l.path, c):] {
		l.circular[one] = true
		names = append(names, one.Title)
	}
	l.refuse(&c.Header, c.Line, "correlation.rules", "refers to itself: %s", strings.Join(append(names, c.Title), " → "))
}

// alone checks that no other correlation has the same key, under which what was observed is kept.
func (l *linker) alone(c *Correlation) bool {
	other, taken := l.byKey[c.Key()]
	if taken {
		l.refuse(&c.Header, c.Line, "name", "the correlation at %s:%d is called the same; give one of them an ID", other.File, other.Line)
	}
	return !taken
}

// publish makes a linked correlation known to what it refers to.
func (l *linker) publish(c *Correlation) {
	for i, in := range c.inputs {
		l.linked.uses[in.key] = append(l.linked.uses[in.key], use{correlation: c, input: i})
		if other, ok := l.byKey[in.key]; ok {
			other.referred = true
		}
	}
	l.byKey[c.Key()] = c
	l.linked.Correlations = append(l.linked.Correlations, c)
}

// loud lists what a correlation refers to and still gives alerts of its own, by key.
func (l *linker) loud() map[string]bool {
	loud := make(map[string]bool)
	for key, uses := range l.linked.uses {
		loud[key] = slices.ContainsFunc(uses, func(u use) bool { return u.correlation.Generate })
	}
	return loud
}

// filter adds a filter to the rules that it concerns.
func (l *linker) filter(f *Filter, rules []*Rule) {
	if f.Expired(l.at) {
		l.linked.Expired = append(l.linked.Expired, f)
		return
	}
	l.linked.Filters = append(l.linked.Filters, f)
	if next := l.linked.NextExpiry; !f.Expires.IsZero() && (next.IsZero() || f.Expires.Before(next)) {
		l.linked.NextExpiry = f.Expires
	}
	for _, r := range rules {
		if f.Any && f.covers(r) {
			l.filters[r] = append(l.filters[r], f)
		}
	}
	for _, r := range f.references {
		t, ok := l.resolve(&f.Header, r)
		switch {
		case !ok:
		case t.rule == nil:
			l.refuse(&f.Header, r.line, r.path, "%q is a correlation; filter the rules that it refers to", r.text)
		case !f.covers(t.rule):
			l.refuse(&f.Header, r.line, r.path, "the filter's log source isn't that of the rule %s at %s:%d, so it would never apply",
				r.text, t.rule.File, t.rule.Line)
		case !slices.Contains(l.filters[t.rule], f):
			l.filters[t.rule] = append(l.filters[t.rule], f)
		}
	}
}

func (f *Filter) covers(r *Rule) bool {
	return f.LogSource.Covers(r.LogSource.Product, r.LogSource.Service, r.LogSource.Category)
}

// rule is a rule with its filters, and knows whether it is for correlations only.
func (l *linker) rule(r *Rule, loud map[string]bool) *Rule {
	linked := *r
	if filters := l.filters[r]; len(filters) > 0 {
		linked = *r.filtered(filters)
	}
	generates, used := loud[r.Key()]
	linked.Quiet = used && !generates
	return &linked
}
