package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/store"
)

func (r *root) onCall() *cobra.Command {
	return r.asking("oncall", "Show who is on call now and next", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		var page store.Page[api.OnCall]
		if err := server.Get(c.Context(), "/v1/oncall", nil, &page); err != nil {
			return err
		}
		return r.show(page, func() {
			if len(page.Items) == 0 {
				r.line("no rotation is configured: docs/configuration.md describes oncall")
				return
			}
			var rows [][]string
			for _, one := range page.Items {
				now, next, until := names(one.Now), "-", "-"
				if one.Error != "" {
					now = "not known: " + one.Error
				}
				if !one.Now.Until.IsZero() {
					until = when(one.Now.Until)
				}
				if one.Next != nil {
					next = names(*one.Next)
				}
				rows = append(rows, []string{one.Rotation, now, until, next})
			}
			r.table([]string{"ROTATION", "NOW", "UNTIL (UTC)", "NEXT"}, rows)
		})
	})
}

// names lists who is on call in a shift.
func names(s api.Shift) string {
	if len(s.People) == 0 {
		return "nobody"
	}
	all := make([]string, 0, len(s.People))
	for _, p := range s.People {
		all = append(all, p.Name)
	}
	return strings.Join(all, ", ")
}
