package cli

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/store"
)

func (r *root) findings() *cobra.Command {
	c := &cobra.Command{Use: "findings", Short: "List and show findings with the records behind them", Aliases: []string{"finding"}}
	list := r.asking("list", "List findings, the last received first", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		query := url.Values{}
		copyFlags(c, query, "incident", "suppressed", "severity", "type", "limit", "cursor")
		var page store.Page[store.Finding]
		if err := server.Get(c.Context(), "/v1/findings", query, &page); err != nil {
			return err
		}
		return r.show(page, func() {
			rows := [][]string{}
			for _, f := range page.Items {
				rows = append(rows, []string{f.ID, when(f.LastSeen), f.Severity.String(), f.Type, orDash(f.Incident), orDash(f.Suppressed), f.Title})
			}
			r.table([]string{"FINDING", "LAST SEEN (UTC)", "SEVERITY", "TYPE", "INCIDENT", "SUPPRESSED BY", "TITLE"}, rows)
			r.more(page.Next)
		})
	})
	list.Flags().String("incident", "", "of this incident")
	list.Flags().Bool("suppressed", false, "only those that a suppression declares expected")
	list.Flags().String("severity", "", "at least: informational, low, medium, high, critical")
	list.Flags().String("type", "", "of this type, such as rule:riposte-aws-root-used")
	pages(list)
	show := r.asking("show FINDING", "Show a finding with the records behind it, as their source wrote them", "", cobra.ExactArgs(1),
		func(c *cobra.Command, server *client.Client, args []string) error {
			var detail api.FindingDetail
			if err := server.Get(c.Context(), at("findings", args[0]), nil, &detail); err != nil {
				return err
			}
			return r.show(detail, func() { r.finding(detail) })
		})
	c.AddCommand(list, show)
	return c
}

func (r *root) finding(d api.FindingDetail) {
	f := d.Finding
	r.line("%s  %s\n", f.ID, f.Title)
	r.line("type      %s\nseverity  %s\naccount   %s %s\nseen      %s to %s, %d times\nincident  %s", f.Type, f.Severity, f.Account, f.Region,
		when(f.FirstSeen), when(f.LastSeen), f.Count, orDash(f.Incident))
	if f.Suppressed != "" {
		r.line("expected  by suppression %s", f.Suppressed)
	}
	if f.Description != "" {
		r.line("\n%s", f.Description)
	}
	r.advice([]store.Finding{f})
	if len(f.Matched) > 0 {
		r.line("\nMatched")
		rows := [][]string{}
		for _, m := range f.Matched {
			rows = append(rows, []string{orDash(m.Field), m.Value})
		}
		r.table([]string{"FIELD", "VALUE"}, rows)
	}
	for _, ev := range d.Events {
		r.line("\n%s  %s %s, from %s", when(ev.Time), ev.Service, ev.Name, ev.Origin)
		r.record(ev.Raw)
	}
}

// mostShown is how many bytes of a record people are shown.
const mostShown = 16 << 10

// record shows the bytes of a record, up to what a person reads.
func (r *root) record(text string) {
	rest := len(text) - mostShown
	if rest > 0 {
		text = text[:mostShown]
	}
	fmt.Fprintln(r.Out, clean(text))
	if rest > 0 {
		r.line("... and %d bytes more; --json has all of it", rest)
	}
}
