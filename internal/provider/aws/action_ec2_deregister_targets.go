package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	balancing "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	balancingtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

// serving is where load balancers send requests to an instance, sorted.
type serving struct {
	Groups  []servedGroup `json:"target_groups"`
	Classic []string      `json:"classic"` // names of load balancers

	members []membership
}

type servedGroup struct {
	ARN     string   `json:"arn"`
	Targets []target `json:"targets"`
}

const deregisterDoc = `Takes the instance out of every target group of Application, Network and Gateway Load Balancers, by its id or by one of its
private addresses, and out of every Classic Load Balancer. They send it no new requests; requests under way may
end within the deregistration delay of the target group.

It doesn't cut who reaches the instance directly, nor connections that an intruder has. Load balancers that belong to
another account and reach the instance by its address are not seen. An Auto Scaling group registers only what it
launches; take the instance out of its group too, or the group may replace it.

Undo registers exactly the same targets, with their ports, again.`

// newDeregisterTargets makes aws.ec2.deregister_from_load_balancers.
func newDeregisterTargets(c *Cloud, instances *census) *ec2Setting[serving] {
	const groups = "arn:{partition}:elasticloadbalancing:{region}:{account}:targetgroup/*"
	const balancers = "arn:{partition}:elasticloadbalancing:{region}:{account}:loadbalancer/*"
	setting := &action.Setting[serving]{
		About: action.Spec{
			Name: "aws.ec2.deregister_from_load_balancers", Effect: action.Contain,
			Summary: "Take an instance out of its target groups and classic load balancers.", Doc: deregisterDoc,
			Params: []action.Param{instanceParam()}, Timeout: 2 * time.Minute,
			Permissions: slices.Concat(
				servicePermissions(),
				permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances"),
				permit(action.ApplyPhase, groups, nil, "elasticloadbalancing:DeregisterTargets"),
				permit(action.ApplyPhase, balancers, nil, "elasticloadbalancing:DeregisterInstancesFromLoadBalancer"),
				permit(action.UndoPhase, groups, nil, "elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"),
				permit(action.UndoPhase, balancers, nil, "elasticloadbalancing:RegisterInstancesWithLoadBalancer",
					"elasticloadbalancing:DeregisterInstancesFromLoadBalancer"),
			),
		},
		Target: c.instanceTarget,
		Read:   c.readServing,
		Want: func(action.Input, serving) (serving, error) {
			return serving{Groups: []servedGroup{}, Classic: []string{}}, nil
		},
		Write: c.writeServing,
		Calls: servingCalls,
		Summary: func(in action.Input, from, _ serving) string {
			return fmt.Sprintf("take instance %s out of %s and %s", in.Params.String("instance_id"),
				several(len(from.Groups), "target group"), several(len(from.Classic), "classic load balancer"))
		},
		Facts:   c.servingFacts,
		Between: servingBetween,
	}
	return &ec2Setting[serving]{setting, c, instances}
}

func (c *Cloud) readServing(ctx context.Context, in action.Input) (serving, error) {
	state := serving{Groups: []servedGroup{}, Classic: []string{}}
	found, err := c.instance(ctx, in)
	if err != nil {
		return state, err
	}
	if state.members, err = c.memberships(ctx, in.Place, found); err != nil {
		return state, err
	}
	for _, m := range state.members {
		if m.arn == "" {
			state.Classic = append(state.Classic, m.name)
		} else {
			state.Groups = append(state.Groups, servedGroup{m.arn, m.targets})
		}
	}
	return state, nil
}

// lists gives the places one by one, for comparison.
func (s serving) lists() []string {
	places := slices.Clone(s.Classic)
	for _, group := range s.Groups {
		for _, t := range group.Targets {
			places = append(places, fmt.Sprintf("%s %s:%d %s", group.ARN, t.ID, t.Port, t.Zone))
		}
	}
	return places
}

// servingBetween reports whether an instance is nowhere where it is in neither of two states, and still
// everywhere where it is in both.
func servingBetween(from, now, to serving) bool {
	before, is, after := from.lists(), now.lists(), to.lists()
	for _, place := range is {
		if !slices.Contains(before, place) && !slices.Contains(after, place) {
			return false
		}
	}
	for _, place := range before {
		if slices.Contains(after, place) && !slices.Contains(is, place) {
			return false
		}
	}
	return true
}

// missingFrom gives the groups with the targets that another state doesn't have.
func (s serving) missingFrom(other serving) []servedGroup {
	var rest []servedGroup
	for _, group := range s.Groups {
		known := []target{}
		for _, each := range other.Groups {
			if each.ARN == group.ARN {
				known = each.Targets
			}
		}
		missing := slices.DeleteFunc(slices.Clone(group.Targets), func(t target) bool { return slices.Contains(known, t) })
		if len(missing) > 0 {
			rest = append(rest, servedGroup{group.ARN, missing})
		}
	}
	return rest
}

func servingCalls(_ action.Input, from, to serving) []string {
	var calls []string
	for _, group := range from.missingFrom(to) {
		for _, t := range group.Targets {
			calls = append(calls, fmt.Sprintf("elasticloadbalancing:DeregisterTargets %s:%d from %s", t.ID, t.Port, group.ARN))
		}
	}
	for _, name := range from.Classic {
		calls = append(calls, "elasticloadbalancing:DeregisterInstancesFromLoadBalancer "+name)
	}
	return calls
}

func (c *Cloud) writeServing(ctx context.Context, in action.Input, from, to serving) (serving, error) {
	api, err := c.balancing(in.Place)
	if err != nil {
		return to, err
	}
	for _, group := range from.missingFrom(to) {
		_, err := api.DeregisterTargets(ctx, &balancing.DeregisterTargetsInput{TargetGroupArn: aws.String(group.ARN), Targets: descriptions(group)})
		if err != nil && !codeIs(err, "TargetGroupNotFound") {
			return to, fmt.Errorf("deregister from %s: %w", group.ARN, classify(err))
		}
	}
	for _, group := range to.missingFrom(from) {
		_, err := api.RegisterTargets(ctx, &balancing.RegisterTargetsInput{TargetGroupArn: aws.String(group.ARN), Targets: descriptions(group)})
		if err != nil {
			return to, fmt.Errorf("register in %s: %w", group.ARN, classify(err))
		}
	}
	return to, c.writeClassic(ctx, in, from, to)
}

func (c *Cloud) writeClassic(ctx context.Context, in action.Input, from, to serving) error {
	api, err := c.classicBalancing(in.Place)
	if err != nil {
		return err
	}
	instance := []classictypes.Instance{{InstanceId: aws.String(in.Params.String("instance_id"))}}
	for _, name := range from.Classic {
		if slices.Contains(to.Classic, name) {
			continue
		}
		_, err := api.DeregisterInstancesFromLoadBalancer(ctx, &classic.DeregisterInstancesFromLoadBalancerInput{
			LoadBalancerName: aws.String(name), Instances: instance,
		})
		if err != nil {
			return fmt.Errorf("deregister from %s: %w", name, classify(err))
		}
	}
	for _, name := range to.Classic {
		if slices.Contains(from.Classic, name) {
			continue
		}
		_, err := api.RegisterInstancesWithLoadBalancer(ctx, &classic.RegisterInstancesWithLoadBalancerInput{
			LoadBalancerName: aws.String(name), Instances: instance,
		})
		if err != nil {
			return fmt.Errorf("register with %s: %w", name, classify(err))
		}
	}
	return nil
}

func descriptions(group servedGroup) []balancingtypes.TargetDescription {
	var list []balancingtypes.TargetDescription
	for _, t := range group.Targets {
		one := balancingtypes.TargetDescription{Id: aws.String(t.ID), Port: aws.Int32(t.Port)}
		if t.Zone != "" {
			one.AvailabilityZone = aws.String(t.Zone)
		}
		list = append(list, one)
	}
	return list
}

func (c *Cloud) servingFacts(ctx context.Context, in action.Input, now serving, change *action.Change) error {
	found, err := c.instance(ctx, in)
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	for _, m := range now.members {
		change.Impact = append(change.Impact, m.String())
		if m.arn != "" {
			change.Touches = append(change.Touches, resourceTarget(in, m.arn))
		} else {
			change.Touches = append(change.Touches, entity.Entity{
				Kind: entity.Resource, ID: m.name, Provider: "aws", Account: in.Account, Region: in.Region,
			})
		}
	}
	return nil
}
