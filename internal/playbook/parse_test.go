package playbook_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
)

var update = flag.Bool("update", false, "write the errors as they are")

var roles = []string{"incident_analyst", "cloud_architect", "security_engineer"}

// specs are the actions of an installation.
func specs() []action.Spec {
	return []action.Spec{
		{
			Name: "aws.iam.describe_access_key", Effect: action.Read,
			Params:  []action.Param{{Name: "access_key_id", Type: action.String, Required: true, Doc: "the key: AKIA..."}},
			Outputs: []action.Output{{Name: "user", Type: action.String}, {Name: "last_used", Type: action.Time}},
		},
		{
			Name: "aws.iam.disable_access_key", Effect: action.Contain,
			Params: []action.Param{{Name: "access_key_id", Type: action.String, Required: true, Doc: "the key: AKIA..."}},
		},
		{
			Name: "aws.ec2.isolate_instance", Effect: action.Contain,
			Params: []action.Param{
				{Name: "instance_id", Type: action.String, Required: true, Doc: "the instance: i-..."},
				{Name: "ports", Type: action.Strings, Doc: "ports left open"},
				{Name: "keep", Type: action.Duration, Doc: "for how long"},
				{Name: "depth", Type: action.Int, Doc: "how deep"},
				{Name: "force", Type: action.Bool, Doc: "whatever it takes"},
				{Name: "labels", Type: action.Object, Doc: "tags to put on"},
				{Name: "mode", Type: action.String, Enum: []string{"soft", "hard"}, Doc: "how"},
			},
		},
		{
			Name: "aws.ec2.terminate_instance", Effect: action.Destroy,
			Params: []action.Param{{Name: "instance_id", Type: action.String, Required: true, Doc: "the instance: i-..."}},
		},
		{
			Name: "notify", Effect: action.Notify,
			Params: []action.Param{
				{Name: "channel", Type: action.String, Required: true, Doc: "name of a channel"},
				{Name: "message", Type: action.String, Required: true, Doc: "what to say"},
				{Name: "subject", Type: action.String, Doc: "headline"},
			},
			Outputs: []action.Output{{Name: "delivered", Type: action.Int}},
		},
	}
}

// read parses and checks, as an installation does.
func read(file string, text []byte) (*playbook.Playbook, error) {
	p, err := playbook.Parse(file, text)
	if err != nil {
		return nil, err
	}
	if err := playbook.Link([]*playbook.Playbook{p}); err != nil {
		return nil, err
	}
	return p, playbook.Check(p, playbook.Installation{Actions: specs(), Roles: roles, Rotations: []string{"security"}})
}

// TestWrong shows what people read of each mistake: testdata/wrong/*.txtar has playbooks, each with its errors.
func TestWrong(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/wrong/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no mistakes to read: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, parts := split(string(text))
		var written strings.Builder
		written.WriteString(head)
		for at, part := range parts {
			if strings.HasSuffix(part.name, ".errors") {
				continue
			}
			got := wrong(t, part)
			if at+1 < len(parts) && parts[at+1].name == part.name+".errors" && parts[at+1].text != got && !*update {
				t.Errorf("%s: %s: (-want +got)\n%s", file, part.name, cmp.Diff(parts[at+1].text, got))
			}
			fmt.Fprintf(&written, "-- %s --\n%s-- %s.errors --\n%s", part.name, part.text, part.name, got)
		}
		if written.String() != string(text) && !*update {
			t.Errorf("%s: not as it would be written; look, and use -update", file)
		}
		if *update {
			if err := os.WriteFile(file, []byte(written.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// wrong gives the errors of a playbook. They are invalid, and each says where it is.
func wrong(t *testing.T, part part) string {
	t.Helper()
	_, err := read(part.name, []byte(part.text))
	if err == nil {
		return "no error\n"
	}
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("%s: kind %s, want invalid", part.name, fault.KindOf(err))
	}
	for _, mistake := range document.Errors(err) {
		if mistake.File != part.name {
			t.Errorf("%s: %+v does not say where", part.name, mistake)
		}
	}
	return err.Error() + "\n"
}

// part is one file of an archive in the form of txtar: files after lines such as -- name --.
type part struct{ name, text string }

func split(archive string) (head string, parts []part) {
	for line := range strings.Lines(archive) {
		name, begins := strings.CutPrefix(strings.TrimSuffix(line, " --\n"), "-- ")
		switch {
		case begins && strings.HasSuffix(line, " --\n"):
			parts = append(parts, part{name: name})
		case len(parts) == 0:
			head += line
		default:
			parts[len(parts)-1].text += line
		}
	}
	return head, parts
}

const whole = `playbook: contain-key_2
summary: Disable a key.
description: |
  At length.
on:
  findings: [guardduty:UnauthorizedAccess:IAMUser/*, "rule:x"]
  if: finding.severity >= HIGH && finding.has("access_key")
autonomy: auto
limits: {per_hour: 20, per_account_hour: 5, distinct_accounts: 3, distinct_targets: 4, percent: 2.5}
allow_destroy: [aws.ec2.terminate_instance]
on_false_positive: undo
steps:
  - id: who
    summary: Whose it is.
    use: aws.iam.describe_access_key
    with: {access_key_id: "{{ finding.access_key }}", account: "{{ finding.account }}", region: us-east-1}
    timeout: 5s
  - use: aws.ec2.isolate_instance
    with:
      instance_id: i-1
      ports: ["22", "{{ steps.who.user }}"]
      labels: {by: "{{ finding.id }}", deep: {list: [1, true, null]}}
      depth: 3
      force: true
      mode: soft
      keep: 1h30m
    retry: {times: 0, backoff: 1s}
    on_error: continue
  - id: sure
    if: steps.who.state == "done" && steps.who.user != "root"
    approve: {by: [incident_analyst, cloud_architect], within: 15m, otherwise: escalate}
  - id: again
    use: aws.iam.disable_access_key
    with: {access_key_id: "{{ finding.access_key }}"}
    retry: {times: 2}
  - id: ask
    approve: {}
`

func TestParse(t *testing.T) {
	t.Parallel()
	p, err := read("whole.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	got := *p
	got.Steps, got.Text, got.Source, got.Hash, got.If = nil, nil, nil, "", nil
	want := playbook.Playbook{
		Name: "contain-key_2", Summary: "Disable a key.", Description: "At length.\n",
		Findings: []string{"guardduty:UnauthorizedAccess:IAMUser/*", "rule:x"}, Autonomy: run.Auto,
		Limits:   guardrail.Limits{PerHour: 20, PerAccountHour: 5, DistinctAccounts: 3, DistinctTargets: 4, Percent: 2.5},
		Destroys: []string{"aws.ec2.terminate_instance"}, OnFalsePositive: playbook.UndoChanges, File: "whole.yaml",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	steps := []playbook.Step{
		{ID: "who", Summary: "Whose it is.", Does: playbook.Use, Path: "steps[0]", Action: "aws.iam.describe_access_key", Timeout: 5 * time.Second, Retry: playbook.DefaultRetry, OnError: playbook.FailRun},
		{ID: "step-2", Does: playbook.Use, Path: "steps[1]", Action: "aws.ec2.isolate_instance", Retry: playbook.Retry{Backoff: time.Second}, OnError: playbook.Continue},
		{ID: "sure", Does: playbook.Ask, Path: "steps[2]", Retry: playbook.DefaultRetry, OnError: playbook.FailRun, Approve: &playbook.Approve{
			By: []string{"incident_analyst", "cloud_architect"}, Within: 15 * time.Minute, Otherwise: run.OtherwiseEscalate, Quorum: 1,
		}},
		{ID: "again", Does: playbook.Use, Path: "steps[3]", Action: "aws.iam.disable_access_key", Retry: playbook.Retry{Times: 2, Backoff: playbook.DefaultRetry.Backoff}, OnError: playbook.FailRun},
		{ID: "ask", Does: playbook.Ask, Path: "steps[4]", Retry: playbook.DefaultRetry, OnError: playbook.FailRun, Approve: &playbook.Approve{Otherwise: run.OtherwiseDeny, Quorum: 1}},
	}
	if diff := cmp.Diff(steps, p.Steps, cmpopts.IgnoreFields(playbook.Step{}, "If", "With")); diff != "" {
		t.Error(diff)
	}
	if p.Steps[2].If.String() != `steps.who.state == "done" && steps.who.user != "root"` || p.Steps[0].If != nil {
		t.Errorf("conditions %v, %v", p.Steps[0].If, p.Steps[2].If)
	}
}

func TestHashIsOfTheText(t *testing.T) {
	t.Parallel()
	hash := func(text string) string {
		p, err := playbook.Parse("a.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if string(p.Text) != text {
			t.Error("the text is not as it was written")
		}
		return p.Hash
	}
	if once := hash(whole); once != hash(whole) || once == hash(whole+"# a remark\n") || len(once) != 64 {
		t.Error("a hash is not that of the text")
	}
}

func TestShippedPlaybooksParse(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(content.Files, "playbooks/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d shipped playbooks, %v; want at least 8", len(files), err)
	}
	names := map[string]string{}
	for _, file := range files {
		text, err := fs.ReadFile(content.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.yaml") {
			continue
		}
		p, err := playbook.Parse(file, text)
		if err != nil {
			t.Error(err)
			continue
		}
		if names[p.Name] != "" || filepath.Base(file) != p.Name+".yaml" {
			t.Errorf("%s is called %s, as is %q", file, p.Name, names[p.Name])
		}
		names[p.Name] = file
		if p.Autonomy == run.Auto && len(p.Destroys) > 0 {
			t.Errorf("%s destroys without a person", file)
		}
	}
}

// FuzzParse wants of every text a playbook that can be used, or errors that say where.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("playbook: a\nsummary: b\non: {findings: [c]}\nautonomy: auto\nsteps: [{use: notify, with: {a: {b: [1]}}}]\n"))
	f.Add([]byte("steps:\n- with: {? [a] : b}\n"))
	f.Add([]byte("limits: {percent: .nan}\nsteps: [{approve: {within: -1s}}, {retry: {times: -1}}]\n"))
	if files, err := filepath.Glob("testdata/wrong/*.txtar"); err == nil {
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil {
				_, parts := split(string(text))
				for _, part := range parts {
					f.Add([]byte(part.text))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := playbook.Parse("fuzz.yaml", text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || len(document.Errors(err)) == 0 {
				t.Fatalf("%v is of kind %s", err, fault.KindOf(err))
			}
			return
		}
		if p.Name == "" || len(p.Steps) == 0 || p.Autonomy == "" || !bytes.Equal(p.Text, text) {
			t.Fatalf("took %+v", p)
		}
		if err := playbook.Check(p, playbook.Installation{Actions: specs(), Roles: roles}); err != nil && len(document.Errors(err)) == 0 {
			t.Fatalf("%v does not say where", err)
		}
		scope := expr.Scope{expr.Finding: map[string]any{}, expr.Incident: map[string]any{}, expr.Steps: map[string]any{}}
		for i := range p.Steps {
			if _, err := p.Steps[i].Compute(t.Context(), scope); err == nil && p.Steps[i].Action == "" && len(p.Steps[i].With) > 0 {
				t.Fatal("a question was taken with arguments")
			}
			p.Asks(&p.Steps[i])
		}
	})
}

// The manual's playbooks are ones that an installation takes, and its messages are ones that people get.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/playbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	books := 0
	for block := range strings.SplitSeq(string(text), "```yaml\n") {
		block, _, _ = strings.Cut(block, "```")
		if !strings.HasPrefix(block, "playbook:") || strings.Contains(block, "\ntests:\n") {
			continue // package playcase reads tests
		}
		books++
		if _, err := read("docs.yaml", []byte(block)); err != nil {
			t.Error(err)
		}
	}
	var told []byte
	for _, name := range []string{"parse", "check", "tree"} {
		golden, err := os.ReadFile("testdata/wrong/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, golden...)
	}
	messages := 0
	for line := range strings.Lines(string(text)) {
		_, message, found := strings.Cut(line, "| `a.yaml:")
		if !found {
			continue
		}
		messages++
		if message = strings.TrimSuffix(strings.TrimSpace(message), "` |"); !strings.Contains(string(told), ".yaml:"+message+"\n") {
			t.Errorf("nobody gets this message: %s", message)
		}
	}
	if books == 0 || messages < 15 {
		t.Errorf("%d playbooks and %d messages in the manual", books, messages)
	}
}
