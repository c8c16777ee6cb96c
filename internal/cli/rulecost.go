package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/internal/rulecase"
)

// patience is how long rules are measured.
const patience = 2 * time.Second

// measuring is what rules cost.
type measuring struct {
	Events   int              `json:"events"`
	From     string           `json:"from"` // logs or tests
	Rules    []ruleCost       `json:"rules"`
	Problems []replay.Problem `json:"problems"`
}

type ruleCost struct {
	replay.Cost
	Share float64 `json:"share"` // of what all rules cost in these events, 0 to 1
}

// measured measures rules over logs, or over the events of their tests if none are named.
func (r *root) measured(ctx context.Context, read *rulecase.Content, logs []string) error {
	m := measuring{From: "tests", Problems: []replay.Problem{}}
	var asked []replay.Asked
	if len(logs) > 0 {
		sample := replay.NewSampled(app.SourceOf)
		problems, err := r.read(ctx, replaying{}, logs, sample.Take)
		if err != nil {
			return err
		}
		m.From, m.Problems, asked = "logs", problems, sample.All
	} else {
		asked = app.TestEvents(read)
	}
	if len(asked) == 0 {
		return fault.WithHint(fault.New(fault.Invalid, "there are no events to measure with"), "name logs of a source that the rules are for")
	}
	if !r.json {
		fmt.Fprintf(r.Err, "measuring %s over %s\n", count(len(read.Rules), "rule"), count(len(asked), "event"))
	}
	until := time.Now().Add(patience)
	costs, err := replay.Costs(read.Rules, app.LabelOf, asked, func() bool { return ctx.Err() == nil && time.Now().Before(until) })
	if err != nil {
		return err
	}
	m.Events = len(asked)
	var total time.Duration
	for i := range costs {
		total += costs[i].Total()
	}
	for _, c := range costs {
		one := ruleCost{Cost: c}
		if total > 0 {
			one.Share = float64(c.Total()) / float64(total)
		}
		m.Rules = append(m.Rules, one)
	}
	if err := r.show(m, func() { r.costTable(m) }); err != nil {
		return err
	}
	return r.problems(m.Problems)
}

// costTable writes costs for people, the most expensive rule first.
func (r *root) costTable(m measuring) {
	rows := [][]string{}
	unasked, idle := 0, 0
	for _, c := range m.Rules {
		switch {
		case c.Events == 0:
			unasked++
			continue
		case c.Candidates == 0:
			idle++
			continue
		}
		note := ""
		if c.Interpreted {
			note = "interpreted"
		}
		rows = append(rows, []string{
			fmt.Sprintf("%.1f", c.Nanos), fmt.Sprintf("%.1f%%", 100*c.Share), number(c.Candidates), number(c.Matches), number(c.Events), note,
			c.Name, c.File + ":" + strconv.Itoa(c.Line),
		})
	}
	r.table([]string{"NS/EVENT", "SHARE", "CANDIDATE OF", "MATCHES", "EVENTS", "", "RULE", "FILE"}, rows)
	r.line("\nNS/EVENT is what a rule adds to an event of its log source on average. A rule is evaluated only where it is a candidate.")
	if idle > 0 {
		r.line("%s cost nothing here: no event made them candidates", count(idle, "rule"))
	}
	if unasked > 0 {
		r.line("%s of log sources of which there are no events", count(unasked, "rule"))
	}
}
