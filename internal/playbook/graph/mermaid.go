package graph

import (
	"bytes"
	"fmt"
	"strings"
)

// Mermaid writes the graph as a flow chart in Mermaid's language. What isn't a plain letter or digit is written as
// an entity: no text of a playbook can become a part of the language.
func (g *Graph) Mermaid() []byte {
	var out bytes.Buffer
	out.WriteString("flowchart TD\n")
	names := map[string]string{}
	for i, n := range g.Nodes {
		names[n.ID] = fmt.Sprintf("n%d", i+1)
	}
	g.inside(&out, -1, names, "  ")
	for _, e := range g.Edges {
		arrow := "-->"
		if e.Way == Failure || e.Way == Back {
			arrow = "-.->"
		}
		if e.Label != "" {
			arrow += `|"` + entities(e.Label) + `"|`
		}
		fmt.Fprintf(&out, "  %s %s %s\n", names[e.From], arrow, names[e.To])
	}
	for _, shape := range []Shape{Reads, Tells, Contains, Destroys, Question} {
		var of []string
		for _, n := range g.Nodes {
			if n.Shape == shape {
				of = append(of, names[n.ID])
			}
		}
		if len(of) > 0 {
			fmt.Fprintf(&out, "  classDef %s %s\n  class %s %s\n", shape, mermaidStyle[shape], strings.Join(of, ","), shape)
		}
	}
	return out.Bytes()
}

var mermaidStyle = map[Shape]string{ //nolint:gochecknoglobals // a constant table
	Reads: "fill:#e6f4ea,color:#1f2328", Tells: "fill:#e7f0fd,color:#1f2328", Contains: "fill:#fff1d6,color:#1f2328",
	Destroys: "fill:#ffdfdc,color:#1f2328,stroke-width:3px", Question: "fill:#f3e8fd,color:#1f2328",
}

// inside writes what is in a frame, or in none, and the frames within.
func (g *Graph) inside(out *bytes.Buffer, frame int, names map[string]string, indent string) {
	for _, n := range g.Nodes {
		if g.around(n.X, n.Y, n.W, n.H, len(g.Frames)) != frame {
			continue
		}
		opens, closes := mermaidForm(n.Shape)
		lines := make([]string, 0, len(n.Lines))
		for _, text := range n.Lines {
			lines = append(lines, entities(text))
		}
		if len(lines) == 0 {
			lines = []string{" "}
		}
		fmt.Fprintf(out, "%s%s%s\"%s\"%s\n", indent, names[n.ID], opens, strings.Join(lines, "<br/>"), closes)
	}
	for i, f := range g.Frames {
		if g.around(f.X, f.Y, f.W, f.H, i) == frame {
			fmt.Fprintf(out, "%ssubgraph f%d[\"%s\"]\n", indent, i+1, entities(f.Label))
			g.inside(out, i, names, indent+"  ")
			fmt.Fprintf(out, "%send\n", indent)
		}
	}
}

// around finds the innermost of the frames before one that a box is in; -1 for none.
func (g *Graph) around(x, y, w, h, before int) int {
	for i := before - 1; i >= 0; i-- {
		if f := g.Frames[i]; f.X <= x && f.Y <= y && x+w <= f.X+f.W && y+h <= f.Y+f.H {
			return i
		}
	}
	return -1
}

func mermaidForm(s Shape) (opens, closes string) {
	switch s {
	case Reads:
		return "(", ")"
	case Terminal:
		return "([", "])"
	case Tells:
		return "[/", "/]"
	case Contains, Fork:
		return "[[", "]]"
	case Destroys, Waits:
		return "{{", "}}"
	case Question, Choice:
		return "{", "}"
	case Repeats:
		return `[/`, `\]`
	case Names:
		return ">", "]"
	case JoinPoint:
		return "((", "))"
	default:
		return "[", "]"
	}
}

func entities(text string) string {
	var out strings.Builder
	for _, c := range text {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == ' ', c == '.', c == ',', c == '_', c == ':':
			out.WriteRune(c)
		default:
			fmt.Fprintf(&out, "#%d;", c)
		}
	}
	return out.String()
}
