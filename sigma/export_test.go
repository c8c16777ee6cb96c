package sigma

import (
	"reflect"
	"strings"
)

// MostPlans is how many combinations of log sources get a plan of their own.
const MostPlans = mostPlans

// Required lists texts of which a match of a regular expression has one, folded.
var Required = required

// Language names what a rule is made of once it is read, one line a type.
func Language() []string {
	var lines []string
	for _, t := range []reflect.Type{
		reflect.TypeFor[Rule](), reflect.TypeFor[selection](), reflect.TypeFor[item](), reflect.TypeFor[atom](), reflect.TypeFor[modifiers](),
		reflect.TypeFor[expression](), reflect.TypeFor[leaf](), reflect.TypeFor[found](), reflect.TypeFor[view](),
	} {
		var own []string
		for f := range t.Fields() {
			if !f.IsExported() {
				own = append(own, f.Name)
			}
		}
		lines = append(lines, t.Name()+": "+strings.Join(own, " "))
	}
	return lines
}

// Beyond lists the rules of an engine that it leaves to the interpreter.
func (e *Engine) Beyond() []*Rule {
	var all []*Rule
	for number, r := range e.rules {
		if e.beyond[number] {
			all = append(all, r)
		}
	}
	return all
}

// Plans is how many plans an engine has made for combinations of log sources.
func (e *Engine) Plans() int {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	n := 0
	e.plans.Range(func(any, any) bool { n++; return true })
	return n
}
