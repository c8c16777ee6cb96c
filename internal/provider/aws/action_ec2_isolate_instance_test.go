package aws_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// twoPorts launches an instance with two network interfaces.
func (l *ec2Lab) twoPorts(groups ...string) (instance, second string) {
	l.t.Helper()
	instance = l.launch(groups...)
	made := given(l.other.CreateNetworkInterface(l.t.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: &l.net, Groups: groups[:1]}))(l.t)
	second = *made.NetworkInterface.NetworkInterfaceId
	given(l.other.AttachNetworkInterface(l.t.Context(), &ec2.AttachNetworkInterfaceInput{
		InstanceId: &instance, NetworkInterfaceId: &second, DeviceIndex: sdk.Int32(1),
	}))(l.t)
	return instance, second
}

// ports tells the groups of an instance's interfaces, with what they let through, and passage groups left.
func (l *ec2Lab) ports(instance string) map[string][]string {
	l.t.Helper()
	found := given(l.other.DescribeNetworkInterfaces(l.t.Context(), &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: sdk.String("attachment.instance-id"), Values: []string{instance}}},
	}))(l.t)
	state := map[string][]string{}
	for _, port := range found.NetworkInterfaces {
		groups := []string{}
		for _, group := range port.Groups {
			groups = append(groups, *group.GroupName)
		}
		slices.Sort(groups)
		state[*port.NetworkInterfaceId] = groups
	}
	left := given(l.other.DescribeSecurityGroups(l.t.Context(), &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: sdk.String("group-name"), Values: []string{"riposte-passage-*"}}},
	}))(l.t)
	for _, group := range left.SecurityGroups {
		state["left"] = append(state["left"], *group.GroupName)
	}
	return state
}

func (l *ec2Lab) regroup(port string, groups ...string) {
	l.t.Helper()
	given(l.other.ModifyNetworkInterfaceAttribute(l.t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &port, Groups: groups,
	}))(l.t)
}

// The emulator has no traffic: that connections end is shown by the calls and their order alone. It has no
// interfaces that other services manage either.
func TestIsolateInstanceKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	instance, second := l.twoPorts(l.group("web"), l.group("admin"))
	do := l.action("aws.ec2.isolate_instance")
	in := l.input(do, map[string]any{"instance_id": instance})
	others := 0
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.ports(instance)) },
		Change: func(*testing.T) {
			others++
			l.regroup(second, l.group("other-"+string(rune('a'+others))))
		},
	})
}

// call is one of EC2's, as it came to the door.
func calls(door *providertest.Door) []url.Values {
	var list []url.Values
	for _, request := range door.Seen() {
		if form, err := url.ParseQuery(request.Body); err == nil && form.Get("Action") != "" {
			list = append(list, form)
		}
	}
	return list
}

// Established connections end when the interface's group allows everything both ways, so that EC2 tracks none
// of them, before the group that allows nothing.
func TestIsolateInstanceMakesFlowsUntrackedFirst(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	do := l.action("aws.ec2.isolate_instance")
	change := given(do.Plan(t.Context(), l.input(do, map[string]any{"instance_id": instance})))(t)
	l.door.Seen()
	given(do.Apply(t.Context(), change))(t)

	var order []string
	open := map[string]int{} // rules that let everything through, by group
	for _, form := range calls(l.door) {
		switch form.Get("Action") {
		case "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress":
			if form.Get("IpPermissions.1.IpProtocol") == "-1" {
				open[form.Get("GroupId")]++
			}
		case "ModifyNetworkInterfaceAttribute":
			group := form.Get("SecurityGroupId.1")
			if open[group] == 4 { // in and out, IPv4 and IPv6
				order = append(order, "open")
			} else {
				order = append(order, "closed")
			}
		case "DeleteSecurityGroup":
			order = append(order, "delete")
		}
	}
	if diff := cmp.Diff([]string{"open", "closed", "delete"}, order); diff != "" {
		t.Errorf("the interface's way (-want +got):\n%s", diff)
	}
	for _, port := range l.instance(instance).NetworkInterfaces {
		l.isClosed(*port.Groups[0].GroupId)
	}
}

func (l *ec2Lab) rules(group string) []types.SecurityGroupRule {
	l.t.Helper()
	found := given(l.other.DescribeSecurityGroupRules(l.t.Context(), &ec2.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{{Name: sdk.String("group-id"), Values: []string{group}}},
	}))(l.t)
	return found.SecurityGroupRules
}

func (l *ec2Lab) isClosed(group string) {
	l.t.Helper()
	if rules := l.rules(group); len(rules) > 0 {
		l.t.Errorf("the quarantine group has %d rules, want none: %s", len(rules), text(l.t, rules))
	}
}

// Whoever opens the quarantine group is found out, and the next isolation closes it again.
func TestIsolateInstanceDoesNotTrustAnOpenQuarantine(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	do := l.action("aws.ec2.isolate_instance")
	in := l.input(do, map[string]any{"instance_id": instance})
	change := given(do.Plan(t.Context(), in))(t)
	result := given(do.Apply(t.Context(), change))(t)
	group := *l.instance(instance).NetworkInterfaces[0].Groups[0].GroupId
	given(l.other.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: &group, CidrIp: sdk.String("203.0.113.7/32"), IpProtocol: sdk.String("tcp"), FromPort: sdk.Int32(22), ToPort: sdk.Int32(22),
	}))(t)

	verifier, ok := do.(action.Verifier)
	if !ok {
		t.Fatal("it is no action.Verifier")
	}
	err := verifier.Verify(t.Context(), action.Applied{Change: change, Result: result})
	if _, not := errors.AsType[*action.NotHeld](err); !not {
		t.Errorf("verify with an open quarantine group: got %v, want an *action.NotHeld", err)
	}
	again := given(do.Plan(t.Context(), in))(t)
	if again.Noop {
		t.Error("a plan with an open quarantine group says that there is nothing to do")
	}
	given(do.Apply(t.Context(), again))(t)
	l.isClosed(group)
}

// Undo restores what Plan saw and leaves alone what was attached since, if it is told to overwrite.
func TestIsolateInstanceUndoLeavesNewInterfacesAlone(t *testing.T) {
	l := newEC2Lab(t)
	web, admin := l.group("web"), l.group("admin")
	instance := l.launch(web)
	do := l.action("aws.ec2.isolate_instance")
	change := given(do.Plan(t.Context(), l.input(do, map[string]any{"instance_id": instance})))(t)
	before := l.ports(instance)
	done := action.Applied{Change: change, Result: given(do.Apply(t.Context(), change))(t)}
	made := given(l.other.CreateNetworkInterface(t.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: &l.net, Groups: []string{admin}}))(t)
	given(l.other.AttachNetworkInterface(t.Context(), &ec2.AttachNetworkInterfaceInput{
		InstanceId: &instance, NetworkInterfaceId: made.NetworkInterface.NetworkInterfaceId, DeviceIndex: sdk.Int32(1),
	}))(t)

	undoer, ok := do.(action.Undoer)
	if !ok {
		t.Fatal("it is no action.Undoer")
	}
	if _, err := undoer.Undo(t.Context(), done, false); err == nil {
		t.Error("undo passes over an interface that was attached since")
	}
	given(undoer.Undo(t.Context(), done, true))(t)
	before[*made.NetworkInterface.NetworkInterfaceId] = []string{"admin"}
	if diff := cmp.Diff(before, l.ports(instance)); diff != "" {
		t.Errorf("after a forced undo (-want +got):\n%s", diff)
	}
	if err := undoer.Restored(t.Context(), done); err != nil {
		t.Error(err)
	}
}

// Two instances of one VPC share the quarantine group.
func TestIsolateInstanceSharesTheQuarantineGroup(t *testing.T) {
	l := newEC2Lab(t)
	web := l.group("web")
	seen := map[string]bool{}
	for range 2 {
		instance := l.launch(web)
		do := l.action("aws.ec2.isolate_instance")
		change := given(do.Plan(t.Context(), l.input(do, map[string]any{"instance_id": instance})))(t)
		given(do.Apply(t.Context(), change))(t)
		for _, groups := range l.ports(instance) {
			seen[strings.Join(groups, ",")] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{"riposte-quarantine": true}, seen); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}
