package aws_test

import (
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

func (l *ec2Lab) attach(instance, device string) {
	l.t.Helper()
	zone := *l.instance(instance).Placement.AvailabilityZone
	made := given(l.other.CreateVolume(l.t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: &zone, Size: sdk.Int32(8)}))(l.t)
	given(l.other.AttachVolume(l.t.Context(), &ec2.AttachVolumeInput{InstanceId: &instance, VolumeId: made.VolumeId, Device: &device}))(l.t)
}

// kept tells the snapshots of a step by volume and mark.
func (l *ec2Lab) kept(instance, token string) []types.Snapshot {
	l.t.Helper()
	found := given(l.other.DescribeSnapshots(l.t.Context(), &ec2.DescribeSnapshotsInput{
		Filters: []types.Filter{
			{Name: sdk.String("description"), Values: []string{"Evidence of " + instance + "*"}}, // or the emulator takes long
			{Name: sdk.String("tag:riposte:token"), Values: []string{token}},
		},
	}))(l.t)
	return found.Snapshots
}

func (l *ec2Lab) held(instance, token string) []string {
	l.t.Helper()
	var volumes []string
	for _, s := range l.kept(instance, token) {
		if slices.ContainsFunc(s.Tags, func(tag types.Tag) bool { return *tag.Key == "riposte:evidence" && *tag.Value == "held" }) {
			volumes = append(volumes, *s.VolumeId)
		}
	}
	slices.Sort(volumes)
	return volumes
}

// Undo deletes nothing, so the state that it restores is which snapshots are held. The emulator's are complete at
// once and never fail.
func TestSnapshotVolumesKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	l.attach(instance, "/dev/sdf")
	do := l.action("aws.ec2.snapshot_volumes")
	in := l.input(do, map[string]any{"instance_id": instance})
	device := 'f'
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.held(instance, in.Token)) },
		Change: func(*testing.T) {
			device++
			l.attach(instance, "/dev/sd"+string(device))
		},
		ChangeAfter: func(t *testing.T) {
			t.Helper()
			given(l.other.DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: l.kept(instance, in.Token)[0].SnapshotId}))(t)
		},
	})
}

// interruptUndo undoes what died at each call before.
func (l *ec2Lab) interruptUndo(do action.Action, done action.Applied, lost bool) {
	l.t.Helper()
	undoer, ok := do.(action.Undoer)
	if !ok {
		l.t.Fatal("it is no action.Undoer")
	}
	for calls := range 3 {
		l.door.Break(calls, lost)
		_, err := undoer.Undo(l.t.Context(), done, false)
		if broke := l.door.Repair(); !broke && err != nil {
			l.t.Fatal(err)
		}
	}
	if err := undoer.Restored(l.t.Context(), done); err != nil {
		l.t.Error(err)
	}
}

// However often a step is applied and wherever it dies, each volume has one snapshot, with the tags that tell of
// what it is evidence.
func TestSnapshotVolumesTakesOneOfEach(t *testing.T) {
	for _, lost := range []bool{false, true} {
		l := newEC2Lab(t)
		instance := l.launch(l.group("web"))
		l.attach(instance, "/dev/sdf")
		do := l.action("aws.ec2.snapshot_volumes")
		in := l.input(do, map[string]any{"instance_id": instance})
		if lost {
			in.Token += "-lost"
		}
		change := given(do.Plan(t.Context(), in))(t)
		var result action.Result
		for calls := range 6 {
			l.door.Break(calls, lost)
			got, err := do.Apply(t.Context(), change)
			if broke := l.door.Repair(); !broke && err != nil {
				t.Fatal(err)
			}
			result = got
		}
		l.interruptUndo(do, action.Applied{Change: change, Result: result}, lost)
		if held := l.held(instance, in.Token); len(held) > 0 {
			t.Errorf("lost=%t: snapshots of %v are held after undo", lost, held)
		}
		result = given(do.Apply(t.Context(), change))(t)
		kept := l.kept(instance, in.Token)
		var volumes, ids []string
		for _, s := range kept {
			volumes, ids = append(volumes, *s.VolumeId), append(ids, *s.SnapshotId)
			tags := map[string]string{}
			for _, tag := range s.Tags {
				tags[*tag.Key] = *tag.Value
			}
			want := map[string]string{
				"riposte:incident": in.Incident, "riposte:run": in.Run, "riposte:step": in.Step,
				"riposte:token": in.Token, "riposte:evidence": "held",
			}
			if diff := cmp.Diff(want, tags); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
		}
		slices.Sort(volumes)
		if len(volumes) != 2 || volumes[0] == volumes[1] {
			t.Errorf("lost=%t: got snapshots of %v, want one of each of 2 volumes", lost, volumes)
		}
		outputs, ok := result.Outputs["snapshots"].([]string)
		if !ok || len(outputs) != 2 || !slices.Contains(ids, outputs[0]) || !slices.Contains(ids, outputs[1]) {
			t.Errorf("got the output %v, want %v", result.Outputs["snapshots"], ids)
		}
	}
}
