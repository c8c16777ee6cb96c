package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// What follows reads as much of resource policies as the actions on functions, queues, topics and repositories
// need: which statements let in everybody, or other accounts.

// audience is whom a step shuts out of a resource.
type audience struct {
	owner   string // account of the resource
	foreign bool   // other accounts too, not everybody alone
	keep    []string
}

// The scopes of actions that shut people out.
const (
	scopePublic  = "public"
	scopeForeign = "foreign"
)

// scopeParams are the parameters by which a step says whom it shuts out.
func scopeParams() []action.Param {
	return []action.Param{
		{
			Name: "scope", Type: action.String, Enum: []string{scopePublic, scopeForeign}, Default: scopePublic,
			Doc: "public: everybody; foreign: everybody and every other account",
		},
		{Name: "keep", Type: action.Strings, Doc: "accounts that keep what they have, where the scope is foreign"},
	}
}

// audienceOf is whom a step shuts out.
func audienceOf(in action.Input, owner string) (audience, error) {
	out := audience{owner: owner, foreign: in.Params.String("scope") == scopeForeign, keep: in.Params.Strings("keep")}
	for _, account := range out.keep {
		if !IsAccount(account) {
			return out, fault.New(fault.Invalid, "keep: %q is no account: its id has 12 digits", shorten(account))
		}
	}
	return out, nil
}

// policyStatement is what is read of one statement.
type policyStatement struct {
	Sid          string
	Effect       string
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Condition    map[string]map[string]oneOrMore
}

// oneOrMore is a text or a list of texts, as policies have them.
type oneOrMore []string

// UnmarshalJSON reads either form; truth values and numbers as they are written.
func (o *oneOrMore) UnmarshalJSON(text []byte) error {
	var several []json.RawMessage
	if json.Unmarshal(text, &several) != nil {
		several = []json.RawMessage{text}
	}
	*o = nil
	for _, raw := range several {
		var one string
		if json.Unmarshal(raw, &one) != nil {
			one = string(raw)
		}
		*o = append(*o, one)
	}
	return nil
}

// principals lists whom a statement names: "*", accounts, ARNs, and services by their names.
func (s policyStatement) principals() (named, services []string, err error) {
	if len(s.NotPrincipal) > 0 {
		return []string{"*"}, nil, nil
	}
	if len(s.Principal) == 0 {
		return nil, nil, nil
	}
	var all string
	if json.Unmarshal(s.Principal, &all) == nil {
		return []string{all}, nil, nil
	}
	var byKind map[string]oneOrMore
	if err := json.Unmarshal(s.Principal, &byKind); err != nil {
		return nil, nil, fmt.Errorf("read principal of statement %q: %w", shorten(s.Sid), err)
	}
	for kind, list := range byKind {
		if kind == "Service" {
			services = append(services, list...)
			continue
		}
		named = append(named, list...)
	}
	return named, services, nil
}

// admits reports whether a statement lets in any of those whom a step shuts out.
func (a audience) admits(s policyStatement) (bool, error) {
	if s.Effect != "Allow" {
		return false, nil
	}
	named, services, err := s.principals()
	if err != nil {
		return false, err
	}
	bound := s.accounts()
	if len(services) > 0 && a.foreign && slices.ContainsFunc(bound, a.shuts) {
		return true, nil // a service on behalf of another account
	}
	for _, name := range named {
		switch {
		case name == "*" && !s.narrowed():
			return true, nil
		case name == "*":
			if a.foreign && slices.ContainsFunc(bound, a.shuts) {
				return true, nil
			}
		case a.foreign && a.shuts(accountOf(name)):
			return true, nil
		}
	}
	return false, nil
}

// shuts reports whether a step shuts an account out.
func (a audience) shuts(account string) bool {
	return account != "" && account != a.owner && !slices.Contains(a.keep, account)
}

// accountOf is the account of a principal, "" where it has none.
func accountOf(principal string) string {
	if IsAccount(principal) {
		return principal
	}
	parsed, err := arn.Parse(principal)
	if err != nil {
		return ""
	}
	return parsed.AccountID
}

// The keys of conditions that bound who calls, and those of them whose values name accounts.
var (
	narrowing = []string{ //nolint:gochecknoglobals // a constant list
		"aws:sourceaccount", "aws:sourceowner", "aws:sourcearn", "aws:principalaccount", "aws:principalarn", "aws:principalorgid",
		"aws:principalorgpaths", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourcevpc", "aws:sourcevpce", "aws:userid",
	}
	ofAccounts = []string{ //nolint:gochecknoglobals // a constant list
		"aws:sourceaccount", "aws:sourceowner", "aws:sourcearn", "aws:principalaccount", "aws:principalarn",
	}
)

// narrowed reports whether a condition bounds who may use a statement. Operators that pass where the key is
// missing, negations and values with nothing but wildcards bound nobody.
func (s policyStatement) narrowed() bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			switch {
			case operator == "IpAddress" && strings.EqualFold(key, "aws:SourceIp"):
				if !slices.ContainsFunc(values, wide) {
					return true
				}
			case !slices.Contains(narrowing, strings.ToLower(key)), !equates(operator):
			case len(values) > 0 && !slices.ContainsFunc(values, isAnybody):
				return true
			}
		}
	}
	return false
}

// equates reports whether an operator demands that a value is there and is one of those given.
func equates(operator string) bool {
	return slices.Contains([]string{
		"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "ForAnyValue:StringLike", "ForAnyValue:StringEquals",
	}, operator)
}

// isAnybody reports whether a value of a condition is met by whoever it is: all of it, or the account in its
// ARN, is a wildcard. ARNs of buckets have no account; a bucket's name is bound enough.
func isAnybody(value string) bool {
	parsed, err := arn.Parse(value)
	if err != nil {
		return strings.Trim(value, "*?") == ""
	}
	if parsed.Service == "s3" && parsed.AccountID == "" {
		return strings.Trim(parsed.Resource, "*?/") == ""
	}
	return strings.Trim(parsed.AccountID, "*?") == ""
}

// wide reports whether a range of addresses is so wide that it bounds nobody.
func wide(cidr string) bool {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		_, err = netip.ParseAddr(cidr)
		return err != nil
	}
	return prefix.Bits() < 8 || prefix.Addr().Is6() && prefix.Bits() < 32
}

// accounts lists the accounts that a statement's conditions name.
func (s policyStatement) accounts() []string {
	var found []string
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if equates(operator) && slices.Contains(ofAccounts, strings.ToLower(key)) {
				for _, value := range values {
					found = append(found, accountOf(value))
				}
			}
		}
	}
	return found
}

// shutOut takes the statements that admit those whom a step shuts out from a policy. A statement is taken out
// as a whole, with the others whom it admits. It gives the statements that it took out, for people.
func (a audience) shutOut(policy json.RawMessage) (left json.RawMessage, out []string, err error) {
	if len(policy) == 0 {
		return nil, nil, nil
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(policy, &document); err != nil {
		return nil, nil, fault.New(fault.Invalid, "the resource's policy can't be read: %w", err)
	}
	var statements []json.RawMessage
	if json.Unmarshal(document["Statement"], &statements) != nil {
		statements = []json.RawMessage{document["Statement"]}
	}
	kept := []json.RawMessage{}
	for i, raw := range statements {
		var read policyStatement
		if err := json.Unmarshal(raw, &read); err != nil {
			return nil, nil, fault.New(fault.Invalid, "statement %d of the resource's policy can't be read: %w", i+1, err)
		}
		admits, err := a.admits(read)
		if err != nil {
			return nil, nil, fault.Wrap(fault.Invalid, err)
		}
		if !admits {
			kept = append(kept, raw)
			continue
		}
		out = append(out, flip(read.Sid != "", shorten(read.Sid), fmt.Sprintf("statement %d", i+1)))
	}
	if len(out) == 0 {
		return policy, nil, nil
	}
	if len(kept) == 0 {
		return nil, out, nil
	}
	if document["Statement"], err = json.Marshal(kept); err != nil {
		return nil, nil, fmt.Errorf("encode policy: %w", err)
	}
	text, err := json.Marshal(document)
	return text, out, err
}

// canonical is a policy with its keys in order and no spaces, so that two of the same say the same.
func canonical(policy string) (json.RawMessage, error) {
	if policy == "" {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(policy))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fault.New(fault.Invalid, "the resource's policy can't be read: %w", err)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return bytes.TrimSpace(text.Bytes()), nil
}

// openness is a resource's policy.
type openness struct {
	Policy json.RawMessage `json:"policy,omitempty"`

	tags   map[string]string
	impact []string
}

// opened is a kind of resource with a policy that can be closed to the public.
type opened struct {
	naming
	spec  action.Spec
	read  func(ctx context.Context, in action.Input) (openness, error)
	write func(ctx context.Context, in action.Input, policy json.RawMessage) error
	// least is the policy of a resource that must have one and would be left with none. Optional.
	least func(in action.Input) (json.RawMessage, error)
	calls func(to openness) string // the operation that writes
}

// closing makes an action that takes those statements from a resource's policy that let in the public.
func closing(c *Cloud, o opened) *placed[openness] {
	want := func(in action.Input, now openness) (left openness, out []string, err error) {
		_, at, err := o.find(c, in)
		if err != nil {
			return now, nil, err
		}
		who, err := audienceOf(in, at.Account)
		if err != nil {
			return now, nil, err
		}
		left.Policy, out, err = who.shutOut(now.Policy)
		if err == nil && len(out) > 0 && len(left.Policy) == 0 && o.least != nil {
			left.Policy, err = o.least(in)
		}
		return left, out, err
	}
	return setting(c, action.Setting[openness]{
		About: o.spec, Target: o.target(c), Read: o.read,
		Want: func(in action.Input, now openness) (openness, error) {
			left, _, err := want(in, now)
			return left, err
		},
		Write: func(ctx context.Context, in action.Input, _, to openness) (openness, error) {
			return to, o.write(ctx, in, to.Policy)
		},
		Calls: func(in action.Input, _, to openness) []string {
			return []string{o.calls(to) + " " + in.Params.String(o.param)}
		},
		Summary: func(in action.Input, from, _ openness) string {
			_, out, _ := want(in, from)
			return fmt.Sprintf("The policy of %s %s loses %d statements", o.what, in.Params.String(o.param), len(out))
		},
		Facts: func(_ context.Context, in action.Input, now openness, change *action.Change) error {
			change.Tags = now.tags
			_, out, err := want(in, now)
			if err != nil || len(out) == 0 {
				return err
			}
			change.Impact = append([]string{
				"who gets in by these statements loses access, wanted or not: " + strings.Join(out[:min(len(out), mostNamed)], ", "),
			}, now.impact...)
			return nil
		},
	})
}

// mostNamed bounds how many things a plan's text names.
const mostNamed = 10

// closingDoc is what actions have in common that close a policy.
const closingDoc = "Takes from the policy every statement that allows something to everybody: principal `*` with no condition that bounds " +
	"who that is (an account, an organization, an ARN, a VPC, a range of addresses). With `scope: foreign` those that allow something " +
	"to another account, or to a service on its behalf, too, but for the accounts in `keep`. A statement is taken out as " +
	"a whole, with the others that it names. Statements that deny stay.\n\nUndo puts the policy back as it was, the public too."
