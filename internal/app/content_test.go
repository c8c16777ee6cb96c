package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/app"
)

// files writes files below a new folder and gives the folder.
func files(tb testing.TB, texts map[string]string) string {
	tb.Helper()
	folder := tb.TempDir()
	for name, text := range texts {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return folder
}

// rule writes a rule, called by its id.
func rule(id, title string) string {
	return fmt.Sprintf(`title: %s
id: %s
status: test
description: A rule of a test.
author: us
date: 2026-01-01
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventName: StopLogging}
  condition: selection
level: high
`, title, id)
}

// book writes a playbook that tells people.
func book(name, summary string) string {
	return "playbook: " + name + "\nsummary: " + summary + "\non: {findings: [\"rule:*\"]}\nautonomy: observe\n" +
		"steps:\n  - {id: tell, use: notify, with: {channel: security, message: hello}}\n"
}

const (
	oneID   = "00000000-0000-4000-8000-000000000001"
	otherID = "00000000-0000-4000-8000-000000000002"
)

func load(c app.ContentConfig) (*app.Content, error) {
	specs := app.AllSpecs(app.Config{})
	return app.LoadContent(c, specs, specs, time.Now())
}

// in gives what is in force: rules as name=file, playbooks as name=summary.
func in(c *app.Content) (rules, books map[string]string) {
	rules, books = map[string]string{}, map[string]string{}
	for _, r := range c.Detector.Rules() {
		rules[r.Name] = r.File
	}
	for _, p := range c.Playbooks {
		books[p.Name] = p.Summary
	}
	return rules, books
}

// shipped gives the content in the binary.
func shipped(tb testing.TB) (rules, books map[string]string) {
	tb.Helper()
	loaded, err := load(app.ContentConfig{Shipped: true})
	if err != nil {
		tb.Fatal(err)
	}
	rules, books = in(loaded)
	if len(rules) < 25 || len(books) < 8 {
		tb.Fatalf("%d rules and %d playbooks are shipped; want 25 and 8", len(rules), len(books))
	}
	return rules, books
}

func TestOnesOwnReplacesWhatIsShipped(t *testing.T) {
	t.Parallel()
	rules, books := shipped(t)
	name := anyOf(rules)
	text, err := os.ReadFile(filepath.Join("..", "..", "content", strings.TrimPrefix(rules[name], "shipped:")))
	if err != nil {
		t.Fatal(err)
	}
	replaced := anyOf(books)
	folder := files(t, map[string]string{"rules/mine.yaml": string(text), "books/mine.yml": book(replaced, "Mine."), "books/new.yaml": book("brand-new", "New.")})
	loaded, err := load(app.ContentConfig{
		Shipped: true, Rules: []string{filepath.Join(folder, "rules")}, Playbooks: []string{filepath.Join(folder, "books")},
	})
	if err != nil {
		t.Fatal(err)
	}
	nowRules, nowBooks := in(loaded)
	if len(nowRules) != len(rules) || nowRules[name] != filepath.Join(folder, "rules", "mine.yaml") {
		t.Errorf("got %d rules and %s from %s; want %d and it from the folder", len(nowRules), name, nowRules[name], len(rules))
	}
	if len(nowBooks) != len(books)+1 || nowBooks[replaced] != "Mine." || nowBooks["brand-new"] != "New." {
		t.Errorf("got %d playbooks, %s is %q; want %d and it replaced", len(nowBooks), replaced, nowBooks[replaced], len(books)+1)
	}
}

// anyOf gives the first key.
func anyOf(m map[string]string) string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names[0]
}

func TestWhatIsDisabledIsOff(t *testing.T) {
	t.Parallel()
	rules, books := shipped(t)
	folder := files(t, map[string]string{"r.yaml": rule(oneID, "Mine"), "p.yaml": book("mine", "Mine.")})
	rule, playbook := anyOf(rules), anyOf(books)
	loaded, err := load(app.ContentConfig{
		Shipped: true, Rules: []string{filepath.Join(folder, "r.yaml")}, Playbooks: []string{filepath.Join(folder, "p.yaml")},
		Disabled: []string{rule, playbook, oneID, "mine"},
	})
	if err != nil {
		t.Fatal(err)
	}
	nowRules, nowBooks := in(loaded)
	gone := 1 + len(loaded.Off) // with the correlations that need it
	if len(nowRules) != len(rules)-gone || nowRules[rule] != "" || len(nowBooks) != len(books)-1 || nowBooks[playbook] != "" {
		t.Errorf("got %d rules and %d playbooks, want %d and one less than %d and %d", len(nowRules), len(nowBooks), gone, len(rules), len(books))
	}
	if len(loaded.Off) == 0 || !strings.HasSuffix(loaded.Off[0], "needs the rule "+rule) {
		t.Errorf("got %q off, want the correlation that needs %s", loaded.Off, rule)
	}
}

func TestDisablingWhatThereIsNotIsTold(t *testing.T) {
	t.Parallel()
	_, books := shipped(t)
	name := anyOf(books)
	c := app.Defaults()
	c.Content.Disabled = []string{name, name + "s"}
	loaded, err := load(c.Content)
	if err != nil || !slices.Equal(loaded.Unknown, []string{name + "s"}) {
		t.Errorf("got %v; what an upgrade took away must not keep Riposte from starting", err)
	}
	if _, err := app.Check(c, nil); err == nil || !strings.Contains(err.Error(), "content.disabled") || !strings.Contains(err.Error(), `"`+name+`s"`) {
		t.Errorf("a check: got %v, want %ss named", err, name)
	}
}

func TestContentThatIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		texts map[string]string
		says  []string
	}{
		"two rules of one id":    {map[string]string{"rules/a.yaml": rule(oneID, "One"), "rules/b.yaml": rule(oneID, "Two")}, []string{"a.yaml", "b.yaml", oneID}},
		"two playbooks":          {map[string]string{"books/a.yaml": book("same", "One."), "books/b.yaml": book("same", "Two.")}, []string{"a.yaml", "b.yaml", "same"}},
		"a rule with a mistake":  {map[string]string{"rules/a.yaml": strings.Replace(rule(oneID, "One"), "condition: selection", "condition: selectoin", 1)}, []string{"a.yaml:", "selectoin"}},
		"a rule without a level": {map[string]string{"rules/a.yaml": strings.Replace(rule(oneID, "One"), "level: high", "level: hihg", 1)}, []string{"a.yaml:", "level", "hihg"}},
		"not YAML":               {map[string]string{"rules/a.yaml": "title: [", "books/a.yaml": "playbook: {"}, []string{"rules/a.yaml:", "books/a.yaml:"}},
		"an unknown action":      {map[string]string{"books/a.yaml": strings.Replace(book("one", "One."), "notify", "notfy", 1)}, []string{"a.yaml:6", "steps[0].use", "notfy", "notify"}},
		"an unknown key":         {map[string]string{"books/a.yaml": book("one", "One.") + "autonmy: auto\n"}, []string{"a.yaml:7", "autonmy", "autonomy"}},
		"an unknown parameter":   {map[string]string{"books/a.yaml": strings.Replace(book("one", "One."), "message", "mesage", 1)}, []string{"a.yaml:6", "mesage"}},
		"a folder that isn't":    {map[string]string{}, []string{"content.rules", "content.playbooks", "no such file"}},
		"too large":              {map[string]string{"rules/a.yaml": "# " + strings.Repeat("x", 1<<20)}, []string{"a.yaml", "1048576"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := files(t, test.texts)
			c := app.ContentConfig{Rules: []string{filepath.Join(folder, "rules")}, Playbooks: []string{filepath.Join(folder, "books")}}
			for kind, list := range map[string]*[]string{"rules": &c.Rules, "books": &c.Playbooks} {
				named := func(path string) bool { return strings.HasPrefix(path, kind) }
				if len(test.texts) > 0 && !slices.ContainsFunc(keys(test.texts), named) {
					*list = nil
				}
			}
			_, err := load(c)
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not said: %v", part, err)
				}
			}
		})
	}
}

func keys(m map[string]string) []string {
	all := make([]string, 0, len(m))
	for key := range m {
		all = append(all, key)
	}
	return all
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{
		"rules/a.yaml": "title: x\n", "rules/b.yaml": "what: x\n", "books/a.yaml": "playbook: a\n", "books/b.yaml": book("b", "B.") + "x: 1\n",
	})
	_, err := load(app.ContentConfig{Rules: []string{filepath.Join(folder, "rules")}, Playbooks: []string{filepath.Join(folder, "books")}})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, file := range []string{"rules/a.yaml", "rules/b.yaml", "books/a.yaml", "books/b.yaml"} {
		if !strings.Contains(err.Error(), file) {
			t.Errorf("the mistake in %s is not told: %v", file, err)
		}
	}
}

// A volume of Kubernetes holds each file twice: in a hidden folder, and as a link to it.
func TestHiddenFilesAreNotContent(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"..2026_11_20/a.yaml": book("one", "One."), "..2026_11_20/r.yaml": "x", ".git/b.yaml": "[", ".#a.yaml": "["})
	if err := os.Remove(filepath.Join(folder, "..2026_11_20", "r.yaml")); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"..data": "..2026_11_20", "a.yaml": filepath.Join("..data", "a.yaml")} {
		if err := os.Symlink(to, filepath.Join(folder, from)); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := load(app.ContentConfig{Playbooks: []string{folder}})
	if err != nil || len(loaded.Playbooks) != 1 {
		t.Errorf("got %v, %v; want the one playbook", loaded, err)
	}
}

func TestPlaybooksOfProvidersThatAreOff(t *testing.T) {
	t.Parallel()
	specs := app.AllSpecs(app.Config{})
	have := slices.DeleteFunc(slices.Clone(specs), func(s action.Spec) bool { return strings.HasPrefix(s.Name, "aws.") })
	loaded, err := app.LoadContent(app.ContentConfig{Shipped: true}, specs, have, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, all := shipped(t)
	if len(loaded.Off) == 0 || len(loaded.Off)+len(loaded.Playbooks) != len(all) || !strings.Contains(loaded.Off[0], " needs aws.") {
		t.Errorf("got %d playbooks in force and off %q; want all %d", len(loaded.Playbooks), loaded.Off, len(all))
	}
	own := strings.Replace(book("mine", "Mine."), "use: notify, with: {channel: security, message: hello}",
		`use: aws.iam.disable_access_key, with: {user: ana, access_key_id: AKIA}`, 1)
	folder := files(t, map[string]string{"a.yaml": own})
	_, err = app.LoadContent(app.ContentConfig{Playbooks: []string{folder}}, specs, have, time.Now())
	if err == nil || !strings.Contains(err.Error(), "a.yaml") || !strings.Contains(err.Error(), "enable its provider") {
		t.Errorf("one's own: got %v, want it refused", err)
	}
}

func TestCheckTellsRulesFromPlaybooksFileByFile(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{
		"a.yaml": "# comment\n" + book("one", "One."), "b.yaml": rule(oneID, "One"), "deep/er/c.yml": rule(otherID, "Two"),
		"deep/d.yaml": "---\n" + book("two", "Two."), "README.md": "x",
		"b_test.yaml": "- name: it is found\n  match: true\n  event: {eventName: StopLogging}\n- name: another is not\n  match: false\n  event: {eventName: StartLogging}\n",
	})
	c := app.Defaults()
	c.Content.Shipped = false
	did, err := app.Check(c, []string{folder})
	if err != nil || did.Rules != 2 || did.Playbooks != 2 {
		t.Errorf("got %+v, %v; want 2 rules and 2 playbooks", did, err)
	}
	if did.Cases < 2 || len(did.Untested) != 1 || !strings.Contains(did.Untested[0], "c.yml") {
		t.Errorf("got %d tests and untested %q; want 2 and the rule without", did.Cases, did.Untested)
	}
	if _, err := app.Check(c, []string{filepath.Join(folder, "README.md")}); err == nil || !strings.Contains(err.Error(), "README.md") {
		t.Errorf("a file that is neither: got %v", err)
	}
	if _, err := app.Check(c, []string{filepath.Join(folder, "nothing")}); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("what isn't there: got %v", err)
	}
}

func TestCheckRunsTheTestsBesideRules(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{
		"a.yaml": rule(oneID, "One"), "a_test.yaml": "- name: the wrong way\n  match: false\n  event: {eventName: StopLogging}\n",
	})
	c := app.Defaults()
	c.Content.Shipped = false
	if _, err := app.Check(c, []string{filepath.Join(folder, "a.yaml")}); err == nil || !strings.Contains(err.Error(), "the wrong way") {
		t.Errorf("got %v, want the failing test named", err)
	}
}

// TestShippedPlaybooksFit does at each change what a start leaves out.
func TestShippedPlaybooksFit(t *testing.T) {
	t.Parallel()
	if err := app.CheckShipped(); err != nil {
		t.Error(err)
	}
}
