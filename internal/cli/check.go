package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/fault"
)

func (r *root) check() *cobra.Command {
	return &cobra.Command{
		Use: "check [RULES-OR-PLAYBOOKS...]", Short: "Check configuration, rules with their tests, and playbooks",
		Long: "Checks the configuration (--config), the rules and playbooks it names and the shipped ones, and runs the tests\n" +
			"beside the rules. Further files and folders can be given: those below a folder called playbooks, or that hold\n" +
			"the key playbook, are playbooks; the others are rules. Exits with 3 if mistakes are found.",
		RunE: func(c *cobra.Command, args []string) error { return r.checked(args) },
	}
}

// checked tells every mistake there is.
func (r *root) checked(paths []string) error {
	settings, warnings, err := app.ReadConfig(r.config)
	found := mistakes(err)
	var summary app.Checked
	if err == nil {
		summary, err = app.Check(settings, paths)
		found = append(found, mistakes(err)...)
		warnings = append(warnings, summary.Untested...)
	}
	report := struct {
		OK       bool     `json:"ok"`
		Mistakes []string `json:"mistakes"`
		Warnings []string `json:"warnings"`
		app.Checked
	}{len(found) == 0, append([]string{}, found...), append([]string{}, warnings...), summary}
	err = r.show(report, func() {
		for _, w := range warnings {
			fmt.Fprintln(r.Out, "warning:", clean(w))
		}
		for _, m := range found {
			fmt.Fprintln(r.Out, "wrong:  ", clean(m))
		}
		if len(found) == 0 {
			fmt.Fprintf(r.Out, "in order: %d rules with %d tests, %d playbooks\n", summary.Rules, summary.Cases, summary.Playbooks)
		} else {
			fmt.Fprintf(r.Out, "%d mistakes\n", len(found))
		}
	})
	if err == nil && len(found) > 0 {
		return errFound
	}
	return err
}

func (r *root) tokens() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Make tokens"}
	var roles []string
	var valid time.Duration
	create := &cobra.Command{
		Use: "create NAME", Short: "Make a token and the configuration that lets it in", Args: cobra.ExactArgs(1),
		Long: "Makes a token. It is shown once; the configuration holds its hash alone.",
		RunE: func(_ *cobra.Command, args []string) error {
			for _, role := range roles {
				if err := new(auth.Role).UnmarshalText([]byte(role)); err != nil {
					return fault.Wrap(fault.Invalid, err)
				}
			}
			token, hash, err := auth.Generate()
			if err != nil {
				return err
			}
			expires := time.Now().Add(valid).UTC().Truncate(time.Second)
			if valid <= 0 {
				return fault.New(fault.Invalid, "--valid: %s is over before it begins", valid)
			}
			entry := auth.Token{Name: args[0], SHA256: hash, Roles: []auth.Role{auth.Admin}, Expires: expires}
			if _, err := auth.New(auth.Config{Tokens: []auth.Token{entry}}, time.Now); err != nil {
				return err
			}
			made := map[string]any{"name": args[0], "token": token, "sha256": hash, "roles": roles, "expires": expires}
			return r.show(made, func() {
				fmt.Fprintf(r.Out, "token: %s\n\nIt is not shown again. Add to the configuration:\n\nauth:\n  tokens:\n    - name: %s\n      sha256: %s\n      roles: [%s]\n      expires: %s\n",
					token, clean(args[0]), hash, strings.Join(roles, ", "), expires.Format(time.RFC3339))
			})
		},
	}
	create.Flags().StringSliceVar(&roles, "role", []string{string(auth.IncidentAnalyst)}, "a role; repeat for several")
	create.Flags().DurationVar(&valid, "valid", 90*24*time.Hour, "how long it lets in")
	c.AddCommand(create)
	return c
}

func (r *root) openAPI() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Write the API's OpenAPI description", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := api.Describe(r.version)
			if err != nil {
				return err
			}
			if !json.Valid(text) {
				return errors.New("the description is not JSON")
			}
			_, err = fmt.Fprintf(r.Out, "%s\n", text)
			return err
		},
	}
}
