package expr

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Template is a text with expressions in double braces, such as "Key {{ finding.access_key }} is disabled".
// Only the text a playbook's author wrote is parsed: a computed value is put in as it is, so braces in
// an attacker's string stay braces.
type Template struct {
	text  string
	parts []part
}

type part struct {
	literal string
	expr    *Expr // nil for a literal
}

// CompileTemplate reads a text with expressions.
func CompileTemplate(text string) (*Template, error) {
	t := &Template{text: text}
	rest := text
	for {
		before, after, found := strings.Cut(rest, "{{")
		if before != "" {
			t.parts = append(t.parts, part{literal: before})
		}
		if !found {
			return t, nil
		}
		inner, behind, closed := strings.Cut(after, "}}")
		if !closed {
			return nil, fmt.Errorf("template %q: {{ without }}", text)
		}
		compiled, err := Compile(strings.TrimSpace(inner))
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, part{expr: compiled})
		rest = behind
	}
}

// String is the template as written.
func (t *Template) String() string { return t.text }

// Paths lists what the template's expressions read.
func (t *Template) Paths() [][]string {
	var paths [][]string
	for _, p := range t.parts {
		if p.expr != nil {
			paths = append(paths, p.expr.Paths()...)
		}
	}
	return paths
}

// Alone gives the expression that is all of the template, nil where there is more.
func (t *Template) Alone() *Expr {
	if len(t.parts) == 1 {
		return t.parts[0].expr
	}
	return nil
}

// Exprs lists the template's expressions.
func (t *Template) Exprs() []*Expr {
	var all []*Expr
	for _, p := range t.parts {
		if p.expr != nil {
			all = append(all, p.expr)
		}
	}
	return all
}

// Value computes the template. One that is a single expression keeps the expression's type; others
// are strings.
func (t *Template) Value(ctx context.Context, scope Scope) (any, error) {
	if len(t.parts) == 1 && t.parts[0].expr != nil {
		return t.parts[0].expr.Value(ctx, scope)
	}
	var text strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			text.WriteString(p.literal)
			continue
		}
		value, err := p.expr.Value(ctx, scope)
		if err != nil {
			return nil, err
		}
		text.WriteString(display(value))
	}
	return text.String(), nil
}

func display(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = display(item)
		}
		return strings.Join(items, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// Constant reports whether the template has no expression.
func (t *Template) Constant() bool {
	for _, p := range t.parts {
		if p.expr != nil {
			return false
		}
	}
	return true
}
