package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

// keeping is what decides whether an instance and its volumes are still there tomorrow.
type keeping struct {
	Protected bool         `json:"protected"` // from termination by the API
	Shutdown  string       `json:"shutdown"`  // what a shutdown from inside does: stop or terminate
	Volumes   []keptVolume `json:"volumes"`   // sorted by device
}

type keptVolume struct {
	Device  string `json:"device"`
	Volume  string `json:"volume"`
	Deleted bool   `json:"deleted"` // with the instance
}

// stops is the shutdown behaviour that keeps an instance.
const stops = string(types.ShutdownBehaviorStop)

const preserveDoc = `Keeps the instance and its volumes for those who look into what happened: termination protection on, a shutdown
from inside stops the instance in place of terminating it, and its EBS volumes stay when it is terminated.

It does not keep an Auto Scaling group or Spot from terminating the instance, and nobody with
ec2:ModifyInstanceAttribute from taking the protection off again; detach it from its group, and deny that to the
intruder. What is in memory and on instance-store volumes is not kept by it.

Undo sets termination protection, shutdown behaviour and each volume's flag as they were.`

// newPreserveInstance makes aws.ec2.preserve_instance.
func newPreserveInstance(c *Cloud, instances *census) *ec2Setting[keeping] {
	setting := &action.Setting[keeping]{
		About: action.Spec{
			Name: "aws.ec2.preserve_instance", Effect: action.Contain,
			Summary: "Keep an instance and its volumes from being deleted.", Doc: preserveDoc,
			Params: []action.Param{instanceParam()},
			Permissions: slices.Concat(
				servicePermissions(),
				permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "ec2:DescribeInstanceAttribute"),
				permit(action.ApplyPhase, ec2ARN("instance"), nil, "ec2:ModifyInstanceAttribute"),
				permit(action.UndoPhase, ec2ARN("instance"), nil, "ec2:ModifyInstanceAttribute"),
			),
		},
		Target: c.instanceTarget,
		Read:   c.readKeeping,
		Want: func(_ action.Input, now keeping) (keeping, error) {
			wanted := keeping{Protected: true, Shutdown: stops, Volumes: slices.Clone(now.Volumes)}
			for i := range wanted.Volumes {
				wanted.Volumes[i].Deleted = false
			}
			return wanted, nil
		},
		Write: c.writeKeeping,
		Calls: keepingCalls,
		Summary: func(in action.Input, from, _ keeping) string {
			return fmt.Sprintf("protect instance %s from termination and keep its %s",
				in.Params.String("instance_id"), several(len(from.Volumes), "volume"))
		},
		Facts:   c.keepingFacts,
		Between: keepingBetween,
	}
	return &ec2Setting[keeping]{setting, c, instances}
}

func (c *Cloud) readKeeping(ctx context.Context, in action.Input) (keeping, error) {
	state := keeping{Volumes: []keptVolume{}}
	found, err := c.instance(ctx, in)
	if err != nil {
		return state, err
	}
	for _, device := range found.BlockDeviceMappings {
		if device.Ebs == nil {
			continue
		}
		state.Volumes = append(state.Volumes, keptVolume{
			aws.ToString(device.DeviceName), aws.ToString(device.Ebs.VolumeId), aws.ToBool(device.Ebs.DeleteOnTermination),
		})
	}
	slices.SortFunc(state.Volumes, func(a, b keptVolume) int { return cmp.Compare(a.Device, b.Device) })
	api, err := c.ec2(in.Place)
	if err != nil {
		return state, err
	}
	state.Protected, err = terminationProtected(ctx, api, found.InstanceId)
	if err != nil {
		return state, err
	}
	behaviour, err := api.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: found.InstanceId, Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior,
	})
	if err != nil {
		return state, fmt.Errorf("read shutdown behaviour of %s: %w", aws.ToString(found.InstanceId), classify(err))
	}
	if behaviour.InstanceInitiatedShutdownBehavior != nil {
		state.Shutdown = aws.ToString(behaviour.InstanceInitiatedShutdownBehavior.Value)
	}
	return state, nil
}

func terminationProtected(ctx context.Context, api *ec2.Client, id *string) (bool, error) {
	got, err := api.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: id, Attribute: types.InstanceAttributeNameDisableApiTermination,
	})
	if err != nil {
		return false, fmt.Errorf("read termination protection of %s: %w", aws.ToString(id), classify(err))
	}
	return got.DisableApiTermination != nil && aws.ToBool(got.DisableApiTermination.Value), nil
}

func keepingCalls(in action.Input, from, to keeping) []string {
	var calls []string
	say := func(format string, args ...any) {
		calls = append(calls, "ec2:ModifyInstanceAttribute "+in.Params.String("instance_id")+fmt.Sprintf(format, args...))
	}
	if from.Protected != to.Protected {
		say(" DisableApiTermination=%t", to.Protected)
	}
	if from.Shutdown != to.Shutdown {
		say(" InstanceInitiatedShutdownBehavior=%s", to.Shutdown)
	}
	for _, volume := range to.changed(from) {
		say(" %s (%s) DeleteOnTermination=%t", volume.Device, volume.Volume, volume.Deleted)
	}
	return calls
}

// changed lists the volumes that are attached in another state too, at the same device, and deleted otherwise.
func (k keeping) changed(from keeping) []keptVolume {
	var list []keptVolume
	for _, volume := range k.Volumes {
		other := volume
		other.Deleted = !volume.Deleted
		if slices.Contains(from.Volumes, other) {
			list = append(list, volume)
		}
	}
	return list
}

// keepingBetween reports whether the same volumes are attached, and each value is that of one of two states.
func keepingBetween(from, now, to keeping) bool {
	if len(now.Volumes) != len(from.Volumes) || len(now.Volumes) != len(to.Volumes) {
		return false
	}
	for _, volume := range now.Volumes {
		if !slices.Contains(from.Volumes, volume) && !slices.Contains(to.Volumes, volume) {
			return false
		}
	}
	return (now.Protected == from.Protected || now.Protected == to.Protected) && (now.Shutdown == from.Shutdown || now.Shutdown == to.Shutdown)
}

// writeKeeping sets what differs, one attribute a call, as EC2 wants it. What was detached since is left alone.
func (c *Cloud) writeKeeping(ctx context.Context, in action.Input, from, to keeping) (keeping, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	id := aws.String(in.Params.String("instance_id"))
	var asks []*ec2.ModifyInstanceAttributeInput
	if from.Protected != to.Protected {
		asks = append(asks, &ec2.ModifyInstanceAttributeInput{DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(to.Protected)}})
	}
	if from.Shutdown != to.Shutdown {
		asks = append(asks, &ec2.ModifyInstanceAttributeInput{
			Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior, Value: aws.String(to.Shutdown),
		})
	}
	for _, volume := range to.changed(from) {
		asks = append(asks, &ec2.ModifyInstanceAttributeInput{BlockDeviceMappings: []types.InstanceBlockDeviceMappingSpecification{{
			DeviceName: aws.String(volume.Device),
			Ebs:        &types.EbsInstanceBlockDeviceSpecification{VolumeId: aws.String(volume.Volume), DeleteOnTermination: aws.Bool(volume.Deleted)},
		}}})
	}
	for _, ask := range asks {
		ask.InstanceId = id
		if _, err := api.ModifyInstanceAttribute(ctx, ask); err != nil {
			return to, fmt.Errorf("modify instance %s: %w", *id, classify(err))
		}
	}
	left := to
	left.Volumes = slices.Clone(from.Volumes) // those that are attached now
	for i, volume := range left.Volumes {
		if at := slices.IndexFunc(to.Volumes, func(v keptVolume) bool { return v.Device == volume.Device && v.Volume == volume.Volume }); at >= 0 {
			left.Volumes[i] = to.Volumes[at]
		}
	}
	return left, nil
}

func (c *Cloud) keepingFacts(ctx context.Context, in action.Input, now keeping, change *action.Change) error {
	found, err := c.instance(ctx, in)
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	if change.Noop {
		return nil
	}
	for _, volume := range now.Volumes {
		change.Touches = append(change.Touches, c.ec2Entity(in.Place, entity.Volume, "volume", volume.Volume))
	}
	change.Impact = append(change.Impact, "nobody can terminate it until this is undone; volumes that stay cost money until they are deleted")
	if found.InstanceLifecycle == types.InstanceLifecycleTypeSpot {
		change.Impact = append(change.Impact, "it is a Spot instance: AWS may still take it back at any time")
	}
	change.Impact = append(change.Impact, c.standing(ctx, in.Place, found)...)
	return nil
}
