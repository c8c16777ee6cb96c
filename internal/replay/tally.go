package replay

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
)

// mostLetters is how many records that can't be read are told by name.
const mostLetters = 10

// Unread is a record that could not be read.
type Unread struct {
	Origin string `json:"origin"`
	Reason string `json:"reason"`
}

// Records counts what came of the records of logs.
type Records struct {
	Events int `json:"events"` // the rules were asked of
	// Elsewhere are events of sources that no rule is asked of.
	Elsewhere int `json:"elsewhere"`
	// Unreadable counts the records that could not be read; Unread tells the first ones.
	Unreadable int      `json:"unreadable"`
	Unread     []Unread `json:"unread"`
}

func (r *Records) letters(all []event.Letter) {
	for _, letter := range all {
		r.Unreadable++
		if len(r.Unread) < mostLetters {
			r.Unread = append(r.Unread, Unread{Origin: letter.Origin, Reason: letter.Reason})
		}
	}
}

// count counts one event, that rules were asked of or weren't, or could not be.
func (r *Records) count(ev event.Event, asked bool, err error) {
	switch {
	case err != nil:
		r.letters([]event.Letter{{Format: awslog.FormatRecord, Origin: ev.Origin, Reason: err.Error()}})
	case asked:
		r.Events++
	default:
		r.Elsewhere++
	}
}

// Count is what one rule found.
type Count struct {
	*Rule
	Times   int       `json:"times"`
	First   time.Time `json:"first_seen"`
	Last    time.Time `json:"last_seen"`
	Samples []Sample  `json:"samples"`
}

// Tally counts what a set of rules finds in logs.
type Tally struct {
	Records

	rules   *Ruleset
	samples int
	counts  map[*Rule]*Count
}

// NewTally makes a tally that keeps the first samples of each rule.
func NewTally(rules *Ruleset, samples int) *Tally {
	return &Tally{Records: Records{Unread: []Unread{}}, rules: rules, samples: samples, counts: map[*Rule]*Count{}}
}

// Take is an event.Sink.
func (t *Tally) Take(_ context.Context, b event.Batch) error {
	t.letters(b.Letters)
	for _, ev := range b.Events {
		all, asked, err := t.rules.ask(ev)
		t.count(ev, asked, err)
		for _, one := range all {
			t.add(one)
		}
	}
	return nil
}

func (t *Tally) add(f found) {
	c, known := t.counts[f.rule]
	if !known {
		c = &Count{Rule: f.rule, First: f.sample.Time, Last: f.sample.Time, Samples: []Sample{}}
		t.counts[f.rule] = c
	}
	c.Times++
	if f.sample.Time.Before(c.First) {
		c.First = f.sample.Time
	}
	if f.sample.Time.After(c.Last) {
		c.Last = f.sample.Time
	}
	if len(c.Samples) < t.samples {
		c.Samples = append(c.Samples, f.sample)
	}
}

// Counts gives what each rule found, the one that found most first. Rules that found nothing aren't there.
func (t *Tally) Counts() []*Count {
	all := make([]*Count, 0, len(t.counts))
	for _, c := range t.counts {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Count) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Name, b.Name), cmp.Compare(a.File, b.File))
	})
	return all
}
