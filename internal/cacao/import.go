package cacao

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playbook"
)

// Import makes a playbook of a CACAO file: its YAML, and what a person should look at: above all
// what was lost on the way. Steps that Riposte
// wrote come back as they were; where others put steps between or around them, those too. A command that Riposte
// can't carry out becomes a question to a person who does it by hand.
func Import(f *File) ([]byte, []string, error) {
	i := &importer{file: f, ids: map[string]bool{}, inputs: entry{}}
	book := i.book()
	if i.ours && (book["autonomy"] == "auto" || book["allow_destroy"] != nil) {
		i.lose("a second look: whoever wrote the file set autonomy and allow_destroy, which are as they were")
	}
	for _, lost := range []struct {
		is   bool
		what string
	}{
		{!i.ours && len(f.Agents)+len(f.Targets) > 0, "agents and targets: Riposte acts by the credentials of its configuration"},
		{!i.ours && len(f.Variables) > 0, "variables: what a playbook is told is in finding, and in inputs"},
	} {
		if lost.is {
			i.lose("%s", lost.what)
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# From the CACAO playbook %s: %s\n", bounded(f.ID, 120), bounded(f.Name, 120))
	for _, lost := range i.lost {
		fmt.Fprintf(&out, "# Look at: %s\n", lost)
	}
	body, err := written(book)
	if err != nil {
		return nil, nil, err
	}
	out.Write(body)
	if _, err := playbook.Parse(bounded(f.Name, 60)+" from CACAO", out.Bytes()); err != nil {
		return nil, i.lost, fault.WithHint(err, "change it in the CACAO file, or write the playbook by hand")
	}
	return out.Bytes(), i.lost, nil
}

type importer struct {
	file   *File
	ours   bool
	ids    map[string]bool
	inputs entry
	lost   []string
}

func (i *importer) lose(format string, args ...any) {
	const most = 100
	if len(i.lost) < most {
		i.lost = append(i.lost, bounded(fmt.Sprintf(format, args...), 300))
	}
}

// book makes the playbook: its head, its steps, and those that come however they ended.
func (i *importer) book() entry {
	f := i.file
	var head entry
	i.ours = unpack(f.Extensions, &head) && head["playbook"] != nil
	if f.Workflow[f.Start].Type != startStep {
		i.lose("it begins at %s, which is no start", f.Start)
	}
	steps, last, split := i.top()
	if !i.ours {
		head = i.foreign()
	}
	if f.Exception != "" && !split && f.Workflow[f.Exception].Type != endStep {
		handler := append(i.chain(f.Exception, ""), entry{"fail": "the workflow failed; what was to be done then is done"})
		steps = []any{entry{"id": i.name("workflow"), "steps": steps, "on_error": handler}}
	}
	head["steps"] = steps
	if len(last) > 0 {
		head["finally"] = last
	}
	return head
}

// top reads the steps of the workflow, in two parts where what comes on an exception comes at the end anyway.
func (i *importer) top() (steps, last []any, split bool) {
	steps = i.chain(i.file.Start, i.file.Exception)
	for id := i.file.Start; ; id = i.file.Workflow[id].next() {
		if id == i.file.Exception {
			return steps, i.chain(id, ""), true
		}
		if i.file.Workflow[id].Type == endStep {
			return steps, nil, false
		}
	}
}

// foreign makes the head of a playbook that Riposte didn't write.
func (i *importer) foreign() entry {
	f := i.file
	name := slug(f.Name)
	if name == "" {
		name = "imported"
	}
	head := entry{"playbook": name, "summary": orElse(bounded(f.Name, 200), "Imported from CACAO."), "autonomy": "approve"}
	if f.Description != "" {
		head["description"] = plain(f.Description, 4000)
	}
	if len(i.inputs) > 0 {
		head["inputs"] = i.inputs
		return head
	}
	head["on"] = entry{"findings": []any{"cacao:" + name}}
	i.lose("when it starts: CACAO does not say which findings it answers; on.findings is a placeholder that matches none")
	return head
}

// chain reads steps one after the other, until an end, or until a step that is not to be read any more.
func (i *importer) chain(id, until string) []any {
	steps := []any{}
	for id != until && id != "" {
		s := i.file.Workflow[id]
		if s.Type == endStep {
			break
		}
		if s.Type != startStep {
			steps = append(steps, i.step(id, s)...)
		}
		id = s.next()
	}
	return steps
}

func (i *importer) step(id string, s *Step) []any {
	var more extra
	if !unpack(s.Extensions, &more) {
		return i.unknown(id, s)
	}
	if more.Guard {
		return []any{i.guarded(s)}
	}
	if more.Step == nil {
		return i.unknown(id, s)
	}
	own := more.Step
	if name := text(own["id"]); name != "" {
		i.ids[name] = true
	}
	switch s.Type {
	case ifStep:
		own["steps"] = i.chain(s.OnTrue, "")
		if s.Condition != "true" {
			own["if"] = s.Condition
		}
		if other := i.branch(s.OnFalse); len(other) > 0 {
			own["else"] = other
		}
	case whileStep:
		own["steps"] = i.chain(s.OnTrue, id)
	case parallelStep:
		own["parallel"] = i.parallel(s)
	case switchStep:
		own["switch"] = s.Switch
		own["cases"] = i.cases(s, more.Cases)
		if other := i.branch(s.Cases[otherwise]); len(other) > 0 {
			own["else"] = other
		}
	}
	if handler := i.branch(s.OnFailure); len(handler) > 0 {
		own["on_error"] = handler
	}
	return []any{own}
}

func (i *importer) branch(id string) []any {
	if id == "" {
		return nil
	}
	return i.chain(id, "")
}

// guarded reads the step within one that is there for its condition, or the steps, where others were put beside it.
func (i *importer) guarded(s *Step) any {
	within := i.chain(s.OnTrue, "")
	if len(within) == 1 {
		if one, is := within[0].(entry); is && len(i.branch(s.OnFalse)) == 0 {
			if s.Condition != "true" {
				one["if"] = s.Condition
			}
			return one
		}
	}
	group := entry{"steps": within, "if": s.Condition}
	if other := i.branch(s.OnFalse); len(other) > 0 {
		group["else"] = other
	}
	return group
}

func (i *importer) parallel(s *Step) []any {
	branches := []any{}
	for _, to := range s.Next {
		switch within := i.chain(to, ""); len(within) {
		case 0:
		case 1:
			branches = append(branches, within[0])
		default:
			branches = append(branches, entry{"steps": within})
		}
	}
	return branches
}

// cases reads those that Riposte wrote, and then those that others added.
func (i *importer) cases(s *Step, known []extraCase) []any {
	all := []any{}
	var read []string
	for _, one := range known {
		if to := s.Cases[one.Key]; to != "" && !slices.Contains(read, to) {
			all, read = append(all, entry{"is": one.Is, "steps": i.chain(to, "")}), append(read, to)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Cases)) {
		if to := s.Cases[key]; key != otherwise && !slices.Contains(read, to) {
			all, read = append(all, entry{"is": key, "steps": i.chain(to, "")}), append(read, to)
		}
	}
	return all
}

// unknown reads a step that Riposte didn't write.
func (i *importer) unknown(id string, s *Step) []any {
	name := orElse(slug(s.Name), slug(s.Type))
	steps := []any{}
	if wait := time.Duration(min(s.Delay, int64(90*24*time.Hour/time.Millisecond))) * time.Millisecond; wait > 0 {
		steps = append(steps, entry{"id": i.name("before-" + name), "wait": wait.String()})
	}
	step := entry{"id": i.name(name)}
	if about := bounded(s.Description, 300); about != "" {
		step["summary"] = about
	}
	if failed := i.branch(s.OnFailure); len(failed) > 0 && s.OnFailure != s.next() {
		step["on_error"] = append(failed, entry{"fail": "it failed; what was to be done then is done"})
	} else if s.OnFailure != "" && s.OnFailure == s.next() {
		step["on_error"] = "continue"
	}
	switch s.Type {
	case actionStep:
		return append(steps, i.byHand(step, s)...)
	case callStep:
		step["approve"] = byPerson(s.Timeout)
		step["summary"] = bounded("By hand: carry out the playbook "+s.PlaybookID, 300)
		i.lose("%s: it calls the playbook %s; import that one too, and call it by its name", id, s.PlaybookID)
	case parallelStep:
		step["parallel"] = i.parallel(s)
		if len(list(step["parallel"])) == 0 {
			return steps
		}
	case ifStep:
		step["if"] = "inputs." + i.input("bool", s.Condition)
		step["steps"] = i.filled(s.OnTrue, "")
		if other := i.branch(s.OnFalse); len(other) > 0 {
			step["else"] = other
		}
		i.lose("%s: its condition, which is now an input: %s", id, s.Condition)
	case whileStep:
		step["steps"] = append([]any{entry{
			"id": i.name("while-" + name), "summary": bounded("By hand: these steps are to be repeated while "+s.Condition, 300), "approve": byPerson(0),
		}}, i.chain(s.OnTrue, id)...)
		i.lose("%s: its steps are carried out once; that they are repeated is left to a person: %s", id, s.Condition)
	case switchStep:
		step["switch"] = "inputs." + i.input("string", s.Switch)
		step["cases"] = i.cases(s, nil)
		if other := i.branch(s.Cases[otherwise]); len(other) > 0 {
			step["else"] = other
		}
		i.lose("%s: what it switches on, which is now an input: %s", id, s.Switch)
	}
	return append(steps, step)
}

// filled is a branch with at least one step: a group of none is none.
func (i *importer) filled(id, until string) []any {
	if steps := i.chain(id, until); len(steps) > 0 {
		return steps
	}
	return []any{entry{"id": i.name("nothing"), "set": entry{i.variable("nothing"): true}}}
}

// byHand makes a question of each command: go on when it is done.
func (i *importer) byHand(first entry, s *Step) []any {
	steps := []any{}
	for n, command := range s.Commands {
		step := first
		if n > 0 {
			step = entry{"id": i.name(fmt.Sprintf("%s-%d", text(first["id"]), n+1))}
			if handler := first["on_error"]; handler == "continue" {
				step["on_error"] = handler
			}
		}
		said := orElse(command.said(), command.Description, s.Description, s.Name, "a command without words")
		step["summary"] = bounded(fmt.Sprintf("By hand (%s): %s", command.Type, said), 600)
		step["approve"] = byPerson(s.Timeout)
		if command.Type != "manual" {
			i.lose("%s: a command of type %s, which is left to a person", text(step["id"]), command.Type)
		}
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		i.lose("%s: a step without commands", text(first["id"]))
	}
	return steps
}

// said is what a command says, where it can be read.
func (c *Command) said() string {
	if c.Command != "" {
		return c.Command
	}
	plain, err := base64.StdEncoding.DecodeString(c.CommandB64)
	if err != nil || !utf8.Valid(plain) {
		return ""
	}
	return string(plain)
}

// byPerson is a question to people who do something by hand, within some milliseconds.
func byPerson(timeout int64) entry {
	ask := entry{"by": []any{"incident_analyst"}}
	if timeout > 0 && timeout < int64(90*24*time.Hour/time.Millisecond) {
		ask["within"], ask["otherwise"] = (time.Duration(timeout) * time.Millisecond).String(), "deny"
	}
	return ask
}

// name makes a name for a step that no other has.
func (i *importer) name(wanted string) string {
	for n := 1; ; n++ {
		name := wanted[:min(len(wanted), 50)]
		if n > 1 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
		if !i.ids[name] {
			i.ids[name] = true
			return name
		}
	}
}

func (i *importer) variable(wanted string) string {
	return strings.ReplaceAll(i.name(wanted), "-", "_")
}

// input makes an input of a text that CACAO computes and Riposte can't.
func (i *importer) input(kind, about string) string {
	name := fmt.Sprintf("condition_%d", len(i.inputs)+1)
	i.inputs[name] = entry{"type": kind, "required": true, "description": bounded(about, 300)}
	return name
}

// slug makes a name of a text: lower-case letters and digits, with - between.
func slug(text string) string {
	var out strings.Builder
	for _, c := range strings.ToLower(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9' && out.Len() > 0:
			out.WriteRune(c)
		case out.Len() > 0 && !strings.HasSuffix(out.String(), "-"):
			out.WriteByte('-')
		}
	}
	const longest = 50
	name := out.String()
	return strings.Trim(name[:min(len(name), longest)], "-")
}

// plain is a text whose lines can be shown.
func plain(text string, most int) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, bounded(line, most))
	}
	text = strings.TrimSpace(strings.Join(lines, "\n"))
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most])
	}
	return text
}

func orElse(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// unpack reads what our extension says, if there is one.
func unpack(all map[string]json.RawMessage, into any) bool {
	raw, there := all[extension]
	if !there {
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return decoder.Decode(into) == nil
}
