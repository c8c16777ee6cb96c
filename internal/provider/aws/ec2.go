package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Tags that Riposte puts on what it makes.
const (
	tagIncident   = "riposte:incident"
	tagRun        = "riposte:run"
	tagStep       = "riposte:step"
	tagToken      = "riposte:token"
	tagEvidence   = "riposte:evidence"
	tagQuarantine = "riposte:quarantine"
)

// asgTag is the tag by which AWS says that an instance is one of an Auto Scaling group.
const asgTag = "aws:autoscaling:groupName"

// ec2Actions gives the actions on EC2.
func ec2Actions(c *Cloud) []action.Action {
	instances, groups := newCensus(c.countInstances), newCensus(c.countSecurityGroups)
	return []action.Action{
		&describeInstance{c},
		newIsolateInstance(c, instances),
		newSnapshotVolumes(c, instances),
		newStopInstance(c, instances),
		newDetachInstanceProfile(c, instances),
		newRevokeIngress(c, groups),
	}
}

// ec2Setting is a setting of EC2: at a place that is always complete, and one of a number that is known.
type ec2Setting[S any] struct {
	*action.Setting[S]
	cloud *Cloud
	among *census
}

// Plan completes the place, so that guardrails and the journal know it.
func (s *ec2Setting[S]) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	in.Place = s.cloud.here(in.Place)
	return s.Setting.Plan(ctx, in)
}

// Population counts the things of the target's kind at a place.
func (s *ec2Setting[S]) Population(ctx context.Context, at action.Place) (int, error) {
	return s.among.of(ctx, s.cloud.here(at))
}

func (c *Cloud) ec2(at action.Place) (*ec2.Client, error) {
	return client(c, at, func(reach aws.Config) *ec2.Client { return ec2.NewFromConfig(reach) })
}

// instanceParam is the parameter of all actions on instances.
func instanceParam() action.Param {
	return action.Param{
		Name: "instance_id", Type: action.String, Required: true, Entity: entity.Instance, Doc: "The instance: i-...",
	}
}

// ec2Entity is a thing of EC2 at a complete place.
func (c *Cloud) ec2Entity(at action.Place, kind entity.Kind, resource, id string) entity.Entity {
	name := arn.ARN{
		Partition: c.self.Partition, Service: "ec2", Region: at.Region, AccountID: at.Account, Resource: resource + "/" + id,
	}
	return entity.Entity{Kind: kind, ID: id, Provider: "aws", Account: at.Account, Region: at.Region, ARN: name.String()}
}

// instanceTarget is the instance that an input names.
func (c *Cloud) instanceTarget(in action.Input) entity.Entity {
	return c.ec2Entity(in.Place, entity.Instance, "instance", in.Params.String("instance_id"))
}

// instance reads the instance that an input names. One that is terminated is not there any more.
func (c *Cloud) instance(ctx context.Context, in action.Input) (types.Instance, error) {
	id := in.Params.String("instance_id")
	api, err := c.ec2(in.Place)
	if err != nil {
		return types.Instance{}, err
	}
	pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return types.Instance{}, fmt.Errorf("describe instance %s: %w", id, classify(err))
		}
		for _, reservation := range page.Reservations {
			for _, found := range reservation.Instances {
				return found, leaving(found)
			}
		}
	}
	return types.Instance{}, fault.New(fault.NotFound, "there is no instance %s in %s, %s", id, in.Account, in.Region)
}

func leaving(found types.Instance) error {
	switch stateOf(found) { //nolint:exhaustive // the others are alive
	case types.InstanceStateNameTerminated, types.InstanceStateNameShuttingDown:
		return fault.New(fault.NotFound, "instance %s is %s", aws.ToString(found.InstanceId), stateOf(found))
	}
	return nil
}

func stateOf(found types.Instance) types.InstanceStateName {
	if found.State == nil {
		return ""
	}
	return found.State.Name
}

func (c *Cloud) countInstances(ctx context.Context, at action.Place) (int, error) {
	api, err := c.ec2(at)
	if err != nil {
		return 0, err
	}
	pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{
		MaxResults: aws.Int32(1000), Filters: where("instance-state-name", "pending", "running", "stopping", "stopped"),
	})
	number := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("count instances: %w", classify(err))
		}
		for _, reservation := range page.Reservations {
			number += len(reservation.Instances)
		}
	}
	return number, nil
}

func (c *Cloud) countSecurityGroups(ctx context.Context, at action.Place) (int, error) {
	api, err := c.ec2(at)
	if err != nil {
		return 0, err
	}
	pages := ec2.NewDescribeSecurityGroupsPaginator(api, &ec2.DescribeSecurityGroupsInput{MaxResults: aws.Int32(1000)})
	number := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("count security groups: %w", classify(err))
		}
		number += len(page.SecurityGroups)
	}
	return number, nil
}

// where makes a filter of one name.
func where(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: aws.String(name), Values: values}}
}

// tagsOf gives tags by key.
func tagsOf(tags []types.Tag) map[string]string {
	byKey := make(map[string]string, len(tags))
	for _, tag := range tags {
		byKey[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return byKey
}

// tagged makes the tags of a thing that is made for a step.
func tagged(kind types.ResourceType, in action.Input, more ...types.Tag) []types.TagSpecification {
	tags := slices.Clone(more)
	for _, tag := range [][2]string{{tagIncident, in.Incident}, {tagRun, in.Run}, {tagStep, in.Step}} {
		if tag[1] != "" {
			tags = append(tags, types.Tag{Key: aws.String(tag[0]), Value: aws.String(tag[1])})
		}
	}
	return []types.TagSpecification{{ResourceType: kind, Tags: tags}}
}

// codeIs reports whether an error is of a code of EC2's.
func codeIs(err error, code string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == code
}

// conditions are a permission's: operator, key, values.
type conditions = map[string]map[string][]string

// permit lists permissions of one phase on one resource.
func permit(phase action.Phase, resource string, only conditions, names ...string) []action.Permission {
	list := make([]action.Permission, 0, len(names))
	for _, name := range names {
		list = append(list, action.Permission{Name: name, Resource: resource, Conditions: only, Phase: phase})
	}
	return list
}

// ec2ARN is the pattern of the ARNs of one kind of EC2's things.
func ec2ARN(resource string) string {
	return "arn:{partition}:ec2:{region}:{account}:" + resource + "/*"
}

// inGroup says what follows from an instance being one of an Auto Scaling group, "" if it isn't.
func inGroup(tags map[string]string) string {
	name := tags[asgTag]
	if name == "" {
		return ""
	}
	return fmt.Sprintf("the instance belongs to the Auto Scaling group %s: once its health check fails, the group "+
		"terminates and replaces it, and what is only on it is lost", name)
}
