package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// isolateInstance is aws.ec2.isolate_instance.
type isolateInstance struct {
	*ec2Setting[isolation]
	// dwell is how long interfaces stay in the passage group: the time that EC2 needs to tell the hosts.
	dwell time.Duration
}

const isolateDoc = `Moves every network interface of the instance to the security group riposte-quarantine of its VPC, which lets
nothing in and nothing out. The group is made where it isn't there, and any rule that somebody put into it is
taken out. The instance keeps running and its memory stays as it is.

**Established connections are cut too.** EC2 goes on letting through what it tracks when a security group changes;
it doesn't track what is allowed to and from everywhere. So each interface first moves to a group riposte-passage-*
that allows everything, for about a second, and then to the quarantine group. The passage group is
deleted right after. Some connections are always tracked, and end only when they are idle for long: those through
Network and Gateway Load Balancers, PrivateLink, transit gateways, NAT gateways, Network Firewall, Global
Accelerator, and egress-only internet gateways. Where an intruder may use one of these, stop the instance or deny
the subnet in its network ACL.

Not filtered by any security group, and so not cut: Amazon's DNS, time and metadata services within the VPC's
own addresses. The instance can still get credentials of its role: detach the instance profile and revoke the
role's sessions too.

Network interfaces that an AWS service manages for itself are left alone; the plan names them.

Undo puts every interface back into exactly the groups that it was in, and leaves interfaces alone that were
attached since. The empty quarantine group stays for the next time; it may be deleted while nothing is in it.`

// newIsolateInstance makes aws.ec2.isolate_instance.
func newIsolateInstance(c *Cloud, instances *census) *isolateInstance {
	i := &isolateInstance{dwell: time.Second}
	if c.options.Endpoint != "" {
		i.dwell = 0 // an emulator tells no hosts
	}
	i.ec2Setting = &ec2Setting[isolation]{&action.Setting[isolation]{
		About: action.Spec{
			Name: "aws.ec2.isolate_instance", Effect: action.Contain,
			Summary: "Cut an instance off the network, established connections included.", Doc: isolateDoc,
			Params: []action.Param{instanceParam()}, Timeout: time.Minute, Permissions: isolatePermissions(),
		},
		Target: c.instanceTarget,
		Read:   c.readIsolation,
		Want:   wantIsolated,
		Write:  i.write,
		Calls:  isolateCalls,
		Summary: func(in action.Input, from, _ isolation) string {
			return fmt.Sprintf("cut instance %s off the network: %d network interfaces to the quarantine group",
				in.Params.String("instance_id"), len(from.Interfaces))
		},
		Facts:   c.isolateFacts,
		Between: onTheWay,
	}, c, instances}
	return i
}

func isolatePermissions() []action.Permission {
	made := conditions{"Null": {"aws:RequestTag/" + tagQuarantine: {"false"}}}
	creating := conditions{"StringEquals": {"ec2:CreateAction": {"CreateSecurityGroup"}}}
	ours := conditions{"Null": {"aws:ResourceTag/" + tagQuarantine: {"false"}}}
	groups := ec2ARN("security-group")
	return slices.Concat(
		servicePermissions(),
		permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups"),
		permit(action.ApplyPhase, "*", nil, "ec2:DescribeSecurityGroupRules"),
		permit(action.ApplyPhase, groups, made, "ec2:CreateSecurityGroup"),
		permit(action.ApplyPhase, ec2ARN("vpc"), nil, "ec2:CreateSecurityGroup"),
		permit(action.ApplyPhase, groups, creating, "ec2:CreateTags"),
		permit(action.ApplyPhase, groups, ours, "ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress",
			"ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress", "ec2:DeleteSecurityGroup",
			"ec2:ModifyNetworkInterfaceAttribute"),
		permit(action.ApplyPhase, ec2ARN("network-interface"), nil, "ec2:ModifyNetworkInterfaceAttribute"),
		permit(action.ApplyPhase, ec2ARN("instance"), nil, "ec2:ModifyNetworkInterfaceAttribute"),
		permit(action.UndoPhase, ec2ARN("network-interface"), nil, "ec2:ModifyNetworkInterfaceAttribute"),
		permit(action.UndoPhase, ec2ARN("instance"), nil, "ec2:ModifyNetworkInterfaceAttribute"),
		permit(action.UndoPhase, groups, nil, "ec2:ModifyNetworkInterfaceAttribute"),
	)
}

func wantIsolated(in action.Input, now isolation) (isolation, error) {
	if len(now.Interfaces) == 0 {
		return isolation{}, fault.New(fault.Invalid, "instance %s has no network interface that Riposte may move",
			in.Params.String("instance_id"))
	}
	var wanted isolation
	for _, p := range now.Interfaces {
		wanted.Interfaces = append(wanted.Interfaces, port{ID: p.ID, VPC: p.VPC, Groups: []string{quarantine}})
	}
	return wanted, nil
}

func isolateCalls(in action.Input, from, to isolation) []string {
	var calls []string
	for _, vpc := range from.vpcs() {
		calls = append(calls, fmt.Sprintf("ec2:CreateSecurityGroup %s in %s, unless it is there; without a rule", quarantineGroup, vpc),
			fmt.Sprintf("ec2:CreateSecurityGroup %s%s in %s, open for a moment", passagePrefix, in.Params.String("instance_id"), vpc))
	}
	for i, p := range from.Interfaces {
		if !slices.Equal(p.Groups, to.Interfaces[i].Groups) {
			calls = append(calls, fmt.Sprintf("ec2:ModifyNetworkInterfaceAttribute %s to passage", p.ID),
				fmt.Sprintf("ec2:ModifyNetworkInterfaceAttribute %s to quarantine", p.ID))
		}
	}
	return append(calls, "ec2:DeleteSecurityGroup "+passagePrefix+in.Params.String("instance_id"))
}

func (c *Cloud) isolateFacts(ctx context.Context, in action.Input, now isolation, change *action.Change) error {
	found, err := c.instance(ctx, in)
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	change.Impact = slices.Clone(now.unmovable)
	if change.Noop {
		return nil
	}
	for _, p := range now.Interfaces {
		change.Touches = append(change.Touches, c.ec2Entity(in.Place, entity.NetworkInterface, "network-interface", p.ID))
	}
	change.Impact = append(change.Impact,
		"all connections of the instance end, those of its users, of load balancers and of Systems Manager too",
		"for about a second, while connections are cut, its security groups allow everything")
	change.Impact = append(change.Impact, c.standing(ctx, in.Place, found)...)
	return nil
}

// write moves interfaces from groups to groups. What goes to quarantine passes through the passage first.
func (i *isolateInstance) write(ctx context.Context, in action.Input, from, to isolation) (isolation, error) {
	api, err := i.cloud.ec2(in.Place)
	if err != nil {
		return to, err
	}
	found, err := readWards(ctx, api, in.Params.String("instance_id"), to.vpcs())
	if err != nil {
		return to, err
	}
	m := mover{api: api, in: in, wards: found}
	if err := m.prepare(ctx, from, to); err != nil {
		return to, err
	}
	passed, err := m.toPassage(ctx, from, to)
	if err != nil {
		return to, err
	}
	if passed && i.dwell > 0 && !sleep(ctx, i.dwell) {
		return to, classify(context.Cause(ctx))
	}
	return to, m.toEnd(ctx, from, to)
}

// Apply isolates, then clears away the passage groups.
func (i *isolateInstance) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	result, err := i.ec2Setting.Apply(ctx, c)
	if err != nil {
		return result, err
	}
	return i.cleared(ctx, c, result)
}

// Undo puts interfaces back, then clears away what an Apply that died may have left.
func (i *isolateInstance) Undo(ctx context.Context, a action.Applied, force bool) (action.Result, error) {
	result, err := i.ec2Setting.Undo(ctx, a, force)
	if err != nil {
		return result, err
	}
	return i.cleared(ctx, a.Change, result)
}

// cleared deletes the passage groups of an instance. That the instance is isolated or restored counts
// more: where a group can't be deleted, the note says so.
func (i *isolateInstance) cleared(ctx context.Context, c action.Change, result action.Result) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return result, err
	}
	api, err := i.cloud.ec2(in.Place)
	if err != nil {
		return result, err
	}
	var before isolation
	if err := json.Unmarshal(c.Before, &before); err != nil {
		return result, fmt.Errorf("read what %s planned from: %w", c.Action, err)
	}
	found, err := readWards(ctx, api, in.Params.String("instance_id"), before.vpcs())
	for _, w := range found {
		if w.passage != "" && err == nil {
			_, err = api.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(w.passage)})
		}
	}
	if err != nil && !gone(err) {
		result.Note = fmt.Sprintf("the security group %s%s, which is open and unused, could not be deleted; delete it: %v",
			passagePrefix, in.Params.String("instance_id"), err)
	}
	return result, nil
}

// Restored compares the interfaces that were there when Apply was planned and still are.
func (i *isolateInstance) Restored(ctx context.Context, a action.Applied) error {
	in, err := a.Change.Input()
	if err != nil {
		return err
	}
	now, err := i.cloud.readIsolation(ctx, in)
	if err != nil {
		return err
	}
	var before, was, is isolation
	if err := json.Unmarshal(a.Change.Before, &before); err != nil {
		return fmt.Errorf("read what %s planned from: %w", a.Change.Action, err)
	}
	for _, p := range now.Interfaces {
		if old, ok := before.port(p.ID); ok {
			was.Interfaces, is.Interfaces = append(was.Interfaces, old), append(is.Interfaces, p)
		}
	}
	if found := differences(was, is); len(found) > 0 {
		return &action.NotHeld{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: found}
	}
	return nil
}
