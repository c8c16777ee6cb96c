package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

// errLacking says that permissions are missing, which has been told already. The exit code is 1.
var errLacking = errors.New("permissions are missing")

// permitting is what the flags of permissions say.
type permitting struct {
	app.Permitted
	part, format string
	out, diff    string
}

func (r *root) permissions() *cobra.Command {
	var o permitting
	c := &cobra.Command{
		Use: "permissions", Short: "Write the least-privilege AWS policy of the enabled playbooks and sources, or compare one with it",
		Long: "Writes the IAM policy that one of Riposte's roles needs. The home role, which Riposte runs as: to read the queues of\n" +
			"the configuration, to act in its own account, to discover the organisation's accounts and to assume the member role.\n" +
			"The member role, which is assumed in other accounts: to plan, apply and undo each action that an enabled playbook or\n" +
			"a channel uses. It asks no cloud and no server.\n\n" +
			"As Terraform or CloudFormation it is a template: the member role with its trust in the home role, or policies for\n" +
			"the home role, which is there already; divided into managed policies of 6,144 characters. Accounts and partition are\n" +
			"filled in where the template is deployed.\n\n" +
			"With --diff it compares policies with what is needed, by what they mean: wildcards, resources, conditions, denials.\n" +
			"It exits with 1 if something is missing; what is too much is told and is no failure.",
		Example: "  riposte permissions --config riposte.yaml > policy.json\n" +
			"  riposte permissions --config riposte.yaml --role member --format cloudformation > member.yaml\n" +
			"  riposte permissions --config riposte.yaml --role member --format terraform --home-role arn:aws:iam::123456789012:role/riposte\n" +
			"  riposte permissions --config riposte.yaml --role member --account 111122223333 --diff infra/iam/",
		Args: func(c *cobra.Command, args []string) error {
			if err := o.check(c); err != nil {
				return fmt.Errorf("%w: %w for %s", err, errUsage, c.CommandPath())
			}
			return cobra.NoArgs(c, args)
		},
		RunE: func(*cobra.Command, []string) error {
			settings, _, err := app.ReadConfig(r.config)
			if err != nil {
				return err
			}
			if o.diff != "" {
				return r.permissionsDiff(settings, o)
			}
			return r.permissionsWritten(settings, o)
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.part, "role", string(aws.Home), "whose permissions: home, or member")
	flags.StringVar(&o.format, "format", string(app.JSON), "how to write them: json, terraform or cloudformation")
	flags.StringVar(&o.Account, "account", "", "the account in which the role acts; any if not given")
	flags.StringSliceVar(&o.Regions, "region", nil, "a region in which it acts, repeat for several; aws.organization.regions or any if not given")
	flags.StringVar(&o.Role, "role-name", "riposte", "name of the home role")
	flags.StringVar(&o.HomeRole, "home-role", "", "ARN of the home role, for the member role's trust; the template asks for it if not given")
	flags.StringVar(&o.out, "out", "", "write files into this folder instead of to standard output")
	flags.StringVar(&o.diff, "diff", "", "compare with the policies in this file, or below this folder: JSON, CloudFormation, Terraform")
	completeFolders(c, "out")
	completeFiles(c, "diff", "json", "yaml", "yml", "template", "tf")
	completeWords(c, "role", string(aws.Home), string(aws.Member))
	completeWords(c, "format", string(app.JSON), string(app.Terraform), string(app.CloudFormation))
	return c
}

// check finds flags that don't go together.
func (o *permitting) check(c *cobra.Command) error {
	o.Part = aws.Part(o.part)
	switch given := c.Flags().Changed; {
	case o.Part != aws.Home && o.Part != aws.Member:
		return fault.New(fault.Invalid, "--role is home or member, not %q", o.part)
	case !slices.Contains([]app.Format{app.JSON, app.Terraform, app.CloudFormation}, app.Format(o.format)):
		return fault.New(fault.Invalid, "--format is json, terraform or cloudformation, not %q", o.format)
	case slices.ContainsFunc(o.Regions, func(name string) bool { return !aws.IsRegion(name) }):
		return fault.New(fault.Invalid, "--region: one of %q is no region", o.Regions)
	case o.diff != "" && (o.out != "" || given("format")):
		return fault.New(fault.Invalid, "--diff compares and writes no policy: leave --out and --format out")
	case o.HomeRole != "" && (o.Part != aws.Member || o.format == string(app.JSON)):
		return fault.New(fault.Invalid, "--home-role is for the template of the member role")
	case given("role-name") && o.Part != aws.Home:
		return fault.New(fault.Invalid, "--role-name is the home role's; the member's is aws.assume_role or aws.organization.role")
	}
	return nil
}

func (r *root) permissionsWritten(c app.Config, o permitting) error {
	files, warnings, err := app.Permissions(c, o.Permitted, app.Format(o.format), o.out != "")
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintln(r.Err, "warning:", clean(w))
	}
	if o.out == "" {
		for _, file := range files {
			if _, err := r.Out.Write(file.Text); err != nil {
				return err
			}
		}
		return nil
	}
	if err := os.MkdirAll(o.out, 0o750); err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("--out: %w", err))
	}
	names := []string{}
	for _, file := range files {
		path := filepath.Join(o.out, file.Name)
		if err := toFile(path, func(f *os.File) error { _, err := f.Write(file.Text); return err }); err != nil {
			return err
		}
		names = append(names, path)
	}
	return r.show(map[string]any{"files": names}, func() {
		for _, name := range names {
			r.line("written: %s", name)
		}
	})
}

func (r *root) permissionsDiff(c app.Config, o permitting) error {
	found, err := app.ComparePermissions(c, o.Permitted, o.diff)
	if err != nil {
		return err
	}
	err = r.show(found, func() { r.comparison(found) })
	if err == nil && len(found.Missing) > 0 {
		return errLacking
	}
	return err
}

// comparison writes a comparison for people.
func (r *root) comparison(c aws.Comparison) {
	if len(c.Missing) > 0 {
		r.line("missing:")
		for _, m := range c.Missing {
			r.needed(m)
		}
	}
	if len(c.Conditional) > 0 {
		r.line("may be denied:")
		for _, m := range c.Conditional {
			r.needed(m)
		}
	}
	if len(c.Excess) > 0 {
		r.line("too much:")
		for _, e := range c.Excess {
			r.line("  %s on %s\n    in %s: %s", e.Action, e.Resource, orDash(e.Sid), e.Why)
		}
	}
	switch {
	case len(c.Missing)+len(c.Excess)+len(c.Conditional) == 0:
		r.line("the policies grant exactly what is needed")
	default:
		r.line("%s missing, %d too much", count(len(c.Missing), "permission"), len(c.Excess))
	}
}

func (r *root) needed(m aws.Missing) {
	r.line("  %s on %s\n    %s", m.Permission, m.Resource, m.Why)
	for _, use := range m.Uses {
		r.line("    for %s", use.String())
	}
}

// breaks is what needs a permission, briefly: names of playbooks with their steps, each once.
func breaks(uses []aws.Use) string {
	var all []string
	for _, use := range uses {
		text := use.For
		switch {
		case use.Playbook != "":
			text = use.Playbook + "/" + use.Step + " (" + use.Action + ")"
		case use.Channel != "":
			text = "channel " + use.Channel + " (" + use.Action + ")"
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}
