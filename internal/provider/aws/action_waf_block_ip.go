package aws

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// listed is whether a list of what is blocked has an entry.
type listed struct {
	There  bool   `json:"there"`
	Within string `json:"within,omitempty"` // a wider entry that holds it
}

// ipSet is where a WAF's IP set is.
type ipSet struct {
	api   *wafv2.Client
	arn   string
	name  *string
	id    *string
	scope types.Scope
}

const wafDoc = `Adds an address to a WAFv2 IP set, so that the web ACLs that block by it refuse its requests, at load balancers, APIs and
CloudFront. Nothing else in the set is touched: the set is read with its lock token and written with it, and read again
where somebody else was faster.

The set is named by its ARN in the playbook. **A set by which a web ACL or a rule group allows is refused**: blocking
would let the attacker in. The plan names the web ACLs that block by it, and says so where none does.

Web ACLs see the address that connects, or that a trusted header names. Requests under way are not ended.
A set takes 10,000 addresses.

Undo takes exactly this address out of the set.`

// newWAFBlockAddress makes aws.waf.block_ip.
func newWAFBlockAddress(c *Cloud) *placed[listed] {
	sets := []string{"arn:{partition}:wafv2:{region}:{account}:regional/ipset/*/*", "arn:{partition}:wafv2:us-east-1:{account}:global/ipset/*/*"}
	permissions := permit(action.PlanPhase, "*", nil, "wafv2:ListWebACLs", "wafv2:ListRuleGroups", "ec2:DescribeAddresses", "ec2:DescribeInstances")
	for _, pattern := range sets {
		permissions = append(permissions, permit(action.PlanPhase, pattern, nil, "wafv2:GetIPSet")...)
		permissions = append(permissions, permit(action.ApplyPhase, pattern, nil, "wafv2:GetIPSet", "wafv2:UpdateIPSet")...)
		permissions = append(permissions, permit(action.UndoPhase, pattern, nil, "wafv2:GetIPSet", "wafv2:UpdateIPSet")...)
		permissions = append(permissions, permit(action.PlanPhase, strings.Replace(pattern, "ipset", "webacl", 1), nil, "wafv2:GetWebACL")...)
		permissions = append(permissions, permit(action.PlanPhase, strings.Replace(pattern, "ipset", "rulegroup", 1), nil, "wafv2:GetRuleGroup")...)
	}
	return &placed[listed]{cloud: c, Setting: action.Setting[listed]{
		About: action.Spec{
			Name: "aws.waf.block_ip", Effect: action.Contain,
			Summary: "Add an address to a WAF's IP set.", Doc: wafDoc,
			Params: []action.Param{
				addressParam(),
				{Name: "ip_set_arn", Type: action.String, Required: true, Doc: "ARN of the IP set: arn:aws:wafv2:...:regional/ipset/name/id"},
			},
			Permissions: permissions,
		},
		Target: func(in action.Input) entity.Entity { return resourceTarget(in, in.Params.String("ip_set_arn")) },
		Read: func(ctx context.Context, in action.Input) (listed, error) {
			at, prefix, err := c.ipSetOf(in)
			if err != nil {
				return listed{}, err
			}
			set, err := at.read(ctx, prefix)
			if err != nil {
				return listed{}, err
			}
			return listedIn(set.IPSet.Addresses, prefix), nil
		},
		Want:  wantListed,
		Write: c.writeIPSet,
		Calls: func(in action.Input, _, _ listed) []string {
			return []string{fmt.Sprintf("wafv2:UpdateIPSet %s: add %s", in.Params.String("ip_set_arn"), in.Params.String("address"))}
		},
		Summary: func(in action.Input, now, _ listed) string {
			if now.Within != "" {
				return fmt.Sprintf("%s is in the IP set already, within %s", in.Params.String("address"), now.Within)
			}
			return fmt.Sprintf("add %s to the IP set %s", in.Params.String("address"), in.Params.String("ip_set_arn"))
		},
		Facts: c.ipSetFacts,
	}}
}

// wantListed wants an entry, unless a wider one does as well.
func wantListed(_ action.Input, now listed) (listed, error) {
	if now.Within != "" {
		return now, nil
	}
	return listed{There: true}, nil
}

// listedIn looks for a range among the texts of ranges.
func listedIn(entries []string, prefix netip.Prefix) listed {
	var state listed
	for _, text := range entries {
		entry, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
		case entry.Masked() == prefix:
			state.There = true
		case entry.Bits() < prefix.Bits() && entry.Overlaps(prefix):
			state.Within = entry.String()
		}
	}
	if state.There {
		state.Within = ""
	}
	return state
}

// ipSetOf reads the parameters: arn:aws:wafv2:region:account:regional/ipset/name/id.
func (c *Cloud) ipSetOf(in action.Input) (ipSet, netip.Prefix, error) {
	prefix, err := publicBlockable(in.Params.String("address"))
	if err != nil {
		return ipSet{}, prefix, err
	}
	at, err := named(in, "ip_set_arn", "wafv2")
	if err != nil {
		return ipSet{}, prefix, err
	}
	const parts = 4
	path := strings.Split(at.Resource, "/")
	scopes := map[string]types.Scope{"regional": types.ScopeRegional, "global": types.ScopeCloudfront}
	if len(path) != parts || path[1] != "ipset" || scopes[path[0]] == "" {
		return ipSet{}, prefix, fault.New(fault.Invalid, "ip_set_arn: %q is not the ARN of an IP set", shorten(at.String()))
	}
	api, err := c.webFirewall(action.Place{Account: in.Account, Region: at.Region})
	return ipSet{api, at.String(), aws.String(path[2]), aws.String(path[3]), scopes[path[0]]}, prefix, err
}

func (s ipSet) read(ctx context.Context, prefix netip.Prefix) (*wafv2.GetIPSetOutput, error) {
	got, err := s.api.GetIPSet(ctx, &wafv2.GetIPSetInput{Name: s.name, Id: s.id, Scope: s.scope})
	if codeIs(err, "WAFNonexistentItemException") {
		return nil, fault.New(fault.NotFound, "there is no IP set %s", s.arn)
	}
	if err != nil {
		return nil, fmt.Errorf("read IP set %s: %w", *s.name, classify(err))
	}
	if got.IPSet == nil {
		return nil, fault.New(fault.Transient, "the answer about the IP set %s is empty", s.arn)
	}
	if four := got.IPSet.IPAddressVersion == types.IPAddressVersionIpv4; four != prefix.Addr().Is4() {
		return nil, fault.New(fault.Invalid, "the IP set %s takes %s addresses, not %s", *s.name, got.IPSet.IPAddressVersion, prefix)
	}
	return got, nil
}

// mostRaces is how often a list is read again because somebody else wrote it in between.
const mostRaces = 5

func (c *Cloud) writeIPSet(ctx context.Context, in action.Input, _, to listed) (listed, error) {
	at, prefix, err := c.ipSetOf(in)
	if err != nil {
		return to, err
	}
	for range mostRaces {
		set, err := at.read(ctx, prefix)
		if err != nil {
			return to, err
		}
		addresses := []string{} // WAF wants a list even where it is empty
		for _, text := range set.IPSet.Addresses {
			if entry, err := netip.ParsePrefix(text); err != nil || entry.Masked() != prefix {
				addresses = append(addresses, text)
			}
		}
		if to.There {
			addresses = append(addresses, prefix.String())
		}
		_, err = at.api.UpdateIPSet(ctx, &wafv2.UpdateIPSetInput{
			Name: at.name, Id: at.id, Scope: at.scope, LockToken: set.LockToken, Addresses: addresses, Description: set.IPSet.Description,
		})
		switch {
		case codeIs(err, "WAFOptimisticLockException"): // somebody else wrote it; look again
			continue
		case codeIs(err, "WAFLimitsExceededException"):
			return to, fault.WithHint(fault.New(fault.Conflict, "the IP set %s takes no more addresses: %w", *at.name, err), "undo older blocks")
		case err != nil:
			return to, fmt.Errorf("update IP set %s: %w", *at.name, classify(err))
		}
		return to, nil
	}
	return to, fault.New(fault.Transient, "the IP set %s is written by others all the time", *at.name)
}

func (c *Cloud) ipSetFacts(ctx context.Context, in action.Input, _ listed, change *action.Change) error {
	at, prefix, err := c.ipSetOf(in)
	if err != nil {
		return err
	}
	if err := c.notOurs(ctx, in.Place, prefix); err != nil {
		return err
	}
	uses, err := at.uses(ctx)
	if err != nil {
		return err
	}
	blocks := 0
	for _, use := range uses {
		switch {
		case use.allows:
			return fault.WithHint(fault.New(fault.Invalid, "%s lets in by the IP set %s: adding the address would help it", use, *at.name),
				"name a set by which only rules that block go")
		case use.inverted:
			return fault.WithHint(fault.New(fault.Invalid, "%s goes by what is NOT in the IP set %s: adding the address would help it", use, *at.name),
				"name a set by which only rules that block go")
		case use.blocks:
			blocks++
		}
		change.Impact = append(change.Impact, use.String())
	}
	if blocks == 0 {
		change.Impact = append(change.Impact, "NOTHING blocks by this IP set: the address is only listed until a web ACL does")
	}
	return nil
}

// use is a rule that goes by an IP set.
type use struct {
	where    string // web ACL shop, rule bad-addresses
	blocks   bool
	allows   bool
	inverted bool
}

// String says what the rule does.
func (u use) String() string {
	if u.blocks {
		return u.where + " blocks what is in the set"
	}
	return u.where + " goes by the set and doesn't block"
}

// uses finds the rules of web ACLs and of rule groups that go by a set.
func (s ipSet) uses(ctx context.Context) ([]use, error) {
	var found []use
	var marker *string
	for {
		page, err := s.api.ListWebACLs(ctx, &wafv2.ListWebACLsInput{Scope: s.scope, NextMarker: marker, Limit: aws.Int32(100)})
		if err != nil {
			return nil, fmt.Errorf("list web ACLs: %w", classify(err))
		}
		for _, each := range page.WebACLs {
			got, err := s.api.GetWebACL(ctx, &wafv2.GetWebACLInput{Name: each.Name, Id: each.Id, Scope: s.scope})
			if err != nil {
				return nil, fmt.Errorf("read web ACL %s: %w", aws.ToString(each.Name), classify(err))
			}
			if got.WebACL != nil {
				found = append(found, s.usesIn("web ACL "+aws.ToString(each.Name), got.WebACL.Rules)...)
			}
		}
		if marker = page.NextMarker; aws.ToString(marker) == "" || len(page.WebACLs) == 0 {
			break
		}
	}
	groups, err := s.usesInGroups(ctx)
	return append(found, groups...), err
}

func (s ipSet) usesInGroups(ctx context.Context) ([]use, error) {
	var found []use
	var marker *string
	for {
		page, err := s.api.ListRuleGroups(ctx, &wafv2.ListRuleGroupsInput{Scope: s.scope, NextMarker: marker, Limit: aws.Int32(100)})
		if err != nil {
			return nil, fmt.Errorf("list rule groups: %w", classify(err))
		}
		for _, each := range page.RuleGroups {
			got, err := s.api.GetRuleGroup(ctx, &wafv2.GetRuleGroupInput{Name: each.Name, Id: each.Id, Scope: s.scope})
			if err != nil {
				return nil, fmt.Errorf("read rule group %s: %w", aws.ToString(each.Name), classify(err))
			}
			if got.RuleGroup != nil {
				found = append(found, s.usesIn("rule group "+aws.ToString(each.Name), got.RuleGroup.Rules)...)
			}
		}
		if marker = page.NextMarker; aws.ToString(marker) == "" || len(page.RuleGroups) == 0 {
			return found, nil
		}
	}
}

func (s ipSet) usesIn(owner string, rules []types.Rule) []use {
	var found []use
	for _, rule := range rules {
		plain, inverted := s.within(rule.Statement, false)
		if !plain && !inverted {
			continue
		}
		found = append(found, use{
			where:    fmt.Sprintf("%s, rule %s", owner, aws.ToString(rule.Name)),
			blocks:   rule.Action != nil && rule.Action.Block != nil,
			allows:   rule.Action != nil && rule.Action.Allow != nil,
			inverted: inverted,
		})
	}
	return found
}

// within reports whether a statement goes by the set, and whether it does so by what is not in it.
func (s ipSet) within(statement *types.Statement, not bool) (plain, inverted bool) {
	if statement == nil {
		return false, false
	}
	var inner []types.Statement
	switch {
	case statement.IPSetReferenceStatement != nil:
		here := aws.ToString(statement.IPSetReferenceStatement.ARN) == s.arn
		return here && !not, here && not
	case statement.NotStatement != nil:
		return s.within(statement.NotStatement.Statement, !not)
	case statement.RateBasedStatement != nil:
		return s.within(statement.RateBasedStatement.ScopeDownStatement, not)
	case statement.ManagedRuleGroupStatement != nil:
		return s.within(statement.ManagedRuleGroupStatement.ScopeDownStatement, not)
	case statement.AndStatement != nil:
		inner = statement.AndStatement.Statements
	case statement.OrStatement != nil:
		inner = statement.OrStatement.Statements
	}
	for i := range inner {
		p, n := s.within(&inner[i], not)
		plain, inverted = plain || p, inverted || n
	}
	return plain, inverted
}
