package aws_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// staff makes a user with a tag, a path and a key, and gives the key's id.
func staff(t *testing.T, api *iam.Client, name string) string {
	t.Helper()
	must[*iam.CreateUserOutput](t)(api.CreateUser(t.Context(), &iam.CreateUserInput{
		UserName: sdk.String(name), Path: sdk.String("/staff/"),
		Tags: []types.Tag{{Key: sdk.String("team"), Value: sdk.String("payments")}},
	}))
	made := must[*iam.CreateAccessKeyOutput](t)(api.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: sdk.String(name)}))
	return *made.AccessKey.AccessKeyId
}

// keys tells the status of a user's keys.
func keys(t *testing.T, api *iam.Client, name string) string {
	t.Helper()
	got := must[*iam.ListAccessKeysOutput](t)(api.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: sdk.String(name)}))
	var list []string
	for _, key := range got.AccessKeyMetadata {
		list = append(list, *key.AccessKeyId+" "+string(key.Status))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// denials tells every inline policy of a user.
func denials(t *testing.T, api *iam.Client, name string) string {
	t.Helper()
	listed := must[*iam.ListUserPoliciesOutput](t)(api.ListUserPolicies(t.Context(), &iam.ListUserPoliciesInput{UserName: sdk.String(name)}))
	var all strings.Builder
	for _, policy := range listed.PolicyNames {
		got := must[*iam.GetUserPolicyOutput](t)(api.GetUserPolicy(t.Context(), &iam.GetUserPolicyInput{
			UserName: sdk.String(name), PolicyName: sdk.String(policy),
		}))
		fmt.Fprintln(&all, policy, must[string](t)(url.PathUnescape(*got.PolicyDocument)))
	}
	return all.String()
}

func TestDescribeAccessKey(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	id := staff(t, api, "ada")
	missing := l.input(action.Params{"access_key_id": "AKIAIOSFODNN7EXAMPLE"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.iam.describe_access_key"), Input: l.input(action.Params{"access_key_id": id}), Missing: &missing,
		State: func(t *testing.T) string { t.Helper(); return keys(t, api, "ada") }, Door: l.door,
	})
	got := l.plan(t, "aws.iam.describe_access_key", action.Params{"access_key_id": id}).Outputs
	if got["user"] != "ada" || got["status"] != "Active" || got["is_root"] != false {
		t.Errorf("got %v", got)
	}
	l.refuses(t, "aws.iam.describe_access_key", action.Params{"access_key_id": "ASIAIOSFODNN7EXAMPLE"}, fault.Invalid)
	l.refuses(t, "aws.iam.describe_access_key", action.Params{"access_key_id": "no key\n"}, fault.Invalid)
}

func TestDisableAccessKey(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	id := staff(t, api, "ada")
	const name = "aws.iam.disable_access_key"
	missing := l.input(action.Params{"access_key_id": "AKIAIOSFODNN7EXAMPLE"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"access_key_id": id}), Missing: &missing,
		State: func(t *testing.T) string { t.Helper(); return keys(t, api, "ada") }, Door: l.door,
		// A key is active or not: who changes it makes the plan's change, or undoes it.
	})

	change := l.plan(t, name, action.Params{"access_key_id": id})
	if diff := cmp.Diff(map[string]string{"team": "payments"}, change.Tags); diff != "" {
		t.Errorf("tags are the owner's (-want +got):\n%s", diff)
	}
	want := entity.Entity{
		Kind: entity.User, ID: "ada", Part: entity.Target, Provider: "aws", Account: l.account,
		ARN: "arn:aws:iam::" + l.account + ":user/staff/ada",
	}
	if diff := cmp.Diff([]entity.Entity{want}, change.Touches); diff != "" {
		t.Errorf("touches the owner (-want +got):\n%s", diff)
	}
	other := staff(t, api, "bob")
	l.population(t, name, 2)
	l.refuses(t, name, action.Params{"access_key_id": other, "user": "ada"}, fault.NotFound)
	l.refuses(t, name, action.Params{"access_key_id": id, "user": "ada/../bob"}, fault.Invalid)
}

func TestDenyUser(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	staff(t, api, "ada")
	const name = "aws.iam.deny_user"
	put := func(t *testing.T, policy, document string) {
		t.Helper()
		must[*iam.PutUserPolicyOutput](t)(api.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{
			UserName: sdk.String("ada"), PolicyName: sdk.String(policy), PolicyDocument: sdk.String(document),
		}))
	}
	put(t, "work", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
	missing := l.input(action.Params{"user": "nobody"})
	changes := 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"user": "ada"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return denials(t, api, "ada") },
		Change: func(t *testing.T) { // from here on, undo restores a former document of that name
			t.Helper()
			changes++
			put(t, "riposte-quarantine", fmt.Sprintf(
				`{"Version":"2012-10-17","Statement":[{"Sid":"Theirs%d","Effect":"Deny","Action":"s3:*","Resource":"*"}]}`, changes))
		},
	})
	change := l.plan(t, name, action.Params{"user": "ada"})
	if change.Tags["team"] != "payments" || change.Target.ARN != "arn:aws:iam::"+l.account+":user/staff/ada" {
		t.Errorf("got tags %v and ARN %s", change.Tags, change.Target.ARN)
	}
	if strings.Contains(string(change.After), "Condition") {
		t.Errorf("the denial has a condition, which long-lived keys may not meet: %s", change.After)
	}
	l.population(t, name, 1)
	l.refuses(t, name, action.Params{"user": "ada\x00"}, fault.Invalid)
}

// sessions tells the inline policies of the role web.
func sessions(t *testing.T, api *iam.Client) string {
	t.Helper()
	const name = "web"
	listed := must[*iam.ListRolePoliciesOutput](t)(api.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: sdk.String(name)}))
	var all strings.Builder
	for _, policy := range listed.PolicyNames {
		got := must[*iam.GetRolePolicyOutput](t)(api.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{
			RoleName: sdk.String(name), PolicyName: sdk.String(policy),
		}))
		fmt.Fprintln(&all, policy, must[string](t)(url.PathUnescape(*got.PolicyDocument)))
	}
	return all.String()
}

func role(t *testing.T, api *iam.Client, name, path string) {
	t.Helper()
	must[*iam.CreateRoleOutput](t)(api.CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: sdk.String(name), Path: sdk.String(path),
		AssumeRolePolicyDocument: sdk.String(`{"Version":"2012-10-17","Statement":[]}`),
		Tags:                     []types.Tag{{Key: sdk.String("team"), Value: sdk.String("web")}},
	}))
}

func TestRevokeRoleSessions(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	role(t, api, "web", "/app/")
	const name = "aws.iam.revoke_role_sessions"
	missing := l.input(action.Params{"role": "nobody"})
	changes := 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"role": "web"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return sessions(t, api) },
		Change: func(t *testing.T) {
			t.Helper()
			changes++
			must[*iam.PutRolePolicyOutput](t)(api.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
				RoleName: sdk.String("web"), PolicyName: sdk.String("riposte-revoke-sessions"), PolicyDocument: sdk.String(fmt.Sprintf(
					`{"Version":"2012-10-17","Statement":[{"Sid":"Theirs%d","Effect":"Deny","Action":"s3:*","Resource":"*"}]}`, changes)),
			}))
		},
	})
	change := l.plan(t, name, action.Params{"role": "web"})
	if change.Tags["team"] != "web" || change.Target.ARN != "arn:aws:iam::"+l.account+":role/app/web" {
		t.Errorf("got tags %v and ARN %s", change.Tags, change.Target.ARN)
	}
	l.population(t, name, 1)
	l.refuses(t, name, action.Params{"role": "web*"}, fault.Invalid)
}

// A later run isn't content with the moment of an earlier one, and its undo gives the earlier one back.
func TestRevokeRoleSessionsAgainMovesTheMoment(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	role(t, api, "web", "/")
	do := l.action(t, "aws.iam.revoke_role_sessions")
	started := time.Now().Add(-2 * time.Second)
	first := l.plan(t, "aws.iam.revoke_role_sessions", action.Params{"role": "web"})
	must[action.Result](t)(do.Apply(t.Context(), first))
	earlier := sessions(t, api)
	_, rest, _ := strings.Cut(earlier, `"aws:TokenIssueTime":"`)
	text, _, _ := strings.Cut(rest, `"`)
	if issued := must[time.Time](t)(time.Parse(time.RFC3339, text)); issued.Before(started) || issued.After(time.Now().Add(3*time.Second)) {
		t.Errorf("sessions issued before %v are revoked, it is %v", issued, time.Now())
	}

	later := l.input(action.Params{"role": "web"})
	later.Token = "another"
	second := must[action.Change](t)(do.Plan(t.Context(), later))
	if second.Noop {
		t.Fatal("a later step takes an earlier one's moment for its own")
	}
	result := must[action.Result](t)(do.Apply(t.Context(), second))
	if !result.Changed || sessions(t, api) == earlier {
		t.Error("the later step left the earlier one's policy")
	}
	undoer, ok := do.(action.Undoer)
	if !ok {
		t.Fatal("it can't be undone")
	}
	must[action.Result](t)(undoer.Undo(t.Context(), action.Applied{Change: second, Result: result}, false))
	if diff := cmp.Diff(earlier, sessions(t, api)); diff != "" {
		t.Errorf("undo of the later step (-want +got):\n%s", diff)
	}
}

// Who sets the moment back, so that stolen sessions work again, is found by Verify.
func TestRevokeRoleSessionsFindsAChangedMoment(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	role(t, api, "web", "/")
	do := l.action(t, "aws.iam.revoke_role_sessions")
	change := l.plan(t, "aws.iam.revoke_role_sessions", action.Params{"role": "web"})
	done := action.Applied{Change: change, Result: must[action.Result](t)(do.Apply(t.Context(), change))}
	_, document, _ := strings.Cut(sessions(t, api), " ")
	head, rest, _ := strings.Cut(document, `"aws:TokenIssueTime":"`)
	_, tail, _ := strings.Cut(rest, `"`)
	must[*iam.PutRolePolicyOutput](t)(api.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
		RoleName: sdk.String("web"), PolicyName: sdk.String("riposte-revoke-sessions"),
		PolicyDocument: sdk.String(head + `"aws:TokenIssueTime":"1970-01-01T00:00:00Z"` + tail),
	}))
	verifier, ok := do.(action.Verifier)
	if !ok {
		t.Fatal("it can't be verified")
	}
	if err := verifier.Verify(t.Context(), done); err == nil {
		t.Error("a revocation whose moment was set back is taken for whole")
	}
}

func TestRevokeRoleSessionsRefusesRolesThatAWSKeeps(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	role(t, api, "AWSServiceRoleForSupport", "/aws-service-role/support.amazonaws.com/")
	role(t, api, "AWSReservedSSO_Admin", "/aws-reserved/sso.amazonaws.com/")
	for _, name := range []string{"AWSServiceRoleForSupport", "AWSReservedSSO_Admin"} {
		l.refuses(t, "aws.iam.revoke_role_sessions", action.Params{"role": name}, fault.Invalid)
	}
}

// The emulator has no keys of root users, and tells of every account's keys: what AWS answers there is
// played by a server of our own.
func TestKeysThatAreNoUsersOfTheAccount(t *testing.T) {
	endpoint, answer := scripted(t, "Action=GetAccessKeyLastUsed")
	l := labAt(t, endpoint, awstest.Account())
	given := action.Params{"access_key_id": "AKIAIOSFODNN7EXAMPLE"}

	answer(http.StatusOK, `<GetAccessKeyLastUsedResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetAccessKeyLastUsedResult>
		<UserName>&lt;root_account&gt;</UserName><AccessKeyLastUsed><ServiceName>s3</ServiceName><Region>eu-central-1</Region>
		<LastUsedDate>2026-01-02T03:04:05Z</LastUsedDate></AccessKeyLastUsed>
		</GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>`)
	got := l.plan(t, "aws.iam.describe_access_key", given).Outputs
	if got["is_root"] != true || got["user"] != "root" || got["last_used"] != "2026-01-02T03:04:05Z" || got["last_used_service"] != "s3" {
		t.Errorf("the root user's key: got %v", got)
	}
	l.refuses(t, "aws.iam.disable_access_key", given, fault.Invalid)

	answer(http.StatusForbidden, `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>
		<Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>`)
	l.refuses(t, "aws.iam.describe_access_key", given, fault.Denied)
}
