package rulecase

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/sigma"
)

// happening is an event of a case and the rules that match it.
type happening struct {
	Timed
	key    string
	parsed *sigma.Event
	hits   []sigma.Hit
}

// correlate gives what is wrong with a correlation's answer to events, "" if nothing is. The answer must be the
// same in whatever order the events come, and if some come twice.
func (t *trial) correlate(c Case, correlation *sigma.Correlation) string {
	at := slices.IndexFunc(t.linked.Correlations, func(one *sigma.Correlation) bool { return one.Key() == correlation.Key() })
	if at < 0 {
		return "the correlation was refused"
	}
	linked := t.linked.Correlations[at]
	happenings, err := t.happen(c)
	if err != nil {
		return err.Error()
	}
	alerts := t.alerts(happenings, linked)
	switch {
	case len(alerts) == 0 && c.Match:
		return "the correlation must match, but doesn't: " + t.hits(happenings, linked)
	case len(alerts) > 0 && !c.Match:
		return "the correlation must not match, but does: " + tell(alerts[0])
	}
	for name, way := range otherWays(c.Name, happenings) {
		if other := t.alerts(way, linked); !slices.EqualFunc(alerts, other, alike) {
			return fmt.Sprintf("the correlation gives another answer if its events come %s: %s instead of %s", name, all(other), all(alerts))
		}
	}
	return ""
}

// happen asks the rules behind correlations of each event of a case.
func (t *trial) happen(c Case) ([]happening, error) {
	events := c.Events
	if len(events) == 0 {
		events = []Timed{{Event: c.Event, Time: momentOf(c.Event)}}
	}
	happenings := make([]happening, 0, len(events))
	for i, one := range events {
		parsed, err := sigma.ParseEvent(one.Event)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		h := happening{Timed: one, key: strconv.Itoa(i), parsed: parsed}
		for _, r := range t.linked.Rules {
			if !t.linked.Observed(r) {
				continue
			}
			if match, found := r.Match(parsed); found {
				h.hits = append(h.hits, sigma.Hit{Rule: r, Match: match})
			}
		}
		happenings = append(happenings, h)
	}
	return happenings, nil
}

// alerts gives what a correlation says in the end of events that come in an order.
func (t *trial) alerts(happenings []happening, of *sigma.Correlation) []sigma.Alert {
	correlator := sigma.NewCorrelator(t.linked, sigma.CorrelatorOptions{Lateness: sigma.Unbounded})
	final := map[string]sigma.Alert{}
	keep := func(alerts []sigma.Alert) {
		for _, a := range alerts {
			if a.Correlation == of {
				final[a.Key()] = a
			}
		}
	}
	for _, h := range happenings {
		keep(correlator.Observe(h.hits, h.parsed, h.key, h.Time))
	}
	keep(correlator.Flush())
	var alerts []sigma.Alert
	for _, key := range slices.Sorted(maps.Keys(final)) {
		alerts = append(alerts, final[key])
	}
	return alerts
}

// otherWays are orders in which the same events may come. Chance is the same for one name each time.
func otherWays(name string, happenings []happening) map[string][]happening {
	backward := slices.Clone(happenings)
	slices.Reverse(backward)
	twice := slices.Concat(happenings, happenings)
	seed := fnv.New64a()
	_, _ = seed.Write([]byte(name))                  // it never fails
	chance := rand.New(rand.NewPCG(seed.Sum64(), 1)) //nolint:gosec // an order of events is no secret
	chance.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
	return map[string][]happening{"backward": backward, "shuffled and twice": twice}
}

func alike(a, b sigma.Alert) bool {
	return a.Key() == b.Key() && a.At.Equal(b.At) && a.From.Equal(b.From) && a.To.Equal(b.To) && a.Count == b.Count
}

// hits tells how many events the rules of a correlation match, to see what is missing.
func (t *trial) hits(happenings []happening, of *sigma.Correlation) string {
	var parts []string
	for _, name := range of.Rules {
		if slices.ContainsFunc(t.linked.Correlations, func(c *sigma.Correlation) bool { return c.ID == name || c.Name == name }) {
			parts = append(parts, name+" is a correlation")
			continue
		}
		matched := 0
		for _, h := range happenings {
			if slices.ContainsFunc(h.hits, func(hit sigma.Hit) bool { return hit.Rule.ID == name || hit.Rule.Name == name }) {
				matched++
			}
		}
		parts = append(parts, fmt.Sprintf("%s matches %d", name, matched))
	}
	return fmt.Sprintf("of %d events %s", len(happenings), strings.Join(parts, ", "))
}

// tell says of an alert when it is, over what and for whom.
func tell(a sigma.Alert) string {
	var group []string
	for _, name := range slices.Sorted(maps.Keys(a.Values)) {
		group = append(group, fmt.Sprintf("%s=%q", name, a.Values[name]))
	}
	text := fmt.Sprintf("at %s over %d events", a.At.Format("2006-01-02 15:04:05"), a.Count)
	if len(group) > 0 {
		text += " of " + strings.Join(group, ", ")
	}
	return text
}

func all(alerts []sigma.Alert) string {
	if len(alerts) == 0 {
		return "no match"
	}
	var parts []string
	for _, a := range alerts[:min(len(alerts), 3)] {
		parts = append(parts, tell(a))
	}
	return strings.Join(parts, "; ")
}
