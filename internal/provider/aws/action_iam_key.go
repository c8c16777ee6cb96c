package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const allUsers = "arn:{partition}:iam::{account}:user/*"

// keyFacts is what IAM tells of an access key.
type keyFacts struct {
	ID          string
	User        string // "root" where the key is the root user's
	Root        bool
	Status      string // Active, Inactive or Expired; "" where it can't be read, as for the root user's
	Created     string
	LastUsed    string
	LastService string
	LastRegion  string
}

// key finds an access key's owner and what is known of the key. A name given for the owner is checked: a
// key that isn't that user's is NotFound.
func (c *Cloud) key(ctx context.Context, at action.Place, id, owner string) (keyFacts, error) {
	if err := checkKey(id); err != nil {
		return keyFacts{}, err
	}
	facts := keyFacts{ID: id, User: owner}
	if owner == "" {
		if err := c.findOwner(ctx, at, &facts); err != nil || facts.Root {
			return facts, err
		}
	} else if err := checkName("user", owner); err != nil {
		return keyFacts{}, err
	}
	keys, err := c.keysOf(ctx, at, facts.User)
	if err != nil {
		return keyFacts{}, err
	}
	found := slices.IndexFunc(keys, func(k types.AccessKeyMetadata) bool { return aws.ToString(k.AccessKeyId) == id })
	if found < 0 {
		return keyFacts{}, fault.New(fault.NotFound, "user %s of account %s has no access key %s", facts.User, c.here(at).Account, id)
	}
	facts.Status, facts.Created = string(keys[found].Status), moment(keys[found].CreateDate)
	return facts, nil
}

// findOwner asks IAM whose a key is. IAM answers AccessDenied for keys of other accounts and for keys that
// never were, so the error says what it may mean.
func (c *Cloud) findOwner(ctx context.Context, at action.Place, facts *keyFacts) error {
	api, err := c.identity(at)
	if err != nil {
		return err
	}
	got, err := api.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: aws.String(facts.ID)})
	switch err = classify(err); {
	case fault.Is(err, fault.NotFound):
		return fault.WithHint(fault.New(fault.NotFound, "account %s has no access key %s: %w", c.here(at).Account, facts.ID, err),
			"it may be deleted, or belong to another account")
	case fault.Is(err, fault.Denied):
		return fault.WithHint(fmt.Errorf("find the owner of access key %s: %w", facts.ID, err),
			"IAM answers so for a key that is not of this account too; else iam:GetAccessKeyLastUsed is missing")
	case err != nil:
		return fmt.Errorf("find the owner of access key %s: %w", facts.ID, err)
	}
	facts.User = aws.ToString(got.UserName)
	if facts.User == "" || facts.User == "<root_account>" || facts.User == "root" {
		facts.User, facts.Root = "root", true
	}
	if used := got.AccessKeyLastUsed; used != nil && used.LastUsedDate != nil {
		facts.LastUsed = moment(used.LastUsedDate)
		facts.LastService, facts.LastRegion = aws.ToString(used.ServiceName), aws.ToString(used.Region)
	}
	return nil
}

// describeKey is aws.iam.describe_access_key.
type describeKey struct{ cloud *Cloud }

func describeAccessKey(c *Cloud) describeKey { return describeKey{c} }

// Spec describes the action.
func (describeKey) Spec() action.Spec {
	return action.Spec{
		Name:    "aws.iam.describe_access_key",
		Summary: "Find out whose an access key is and when it was last used",
		Doc: "Asks IAM for the key's owner, its status and its last use. It changes nothing. For a key of the root user, " +
			"`user` is root, `is_root` is true and `status` is empty: IAM tells nobody but root. Temporary keys (ASIA...) " +
			"belong to sessions and are refused. A key that the account doesn't have is an error.",
		Effect: action.Read,
		Params: []action.Param{keyParam()},
		Outputs: []action.Output{
			{Name: "user", Type: action.String, Doc: "name of the IAM user whose key it is; root for the root user's"},
			{Name: "status", Type: action.String, Doc: "Active, Inactive or Expired"},
			{Name: "created", Type: action.Time, Doc: "when it was made"},
			{Name: "last_used", Type: action.Time, Doc: "when it was last used; empty if never"},
			{Name: "last_used_service", Type: action.String, Doc: "service that it was last used with; empty if never"},
			{Name: "last_used_region", Type: action.String, Doc: "region in which it was last used; empty if never"},
			{Name: "is_root", Type: action.Bool, Doc: "whether it is the root user's"},
		},
		Permissions: ownerPermissions(),
	}
}

func keyParam() action.Param {
	return action.Param{
		Name: "access_key_id", Type: action.String, Required: true, Entity: entity.AccessKey,
		Doc: "id of a long-lived access key (AKIA...)",
	}
}

func ownerPermissions() []action.Permission {
	return []action.Permission{
		{Name: "iam:GetAccessKeyLastUsed", Resource: "*", Phase: action.PlanPhase},
		{Name: "iam:ListAccessKeys", Resource: allUsers, Phase: action.PlanPhase},
	}
}

// Plan reads what IAM knows; its outputs are all there is.
func (d describeKey) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	in.Place = d.cloud.here(in.Place)
	id := in.Params.String("access_key_id")
	facts, err := d.cloud.key(ctx, in.Place, id, "")
	if err != nil {
		return action.Change{}, err
	}
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return action.Change{
		Action: d.Spec().Name, Place: in.Place, Params: params, Target: d.cloud.global(entity.AccessKey, id, in.Place),
		Summary: fmt.Sprintf("Access key %s belongs to %s", id, facts.User),
		Outputs: map[string]any{
			"user": facts.User, "status": facts.Status, "created": facts.Created, "last_used": facts.LastUsed,
			"last_used_service": facts.LastService, "last_used_region": facts.LastRegion, "is_root": facts.Root,
		},
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

// Apply changes nothing.
func (describeKey) Apply(_ context.Context, c action.Change) (action.Result, error) {
	return action.Result{Outputs: c.Outputs}, nil
}

// keyState is the state of an access key.
type keyState struct {
	User   string `json:"user"`
	Status string `json:"status"`

	asked *keyFacts // what IAM told when it was asked whose the key is; nil where that was given
}

// disableKey is aws.iam.disable_access_key.
type disableKey struct {
	placed[keyState]
	among *census
}

func disableAccessKey(c *Cloud) *disableKey {
	d := &disableKey{placed: placed[keyState]{cloud: c}, among: newCensus(c.keyPopulation)}
	d.Setting = action.Setting[keyState]{
		About: action.Spec{
			Name:    "aws.iam.disable_access_key",
			Summary: "Make an IAM user's access key inactive",
			Doc: "Sets the key to inactive; requests signed with it are refused within seconds. It does not end temporary " +
				"credentials that were made with the key, nor roles assumed with it: `aws.iam.deny_user` stops the first, " +
				"`aws.iam.revoke_role_sessions` the second. Keys of the root user are refused, for IAM can't disable them. " +
				"Undo sets the status that the key had.",
			Effect: action.Contain,
			Params: []action.Param{keyParam(), {
				Name: "user", Type: action.String, Entity: entity.User,
				Doc: "whose key it is; looked up if absent, checked if given",
			}},
			Outputs: []action.Output{{Name: "user", Type: action.String, Doc: "name of the IAM user whose key it is"}},
			Permissions: append(ownerPermissions(),
				action.Permission{Name: "iam:GetUser", Resource: allUsers, Phase: action.PlanPhase},
				action.Permission{Name: "iam:GenerateCredentialReport", Resource: "*", Phase: action.PlanPhase},
				action.Permission{Name: "iam:GetCredentialReport", Resource: "*", Phase: action.PlanPhase},
				action.Permission{Name: "iam:UpdateAccessKey", Resource: allUsers, Phase: action.ApplyPhase},
				action.Permission{Name: "iam:UpdateAccessKey", Resource: allUsers, Phase: action.UndoPhase}),
		},
		Target: func(in action.Input) entity.Entity {
			return c.global(entity.AccessKey, in.Params.String("access_key_id"), in.Place)
		},
		Read:  d.read,
		Want:  func(_ action.Input, now keyState) (keyState, error) { return d.want(now), nil },
		Write: d.write,
		Calls: func(in action.Input, _, to keyState) []string {
			return []string{fmt.Sprintf("iam:UpdateAccessKey %s of user %s to %s", in.Params.String("access_key_id"), to.User, to.Status)}
		},
		Summary: func(in action.Input, from, to keyState) string {
			return fmt.Sprintf("Access key %s of user %s: %s → %s", in.Params.String("access_key_id"), to.User, from.Status, to.Status)
		},
		Facts: d.facts,
	}
	return d
}

// Plan notes whose the key is, so that nothing after it has to ask again.
func (d *disableKey) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	c, err := d.Setting.Plan(ctx, in)
	if err != nil {
		return c, err
	}
	params := maps.Clone(in.Params)
	params["user"] = c.Outputs["user"]
	if c.Params, err = json.Marshal(params); err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return c, nil
}

// Apply makes the key inactive; later steps can use what the plan found.
func (d *disableKey) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	result, err := d.Setting.Apply(ctx, c)
	result.Outputs = c.Outputs
	return result, err
}

func (d *disableKey) read(ctx context.Context, in action.Input) (keyState, error) {
	facts, err := d.cloud.key(ctx, in.Place, in.Params.String("access_key_id"), in.Params.String("user"))
	if err != nil {
		return keyState{}, err
	}
	if facts.Root {
		return keyState{}, fault.WithHint(fault.New(fault.Invalid, "access key %s is the root user's: IAM can't disable it", facts.ID),
			"sign in as the root user of the account and delete it")
	}
	state := keyState{User: facts.User, Status: facts.Status}
	if in.Params.String("user") == "" {
		state.asked = &facts
	}
	return state, nil
}

// want is an inactive key; one that has expired is as good.
func (*disableKey) want(now keyState) keyState {
	if now.Status == string(types.StatusTypeActive) {
		now.Status = string(types.StatusTypeInactive)
	}
	return now
}

func (d *disableKey) write(ctx context.Context, in action.Input, _, to keyState) (keyState, error) {
	api, err := d.cloud.identity(in.Place)
	if err != nil {
		return keyState{}, err
	}
	id := in.Params.String("access_key_id")
	_, err = api.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{
		AccessKeyId: aws.String(id), UserName: aws.String(to.User), Status: types.StatusType(to.Status),
	})
	if err != nil {
		return keyState{}, fmt.Errorf("set access key %s to %s: %w", id, to.Status, classify(err))
	}
	return to, nil
}

func (d *disableKey) facts(ctx context.Context, in action.Input, now keyState, c *action.Change) error {
	user, err := d.cloud.user(ctx, in.Place, now.User)
	if err != nil {
		return err
	}
	owner := d.cloud.global(entity.User, now.User, in.Place)
	owner.ARN = aws.ToString(user.Arn)
	c.Tags, c.Touches = iamTags(user.Tags), []entity.Entity{owner}
	c.Outputs = map[string]any{"user": now.User}
	c.Impact = []string{
		"whatever uses the key stops working until it has another",
		"temporary credentials made with the key go on working until they expire",
	}
	used := now.asked
	if used == nil {
		used = &keyFacts{ID: in.Params.String("access_key_id")}
		if err := d.cloud.findOwner(ctx, in.Place, used); err != nil {
			return err
		}
	}
	if used.LastUsed == "" {
		c.Impact = append(c.Impact, "IAM knows of no use of the key")
	} else {
		c.Impact = append(c.Impact, fmt.Sprintf("last used %s with %s in %s", used.LastUsed, used.LastService, used.LastRegion))
	}
	return nil
}

// Population counts the access keys of the account's users.
func (d *disableKey) Population(ctx context.Context, at action.Place) (int, error) {
	return d.among.of(ctx, d.cloud.here(at))
}
