package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/cacao"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/playbook/graph"
)

// listedPlaybook is a playbook as lists and programs see it.
type listedPlaybook struct {
	Name     string   `json:"name"`
	Summary  string   `json:"summary"`
	Findings []string `json:"findings"`
	Autonomy string   `json:"autonomy"`
	Steps    int      `json:"steps"`
	Actions  []string `json:"actions"`
	File     string   `json:"file"`
	Hash     string   `json:"hash"`
}

func (r *root) playbooks() *cobra.Command {
	c := &cobra.Command{
		Use: "playbook", Short: "List, draw, check and exchange playbooks", Aliases: []string{"playbooks"},
		Long: "Shows the playbooks in force: the shipped ones and those that the configuration (--config) names. It draws\n" +
			"them, checks files, writes the JSON Schema for editors, and exchanges playbooks as CACAO 2.0.",
		Example: "  riposte playbook list\n" +
			"  riposte playbook check playbooks/\n" +
			"  riposte playbook graph contain-leaked-access-key > steps.svg\n" +
			"  riposte playbook schema > playbook.schema.json",
	}
	c.AddCommand(r.playbookList(), r.playbookShow(), r.playbookCheck(), r.playbookGraph(), r.playbookSchema(), r.playbookExport(), r.playbookImport())
	return c
}

func (r *root) playbookList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the playbooks in force", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, books, err := r.books()
			if err != nil {
				return err
			}
			all := make([]listedPlaybook, 0, len(books))
			for _, book := range books {
				all = append(all, listedBook(book))
			}
			return r.show(map[string]any{"items": all}, func() {
				rows := [][]string{}
				for _, one := range all {
					rows = append(rows, []string{one.Name, one.Autonomy, strconv.Itoa(one.Steps), one.Summary})
				}
				r.table([]string{"PLAYBOOK", "AUTONOMY", "STEPS", "SUMMARY"}, rows)
				r.line("\n%s", count(len(all), "playbook"))
			})
		},
	}
}

func listedBook(book *playbook.Playbook) listedPlaybook {
	steps := 0
	book.Walk(func(*playbook.Step) { steps++ })
	return listedPlaybook{
		Name: book.Name, Summary: book.Summary, Findings: append([]string{}, book.Findings...), Autonomy: string(book.Autonomy),
		Steps: steps, Actions: append([]string{}, book.Uses()...), File: book.File, Hash: book.Hash,
	}
}

func (r *root) playbookShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a playbook in force: what it answers, its steps, the actions it may use", Args: cobra.ExactArgs(1),
		ValidArgsFunction: r.completeBooks,
		RunE: func(_ *cobra.Command, args []string) error {
			_, book, err := r.book(args[0])
			if err != nil {
				return err
			}
			shown := struct {
				listedPlaybook
				Description string `json:"description"`
				Text        string `json:"text"`
			}{listedBook(book), book.Description, string(book.Source)}
			return r.show(shown, func() {
				r.line("%s  %s", shown.Name, shown.Summary)
				r.line("\nanswers     %s\nautonomy    %s\nactions     %s\nfile        %s\nhash        %s\n", orDash(strings.Join(shown.Findings, ", ")),
					shown.Autonomy, orDash(strings.Join(shown.Actions, ", ")), shown.File, shown.Hash)
				fmt.Fprint(r.Out, clean(shown.Text))
			})
		},
	}
}

func (r *root) playbookCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check PATH...", Short: "Check files and folders of playbooks", Args: cobra.MinimumNArgs(1),
		Long: "Checks playbooks as a start does, with the shipped ones and those of the configuration beside them: they may be\n" +
			"called, and one with the name of another takes its place. Exits with 3 if mistakes are found.",
		RunE: func(_ *cobra.Command, args []string) error {
			settings, _, err := app.ReadConfig(r.config)
			if err != nil {
				return err
			}
			read, err := app.ReadPlaybooks(settings, args)
			if err != nil && !fault.Is(err, fault.Invalid) {
				return err
			}
			found := append([]string{}, mistakes(err)...)
			report := map[string]any{"ok": len(found) == 0, "mistakes": found, "playbooks": len(read)}
			err = r.show(report, func() {
				for _, m := range found {
					fmt.Fprintln(r.Out, "wrong:  ", clean(m))
				}
				if len(found) == 0 {
					r.line("in order: %s", count(len(read), "playbook"))
				} else {
					r.line("%s", count(len(found), "mistake"))
				}
			})
			if err == nil && len(found) > 0 {
				return errFound
			}
			return err
		},
	}
}

func (r *root) playbookGraph() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "graph NAME|FILE", Short: "Draw a playbook's steps", Args: cobra.ExactArgs(1),
		Long: "Draws the steps from top to bottom: what happens at once, what is repeated and how often at most, who is asked,\n" +
			"what each action does to the world. With --format json it writes where everything stands.",
		ValidArgsFunction: r.completeBooks,
		RunE: func(_ *cobra.Command, args []string) error {
			settings, book, err := r.book(args[0])
			if err != nil {
				return err
			}
			g := graph.Of(book, app.AllSpecs(settings))
			switch format {
			case "svg":
				_, err = r.Out.Write(g.SVG())
			case "mermaid":
				_, err = r.Out.Write(g.Mermaid())
			case "json":
				var text []byte
				if text, err = asJSON(g); err == nil {
					_, err = r.Out.Write(text)
				}
			default:
				err = fault.New(fault.Invalid, "--format: %q is not one of svg, mermaid, json", format)
			}
			return err
		},
	}
	c.Flags().StringVar(&format, "format", "svg", "svg, mermaid or json")
	return c
}

func (r *root) playbookSchema() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "schema", Short: "Write the JSON Schema of playbook files, for editors", Args: cobra.NoArgs,
		Long: "Writes the JSON Schema of playbook files with the actions of this configuration (--config): their names, what\n" +
			"they do and what they take. With --all it has every action of this version, configured or not.",
		RunE: func(*cobra.Command, []string) error {
			settings, _, err := app.ReadConfig(r.config)
			if err != nil {
				return err
			}
			text, err := playbook.Schema(app.Installation(settings, all))
			if err == nil {
				_, err = r.Out.Write(text)
			}
			return err
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every action of this version")
	return c
}

func (r *root) playbookExport() *cobra.Command {
	var format, when string
	c := &cobra.Command{
		Use: "export NAME|FILE", Short: "Write a playbook for other tools, as CACAO 2.0", Args: cobra.ExactArgs(1),
		Long: "Writes a playbook as OASIS CACAO 2.0 (docs/cacao.md). Severity and labels are those of the rules that it answers.\n" +
			"Identifiers are the same each time; --time fixes when it was made, for files that are compared.",
		ValidArgsFunction: r.completeBooks,
		RunE: func(_ *cobra.Command, args []string) error {
			if format != "cacao" {
				return fault.New(fault.Invalid, "--format: %q is not cacao", format)
			}
			made := time.Now()
			if when != "" {
				var err error
				if made, err = time.Parse(time.RFC3339, when); err != nil {
					return fault.New(fault.Invalid, "--time: %q is not a time such as 2026-01-31T12:00:00Z", when)
				}
			}
			settings, book, err := r.book(args[0])
			if err != nil {
				return err
			}
			about := cacao.About{Actions: app.AllSpecs(settings), Time: made}
			if about.Severity, about.Labels, err = answered(settings, book); err != nil {
				return err
			}
			file, err := cacao.Export(book, about)
			if err != nil {
				return err
			}
			text, err := asJSON(file)
			if err == nil {
				_, err = r.Out.Write(text)
			}
			return err
		},
	}
	c.Flags().StringVar(&format, "format", "cacao", "cacao")
	c.Flags().StringVar(&when, "time", "", "when it was made, in RFC 3339; now if left out")
	return c
}

// answered tells of the rules that a playbook answers: the highest severity, from 1 to 100, and their techniques.
func answered(settings app.Config, book *playbook.Playbook) (severity int, labels []string, err error) {
	trial, err := app.NewTrial(settings)
	if err != nil {
		return 0, nil, err
	}
	for _, rule := range trial.Rules() {
		if !book.Matches("rule:" + rule.Name) {
			continue
		}
		const highest = 100 // for critical, the fifth level
		severity = max(severity, int(rule.Severity)*highest/5)
		for _, technique := range rule.Attack {
			labels = append(labels, "attack."+strings.ToLower(technique))
		}
	}
	slices.Sort(labels)
	return severity, slices.Compact(labels), nil
}

func (r *root) playbookImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Make a playbook of a CACAO 2.0 file", Args: cobra.ExactArgs(1),
		Long: "Writes the playbook as YAML; what is to be looked at, such as what CACAO says and a playbook can't, is told on\n" +
			"standard error and in comments. - reads standard input. Check the result by riposte playbook check.",
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := r.input(args[0])
			if err != nil {
				return err
			}
			file, err := cacao.Read(text)
			if err != nil {
				return err
			}
			book, lost, err := cacao.Import(file)
			if err != nil {
				return err
			}
			for _, one := range lost {
				fmt.Fprintln(r.Err, "look at:", flat(one))
			}
			_, err = io.WriteString(r.Out, clean(string(book)))
			return err
		},
	}
}

func (r *root) books() (app.Config, []*playbook.Playbook, error) {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return settings, nil, err
	}
	books, err := app.BooksInForce(settings)
	return settings, books, err
}

// book is the playbook in force of a name, or that of a file.
func (r *root) book(name string) (app.Config, *playbook.Playbook, error) {
	settings, books, err := r.books()
	if err != nil {
		return settings, nil, err
	}
	names := make([]string, 0, len(books))
	for _, book := range books {
		if book.Name == name {
			return settings, book, nil
		}
		names = append(names, book.Name)
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		read, err := app.ReadPlaybooks(settings, []string{name})
		if err == nil && len(read) != 1 {
			err = errors.New(name + " is not one playbook")
		}
		if err != nil {
			return settings, nil, err
		}
		return settings, read[0], nil
	}
	hint := "riposte playbook list has those in force"
	if near := document.Suggest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return settings, nil, fault.WithHint(fault.New(fault.NotFound, "no playbook in force is called %q, nor is it a file", name), hint)
}

// completeBooks lets the shell complete an argument by the playbooks in force, or else by files.
func (r *root) completeBooks(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_, books, err := r.books()
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	for _, book := range books {
		if strings.HasPrefix(book.Name, typed) {
			names = append(names, book.Name+"\t"+clean(book.Summary))
		}
	}
	return names, cobra.ShellCompDirectiveDefault
}
