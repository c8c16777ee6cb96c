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
	"github.com/riposte-sec/riposte/internal/fault"
)

const unshareImageDoc = `Takes back the share of an image (AMI): nobody outside the account can launch from it or copy it any more, neither
everybody, where it is public, nor the accounts, organizations and units that it was shared with, but for the accounts that keep
names.

**Copies that others made, and instances that they launched, stay theirs.** Auto Scaling groups and launch templates
of others that use the image launch no more. The snapshots that the image is made of have shares of their own: use
aws.ebs.unshare_snapshot for them.

The image must belong to this account. Undo shares it with the same again.`

var imageForm = shaped(`^ami-[0-9a-f]{8,17}$`)

// newUnshareImage makes aws.ec2.unshare_image.
func newUnshareImage(c *Cloud, images *census) *ec2Setting[sharing] {
	const pattern = "arn:{partition}:ec2:{region}::image/*"
	ours := conditions{"StringLike": {"ec2:Owner": {"{account}"}}}
	setting := &action.Setting[sharing]{
		About: action.Spec{
			Name: "aws.ec2.unshare_image", Effect: action.Contain,
			Summary: "Take back the public or foreign share of an image (AMI).", Doc: unshareImageDoc,
			Params: []action.Param{
				{Name: "image_id", Type: action.String, Required: true, Entity: entity.Image, Doc: "The image: ami-..."},
				keepParam(),
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeImages", "ec2:DescribeInstances"),
				permit(action.PlanPhase, pattern, nil, "ec2:DescribeImageAttribute"),
				permit(action.ApplyPhase, pattern, ours, "ec2:ModifyImageAttribute"),
				permit(action.UndoPhase, pattern, ours, "ec2:ModifyImageAttribute"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return c.ec2Entity(in.Place, entity.Image, "image", in.Params.String("image_id"))
		},
		Read:  c.readImageShare,
		Want:  wantUnshared,
		Write: c.writeImageShare,
		Calls: func(in action.Input, from, to sharing) []string {
			return []string{fmt.Sprintf("ec2:ModifyImageAttribute %s: no longer with %s", in.Params.String("image_id"), from.without(to))}
		},
		Summary: func(in action.Input, from, to sharing) string {
			return fmt.Sprintf("share image %s no longer with %s", in.Params.String("image_id"), from.without(to))
		},
		Facts:   c.imageShareFacts,
		Between: sharingBetween,
	}
	return &ec2Setting[sharing]{setting, c, images}
}

// image reads an image, which must belong to the account.
func (c *Cloud) image(ctx context.Context, in action.Input, id string) (types.Image, error) {
	if !imageForm.MatchString(id) {
		return types.Image{}, fault.New(fault.Invalid, "%q is not the id of an image", shorten(id))
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return types.Image{}, err
	}
	found, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil {
		return types.Image{}, fmt.Errorf("describe image %s: %w", id, classify(err))
	}
	for _, each := range found.Images {
		return each, ownedBy(in, "the image "+id, aws.ToString(each.OwnerId))
	}
	return types.Image{}, fault.New(fault.NotFound, "there is no image %s in %s, %s", id, in.Account, in.Region)
}

func (c *Cloud) readImageShare(ctx context.Context, in action.Input) (sharing, error) {
	state := sharing{Accounts: []string{}}
	id := in.Params.String("image_id")
	if _, err := c.image(ctx, in, id); err != nil {
		return state, err
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return state, err
	}
	got, err := api.DescribeImageAttribute(ctx, &ec2.DescribeImageAttributeInput{
		ImageId: aws.String(id), Attribute: types.ImageAttributeNameLaunchPermission,
	})
	if err != nil {
		return state, fmt.Errorf("read share of image %s: %w", id, classify(err))
	}
	for _, each := range got.LaunchPermissions {
		if account := aws.ToString(each.UserId); account != "" && account != in.Account {
			state.Accounts = append(state.Accounts, account)
		}
		if organization := cmp.Or(aws.ToString(each.OrganizationArn), aws.ToString(each.OrganizationalUnitArn)); organization != "" {
			state.Organizations = append(state.Organizations, organization)
		}
		state.Public = state.Public || each.Group == types.PermissionGroupAll
	}
	slices.Sort(state.Accounts)
	slices.Sort(state.Organizations)
	return state, nil
}

// launchers are a sharing as EC2 takes it.
func (s sharing) launchers() []types.LaunchPermission {
	var list []types.LaunchPermission
	if s.Public {
		list = append(list, types.LaunchPermission{Group: types.PermissionGroupAll})
	}
	for _, account := range s.Accounts {
		list = append(list, types.LaunchPermission{UserId: aws.String(account)})
	}
	for _, organization := range s.Organizations {
		if unitARN.MatchString(organization) {
			list = append(list, types.LaunchPermission{OrganizationalUnitArn: aws.String(organization)})
		} else {
			list = append(list, types.LaunchPermission{OrganizationArn: aws.String(organization)})
		}
	}
	return list
}

// unitARN is the ARN of an organization's unit.
var unitARN = shaped(`:ou/o-[a-z0-9]+/ou-`)

func (c *Cloud) writeImageShare(ctx context.Context, in action.Input, from, to sharing) (sharing, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	id := aws.String(in.Params.String("image_id"))
	removed, added := from.without(to).launchers(), to.without(from).launchers()
	if len(removed)+len(added) == 0 {
		return to, nil
	}
	_, err = api.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{
		ImageId: id, LaunchPermission: &types.LaunchPermissionModifications{Add: added, Remove: removed},
	})
	if err != nil {
		return to, fmt.Errorf("modify share of image %s: %w", *id, classify(err))
	}
	return to, nil
}

func (c *Cloud) imageShareFacts(ctx context.Context, in action.Input, now sharing, change *action.Change) error {
	found, err := c.image(ctx, in, in.Params.String("image_id"))
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	if change.Noop {
		return nil
	}
	change.Impact = append(change.Impact, "shared now with "+now.String()+"; what these launched or copied stays theirs, and they can launch no more",
		"instances of this account that run from it go on")
	for _, device := range found.BlockDeviceMappings {
		if device.Ebs != nil && device.Ebs.SnapshotId != nil {
			change.Impact = append(change.Impact, "it is made of the snapshot "+aws.ToString(device.Ebs.SnapshotId)+", which may be shared by itself")
		}
	}
	return nil
}

func (c *Cloud) countImages(ctx context.Context, at action.Place) (int, error) {
	api, err := c.ec2(at)
	if err != nil {
		return 0, err
	}
	number := 0
	pages := ec2.NewDescribeImagesPaginator(api, &ec2.DescribeImagesInput{Owners: []string{"self"}, MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("count images: %w", classify(err))
		}
		number += len(page.Images)
	}
	return number, nil
}
