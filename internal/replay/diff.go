package replay

import (
	"cmp"
	"context"
	"slices"

	"github.com/riposte-sec/riposte/internal/event"
)

// State is what became of a rule between two sets.
type State string

// The states.
const (
	NewRule  State = "new"     // the old set doesn't have it
	GoneRule State = "gone"    // the new set doesn't have it
	Changed  State = "changed" // its text is another
	Same     State = "same"
)

// Change is what becomes of one rule's findings.
type Change struct {
	*Rule       // as in the new set, or else as in the old one
	State State `json:"state"`
	// Was is the old severity where it differs, "" otherwise.
	Was     string `json:"severity_was,omitempty"`
	Added   int    `json:"added"`   // found by the new rule alone
	Removed int    `json:"removed"` // found by the old rule alone
	Changed int    `json:"changed"` // found by both, with another severity
	Kept    int    `json:"kept"`    // found by both alike
	// AddedSamples and RemovedSamples are the first ones.
	AddedSamples   []Sample `json:"added_samples"`
	RemovedSamples []Sample `json:"removed_samples"`
}

// differs reports whether anything is found otherwise than before.
func (c *Change) differs() bool { return c.Added+c.Removed+c.Changed > 0 }

// Diff compares what two sets of rules find in the same logs.
type Diff struct {
	Records

	old, now *Ruleset
	samples  int
	changes  map[*Rule]*Change // by the rules of both sets
	order    []*Change
}

// NewDiff makes a comparison that keeps the first samples of each rule. A rule is the same in both sets by its
// ID, or else by its name, or else by its title.
func NewDiff(old, now *Ruleset, samples int) *Diff {
	d := &Diff{Records: Records{Unread: []Unread{}}, old: old, now: now, samples: samples, changes: map[*Rule]*Change{}}
	before := pairs(old.order, now.order)
	for _, r := range now.order {
		d.add(r, before[r])
	}
	for _, r := range old.order {
		if d.changes[r] == nil {
			d.add(nil, r)
		}
	}
	return d
}

// pairs gives for rules what they were before.
func pairs(old, now []*Rule) map[*Rule]*Rule {
	before := make(map[*Rule]*Rule, len(now))
	taken := make(map[*Rule]bool, len(old))
	for _, by := range []func(*Rule) string{
		func(r *Rule) string { return r.ID },
		func(r *Rule) string { return r.Name },
		func(r *Rule) string { return r.Title },
	} {
		known := make(map[string]*Rule, len(old))
		for _, r := range old {
			if key := by(r); key != "" && !taken[r] {
				known[key] = r
			}
		}
		for _, r := range now {
			was, found := known[by(r)]
			if before[r] == nil && found && !taken[was] {
				before[r], taken[was] = was, true
			}
		}
	}
	return before
}

// add begins the comparison of a rule that is in one of the sets or in both.
func (d *Diff) add(now, old *Rule) {
	c := &Change{Rule: now, State: Same, AddedSamples: []Sample{}, RemovedSamples: []Sample{}}
	switch {
	case now == nil:
		c.Rule, c.State = old, GoneRule
	case old == nil:
		c.State = NewRule
	case old.hash != now.hash:
		c.State = Changed
	}
	if now != nil && old != nil && now.Severity != old.Severity {
		c.Was = old.Severity.String()
	}
	for _, r := range []*Rule{now, old} {
		if r != nil {
			d.changes[r] = c
		}
	}
	d.order = append(d.order, c)
}

// Take is an event.Sink.
func (d *Diff) Take(_ context.Context, b event.Batch) error {
	d.letters(b.Letters)
	for _, ev := range b.Events {
		before, askedBefore, err := d.old.ask(ev)
		after, asked, again := d.now.ask(ev)
		d.count(ev, asked || askedBefore, cmp.Or(err, again))
		d.compare(before, after)
	}
	return nil
}

// compare notes what both sets find in one event.
func (d *Diff) compare(before, after []found) {
	for _, one := range after {
		c := d.changes[one.rule]
		was := func(other found) bool { return d.changes[other.rule] == c }
		switch {
		case !slices.ContainsFunc(before, was):
			c.Added++
			c.AddedSamples = d.keep(c.AddedSamples, one.sample)
		case c.Was != "":
			c.Changed++
		default:
			c.Kept++
		}
	}
	for _, one := range before {
		c := d.changes[one.rule]
		is := func(other found) bool { return d.changes[other.rule] == c }
		if !slices.ContainsFunc(after, is) {
			c.Removed++
			c.RemovedSamples = d.keep(c.RemovedSamples, one.sample)
		}
	}
}

func (d *Diff) keep(samples []Sample, one Sample) []Sample {
	if len(samples) < d.samples {
		return append(samples, one)
	}
	return samples
}

// Changes gives the rules that find anything otherwise than before, those with the most differences first.
func (d *Diff) Changes() []*Change {
	var all []*Change
	for _, c := range d.order {
		if c.differs() {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b *Change) int {
		return cmp.Or(cmp.Compare(b.Added+b.Removed+b.Changed, a.Added+a.Removed+a.Changed), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// States counts the rules of both sets by what became of them.
func (d *Diff) States() map[State]int {
	counts := map[State]int{}
	for _, c := range d.order {
		counts[c.State]++
	}
	return counts
}

// Kept counts the findings that are as before.
func (d *Diff) Kept() int {
	kept := 0
	for _, c := range d.order {
		kept += c.Kept
	}
	return kept
}
