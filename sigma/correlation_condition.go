package sigma

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mostAlternatives is how many sets of rules a condition may stand for.
const mostAlternatives = 64

const (
	equal    operator = "eq"
	notEqual operator = "neq"
)

// bound is one comparison of a correlation's measure.
type bound struct {
	operator operator
	value    float64
}

// bounds must hold together.
type bounds []bound

// alternative is one way in which a temporal condition holds: rules by their number, as bits.
type alternative struct {
	present uint64
	absent  uint64
}

func (b bounds) String() string {
	texts := make([]string, len(b))
	for i, one := range b {
		texts[i] = string(one.operator) + " " + strconv.FormatFloat(one.value, 'f', -1, 64)
	}
	return strings.Join(texts, " and ")
}

func (b bounds) hold(measure float64) bool {
	for _, one := range b {
		if !one.holds(measure) {
			return false
		}
	}
	return true
}

func (b bound) holds(measure float64) bool {
	switch b.operator {
	case less:
		return measure < b.value
	case atMost:
		return measure <= b.value
	case greater:
		return measure > b.value
	case atLeast:
		return measure >= b.value
	case equal:
		return measure == b.value
	default:
		return measure != b.value
	}
}

// rising reports whether what holds goes on holding as the measure grows.
func (b bounds) rising() bool {
	return !slices.ContainsFunc(b, func(one bound) bool { return one.operator != greater && one.operator != atLeast })
}

// possible reports whether a measure between two limits can hold; whole is set where it's a count.
func (b bounds) possible(least, most float64, whole bool) bool {
	step := 0.0
	if whole {
		step = 1
	}
	open := false
	excluded := make(map[float64]bool)
	for _, one := range b {
		switch one.operator {
		case greater:
			least, open = max(least, one.value+step), open || !whole
		case atLeast:
			least = max(least, one.value)
		case less:
			most, open = min(most, one.value-step), open || !whole
		case atMost:
			most = min(most, one.value)
		case equal:
			least, most = max(least, one.value), min(most, one.value)
		default:
			excluded[one.value] = true
		}
	}
	return least < most || least == most && !open && !excluded[least]
}

// bounded reads a condition of comparisons.
func (d *document) bounded(c *Correlation, e entry) {
	var all bounds
	for _, member := range d.entries(e.value, e.path) {
		switch member.name {
		case "gt", "gte", "lt", "lte", "eq", "neq":
			all = append(all, bound{operator(member.name), d.threshold(c, member)})
		case "field":
			c.Fields, c.fieldLine = d.names(member, mostCounted), d.before+member.value.Line
		case "percentile":
			c.Percentile = d.percentile(c, member)
		default:
			d.refuse(member.key, member.path, "is none of gt, gte, lt, lte, eq, neq, field, percentile")
		}
	}
	if len(all) == 0 && len(d.mistakes) == 0 {
		d.refuse(e.key, e.path, "compares with nothing; it needs one of gt, gte, lt, lte, eq, neq")
	}
	c.Condition = all.String()
	if len(d.mistakes) == 0 {
		d.counted(c, all, e)
	}
}

// threshold reads the number of a comparison.
func (d *document) threshold(c *Correlation, e entry) float64 {
	number, err := strconv.ParseFloat(e.value.Value, 64)
	if e.value.Kind != yaml.ScalarNode || e.value.Tag != "!!int" && e.value.Tag != "!!float" || err != nil || math.IsInf(number, 0) || math.IsNaN(number) {
		d.refuse(e.value, e.path, "must be a number, not %s", kindOf(e.value))
		return 0
	}
	if !c.Type.numeric() && (number != math.Trunc(number) || math.Abs(number) >= 1<<53) {
		d.refuse(e.value, e.path, "is compared with a count; it must be a whole number, not %s", e.value.Value)
	}
	return number
}

func (d *document) percentile(c *Correlation, e entry) float64 {
	number, err := strconv.ParseFloat(e.value.Value, 64)
	switch {
	case c.Type != ValuePercentile:
		d.refuse(e.key, e.path, "belongs to value_percentile, not to %s", c.Type)
	case e.value.Kind != yaml.ScalarNode || err != nil || !(number > 0 && number <= 100):
		d.refuse(e.value, e.path, "must be a number above 0, up to 100")
	}
	return number
}

// counted checks comparisons, and makes those of the temporal types sets of rules.
func (d *document) counted(c *Correlation, all bounds, e entry) {
	c.bounds = all
	most := math.Inf(1)
	if c.Type.temporal() {
		most = float64(len(c.references))
	}
	least := 1.0 // a window is judged because something was observed
	if c.Type.numeric() {
		least = math.Inf(-1)
	}
	if !all.possible(least, most, !c.Type.numeric()) {
		d.refuse(e.value, e.path, "can never hold: %s", all)
		return
	}
	d.countedFields(c, e)
	if c.Type == TemporalOrdered {
		d.ordered(c, all, e)
	}
}

// countedFields checks that there are fields where the type needs some.
func (d *document) countedFields(c *Correlation, e entry) {
	needs := c.Type == ValueCount || c.Type.numeric()
	switch {
	case !needs && len(c.Fields) > 0:
		d.refuse(e.value, e.path+".field", "means nothing to %s", c.Type)
	case needs && len(c.Fields) == 0:
		d.refuse(e.value, e.path+".field", "is missing; %s needs it", c.Type)
	case c.Type.numeric() && len(c.Fields) > 1:
		d.refuse(e.value, e.path+".field", "must be one field for %s", c.Type)
	}
	if c.Type == ValuePercentile && c.Percentile == 0 {
		d.refuse(e.value, e.path+".percentile", "is missing: 50 is the median, 95 what all but the highest twentieth reach")
	}
}

// ordered makes a number of rules that must match in order the sets of that many.
func (d *document) ordered(c *Correlation, all bounds, e entry) {
	if !all.rising() && !(len(all) == 1 && all[0].operator == equal && all[0].value == float64(len(c.references))) {
		d.refuse(e.value, e.path, "of rules in order must be gt or gte, or eq to all of them: %s", all)
		return
	}
	number := 1
	for !all.hold(float64(number)) {
		number++
	}
	for set := range combinations(len(c.references), number) {
		if len(c.alternatives) == mostAlternatives {
			d.refuse(e.value, e.path, "stands for more than %d orders; write the rules out in an expression", mostAlternatives)
			return
		}
		c.alternatives = append(c.alternatives, alternative{present: set})
	}
}

// combinations yields the sets of so many out of so many things, as bits.
func combinations(of, number int) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		var choose func(from int, chosen uint64) bool
		choose = func(from int, chosen uint64) bool {
			missing := number - bits.OnesCount64(chosen)
			if missing == 0 {
				return yield(chosen)
			}
			for i := from; i+missing <= of; i++ {
				if !choose(i+1, chosen|1<<i) {
					return false
				}
			}
			return true
		}
		choose(0, 0)
	}
}

// worded reads a condition that is an expression over rules.
func (d *document) worded(c *Correlation, e entry) {
	if !c.Type.temporal() {
		d.refuse(e.value, e.path, "of %s must be a mapping of comparisons, such as gte: 10", c.Type)
		return
	}
	c.Condition = d.text(e)
	if len(c.references) == 0 {
		c.references = d.mentioned(c.Condition, e)
	}
	if len(c.references) > mostReferred {
		d.refuse(e.value, e.path, "names more than %d rules", mostReferred)
		return
	}
	rules := make([]selection, len(c.references))
	for i, r := range c.references {
		rules[i].name = r.text
	}
	parsed, err := parseCondition(c.Condition, rules)
	if err != nil {
		d.refuse(e.value, e.path, "%s", err)
		return
	}
	if c.alternatives, err = alternatives(parsed, false); err != nil {
		d.refuse(e.value, e.path, "%s", err)
		return
	}
	used := parsed.rules()
	for i, r := range c.references {
		if used&(1<<i) == 0 {
			d.refuse(e.value, e.path, "says nothing of the rule %s", r.text)
		}
	}
	d.checkAlternatives(c, e)
}

func (d *document) checkAlternatives(c *Correlation, e entry) {
	c.alternatives = slices.DeleteFunc(c.alternatives, func(a alternative) bool { return a.present&a.absent != 0 })
	if len(c.alternatives) == 0 {
		d.refuse(e.value, e.path, "can never hold")
	}
	if slices.ContainsFunc(c.alternatives, func(a alternative) bool { return a.present == 0 }) {
		d.refuse(e.value, e.path, "holds where nothing is observed; beside what must be absent it needs a rule that matches")
	}
}

// mentioned lists the rules of an expression.
func (d *document) mentioned(condition string, e entry) []reference {
	var all []reference
	for word := range strings.FieldsSeq(strings.NewReplacer("(", " ", ")", " ").Replace(condition)) {
		known := slices.ContainsFunc(all, func(r reference) bool { return r.text == word })
		if lower := strings.ToLower(word); lower != "and" && lower != "or" && lower != "not" && !known {
			all = append(all, reference{text: word, line: d.before + e.value.Line, path: e.path})
		}
	}
	return all
}

// rules are the rules in an expression, as bits.
func (x *expression) rules() uint64 {
	if x.connective == selected {
		return 1 << x.selection
	}
	var all uint64
	for _, o := range x.operands {
		all |= o.rules()
	}
	return all
}

// alternatives writes an expression, or its negation, as sets of which one must hold.
func alternatives(x *expression, negated bool) ([]alternative, error) {
	c := x.connective
	switch {
	case c == selected && negated:
		return []alternative{{absent: 1 << x.selection}}, nil
	case c == selected:
		return []alternative{{present: 1 << x.selection}}, nil
	case c == negation:
		return alternatives(x.operands[0], !negated)
	}
	sum := (c == either) != negated
	all := []alternative{{}}
	if sum {
		all = nil
	}
	for _, o := range x.operands {
		some, err := alternatives(o, negated)
		if err != nil {
			return nil, err
		}
		if sum {
			all = append(all, some...)
		} else {
			all = crossed(all, some)
		}
		if all = simplified(all); len(all) > mostAlternatives {
			return nil, fmt.Errorf("stands for more than %d sets of rules; write several correlations", mostAlternatives)
		}
	}
	return all, nil
}

func crossed(a, b []alternative) []alternative {
	var all []alternative
	for _, x := range a {
		for _, y := range b {
			all = append(all, alternative{present: x.present | y.present, absent: x.absent | y.absent})
		}
	}
	return all
}

// simplified leaves out what another alternative covers.
func simplified(all []alternative) []alternative {
	var kept []alternative
	for i, a := range all {
		covered := false
		for j, b := range all {
			within := b.present&^a.present == 0 && b.absent&^a.absent == 0
			covered = covered || within && (a != b || j < i)
		}
		if !covered {
			kept = append(kept, a)
		}
	}
	return kept
}
