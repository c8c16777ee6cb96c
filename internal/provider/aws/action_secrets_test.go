package aws_test

import (
	"fmt"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// secretly makes a secret and gives its ARN.
func secretly(t *testing.T, api *secretsmanager.Client, name string) string {
	t.Helper()
	made := must[*secretsmanager.CreateSecretOutput](t)(api.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: sdk.String(name), SecretString: sdk.String("hunter2"), Tags: []types.Tag{{Key: sdk.String("team"), Value: sdk.String("shop")}},
	}))
	return *made.ARN
}

// stages tells which versions a secret has, and as what.
func stages(t *testing.T, api *secretsmanager.Client, name string) map[string][]string {
	t.Helper()
	got := must[*secretsmanager.DescribeSecretOutput](t)(api.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: sdk.String(name)}))
	return got.VersionIdsToStages
}

// The emulator rotates without a function: the new version is the current one at once.
func TestRotateSecret(t *testing.T) {
	l := newLab(t)
	api := secretsmanager.NewFromConfig(l.direct)
	arn := secretly(t, api, "shop/db")
	const name = "aws.secretsmanager.rotate_secret"
	l.refuses(t, name, action.Params{"secret": "shop/db"}, fault.Invalid) // nothing could make a value
	rotate := func(t *testing.T) {
		t.Helper()
		must[*secretsmanager.RotateSecretOutput](t)(api.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
			SecretId: sdk.String("shop/db"), RotationRules: &types.RotationRulesType{AutomaticallyAfterDays: sdk.Int64(30)},
		}))
	}
	rotate(t)
	missing := l.input(action.Params{"secret": "shop/none"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"secret": "shop/db"}), Missing: &missing, Door: l.door, Change: rotate,
		State: func(t *testing.T) string { t.Helper(); return dump(t, stages(t, api, "shop/db")) },
	})
	later := l.input(action.Params{"secret": arn})
	later.Token = "short"
	change := must[action.Change](t)(l.action(t, name).Plan(t.Context(), later))
	tells(t, change, "can't be put back")
	if change.Tags["team"] != "shop" || strings.Contains(fmt.Sprint(change), "hunter2") {
		t.Errorf("got %v", change)
	}
	do := l.action(t, name)
	done := action.Applied{Change: change, Result: must[action.Result](t)(do.Apply(t.Context(), change))}
	awaiter, ok := do.(action.Awaiter)
	if !ok {
		t.Fatal("nothing waits for the rotation function")
	}
	if _, over, err := awaiter.Await(t.Context(), done); err != nil || !over {
		t.Errorf("the rotation is over, got %t, %v", over, err)
	}
	rotate(t) // as if the function weren't done: another version is the current one
	if _, over, err := awaiter.Await(t.Context(), done); err != nil || over {
		t.Errorf("the rotation isn't over, got %t, %v", over, err)
	}
	for _, secret := range []string{"arn:aws:secretsmanager:eu-central-1:999999999999:secret:theirs-abcdef", "no secret", "a\nb"} {
		l.refuses(t, name, action.Params{"secret": secret}, fault.Invalid)
	}
}

func TestDeleteSecretPolicy(t *testing.T) {
	l := newLab(t)
	api := secretsmanager.NewFromConfig(l.direct)
	secretly(t, api, "shop/db")
	put := func(t *testing.T, account string) {
		t.Helper()
		must[*secretsmanager.PutResourcePolicyOutput](t)(api.PutResourcePolicy(t.Context(), &secretsmanager.PutResourcePolicyInput{
			SecretId: sdk.String("shop/db"), ResourcePolicy: sdk.String(policy(
				`{"Sid":"Shared","Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"secretsmanager:GetSecretValue","Resource":"*"}`,
				`{"Sid":"Never","Effect":"Deny","Principal":"*","Action":"secretsmanager:DeleteSecret","Resource":"*"}`)),
		}))
	}
	put(t, "999999999999")
	const name = "aws.secretsmanager.delete_resource_policy"
	missing, changes := l.input(action.Params{"secret": "shop/none"}), 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"secret": "shop/db"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*secretsmanager.GetResourcePolicyOutput](t)(api.GetResourcePolicy(t.Context(), &secretsmanager.GetResourcePolicyInput{SecretId: sdk.String("shop/db")}))
			return sdk.ToString(got.ResourcePolicy)
		},
		Change: func(t *testing.T) { t.Helper(); changes++; put(t, fmt.Sprintf("%012d", changes)) },
	})
	tells(t, l.plan(t, name, action.Params{"secret": "shop/db"}), "statement Never", "isn't denied any more", "lose what the policy allows")
}
