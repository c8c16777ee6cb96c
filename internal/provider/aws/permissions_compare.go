package aws

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// Missing is a permission that policies do not grant, and what that breaks.
type Missing struct {
	Need
	Why string `json:"why"`
}

// Excess is something that policies grant and nothing needs.
type Excess struct {
	Sid      string `json:"sid,omitempty"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Why      string `json:"why"`
}

// Comparison is how policies differ from what is needed.
type Comparison struct {
	Missing []Missing `json:"missing"`
	Excess  []Excess  `json:"excess"`
	// Conditional are denials that may take a needed permission away, by their conditions.
	Conditional []Missing `json:"conditional"`
}

// Compare holds policies against what is needed, by what they mean: wildcards, resources and conditions. A
// permission counts as granted if one statement grants all of it. Needs are for Symbols or for a place; where
// they hold a symbol, any account or partition stands for it.
func Compare(have []Document, needs []Need) Comparison {
	c := Comparison{Missing: []Missing{}, Excess: []Excess{}, Conditional: []Missing{}}
	var statements []Statement
	for _, d := range have {
		statements = append(statements, d.Statement...)
	}
	for _, need := range needs {
		if why := lack(statements, need); why != "" {
			c.Missing = append(c.Missing, Missing{need, why})
			continue
		}
		for _, s := range statements {
			if s.Effect == "Deny" && len(s.Condition) > 0 && s.touches(need) {
				c.Conditional = append(c.Conditional, Missing{need, "denied " + s.named() + " where " + describe(s.Condition)})
			}
		}
	}
	for _, s := range statements {
		if s.Effect == "Allow" {
			c.Excess = append(c.Excess, s.excess(needs)...)
		}
	}
	return c
}

// lack says why a permission is not granted, "" if it is.
func lack(statements []Statement, need Need) string {
	granted, nearest := false, "nothing allows it"
	for _, s := range statements {
		switch {
		case s.Effect == "Deny" && len(s.Condition) == 0 && s.touches(need):
			return "denied " + s.named()
		case s.Effect == "Deny" || !s.acts(need.Permission):
		case !s.covers(need.Resource):
			if !granted && nearest == "nothing allows it" {
				nearest = "allowed " + s.named() + " on other resources alone"
			}
		case !implied(s.Condition, need.Conditions):
			nearest = "allowed " + s.named() + " only where " + describe(s.Condition)
		default:
			granted = true
		}
	}
	if granted {
		return ""
	}
	return nearest
}

func (s Statement) named() string {
	if s.Sid == "" {
		return "by a statement without Sid"
	}
	return "by " + s.Sid
}

// acts reports whether a statement is about a permission.
func (s Statement) acts(permission string) bool {
	if len(s.NotAction) > 0 {
		return !slices.ContainsFunc(s.NotAction, func(p string) bool { return within(strings.ToLower(p), strings.ToLower(permission)) })
	}
	return slices.ContainsFunc(s.Action, func(p string) bool { return within(strings.ToLower(p), strings.ToLower(permission)) })
}

// covers reports whether a statement is about all of a resource.
func (s Statement) covers(resource string) bool {
	if len(s.NotResource) > 0 {
		return !slices.ContainsFunc(s.NotResource, func(p string) bool { return resourcesMeet(p, resource) })
	}
	return slices.ContainsFunc(s.Resource, func(p string) bool { return resourceWithin(p, resource) })
}

// touches reports whether a statement is about some of what is needed.
func (s Statement) touches(need Need) bool {
	if !s.acts(need.Permission) {
		return false
	}
	if len(s.NotResource) > 0 {
		return !slices.ContainsFunc(s.NotResource, func(p string) bool { return resourceWithin(p, need.Resource) })
	}
	return slices.ContainsFunc(s.Resource, func(p string) bool { return resourcesMeet(p, need.Resource) })
}

// excess lists what a statement allows that nothing needs.
func (s Statement) excess(needs []Need) []Excess {
	actions, resources := s.Action, s.Resource
	if len(s.NotAction) > 0 {
		actions = []string{"all but " + strings.Join(s.NotAction, ", ")}
	}
	if len(s.NotResource) > 0 {
		resources = []string{"all but " + strings.Join(s.NotResource, ", ")}
	}
	var found []Excess
	for _, permission := range actions {
		for _, resource := range resources {
			if why := s.surplus(permission, resource, needs); why != "" {
				found = append(found, Excess{s.Sid, permission, resource, why})
			}
		}
	}
	return found
}

// surplus says why a statement's permission on a resource is more than is needed, "" if it isn't.
func (s Statement) surplus(permission, resource string, needs []Need) string {
	if len(s.NotAction) > 0 || len(s.NotResource) > 0 {
		return "it allows all but what it names"
	}
	if strings.ContainsAny(permission, "*?") {
		return "a wildcard; needed of it: " + orNothing(matching(permission, needs))
	}
	why := "nothing in force needs it"
	var on []string
	for _, need := range needs {
		switch {
		case !strings.EqualFold(permission, need.Permission):
		case resourceWithin(need.Resource, resource) && implied(need.Conditions, s.Condition):
			return ""
		case resourceWithin(need.Resource, resource):
			why = "needed only where " + describe(need.Conditions)
		default:
			on = append(on, need.Resource)
		}
	}
	if why == "nothing in force needs it" && len(on) > 0 {
		return "needed on " + few(slices.Compact(on)) + " alone"
	}
	return why
}

func matching(pattern string, needs []Need) []string {
	var names []string
	for _, need := range needs {
		if within(strings.ToLower(pattern), strings.ToLower(need.Permission)) && !slices.Contains(names, need.Permission) {
			names = append(names, need.Permission)
		}
	}
	return names
}

// few names some of a list, and how many more there are.
func few(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// resourceWithin reports whether a pattern on ARNs covers all that another one does. A wildcard does not reach
// over the colons before the resource's own part.
func resourceWithin(outer, inner string) bool {
	if outer == "*" {
		return true
	}
	wide, narrow := segments(outer), segments(inner)
	if len(wide) != len(narrow) {
		return false
	}
	for i := range wide {
		if !within(wide[i], narrow[i]) && !stands(i, wide[i], narrow[i]) {
			return false
		}
	}
	return true
}

// resourcesMeet reports whether some ARN fits both patterns.
func resourcesMeet(a, b string) bool {
	if a == "*" || b == "*" {
		return true
	}
	left, right := segments(a), segments(b)
	if len(left) != len(right) {
		return false
	}
	for i := range left {
		if !meet(left[i], right[i]) && !stands(i, left[i], right[i]) {
			return false
		}
	}
	return true
}

// segments divides an ARN. One that is cut short at a star goes on with stars, as IAM takes it.
func segments(resource string) []string {
	parts := strings.SplitN(resource, ":", 6)
	for len(parts) > 1 && len(parts) < 6 && strings.HasSuffix(parts[len(parts)-1], "*") {
		parts = append(parts, "*")
	}
	return parts
}

// stands reports whether one text stands for the other: a symbol for an account or a partition, or for any.
func stands(segment int, a, b string) bool {
	symbol := map[int]string{1: partitionSymbol, 4: accountSymbol}[segment]
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		if symbol == "" || pair[0] != symbol {
			continue
		}
		if pair[1] == "*" || IsAccount(pair[1]) && segment == 4 || strings.HasPrefix(pair[1], "aws") && segment == 1 {
			return true
		}
	}
	return false
}

// within reports whether a pattern covers all that another one does. A wildcard of the inner one is covered by
// one of the outer one alone.
func within(outer, inner string) bool {
	return walkPatterns(outer, inner, func(o, i byte) bool { return o == i && i != '*' || o == '?' && i != '*' }, false)
}

// meet reports whether some text fits both patterns.
func meet(a, b string) bool {
	return walkPatterns(a, b, func(x, y byte) bool { return x == y || x == '?' || y == '?' }, true)
}

// walkPatterns compares two patterns in time that is the product of their lengths. Same says whether two
// characters go together; both says that a star of either side reaches over the other's characters.
func walkPatterns(a, b string, same func(x, y byte) bool, both bool) bool {
	row := make([]bool, len(b)+1) // row[j]: a from here on goes with b[j:]
	for i := len(a); i >= 0; i-- {
		next := make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a) && j == len(b):
				next[j] = true
			case i < len(a) && a[i] == '*':
				next[j] = row[j] || j < len(b) && next[j+1]
			case both && j < len(b) && b[j] == '*':
				next[j] = next[j+1] || i < len(a) && row[j]
			case i < len(a) && j < len(b) && same(a[i], b[j]):
				next[j] = row[j+1]
			}
		}
		row = next
	}
	return row[0]
}

// implied reports whether conditions hold wherever others do.
func implied(wanted, given map[string]map[string][]string) bool {
	for operator, keys := range wanted {
		for key, values := range keys {
			if !isImplied(operator, key, values, given) {
				return false
			}
		}
	}
	return true
}

func isImplied(operator, key string, values []string, given map[string]map[string][]string) bool {
	for other, keys := range given {
		for otherKey, has := range keys {
			if !strings.EqualFold(key, otherKey) || !stricter(other, operator) {
				continue
			}
			wider, narrower := values, has
			if strings.Contains(strings.ToLower(operator), "not") {
				wider, narrower = has, values
			}
			if !slices.ContainsFunc(narrower, func(n string) bool {
				return !slices.ContainsFunc(wider, func(w string) bool { return valueWithin(operator, w, n) })
			}) {
				return true
			}
		}
	}
	return false
}

// stricter reports whether an operator that holds lets another one hold for the same values.
func stricter(has, wants string) bool {
	has, wants = strings.ToLower(has), strings.ToLower(wants)
	if strings.Contains(has, ":") || strings.Contains(wants, ":") { // ForAllValues and ForAnyValue
		return has == wants
	}
	bare := func(operator string) string {
		return strings.NewReplacer("arnequals", "arnlike", "arnnotequals", "arnnotlike").Replace(operator)
	}
	has, wants = bare(has), bare(wants)
	return has == wants || has+"ifexists" == wants || has == "stringequals" && strings.TrimSuffix(wants, "ifexists") == "stringlike"
}

// valueWithin reports whether a condition's value covers another one.
func valueWithin(operator, outer, inner string) bool {
	switch operator = strings.ToLower(operator); {
	case strings.HasPrefix(operator, "arn"):
		return resourceWithin(outer, inner)
	case strings.Contains(operator, "like"):
		return within(outer, inner)
	case strings.Contains(operator, "ignorecase"), strings.HasPrefix(operator, "bool"), strings.HasPrefix(operator, "null"):
		return strings.EqualFold(outer, inner)
	}
	return outer == inner || arn.IsARN(outer) && arn.IsARN(inner) && resourceWithin(outer, inner) && !strings.ContainsAny(outer, "*?")
}

// describe writes conditions for people, in a fixed order.
func describe(conditions map[string]map[string][]string) string {
	var all []string
	for _, operator := range slices.Sorted(maps.Keys(conditions)) {
		for _, key := range slices.Sorted(maps.Keys(conditions[operator])) {
			all = append(all, fmt.Sprintf("%s %s %s", key, operator, strings.Join(conditions[operator][key], " or ")))
		}
	}
	return strings.Join(all, " and ")
}
