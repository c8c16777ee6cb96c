package aws_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// impact is what a plan says that a person should know.
func impact(change action.Change) string { return strings.Join(change.Impact, "\n") }

// tells tests that a plan's impact has all of these.
func tells(t *testing.T, change action.Change, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(impact(change), want) {
			t.Errorf("%s doesn't tell %q, but:\n%s", change.Action, want, impact(change))
		}
	}
}

func TestDenyRole(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	must[*iam.CreateRoleOutput](t)(api.CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: sdk.String("web"), AssumeRolePolicyDocument: sdk.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
			`"Principal":{"Service":["lambda.amazonaws.com","ec2.amazonaws.com"]},"Action":"sts:AssumeRole"}]}`),
	}))
	must[*iam.CreateInstanceProfileOutput](t)(api.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: sdk.String("fleet")}))
	must[*iam.AddRoleToInstanceProfileOutput](t)(api.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: sdk.String("fleet"), RoleName: sdk.String("web"),
	}))
	const name = "aws.iam.deny_role"
	missing, changes := l.input(action.Params{"role": "nobody"}), 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"role": "web"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return sessions(t, api) },
		Change: func(t *testing.T) {
			t.Helper()
			changes++
			must[*iam.PutRolePolicyOutput](t)(api.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
				RoleName: sdk.String("web"), PolicyName: sdk.String("riposte-deny-INC-1"), PolicyDocument: sdk.String(fmt.Sprintf(
					`{"Version":"2012-10-17","Statement":[{"Sid":"Theirs%d","Effect":"Deny","Action":"s3:*","Resource":"*"}]}`, changes)),
			}))
		},
	})
	change := l.plan(t, name, action.Params{"role": "web"})
	tells(t, change, "services that may assume it: ec2, lambda", "through the profiles: fleet")
	if text := string(change.After); !strings.Contains(text, `RiposteDenyINC1`) || strings.Contains(text, "Condition") {
		t.Errorf("got %s", text)
	}
	l.population(t, name, 1)

	// Names of policies can't be made to say anything else by an incident's id.
	odd := l.input(action.Params{"role": "web"})
	odd.Incident = "a/b\"},{'\n" + strings.Repeat("x", 200)
	if plan := must[action.Change](t)(l.action(t, name).Plan(t.Context(), odd)); !strings.HasPrefix(plan.Calls[0], "iam:PutRolePolicy riposte-deny-ab,xxx") {
		t.Errorf("got calls %q", plan.Calls)
	}
}

// Whatever a playbook says, these stay as they are.
func TestRolesThatMustStay(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	role(t, api, "AWSServiceRoleForSupport", "/aws-service-role/support.amazonaws.com/")
	role(t, api, "AWSReservedSSO_Admin", "/aws-reserved/sso.amazonaws.com/")
	for _, name := range []string{"riposte-responder", "break-glass", "BreakGlassAdmin", "ops-emergency-access"} {
		role(t, api, name, "/")
	}
	for do, params := range map[string]action.Params{
		"aws.iam.deny_role": {}, "aws.iam.tighten_trust": {}, "aws.iam.set_boundary": {}, "aws.iam.delete_inline_policy": {"policy": "work"},
		"aws.iam.detach_policy": {"policy_arn": "arn:aws:iam::aws:policy/AdministratorAccess"},
	} {
		for name, kind := range map[string]fault.Kind{
			"AWSServiceRoleForSupport": fault.Invalid, "AWSReservedSSO_Admin": fault.Invalid, "riposte-responder": fault.Denied,
			"break-glass": fault.Denied, "BreakGlassAdmin": fault.Denied, "ops-emergency-access": fault.Denied, "web*": fault.Invalid,
		} {
			given := action.Params{"role": name}
			maps.Copy(given, params)
			l.refuses(t, do, given, kind)
		}
	}
	l.refuses(t, "aws.iam.set_boundary", action.Params{}, fault.Invalid)
	l.refuses(t, "aws.iam.set_boundary", action.Params{"user": "ada", "role": "web"}, fault.Invalid)
	l.refuses(t, "aws.iam.set_boundary", action.Params{"role": "web", "policy_arn": "arn:aws:iam::999999999999:policy/theirs"}, fault.Invalid)
	l.refuses(t, "aws.iam.set_boundary", action.Params{"role": "web", "policy_arn": "arn:aws:s3:::b"}, fault.Invalid)
}

// trusts tells whom a role trusts.
func trusts(t *testing.T, api *iam.Client, name string) string {
	t.Helper()
	got := must[*iam.GetRoleOutput](t)(api.GetRole(t.Context(), &iam.GetRoleInput{RoleName: sdk.String(name)}))
	return must[string](t)(url.PathUnescape(*got.Role.AssumeRolePolicyDocument))
}

func trust(t *testing.T, api *iam.Client, name, document string) {
	t.Helper()
	must[*iam.UpdateAssumeRolePolicyOutput](t)(api.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{
		RoleName: sdk.String(name), PolicyDocument: sdk.String(document),
	}))
}

const anybody = `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}`

func TestTightenTrust(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	role(t, api, "web", "/")
	mine := `{"Sid":"Mine","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::` + l.account + `:root"],"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`
	trust(t, api, "web", `{"Version":"2012-10-17","Statement":[`+mine+`,`+anybody+`]}`)
	const name = "aws.iam.tighten_trust"
	missing, changes := l.input(action.Params{"role": "nobody"}), 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"role": "web"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return trusts(t, api, "web") },
		Change: func(t *testing.T) {
			t.Helper()
			changes++
			theirs := strings.Replace(anybody, `{"AWS"`, fmt.Sprintf(`{"Service":"s%d.amazonaws.com","AWS"`, changes), 1)
			trust(t, api, "web", `{"Version":"2012-10-17","Statement":[`+mine+`,`+theirs+`]}`)
		},
	})
	l.population(t, name, 1)
}

func TestTightenTrustTakesOutStrangersAlone(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	role(t, api, "web", "/")
	const stranger, partner = "999999999999", "888888888888"
	statement := func(principal, condition string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"` + condition + `}`
	}
	own := `"arn:aws:iam::` + l.account + `:role/ci"`
	org := `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-abcdefghij"}}`
	theirs := `,"Condition":{"StringEquals":{"aws:PrincipalAccount":"` + stranger + `"}}`
	nobody := `{"Sid":"RiposteDenyINC1","Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}`
	for was, want := range map[string]string{
		statement(`{"AWS":"arn:aws:iam::`+stranger+`:root"}`, ""):                            nobody,
		statement(`{"AWS":"arn:aws:iam::`+partner+`:root"}`, ""):                             statement(`{"AWS":"arn:aws:iam::`+partner+`:root"}`, ""),
		statement(`{"AWS":["arn:aws:iam::`+stranger+`:user/eve",`+own+`]}`, ""):              statement(`{"AWS":[`+own+`]}`, ""),
		statement(`{"AWS":"*"}`, org):                                                        statement(`{"AWS":"*"}`, org),
		statement(`{"AWS":"*"}`, theirs):                                                     nobody,
		statement(`{"AWS":"arn:aws:iam::`+awstest.Home+`:role/riposte"}`, ""):                statement(`{"AWS":"arn:aws:iam::`+awstest.Home+`:role/riposte"}`, ""),
		statement(`{"Federated":"arn:aws:iam::`+l.account+`:saml-provider/corp"}`, ""):       statement(`{"Federated":"arn:aws:iam::`+l.account+`:saml-provider/corp"}`, ""),
		statement(`{"Service":"ec2.amazonaws.com"}`, "") + "," + anybody:                     statement(`{"Service":"ec2.amazonaws.com"}`, ""),
		`{"Effect":"Deny","Principal":{"AWS":"` + stranger + `"},"Action":"sts:AssumeRole"}`: `{"Effect":"Deny","Principal":{"AWS":"` + stranger + `"},"Action":"sts:AssumeRole"}`,
	} {
		trust(t, api, "web", `{"Version":"2012-10-17","Statement":[`+was+`]}`)
		change := l.plan(t, "aws.iam.tighten_trust", action.Params{"role": "web", "keep_accounts": []string{partner}})
		must[action.Result](t)(l.action(t, "aws.iam.tighten_trust").Apply(t.Context(), change))
		if got := trusts(t, api, "web"); !policydoc.Same([]byte(got), []byte(`{"Version":"2012-10-17","Statement":[`+want+`]}`)) {
			t.Errorf("%s\nbecame %s\nwant statements %s", was, got, want)
		}
		if kept := was == want; kept != change.Noop {
			t.Errorf("%s: got noop %t", was, change.Noop)
		}
	}
	l.refuses(t, "aws.iam.tighten_trust", action.Params{"role": "web", "keep_accounts": []string{"*"}}, fault.Invalid)
}

func TestSetBoundaryOfARole(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	role(t, api, "web", "/")
	put := func(t *testing.T, policy string) {
		t.Helper()
		must[*iam.PutRolePermissionsBoundaryOutput](t)(api.PutRolePermissionsBoundary(t.Context(), &iam.PutRolePermissionsBoundaryInput{
			RoleName: sdk.String("web"), PermissionsBoundary: sdk.String(policy),
		}))
	}
	const name = "aws.iam.set_boundary"
	missing, policies := l.input(action.Params{"role": "nobody"}), []string{"ReadOnlyAccess", "SecurityAudit", "ViewOnlyAccess", "PowerUserAccess"}
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"role": "web"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*iam.GetRoleOutput](t)(api.GetRole(t.Context(), &iam.GetRoleInput{RoleName: sdk.String("web")}))
			if got.Role.PermissionsBoundary == nil {
				return "none"
			}
			return *got.Role.PermissionsBoundary.PermissionsBoundaryArn
		},
		Change: func(t *testing.T) {
			t.Helper()
			put(t, "arn:aws:iam::aws:policy/"+policies[0])
			policies = policies[1:]
		},
	})
}

// The emulator has no permissions boundaries of users: this is tested against a small server of our own.
func TestSetBoundaryOfAUser(t *testing.T) {
	server := awstest.NewCredentialed(t)
	l := labAt(t, server.URL, awstest.Home)
	missing, changes := l.input(action.Params{"user": "nobody"}), 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.iam.set_boundary"), Missing: &missing, Door: l.door,
		Input: l.input(action.Params{"user": server.Name, "policy_arn": "arn:aws:iam::" + awstest.Home + ":policy/sec/bound"}),
		State: func(*testing.T) string { return server.State() },
		Change: func(*testing.T) {
			changes++
			server.Bind(fmt.Sprintf("arn:aws:iam::%s:policy/theirs%d", awstest.Home, changes))
		},
	})
}

// The emulator has no service-specific credentials: this is tested against a small server of our own.
func TestDisableServiceCredential(t *testing.T) {
	server := awstest.NewCredentialed(t)
	l := labAt(t, server.URL, awstest.Home)
	const name = "aws.iam.disable_service_credential"
	missing := l.input(action.Params{"user": server.Name, "credential_id": "ACCAANOTHER123EXAMPLE"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"user": server.Name, "credential_id": server.Credential}),
		Missing: &missing, Door: l.door, State: func(*testing.T) string { return server.State() },
		// A credential is active or not: who changes it makes the plan's change, or undoes it.
	})
	tells(t, l.plan(t, name, action.Params{"user": server.Name, "credential_id": server.Credential}), "codecommit.amazonaws.com")
	l.refuses(t, name, action.Params{"user": server.Name, "credential_id": "no/id"}, fault.Invalid)
	l.refuses(t, name, action.Params{"user": "break-glass", "credential_id": server.Credential}, fault.Denied)
}

// managed makes a managed policy of the account and gives its ARN.
func managed(t *testing.T, api *iam.Client, name, effect string) string {
	t.Helper()
	made := must[*iam.CreatePolicyOutput](t)(api.CreatePolicy(t.Context(), &iam.CreatePolicyInput{
		PolicyName: sdk.String(name), PolicyDocument: sdk.String(`{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Action":"*","Resource":"*"}]}`),
	}))
	return *made.Policy.Arn
}

func TestDetachPolicy(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	administrator := managed(t, api, "administrator", "Allow")
	staff(t, api, "ada")
	role(t, api, "web", "/")
	must[*iam.CreateGroupOutput](t)(api.CreateGroup(t.Context(), &iam.CreateGroupInput{GroupName: sdk.String("ops")}))
	must[*iam.AddUserToGroupOutput](t)(api.AddUserToGroup(t.Context(), &iam.AddUserToGroupInput{GroupName: sdk.String("ops"), UserName: sdk.String("ada")}))
	must[*iam.AttachUserPolicyOutput](t)(api.AttachUserPolicy(t.Context(), &iam.AttachUserPolicyInput{UserName: sdk.String("ada"), PolicyArn: sdk.String(administrator)}))
	must[*iam.AttachRolePolicyOutput](t)(api.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: sdk.String("web"), PolicyArn: sdk.String(administrator)}))
	must[*iam.AttachGroupPolicyOutput](t)(api.AttachGroupPolicy(t.Context(), &iam.AttachGroupPolicyInput{GroupName: sdk.String("ops"), PolicyArn: sdk.String(administrator)}))
	const name = "aws.iam.detach_policy"
	state := func(t *testing.T) string {
		t.Helper()
		ofUser := must[*iam.ListAttachedUserPoliciesOutput](t)(api.ListAttachedUserPolicies(t.Context(), &iam.ListAttachedUserPoliciesInput{UserName: sdk.String("ada")}))
		ofRole := must[*iam.ListAttachedRolePoliciesOutput](t)(api.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: sdk.String("web")}))
		ofGroup := must[*iam.ListAttachedGroupPoliciesOutput](t)(api.ListAttachedGroupPolicies(t.Context(), &iam.ListAttachedGroupPoliciesInput{GroupName: sdk.String("ops")}))
		return dump(t, []any{ofUser.AttachedPolicies, ofRole.AttachedPolicies, ofGroup.AttachedPolicies})
	}
	for kind, holder := range map[string]string{"user": "ada", "role": "web", "group": "ops"} {
		t.Run(kind, func(t *testing.T) {
			missing := l.input(action.Params{kind: "nobody", "policy_arn": administrator})
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, name), Input: l.input(action.Params{kind: holder, "policy_arn": administrator}), Missing: &missing, Door: l.door, State: state,
				// A policy is attached or not: who changes that makes the plan's change, or undoes it.
			})
		})
	}
	tells(t, l.plan(t, name, action.Params{"group": "ops", "policy_arn": administrator}), "the group has 1 users", "attached to 3 users")
	l.refuses(t, name, action.Params{"user": "ada", "policy_arn": "arn:aws:iam::999999999999:policy/theirs"}, fault.Invalid)
}

func TestDeleteInlinePolicy(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	staff(t, api, "ada")
	put := func(t *testing.T, action string) {
		t.Helper()
		must[*iam.PutUserPolicyOutput](t)(api.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{
			UserName: sdk.String("ada"), PolicyName: sdk.String("more"),
			PolicyDocument: sdk.String("{\n \"Version\": \"2012-10-17\", \"Statement\":\t[{\"Effect\":\"Allow\",\"Action\":\"" + action + "\",\"Resource\":\"*\"}]}"),
		}))
	}
	put(t, "*")
	const name = "aws.iam.delete_inline_policy"
	missing, changes := l.input(action.Params{"user": "nobody", "policy": "more"}), 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"user": "ada", "policy": "more"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string { // Undo puts back what the policy says, without its white space
			t.Helper()
			return strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(denials(t, api, "ada"))
		},
		Change: func(t *testing.T) { t.Helper(); changes++; put(t, fmt.Sprintf("s3:Get%d", changes)) },
	})
	l.refuses(t, name, action.Params{"user": "ada", "policy": "more/../less"}, fault.Invalid)
}

// has tells which credentials a user has.
func has(t *testing.T, api *iam.Client, name string) string {
	t.Helper()
	var list []string
	if _, err := api.GetLoginProfile(t.Context(), &iam.GetLoginProfileInput{UserName: sdk.String(name)}); err == nil {
		list = append(list, "password")
	}
	devices := must[*iam.ListMFADevicesOutput](t)(api.ListMFADevices(t.Context(), &iam.ListMFADevicesInput{UserName: sdk.String(name)}))
	for _, device := range devices.MFADevices {
		list = append(list, *device.SerialNumber)
	}
	return strings.Join(append(list, keys(t, api, name)), "\n")
}

// credentialed makes a user with a password, a key and an MFA device.
func credentialed(t *testing.T, api *iam.Client, name string) (key, device string) {
	t.Helper()
	key = staff(t, api, name)
	must[*iam.CreateLoginProfileOutput](t)(api.CreateLoginProfile(t.Context(), &iam.CreateLoginProfileInput{
		UserName: sdk.String(name), Password: sdk.String("correct horse battery 1!"),
	}))
	made := must[*iam.CreateVirtualMFADeviceOutput](t)(api.CreateVirtualMFADevice(t.Context(), &iam.CreateVirtualMFADeviceInput{
		VirtualMFADeviceName: sdk.String(name),
	}))
	device = *made.VirtualMFADevice.SerialNumber
	must[*iam.EnableMFADeviceOutput](t)(api.EnableMFADevice(t.Context(), &iam.EnableMFADeviceInput{
		UserName: sdk.String(name), SerialNumber: sdk.String(device), AuthenticationCode1: sdk.String("123456"), AuthenticationCode2: sdk.String("654321"),
	}))
	return key, device
}

func TestCredentialsAreDestroyed(t *testing.T) {
	for name, params := range map[string]func(key, device string) action.Params{
		"aws.iam.delete_login_profile": func(string, string) action.Params { return action.Params{"user": "ada"} },
		"aws.iam.delete_access_key":    func(key, _ string) action.Params { return action.Params{"access_key_id": key} },
		"aws.iam.deactivate_mfa_device": func(_, device string) action.Params {
			return action.Params{"user": "ada", "serial_number": device}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			api := iam.NewFromConfig(l.direct)
			key, device := credentialed(t, api, "ada")
			before := has(t, api, "ada")
			given := params(key, device)
			missing := l.input(params("AKIAIOSFODNN7EXAMPLE", "arn:aws:iam::"+l.account+":mfa/nobodys"))
			if given["user"] != nil && given["serial_number"] == nil {
				missing = l.input(action.Params{"user": "nobody"})
			}
			plan := l.plan(t, name, given)
			tells(t, plan, map[string]string{
				"aws.iam.delete_login_profile": "a person must issue a new one", "aws.iam.delete_access_key": "can't be put back",
				"aws.iam.deactivate_mfa_device": "the password alone lets in",
			}[name])
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, name), Input: l.input(given), Missing: &missing, Door: l.door,
				State: func(t *testing.T) string { t.Helper(); return has(t, api, "ada") },
			})
			if left := has(t, api, "ada"); strings.Count(before, "\n") != strings.Count(left, "\n")+1 && name != "aws.iam.delete_access_key" {
				t.Errorf("got %s of %s", left, before)
			}
			if _, ok := l.action(t, name).(action.Undoer); ok {
				t.Error("it says that it can be undone")
			}
		})
	}
	l := newLab(t)
	emergency, _ := credentialed(t, iam.NewFromConfig(l.direct), "break-glass")
	l.refuses(t, "aws.iam.delete_access_key", action.Params{"access_key_id": emergency}, fault.Denied)
	l.refuses(t, "aws.iam.delete_login_profile", action.Params{"user": "break-glass"}, fault.Denied)
}

func TestQuarantineGroup(t *testing.T) {
	l := newLab(t)
	api := iam.NewFromConfig(l.direct)
	staff(t, api, "ada")
	for _, group := range []string{"quarantine", "empty"} {
		must[*iam.CreateGroupOutput](t)(api.CreateGroup(t.Context(), &iam.CreateGroupInput{GroupName: sdk.String(group)}))
	}
	must[*iam.AttachGroupPolicyOutput](t)(api.AttachGroupPolicy(t.Context(), &iam.AttachGroupPolicyInput{
		GroupName: sdk.String("quarantine"), PolicyArn: sdk.String(managed(t, api, "nothing", "Deny")),
	}))
	const name = "aws.iam.quarantine_group"
	missing := l.input(action.Params{"user": "nobody", "group": "quarantine"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"user": "ada", "group": "quarantine"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*iam.ListGroupsForUserOutput](t)(api.ListGroupsForUser(t.Context(), &iam.ListGroupsForUserInput{UserName: sdk.String("ada")}))
			var names []string
			for _, group := range got.Groups {
				names = append(names, *group.GroupName)
			}
			slices.Sort(names)
			return strings.Join(names, ",")
		},
		// A user is in the group or not: who changes that makes the plan's change, or undoes it.
	})
	tells(t, l.plan(t, name, action.Params{"user": "ada", "group": "quarantine"}), "policy/nothing", "has 0 users")
	l.refuses(t, name, action.Params{"user": "ada", "group": "empty"}, fault.Invalid) // it would contain nothing
	l.refuses(t, name, action.Params{"user": "ada", "group": "nobodys"}, fault.NotFound)
}

func TestSetPasswordPolicy(t *testing.T) {
	for before, prepare := range map[string]*iam.UpdateAccountPasswordPolicyInput{
		"default": nil,
		"weak":    {MinimumPasswordLength: sdk.Int32(6), AllowUsersToChangePassword: true, MaxPasswordAge: sdk.Int32(90), HardExpiry: sdk.Bool(true)},
	} {
		t.Run(before, func(t *testing.T) {
			l := newLab(t)
			api := iam.NewFromConfig(l.direct)
			if prepare != nil {
				must[*iam.UpdateAccountPasswordPolicyOutput](t)(api.UpdateAccountPasswordPolicy(t.Context(), prepare))
			}
			const name = "aws.iam.set_password_policy"
			given := action.Params{"minimum_length": int64(16), "remembered": int64(5)}
			length := int32(8)
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, name), Input: l.input(given), Door: l.door,
				State: func(t *testing.T) string {
					t.Helper()
					got, err := api.GetAccountPasswordPolicy(t.Context(), &iam.GetAccountPasswordPolicyInput{})
					if err != nil {
						return "default"
					}
					return dump(t, got.PasswordPolicy)
				},
				Change: func(t *testing.T) {
					t.Helper()
					length++
					must[*iam.UpdateAccountPasswordPolicyOutput](t)(api.UpdateAccountPasswordPolicy(t.Context(), &iam.UpdateAccountPasswordPolicyInput{
						MinimumPasswordLength: sdk.Int32(length),
					}))
				},
			})
			l.refuses(t, name, action.Params{"minimum_length": int64(4), "remembered": int64(5)}, fault.Invalid)
			l.refuses(t, name, action.Params{"minimum_length": int64(14), "remembered": int64(0)}, fault.Invalid)
		})
	}
}
