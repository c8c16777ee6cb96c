package aws_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

func TestDescribeInstanceKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	web := l.group("web")
	instance := l.launch(web)
	do := l.action("aws.ec2.describe_instance")
	in := l.input(do, map[string]any{"instance_id": instance})
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in),
		State: func(t *testing.T) string { t.Helper(); return text(t, l.instance(instance)) },
	})

	outputs := given(do.Plan(t.Context(), in))(t).Outputs
	want := map[string]any{
		"state": "running", "type": "t3.micro", "vpc": l.vpc, "subnet": l.net, "instance_profile": "",
		"security_groups": []string{web}, "tags": map[string]any{"service": "shop"},
		"private_ip": *l.instance(instance).PrivateIpAddress, "image": "ami-12c6146b",
	}
	got := map[string]any{}
	for name := range want {
		got[name] = outputs[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}
