package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// groupMembership is whether a user is in a group.
type groupMembership struct {
	Member bool `json:"member"`
}

// quarantineByGroup makes aws.iam.quarantine_group.
func quarantineByGroup(c *Cloud) *among[groupMembership] {
	a := &among[groupMembership]{placed: placed[groupMembership]{cloud: c}, census: c.countHolders(types.SummaryKeyTypeUsers)}
	group := func(in action.Input) string { return in.Params.String("group") }
	a.Setting = action.Setting[groupMembership]{
		About: action.Spec{
			Name:    "aws.iam.quarantine_group",
			Summary: "Put an IAM user into a quarantine group",
			Doc: "Adds the user to a group that your organization keeps for this, with policies that deny what a suspect must not do. " +
				"The plan names the group's policies: a group that has none contains nothing, and is refused. The user's other " +
				"groups and policies stay, so only what the group's policies **deny** counts.\n\n" +
				"Riposte's own user and those named for emergencies are refused. Undo takes the user out of the group again.",
			Effect: action.Contain,
			Params: []action.Param{userParam(), {
				Name: "group", Type: action.String, Required: true, Entity: entity.Group, Doc: "name of the quarantine group",
			}},
			Permissions: slices.Concat(
				permit(action.PlanPhase, allUsers, nil, "iam:GetUser", "iam:ListGroupsForUser"),
				permit(action.PlanPhase, allGroups, nil, "iam:GetGroup", "iam:ListAttachedGroupPolicies", "iam:ListGroupPolicies"),
				permit(action.PlanPhase, "*", nil, "iam:GetAccountSummary"),
				permit(action.ApplyPhase, allGroups, nil, "iam:AddUserToGroup"),
				permit(action.UndoPhase, allGroups, nil, "iam:RemoveUserFromGroup"),
			),
		},
		Target: func(in action.Input) entity.Entity { return c.global(entity.User, in.Params.String("user"), in.Place) },
		Read:   c.readMembership,
		Want: func(action.Input, groupMembership) (groupMembership, error) {
			return groupMembership{Member: true}, nil
		},
		Write: func(ctx context.Context, in action.Input, _, to groupMembership) (groupMembership, error) {
			api, err := c.identity(in.Place)
			if err != nil {
				return groupMembership{}, err
			}
			user, name := aws.String(in.Params.String("user")), aws.String(group(in))
			if to.Member {
				_, err = api.AddUserToGroup(ctx, &iam.AddUserToGroupInput{UserName: user, GroupName: name})
			} else {
				_, err = api.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{UserName: user, GroupName: name})
			}
			if err != nil {
				return groupMembership{}, fmt.Errorf("set membership of user %s in group %s: %w", *user, *name, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ groupMembership) []string {
			return []string{fmt.Sprintf("iam:AddUserToGroup %s to group %s", in.Params.String("user"), group(in))}
		},
		Summary: func(in action.Input, _, _ groupMembership) string {
			return fmt.Sprintf("User %s is in group %s", in.Params.String("user"), group(in))
		},
		Facts: c.membershipFacts,
	}
	return a
}

func (c *Cloud) readMembership(ctx context.Context, in action.Input) (groupMembership, error) {
	name, err := c.sparedUser(in)
	if err != nil {
		return groupMembership{}, err
	}
	if wanted := in.Params.String("group"); !iamGroup.MatchString(wanted) {
		return groupMembership{}, fault.New(fault.Invalid, "%q is not the name of an IAM group", shorten(wanted))
	}
	api, err := c.identity(in.Place)
	if err != nil {
		return groupMembership{}, err
	}
	pages := iam.NewListGroupsForUserPaginator(api, &iam.ListGroupsForUserInput{UserName: aws.String(name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return groupMembership{}, fmt.Errorf("list groups of user %s: %w", name, classify(err))
		}
		for _, group := range page.Groups {
			if aws.ToString(group.GroupName) == in.Params.String("group") {
				return groupMembership{Member: true}, nil
			}
		}
	}
	return groupMembership{}, nil
}

func (c *Cloud) membershipFacts(ctx context.Context, in action.Input, _ groupMembership, plan *action.Change) error {
	user, err := c.user(ctx, in.Place, in.Params.String("user"))
	if err != nil {
		return err
	}
	h := holder{entity.Group, in.Params.String("group")}
	group, err := c.aboutGroup(ctx, in.Place, h.name)
	if err != nil {
		return err
	}
	policies, err := c.policiesOfGroup(ctx, in.Place, h)
	if err != nil {
		return err
	}
	if len(policies) == 0 {
		return fault.WithHint(fault.New(fault.Invalid, "group %s has no policies: it would contain nothing", h.name),
			"attach a policy that denies to it, such as AWSDenyAll, or use aws.iam.deny_user")
	}
	plan.Tags, plan.Target.ARN = iamTags(user.Tags), aws.ToString(user.Arn)
	touched := c.global(entity.Group, h.name, in.Place)
	touched.Part, touched.ARN = entity.Context, group.arn
	plan.Touches = []entity.Entity{touched}
	plan.Impact = []string{
		"the group's policies are " + some(policies) + ": the user is denied what they deny, and allowed what they allow",
		fmt.Sprintf("the group has %d users", group.members),
	}
	return nil
}

// policiesOfGroup names the managed and the inline policies of a group.
func (c *Cloud) policiesOfGroup(ctx context.Context, at action.Place, h holder) ([]string, error) {
	policies, err := c.attachedTo(ctx, at, h)
	if err != nil {
		return nil, err
	}
	api, err := c.identity(at)
	if err != nil {
		return nil, err
	}
	pages := iam.NewListGroupPoliciesPaginator(api, &iam.ListGroupPoliciesInput{GroupName: aws.String(h.name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list policies of %s: %w", h, classify(err))
		}
		policies = append(policies, page.PolicyNames...)
	}
	return policies, nil
}
