package aws

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
)

// OrganizationConfig says which accounts of an AWS organization Riposte acts in. They are discovered with the
// home account's credentials, which must be those of the management account or of a delegated administrator.
type OrganizationConfig struct {
	Enabled bool `yaml:"enabled"`
	// Include names the accounts that are in: those that any of its entries fits; all if there is none.
	Include AccountFilter `yaml:"include"`
	// Exclude names accounts that are out even if they are included.
	Exclude AccountFilter `yaml:"exclude"`
	// Role is the name of the role that is assumed in the accounts; aws.assume_role if empty.
	Role string `yaml:"role"`
	// Refresh is the time between two discoveries.
	Refresh time.Duration `yaml:"refresh"`
	// Regions are those to which permissions are bound and at which preflight looks; empty is any.
	Regions []string `yaml:"regions"`
}

// AccountFilter names accounts.
type AccountFilter struct {
	OUs      []string `yaml:"ous"` // ids of organizational units, with all below them, or of the root
	Accounts []string `yaml:"accounts"`
	Tags     []string `yaml:"tags"` // key, or key=value
}

// DefaultRefresh is the time between two discoveries unless the configuration says otherwise.
const DefaultRefresh = 15 * time.Minute

// unitForm is the id of an organizational unit or of a root.
var unitForm = shaped(`^(ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}|r-[0-9a-z]{4,32})$`)

// roleForm is a role's name, with its path if it has one.
var roleForm = shaped(`^([\w+=,.@-]+/)*[\w+=,.@-]{1,64}$`)

// RoleName is the name of the role that is assumed in other accounts, "" if none is.
func (o Config) RoleName() string {
	if o.Organization.Enabled && o.Organization.Role != "" {
		return o.Organization.Role
	}
	return o.AssumeRole
}

// Regions are those that Riposte's permissions are for; none stands for any.
func (o Config) Regions() []string { return o.Organization.Regions }

func (o Config) checkOrganization() []error {
	g := o.Organization
	var errs []error
	fail := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("aws.organization."+key+": "+format, args...))
	}
	for name, filter := range map[string]AccountFilter{"include": g.Include, "exclude": g.Exclude} {
		for i, unit := range filter.OUs {
			if !unitForm.MatchString(unit) {
				fail(fmt.Sprintf("%s.ous[%d]", name, i), "%q is no id of an organizational unit such as ou-ab12-34567890, nor of a root", unit)
			}
		}
		for i, account := range filter.Accounts {
			if !IsAccount(account) {
				fail(fmt.Sprintf("%s.accounts[%d]", name, i), "%q is no account: its id has 12 digits", account)
			}
		}
		for i, tag := range filter.Tags {
			if key, _, _ := strings.Cut(tag, "="); key == "" {
				fail(fmt.Sprintf("%s.tags[%d]", name, i), "%q is neither key nor key=value", tag)
			}
		}
	}
	for i, region := range g.Regions {
		if checkRegion(region) != nil {
			fail(fmt.Sprintf("regions[%d]", i), "%q is no region", region)
		}
	}
	if g.Role != "" && !roleForm.MatchString(g.Role) {
		fail("role", "%q is no name of a role", g.Role)
	}
	if g.Role != "" && o.AssumeRole != "" && g.Role != o.AssumeRole {
		fail("role", "aws.assume_role says %s; name the role once", o.AssumeRole)
	}
	if g.Enabled && o.RoleName() == "" {
		fail("role", "name the role that Riposte may assume in the organisation's accounts")
	}
	if g.Enabled && (g.Refresh < time.Minute || g.Refresh > 24*time.Hour) {
		fail("refresh", "%s is not between 1m and 24h", g.Refresh)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

// calls are the permissions that discovery needs.
func (g OrganizationConfig) calls() []string {
	names := []string{
		"organizations:ListAccounts", "organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent",
		"organizations:ListParents", "organizations:ListRoots",
	}
	if g.tagged() {
		names = append(names, "organizations:ListTagsForResource")
	}
	return names
}

// tagged reports whether tags decide.
func (g OrganizationConfig) tagged() bool { return len(g.Include.Tags)+len(g.Exclude.Tags) > 0 }

// errNeedsTags says that an account can't be decided on without its tags.
var errNeedsTags = errors.New("its tags are needed")

// decide says whether an account is in, and why. Home is in unless it is excluded: Riposte reads and tells
// there. Tags are asked for where they decide; the error is errNeedsTags while tags are nil.
func (g OrganizationConfig) decide(a Account, home string, bound []string) (in bool, why string, err error) {
	if a.State != activeState {
		return false, "it is " + strings.ToLower(strings.ReplaceAll(a.State, "_", " ")), nil
	}
	if entry, hit := g.Exclude.fits(a); hit {
		return false, "aws.organization.exclude has " + entry, nil
	}
	if a.ID != home && len(bound) > 0 && !slices.Contains(bound, a.ID) {
		return false, "it is not one of aws.accounts", nil
	}
	if len(g.Exclude.Tags) > 0 && a.Tags == nil {
		return false, "", errNeedsTags
	}
	if entry, hit := g.Include.fits(a); hit {
		return true, "aws.organization.include has " + entry, nil
	}
	switch {
	case a.ID == home:
		return true, "it is Riposte's own", nil
	case len(g.Include.OUs)+len(g.Include.Accounts)+len(g.Include.Tags) == 0:
		return true, "all are included", nil
	case len(g.Include.Tags) > 0 && a.Tags == nil:
		return false, "", errNeedsTags
	}
	return false, "aws.organization.include has neither it nor a unit or a tag of it", nil
}

// fits gives the entry of the filter that an account fits.
func (f AccountFilter) fits(a Account) (entry string, hit bool) {
	if slices.Contains(f.Accounts, a.ID) {
		return "the account", true
	}
	for _, unit := range a.Path {
		if slices.Contains(f.OUs, unit) {
			return unit, true
		}
	}
	for _, tag := range f.Tags {
		key, value, valued := strings.Cut(tag, "=")
		if is, tagged := a.Tags[key]; tagged && (!valued || is == value) {
			return "the tag " + tag, true
		}
	}
	return "", false
}

// Bounds says nil if the configuration alone does not keep Riposte from acting in another account. It is of
// kind Denied where it does.
func (o Config) Bounds(account string) error {
	if account == "" {
		return nil
	}
	if len(o.Accounts) > 0 && !slices.Contains(o.Accounts, account) {
		return fault.WithHint(fault.New(fault.Denied, "account %s is not one of aws.accounts", account), "add it there if Riposte should act in it")
	}
	if o.Organization.Enabled && slices.Contains(o.Organization.Exclude.Accounts, account) {
		return fault.New(fault.Denied, "account %s is excluded by aws.organization.exclude", account)
	}
	return nil
}
