package graph

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// Style is the style sheet of pictures: their colours are custom properties, which a page may set.
const Style = `.riposte-graph{color:var(--graph-ink,#1f2328);font:12px/1 system-ui,sans-serif}
.riposte-graph text{fill:currentColor;stroke:none}
.riposte-graph .paper{fill:var(--graph-paper,#ffffff)}
.riposte-graph .node{fill:var(--graph-box,#f6f8fa);stroke:currentColor;stroke-width:1.2}
.riposte-graph .reads{fill:var(--graph-reads,#e6f4ea)}
.riposte-graph .tells{fill:var(--graph-tells,#e7f0fd)}
.riposte-graph .contains{fill:var(--graph-contains,#fff1d6)}
.riposte-graph .destroys{fill:var(--graph-destroys,#ffdfdc);stroke-width:3}
.riposte-graph .question{fill:var(--graph-question,#f3e8fd)}
.riposte-graph .fails{stroke-width:3}
.riposte-graph .join{fill:currentColor}
.riposte-graph .inner{fill:none}
.riposte-graph .frame{fill:none;stroke:currentColor;stroke-opacity:.45}
.riposte-graph .edge{fill:none;stroke:currentColor;stroke-width:1.3}
.riposte-graph .dashed,.riposte-graph .failure,.riposte-graph .back{stroke-dasharray:5 4}
.riposte-graph .tip{fill:currentColor;stroke:none}
.riposte-graph .name{font-weight:600}
@media (prefers-color-scheme:dark){.riposte-graph{--graph-ink:#e6edf3;--graph-paper:#0d1117;--graph-box:#21262d;--graph-reads:#12361f;--graph-tells:#10294d;--graph-contains:#4a3310;--graph-destroys:#5a1a17;--graph-question:#3a1d5c}}
`

// SVG draws the graph as an image that stands alone.
func (g *Graph) SVG() []byte { return g.draw(true) }

// Inline draws the graph as a part of a page, which has Style or one of its own.
func (g *Graph) Inline() []byte { return g.draw(false) }

func (g *Graph) draw(alone bool) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" class="riposte-graph" role="img" aria-labelledby="graph-title graph-desc" viewBox="0 0 %d %d" width="%d" height="%d">`+"\n", g.W, g.H, g.W, g.H)
	fmt.Fprintf(&out, "<title id=\"graph-title\">Playbook %s</title>\n<desc id=\"graph-desc\">%s</desc>\n", escaped(g.Playbook), escaped(g.describe()))
	if alone {
		fmt.Fprintf(&out, "<style>%s</style>\n<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", Style, g.W, g.H)
	}
	for _, f := range g.Frames {
		class := "frame"
		if f.Dashed {
			class += " dashed"
		}
		fmt.Fprintf(&out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/><text x="%d" y="%d">%s</text>`+"\n",
			class, f.X, f.Y, f.W, f.H, f.X+padding, f.Y+line, escaped(f.Label))
	}
	for i := range g.Edges {
		g.Edges[i].draw(&out)
	}
	for i := range g.Nodes {
		g.Nodes[i].draw(&out)
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// describe says what is in the picture to who doesn't see it: the steps, in their order.
func (g *Graph) describe() string {
	const most = 60
	var text strings.Builder
	text.WriteString(g.Summary)
	count := 0
	for _, n := range g.Nodes {
		if n.Step == "" {
			continue
		}
		if count++; count <= most {
			fmt.Fprintf(&text, " %d. %s.", count, strings.Join(n.Lines, ", "))
		}
	}
	if count > most {
		fmt.Fprintf(&text, " And %d more steps.", count-most)
	}
	return text.String()
}

func (e *Edge) draw(out *bytes.Buffer) {
	points := make([]string, 0, len(e.Line))
	for _, p := range e.Line {
		points = append(points, fmt.Sprintf("%d,%d", p.X, p.Y))
	}
	fmt.Fprintf(out, `<polyline class="edge %s" points="%s"/>`, e.Way, strings.Join(points, " "))
	end, before := e.Line[len(e.Line)-1], e.Line[len(e.Line)-2]
	x, y := sign(end.X-before.X), sign(end.Y-before.Y) // a tip against the way it came
	fmt.Fprintf(out, `<polygon class="tip" points="%d,%d %d,%d %d,%d"/>`, end.X, end.Y,
		end.X-7*x-4*y, end.Y-7*y-4*x, end.X-7*x+4*y, end.Y-7*y+4*x)
	if e.Label != "" {
		fmt.Fprintf(out, `<text x="%d" y="%d">%s</text>`, e.At.X, e.At.Y, escaped(e.Label))
	}
	out.WriteByte('\n')
}

func sign(n int) int { return min(max(n, -1), 1) }

func (n *Node) draw(out *bytes.Buffer) {
	step := ""
	if n.Step != "" {
		step = fmt.Sprintf(` data-step="%s"`, escaped(n.Step))
	}
	fmt.Fprintf(out, `<g id="node-%s"%s>`, escaped(n.ID), step)
	if n.Title != "" {
		fmt.Fprintf(out, "<title>%s</title>", escaped(n.Title))
	}
	n.outline(out)
	for i, text := range n.Lines {
		class := ""
		if i == 0 {
			class = ` class="name"`
		}
		y := n.Y + n.H/2 - len(n.Lines)*line/2 + i*line + 12
		fmt.Fprintf(out, `<text%s x="%d" y="%d" text-anchor="middle">%s</text>`, class, n.X+n.W/2, y, escaped(text))
	}
	out.WriteString("</g>\n")
}

// outline draws the form of a node.
func (n *Node) outline(out *bytes.Buffer) {
	x, y, r, b := n.X, n.Y, n.X+n.W, n.Y+n.H
	midX, midY := n.X+n.W/2, n.Y+n.H/2
	class := "node " + string(n.Shape)
	switch n.Shape {
	case JoinPoint:
		fmt.Fprintf(out, `<circle class="%s" cx="%d" cy="%d" r="%d"/>`, class, midX, midY, n.W/2)
	case Reads, Terminal:
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`, class, x, y, n.W, n.H, min(n.H/2, 18))
	case Tells:
		polygon(out, class, x+16, y, r, y, r-16, b, x, b)
	case Destroys:
		polygon(out, class, x+12, y, r-12, y, r, y+12, r, b-12, r-12, b, x+12, b, x, b-12, x, y+12)
	case Question:
		polygon(out, class, midX, y, r, midY, midX, b, x, midY)
		polygon(out, "node inner", midX, y+6, r-12, midY, midX, b-6, x+12, midY)
	case Choice:
		polygon(out, class, midX, y, r, midY, midX, b, x, midY)
	case Waits:
		polygon(out, class, x+16, y, r-16, y, r, midY, r-16, b, x+16, b, x, midY)
	case Repeats:
		polygon(out, class, x+16, y, r-16, y, r, b, x, b)
	case Names:
		polygon(out, class, x, y, r-12, y, r, y+12, r, b, x, b)
	default:
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d"/>`, class, x, y, n.W, n.H)
	}
	switch n.Shape {
	case Contains:
		fmt.Fprintf(out, `<path class="node inner" d="M%d %dV%dM%d %dV%d"/>`, x+6, y, b, r-6, y, b)
	case Fork:
		fmt.Fprintf(out, `<path class="node fails inner" d="M%d %dH%dM%d %dH%d"/>`, x, y, r, x, b, r)
	default:
	}
}

func polygon(out *bytes.Buffer, class string, at ...int) {
	points := make([]string, 0, len(at)/2)
	for i := 0; i+1 < len(at); i += 2 {
		points = append(points, fmt.Sprintf("%d,%d", at[i], at[i+1]))
	}
	fmt.Fprintf(out, `<polygon class="%s" points="%s"/>`, class, strings.Join(points, " "))
}

func escaped(text string) string {
	var out bytes.Buffer
	if err := xml.EscapeText(&out, []byte(text)); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.String()
}
