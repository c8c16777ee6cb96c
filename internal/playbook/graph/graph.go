// Package graph draws a playbook's steps: where each stands, as data, and pictures of that.
package graph

import (
	"fmt"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/playbook"
)

// Graph is a playbook laid out from top to bottom. All measures are pixels from the left top corner.
type Graph struct {
	Playbook string  `json:"playbook"`
	Summary  string  `json:"summary"`
	W        int     `json:"w"`
	H        int     `json:"h"`
	Nodes    []Node  `json:"nodes"`
	Frames   []Frame `json:"frames"` // what is around comes before what is within
	Edges    []Edge  `json:"edges"`
}

// Shape is the form of a node.
type Shape string

// The shapes. What an action does to the world is told by the form, with or without colours.
const (
	Reads     Shape = "reads"    // rounded
	Tells     Shape = "tells"    // slanted
	Contains  Shape = "contains" // with bars at both sides
	Destroys  Shape = "destroys" // an octagon
	Acts      Shape = "acts"     // an action that nobody knows here
	Question  Shape = "question" // a double diamond
	Choice    Shape = "choice"   // a diamond
	Waits     Shape = "waits"    // pointed at both sides
	Names     Shape = "names"    // with a corner cut off
	Fails     Shape = "fails"    // a thick frame
	Fork      Shape = "fork"     // between two thick lines
	Repeats   Shape = "repeats"  // a trapezium
	Holds     Shape = "holds"    // a box: a group, a call
	Terminal  Shape = "terminal" // where it begins and ends
	JoinPoint Shape = "join"     // a dot where ways meet
)

// Node is one step, or a point that belongs to one.
type Node struct {
	ID string `json:"id"`
	// Step is the step's name as runs have it, in its first turn where it is in a loop; "" where the node is a point only.
	Step  string   `json:"step,omitempty"`
	Shape Shape    `json:"shape"`
	Lines []string `json:"lines,omitempty"` // bounded, to be shown
	Title string   `json:"title,omitempty"` // all of it, for who asks
	X     int      `json:"x"`
	Y     int      `json:"y"`
	W     int      `json:"w"`
	H     int      `json:"h"`
}

// Frame is a box around nodes.
type Frame struct {
	ID     string `json:"id"`
	Label  string `json:"label"`
	Dashed bool   `json:"dashed,omitempty"`
	X      int    `json:"x"`
	Y      int    `json:"y"`
	W      int    `json:"w"`
	H      int    `json:"h"`
}

// Way is what an edge stands for.
type Way string

// The ways.
const (
	Next    Way = "next"
	Case    Way = "case"    // where a condition or a switch says so
	Back    Way = "back"    // the next turn of a loop
	Failure Way = "failure" // where a step failed
)

// Edge is a line from node to node.
type Edge struct {
	From  string  `json:"from"`
	To    string  `json:"to"`
	Way   Way     `json:"way"`
	Label string  `json:"label,omitempty"`
	Line  []Point `json:"line"`
	At    Point   `json:"at"` // where the label begins, on its base line
}

// Point is a place in the picture.
type Point struct {
	X int `json:"x"`
	Y int `json:"y"`
}

const (
	mostLabel = 40  // characters in a line
	mostTitle = 400 // characters
)

// Of lays out a playbook with those that it calls. Specs tell what its actions do to the world.
func Of(p *playbook.Playbook, specs []action.Spec) *Graph {
	l := &layout{effects: map[string]action.Effect{}}
	for _, spec := range specs {
		l.effects[spec.Name] = spec.Effect
	}
	begin := leaf(Node{ID: ":start", Shape: Terminal, Lines: []string{bounded(p.Name, mostLabel), "autonomy " + string(p.Autonomy)}, Title: starts(p)})
	body := l.whole(p, "")
	end := leaf(Node{ID: ":end", Shape: Terminal, Lines: []string{"end"}})
	all := stack(begin, body, end)
	all.move(margin, margin)
	return &Graph{
		Playbook: p.Name, Summary: bounded(p.Summary, mostTitle), W: all.w + 2*margin, H: all.h + 2*margin,
		Nodes: all.nodes, Frames: all.frames, Edges: all.edges,
	}
}

func starts(p *playbook.Playbook) string {
	text := "Answers " + strings.Join(p.Findings, ", ")
	if len(p.Findings) == 0 {
		text = "Called by other playbooks"
	}
	if p.If != nil {
		text += "; if " + p.If.String()
	}
	return bounded(text, mostTitle)
}

// layout knows what is needed to draw steps.
type layout struct {
	effects map[string]action.Effect
}

// whole lays out a playbook's steps and those that come however the others ended.
func (l *layout) whole(p *playbook.Playbook, prefix string) block {
	body := l.steps(p.Steps, prefix)
	if len(p.Finally) == 0 {
		return body
	}
	gate := leaf(Node{ID: prefix + ":finally", Shape: JoinPoint, Title: "However the steps ended"})
	last := framed(l.steps(p.Finally, prefix), Frame{ID: prefix + "finally", Label: "finally, however the steps ended"})
	return stack(body, gate, last)
}

func (l *layout) steps(steps []playbook.Step, prefix string) block {
	blocks := make([]block, 0, len(steps))
	for i := range steps {
		blocks = append(blocks, l.step(&steps[i], prefix))
	}
	return stack(blocks...)
}

// step lays out a step with what is in it and what deals with its failure.
func (l *layout) step(s *playbook.Step, prefix string) block {
	b := l.does(s, prefix)
	if len(s.Handler) == 0 {
		return b
	}
	return rescued(b, l.steps(s.Handler, prefix), prefix+s.ID, s.Does)
}

func (l *layout) does(s *playbook.Step, prefix string) block {
	id := prefix + s.ID
	head := l.node(s, id)
	switch s.Does {
	case playbook.Group:
		if s.If == nil {
			return framed(stack(leaf(head), l.steps(s.Steps, prefix)), Frame{ID: id, Label: s.ID})
		}
		return choose(head, []branch{{"yes", l.steps(s.Steps, prefix)}, {"no", l.steps(s.Else, prefix)}}, Case)
	case playbook.Parallel:
		branches := make([]branch, 0, len(s.Parallel))
		for i := range s.Parallel {
			branches = append(branches, branch{"", l.step(&s.Parallel[i], prefix)})
		}
		return choose(head, branches, Next)
	case playbook.Switch:
		branches := make([]branch, 0, len(s.Cases)+1)
		for _, one := range s.Cases {
			branches = append(branches, branch{values(one.Is), l.steps(one.Steps, prefix)})
		}
		return choose(head, append(branches, branch{"else", l.steps(s.Else, prefix)}), Case)
	case playbook.ForEach:
		return repeated(head, l.steps(s.Steps, id+"[0]/"), s)
	case playbook.Call:
		if s.Calls != nil {
			return framed(stack(leaf(head), l.whole(s.Calls, id+"/")), Frame{ID: id, Label: "playbook " + bounded(s.Called, mostLabel)})
		}
	case playbook.Fail:
		b := leaf(head)
		if s.If == nil && s.OnError != playbook.Continue {
			b.out = "" // nothing comes after it
		}
		return b
	default:
	}
	return leaf(head)
}

// node is the step's own node: what it does, for people.
func (l *layout) node(s *playbook.Step, id string) Node {
	n := Node{ID: id, Step: id, Shape: l.shape(s)}
	all := append([]string{s.ID}, l.says(s)...)
	if s.If != nil && n.Shape != Choice || s.If != nil && s.Does == playbook.Switch {
		all = append(all, "only if "+s.If.String())
	}
	if s.OnError == playbook.Continue {
		all = append(all, "goes on if it fails")
	}
	for _, line := range all {
		n.Lines = append(n.Lines, bounded(line, mostLabel))
	}
	if s.Summary != "" {
		all = append(all, s.Summary)
	}
	n.Title = bounded(strings.Join(all, "; "), mostTitle)
	return n
}

func (l *layout) shape(s *playbook.Step) Shape {
	switch s.Does {
	case playbook.Use:
		return map[action.Effect]Shape{
			action.Read: Reads, action.Notify: Tells, action.Contain: Contains, action.Destroy: Destroys, "": Acts,
		}[l.effects[s.Action]]
	case playbook.Ask:
		return Question
	case playbook.Wait:
		return Waits
	case playbook.Set:
		return Names
	case playbook.Fail:
		return Fails
	case playbook.Parallel:
		return Fork
	case playbook.ForEach:
		return Repeats
	case playbook.Switch:
		return Choice
	case playbook.Group:
		if s.If != nil {
			return Choice
		}
	case playbook.Call:
	}
	return Holds
}

// says tells what a step does, in lines.
func (l *layout) says(s *playbook.Step) []string {
	switch s.Does {
	case playbook.Use:
		lines := []string{s.Action}
		if effect := l.effects[s.Action]; effect != "" {
			lines = append(lines, "effect: "+string(effect))
		}
		if s.For > 0 {
			lines = append(lines, "taken back after "+short(s.For))
		}
		return lines
	case playbook.Ask:
		return asks(s.Approve)
	case playbook.Wait:
		return waits(s.Wait)
	case playbook.Set:
		names := make([]string, 0, len(s.Set))
		for _, arg := range s.Set {
			names = append(names, arg.Name)
		}
		return []string{"sets " + strings.Join(names, ", ")}
	case playbook.Fail:
		return []string{"fails: " + text(s.Fail)}
	case playbook.Call:
		return []string{"calls " + s.Called}
	case playbook.Parallel:
		return []string{fmt.Sprintf("%d at once", len(s.Parallel))}
	case playbook.ForEach:
		return []string{
			fmt.Sprintf("for each %s in", s.Loop.As), s.Loop.In.String(),
			fmt.Sprintf("at most %d, %d at once", s.Loop.AtMost, s.Loop.AtOnce),
		}
	case playbook.Switch:
		return []string{s.On.String() + " is"}
	case playbook.Group:
		if s.If != nil {
			return []string{s.If.String() + "?"}
		}
	}
	return nil
}

func asks(a *playbook.Approve) []string {
	by := "who is asked by default"
	if len(a.By) > 0 {
		by = strings.Join(a.By, " or ")
	}
	lines := []string{by}
	if a.Quorum > 1 {
		lines = append(lines, fmt.Sprintf("%d people", a.Quorum))
	}
	if a.Within > 0 {
		lines = append(lines, fmt.Sprintf("within %s, or else %s", short(a.Within), a.Otherwise))
	}
	if len(a.Escalate) > 0 {
		lines = append(lines, "more are asked after "+short(a.Escalate[0].After))
	}
	return lines
}

func waits(w *playbook.Waiting) []string {
	if w.Until == nil {
		return []string{"waits " + short(w.Time)}
	}
	lines := []string{"waits until", w.Until.String()}
	if w.Look != nil {
		lines = append(lines, "by "+w.Look.Action)
	}
	then := "or else fails"
	if w.GoOn {
		then = "or else goes on"
	}
	return append(lines, fmt.Sprintf("within %s, %s", short(w.Within), then))
}

func values(is []any) string {
	texts := make([]string, 0, len(is))
	for _, one := range is {
		texts = append(texts, fmt.Sprint(one))
	}
	return bounded(strings.Join(texts, ", "), mostLabel)
}

func text(v *playbook.Value) string {
	if v.Template != nil {
		return v.Template.String()
	}
	return fmt.Sprint(v.Constant)
}

// short is a duration without what is zero at its end.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// bounded is a text on one line, without what a picture can't hold, of at most some characters.
func bounded(text string, most int) string {
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c <= ' ' || c == 0x7f || unshown(c) }), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
