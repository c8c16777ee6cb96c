package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	balancing "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	balancingtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"golang.org/x/sync/errgroup"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// membership is a target group or a classic load balancer that sends requests to an instance.
type membership struct {
	name    string          // of the load balancer, or the target group
	arn     string          // of the target group; "" is a classic load balancer
	targets []target        // the instance's own, sorted
	healthy int             // others that are healthy
	known   bool            // healthy is known
	kind    balancingTarget // what the group's targets are
}

type balancingTarget = balancingtypes.TargetTypeEnum

// target is how an instance stands in a target group.
type target struct {
	ID   string `json:"id"` // of the instance, or a private address
	Port int32  `json:"port"`
	Zone string `json:"zone,omitempty"` // for addresses: a zone, or all
}

// atOnce is how many target groups are looked into side by side.
const atOnce = 8

// memberships finds what sends requests to an instance: target groups of its VPC, then classic load balancers,
// each sorted by name. What drains counts as out of it.
func (c *Cloud) memberships(ctx context.Context, at action.Place, found types.Instance) ([]membership, error) {
	groups, err := c.targetGroups(ctx, at, found)
	if err != nil {
		return nil, err
	}
	old, err := c.classicBalancers(ctx, at, aws.ToString(found.InstanceId))
	return append(groups, old...), err
}

func (c *Cloud) targetGroups(ctx context.Context, at action.Place, found types.Instance) ([]membership, error) {
	api, err := c.balancing(at)
	if err != nil {
		return nil, err
	}
	var candidates []balancingtypes.TargetGroup
	pages := balancing.NewDescribeTargetGroupsPaginator(api, &balancing.DescribeTargetGroupsInput{PageSize: aws.Int32(400)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe target groups: %w", classify(err))
		}
		for _, group := range page.TargetGroups {
			if aws.ToString(group.VpcId) == aws.ToString(found.VpcId) {
				candidates = append(candidates, group)
			}
		}
	}
	var mu sync.Mutex
	var members []membership
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(atOnce)
	for _, group := range candidates {
		work.Go(func() error {
			one, err := membershipIn(ctx, api, group, found)
			if err != nil || len(one.targets) == 0 {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			members = append(members, one)
			return nil
		})
	}
	err = work.Wait()
	slices.SortFunc(members, func(a, b membership) int { return cmp.Compare(a.arn, b.arn) })
	return members, err
}

func membershipIn(ctx context.Context, api *balancing.Client, group balancingtypes.TargetGroup, found types.Instance) (membership, error) {
	m := membership{name: aws.ToString(group.TargetGroupName), arn: aws.ToString(group.TargetGroupArn), kind: group.TargetType, known: true}
	ids := addressesOf(found)
	switch group.TargetType {
	case balancingtypes.TargetTypeEnumInstance:
		ids = []string{aws.ToString(found.InstanceId)}
	case balancingtypes.TargetTypeEnumIp:
	case balancingtypes.TargetTypeEnumLambda, balancingtypes.TargetTypeEnumAlb:
		return m, nil
	}
	health, err := api.DescribeTargetHealth(ctx, &balancing.DescribeTargetHealthInput{TargetGroupArn: group.TargetGroupArn})
	if gone(err) || codeIs(err, "TargetGroupNotFound") { // it was deleted meanwhile
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("describe targets of %s: %w", m.name, classify(err))
	}
	for _, each := range health.TargetHealthDescriptions {
		m.add(each, ids)
	}
	slices.SortFunc(m.targets, func(a, b target) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Port, b.Port)) })
	return m, nil
}

func (m *membership) add(each balancingtypes.TargetHealthDescription, ids []string) {
	if each.Target == nil || each.TargetHealth == nil {
		return
	}
	state := each.TargetHealth.State
	switch {
	case !slices.Contains(ids, aws.ToString(each.Target.Id)):
		if state == balancingtypes.TargetHealthStateEnumHealthy {
			m.healthy++
		}
	case state == balancingtypes.TargetHealthStateEnumDraining:
	case state == balancingtypes.TargetHealthStateEnumUnused && each.TargetHealth.Reason == balancingtypes.TargetHealthReasonEnumNotRegistered:
	default:
		t := target{ID: aws.ToString(each.Target.Id), Port: aws.ToInt32(each.Target.Port)}
		if m.kind == balancingtypes.TargetTypeEnumIp {
			t.Zone = aws.ToString(each.Target.AvailabilityZone)
		}
		m.targets = append(m.targets, t)
	}
}

// addressesOf lists the private addresses of an instance, IPv6 ones included.
func addressesOf(found types.Instance) []string {
	var list []string
	for _, port := range found.NetworkInterfaces {
		for _, private := range port.PrivateIpAddresses {
			list = append(list, aws.ToString(private.PrivateIpAddress))
		}
		for _, six := range port.Ipv6Addresses {
			list = append(list, aws.ToString(six.Ipv6Address))
		}
	}
	return list
}

func (c *Cloud) classicBalancers(ctx context.Context, at action.Place, instance string) ([]membership, error) {
	api, err := c.classicBalancing(at)
	if err != nil {
		return nil, err
	}
	var members []membership
	pages := classic.NewDescribeLoadBalancersPaginator(api, &classic.DescribeLoadBalancersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe classic load balancers: %w", classify(err))
		}
		for _, balancer := range page.LoadBalancerDescriptions {
			m := membership{name: aws.ToString(balancer.LoadBalancerName)}
			for _, each := range balancer.Instances {
				if aws.ToString(each.InstanceId) == instance {
					m.targets = []target{{ID: instance}}
				}
			}
			if len(m.targets) > 0 {
				m.healthy = len(balancer.Instances) - 1
				members = append(members, m)
			}
		}
	}
	slices.SortFunc(members, func(a, b membership) int { return cmp.Compare(a.name, b.name) })
	return members, nil
}

// String says what an instance's place in the membership is worth.
func (m *membership) String() string {
	kind := "target group " + m.name
	if m.arn == "" {
		kind = "classic load balancer " + m.name
	}
	switch {
	case !m.known:
		return fmt.Sprintf("it is one of %s behind the %s", several(m.healthy+1, "instance"), kind)
	case m.healthy == 0:
		return fmt.Sprintf("no other target of the %s is healthy: without this one it answers nobody", kind)
	}
	return fmt.Sprintf("it is in the %s, with %s that is healthy", kind, several(m.healthy, "other target"))
}

// scalingPlace is where an instance stands in an Auto Scaling group.
type scalingPlace struct {
	group     scalingtypes.AutoScalingGroup // without a name: it is in none
	lifecycle string
	protected bool // from scale-in
}

func (p scalingPlace) name() string { return aws.ToString(p.group.AutoScalingGroupName) }

// others counts the instances of the group that serve beside this one.
func (p scalingPlace) others(instance string) int {
	number := 0
	for _, each := range p.group.Instances {
		if aws.ToString(each.InstanceId) != instance && each.LifecycleState == scalingtypes.LifecycleStateInService {
			number++
		}
	}
	return number
}

// scalingPlaceOf finds the group of an instance as Auto Scaling tells it, not by a tag that anybody can write.
func (c *Cloud) scalingPlaceOf(ctx context.Context, at action.Place, instance string) (scalingPlace, error) {
	var place scalingPlace
	api, err := c.scaling(at)
	if err != nil {
		return place, err
	}
	found, err := api.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{instance}})
	if err != nil {
		return place, fmt.Errorf("look for the Auto Scaling group of %s: %w", instance, classify(err))
	}
	for _, each := range found.AutoScalingInstances {
		if aws.ToString(each.InstanceId) != instance {
			continue
		}
		place.lifecycle, place.protected = aws.ToString(each.LifecycleState), aws.ToBool(each.ProtectedFromScaleIn)
		if place.group, err = c.scalingGroup(ctx, at, aws.ToString(each.AutoScalingGroupName)); err != nil {
			return place, err
		}
	}
	return place, nil
}

func (c *Cloud) scalingGroup(ctx context.Context, at action.Place, name string) (scalingtypes.AutoScalingGroup, error) {
	api, err := c.scaling(at)
	if err != nil {
		return scalingtypes.AutoScalingGroup{}, err
	}
	found, err := api.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil {
		return scalingtypes.AutoScalingGroup{}, fmt.Errorf("describe Auto Scaling group %s: %w", name, classify(err))
	}
	for _, group := range found.AutoScalingGroups {
		if aws.ToString(group.AutoScalingGroupName) == name {
			return group, nil
		}
	}
	return scalingtypes.AutoScalingGroup{}, fault.New(fault.NotFound, "there is no Auto Scaling group %s in %s, %s", shorten(name), at.Account, at.Region)
}

// longestLook bounds how long a plan looks for what depends on an instance, so that it is planned anyhow.
const longestLook = 15 * time.Second

var errLongLook = errors.New("looking for what depends on the instance took too long")

// servicePermissions are what standing reads.
func servicePermissions() []action.Permission {
	return permit(action.PlanPhase, "*", nil, "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances",
		"elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth")
}

// standing says what depends on an instance: its group, its load balancers, its public address. What can't be read
// is said too: it is a fact that the person who decides must know, and no reason to leave an intruder alone.
func (c *Cloud) standing(ctx context.Context, at action.Place, found types.Instance) []string {
	ctx, done := context.WithTimeoutCause(ctx, longestLook, errLongLook)
	defer done()
	var impact []string
	id := aws.ToString(found.InstanceId)
	place, err := c.scalingPlaceOf(ctx, at, id)
	switch {
	case err != nil:
		impact = append(impact, unread("whether it is in an Auto Scaling group", err))
		if group := inGroup(tagsOf(found.Tags)); group != "" {
			impact = append(impact, group)
		}
	case place.name() != "":
		impact = append(impact, place.describe(id))
	}
	members, err := c.targetGroups(ctx, at, found)
	if err != nil {
		impact = append(impact, unread("whether it is in a target group", err))
	}
	old, err := c.classicBalancers(ctx, at, id)
	if err != nil {
		impact = append(impact, unread("whether it is behind a classic load balancer", err))
	}
	for _, m := range append(members, old...) {
		impact = append(impact, m.String())
	}
	if address := aws.ToString(found.PublicIpAddress); address != "" {
		impact = append(impact, "it is reached from the Internet at "+address)
	}
	return impact
}

func (p scalingPlace) describe(instance string) string {
	text := fmt.Sprintf("the instance belongs to the Auto Scaling group %s, with %s in service: once its health check fails, the group "+
		"terminates and replaces it, and what is only on it is lost", p.name(), several(p.others(instance), "other instance"))
	if suspended := p.suspended(); len(suspended) > 0 {
		text += "; suspended there: " + strings.Join(suspended, ", ")
	}
	return text
}

func (p scalingPlace) suspended() []string { return suspendedIn(p.group) }

func suspendedIn(group scalingtypes.AutoScalingGroup) []string {
	names := []string{}
	for _, each := range group.SuspendedProcesses {
		names = append(names, aws.ToString(each.ProcessName))
	}
	slices.Sort(names)
	return names
}

// unread says that something could not be read, and why, in short: what AWS answers may be long.
func unread(what string, err error) string {
	why := "AWS did not answer as it should"
	switch fault.KindOf(err) { //nolint:exhaustive // the others say no more
	case fault.Denied:
		why = "Riposte may not read it"
	case fault.Transient:
		why = "AWS did not answer in time"
	}
	return fmt.Sprintf("%s is not known: %s", what, why)
}
