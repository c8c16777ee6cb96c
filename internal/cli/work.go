package cli

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// asking makes a command that asks the server.
func (r *root) asking(use, short, long string, args cobra.PositionalArgs, do func(c *cobra.Command, server *client.Client, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: args,
		RunE: func(c *cobra.Command, args []string) error {
			server, err := r.client()
			if err != nil {
				return err
			}
			return do(c, server, args)
		},
	}
}

func at(collection, id string, rest ...string) string {
	return strings.Join(append([]string{"/v1", collection, url.PathEscape(id)}, rest...), "/")
}

func (r *root) incidents() *cobra.Command {
	c := &cobra.Command{Use: "incidents", Short: "List, show and close incidents", Aliases: []string{"incident"}}
	query := url.Values{}
	list := r.asking("list", "List incidents, the last opened first", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		copyFlags(c, query, "state", "severity", "account", "entity", "text", "limit", "cursor")
		var page store.Page[incident.Incident]
		if err := server.Get(c.Context(), "/v1/incidents", query, &page); err != nil {
			return err
		}
		return r.show(page, func() {
			rows := make([][]string, 0, len(page.Items))
			for _, i := range page.Items {
				rows = append(rows, []string{i.ID, when(i.Opened), i.Severity.String(), string(i.State), strconv.Itoa(i.Findings), i.Account, i.Title})
			}
			r.table([]string{"INCIDENT", "OPENED (UTC)", "SEVERITY", "STATE", "FINDINGS", "ACCOUNT", "TITLE"}, rows)
			r.more(page.Next)
		})
	})
	list.Flags().StringSlice("state", nil, "open, contained, closed or merged; open and contained if not given")
	list.Flags().String("severity", "", "at least: low, medium, high, critical")
	list.Flags().String("account", "", "in this account")
	list.Flags().String("entity", "", "about this entity, such as an instance's id")
	list.Flags().String("text", "", "with this in the title")
	pages(list)

	show := r.asking("show INCIDENT", "Show an incident: findings, entities, runs, timeline", "", cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
		var detail api.IncidentDetail
		if err := server.Get(c.Context(), at("incidents", args[0]), nil, &detail); err != nil {
			return err
		}
		return r.show(detail, func() { r.incident(detail) })
	})

	var verdict, note string
	closing := r.asking("close INCIDENT", "Close an incident with a verdict",
		"Closes an incident. Runs that wait are cancelled; a false positive takes back what playbooks applied that say\non_false_positive: undo.",
		cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
			var closed api.Closed
			if err := server.Post(c.Context(), at("incidents", args[0], "close"), api.Close{Verdict: verdict, Note: note}, &closed); err != nil {
				return err
			}
			return r.show(closed, func() {
				r.line("incident %s is closed: %s", closed.Incident.ID, closed.Incident.Verdict)
				if closed.Undo != nil {
					r.line("what was applied is being taken back by run %s", closed.Undo.ID)
				}
			})
		})
	closing.Flags().StringVar(&verdict, "verdict", "", "true_positive, benign or false_positive")
	closing.Flags().StringVar(&note, "note", "", "why")
	must(closing, "verdict", "note")
	c.AddCommand(list, show, closing)
	return c
}

// advice tells what the rules say to do first, each thing once.
func (r *root) advice(findings []store.Finding) {
	told := map[string]bool{}
	for _, f := range findings {
		if f.Response == "" || told[f.Response] {
			continue
		}
		if len(told) == 0 {
			r.line("\nWhat to do first")
		}
		told[f.Response] = true
		r.line("- %s", f.Response)
	}
}

func (r *root) incident(d api.IncidentDetail) {
	i := d.Incident
	r.line("%s  %s\n", i.ID, i.Title)
	state := string(i.State)
	if i.Verdict != "" {
		state += ", " + string(i.Verdict) + ": " + i.Note
	}
	r.line("state     %s\nseverity  %s\naccount   %s %s\nseen      %s to %s\nopened    %s", state, i.Severity, i.Account, i.Region,
		when(i.FirstSeen), when(i.LastSeen), when(i.Opened))
	r.line("\nFindings")
	rows := [][]string{}
	for _, f := range d.Findings {
		rows = append(rows, []string{f.ID, when(f.LastSeen), f.Severity.String(), f.Type, f.Title})
	}
	r.table([]string{"FINDING", "LAST SEEN", "SEVERITY", "TYPE", "TITLE"}, rows)
	if d.Incident.Findings > len(d.Findings) {
		r.line("... and %d more: riposte findings list --incident %s", d.Incident.Findings-len(d.Findings), i.ID)
	}
	r.advice(d.Findings)
	r.line("\nEntities")
	rows = [][]string{}
	for _, e := range i.Entities {
		rows = append(rows, []string{string(e.Kind), e.ID, string(e.Part), e.Account, e.Region})
	}
	r.table([]string{"KIND", "ID", "PART", "ACCOUNT", "REGION"}, rows)
	r.line("\nRuns")
	r.runRows(d.Runs)
	for _, a := range d.Approvals {
		if a.Answer == run.Pending {
			r.line("")
			r.question(a)
		}
	}
	r.line("\nTimeline")
	rows = [][]string{}
	for _, e := range d.Timeline {
		rows = append(rows, []string{strconv.FormatInt(e.Seq, 10), when(e.Time), string(e.Kind), e.Actor, e.Step, string(e.Body)})
	}
	r.table([]string{"ENTRY", "TIME", "KIND", "ACTOR", "STEP", "WHAT"}, rows)
}

func (r *root) runs() *cobra.Command {
	c := &cobra.Command{Use: "runs", Short: "List and show runs of playbooks", Aliases: []string{"run"}}
	query := url.Values{}
	list := r.asking("list", "List runs, the last created first", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		copyFlags(c, query, "state", "incident", "playbook", "limit", "cursor")
		var page store.Page[run.Run]
		if err := server.Get(c.Context(), "/v1/runs", query, &page); err != nil {
			return err
		}
		return r.show(page, func() {
			r.runRows(page.Items)
			r.more(page.Next)
		})
	})
	list.Flags().StringSlice("state", nil, "ready, waiting, held, succeeded, observed, denied, blocked, failed, cancelled")
	list.Flags().String("incident", "", "of this incident")
	list.Flags().String("playbook", "", "of this playbook")
	pages(list)
	show := r.asking("show RUN", "Show a run with its steps, plans and outcomes", "", cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
		var detail api.RunDetail
		if err := server.Get(c.Context(), at("runs", args[0]), nil, &detail); err != nil {
			return err
		}
		return r.show(detail, func() { r.run(detail) })
	})
	c.AddCommand(list, show)
	return c
}

func (r *root) runRows(runs []run.Run) {
	rows := make([][]string, 0, len(runs))
	for _, one := range runs {
		rows = append(rows, []string{one.ID, when(one.Created), one.Playbook, string(one.Kind), string(one.Autonomy), string(one.State), one.Subject, one.Reason})
	}
	r.table([]string{"RUN", "CREATED (UTC)", "PLAYBOOK", "KIND", "AUTONOMY", "STATE", "SUBJECT", "REASON"}, rows)
}

func (r *root) run(d api.RunDetail) {
	r.line("%s  %s of %s, %s\nincident %s, started by %s at %s", d.Run.ID, d.Run.Kind, d.Run.Playbook, d.Run.State, d.Run.Incident, d.Run.By, when(d.Run.Created))
	if d.Run.Reason != "" {
		r.line("%s", d.Run.Reason)
	}
	for _, step := range d.Steps {
		r.line("\n%s  %s: %s", step.ID, step.Action, step.State)
		if step.Change != nil {
			r.line("  plan    %s", step.Change.Summary)
			for _, call := range step.Change.Calls {
				r.line("  call    %s", call)
			}
			for _, impact := range step.Change.Impact {
				r.line("  mind    %s", impact)
			}
		}
		if step.Verified {
			r.line("  proof   read back, it holds")
		}
		if step.Error != "" {
			r.line("  error   %s", step.Error)
		}
	}
	for _, a := range d.Approvals {
		r.line("")
		r.question(a)
	}
}

func (r *root) approvals() *cobra.Command {
	c := &cobra.Command{Use: "approvals", Short: "List and show questions to people", Aliases: []string{"approval"}}
	query := url.Values{}
	list := r.asking("list", "List questions nobody answered yet", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		copyFlags(c, query, "answer", "incident", "limit")
		var page store.Page[run.Approval]
		if err := server.Get(c.Context(), "/v1/approvals", query, &page); err != nil {
			return err
		}
		return r.show(page, func() {
			rows := make([][]string, 0, len(page.Items))
			for _, a := range page.Items {
				rows = append(rows, []string{a.ID, when(a.Asked), when(a.Deadline), string(a.Answer), strings.Join(a.Roles, ","), a.Incident, summaries(a)})
			}
			r.table([]string{"APPROVAL", "ASKED (UTC)", "DEADLINE", "ANSWER", "FOR", "INCIDENT", "WHAT"}, rows)
		})
	})
	list.Flags().String("answer", "", "pending (if not given), approved, denied, expired, superseded or any")
	list.Flags().String("incident", "", "of this incident")
	list.Flags().Int("limit", 50, "how many")
	show := r.asking("show APPROVAL", "Show a question with its exact plans", "", cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
		var asked run.Approval
		if err := server.Get(c.Context(), at("approvals", args[0]), nil, &asked); err != nil {
			return err
		}
		return r.show(asked, func() { r.question(asked) })
	})
	c.AddCommand(list, show)
	return c
}

func summaries(a run.Approval) string {
	all := make([]string, 0, len(a.Plans))
	for _, p := range a.Plans {
		all = append(all, p.Change.Summary)
	}
	return strings.Join(all, "; ")
}

func (r *root) question(a run.Approval) {
	r.line("%s  %s, for %s, asked %s, until %s", a.ID, a.Answer, strings.Join(a.Roles, " or "), when(a.Asked), when(a.Deadline))
	if a.By != "" {
		r.line("  by %s at %s: %s", a.By, when(a.Decided), a.Reason)
	}
	for _, p := range a.Plans {
		r.line("  %s: %s", p.Step, p.Change.Summary)
		for _, call := range p.Change.Calls {
			r.line("    call  %s", call)
		}
		for _, impact := range p.Change.Impact {
			r.line("    mind  %s", impact)
		}
		r.line("    from  %s\n    to    %s", brief(string(p.Change.Before)), brief(string(p.Change.After)))
	}
	r.line("  hash %s", a.Hash)
	if a.Answer == run.Pending {
		r.line("  riposte approve %s --hash %s", a.ID, a.Hash)
	}
}

func (r *root) approve() *cobra.Command {
	return r.answering("approve", "Approve exactly the plans of a question")
}

func (r *root) deny() *cobra.Command {
	return r.answering("deny", "Deny the plans of a question; its run ends")
}

func (r *root) answering(verb, short string) *cobra.Command {
	var answer api.Answer
	c := r.asking(verb+" APPROVAL", short, short+".\n\nWith --hash the answer is for the plans that you saw: if they changed since, it is refused.",
		cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
			var decided run.Approval
			if err := server.Post(c.Context(), at("approvals", args[0], verb), answer, &decided); err != nil {
				return err
			}
			return r.show(decided, func() { r.line("%s: %s by %s; run %s goes on", decided.ID, decided.Answer, decided.By, decided.Run) })
		})
	c.Flags().StringVar(&answer.Hash, "hash", "", "of the plans you saw")
	c.Flags().StringVar(&answer.Reason, "reason", "", "why; it is kept in the ledger")
	return c
}

func (r *root) undo() *cobra.Command {
	var what api.Undo
	c := r.asking("undo run|incident ID", "Take back what a step, a run or all of an incident applied",
		"Restores what the plans saw, the last change first. A resource that somebody changed since is left as it is, and\nthe difference is told; --force overwrites it.",
		cobra.ExactArgs(2), func(c *cobra.Command, server *client.Client, args []string) error {
			if args[0] != "run" && args[0] != "incident" {
				return fmt.Errorf("undo run RUN, or undo incident INCIDENT; not %q: %w for %s", args[0], errUsage, c.CommandPath())
			}
			var undo run.Run
			if err := server.Post(c.Context(), at(args[0]+"s", args[1], "undo"), what, &undo); err != nil {
				return err
			}
			return r.show(undo, func() { r.line("run %s takes it back: riposte runs show %s", undo.ID, undo.ID) })
		})
	c.Flags().StringVar(&what.Step, "step", "", "only this step of the run")
	c.Flags().BoolVar(&what.Force, "force", false, "overwrite what somebody changed since")
	return c
}

func (r *root) letters() *cobra.Command {
	c := &cobra.Command{Use: "deadletters", Short: "List, show and replay records that could not be read", Aliases: []string{"deadletter"}}
	query := url.Values{}
	list := r.asking("list", "List records that could not be read", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		copyFlags(c, query, "all", "format", "limit", "cursor")
		var page store.Page[event.Letter]
		if err := server.Get(c.Context(), "/v1/deadletters", query, &page); err != nil {
			return err
		}
		return r.show(page, func() {
			rows := make([][]string, 0, len(page.Items))
			for _, l := range page.Items {
				rows = append(rows, []string{l.ID, when(l.Received), strconv.Itoa(l.Count), l.Format, l.Origin, l.Reason})
			}
			r.table([]string{"LETTER", "RECEIVED (UTC)", "TIMES", "FORMAT", "ORIGIN", "WHY"}, rows)
			r.more(page.Next)
		})
	})
	list.Flags().Bool("all", false, "those replayed too")
	list.Flags().String("format", "", "of this format")
	pages(list)
	show := r.asking("show LETTER", "Show a record that could not be read", "", cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
		var detail api.LetterDetail
		if err := server.Get(c.Context(), at("deadletters", args[0]), nil, &detail); err != nil {
			return err
		}
		return r.show(detail, func() {
			r.line("%s from %s, %d times, last at %s\n%s\n", detail.Letter.Format, detail.Letter.Origin, detail.Letter.Count,
				when(detail.Letter.Received), detail.Letter.Reason)
			r.record(detail.Text)
		})
	})
	replay := r.asking("replay LETTER", "Read a record once more", "", cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
		var done api.Done
		if err := server.Post(c.Context(), at("deadletters", args[0], "replay"), nil, &done); err != nil {
			return err
		}
		return r.show(done, func() { r.line("%s was read", args[0]) })
	})
	drop := r.asking("delete LETTER", "Throw a record away; the ledger keeps that it was", "", cobra.ExactArgs(1), func(c *cobra.Command, server *client.Client, args []string) error {
		var done api.Done
		if err := server.Delete(c.Context(), at("deadletters", args[0]), nil, &done); err != nil {
			return err
		}
		return r.show(done, func() { r.line("%s is gone", args[0]) })
	})
	c.AddCommand(list, show, replay, drop)
	return c
}

func (r *root) status() *cobra.Command {
	return r.asking("status", "Show whether the server's parts work, and who you are to it", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		var me api.Me
		if err := server.Get(c.Context(), "/v1/me", nil, &me); err != nil {
			return err
		}
		var parts struct {
			Items []health.State `json:"items"`
		}
		if err := server.Get(c.Context(), "/v1/status", nil, &parts); err != nil {
			return err
		}
		report := map[string]any{"me": me, "parts": parts.Items}
		return r.show(report, func() {
			r.line("riposte %s at %s; you are %s (%s)\n", me.Version, r.url, me.Name, strings.Join(me.Roles, ", "))
			rows := [][]string{}
			for _, p := range parts.Items {
				works := "works"
				if !p.OK {
					works = "FAILS"
				}
				rows = append(rows, []string{p.Name, works, when(p.Since), orDash(cmp.Or(p.Error, p.Note))})
			}
			r.table([]string{"PART", "STATE", "SINCE (UTC)", "WHY"}, rows)
			for _, p := range parts.Items {
				if brief(p.Error) != p.Error {
					r.line("\n%s: %s", p.Name, p.Error)
				}
			}
		})
	})
}

func (r *root) more(cursor string) {
	if cursor != "" {
		r.line("\nmore: --cursor %s", cursor)
	}
}

func pages(c *cobra.Command) {
	c.Flags().Int("limit", 50, "how many")
	c.Flags().String("cursor", "", "go on where the page before ended")
}

// copyFlags puts the flags that were given into a query.
func copyFlags(c *cobra.Command, query url.Values, names ...string) {
	for _, name := range names {
		flag := c.Flags().Lookup(name)
		if flag == nil || !flag.Changed {
			continue
		}
		value := flag.Value.String()
		if flag.Value.Type() == "stringSlice" {
			value = strings.Trim(value, "[]")
		}
		query.Set(name, value)
	}
}

func must(c *cobra.Command, flags ...string) {
	for _, name := range slices.Clone(flags) {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that we did not define
		}
	}
}
