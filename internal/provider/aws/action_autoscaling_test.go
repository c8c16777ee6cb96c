package aws_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// scaled makes an Auto Scaling group with instances, of 1 to 9.
func (l *ec2Lab) scaled(name string, instances int32) (*autoscaling.Client, []string) {
	l.t.Helper()
	api := autoscaling.NewFromConfig(l.reach())
	given(api.CreateLaunchConfiguration(l.t.Context(), &autoscaling.CreateLaunchConfigurationInput{
		LaunchConfigurationName: &name, ImageId: sdk.String("ami-12c6146b"), InstanceType: sdk.String("t3.micro"),
	}))(l.t)
	given(api.CreateAutoScalingGroup(l.t.Context(), &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: &name, LaunchConfigurationName: &name, MinSize: sdk.Int32(1), MaxSize: sdk.Int32(9), DesiredCapacity: &instances,
		VPCZoneIdentifier: &l.net,
	}))(l.t)
	l.t.Cleanup(func() {
		_, _ = api.DeleteAutoScalingGroup(context.WithoutCancel(l.t.Context()), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: &name, ForceDelete: sdk.Bool(true)})
	})
	var ids []string
	for id := range l.inGroup(api, name) {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return api, ids
}

func (l *ec2Lab) scalingGroup(api *autoscaling.Client, name string) scalingtypes.AutoScalingGroup {
	l.t.Helper()
	found := given(api.DescribeAutoScalingGroups(l.t.Context(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}}))(l.t)
	return found.AutoScalingGroups[0]
}

// inGroup tells how each instance of a group stands.
func (l *ec2Lab) inGroup(api *autoscaling.Client, name string) map[string]string {
	l.t.Helper()
	standing := map[string]string{}
	for _, each := range l.scalingGroup(api, name).Instances {
		standing[*each.InstanceId] = string(each.LifecycleState)
		if sdk.ToBool(each.ProtectedFromScaleIn) {
			standing[*each.InstanceId] += ", protected"
		}
	}
	return standing
}

func TestDetachFromAutoscalingKeepsTheContract(t *testing.T) {
	for _, mode := range []string{"standby", "detach"} {
		t.Run(mode, func(t *testing.T) {
			l := newEC2Lab(t)
			api, ids := l.scaled("shop-"+mode, 3)
			given(api.SetInstanceProtection(t.Context(), &autoscaling.SetInstanceProtectionInput{
				AutoScalingGroupName: sdk.String("shop-" + mode), InstanceIds: ids[:1], ProtectedFromScaleIn: sdk.Bool(true),
			}))(t)
			do := l.do("aws.ec2.detach_from_autoscaling")
			in := l.input(do, map[string]any{"instance_id": ids[0], "mode": mode})
			providertest.Contract(t, providertest.Case{
				Action: do, Input: in, Missing: absent(in, "instance_id", "i-0123456789abcdef0"), Door: l.door,
				State: func(t *testing.T) string {
					t.Helper()
					return text(t, []any{l.inGroup(api, "shop-"+mode), l.scalingGroup(api, "shop-"+mode).DesiredCapacity})
				},
				// Nobody makes the plan no longer fit but by what it plans itself, or by terminating the instance.
			})
		})
	}
}

// Where the group has its minimum, an instance leaves only if the group may launch another.
func TestDetachFromAutoscalingKnowsTheMinimum(t *testing.T) {
	l := newEC2Lab(t)
	api, ids := l.scaled("small", 1)
	params := map[string]any{"instance_id": ids[0]}
	l.refuses("aws.ec2.detach_from_autoscaling", params, fault.Invalid, "replace: true")
	params["replace"] = true
	done := l.applies("aws.ec2.detach_from_autoscaling", params)
	says(t, done.Change.Impact, "small", "desired capacity of 1 (1 to 9)", "0 other instances")
	says(t, done.Change.Impact, "launches another instance")
	standing := l.inGroup(api, "small")
	if standing[ids[0]] != "Standby" || len(standing) != 2 {
		t.Errorf("got %v, want the instance in standby and another", standing)
	}
}

func TestDetachFromAutoscalingOfAnInstanceInNone(t *testing.T) {
	l := newEC2Lab(t)
	if change := l.plans("aws.ec2.detach_from_autoscaling", map[string]any{"instance_id": l.launch(l.group("web"))}); !change.Noop {
		t.Errorf("there is something to do for an instance in no group: %v", change.Calls)
	}
}

func (l *ec2Lab) suspended(api *autoscaling.Client, name string) []string {
	l.t.Helper()
	names := []string{}
	for _, each := range l.scalingGroup(api, name).SuspendedProcesses {
		names = append(names, *each.ProcessName)
	}
	slices.Sort(names)
	return names
}

func TestSuspendProcessesKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	api, _ := l.scaled("paused", 1)
	suspend := func(names ...string) {
		given(api.SuspendProcesses(t.Context(), &autoscaling.SuspendProcessesInput{AutoScalingGroupName: sdk.String("paused"), ScalingProcesses: names}))(t)
	}
	suspend("AZRebalance") // stays so after an undo
	do := l.do("aws.autoscaling.suspend_processes")
	in := l.input(do, map[string]any{"group": "paused", "processes": []string{"AZRebalance", "ReplaceUnhealthy", "Terminate"}})
	others := []string{"ScheduledActions", "AlarmNotification", "HealthCheck", "AddToLoadBalancer", "InstanceRefresh"}
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: absent(in, "group", "nobodys"), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.suspended(api, "paused")) },
		Change: func(*testing.T) {
			suspend(others[0])
			others = others[1:]
		},
	})
}

func TestSuspendProcessesRefusesWhatIsNone(t *testing.T) {
	l := newEC2Lab(t)
	l.scaled("refused", 1)
	l.refuses("aws.autoscaling.suspend_processes", map[string]any{"group": "refused", "processes": []string{"Launch", "Everything"}}, fault.Invalid, "Everything")
	l.refuses("aws.autoscaling.suspend_processes", map[string]any{"group": "refused", "processes": []string{}}, fault.Invalid, "none is named")
}

// An instance of a group is replaced when it is isolated: whoever decides is told, and how many others there are.
func TestIsolationSaysWhatDependsOnTheInstance(t *testing.T) {
	l := newEC2Lab(t)
	_, ids := l.scaled("front", 3)
	l.balanced("front", ids...)
	address := given(l.other.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{}))(t)
	given(l.other.AssociateAddress(t.Context(), &ec2.AssociateAddressInput{AllocationId: address.AllocationId, InstanceId: &ids[0]}))(t)
	for _, name := range []string{"aws.ec2.isolate_instance", "aws.ec2.stop_instance"} {
		impact := l.plans(name, map[string]any{"instance_id": ids[0]}).Impact
		says(t, impact, "Auto Scaling group front", "2 other instances in service", "replaces it")
		says(t, impact, "target group front", "2 other targets")
		says(t, impact, "classic load balancer front")
		says(t, impact, "reached from the Internet at "+*address.PublicIp)
	}
}

// What Riposte may not read is said, and holds nothing up.
func TestIsolationIsPlannedWhereNothingElseMayBeRead(t *testing.T) {
	fake := &protocol{answers: map[string]func(map[string]any) (any, *refusal){
		"DescribeAutoScalingInstances": denied, "DescribeTargetGroups": denied, "DescribeLoadBalancers": denied,
	}}
	l := newEC2LabBehind(t, fake.before(t))
	instance := l.launch(l.group("web"))
	for _, name := range []string{"aws.ec2.isolate_instance", "aws.ec2.stop_instance"} {
		impact := l.plans(name, map[string]any{"instance_id": instance}).Impact
		for _, what := range []string{"Auto Scaling group", "target group", "classic load balancer"} {
			says(t, impact, "whether", what, "Riposte may not read it")
		}
	}
}

func TestPopulationOfNetworkActions(t *testing.T) {
	l := newEC2Lab(t)
	l.launch(l.group("counted"))
	l.scaled("counted", 1)
	counted := map[string]bool{}
	for _, do := range l.cloud.Actions() {
		counter, ok := do.(action.Counter)
		if !ok {
			continue
		}
		number, err := counter.Population(t.Context(), action.Place{Account: awstest.Home, Region: awstest.Region})
		if err != nil {
			t.Errorf("%s: %v", do.Spec().Name, err)
		}
		counted[do.Spec().Name] = number > 0
	}
	for _, name := range []string{
		"aws.ec2.preserve_instance", "aws.ec2.terminate_instance", "aws.autoscaling.suspend_processes", "aws.vpc.enable_flow_logs",
		"aws.vpc.lock_default_security_group",
	} {
		if !counted[name] {
			t.Errorf("%s counts nothing: %v", name, slices.Sorted(maps.Keys(counted)))
		}
	}
}
