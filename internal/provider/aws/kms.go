package aws

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const allKMSKeys = "arn:{partition}:kms:{region}:{account}:key/*"

// kmsKeyID is the id of a key. An alias is none: whoever can move it chooses which key is meant.
var kmsKeyID = shaped(`^(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// keyARN reads the ARN of a key.
func keyARN(text string) (parsed arn.ARN, id string, ok bool) {
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "kms" {
		return arn.ARN{}, text, false
	}
	id, ok = strings.CutPrefix(parsed.Resource, "key/")
	return parsed, id, ok && kmsKeyID.MatchString(id)
}

func kmsKeyParam() action.Param {
	return action.Param{Name: "key", Type: action.String, Required: true, Entity: entity.KMSKey, Doc: "id or ARN of the KMS key; an alias isn't taken"}
}

// kmsTarget is the key that the parameters name, by its id.
func (c *Cloud) kmsTarget(in action.Input) entity.Entity {
	at := c.here(in.Place)
	id := in.Params.String("key")
	if parsed, short, ok := keyARN(id); ok {
		id, at.Region = short, parsed.Region
	}
	return entity.Entity{
		Kind: entity.KMSKey, ID: id, Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
		ARN: "arn:" + c.self.Partition + ":kms:" + at.Region + ":" + at.Account + ":key/" + id,
	}
}

// kmsKey is a key with a client in its region.
type kmsKey struct {
	api  *kms.Client
	id   *string
	meta *types.KeyMetadata
}

// kmsKey reads a key. One of another account is refused, and so is one that AWS manages: nobody can change it.
func (c *Cloud) kmsKey(ctx context.Context, in action.Input) (kmsKey, error) {
	text, at := in.Params.String("key"), c.here(in.Place)
	parsed, id, isARN := keyARN(text)
	switch {
	case !isARN && !kmsKeyID.MatchString(text):
		return kmsKey{}, fault.New(fault.Invalid, "%q is neither the id nor the ARN of a KMS key", shorten(text))
	case isARN && parsed.AccountID != at.Account:
		return kmsKey{}, fault.New(fault.Invalid, "KMS key %s is not of account %s", text, at.Account)
	case isARN:
		at.Region = parsed.Region
	}
	api, err := client(c, at, func(made aws.Config) *kms.Client { return kms.NewFromConfig(made) })
	if err != nil {
		return kmsKey{}, err
	}
	got, err := api.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(id)})
	if err != nil {
		return kmsKey{}, fmt.Errorf("read KMS key %s: %w", id, classify(err))
	}
	switch meta := got.KeyMetadata; {
	case aws.ToString(meta.AWSAccountId) != at.Account:
		return kmsKey{}, fault.New(fault.Invalid, "KMS key %s is not of account %s", id, at.Account)
	case meta.KeyManager == types.KeyManagerTypeAws:
		return kmsKey{}, fault.New(fault.Invalid, "KMS key %s is managed by AWS: nobody can change it", id)
	default:
		return kmsKey{api, aws.String(id), meta}, nil
	}
}

// describe puts what people should know of a key into a plan: its tags, what it is for, who uses it.
func (k kmsKey) describe(ctx context.Context, plan *action.Change) error {
	var err error
	if plan.Tags, err = k.tags(ctx); err != nil {
		return err
	}
	aliases, err := k.aliases(ctx)
	if err != nil {
		return err
	}
	grants, more, err := k.grants(ctx)
	if err != nil {
		return err
	}
	if text := aws.ToString(k.meta.Description); text != "" {
		plan.Impact = append(plan.Impact, fmt.Sprintf("the key says that it is for %q", shorten(text)))
	}
	if len(aliases) > 0 {
		plan.Impact = append(plan.Impact, "it is known as "+some(aliases))
	}
	if len(grants) > 0 {
		count := strconv.Itoa(len(grants))
		if more {
			count = "more than " + count
		}
		slices.Sort(grants)
		plan.Impact = append(plan.Impact, count+" grants let others use it: "+some(slices.Compact(grants)))
	}
	return nil
}

func (k kmsKey) tags(ctx context.Context) (map[string]string, error) {
	tags := map[string]string{}
	pages := kms.NewListResourceTagsPaginator(k.api, &kms.ListResourceTagsInput{KeyId: k.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read tags of KMS key %s: %w", *k.id, classify(err))
		}
		for _, tag := range page.Tags {
			tags[aws.ToString(tag.TagKey)] = aws.ToString(tag.TagValue)
		}
	}
	if len(tags) == 0 {
		return nil, nil
	}
	return tags, nil
}

func (k kmsKey) aliases(ctx context.Context) ([]string, error) {
	var names []string
	pages := kms.NewListAliasesPaginator(k.api, &kms.ListAliasesInput{KeyId: k.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list aliases of KMS key %s: %w", *k.id, classify(err))
		}
		for _, alias := range page.Aliases {
			names = append(names, aws.ToString(alias.AliasName))
		}
	}
	return names, nil
}

// grants lists whom the first grants of a key let use it, and says whether there are more: a key of a busy
// service has tens of thousands.
func (k kmsKey) grants(ctx context.Context) (grantees []string, more bool, err error) {
	page, err := k.api.ListGrants(ctx, &kms.ListGrantsInput{KeyId: k.id, Limit: aws.Int32(100)})
	if err != nil {
		return nil, false, fmt.Errorf("list grants of KMS key %s: %w", *k.id, classify(err))
	}
	for _, grant := range page.Grants {
		grantees = append(grantees, shorten(aws.ToString(grant.GranteePrincipal)))
	}
	return grantees, page.Truncated, nil
}

// readsKMS are the permissions by which a plan reads a key.
func readsKMS(more ...string) []action.Permission {
	return slices.Concat(
		permit(action.PlanPhase, allKMSKeys, nil, append([]string{"kms:DescribeKey", "kms:ListResourceTags", "kms:ListGrants"}, more...)...),
		permit(action.PlanPhase, "*", nil, "kms:ListAliases"),
	)
}

// usability is whether a key can be used.
type usability struct {
	State string `json:"state"` // Enabled, Disabled, PendingDeletion and others that KMS has
	// Deletion is when a key is deleted that waits for it. Undo orders the deletion anew, so it may come later.
	Deletion string `json:"deletion,omitempty"`
}

// undated is a state without the moment of the deletion.
func undated(u usability) usability { return usability{State: u.State} }

func (c *Cloud) readUsability(ctx context.Context, in action.Input) (usability, error) {
	key, err := c.kmsKey(ctx, in)
	if err != nil {
		return usability{}, err
	}
	return usability{State: string(key.meta.KeyState), Deletion: moment(key.meta.DeletionDate)}, nil
}

// writeUsability brings a key to a state, from whichever it is in.
func (c *Cloud) writeUsability(ctx context.Context, in action.Input, from, to usability) (usability, error) {
	key, err := c.kmsKey(ctx, in)
	if err != nil {
		return usability{}, err
	}
	const pending, enabled, disabled = string(types.KeyStatePendingDeletion), string(types.KeyStateEnabled), string(types.KeyStateDisabled)
	if to.State == pending {
		_, err = key.api.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.id, PendingWindowInDays: aws.Int32(daysLeft(to.Deletion, time.Now()))})
		return usability{State: pending, Deletion: to.Deletion}, key.failed("order the deletion", err)
	}
	if from.State == pending {
		if _, err = key.api.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key.id}); err != nil {
			return usability{}, key.failed("cancel the deletion", err)
		}
		from.State = disabled // so KMS leaves it
	}
	switch {
	case from.State == to.State:
	case to.State == enabled:
		_, err = key.api.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key.id})
	case to.State == disabled:
		_, err = key.api.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.id})
	default:
		err = fault.New(fault.Invalid, "no call of KMS brings a key to the state %s", to.State)
	}
	return to, key.failed("make it "+to.State, err)
}

func (k kmsKey) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("KMS key %s: %s: %w", *k.id, what, classify(err))
}

// daysLeft is how many days a deletion may wait: what is left of those it had, within KMS's bounds.
func daysLeft(deletion string, now time.Time) int32 {
	const least, most = 7, 30
	at, err := time.Parse(time.RFC3339, deletion)
	if err != nil {
		return most
	}
	return int32(min(max(int64(at.Sub(now).Hours()/24), least), most))
}
