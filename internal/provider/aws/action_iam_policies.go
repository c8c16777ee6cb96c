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

// attachment is whether a managed policy is attached to its holder.
type attachment struct {
	Attached bool `json:"attached"`
}

// detachPolicy makes aws.iam.detach_policy.
func detachPolicy(c *Cloud) *among[attachment] {
	a := &among[attachment]{placed: placed[attachment]{cloud: c}, census: c.countHolders(types.SummaryKeyTypeUsers)}
	policy := func(in action.Input) string { return in.Params.String("policy_arn") }
	a.Setting = action.Setting[attachment]{
		About:  detachPolicySpec(),
		Target: c.holderTarget,
		Read:   c.readAttachment,
		Want:   func(action.Input, attachment) (attachment, error) { return attachment{}, nil },
		Write:  c.writeAttachment,
		Calls: func(in action.Input, _, _ attachment) []string {
			call := map[entity.Kind]string{
				entity.User: "iam:DetachUserPolicy", entity.Role: "iam:DetachRolePolicy", entity.Group: "iam:DetachGroupPolicy",
			}
			h := holderOf(in)
			return []string{call[h.kind] + " " + policy(in) + " from " + h.String()}
		},
		Summary: func(in action.Input, _, _ attachment) string {
			return fmt.Sprintf("Policy %s is not attached to %s", policy(in), holderOf(in))
		},
		Facts: func(ctx context.Context, in action.Input, now attachment, plan *action.Change) error {
			if _, err := c.describeHolder(ctx, in, plan); err != nil {
				return err
			}
			plan.Touches = []entity.Entity{c.policyEntity(policy(in), in.Place)}
			if !now.Attached {
				return nil
			}
			api, err := c.identity(in.Place)
			if err != nil {
				return err
			}
			got, err := api.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String(policy(in))})
			if err != nil {
				return fmt.Errorf("read policy %s: %w", policy(in), classify(err))
			}
			plan.Impact = append(plan.Impact,
				fmt.Sprintf("the policy is attached to %d users, groups and roles; the others keep it", aws.ToInt32(got.Policy.AttachmentCount)),
				"what other policies of the "+string(holderOf(in).kind)+" allow stays allowed")
			return nil
		},
	}
	return a
}

// policyEntity names a managed policy. AWS's own are in no account.
func (c *Cloud) policyEntity(arn string, at action.Place) entity.Entity {
	e := c.global(entity.Policy, arn, at)
	e.Part, e.ARN = entity.Context, arn
	return e
}

func detachPolicySpec() action.Spec {
	each := func(verb string) map[entity.Kind][]string {
		return map[entity.Kind][]string{
			entity.User: {"iam:" + verb + "UserPolicy"}, entity.Role: {"iam:" + verb + "RolePolicy"}, entity.Group: {"iam:" + verb + "GroupPolicy"},
		}
	}
	return action.Spec{
		Name:    "aws.iam.detach_policy",
		Summary: "Detach a managed policy from an IAM user, role or group",
		Doc: "Detaches one managed policy, such as `AdministratorAccess` that an intruder attached. The policy itself and its other " +
			"holders stay as they are, and so does what other policies allow. From a group it is taken from all of its " +
			"users. Roles that AWS lets nobody change, Riposte's own and those named for emergencies are refused, and so are " +
			"policies of other accounts.\n\nUndo attaches it again, in the version that is the policy's default then.",
		Effect: action.Contain,
		Params: append(holderParams(entity.User, entity.Role, entity.Group), action.Param{
			Name: "policy_arn", Type: action.String, Required: true, Entity: entity.Policy, Doc: "ARN of the managed policy",
		}),
		Permissions: slices.Concat(
			holders(action.PlanPhase, map[entity.Kind][]string{
				entity.User: {"iam:GetUser", "iam:ListAttachedUserPolicies"}, entity.Role: {"iam:GetRole", "iam:ListAttachedRolePolicies"},
				entity.Group: {"iam:GetGroup", "iam:ListAttachedGroupPolicies"},
			}),
			permit(action.PlanPhase, "*", nil, "iam:GetAccountSummary", "iam:GetPolicy"), // AWS's own policies are in no account
			holders(action.ApplyPhase, each("Detach")), holders(action.UndoPhase, each("Attach")),
		),
	}
}

func (c *Cloud) readAttachment(ctx context.Context, in action.Input) (attachment, error) {
	h, err := checkHolder(in)
	if err != nil {
		return attachment{}, err
	}
	policy := in.Params.String("policy_arn")
	if err := c.checkPolicy(policy, in.Place); err != nil {
		return attachment{}, err
	}
	if err := c.spare(h.kind, h.name, c.here(in.Place).Account); err != nil {
		return attachment{}, err
	}
	attached, err := c.attachedTo(ctx, in.Place, h)
	return attachment{Attached: slices.Contains(attached, policy)}, err
}

// attachedTo lists the ARNs of the managed policies of a holder.
func (c *Cloud) attachedTo(ctx context.Context, at action.Place, h holder) ([]string, error) {
	api, err := c.identity(at)
	if err != nil {
		return nil, err
	}
	var list []types.AttachedPolicy
	name := aws.String(h.name)
	switch h.kind {
	case entity.Role:
		pages := iam.NewListAttachedRolePoliciesPaginator(api, &iam.ListAttachedRolePoliciesInput{RoleName: name})
		for pages.HasMorePages() && err == nil {
			var page *iam.ListAttachedRolePoliciesOutput
			if page, err = pages.NextPage(ctx); err == nil {
				list = append(list, page.AttachedPolicies...)
			}
		}
	case entity.Group:
		pages := iam.NewListAttachedGroupPoliciesPaginator(api, &iam.ListAttachedGroupPoliciesInput{GroupName: name})
		for pages.HasMorePages() && err == nil {
			var page *iam.ListAttachedGroupPoliciesOutput
			if page, err = pages.NextPage(ctx); err == nil {
				list = append(list, page.AttachedPolicies...)
			}
		}
	default:
		pages := iam.NewListAttachedUserPoliciesPaginator(api, &iam.ListAttachedUserPoliciesInput{UserName: name})
		for pages.HasMorePages() && err == nil {
			var page *iam.ListAttachedUserPoliciesOutput
			if page, err = pages.NextPage(ctx); err == nil {
				list = append(list, page.AttachedPolicies...)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list policies of %s: %w", h, classify(err))
	}
	arns := make([]string, 0, len(list))
	for _, policy := range list {
		arns = append(arns, aws.ToString(policy.PolicyArn))
	}
	return arns, nil
}

func (c *Cloud) writeAttachment(ctx context.Context, in action.Input, _, to attachment) (attachment, error) {
	api, err := c.identity(in.Place)
	if err != nil {
		return attachment{}, err
	}
	h := holderOf(in)
	name, policy := aws.String(h.name), aws.String(in.Params.String("policy_arn"))
	switch {
	case h.kind == entity.Role && to.Attached:
		_, err = api.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: policy})
	case h.kind == entity.Role:
		_, err = api.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: policy})
	case h.kind == entity.Group && to.Attached:
		_, err = api.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: name, PolicyArn: policy})
	case h.kind == entity.Group:
		_, err = api.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: name, PolicyArn: policy})
	case to.Attached:
		_, err = api.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: policy})
	default:
		_, err = api.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: name, PolicyArn: policy})
	}
	if err != nil && (to.Attached || !gone(err)) {
		return attachment{}, fmt.Errorf("set attachment of policy %s to %s: %w", *policy, h, classify(err))
	}
	return to, nil
}

var inlineName = shaped(`^[\w+=,.@-]{1,128}$`)

// deleteInlinePolicy makes aws.iam.delete_inline_policy.
func deleteInlinePolicy(c *Cloud) *among[inline] {
	a := &among[inline]{placed: placed[inline]{cloud: c}, census: c.countHolders(types.SummaryKeyTypeUsers)}
	policy := func(in action.Input) string { return in.Params.String("policy") }
	a.Setting = action.Setting[inline]{
		About:  deleteInlineSpec(),
		Target: c.holderTarget,
		Read: func(ctx context.Context, in action.Input) (inline, error) {
			h, err := checkHolder(in)
			if err != nil {
				return inline{}, err
			}
			if !inlineName.MatchString(policy(in)) {
				return inline{}, fault.New(fault.Invalid, "%q is not the name of an inline policy", shorten(policy(in)))
			}
			if err := c.spare(h.kind, h.name, c.here(in.Place).Account); err != nil {
				return inline{}, err
			}
			return c.readInlineOf(ctx, in.Place, h, policy(in))
		},
		Want: func(action.Input, inline) (inline, error) { return inline{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to inline) (inline, error) {
			return to, c.writeInlineOf(ctx, in.Place, holderOf(in), policy(in), to)
		},
		Calls: func(in action.Input, _, _ inline) []string {
			call := map[entity.Kind]string{
				entity.User: "iam:DeleteUserPolicy", entity.Role: "iam:DeleteRolePolicy", entity.Group: "iam:DeleteGroupPolicy",
			}
			h := holderOf(in)
			return []string{call[h.kind] + " " + policy(in) + " of " + h.String()}
		},
		Summary: func(in action.Input, _, _ inline) string {
			return fmt.Sprintf("%s has no inline policy %s", capital(holderOf(in).String()), policy(in))
		},
		Facts: func(ctx context.Context, in action.Input, now inline, plan *action.Change) error {
			if _, err := c.describeHolder(ctx, in, plan); err != nil {
				return err
			}
			if len(now.Document) > 0 {
				plan.Impact = append(plan.Impact, "what the policy allowed is denied at once; what it denied is allowed again where others allow it")
			}
			return nil
		},
		Meaning: meantInline,
	}
	return a
}

// capital begins a sentence.
func capital(text string) string {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return text
	}
	return string(text[0]-'a'+'A') + text[1:]
}

func deleteInlineSpec() action.Spec {
	each := func(verb string) map[entity.Kind][]string {
		return map[entity.Kind][]string{
			entity.User: {"iam:" + verb + "UserPolicy"}, entity.Role: {"iam:" + verb + "RolePolicy"}, entity.Group: {"iam:" + verb + "GroupPolicy"},
		}
	}
	reads := each("Get")
	reads[entity.User] = append(reads[entity.User], "iam:GetUser")
	reads[entity.Role] = append(reads[entity.Role], "iam:GetRole")
	reads[entity.Group] = append(reads[entity.Group], "iam:GetGroup")
	return action.Spec{
		Name:    "aws.iam.delete_inline_policy",
		Summary: "Delete an inline policy of an IAM user, role or group",
		Doc: "Deletes one inline policy, such as one by which an intruder gave himself more. Other policies stay. A policy that " +
			"isn't there is no error: it is as wanted. Roles that AWS lets nobody change, Riposte's own and those named for " +
			"emergencies are refused.\n\nUndo puts the saved document back under its name.",
		Effect: action.Contain,
		Params: append(holderParams(entity.User, entity.Role, entity.Group), action.Param{
			Name: "policy", Type: action.String, Required: true, Doc: "name of the inline policy",
		}),
		Permissions: slices.Concat(
			holders(action.PlanPhase, reads),
			permit(action.PlanPhase, "*", nil, "iam:GetAccountSummary"),
			holders(action.ApplyPhase, each("Delete")), holders(action.UndoPhase, each("Put")),
		),
	}
}
