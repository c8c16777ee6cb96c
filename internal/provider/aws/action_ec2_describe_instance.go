package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
)

// describeInstance is aws.ec2.describe_instance.
type describeInstance struct{ cloud *Cloud }

// Spec describes the action.
func (d *describeInstance) Spec() action.Spec {
	return action.Spec{
		Name: "aws.ec2.describe_instance", Effect: action.Read,
		Summary: "Look at an instance: its state, network, role, volumes and tags.",
		Doc: "Reads what EC2 says of the instance, for conditions and messages of later steps. It changes nothing. " +
			"What isn't there is an empty text or list: an instance without a role has the instance_profile `\"\"`.",
		Params: []action.Param{instanceParam()},
		Outputs: []action.Output{
			{Name: "state", Type: action.String, Doc: "pending, running, stopping or stopped"},
			{Name: "type", Type: action.String, Doc: "the instance type"},
			{Name: "image", Type: action.String, Doc: "the image it was launched from: ami-..."},
			{Name: "launched", Type: action.Time, Doc: "when it was launched"},
			{Name: "key_pair", Type: action.String, Doc: "name of the key pair it was launched with"},
			{Name: "vpc", Type: action.String, Doc: "vpc-..."},
			{Name: "subnet", Type: action.String, Doc: "subnet-..."},
			{Name: "private_ip", Type: action.String, Doc: "primary private address"},
			{Name: "public_ip", Type: action.String, Doc: "public address"},
			{Name: "interfaces", Type: action.Strings, Doc: "network interfaces: eni-..."},
			{Name: "security_groups", Type: action.Strings, Doc: "security groups of its interfaces: sg-..."},
			{Name: "volumes", Type: action.Strings, Doc: "EBS volumes: vol-..."},
			{Name: "instance_profile", Type: action.String, Doc: "name of the instance profile"},
			{Name: "instance_profile_arn", Type: action.String, Doc: "ARN of the instance profile"},
			{Name: "auto_scaling_group", Type: action.String, Doc: "name of the Auto Scaling group that launched it"},
			{Name: "tags", Type: action.Object, Doc: "its tags"},
		},
		Permissions: permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances"),
	}
}

// Plan reads; its outputs are all there is.
func (d *describeInstance) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	in.Place = d.cloud.here(in.Place)
	found, err := d.cloud.instance(ctx, in)
	if err != nil {
		return action.Change{}, err
	}
	tags := tagsOf(found.Tags)
	return action.Change{
		Action: "aws.ec2.describe_instance", Place: in.Place, Target: d.cloud.instanceTarget(in), Tags: tags, Noop: true,
		Summary: fmt.Sprintf("instance %s is %s", aws.ToString(found.InstanceId), stateOf(found)),
		Outputs: described(found, tags), Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

// Apply has nothing to do.
func (d *describeInstance) Apply(_ context.Context, c action.Change) (action.Result, error) {
	return action.Result{Outputs: c.Outputs}, nil
}

func described(found types.Instance, tags map[string]string) map[string]any {
	interfaces, groups, volumes := []string{}, []string{}, []string{}
	for _, port := range found.NetworkInterfaces {
		interfaces = append(interfaces, aws.ToString(port.NetworkInterfaceId))
		for _, group := range port.Groups {
			groups = append(groups, aws.ToString(group.GroupId))
		}
	}
	for _, device := range found.BlockDeviceMappings {
		if device.Ebs != nil {
			volumes = append(volumes, aws.ToString(device.Ebs.VolumeId))
		}
	}
	for _, list := range [][]string{interfaces, groups, volumes} {
		slices.Sort(list)
	}
	groups = slices.Compact(groups)
	launched, profile := "", ""
	if found.LaunchTime != nil {
		launched = found.LaunchTime.UTC().Format(time.RFC3339)
	}
	if found.IamInstanceProfile != nil {
		profile = aws.ToString(found.IamInstanceProfile.Arn)
	}
	object := make(map[string]any, len(tags))
	for key, value := range tags {
		object[key] = value
	}
	return map[string]any{
		"state": string(stateOf(found)), "type": string(found.InstanceType), "image": aws.ToString(found.ImageId),
		"launched": launched, "key_pair": aws.ToString(found.KeyName),
		"vpc": aws.ToString(found.VpcId), "subnet": aws.ToString(found.SubnetId),
		"private_ip": aws.ToString(found.PrivateIpAddress), "public_ip": aws.ToString(found.PublicIpAddress),
		"interfaces": interfaces, "security_groups": groups, "volumes": volumes,
		"instance_profile": profile[strings.LastIndexByte(profile, '/')+1:], "instance_profile_arn": profile,
		"auto_scaling_group": tags[asgTag], "tags": object,
	}
}
