package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

// Format is how permissions are written.
type Format string

// The formats.
const (
	JSON           Format = "json"
	Terraform      Format = "terraform"
	CloudFormation Format = "cloudformation"
)

// Permitted says for which role and place permissions are written or compared.
type Permitted struct {
	Part     aws.Part
	Account  string // in which the role acts; "" leaves it open
	Regions  []string
	Role     string // name of the home role
	HomeRole string // ARN of the home role, which may assume the member's
}

// File is one that permissions are written to.
type File struct {
	Name string
	Text []byte
}

// duties lists the actions at AWS that playbooks and channels in force use, by name.
func (c *Config) duties(now time.Time) ([]aws.Duty, error) {
	specs := AllSpecs(*c)
	loaded, err := LoadContent(c.Content, specs, specs, now)
	if err != nil {
		return nil, err
	}
	var all []aws.Duty
	for _, spec := range specs {
		if !strings.HasPrefix(spec.Name, "aws.") {
			continue
		}
		duty := aws.Duty{Spec: spec}
		for _, book := range loaded.Playbooks {
			if len(book.Findings) == 0 {
				continue // it is called by others, or by nobody
			}
			for _, at := range book.UsedAt(spec.Name) {
				use := aws.Use{Playbook: at.Playbook, Step: at.Step}
				if !slices.Contains(duty.Uses, use) {
					duty.Uses = append(duty.Uses, use)
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.Channels)) {
			for _, target := range c.Channels[name] {
				if target.Use == spec.Name {
					duty.Uses = append(duty.Uses, aws.Use{Channel: name})
				}
			}
		}
		if spec.Name == "aws.securityhub.update_finding" && c.AWS.SecurityHub.Report { // what is reported needs the same
			duty.Uses = append(duty.Uses, aws.Use{Channel: "aws.securityhub.report"})
		}
		if len(duty.Uses) > 0 {
			all = append(all, duty)
		}
	}
	return all, nil
}

// needs lists what a role must be allowed.
func (c *Config) needs(p Permitted, at aws.Places) ([]aws.Need, error) {
	if p.Account != "" && !aws.IsAccount(p.Account) {
		return nil, fault.New(fault.Invalid, "%q is no account: its id has 12 digits", p.Account)
	}
	if p.Part == aws.Member {
		if err := c.AWS.Bounds(p.Account); err != nil {
			return nil, err
		}
	}
	duties, err := c.duties(time.Now())
	if err != nil {
		return nil, err
	}
	at.Account, at.Regions = cmp.Or(p.Account, at.Account), p.regions(c.AWS)
	needs, err := c.AWS.Needs(aws.Asked{Part: p.Part, At: at, Role: p.Role}, duties, c.Sources.Queues)
	if err != nil {
		return nil, fmt.Errorf("permissions: %w", err)
	}
	return needs, nil
}

func (p Permitted) regions(c aws.Config) []string {
	if len(p.Regions) > 0 {
		return p.Regions
	}
	return c.Regions()
}

// Permissions writes the least that a role needs for the playbooks, channels and sources in force: one file,
// or several where AWS's limits ask for it. As JSON it is one policy unless split says that it may be several.
// Warnings are for whoever asked.
func Permissions(c Config, p Permitted, format Format, split bool) (files []File, warnings []string, err error) {
	at := aws.Symbols(nil)
	if format == JSON {
		at = aws.Places{Partition: aws.PartitionOf(c.AWS.Region)}
	}
	needs, err := c.needs(p, at)
	if err != nil {
		return nil, nil, err
	}
	whole := aws.Policy(needs)
	documents := []aws.Document{whole}
	if format != JSON || split {
		if documents, err = whole.Split(aws.LargestManaged); err != nil {
			return nil, nil, fmt.Errorf("split the policy: %w", err)
		}
	} else if size := whole.Size(); size > aws.LargestManaged {
		warnings = append(warnings, fmt.Sprintf("the policy has %d characters, a managed one %d and a role's inline ones %d at most: "+
			"--out DIR divides it, and so do --format terraform and cloudformation", size, aws.LargestManaged, aws.LargestInline))
	}
	if p.Part == aws.Member && c.AWS.ExternalID.IsZero() {
		warnings = append(warnings, "aws.external_id is not set: whoever may act as the home role's account may be tricked into the member's role")
	}
	if format == JSON {
		files, err = jsonFiles(p.Part, documents)
		return files, warnings, err
	}
	template := aws.Template{
		Part: p.Part, Role: p.Role, Documents: documents, HomeRole: p.HomeRole, ExternalID: !c.AWS.ExternalID.IsZero(),
	}
	if p.Part == aws.Member {
		template.Role = c.AWS.RoleName()
	}
	one := File{Name: "riposte-" + string(p.Part) + ".tf"}
	write := template.Terraform
	if format == CloudFormation {
		one.Name, write = "riposte-"+string(p.Part)+".yaml", template.CloudFormation
	}
	one.Text, err = write()
	return []File{one}, warnings, err
}

func jsonFiles(part aws.Part, documents []aws.Document) ([]File, error) {
	files := make([]File, 0, len(documents))
	for i, d := range documents {
		name := "riposte-" + string(part)
		if len(documents) > 1 {
			name = fmt.Sprintf("%s-%d", name, i+1)
		}
		text, err := d.Text()
		if err != nil {
			return nil, err
		}
		files = append(files, File{Name: name + ".json", Text: text})
	}
	return files, nil
}

// ComparePermissions holds the policies in a file, or below a folder, against what a role needs.
func ComparePermissions(c Config, p Permitted, path string) (aws.Comparison, error) {
	have, err := aws.ReadPolicies(path)
	if err != nil {
		return aws.Comparison{}, err
	}
	needs, err := c.needs(p, aws.Symbols(nil))
	if err != nil {
		return aws.Comparison{}, err
	}
	return aws.Compare(have, needs), nil
}

// Preflight asks AWS for everything that playbooks, channels and sources in force need, in each account and
// region; without any named, in those of the configuration.
func Preflight(ctx context.Context, c Config, accounts, regions []string, logger *slog.Logger) (aws.Preflight, error) {
	duties, err := c.duties(time.Now())
	if err != nil {
		return aws.Preflight{}, err
	}
	cloud, _, err := reach(ctx, c, logger)
	if err != nil {
		return aws.Preflight{}, err
	}
	if len(accounts) == 0 {
		accounts = cloud.Scope()
	}
	for _, account := range accounts {
		if err := cloud.Admits(account); err != nil && account != cloud.Self().Account {
			return aws.Preflight{}, err
		}
	}
	if len(regions) == 0 {
		regions = c.AWS.Regions()
	}
	if len(regions) == 0 {
		regions = []string{cloud.Self().Region}
	}
	found, err := cloud.Preflight(ctx, accounts, regions, duties, c.Sources.Queues)
	if err == nil && c.AWS.RoleName() != "" && !c.AWS.Organization.Enabled && len(c.AWS.Accounts) == 0 && len(accounts) == 1 {
		found.Unseen = append(found.Unseen, "other accounts: aws.accounts names none; name them by --account")
	}
	return found, err
}

// reach connects to AWS and discovers the organisation's accounts, if the configuration names one.
func reach(ctx context.Context, c Config, logger *slog.Logger) (*aws.Cloud, *aws.Organization, error) {
	if !c.AWS.Enabled {
		return nil, nil, fault.WithHint(fault.New(fault.Invalid, "AWS is not enabled"), "set aws.enabled, in the file that --config names")
	}
	cloud, err := aws.Connect(ctx, c.AWS)
	if err != nil {
		return nil, nil, err
	}
	organization := cloud.Follow(time.Now, logger)
	if organization != nil {
		if _, err := organization.Refresh(ctx); err != nil {
			return nil, nil, fmt.Errorf("discover accounts: %w", err)
		}
	}
	return cloud, organization, nil
}

// AccountList asks AWS for the accounts that the configuration leads to, and whether Riposte acts in each.
func AccountList(ctx context.Context, c Config, logger *slog.Logger) ([]aws.Account, error) {
	cloud, organization, err := reach(ctx, c, logger)
	if err != nil {
		return nil, err
	}
	var all []aws.Account
	if organization != nil {
		all = slices.Clone(organization.Known().All)
	}
	for _, id := range cloud.Scope() {
		if !slices.ContainsFunc(all, func(a aws.Account) bool { return a.ID == id }) {
			why := "aws.accounts has it"
			if id == cloud.Self().Account {
				why = "it is Riposte's own"
			}
			all = append(all, aws.Account{ID: id, In: true, Why: why})
		}
	}
	return all, nil
}
