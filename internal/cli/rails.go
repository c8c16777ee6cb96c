package cli

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/store"
)

func (r *root) freeze() *cobra.Command {
	var f api.Freeze
	c := r.asking("freeze [everything | account ID | playbook NAME]", "Stop every change, or those in an account or by a playbook",
		"Stops changes at once: runs go on planning and hold before their next change. Undoing is not stopped.\n\n"+
			"  riposte freeze everything --reason \"we are looking into it\" --for 2h",
		cobra.RangeArgs(0, 2), func(c *cobra.Command, server *client.Client, args []string) error {
			f.Scope = string(guardrail.Everything)
			if len(args) > 0 {
				f.Scope = args[0]
			}
			if len(args) > 1 {
				f.Value = args[1]
			}
			var frozen guardrail.Freeze
			if err := server.Post(c.Context(), "/v1/freezes", f, &frozen); err != nil {
				return err
			}
			return r.show(frozen, func() { r.line("frozen: %s\nlift it by: riposte unfreeze %s", frozen.ID, frozen.ID) })
		})
	c.Flags().StringVar(&f.Reason, "reason", "", "why")
	c.Flags().StringVar(&f.For, "for", "", "how long, such as 2h; until it is lifted if not given")
	must(c, "reason")
	return c
}

func (r *root) unfreeze() *cobra.Command {
	var reason string
	c := r.asking("unfreeze ID", "Lift a freeze; held runs go on at once", "", cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
		var done api.Done
		if err := server.Delete(c.Context(), at("freezes", args[0]), url.Values{"reason": {reason}}, &done); err != nil {
			return err
		}
		return r.show(done, func() { r.line("%s is lifted", args[0]) })
	})
	c.Flags().StringVar(&reason, "reason", "", "why; it is kept in the ledger")
	return c
}

func (r *root) freezes() *cobra.Command {
	return r.asking("freezes", "List freezes in force", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		var page store.Page[guardrail.Freeze]
		if err := server.Get(c.Context(), "/v1/freezes", nil, &page); err != nil {
			return err
		}
		return r.show(page, func() {
			rows := [][]string{}
			for _, f := range page.Items {
				rows = append(rows, []string{f.ID, when(f.At), when(f.Until), f.By, f.Reason})
			}
			r.table([]string{"FREEZE", "SINCE (UTC)", "UNTIL", "BY", "WHY"}, rows)
		})
	})
}

func (r *root) protect() *cobra.Command {
	var p api.Protect
	c := r.asking("protect", "Let no action change some entities",
		"Every flag that is given must match; patterns take * for any run of characters.\n\n"+
			"  riposte protect --tag public=yes --kind bucket --reason \"websites\"\n"+
			"  riposte protect --account 111122223333 --reason \"production payments\"",
		cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
			if p == (api.Protect{Reason: p.Reason}) {
				return fmt.Errorf("say what: --kind, --name, --arn, --account or --tag: %w for %s", errUsage, c.CommandPath())
			}
			var set guardrail.Protection
			if err := server.Post(c.Context(), "/v1/protections", p, &set); err != nil {
				return err
			}
			return r.show(set, func() { r.line("protected: %s", set.ID) })
		})
	c.Flags().StringVar(&p.Kind, "kind", "", "kind of entity, such as instance, bucket, user, role")
	c.Flags().StringVar(&p.Name, "name", "", "pattern on its id or name")
	c.Flags().StringVar(&p.ARN, "arn", "", "pattern on its ARN")
	c.Flags().StringVar(&p.Account, "account", "", "in this account")
	c.Flags().StringVar(&p.Tag, "tag", "", "with this tag: key, or key=value")
	c.Flags().StringVar(&p.Reason, "reason", "", "why")
	must(c, "reason")
	return c
}

func (r *root) unprotect() *cobra.Command {
	return r.asking("unprotect ID", "End a protection", "", cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
		var done api.Done
		if err := server.Delete(c.Context(), at("protections", args[0]), nil, &done); err != nil {
			return err
		}
		return r.show(done, func() { r.line("%s is ended", args[0]) })
	})
}

func (r *root) protections() *cobra.Command {
	return r.asking("protections", "List what no action may change", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		var page store.Page[guardrail.Protection]
		if err := server.Get(c.Context(), "/v1/protections", nil, &page); err != nil {
			return err
		}
		return r.show(page, func() {
			rows := [][]string{}
			for _, p := range page.Items {
				rows = append(rows, []string{p.ID, orDash(string(p.Kind)), orDash(p.Name), orDash(p.ARN), orDash(p.Account), orDash(p.Tag), p.By, p.Reason})
			}
			r.table([]string{"PROTECTION", "KIND", "NAME", "ARN", "ACCOUNT", "TAG", "BY", "WHY"}, rows)
		})
	})
}
