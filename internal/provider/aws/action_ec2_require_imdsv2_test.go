package aws_test

import (
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// untoken lets an instance's metadata service answer without a token.
func (l *ec2Lab) untoken(id string, hops int32) {
	l.t.Helper()
	given(l.other.ModifyInstanceMetadataOptions(l.t.Context(), &ec2.ModifyInstanceMetadataOptionsInput{
		InstanceId: &id, HttpTokens: types.HttpTokensStateOptional, HttpPutResponseHopLimit: &hops, HttpEndpoint: types.InstanceMetadataEndpointStateEnabled,
		InstanceMetadataTags: types.InstanceMetadataTagsStateEnabled, HttpProtocolIpv6: types.InstanceMetadataProtocolStateDisabled,
	}))(l.t)
}

func TestRequireIMDSv2KeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	l.untoken(instance, 2)
	do := l.do("aws.ec2.require_imdsv2")
	in := l.input(do, map[string]any{"instance_id": instance, "hop_limit": 1})
	hops := int32(2)
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.instance(instance).MetadataOptions) }, // tags and endpoint stay
		Change: func(*testing.T) {
			hops++
			l.untoken(instance, hops)
		},
	})
}

func TestRequireIMDSv2LeavesTheHopLimitAlone(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	l.untoken(instance, 3)
	l.applies("aws.ec2.require_imdsv2", map[string]any{"instance_id": instance})
	if got := sdk.ToInt32(l.instance(instance).MetadataOptions.HttpPutResponseHopLimit); got != 3 {
		t.Errorf("got a hop limit of %d, want 3 as it was", got)
	}
	l.refuses("aws.ec2.require_imdsv2", map[string]any{"instance_id": instance, "hop_limit": 0}, fault.Invalid, "hop_limit")
	l.untoken(instance, 3)
	change := l.plans("aws.ec2.require_imdsv2", map[string]any{"instance_id": instance, "hop_limit": 1})
	says(t, change.Impact, "IMDSv1", "no role")
	says(t, change.Impact, "containers")
}
