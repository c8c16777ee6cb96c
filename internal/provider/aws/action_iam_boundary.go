package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var policyPath = shaped(`^policy/[\w+=,.@/-]{1,640}$`)

// checkPolicy holds the ARN of a managed policy: AWS's own, or the account's.
func (c *Cloud) checkPolicy(text string, at action.Place) error {
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "iam" || !policyPath.MatchString(parsed.Resource) {
		return fault.New(fault.Invalid, "%q is not the ARN of a managed policy", shorten(text))
	}
	if account := c.here(at).Account; parsed.AccountID != "aws" && parsed.AccountID != account {
		return fault.New(fault.Invalid, "policy %s is not of account %s", text, account)
	}
	return nil
}

// boundary is the permissions boundary of a user or a role.
type boundary struct {
	Policy string `json:"policy,omitempty"` // ARN; absent: there is none
}

// denyAllPolicy is AWS's own policy that denies everything, without account and partition.
const denyAllPolicy = "policy/AWSDenyAll"

// boundaryWanted is the ARN of the boundary that the parameters want.
func (c *Cloud) boundaryWanted(in action.Input) string {
	if given := in.Params.String("policy_arn"); given != "" {
		return given
	}
	return "arn:" + c.self.Partition + ":iam::aws:" + denyAllPolicy
}

// setBoundary makes aws.iam.set_boundary.
func setBoundary(c *Cloud) *among[boundary] {
	a := &among[boundary]{placed: placed[boundary]{cloud: c}, census: c.countHolders(types.SummaryKeyTypeUsers)}
	a.Setting = action.Setting[boundary]{
		About:  setBoundarySpec(),
		Target: c.holderTarget,
		Read:   c.readBoundary,
		Want: func(in action.Input, _ boundary) (boundary, error) {
			return boundary{Policy: c.boundaryWanted(in)}, nil
		},
		Write: c.writeBoundary,
		Calls: func(in action.Input, _, to boundary) []string {
			call := map[entity.Kind]string{entity.User: "iam:PutUserPermissionsBoundary", entity.Role: "iam:PutRolePermissionsBoundary"}
			h := holderOf(in)
			return []string{call[h.kind] + " " + to.Policy + " on " + h.String()}
		},
		Summary: func(in action.Input, from, to boundary) string {
			before := "it had none"
			if from.Policy != "" {
				before = "it was " + from.Policy
			}
			return fmt.Sprintf("The permissions boundary of %s is %s (%s)", holderOf(in), to.Policy, before)
		},
		Facts: func(ctx context.Context, in action.Input, _ boundary, plan *action.Change) error {
			if _, err := c.describeHolder(ctx, in, plan); err != nil {
				return err
			}
			plan.Impact = append(plan.Impact,
				"whatever the boundary doesn't allow is denied at once, in sessions that are open too",
				"permissions that a resource's own policy gives by name may go on, unless the boundary denies them")
			return nil
		},
	}
	return a
}

func setBoundarySpec() action.Spec {
	both := []entity.Kind{entity.User, entity.Role}
	return action.Spec{
		Name:    "aws.iam.set_boundary",
		Summary: "Bound the permissions of an IAM user or role",
		Doc: "Sets a permissions boundary: of what the policies of the user or role allow, only that remains which the boundary " +
			"allows too. Without `policy_arn` it is AWS's `AWSDenyAll`, which leaves nothing. Policies stay as they are.\n\n" +
			"A boundary that allows some things bounds; it gives nothing. A resource's own policy that names the user or the " +
			"session itself is not bounded by a missing permission, though it is by `AWSDenyAll`, for that denies. Roles that AWS " +
			"lets nobody change, Riposte's own and those named for emergencies are refused, and so are policies of " +
			"other accounts.\n\nUndo sets the boundary that was there, or removes this one where there was none.",
		Effect: action.Contain,
		Params: append(holderParams(both...), action.Param{
			Name: "policy_arn", Type: action.String, Entity: entity.Policy, Doc: "ARN of the managed policy that is the boundary; AWSDenyAll if absent",
		}),
		Permissions: slices.Concat(
			holders(action.PlanPhase, map[entity.Kind][]string{entity.User: {"iam:GetUser"}, entity.Role: {"iam:GetRole"}}),
			permit(action.PlanPhase, "*", nil, "iam:GetAccountSummary"),
			holders(action.ApplyPhase, map[entity.Kind][]string{
				entity.User: {"iam:PutUserPermissionsBoundary"}, entity.Role: {"iam:PutRolePermissionsBoundary"},
			}),
			holders(action.UndoPhase, map[entity.Kind][]string{
				entity.User: {"iam:PutUserPermissionsBoundary", "iam:DeleteUserPermissionsBoundary"},
				entity.Role: {"iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"},
			}),
		),
	}
}

func (c *Cloud) readBoundary(ctx context.Context, in action.Input) (boundary, error) {
	h, err := checkHolder(in)
	if err != nil {
		return boundary{}, err
	}
	if err := c.checkPolicy(c.boundaryWanted(in), in.Place); err != nil {
		return boundary{}, err
	}
	if err := c.spare(h.kind, h.name, c.here(in.Place).Account); err != nil {
		return boundary{}, err
	}
	found, err := c.about(ctx, in.Place, h)
	return boundary{Policy: found.boundary}, err
}

func (c *Cloud) writeBoundary(ctx context.Context, in action.Input, _, to boundary) (boundary, error) {
	api, err := c.identity(in.Place)
	if err != nil {
		return boundary{}, err
	}
	h, absent := holderOf(in), to.Policy == ""
	name, policy := aws.String(h.name), aws.String(to.Policy)
	switch {
	case h.kind == entity.Role && absent:
		_, err = api.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: name})
	case h.kind == entity.Role:
		_, err = api.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: policy})
	case absent:
		_, err = api.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: name})
	default:
		_, err = api.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: policy})
	}
	if err != nil && (!absent || !gone(err)) {
		return boundary{}, fmt.Errorf("set permissions boundary of %s: %w", h, classify(err))
	}
	return to, nil
}
