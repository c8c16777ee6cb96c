package rulecase_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

var update = flag.Bool("update", false, "write docs/rules.md anew")

const page = "../../docs/rules.md"

const head = `# Rules

What Riposte finds in CloudTrail by itself: %d Sigma rules in content/rules/aws, each with tests beside it. This page
is made from them: ` + "`go test ./internal/rulecase -run TestPage -update`" + `.

## A rule and its tests

A rule is plain Sigma 2.1 with one key of our own:

` + "```yaml" + `
riposte:
  name: riposte-aws-cloudtrail-stopped  # playbooks say rule:riposte-aws-cloudtrail-stopped
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

## What one record can't tell

Rules look at one record at a time. These need several, or knowledge of the account, and aren't found yet:

- secrets or parameters read one after the other, each by its name;
- the code of a Lambda function overwritten by a role: every deployment does it;
- a role or a bucket opened to a role of another account: a record doesn't say which accounts are ours;
- stolen credentials of an instance used by a plain Linux client: a record doesn't say which addresses are the
  instance's; GuardDuty knows them;
- much read from a bucket: data events, and their number.

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

func render(rules []*sigma.Header) string {
	var b strings.Builder
	fmt.Fprintf(&b, head, len(rules))
	byTactic := map[string][]*sigma.Header{}
	for _, r := range rules {
		first, _ := attack(r)
		byTactic[first[0]] = append(byTactic[first[0]], r)
	}
	for _, tactic := range tactics {
		if len(byTactic[tactic]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "## %s\n\n", titles[tactic])
		for _, r := range byTactic[tactic] {
			entry(&b, r)
		}
	}
	recordings(&b)
	return b.String()
}

// entry writes one rule.
func entry(b *strings.Builder, r *sigma.Header) {
	also, techniques := attack(r)
	fmt.Fprintf(b, "### %s\n\n%s · %s · %s", name(r), r.Title, r.Level, strings.Join(techniques, ", "))
	if len(also) > 1 {
		fmt.Fprintf(b, " · also %s", strings.ToLower(titles[also[1]]))
		for _, more := range also[2:] {
			fmt.Fprintf(b, ", %s", strings.ToLower(titles[more]))
		}
	}
	fmt.Fprintf(b, "\n\n%s\n\nKnown false positives:\n", r.Description)
	for _, known := range r.FalsePositives {
		fmt.Fprintf(b, "- %s\n", known)
	}
	b.WriteString("\n")
}

// attack gives the ATT&CK tactics and techniques that a rule is tagged with.
func attack(r *sigma.Header) (tactical, techniques []string) {
	for _, tag := range r.Tags {
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

The recordings of Stratus Red Team hold one attack technique each. Of these %d, our rules find:

| technique | rules (riposte-aws-...) |
|---|---|
`, len(simulated))
	for _, recording := range slices.Sorted(maps.Keys(simulated)) {
		fmt.Fprintf(b, "| %s | %s |\n", recording, strings.Join(simulated[recording], ", "))
	}
	sum := 0
	for _, count := range noise {
		sum += count
	}
	fmt.Fprintf(b, `
In the 2,900 events of a whole account during a simulated attack, most of them Terraform at work, all rules together
find %d. A rule that isn't listed finds none.

| rule (riposte-aws-...) | events |
|---|---|
`, sum)
	byCount := func(one, other string) int {
		return cmp.Or(cmp.Compare(noise[other], noise[one]), cmp.Compare(one, other))
	}
	for _, rule := range slices.SortedFunc(maps.Keys(noise), byCount) {
		fmt.Fprintf(b, "| %s | %d |\n", rule, noise[rule])
	}
}
