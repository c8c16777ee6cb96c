package rulecase

import (
	"cmp"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/event"
)

const (
	// mostEvents is how many events a case may have, repetitions counted.
	mostEvents = 10_000
	// pace is how far apart repetitions are unless the case says so.
	pace = time.Second
)

// start is the time of the first event of a case where nothing says when it was.
var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// Timed is an event and when it happened.
type Timed struct {
	Event []byte // the record, as JSON
	Time  time.Time
}

// momentOf is when an event says that it happened, or else when events begin.
func momentOf(text []byte) time.Time {
	if at, ok := event.Moment(text); ok {
		return at
	}
	return start
}

// step is one item of a case's events, as people write it: a record, or a record with its time and how
// often it happens.
type step struct {
	record map[string]any
	at     moment
	times  int
	every  time.Duration
	node   document.Node
}

// moment is an absolute time, or an offset from the first event's.
type moment struct {
	said     bool
	absolute time.Time
	offset   time.Duration
}

// UnmarshalDocument reads one item: of the keys at, event, times and every, or else the record itself.
func (s *step) UnmarshalDocument(n document.Node) error {
	var plain map[string]any
	if err := n.Decode(&plain); err != nil {
		return err
	}
	s.node, s.times, s.every = n, 1, pace
	if !dressed(plain) {
		s.record = plain
		return nil
	}
	w := struct {
		At    moment
		Event map[string]any
		Times int
		Every time.Duration
	}{Times: 1, Every: pace}
	if err := n.Decode(&w); err != nil {
		return err
	}
	if w.Times < 1 || w.Times > mostEvents || w.Every < 0 {
		return n.Errorf("times is from 1 to %d, and every is not negative", mostEvents)
	}
	s.record, s.at, s.times, s.every = w.Event, w.At, w.Times, w.Every
	return nil
}

// dressed reports whether an item has a key that says something about the record, rather than being it.
func dressed(item map[string]any) bool {
	for _, key := range []string{"at", "event", "times", "every"} {
		if _, has := item[key]; has {
			return true
		}
	}
	return false
}

// UnmarshalDocument reads a time in RFC 3339, or an offset such as +5m.
func (m *moment) UnmarshalDocument(n document.Node) error {
	text, _ := n.Text()
	if strings.HasPrefix(text, "+") {
		offset, err := time.ParseDuration(text)
		*m = moment{said: true, offset: offset}
		if err == nil {
			return nil
		}
	} else if at, err := time.Parse(time.RFC3339, text); err == nil {
		*m = moment{said: true, absolute: at.UTC()}
		return nil
	}
	return n.Errorf("%q is neither a time such as 2026-03-04T12:00:00Z nor an offset from the first event such as +5m", text)
}

// timed makes the events of a case: each item's record is laid over the one that all have in common, and
// repeated as often as the item says.
func timed(common map[string]any, steps []step) ([]Timed, error) {
	var all []Timed
	var first time.Time
	for i, s := range steps {
		record := laid(common, s.record)
		if len(record) == 0 {
			return nil, s.node.Errorf("the event is empty")
		}
		text, err := json.Marshal(record)
		if err != nil {
			return nil, s.node.Errorf("the event can't be written as JSON: %s", err)
		}
		own, _ := event.Moment(text)
		if i == 0 {
			first = cmp.Or(s.at.absolute, own, start)
		}
		at, err := s.when(own, first, i == 0)
		if err != nil {
			return nil, err
		}
		if len(all)+s.times > mostEvents {
			return nil, s.node.Errorf("a test has at most %d events", mostEvents)
		}
		for again := range s.times {
			all = append(all, Timed{Event: text, Time: at.Add(time.Duration(again) * s.every)})
		}
	}
	return all, nil
}

// when gives the time of an item: what it says, or else what its record says.
func (s *step) when(own, first time.Time, isFirst bool) (time.Time, error) {
	switch {
	case !s.at.absolute.IsZero():
		return s.at.absolute, nil
	case s.at.said:
		return first.Add(s.at.offset), nil
	case !own.IsZero():
		return own, nil
	case isFirst:
		return first, nil
	}
	return time.Time{}, s.node.Errorf("the event doesn't tell its time: say when it was by at:, such as +5m")
}

// laid gives a record with another laid over it: objects are merged, all else is replaced.
func laid(under, over map[string]any) map[string]any {
	merged := maps.Clone(under)
	if merged == nil {
		merged = make(map[string]any, len(over))
	}
	for key, value := range over {
		below, isObject := merged[key].(map[string]any)
		above, both := value.(map[string]any)
		if isObject && both {
			value = laid(below, above)
		}
		merged[key] = value
	}
	return merged
}
