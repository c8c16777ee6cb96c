package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const snapshotDoc = `Takes a snapshot of every EBS volume that is attached to the instance, all at the same moment, and tags them with
the incident, the run and the step. The instance goes on running. What is on instance-store volumes and in memory is
not in them. Snapshots of encrypted volumes are encrypted with the same keys.

The step is done when the snapshots have begun: they hold what was on the volumes at that moment, even
while they are still being copied.

Trying again, after a crash too, makes no second snapshot: those that are there are found by the tag riposte:token.

**Undo deletes nothing.** Evidence must outlive an undo of its incident, and an identity that can delete
snapshots is what an extortionist looks for: Riposte asks for no permission to. Undo changes the tag riposte:evidence
from held to released, by which a lifecycle policy or a person may delete them.`

// The values of the tag riposte:evidence.
const (
	held     = "held"
	released = "released"
)

// evidence is which volumes of an instance have a snapshot that is held for a step.
type evidence struct {
	Volumes   []string          `json:"volumes"`             // attached
	Held      []string          `json:"held"`                // those with a snapshot
	Snapshots map[string]string `json:"snapshots,omitempty"` // by volume; of what Apply left
}

// snapshotVolumes is aws.ec2.snapshot_volumes.
type snapshotVolumes struct {
	cloud *Cloud
	among *census
}

// newSnapshotVolumes makes aws.ec2.snapshot_volumes.
func newSnapshotVolumes(c *Cloud, instances *census) *snapshotVolumes {
	return &snapshotVolumes{c, instances}
}

// Spec describes the action.
func (s *snapshotVolumes) Spec() action.Spec {
	const snapshots = "arn:{partition}:ec2:{region}::snapshot/*"
	creating := conditions{"StringEquals": {"ec2:CreateAction": {"CreateSnapshots", "CreateSnapshot"}}}
	ours := conditions{
		"Null":                      {"aws:ResourceTag/" + tagToken: {"false"}},
		"ForAllValues:StringEquals": {"aws:TagKeys": {tagEvidence}},
	}
	return action.Spec{
		Name: "aws.ec2.snapshot_volumes", Effect: action.Contain,
		Summary: "Keep what is on an instance's volumes: take a snapshot of each.", Doc: snapshotDoc,
		Params: []action.Param{instanceParam()},
		Outputs: []action.Output{
			{Name: "snapshots", Type: action.Strings, Doc: "the snapshots, in the order of volumes: snap-..."},
			{Name: "volumes", Type: action.Strings, Doc: "the volumes: vol-..."},
		},
		Timeout: time.Minute, Settle: time.Minute,
		Permissions: slices.Concat(
			permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "ec2:DescribeVolumes", "ec2:DescribeSnapshots"),
			permit(action.ApplyPhase, ec2ARN("instance"), nil, "ec2:CreateSnapshots"),
			permit(action.ApplyPhase, ec2ARN("volume"), nil, "ec2:CreateSnapshots", "ec2:CreateSnapshot"),
			permit(action.ApplyPhase, snapshots, nil, "ec2:CreateSnapshots", "ec2:CreateSnapshot"),
			permit(action.ApplyPhase, snapshots, creating, "ec2:CreateTags"),
			permit(action.ApplyPhase, snapshots, ours, "ec2:CreateTags"),
			permit(action.UndoPhase, snapshots, ours, "ec2:CreateTags"),
		),
	}
}

// Population counts the instances at a place.
func (s *snapshotVolumes) Population(ctx context.Context, at action.Place) (int, error) {
	return s.among.of(ctx, s.cloud.here(at))
}

// Plan lists the volumes that are attached.
func (s *snapshotVolumes) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	in.Place = s.cloud.here(in.Place)
	found, err := s.cloud.instance(ctx, in)
	if err != nil {
		return action.Change{}, err
	}
	volumes, size, err := s.attached(ctx, in)
	if err != nil {
		return action.Change{}, err
	}
	id := in.Params.String("instance_id")
	if len(volumes) == 0 {
		return action.Change{}, fault.New(fault.Invalid, "instance %s has no EBS volume to take a snapshot of", id)
	}
	taken, err := s.taken(ctx, in, volumes)
	if err != nil {
		return action.Change{}, err
	}
	c := action.Change{
		Action: s.Spec().Name, Place: in.Place, Target: s.cloud.instanceTarget(in), Tags: tagsOf(found.Tags),
		Summary:  fmt.Sprintf("take snapshots of %d volumes of %s", len(volumes), id),
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}
	before := evidence{Volumes: volumes, Held: taken.heldOf(volumes)}
	if err := encodeInto(&c.Params, in.Params, &c.Before, before, &c.After, evidence{Volumes: volumes, Held: volumes}); err != nil {
		return action.Change{}, err
	}
	if c.Noop = len(before.Held) == len(volumes); c.Noop {
		return c, nil
	}
	c.Calls = []string{"ec2:CreateSnapshots " + id}
	c.Impact = []string{fmt.Sprintf("snapshots of %d GiB are kept and cost money until somebody deletes them", size)}
	for _, volume := range volumes {
		c.Touches = append(c.Touches, s.cloud.ec2Entity(in.Place, entity.Volume, "volume", volume))
	}
	return c, nil
}

// encodeInto fills in the parts of a change that are JSON: pairs of where and what.
func encodeInto(pairs ...any) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		into, ok := pairs[i].(*json.RawMessage)
		text, err := json.Marshal(pairs[i+1])
		if !ok || err != nil {
			return fault.New(fault.Internal, "encode %T: %w", pairs[i+1], err)
		}
		*into = text
	}
	return nil
}

// Apply takes the snapshots that are missing, and holds those that were released.
func (s *snapshotVolumes) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, before, err := s.planned(c)
	if err != nil {
		return action.Result{}, err
	}
	taken, err := s.taken(ctx, in, before.Volumes)
	if err != nil {
		return action.Result{}, err
	}
	if len(taken.heldOf(before.Volumes)) == len(before.Volumes) {
		return result(false, before.Volumes, taken)
	}
	volumes, _, err := s.attached(ctx, in)
	if err != nil {
		return action.Result{}, err
	}
	if !slices.Equal(volumes, before.Volumes) {
		return action.Result{}, &action.Moved{
			Action: c.Action, Target: c.Target.ID,
			Differences: differences(evidence{Volumes: before.Volumes}, evidence{Volumes: volumes}),
		}
	}
	if err := s.mark(ctx, in, taken, released, held); err != nil {
		return action.Result{}, err
	}
	if err := s.take(ctx, in, before.Volumes, taken); err != nil {
		return action.Result{}, err
	}
	return result(true, before.Volumes, taken)
}

func result(changed bool, volumes []string, taken snapshots) (action.Result, error) {
	left := evidence{Volumes: volumes, Held: volumes, Snapshots: map[string]string{}}
	ids := make([]string, 0, len(volumes))
	for _, volume := range volumes {
		left.Snapshots[volume] = taken[volume].id
		ids = append(ids, taken[volume].id)
	}
	r := action.Result{Changed: changed, Outputs: map[string]any{"snapshots": ids, "volumes": volumes}}
	return r, encodeInto(&r.Left, left)
}

// Verify finds the snapshots again.
func (s *snapshotVolumes) Verify(ctx context.Context, a action.Applied) error {
	in, before, err := s.planned(a.Change)
	if err != nil {
		return err
	}
	taken, err := s.taken(ctx, in, before.Volumes)
	if err != nil {
		return err
	}
	if now := taken.heldOf(before.Volumes); len(now) != len(before.Volumes) {
		return &action.NotHeld{
			Action: a.Change.Action, Target: a.Change.Target.ID,
			Differences: differences(evidence{Held: before.Volumes}, evidence{Held: now}),
		}
	}
	return nil
}

// Drift lists the snapshots that Apply took and somebody deleted. Without its outcome it can't be known.
func (s *snapshotVolumes) Drift(ctx context.Context, a action.Applied) ([]action.Difference, error) {
	in, before, err := s.planned(a.Change)
	if err != nil {
		return nil, err
	}
	taken, err := s.taken(ctx, in, before.Volumes)
	if err != nil {
		return nil, err
	}
	return deleted(a, taken)
}

func deleted(a action.Applied, taken snapshots) ([]action.Difference, error) {
	if len(a.Result.Left) == 0 {
		return nil, nil
	}
	var left evidence
	if err := json.Unmarshal(a.Result.Left, &left); err != nil {
		return nil, fmt.Errorf("read what %s left: %w", a.Change.Action, err)
	}
	now := evidence{Snapshots: map[string]string{}}
	for volume, id := range left.Snapshots {
		if taken[volume].id == id {
			now.Snapshots[volume] = id
		}
	}
	return differences(evidence{Snapshots: left.Snapshots}, now), nil
}

// Undo releases the snapshots; it deletes none.
func (s *snapshotVolumes) Undo(ctx context.Context, a action.Applied, force bool) (action.Result, error) {
	in, before, err := s.planned(a.Change)
	if err != nil {
		return action.Result{}, err
	}
	taken, err := s.taken(ctx, in, before.Volumes)
	if err != nil {
		return action.Result{}, err
	}
	drift, err := deleted(a, taken)
	if err != nil {
		return action.Result{}, err
	}
	if len(drift) > 0 && !force {
		return action.Result{}, &action.Moved{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: drift}
	}
	if len(taken.in(held)) == 0 {
		return action.Result{}, nil
	}
	if err := s.mark(ctx, in, taken, held, released); err != nil {
		return action.Result{}, err
	}
	r := action.Result{Changed: true, Note: fmt.Sprintf("%d snapshots are kept, and released: they may be deleted now", len(taken))}
	return r, encodeInto(&r.Left, before)
}

// Restored looks whether no snapshot is held.
func (s *snapshotVolumes) Restored(ctx context.Context, a action.Applied) error {
	in, before, err := s.planned(a.Change)
	if err != nil {
		return err
	}
	taken, err := s.taken(ctx, in, before.Volumes)
	if err != nil {
		return err
	}
	if now := taken.in(held); len(now) > 0 {
		return &action.NotHeld{
			Action: a.Change.Action, Target: a.Change.Target.ID, Differences: differences(evidence{}, evidence{Held: now}),
		}
	}
	return nil
}

func (s *snapshotVolumes) planned(c action.Change) (in action.Input, before evidence, err error) {
	if in, err = c.Input(); err != nil {
		return in, before, err
	}
	if err = json.Unmarshal(c.Before, &before); err != nil {
		return in, before, fmt.Errorf("read what %s planned from: %w", c.Action, err)
	}
	return in, before, nil
}

// attached lists the volumes of an instance, sorted, and their size in GiB.
func (s *snapshotVolumes) attached(ctx context.Context, in action.Input) (volumes []string, size int, err error) {
	api, err := s.cloud.ec2(in.Place)
	if err != nil {
		return nil, 0, err
	}
	id := in.Params.String("instance_id")
	pages := ec2.NewDescribeVolumesPaginator(api, &ec2.DescribeVolumesInput{Filters: where("attachment.instance-id", id)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("describe volumes of %s: %w", id, classify(err))
		}
		for _, volume := range page.Volumes {
			volumes = append(volumes, aws.ToString(volume.VolumeId))
			size += int(aws.ToInt32(volume.Size))
		}
	}
	slices.Sort(volumes)
	return volumes, size, nil
}
