package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// snapshots are those that were taken for a step, by volume.
type snapshots map[string]snapshot

type snapshot struct {
	id   string
	mark string // held or released
}

// in lists the volumes whose snapshots have a mark, sorted.
func (s snapshots) in(mark string) []string {
	volumes := []string{}
	for _, volume := range slices.Sorted(maps.Keys(s)) {
		if s[volume].mark == mark {
			volumes = append(volumes, volume)
		}
	}
	return volumes
}

// heldOf lists those volumes that have a snapshot that is held.
func (s snapshots) heldOf(volumes []string) []string {
	found := []string{}
	for _, volume := range volumes {
		if s[volume].mark == held {
			found = append(found, volume)
		}
	}
	return found
}

// taken finds the snapshots of volumes that were taken for a step, by its token. Those that failed don't count.
func (s *snapshotVolumes) taken(ctx context.Context, in action.Input, volumes []string) (snapshots, error) {
	if in.Token == "" {
		return nil, fault.New(fault.Internal, "a snapshot's step has no token")
	}
	api, err := s.cloud.ec2(in.Place)
	if err != nil {
		return nil, err
	}
	found := snapshots{}
	pages := ec2.NewDescribeSnapshotsPaginator(api, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: slices.Concat(where("volume-id", volumes...), where("tag:"+tagToken, in.Token)),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for snapshots: %w", classify(err))
		}
		for _, each := range page.Snapshots {
			if each.State != types.SnapshotStateError {
				found[aws.ToString(each.VolumeId)] = snapshot{aws.ToString(each.SnapshotId), tagsOf(each.Tags)[tagEvidence]}
			}
		}
	}
	return found, nil
}

// mark changes the tag of the snapshots that have one mark to the other.
func (s *snapshotVolumes) mark(ctx context.Context, in action.Input, taken snapshots, from, to string) error {
	var ids []string
	for _, volume := range taken.in(from) {
		ids = append(ids, taken[volume].id)
	}
	if len(ids) == 0 {
		return nil
	}
	api, err := s.cloud.ec2(in.Place)
	if err != nil {
		return err
	}
	_, err = api.CreateTags(ctx, &ec2.CreateTagsInput{
		Resources: ids, Tags: []types.Tag{{Key: aws.String(tagEvidence), Value: aws.String(to)}},
	})
	if err != nil {
		return fmt.Errorf("tag snapshots as %s: %w", to, newborn(err))
	}
	for _, volume := range taken.in(from) {
		taken[volume] = snapshot{taken[volume].id, to}
	}
	return nil
}

// take takes the snapshots that are missing and adds them: all volumes in one call, so that they are of one
// moment; where some are there, the others one by one.
func (s *snapshotVolumes) take(ctx context.Context, in action.Input, volumes []string, taken snapshots) error {
	api, err := s.cloud.ec2(in.Place)
	if err != nil {
		return err
	}
	token := []types.Tag{
		{Key: aws.String(tagToken), Value: aws.String(in.Token)}, {Key: aws.String(tagEvidence), Value: aws.String(held)},
	}
	tags := tagged(types.ResourceTypeSnapshot, in, token...)
	id := in.Params.String("instance_id")
	about := aws.String(described255(fmt.Sprintf("Evidence of %s: %s", id, in.Reason)))
	if len(taken) == 0 {
		made, err := api.CreateSnapshots(ctx, &ec2.CreateSnapshotsInput{
			InstanceSpecification: &types.InstanceSpecification{InstanceId: aws.String(id)}, Description: about, TagSpecifications: tags,
		})
		if err != nil {
			return fmt.Errorf("create snapshots of %s: %w", id, classify(err))
		}
		for _, each := range made.Snapshots {
			taken[aws.ToString(each.VolumeId)] = snapshot{aws.ToString(each.SnapshotId), held}
		}
	}
	for _, volume := range volumes {
		if _, there := taken[volume]; there {
			continue
		}
		made, err := api.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: aws.String(volume), Description: about, TagSpecifications: tags})
		if err != nil {
			return fmt.Errorf("create snapshot of %s: %w", volume, classify(err))
		}
		taken[volume] = snapshot{aws.ToString(made.SnapshotId), held}
	}
	return nil
}

// described255 cuts a description to the bytes that EC2 takes.
func described255(text string) string {
	const longest = 255
	if len(text) <= longest {
		return text
	}
	cut := longest
	for cut > 0 && text[cut]&0xC0 == 0x80 { // within a character
		cut--
	}
	return text[:cut]
}
