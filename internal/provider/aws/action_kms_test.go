package aws_test

import (
	"fmt"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// encryptionKey makes a KMS key with a tag and the alias orders.
func encryptionKey(t *testing.T, api *kms.Client) string {
	t.Helper()
	made := must[*kms.CreateKeyOutput](t)(api.CreateKey(t.Context(), &kms.CreateKeyInput{
		Description: sdk.String("orders"), Tags: []types.Tag{{TagKey: sdk.String("team"), TagValue: sdk.String("shop")}},
	}))
	id := *made.KeyMetadata.KeyId
	must[*kms.CreateAliasOutput](t)(api.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: sdk.String("alias/orders"), TargetKeyId: sdk.String(id)}))
	return id
}

func keyState(t *testing.T, api *kms.Client, id string) string {
	t.Helper()
	got := must[*kms.DescribeKeyOutput](t)(api.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: sdk.String(id)}))
	return string(got.KeyMetadata.KeyState)
}

const noKey = "00000000-1111-2222-3333-444444444444"

func TestCancelKeyDeletion(t *testing.T) {
	for _, enable := range []bool{true, false} {
		t.Run(fmt.Sprintf("enable %t", enable), func(t *testing.T) {
			l := newLab(t)
			api := kms.NewFromConfig(l.direct)
			id := encryptionKey(t, api)
			must[*kms.ScheduleKeyDeletionOutput](t)(api.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{
				KeyId: sdk.String(id), PendingWindowInDays: sdk.Int32(20),
			}))
			const name = "aws.kms.cancel_key_deletion"
			missing := l.input(action.Params{"key": noKey, "enable": enable})
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, name), Input: l.input(action.Params{"key": id, "enable": enable}), Missing: &missing, Door: l.door,
				State: func(t *testing.T) string { t.Helper(); return keyState(t, api, id) },
				// Who cancels the deletion makes the plan's change.
			})
			tells(t, l.plan(t, name, action.Params{"key": id, "enable": enable}), "all that it encrypts is lost 20", `for "orders"`, "alias/orders")
		})
	}
}

// Undo doesn't give the deletion less time than was left, but for the least that KMS takes, nor more.
func TestUndoOfACanceledDeletionKeepsItsTime(t *testing.T) {
	for planned, want := range map[int32]string{20: "19 20", 7: "7"} {
		l := newLab(t)
		api := kms.NewFromConfig(l.direct)
		id := encryptionKey(t, api)
		must[*kms.ScheduleKeyDeletionOutput](t)(api.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{
			KeyId: sdk.String(id), PendingWindowInDays: sdk.Int32(planned),
		}))
		do := l.action(t, "aws.kms.cancel_key_deletion")
		change := l.plan(t, "aws.kms.cancel_key_deletion", action.Params{"key": id, "enable": true})
		result := must[action.Result](t)(do.Apply(t.Context(), change))
		undoer, _ := do.(action.Undoer)
		l.door.Seen()
		must[action.Result](t)(undoer.Undo(t.Context(), action.Applied{Change: change, Result: result}, false))
		found := false
		for _, asked := range l.door.Seen() {
			for days := range strings.FieldsSeq(want) {
				found = found || strings.Contains(asked.Body, `"PendingWindowInDays":`+days)
			}
		}
		if !found {
			t.Errorf("a deletion of %d days was not ordered again for %s days", planned, want)
		}
	}
}

func TestDisableKMSKey(t *testing.T) {
	l := newLab(t)
	api := kms.NewFromConfig(l.direct)
	id := encryptionKey(t, api)
	must[*kms.CreateGrantOutput](t)(api.CreateGrant(t.Context(), &kms.CreateGrantInput{
		KeyId: sdk.String(id), GranteePrincipal: sdk.String("arn:aws:iam::" + l.account + ":role/shop"), Operations: []types.GrantOperation{types.GrantOperationDecrypt},
	}))
	const name = "aws.kms.disable_key"
	missing := l.input(action.Params{"key": noKey})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"key": id}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return keyState(t, api, id) },
		// A key is enabled or not: who changes that makes the plan's change, or undoes it.
	})
	change := l.plan(t, name, action.Params{"key": "arn:aws:kms:eu-central-1:" + l.account + ":key/" + id})
	tells(t, change, "role/shop", "can't be read by anybody")
	if change.Tags["team"] != "shop" || change.Target.ID != id {
		t.Errorf("got tags %v and target %s", change.Tags, change.Target.ID)
	}
	for _, key := range []string{"alias/orders", "arn:aws:kms:eu-central-1:999999999999:key/" + id, "arn:aws:kms:eu-central-1:" + l.account + ":alias/orders", "x"} {
		l.refuses(t, name, action.Params{"key": key}, fault.Invalid)
	}
	l.population(t, name, 1)
}

func TestEnableKeyRotation(t *testing.T) {
	l := newLab(t)
	api := kms.NewFromConfig(l.direct)
	id := encryptionKey(t, api)
	const name = "aws.kms.enable_rotation"
	missing := l.input(action.Params{"key": noKey, "days": int64(180)})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"key": id, "days": int64(180)}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*kms.GetKeyRotationStatusOutput](t)(api.GetKeyRotationStatus(t.Context(), &kms.GetKeyRotationStatusInput{KeyId: sdk.String(id)}))
			return fmt.Sprint(got.KeyRotationEnabled, sdk.ToInt32(got.RotationPeriodInDays))
		},
	})
	signs := must[*kms.CreateKeyOutput](t)(api.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeSignVerify}))
	l.refuses(t, name, action.Params{"key": *signs.KeyMetadata.KeyId, "days": int64(180)}, fault.Invalid)
	l.refuses(t, name, action.Params{"key": id, "days": int64(1)}, fault.Invalid)
}

func TestRemoveForeignStatements(t *testing.T) {
	l := newLab(t)
	api := kms.NewFromConfig(l.direct)
	id := encryptionKey(t, api)
	allow := func(sid, principal, more string) string {
		return `{"Sid":"` + sid + `","Effect":"Allow","Principal":` + principal + `,"Action":"kms:*","Resource":"*"` + more + `}`
	}
	own := allow("Own", `{"AWS":"arn:aws:iam::`+l.account+`:root"}`, "")
	caller := allow("Caller", `{"AWS":"*"}`, `,"Condition":{"StringEquals":{"kms:CallerAccount":"`+l.account+`"}}`)
	put := func(t *testing.T, document string) {
		t.Helper()
		must[*kms.PutKeyPolicyOutput](t)(api.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: sdk.String(id), PolicyName: sdk.String("default"), Policy: sdk.String(document)}))
	}
	state := func(t *testing.T) string {
		t.Helper()
		return *must[*kms.GetKeyPolicyOutput](t)(api.GetKeyPolicy(t.Context(), &kms.GetKeyPolicyInput{KeyId: sdk.String(id), PolicyName: sdk.String("default")})).Policy
	}
	put(t, policy(own, caller, allow("Eve", `{"AWS":"999999999999"}`, "")))
	const name = "aws.kms.remove_foreign_statements"
	missing, changes := l.input(action.Params{"key": noKey}), 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"key": id}), Missing: &missing, Door: l.door, State: state,
		Change: func(t *testing.T) {
			t.Helper()
			changes++
			put(t, policy(own, caller, allow(fmt.Sprintf("Eve%d", changes), `{"AWS":"999999999999"}`, "")))
		},
	})
	tells(t, l.plan(t, name, action.Params{"key": id}), "999999999999 (statement Eve", "within the conditions of statement Caller")
	must[action.Result](t)(l.action(t, name).Apply(t.Context(), l.plan(t, name, action.Params{"key": id})))
	if got := state(t); !policydoc.Same([]byte(got), []byte(policy(own, caller))) {
		t.Errorf("got %s", got)
	}
	put(t, policy(allow("Eve", `{"AWS":"999999999999"}`, ""))) // without it nobody could manage the key
	l.refuses(t, name, action.Params{"key": id}, fault.Invalid)
}
