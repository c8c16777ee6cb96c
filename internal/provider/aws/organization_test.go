package aws_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

// org is an organisation at an emulator of a test's own, whose management account is the home account.
type org struct {
	*testing.T
	url  string
	api  *organizations.Client
	root string
}

func newOrg(t *testing.T) *org {
	t.Helper()
	awstest.Credentials(t)
	url := awstest.Own(t)
	o := &org{T: t, url: url, api: organizations.NewFromConfig(sdk.Config{
		Region: "us-east-1", BaseEndpoint: sdk.String(url), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})}
	must[*organizations.CreateOrganizationOutput](t)(o.api.CreateOrganization(t.Context(), &organizations.CreateOrganizationInput{}))
	o.root = *must[*organizations.ListRootsOutput](t)(o.api.ListRoots(t.Context(), &organizations.ListRootsInput{})).Roots[0].Id
	return o
}

func (o *org) unit(parent, name string) string {
	o.Helper()
	return *must[*organizations.CreateOrganizationalUnitOutput](o.T)(o.api.CreateOrganizationalUnit(o.Context(),
		&organizations.CreateOrganizationalUnitInput{ParentId: sdk.String(parent), Name: sdk.String(name)})).OrganizationalUnit.Id
}

func (o *org) account(unit, name string, tags ...string) string {
	o.Helper()
	in := &organizations.CreateAccountInput{AccountName: sdk.String(name), Email: sdk.String(name + "@example.com")}
	for _, tag := range tags {
		key, value, _ := strings.Cut(tag, "=")
		in.Tags = append(in.Tags, types.Tag{Key: sdk.String(key), Value: sdk.String(value)})
	}
	id := *must[*organizations.CreateAccountOutput](o.T)(o.api.CreateAccount(o.Context(), in)).CreateAccountStatus.AccountId
	if unit != o.root {
		o.move(id, o.root, unit)
	}
	return id
}

func (o *org) move(account, from, to string) {
	o.Helper()
	must[*organizations.MoveAccountOutput](o.T)(o.api.MoveAccount(o.Context(), &organizations.MoveAccountInput{
		AccountId: sdk.String(account), SourceParentId: sdk.String(from), DestinationParentId: sdk.String(to),
	}))
}

// follow connects to the organisation.
func (o *org) follow(config aws.OrganizationConfig, log *bytes.Buffer) (*aws.Cloud, *aws.Organization) {
	o.Helper()
	return followAt(o.T, o.url, config, log)
}

func followAt(t *testing.T, url string, config aws.OrganizationConfig, log *bytes.Buffer) (*aws.Cloud, *aws.Organization) {
	t.Helper()
	config.Enabled, config.Role = true, "riposte-responder"
	cloud, err := aws.Connect(t.Context(), aws.Config{Enabled: true, Region: awstest.Region, Endpoint: url, Organization: config})
	if err != nil {
		t.Fatal(err)
	}
	return cloud, cloud.Follow(time.Now, slog.New(slog.NewTextHandler(log, nil)))
}

func TestAccountsFollowTheOrganisation(t *testing.T) {
	o := newOrg(t)
	prod, test := o.unit(o.root, "prod"), o.unit(o.root, "test")
	deep := o.unit(prod, "payments")
	names := map[string]string{
		"plain": o.account(o.root, "plain"), "prod": o.account(prod, "prod"), "deep": o.account(deep, "deep"), "test": o.account(test, "test"),
		"tagged": o.account(test, "tagged", "riposte=yes"), "off": o.account(prod, "off", "riposte=never"), "out": o.account(prod, "out"),
		"closed": o.account(prod, "closed"),
	}
	must[*organizations.CloseAccountOutput](t)(o.api.CloseAccount(t.Context(), &organizations.CloseAccountInput{AccountId: sdk.String(names["closed"])}))
	cloud, organization := o.follow(aws.OrganizationConfig{
		Include: aws.AccountFilter{OUs: []string{prod}, Tags: []string{"riposte=yes"}},
		Exclude: aws.AccountFilter{Accounts: []string{names["out"]}, Tags: []string{"riposte=never"}},
	}, new(bytes.Buffer))
	if err := cloud.Admits(names["prod"]); !fault.Is(err, fault.Transient) {
		t.Errorf("before anybody looked: got %v, want an error of kind transient", err)
	}
	found := must[*aws.Accounts](t)(organization.Refresh(t.Context()))
	got := map[string]string{}
	for _, a := range found.All {
		for name, id := range names {
			if id == a.ID {
				got[name] = fmt.Sprint(a.In, " ", strings.ReplaceAll(a.Why, prod, "PROD"))
			}
		}
	}
	const without = "aws.organization.include has neither it nor a unit or a tag of it"
	if diff := cmp.Diff(map[string]string{
		"plain": "false " + without, "test": "false " + without, "prod": "true aws.organization.include has PROD", "deep": "true aws.organization.include has PROD",
		"tagged": "true aws.organization.include has the tag riposte=yes", "off": "false aws.organization.exclude has the tag riposte=never",
		"out": "false aws.organization.exclude has the account", "closed": "false it is suspended",
	}, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel() // what is let in gets as far as the network, and no further
	stop := func(account string) error {
		for _, act := range cloud.Actions() {
			if act.Spec().Name == "aws.iam.deny_user" {
				_, err := act.Plan(ended, action.Input{
					Params: action.Params{"user": "nobody"}, Place: action.Place{Account: account, Region: awstest.Region},
				})
				return err
			}
		}
		return nil
	}
	if err := stop(names["deep"]); !fault.Is(err, fault.Transient) {
		t.Errorf("in an account that is in: got %v, want an error of kind transient", err)
	}
	for _, name := range []string{"plain", "out", "off", "closed"} {
		if err := stop(names[name]); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "riposte accounts") && name != "out" {
			t.Errorf("in %s: got %v, want it denied, with what to do", name, err)
		}
	}
	if err := stop("999988887777"); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "not in the organisation") {
		t.Errorf("elsewhere: got %v", err)
	}
	if want := []string{awstest.Home, names["deep"], names["prod"], names["tagged"]}; !slices.Equal(inOrder(cloud.Scope()[1:]), inOrder(want[1:])) || cloud.Scope()[0] != want[0] {
		t.Errorf("scope: got %v, want %v", cloud.Scope(), want)
	}
	// An account that leaves its unit is out at once after the next look, its sessions too.
	o.move(names["deep"], deep, o.root)
	must[*aws.Accounts](t)(organization.Refresh(t.Context()))
	if err := stop(names["deep"]); !fault.Is(err, fault.Denied) {
		t.Errorf("in an account that left: got %v, want it denied", err)
	}
}

func inOrder(list []string) []string { return slices.Sorted(slices.Values(list)) }

func TestEveryPageOfAccountsIsRead(t *testing.T) {
	o := newOrg(t)
	unit := o.unit(o.root, "many")
	want := []string{}
	for i := range 130 {
		want = append(want, o.account(unit, fmt.Sprintf("a%d", i)))
	}
	_, organization := o.follow(aws.OrganizationConfig{Include: aws.AccountFilter{OUs: []string{unit}}}, new(bytes.Buffer))
	found := must[*aws.Accounts](t)(organization.Refresh(t.Context()))
	got := slices.DeleteFunc(found.In(), func(id string) bool { return id == awstest.Home })
	if diff := cmp.Diff(inOrder(want), got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	for _, a := range found.All {
		if slices.Contains(want, a.ID) && !slices.Equal(a.Path, []string{o.root, unit}) {
			t.Errorf("account %s is at %v", a.ID, a.Path)
		}
	}
}

func TestAccountsKnownBeforeStayWhileOrganizationsFails(t *testing.T) {
	o := newOrg(t)
	id := o.account(o.root, "one")
	log := new(bytes.Buffer)
	cloud, organization := o.follow(aws.OrganizationConfig{}, log)
	found := must[*aws.Accounts](t)(organization.Refresh(t.Context()))
	if organization.Check(t.Context()) != nil || !strings.Contains(organization.Note(), "acts in 2 of 2 accounts") || !strings.Contains(log.String(), id) {
		t.Errorf("got %v, %q, and the log %s", organization.Check(t.Context()), organization.Note(), log)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := organization.Refresh(ended); !fault.Is(err, fault.Transient) {
		t.Errorf("got %v, want an error of kind transient", err)
	}
	if err := cloud.Admits(id); err != nil {
		t.Errorf("the account is out: %v", err)
	}
	if err := organization.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "stay in force") {
		t.Errorf("got %v, want that it failed and what is in force", err)
	}
	// A start without Organizations goes on with what was kept; what the configuration says now decides.
	kept := must[[]byte](t)(found.Keep())
	for name, config := range map[string]aws.OrganizationConfig{"in": {}, "out": {Exclude: aws.AccountFilter{Accounts: []string{id}}}} {
		cloud, restored := o.follow(config, new(bytes.Buffer))
		if err := restored.Restore(kept); err != nil {
			t.Fatal(err)
		}
		if err := cloud.Admits(id); (err == nil) != (name == "in") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, broken := range []string{"", "{", "{}", `{"at":"2026-01-01T00:00:00Z","accounts":7}`} {
		if err := organization.Restore([]byte(broken)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want an error of kind invalid", broken, err)
		}
	}
}

func TestNoOrganisationSaysWhatToDo(t *testing.T) {
	awstest.Credentials(t)
	// The emulator breaks where there is no organisation; this is what AWS answers.
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "" {
			_, _ = io.WriteString(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/a</Arn>`+
				`<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"AWSOrganizationsNotInUseException","Message":"Your account is not a member of an organization."}`)
	}))
	t.Cleanup(service.Close)
	_, organization := followAt(t, service.URL, aws.OrganizationConfig{}, new(bytes.Buffer))
	if _, err := organization.Refresh(t.Context()); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "aws.organization.enabled") {
		t.Errorf("got %v, want an error of kind invalid that names the key", err)
	}
}

func TestOrganisationsConfigurationIsChecked(t *testing.T) {
	good := aws.Config{AssumeRole: "r", Organization: aws.OrganizationConfig{
		Enabled: true, Refresh: time.Hour, Regions: []string{"eu-central-1"}, Include: aws.AccountFilter{OUs: []string{"ou-ab12-34567890", "r-ab12"}, Tags: []string{"a", "a=b"}},
	}}
	if err := good.Check(); err != nil {
		t.Errorf("got %v", err)
	}
	for key, spoil := range map[string]func(*aws.Config){
		"aws.organization.include.ous[0]":      func(c *aws.Config) { c.Organization.Include.OUs = []string{"prod"} },
		"aws.organization.exclude.accounts[0]": func(c *aws.Config) { c.Organization.Exclude.Accounts = []string{"12"} },
		"aws.organization.include.tags[0]":     func(c *aws.Config) { c.Organization.Include.Tags = []string{"=x"} },
		"aws.organization.regions[0]":          func(c *aws.Config) { c.Organization.Regions = []string{"europe"} },
		"aws.organization.role":                func(c *aws.Config) { c.Organization.Role = "other" },
		"aws.organization.refresh":             func(c *aws.Config) { c.Organization.Refresh = time.Second },
		"aws.assume_role":                      func(c *aws.Config) { c.AssumeRole = "a b" },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Check(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}
