package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// terminateInstance is aws.ec2.terminate_instance.
type terminateInstance struct {
	cloud *Cloud
	among *census
}

// newTerminateInstance makes aws.ec2.terminate_instance.
func newTerminateInstance(c *Cloud, instances *census) *terminateInstance {
	return &terminateInstance{c, instances}
}

// remains is what an instance is and what goes with it.
type remains struct {
	Terminated bool     `json:"terminated"`
	Lost       []string `json:"lost"` // volumes that are deleted with it, sorted
	Kept       []string `json:"kept"` // volumes that stay
}

// Spec describes the action.
func (d *terminateInstance) Spec() action.Spec {
	return action.Spec{
		Name: "aws.ec2.terminate_instance", Effect: action.Destroy,
		Summary: "Terminate an instance for good.",
		Doc: `Terminates the instance. **Nothing brings it back**: what is in memory, on instance-store volumes and on the EBS volumes that
are deleted with it is lost; the plan names these volumes, and whether there is a snapshot of each. Its addresses are
released, Elastic IP addresses stay with the account.

It refuses where termination protection is on, which says that somebody wants to keep the instance. Prefer
isolation, or snapshots and a stop. An instance of an Auto Scaling group is replaced by another from the same template.`,
		Params: []action.Param{instanceParam()}, Settle: 5 * time.Minute,
		Permissions: slices.Concat(
			servicePermissions(),
			permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "ec2:DescribeInstanceAttribute", "ec2:DescribeSnapshots"),
			permit(action.ApplyPhase, ec2ARN("instance"), nil, "ec2:TerminateInstances"),
		),
	}
}

// Population counts the instances at a place.
func (d *terminateInstance) Population(ctx context.Context, at action.Place) (int, error) {
	return d.among.of(ctx, d.cloud.here(at))
}

// Plan reads the instance and what goes with it.
func (d *terminateInstance) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	in.Place = d.cloud.here(in.Place)
	id := in.Params.String("instance_id")
	found, err := d.cloud.instance(ctx, in)
	if err != nil {
		return action.Change{}, err
	}
	api, err := d.cloud.ec2(in.Place)
	if err != nil {
		return action.Change{}, err
	}
	protected, err := terminationProtected(ctx, api, found.InstanceId)
	if err != nil {
		return action.Change{}, err
	}
	if protected {
		return action.Change{}, fault.WithHint(fault.New(fault.Denied, "instance %s is protected from termination", id),
			"somebody wants to keep it; take the protection off by hand if it should go")
	}
	now := remainsOf(found)
	after := now
	after.Terminated = true
	change := action.Change{
		Action: "aws.ec2.terminate_instance", Place: in.Place, Target: d.cloud.instanceTarget(in), Tags: tagsOf(found.Tags),
		Calls:    []string{"ec2:TerminateInstances " + id},
		Summary:  fmt.Sprintf("terminate instance %s, which is %s, for good, with %s", id, stateOf(found), several(len(now.Lost), "volume")),
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}
	for _, volume := range now.Lost {
		change.Touches = append(change.Touches, d.cloud.ec2Entity(in.Place, entity.Volume, "volume", volume))
	}
	change.Impact = append(d.losses(ctx, api, found, now), d.cloud.standing(ctx, in.Place, found)...)
	err = encodeInto(&change.Params, in.Params, &change.Before, now, &change.After, after)
	return change, err
}

func remainsOf(found types.Instance) remains {
	r := remains{Lost: []string{}, Kept: []string{}}
	r.Terminated = leaving(found) != nil
	for _, device := range found.BlockDeviceMappings {
		switch {
		case device.Ebs == nil:
		case aws.ToBool(device.Ebs.DeleteOnTermination):
			r.Lost = append(r.Lost, aws.ToString(device.Ebs.VolumeId))
		default:
			r.Kept = append(r.Kept, aws.ToString(device.Ebs.VolumeId))
		}
	}
	slices.Sort(r.Lost)
	slices.Sort(r.Kept)
	return r
}

// losses says what is lost, and of what there is no snapshot.
func (d *terminateInstance) losses(ctx context.Context, api *ec2.Client, found types.Instance, now remains) []string {
	impact := []string{"what is in its memory and on instance-store volumes is lost for good"}
	if len(now.Lost) > 0 {
		saved, err := newestSnapshots(ctx, api, now.Lost)
		for _, volume := range now.Lost {
			switch at, there := saved[volume]; {
			case err != nil:
				impact = append(impact, unread("whether there is a snapshot of "+volume+", which is deleted too,", err))
			case !there:
				impact = append(impact, "the volume "+volume+" is deleted too, and there is NO snapshot of it")
			default:
				impact = append(impact, fmt.Sprintf("the volume %s is deleted too; its newest snapshot is of %s", volume, at.UTC().Format(time.RFC3339)))
			}
		}
	}
	if len(now.Kept) > 0 {
		impact = append(impact, several(len(now.Kept), "volume")+" that isn't deleted with it stays")
	}
	if address := aws.ToString(found.PublicIpAddress); address != "" && !elastic(found) {
		impact = append(impact, "its public address "+address+" is released for good")
	}
	return impact
}

// newestSnapshots gives when the newest finished snapshot of each volume was begun.
func newestSnapshots(ctx context.Context, api *ec2.Client, volumes []string) (map[string]time.Time, error) {
	newest := map[string]time.Time{}
	pages := ec2.NewDescribeSnapshotsPaginator(api, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: slices.Concat(where("volume-id", volumes...), where("status", "completed")),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, classify(err)
		}
		for _, each := range page.Snapshots {
			if at := aws.ToTime(each.StartTime); newest[aws.ToString(each.VolumeId)].Before(at) {
				newest[aws.ToString(each.VolumeId)] = at
			}
		}
	}
	return newest, nil
}

// Apply terminates the instance if it is the one that was planned for.
func (d *terminateInstance) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, planned, now, err := d.look(ctx, c)
	if err != nil || now.Terminated {
		return action.Result{}, err
	}
	if found := differences(planned, now); len(found) > 0 {
		return action.Result{}, &action.Moved{Action: c.Action, Target: c.Target.ID, Differences: found}
	}
	api, err := d.cloud.ec2(in.Place)
	if err != nil {
		return action.Result{}, err
	}
	id := in.Params.String("instance_id")
	if _, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
		return action.Result{}, fmt.Errorf("terminate instance %s: %w", id, classify(err))
	}
	now.Terminated = true
	r := action.Result{Changed: true}
	err = encodeInto(&r.Left, now)
	return r, err
}

// Verify looks whether the instance is gone, or on its way.
func (d *terminateInstance) Verify(ctx context.Context, a action.Applied) error {
	_, planned, now, err := d.look(ctx, a.Change)
	if err != nil || now.Terminated {
		return err
	}
	return &action.NotHeld{
		Action: a.Change.Action, Target: a.Change.Target.ID,
		Differences: differences(remains{Terminated: true, Lost: planned.Lost, Kept: planned.Kept}, now),
	}
}

// look reads what a change was planned from, and the instance as it is. One that EC2 doesn't know any more is
// terminated.
func (d *terminateInstance) look(ctx context.Context, c action.Change) (in action.Input, planned, now remains, err error) {
	if in, err = c.Input(); err != nil {
		return in, planned, now, err
	}
	if err = json.Unmarshal(c.Before, &planned); err != nil {
		return in, planned, now, fmt.Errorf("read what %s planned from: %w", c.Action, err)
	}
	found, err := d.cloud.instance(ctx, in)
	if fault.Is(err, fault.NotFound) {
		return in, planned, remains{Terminated: true}, nil
	}
	return in, planned, remainsOf(found), err
}
