package playbook

import (
	"slices"
)

// Walk visits every step of the playbook in the order in which they are written, those within others after
// what they are in. Steps of called playbooks are theirs.
func (p *Playbook) Walk(see func(*Step)) {
	walk(p.Steps, see)
	walk(p.Finally, see)
}

func walk(steps []Step, see func(*Step)) {
	for i := range steps {
		step := &steps[i]
		see(step)
		if step.Wait != nil && step.Wait.Look != nil {
			see(step.Wait.Look)
		}
		for _, inner := range step.inner() {
			walk(inner, see)
		}
	}
}

// inner gives the lists of steps within a step, in the order in which they are written.
func (s *Step) inner() [][]Step {
	lists := [][]Step{s.Steps, s.Parallel}
	for i := range s.Cases {
		lists = append(lists, s.Cases[i].Steps)
	}
	return append(lists, s.Else, s.Handler)
}

// Uses lists the actions that the playbook and those that it calls may use, sorted.
func (p *Playbook) Uses() []string {
	var names []string
	for _, book := range append([]*Playbook{p}, p.calls()...) {
		book.Walk(func(step *Step) {
			if step.Action != "" {
				names = append(names, step.Action)
			}
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// calls lists the playbooks that this one calls, and those that they call, sorted by name.
func (p *Playbook) calls() []*Playbook {
	var found []*Playbook
	var look func(*Playbook)
	look = func(book *Playbook) {
		book.Walk(func(step *Step) {
			if step.Calls != nil && !slices.Contains(found, step.Calls) {
				found = append(found, step.Calls)
				look(step.Calls)
			}
		})
	}
	look(p)
	slices.SortFunc(found, func(a, b *Playbook) int { return compare(a.Name, b.Name) })
	return found
}

// Calling reports whether the playbook calls another, over others or not.
func (p *Playbook) Calling(other *Playbook) bool { return slices.Contains(p.calls(), other) }

// size is how many steps a run may come to at most.
func size(steps []Step) int {
	count := 0
	for i := range steps {
		step := &steps[i]
		inner := 0
		for _, list := range step.inner() {
			inner += size(list)
		}
		if step.Loop != nil {
			inner *= max(step.Loop.AtMost, 1)
		}
		if step.Calls != nil {
			inner += size(step.Calls.Steps) + size(step.Calls.Finally)
		}
		count = min(count+1+inner, tooMany)
	}
	return count
}

const (
	// mostRun is how many steps a run may come to.
	mostRun = 5000
	// tooMany is where counting them ends.
	tooMany = 1_000_000
)
