package triage_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/triage"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// found makes a finding about an access key that somebody uses from an address.
func found(changes ...func(*finding.Finding)) finding.Finding {
	f := finding.Finding{
		Fingerprint: "print-1", Product: finding.GuardDuty, Type: "guardduty:UnauthorizedAccess:IAMUser/TorIPCaller",
		Title: "Key used through Tor", Severity: finding.High, FirstSeen: noon, LastSeen: noon, Received: noon.Add(time.Minute),
		Count: 1, Account: "111122223333", Region: "eu-west-1", Events: []string{"event-1"},
		Entities: []entity.Entity{
			{Kind: entity.AccessKey, ID: "AKIA1", Part: entity.Target},
			{Kind: entity.IP, ID: "198.51.100.7", Part: entity.Origin},
			{Kind: entity.Account, ID: "111122223333", Part: entity.Context},
		},
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func known(f finding.Finding, in string) triage.Known {
	f.ID = "known"
	return triage.Known{Finding: &f, Incident: in}
}

func book(tb testing.TB, text string) *playbook.Playbook {
	tb.Helper()
	parsed, err := playbook.Parse("book.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return parsed
}

func condition(tb testing.TB, text string) *expr.Expr {
	tb.Helper()
	compiled, err := expr.CompileBool(text)
	if err != nil {
		tb.Fatal(err)
	}
	return compiled
}

// disables answers every finding about an access key, once for each key.
const disables = `
playbook: disable-key
summary: Disable the key.
on: {findings: ["guardduty:*"], if: finding.has("access_key")}
autonomy: auto
steps:
  - use: aws.iam.disable_access_key
    with: {access_key_id: "{{ finding.access_key }}"}
  - use: notify
    with: {channel: security, message: "{{ finding.access_key }} from {{ finding.ip }}"}
`

func decide(t *testing.T, f finding.Finding, k triage.Known, p triage.Policy) (run.Decision, bool) {
	t.Helper()
	n := 0
	return triage.Decide(t.Context(), f, k, p, noon.Add(time.Hour), func() string { n++; return fmt.Sprint("new-", n) })
}

// kinds lists a decision's records, each with what it says of one key.
func kinds(d run.Decision, key string) []string {
	var all []string
	for _, r := range d.Records {
		var body map[string]any
		if err := json.Unmarshal(r.Body, &body); err != nil {
			body = map[string]any{key: err.Error()}
		}
		told := string(r.Kind)
		if body[key] != nil {
			told += " " + fmt.Sprint(body[key])
		}
		all = append(all, told)
	}
	return all
}

func TestFirstFindingOpensAnIncident(t *testing.T) {
	t.Parallel()
	f := found()
	got, news := decide(t, f, triage.Known{}, triage.Policy{})
	if !news {
		t.Fatal("a finding nobody knew is no news")
	}
	want := run.Decision{
		Finding: found(func(f *finding.Finding) { f.ID = "new-1" }),
		Incident: &incident.Incident{
			ID: "new-2", Title: f.Title, TitleSeen: noon, State: incident.Open, Severity: finding.High, Account: f.Account,
			Region: f.Region, FirstSeen: noon, LastSeen: noon, Opened: noon.Add(time.Hour), Updated: noon.Add(time.Hour),
			Findings: 1, Entities: f.Entities,
		},
		Records: []record.Record{record.New(noon.Add(time.Hour), record.IncidentOpened, record.System, map[string]any{
			"finding": "new-1", "type": f.Type, "severity": finding.High, "title": f.Title,
		}).About("new-2", "", "")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNews(t *testing.T) {
	t.Parallel()
	later := func(f *finding.Finding) { f.LastSeen = noon.Add(time.Minute) }
	earlier := func(f *finding.Finding) { f.LastSeen = noon.Add(-time.Minute) }
	resolved := func(f *finding.Finding) { f.Resolved = true }
	for name, test := range map[string]struct {
		again finding.Finding
		want  bool
	}{
		"the same":                    {found(), false},
		"received again":              {found(func(f *finding.Finding) { f.Received = noon.Add(time.Hour) }), false},
		"counted more":                {found(func(f *finding.Finding) { f.Count = 2 }), true},
		"counted less":                {found(func(f *finding.Finding) { f.Count = 0 }), false},
		"graver":                      {found(func(f *finding.Finding) { f.Severity = finding.Critical }), true},
		"less grave":                  {found(func(f *finding.Finding) { f.Severity = finding.Low }), false},
		"seen later":                  {found(later), true},
		"seen earlier":                {found(earlier), false},
		"began earlier":               {found(func(f *finding.Finding) { f.FirstSeen = noon.Add(-time.Hour) }), true},
		"seen earlier, began earlier": {found(earlier, func(f *finding.Finding) { f.FirstSeen = noon.Add(-time.Hour) }), true},
		"began later":                 {found(func(f *finding.Finding) { f.FirstSeen = noon.Add(time.Second) }, later), true},
		"resolved":                    {found(resolved, later), true},
		"resolved at once":            {found(resolved), true},
		"resolved earlier":            {found(resolved, earlier), false},
		"another entity": {found(func(f *finding.Finding) {
			f.Entities = append(f.Entities, entity.Entity{Kind: entity.IP, ID: "198.51.100.8", Part: entity.Origin})
		}), true},
		"another event, that tells nothing": {found(func(f *finding.Finding) { f.Events = []string{"event-2"} }), false},
	} {
		k := known(found(), "inc-1")
		k.Candidates = []incident.Incident{{ID: "inc-1", State: incident.Open, Findings: 1, FirstSeen: noon, LastSeen: noon}}
		if _, news := decide(t, test.again, k, triage.Policy{}); news != test.want {
			t.Errorf("%s: news is %t, want %t", name, news, test.want)
		}
	}
}

// Two tellings of one finding give the same finding, whichever comes first.
func TestTellingsInAnyOrder(t *testing.T) {
	t.Parallel()
	address := entity.Entity{Kind: entity.IP, ID: "198.51.100.8", Part: entity.Origin}
	first := found()
	for name, change := range map[string]func(*finding.Finding){
		"later": func(f *finding.Finding) { f.LastSeen = noon.Add(time.Hour) },
		"later, counted more": func(f *finding.Finding) {
			f.LastSeen, f.Count, f.Events = noon.Add(time.Hour), 3, []string{"event-2"}
		},
		"later, less grave, counted more": func(f *finding.Finding) {
			f.LastSeen, f.Severity, f.Count, f.Title = noon.Add(time.Hour), finding.Low, 2, "Key used through Tor again"
		},
		"later, another address": func(f *finding.Finding) {
			f.LastSeen, f.Entities = noon.Add(time.Hour), append([]entity.Entity{address}, f.Entities...)
		},
		"later, began earlier": func(f *finding.Finding) { f.FirstSeen, f.LastSeen = noon.Add(-time.Hour), noon.Add(time.Hour) },
	} {
		second := found(change)
		either := func(one, other finding.Finding) finding.Finding {
			before, _ := decide(t, one, triage.Known{}, triage.Policy{})
			k := triage.Known{Finding: &before.Finding, Incident: before.Incident.ID, Candidates: []incident.Incident{*before.Incident}}
			if after, news := decide(t, other, k, triage.Policy{}); news {
				return after.Finding
			}
			return before.Finding
		}
		events := cmpopts.IgnoreFields(finding.Finding{}, "Events") // what tells nothing new isn't kept
		sorted := cmp.Transformer("sorted", func(all []entity.Entity) map[entity.Entity]bool {
			set := map[entity.Entity]bool{}
			for _, e := range all {
				set[e] = true
			}
			return set
		})
		if diff := cmp.Diff(either(first, second), either(second, first), sorted, events); diff != "" {
			t.Errorf("%s: (-in order +out of order)\n%s", name, diff)
		}
	}
}

func TestAnUpdateKeepsWhatWasKnown(t *testing.T) {
	t.Parallel()
	before := found(func(f *finding.Finding) { f.Count = 5; f.Inert = "not ours to judge" })
	update := found(func(f *finding.Finding) {
		f.LastSeen, f.Count, f.Title = noon.Add(time.Hour), 3, "Key used through Tor again"
		f.Entities = []entity.Entity{{Kind: entity.IP, ID: "198.51.100.8", Part: entity.Origin}}
		f.Events = []string{"event-0", "event-1"}
	})
	got, news := decide(t, update, known(before, ""), triage.Policy{})
	want := before
	want.ID, want.LastSeen, want.Title = "known", noon.Add(time.Hour), update.Title
	want.Events = []string{"event-0", "event-1"}
	want.Entities = append(append([]entity.Entity{}, before.Entities...), update.Entities...)
	if diff := cmp.Diff(want, got.Finding); diff != "" || !news {
		t.Errorf("news is %t: %s", news, diff)
	}
}

func TestGoodNewsAboutNothingIsNone(t *testing.T) {
	t.Parallel()
	f := found(func(f *finding.Finding) { f.Resolved = true })
	if got, news := decide(t, f, triage.Known{}, triage.Policy{}); news {
		t.Errorf("got %+v, want nothing", got)
	}
}

// What Riposte reports of a closed incident comes back from Security Hub as a finding that is resolved.
func TestGoodNewsAboutAClosedIncidentOpensNone(t *testing.T) {
	t.Parallel()
	f := found(func(f *finding.Finding) { f.Resolved = true })
	if got, news := decide(t, f, known(found(), "inc-1"), triage.Policy{}); news {
		t.Errorf("got %+v, want nothing", got)
	}
}

func TestAResolvedFindingStartsNothing(t *testing.T) {
	t.Parallel()
	k := known(found(), "inc-1")
	k.Candidates = []incident.Incident{{ID: "inc-1", State: incident.Open, Findings: 1, FirstSeen: noon, LastSeen: noon}}
	f := found(func(f *finding.Finding) { f.Resolved, f.LastSeen = true, noon.Add(time.Minute) })
	got, _ := decide(t, f, k, triage.Policy{Playbooks: []*playbook.Playbook{book(t, disables)}, Ceiling: run.Auto})
	if len(got.Runs) != 0 || got.Incident.Findings != 1 || !got.Finding.Resolved {
		t.Errorf("got %d runs, %d findings, resolved %t", len(got.Runs), got.Incident.Findings, got.Finding.Resolved)
	}
	if diff := cmp.Diff([]string{"incident.grew true"}, kinds(got, "resolved")); diff != "" {
		t.Error(diff)
	}
}

func TestSelfTrigger(t *testing.T) {
	t.Parallel()
	const session = "arn:aws:sts::111122223333:assumed-role/riposte/run-1"
	own := []string{"arn:aws:iam::*:role/riposte", "arn:aws:sts::*:assumed-role/riposte/*"}
	for name, test := range map[string]struct {
		own  []string
		by   entity.Entity
		want string
	}{
		"our session":             {own, entity.Entity{Kind: entity.Principal, ID: session, Part: entity.Actor}, session},
		"our session, by its ARN": {own, entity.Entity{Kind: entity.Session, ID: "run-1", ARN: session, Part: entity.Actor}, "run-1"},
		"done to our session":     {own, entity.Entity{Kind: entity.Principal, ID: session, Part: entity.Target}, ""},
		"a role of a like name": {
			own, entity.Entity{Kind: entity.Principal, ID: "arn:aws:sts::111122223333:assumed-role/riposte-2/run-1", Part: entity.Actor}, "",
		},
		"somebody else":               {own, entity.Entity{Kind: entity.Principal, ID: "arn:aws:iam::111122223333:user/eve", Part: entity.Actor}, ""},
		"nothing is ours":             {nil, entity.Entity{Kind: entity.Principal, ID: session, Part: entity.Actor}, ""},
		"what is ours isn't known":    {[]string{""}, entity.Entity{Kind: entity.User, ID: "eve", Part: entity.Actor}, ""},
		"an actor without a name":     {[]string{"*"}, entity.Entity{Kind: entity.User, Part: entity.Actor}, ""},
		"everything is said to be us": {[]string{"*"}, entity.Entity{Kind: entity.User, ID: "eve", Part: entity.Actor}, "eve"},
	} {
		f := found(func(f *finding.Finding) { f.Entities = append(f.Entities, test.by) })
		policy := triage.Policy{Own: test.own, Playbooks: []*playbook.Playbook{book(t, disables)}, Ceiling: run.Auto}
		got, news := decide(t, f, triage.Known{}, policy)
		if !news {
			t.Errorf("%s: no news", name)
		}
		if test.want == "" {
			if got.Finding.Inert != "" || got.Incident == nil || len(got.Runs) != 1 {
				t.Errorf("%s: inert %q, incident %v, %d runs", name, got.Finding.Inert, got.Incident, len(got.Runs))
			}
			continue
		}
		if want := "caused by Riposte's own session " + test.want; got.Finding.Inert != want || got.Incident != nil || len(got.Runs) != 0 {
			t.Errorf("%s: inert %q, incident %v, %d runs; want %q", name, got.Finding.Inert, got.Incident, len(got.Runs), want)
		}
		if diff := cmp.Diff([]string{"finding.suppressed self"}, kinds(got, "by")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSuppression(t *testing.T) {
	t.Parallel()
	now := noon.Add(time.Hour)
	until := func(id, text string, expires time.Time) triage.Suppression {
		return triage.Suppression{ID: id, If: condition(t, text), Reason: "scanner", Owner: "ann", Expires: expires}
	}
	const scanner = `finding.ip == "198.51.100.7"`
	for name, test := range map[string]struct {
		suppressions []triage.Suppression
		want         string
	}{
		"covers":                        {[]triage.Suppression{until("a", scanner, now.Add(time.Second))}, "a"},
		"does not cover":                {[]triage.Suppression{until("a", `finding.ip == "198.51.100.9"`, now.Add(time.Hour))}, ""},
		"expires now":                   {[]triage.Suppression{until("a", scanner, now)}, ""},
		"expired":                       {[]triage.Suppression{until("a", scanner, now.Add(-time.Hour))}, ""},
		"never said until when":         {[]triage.Suppression{until("a", scanner, time.Time{})}, ""},
		"asks for what isn't there":     {[]triage.Suppression{until("a", `finding.instance == "i-1"`, now.Add(time.Hour))}, ""},
		"isn't there, or":               {[]triage.Suppression{until("a", `finding.instance != "i-1"`, now.Add(time.Hour))}, ""},
		"too costly to compute":         {[]triage.Suppression{until("a", costly(), now.Add(time.Hour))}, ""},
		"the first that covers":         {[]triage.Suppression{until("a", `false`, now.Add(1)), until("b", scanner, now.Add(1)), until("c", `true`, now.Add(1))}, "b"},
		"after one that can't be asked": {[]triage.Suppression{until("a", `finding.bucket == "x"`, now.Add(1)), until("b", scanner, now.Add(1))}, "b"},
	} {
		policy := triage.Policy{Suppressions: test.suppressions, Playbooks: []*playbook.Playbook{book(t, disables)}, Ceiling: run.Auto}
		got, news := decide(t, found(), triage.Known{}, policy)
		if got.Suppressed != test.want || !news {
			t.Errorf("%s: suppressed by %q, want %q; news is %t", name, got.Suppressed, test.want, news)
		}
		if silent := got.Incident == nil && len(got.Runs) == 0; silent != (test.want != "") {
			t.Errorf("%s: incident %v, %d runs", name, got.Incident, len(got.Runs))
		}
		if test.want != "" {
			if diff := cmp.Diff([]string{"finding.suppressed scanner (ann)"}, kinds(got, "why")); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

func costly() string {
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 200), ",") + "]"
	return list + ".all(a, " + list + ".all(b, " + list + ".all(c, a + b + c > 0)))"
}

// What was silenced comes back once its suppression has expired and the finding is told again.
func TestSuppressionThatExpired(t *testing.T) {
	t.Parallel()
	got, _ := decide(t, found(func(f *finding.Finding) { f.Count = 2 }), known(found(), ""), triage.Policy{})
	if got.Incident == nil || got.Incident.Findings != 1 {
		t.Errorf("got incident %+v, want one of one finding", got.Incident)
	}
}
