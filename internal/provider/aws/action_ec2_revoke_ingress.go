package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const revokeIngressDoc = `Revokes the inbound rules of the security group that let in anybody, or whom cidrs names. Rules for
other addresses, for other security groups and for prefix lists stay as they are, and so do the outbound ones.

A rule is revoked whole: one for the ports 0 to 65535 goes, if ports says 22. A rule for all protocols is open on
every port. An address range matches if it is the rule's own; 0.0.0.0/1 is not revoked with 0.0.0.0/0.

**Connections that are established already stay** until they end or are idle for long: EC2 tracks them. To cut
them, isolate the instances.

Undo puts the same rules back, with their descriptions and tags. Their ids are new.`

// newRevokeIngress makes aws.ec2.revoke_ingress.
func newRevokeIngress(c *Cloud, groups *census) *ec2Setting[openings] {
	setting := &action.Setting[openings]{
		About: action.Spec{
			Name: "aws.ec2.revoke_ingress", Effect: action.Contain,
			Summary: "Take back the rules of a security group that let everybody in.", Doc: revokeIngressDoc,
			Params: []action.Param{
				{Name: "group_id", Type: action.String, Required: true, Entity: entity.SecurityGroup, Doc: "The security group: sg-..."},
				{
					Name: "cidrs", Type: action.Strings, Default: []string{"0.0.0.0/0", "::/0"},
					Doc: "The address ranges whose rules are revoked.",
				},
				{Name: "ports", Type: action.Strings, Doc: `The ports whose rules are revoked, such as "22" or "8000-8100"; all if absent.`},
				{
					Name: "protocol", Type: action.String, Enum: []string{"tcp", "udp", "icmp", "icmpv6"},
					Doc: "The protocol whose rules are revoked; all if absent.",
				},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups", "ec2:DescribeNetworkInterfaces"),
				permit(action.ApplyPhase, ec2ARN("security-group"), nil, "ec2:RevokeSecurityGroupIngress"),
				permit(action.UndoPhase, ec2ARN("security-group"), nil, "ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"),
				permit(action.UndoPhase, ec2ARN("security-group-rule"), nil, "ec2:AuthorizeSecurityGroupIngress"),
				permit(action.UndoPhase, ec2ARN("security-group-rule"),
					conditions{"StringEquals": {"ec2:CreateAction": {"AuthorizeSecurityGroupIngress"}}}, "ec2:CreateTags"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return c.ec2Entity(in.Place, entity.SecurityGroup, "security-group", in.Params.String("group_id"))
		},
		Read:  c.readOpenings,
		Want:  func(action.Input, openings) (openings, error) { return openings{Rules: []opening{}}, nil },
		Write: c.writeOpenings,
		Calls: func(in action.Input, from, _ openings) []string {
			var calls []string
			for _, rule := range from.Rules {
				calls = append(calls, fmt.Sprintf("ec2:RevokeSecurityGroupIngress %s: %s", in.Params.String("group_id"), rule))
			}
			return calls
		},
		Summary: summarizeOpenings,
		Facts:   c.openingFacts,
		Between: func(from, now, to openings) bool { // of an undo that died between calls
			return len(to.Rules) > len(from.Rules) && len(from.without(now)) == 0 && len(now.without(to)) == 0
		},
	}
	return &ec2Setting[openings]{setting, c, groups}
}

func summarizeOpenings(in action.Input, from, _ openings) string {
	if len(from.Rules) == 0 {
		return fmt.Sprintf("security group %s has no such rule", in.Params.String("group_id"))
	}
	rules := make([]string, 0, len(from.Rules))
	for _, rule := range from.Rules {
		rules = append(rules, rule.String())
	}
	return fmt.Sprintf("revoke %d inbound rules of %s: %s", len(rules), in.Params.String("group_id"), strings.Join(rules, "; "))
}

// readOpenings reads the rules that the parameters are about.
func (c *Cloud) readOpenings(ctx context.Context, in action.Input) (openings, error) {
	found := openings{Rules: []opening{}}
	wanted, err := sought(in.Params)
	if err != nil {
		return found, err
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return found, err
	}
	group := in.Params.String("group_id")
	seen := 0
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(api, &ec2.DescribeSecurityGroupRulesInput{Filters: where("group-id", group)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return found, fmt.Errorf("describe rules of %s: %w", group, classify(err))
		}
		seen += len(page.SecurityGroupRules)
		for _, rule := range page.SecurityGroupRules {
			if wanted.matches(rule) {
				found.Rules = append(found.Rules, openingOf(rule))
			}
		}
	}
	if seen == 0 { // an unknown group has none either
		if _, err := c.securityGroup(ctx, in); err != nil {
			return found, err
		}
	}
	found.sort()
	return found, nil
}

func (c *Cloud) securityGroup(ctx context.Context, in action.Input) (types.SecurityGroup, error) {
	group := in.Params.String("group_id")
	api, err := c.ec2(in.Place)
	if err != nil {
		return types.SecurityGroup{}, err
	}
	pages := ec2.NewDescribeSecurityGroupsPaginator(api, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return types.SecurityGroup{}, fmt.Errorf("describe security group %s: %w", group, classify(err))
		}
		for _, found := range page.SecurityGroups {
			return found, nil
		}
	}
	return types.SecurityGroup{}, fault.New(fault.NotFound, "there is no security group %s in %s, %s", group, in.Account, in.Region)
}

// writeOpenings revokes the rules that are not wanted, in one call, and authorizes those that are missing.
func (c *Cloud) writeOpenings(ctx context.Context, in action.Input, from, to openings) (openings, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	group := aws.String(in.Params.String("group_id"))
	if extra := from.without(to); len(extra) > 0 {
		ids := make([]string, 0, len(extra))
		for _, rule := range extra {
			ids = append(ids, rule.id)
		}
		_, err := api.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: group, SecurityGroupRuleIds: ids})
		if err != nil {
			return to, fmt.Errorf("revoke rules of %s: %w", *group, classify(err))
		}
	}
	for _, rule := range to.without(from) { // one by one: the tags of a call are those of all its rules
		ask := &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group, IpPermissions: []types.IpPermission{rule.permission()}}
		if len(rule.Tags) > 0 {
			ask.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroupRule, Tags: rule.tags()}}
		}
		_, err := api.AuthorizeSecurityGroupIngress(ctx, ask)
		if err != nil {
			return to, fmt.Errorf("authorize %s in %s: %w", rule, *group, classify(err))
		}
	}
	return to, nil
}

func (c *Cloud) openingFacts(ctx context.Context, in action.Input, _ openings, change *action.Change) error {
	found, err := c.securityGroup(ctx, in)
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	if change.Noop {
		return nil
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return err
	}
	users := map[string]bool{}
	number := 0
	pages := ec2.NewDescribeNetworkInterfacesPaginator(api,
		&ec2.DescribeNetworkInterfacesInput{Filters: where("group-id", in.Params.String("group_id"))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("describe network interfaces in %s: %w", in.Params.String("group_id"), classify(err))
		}
		number += len(page.NetworkInterfaces)
		for _, port := range page.NetworkInterfaces {
			if port.Attachment != nil && aws.ToString(port.Attachment.InstanceId) != "" {
				users[aws.ToString(port.Attachment.InstanceId)] = true
			}
		}
	}
	change.Impact = append(change.Impact,
		fmt.Sprintf("%d network interfaces use the group%s; nobody new gets in by these rules", number, someOf(users)),
		"connections that are established already stay until they end")
	return nil
}

// someOf names a few of the instances.
func someOf(users map[string]bool) string {
	const most = 5
	ids := slices.Sorted(maps.Keys(users))
	switch {
	case len(ids) == 0:
		return ""
	case len(ids) > most:
		return fmt.Sprintf(", of %s and %d more instances", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return ", of " + strings.Join(ids, ", ")
}
