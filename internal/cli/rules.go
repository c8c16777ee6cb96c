package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
)

// listedRule is a rule as lists and programs see it.
type listedRule struct {
	Name        string   `json:"name"`
	Title       string   `json:"title"`
	Severity    string   `json:"severity"`
	Correlation bool     `json:"correlation"`
	Tactics     []string `json:"tactics"`
	Techniques  []string `json:"techniques"`
	Tests       int      `json:"tests"`
	Tested      bool     `json:"tested"`
	Playbooks   []string `json:"playbooks"`
	File        string   `json:"file"`
	Line        int      `json:"line"`
}

// shownRule is a rule with all that it says.
type shownRule struct {
	listedRule
	ID             string     `json:"id,omitempty"`
	Description    string     `json:"description"`
	Response       string     `json:"response"`
	FalsePositives []string   `json:"false_positives"`
	References     []string   `json:"references"`
	Sources        []string   `json:"log_sources"`
	Cases          []app.Test `json:"cases"`
}

func (r *root) rules() *cobra.Command {
	var cost bool
	var dirs []string
	c := &cobra.Command{
		Use: "rules", Short: "List and show rules, and measure what they cost", Aliases: []string{"rule"},
		Long: "Lists the rules and correlations in force: the shipped ones and those that the configuration (--config) names.\n\n" +
			"With --cost it measures what each rule adds to an event, over logs if some are named, or else over the events of\n" +
			"the rules' tests, so that an expensive rule is seen: the rules are asked together, as in force. Correlations only\n" +
			"count what rules match, and aren't measured.",
		Example: "  riposte rules\n" +
			"  riposte rules show riposte-aws-cloudtrail-stopped\n" +
			"  riposte rules --cost\n" +
			"  riposte rules --cost --rules rules/ ~/my-cloudtrail-logs/",
		Args: func(c *cobra.Command, args []string) error {
			if !cost && len(args) > 0 {
				return fmt.Errorf("%w; logs go with --cost", noSuchCommand(c, args))
			}
			if !cost && len(dirs) > 0 {
				return fault.New(fault.Invalid, "--rules goes with --cost; what is listed is in force")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if cost {
				return r.costs(c.Context(), dirs, args)
			}
			return r.listRules()
		},
	}
	c.Flags().BoolVar(&cost, "cost", false, "measure what asking each rule costs")
	c.Flags().StringArrayVar(&dirs, "rules", nil, "with --cost: folder or file of rules; repeat for several")
	completeFolders(c, "rules")
	list := &cobra.Command{
		Use: "list", Short: "List the rules in force", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return r.listRules() },
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show a rule in force: what it finds, its tests, the playbooks that answer", Args: cobra.ExactArgs(1),
		Example: "  riposte rules show riposte-aws-cloudtrail-stopped",
		RunE:    func(_ *cobra.Command, args []string) error { return r.showRule(args[0]) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return r.ruleNames(typed), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.AddCommand(list, show)
	return c
}

// ruleNames are the rules in force whose names begin with something, for the shell.
func (r *root) ruleNames(typed string) []string {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return nil
	}
	trial, err := app.NewTrial(settings)
	if err != nil {
		return nil
	}
	var names []string
	for _, rule := range trial.Rules() {
		if strings.HasPrefix(rule.Name, typed) {
			names = append(names, rule.Name+"\t"+clean(rule.Title))
		}
	}
	return names
}

func (r *root) inventory() (*app.Inventory, error) {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return nil, err
	}
	return app.NewInventory(settings, time.Now())
}

func (r *root) listRules() error {
	inventory, err := r.inventory()
	if err != nil {
		return err
	}
	all := make([]listedRule, 0, len(inventory.Rules))
	for _, rule := range inventory.Rules {
		all = append(all, listed(inventory, rule))
	}
	return r.show(map[string]any{"items": all}, func() {
		rows := [][]string{}
		for _, one := range all {
			tests := strconv.Itoa(one.Tests)
			if !one.Tested {
				tests += " (too few, or failing)"
			}
			rows = append(rows, []string{one.Severity, one.Name, strings.Join(one.Techniques, " "), tests, one.File})
		}
		r.table([]string{"SEVERITY", "RULE", "ATT&CK", "TESTS", "FILE"}, rows)
		r.line("\n%s", count(len(all), "rule"))
	})
}

func listed(inventory *app.Inventory, rule *detect.Rule) listedRule {
	return listedRule{
		Name: rule.Name, Title: rule.Title, Severity: rule.Severity.String(), Correlation: rule.Correlated,
		Tactics: append([]string{}, rule.Tactics...), Techniques: append([]string{}, rule.Attack...), Tests: len(inventory.Tests(rule)),
		Tested: inventory.Tested(rule), Playbooks: inventory.Answers(rule), File: rule.File, Line: rule.Line,
	}
}

func (r *root) showRule(name string) error {
	inventory, err := r.inventory()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(inventory.Rules, func(rule *detect.Rule) bool { return name == rule.Name || name == rule.ID || name == rule.Title })
	if at < 0 {
		var known []string
		for _, rule := range inventory.Rules {
			known = append(known, rule.Name)
		}
		hint := "riposte rules lists those in force"
		if near := document.Suggest(name, known); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		return fault.WithHint(fault.New(fault.NotFound, "no rule in force is called %q", name), hint)
	}
	rule := inventory.Rules[at]
	all := shownRule{
		listedRule: listed(inventory, rule), ID: rule.ID, Description: rule.Description, Response: rule.Response,
		FalsePositives: append([]string{}, rule.FalsePositives...), References: append([]string{}, rule.References...),
		Sources: []string{}, Cases: append([]app.Test{}, inventory.Tests(rule)...),
	}
	for _, s := range rule.Sources {
		all.Sources = append(all.Sources, strings.Trim(strings.Join([]string{s.Product, s.Service, s.Category}, "/"), "/"))
	}
	return r.show(all, func() { r.shown(all) })
}

// shown writes a rule for people.
func (r *root) shown(s shownRule) {
	kind := "rule"
	if s.Correlation {
		kind = "correlation"
	}
	r.line("%s  %s\n\n%s\n", s.Name, s.Title, s.Description)
	r.line("severity    %s\nkind        %s, over %s\nATT&CK      %s\nplaybooks   %s\nfile        %s:%d", s.Severity, kind, strings.Join(s.Sources, ", "),
		orDash(strings.Join(append(s.Tactics, s.Techniques...), ", ")), orDash(strings.Join(s.Playbooks, ", ")), s.File, s.Line)
	if s.Response != "" {
		r.line("\nWhat to do first\n  %s", s.Response)
	}
	r.list("Known false positives", s.FalsePositives)
	r.list("References", s.References)
	if len(s.Cases) > 0 {
		r.line("\nTests")
	}
	for _, c := range s.Cases {
		says := "lets pass"
		if c.Match {
			says = "finds"
		}
		if !c.Passed() {
			says = "FAILS, " + says
		}
		r.line("  %s  %s (%s:%d)", says, flat(c.Case), flat(c.File), c.Line)
	}
}

func (r *root) list(head string, items []string) {
	if len(items) == 0 {
		return
	}
	r.line("\n%s", head)
	for _, item := range items {
		r.line("  %s", flat(item))
	}
}

// costs measures rules.
func (r *root) costs(ctx context.Context, dirs, logs []string) error {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return err
	}
	read, err := app.Rules(settings.Content, dirs)
	if err != nil {
		return err
	}
	return r.measured(ctx, read, logs)
}
