package aws_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

const (
	permissionSets = "arn:aws:sso:::permissionSet/ssoins-0123456789abcdef/ps-"
	admins         = permissionSets + "0123456789abcdef"
	somebody       = "906769aabb-66f8b2aa-1234-4321-8888-0123456789ab"
	member         = "444455556666"
)

// The emulator's assignments are made and deleted at once, and always: this is tested against a small server of
// our own that takes its time, as AWS does.
func TestRevokeAssignment(t *testing.T) {
	center := awstest.NewIdentityCenter(t, map[string]string{admins: "Admins", permissionSets + "00000000000000ee": "Break-Glass"})
	for _, kind := range []string{"USER", "GROUP"} {
		center.Assign(awstest.Assignment{PermissionSetArn: admins, PrincipalType: kind, PrincipalId: somebody, AccountId: member})
	}
	l := labAt(t, center.URL, awstest.Home)
	const name = "aws.sso.revoke_assignment"
	input := func(set string) action.Input {
		in := l.input(action.Params{"permission_set": set, "principal_type": "USER", "principal_id": somebody})
		in.Account = member
		return in
	}
	missing := input(permissionSets + "ffffffffffffffff")
	state := func(t *testing.T) string {
		t.Helper()
		var list []string
		for _, a := range center.Assigned() {
			list = append(list, fmt.Sprint(a))
		}
		return sortedLines(list)
	}
	do := l.action(t, name)
	providertest.Contract(t, providertest.Case{
		Action: do, Input: input(admins), Missing: &missing, Door: l.door, State: state,
		// It is assigned or not: who changes that makes the plan's change, or undoes it.
	})
	change := must[action.Change](t)(do.Plan(t.Context(), input(admins)))
	tells(t, change, "Admins", "PT8H", "a group of the user")
	if change.Account != member || change.Target.Account != member {
		t.Errorf("limits and freezes of %s don't see it: %v", member, change.Place)
	}

	center.Behave(2, "")
	must[action.Result](t)(do.Apply(t.Context(), change))
	if len(center.Assigned()) != 1 {
		t.Error("Apply returned before the assignment was deleted")
	}
	center.Assign(awstest.Assignment{PermissionSetArn: admins, PrincipalType: "USER", PrincipalId: somebody, AccountId: member})
	center.Behave(1, "the role is in use")
	if _, err := do.Apply(t.Context(), change); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "the role is in use") {
		t.Errorf("got %v, want an error of kind conflict that says why", err)
	}

	if _, err := do.Plan(t.Context(), input(permissionSets+"00000000000000ee")); !fault.Is(err, fault.Denied) {
		t.Errorf("a permission set for emergencies: got %v, want an error of kind denied", err)
	}
	for _, params := range []action.Params{
		{"permission_set": "admins", "principal_type": "USER", "principal_id": somebody},
		{"permission_set": admins, "principal_type": "USER", "principal_id": "*"},
		{"permission_set": admins, "principal_type": "USER", "principal_id": somebody, "account_id": "all"},
		{"permission_set": admins, "principal_type": "USER", "principal_id": somebody, "identity_center_region": "eu-central-1.example.com/#"},
	} {
		l.refuses(t, name, params, fault.Invalid)
	}
}

func TestQuarantineAccount(t *testing.T) {
	l := labAt(t, awstest.Own(t), awstest.Home)
	api := organizations.NewFromConfig(l.direct)
	must[*organizations.CreateOrganizationOutput](t)(api.CreateOrganization(t.Context(), &organizations.CreateOrganizationInput{FeatureSet: types.OrganizationFeatureSetAll}))
	roots := must[*organizations.ListRootsOutput](t)(api.ListRoots(t.Context(), &organizations.ListRootsInput{}))
	must[*organizations.EnablePolicyTypeOutput](t)(api.EnablePolicyType(t.Context(), &organizations.EnablePolicyTypeInput{
		PolicyType: types.PolicyTypeServiceControlPolicy, RootId: roots.Roots[0].Id,
	}))
	made := must[*organizations.CreateAccountOutput](t)(api.CreateAccount(t.Context(), &organizations.CreateAccountInput{
		AccountName: sdk.String("shop"), Email: sdk.String("shop@example.com"),
	}))
	account := *made.CreateAccountStatus.AccountId
	const name = "aws.organizations.quarantine_account"
	do := l.action(t, name)
	input := func(account string) action.Input {
		in := l.input(action.Params{})
		in.Account = account
		return in
	}
	attached := func(t *testing.T) []types.PolicySummary {
		t.Helper()
		got := must[*organizations.ListPoliciesForTargetOutput](t)(api.ListPoliciesForTarget(t.Context(), &organizations.ListPoliciesForTargetInput{
			TargetId: sdk.String(account), Filter: types.PolicyTypeServiceControlPolicy,
		}))
		return got.Policies
	}
	missing := input("999999999999")
	providertest.Contract(t, providertest.Case{
		Action: do, Input: input(account), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string { // the policy itself stays, for the next time
			t.Helper()
			var names []string
			for _, policy := range attached(t) {
				names = append(names, *policy.Name)
			}
			return sortedLines(names)
		},
		// It is attached or not: who changes that makes the plan's change, or undoes it.
	})
	change := must[action.Change](t)(do.Plan(t.Context(), input(account)))
	tells(t, change, `"shop"`, "stops")
	if !strings.Contains(string(change.After), "arn:aws:iam::*:role/riposte-responder") {
		t.Errorf("it shuts out Riposte itself: %s", change.After)
	}
	counter, _ := do.(action.Counter)
	if got, err := counter.Population(t.Context(), action.Place{}); err != nil || got != 2 {
		t.Errorf("got %d accounts, %v", got, err)
	}

	// Somebody empties the policy that Riposte made.
	done := action.Applied{Change: change, Result: must[action.Result](t)(do.Apply(t.Context(), change))}
	ours := slices.IndexFunc(attached(t), func(p types.PolicySummary) bool { return strings.HasPrefix(*p.Name, "riposte-quarantine-") })
	must[*organizations.UpdatePolicyOutput](t)(api.UpdatePolicy(t.Context(), &organizations.UpdatePolicyInput{
		PolicyId: attached(t)[ours].Id, Content: sdk.String(policy(`{"Effect":"Deny","Action":"account:*","Resource":"*"}`)),
	}))
	verifier, _ := do.(action.Verifier)
	if _, held := errors.AsType[*action.NotHeld](verifier.Verify(t.Context(), done)); !held {
		t.Error("a quarantine that was emptied is taken for whole")
	}
	undoer, _ := do.(action.Undoer)
	must[action.Result](t)(undoer.Undo(t.Context(), done, true))
	again := must[action.Change](t)(do.Plan(t.Context(), input(account)))
	if _, err := do.Apply(t.Context(), again); !fault.Is(err, fault.Conflict) {
		t.Errorf("attaching a policy that somebody changed: got %v, want an error of kind conflict", err)
	}

	if _, err := do.Plan(t.Context(), input(awstest.Home)); !fault.Is(err, fault.Denied) {
		t.Errorf("Riposte's home: got %v, want an error of kind denied", err)
	}
	for _, except := range []string{"*", "arn:aws:iam::*:role/*", "arn:aws:iam::*:root", "arn:aws:iam::*:*/x", "investigators"} {
		l.refuses(t, name, action.Params{"account_id": account, "except": []string{except}}, fault.Invalid)
	}
	excepted := l.plan(t, name, action.Params{"account_id": account, "except": []string{"arn:aws:iam::*:role/investigators/*"}})
	if !strings.Contains(string(excepted.After), "role/investigators/*") || slices.Equal(excepted.Calls, change.Calls) {
		t.Errorf("got %s by %v", excepted.After, excepted.Calls)
	}
}

// The emulator's organization is always that of the caller: that it is another's is played by a server of our own.
func TestQuarantineRefusesTheManagementAccount(t *testing.T) {
	awstest.Credentials(t)
	const management = "222233334444"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeOrganization") {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_, _ = io.WriteString(w, `{"Organization":{"Id":"o-abcdefghij","MasterAccountId":"`+management+`"}}`)
			return
		}
		_, _ = io.WriteString(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>`+
			`<Arn>arn:aws:sts::123456789012:assumed-role/riposte/i-1</Arn><UserId>AROA:x</UserId><Account>123456789012</Account>`+
			`</GetCallerIdentityResult></GetCallerIdentityResponse>`)
	}))
	t.Cleanup(server.Close)
	cloud := must[*aws.Cloud](t)(aws.Connect(t.Context(), aws.Config{Enabled: true, Region: awstest.Region, Endpoint: server.URL}))
	l := &lab{account: management, cloud: cloud}
	l.refuses(t, "aws.organizations.quarantine_account", action.Params{}, fault.Denied)
}
