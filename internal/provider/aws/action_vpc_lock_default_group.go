package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// passes are all rules of a security group, both ways, sorted.
type passes struct {
	Rules []pass `json:"rules"`

	group types.SecurityGroup
}

// pass is a rule of a security group with all that is needed to make it again.
type pass struct {
	Egress      bool              `json:"egress,omitempty"`
	Protocol    string            `json:"protocol"`
	From        int32             `json:"from"`
	To          int32             `json:"to"`
	CIDR        string            `json:"cidr,omitempty"`
	IPv6        string            `json:"ipv6,omitempty"`
	List        string            `json:"prefix_list,omitempty"`
	Group       string            `json:"group,omitempty"`
	Owner       string            `json:"owner,omitempty"` // of the group, where that is another account
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`

	id string
}

const lockDefaultDoc = `Takes all rules, in and out, from the default security group of a VPC. EC2 puts whatever is launched without a group into
it, and its first rules let all of its members reach each other and everything else.

**What is in the group loses the access that only these rules give**; the plan says how many network interfaces that are.
Connections that are established may go on: EC2 tracks them. The group itself can't be deleted.

Undo puts the same rules back, with their descriptions and tags. Their ids are new.`

// newLockDefaultGroup makes aws.vpc.lock_default_security_group.
func newLockDefaultGroup(c *Cloud, vpcs *census) *ec2Setting[passes] {
	groups, rules := ec2ARN("security-group"), ec2ARN("security-group-rule")
	setting := &action.Setting[passes]{
		About: action.Spec{
			Name: "aws.vpc.lock_default_security_group", Effect: action.Contain,
			Summary: "Take all rules from the default security group of a VPC.", Doc: lockDefaultDoc,
			Params: []action.Param{{Name: "vpc_id", Type: action.String, Required: true, Entity: entity.VPC, Doc: "The VPC: vpc-..."}},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules", "ec2:DescribeNetworkInterfaces"),
				permit(action.ApplyPhase, groups, nil, "ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress"),
				permit(action.UndoPhase, groups, nil, "ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress",
					"ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress"),
				permit(action.UndoPhase, rules, nil, "ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress"),
				permit(action.UndoPhase, rules, conditions{"StringEquals": {"ec2:CreateAction": {
					"AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress",
				}}}, "ec2:CreateTags"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return c.ec2Entity(in.Place, entity.VPC, "vpc", in.Params.String("vpc_id"))
		},
		Read:  c.readPasses,
		Want:  func(action.Input, passes) (passes, error) { return passes{Rules: []pass{}}, nil },
		Write: c.writePasses,
		Calls: func(in action.Input, from, _ passes) []string {
			var calls []string
			for _, rule := range from.Rules {
				calls = append(calls, fmt.Sprintf("ec2:RevokeSecurityGroup%s default of %s: %s", rule.direction(), in.Params.String("vpc_id"), rule))
			}
			return calls
		},
		Summary: func(in action.Input, from, _ passes) string {
			return fmt.Sprintf("take %s from the default security group of %s", several(len(from.Rules), "rule"), in.Params.String("vpc_id"))
		},
		Facts: c.passFacts,
		Between: func(from, now, to passes) bool {
			strange := now.without(from)
			return len(passes{Rules: strange}.without(to)) == 0
		},
	}
	return &ec2Setting[passes]{setting, c, vpcs}
}

func (p pass) direction() string {
	if p.Egress {
		return "Egress"
	}
	return "Ingress"
}

// String is a rule as people write it: tcp 22-22 10.0.0.0/8.
func (p pass) String() string {
	with := cmp.Or(p.CIDR, p.IPv6, p.List, p.Group)
	if p.Protocol == allProtocols {
		return "everything " + with
	}
	return fmt.Sprintf("%s %d-%d %s", p.Protocol, p.From, p.To, with)
}

func (p pass) key() string {
	text, err := json.Marshal(p)
	if err != nil {
		return p.String() // texts and numbers are always encoded
	}
	return string(text)
}

func (s passes) without(other passes) []pass {
	known := map[string]bool{}
	for _, rule := range other.Rules {
		known[rule.key()] = true
	}
	return slices.DeleteFunc(slices.Clone(s.Rules), func(p pass) bool { return known[p.key()] })
}

// defaultGroup finds the default security group of a VPC, which must belong to the account.
func (c *Cloud) defaultGroup(ctx context.Context, in action.Input) (types.SecurityGroup, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return types.SecurityGroup{}, err
	}
	vpc := in.Params.String("vpc_id")
	found, err := api.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: slices.Concat(where("vpc-id", vpc), where("group-name", "default")),
	})
	if err != nil {
		return types.SecurityGroup{}, fmt.Errorf("find the default security group of %s: %w", shorten(vpc), classify(err))
	}
	for _, group := range found.SecurityGroups {
		if aws.ToString(group.VpcId) == vpc {
			return group, ownedBy(in, "the VPC "+vpc, aws.ToString(group.OwnerId))
		}
	}
	return types.SecurityGroup{}, fault.New(fault.NotFound, "there is no VPC %s in %s, %s", shorten(vpc), in.Account, in.Region)
}

func (c *Cloud) readPasses(ctx context.Context, in action.Input) (passes, error) {
	state := passes{Rules: []pass{}}
	var err error
	if state.group, err = c.defaultGroup(ctx, in); err != nil {
		return state, err
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return state, err
	}
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(api,
		&ec2.DescribeSecurityGroupRulesInput{Filters: where("group-id", aws.ToString(state.group.GroupId))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("describe rules of %s: %w", aws.ToString(state.group.GroupId), classify(err))
		}
		for _, rule := range page.SecurityGroupRules {
			state.Rules = append(state.Rules, passOf(rule, in.Account))
		}
	}
	slices.SortFunc(state.Rules, func(a, b pass) int { return cmp.Compare(a.key(), b.key()) })
	return state, nil
}

func passOf(rule types.SecurityGroupRule, account string) pass {
	p := pass{
		Egress: aws.ToBool(rule.IsEgress), Protocol: aws.ToString(rule.IpProtocol), From: aws.ToInt32(rule.FromPort), To: aws.ToInt32(rule.ToPort),
		CIDR: aws.ToString(rule.CidrIpv4), IPv6: aws.ToString(rule.CidrIpv6), List: aws.ToString(rule.PrefixListId),
		Description: aws.ToString(rule.Description), id: aws.ToString(rule.SecurityGroupRuleId),
	}
	if other := rule.ReferencedGroupInfo; other != nil {
		p.Group = aws.ToString(other.GroupId)
		if owner := aws.ToString(other.UserId); owner != account {
			p.Owner = owner
		}
	}
	if len(rule.Tags) > 0 {
		p.Tags = tagsOf(rule.Tags)
	}
	return p
}

func (p pass) permission() types.IpPermission {
	made := types.IpPermission{IpProtocol: aws.String(p.Protocol)}
	if p.Protocol != allProtocols {
		made.FromPort, made.ToPort = aws.Int32(p.From), aws.Int32(p.To)
	}
	text := func(value string) *string {
		if value == "" {
			return nil
		}
		return aws.String(value)
	}
	switch {
	case p.CIDR != "":
		made.IpRanges = []types.IpRange{{CidrIp: aws.String(p.CIDR), Description: text(p.Description)}}
	case p.IPv6 != "":
		made.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(p.IPv6), Description: text(p.Description)}}
	case p.List != "":
		made.PrefixListIds = []types.PrefixListId{{PrefixListId: aws.String(p.List), Description: text(p.Description)}}
	default:
		made.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: aws.String(p.Group), UserId: text(p.Owner), Description: text(p.Description)}}
	}
	return made
}

// writePasses revokes what is not wanted, then makes what is missing.
func (c *Cloud) writePasses(ctx context.Context, in action.Input, from, to passes) (passes, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	group := from.group.GroupId
	var inward, outward []string
	for _, rule := range from.without(to) {
		if rule.Egress {
			outward = append(outward, rule.id)
		} else {
			inward = append(inward, rule.id)
		}
	}
	if len(inward) > 0 {
		_, err := api.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: group, SecurityGroupRuleIds: inward})
		if err != nil {
			return to, fmt.Errorf("revoke inbound rules of %s: %w", aws.ToString(group), classify(err))
		}
	}
	if len(outward) > 0 {
		_, err := api.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: group, SecurityGroupRuleIds: outward})
		if err != nil {
			return to, fmt.Errorf("revoke outbound rules of %s: %w", aws.ToString(group), classify(err))
		}
	}
	for _, rule := range to.without(from) { // one by one: the tags of a call are those of all its rules
		if err := authorize(ctx, api, group, rule); err != nil {
			return to, err
		}
	}
	return to, nil
}

func authorize(ctx context.Context, api *ec2.Client, group *string, rule pass) error {
	var tags []types.TagSpecification
	if len(rule.Tags) > 0 {
		tags = []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroupRule, Tags: opening{Tags: rule.Tags}.tags()}}
	}
	permissions := []types.IpPermission{rule.permission()}
	var err error
	if rule.Egress {
		_, err = api.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{
			GroupId: group, IpPermissions: permissions, TagSpecifications: tags,
		})
	} else {
		_, err = api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: group, IpPermissions: permissions, TagSpecifications: tags,
		})
	}
	if err != nil {
		return fmt.Errorf("authorize %s in %s: %w", rule, aws.ToString(group), classify(err))
	}
	return nil
}

func (c *Cloud) passFacts(ctx context.Context, in action.Input, now passes, change *action.Change) error {
	change.Tags = tagsOf(now.group.Tags)
	change.Touches = []entity.Entity{c.ec2Entity(in.Place, entity.SecurityGroup, "security-group", aws.ToString(now.group.GroupId))}
	if change.Noop {
		return nil
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return err
	}
	number, err := inUse(ctx, api, "group-id", aws.ToString(now.group.GroupId))
	if err != nil {
		change.Impact = append(change.Impact, unread("how many network interfaces are in the group", err))
		return nil
	}
	change.Impact = append(change.Impact, several(number, "network interface")+" in the group: each loses what only its rules allow",
		"connections that are established may go on until they end")
	return nil
}
