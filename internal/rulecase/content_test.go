package rulecase_test

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/rulecase"
	"github.com/riposte-sec/riposte/sigma"
)

// shipped gives the rules that Riposte brings, with their tests.
func shipped(t *testing.T) ([]*sigma.Rule, []rulecase.Case) {
	t.Helper()
	content := os.DirFS("../../content")
	var rules []*sigma.Rule
	err := fs.WalkDir(content, "rules", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || rulecase.IsTest(file) {
			return err
		}
		text, err := fs.ReadFile(content, file)
		if err != nil {
			return err
		}
		parsed, err := sigma.Parse(file, text)
		rules = append(rules, parsed...)
		return err
	})
	if err != nil {
		t.Fatalf("read the rules: %v", err)
	}
	cases, err := rulecase.Load(content, "rules")
	if err != nil {
		t.Fatalf("read their tests: %v", err)
	}
	return rules, cases
}

// name is a rule's own name, by which playbooks refer to it.
func name(r *sigma.Rule) string {
	riposte, _ := r.Custom["riposte"].(map[string]any)
	said, _ := riposte["name"].(string)
	return said
}

func TestShippedRulesPassTheirTests(t *testing.T) {
	rules, cases := shipped(t)
	if len(rules) < 30 {
		t.Errorf("got %d rules, want 30 or more", len(rules))
	}
	for _, f := range append(rulecase.Run(cases, rules), rulecase.Untested(cases, rules)...) {
		t.Error(f)
	}
	negatives := map[string]int{}
	for _, c := range cases {
		if !c.Match {
			negatives[c.At.File]++
		}
	}
	for file, count := range negatives {
		if count < 2 {
			t.Errorf("%s: got %d events that the rule lets pass, want 2 or more", file, count)
		}
	}
}

var (
	uuid      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	technique = regexp.MustCompile(`^attack\.t[0-9]{4}(\.[0-9]{3})?$`)
	tactics   = []string{
		"reconnaissance", "resource-development", "initial-access", "execution", "persistence", "privilege-escalation",
		"defense-evasion", "credential-access", "discovery", "lateral-movement", "collection", "command-and-control",
		"exfiltration", "impact",
	}
)

func TestShippedRulesAreComplete(t *testing.T) {
	rules, _ := shipped(t)
	names := map[string]string{}
	for _, r := range rules {
		own := name(r)
		if !strings.HasPrefix(own, "riposte-aws-") || r.File != "rules/aws/"+strings.TrimPrefix(own, "riposte-aws-")+".yaml" {
			t.Errorf("%s: the name %q doesn't follow from the file's", r.File, own)
		}
		if names[own] != "" {
			t.Errorf("%s: %s has the same name", r.File, names[own])
		}
		names[own] = r.File
		if !uuid.MatchString(r.ID) {
			t.Errorf("%s: %q is no random UUID", r.File, r.ID)
		}
		if r.Level == "" || r.Status == "" || r.Description == "" || r.Author != "Riposte" || r.Date == "" ||
			len(r.FalsePositives) == 0 || len(r.References) < 2 {
			t.Errorf("%s: level, status, description, author, date, false positives or references are missing", r.File)
		}
		if r.LogSource.Product != "aws" || r.LogSource.Service != "cloudtrail" {
			t.Errorf("%s: the log source is %+v", r.File, r.LogSource)
		}
		tagged(t, r)
	}
	if _, err := sigma.NewSet(rules); err != nil {
		t.Error(err) // such as an ID that stands twice
	}
}

// tagged checks that a rule names ATT&CK tactics and techniques, and nothing else.
func tagged(t *testing.T, r *sigma.Rule) {
	t.Helper()
	var tactical, technical bool
	for _, tag := range r.Tags {
		switch {
		case technique.MatchString(tag):
			technical = true
		case slices.Contains(tactics, strings.TrimPrefix(tag, "attack.")):
			tactical = true
		default:
			t.Errorf("%s: the tag %q is neither a tactic nor a technique", r.File, tag)
		}
	}
	if !tactical || !technical {
		t.Errorf("%s: a tactic or a technique is missing", r.File)
	}
}

// TestPlaybooksFindTheirRules holds the playbooks against the rules: each rule they refer to is there, and
// what it finds has the entities that a playbook's steps need.
func TestPlaybooksFindTheirRules(t *testing.T) {
	rules, cases := shipped(t)
	byName := map[string]*sigma.Rule{}
	for _, r := range rules {
		byName[name(r)] = r
	}
	files, err := fs.Glob(os.DirFS("../../content/playbooks"), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile("../../content/playbooks/" + file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := playbook.Parse(file, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range p.Findings {
			own, isRule := strings.CutPrefix(pattern, "rule:")
			if !isRule || strings.Contains(own, "*") {
				continue
			}
			if byName[own] == nil {
				t.Errorf("%s: there is no rule %s", file, own)
				continue
			}
			for _, c := range positives(cases, byName[own]) {
				if needed, ok := needs[file]; ok && !has(t, c, needed) && !mayLack[own+": "+c.Name] {
					t.Errorf("%s: what %s finds in %q has no %s", file, own, c.Name, needed)
				}
			}
		}
	}
}

// needs are the entities that playbooks' conditions ask for.
var needs = map[string]entity.Kind{
	"contain-leaked-access-key.yaml":    entity.AccessKey,
	"restore-trail-logging.yaml":        entity.Trail,
	"quarantine-user.yaml":              entity.User,
	"close-public-bucket.yaml":          entity.Bucket,
	"close-open-port.yaml":              entity.SecurityGroup,
	"revoke-stolen-role-sessions.yaml":  entity.Role,
	"isolate-compromised-instance.yaml": entity.Instance,
}

// mayLack are findings without a user, since a role acted on a role or on itself: a person decides.
var mayLack = map[string]bool{
	"riposte-aws-iam-admin-policy-attached: attached to a role":        true,
	"riposte-aws-iam-admin-policy-attached: all of IAM, within a list": true,
	"riposte-aws-organization-leave: the account has left":             true,
}

func positives(cases []rulecase.Case, r *sigma.Rule) []rulecase.Case {
	var found []rulecase.Case
	for _, c := range cases {
		if c.Match && strings.TrimSuffix(c.At.File, "_test.yaml")+".yaml" == r.File {
			found = append(found, c)
		}
	}
	return found
}

// mapped is a case's event, as sources map it.
func mapped(t *testing.T, c rulecase.Case) event.Event {
	t.Helper()
	events, err := awslog.Record(c.Event)
	if err != nil || len(events) != 1 {
		t.Fatalf("%s: %q is no record of CloudTrail: %d events, %v", c.At, c.Name, len(events), err)
	}
	return events[0]
}

func has(t *testing.T, c rulecase.Case, kind entity.Kind) bool {
	t.Helper()
	f := finding.Finding{Entities: mapped(t, c).Entities}
	_, ok := f.Entity(kind)
	return ok
}

// TestShippedTestsAreRecords checks that every event of a test is one that our mapper reads.
func TestShippedTestsAreRecords(t *testing.T) {
	_, cases := shipped(t)
	for _, c := range cases {
		if who := mapped(t, c); len(who.Entities) == 0 {
			t.Errorf("%s: nobody is named in %q", c.At, c.Name)
		}
	}
}
