package policydoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Effect is what a statement does.
type Effect string

// The effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Statement is one statement of a document.
type Statement struct {
	Sid    string
	Effect Effect
	// Principals are whom it is about; none where the document belongs to an identity. Where it is about
	// everybody but some, that is everybody: one principal of type *, with Not set.
	Principals []Principal
	// Conditions bound it: operator, key in lower case, values.
	Conditions []Condition
	// Actions and Resources are those that it names; none where it is about all but some.
	Actions, Resources []string

	members []member
}

// Principal is one whom a statement is about.
type Principal struct {
	Type  string // AWS, Service, Federated, CanonicalUser; * for everybody
	Value string
	Not   bool // everybody but those whom the statement names
}

// String is the principal as people read it.
func (p Principal) String() string {
	switch {
	case p.Not:
		return "everybody but some"
	case p.Everybody():
		return "everybody"
	}
	return p.Value
}

// Everybody reports whether it is anybody at all, with credentials of AWS or without.
func (p Principal) Everybody() bool { return p.Value == "*" }

// Dead reports whether it is what AWS puts in the place of a user or a role that was deleted: its unique id.
// AWS takes no document that names one.
func (p Principal) Dead() bool { return p.Type == "AWS" && uniqueID.MatchString(p.Value) }

var uniqueID = regexp.MustCompile(`^A[A-Z]{2}A[A-Z0-9]{12,124}$`)

// Condition is one of the conditions of a statement, all of which must hold.
type Condition struct {
	Operator string
	Key      string // in lower case: keys don't tell case apart
	Values   []string
}

// ParseStatement reads one statement.
func ParseStatement(text []byte) (Statement, error) { return parseStatement(text) }

func parseStatement(text []byte) (Statement, error) {
	list, err := members(text, statementMembers)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{members: list}
	for _, m := range list {
		switch m.name {
		case "Sid":
			err = json.Unmarshal(m.value, &s.Sid)
		case "Effect":
			err = json.Unmarshal(m.value, &s.Effect)
		case "Principal":
			s.Principals, err = principals(m.value)
		case "NotPrincipal":
			s.Principals = []Principal{{Type: "*", Value: "*", Not: true}}
			_, err = principals(m.value)
		case "Condition":
			s.Conditions, err = conditions(m.value)
		case "Action":
			s.Actions, err = oneOrMore(m.value)
		case "Resource":
			s.Resources, err = oneOrMore(m.value)
		}
		if err != nil {
			return Statement{}, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if s.Effect != Allow && s.Effect != Deny {
		return Statement{}, fmt.Errorf("its effect is %.32q", s.Effect)
	}
	return s, nil
}

var principalTypes = []string{"AWS", "Service", "Federated", "CanonicalUser"} //nolint:gochecknoglobals // a constant list

func principals(text json.RawMessage) ([]Principal, error) {
	if text[0] == '"' {
		var everybody string
		if err := json.Unmarshal(text, &everybody); err != nil || everybody != "*" {
			return nil, errors.New(`it is a text other than "*"`)
		}
		return []Principal{{Type: "*", Value: "*"}}, nil
	}
	list, err := members(text, principalTypes)
	if err != nil {
		return nil, err
	}
	var all []Principal
	for _, m := range list {
		values, err := oneOrMore(m.value)
		if err != nil {
			return nil, err
		}
		for _, value := range values {
			all = append(all, Principal{Type: m.name, Value: value})
		}
	}
	return all, nil
}

func conditions(text json.RawMessage) ([]Condition, error) {
	var operators map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &operators); err != nil {
		return nil, err
	}
	var all []Condition
	for operator, keys := range operators {
		for key, raw := range keys {
			values, err := oneOrMore(raw)
			if err != nil {
				return nil, err
			}
			all = append(all, Condition{Operator: operator, Key: strings.ToLower(key), Values: values})
		}
	}
	slices.SortFunc(all, func(a, b Condition) int {
		return strings.Compare(a.Operator+"\x00"+a.Key, b.Operator+"\x00"+b.Key)
	})
	return all, nil
}

// oneOrMore reads what the grammar lets be one value or a list of values.
func oneOrMore(text json.RawMessage) ([]string, error) {
	list := []json.RawMessage{text}
	if text[0] == '[' {
		list = nil
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, err
		}
	}
	values := make([]string, 0, len(list))
	for _, raw := range list {
		var value any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		switch value := value.(type) {
		case string:
			values = append(values, value)
		case bool, json.Number: // conditions take them
			values = append(values, fmt.Sprint(value))
		default:
			return nil, errors.New("a value is neither text, number nor truth")
		}
	}
	return values, nil
}

// without takes principals away from a statement. The rest of it stays as it was written.
func (s Statement) without(unwanted func(Statement, Principal) bool) (Statement, []Principal) {
	var left, taken []Principal
	for _, p := range s.Principals {
		if unwanted(s, p) {
			taken = append(taken, p)
		} else {
			left = append(left, p)
		}
	}
	if len(taken) == 0 {
		return s, nil
	}
	s.Principals = left
	s.members = slices.Clone(s.members)
	for i, m := range s.members {
		if m.name == "Principal" {
			s.members[i].value = encodePrincipals(left)
		}
	}
	return s, taken
}

// encodePrincipals writes principals, the types in the order in which they come.
func encodePrincipals(list []Principal) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	var types []string
	for _, p := range list {
		if slices.Contains(types, p.Type) {
			continue
		}
		var values []string
		for _, o := range list {
			if o.Type == p.Type {
				values = append(values, o.Value)
			}
		}
		text, err := json.Marshal(values)
		if err != nil {
			panic(err) // a list of texts
		}
		writeMember(&b, len(types), p.Type, text)
		types = append(types, p.Type)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (s Statement) text() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range s.members {
		writeMember(&b, i, m.name, m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (s Statement) label(at int) string {
	if s.Sid != "" {
		return s.Sid
	}
	return "number " + strconv.Itoa(at+1)
}

// narrowing are the keys that bound who may come in, where a condition holds them to fixed values. AWS counts
// a policy with one of them as not public.
var narrowing = []string{ //nolint:gochecknoglobals // a constant list
	"aws:principalorgid", "aws:principalorgpaths", "aws:principalaccount", "aws:principalarn", "aws:userid", "aws:sourcearn",
	"aws:sourceaccount", "aws:sourceowner", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourcevpc", "aws:sourcevpce",
	"aws:vpcsourceip", "aws:sourceip", "kms:calleraccount", "s3:dataaccesspointaccount", "s3:dataaccesspointarn",
}

// Narrowed reports whether a condition of the statement bounds who it is about, whatever its principals.
// A condition that holds where its key is absent, or for any value, bounds nothing.
func (s Statement) Narrowed() bool {
	return slices.ContainsFunc(s.Conditions, func(c Condition) bool {
		return slices.Contains(narrowing, c.Key) && c.fixed()
	})
}

// Accounts lists the accounts that conditions name as those from which requests may come.
func (s Statement) Accounts() []string {
	var accounts []string
	for _, c := range s.Conditions {
		if !c.fixed() {
			continue
		}
		for _, value := range c.Values {
			switch c.Key {
			case "aws:principalaccount", "aws:sourceaccount", "aws:sourceowner", "kms:calleraccount", "s3:dataaccesspointaccount":
				accounts = append(accounts, value)
			case "aws:principalarn":
				accounts = append(accounts, AccountOf(value))
			}
		}
	}
	return accounts
}

// fixed reports whether a condition holds for chosen values alone.
func (c Condition) fixed() bool {
	switch c.Operator {
	case "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress",
		"ForAnyValue:StringEquals", "ForAnyValue:StringLike":
	default: // negations, ...IfExists and ForAllValues hold where the key is absent
		return false
	}
	return len(c.Values) > 0 && !slices.ContainsFunc(c.Values, func(value string) bool { return c.open(value) })
}

// open reports whether a value leaves open who comes: a wildcard where the account or the name begins, or an
// address range that is everybody's.
func (c Condition) open(value string) bool {
	switch {
	case strings.HasPrefix(value, "*") || strings.HasPrefix(value, "?"):
		return true
	case strings.HasPrefix(c.Operator, "Arn") || strings.HasPrefix(value, "arn:"):
		account := AccountOf(value)
		return strings.ContainsAny(account, "*?") || account == "" && strings.ContainsAny(value, "*?")
	case c.Operator == "IpAddress":
		_, bits, ranged := strings.Cut(value, "/")
		width, err := strconv.Atoi(bits)
		return ranged && (err != nil || width < 8 || strings.Contains(value, ":") && width < 32)
	}
	return false
}

// AccountOf is the account that a principal belongs to: of an ARN, or the account's id itself. It is empty
// where that isn't known, as for canonical users and for principals that were deleted.
func AccountOf(principal string) string {
	if len(principal) == 12 && strings.Trim(principal, "0123456789") == "" {
		return principal
	}
	parts := strings.SplitN(principal, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return ""
	}
	return parts[4]
}
