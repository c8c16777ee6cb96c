package rulecase_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

var update = flag.Bool("update", false, "write docs/rules.md anew")

const page = "../../docs/rules.md"

const head = `# Rules

What Riposte finds by itself: %d Sigma rules and %d correlations in content/rules, each with tests beside it. This page
is made from them: ` + "`go test ./internal/rulecase -run TestPage -update`" + `.

| log | rules are for | in |
|---|---|---|
| CloudTrail: management events, sign-ins, and data and network events where the trail has them | product: aws, service: cloudtrail | content/rules/aws |
| GuardDuty's findings as EventBridge hands them on; for correlations only, since a finding is one of ours as it is | product: aws, service: guardduty | content/rules/aws |
| The audit log of Kubernetes (audit.k8s.io/v1), as EKS writes it | product: kubernetes, service: audit | content/rules/kubernetes |

## A rule and its tests

A rule is plain Sigma 2.1 with one key of our own:

` + "```yaml" + `
riposte:
  name: riposte-aws-cloudtrail-stopped  # playbooks say rule:riposte-aws-cloudtrail-stopped
  response: >-                          # what to do first, and which shipped playbook answers
    The playbook restore-trail-logging starts a stopped trail again by itself; ...
` + "```" + `

Tests of x.yaml are in x_test.yaml: a list of events, each with what the rule must say. A rule needs at least one
event that it finds and two near misses that it lets pass: a call that failed, a read, a service of AWS that does its
work.

` + "```yaml" + `
- name: logging stopped by a user
  match: true
  event: {eventSource: cloudtrail.amazonaws.com, eventName: StopLogging, ...}
` + "```" + `

A file of several rules has tests that say which one is meant: ` + "`rule: <title or ID>`" + `.

Most rules want calls that succeeded. Those about looking around, and a few that say enough by the attempt alone, take
failed calls too. A call that a service of AWS makes on somebody's behalf (userIdentity.invokedBy) is let pass where
services do the same every day; there, what an intruder does through CloudFormation or a scaling group isn't found.
Rules over Kubernetes let pass what the control plane does: what a controller makes is judged where its owner was made.

## A correlation and its tests

A correlation is a Sigma correlation with the same key. The rules that it refers to by name are in its own file or in
another; one that only correlations refer to makes no finding of its own, unless one of them says generate: true.

Its tests have events, each with its own time as the source writes it. What all have in common is said once by event,
and each item of events is laid over it; times and every repeat one. Near misses are: too few, too slow, by somebody
else, in the wrong order.

` + "```yaml" + `
- name: nine times
  match: false
  event: {eventSource: signin.amazonaws.com, eventName: ConsoleLogin, ...}
  events:
    - {times: 9, every: 30s, event: {eventTime: '2026-11-03T10:00:00Z'}}
` + "```" + `

## What isn't told

- The code of a Lambda function overwritten by a role: every deployment does it.
- A role or a bucket opened to a role of another account: a record doesn't say which accounts are ours.
- Stolen credentials of an instance used from one address, by a plain Linux client, while the instance itself makes no
  calls by a public address: two addresses are told, and GuardDuty knows which one is the instance's.
- Much read from a bucket by a role: that is what programs for data do. Keys of users and people's sessions are told.
- What is done slowly: each correlation has a timespan, and a count below which it says nothing.
- From which country somebody comes, and whether at an unusual hour: no rule asks for it.
- What is typed in a shell on an instance or in a pod: the logs end at its door.

`

// titles are the names of the tactics, for people.
var titles = map[string]string{
	"initial-access": "Initial access", "execution": "Execution", "persistence": "Persistence",
	"privilege-escalation": "Privilege escalation", "defense-evasion": "Defense evasion",
	"credential-access": "Credential access", "discovery": "Discovery", "lateral-movement": "Lateral movement",
	"collection": "Collection", "exfiltration": "Exfiltration", "impact": "Impact",
	"resource-development": "Resource development", "reconnaissance": "Reconnaissance",
	"command-and-control": "Command and control",
}

// TestPage holds docs/rules.md against the rules.
func TestPage(t *testing.T) {
	got := render(detections(t))
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/rules.md is out of date; run with -update (-page +rules):\n%s", diff)
	}
}

func render(all []detection) string {
	var b strings.Builder
	correlations := 0
	byTactic := map[string][]detection{}
	for _, d := range all {
		if d.correlation != nil {
			correlations++
		}
		first, _ := attack(d.Header)
		byTactic[first[0]] = append(byTactic[first[0]], d)
	}
	fmt.Fprintf(&b, head, len(all)-correlations, correlations)
	for _, tactic := range tactics {
		if len(byTactic[tactic]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "## %s\n\n", titles[tactic])
		for _, d := range byTactic[tactic] {
			entry(&b, d)
		}
	}
	recordings(&b)
	return b.String()
}

// entry writes one rule or correlation.
func entry(b *strings.Builder, d detection) {
	also, techniques := attack(d.Header)
	fmt.Fprintf(b, "### %s\n\n%s · %s · %s", name(d.Header), d.Title, d.Level, strings.Join(techniques, ", "))
	if len(also) > 1 {
		fmt.Fprintf(b, " · also %s", strings.ToLower(titles[also[1]]))
		for _, more := range also[2:] {
			fmt.Fprintf(b, ", %s", strings.ToLower(titles[more]))
		}
	}
	fmt.Fprintf(b, "\n\n%s\n\n", d.Description)
	if d.correlation != nil {
		measure(b, d.correlation)
	}
	fmt.Fprintf(b, "What to do: %s\n\nKnown false positives:\n", own(d.Header, "response"))
	for _, known := range d.FalsePositives {
		fmt.Fprintf(b, "- %s\n", known)
	}
	b.WriteString("\n")
}

// measure writes what a correlation counts.
func measure(b *strings.Builder, c *sigma.Correlation) {
	fmt.Fprintf(b, "Correlation: %s", c.Type)
	if len(c.Fields) > 0 {
		fmt.Fprintf(b, " of %s", strings.Join(c.Fields, ", "))
	}
	fmt.Fprintf(b, " %s within %s, by %s, over %s.\n\n", c.Condition, span(c.Timespan), strings.Join(c.GroupBy, ", "),
		strings.Join(c.Rules, ", "))
}

// span writes a timespan as Sigma does.
func span(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		letter string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d%unit.length == 0 {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.letter
		}
	}
	return d.String()
}

// attack gives the ATT&CK tactics and techniques that a rule is tagged with.
func attack(h *sigma.Header) (tactical, techniques []string) {
	for _, tag := range h.Tags {
		if technique.MatchString(tag) {
			techniques = append(techniques, strings.ToUpper(strings.TrimPrefix(tag, "attack.")))
		} else {
			tactical = append(tactical, strings.TrimPrefix(tag, "attack."))
		}
	}
	return tactical, techniques
}

// recordings writes which rules find which recorded technique.
func recordings(b *strings.Builder) {
	fmt.Fprintf(b, `## Measured

The recordings of Stratus Red Team hold one attack technique each. Of these %d, we find:

| technique | rules and correlations (riposte-aws-...) |
|---|---|
`, len(simulated))
	for _, recording := range slices.Sorted(maps.Keys(simulated)) {
		fmt.Fprintf(b, "| %s | %s |\n", recording, strings.Join(simulated[recording], ", "))
	}
	fmt.Fprintf(b, `
In the 2,900 events of a whole account during a simulated attack, most of them Terraform at work, all rules together
find %d. A rule that isn't listed finds none.

| rule (riposte-aws-...) | events |
|---|---|
`, sum(noise))
	counted(b, noise)
	fmt.Fprintf(b, `
All correlations together give %d alerts over the same events, one for each timespan in which they hold; each is of the
attack.

| correlation (riposte-aws-...) | alerts |
|---|---|
`, sum(alerts))
	counted(b, alerts)
	b.WriteString(`
Where somebody else's detection has the same intent as one of ours, its own tests decide the same by ours, but for
those in internal/rulecase/intents_test.go, which says why. ` + "`go test ./internal/rulecase -run TestPanther -v`" + ` lists
what is covered, what differs and what isn't covered, and why.
`)
}

func sum(counts map[string]int) int {
	all := 0
	for _, count := range counts {
		all += count
	}
	return all
}

// counted writes the rows of a table, the largest numbers first.
func counted(b *strings.Builder, counts map[string]int) {
	byCount := func(one, other string) int {
		return cmp.Or(cmp.Compare(counts[other], counts[one]), cmp.Compare(one, other))
	}
	for _, rule := range slices.SortedFunc(maps.Keys(counts), byCount) {
		fmt.Fprintf(b, "| %s | %d |\n", rule, counts[rule])
	}
}
