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
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
)

// tightenTrust makes aws.iam.tighten_trust.
func tightenTrust(c *Cloud) *among[resourcePolicy] {
	a := &among[resourcePolicy]{placed: placed[resourcePolicy]{cloud: c}, census: c.countHolders(types.SummaryKeyTypeRoles)}
	a.Setting = action.Setting[resourcePolicy]{
		About:  tightenTrustSpec(),
		Target: c.holderTarget,
		Read:   c.readTrust,
		Want: func(in action.Input, now resourcePolicy) (resourcePolicy, error) {
			tight, _, _, err := c.tightened(in, now)
			return tight, err
		},
		Write: c.writeTrust,
		Calls: func(in action.Input, _, _ resourcePolicy) []string {
			return []string{"iam:UpdateAssumeRolePolicy " + in.Params.String("role")}
		},
		Summary: func(in action.Input, from, to resourcePolicy) string {
			if policydoc.Same(from.Document, to.Document) {
				return fmt.Sprintf("The trust policy of role %s names no stranger", in.Params.String("role"))
			}
			return fmt.Sprintf("Strangers to account %s can't assume role %s any more", c.here(in.Place).Account, in.Params.String("role"))
		},
		Facts: func(ctx context.Context, in action.Input, now resourcePolicy, plan *action.Change) error {
			if _, err := c.describeHolder(ctx, in, plan); err != nil {
				return err
			}
			_, document, gone, err := c.tightened(in, now)
			if err != nil {
				return err
			}
			who, err := c.strangers(in)
			if err != nil {
				return err
			}
			plan.Impact = append(plan.Impact, who.evicted(document, gone)...)
			plan.Impact = append(plan.Impact, "sessions that are open already go on until they expire: aws.iam.revoke_role_sessions ends them")
			return nil
		},
		Meaning: meantPolicy,
	}
	return a
}

func tightenTrustSpec() action.Spec {
	return action.Spec{
		Name:    "aws.iam.tighten_trust",
		Summary: "Remove strangers from a role's trust policy",
		Doc: "Takes everybody (`*`) and the principals of other accounts out of the statements by which the role's trust policy " +
			"lets it be assumed. Statements, conditions and principals that aren't meant stay as they are written: those of " +
			"the role's own account, of `keep_accounts` and of Riposte's home account, services, and identity providers. " +
			"Everybody within a condition on the organization, an account, an address or the like stays too, and the plan " +
			"names it. Where nobody would be left, a statement that denies everybody takes the place of what was there, for " +
			"IAM takes no empty trust policy.\n\n" +
			"It does not end sessions that are open (`aws.iam.revoke_role_sessions`). Roles that AWS lets nobody change, " +
			"Riposte's own and those named for emergencies are refused. Undo puts the saved document back, without " +
			"principals that were deleted since, for AWS takes no document that names one.",
		Effect: action.Contain,
		Params: []action.Param{{
			Name: "role", Type: action.String, Required: true, Entity: entity.Role, Doc: "name of the IAM role",
		}, exceptParam()},
		Permissions: slices.Concat(
			permit(action.PlanPhase, allRoles, nil, "iam:GetRole"),
			permit(action.PlanPhase, "*", nil, "iam:GetAccountSummary"),
			permit(action.ApplyPhase, allRoles, nil, "iam:UpdateAssumeRolePolicy"),
			permit(action.UndoPhase, allRoles, nil, "iam:UpdateAssumeRolePolicy"),
		),
	}
}

func (c *Cloud) readTrust(ctx context.Context, in action.Input) (resourcePolicy, error) {
	h, err := checkHolder(in)
	if err != nil {
		return resourcePolicy{}, err
	}
	if err := c.spare(h.kind, h.name, c.here(in.Place).Account); err != nil {
		return resourcePolicy{}, err
	}
	role, err := c.about(ctx, in.Place, h)
	if err != nil {
		return resourcePolicy{}, err
	}
	trust, err := readInline("of trust of role "+h.name, role.trust)
	return resourcePolicy(trust), err
}

func (c *Cloud) writeTrust(ctx context.Context, in action.Input, _, to resourcePolicy) (resourcePolicy, error) {
	api, err := c.identity(in.Place)
	if err != nil {
		return resourcePolicy{}, err
	}
	text, err := writable(to.Document)
	if err != nil {
		return resourcePolicy{}, err
	}
	name := in.Params.String("role")
	_, err = api.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String(name), PolicyDocument: aws.String(text)})
	if err != nil {
		return resourcePolicy{}, fmt.Errorf("write trust policy of role %s: %w", name, classify(err))
	}
	return to, nil
}

// tightened gives a trust policy without strangers, the document as it is, and who is gone.
func (c *Cloud) tightened(in action.Input, now resourcePolicy) (resourcePolicy, policydoc.Document, []policydoc.Stripped, error) {
	who, err := c.strangers(in)
	if err != nil {
		return resourcePolicy{}, policydoc.Document{}, nil, err
	}
	document, err := policydoc.Parse(now.Document)
	if err != nil {
		return resourcePolicy{}, policydoc.Document{}, nil, err
	}
	left, gone := document.Strip(who.unwanted)
	if len(gone) == 0 {
		return now, document, nil, nil
	}
	if len(left.Bury().Statements()) == 0 {
		nobody, err := policydoc.ParseStatement([]byte(`{"Sid":"` + markedSid("RiposteDeny", in.Incident) +
			`","Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}`))
		if err != nil {
			return resourcePolicy{}, document, nil, fault.Wrap(fault.Internal, err)
		}
		left = left.Put(nobody)
	}
	return resourcePolicy{Document: left.Text()}, document, gone, nil
}
