package sigma

import (
	"errors"
	"slices"
	"strconv"
)

// Where a program ends.
const (
	accept int32 = -1
	reject int32 = -2
)

const (
	// mostSteps bounds a rule's program; a rule beyond it is left to the interpreter.
	mostSteps = 1 << 13
	// longestPath bounds the names of fields in bytes.
	longestPath = 512
)

// step is one question of a program, and where to go on with its answer.
type step struct {
	predicate int32
	yes, no   int32 // a step, accept or reject
}

// program is a rule's condition as questions in the order in which they need to be asked.
type program struct {
	steps []step
	start int32
}

// predicate is an item of any number of rules.
type predicate struct {
	item  *item
	field int32
	refer []int32 // the fields that its atoms refer to
	texts map[string]struct{}
	rest  []*atom // those that aren't among the texts
}

// errBeyond is why a rule is left to the interpreter.
var errBeyond = errors.New("beyond what the engine compiles")

// compiler turns rules into programs. Items that say the same are one predicate.
type compiler struct {
	predicates []predicate
	byKey      map[string]int32
	items      map[*item]compiledItem
	names      []string // of fields
	fields     map[string]int32
	key        []byte // scratch
}

// compiledItem is what is remembered of an item.
type compiledItem struct {
	predicate int32
	signals   []signal
}

// signals lists some of which every event that fulfils a rule's expression gives at least one. None means that
// nothing can be said: of a negation, and of what the engine doesn't know.
func (c *compiler) signals(r *Rule, x *expression, w weights) []signal {
	switch x.connective {
	case both:
		var best []signal
		for _, operand := range x.operands {
			best = w.better(best, c.signals(r, operand, w))
		}
		return best
	case either:
		var all []signal
		for _, operand := range x.operands {
			some := c.signals(r, operand, w)
			if len(some) == 0 || len(all) > mostSteps {
				return nil
			}
			all = append(all, some...)
		}
		return all
	case selected:
		return c.selected(&r.selections[x.selection], w)
	default:
		return nil
	}
}

func (c *compiler) selected(s *selection, w weights) []signal {
	var all []signal
	for _, g := range s.groups {
		var best []signal
		for i := range g {
			best = w.better(best, c.items[&g[i]].signals)
		}
		if len(best) == 0 {
			return nil
		}
		all = append(all, best...)
	}
	return all
}

func newCompiler() *compiler {
	return &compiler{byKey: make(map[string]int32), items: make(map[*item]compiledItem), fields: make(map[string]int32)}
}

// program compiles a rule. The error is errBeyond.
func (c *compiler) program(r *Rule) (program, error) {
	var beyond error
	for i := range r.selections {
		for _, g := range r.selections[i].groups {
			for j := range g {
				if err := c.add(&g[j]); err != nil {
					beyond = err // what else the rule asks for is still of use to the index
				}
			}
		}
	}
	if beyond != nil {
		return program{}, beyond
	}
	if r.condition == nil {
		return program{start: reject}, nil
	}
	b := &programmer{compiler: c, rule: r}
	start, err := b.expression(r.condition, accept, reject)
	return program{steps: b.steps, start: start}, err
}

// field numbers a field.
func (c *compiler) field(name string) (int32, error) {
	if len(name) > longestPath {
		return none, errBeyond
	}
	number, ok := c.fields[name]
	if !ok {
		number = int32(len(c.names)) //nolint:gosec // bounded by the bytes of rules
		c.fields[name] = number
		c.names = append(c.names, name)
	}
	return number, nil
}

// add compiles an item.
func (c *compiler) add(it *item) error {
	if it.modifiers.element {
		return errBeyond
	}
	for i := range it.atoms {
		if it.form(&it.atoms[i]) == formUnknown {
			return errBeyond
		}
	}
	field, err := c.field(it.field)
	if err != nil {
		return err
	}
	c.key = it.appendKey(c.key[:0])
	number, ok := c.byKey[string(c.key)]
	if !ok {
		p := predicate{item: it, field: field}
		if err := c.sort(&p); err != nil {
			return err
		}
		number = int32(len(c.predicates)) //nolint:gosec // bounded by the bytes of rules
		c.predicates = append(c.predicates, p)
		c.byKey[string(c.key)] = number
	}
	c.items[it] = compiledItem{predicate: number, signals: it.signals(number)}
	return nil
}

// sort puts a predicate's literals apart, where one of them will do, and finds the fields it refers to.
func (c *compiler) sort(p *predicate) error {
	it := p.item
	for i := range it.atoms {
		a := &it.atoms[i]
		if it.form(a) == formReference {
			field, err := c.field(a.written)
			if err != nil {
				return err
			}
			p.refer = append(p.refer, field)
		}
		if it.modifiers.all || !a.isLiteral || it.form(a) != formPattern {
			p.rest = append(p.rest, a)
			continue
		}
		if p.texts == nil {
			p.texts = make(map[string]struct{})
		}
		p.texts[a.literal] = struct{}{}
	}
	return nil
}

// appendKey writes what an item says but for its negation. Items of equal keys hold for the same events.
func (it *item) appendKey(key []byte) []byte {
	m := &it.modifiers
	key = strconv.AppendQuote(key, it.field)
	key = append(key, m.operator...)
	key = strconv.AppendBool(key, m.all)
	key = strconv.AppendBool(key, m.cased)
	key = append(key, m.part...)
	for i := range it.atoms {
		a := &it.atoms[i]
		form := it.form(a)
		key = append(key, ' ', '0'+byte(form))
		switch form {
		case formPattern:
			for _, s := range a.pattern.segments {
				key = strconv.AppendQuote(append(key, '*'), s.literal)
				for _, r := range s.runes {
					key = strconv.AppendInt(append(key, ','), int64(r), 10)
				}
			}
		case formExpression:
			key = strconv.AppendQuote(key, a.expression.String())
		case formNumber:
			key = strconv.AppendQuote(key, a.literal)
		default:
			key = strconv.AppendQuote(key, a.written)
		}
	}
	return key
}

// programmer writes one rule's program, from its end to its beginning: each part is told where to go on.
type programmer struct {
	*compiler
	rule  *Rule
	steps []step
}

func (p *programmer) expression(x *expression, yes, no int32) (int32, error) {
	var err error
	switch x.connective {
	case both:
		for i := len(x.operands) - 1; i >= 0 && err == nil; i-- {
			yes, err = p.expression(x.operands[i], yes, no)
		}
		return yes, err
	case either:
		for i := len(x.operands) - 1; i >= 0 && err == nil; i-- {
			no, err = p.expression(x.operands[i], yes, no)
		}
		return no, err
	case negation:
		return p.expression(x.operands[0], no, yes)
	case selected:
		return p.selection(&p.rule.selections[x.selection], yes, no)
	}
	return reject, errBeyond
}

func (p *programmer) selection(s *selection, yes, no int32) (int32, error) {
	for _, g := range slices.Backward(s.groups) {
		next := yes
		for j := len(g) - 1; j >= 0; j-- {
			if len(p.steps) == mostSteps {
				return reject, errBeyond
			}
			one := step{predicate: p.items[&g[j]].predicate, yes: next, no: no}
			if g[j].modifiers.negated {
				one.yes, one.no = no, next
			}
			next = int32(len(p.steps)) //nolint:gosec // at most mostSteps
			p.steps = append(p.steps, one)
		}
		no = next
	}
	return no, nil
}
