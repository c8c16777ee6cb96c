package cli

import (
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

func (r *root) preflight() *cobra.Command {
	var accounts, regions []string
	c := &cobra.Command{
		Use: "preflight", Short: "Ask AWS whether Riposte's roles may do what the enabled playbooks and sources need",
		Long: "Looks, in each account and region in scope, at what playbooks would need: assumes the account's role for real, has\n" +
			"IAM simulate each permission on the role that would act, looks whether regions can be used, and whether queues can be\n" +
			"read. It says what is missing and which step of which playbook that breaks, and changes nothing.\n\n" +
			"Run it with the credentials that the server has: it asks AWS from here, as whoever they say. The simulation does not\n" +
			"see everything; what it can't see is told as well. It exits with 1 if something is missing.",
		Example: "  riposte preflight --config riposte.yaml\n" +
			"  riposte preflight --config riposte.yaml --account 111122223333 --region eu-central-1 --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, account := range accounts {
				if !aws.IsAccount(account) {
					return fault.New(fault.Invalid, "--account: %q is no account: its id has 12 digits", account)
				}
			}
			for _, region := range regions {
				if !aws.IsRegion(region) {
					return fault.New(fault.Invalid, "--region: %q is no region", region)
				}
			}
			settings, _, err := app.ReadConfig(r.config)
			if err != nil {
				return err
			}
			found, err := app.Preflight(c.Context(), settings, accounts, regions, r.logger(app.LogConfig{Level: slog.LevelWarn}))
			if err != nil {
				return err
			}
			err = r.show(found, func() { r.preflighted(found) })
			if err == nil && !found.OK {
				return errLacking
			}
			return err
		},
	}
	c.Flags().StringSliceVar(&accounts, "account", nil, "an account, repeat for several; all in scope if not given")
	c.Flags().StringSliceVar(&regions, "region", nil, "a region, repeat for several; aws.organization.regions or the home region if not given")
	return c
}

// preflighted writes for people what was found.
func (r *root) preflighted(p aws.Preflight) {
	rows := [][]string{}
	for _, a := range p.Accounts {
		result := "in order"
		if a.Problems > 0 {
			result = count(a.Problems, "problem")
		}
		rows = append(rows, []string{a.Account, string(a.Part), a.Principal, strings.Join(a.Regions, ", "), strconv.Itoa(a.Simulated), result})
	}
	r.table([]string{"ACCOUNT", "ROLE", "ACTS AS", "REGIONS", "SIMULATED", "RESULT"}, rows)
	for _, found := range p.Problems {
		where := found.Account
		if len(found.Regions) > 0 {
			where += " in " + strings.Join(found.Regions, ", ")
		}
		on := ""
		if found.Resource != "" {
			on = " on " + found.Resource
		}
		r.line("\n%s: %s%s\n  %s\n  breaks: %s", where, found.What, on, found.Why, orDash(breaks(found.Breaks)))
	}
	r.line("\nnot seen from here:")
	for _, unseen := range p.Unseen {
		r.line("  %s", unseen)
	}
	if p.OK {
		r.line("\nnothing is missing")
	} else {
		r.line("\n%s", count(len(p.Problems), "problem"))
	}
}

func (r *root) accounts() *cobra.Command {
	var in bool
	c := &cobra.Command{
		Use: "accounts", Short: "List the AWS accounts that the configuration leads to, and whether Riposte acts in each",
		Long: "Asks AWS Organizations, with the credentials here, as a server would, and says of each account whether Riposte acts\n" +
			"in it and why. Without aws.organization it lists the home account and aws.accounts.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, _, err := app.ReadConfig(r.config)
			if err != nil {
				return err
			}
			all, err := app.AccountList(c.Context(), settings, r.logger(app.LogConfig{Level: slog.LevelWarn}))
			if err != nil {
				return err
			}
			shown, acting := []aws.Account{}, 0
			for _, a := range all {
				if a.In {
					acting++
				}
				if a.In || !in {
					shown = append(shown, a)
				}
			}
			return r.show(map[string]any{"accounts": shown}, func() {
				rows := [][]string{}
				for _, a := range shown {
					rows = append(rows, []string{a.ID, orDash(a.Name), orDash(strings.ToLower(a.State)), mark(a.In), a.Why, orDash(strings.Join(a.Path, "/"))})
				}
				r.table([]string{"ACCOUNT", "NAME", "STATE", "IN", "WHY", "UNITS"}, rows)
				r.line("\nRiposte acts in %d of %s", acting, count(len(all), "account"))
			})
		},
	}
	c.Flags().BoolVar(&in, "in", false, "only those in which Riposte acts")
	return c
}
