// Package expr holds the one environment in which people's expressions are compiled and computed:
// CEL (https://cel.dev), typed, bounded, where missing data is an error and never a pass.
package expr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"

	"github.com/riposte-sec/riposte/internal/finding"
)

// costLimit bounds one evaluation, in CEL's cost units: thousands of comparisons, far below a
// millisecond's worth of harm.
const costLimit = 100_000

// longest is the length in bytes of the longest expression that is compiled.
const longest = 4096

// Variable is a name that expressions can use.
type Variable string

// The variables. Which of them exist depends on where the expression stands.
const (
	Finding  Variable = "finding"
	Incident Variable = "incident"
	Steps    Variable = "steps"  // outputs of the steps before, by id
	Vars     Variable = "vars"   // what steps have set, and what the loops around go through
	Inputs   Variable = "inputs" // what a called playbook was given
	Failure  Variable = "error"  // what went wrong, for the steps of on_error
)

// Variables lists all names that expressions can use.
func Variables() []Variable { return []Variable{Finding, Incident, Steps, Vars, Inputs, Failure} }

// Expr is a compiled expression.
type Expr struct {
	text    string
	program cel.Program
	paths   [][]string
	kind    *cel.Type
	plain   []string // the one chain of names that it is; nil where it is more
}

// Scope is what the variables stand for in one evaluation.
type Scope map[Variable]any

var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := append(language(),
		cel.Function("has",
			cel.MemberOverload("map_has_string", []*cel.Type{cel.MapType(cel.StringType, cel.DynType), cel.StringType},
				cel.BoolType, cel.BinaryBinding(hasField))))
	for _, name := range Variables() {
		options = append(options, cel.Variable(string(name), cel.MapType(cel.StringType, cel.DynType)))
	}
	return cel.NewEnv(options...)
})

// language is what all expressions share, whatever is known of the types.
func language() []cel.EnvOption {
	options := []cel.EnvOption{cel.OptionalTypes(), ext.Strings()}
	for level := finding.Informational; level <= finding.Critical; level++ {
		name := strings.ToUpper(level.String())
		options = append(options, cel.Constant(name, cel.IntType, types.Int(level)))
	}
	return options
}

func hasField(object, name ref.Val) ref.Val { //nolint:ireturn // CEL's own signature
	fields, ok := object.(traits.Mapper)
	if !ok {
		return types.MaybeNoSuchOverloadErr(object)
	}
	value, found := fields.Find(name)
	if !found || value == types.NullValue {
		return types.False
	}
	if text, isString := value.(types.String); isString {
		return types.Bool(text != "")
	}
	return types.True
}

// mostKept bounds the expressions that are kept compiled.
const mostKept = 4096

// kept are expressions that were compiled before: many playbooks ask the same.
var kept = struct { //nolint:gochecknoglobals // an expression never changes
	sync.Mutex
	exprs map[string]*Expr
}{exprs: map[string]*Expr{}}

// Compile checks an expression. Its error says where in the text the mistake is.
func Compile(text string) (*Expr, error) {
	kept.Lock()
	known, ok := kept.exprs[text]
	kept.Unlock()
	if ok {
		return known, nil
	}
	compiled, err := compile(text)
	if err != nil {
		return nil, err
	}
	kept.Lock()
	defer kept.Unlock()
	if len(kept.exprs) < mostKept {
		kept.exprs[text] = compiled
	}
	return compiled, nil
}

func compile(text string) (*Expr, error) {
	if len(text) > longest {
		return nil, fmt.Errorf("expression of %d bytes; at most %d are read", len(text), longest)
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("set up expressions: %w", err)
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("expression %q: column %d: %s", text, first.Location.Column()+1, first.Message)
	}
	program, err := env.Program(checked, cel.CostLimit(costLimit), cel.InterruptCheckFrequency(100),
		cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", text, err)
	}
	tree := checked.NativeRep().Expr()
	return &Expr{text: text, program: program, paths: selections(tree), kind: checked.OutputType(), plain: chain(tree)}, nil
}

// CompileBool is Compile for conditions: an expression that can't be true or false is refused.
func CompileBool(text string) (*Expr, error) {
	compiled, err := Compile(text)
	if err != nil {
		return nil, err
	}
	if !compiled.kind.IsAssignableType(cel.BoolType) {
		return nil, fmt.Errorf("expression %q is of type %s; a condition must be true or false", text, compiled.kind)
	}
	return compiled, nil
}

// String is the expression as written.
func (e *Expr) String() string { return e.text }

// Paths lists what the expression reads, such as [finding access_key].
func (e *Expr) Paths() [][]string { return e.paths }

// Plain gives the names of an expression that is no more than those, such as finding.access_key.
func (e *Expr) Plain() ([]string, bool) { return e.plain, e.plain != nil }

// Value computes the expression as a plain Go value: string, bool, int64, float64, []any, map[string]any.
func (e *Expr) Value(ctx context.Context, scope Scope) (any, error) {
	vars := make(map[string]any, len(scope))
	for name, value := range scope {
		vars[string(name)] = value
	}
	out, _, err := e.program.ContextEval(ctx, vars)
	if err != nil {
		return nil, fmt.Errorf("compute %q: %w", e.text, err)
	}
	return plain(out)
}

// True computes a condition. Missing data is an error.
func (e *Expr) True(ctx context.Context, scope Scope) (bool, error) {
	value, err := e.Value(ctx, scope)
	if err != nil {
		return false, err
	}
	truth, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("compute %q: it is a %T, not true or false", e.text, value)
	}
	return truth, nil
}

func plain(v ref.Val) (any, error) {
	switch value := v.(type) {
	case types.Null:
		return nil, nil //nolint:nilnil // null is a value of the language
	case *types.Optional:
		if !value.HasValue() {
			return nil, nil //nolint:nilnil // an absent optional is null
		}
		return plain(value.GetValue())
	case traits.Lister:
		var list []any
		for it := value.Iterator(); it.HasNext() == types.True; {
			item, err := plain(it.Next())
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case traits.Mapper:
		object := map[string]any{}
		for it := value.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.Value().(string)
			if !ok {
				return nil, errors.New("a map's key is not a string")
			}
			item, err := plain(value.Get(key))
			if err != nil {
				return nil, err
			}
			object[name] = item
		}
		return object, nil
	case types.Timestamp, types.Duration:
		text := v.ConvertToType(types.StringType)
		return text.Value(), nil
	default:
		return v.Value(), nil
	}
}

// selections lists the chains of names below a variable, longest first reading: finding.reference.id.
func selections(e ast.Expr) [][]string {
	var found [][]string
	var visit func(ast.Expr)
	visit = func(e ast.Expr) {
		if path := chain(e); path != nil {
			found = append(found, path)
			return
		}
		switch e.Kind() {
		case ast.SelectKind:
			visit(e.AsSelect().Operand())
		case ast.CallKind:
			call := e.AsCall()
			if call.IsMemberFunction() {
				visit(call.Target())
			}
			for _, arg := range call.Args() {
				visit(arg)
			}
		case ast.ListKind:
			for _, item := range e.AsList().Elements() {
				visit(item)
			}
		case ast.MapKind:
			for _, entry := range e.AsMap().Entries() {
				visit(entry.AsMapEntry().Key())
				visit(entry.AsMapEntry().Value())
			}
		case ast.ComprehensionKind:
			c := e.AsComprehension()
			visit(c.IterRange())
			visit(c.AccuInit())
			visit(c.LoopCondition())
			visit(c.LoopStep())
			visit(c.Result())
		case ast.UnspecifiedExprKind, ast.IdentKind, ast.LiteralKind, ast.StructKind:
		}
	}
	visit(e)
	return found
}

func chain(e ast.Expr) []string {
	switch e.Kind() {
	case ast.IdentKind:
		name := Variable(e.AsIdent())
		if slices.Contains(Variables(), name) {
			return []string{string(name)}
		}
	case ast.SelectKind:
		if below := chain(e.AsSelect().Operand()); below != nil {
			return append(below, e.AsSelect().FieldName())
		}
	default:
	}
	return nil
}
