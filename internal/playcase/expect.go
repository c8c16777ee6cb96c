package playcase

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/run"
)

// judge lists what came otherwise than the test expects.
func judge(test *held, got *outcome) []string {
	want := test.Expect
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	starts := want.Starts == nil || *want.Starts
	switch {
	case starts && !got.started:
		add("starts: the playbook must answer the finding, but doesn't: %s", got.why)
		return wrong
	case !starts && got.started:
		add("starts: the playbook must not answer the finding, but does, about %q", got.subject)
		return wrong
	case !starts:
		return nil
	}
	wrong = append(wrong, got.wrong...)
	if want.Subject != nil && *want.Subject != got.subject {
		add("subject: got %q, want %q", got.subject, *want.Subject)
	}
	ends := run.Succeeded
	if want.Ends != "" {
		ends = run.State(want.Ends)
	}
	if got.run.State != ends {
		add("ends: the run is %s (%s), want %s", got.run.State, got.run.Reason, ends)
	}
	if !strings.Contains(got.run.Reason, want.Reason) {
		add("reason: got %q, want %q in it", got.run.Reason, want.Reason)
	}
	if text := disorder(test.book, want.Calls, got.calls); text != "" {
		add("%s", text)
	}
	wrong = append(wrong, judgeSteps(want.Steps, got.steps)...)
	wrong = append(wrong, judgeAsks(want.Asks, got.asks)...)
	wrong = append(wrong, judgeTells(want.Tells, got.told)...)
	wrong = append(wrong, judgeNotices(want.Notices, got.notices)...)
	wrong = append(wrong, judgeAfter(test.after, got.after)...)
	return append(wrong, judgeUndo(want.Undo, got)...)
}

// judgeSteps compares the states of the steps that a test names.
func judgeSteps(want map[string]string, got []run.Step) []string {
	var wrong []string
	for _, id := range slices.Sorted(maps.Keys(want)) {
		var is []string
		var why strings.Builder
		for _, step := range got {
			if step.ID == id || !strings.Contains(id, "/") && plain(step.ID) == id {
				is = append(is, string(step.State))
				why.WriteString(step.Error)
			}
		}
		if len(is) == 0 {
			is = []string{string(never)}
		}
		if slices.ContainsFunc(is, func(s string) bool { return s != want[id] }) {
			wrong = append(wrong, strings.TrimSuffix(fmt.Sprintf("steps.%s: is %s, want %s: %s", id, strings.Join(is, ", "), want[id], why.String()), ": "))
		}
	}
	return wrong
}

// judgeAsks compares the questions, one after the other, if the test says any.
func judgeAsks(want []asked, got []run.Approval) []string {
	if want == nil {
		return nil
	}
	var wanted, came []string
	for i, w := range want {
		var as run.Approval
		if i < len(got) {
			as = got[i]
		}
		line := "step " + w.Step
		other := "step " + plain(as.Step)
		if strings.Contains(w.Step, "/") {
			other = "step " + as.Step
		}
		if w.Roles != nil {
			line += ", of " + strings.Join(w.Roles, " or ")
			other += ", of " + strings.Join(as.Roles, " or ")
		}
		if w.Plans != nil {
			line += ", about " + strings.Join(w.Plans, ", ")
			other += ", about " + strings.Join(plansOf(as), ", ")
		}
		if w.Quorum > 0 {
			line += fmt.Sprintf(", %d people", w.Quorum)
			other += fmt.Sprintf(", %d people", as.Quorum)
		}
		wanted = append(wanted, line)
		if i < len(got) {
			came = append(came, other)
		}
	}
	for i := len(want); i < len(got); i++ {
		came = append(came, fmt.Sprintf("step %s, of %s, about %s", got[i].Step, strings.Join(got[i].Roles, " or "), strings.Join(plansOf(got[i]), ", ")))
	}
	if slices.Equal(wanted, came) {
		return nil
	}
	return []string{difference("asks", wanted, came)}
}

func plansOf(a run.Approval) []string {
	var steps []string
	for _, p := range a.Plans {
		steps = append(steps, plain(p.Step))
	}
	return steps
}

// judgeTells compares the messages, each with one that the test expects, if it says any.
func judgeTells(want []told, got []message) []string {
	if want == nil {
		return nil
	}
	fits := func(w told, m message) bool {
		return (w.Use == "" || w.Use == m.use) && (w.Channel == "" || w.Channel == m.channel) && w.Contains.in(m.text)
	}
	var wanted []string
	for _, w := range want {
		wanted = append(wanted, fmt.Sprintf("%s %s, with %s", orAny(w.Use), orAny(w.Channel), strings.Join(w.Contains, ", ")))
	}
	return matched("tells", want, wanted, got, fits)
}

// judgeNotices compares what people were told outside of the playbook's own messages, if the test says any.
func judgeNotices(want []notice, got []message) []string {
	if want == nil {
		return nil
	}
	fits := func(w notice, m message) bool {
		return (w.Kind == "" || w.Kind == m.kind) && (w.Channel == "" || w.Channel == m.channel) &&
			(w.OnCall == "" || w.OnCall == m.onCall) && w.Contains.in(m.text)
	}
	var wanted []string
	for _, w := range want {
		wanted = append(wanted, fmt.Sprintf("%s %s %s, with %s", orAny(w.Kind), w.Channel, w.OnCall, strings.Join(w.Contains, ", ")))
	}
	return matched("notices", want, wanted, got, fits)
}

func orAny(text string) string {
	if text == "" {
		return "any"
	}
	return text
}

// matched finds a message for each that is expected, in any order, and tells what is left on either side.
func matched[W any](what string, want []W, wanted []string, got []message, fits func(W, message) bool) []string {
	left := slices.Clone(got)
	var wrong []string
	for i, w := range want {
		at := slices.IndexFunc(left, func(m message) bool { return fits(w, m) })
		if at < 0 {
			wrong = append(wrong, "  - "+wanted[i])
			continue
		}
		left = slices.Delete(left, at, at+1)
	}
	for _, m := range left {
		wrong = append(wrong, "  + "+strings.TrimSpace(fmt.Sprintf("%s%s %s%s", m.use, m.kind, m.channel, m.onCall))+": "+quoted(m.text))
	}
	if len(wrong) == 0 {
		return nil
	}
	return []string{what + " (- expected, + came):\n" + strings.Join(wrong, "\n")}
}

// in reports whether a text has all of the words.
func (w *words) in(text string) bool {
	return !slices.ContainsFunc(*w, func(part string) bool { return !strings.Contains(text, part) })
}

// judgeAfter compares what a test says of states after the run with what they are.
func judgeAfter(want map[thing]json.RawMessage, got map[thing]string) []string {
	var wrong []string
	for at, partial := range want {
		is, there := got[at]
		if !there {
			wrong = append(wrong, fmt.Sprintf("after.%s.%s: there is no such thing in world", at.action, at.target))
			continue
		}
		for _, d := range action.Differences(partial, json.RawMessage(is)) {
			if d.Was != "" { // what the test doesn't mention may be anything
				wrong = append(wrong, fmt.Sprintf("after.%s.%s.%s: is %q, want %q", at.action, at.target, d.Path, d.Is, d.Was))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

// judgeUndo tells what is wrong with how what the run did was taken back.
func judgeUndo(want undoing, got *outcome) []string {
	if got.undo.State == "" {
		if want == refuses {
			return []string{"undo: the run changed nothing that could be taken back"}
		}
		return nil
	}
	restored := got.undo.State == run.Succeeded && maps.Equal(got.before, got.undone)
	switch {
	case want == refuses && got.undo.State == run.Succeeded:
		return []string{"undo: it must be refused, but the account is as before"}
	case want == refuses || restored:
		return nil
	}
	var wrong strings.Builder
	fmt.Fprintf(&wrong, "undo: the account must be as before the run; the undo %s: %s", got.undo.State, got.undo.Reason)
	for _, step := range got.undoing {
		if step.Error != "" {
			fmt.Fprintf(&wrong, "\n  %s: %s", plain(step.ID), step.Error)
		}
	}
	if got.undo.State != run.Succeeded {
		return []string{wrong.String()}
	}
	for at, was := range got.before {
		if is := got.undone[at]; is != was {
			fmt.Fprintf(&wrong, "\n  %s %s: %s", at.action, at.target, action.Describe(action.Differences(json.RawMessage(was), json.RawMessage(is))))
		}
	}
	for at := range got.undone {
		if _, there := got.before[at]; !there {
			fmt.Fprintf(&wrong, "\n  %s %s: is left changed", at.action, at.target)
		}
	}
	return []string{wrong.String()}
}

// told gives a run step by step, for people who look for what went wrong.
func (o *outcome) story() string {
	if !o.started {
		return ""
	}
	lines := []string{"steps:"}
	for _, step := range o.steps {
		line := fmt.Sprintf("  %s: %s", step.ID, step.State)
		if step.Error != "" {
			line += ": " + step.Error
		}
		lines = append(lines, line)
	}
	for _, a := range o.asks {
		lines = append(lines, fmt.Sprintf("  question at %s to %s: %s", a.Step, strings.Join(a.Roles, ", "), a.Answer))
	}
	return strings.Join(lines, "\n")
}

// likeness is what must be the same however often the process died.
func (o *outcome) likeness() string {
	var steps []string
	for _, s := range o.steps {
		steps = append(steps, s.ID+"="+string(s.State))
	}
	slices.Sort(steps)
	var calls, told []string
	for _, c := range o.calls {
		calls = append(calls, c.step+" "+c.text)
	}
	for _, m := range o.told {
		told = append(told, m.step+" "+m.channel+" "+m.text)
	}
	slices.Sort(calls)
	slices.Sort(told)
	lines := append([]string{"run " + string(o.run.State)}, steps...)
	lines = append(append(lines, calls...), told...)
	for _, state := range []map[thing]string{o.after, o.undone} {
		for _, at := range slices.SortedFunc(maps.Keys(state), func(a, b thing) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
			lines = append(lines, at.action+" "+at.target+" "+state[at])
		}
	}
	return strings.Join(append(lines, "undo "+string(o.undo.State)), "\n")
}
