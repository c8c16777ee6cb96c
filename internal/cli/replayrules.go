package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/internal/rulecase"
)

// counted is what rules say of logs.
type counted struct {
	replay.Records
	Rules    int               `json:"rules"`
	Findings []*replay.Count   `json:"findings"`
	Refused  []rulecase.Result `json:"refused_rules"`
	Problems []replay.Problem  `json:"problems"`
}

// replayRules counts what a set of rules finds.
func (r *root) replayRules(ctx context.Context, o replaying, paths []string) error {
	rules, refused, err := r.ruleset(o, o.rules)
	if err != nil {
		return err
	}
	tally := replay.NewTally(rules, o.samples)
	problems, err := r.read(ctx, o, paths, tally.Take)
	if err != nil {
		return err
	}
	report := counted{
		Records: tally.Records, Rules: len(rules.Rules()), Findings: tally.Counts(), Refused: refused, Problems: problems,
	}
	if err := r.show(report, func() { r.counted(report) }); err != nil {
		return err
	}
	return r.problems(problems)
}

// ruleset reads the rules at paths, or else those of the configuration. Rules that are refused are left out
// and told.
func (r *root) ruleset(o replaying, paths []string) (*replay.Ruleset, []rulecase.Result, error) {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return nil, nil, err
	}
	read, err := app.Rules(settings.Content, paths)
	if err != nil {
		return nil, nil, err
	}
	refused := []rulecase.Result{}
	for _, wrong := range read.Mistakes {
		if !rulecase.IsTest(wrong.File) {
			refused = append(refused, wrong)
		}
	}
	if !r.json {
		r.refused(r.Err, refused)
	}
	if len(read.Rules) == 0 {
		return nil, nil, fault.WithHint(fault.New(fault.Invalid, "no rule in %s can be used", strings.Join(paths, ", ")),
			"riposte test says what is wrong with each")
	}
	as, err := o.logSource()
	if err != nil {
		return nil, nil, err
	}
	rules, err := app.Ruleset(read, as)
	return rules, refused, err
}

// refused tells the first rules that can't be used.
func (r *root) refused(to io.Writer, all []rulecase.Result) {
	for i, wrong := range all {
		if i == mostLetters {
			fmt.Fprintf(to, "refused %s more\n", number(len(all)-i))
			return
		}
		fmt.Fprintln(to, "refused", flat(wrong.String()))
	}
}

// counted writes what rules found for people: a table, then samples.
func (r *root) counted(c counted) {
	total := 0
	rows := [][]string{}
	for _, one := range c.Findings {
		total += one.Times
		rows = append(rows, []string{number(one.Times), one.Severity.String(), one.Name, when(one.First), when(one.Last), one.Title})
	}
	if len(rows) > 0 {
		r.table([]string{"TIMES", "SEVERITY", "RULE", "FIRST SEEN (UTC)", "LAST SEEN (UTC)", "TITLE"}, rows)
	}
	for _, one := range c.Findings {
		if len(one.Samples) > 0 {
			r.heading(one.Rule)
		}
		r.samples("  ", one.Samples)
	}
	if len(rows) > 0 {
		r.line("")
	}
	r.line("%s of %s found %s in %s events", number(len(c.Findings)), count(c.Rules, "rule"), matches(total), number(c.Events))
	r.records(c.Records)
}

// heading names a rule above its samples.
func (r *root) heading(rule *replay.Rule) {
	r.line("\n%s: %s\n%s:%d", brief(rule.Name), brief(rule.Title), flat(rule.File), rule.Line)
}

// samples writes events, a few lines each, the first of which begins with a mark.
func (r *root) samples(mark string, all []replay.Sample) {
	indent := strings.Repeat(" ", len(mark))
	for _, s := range all {
		parts := []string{when(s.Time)}
		for _, part := range []string{s.Account, s.Region, s.Event} {
			if part != "" {
				parts = append(parts, brief(part))
			}
		}
		if s.Actor != "" {
			parts = append(parts, "by", brief(s.Actor))
		}
		r.line("%s%s\n%s  in %s", mark, strings.Join(parts, " "), indent, flat(s.Origin))
		if len(s.Matched) > 0 {
			r.line("%s  %s", indent, matched(s.Matched))
		}
	}
}

func matched(fields []finding.Matched) string {
	all := make([]string, 0, len(fields))
	for _, f := range fields {
		all = append(all, brief(f.Field)+"="+brief(strconv.Quote(f.Value)))
	}
	return strings.Join(all, ", ")
}

// records tells which records the rules could not be asked of.
func (r *root) records(c replay.Records) {
	if c.Elsewhere > 0 {
		r.line("%s of sources that no rule is asked of", count(c.Elsewhere, "event"))
	}
	if c.Unreadable > 0 {
		r.line("%s cannot be read:", count(c.Unreadable, "record"))
	}
	for _, one := range c.Unread {
		r.line("  %s: %s", flat(one.Origin), brief(one.Reason))
	}
	if more := c.Unreadable - len(c.Unread); more > 0 {
		r.line("  and %s more", number(more))
	}
	if c.Unreadable > 0 && c.Events+c.Elsewhere == 0 {
		r.line("records of another kind can be read by saying what they are: --logsource product/service")
	}
}

func matches(n int) string {
	if n == 1 {
		return "1 match"
	}
	return number(n) + " matches"
}
