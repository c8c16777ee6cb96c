package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

// accountTarget is the account itself, for settings of all of it in a region.
func accountTarget(in action.Input) entity.Entity {
	return entity.Entity{Kind: entity.Account, ID: in.Account, Provider: "aws", Account: in.Account, Region: in.Region}
}

// encryption is whether new volumes are encrypted unasked.
type encryption struct {
	ByDefault bool `json:"by_default"`
}

// newEncryptByDefault makes aws.ebs.encrypt_by_default.
func newEncryptByDefault(c *Cloud) *placed[encryption] {
	return &placed[encryption]{cloud: c, Setting: action.Setting[encryption]{
		About: action.Spec{
			Name: "aws.ebs.encrypt_by_default", Effect: action.Contain,
			Summary: "Encrypt every new EBS volume and snapshot copy of the region.",
			Doc: "Switches encryption by default on for EBS in the account and region: whatever volume is made from now on, and whatever copy of a " +
				"snapshot, is encrypted, with the account's default key.\n\nVolumes and snapshots that are there stay as they are. Instance types of " +
				"the first generations can't have encrypted volumes and don't launch any more; snapshots that are encrypted with AWS's own key " +
				"can't be shared.\n\nUndo switches it off where it was off. What was encrypted meanwhile stays so.",
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:GetEbsEncryptionByDefault"),
				permit(action.ApplyPhase, "*", nil, "ec2:EnableEbsEncryptionByDefault"),
				permit(action.UndoPhase, "*", nil, "ec2:DisableEbsEncryptionByDefault"),
			),
		},
		Target: accountTarget,
		Read: func(ctx context.Context, in action.Input) (encryption, error) {
			api, err := c.ec2(in.Place)
			if err != nil {
				return encryption{}, err
			}
			got, err := api.GetEbsEncryptionByDefault(ctx, &ec2.GetEbsEncryptionByDefaultInput{})
			if err != nil {
				return encryption{}, fmt.Errorf("read EBS encryption by default: %w", classify(err))
			}
			return encryption{aws.ToBool(got.EbsEncryptionByDefault)}, nil
		},
		Want:  func(action.Input, encryption) (encryption, error) { return encryption{true}, nil },
		Write: c.writeEncryption,
		Calls: func(in action.Input, _, _ encryption) []string {
			return []string{"ec2:EnableEbsEncryptionByDefault in " + in.Region}
		},
		Summary: func(in action.Input, _, _ encryption) string {
			return fmt.Sprintf("encrypt new EBS volumes of account %s in %s by default", in.Account, in.Region)
		},
		Facts: func(ctx context.Context, in action.Input, _ encryption, change *action.Change) error {
			if change.Noop {
				return nil
			}
			change.Impact = []string{
				"it holds for all of the account in " + in.Region + ": what makes volumes needs to be allowed to use the default key",
				c.plainVolumes(ctx, in.Place),
			}
			return nil
		},
	}}
}

func (c *Cloud) writeEncryption(ctx context.Context, in action.Input, _, to encryption) (encryption, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	if to.ByDefault {
		_, err = api.EnableEbsEncryptionByDefault(ctx, &ec2.EnableEbsEncryptionByDefaultInput{})
	} else {
		_, err = api.DisableEbsEncryptionByDefault(ctx, &ec2.DisableEbsEncryptionByDefaultInput{})
	}
	if err != nil {
		return to, fmt.Errorf("set EBS encryption by default: %w", classify(err))
	}
	return to, nil
}

// plainVolumes says how many volumes aren't encrypted, and stay so.
func (c *Cloud) plainVolumes(ctx context.Context, at action.Place) string {
	const what = "how many volumes aren't encrypted, and stay so,"
	api, err := c.ec2(at)
	if err != nil {
		return unread(what, err)
	}
	number := 0
	pages := ec2.NewDescribeVolumesPaginator(api, &ec2.DescribeVolumesInput{Filters: where("encrypted", "false")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return unread(what, classify(err))
		}
		number += len(page.Volumes)
	}
	return several(number, "volume") + " of the region not encrypted, and left so"
}

// publicSnapshots is whether the account's snapshots may be public.
type publicSnapshots struct {
	State types.SnapshotBlockPublicAccessState `json:"state"`
}

// newBlockPublicSnapshots makes aws.ebs.block_public_snapshots.
func newBlockPublicSnapshots(c *Cloud) *placed[publicSnapshots] {
	return &placed[publicSnapshots]{cloud: c, Setting: action.Setting[publicSnapshots]{
		About: action.Spec{
			Name: "aws.ebs.block_public_snapshots", Effect: action.Contain,
			Summary: "Block public access to all EBS snapshots of the region.",
			Doc: "Blocks public sharing of EBS snapshots in the account and region: none can be made public any more, and those that are " +
				"public can't be reached by the public. Shares with single accounts stay as they are; so does each snapshot's own setting, which " +
				"counts again as soon as the block is lifted.\n\nUndo sets the block as it was: off, or for new shares alone.",
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:GetSnapshotBlockPublicAccessState", "ec2:DescribeSnapshots"),
				permit(action.ApplyPhase, "*", nil, "ec2:EnableSnapshotBlockPublicAccess"),
				permit(action.UndoPhase, "*", nil, "ec2:EnableSnapshotBlockPublicAccess", "ec2:DisableSnapshotBlockPublicAccess"),
			),
		},
		Target: accountTarget,
		Read: func(ctx context.Context, in action.Input) (publicSnapshots, error) {
			api, err := c.ec2(in.Place)
			if err != nil {
				return publicSnapshots{}, err
			}
			got, err := api.GetSnapshotBlockPublicAccessState(ctx, &ec2.GetSnapshotBlockPublicAccessStateInput{})
			if err != nil {
				return publicSnapshots{}, fmt.Errorf("read the block of public snapshots: %w", classify(err))
			}
			return publicSnapshots{got.State}, nil
		},
		Want: func(action.Input, publicSnapshots) (publicSnapshots, error) {
			return publicSnapshots{types.SnapshotBlockPublicAccessStateBlockAllSharing}, nil
		},
		Write: c.writePublicSnapshots,
		Calls: func(in action.Input, _, to publicSnapshots) []string {
			return []string{fmt.Sprintf("ec2:EnableSnapshotBlockPublicAccess %s in %s", to.State, in.Region)}
		},
		Summary: func(in action.Input, from, _ publicSnapshots) string {
			return fmt.Sprintf("block public access to the EBS snapshots of account %s in %s (%s before)", in.Account, in.Region, from.State)
		},
		Facts: func(ctx context.Context, in action.Input, _ publicSnapshots, change *action.Change) error {
			if !change.Noop {
				change.Impact = []string{c.publicNow(ctx, in.Place)}
			}
			return nil
		},
	}}
}

func (c *Cloud) writePublicSnapshots(ctx context.Context, in action.Input, _, to publicSnapshots) (publicSnapshots, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	if to.State == types.SnapshotBlockPublicAccessStateUnblocked {
		_, err = api.DisableSnapshotBlockPublicAccess(ctx, &ec2.DisableSnapshotBlockPublicAccessInput{})
	} else {
		_, err = api.EnableSnapshotBlockPublicAccess(ctx, &ec2.EnableSnapshotBlockPublicAccessInput{State: to.State})
	}
	if err != nil {
		return to, fmt.Errorf("set the block of public snapshots: %w", classify(err))
	}
	return to, nil
}

// publicNow says how many snapshots are public and will not be reached any more.
func (c *Cloud) publicNow(ctx context.Context, at action.Place) string {
	const what = "how many snapshots are public"
	api, err := c.ec2(at)
	if err != nil {
		return unread(what, err)
	}
	number := 0
	pages := ec2.NewDescribeSnapshotsPaginator(api, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, RestorableByUserIds: []string{everybody}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return unread(what, classify(err))
		}
		number += len(page.Snapshots)
	}
	return several(number, "public snapshot") + " of this account can't be reached by the public any more"
}
