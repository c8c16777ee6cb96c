package sigma

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

const (
	mostValues   = 64  // of one field of an event, for groups or to be counted
	mostObserved = 256 // observations of one match for one correlation
	longestKept  = 256 // bytes of a value that state is kept of; longer ones are known by their hash
)

// latest is the last time that is observed; beyond it nanoseconds since 1970 don't fit.
var latest = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Observation is one match as a correlation sees it. Two that are equal in all but Values are the same.
type Observation struct {
	Correlation string            // its key
	Rule        string            // the key of the rule or correlation that matched
	Group       string            // the values of group-by, in order, as a JSON list of texts
	Values      map[string]string // the same by name, for people
	Event       string            // the event's key, or that of a correlation's alert
	Time        time.Time
	Value       string // what is counted or calculated with, empty where nothing is
}

// Observed reports whether correlations refer to a rule.
func (l *Linked) Observed(r *Rule) bool {
	return len(l.uses[r.Key()]) > 0
}

// Observe tells what a match of a rule means to the correlations that refer to it. The key identifies the event
// among all, however often it is delivered; the time is the event's own. Nothing is observed where a field of
// group-by is absent, null or an object, where the field to count is, where one to calculate with isn't a number,
// or before 1970 and after 2200. A list stands for each of its values: the match is in several groups then.
func (l *Linked) Observe(r *Rule, e *Event, key string, at time.Time) []Observation {
	uses := l.uses[r.Key()]
	if len(uses) == 0 {
		return nil
	}
	v := newView(e)
	var all []Observation
	for _, u := range uses {
		all = u.observe(all, r.Key(), key, at, v.values)
	}
	return all
}

// ObserveAlert tells what an alert means to the correlations that refer to its own: one observation for each
// end of a window at which the condition holds. It has the values of the alert's group as fields.
func (l *Linked) ObserveAlert(a Alert) []Observation {
	var all []Observation
	for _, end := range a.Ends {
		all = append(all, l.chained(a.Correlation, a.Values, a.Key(), end)...)
	}
	return all
}

func (l *Linked) chained(c *Correlation, values map[string]string, key string, at time.Time) []Observation {
	var all []Observation
	for _, u := range l.uses[c.Key()] {
		all = u.observe(all, c.Key(), key, at, func(field string) []string {
			if value, ok := values[field]; ok {
				return []string{value}
			}
			return nil
		})
	}
	return all
}

// observe appends what a match means to one correlation.
func (u use) observe(to []Observation, rule, key string, at time.Time, values func(field string) []string) []Observation {
	if at.Before(time.Unix(0, 0)) || at.After(latest) {
		return to
	}
	c := u.correlation
	in := c.inputs[u.input]
	counted := c.counted(in, values)
	if len(counted) == 0 {
		return to
	}
	fields := make([]string, len(c.GroupBy))
	for i, name := range c.GroupBy {
		fields[i] = in.groupBy[name]
	}
	room := mostObserved
	for _, group := range combined(fields, values) {
		named := make(map[string]string, len(group))
		for i, name := range c.GroupBy {
			named[name] = group[i]
		}
		for _, value := range counted {
			if room--; room < 0 {
				return to
			}
			to = append(to, Observation{
				Correlation: c.Key(), Rule: rule, Group: listed(group), Values: named, Event: key, Time: at.UTC(), Value: value,
			})
		}
	}
	return to
}

// counted lists what one match has to be counted or calculated with. A type that needs nothing gets one empty
// text.
func (c *Correlation) counted(in input, values func(field string) []string) []string {
	if len(in.fields) == 0 {
		return []string{""}
	}
	var all []string
	for _, one := range combined(in.fields, values) {
		switch {
		case len(one) > 1:
			all = append(all, listed(one))
		case !c.Type.numeric():
			all = append(all, one[0])
		default:
			if _, ok := c.number(one[0]); ok {
				all = append(all, one[0])
			}
		}
	}
	return all
}

// number reads a value to calculate with. A sum that must reach something is one of amounts: what is below zero
// counts for nothing, or a late one would take an alert back.
func (c *Correlation) number(text string) (float64, bool) {
	n, ok := float(text)
	return n + 0, ok && !math.IsInf(n, 0) && (n >= 0 || c.Type != ValueSum || !c.bounds.rising())
}

// combined lists the tuples of the values of several fields. There is none where one of them has no value.
func combined(fields []string, values func(field string) []string) [][]string {
	all := [][]string{nil}
	for _, field := range fields {
		some := values(field)
		var next [][]string
		for _, tuple := range all {
			for _, value := range some {
				if len(next) == mostValues {
					break
				}
				next = append(next, append(slices.Clip(tuple), value))
			}
		}
		all = next
	}
	return all
}

// values lists the distinct texts and numbers of a field.
func (v *view) values(field string) []string {
	f := v.field(field)
	var all []string
	for i := range f.leaves {
		l := &f.leaves[i]
		if l.null() || l.node != nil && l.node.kind == kindObject {
			continue
		}
		if text := kept(l.number()); !slices.Contains(all, text) {
			if all = append(all, text); len(all) == mostValues {
				break
			}
		}
	}
	return all
}

// kept is a text that state is kept of: the text itself, or its beginning with its hash.
func kept(text string) string {
	if len(text) <= longestKept {
		return cut(text)
	}
	sum := sha256.Sum256([]byte(text))
	return cut(text) + "…" + hex.EncodeToString(sum[:])
}

// listed writes texts as a JSON list.
func listed(texts []string) string {
	out := []byte{'['}
	for i, text := range texts {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendQuoted(out, text)
	}
	return string(append(out, ']'))
}

// Named gives the values of group-by by name, of a group as [Observation] has it.
func (c *Correlation) Named(group string) map[string]string {
	var values []string
	if json.Unmarshal([]byte(group), &values) != nil || len(values) != len(c.GroupBy) {
		return nil
	}
	named := make(map[string]string, len(values))
	for i, name := range c.GroupBy {
		named[name] = values[i]
	}
	return named
}

// Alert is that a correlation's condition holds for a group, at one or more ends of windows within one span of
// time: there is at most one for a group and a bucket. A window ends with each observation and reaches back
// for the timespan, its beginning excluded.
type Alert struct {
	Correlation *Correlation
	Group       string
	Values      map[string]string
	Bucket      int64       // the end of the windows divided by the timespan, rounded down
	At          time.Time   // the first end at which the condition holds
	From        time.Time   // the first observation of the windows in which it holds
	To          time.Time   // the last end at which it holds
	Value       float64     // what the last window measures; the number of rules for the temporal types
	Count       int         // events, or alerts, in the windows in which it holds
	Rules       []string    // keys of the rules that they matched, in the correlation's order
	Events      []Evidence  // 100 of them at most, by time, then by key
	Ends        []time.Time // each end at which it holds, where another correlation refers to this one
	Final       bool        // nothing that is still to come in time can change it
}

// Evidence is an event, or an alert, within another alert.
type Evidence struct {
	Rule  string // the key of the rule or correlation
	Event string
	Time  time.Time
}

// Key identifies the alert: correlation, group and bucket.
func (a *Alert) Key() string {
	return listed([]string{a.Correlation.Key(), a.Group, strconv.FormatInt(a.Bucket, 10)})
}
