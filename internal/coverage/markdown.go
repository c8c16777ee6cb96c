package coverage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Markdown writes the report as a page.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# ATT&CK coverage\n\n%d rules find %d techniques.\n\n", r.Rules, len(r.Techniques))
	b.WriteString("| tactic | techniques | tested | answered by a playbook | log source heard of |\n|---|---|---|---|---|\n")
	for _, t := range r.Tactics {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", cell(t.Name), t.Techniques, t.Tested, t.Answered, r.heardOf(t))
	}
	b.WriteString("\n## Log sources\n\n| log source | rules | heard of | newest event |\n|---|---|---|---|\n")
	for _, s := range r.Sources {
		latest := "-"
		if !s.Latest.IsZero() {
			latest = s.Latest.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", cell(s.Name), s.Rules, s.Heard, latest)
	}
	for _, tactic := range r.Tactics {
		fmt.Fprintf(&b, "\n## %s\n\n| technique | rule | tested | playbooks | log source |\n|---|---|---|---|---|\n", cell(tactic.Name))
		for _, t := range r.Techniques {
			r.rows(&b, t, tactic.Name)
		}
	}
	if len(r.Untagged) > 0 {
		b.WriteString("\n## Without a technique\n\n")
		for _, name := range r.Untagged {
			fmt.Fprintf(&b, "- %s\n", cell(name))
		}
	}
	return b.String()
}

// rows writes the rules of a technique that are of a tactic.
func (r *Report) rows(b *strings.Builder, t Technique, tactic string) {
	link := fmt.Sprintf("[%s](https://attack.mitre.org/techniques/%s/)", t.ID, strings.ReplaceAll(t.ID, ".", "/"))
	for _, rule := range t.Rules {
		if !slices.Contains(rule.tactics, tactic) {
			continue
		}
		books := "-"
		if len(rule.Playbooks) > 0 {
			books = cell(strings.Join(rule.Playbooks, ", "))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s (%s) |\n", link, cell(rule.Rule), yes(rule.Tested), books, cell(strings.Join(rule.Needs, ", ")), rule.Heard)
		link = ""
	}
}

// heardOf is how many techniques of a tactic have a log source that was heard of.
func (r *Report) heardOf(t Tactic) string {
	for _, s := range r.Sources {
		if s.Heard != Unknown {
			return strconv.Itoa(t.Heard)
		}
	}
	return string(Unknown)
}

// cell makes a text harmless within a table.
func cell(text string) string {
	return strings.NewReplacer("*", `\*`, "|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(text)
}
