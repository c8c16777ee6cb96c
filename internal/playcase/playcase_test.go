package playcase_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/channel"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/playcase"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

var update = flag.Bool("update", false, "write the reports anew")

// TestReports plays the tests of each archive and compares what is told of them.
func TestReports(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d archives, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			last := len(archive.Files) - 1
			if archive.Files[last].Name != "report" {
				t.Fatal("the last file of an archive is its report")
			}
			got := report(t, archive.Files[:last])
			if *update {
				archive.Files[last].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(archive.Files[last].Data), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// installation are the actions that tests are held against: AWS's, those of a small world, and messages.
func installation(tb testing.TB) []action.Action {
	tb.Helper()
	notify, err := channel.New(nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return append(append(aws.Offline().Actions(), actiontest.New().Actions()...), notify)
}

func report(t *testing.T, files []txtar.File) string {
	t.Helper()
	tree := fstest.MapFS{}
	c := playcase.Content{Actions: installation(t)}
	for _, file := range files {
		tree[file.Name] = &fstest.MapFile{Data: file.Data}
		if strings.Contains(file.Name, "_test") {
			continue
		}
		book, err := playbook.Parse(file.Name, file.Data)
		if err != nil {
			t.Fatal(err)
		}
		c.Playbooks = append(c.Playbooks, book)
	}
	if err := playbook.Link(c.Playbooks); err != nil {
		t.Fatal(err)
	}
	var specs []action.Spec
	for _, a := range c.Actions {
		specs = append(specs, a.Spec())
	}
	for _, book := range c.Playbooks {
		if err := playbook.Check(book, playbook.Installation{Actions: specs, Roles: []string{"incident_analyst", "cloud_architect"}}); err != nil {
			t.Fatal(err)
		}
	}
	c.Library = c.Playbooks
	c.Suites, c.Mistakes = playcase.Read(tree, ".", "")
	did := c.Test(t.Context())
	var told strings.Builder
	if err := errors.Join(did.Mistakes...); err != nil {
		fmt.Fprintf(&told, "%s\n", err)
	}
	for _, one := range did.Results {
		fmt.Fprintf(&told, "%s:%d: %s\n", one.File, one.Line, strings.TrimSuffix(one.Case+": "+one.Problem, ": "))
	}
	for _, one := range did.Untested {
		fmt.Fprintf(&told, "untested %s: %s\n", one.Playbook, one.Problem)
	}
	return told.String()
}

// TestCrashesAreNoticed: an action that decides otherwise each time it is asked comes to something else after a crash.
func TestCrashesAreNoticed(t *testing.T) {
	t.Parallel()
	asked := 0
	fickle := &action.Setting[string]{
		About: action.Spec{Name: "test.fickle", Effect: action.Contain, Summary: "Set it to something.", Params: []action.Param{{Name: "it", Type: action.String}}},
		Target: func(in action.Input) entity.Entity {
			return entity.Entity{Kind: entity.Resource, ID: in.Params.String("it")}
		},
		Want:    func(action.Input, string) (string, error) { asked++; return strconv.Itoa(asked), nil },
		Calls:   func(_ action.Input, _, to string) []string { return []string{"set"} },
		Summary: func(_ action.Input, _, to string) string { return "set it to " + to },
	}
	book, err := playbook.Parse("x.yaml", []byte("playbook: x\nsummary: Set it.\non: {findings: [\"rule:*\"]}\nautonomy: auto\nsteps: [{id: set, use: test.fickle, with: {it: door}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for fast, want := range map[bool]string{true: "", false: "with a crash before commit "} {
		suite, err := playcase.Parse("x_test.yaml", []byte("playbook: x\ntests:\n  - name: it\n    finding: {type: \"rule:x\"}\n    world: {test.fickle: {door: open}}\n    expect: {calls: [set]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		c := playcase.Content{Playbooks: []*playbook.Playbook{book}, Suites: []*playcase.Suite{suite}, Actions: []action.Action{fickle}, Fast: fast}
		did := c.Test(t.Context())
		if len(did.Results) != 1 || len(did.Mistakes) > 0 {
			t.Fatalf("got %+v", did)
		}
		if got := did.Results[0].Problem; !strings.HasPrefix(got, want) || (got == "") != fast {
			t.Errorf("fast %t: got %q, want %q", fast, got, want)
		}
	}
}

// TestManual runs the manual's test on the shipped playbook.
func TestManual(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/playbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := os.ReadFile("../../content/playbooks/contain-leaked-access-key.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := 0
	for block := range strings.SplitSeq(string(manual), "```yaml\n") {
		block, _, _ = strings.Cut(block, "```")
		if !strings.HasPrefix(block, "playbook:") || !strings.Contains(block, "\ntests:\n") {
			continue
		}
		tests++
		got := report(t, []txtar.File{{Name: "key.yaml", Data: shipped}, {Name: "key_test.yaml", Data: []byte(block)}})
		if want := "key_test.yaml:3: an active key is disabled once an analyst says so\nkey_test.yaml:20: a temporary key is another playbook's\n"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if tests != 1 {
		t.Errorf("%d tests in the manual", tests)
	}
}
