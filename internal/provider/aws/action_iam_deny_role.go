package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
)

// roleDenial is what the inline policy is called that denies a role everything; the incident's id follows.
const roleDenial = "riposte-deny"

// denyRole makes aws.iam.deny_role.
func denyRole(c *Cloud) *among[inline] {
	a := &among[inline]{placed: placed[inline]{cloud: c}, census: c.countHolders(types.SummaryKeyTypeRoles)}
	named := func(in action.Input) string { return marked(roleDenial, in.Incident) }
	a.Setting = action.Setting[inline]{
		About:  denyRoleSpec(),
		Target: c.holderTarget,
		Read: func(ctx context.Context, in action.Input) (inline, error) {
			h, err := checkHolder(in)
			if err != nil {
				return inline{}, err
			}
			if err := c.spare(h.kind, h.name, c.here(in.Place).Account); err != nil {
				return inline{}, err
			}
			return c.readInlineOf(ctx, in.Place, h, named(in))
		},
		Want: func(in action.Input, _ inline) (inline, error) {
			return inline{Document: json.RawMessage(`{"Version":"2012-10-17","Statement":[{"Sid":"` + markedSid("RiposteDeny", in.Incident) +
				`","Effect":"Deny","Action":"*","Resource":"*"}]}`)}, nil
		},
		Write: func(ctx context.Context, in action.Input, _, to inline) (inline, error) {
			return to, c.writeInlineOf(ctx, in.Place, holderOf(in), named(in), to)
		},
		Calls: func(in action.Input, _, _ inline) []string {
			return []string{"iam:PutRolePolicy " + named(in) + " of " + holderOf(in).String()}
		},
		Summary: func(in action.Input, _, _ inline) string {
			return fmt.Sprintf("Role %s is denied everything by the inline policy %s", in.Params.String("role"), named(in))
		},
		Facts:   c.denyRoleFacts,
		Meaning: meantInline,
	}
	return a
}

func denyRoleSpec() action.Spec {
	return action.Spec{
		Name:    "aws.iam.deny_role",
		Summary: "Deny an IAM role everything",
		Doc: "Puts an inline policy named after the incident on the role: every action on every resource is denied, without a " +
			"condition. It holds for the sessions that exist and for those opened later, by whomever. The plan says which " +
			"services may assume the role and which instance profiles carry it: what runs there stops.\n\n" +
			"It does not keep anybody from assuming the role (`aws.iam.tighten_trust`), and a resource whose own policy " +
			"names the role denies it just as well: an explicit denial wins. To end only the sessions that exist now, use " +
			"`aws.iam.revoke_role_sessions`.\n\n" +
			"Roles linked to a service and those of IAM Identity Center are refused, for AWS lets nobody change them; so are " +
			"Riposte's own and those named for emergencies (break-glass). Undo removes this policy alone, or puts back the " +
			"document that a policy of its name had before.",
		Effect: action.Contain,
		Params: []action.Param{{
			Name: "role", Type: action.String, Required: true, Entity: entity.Role, Doc: "name of the IAM role",
		}},
		Permissions: slices.Concat(
			permit(action.PlanPhase, allRoles, nil, "iam:GetRole", "iam:GetRolePolicy", "iam:ListInstanceProfilesForRole"),
			permit(action.PlanPhase, "*", nil, "iam:GetAccountSummary"),
			permit(action.ApplyPhase, allRoles, nil, "iam:PutRolePolicy"),
			permit(action.UndoPhase, allRoles, nil, "iam:PutRolePolicy", "iam:DeleteRolePolicy"),
		),
	}
}

func meantInline(p inline) inline {
	if len(p.Document) > 0 {
		p.Document = policydoc.Meaning(p.Document)
	}
	return p
}

func (c *Cloud) denyRoleFacts(ctx context.Context, in action.Input, now inline, plan *action.Change) error {
	role, err := c.describeHolder(ctx, in, plan)
	if err != nil {
		return err
	}
	name := in.Params.String("role")
	profiles, err := c.profilesOf(ctx, in.Place, name)
	if err != nil {
		return err
	}
	plan.Impact = append(plan.Impact, "whatever runs with the role stops working at once, until undo")
	if services := servicesOf(role.trust); len(services) > 0 {
		plan.Impact = append(plan.Impact, "services that may assume it: "+some(services))
	}
	if len(profiles) > 0 {
		plan.Impact = append(plan.Impact, "instances get it through the profiles: "+some(profiles))
	}
	if len(now.Document) > 0 && !plan.Noop {
		plan.Impact = append(plan.Impact, "another policy of that name is replaced; undo puts it back")
	}
	return nil
}

// profilesOf lists the instance profiles that carry a role.
func (c *Cloud) profilesOf(ctx context.Context, at action.Place, role string) ([]string, error) {
	api, err := c.identity(at)
	if err != nil {
		return nil, err
	}
	var names []string
	pages := iam.NewListInstanceProfilesForRolePaginator(api, &iam.ListInstanceProfilesForRoleInput{RoleName: aws.String(role)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list instance profiles of role %s: %w", role, classify(err))
		}
		for _, profile := range page.InstanceProfiles {
			names = append(names, aws.ToString(profile.InstanceProfileName))
		}
	}
	return names, nil
}

// servicesOf lists the services that a trust policy lets assume the role. A policy that can't be read names none.
func servicesOf(encoded string) []string {
	trust, err := readInline("trust", encoded)
	if err != nil {
		return nil
	}
	document, err := policydoc.Parse(trust.Document)
	if err != nil {
		return nil
	}
	var services []string
	for _, s := range document.Statements() {
		for _, p := range s.Principals {
			if s.Effect == policydoc.Allow && p.Type == "Service" {
				services = append(services, strings.TrimSuffix(p.Value, ".amazonaws.com"))
			}
		}
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// resourcePolicy is the state of the policy that a resource has.
type resourcePolicy struct {
	Document json.RawMessage `json:"document,omitempty"` // absent: it has none
}

// meantPolicy compares policies by what they say. One without statements says what none says.
func meantPolicy(p resourcePolicy) resourcePolicy {
	if len(p.Document) == 0 {
		return resourcePolicy{}
	}
	return resourcePolicy{Document: policydoc.Meaning(p.Document)}
}

// writable gives a document as AWS takes it: without the principals that were deleted since it was read.
func writable(text json.RawMessage) (string, error) {
	document, err := policydoc.Parse(text)
	if err != nil {
		return "", err
	}
	if buried := document.Bury().Text(); !bytes.Equal(buried, document.Text()) {
		return string(buried), nil
	}
	return string(text), nil
}
