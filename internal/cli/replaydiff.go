package cli

import (
	"context"

	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/internal/rulecase"
)

// compared is what a change of rules does to what they find.
type compared struct {
	replay.Records
	Rules    map[replay.State]int `json:"rules"`
	Added    int                  `json:"added"`
	Removed  int                  `json:"removed"`
	Changed  int                  `json:"changed"`
	Kept     int                  `json:"kept"`
	Changes  []*replay.Change     `json:"changes"`
	Refused  refusedRules         `json:"refused_rules"`
	Problems []replay.Problem     `json:"problems"`
}

type refusedRules struct {
	Old []rulecase.Result `json:"old"`
	New []rulecase.Result `json:"new"`
}

// replayDiff compares what two sets of rules find.
func (r *root) replayDiff(ctx context.Context, o replaying, old, now string, paths []string) error {
	before, refusedBefore, err := r.ruleset(o, []string{old})
	if err != nil {
		return err
	}
	after, refusedAfter, err := r.ruleset(o, []string{now})
	if err != nil {
		return err
	}
	diff := replay.NewDiff(before, after, o.samples)
	problems, err := r.read(ctx, o, paths, diff.Take)
	if err != nil {
		return err
	}
	report := compared{
		Records: diff.Records, Rules: diff.States(), Kept: diff.Kept(), Changes: append([]*replay.Change{}, diff.Changes()...),
		Refused: refusedRules{Old: refusedBefore, New: refusedAfter}, Problems: problems,
	}
	for _, c := range report.Changes {
		report.Added, report.Removed, report.Changed = report.Added+c.Added, report.Removed+c.Removed, report.Changed+c.Changed
	}
	if err := r.show(report, func() { r.compared(report) }); err != nil {
		return err
	}
	if err := r.problems(problems); err != nil {
		return err
	}
	if o.failOnChange && len(report.Changes) > 0 {
		return errFound
	}
	return nil
}

// compared writes a comparison for people.
func (r *root) compared(c compared) {
	rows := [][]string{}
	for _, one := range c.Changes {
		severity := one.Severity.String()
		if one.Was != "" {
			severity = one.Was + " → " + severity
		}
		rows = append(rows, []string{
			signed("+", one.Added), signed("-", one.Removed), signed("~", one.Changed), number(one.Kept), string(one.State), severity, one.Name, one.Title,
		})
	}
	if len(rows) > 0 {
		r.table([]string{"ADDED", "REMOVED", "CHANGED", "KEPT", "RULE IS", "SEVERITY", "RULE", "TITLE"}, rows)
	}
	for _, one := range c.Changes {
		if len(one.AddedSamples)+len(one.RemovedSamples) > 0 {
			r.heading(one.Rule)
		}
		r.samples("  + ", one.AddedSamples)
		r.samples("  - ", one.RemovedSamples)
	}
	if len(rows) > 0 {
		r.line("")
	}
	r.line("rules: %d new, %d gone, %d changed, %d as before", c.Rules[replay.NewRule], c.Rules[replay.GoneRule],
		c.Rules[replay.Changed], c.Rules[replay.Same])
	r.line("matches in %s events: %s added, %s removed, %s of another severity, %s as before", number(c.Events),
		number(c.Added), number(c.Removed), number(c.Changed), number(c.Kept))
	r.records(c.Records)
}

// signed is a number with its sign, "-" for none.
func signed(sign string, n int) string {
	if n == 0 {
		return "-"
	}
	return sign + number(n)
}
