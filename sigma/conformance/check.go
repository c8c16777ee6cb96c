package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

var (
	// ErrRefused is the cause of an engine's errors where documents are not accepted.
	ErrRefused = errors.New("refused")
	// ErrUnsupported is the cause of an engine's errors where it can't do what a case asks for.
	ErrUnsupported = errors.New("unsupported")
)

// Engine is what the cases are put to. It holds the documents of one case at a time.
type Engine interface {
	// Load replaces what was loaded before. Documents that are not accepted give an error of ErrRefused.
	Load(documents string, placeholders map[string][]string) error
	// Match reports whether any rule that was loaded matches an event of a source.
	Match(event string, s Source) (bool, error)
	// Correlate returns the alerts of correlations over a stream that ends with its last event.
	Correlate(stream []Arrival) ([]Alert, error)
}

// Check puts a case to an engine and tells what is not as it should be; nothing where all is. An error of
// ErrUnsupported means that the engine can't be asked.
func Check(e Engine, c Case) ([]string, error) {
	err := e.Load(c.Documents, c.Placeholders)
	switch {
	case errors.Is(err, ErrRefused) && (c.Refused || c.Optional):
		return nil, nil
	case errors.Is(err, ErrRefused):
		return []string{fmt.Sprintf("the documents should load: %s", err)}, nil
	case err != nil:
		return nil, err
	case c.Refused:
		return []string{"the documents should be refused"}, nil
	case len(c.Stream) > 0:
		got, err := e.Correlate(c.Stream)
		if err != nil {
			return nil, err
		}
		return compare(got, c.Alerts), nil
	}
	var problems []string
	ask := func(events []string, want bool) error {
		for _, event := range events {
			got, err := e.Match(event, c.Source)
			if err != nil {
				return err
			}
			if got != want {
				problems = append(problems, fmt.Sprintf("match is %v, should be %v: %s", got, want, strings.TrimSpace(event)))
			}
		}
		return nil
	}
	return problems, errors.Join(ask(c.Matches, true), ask(c.Misses, false))
}

// compare tells how alerts differ from those wanted. Their order doesn't matter, nor does how often one comes,
// unless the case says.
func compare(got, want []Alert) []string {
	times := make(map[string]int)
	for _, a := range got {
		times[a.key()] += max(a.Times, 1)
	}
	var problems []string
	for _, a := range want {
		key := a.key()
		switch n := times[key]; {
		case n == 0:
			problems = append(problems, "no alert of "+key)
		case a.Times > 0 && n != a.Times:
			problems = append(problems, fmt.Sprintf("%d alerts of %s, should be %d", n, key, a.Times))
		}
		delete(times, key)
	}
	for _, key := range slices.Sorted(maps.Keys(times)) {
		problems = append(problems, "an alert too many, of "+key)
	}
	return problems
}

// key tells alerts of different groups apart, and is for people.
func (a *Alert) key() string {
	parts := []string{a.By}
	for _, name := range slices.Sorted(maps.Keys(a.Group)) {
		parts = append(parts, fmt.Sprintf("%s=%q", name, a.Group[name]))
	}
	return strings.Join(parts, " ")
}
