package aws

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

// denialName is the name of the inline policy that denies a user everything.
const denialName = "riposte-quarantine"

// denialDocument denies everything, without a condition. A condition on aws:TokenIssueTime, as it is
// used for roles, would contain nothing: the key exists in requests with temporary credentials alone, so a
// request signed with a long-lived access key doesn't match and goes on working.
const denialDocument = `{"Version":"2012-10-17","Statement":[{"Sid":"RiposteQuarantine","Effect":"Deny","Action":"*","Resource":"*"}]}`

// deny is aws.iam.deny_user.
type deny struct {
	placed[inline]
	among *census
}

func denyUser(c *Cloud) *deny {
	d := &deny{placed: placed[inline]{cloud: c}, among: newCensus(func(ctx context.Context, at action.Place) (int, error) {
		return c.population(ctx, at, types.SummaryKeyTypeUsers)
	})}
	d.Setting = action.Setting[inline]{
		About:  denySpec(),
		Target: func(in action.Input) entity.Entity { return c.global(entity.User, in.Params.String("user"), in.Place) },
		Read:   d.read,
		Want: func(action.Input, inline) (inline, error) {
			return inline{Document: json.RawMessage(denialDocument)}, nil
		},
		Write: d.write,
		Calls: func(in action.Input, _, _ inline) []string {
			return []string{"iam:PutUserPolicy " + denialName + " of user " + in.Params.String("user")}
		},
		Summary: func(in action.Input, _, _ inline) string {
			return fmt.Sprintf("User %s is denied everything by the inline policy %s", in.Params.String("user"), denialName)
		},
		Facts: d.facts,
	}
	return d
}

func denySpec() action.Spec {
	return action.Spec{
		Name:    "aws.iam.deny_user",
		Summary: "Deny an IAM user everything",
		Doc: "Puts the inline policy `" + denialName + "` on the user: every action on every resource is denied, without a " +
			"condition. An explicit denial wins over any permission, and holds for long-lived access keys, the console and " +
			"the user's temporary credentials (GetSessionToken, GetFederationToken) alike. The age of a token is not used as " +
			"a condition, for long-lived keys have none and would go on working.\n\n" +
			"It does not end sessions of roles that the user has assumed already: those are the role's " +
			"(`aws.iam.revoke_role_sessions`). The policies in a user are bounded by IAM at 2,048 characters together; where " +
			"there is no room, the action fails and says so.\n\n" +
			"Undo removes this policy alone, or puts back the document that a policy of this name had before.",
		Effect: action.Contain,
		Params: []action.Param{{
			Name: "user", Type: action.String, Required: true, Entity: entity.User, Doc: "name of the IAM user",
		}},
		Permissions: []action.Permission{
			{Name: "iam:GetUser", Resource: allUsers, Phase: action.PlanPhase},
			{Name: "iam:GetUserPolicy", Resource: allUsers, Phase: action.PlanPhase},
			{Name: "iam:ListAccessKeys", Resource: allUsers, Phase: action.PlanPhase},
			{Name: "iam:GetAccountSummary", Resource: "*", Phase: action.PlanPhase},
			{Name: "iam:PutUserPolicy", Resource: allUsers, Phase: action.ApplyPhase},
			{Name: "iam:PutUserPolicy", Resource: allUsers, Phase: action.UndoPhase},
			{Name: "iam:DeleteUserPolicy", Resource: allUsers, Phase: action.UndoPhase},
		},
	}
}

func (d *deny) read(ctx context.Context, in action.Input) (inline, error) {
	name := in.Params.String("user")
	if err := checkName("user", name); err != nil {
		return inline{}, err
	}
	api, err := d.cloud.identity(in.Place)
	if err != nil {
		return inline{}, err
	}
	got, err := api.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: aws.String(name), PolicyName: aws.String(denialName)})
	if gone(err) { // the policy, or the user?
		_, err := d.cloud.user(ctx, in.Place, name)
		return inline{}, err
	}
	if err != nil {
		return inline{}, fmt.Errorf("read policy %s of user %s: %w", denialName, name, classify(err))
	}
	return readInline(denialName, aws.ToString(got.PolicyDocument))
}

func (d *deny) write(ctx context.Context, in action.Input, _, to inline) (inline, error) {
	name := in.Params.String("user")
	api, err := d.cloud.identity(in.Place)
	if err != nil {
		return inline{}, err
	}
	if len(to.Document) == 0 {
		_, err = api.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: aws.String(name), PolicyName: aws.String(denialName)})
		if err != nil && !gone(err) {
			return inline{}, fmt.Errorf("delete policy %s of user %s: %w", denialName, name, classify(err))
		}
		return to, nil
	}
	_, err = api.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
		UserName: aws.String(name), PolicyName: aws.String(denialName), PolicyDocument: aws.String(string(to.Document)),
	})
	if err != nil {
		return inline{}, fmt.Errorf("put policy %s on user %s: %w", denialName, name, classify(err))
	}
	return to, nil
}

func (d *deny) facts(ctx context.Context, in action.Input, now inline, c *action.Change) error {
	name := in.Params.String("user")
	user, err := d.cloud.user(ctx, in.Place, name)
	if err != nil {
		return err
	}
	keys, err := d.cloud.keysOf(ctx, in.Place, name)
	if err != nil {
		return err
	}
	active := 0
	for _, key := range keys {
		if key.Status == types.StatusTypeActive {
			active++
		}
	}
	c.Tags, c.Target.ARN = iamTags(user.Tags), aws.ToString(user.Arn)
	c.Impact = []string{
		fmt.Sprintf("the user has %d access keys, %d of them active; whatever uses them stops working", len(keys), active),
		"sessions of roles that the user has assumed already go on until they expire",
	}
	if used := moment(user.PasswordLastUsed); used != "" {
		c.Impact = append(c.Impact, "last signed in to the console "+used)
	}
	if len(now.Document) > 0 && !c.Noop {
		c.Impact = append(c.Impact, "another policy named "+denialName+" is replaced; undo puts it back")
	}
	return nil
}

// Population counts the account's users.
func (d *deny) Population(ctx context.Context, at action.Place) (int, error) {
	return d.among.of(ctx, d.cloud.here(at))
}
