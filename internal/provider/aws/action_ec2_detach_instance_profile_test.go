package aws_test

import (
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

func (l *ec2Lab) profile(name string) string {
	l.t.Helper()
	reach := given(config.LoadDefaultConfig(l.t.Context(), config.WithRegion(awstest.Region), config.WithBaseEndpoint(awstest.Emulator(l.t))))(l.t)
	made := given(iam.NewFromConfig(reach).CreateInstanceProfile(l.t.Context(), &iam.CreateInstanceProfileInput{
		InstanceProfileName: &name, Path: sdk.String("/apps/"),
	}))(l.t)
	return *made.InstanceProfile.Arn
}

func (l *ec2Lab) associations(instance string) []types.IamInstanceProfileAssociation {
	l.t.Helper()
	found := given(l.other.DescribeIamInstanceProfileAssociations(l.t.Context(), &ec2.DescribeIamInstanceProfileAssociationsInput{
		Filters: []types.Filter{{Name: sdk.String("instance-id"), Values: []string{instance}}},
	}))(l.t)
	return found.IamInstanceProfileAssociations
}

// wear gives an instance a profile, in place of the one that it may have.
func (l *ec2Lab) wear(instance, profile string) {
	l.t.Helper()
	for _, a := range l.associations(instance) {
		given(l.other.DisassociateIamInstanceProfile(l.t.Context(), &ec2.DisassociateIamInstanceProfileInput{AssociationId: a.AssociationId}))(l.t)
	}
	given(l.other.AssociateIamInstanceProfile(l.t.Context(), &ec2.AssociateIamInstanceProfileInput{
		InstanceId: &instance, IamInstanceProfile: &types.IamInstanceProfileSpecification{Arn: &profile},
	}))(l.t)
}

// The emulator associates and disassociates at once; what passes between is not seen.
func TestDetachInstanceProfileKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	first, second := l.profile("shop"), l.profile("bastion")
	l.wear(instance, first)
	do := l.action("aws.ec2.detach_instance_profile")
	in := l.input(do, map[string]any{"instance_id": instance})
	now := first
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(*testing.T) string {
			var worn []string
			for _, a := range l.associations(instance) {
				worn = append(worn, *a.IamInstanceProfile.Arn)
			}
			return strings.Join(worn, "\n")
		},
		Change: func(*testing.T) {
			now = map[string]string{first: second, second: first}[now]
			l.wear(instance, now)
		},
		ChangeAfter: func(t *testing.T) { t.Helper(); l.wear(instance, l.profile("third")) },
	})
}
