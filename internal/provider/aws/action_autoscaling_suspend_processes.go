package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// pausing is which processes of an Auto Scaling group are suspended, sorted.
type pausing struct {
	Suspended []string `json:"suspended"`
}

// processes are what an Auto Scaling group does by itself.
var processes = []string{ //nolint:gochecknoglobals // a constant list
	"Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AlarmNotification", "ScheduledActions",
	"AddToLoadBalancer", "InstanceRefresh",
}

const suspendDoc = `Suspends processes of an Auto Scaling group, by default those that would terminate an instance that is looked into:
Terminate, ReplaceUnhealthy, AZRebalance and InstanceRefresh. The others go on.

With Terminate suspended the group doesn't scale in, and a rebalancing may let it grow by a tenth; with Launch
suspended it doesn't scale out and replaces nothing. Instances that fail meanwhile stay failed. A person or a service that
calls TerminateInstances is not held up: protect the instance itself with aws.ec2.preserve_instance.

Undo resumes exactly those that were not suspended before.`

// newSuspendProcesses makes aws.autoscaling.suspend_processes.
func newSuspendProcesses(c *Cloud, groups *census) *ec2Setting[pausing] {
	const pattern = "arn:{partition}:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/*"
	setting := &action.Setting[pausing]{
		About: action.Spec{
			Name: "aws.autoscaling.suspend_processes", Effect: action.Contain,
			Summary: "Keep an Auto Scaling group from terminating or launching instances.", Doc: suspendDoc,
			Params: []action.Param{
				{Name: "group", Type: action.String, Required: true, Doc: "Name of the Auto Scaling group."},
				{
					Name: "processes", Type: action.Strings, Default: []string{"Terminate", "ReplaceUnhealthy", "AZRebalance", "InstanceRefresh"},
					Doc: "The processes that are suspended: " + strings.Join(processes, ", ") + ".",
				},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "autoscaling:DescribeAutoScalingGroups"),
				permit(action.ApplyPhase, pattern, nil, "autoscaling:SuspendProcesses"),
				permit(action.UndoPhase, pattern, nil, "autoscaling:ResumeProcesses", "autoscaling:SuspendProcesses"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return entity.Entity{Kind: entity.Resource, ID: in.Params.String("group"), Provider: "aws", Account: in.Account, Region: in.Region}
		},
		Read: func(ctx context.Context, in action.Input) (pausing, error) {
			group, err := c.scalingGroup(ctx, in.Place, in.Params.String("group"))
			return pausing{suspendedIn(group)}, err
		},
		Want:  wantPaused,
		Write: c.writePausing,
		Calls: func(in action.Input, from, to pausing) []string {
			return []string{fmt.Sprintf("autoscaling:SuspendProcesses %s: %s", in.Params.String("group"), strings.Join(to.without(from), ", "))}
		},
		Summary: func(in action.Input, from, to pausing) string {
			return fmt.Sprintf("suspend %s of the Auto Scaling group %s", strings.Join(to.without(from), ", "), in.Params.String("group"))
		},
		Facts: c.pausingFacts,
		Between: func(from, now, to pausing) bool { // an undo resumes, then suspends
			return len(pausing{now.without(from)}.without(to)) == 0
		},
	}
	return &ec2Setting[pausing]{setting, c, groups}
}

func (p pausing) without(other pausing) []string {
	return slices.DeleteFunc(slices.Clone(p.Suspended), func(name string) bool { return slices.Contains(other.Suspended, name) })
}

func wantPaused(in action.Input, now pausing) (pausing, error) {
	asked := in.Params.Strings("processes")
	if len(asked) == 0 {
		return now, fault.New(fault.Invalid, "processes: none is named; it takes %s", strings.Join(processes, ", "))
	}
	wanted := slices.Clone(now.Suspended)
	for _, name := range asked {
		if !slices.Contains(processes, name) {
			return now, fault.New(fault.Invalid, "processes: %q is not one of %s", shorten(name), strings.Join(processes, ", "))
		}
		wanted = append(wanted, name)
	}
	slices.Sort(wanted)
	return pausing{slices.Compact(wanted)}, nil
}

func (c *Cloud) writePausing(ctx context.Context, in action.Input, from, to pausing) (pausing, error) {
	api, err := c.scaling(in.Place)
	if err != nil {
		return to, err
	}
	name := aws.String(in.Params.String("group"))
	if ended := from.without(to); len(ended) > 0 { // an empty list would be all of them
		_, err := api.ResumeProcesses(ctx, &autoscaling.ResumeProcessesInput{AutoScalingGroupName: name, ScalingProcesses: ended})
		if err != nil {
			return to, fmt.Errorf("resume processes of %s: %w", *name, classify(err))
		}
	}
	if begun := to.without(from); len(begun) > 0 {
		_, err := api.SuspendProcesses(ctx, &autoscaling.SuspendProcessesInput{AutoScalingGroupName: name, ScalingProcesses: begun})
		if err != nil {
			return to, fmt.Errorf("suspend processes of %s: %w", *name, classify(err))
		}
	}
	return to, nil
}

func (c *Cloud) pausingFacts(ctx context.Context, in action.Input, _ pausing, change *action.Change) error {
	group, err := c.scalingGroup(ctx, in.Place, in.Params.String("group"))
	if err != nil {
		return err
	}
	change.Tags = map[string]string{}
	for _, tag := range group.Tags {
		change.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	if change.Noop {
		return nil
	}
	change.Impact = append(change.Impact, fmt.Sprintf("the group has %s, a desired capacity of %d (%d to %d)", several(len(group.Instances), "instance"),
		aws.ToInt32(group.DesiredCapacity), aws.ToInt32(group.MinSize), aws.ToInt32(group.MaxSize)))
	for process, follows := range map[string]string{
		"Terminate":        "it doesn't scale in, and costs what it has now",
		"Launch":           "it doesn't scale out, and replaces nothing that fails",
		"ReplaceUnhealthy": "instances that fail their health check are not replaced",
	} {
		if slices.Contains(in.Params.Strings("processes"), process) {
			change.Impact = append(change.Impact, follows)
		}
	}
	slices.Sort(change.Impact[1:])
	return nil
}

func (c *Cloud) countScalingGroups(ctx context.Context, at action.Place) (int, error) {
	api, err := c.scaling(at)
	if err != nil {
		return 0, err
	}
	number := 0
	pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(api, &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("count Auto Scaling groups: %w", classify(err))
		}
		number += len(page.AutoScalingGroups)
	}
	return number, nil
}
