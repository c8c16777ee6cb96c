package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Names of the security groups that Riposte makes.
const (
	quarantineGroup = "riposte-quarantine"
	passagePrefix   = "riposte-passage-" // with the instance's id
)

// The groups that Riposte makes, as states and plans name them: their ids may not be there yet.
const (
	quarantine = "quarantine" // Riposte's, and without a rule
	passage    = "passage"
)

// wards are the groups that Riposte made in one VPC, by id; "" is none.
type wards struct {
	quarantine string
	closed     bool // the quarantine group has no rule
	passage    string
}

// name gives a group's id as states name it. A quarantine group with a rule in it is one like any other: what
// is in it is not isolated.
func (w wards) name(id string) string {
	switch {
	case id == w.quarantine && w.closed:
		return quarantine
	case id == w.passage:
		return passage
	}
	return id
}

// readWards finds the groups that Riposte made for an instance in VPCs.
func readWards(ctx context.Context, api *ec2.Client, instance string, vpcs []string) (map[string]wards, error) {
	found := map[string]wards{}
	filters := slices.Concat(where("vpc-id", vpcs...), where("tag-key", tagQuarantine),
		where("group-name", quarantineGroup, passagePrefix+instance))
	pages := ec2.NewDescribeSecurityGroupsPaginator(api, &ec2.DescribeSecurityGroupsInput{Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for quarantine groups: %w", classify(err))
		}
		for _, group := range page.SecurityGroups {
			vpc := aws.ToString(group.VpcId)
			w := found[vpc]
			if aws.ToString(group.GroupName) == quarantineGroup {
				w.quarantine = aws.ToString(group.GroupId)
				w.closed = len(group.IpPermissions) == 0 && len(group.IpPermissionsEgress) == 0
			} else {
				w.passage = aws.ToString(group.GroupId)
			}
			found[vpc] = w
		}
	}
	return found, nil
}

// makeGroup makes a group of Riposte's, or gives the one that is there.
func makeGroup(ctx context.Context, api *ec2.Client, in action.Input, name, vpc, purpose string) (string, error) {
	marked := types.Tag{Key: aws.String(tagQuarantine), Value: aws.String(purpose)}
	made, err := api.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(name), VpcId: aws.String(vpc),
		Description:       aws.String("Riposte " + purpose + ": made to isolate instances. Add no rule."),
		TagSpecifications: tagged(types.ResourceTypeSecurityGroup, in, marked),
	})
	switch {
	case codeIs(err, "InvalidGroup.Duplicate"): // another run was faster, or it is not ours
		return "", fault.WithHint(fault.New(fault.Transient, "a group %s is in %s already: %w", name, vpc, err),
			"if it lacks the tag "+tagQuarantine+" it is not Riposte's: rename it, or tag it and take its rules away")
	case err != nil:
		return "", fmt.Errorf("create group %s in %s: %w", name, vpc, classify(err))
	}
	return aws.ToString(made.GroupId), nil
}

// closedGroup gives the quarantine group of a VPC, made and emptied where need be.
func closedGroup(ctx context.Context, api *ec2.Client, in action.Input, vpc string, w wards) (string, error) {
	if w.closed {
		return w.quarantine, nil
	}
	id := w.quarantine
	if id == "" {
		made, err := makeGroup(ctx, api, in, quarantineGroup, vpc, quarantine)
		if err != nil {
			return "", err
		}
		id = made
	}
	return id, emptied(ctx, api, id)
}

// emptied takes all rules out of a group: those that EC2 puts into a new one, and those that somebody added.
func emptied(ctx context.Context, api *ec2.Client, id string) error {
	var inward, outward []string
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(api, &ec2.DescribeSecurityGroupRulesInput{Filters: where("group-id", id)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("describe rules of %s: %w", id, newborn(err))
		}
		for _, rule := range page.SecurityGroupRules {
			if aws.ToBool(rule.IsEgress) {
				outward = append(outward, aws.ToString(rule.SecurityGroupRuleId))
			} else {
				inward = append(inward, aws.ToString(rule.SecurityGroupRuleId))
			}
		}
	}
	if len(outward) > 0 {
		_, err := api.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: aws.String(id), SecurityGroupRuleIds: outward})
		if err != nil {
			return fmt.Errorf("empty the quarantine group %s: %w", id, newborn(err))
		}
	}
	if len(inward) > 0 {
		_, err := api.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: aws.String(id), SecurityGroupRuleIds: inward})
		if err != nil {
			return fmt.Errorf("empty the quarantine group %s: %w", id, newborn(err))
		}
	}
	return nil
}

// openGroup gives the passage group of an instance in a VPC: one that allows everything in and out, so that
// EC2 tracks no connection through it. Its rules are set each time: one that died may have set some.
func openGroup(ctx context.Context, api *ec2.Client, in action.Input, vpc string, w wards) (string, error) {
	id := w.passage
	if id == "" {
		made, err := makeGroup(ctx, api, in, passagePrefix+in.Params.String("instance_id"), vpc, passage)
		if err != nil {
			return "", err
		}
		id = made
	}
	everywhere := []types.IpPermission{
		{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
		{IpProtocol: aws.String("-1"), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}},
	}
	for i := range everywhere { // one by one: a call fails as a whole if one of its rules is there
		rule := everywhere[i : i+1]
		_, err := api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(id), IpPermissions: rule})
		if err == nil || codeIs(err, "InvalidPermission.Duplicate") {
			_, err = api.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: aws.String(id), IpPermissions: rule})
		}
		if err != nil && !codeIs(err, "InvalidPermission.Duplicate") {
			return "", fmt.Errorf("open the passage group %s: %w", id, newborn(err))
		}
	}
	return id, nil
}

// newborn classifies an error about a group that was there a moment ago or was just made: not found is
// EC2 not knowing it everywhere yet, or another run changing it at the same time.
func newborn(err error) error {
	if gone(err) {
		return fault.Wrap(fault.Transient, err)
	}
	return classify(err)
}

// regroup puts a network interface into security groups, and out of all others.
func regroup(ctx context.Context, api *ec2.Client, port string, groups []string) error {
	_, err := api.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(port), Groups: groups,
	})
	if err != nil {
		return fmt.Errorf("move %s to %v: %w", port, groups, err)
	}
	return nil
}
