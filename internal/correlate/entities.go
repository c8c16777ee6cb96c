package correlate

import (
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
)

// mostNamed bounds the entities of a finding: whoever causes events decides how many there are.
const mostNamed = 200

// Describe adds to a correlation's finding what is known of the log records behind it, the earliest first.
func Describe(f *finding.Finding, behind []event.Event) {
	for i, ev := range behind {
		if i == 0 {
			f.Account, f.Region = ev.Account, ev.Region
		}
		f.Events = append(f.Events, ev.Key)
	}
	f.Entities = entities(behind)
}

// entities joins those of events, each in its part once. A thing that was given comes before one that we built.
func entities(events []event.Event) []entity.Entity {
	type place struct {
		part entity.Part
		key  string
	}
	at := map[place]int{}
	var all []entity.Entity
	for _, ev := range events {
		for _, e := range ev.Entities {
			here := place{e.Part, e.Key()}
			known, is := at[here]
			switch {
			case is && all[known].Derived && !e.Derived:
				all[known] = e
			case !is && len(all) < mostNamed:
				at[here] = len(all)
				all = append(all, e)
			}
		}
	}
	return all
}
