package aws_test

import (
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	balancing "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	balancingtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// balancers are what sends requests to instances of a lab.
type balancers struct {
	api   *balancing.Client
	old   *classic.Client
	group *string // ARN of the target group
	name  string
}

// balanced makes a target group and a classic load balancer with instances.
func (l *ec2Lab) balanced(name string, instances ...string) balancers {
	l.t.Helper()
	b := balancers{balancing.NewFromConfig(l.reach()), classic.NewFromConfig(l.reach()), nil, name}
	made := given(b.api.CreateTargetGroup(l.t.Context(), &balancing.CreateTargetGroupInput{
		Name: &name, Protocol: balancingtypes.ProtocolEnumHttp, Port: sdk.Int32(80), VpcId: &l.vpc, TargetType: balancingtypes.TargetTypeEnumInstance,
	}))(l.t)
	b.group = made.TargetGroups[0].TargetGroupArn
	balancer := given(b.api.CreateLoadBalancer(l.t.Context(), &balancing.CreateLoadBalancerInput{Name: &name, Subnets: []string{l.net}}))(l.t)
	given(b.api.CreateListener(l.t.Context(), &balancing.CreateListenerInput{ // without it, targets are unused
		LoadBalancerArn: balancer.LoadBalancers[0].LoadBalancerArn, Port: sdk.Int32(80), Protocol: balancingtypes.ProtocolEnumHttp,
		DefaultActions: []balancingtypes.Action{{Type: balancingtypes.ActionTypeEnumForward, TargetGroupArn: b.group}},
	}))(l.t)
	given(b.old.CreateLoadBalancer(l.t.Context(), &classic.CreateLoadBalancerInput{
		LoadBalancerName: &name, Subnets: []string{l.net},
		Listeners: []classictypes.Listener{{InstancePort: sdk.Int32(80), LoadBalancerPort: 80, Protocol: sdk.String("http")}},
	}))(l.t)
	for _, id := range instances {
		b.register(l, id, 80)
		given(b.old.RegisterInstancesWithLoadBalancer(l.t.Context(), &classic.RegisterInstancesWithLoadBalancerInput{
			LoadBalancerName: &name, Instances: []classictypes.Instance{{InstanceId: &id}},
		}))(l.t)
	}
	return b
}

func (b balancers) register(l *ec2Lab, id string, port int32) {
	l.t.Helper()
	given(b.api.RegisterTargets(l.t.Context(), &balancing.RegisterTargetsInput{
		TargetGroupArn: b.group, Targets: []balancingtypes.TargetDescription{{Id: &id, Port: &port}},
	}))(l.t)
}

// serve tells what gets requests.
func (b balancers) serve(l *ec2Lab) string {
	l.t.Helper()
	var targets []string
	health := given(b.api.DescribeTargetHealth(l.t.Context(), &balancing.DescribeTargetHealthInput{TargetGroupArn: b.group}))(l.t)
	for _, each := range health.TargetHealthDescriptions {
		if each.TargetHealth.State != balancingtypes.TargetHealthStateEnumDraining {
			targets = append(targets, text(l.t, each.Target))
		}
	}
	found := given(b.old.DescribeLoadBalancers(l.t.Context(), &classic.DescribeLoadBalancersInput{LoadBalancerNames: []string{b.name}}))(l.t)
	for _, each := range found.LoadBalancerDescriptions[0].Instances {
		targets = append(targets, "classic "+*each.InstanceId)
	}
	slices.Sort(targets)
	return text(l.t, targets)
}

func TestDeregisterTargetsKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	web := l.group("web")
	instance, other := l.launch(web), l.launch(web)
	b := l.balanced("round", instance, other)
	do := l.do("aws.ec2.deregister_from_load_balancers")
	in := l.input(do, map[string]any{"instance_id": instance})
	port := int32(8000)
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return b.serve(l) },
		Change: func(*testing.T) {
			port++
			b.register(l, instance, port)
		},
	})
}

// The last that answers is named as such: without it, the service is down.
func TestDeregisterTargetsWarnsOfTheLastOne(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	l.balanced("alone", instance)
	change := l.plans("aws.ec2.deregister_from_load_balancers", map[string]any{"instance_id": instance})
	says(t, change.Impact, "alone", "no other target", "answers nobody")
}

// A target by its address is the instance too.
func TestDeregisterTargetsKnowsAddresses(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	api := balancing.NewFromConfig(l.reach())
	made := given(api.CreateTargetGroup(t.Context(), &balancing.CreateTargetGroupInput{
		Name: sdk.String("by-address"), Protocol: balancingtypes.ProtocolEnumHttp, Port: sdk.Int32(80), VpcId: &l.vpc, TargetType: balancingtypes.TargetTypeEnumIp,
	}))(t)
	address := l.instance(instance).PrivateIpAddress
	given(api.RegisterTargets(t.Context(), &balancing.RegisterTargetsInput{
		TargetGroupArn: made.TargetGroups[0].TargetGroupArn, Targets: []balancingtypes.TargetDescription{{Id: address, Port: sdk.Int32(80)}},
	}))(t)
	change := l.plans("aws.ec2.deregister_from_load_balancers", map[string]any{"instance_id": instance})
	if len(change.Calls) != 1 {
		t.Errorf("got the calls %q, want one for the target %s", change.Calls, *address)
	}
}
