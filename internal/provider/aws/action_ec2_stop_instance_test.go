package aws_test

import (
	"testing"

	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// The emulator stops and starts at once; what passes between is not seen. Nobody can make a plan no longer fit
// but by terminating the instance: it is running or it is stopped.
func TestStopInstanceKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	do := l.action("aws.ec2.stop_instance")
	in := l.input(do, map[string]any{"instance_id": instance})
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(*testing.T) string { return string(l.instance(instance).State.Name) },
	})
}

func TestStopInstanceWarnsOfWhatIsLost(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	do := l.action("aws.ec2.stop_instance")
	change := given(do.Plan(t.Context(), l.input(do, map[string]any{"instance_id": instance})))(t)
	if len(change.Impact) == 0 {
		t.Error("the plan names no impact")
	}
}
