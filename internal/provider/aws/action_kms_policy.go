package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
)

// keyPolicyName is the name of the only policy that a key can have.
const keyPolicyName = "default"

// removeForeignStatements makes aws.kms.remove_foreign_statements.
func removeForeignStatements(c *Cloud) *placed[resourcePolicy] {
	return &placed[resourcePolicy]{cloud: c, Setting: action.Setting[resourcePolicy]{
		About: action.Spec{
			Name:    "aws.kms.remove_foreign_statements",
			Summary: "Remove strangers from a KMS key's policy",
			Doc: "Takes everybody (`*`) and the principals of other accounts out of the statements of the key's policy that allow " +
				"something. A statement that allows nobody any more goes away whole; the others stay as they are written: those of " +
				"the key's own account, of `keep_accounts` and of Riposte's home account, services, and statements that deny. " +
				"Everybody within a condition on the organization, the caller's account or the like stays too, unless it names " +
				"another account; the plan names what stays.\n\n" +
				"Where nobody would be left who can manage the key, the action refuses, and KMS's own check against that is never " +
				"turned off. Grants are not touched: the plan tells whom they let use the key. Keys of other accounts and those that " +
				"AWS manages are refused, and so are aliases.\n\n" +
				"Undo puts the saved policy back, without principals that were deleted since, for AWS takes no document that names one.",
			Effect: action.Contain,
			Params: []action.Param{kmsKeyParam(), exceptParam()},
			Permissions: slices.Concat(readsKMS("kms:GetKeyPolicy"),
				permit(action.ApplyPhase, allKMSKeys, nil, "kms:PutKeyPolicy"), permit(action.UndoPhase, allKMSKeys, nil, "kms:PutKeyPolicy")),
		},
		Target: c.kmsTarget,
		Read:   c.readKeyPolicy,
		Want: func(in action.Input, now resourcePolicy) (resourcePolicy, error) {
			left, gone, err := c.stripped(in, now)
			switch {
			case err != nil || len(gone) == 0:
				return now, err
			case len(left.Bury().Statements()) == 0:
				return now, fault.WithHint(fault.New(fault.Invalid, "the policy of KMS key %s lets in strangers alone: without them nobody could manage it",
					in.Params.String("key")), "write a policy for the account first")
			}
			return resourcePolicy{Document: left.Text()}, nil
		},
		Write: c.writeKeyPolicy,
		Calls: func(in action.Input, _, _ resourcePolicy) []string {
			return []string{"kms:PutKeyPolicy " + in.Params.String("key")}
		},
		Summary: func(in action.Input, from, to resourcePolicy) string {
			if string(from.Document) == string(to.Document) {
				return fmt.Sprintf("The policy of KMS key %s lets in no strangers", in.Params.String("key"))
			}
			return fmt.Sprintf("The policy of KMS key %s lets in strangers no more", in.Params.String("key"))
		},
		Facts: func(ctx context.Context, in action.Input, now resourcePolicy, plan *action.Change) error {
			key, err := c.kmsKey(ctx, in)
			if err != nil {
				return err
			}
			who, err := c.strangers(in)
			if err != nil {
				return err
			}
			_, gone, err := c.stripped(in, now)
			if err != nil {
				return err
			}
			document, err := now.parsed()
			if err != nil {
				return err
			}
			plan.Impact = who.evicted(document, gone)
			return key.describe(ctx, plan)
		},
		Meaning: meantPolicy,
	}}
}

// stripped gives a policy without strangers, and who is gone.
func (c *Cloud) stripped(in action.Input, now resourcePolicy) (policydoc.Document, []policydoc.Stripped, error) {
	who, err := c.strangers(in)
	if err != nil {
		return policydoc.Document{}, nil, err
	}
	document, err := now.parsed()
	if err != nil {
		return policydoc.Document{}, nil, err
	}
	left, gone := document.Strip(who.unwanted)
	return left, gone, nil
}

func (c *Cloud) readKeyPolicy(ctx context.Context, in action.Input) (resourcePolicy, error) {
	key, err := c.kmsKey(ctx, in)
	if err != nil {
		return resourcePolicy{}, err
	}
	got, err := key.api.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.id, PolicyName: aws.String(keyPolicyName)})
	if err != nil {
		return resourcePolicy{}, key.failed("read its policy", err)
	}
	text := json.RawMessage(aws.ToString(got.Policy))
	if !json.Valid(text) {
		return resourcePolicy{}, fault.New(fault.Internal, "policy of KMS key %s: KMS returned no JSON", *key.id)
	}
	return resourcePolicy{Document: text}, nil
}

func (c *Cloud) writeKeyPolicy(ctx context.Context, in action.Input, _, to resourcePolicy) (resourcePolicy, error) {
	key, err := c.kmsKey(ctx, in)
	if err != nil {
		return resourcePolicy{}, err
	}
	text, err := writable(to.Document)
	if err != nil {
		return resourcePolicy{}, err
	}
	_, err = key.api.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.id, PolicyName: aws.String(keyPolicyName), Policy: aws.String(text)})
	return to, key.failed("write its policy", err)
}
