package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// power is whether an instance runs: its state as EC2 names it.
type power struct {
	State types.InstanceStateName `json:"state"`
}

const stopDoc = `Stops the instance and waits until EC2 says that it is stopped. Its EBS volumes stay as they are, encrypted
and attached; its private addresses and Elastic IP addresses stay too.

Lost for good, and not restored by undo: what is in memory, what is on instance-store volumes, and a public
address that is not an Elastic IP address. Take snapshots first, and prefer isolation where memory is evidence.

Undo starts the instance again. It may fail where the zone has no capacity at the moment; it is tried again then.

Not for instances that run from an instance store (those can only be terminated). An instance with stop protection
is not stopped: EC2 refuses.`

// newStopInstance makes aws.ec2.stop_instance.
func newStopInstance(c *Cloud, instances *census) *ec2Setting[power] {
	setting := &action.Setting[power]{
		About: action.Spec{
			Name: "aws.ec2.stop_instance", Effect: action.Contain,
			Summary: "Stop an instance.", Doc: stopDoc, Params: []action.Param{instanceParam()},
			Settle: 5 * time.Minute,
			Permissions: slices.Concat(
				servicePermissions(),
				permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "ec2:DescribeInstanceTypes"),
				permit(action.ApplyPhase, ec2ARN("instance"), nil, "ec2:StopInstances"),
				permit(action.UndoPhase, ec2ARN("instance"), nil, "ec2:StartInstances"),
			),
		},
		Target: c.instanceTarget,
		Read: func(ctx context.Context, in action.Input) (power, error) {
			found, err := c.instance(ctx, in)
			return power{stateOf(found)}, err
		},
		Want:  wantStopped,
		Write: c.writePower,
		Calls: func(in action.Input, _, to power) []string {
			return []string{powerCall(to) + " " + in.Params.String("instance_id")}
		},
		Summary: func(in action.Input, from, _ power) string {
			return fmt.Sprintf("stop instance %s, which is %s", in.Params.String("instance_id"), from.State)
		},
		Facts: c.stopFacts,
		Between: func(_, now, _ power) bool {
			return now.State == types.InstanceStateNameStopping || now.State == types.InstanceStateNamePending
		},
	}
	return &ec2Setting[power]{setting, c, instances}
}

func wantStopped(in action.Input, now power) (power, error) {
	switch now.State { //nolint:exhaustive // the others are not there
	case types.InstanceStateNamePending, types.InstanceStateNameStopping:
		return power{}, fault.New(fault.Transient, "instance %s is %s; it must be running or stopped to plan from",
			in.Params.String("instance_id"), now.State)
	}
	return power{types.InstanceStateNameStopped}, nil
}

func powerCall(to power) string {
	if to.State == types.InstanceStateNameStopped {
		return "ec2:StopInstances"
	}
	return "ec2:StartInstances"
}

// writePower asks for a state; Verify sees when it is reached. What is on its way there is left alone.
func (c *Cloud) writePower(ctx context.Context, in action.Input, from, to power) (power, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return power{}, err
	}
	id := in.Params.String("instance_id")
	switch {
	case to.State == types.InstanceStateNameStopped && from.State != types.InstanceStateNameStopping:
		_, err = api.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	case to.State == types.InstanceStateNameRunning && from.State != types.InstanceStateNamePending:
		_, err = api.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	}
	if codeIs(err, "InsufficientInstanceCapacity") {
		err = fault.Wrap(fault.Transient, err)
	}
	if err != nil {
		return power{}, fmt.Errorf("%s %s: %w", powerCall(to), id, classify(err))
	}
	return to, nil
}

func (c *Cloud) stopFacts(ctx context.Context, in action.Input, _ power, change *action.Change) error {
	found, err := c.instance(ctx, in)
	if err != nil {
		return err
	}
	if found.RootDeviceType == types.DeviceTypeInstanceStore {
		return fault.New(fault.Invalid, "instance %s runs from an instance store and cannot be stopped, only terminated",
			aws.ToString(found.InstanceId))
	}
	change.Tags = tagsOf(found.Tags)
	if change.Noop {
		return nil
	}
	change.Impact = append(change.Impact, "what runs on the instance ends, and what is in its memory is lost")
	if stored, known := c.instanceStore(ctx, in.Place, found.InstanceType); known && stored {
		change.Impact = append(change.Impact, fmt.Sprintf("instances of type %s have instance-store volumes; what is on them is lost",
			found.InstanceType))
	}
	change.Impact = append(change.Impact, stopWarnings(found)...)
	change.Impact = append(change.Impact, c.standing(ctx, in.Place, found)...)
	return nil
}

func stopWarnings(found types.Instance) []string {
	var impact []string
	if found.HibernationOptions != nil && aws.ToBool(found.HibernationOptions.Configured) {
		impact = append(impact, "the instance can hibernate, which would keep its memory; it is stopped without that")
	}
	if address := aws.ToString(found.PublicIpAddress); address != "" && !elastic(found) {
		impact = append(impact, "its public address "+address+" is released and undo gives it another")
	}
	if found.InstanceLifecycle == types.InstanceLifecycleTypeSpot {
		impact = append(impact, "it is a Spot instance: only those of a persistent request can be stopped and started again")
	}
	return impact
}

// elastic reports whether an instance's public address is an Elastic IP address, which stays.
func elastic(found types.Instance) bool {
	for _, port := range found.NetworkInterfaces {
		a := port.Association
		if a != nil && aws.ToString(a.PublicIp) == aws.ToString(found.PublicIpAddress) && aws.ToString(a.IpOwnerId) != "amazon" {
			return true
		}
	}
	return false
}

// instanceStore tells whether a type of instance has instance-store volumes. It is a warning's, so that not
// knowing doesn't stop anything.
func (c *Cloud) instanceStore(ctx context.Context, at action.Place, kind types.InstanceType) (stored, known bool) {
	api, err := c.ec2(at)
	if err != nil {
		return false, false
	}
	pages := ec2.NewDescribeInstanceTypesPaginator(api, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{kind}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return false, false
		}
		for _, found := range page.InstanceTypes {
			return aws.ToBool(found.InstanceStorageSupported), true
		}
	}
	return false, false
}
