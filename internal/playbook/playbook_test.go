package playbook_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
)

func parse(t *testing.T, text string) *playbook.Playbook {
	t.Helper()
	p, err := playbook.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func leaked() *finding.Finding {
	return &finding.Finding{
		ID: "fin-1", Title: "Key leaked", Severity: finding.High, Account: "111122223333",
		Entities: []entity.Entity{
			{Kind: entity.IP, ID: "198.51.100.7", Part: entity.Origin},
			{Kind: entity.User, ID: "eve", Part: entity.Actor},
			{Kind: entity.User, ID: "ann", Part: entity.Target},
			{Kind: entity.AccessKey, ID: "AKIA1", Part: entity.Target},
			{Kind: entity.AccessKey, ID: "AKIA2", Part: entity.Target},
			{Kind: entity.Account, ID: "111122223333"},
		},
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	head := "playbook: a\nsummary: b\nautonomy: auto\nsteps: [{use: notify}]\non: "
	for name, test := range map[string]struct {
		on, of string
		want   bool
		err    string
	}{
		"by type":              {`{findings: ["rule:x"]}`, "rule:x", true, ""},
		"by pattern":           {`{findings: ["rule:y", "guardduty:*:IAMUser/*"]}`, "guardduty:Impact:IAMUser/AnomalousBehavior", true, ""},
		"by anything":          {`{findings: ["*"]}`, "config:x", true, ""},
		"of another type":      {`{findings: ["rule:x"]}`, "rule:xy", false, ""},
		"condition":            {`{findings: ["*"], if: finding.severity >= HIGH && finding.has("access_key")}`, "rule:x", true, ""},
		"condition is false":   {`{findings: ["*"], if: finding.severity == CRITICAL}`, "rule:x", false, ""},
		"condition not asked":  {`{findings: ["rule:x"], if: finding.instance == "i-1"}`, "rule:y", false, ""},
		"condition can't tell": {`{findings: ["rule:x"], if: finding.instance == "i-1"}`, "rule:x", false, "no such key: instance"},
		"condition is text":    {`{findings: ["rule:x"], if: finding.title}`, "rule:x", false, "not true or false"},
	} {
		p := parse(t, head+test.on+"\n")
		got, err := p.Answers(t.Context(), test.of, expr.Scope{expr.Finding: expr.ViewFinding(leaked())})
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %t, %v", name, got, err)
		}
	}
}

func TestSubject(t *testing.T) {
	t.Parallel()
	head := "playbook: a\nsummary: b\nautonomy: auto\non: {findings: [\"*\"]}\nsteps:\n"
	for name, test := range map[string]struct{ steps, want string }{
		"what an action reads":     {`- {use: x.y, with: {a: "{{ finding.access_key }}"}}`, "access_key=AKIA1"},
		"targets before others":    {`- {use: x.y, with: {a: "{{ finding.user }}"}}`, "user=ann"},
		"several, sorted":          {`- {use: x.y, with: {a: "{{ finding.user }} {{ finding.access_key }}"}}`, "access_key=AKIA1 user=ann"},
		"each once":                {"- {use: x.y, with: {a: \"{{ finding.user }}\"}}\n- {use: x.z, with: {a: \"{{ finding.user }}\"}}", "user=ann"},
		"deep":                     {`- {use: x.y, with: {a: [{b: "{{ finding.ip }}"}]}}`, "ip=198.51.100.7"},
		"within an expression":     {`- {use: x.y, with: {a: "{{ finding.user + '/' + finding.account }}"}}`, "user=ann"},
		"not in a message":         {`- {use: notify, with: {message: "{{ finding.access_key }}"}}`, ""},
		"not in a condition":       {`- {use: x.y, if: finding.user == "ann"}`, ""},
		"what the finding lacks":   {`- {use: x.y, with: {a: "{{ finding.instance }}{{ finding.user }}"}}`, "user=ann"},
		"the account is no entity": {`- {use: x.y, with: {account: "{{ finding.account }}", a: "{{ finding.id }}"}}`, ""},
		"constants":                {`- {use: x.y, with: {a: finding.user}}`, ""},
		"of a question":            {`- {approve: {}}`, ""},
		"through a step before":    {"- {id: who, use: x.y, with: {a: \"{{ finding.access_key }}\"}}\n- {use: x.z, with: {a: \"{{ steps.who.user }}\"}}", "access_key=AKIA1"},
	} {
		if got := parse(t, head+test.steps+"\n").Subject(leaked()); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestCompute(t *testing.T) {
	t.Parallel()
	p := parse(t, `
playbook: a
summary: b
on: {findings: ["*"]}
autonomy: auto
steps:
  - use: x.y
    with:
      plain: text
      number: 7
      nothing:
      keys: "{{ steps.who.keys }}"
      list: ["{{ finding.access_key }}", 2, ["{{ finding.severity }}"]]
      map: {said: "{{ finding.title }} {{ 1 + 1 }}", flag: true}
  - use: x.y
    with: {map: {deep: [1, "{{ finding.instance }}"]}}
`)
	scope := expr.Scope{
		expr.Finding: expr.ViewFinding(leaked()),
		expr.Steps:   map[string]any{"who": map[string]any{"keys": []any{"a", "b"}}},
	}
	got, err := p.Steps[0].Compute(t.Context(), scope)
	want := map[string]any{
		"plain": "text", "number": 7, "nothing": nil, "keys": []any{"a", "b"}, "list": []any{"AKIA1", 2, []any{int64(4)}},
		"map": map[string]any{"said": "Key leaked 2", "flag": true},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := p.Steps[1].Compute(t.Context(), scope); err == nil || !strings.HasPrefix(err.Error(), "with.map: deep: [1]: ") {
		t.Errorf("got %v, want an error that says where", err)
	}
}

// A title is written by whoever causes the finding: what looks like a template in it is only text.
func TestValuesAreNotTemplates(t *testing.T) {
	t.Parallel()
	p := parse(t, "playbook: a\nsummary: b\non: {findings: [\"*\"]}\nautonomy: auto\nsteps: [{use: x.y, with: {a: \"{{ finding.title }}\"}}]\n")
	f := leaked()
	f.Title = "{{ finding.account }}"
	got, err := p.Steps[0].Compute(t.Context(), expr.Scope{expr.Finding: expr.ViewFinding(f)})
	if diff := cmp.Diff(map[string]any{"a": "{{ finding.account }}"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAsks(t *testing.T) {
	t.Parallel()
	p := parse(t, `
playbook: a
summary: b
on: {findings: ["*"]}
autonomy: approve
steps:
  - {id: first, use: x.y}
  - {id: ask, approve: {by: [incident_analyst], within: 15m, otherwise: deny}}
  - {id: second, use: x.y}
  - {id: again, approve: {by: [cloud_architect]}}
  - {id: third, use: x.y}
`)
	escalate := playbook.Approve{Within: time.Hour, Otherwise: run.OtherwiseEscalate, Quorum: 1}
	analyst := playbook.Approve{By: []string{"incident_analyst"}, Within: 15 * time.Minute, Otherwise: run.OtherwiseDeny, Quorum: 1}
	architect := playbook.Approve{By: []string{"cloud_architect"}, Otherwise: run.OtherwiseDeny, Quorum: 1}
	for id, want := range map[string]playbook.Approve{
		"first": escalate, "ask": escalate, "second": analyst, "third": architect, "no such step": architect,
	} {
		if diff := cmp.Diff(want, p.Asks(&playbook.Step{ID: id})); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}
