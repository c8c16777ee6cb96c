package sigma

import (
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	mostReferred = 64 // rules of one correlation
	mostGroups   = 16 // fields of group-by
	mostCounted  = 8  // fields of a condition
	mostAliases  = 64
	mostChained  = 8 // correlations below one
	maxTimespan  = 366 * 24 * time.Hour
)

// CorrelationType is what a correlation measures of the matches within its timespan.
type CorrelationType string

// The types of Sigma.
const (
	EventCount      CorrelationType = "event_count"      // how many events
	ValueCount      CorrelationType = "value_count"      // how many distinct values of a field
	Temporal        CorrelationType = "temporal"         // which rules
	TemporalOrdered CorrelationType = "temporal_ordered" // which rules, one after the other
	ValueSum        CorrelationType = "value_sum"        // the sum of a field
	ValueAvg        CorrelationType = "value_avg"        // its mean
	ValuePercentile CorrelationType = "value_percentile" // the value that a part of its values doesn't exceed
	ValueMedian     CorrelationType = "value_median"     // the value in their middle
)

// temporal reports whether the type asks which rules matched.
func (t CorrelationType) temporal() bool {
	return t == Temporal || t == TemporalOrdered
}

// numeric reports whether the type measures numbers.
func (t CorrelationType) numeric() bool {
	return t == ValueSum || t == ValueAvg || t == ValuePercentile || t == ValueMedian
}

// Correlation is a detection over the matches of rules, or the alerts of other correlations, that have the
// values of some fields in common and lie close in time.
type Correlation struct {
	Header
	Type       CorrelationType
	Rules      []string                     // IDs or names, as written
	GroupBy    []string                     // fields or aliases; empty where all matches belong together
	Aliases    map[string]map[string]string // alias, rule as written, field
	Timespan   time.Duration
	Condition  string   // for people: gte 10, or the expression over rules
	Fields     []string // whose values are counted or calculated with
	Percentile float64  // of value_percentile
	Generate   bool     // the rules give alerts of their own, too
	// Quiet says that the alerts are for other correlations only. It's set by [Collection.Link].
	Quiet bool

	references   []reference
	aliasLines   map[string]int
	groupLine    int
	fieldLine    int
	bounds       bounds
	alternatives []alternative // of the temporal types
	inputs       []input       // since Link
	referred     bool          // by another correlation, since Link
	depth        int           // of the chain of correlations below
	lag          int64         // nanoseconds by which alerts of its inputs may come later than events
}

// Least is how many observations of one group the condition needs at least to hold, 1 where that can't be said.
func (c *Correlation) Least() int {
	least := 1.0
	if c.Type == EventCount || c.Type == ValueCount {
		for _, b := range c.bounds {
			if b.operator == atLeast || b.operator == greater || b.operator == equals {
				least = max(least, b.value)
			}
		}
	}
	return int(min(least, math.MaxInt32))
}

// Inputs are the keys of the rules and correlations that a linked correlation refers to.
func (c *Correlation) Inputs() []string {
	keys := make([]string, len(c.inputs))
	for i, in := range c.inputs {
		keys[i] = in.key
	}
	return keys
}

// correlation reads the keys of a correlation.
func (d *document) correlation(top *yaml.Node, entries []entry, hash string) *Correlation {
	c := &Correlation{Header: Header{File: d.file, Line: d.before + top.Line, Hash: hash}}
	for _, e := range entries {
		switch e.name {
		case "correlation":
			d.correlate(c, e)
		case "generate":
			c.Generate = d.flag(e)
		default:
			if !d.header(&c.Header, e) {
				d.custom(&c.Header, e)
			}
		}
	}
	d.needs(top, entries, "title")
	return c
}

// correlate reads the heart of a correlation.
func (d *document) correlate(c *Correlation, e entry) {
	entries := d.entries(e.value, e.path)
	var condition *entry
	for _, member := range entries {
		switch member.name {
		case "type":
			c.Type = d.correlationType(member)
		case "rules":
			c.references = d.references(member)
		case "group-by":
			c.GroupBy, c.groupLine = d.names(member, mostGroups), d.before+member.value.Line
		case "timespan":
			c.Timespan = d.timespan(member)
		case "aliases":
			d.aliases(c, member)
		case "condition":
			condition = &member
		case "generate":
			c.Generate = d.flag(member)
		default:
			d.refuse(member.key, member.path, "is no key of a correlation")
		}
	}
	for _, name := range []string{"type", "timespan"} {
		if !has(entries, name) {
			d.refuse(e.key, e.path+"."+name, "is missing")
		}
	}
	if len(d.mistakes) == 0 {
		d.judged(c, e, condition)
	}
	for _, r := range c.references {
		c.Rules = append(c.Rules, r.text)
	}
}

// judged reads the condition, and what may stand in its place.
func (d *document) judged(c *Correlation, e entry, condition *entry) {
	if condition != nil && condition.value.Kind == yaml.ScalarNode {
		d.worded(c, *condition)
		return
	}
	if len(c.references) == 0 {
		d.refuse(e.key, e.path+".rules", "is missing")
		return
	}
	if len(c.references) > mostReferred {
		d.refuse(e.key, e.path+".rules", "names more than %d rules", mostReferred)
		return
	}
	if condition != nil {
		d.bounded(c, *condition)
		return
	}
	if !c.Type.temporal() {
		d.refuse(e.key, e.path+".condition", "is missing")
		return
	}
	all := bounds{{atLeast, float64(len(c.references))}}
	c.Condition = all.String()
	d.counted(c, all, e)
}

func (d *document) correlationType(e entry) CorrelationType {
	all := []string{
		string(EventCount), string(ValueCount), string(Temporal), string(TemporalOrdered),
		string(ValueSum), string(ValueAvg), string(ValuePercentile), string(ValueMedian),
	}
	got := d.oneOf(e, all...)
	if got == "" {
		d.refuse(e.value, e.path, "is none of %s", strings.Join(all, ", "))
	}
	return CorrelationType(got)
}

func (d *document) flag(e entry) bool {
	var value bool
	if e.value.Tag != "!!bool" || e.value.Decode(&value) != nil {
		d.refuse(e.value, e.path, "must be true or false, not %s", kindOf(e.value))
	}
	return value
}

// names reads a list of fields.
func (d *document) names(e entry, most int) []string {
	list := d.texts(e)
	seen := make(map[string]bool, len(list))
	for _, name := range list {
		if name == "" || seen[name] {
			d.refuse(e.value, e.path, "%q is empty or given twice", name)
		}
		seen[name] = true
	}
	if len(list) > most {
		d.refuse(e.value, e.path, "names more than %d fields", most)
	}
	return list
}

// timespan reads a number with the letter of a unit.
func (d *document) timespan(e entry) time.Duration {
	const second = int64(time.Second)
	units := map[string]int64{"s": second, "m": 60 * second, "h": 3600 * second, "d": 86400 * second, "w": 7 * 86400 * second}
	text := d.text(e)
	if text == "" {
		d.refuse(e.value, e.path, "is empty")
		return 0
	}
	last := len(text) - 1
	unit, known := units[text[last:]]
	count, err := strconv.ParseInt(text[:last], 10, 64)
	switch {
	case !known || err != nil || count < 0:
		d.refuse(e.value, e.path, "%q is no timespan such as 30s, 5m, 12h, 7d or 2w", text)
		return 0
	case count == 0 || count > int64(maxTimespan)/unit:
		d.refuse(e.value, e.path, "must be above zero and at most %d days, not %s", maxTimespan/(24*time.Hour), text)
		return 0
	}
	return time.Duration(count * unit)
}

// aliases reads which field each rule has for a name.
func (d *document) aliases(c *Correlation, e entry) {
	c.Aliases, c.aliasLines = make(map[string]map[string]string), make(map[string]int)
	entries := d.entries(e.value, e.path)
	if len(entries) > mostAliases {
		d.refuse(e.value, e.path, "are more than %d", mostAliases)
		return
	}
	for _, alias := range entries {
		fields := make(map[string]string)
		for _, one := range d.entries(alias.value, alias.path) {
			if fields[one.name] = d.text(one); fields[one.name] == "" {
				d.refuse(one.value, one.path, "needs the name of a field")
			}
		}
		c.Aliases[alias.name], c.aliasLines[alias.name] = fields, d.before+alias.key.Line
	}
}
