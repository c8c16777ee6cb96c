package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const allGroups = "arn:{partition}:iam::{account}:group/*"

// iamGroup is the form of a group's name, which may be longer than a user's.
var iamGroup = shaped(`^[\w+=,.@-]{1,128}$`)

// holder is who holds policies in IAM: a user, a role or a group.
type holder struct {
	kind entity.Kind
	name string
}

// String is the holder as people read it.
func (h holder) String() string { return string(h.kind) + " " + h.name }

// holderParams are the parameters that name one holder of those kinds.
func holderParams(kinds ...entity.Kind) []action.Param {
	var list []action.Param
	for _, kind := range kinds {
		list = append(list, action.Param{
			Name: string(kind), Type: action.String, Entity: kind, Doc: "name of the IAM " + string(kind) + "; exactly one of " + inWords(kinds),
		})
	}
	return list
}

func inWords(kinds []entity.Kind) string {
	names := make([]string, 0, len(kinds))
	for _, kind := range kinds {
		names = append(names, string(kind))
	}
	return strings.Join(names, ", ")
}

// holderOf gives the first holder that the parameters name; checkHolder says whether that is right.
func holderOf(in action.Input) holder {
	for _, kind := range []entity.Kind{entity.User, entity.Role, entity.Group} {
		if name := in.Params.String(string(kind)); name != "" {
			return holder{kind, name}
		}
	}
	return holder{}
}

// checkHolder refuses parameters that name no holder, or more than one.
func checkHolder(in action.Input) (holder, error) {
	var named []string
	for _, kind := range []entity.Kind{entity.User, entity.Role, entity.Group} {
		if in.Params.String(string(kind)) != "" {
			named = append(named, string(kind))
		}
	}
	if len(named) != 1 {
		return holder{}, fault.New(fault.Invalid, "the step names %d of user, role and group: name exactly one", len(named))
	}
	h := holderOf(in)
	if h.kind == entity.Group && !iamGroup.MatchString(h.name) {
		return holder{}, fault.New(fault.Invalid, "%q is not the name of an IAM group", shorten(h.name))
	}
	if h.kind == entity.Group {
		return h, nil
	}
	return h, checkName(string(h.kind), h.name)
}

func (c *Cloud) holderTarget(in action.Input) entity.Entity {
	h := holderOf(in)
	return c.global(h.kind, h.name, in.Place)
}

// aboutHolder is what IAM tells of a holder.
type aboutHolder struct {
	arn      string
	tags     map[string]string
	boundary string // ARN of its permissions boundary, if any
	lastUsed string // when it signed in to the console, or its sessions did something
	members  int    // of a group
	trust    string // of a role: who may assume it, in URL encoding
}

// about reads a holder. A role that AWS lets nobody change is refused.
func (c *Cloud) about(ctx context.Context, at action.Place, h holder) (aboutHolder, error) {
	switch h.kind {
	case entity.Group:
		return c.aboutGroup(ctx, at, h.name)
	case entity.Role:
		role, _, err := c.role(ctx, at, h.name)
		if err != nil {
			return aboutHolder{}, err
		}
		if err := ownable(role); err != nil {
			return aboutHolder{}, err
		}
		found := aboutHolder{arn: aws.ToString(role.Arn), tags: iamTags(role.Tags), trust: aws.ToString(role.AssumeRolePolicyDocument)}
		if role.PermissionsBoundary != nil {
			found.boundary = aws.ToString(role.PermissionsBoundary.PermissionsBoundaryArn)
		}
		if used := role.RoleLastUsed; used != nil && used.LastUsedDate != nil {
			found.lastUsed = moment(used.LastUsedDate) + " in " + aws.ToString(used.Region)
		}
		return found, nil
	default:
		user, err := c.user(ctx, at, h.name)
		if err != nil {
			return aboutHolder{}, err
		}
		found := aboutHolder{arn: aws.ToString(user.Arn), tags: iamTags(user.Tags), lastUsed: moment(user.PasswordLastUsed)}
		if user.PermissionsBoundary != nil {
			found.boundary = aws.ToString(user.PermissionsBoundary.PermissionsBoundaryArn)
		}
		return found, nil
	}
}

func (c *Cloud) aboutGroup(ctx context.Context, at action.Place, name string) (aboutHolder, error) {
	api, err := c.identity(at)
	if err != nil {
		return aboutHolder{}, err
	}
	var found aboutHolder
	pages := iam.NewGetGroupPaginator(api, &iam.GetGroupInput{GroupName: aws.String(name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return aboutHolder{}, fmt.Errorf("read group %s: %w", name, classify(err))
		}
		found.arn = aws.ToString(page.Group.Arn)
		found.members += len(page.Users)
	}
	return found, nil
}

// ownable returns an error for a role that AWS lets nobody change.
func ownable(role *types.Role) error {
	name, path := aws.ToString(role.RoleName), aws.ToString(role.Path)
	switch {
	case strings.HasPrefix(path, "/aws-service-role/"):
		return fault.WithHint(fault.New(fault.Invalid, "role %s is linked to a service: AWS lets nobody change it", name),
			"contain what the service runs, or delete the role at the service")
	case strings.HasPrefix(path, "/aws-reserved/"):
		return fault.WithHint(fault.New(fault.Invalid, "role %s is IAM Identity Center's: it can't be changed here", name),
			"remove the assignment with aws.sso.revoke_assignment")
	}
	return nil
}

// describeHolder puts what people should know of a holder into a plan.
func (c *Cloud) describeHolder(ctx context.Context, in action.Input, plan *action.Change) (aboutHolder, error) {
	h := holderOf(in)
	found, err := c.about(ctx, in.Place, h)
	if err != nil {
		return found, err
	}
	plan.Tags, plan.Target.ARN = found.tags, found.arn
	switch {
	case h.kind == entity.Group:
		plan.Impact = append(plan.Impact, fmt.Sprintf("the group has %d users: it concerns all of them", found.members))
	case found.lastUsed != "" && h.kind == entity.Role:
		plan.Impact = append(plan.Impact, "the role was last used "+found.lastUsed)
	case found.lastUsed != "":
		plan.Impact = append(plan.Impact, "the user last signed in to the console "+found.lastUsed)
	default:
		plan.Impact = append(plan.Impact, "IAM knows of no use of the "+string(h.kind))
	}
	return found, nil
}

// holders is where holders of these kinds are, for permissions.
func holders(phase action.Phase, names map[entity.Kind][]string) []action.Permission {
	var list []action.Permission
	for _, kind := range []entity.Kind{entity.User, entity.Role, entity.Group} {
		resource := map[entity.Kind]string{entity.User: allUsers, entity.Role: allRoles, entity.Group: allGroups}[kind]
		list = append(list, permit(phase, resource, nil, names[kind]...)...)
	}
	return list
}

// countHolders counts the users, roles or groups of an account, by its summary.
func (c *Cloud) countHolders(kind types.SummaryKeyType) *census {
	return newCensus(func(ctx context.Context, at action.Place) (int, error) { return c.population(ctx, at, kind) })
}

// readInlineOf reads an inline policy of a holder; where there is none, the holder must be there.
func (c *Cloud) readInlineOf(ctx context.Context, at action.Place, h holder, policy string) (inline, error) {
	api, err := c.identity(at)
	if err != nil {
		return inline{}, err
	}
	var text *string
	switch h.kind {
	case entity.Role:
		var got *iam.GetRolePolicyOutput
		if got, err = api.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String(h.name), PolicyName: aws.String(policy)}); err == nil {
			text = got.PolicyDocument
		}
	case entity.Group:
		var got *iam.GetGroupPolicyOutput
		if got, err = api.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: aws.String(h.name), PolicyName: aws.String(policy)}); err == nil {
			text = got.PolicyDocument
		}
	default:
		var got *iam.GetUserPolicyOutput
		if got, err = api.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: aws.String(h.name), PolicyName: aws.String(policy)}); err == nil {
			text = got.PolicyDocument
		}
	}
	if gone(err) { // the policy, or its holder?
		_, err := c.about(ctx, at, h)
		return inline{}, err
	}
	if err != nil {
		return inline{}, fmt.Errorf("read policy %s of %s: %w", policy, h, classify(err))
	}
	return readInline(policy, aws.ToString(text))
}

// writeInlineOf puts an inline policy on a holder, or deletes it where its document is absent.
func (c *Cloud) writeInlineOf(ctx context.Context, at action.Place, h holder, policy string, to inline) error {
	api, err := c.identity(at)
	if err != nil {
		return err
	}
	name, document, absent := aws.String(policy), aws.String(string(to.Document)), len(to.Document) == 0
	switch {
	case h.kind == entity.Role && absent:
		_, err = api.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String(h.name), PolicyName: name})
	case h.kind == entity.Role:
		_, err = api.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String(h.name), PolicyName: name, PolicyDocument: document})
	case h.kind == entity.Group && absent:
		_, err = api.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: aws.String(h.name), PolicyName: name})
	case h.kind == entity.Group:
		_, err = api.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: aws.String(h.name), PolicyName: name, PolicyDocument: document})
	case absent:
		_, err = api.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: aws.String(h.name), PolicyName: name})
	default:
		_, err = api.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String(h.name), PolicyName: name, PolicyDocument: document})
	}
	if err != nil && (!absent || !gone(err)) {
		return fmt.Errorf("write policy %s of %s: %w", policy, h, classify(err))
	}
	return nil
}

// some shows the first few of a list, for sentences that people read.
func some(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return strings.Join(slices.Clone(list[:most]), ", ") + fmt.Sprintf(" and %d more", len(list)-most)
}
