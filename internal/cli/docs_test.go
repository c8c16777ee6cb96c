package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/internal/cli"
)

const manual = "../../docs/detection-as-code.md"

var workflows = []string{"../../docs/examples/github-actions.yaml", "../../docs/examples/gitlab-ci.yaml"}

func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestDocumentedCommandsExist checks every command in the manual and in the examples: that it is there, and takes
// its flags.
func TestDocumentedCommandsExist(t *testing.T) {
	var commands []string
	for _, path := range workflows {
		var workflow any
		if err := yaml.Unmarshal([]byte(text(t, path)), &workflow); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		found := 0
		for _, script := range scripts(workflow) {
			these := commandsIn(script)
			commands, found = append(commands, these...), found+len(these)
		}
		if found < 3 {
			t.Errorf("%s: got %d commands, want test, coverage and replay", path, found)
		}
	}
	page := text(t, manual)
	for _, block := range regexp.MustCompile("(?s)```\n(.*?)```").FindAllStringSubmatch(page, -1) {
		commands = append(commands, commandsIn(block[1])...)
	}
	for _, inline := range regexp.MustCompile("`(riposte [^`]*)`").FindAllStringSubmatch(page, -1) {
		commands = append(commands, commandsIn(inline[1])...)
	}
	if len(commands) < 15 {
		t.Errorf("got %d commands, want those of the manual and the examples", len(commands))
	}
	for _, command := range commands {
		if err := cli.Understands(words(command)[1:]); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
	if err := cli.Understands([]string{"test", "--junits", "x"}); err == nil {
		t.Error("a flag that isn't there is understood")
	}
	if err := cli.Understands([]string{"tests", "rules"}); err == nil {
		t.Error("a command that isn't there is understood")
	}
}

// scripts are the texts in a workflow.
func scripts(node any) []string {
	switch n := node.(type) {
	case string:
		return []string{n}
	case []any:
		var all []string
		for _, item := range n {
			all = append(all, scripts(item)...)
		}
		return all
	case map[string]any:
		var all []string
		for _, item := range n {
			all = append(all, scripts(item)...)
		}
		return all
	}
	return nil
}

// commandsIn are the commands of ours in a script.
func commandsIn(script string) []string {
	var all []string
	for line := range strings.Lines(script) {
		for part := range strings.SplitSeq(line, "&&") {
			part, _, _ = strings.Cut(part, ">")
			if part = strings.TrimSpace(part); strings.HasPrefix(part, "riposte ") {
				all = append(all, part)
			}
		}
	}
	return all
}

// TestManualsRulesPassTheirTests runs the tests that the manual shows.
func TestManualsRulesPassTheirTests(t *testing.T) {
	page := text(t, manual)
	t.Chdir(t.TempDir())
	files := regexp.MustCompile("(?s)```yaml\n# (\\S+)\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(files) != 6 {
		t.Errorf("got %d files, want three of rules and three of tests", len(files))
	}
	for _, file := range files {
		write(t, filepath.FromSlash(file[1]), file[2])
	}
	write(t, "riposte.yaml", "content: {shipped: false, rules: [rules]}\n")
	out := ask(t, "", "test", "rules/", "--config", "riposte.yaml")
	if want := "2 rules, 1 correlation, 1 filter: 9 tests passed, 0 failed\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	ask(t, "", "check", "--config", "riposte.yaml")
}
