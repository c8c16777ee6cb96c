package cli_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	commandLine = regexp.MustCompile(`(?m)^  ([a-z]+) +\S`)
	examples    = regexp.MustCompile(`(?s)\nExamples:\n.*?\n\n`)
	flagLine    = regexp.MustCompile(`(?m)^  +(?:-\w, )?--([a-z-]+)`)
)

// commands gives the paths of all commands below one, from what people read.
func commands(t *testing.T, path ...string) [][]string {
	t.Helper()
	help := riposte(t, append(slices.Clone(path), "--help")...).fine().out
	var all [][]string
	head, _, _ := strings.Cut(examples.ReplaceAllString(help, "\n"), "\nFlags:")
	_, listed, lists := strings.Cut(head, "[command]\n")
	if !lists {
		return [][]string{path}
	}
	for _, found := range commandLine.FindAllStringSubmatch(listed, -1) {
		if !slices.Contains([]string{"help", "completion", "riposte"}, found[1]) { // examples begin with riposte
			all = append(all, commands(t, append(slices.Clone(path), found[1])...)...)
		}
	}
	return all
}

func TestEveryCommandHasHelp(t *testing.T) {
	all := commands(t)
	if len(all) < 30 {
		t.Fatalf("found %d commands: %v", len(all), all)
	}
	for _, path := range all {
		name := strings.Join(path, " ")
		help := riposte(t, append(slices.Clone(path), "--help")...).fine()
		first, _, _ := strings.Cut(help.out, "\n")
		if len(first) < 10 || !strings.Contains(help.out, "riposte "+name) {
			t.Errorf("%s: the help does not say what it does and how it is called: %s", name, help.out)
		}
		flags := flagLine.FindAllStringSubmatch(help.out, -1)
		if len(flags) < 5 {
			t.Errorf("%s: the help lists %d flags, want the common ones at least", name, len(flags))
		}
		_, listed, _ := strings.Cut(help.out, "\nFlags:")
		for _, flag := range flags {
			_, said, _ := strings.Cut(listed, " --"+flag[1]+" ")
			if line, _, _ := strings.Cut(said, "\n"); len(strings.Fields(line)) < 2 {
				t.Errorf("%s: the help does not say what --%s is", name, flag[1])
			}
		}
		riposte(t, append(slices.Clone(path), "--no-such-flag")...).ends(2, "--no-such-flag", "--help", "riposte "+name)
	}
}

func TestWrongUseSaysWhatToDo(t *testing.T) {
	for line, says := range map[string]string{
		"incidnets":                    `is it incidents?`,
		"nonsense":                     `there is no command "nonsense"`,
		"incidents lst":                `is it list?`,
		"ledger nonsense":              "see --help for riposte ledger",
		"incidents show":               "see --help for riposte incidents show",
		"incidents show a b":           "see --help for riposte incidents show",
		"incidents list a":             "see --help for riposte incidents list",
		"approve":                      "see --help for riposte approve",
		"undo run":                     "see --help for riposte undo",
		"freeze a b c --reason r":      "see --help for riposte freeze",
		"protect":                      "reason",
		"token create":                 "see --help for riposte token create",
		"replay":                       "see --help for riposte replay",
		"serve now":                    "see --help for riposte serve",
		"version 1":                    "see --help for riposte version",
		"permissions --role guest":     "--role is home or member",
		"permissions --format xml":     "--format is json, terraform or cloudformation",
		"permissions --region here":    "no region",
		"permissions --diff x --out y": "--diff compares",
		"preflight now":                "see --help for riposte preflight",
		"accounts all":                 "see --help for riposte accounts",
		"completion ksh":               "see --help for riposte completion",
		"runs list --limit many":       "--limit",
		"--config":                     "--config",
	} {
		riposte(t, strings.Fields(line)...).ends(2, "riposte: ", "see --help", says)
	}
	for _, group := range []string{"incidents", "runs", "approvals", "deadletters", "ledger", "token", ""} {
		riposte(t, strings.Fields(group)...).fine().says("Usage:")
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := riposte(t, "completion", shell); got.code != 0 || !strings.Contains(got.out, "riposte") {
			t.Errorf("%s: ended with %d", shell, got.code)
		}
	}
	for line, want := range map[string]string{
		"":                 "incidents\t",
		"incidents ":       "close\t",
		"ledger v":         "verify\t",
		"ledger verify --": "--checkpoint\t",
	} {
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		if got := riposte(t, args...); got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("%q: ended with %d and %q, want %q", line, got.code, got.out, want)
		}
	}
}
