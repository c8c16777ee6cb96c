package playcase

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/playbook"
)

// branch is where steps are carried out at once, and in which of the branches one is.
type branch struct{ at, way string }

// branches lists the branches that a step of a run is in, from the outermost.
func branches(book *playbook.Playbook, step string) []branch {
	var found []branch
	prefix := ""
	for part := range strings.SplitSeq(step, "/") {
		id, turn, isTurn := strings.Cut(strings.TrimSuffix(part, "]"), "[")
		inner, is := within(book.Steps, id, prefix)
		if !is {
			inner, is = within(book.Finally, id, prefix)
		}
		if !is {
			return found
		}
		found = append(found, inner.branches...)
		prefix += part + "/"
		if isTurn && inner.step.Loop != nil && inner.step.Loop.AtOnce > 1 {
			found = append(found, branch{prefix[:len(prefix)-len(part)-1] + id, turn})
		}
		if inner.step.Calls != nil {
			book = inner.step.Calls
		}
	}
	return found
}

// place is where a step stands in its playbook.
type place struct {
	step     *playbook.Step
	branches []branch
}

// within finds a step among steps and those within them.
func within(steps []playbook.Step, id, prefix string) (place, bool) {
	for i := range steps {
		step := &steps[i]
		if step.ID == id {
			return place{step: step}, true
		}
		for n := range step.Parallel {
			if p, is := within(step.Parallel[n:n+1], id, prefix); is {
				p.branches = append([]branch{{prefix + step.ID, strconv.Itoa(n)}}, p.branches...)
				return p, true
			}
		}
		lists := [][]playbook.Step{step.Steps, step.Else, step.Handler}
		for _, c := range step.Cases {
			lists = append(lists, c.Steps)
		}
		for _, list := range lists {
			if p, is := within(list, id, prefix); is {
				return p, true
			}
		}
	}
	return place{}, false
}

// atOnce reports whether two steps are in different branches of what is carried out at once.
func atOnce(book *playbook.Playbook, one, other string) bool {
	for _, a := range branches(book, one) {
		for _, b := range branches(book, other) {
			if a.at == b.at && a.way != b.way {
				return true
			}
		}
	}
	return false
}

// disorder tells how the calls that were made differ from those that are expected, "" if they don't: the same ones
// in the same order, but for those of branches that are carried out at once.
func disorder(book *playbook.Playbook, want []string, got []call) string {
	var texts []string
	for _, c := range got {
		texts = append(texts, c.text)
	}
	if slices.Equal(want, texts) {
		return ""
	}
	place := make([]int, len(got)) // of each call among those expected
	taken := make([]bool, len(want))
	same := len(want) == len(got)
	for i, text := range texts {
		place[i] = -1
		for n, expected := range want {
			if !taken[n] && expected == text {
				place[i], taken[n] = n, true
				break
			}
		}
		same = same && place[i] >= 0
	}
	if !same {
		return difference("calls", want, texts)
	}
	for i := range got {
		for n := i + 1; n < len(got); n++ {
			if place[i] > place[n] && !atOnce(book, got[i].step, got[n].step) {
				return difference("calls", want, texts)
			}
		}
	}
	return ""
}

// difference shows two lists, line by line: what is common, what is only wanted (-) and what only came (+).
func difference(what string, want, got []string) string {
	lines := []string{what + " (- expected, + came):"}
	i, n := 0, 0
	longest := common(want, got)
	for i < len(want) || n < len(got) {
		switch {
		case i < len(want) && n < len(got) && want[i] == got[n] && longest[i][n] > longest[i+1][n] && longest[i][n] > longest[i][n+1]:
			lines = append(lines, "    "+want[i])
			i, n = i+1, n+1
		case i < len(want) && (n == len(got) || longest[i+1][n] >= longest[i][n+1]):
			lines = append(lines, "  - "+want[i])
			i++
		default:
			lines = append(lines, "  + "+got[n])
			n++
		}
	}
	return strings.Join(lines, "\n")
}

// common gives the length of the longest common sequence from each place on.
func common(a, b []string) [][]int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i, v := range slices.Backward(a) {
		for n := len(b) - 1; n >= 0; n-- {
			if v == b[n] {
				table[i][n] = table[i+1][n+1] + 1
			} else {
				table[i][n] = max(table[i+1][n], table[i][n+1])
			}
		}
	}
	return table
}

func quoted(text string) string { return fmt.Sprintf("%q", text) }
