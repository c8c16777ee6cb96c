package graph

import (
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/riposte-sec/riposte/internal/playbook"
)

const (
	margin  = 16
	gap     = 30 // between what comes one after the other
	aside   = 36 // between what stands side by side
	rail    = 14 // from a node to the line that forks or joins
	line    = 16 // height of a line of text
	letter  = 7  // width of a character, generously
	padding = 14
	head    = 24 // height of a frame's label
	dot     = 10
	least   = 20 // half the width of a way on which nothing is
)

// unshown are characters that show nothing, or turn the direction of what comes after them.
func unshown(c rune) bool { return !unicode.IsPrint(c) || c == utf8.RuneError }

// block is a part of the picture with one way in and one way out, both on its axis.
type block struct {
	w, h, axis int
	in, out    string // nodes; in is "" where there is nothing, out where it doesn't go on
	inY, outY  int    // where the nodes begin and end
	nodes      []Node
	frames     []Frame
	edges      []Edge
}

// empty reports whether nothing is in the block: what comes before it goes on to what comes after it.
func (b *block) empty() bool { return b.in == "" }

func (b *block) move(x, y int) {
	b.inY, b.outY = b.inY+y, b.outY+y
	for i := range b.nodes {
		b.nodes[i].X, b.nodes[i].Y = b.nodes[i].X+x, b.nodes[i].Y+y
	}
	for i := range b.frames {
		b.frames[i].X, b.frames[i].Y = b.frames[i].X+x, b.frames[i].Y+y
	}
	for i := range b.edges {
		e := &b.edges[i]
		e.At = Point{e.At.X + x, e.At.Y + y}
		for j := range e.Line {
			e.Line[j] = Point{e.Line[j].X + x, e.Line[j].Y + y}
		}
	}
}

// take adds what another block draws, which has been moved to its place.
func (b *block) take(other block) {
	b.nodes = append(b.nodes, other.nodes...)
	b.frames = append(b.frames, other.frames...)
	b.edges = append(b.edges, other.edges...)
}

func (b *block) node(id string) Node {
	return b.nodes[slices.IndexFunc(b.nodes, func(n Node) bool { return n.ID == id })]
}

// leaf is a node alone.
func leaf(n Node) block {
	n.W, n.H = measure(n)
	return block{w: n.W, h: n.H, axis: n.W / 2, in: n.ID, out: n.ID, outY: n.H, nodes: []Node{n}}
}

// measure is how large a node must be for its text.
func measure(n Node) (w, h int) {
	if n.Shape == JoinPoint {
		return dot, dot
	}
	widest := 0
	for _, one := range n.Lines {
		widest = max(widest, utf8.RuneCountInString(one)*letter)
	}
	tall := len(n.Lines) * line
	switch n.Shape {
	case Question, Choice: // the text stands in the middle of a diamond
		return even(widest*3/2 + 40), tall*3 - tall/3 + 24
	case Tells, Repeats, Waits, Destroys:
		return even(max(widest+52, 140)), tall + padding
	default:
		return even(max(widest+28, 100)), tall + padding
	}
}

func even(n int) int { return n + n%2 }

// stack puts blocks below each other, on one axis.
func stack(blocks ...block) block {
	var s block
	for i := range blocks {
		s.axis = max(s.axis, blocks[i].axis)
	}
	ends := false
	for _, b := range blocks {
		if b.empty() {
			continue
		}
		if s.in != "" {
			s.h += gap
		}
		b.move(s.axis-b.axis, s.h)
		if s.in == "" {
			s.in, s.inY = b.in, b.inY
		} else if !ends {
			s.edges = append(s.edges, Edge{From: s.out, To: b.in, Way: Next, Line: []Point{{s.axis, s.outY}, {s.axis, b.inY}}})
		}
		s.take(b)
		s.h += b.h
		s.w = max(s.w, s.axis-b.axis+b.w)
		s.out, s.outY, ends = b.out, b.outY, b.out == ""
	}
	return s
}

// framed puts a frame around a block.
func framed(b block, f Frame) block {
	label := utf8.RuneCountInString(f.Label)*letter + 2*padding
	left := max(padding, label-b.axis) // the label stands beside the way in
	b.move(left, head)
	b.axis += left
	b.w, b.h = b.w+left+padding, b.h+head+padding
	f.W, f.H = b.w, b.h
	b.frames = append([]Frame{f}, b.frames...)
	return b
}

// branch is one of several ways.
type branch struct {
	label string
	block block
}

// choose puts ways side by side below a node, and joins them.
func choose(top Node, ways []branch, way Way) block {
	from, join := leaf(top), leaf(Node{ID: top.ID + ":join", Shape: JoinPoint})
	var below []block
	x, tallest := 0, 0
	for i := range ways {
		b := ways[i].block
		if b.empty() {
			b.w, b.axis = 2*least, least
		}
		b.w = max(b.w, b.axis+2*letter+utf8.RuneCountInString(ways[i].label)*letter)
		tallest = max(tallest, b.h)
		x += b.w
		below = append(below, b)
	}
	x += aside * (len(ways) - 1)
	c := block{axis: max(from.axis, x/2), in: from.in, inY: from.inY, h: from.h}
	c.w = max(c.axis+from.w/2, c.axis-x/2+x)
	from.move(c.axis-from.axis, 0)
	fork := c.h + rail
	start := fork + head
	rejoin := start + tallest + rail
	join.move(c.axis-join.axis, rejoin+rail)
	at := c.axis - x/2
	c.take(from)
	for i, b := range below {
		b.move(at, start)
		axis := at + b.axis
		edge := Edge{From: from.in, To: b.in, Way: way, Label: ways[i].label, At: Point{axis + letter, fork + line}}
		edge.Line = []Point{{c.axis, c.h}, {c.axis, fork}, {axis, fork}, {axis, b.inY}}
		back := []Point{{axis, rejoin}, {c.axis, rejoin}, {c.axis, rejoin + rail}}
		switch {
		case b.empty():
			edge.To, edge.Line = join.in, append(edge.Line[:3:3], back...)
		case b.out != "":
			line := append([]Point{{axis, b.outY}}, back...)
			c.edges = append(c.edges, Edge{From: b.out, To: join.in, Way: Next, Line: line})
		}
		if b.empty() || b.out != "" {
			c.out = join.in
		}
		c.edges = append(c.edges, edge)
		c.take(b)
		at += b.w + aside
	}
	c.h = rejoin
	if c.out != "" {
		c.take(join)
		c.h = rejoin + rail + dot
	}
	c.outY = c.h
	return c
}

// repeated puts a frame around the steps of a loop, with a way back to where a turn begins.
func repeated(top Node, body block, s *playbook.Step) block {
	end := leaf(Node{
		ID: top.ID + ":next", Shape: Terminal, Lines: []string{fmt.Sprintf("next, of at most %d", s.Loop.AtMost)}, Title: "The next turn of " + s.ID,
	})
	b := stack(leaf(top), body, end)
	b.move(aside, 0)
	b.axis, b.w = b.axis+aside, b.w+aside
	first, last := b.node(top.ID), b.node(end.in)
	b.edges = append(b.edges, Edge{From: last.ID, To: first.ID, Way: Back, Line: []Point{
		{last.X, last.Y + last.H/2}, {aside / 2, last.Y + last.H/2}, {aside / 2, first.Y + first.H/2}, {first.X, first.Y + first.H/2},
	}})
	return framed(b, Frame{ID: top.ID, Label: "foreach " + s.ID})
}

// rescued puts what deals with a failure beside what may fail.
func rescued(b, handler block, id string, kind playbook.Kind) block {
	from := b.node(b.in)
	var side int
	if kind == playbook.Use || kind == playbook.Ask || kind == playbook.Wait || kind == playbook.Set || kind == playbook.Fail {
		side = from.Y + from.H/2
	} else {
		b = framed(b, Frame{ID: id + ":try", Label: "what may fail of " + bounded(id, mostLabel)})
		side = head / 2
	}
	const label = "if it fails"
	handler = framed(handler, Frame{ID: id + ":error", Label: "on_error of " + bounded(id, mostLabel), Dashed: true})
	handler.w = max(handler.w, handler.axis+2*letter+len(label)*letter)
	right := b.w
	if len(b.frames) == 0 {
		right = b.axis + from.W/2
	}
	x, y := b.w+aside, side+head
	handler.move(x, y)
	axis := x + handler.axis
	out := b
	out.w, out.h = x+handler.w, max(b.h, y+handler.h)
	out.edges = append(out.edges, Edge{
		From: from.ID, To: handler.in, Way: Failure, Label: label, At: Point{axis + letter, side + line},
		Line: []Point{{right, side}, {axis, side}, {axis, handler.inY}},
	})
	out.take(handler)
	out.out = ""
	join := leaf(Node{ID: id + ":after", Shape: JoinPoint})
	join.move(b.axis-join.axis, out.h+gap)
	if b.out != "" {
		out.edges = append(out.edges, Edge{From: b.out, To: join.in, Way: Next, Line: []Point{{b.axis, b.outY}, {b.axis, join.inY}}})
		out.out = join.in
	}
	if handler.out != "" {
		level := join.inY + dot/2
		out.edges = append(out.edges, Edge{From: handler.out, To: join.in, Way: Next, Line: []Point{
			{axis, handler.outY}, {axis, level}, {b.axis + dot/2, level},
		}})
		out.out = join.in
	}
	if out.out != "" {
		out.take(join)
		out.h += gap + dot
		out.outY = out.h
	}
	return out
}
