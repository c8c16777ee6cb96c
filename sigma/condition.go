package sigma

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxCondition   = 1 << 14 // bytes
	maxParentheses = 100     // and nots, within each other
)

// connective is how an expression joins its operands.
type connective uint8

const (
	selected connective = iota // the selection itself
	both                       // and
	either                     // or
	negation                   // not
)

// expression is a condition, understood.
type expression struct {
	connective connective
	operands   []*expression
	selection  int // index
}

// condition reads a condition, or a list of them of which one must hold.
func (d *document) condition(e entry, selections []selection) *expression {
	nodes := []*yaml.Node{e.value}
	if e.value.Kind == yaml.SequenceNode {
		nodes = e.value.Content
	}
	var all []*expression
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			d.refuse(n, e.path, "must be text, not %s", kindOf(n))
			continue
		}
		one, err := parseCondition(n.Value, selections)
		if err != nil {
			d.refuse(n, e.path, "%s", err)
			continue
		}
		all = append(all, one)
	}
	if len(nodes) == 0 {
		d.refuse(e.value, e.path, "is empty")
		return nil
	}
	return joined(either, all)
}

// joined makes one expression of several.
func joined(c connective, all []*expression) *expression {
	if len(all) == 1 {
		return all[0]
	}
	return &expression{connective: c, operands: all}
}

// conditionParser reads a condition by recursive descent.
type conditionParser struct {
	tokens     []string
	at         int
	depth      int
	selections []selection
}

func parseCondition(text string, selections []selection) (*expression, error) {
	if len(text) > maxCondition {
		return nil, fmt.Errorf("longer than %d bytes", maxCondition)
	}
	if strings.Contains(text, "|") {
		return nil, errors.New("aggregation (|) belongs to Sigma 1; counting needs a correlation")
	}
	text = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text)
	p := &conditionParser{tokens: strings.Fields(text), selections: selections}
	parsed, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.tokens) {
		return nil, fmt.Errorf("expected and or or before %q", p.tokens[p.at])
	}
	return parsed, nil
}

// peek returns the next token, empty at the end.
func (p *conditionParser) peek() string {
	if p.at == len(p.tokens) {
		return ""
	}
	return p.tokens[p.at]
}

// take steps over a word of the grammar, if it is next.
func (p *conditionParser) take(word string) bool {
	if strings.EqualFold(p.peek(), word) {
		p.at++
		return true
	}
	return false
}

func (p *conditionParser) or() (*expression, error) {
	return p.chain("or", either, p.and)
}

func (p *conditionParser) and() (*expression, error) {
	return p.chain("and", both, p.not)
}

func (p *conditionParser) chain(word string, c connective, operand func() (*expression, error)) (*expression, error) {
	var all []*expression
	for {
		one, err := operand()
		if err != nil {
			return nil, err
		}
		all = append(all, one)
		if !p.take(word) {
			return joined(c, all), nil
		}
	}
}

func (p *conditionParser) not() (*expression, error) {
	if p.depth++; p.depth > maxParentheses {
		return nil, fmt.Errorf("nested deeper than %d", maxParentheses)
	}
	defer func() { p.depth-- }()
	if p.take("not") {
		operand, err := p.not()
		if err != nil {
			return nil, err
		}
		return &expression{connective: negation, operands: []*expression{operand}}, nil
	}
	if p.take("(") {
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, errors.New("a parenthesis is not closed")
		}
		return inner, nil
	}
	return p.operand()
}

// operand reads a selection's name, or a quantifier over several.
func (p *conditionParser) operand() (*expression, error) {
	name := p.peek()
	if name == "" {
		return nil, errors.New("ends where a selection is expected")
	}
	p.at++
	if p.take("of") {
		return p.quantified(name)
	}
	for i, s := range p.selections {
		if s.name == name {
			return &expression{selection: i}, nil
		}
	}
	return nil, fmt.Errorf("selection %q is not defined", name)
}

func (p *conditionParser) quantified(quantifier string) (*expression, error) {
	c := either
	switch strings.ToLower(quantifier) {
	case "1", "any":
	case "all":
		c = both
	default:
		return nil, fmt.Errorf("quantifier %q is none of 1, any, all", quantifier)
	}
	target := p.peek()
	if target == "" || target == "(" || target == ")" {
		return nil, fmt.Errorf("%s of what?", quantifier)
	}
	p.at++
	var all []*expression
	for i, s := range p.selections {
		if covered(target, s.name) {
			all = append(all, &expression{selection: i})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no selection is named like %q", target)
	}
	return joined(c, all), nil
}

// covered reports whether a quantifier's target means a selection. Names that begin with an underscore are
// meant only by targets that do.
func covered(target, name string) bool {
	if strings.HasPrefix(name, "_") && !strings.HasPrefix(target, "_") {
		return false
	}
	if strings.EqualFold(target, "them") {
		return true
	}
	list := []rune(target)
	for i, r := range list {
		if r == '*' {
			list[i] = anyText
		}
	}
	return newPattern(list, modifiers{cased: true}).match(name)
}
