package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// mark is one tag of a resource.
type mark struct {
	There bool   `json:"there"`
	Value string `json:"value,omitempty"`

	tags map[string]string // all of them
}

const tagDoc = `Puts one tag on an instance, a volume, a snapshot, a network interface, a security group or an image of this account, such as the
number of the incident, so that people see at the provider what it is about.

The tag's key begins with ` + "`riposte:`" + `: policies, protection rules and bills go by tags, and an event must not change what
these decide. Keys by which Riposte itself goes are refused. The value is the incident's id if none is given.

Undo takes the tag away, or puts the value back that it had.`

// taggable are the kinds of things that are tagged, by how their ids begin.
var taggable = map[string]struct { //nolint:gochecknoglobals // a constant table
	kind     entity.Kind
	resource string
}{
	"i": {entity.Instance, "instance"}, "vol": {entity.Volume, "volume"}, "snap": {entity.Snapshot, "snapshot"},
	"eni": {entity.NetworkInterface, "network-interface"}, "sg": {entity.SecurityGroup, "security-group"}, "ami": {entity.Image, "image"},
}

var (
	taggableForm = shaped(`^(i|vol|snap|eni|sg|ami)-[0-9a-f]{8,17}$`)
	tagKeyForm   = shaped(`^riposte:[a-z0-9][a-z0-9._/-]{0,99}$`)
	tagValueForm = shaped(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$`)
)

// newTagResource makes aws.ec2.tag_resource.
func newTagResource(c *Cloud) *placed[mark] {
	ours := conditions{"ForAllValues:StringLike": {"aws:TagKeys": {"riposte:*"}}, "Null": {"aws:TagKeys": {"false"}}}
	var writing []action.Permission
	for _, resource := range []string{"instance", "volume", "network-interface", "security-group"} {
		writing = append(writing, permit(action.ApplyPhase, ec2ARN(resource), ours, "ec2:CreateTags")...)
		writing = append(writing, permit(action.UndoPhase, ec2ARN(resource), ours, "ec2:CreateTags", "ec2:DeleteTags")...)
	}
	for _, resource := range []string{"snapshot", "image"} { // their ARNs have no account
		pattern := "arn:{partition}:ec2:{region}::" + resource + "/*"
		writing = append(writing, permit(action.ApplyPhase, pattern, ours, "ec2:CreateTags")...)
		writing = append(writing, permit(action.UndoPhase, pattern, ours, "ec2:CreateTags", "ec2:DeleteTags")...)
	}
	return &placed[mark]{cloud: c, Setting: action.Setting[mark]{
		About: action.Spec{
			Name: "aws.ec2.tag_resource", Effect: action.Contain,
			Summary: "Put the incident's number, or another tag, on a resource of EC2.", Doc: tagDoc,
			Params: []action.Param{
				{Name: "resource_id", Type: action.String, Required: true, Doc: "The resource: i-..., vol-..., snap-..., eni-..., sg-... or ami-..."},
				{Name: "key", Type: action.String, Default: tagIncident, Doc: "The tag's key, which begins with riposte:"},
				{Name: "value", Type: action.String, Doc: "The tag's value; the incident's id if absent."},
			},
			Permissions: slices.Concat(permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "ec2:DescribeVolumes", "ec2:DescribeSnapshots",
				"ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeImages"), writing),
		},
		Target: func(in action.Input) entity.Entity {
			id := in.Params.String("resource_id")
			begins, _, _ := strings.Cut(id, "-")
			known := taggable[begins]
			return c.ec2Entity(in.Place, cmp.Or(known.kind, entity.Resource), cmp.Or(known.resource, "resource"), id)
		},
		Read: c.readMark,
		Want: func(in action.Input, _ mark) (mark, error) {
			value := cmp.Or(in.Params.String("value"), in.Incident)
			if !tagValueForm.MatchString(value) {
				return mark{}, fault.New(fault.Invalid, "value: %q has characters that a tag can't have, or more than 256", shorten(value))
			}
			return mark{There: true, Value: value}, nil
		},
		Write: c.writeMark,
		Calls: func(in action.Input, _, to mark) []string {
			return []string{fmt.Sprintf("ec2:CreateTags %s %s=%s", in.Params.String("resource_id"), in.Params.String("key"), to.Value)}
		},
		Summary: func(in action.Input, _, to mark) string {
			return fmt.Sprintf("tag %s with %s=%s", in.Params.String("resource_id"), in.Params.String("key"), to.Value)
		},
		Facts: func(_ context.Context, _ action.Input, now mark, change *action.Change) error {
			change.Tags = now.tags
			if now.There && !change.Noop {
				change.Impact = []string{"it has that tag, of another incident perhaps: " + now.Value}
			}
			return nil
		},
	}}
}

func (c *Cloud) readMark(ctx context.Context, in action.Input) (mark, error) {
	id, key := in.Params.String("resource_id"), in.Params.String("key")
	if !taggableForm.MatchString(id) {
		return mark{}, fault.New(fault.Invalid, "resource_id: %q is not the id of an instance, volume, snapshot, network interface, security group or image",
			shorten(id))
	}
	if !tagKeyForm.MatchString(key) || slices.Contains([]string{tagToken, tagEvidence, tagQuarantine}, key) {
		return mark{}, fault.New(fault.Invalid, "key: %q doesn't begin with riposte:, or Riposte itself goes by it", shorten(key))
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return mark{}, err
	}
	tags, err := c.tagsAt(ctx, api, in, id)
	if err != nil {
		return mark{}, fmt.Errorf("describe %s: %w", id, classify(err))
	}
	now := mark{tags: tagsOf(tags)}
	now.Value, now.There = now.tags[key]
	return now, nil
}

// tagsAt reads a thing's tags from itself, and so knows whether it is there and whose it is.
func (c *Cloud) tagsAt(ctx context.Context, api *ec2.Client, in action.Input, id string) ([]types.Tag, error) {
	begins, _, _ := strings.Cut(id, "-")
	missing := fault.New(fault.NotFound, "there is no %s in %s, %s", id, in.Account, in.Region)
	switch begins {
	case "i":
		in.Params = action.Params{"instance_id": id}
		found, err := c.instance(ctx, in)
		return found.Tags, err
	case "vol":
		found, err := api.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
		if err != nil || len(found.Volumes) == 0 {
			return nil, cmp.Or(err, missing)
		}
		return found.Volumes[0].Tags, nil
	case "snap":
		found, err := c.snapshot(ctx, in, id)
		return found.Tags, err
	case "eni":
		found, err := api.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{id}})
		if err != nil || len(found.NetworkInterfaces) == 0 {
			return nil, cmp.Or(err, missing)
		}
		return found.NetworkInterfaces[0].TagSet, ownedBy(in, id, aws.ToString(found.NetworkInterfaces[0].OwnerId))
	case "sg":
		in.Params = action.Params{"group_id": id}
		found, err := c.securityGroup(ctx, in)
		return found.Tags, cmp.Or(err, ownedBy(in, id, aws.ToString(found.OwnerId)))
	}
	found, err := c.image(ctx, in, id)
	return found.Tags, err
}

func (c *Cloud) writeMark(ctx context.Context, in action.Input, _, to mark) (mark, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	id, tag := []string{in.Params.String("resource_id")}, types.Tag{Key: aws.String(in.Params.String("key"))}
	if !to.There {
		if _, err := api.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: id, Tags: []types.Tag{tag}}); err != nil {
			return to, fmt.Errorf("take tag from %s: %w", id[0], classify(err))
		}
		return to, nil
	}
	tag.Value = aws.String(to.Value)
	if _, err := api.CreateTags(ctx, &ec2.CreateTagsInput{Resources: id, Tags: []types.Tag{tag}}); err != nil {
		return to, fmt.Errorf("tag %s: %w", id[0], classify(err))
	}
	return to, nil
}
