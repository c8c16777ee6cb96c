package aws

import (
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

// sharing is with whom a snapshot or an image is shared, each list sorted.
type sharing struct {
	Public        bool     `json:"public"`
	Accounts      []string `json:"accounts"`
	Organizations []string `json:"organizations,omitempty"` // ARNs of organizations and their units; of images alone
}

// everybody is the group by which EC2 names everybody.
const everybody = "all"

// without gives what of a sharing isn't in another.
func (s sharing) without(other sharing) sharing {
	rest := func(list, known []string) []string {
		left := []string{}
		for _, each := range list {
			if !slices.Contains(known, each) {
				left = append(left, each)
			}
		}
		return left
	}
	return sharing{s.Public && !other.Public, rest(s.Accounts, other.Accounts), rest(s.Organizations, other.Organizations)}
}

func (s sharing) none() bool { return !s.Public && len(s.Accounts) == 0 && len(s.Organizations) == 0 }

// String says with whom: everybody, account 111122223333.
func (s sharing) String() string {
	var with []string
	if s.Public {
		with = append(with, "EVERYBODY")
	}
	with = append(with, s.Accounts...)
	with = append(with, s.Organizations...)
	if len(with) == 0 {
		return "nobody"
	}
	const most = 10
	if len(with) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(with[:most], ", "), len(with)-most)
	}
	return strings.Join(with, ", ")
}

// sharingBetween reports whether a state shares nothing that neither of two does, and all that both do.
func sharingBetween(from, now, to sharing) bool {
	strange := now.without(from).without(to)
	both := sharing{Public: from.Public && to.Public}
	for _, account := range from.Accounts {
		if slices.Contains(to.Accounts, account) {
			both.Accounts = append(both.Accounts, account)
		}
	}
	for _, organization := range from.Organizations {
		if slices.Contains(to.Organizations, organization) {
			both.Organizations = append(both.Organizations, organization)
		}
	}
	return strange.none() && both.without(now).none()
}

// keepParam is the parameter for the accounts that keep their share.
func keepParam() action.Param {
	return action.Param{Name: "keep", Type: action.Strings, Doc: "Accounts that it stays shared with, by their 12-digit ids."}
}

// wantUnshared keeps the share of those accounts alone that keep names.
func wantUnshared(in action.Input, now sharing) (sharing, error) {
	wanted, keep := sharing{Accounts: []string{}}, in.Params.Strings("keep")
	for _, account := range keep {
		if !IsAccount(account) {
			return wanted, fault.New(fault.Invalid, "keep: %q is no account: its id has 12 digits", shorten(account))
		}
	}
	for _, account := range now.Accounts {
		if slices.Contains(keep, account) {
			wanted.Accounts = append(wanted.Accounts, account)
		}
	}
	return wanted, nil
}

const unshareSnapshotDoc = `Takes back the share of an EBS snapshot: nobody outside the account can make a volume of it or copy it any more,
neither everybody, where it is public, nor the accounts that it was shared with, but for those that keep names.

**Copies that others made of it, and volumes made from it, stay theirs.** An intruder who shared it has had it since;
CloudTrail doesn't tell what other accounts did with it.

The snapshot must belong to this account. Undo shares it with the same again; where public sharing is blocked
in the account by then, EC2 refuses that.`

var snapshotForm = shaped(`^snap-[0-9a-f]{8,17}$`)

// newUnshareSnapshot makes aws.ebs.unshare_snapshot.
func newUnshareSnapshot(c *Cloud, snapshots *census) *ec2Setting[sharing] {
	const pattern = "arn:{partition}:ec2:{region}::snapshot/*"
	ours := conditions{"StringLike": {"ec2:Owner": {"{account}"}}}
	setting := &action.Setting[sharing]{
		About: action.Spec{
			Name: "aws.ebs.unshare_snapshot", Effect: action.Contain,
			Summary: "Take back the public or foreign share of an EBS snapshot.", Doc: unshareSnapshotDoc,
			Params: []action.Param{
				{Name: "snapshot_id", Type: action.String, Required: true, Entity: entity.Snapshot, Doc: "The snapshot: snap-..."},
				keepParam(),
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeSnapshots", "ec2:DescribeSnapshotAttribute", "ec2:DescribeImages"),
				permit(action.ApplyPhase, pattern, ours, "ec2:ModifySnapshotAttribute"),
				permit(action.UndoPhase, pattern, ours, "ec2:ModifySnapshotAttribute"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return c.ec2Entity(in.Place, entity.Snapshot, "snapshot", in.Params.String("snapshot_id"))
		},
		Read:  c.readSnapshotShare,
		Want:  wantUnshared,
		Write: c.writeSnapshotShare,
		Calls: func(in action.Input, from, to sharing) []string {
			return []string{fmt.Sprintf("ec2:ModifySnapshotAttribute %s: no longer with %s", in.Params.String("snapshot_id"), from.without(to))}
		},
		Summary: func(in action.Input, from, to sharing) string {
			return fmt.Sprintf("share snapshot %s no longer with %s", in.Params.String("snapshot_id"), from.without(to))
		},
		Facts:   c.snapshotShareFacts,
		Between: sharingBetween,
	}
	return &ec2Setting[sharing]{setting, c, snapshots}
}

// snapshot reads a snapshot, which must belong to the account.
func (c *Cloud) snapshot(ctx context.Context, in action.Input, id string) (types.Snapshot, error) {
	if !snapshotForm.MatchString(id) {
		return types.Snapshot{}, fault.New(fault.Invalid, "%q is not the id of an EBS snapshot", shorten(id))
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return types.Snapshot{}, err
	}
	found, err := api.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
	if err != nil {
		return types.Snapshot{}, fmt.Errorf("describe snapshot %s: %w", id, classify(err))
	}
	for _, each := range found.Snapshots {
		return each, ownedBy(in, "the snapshot "+id, aws.ToString(each.OwnerId))
	}
	return types.Snapshot{}, fault.New(fault.NotFound, "there is no snapshot %s in %s, %s", id, in.Account, in.Region)
}

func (c *Cloud) readSnapshotShare(ctx context.Context, in action.Input) (sharing, error) {
	state := sharing{Accounts: []string{}}
	id := in.Params.String("snapshot_id")
	if _, err := c.snapshot(ctx, in, id); err != nil {
		return state, err
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return state, err
	}
	got, err := api.DescribeSnapshotAttribute(ctx, &ec2.DescribeSnapshotAttributeInput{
		SnapshotId: aws.String(id), Attribute: types.SnapshotAttributeNameCreateVolumePermission,
	})
	if err != nil {
		return state, fmt.Errorf("read share of snapshot %s: %w", id, classify(err))
	}
	for _, each := range got.CreateVolumePermissions {
		if account := aws.ToString(each.UserId); account != "" {
			state.Accounts = append(state.Accounts, account)
		}
		state.Public = state.Public || each.Group == types.PermissionGroupAll
	}
	slices.Sort(state.Accounts)
	return state, nil
}

func (c *Cloud) writeSnapshotShare(ctx context.Context, in action.Input, from, to sharing) (sharing, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	id := in.Params.String("snapshot_id")
	ask := func(operation types.OperationType, with sharing) error {
		if with.none() {
			return nil
		}
		asked := &ec2.ModifySnapshotAttributeInput{
			SnapshotId: aws.String(id), Attribute: types.SnapshotAttributeNameCreateVolumePermission, OperationType: operation, UserIds: with.Accounts,
		}
		if with.Public {
			asked.GroupNames = []string{everybody}
		}
		if _, err := api.ModifySnapshotAttribute(ctx, asked); err != nil {
			return fmt.Errorf("%s share of snapshot %s: %w", operation, id, classify(err))
		}
		return nil
	}
	if err := ask(types.OperationTypeRemove, from.without(to)); err != nil {
		return to, err
	}
	return to, ask(types.OperationTypeAdd, to.without(from))
}

func (c *Cloud) snapshotShareFacts(ctx context.Context, in action.Input, now sharing, change *action.Change) error {
	found, err := c.snapshot(ctx, in, in.Params.String("snapshot_id"))
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	if change.Noop {
		return nil
	}
	secret := "not encrypted"
	if aws.ToBool(found.Encrypted) {
		secret = "encrypted with " + aws.ToString(found.KmsKeyId) + ", without which it is of no use"
	}
	change.Impact = append(change.Impact,
		fmt.Sprintf("it is of %s, %d GiB, of the volume %s, and %s", aws.ToTime(found.StartTime).UTC().Format("2006-01-02"),
			aws.ToInt32(found.VolumeSize), aws.ToString(found.VolumeId), secret),
		"shared now with "+now.String()+"; copies that these made stay theirs")
	api, err := c.ec2(in.Place)
	if err != nil {
		return err
	}
	images, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{
		Owners: []string{"self"}, Filters: where("block-device-mapping.snapshot-id", in.Params.String("snapshot_id")),
	})
	switch {
	case err != nil:
		change.Impact = append(change.Impact, unread("whether an image is made of it", classify(err)))
	case len(images.Images) > 0:
		change.Impact = append(change.Impact, several(len(images.Images), "image")+" of this account made of it; who launches from a shared image needs no share of it")
	}
	return nil
}

func (c *Cloud) countSnapshots(ctx context.Context, at action.Place) (int, error) {
	api, err := c.ec2(at)
	if err != nil {
		return 0, err
	}
	number := 0
	pages := ec2.NewDescribeSnapshotsPaginator(api, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("count snapshots: %w", classify(err))
		}
		number += len(page.Snapshots)
	}
	return number, nil
}
