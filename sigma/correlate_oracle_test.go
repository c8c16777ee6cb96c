package sigma_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/sigma"
)

// The oracle judges all observations of a group at once, window by window, by nothing but the words of the
// design. What it doesn't share with the code under test is all but the making of observations.

// told is an alert as a comparable text and key, whoever made it.
type told struct {
	Group  string
	Bucket int64
	At     time.Time
	From   time.Time
	To     time.Time
	Value  float64
	Count  int
	Rules  []string
	Events []sigma.Evidence
	Ends   int
}

// conditions are the temporal expressions of the correlations below, which the oracle doesn't parse.
var conditions = map[string]func(has, near func(rule string) bool) bool{
	"a and not b":          func(has, near func(string) bool) bool { return has("a") && !near("b") },
	"(a or b) and c":       func(has, _ func(string) bool) bool { return (has("a") || has("b")) && has("c") },
	"a and not (b and c)":  func(has, near func(string) bool) bool { return has("a") && (!near("b") || !near("c")) },
	"a and b and not c":    func(has, near func(string) bool) bool { return has("a") && has("b") && !near("c") },
	"inner and not b":      func(has, near func(string) bool) bool { return has("inner") && !near("b") },
	"lonely and c":         func(has, _ func(string) bool) bool { return has("lonely") && has("c") },
	"not (not a or not b)": func(has, _ func(string) bool) bool { return has("a") && has("b") },
}

// oracle gives the final alerts of each correlation, by key.
func oracle(linked *sigma.Linked, events []happening) map[string]told {
	byCorrelation := make(map[string][]sigma.Observation)
	note := func(all []sigma.Observation) {
		for _, o := range all {
			byCorrelation[o.Correlation] = append(byCorrelation[o.Correlation], o)
		}
	}
	for _, h := range events {
		for _, r := range linked.Rules {
			if _, ok := r.Match(h.event); ok {
				note(linked.Observe(r, h.event, h.key, h.at))
			}
		}
	}
	all := make(map[string]told)
	for _, c := range linked.Correlations {
		groups := make(map[string][]sigma.Observation)
		for _, o := range byCorrelation[c.Key()] {
			groups[o.Group] = append(groups[o.Group], o)
		}
		for _, group := range groups {
			for _, a := range judged(c, group) {
				alert := sigma.Alert{Correlation: c, Group: group[0].Group, Values: group[0].Values, Bucket: a.bucket, Ends: a.ends}
				note(linked.ObserveAlert(alert))
				all[alert.Key()] = a.told(c, group)
			}
		}
	}
	return all
}

// verdict is a bucket with the ends of windows at which the condition holds.
type verdict struct {
	bucket int64
	ends   []time.Time
}

func judged(c *sigma.Correlation, group []sigma.Observation) []verdict {
	var ends []time.Time
	for _, o := range group {
		if !slices.ContainsFunc(ends, o.Time.Equal) && holding(c, group, o.Time) {
			ends = append(ends, o.Time)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	var all []verdict
	for _, end := range ends {
		bucket := end.UnixNano() / int64(c.Timespan)
		if len(all) == 0 || all[len(all)-1].bucket != bucket {
			all = append(all, verdict{bucket: bucket})
		}
		all[len(all)-1].ends = append(all[len(all)-1].ends, end)
	}
	return all
}

// between lists the observations after one time, up to another.
func between(group []sigma.Observation, after, until time.Time) []sigma.Observation {
	var some []sigma.Observation
	for _, o := range group {
		if o.Time.After(after) && !o.Time.After(until) {
			some = append(some, o)
		}
	}
	return some
}

func holding(c *sigma.Correlation, group []sigma.Observation, end time.Time) bool {
	window := between(group, end.Add(-c.Timespan), end)
	has := func(rule string) bool {
		return slices.ContainsFunc(window, func(o sigma.Observation) bool { return o.Rule == "id-"+rule })
	}
	near := func(rule string) bool {
		around := between(group, end.Add(-c.Timespan), end.Add(c.Timespan-1))
		return slices.ContainsFunc(around, func(o sigma.Observation) bool { return o.Rule == "id-"+rule })
	}
	condition, worded := conditions[c.Condition]
	switch {
	case c.Type == sigma.TemporalOrdered && worded:
		return condition(has, near) && anyOrder(c, window, near)
	case c.Type == sigma.TemporalOrdered:
		return longestOrder(c, window) >= int(threshold(c.Condition, "gte"))
	case worded:
		return condition(has, near)
	}
	return compares(c.Condition, measured(c, window))
}

// anyOrder reports whether the rules that fulfil the condition follow each other in some choice of observations.
func anyOrder(c *sigma.Correlation, window []sigma.Observation, near func(string) bool) bool {
	for set := range 1 << len(c.Rules) {
		var chosen []string
		for i, rule := range c.Rules {
			if set&(1<<i) != 0 {
				chosen = append(chosen, rule)
			}
		}
		only := func(rule string) bool { return slices.Contains(chosen, rule) }
		if conditions[c.Condition](only, near) && follows(window, chosen, time.Time{}) {
			return true
		}
	}
	return false
}

// follows reports whether the rules have observations one after the other, or at the same time.
func follows(window []sigma.Observation, rules []string, from time.Time) bool {
	if len(rules) == 0 {
		return true
	}
	return slices.ContainsFunc(window, func(o sigma.Observation) bool {
		return o.Rule == "id-"+rules[0] && !o.Time.Before(from) && follows(window, rules[1:], o.Time)
	})
}

func longestOrder(c *sigma.Correlation, window []sigma.Observation) int {
	longest := 0
	for set := range 1 << len(c.Rules) {
		var chosen []string
		for i, rule := range c.Rules {
			if set&(1<<i) != 0 {
				chosen = append(chosen, rule)
			}
		}
		if follows(window, chosen, time.Time{}) {
			longest = max(longest, len(chosen))
		}
	}
	return longest
}

// measured is what a window measures.
func measured(c *sigma.Correlation, window []sigma.Observation) float64 {
	distinct := make(map[string]string)
	for _, o := range window {
		switch c.Type {
		case sigma.EventCount:
			distinct[o.Event] = ""
		case sigma.Temporal, sigma.TemporalOrdered:
			distinct[o.Rule] = ""
		case sigma.ValueCount:
			distinct[o.Value] = ""
		default:
			distinct[o.Event+"\x00"+o.Value] = o.Value
		}
	}
	if c.Type == sigma.EventCount || c.Type == sigma.ValueCount || c.Type == sigma.Temporal || c.Type == sigma.TemporalOrdered {
		return float64(len(distinct))
	}
	var numbers []float64
	sum := new(big.Rat)
	for _, text := range distinct {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			panic(err)
		}
		numbers = append(numbers, n)
		sum.Add(sum, new(big.Rat).SetFloat64(n))
	}
	slices.Sort(numbers)
	exact, _ := sum.Float64()
	count := len(numbers)
	switch c.Type {
	case sigma.ValueSum:
		return exact
	case sigma.ValueAvg:
		return exact / float64(count)
	case sigma.ValueMedian:
		return numbers[(count-1)/2]/2 + numbers[count/2]/2
	default: // the least number that so many in a hundred don't exceed
		for i, n := range numbers {
			if float64(i+1)*100 >= c.Percentile*float64(count) {
				return n
			}
		}
		panic("no percentile")
	}
}

func threshold(condition, operator string) float64 {
	for part := range strings.SplitSeq(condition, " and ") {
		if name, number, _ := strings.Cut(part, " "); name == operator {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil {
				panic(err)
			}
			return n
		}
	}
	panic(operator + " is not in " + condition)
}

func compares(condition string, measure float64) bool {
	for part := range strings.SplitSeq(condition, " and ") {
		operator, _, _ := strings.Cut(part, " ")
		order := cmp.Compare(measure, threshold(condition, operator))
		ok := map[string]bool{"lt": order < 0, "lte": order <= 0, "gt": order > 0, "gte": order >= 0, "eq": order == 0, "neq": order != 0}
		if !ok[operator] {
			return false
		}
	}
	return true
}

// told describes a verdict as an alert does.
func (v verdict) told(c *sigma.Correlation, group []sigma.Observation) told {
	last := v.ends[len(v.ends)-1]
	covered := between(group, v.ends[0].Add(-c.Timespan), last)
	slices.SortFunc(covered, func(a, b sigma.Observation) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Event, b.Event), slices.Index(c.Rules, strings.TrimPrefix(a.Rule, "id-"))-slices.Index(c.Rules, strings.TrimPrefix(b.Rule, "id-")))
	})
	t := told{
		Group: group[0].Group, Bucket: v.bucket, At: v.ends[0], From: covered[0].Time, To: last,
		Value: measured(c, between(group, last.Add(-c.Timespan), last)),
	}
	events := make(map[string]bool)
	for _, o := range covered {
		events[o.Event] = true
		if !slices.ContainsFunc(t.Events, func(e sigma.Evidence) bool { return e.Event == o.Event && e.Rule == o.Rule }) {
			t.Events = append(t.Events, sigma.Evidence{Rule: o.Rule, Event: o.Event, Time: o.Time})
		}
	}
	for _, rule := range c.Rules {
		if slices.ContainsFunc(covered, func(o sigma.Observation) bool { return o.Rule == "id-"+rule }) {
			t.Rules = append(t.Rules, "id-"+rule)
		}
	}
	t.Count = len(events)
	return t
}

// happening is an event with its key and time.
type happening struct {
	event *sigma.Event
	key   string
	at    time.Time
}

func happen(number int, at time.Time, fields map[string]any) happening {
	return happening{event: sigma.NewEvent(fields), key: fmt.Sprintf("e%05d", number), at: at}
}

func number(text string) json.Number { return json.Number(text) }
