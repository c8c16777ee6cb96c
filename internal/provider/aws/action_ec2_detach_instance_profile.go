package aws

import (
	"context"
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

// worn is the instance profile of an instance.
type worn struct {
	Profile string `json:"profile"`           // ARN; "" is none
	Leaving string `json:"leaving,omitempty"` // ARN of one that is being taken away

	association string // id of the profile's association; it changes each time, so it is no part of the state
}

const detachDoc = `Takes the instance profile, and with it the role, away from the instance: its metadata service gives no new
credentials.

Credentials that it gave before stay valid until they expire, up to some hours, wherever they were taken to. Revoke
the role's sessions too where they may be stolen.

Undo associates the same instance profile again. That takes iam:PassRole on its role.`

// newDetachInstanceProfile makes aws.ec2.detach_instance_profile.
func newDetachInstanceProfile(c *Cloud, instances *census) *ec2Setting[worn] {
	toEC2 := conditions{"StringEquals": {"iam:PassedToService": {"ec2.amazonaws.com"}}}
	setting := &action.Setting[worn]{
		About: action.Spec{
			Name: "aws.ec2.detach_instance_profile", Effect: action.Contain,
			Summary: "Take the instance profile away from an instance.", Doc: detachDoc,
			Params: []action.Param{instanceParam()}, Settle: time.Minute,
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "ec2:DescribeIamInstanceProfileAssociations"),
				permit(action.ApplyPhase, ec2ARN("instance"), nil, "ec2:DisassociateIamInstanceProfile"),
				permit(action.UndoPhase, ec2ARN("instance"), nil, "ec2:AssociateIamInstanceProfile", "ec2:DisassociateIamInstanceProfile"),
				permit(action.UndoPhase, "arn:{partition}:iam::{account}:role/*", toEC2, "iam:PassRole"),
			),
		},
		Target: c.instanceTarget,
		Read:   c.readWorn,
		Want:   func(action.Input, worn) (worn, error) { return worn{}, nil },
		Write:  c.writeWorn,
		Calls: func(in action.Input, from, _ worn) []string {
			return []string{fmt.Sprintf("ec2:DisassociateIamInstanceProfile %s from %s", from.Profile, in.Params.String("instance_id"))}
		},
		Summary: func(in action.Input, from, _ worn) string {
			if from.Profile == "" {
				return fmt.Sprintf("instance %s has no instance profile", in.Params.String("instance_id"))
			}
			return fmt.Sprintf("take the instance profile %s away from %s", from.Profile, in.Params.String("instance_id"))
		},
		Facts:   c.wornFacts,
		Between: func(_, now, _ worn) bool { return now.Leaving != "" },
	}
	return &ec2Setting[worn]{setting, c, instances}
}

func (c *Cloud) wornFacts(ctx context.Context, in action.Input, now worn, change *action.Change) error {
	found, err := c.instance(ctx, in)
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	if now.Profile == "" {
		return nil
	}
	change.Touches = []entity.Entity{{
		Kind: entity.InstanceProfile, ID: now.Profile, ARN: now.Profile, Provider: "aws", Account: in.Account,
	}}
	change.Impact = []string{
		"what runs on the instance can't call AWS with its role, once the credentials it has expire",
		"credentials that the instance got already stay valid until they expire; revoking the role's sessions ends them",
	}
	return nil
}

// readWorn reads the association that is in force, or on its way in or out.
func (c *Cloud) readWorn(ctx context.Context, in action.Input) (worn, error) {
	var now worn
	if _, err := c.instance(ctx, in); err != nil {
		return now, err
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return now, err
	}
	id := in.Params.String("instance_id")
	pages := ec2.NewDescribeIamInstanceProfileAssociationsPaginator(api,
		&ec2.DescribeIamInstanceProfileAssociationsInput{Filters: where("instance-id", id)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return now, fmt.Errorf("describe instance profile of %s: %w", id, classify(err))
		}
		for _, a := range page.IamInstanceProfileAssociations {
			now.add(a)
		}
	}
	return now, nil
}

func (w *worn) add(a types.IamInstanceProfileAssociation) {
	if a.IamInstanceProfile == nil {
		return
	}
	profile := aws.ToString(a.IamInstanceProfile.Arn)
	switch a.State {
	case types.IamInstanceProfileAssociationStateAssociated, types.IamInstanceProfileAssociationStateAssociating:
		w.Profile, w.association = profile, aws.ToString(a.AssociationId)
	case types.IamInstanceProfileAssociationStateDisassociating:
		w.Leaving = profile
	case types.IamInstanceProfileAssociationStateDisassociated:
	}
}

// writeWorn takes one profile away and gives the other.
func (c *Cloud) writeWorn(ctx context.Context, in action.Input, from, to worn) (worn, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return worn{}, err
	}
	if from.Profile != "" && from.Profile != to.Profile {
		_, err := api.DisassociateIamInstanceProfile(ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: aws.String(from.association)})
		if err != nil && !gone(err) {
			return worn{}, fmt.Errorf("disassociate %s: %w", from.Profile, classify(err))
		}
	}
	if to.Profile == "" || to.Profile == from.Profile {
		return to, nil
	}
	_, err = api.AssociateIamInstanceProfile(ctx, &ec2.AssociateIamInstanceProfileInput{
		InstanceId:         aws.String(in.Params.String("instance_id")),
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Arn: aws.String(to.Profile)},
	})
	if codeIs(err, "IncorrectState") { // the one before isn't gone yet
		err = fault.Wrap(fault.Transient, err)
	}
	if err != nil {
		return worn{}, fmt.Errorf("associate %s: %w", to.Profile, classify(err))
	}
	return to, nil
}
