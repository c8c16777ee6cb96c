package expr

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Type is what is known of a value before it is there. The zero value is anything.
type Type struct {
	plain  *cel.Type
	fields map[string]Type // of a record
}

// The types of plain values.
var (
	Any    = Type{}                                                //nolint:gochecknoglobals // a constant
	Text   = Type{plain: cel.StringType}                           //nolint:gochecknoglobals // a constant
	Number = Type{plain: cel.IntType}                              //nolint:gochecknoglobals // a constant
	Truth  = Type{plain: cel.BoolType}                             //nolint:gochecknoglobals // a constant
	Moment = Type{plain: cel.TimestampType}                        //nolint:gochecknoglobals // a constant
	List   = Type{plain: cel.ListType(cel.DynType)}                //nolint:gochecknoglobals // a constant
	Texts  = Type{plain: cel.ListType(cel.StringType)}             //nolint:gochecknoglobals // a constant
	Map    = Type{plain: cel.MapType(cel.StringType, cel.DynType)} //nolint:gochecknoglobals // a constant
)

// Record is a value with these fields and no others.
func Record(fields map[string]Type) Type { return Type{fields: fields} }

// String names the type in the words of those who write expressions.
func (t Type) String() string {
	switch {
	case t.fields != nil:
		return "a record"
	case t.plain == nil || t.plain.Kind() == types.DynKind:
		return "anything"
	}
	switch t.plain.Kind() {
	case types.StringKind:
		return "text"
	case types.IntKind, types.UintKind:
		return "a whole number"
	case types.DoubleKind:
		return "a number"
	case types.BoolKind:
		return "true or false"
	case types.TimestampKind:
		return "a time"
	case types.DurationKind:
		return "a duration"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "a mapping"
	default:
		return t.plain.String()
	}
}

// MayBe reports whether a value of type t may be of another type. Anything may be everything.
func (t Type) MayBe(other Type) bool {
	return other.known().IsAssignableType(t.known()) || t.known().IsAssignableType(other.known())
}

// Types are those of the variables at one place of a file.
type Types map[Variable]Type

// Typing checks expressions against the types of what they read.
type Typing struct{ env *cel.Env }

// NewTyping makes a checker of expressions that may read these variables and no others.
func NewTyping(known Types) (*Typing, error) {
	world := &records{fields: map[string]map[string]*types.FieldType{}}
	options := language()
	for _, name := range slices.Sorted(maps.Keys(known)) {
		options = append(options, cel.Variable(string(name), world.declare("riposte."+string(name), known[name])))
	}
	asked := []cel.FunctionOpt{
		cel.MemberOverload("map_has_string", []*cel.Type{cel.MapType(cel.StringType, cel.DynType), cel.StringType}, cel.BoolType),
	}
	for _, name := range slices.Sorted(maps.Keys(world.fields)) {
		asked = append(asked, cel.MemberOverload("has_"+name, []*cel.Type{cel.ObjectType(name), cel.StringType}, cel.BoolType))
	}
	options = append(options, cel.Function("has", asked...))
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("set up types: %w", err)
	}
	world.Provider = env.CELTypeProvider()
	env, err = env.Extend(cel.CustomTypeProvider(world))
	if err != nil {
		return nil, fmt.Errorf("set up types: %w", err)
	}
	return &Typing{env}, nil
}

// Check gives the type of an expression. Its error says where in the text the mistake is.
func (t *Typing) Check(text string) (Type, error) {
	checked, issues := t.env.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return Any, fmt.Errorf("expression %q: column %d: %s", text, first.Location.Column()+1, first.Message)
	}
	return Type{plain: checked.OutputType()}, nil
}

// records tells the checker of the fields that records have.
type records struct {
	types.Provider
	fields map[string]map[string]*types.FieldType
}

// declare makes a type of the checker's own out of one, with a name for it if it is a record.
func (r *records) declare(name string, t Type) *cel.Type {
	if t.fields == nil {
		return t.known()
	}
	fields := make(map[string]*types.FieldType, len(t.fields))
	r.fields[name] = fields
	for field, of := range t.fields {
		fields[field] = &types.FieldType{Type: r.declare(name+"."+field, of), IsSet: never, GetFrom: nothing}
	}
	return cel.ObjectType(name)
}

// Nothing is computed with these types.
func never(any) bool           { return false }
func nothing(any) (any, error) { return nil, errors.New("only the types are known") }

// FindStructType is of types.Provider.
func (r *records) FindStructType(name string) (*types.Type, bool) {
	if _, known := r.fields[name]; known {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return r.Provider.FindStructType(name)
}

// FindStructFieldNames is of types.Provider.
func (r *records) FindStructFieldNames(name string) ([]string, bool) {
	if fields, known := r.fields[name]; known {
		return slices.Sorted(maps.Keys(fields)), true
	}
	return r.Provider.FindStructFieldNames(name)
}

// FindStructFieldType is of types.Provider.
func (r *records) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if fields, known := r.fields[name]; known {
		found, ok := fields[field]
		return found, ok
	}
	return r.Provider.FindStructFieldType(name, field)
}

// NewValue is of types.Provider.
func (r *records) NewValue(name string, fields map[string]ref.Val) ref.Val { //nolint:ireturn // CEL's own signature
	if _, known := r.fields[name]; known {
		return types.NewErr("%s can't be made", name)
	}
	return r.Provider.NewValue(name, fields)
}

func (t Type) known() *cel.Type {
	switch {
	case t.plain != nil:
		return t.plain
	case t.fields != nil:
		return cel.MapType(cel.StringType, cel.DynType)
	}
	return cel.DynType
}

// typeOf gives the type of a value as the views hold them.
func typeOf(value any) Type {
	switch value.(type) {
	case string:
		return Text
	case int64:
		return Number
	case bool:
		return Truth
	case time.Time:
		return Moment
	case []string:
		return Texts
	case []map[string]any:
		return List
	}
	return Any
}

// ofView gives the types of the fields of a finding or an incident.
func ofView(view map[string]any) map[string]Type {
	fields := make(map[string]Type, len(view))
	for name, value := range view {
		fields[name] = typeOf(value)
	}
	return fields
}
