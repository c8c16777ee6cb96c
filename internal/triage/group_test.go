package triage_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/triage"
)

// matter is an open incident of one finding, an hour before noon.
func matter(id string, changes ...func(*incident.Incident)) incident.Incident {
	i := incident.Incident{
		ID: id, Title: "Title of " + id, TitleSeen: noon.Add(-time.Hour), State: incident.Open, Severity: finding.Medium,
		Account: "111122223333", FirstSeen: noon.Add(-time.Hour), LastSeen: noon.Add(-time.Hour), Opened: noon.Add(-time.Hour),
		Findings: 1, Entities: []entity.Entity{{Kind: entity.AccessKey, ID: "AKIA1", Part: entity.Target}},
	}
	for _, change := range changes {
		change(&i)
	}
	return i
}

func TestAFindingJoinsTheOldestIncident(t *testing.T) {
	t.Parallel()
	k := triage.Known{Candidates: []incident.Incident{matter("old", func(i *incident.Incident) { i.Owner = "ann" })}}
	got, _ := decide(t, found(), k, triage.Policy{})
	want := matter("old")
	want.Title, want.TitleSeen, want.Severity = "Key used through Tor", noon, finding.High
	want.LastSeen, want.Updated, want.Findings, want.Owner = noon, noon.Add(time.Hour), 2, "ann"
	want.Entities = found().Entities
	if diff := cmp.Diff(&want, got.Incident); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"incident.grew new-1"}, kinds(got, "finding")); diff != "" {
		t.Error(diff)
	}
}

func TestAKnownFindingIsCountedOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in   string
		want int
	}{"in this incident": {"old", 3}, "in the one that is merged": {"young", 3}, "in none": {"", 4}, "in a closed one": {"closed", 4}} {
		k := known(found(), test.in)
		k.Candidates = []incident.Incident{matter("old", func(i *incident.Incident) { i.Findings = 2 }), matter("young")}
		got, _ := decide(t, found(func(f *finding.Finding) { f.Count = 2 }), k, triage.Policy{})
		if got.Incident.Findings != test.want {
			t.Errorf("%s: %d findings, want %d", name, got.Incident.Findings, test.want)
		}
	}
}

func TestCandidatesAreMergedIntoTheOldest(t *testing.T) {
	t.Parallel()
	k := triage.Known{Candidates: []incident.Incident{
		matter("old"),
		matter("contained", func(i *incident.Incident) {
			i.State, i.Findings, i.Owner = incident.Contained, 3, "bob"
			i.Entities = []entity.Entity{{Kind: entity.Bucket, ID: "logs", Part: entity.Target}}
			i.FirstSeen = noon.Add(-3 * time.Hour)
		}),
		matter("grave", func(i *incident.Incident) {
			i.Severity, i.TitleSeen, i.LastSeen, i.Escalated, i.Owner = finding.Critical, noon.Add(time.Hour), noon.Add(2*time.Hour), true, "eve"
		}),
	}}
	got, _ := decide(t, found(), k, triage.Policy{})
	want := matter("old", func(i *incident.Incident) {
		i.Title, i.TitleSeen, i.Severity = "Title of grave", noon.Add(time.Hour), finding.Critical
		i.State, i.Escalated, i.Owner, i.Findings = incident.Contained, true, "bob", 6
		i.FirstSeen, i.LastSeen, i.Updated = noon.Add(-3*time.Hour), noon.Add(2*time.Hour), noon.Add(time.Hour)
		f := found().Entities
		i.Entities = []entity.Entity{f[0], {Kind: entity.Bucket, ID: "logs", Part: entity.Target}, f[1], f[2]}
	})
	if diff := cmp.Diff(&want, got.Incident); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"contained", "grave"}, got.Merge); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"incident.merged contained", "incident.merged grave", "incident.grew"}, kinds(got, "merged")); diff != "" {
		t.Error(diff)
	}
}

// What was decided must not change what is known: the store may run the transaction again.
func TestDecideLeavesWhatItIsGiven(t *testing.T) {
	t.Parallel()
	k := known(found(), "old")
	k.Candidates = []incident.Incident{matter("old"), matter("young")}
	k.Finding.Events = append(make([]string, 0, 8), k.Finding.Events...)
	k.Candidates[0].Entities = append(make([]entity.Entity, 0, 8), k.Candidates[0].Entities...)
	f := found(func(f *finding.Finding) { f.Count, f.Events = 2, []string{"event-0"} })
	first, _ := decide(t, f, k, triage.Policy{})
	second, _ := decide(t, f, k, triage.Policy{})
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(matter("old"), k.Candidates[0]); diff != "" {
		t.Error(diff)
	}
}

func policyOf(t *testing.T, ceiling run.Autonomy, texts ...string) triage.Policy {
	t.Helper()
	p := triage.Policy{Ceiling: ceiling}
	for _, text := range texts {
		p.Playbooks = append(p.Playbooks, book(t, text))
	}
	return p
}

func TestPlaybooksOfAFinding(t *testing.T) {
	t.Parallel()
	other := func(name, on string) string {
		return "playbook: " + name + "\nsummary: Another.\non: {findings: " + on + "}\nautonomy: approve\nsteps: [{use: notify}]\n"
	}
	for name, test := range map[string]struct {
		playbooks []string
		ceiling   run.Autonomy
		runs      []run.Run
		want      []string
	}{
		"none":          {nil, run.Auto, nil, nil},
		"by type":       {[]string{other("a", `["guardduty:*", "rule:x"]`), other("b", `["rule:x"]`)}, run.Auto, nil, []string{"a||approve"}},
		"by condition":  {[]string{disables, other("b", `["*"], if: finding.severity > HIGH`)}, run.Auto, nil, []string{"disable-key|access_key=AKIA1|auto"}},
		"two":           {[]string{disables, other("b", `["*"]`)}, run.Auto, nil, []string{"disable-key|access_key=AKIA1|auto", "b||approve"}},
		"ceiling":       {[]string{disables}, run.Approve, nil, []string{"disable-key|access_key=AKIA1|approve"}},
		"lower ceiling": {[]string{disables, other("b", `["*"]`)}, run.Observe, nil, []string{"disable-key|access_key=AKIA1|observe", "b||observe"}},
		"no ceiling":    {[]string{disables}, "", nil, []string{"disable-key|access_key=AKIA1|"}},
		"started":       {[]string{disables}, run.Auto, []run.Run{{Kind: run.Playbook, Playbook: "disable-key", Subject: "access_key=AKIA1"}}, nil},
		"started and over": {
			[]string{disables},
			run.Auto,
			[]run.Run{{Kind: run.Playbook, Playbook: "disable-key", Subject: "access_key=AKIA1", State: run.Failed}},
			nil,
		},
		"started for another subject": {
			[]string{disables},
			run.Auto,
			[]run.Run{{Kind: run.Playbook, Playbook: "disable-key", Subject: "access_key=AKIA2"}},
			[]string{"disable-key|access_key=AKIA1|auto"},
		},
		"undone": {
			[]string{disables},
			run.Auto,
			[]run.Run{{Kind: run.Undo, Playbook: "disable-key", Subject: "access_key=AKIA1"}},
			[]string{"disable-key|access_key=AKIA1|auto"},
		},
	} {
		got, _ := decide(t, found(), triage.Known{Runs: test.runs}, policyOf(t, test.ceiling, test.playbooks...))
		var runs []string
		for i, r := range got.Runs {
			runs = append(runs, r.Playbook+"|"+r.Subject+"|"+string(r.Autonomy))
			if r.Incident != got.Incident.ID || r.Finding != got.Finding.ID || r.State != run.Ready || r.Leg != 1 || r.Hash != got.Versions[i].Hash {
				t.Errorf("%s: got %+v", name, r)
			}
		}
		if diff := cmp.Diff(test.want, runs); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestAPlaybookThatCantBeAskedIsSkipped(t *testing.T) {
	t.Parallel()
	policy := policyOf(t, run.Auto, `
playbook: isolate
summary: Isolate the instance.
on: {findings: ["guardduty:*"], if: finding.instance.startsWith("i-")}
autonomy: auto
steps: [{use: notify}]
`, `
playbook: elsewhere
summary: Answers something else.
on: {findings: ["rule:*"], if: finding.instance.startsWith("i-")}
autonomy: auto
steps: [{use: notify}]
`, disables)
	got, _ := decide(t, found(), triage.Known{}, policy)
	if diff := cmp.Diff([]string{"incident.opened", "playbook.skipped isolate", "run.started disable-key"}, kinds(got, "playbook")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"incident.opened", `playbook.skipped compute "finding.instance.startsWith(\"i-\")": no such key: instance`, "run.started",
	}, kinds(got, "why")); diff != "" {
		t.Error(diff)
	}
	for _, r := range got.Records {
		if r.Incident != got.Incident.ID {
			t.Errorf("%s is about incident %q, want %q", r.Kind, r.Incident, got.Incident.ID)
		}
	}
}

// A playbook may ask about the incident as it is with the finding in it.
func TestPlaybookAsksAboutTheIncident(t *testing.T) {
	t.Parallel()
	policy := triage.Policy{Ceiling: run.Auto, Playbooks: []*playbook.Playbook{book(t, `
playbook: many
summary: Answers the second finding of a grave matter.
on: {findings: ["*"], if: incident.findings >= 2 && incident.severity >= HIGH}
autonomy: auto
steps: [{use: notify}]
`)}}
	if got, _ := decide(t, found(), triage.Known{}, policy); len(got.Runs) != 0 {
		t.Errorf("%d runs for the first finding", len(got.Runs))
	}
	got, _ := decide(t, found(), triage.Known{Candidates: []incident.Incident{matter("old")}}, policy)
	if len(got.Runs) != 1 || got.Runs[0].Incident != "old" {
		t.Errorf("got runs %+v for the second finding", got.Runs)
	}
}
