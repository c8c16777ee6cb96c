package rulecase_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/rulecase"
	"github.com/riposte-sec/riposte/sigma"
)

// shipped gives the rules and correlations that Riposte brings, with their tests.
func shipped(t *testing.T) (sigma.Collection, []rulecase.Case) {
	t.Helper()
	content := os.DirFS("../../content")
	var all sigma.Collection
	err := fs.WalkDir(content, "rules", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || rulecase.IsTest(file) {
			return err
		}
		text, err := fs.ReadFile(content, file)
		if err != nil {
			return err
		}
		parsed, err := sigma.ParseCollection(file, text, sigma.Options{})
		all.Add(parsed)
		return err
	})
	if err != nil {
		t.Fatalf("read the rules: %v", err)
	}
	cases, err := rulecase.Load(content, "rules")
	if err != nil {
		t.Fatalf("read their tests: %v", err)
	}
	return all, cases
}

// linked gives what is shipped as it is evaluated.
func linked(t *testing.T, all sigma.Collection) *sigma.Linked {
	t.Helper()
	l, err := all.Link(time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatalf("link the rules: %v", err)
	}
	return l
}

// detection is what makes findings: a rule that isn't for correlations alone, or a correlation.
type detection struct {
	*sigma.Header
	correlation *sigma.Correlation // nil for a rule
}

// detections gives all that makes findings, in the order of their files.
func detections(t *testing.T) []detection {
	t.Helper()
	all, _ := shipped(t)
	l := linked(t, all)
	var found []detection
	for _, r := range l.Rules {
		if !r.Quiet {
			found = append(found, detection{&r.Header, nil})
		}
	}
	for _, c := range l.Correlations {
		if !c.Quiet {
			found = append(found, detection{&c.Header, c})
		}
	}
	slices.SortFunc(found, func(a, b detection) int { return strings.Compare(a.File, b.File) })
	return found
}

// own gives a text of our own key.
func own(h *sigma.Header, key string) string {
	riposte, _ := h.Custom["riposte"].(map[string]any)
	said, _ := riposte[key].(string)
	return said
}

// name is what playbooks call a rule or a correlation.
func name(h *sigma.Header) string { return own(h, "name") }

func TestShippedRulesPassTheirTests(t *testing.T) {
	all, cases := shipped(t)
	if len(all.Rules) < 110 || len(all.Correlations) < 12 {
		t.Errorf("got %d rules and %d correlations, want 110 or more and 12 or more", len(all.Rules), len(all.Correlations))
	}
	content := rulecase.Content{Collection: all, Cases: cases}
	report := content.Test()
	for _, f := range slices.Concat(content.Link(), report.Failed(), report.Untested) {
		t.Error(f)
	}
	nearMisses(t, cases)
}

// nearMisses checks that the tests of a rule, and those of a correlation by themselves, show twice or more what
// is let pass.
func nearMisses(t *testing.T, cases []rulecase.Case) {
	t.Helper()
	type subject struct {
		file        string
		correlation bool
	}
	misses := map[subject]int{}
	for _, c := range cases {
		s := subject{c.At.File, len(c.Events) > 0}
		misses[s] += 0
		if !c.Match {
			misses[s]++
		}
	}
	for s, count := range misses {
		if correlated := misses[subject{s.file, true}] > 0; count < 2 && (s.correlation || !correlated) {
			t.Errorf("%s: got %d near misses, want 2 or more", s.file, count)
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

// sources are the logs that rules are for, by the folder that they are in.
var sources = map[string][]sigma.LogSource{
	"aws":        {{Product: "aws", Service: "cloudtrail"}, {Product: "aws", Service: "guardduty"}},
	"kubernetes": {{Product: "kubernetes", Service: "audit"}},
}

// folder is the folder of a file, without rules/.
func folder(file string) string { return path.Base(path.Dir(file)) }

func TestShippedRulesAreComplete(t *testing.T) {
	all, _ := shipped(t)
	names := map[string]string{}
	for _, d := range detections(t) {
		h := d.Header
		own := name(h)
		if prefix := "riposte-" + folder(h.File) + "-"; !strings.HasPrefix(own, prefix) ||
			h.File != "rules/"+folder(h.File)+"/"+strings.TrimPrefix(own, prefix)+".yaml" {
			t.Errorf("%s: the name %q doesn't follow from the file's", h.File, own)
		}
		if names[own] != "" {
			t.Errorf("%s: %s has the same name", h.File, names[own])
		}
		names[own] = h.File
		if h.Level == "" || len(h.FalsePositives) == 0 || len(h.References) < 2 {
			t.Errorf("%s: level, false positives or references are missing", h.File)
		}
		tagged(t, h)
	}
	for _, r := range all.Rules {
		described(t, &r.Header)
		if !slices.Contains(sources[folder(r.File)], r.LogSource) {
			t.Errorf("%s: the log source is %+v", r.File, r.LogSource)
		}
	}
	for _, c := range all.Correlations {
		described(t, &c.Header)
	}
	spoken := map[string]bool{}
	for _, file := range names {
		spoken[file] = true
	}
	for _, r := range all.Rules {
		if !spoken[r.File] {
			t.Errorf("%s: nothing in the file makes a finding; a correlation without generate took its voice", r.File)
		}
	}
	if _, err := sigma.NewSet(all.Rules); err != nil {
		t.Error(err) // such as an ID that stands twice
	}
}

// described checks what every document says of itself, that of a rule for correlations alone, too.
func described(t *testing.T, h *sigma.Header) {
	t.Helper()
	if !uuid.MatchString(h.ID) {
		t.Errorf("%s:%d: %q is no random UUID", h.File, h.Line, h.ID)
	}
	if h.Title == "" || h.Status == "" || h.Description == "" || h.Author != "Riposte" || h.Date == "" {
		t.Errorf("%s:%d: title, status, description, author or date are missing", h.File, h.Line)
	}
}

// TestShippedRulesSayWhatToDo checks the response hints: each is there, is no other's, and names the
// playbooks that answer the rule, of which all are shipped.
func TestShippedRulesSayWhatToDo(t *testing.T) {
	answers := map[string][]string{} // playbooks by rule
	shippedPlaybooks := map[string]bool{}
	for _, p := range playbooks(t) {
		shippedPlaybooks[p.Name] = true
		for _, pattern := range p.Findings {
			if rule, ok := strings.CutPrefix(pattern, "rule:"); ok {
				answers[rule] = append(answers[rule], p.Name)
			}
		}
	}
	said := map[string]string{}
	for _, d := range detections(t) {
		h := d.Header
		response := own(h, "response")
		if len(response) < 60 || len(response) > 400 || !strings.HasSuffix(response, ".") {
			t.Errorf("%s: riposte.response has %d characters; say in one to three sentences what to do first", h.File, len(response))
		}
		if other := said[response]; other != "" {
			t.Errorf("%s: riposte.response is that of %s", h.File, other)
		}
		said[response] = h.File
		for _, p := range answers[name(h)] {
			if !strings.Contains(response, "playbook "+p) {
				t.Errorf("%s: riposte.response doesn't name the playbook %s, which answers", h.File, p)
			}
		}
		for _, named := range playbookNamed.FindAllStringSubmatch(response, -1) {
			if !shippedPlaybooks[named[1]] {
				t.Errorf("%s: there is no playbook %s", h.File, named[1])
			}
		}
	}
}

var playbookNamed = regexp.MustCompile(`playbook ([a-z]+(?:-[a-z]+)+)`)

// playbooks gives those that are shipped.
func playbooks(t *testing.T) []*playbook.Playbook {
	t.Helper()
	content := os.DirFS("../../content/playbooks")
	files, err := fs.Glob(content, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []*playbook.Playbook
	for _, file := range files {
		if rulecase.IsTest(file) {
			continue
		}
		text, err := fs.ReadFile(content, file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := playbook.Parse(file, text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// tagged checks that a rule names ATT&CK tactics and techniques, and nothing else.
func tagged(t *testing.T, h *sigma.Header) {
	t.Helper()
	var tactical, technical bool
	for _, tag := range h.Tags {
		switch {
		case technique.MatchString(tag):
			technical = true
		case slices.Contains(tactics, strings.TrimPrefix(tag, "attack.")):
			tactical = true
		default:
			t.Errorf("%s: the tag %q is neither a tactic nor a technique", h.File, tag)
		}
	}
	if !tactical || !technical {
		t.Errorf("%s: a tactic or a technique is missing", h.File)
	}
}

// TestPlaybooksFindTheirRules holds the playbooks against the rules: each rule they refer to is there, and
// what it finds has the entities that a playbook's steps need.
func TestPlaybooksFindTheirRules(t *testing.T) {
	_, cases := shipped(t)
	byName := map[string]*sigma.Header{}
	for _, d := range detections(t) {
		byName[name(d.Header)] = d.Header
	}
	for _, p := range playbooks(t) {
		for _, pattern := range p.Findings {
			own, isRule := strings.CutPrefix(pattern, "rule:")
			if !isRule || strings.Contains(own, "*") {
				continue
			}
			if byName[own] == nil {
				t.Errorf("%s: there is no rule %s", p.Name, own)
				continue
			}
			for _, c := range positives(cases, byName[own]) {
				if needed, ok := needs[p.Name]; ok && !has(t, c, needed) && !mayLack[own+": "+c.Name] {
					t.Errorf("%s: what %s finds in %q has no %s", p.Name, own, c.Name, needed)
				}
			}
		}
	}
}

// needs are the entities that playbooks' conditions ask for.
var needs = map[string]entity.Kind{
	"contain-leaked-access-key":    entity.AccessKey,
	"restore-trail-logging":        entity.Trail,
	"quarantine-user":              entity.User,
	"close-public-bucket":          entity.Bucket,
	"close-open-port":              entity.SecurityGroup,
	"revoke-stolen-role-sessions":  entity.Role,
	"isolate-compromised-instance": entity.Instance,
}

// mayLack are findings without a user, since a role acted on a role or on itself: a person decides.
var mayLack = map[string]bool{
	"riposte-aws-iam-admin-policy-attached: attached to a role":        true,
	"riposte-aws-iam-admin-policy-attached: all of IAM, within a list": true,
	"riposte-aws-organization-leave: the account has left":             true,
}

func positives(cases []rulecase.Case, h *sigma.Header) []rulecase.Case {
	var found []rulecase.Case
	for _, c := range cases {
		if c.Match && len(c.Events) == 0 && strings.TrimSuffix(c.At.File, "_test.yaml")+".yaml" == h.File {
			found = append(found, c)
		}
	}
	return found
}

// mapped is an event of CloudTrail or GuardDuty, as sources map it.
func mapped(t *testing.T, c rulecase.Case, raw []byte) event.Event {
	t.Helper()
	events, err := awslog.Record(raw)
	if err != nil || len(events) != 1 {
		t.Fatalf("%s: %q is no record that we read: %d events, %v", c.At, c.Name, len(events), err)
	}
	return events[0]
}

func has(t *testing.T, c rulecase.Case, kind entity.Kind) bool {
	t.Helper()
	f := finding.Finding{Entities: mapped(t, c, c.Event).Entities}
	_, ok := f.Entity(kind)
	return ok
}

// TestShippedTestsAreRecords checks that every event of a test is one that its source writes: for AWS one that
// our mapper reads.
func TestShippedTestsAreRecords(t *testing.T) {
	_, cases := shipped(t)
	for _, c := range cases {
		raws := [][]byte{c.Event}
		if len(c.Events) > 0 {
			raws = nil
			for _, one := range c.Events {
				raws = append(raws, one.Event)
			}
		}
		for _, raw := range raws {
			if folder(c.At.File) == "kubernetes" {
				audited(t, c, raw)
			} else if who := mapped(t, c, raw); len(who.Entities) == 0 {
				t.Errorf("%s: nobody is named in %q", c.At, c.Name)
			}
		}
	}
}

// audited checks that an event is one of the audit log of Kubernetes.
func audited(t *testing.T, c rulecase.Case, raw []byte) {
	t.Helper()
	var e struct {
		Kind, APIVersion, Level, AuditID, Stage, RequestURI, Verb string
		User                                                      struct{ Username string }
		SourceIPs                                                 []string
		RequestReceivedTimestamp                                  time.Time
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatalf("%s: %q: %v", c.At, c.Name, err)
	}
	if e.Kind != "Event" || e.APIVersion != "audit.k8s.io/v1" || e.Level == "" || e.AuditID == "" || e.Stage == "" ||
		e.RequestURI == "" || e.Verb == "" || e.User.Username == "" || len(e.SourceIPs) == 0 || e.RequestReceivedTimestamp.IsZero() {
		t.Errorf("%s: %q is no event of the audit log: %+v", c.At, c.Name, e)
	}
}
