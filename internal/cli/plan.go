package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/playcase"
)

// largestInput is the size in bytes of the largest event or finding that is read.
const largestInput = 1 << 20

func (r *root) plan() *cobra.Command {
	var eventFile, findingFile, incidentID string
	c := &cobra.Command{
		Use: "plan PLAYBOOK --event FILE | --finding FILE | --incident INCIDENT", Short: "Show what a playbook would do now, and do nothing",
		Long: "Lets a playbook look at the world and plan, and stops there: nothing is changed, nobody is told, nothing is kept.\n" +
			"For each step it shows the plan, what the guardrails say of it, who would be asked, and what can't be known yet.\n\n" +
			"With --event or --finding it happens here, with the configuration's access to the cloud (--config). PLAYBOOK is a\n" +
			"name, or a file. An event (a record as its source writes it, - for standard input) goes through the rules in force.\n" +
			"A finding is JSON or YAML, as tests of playbooks and `riposte findings show --json` have it. With --incident the\n" +
			"server is asked, which knows its freezes and budgets too; that needs the permission runs.approve.",
		Example: "  riposte plan contain-leaked-access-key --config riposte.yaml --event event.json\n" +
			"  riposte plan playbooks/mine.yaml --config riposte.yaml --finding finding.yaml --json\n" +
			"  riposte plan isolate-compromised-instance --incident 01JABCDEF0123456789ABCDEFG",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			told, err := r.planned(c.Context(), args[0], eventFile, findingFile, incidentID)
			if err != nil {
				return err
			}
			return r.show(told, func() { r.rehearsed(told) })
		},
	}
	c.Flags().StringVar(&eventFile, "event", "", "file of a record as its source writes it, - for standard input")
	c.Flags().StringVar(&findingFile, "finding", "", "file of a finding, - for standard input")
	c.Flags().StringVar(&incidentID, "incident", "", "an incident of the server")
	c.MarkFlagsOneRequired("event", "finding", "incident")
	c.MarkFlagsMutuallyExclusive("event", "finding", "incident")
	return c
}

func (r *root) planned(ctx context.Context, name, eventFile, findingFile, incidentID string) (told playcase.Rehearsal, err error) {
	if incidentID != "" {
		server, err := r.client()
		if err != nil {
			return told, err
		}
		return told, server.Post(ctx, at("incidents", incidentID, "plan"), api.PlanOf{Playbook: name}, &told)
	}
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return told, err
	}
	p := app.Planning{Playbook: name, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	text, err := r.input(eventFile + findingFile)
	if err != nil {
		return told, err
	}
	if findingFile != "" {
		if p.Finding, err = readFinding(findingFile, text); err != nil {
			return told, err
		}
	} else {
		p.Events = [][]byte{text}
	}
	return app.Plan(ctx, settings, p)
}

// input reads a file, or standard input.
func (r *root) input(path string) ([]byte, error) {
	from := r.In
	if path != "-" {
		file, err := os.Open(filepath.Clean(path))
		if err != nil {
			return nil, fault.Wrap(fault.NotFound, err)
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, largestInput+1))
	if err == nil && len(text) > largestInput {
		err = fault.New(fault.Invalid, "over %d bytes", largestInput)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}

// readFinding reads a finding as JSON or YAML; one in the key finding, as the server shows it, too.
func readFinding(file string, text []byte) (*finding.Finding, error) {
	var plain map[string]any
	if err := document.Decode(file, text, &plain); err != nil {
		return nil, err //nolint:wrapcheck // it names the place
	}
	if inner, is := plain["finding"].(map[string]any); is {
		plain = inner
	}
	encoded, err := json.Marshal(plain)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("%s: %w", file, err))
	}
	var f finding.Finding
	if err := json.Unmarshal(encoded, &f); err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("%s: %w", file, err))
	}
	if f.Type == "" {
		return nil, fault.New(fault.Invalid, "%s: a finding has a type, such as guardduty:Backdoor:EC2/*", file)
	}
	return &f, nil
}

// rehearsed writes a plan for people.
func (r *root) rehearsed(told playcase.Rehearsal) {
	r.line("%s about %s", told.Playbook, told.Finding)
	if told.Title != "" {
		r.line("%s", told.Title)
	}
	if !told.Starts {
		r.line("\nIt does not answer this finding: %s", told.Why)
		return
	}
	r.line("subject %s, autonomy %s\n\nNothing is changed and nobody is told. It would", orDash(told.Subject), told.Autonomy)
	for _, step := range told.Steps {
		r.rehearsedStep(step)
	}
	if told.Why != "" {
		r.line("\nMore can't be known: %s", told.Why)
	}
}

func (r *root) rehearsedStep(step playcase.Rehearsed) {
	what := step.Action
	if what == "" {
		what = step.Does
	}
	r.line("\n%s  %s: %s", step.Step, what, step.Would)
	if step.Unknown != "" {
		r.line("  unknown  %s", step.Unknown)
	}
	if plan := step.Plan; plan != nil {
		r.line("  plan     %s", plan.Summary)
		if plan.Target.ID != "" {
			r.line("  target   %s %s in %s %s", plan.Target.Kind, plan.Target.ID, orDash(plan.Account), plan.Region)
		}
		for _, call := range plan.Calls {
			r.line("  call     %s", call)
		}
		for _, impact := range plan.Impact {
			r.line("  mind     %s", impact)
		}
		if step.Would == "change" && !step.Reversible {
			r.line("  mind     it can't be undone")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(step.Outputs)) {
		r.line("  gives    %s = %v", name, step.Outputs[name])
	}
	if step.Verdict != nil {
		r.line("  rails    %s: %s", step.Verdict.Outcome, strings.Join(step.Verdict.Reasons, "; "))
	}
	if who := step.Asks; who != nil {
		line := fmt.Sprintf("%d of %s", who.Quorum, strings.Join(who.Roles, ", "))
		if who.Within != "" {
			line += fmt.Sprintf(" within %s, or else %s", who.Within, who.Otherwise)
		}
		r.line("  asks     %s", line)
	}
}
