package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// revocationName is the name of the inline policy that denies a role's older sessions.
	revocationName = "riposte-revoke-sessions"
	// whenApplied stands in a plan for the moment at which it is applied.
	whenApplied = "when applied"
	allRoles    = "arn:{partition}:iam::{account}:role/*"
)

// revocation is the policy that denies what was issued before a moment.
//
// A plan doesn't hold the moment: it says "when applied", so that planning twice gives one hash, and so that
// sessions which an intruder opens while people think about the plan are revoked too. Which step wrote a
// policy is told by its Sid, which carries the step's idempotency token: an attempt that is repeated finds
// its policy and leaves the moment as it is, while a later step isn't content with an older one.
type revocation struct {
	Version   string
	Statement []revocationStatement
}

type revocationStatement struct {
	Sid       string
	Effect    string
	Action    string
	Resource  string
	Condition revocationCondition
}

type revocationCondition struct {
	DateLessThan struct {
		Issued string `json:"aws:TokenIssueTime"`
	}
}

// revoking makes the policy of a step. The moment is RFC 3339, or whenApplied.
func revoking(token, moment string) (inline, error) {
	statement := revocationStatement{Sid: revocationSid(token), Effect: "Deny", Action: "*", Resource: "*"}
	statement.Condition.DateLessThan.Issued = moment
	text, err := json.Marshal(revocation{Version: "2012-10-17", Statement: []revocationStatement{statement}})
	if err != nil {
		return inline{}, fmt.Errorf("encode policy %s: %w", revocationName, err)
	}
	return inline{Document: text}, nil
}

// revocationSid is the Sid of a step's policy: IAM takes letters and digits alone.
func revocationSid(token string) string {
	return "Riposte" + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, token)
}

// timeless gives a step's policy as its plan has it. A document of any other form comes back as it is.
func timeless(now inline) inline {
	strict := json.NewDecoder(bytes.NewReader(now.Document))
	strict.DisallowUnknownFields()
	var read revocation
	if strict.Decode(&read) != nil || len(read.Statement) != 1 {
		return now
	}
	issued := &read.Statement[0].Condition.DateLessThan.Issued
	if _, err := time.Parse(time.RFC3339, *issued); err != nil {
		return now
	}
	*issued = whenApplied
	text, err := json.Marshal(read)
	if err != nil {
		return now
	}
	return inline{Document: text}
}

// revoke is aws.iam.revoke_role_sessions.
type revoke struct {
	placed[inline]
	among *census
}

func revokeRoleSessions(c *Cloud) *revoke {
	r := &revoke{placed: placed[inline]{cloud: c}, among: newCensus(func(ctx context.Context, at action.Place) (int, error) {
		return c.population(ctx, at, types.SummaryKeyTypeRoles)
	})}
	written := func(now, wanted inline) bool { return bytes.Equal(timeless(now).Document, wanted.Document) }
	r.Setting = action.Setting[inline]{
		About:  revokeSpec(),
		Target: func(in action.Input) entity.Entity { return c.global(entity.Role, in.Params.String("role"), in.Place) },
		Read:   r.read,
		Want:   func(in action.Input, _ inline) (inline, error) { return revoking(in.Token, whenApplied) },
		Write:  r.write,
		Calls: func(in action.Input, _, _ inline) []string {
			return []string{"iam:PutRolePolicy " + revocationName + " of role " + in.Params.String("role")}
		},
		Summary: func(in action.Input, _, _ inline) string {
			return fmt.Sprintf("Sessions of role %s issued before the change is applied are denied everything by the inline policy %s",
				in.Params.String("role"), revocationName)
		},
		Facts: r.facts,
		Holds: written,
		// What Apply left may be lost in a crash: then what the plan wanted stands for it, without a moment.
		Between: func(from, now, _ inline) bool { return written(now, from) },
	}
	return r
}

func revokeSpec() action.Spec {
	return action.Spec{
		Name:    "aws.iam.revoke_role_sessions",
		Summary: "End all sessions of an IAM role that exist now",
		Doc: "Puts the inline policy `" + revocationName + "` on the role: whoever holds credentials of the role that were " +
			"issued before the moment of applying, by AWS's clock, is denied everything. Sessions opened later work, so " +
			"this alone does not keep out an intruder who can assume the role again.\n\n" +
			"The moment is fixed when the change is applied, not when it is planned: sessions opened while the plan waits " +
			"for approval are revoked too, and the plan's hash is the same each time.\n\n" +
			"Service-linked roles and those of IAM Identity Center are refused: AWS lets nobody change them. Undo removes " +
			"the policy, or puts back the document that a policy of this name had before; sessions that were denied and " +
			"haven't expired work again then.",
		Effect: action.Contain,
		Params: []action.Param{{
			Name: "role", Type: action.String, Required: true, Entity: entity.Role, Doc: "name of the IAM role",
		}},
		Permissions: []action.Permission{
			{Name: "iam:GetRole", Resource: allRoles, Phase: action.PlanPhase},
			{Name: "iam:GetRolePolicy", Resource: allRoles, Phase: action.PlanPhase},
			{Name: "iam:GetAccountSummary", Resource: "*", Phase: action.PlanPhase},
			{Name: "iam:PutRolePolicy", Resource: allRoles, Phase: action.ApplyPhase},
			{Name: "iam:PutRolePolicy", Resource: allRoles, Phase: action.UndoPhase},
			{Name: "iam:DeleteRolePolicy", Resource: allRoles, Phase: action.UndoPhase},
		},
	}
}

// role reads a role, and AWS's time.
func (c *Cloud) role(ctx context.Context, at action.Place, name string) (*types.Role, time.Time, error) {
	api, err := c.identity(at)
	if err != nil {
		return nil, time.Time{}, err
	}
	got, err := api.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read role %s: %w", name, classify(err))
	}
	now, ok := awsmiddleware.GetServerTime(got.ResultMetadata)
	if !ok {
		now = time.Now()
	}
	return got.Role, now.UTC(), nil
}

func (r *revoke) read(ctx context.Context, in action.Input) (inline, error) {
	name := in.Params.String("role")
	if err := checkName("role", name); err != nil {
		return inline{}, err
	}
	api, err := r.cloud.identity(in.Place)
	if err != nil {
		return inline{}, err
	}
	got, err := api.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String(name), PolicyName: aws.String(revocationName)})
	if gone(err) { // the policy, or the role?
		_, _, err := r.cloud.role(ctx, in.Place, name)
		return inline{}, err
	}
	if err != nil {
		return inline{}, fmt.Errorf("read policy %s of role %s: %w", revocationName, name, classify(err))
	}
	return readInline(revocationName, aws.ToString(got.PolicyDocument))
}

func (r *revoke) write(ctx context.Context, in action.Input, _, to inline) (inline, error) {
	name := in.Params.String("role")
	api, err := r.cloud.identity(in.Place)
	if err != nil {
		return inline{}, err
	}
	if len(to.Document) == 0 {
		_, err = api.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String(name), PolicyName: aws.String(revocationName)})
		if err != nil && !gone(err) {
			return inline{}, fmt.Errorf("delete policy %s of role %s: %w", revocationName, name, classify(err))
		}
		return to, nil
	}
	if to, err = r.dated(ctx, in, to); err != nil {
		return inline{}, err
	}
	_, err = api.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(name), PolicyName: aws.String(revocationName), PolicyDocument: aws.String(string(to.Document)),
	})
	if err != nil {
		return inline{}, fmt.Errorf("put policy %s on role %s: %w", revocationName, name, classify(err))
	}
	return to, nil
}

// dated puts AWS's time into a planned policy. What a session is issued at is known to the second, so the
// moment is the end of this second. Any other document, such as one that undo restores, stays as it is.
func (r *revoke) dated(ctx context.Context, in action.Input, to inline) (inline, error) {
	planned, err := revoking(in.Token, whenApplied)
	if err != nil || !bytes.Equal(planned.Document, to.Document) {
		return to, err
	}
	_, now, err := r.cloud.role(ctx, in.Place, in.Params.String("role"))
	if err != nil {
		return inline{}, err
	}
	return revoking(in.Token, now.Truncate(time.Second).Add(time.Second).Format(time.RFC3339))
}

func (r *revoke) facts(ctx context.Context, in action.Input, now inline, c *action.Change) error {
	role, _, err := r.cloud.role(ctx, in.Place, in.Params.String("role"))
	if err != nil {
		return err
	}
	if err := changeable(role); err != nil {
		return err
	}
	c.Tags, c.Target.ARN = iamTags(role.Tags), aws.ToString(role.Arn)
	c.Impact = []string{
		"everything that runs with the role now is denied until it gets new credentials",
		"instances keep their credentials for hours: detach their instance profile and attach it again, or restart what runs there",
		"who may assume the role can do so again at once",
	}
	if used := role.RoleLastUsed; used != nil && used.LastUsedDate != nil {
		c.Impact = append(c.Impact, fmt.Sprintf("last used %s in %s", moment(used.LastUsedDate), aws.ToString(used.Region)))
	}
	if len(now.Document) > 0 && !c.Noop {
		c.Impact = append(c.Impact, "the policy "+revocationName+" that is there is replaced; undo puts it back")
	}
	return nil
}

// changeable returns an error for a role that AWS lets nobody change.
func changeable(role *types.Role) error {
	name, path := aws.ToString(role.RoleName), aws.ToString(role.Path)
	switch {
	case strings.HasPrefix(path, "/aws-service-role/"):
		return fault.WithHint(fault.New(fault.Invalid, "role %s is linked to a service: its sessions can't be revoked", name),
			"contain what the service runs, or delete the role at the service")
	case strings.HasPrefix(path, "/aws-reserved/"):
		return fault.WithHint(fault.New(fault.Invalid, "role %s is IAM Identity Center's: its sessions can't be revoked here", name),
			"end the user's sessions in IAM Identity Center and remove the assignment")
	}
	return nil
}

// Verify reads the policy back. It must be the one that was written, with its moment.
func (r *revoke) Verify(ctx context.Context, a action.Applied) error {
	if err := r.Setting.Verify(ctx, a); err != nil {
		return err
	}
	drift, err := r.Drift(ctx, a)
	if err != nil {
		return err
	}
	if len(drift) > 0 {
		return &action.NotHeld{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: drift}
	}
	return nil
}

// Population counts the account's roles.
func (r *revoke) Population(ctx context.Context, at action.Place) (int, error) {
	return r.among.of(ctx, r.cloud.here(at))
}
