package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/config"
	"github.com/riposte-sec/riposte/internal/coverage"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/store"
)

// impatience is how long a server is waited for that nobody named.
const impatience = 2 * time.Second

// covering is what the flags of coverage say.
type covering struct {
	navigator                  string
	markdown, offline, verbose bool
	days                       int
}

func (r *root) coverage() *cobra.Command {
	var o covering
	c := &cobra.Command{
		Use: "coverage", Short: "Show which ATT&CK techniques have a rule, a test, a playbook and a log source",
		Long: "Shows, for each ATT&CK technique that a rule in force names in its tags: how many rules find it, whether tests show\n" +
			"that they do, whether a playbook answers, and whether the log source that they need was heard of in the last days.\n" +
			"The last a server knows: the one that --url says, or one that runs here. Without any it is unknown.\n\n" +
			"Where a rule names several techniques and tactics, each technique counts in each of them.",
		Example: "  riposte coverage\n" +
			"  riposte coverage --verbose --offline\n" +
			"  riposte coverage --navigator layer.json     # open it in the ATT&CK Navigator\n" +
			"  riposte coverage --markdown > docs/coverage.md",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case o.markdown && (r.json || o.navigator == "-") || r.json && o.navigator == "-":
				return fault.New(fault.Invalid, "--json, --markdown and --navigator - all write to standard output; choose one")
			case o.days < 1:
				return fault.New(fault.Invalid, "--days is how many, from 1")
			}
			return cobra.NoArgs(c, args)
		},
		RunE: func(c *cobra.Command, _ []string) error {
			return r.covered(c.Context(), o, c.Flags().Changed("url") || config.Env("RIPOSTE_URL", "") != "")
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.navigator, "navigator", "", "write a layer of the ATT&CK Navigator to this file, or to standard output (-)")
	flags.BoolVar(&o.markdown, "markdown", false, "write a page in Markdown")
	flags.BoolVar(&o.offline, "offline", false, "ask no server which log sources were heard of")
	flags.IntVar(&o.days, "days", 7, "how many days back a log source must have been heard of")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "list the rules of each technique")
	completeFiles(c, "navigator", "json")
	return c
}

func (r *root) covered(ctx context.Context, o covering, named bool) error {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return err
	}
	inventory, err := app.NewInventory(settings, time.Now())
	if err != nil {
		return err
	}
	sources, err := r.sources(ctx, o.offline, named)
	if err != nil {
		return err
	}
	report := inventory.Coverage(sources, time.Now().AddDate(0, 0, -o.days))
	if o.navigator != "" {
		layer, err := report.Navigator()
		if err != nil {
			return err
		}
		if o.navigator == "-" {
			_, err = r.Out.Write(layer)
			return err
		}
		err = toFile(o.navigator, func(file *os.File) error { _, err := file.Write(layer); return err })
		if err != nil {
			return err
		}
	}
	if o.markdown {
		_, err := fmt.Fprint(r.Out, clean(report.Markdown()))
		return err
	}
	return r.show(report, func() { r.coverageTables(report, o) })
}

// sources asks the server where events came from; nil if nobody knows. That a server which was named can't be
// asked is an error; that none runs here isn't.
func (r *root) sources(ctx context.Context, offline, named bool) ([]api.Source, error) {
	if offline {
		return nil, nil
	}
	token, err := r.token()
	if err != nil {
		return nil, err
	}
	wait := time.Minute
	if !named {
		wait = impatience
	}
	server, err := client.New(r.url, token, &http.Client{Timeout: wait})
	if err != nil {
		return nil, err
	}
	var page store.Page[api.Source]
	err = server.Get(ctx, "/v1/sources", nil, &page)
	switch {
	case err == nil:
		return append([]api.Source{}, page.Items...), nil
	case named:
		return nil, fault.WithHint(fmt.Errorf("ask which log sources were heard of: %w", err), "--offline does without")
	}
	fmt.Fprintln(r.Err, "log sources are unknown:", flat(err.Error()))
	return nil, nil
}

// coverageTables writes a report for people.
func (r *root) coverageTables(c coverage.Report, o covering) {
	rows := [][]string{}
	for _, t := range c.Techniques {
		rows = append(rows, []string{
			t.ID, strconv.Itoa(len(t.Rules)), mark(t.Tested), mark(t.Answered), string(t.Heard), strings.Join(t.Tactics, ", "),
		})
		if !o.verbose {
			continue
		}
		for _, rule := range t.Rules {
			rows = append(rows, []string{"  " + rule.Rule, "", mark(rule.Tested), mark(len(rule.Playbooks) > 0), string(rule.Heard), strings.Join(rule.Needs, ", ")})
		}
	}
	r.table([]string{"TECHNIQUE", "RULES", "TEST", "PLAYBOOK", "LOG SOURCE", "TACTICS"}, rows)
	rows = [][]string{}
	for _, t := range c.Tactics {
		rows = append(rows, []string{t.Name, strconv.Itoa(t.Techniques), strconv.Itoa(t.Tested), strconv.Itoa(t.Answered), heardOf(c, t.Heard)})
	}
	r.line("")
	r.table([]string{"TACTIC", "TECHNIQUES", "TESTED", "ANSWERED", "LOG SOURCE HEARD"}, rows)
	rows = [][]string{}
	for _, s := range c.Sources {
		rows = append(rows, []string{s.Name, strconv.Itoa(s.Rules), string(s.Heard), when(s.Latest)})
	}
	r.line("")
	r.table([]string{"LOG SOURCE", "RULES", "IN " + strings.ToUpper(count(o.days, "day")), "NEWEST EVENT (UTC)"}, rows)
	tested, answered := 0, 0
	for _, t := range c.Techniques {
		if t.Tested {
			tested++
		}
		if t.Answered {
			answered++
		}
	}
	r.line("\n%s find %s: %d with tests, %d with a playbook", count(c.Rules, "rule"), count(len(c.Techniques), "technique"), tested, answered)
	if len(c.Untagged) > 0 {
		r.line("%s without a technique: %s", count(len(c.Untagged), "rule"), brief(strings.Join(c.Untagged, ", ")))
	}
	if o.navigator != "" {
		r.line("the layer is in %s", flat(o.navigator))
	}
}

// heardOf is a number, or unknown where no server was asked.
func heardOf(c coverage.Report, n int) string {
	if !slices.ContainsFunc(c.Sources, func(s coverage.Needed) bool { return s.Heard != coverage.Unknown }) {
		return string(coverage.Unknown)
	}
	return strconv.Itoa(n)
}

func mark(holds bool) string {
	if holds {
		return "yes"
	}
	return "-"
}
