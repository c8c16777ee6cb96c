package playbook

import "cmp"

// Place is a step of a playbook.
type Place struct {
	Playbook string
	Step     string // its id, or where it stands
}

// UsedAt lists the steps of the playbook, and of those that it calls, that use an action, in their order.
func (p *Playbook) UsedAt(action string) []Place {
	var places []Place
	for _, book := range append([]*Playbook{p}, p.calls()...) {
		book.Walk(func(step *Step) {
			if step.Action == action {
				places = append(places, Place{Playbook: book.Name, Step: cmp.Or(step.ID, step.Path)})
			}
		})
	}
	return places
}
