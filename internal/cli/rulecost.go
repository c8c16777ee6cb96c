package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/internal/rulecase"
)

const (
	// patience is how long measuring takes about, and slice the bounds of what one rule gets of it.
	patience               = 10 * time.Second
	shortest, longestSlice = 2 * time.Millisecond, 50 * time.Millisecond
	// dear is how many times the median a rule costs that is pointed out.
	dear = 10
)

// measuring is what rules cost.
type measuring struct {
	Events   int              `json:"events"`
	From     string           `json:"from"` // logs or tests
	Median   float64          `json:"median_ns"`
	Rules    []ruleCost       `json:"rules"`
	Problems []replay.Problem `json:"problems"`
}

type ruleCost struct {
	replay.Cost
	Own float64 `json:"own_ns"` // beyond reading the event
}

// measured measures rules over logs, or over the events of their tests if none are named.
func (r *root) measured(ctx context.Context, read *rulecase.Content, logs []string) error {
	m := measuring{From: "tests", Problems: []replay.Problem{}}
	asked := app.TestEvents(read)
	if len(logs) > 0 {
		sample := replay.NewSampled(app.SourceOf)
		problems, err := r.read(ctx, replaying{}, logs, sample.Take)
		if err != nil {
			return err
		}
		m.From, m.Problems, asked = "logs", problems, sample.All
	}
	if len(asked) == 0 {
		return fault.WithHint(fault.New(fault.Invalid, "there are no events to measure with"), "name logs of a source that the rules are for")
	}
	if !r.json {
		fmt.Fprintf(r.Err, "measuring %s over %s\n", count(len(read.Rules), "rule"), count(len(asked), "event"))
	}
	each := min(max(patience/time.Duration(max(len(read.Rules), 1)), shortest), longestSlice)
	costs, err := replay.Costs(read.Rules, app.LabelOf, asked, time.Now, each)
	if err != nil {
		return err
	}
	m.Events = len(asked)
	var own []float64
	for _, c := range costs {
		m.Rules = append(m.Rules, ruleCost{Cost: c, Own: c.Own()})
		if c.Events > 0 {
			own = append(own, c.Own())
		}
	}
	if slices.Sort(own); len(own) > 0 {
		m.Median = own[len(own)/2]
	}
	if err := r.show(m, func() { r.costTable(m) }); err != nil {
		return err
	}
	return r.problems(m.Problems)
}

// costTable writes costs for people, the most expensive rule first.
func (r *root) costTable(m measuring) {
	rows := [][]string{}
	unasked := 0
	for _, c := range m.Rules {
		if c.Events == 0 {
			unasked++
			continue
		}
		times := "-"
		if m.Median > 0 {
			times = strconv.FormatFloat(c.Own/m.Median, 'f', 1, 64)
		}
		note := ""
		if m.Median > 0 && c.Own > dear*m.Median {
			note = "dear"
		}
		rows = append(rows, []string{
			fmt.Sprintf("%.0f", c.Own), times, fmt.Sprintf("%.0f", c.Alone), number(c.Matches), number(c.Events), note, c.Name, c.File + ":" + strconv.Itoa(c.Line),
		})
	}
	r.table([]string{"OWN NS", "x MEDIAN", "ALONE NS", "MATCHES", "EVENTS", "", "RULE", "FILE"}, rows)
	r.line("\nOWN is what a rule adds to reading an event, ALONE what an event costs if it is the only rule; in nanoseconds.")
	if unasked > 0 {
		r.line("%s of log sources of which there are no events", count(unasked, "rule"))
	}
}
