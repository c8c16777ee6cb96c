package graph_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/playbook/graph"
)

var update = flag.Bool("update", false, "write the pictures as they are")

func specs() []action.Spec {
	return []action.Spec{
		{Name: "test.look", Effect: action.Read},
		{Name: "test.fence", Effect: action.Contain},
		{Name: "test.copy", Effect: action.Contain},
		{Name: "test.destroy", Effect: action.Destroy},
		{Name: "notify", Effect: action.Notify},
	}
}

func read(t *testing.T, file string) *playbook.Playbook {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, file, text)
}

func parse(t *testing.T, file string, text []byte) *playbook.Playbook {
	t.Helper()
	p, err := playbook.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func everything(t *testing.T) *graph.Graph {
	t.Helper()
	p, helper := read(t, "everything.yaml"), read(t, "helper.yaml")
	if err := playbook.Link([]*playbook.Playbook{p, helper}); err != nil {
		t.Fatal(err)
	}
	return graph.Of(p, specs())
}

func TestPictures(t *testing.T) {
	t.Parallel()
	for file, draw := range map[string]func(*graph.Graph) []byte{"everything.svg": (*graph.Graph).SVG, "everything.mmd": (*graph.Graph).Mermaid} {
		got := draw(everything(t))
		if !bytes.Equal(got, draw(everything(t))) {
			t.Errorf("%s is another picture the second time", file)
		}
		if *update {
			if err := os.WriteFile("testdata/"+file, got, 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s: look, and use -update: (-want +got)\n%s", file, diff)
		}
	}
}

// Every step is in the picture once, under the name that runs give it.
func TestEveryStepOnce(t *testing.T) {
	t.Parallel()
	want := []string{
		"look", "names", "contain", "fence", "disks", "disks[0]/copy", "disks[0]/copied", "hush", "pause", "quiet", "how", "sure", "no-db", "big",
		"ask-all", "note", "end-it", "shout", "give-up", "rest", "rest/look", "rest/tell", "rest-failed", "tell",
	}
	g := everything(t)
	var got, drawn []string
	for _, n := range g.Nodes {
		if n.Step != "" {
			got = append(got, n.Step)
		}
	}
	decoder := xml.NewDecoder(bytes.NewReader(g.SVG()))
	ids := map[string]bool{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("no well-formed XML: %v", err)
		}
		element, is := token.(xml.StartElement)
		if !is {
			continue
		}
		if element.Name.Local == "script" || element.Name.Local == "foreignObject" {
			t.Errorf("the picture has a %s", element.Name.Local)
		}
		for _, attribute := range element.Attr {
			switch attribute.Name.Local {
			case "data-step":
				drawn = append(drawn, attribute.Value)
			case "id":
				if ids[attribute.Value] {
					t.Errorf("the id %s is there twice", attribute.Value)
				}
				ids[attribute.Value] = true
			}
		}
	}
	for _, list := range [][]string{got, drawn} {
		slices.Sort(want)
		slices.Sort(list)
		if diff := cmp.Diff(want, list); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

type box struct {
	name       string
	x, y, w, h int
}

func (a box) meets(b box) bool {
	return a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h
}

func (a box) holds(b box) bool {
	return a.x <= b.x && a.y <= b.y && b.x+b.w <= a.x+a.w && b.y+b.h <= a.y+a.h
}

// clear checks that nothing lies on anything else: nodes, labels, the borders of frames, lines that cross a node.
func clear(t *testing.T, g *graph.Graph) { //nolint:predeclared // the picture is
	t.Helper()
	var nodes, labels []box
	canvas := box{"picture", 0, 0, g.W, g.H}
	for _, n := range g.Nodes {
		nodes = append(nodes, box{n.ID, n.X, n.Y, n.W, n.H})
	}
	for _, e := range g.Edges {
		if e.Label != "" {
			labels = append(labels, box{e.Label, e.At.X, e.At.Y - 10, len([]rune(e.Label)) * 7, 12})
		}
	}
	all := append(slices.Clone(nodes), labels...)
	for i, a := range all {
		if !canvas.holds(a) {
			t.Errorf("%s is not in the picture: %+v", a.name, a)
		}
		for _, b := range all[:i] {
			if a.meets(b) {
				t.Errorf("%s lies on %s: %+v, %+v", a.name, b.name, a, b)
			}
		}
	}
	for _, f := range g.Frames {
		labels = append(labels, box{"the label " + f.Label, f.X + 14, f.Y + 6, len([]rune(f.Label)) * 7, 12})
	}
	var frames []box
	for _, f := range g.Frames {
		frame := box{f.ID, f.X, f.Y, f.W, f.H}
		for _, other := range append(all, frames...) {
			if frame.meets(other) && !frame.holds(other) && !other.holds(frame) {
				t.Errorf("the border of %s crosses %s", f.ID, other.name)
			}
		}
		frames = append(frames, frame)
	}
	for _, e := range g.Edges {
		for i := 1; i < len(e.Line); i++ {
			a, b := e.Line[i-1], e.Line[i]
			if a.X != b.X && a.Y != b.Y {
				t.Errorf("%s to %s is not straight: %v", e.From, e.To, e.Line)
			}
			way := box{"", min(a.X, b.X), min(a.Y, b.Y), max(a.X, b.X) - min(a.X, b.X) + 1, max(a.Y, b.Y) - min(a.Y, b.Y) + 1}
			for _, n := range append(slices.Clone(nodes), labels...) {
				inner := box{n.name, n.x + 2, n.y + 2, n.w - 4, n.h - 4}
				if way.meets(inner) {
					t.Errorf("the line from %s to %s crosses %s", e.From, e.To, n.name)
				}
			}
		}
	}
}

func TestNothingLiesOnAnything(t *testing.T) {
	t.Parallel()
	clear(t, everything(t))
	files, err := fs.Glob(content.Files, "playbooks/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(content.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.yaml") {
			clear(t, graph.Of(parse(t, file, text), nil))
		}
	}
}

// Edges lead from where control goes: only to nodes that there are, and all but the first are reached or come after a
// step that ends the run.
func TestEdges(t *testing.T) {
	t.Parallel()
	g := everything(t)
	there, reached := map[string]bool{}, map[string]bool{":start": true}
	for _, n := range g.Nodes {
		there[n.ID] = true
	}
	for _, e := range g.Edges {
		if !there[e.From] || !there[e.To] {
			t.Errorf("from %s to %s", e.From, e.To)
		}
		reached[e.To] = true
		if e.From == "no-db" || e.From == "give-up" {
			t.Errorf("%s ends what it stands in, and goes on to %s", e.From, e.To)
		}
	}
	for id := range there {
		if !reached[id] {
			t.Errorf("nothing leads to %s", id)
		}
	}
}

// Whatever the texts are, they stay texts.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	hostile := "x\"]\\n end\\n click n1 call()<svg onload=1>&\\u0007\\u202e %%{init: {}}%% " + strings.Repeat("long ", 400)
	text := fmt.Sprintf("playbook: a\nsummary: \"%s\"\non: {findings: [\"%[1]s\"]}\nautonomy: auto\nsteps:\n  - {summary: \"%[1]s\", fail: \"%[1]s\"}\n  - {call: \"%[1]s\"}\n  - switch: finding.title\n    cases: [{is: \"%[1]s\", steps: [{use: \"%[1]s\"}]}]\n",
		strings.ReplaceAll(hostile, `"`, `\"`))
	g := graph.Of(parse(t, "a.yaml", []byte(text)), nil)
	clear(t, g)
	picture := g.SVG()
	if err := xml.Unmarshal(picture, new(struct{})); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(g.Mermaid())) {
		if strings.Count(line, `"`) > 2 || strings.ContainsAny(line, "<\u202e\a%&") && !strings.Contains(line, "<br/>") {
			t.Errorf("a text breaks out: %s", line)
		}
	}
	if len(picture) > 20_000 || bytes.Contains(picture, []byte("<svg onload")) || bytes.ContainsAny(picture, "\a\u202e") {
		t.Errorf("%d bytes: %.3000s", len(picture), picture)
	}
}
