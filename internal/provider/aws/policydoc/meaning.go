package policydoc

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Meaning gives a document in the one form that all documents with the same meaning have: members sorted, sets
// as sorted lists, the ARN of an account's root as its id, everybody as one principal. AWS gives back what it
// was given with such differences. Principals that were deleted are nobody. The statements stay in their order. What is no document comes back as it is.
func Meaning(text json.RawMessage) json.RawMessage {
	d, err := parse(text)
	if err != nil {
		return text
	}
	d = d.Bury()
	list := make([]any, 0, len(d.statements))
	for _, s := range d.statements {
		list = append(list, s.canonical())
	}
	whole := map[string]any{"Statement": list}
	for _, m := range d.members {
		if m.name != "Statement" {
			whole[m.name] = m.value
		}
	}
	meaning, err := json.Marshal(whole)
	if err != nil {
		return text
	}
	return meaning
}

// Same reports whether two documents have one meaning.
func Same(a, b json.RawMessage) bool { return bytes.Equal(Meaning(a), Meaning(b)) }

func (s Statement) canonical() map[string]any {
	form := map[string]any{}
	for _, m := range s.members {
		switch m.name {
		case "Sid":
			if s.Sid != "" {
				form[m.name] = s.Sid
			}
		case "Effect":
			form[m.name] = s.Effect
		case "Principal", "NotPrincipal":
			form[m.name] = canonicalPrincipals(m.value)
		case "Condition":
			form[m.name] = canonicalConditions(s.Conditions)
		default:
			form[m.name] = set(m.value)
		}
	}
	return form
}

func canonicalPrincipals(text json.RawMessage) map[string][]string {
	list, err := principals(text)
	if err != nil {
		return nil // it was parsed before
	}
	sets := map[string][]string{}
	for _, p := range list {
		kind := p.Type
		if kind == "*" { // the same as anybody's credentials
			kind = "AWS"
		}
		sets[kind] = append(sets[kind], root(p.Value))
	}
	for kind := range sets {
		slices.Sort(sets[kind])
		sets[kind] = slices.Compact(sets[kind])
	}
	return sets
}

// root gives an account for what stands for it, its number or the ARN of its root, as the number.
func root(principal string) string {
	if account := AccountOf(principal); strings.HasSuffix(principal, ":root") && account != "" {
		return account
	}
	return principal
}

func canonicalConditions(list []Condition) map[string]map[string][]string {
	form := map[string]map[string][]string{}
	for _, c := range list {
		if form[c.Operator] == nil {
			form[c.Operator] = map[string][]string{}
		}
		values := append(form[c.Operator][c.Key], c.Values...)
		slices.Sort(values)
		form[c.Operator][c.Key] = slices.Compact(values)
	}
	return form
}

func set(text json.RawMessage) any {
	values, err := oneOrMore(text)
	if err != nil {
		return text
	}
	slices.Sort(values)
	return slices.Compact(values)
}
