package aws_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// kept tells what decides whether an instance and its volumes stay.
func (l *ec2Lab) keeping(id string) []any {
	l.t.Helper()
	var state []any
	protection := given(l.other.DescribeInstanceAttribute(l.t.Context(), &ec2.DescribeInstanceAttributeInput{
		InstanceId: &id, Attribute: types.InstanceAttributeNameDisableApiTermination,
	}))(l.t)
	behaviour := given(l.other.DescribeInstanceAttribute(l.t.Context(), &ec2.DescribeInstanceAttributeInput{
		InstanceId: &id, Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior,
	}))(l.t)
	state = append(state, *protection.DisableApiTermination.Value, *behaviour.InstanceInitiatedShutdownBehavior.Value)
	for _, device := range l.instance(id).BlockDeviceMappings {
		state = append(state, *device.DeviceName, *device.Ebs.VolumeId, *device.Ebs.DeleteOnTermination)
	}
	return state
}

func TestPreserveInstanceKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	do := l.do("aws.ec2.preserve_instance")
	in := l.input(do, map[string]any{"instance_id": instance})
	others := 0
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.keeping(instance)) },
		Change: func(*testing.T) {
			others++
			l.attach(instance, "/dev/sd"+string(rune('f'+others)))
		},
		ChangeAfter: func(t *testing.T) {
			t.Helper()
			l.shutdown(instance, "terminate")
		},
	})
}

func (l *ec2Lab) shutdown(id, behaviour string) {
	l.t.Helper()
	given(l.other.ModifyInstanceAttribute(l.t.Context(), &ec2.ModifyInstanceAttributeInput{
		InstanceId: &id, Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior, Value: &behaviour,
	}))(l.t)
}

// An instance that a shutdown from inside terminates is stopped by one then, and terminated again after undo.
func TestPreserveInstanceKeepsShutdownFromTerminating(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	l.shutdown(instance, "terminate")
	before := text(t, l.keeping(instance))
	done := l.applies("aws.ec2.preserve_instance", map[string]any{"instance_id": instance})
	if got := l.keeping(instance); got[0] != true || got[1] != "stop" || got[4] != false {
		t.Errorf("got %v, want protected, stop and no volume deleted", got)
	}
	undoer, ok := l.do("aws.ec2.preserve_instance").(action.Undoer)
	if !ok {
		t.Fatal("it is no action.Undoer")
	}
	given(undoer.Undo(t.Context(), done, false))(t)
	if after := text(t, l.keeping(instance)); after != before {
		t.Errorf("after undo: got %s, want %s", after, before)
	}
}

// A volume that somebody attached after the plan was never planned for: the plan is made again.
func TestPreserveInstanceSeesNewVolumes(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	change := l.plans("aws.ec2.preserve_instance", map[string]any{"instance_id": instance})
	l.attach(instance, "/dev/sdf")
	if _, err := l.do("aws.ec2.preserve_instance").Apply(t.Context(), change); err == nil {
		t.Error("a plan was applied to an instance with another volume")
	}
}
