package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// cancelKeyDeletion makes aws.kms.cancel_key_deletion.
func cancelKeyDeletion(c *Cloud) *placed[usability] {
	return &placed[usability]{cloud: c, Setting: action.Setting[usability]{
		About: action.Spec{
			Name:    "aws.kms.cancel_key_deletion",
			Summary: "Keep a KMS key that is about to be deleted",
			Doc: "Cancels the deletion that somebody ordered, before it takes away for good everything that the key encrypts. KMS leaves " +
				"such a key disabled and doesn't tell whether it was enabled before: it is enabled as well, so that what uses it " +
				"works again, unless `enable` is false. Where the key isn't about to be deleted, nothing is changed.\n\n" +
				"Keys of other accounts and those that AWS manages are refused, and so are aliases, for whoever can move one chooses " +
				"the key. The key's policy isn't changed: who ordered the deletion can order it again.\n\n" +
				"**Undo orders the deletion again**, for what is left of its time but at least 7 days: undo restores what the plan saw, " +
				"whatever that was. It is seldom what you want.",
			Effect: action.Contain,
			Params: []action.Param{kmsKeyParam(), {
				Name: "enable", Type: action.Bool, Default: true, Doc: "whether the key is enabled afterwards",
			}},
			Permissions: slices.Concat(readsKMS(),
				permit(action.ApplyPhase, allKMSKeys, nil, "kms:CancelKeyDeletion", "kms:EnableKey"),
				permit(action.UndoPhase, allKMSKeys, nil, "kms:ScheduleKeyDeletion")),
		},
		Target: c.kmsTarget,
		Read:   c.readUsability,
		Want: func(in action.Input, now usability) (usability, error) {
			if now.State != string(types.KeyStatePendingDeletion) {
				return now, nil
			}
			if in.Params.Bool("enable") {
				return usability{State: string(types.KeyStateEnabled)}, nil
			}
			return usability{State: string(types.KeyStateDisabled)}, nil
		},
		Write: c.writeUsability,
		Calls: func(in action.Input, _, to usability) []string {
			calls := []string{"kms:CancelKeyDeletion " + in.Params.String("key")}
			if to.State == string(types.KeyStateEnabled) {
				calls = append(calls, "kms:EnableKey "+in.Params.String("key"))
			}
			return calls
		},
		Summary: func(in action.Input, from, to usability) string {
			if from.Deletion == "" {
				return fmt.Sprintf("KMS key %s is not about to be deleted", in.Params.String("key"))
			}
			return fmt.Sprintf("KMS key %s isn't deleted %s and is %s", in.Params.String("key"), from.Deletion, to.State)
		},
		Facts: func(ctx context.Context, in action.Input, now usability, plan *action.Change) error {
			key, err := c.kmsKey(ctx, in)
			if err != nil {
				return err
			}
			if now.Deletion != "" {
				plan.Impact = []string{"unless it is canceled, the key and all that it encrypts is lost " + now.Deletion}
			}
			return key.describe(ctx, plan)
		},
		Meaning: undated,
		Between: func(from, now, to usability) bool { // canceled, not yet enabled
			return from.State == string(types.KeyStatePendingDeletion) && now.State == string(types.KeyStateDisabled) &&
				to.State == string(types.KeyStateEnabled)
		},
	}}
}

// disableKMSKey makes aws.kms.disable_key.
func disableKMSKey(c *Cloud) *among[usability] {
	a := &among[usability]{placed: placed[usability]{cloud: c}, census: newCensus(c.countKMSKeys)}
	a.Setting = action.Setting[usability]{
		About: action.Spec{
			Name:    "aws.kms.disable_key",
			Summary: "Make a KMS key unusable",
			Doc: "Disables the key: nothing is encrypted or decrypted with it, by anybody, until it is enabled again. It keeps from an " +
				"intruder what the key encrypts, and from everybody else too: databases, volumes and secrets under the key stop " +
				"working, some at once, some when they are opened next. Data keys that somebody holds already go on working.\n\n" +
				"Keys of other accounts and those that AWS manages are refused, and so are aliases. A key that is about to be " +
				"deleted is unusable already. Undo enables the key.",
			Effect: action.Contain,
			Params: []action.Param{kmsKeyParam()},
			Permissions: slices.Concat(readsKMS(), permit(action.PlanPhase, "*", nil, "kms:ListKeys"),
				permit(action.ApplyPhase, allKMSKeys, nil, "kms:DisableKey"), permit(action.UndoPhase, allKMSKeys, nil, "kms:EnableKey")),
		},
		Target: c.kmsTarget,
		Read:   c.readUsability,
		Want: func(_ action.Input, now usability) (usability, error) {
			if now.State == string(types.KeyStateEnabled) {
				return usability{State: string(types.KeyStateDisabled)}, nil
			}
			return now, nil
		},
		Write:   c.writeUsability,
		Meaning: undated,
		Calls: func(in action.Input, _, _ usability) []string {
			return []string{"kms:DisableKey " + in.Params.String("key")}
		},
		Summary: func(in action.Input, from, to usability) string {
			return fmt.Sprintf("KMS key %s: %s → %s", in.Params.String("key"), from.State, to.State)
		},
		Facts: func(ctx context.Context, in action.Input, now usability, plan *action.Change) error {
			key, err := c.kmsKey(ctx, in)
			if err != nil {
				return err
			}
			if now.State == string(types.KeyStateEnabled) {
				plan.Impact = []string{"what is encrypted under the key can't be read by anybody until undo: databases, volumes, objects, secrets"}
			}
			return key.describe(ctx, plan)
		},
	}
	return a
}

// countKMSKeys counts the keys of an account in a region, those that AWS manages included.
func (c *Cloud) countKMSKeys(ctx context.Context, at action.Place) (int, error) {
	api, err := client(c, at, func(made aws.Config) *kms.Client { return kms.NewFromConfig(made) })
	if err != nil {
		return 0, err
	}
	count := 0
	pages := kms.NewListKeysPaginator(api, &kms.ListKeysInput{Limit: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("list KMS keys: %w", classify(err))
		}
		count += len(page.Keys)
	}
	return count, nil
}

// rotation is whether KMS gives a key new material by itself.
type rotation struct {
	Enabled bool `json:"enabled"`
}

// enableKeyRotation makes aws.kms.enable_rotation.
func enableKeyRotation(c *Cloud) *placed[rotation] {
	return &placed[rotation]{cloud: c, Setting: action.Setting[rotation]{
		About: action.Spec{
			Name:    "aws.kms.enable_rotation",
			Summary: "Let KMS give a key new material regularly",
			Doc: "Turns on automatic rotation, every 365 days if nothing else is said. What was encrypted with former material can still " +
				"be decrypted, so nothing stops working, and material that leaked isn't made worthless either. A key that rotates " +
				"already is left as it is.\n\nOnly symmetric keys whose material KMS made can rotate; others are refused, and so are keys of " +
				"other accounts, those that AWS manages, and aliases. Undo turns rotation off.",
			Effect: action.Contain,
			Params: []action.Param{kmsKeyParam(), {
				Name: "days", Type: action.Int, Default: int64(365), Doc: "days between two rotations, 90 to 2560",
			}},
			Permissions: slices.Concat(readsKMS("kms:GetKeyRotationStatus"),
				permit(action.ApplyPhase, allKMSKeys, nil, "kms:EnableKeyRotation"), permit(action.UndoPhase, allKMSKeys, nil, "kms:DisableKeyRotation")),
		},
		Target: c.kmsTarget,
		Read: func(ctx context.Context, in action.Input) (rotation, error) {
			if days := in.Params.Int("days"); days < 90 || days > 2560 {
				return rotation{}, fault.New(fault.Invalid, "days: %d is not from 90 to 2560", days)
			}
			key, err := c.kmsKey(ctx, in)
			if err != nil {
				return rotation{}, err
			}
			if key.meta.KeySpec != types.KeySpecSymmetricDefault || key.meta.Origin != types.OriginTypeAwsKms {
				return rotation{}, fault.New(fault.Invalid, "KMS key %s can't rotate: it is %s of origin %s", *key.id, key.meta.KeySpec, key.meta.Origin)
			}
			got, err := key.api.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: key.id})
			if err != nil {
				return rotation{}, key.failed("read its rotation", err)
			}
			return rotation{Enabled: got.KeyRotationEnabled}, nil
		},
		Want: func(action.Input, rotation) (rotation, error) { return rotation{Enabled: true}, nil },
		Write: func(ctx context.Context, in action.Input, _, to rotation) (rotation, error) {
			key, err := c.kmsKey(ctx, in)
			if err != nil {
				return rotation{}, err
			}
			if !to.Enabled {
				_, err = key.api.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: key.id})
				return to, key.failed("turn off its rotation", err)
			}
			_, err = key.api.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{
				KeyId: key.id, RotationPeriodInDays: aws.Int32(int32(in.Params.Int("days"))), //nolint:gosec // Read bounds it
			})
			return to, key.failed("turn on its rotation", err)
		},
		Calls: func(in action.Input, _, _ rotation) []string {
			return []string{fmt.Sprintf("kms:EnableKeyRotation %s every %d days", in.Params.String("key"), in.Params.Int("days"))}
		},
		Summary: func(in action.Input, from, _ rotation) string {
			if from.Enabled {
				return fmt.Sprintf("KMS key %s gets new material regularly", in.Params.String("key"))
			}
			return fmt.Sprintf("KMS key %s gets new material every %d days", in.Params.String("key"), in.Params.Int("days"))
		},
		Facts: func(ctx context.Context, in action.Input, _ rotation, plan *action.Change) error {
			key, err := c.kmsKey(ctx, in)
			if err != nil {
				return err
			}
			plan.Impact = []string{"nothing stops working; KMS charges for each of the first two rotations"}
			return key.describe(ctx, plan)
		},
	}}
}
