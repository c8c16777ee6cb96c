package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// scaled is how an instance stands in its Auto Scaling group.
type scaled struct {
	Group     string `json:"group"`               // "" is none
	Standing  string `json:"standing"`            // InService, Standby or Detached, or what is on the way there
	Protected bool   `json:"protected,omitempty"` // from scale-in

	place scalingPlace
}

// How an instance stands, beside what Auto Scaling calls it.
const (
	inService = string(scalingtypes.LifecycleStateInService)
	standby   = string(scalingtypes.LifecycleStateStandby)
	detached  = "Detached"
)

const detachScalingDoc = `Takes the instance out of its Auto Scaling group, which would otherwise terminate and replace it as soon as it is
isolated or stopped, and the evidence with it. It is also taken out of the load balancers that the group serves.

mode says how: ` + "`standby`" + ` keeps it as a member that the group neither checks nor terminates, ` + "`detach`" + ` makes it an instance of
no group. replace says whether the group launches another instead; without it, its desired capacity goes down by
one, which its minimum must allow.

Undo puts it back into service, or attaches it to the same group again, with its protection from scale-in. The
desired capacity goes up by one then, which the group's maximum must allow; where the instance was replaced, the
group has one instance more than before, and may terminate one when it scales in.

Deleting the group terminates an instance in standby too.`

// newDetachFromScaling makes aws.ec2.detach_from_autoscaling.
func newDetachFromScaling(c *Cloud, instances *census) *ec2Setting[scaled] {
	group := "arn:{partition}:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/*"
	setting := &action.Setting[scaled]{
		About: action.Spec{
			Name: "aws.ec2.detach_from_autoscaling", Effect: action.Contain,
			Summary: "Take an instance out of its Auto Scaling group, before that replaces it.", Doc: detachScalingDoc,
			Params: []action.Param{
				instanceParam(),
				{Name: "mode", Type: action.String, Enum: []string{"standby", "detach"}, Default: "standby", Doc: "standby or detach."},
				{Name: "replace", Type: action.Bool, Default: false, Doc: "Whether the group launches another instance instead."},
			},
			Settle: 5 * time.Minute,
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeAutoScalingGroups"),
				permit(action.ApplyPhase, group, nil, "autoscaling:DetachInstances", "autoscaling:EnterStandby"),
				permit(action.UndoPhase, group, nil, "autoscaling:AttachInstances", "autoscaling:ExitStandby", "autoscaling:SetInstanceProtection"),
			),
		},
		Target: c.instanceTarget,
		Read:   c.readScaled,
		Want:   wantOutOfScaling,
		Write:  c.writeScaled,
		Calls: func(in action.Input, from, to scaled) []string {
			call := "autoscaling:EnterStandby"
			if to.Standing == detached {
				call = "autoscaling:DetachInstances"
			}
			return []string{fmt.Sprintf("%s %s of %s, %s", call, in.Params.String("instance_id"), from.Group, capacityChange(in))}
		},
		Summary: func(in action.Input, from, to scaled) string {
			if from.Group == "" {
				return fmt.Sprintf("instance %s is in no Auto Scaling group", in.Params.String("instance_id"))
			}
			return fmt.Sprintf("take instance %s out of the Auto Scaling group %s: %s", in.Params.String("instance_id"), from.Group, to.Standing)
		},
		Facts: c.scaledFacts,
		Between: func(from, now, to scaled) bool { // the second of an undo that died between calls
			return onTheMove(now.Standing) || from.Group == "" && to.Group != "" && now.Group == to.Group && now.Standing != ""
		},
	}
	return &ec2Setting[scaled]{setting, c, instances}
}

func capacityChange(in action.Input) string {
	if in.Params.Bool("replace") {
		return "which launches another"
	}
	return "its desired capacity down by one"
}

// onTheMove reports whether a lifecycle state is one that passes by itself.
func onTheMove(standing string) bool {
	return standing == string(scalingtypes.LifecycleStateEnteringStandby) || standing == string(scalingtypes.LifecycleStateDetaching) ||
		strings.HasPrefix(standing, string(scalingtypes.LifecycleStatePending))
}

func (c *Cloud) readScaled(ctx context.Context, in action.Input) (scaled, error) {
	if _, err := c.instance(ctx, in); err != nil {
		return scaled{}, err
	}
	place, err := c.scalingPlaceOf(ctx, in.Place, in.Params.String("instance_id"))
	if err != nil || place.name() == "" || place.lifecycle == string(scalingtypes.LifecycleStateDetached) {
		return scaled{Standing: detached}, err
	}
	return scaled{Group: place.name(), Standing: place.lifecycle, Protected: place.protected, place: place}, nil
}

func wantOutOfScaling(in action.Input, now scaled) (scaled, error) {
	id := in.Params.String("instance_id")
	switch {
	case now.Group == "", now.Standing == standby && in.Params.String("mode") == "standby":
		return now, nil
	case onTheMove(now.Standing):
		return now, fault.New(fault.Transient, "instance %s is %s in its Auto Scaling group; it must be in service or in standby to plan from", id, now.Standing)
	case now.Standing != inService && now.Standing != standby:
		return now, fault.New(fault.Conflict, "instance %s is %s in the Auto Scaling group %s and can't be taken out of it any more", id, now.Standing, now.Group)
	}
	group := now.place.group
	if now.Standing == inService && !in.Params.Bool("replace") && aws.ToInt32(group.DesiredCapacity) <= aws.ToInt32(group.MinSize) {
		return now, fault.WithHint(
			fault.New(fault.Invalid, "the Auto Scaling group %s can't do with fewer than %d instances", now.Group, aws.ToInt32(group.MinSize)),
			"set replace: true, so that it launches another, or lower its minimum")
	}
	if in.Params.String("mode") == "standby" {
		return scaled{Group: now.Group, Standing: standby, Protected: now.Protected}, nil
	}
	return scaled{Standing: detached}, nil
}

func (c *Cloud) writeScaled(ctx context.Context, in action.Input, from, to scaled) (scaled, error) {
	api, err := c.scaling(in.Place)
	if err != nil {
		return to, err
	}
	if onTheMove(from.Standing) {
		return to, fault.New(fault.Transient, "instance %s is %s; it goes on from there", in.Params.String("instance_id"), from.Standing)
	}
	ids, fewer := []string{in.Params.String("instance_id")}, aws.Bool(!in.Params.Bool("replace"))
	switch {
	case to.Standing == standby && from.Standing == inService:
		_, err = api.EnterStandby(ctx, &autoscaling.EnterStandbyInput{
			AutoScalingGroupName: aws.String(to.Group), InstanceIds: ids, ShouldDecrementDesiredCapacity: fewer,
		})
	case to.Standing == detached && from.Group != "":
		_, err = api.DetachInstances(ctx, &autoscaling.DetachInstancesInput{
			AutoScalingGroupName: aws.String(from.Group), InstanceIds: ids, ShouldDecrementDesiredCapacity: fewer,
		})
	default:
		err = returnToScaling(ctx, api, ids, from, to)
	}
	if err != nil {
		return to, fmt.Errorf("move %s to %s: %w", ids[0], to.Standing, classify(err))
	}
	return to, nil
}

// returnToScaling puts an instance back into its group: from nowhere or from standby into service, and from there
// into standby where it was in standby before.
func returnToScaling(ctx context.Context, api *autoscaling.Client, ids []string, from, to scaled) error {
	name := aws.String(to.Group)
	var err error
	if from.Group == "" {
		_, err = api.AttachInstances(ctx, &autoscaling.AttachInstancesInput{AutoScalingGroupName: name, InstanceIds: ids})
	} else if from.Standing == standby && to.Standing == inService {
		_, err = api.ExitStandby(ctx, &autoscaling.ExitStandbyInput{AutoScalingGroupName: name, InstanceIds: ids})
	}
	if err != nil {
		return err
	}
	if from.Group == "" && to.Standing == standby {
		_, err = api.EnterStandby(ctx, &autoscaling.EnterStandbyInput{
			AutoScalingGroupName: name, InstanceIds: ids, ShouldDecrementDesiredCapacity: aws.Bool(true),
		})
	}
	if err != nil || from.Protected == to.Protected {
		return err
	}
	_, err = api.SetInstanceProtection(ctx, &autoscaling.SetInstanceProtectionInput{
		AutoScalingGroupName: name, InstanceIds: ids, ProtectedFromScaleIn: aws.Bool(to.Protected),
	})
	return err
}

func (c *Cloud) scaledFacts(ctx context.Context, in action.Input, now scaled, change *action.Change) error {
	found, err := c.instance(ctx, in)
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	if change.Noop || now.Group == "" {
		return nil
	}
	group := now.place.group
	change.Touches = []entity.Entity{resourceTarget(in, aws.ToString(group.AutoScalingGroupARN))}
	change.Impact = append(change.Impact, fmt.Sprintf("the Auto Scaling group %s has a desired capacity of %d (%d to %d), and %s in service",
		now.Group, aws.ToInt32(group.DesiredCapacity), aws.ToInt32(group.MinSize), aws.ToInt32(group.MaxSize),
		several(now.place.others(in.Params.String("instance_id")), "other instance")))
	if in.Params.Bool("replace") {
		change.Impact = append(change.Impact, "it launches another instance from the same template: what let the intruder in may be in that too")
	} else {
		change.Impact = append(change.Impact, "the others carry its load; the desired capacity goes down by one")
	}
	if len(group.TargetGroupARNs)+len(group.LoadBalancerNames)+len(group.TrafficSources) > 0 {
		change.Impact = append(change.Impact, "the load balancers of the group send it no more requests")
	}
	return nil
}
