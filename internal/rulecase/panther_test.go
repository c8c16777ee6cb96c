package rulecase_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/sigma"
)

// pantherCase is one test of somebody else's detection: a log record, and whether it should be found.
type pantherCase struct {
	Rule     string
	Name     string
	Expected bool
	Log      json.RawMessage
	LogTypes []string
}

// intent is what we make of a detection of somebody else's.
type intent struct {
	// rules are ours of the same intent, without riposte-; one of them finds what the other finds. Those for
	// correlations alone count, too: a detection with a threshold is tested by single records.
	rules []string
	// differs says, for each test on which ours decides otherwise on purpose, why.
	differs map[string]string
	// why there is no rule of ours, where there is none.
	why string
}

// pantherCases reads the shared tests.
func pantherCases(t *testing.T) []pantherCase {
	t.Helper()
	files, err := filepath.Glob("../../../shared/data/panther/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the shared data isn't here")
	}
	var all []pantherCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var c pantherCase
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, c)
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return all
}

// readable tells whether a case's record is in a form that our sources hand on: CloudTrail's, or that of the
// audit log of Kubernetes, rather than in the envelope of another cloud.
func readable(c pantherCase) bool {
	var form struct{ Kind, EventName string }
	if json.Unmarshal(c.Log, &form) != nil {
		return false
	}
	return slices.Contains(c.LogTypes, "AWS.CloudTrail") && form.EventName != "" ||
		slices.Contains(c.LogTypes, "Amazon.EKS.Audit") && form.Kind == "Event"
}

// matches tells whether one of the rules matches a record.
func matches(t *testing.T, c pantherCase, rules []string, byName map[string]*sigma.Rule) bool {
	t.Helper()
	e, err := sigma.ParseEvent(c.Log)
	if err != nil {
		t.Fatalf("%s: %q: %v", c.Rule, c.Name, err)
	}
	for _, rule := range rules {
		r := byName["riposte-"+rule]
		if r == nil {
			t.Fatalf("%s: there is no rule riposte-%s", c.Rule, rule)
		}
		if _, found := r.Match(e); found {
			return true
		}
	}
	return false
}

// tally is what became of the detections of one log type.
type tally struct {
	agreed, cases, foreign int
	covered                []string
	differing, uncovered   []string
}

// TestPanther holds our rules against the tests of a set of detections that others wrote: where a rule of ours
// has the same intent, it finds what theirs finds and lets pass what theirs lets pass, but for what the table
// says with a reason. Its log lists what isn't covered, and why.
func TestPanther(t *testing.T) {
	cases := pantherCases(t)
	all, _ := shipped(t)
	byName := map[string]*sigma.Rule{}
	for _, r := range all.Rules {
		byName[name(&r.Header)], byName[r.Name] = r, r
	}
	delete(byName, "")
	byRule := map[string][]pantherCase{}
	for _, c := range cases {
		byRule[c.Rule] = append(byRule[c.Rule], c)
	}
	tallies := map[string]*tally{}
	elsewhere := map[string]map[string]bool{}
	for _, rule := range slices.Sorted(maps.Keys(byRule)) {
		ours := logTypeOf(byRule[rule])
		if ours == "" {
			for _, logType := range byRule[rule][0].LogTypes {
				if elsewhere[logType] == nil {
					elsewhere[logType] = map[string]bool{}
				}
				elsewhere[logType][rule] = true
			}
			continue
		}
		if tallies[ours] == nil {
			tallies[ours] = &tally{}
		}
		meant, known := intents[rule]
		if !known {
			t.Errorf("%s: the table of intents has nothing of it", rule)
			continue
		}
		compare(t, rule, meant, byRule[rule], byName, tallies[ours])
	}
	for rule := range intents {
		if byRule[rule] == nil {
			t.Errorf("%s: the table of intents has it, the tests don't", rule)
		}
	}
	t.Log(report(tallies, elsewhere))
}

// logTypeOf gives the log type of which we have rules, "" if there is none.
func logTypeOf(cases []pantherCase) string {
	for _, logType := range []string{"AWS.CloudTrail", "Amazon.EKS.Audit", "AWS.GuardDuty", "AWS.S3ServerAccess"} {
		if slices.Contains(cases[0].LogTypes, logType) {
			return logType
		}
	}
	return ""
}

// compare holds our rules of one intent against the tests of a detection.
func compare(t *testing.T, rule string, meant intent, cases []pantherCase, byName map[string]*sigma.Rule, to *tally) {
	t.Helper()
	if (len(meant.rules) == 0) == (meant.why == "") {
		t.Errorf("%s: say either which rules of ours are meant, or why there is none", rule)
		return
	}
	if meant.why != "" {
		to.uncovered = append(to.uncovered, rule+": "+meant.why)
		return
	}
	to.covered = append(to.covered, rule)
	seen := map[string]bool{}
	for _, c := range cases {
		if !readable(c) {
			to.foreign++
			continue
		}
		to.cases++
		reason, differs := meant.differs[c.Name]
		seen[c.Name] = true
		got := matches(t, c, meant.rules, byName)
		switch {
		case got == c.Expected && differs:
			t.Errorf("%s: %q: ours agrees, though the table says that it doesn't: %s", rule, c.Name, reason)
		case got == c.Expected:
			to.agreed++
		case differs:
			to.differing = append(to.differing, fmt.Sprintf("%s, %q: %s", rule, c.Name, reason))
		default:
			t.Errorf("%s: %q: got %t of %s, want %t", rule, c.Name, got, strings.Join(meant.rules, ", "), c.Expected)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(meant.differs)) {
		if !seen[name] {
			t.Errorf("%s: there is no test %q of ours to judge", rule, name)
		}
	}
}

// report writes what came of each log type.
func report(tallies map[string]*tally, elsewhere map[string]map[string]bool) string {
	var b strings.Builder
	for _, logType := range slices.Sorted(maps.Keys(tallies)) {
		one := tallies[logType]
		fmt.Fprintf(&b, "\n%s: %d detections covered, %d not. Of %d tests %d agree, %d differ on purpose; %d more are in the envelope of another cloud.\n",
			logType, len(one.covered), len(one.uncovered), one.cases, one.agreed, len(one.differing), one.foreign)
		fmt.Fprintf(&b, "  covered: %s\n", strings.Join(one.covered, ", "))
		for _, line := range one.differing {
			fmt.Fprintf(&b, "  differs: %s\n", line)
		}
		for _, line := range one.uncovered {
			fmt.Fprintf(&b, "  not covered: %s\n", line)
		}
	}
	b.WriteString("\nWithout rules of ours, by log type:\n")
	for _, logType := range slices.Sorted(maps.Keys(elsewhere)) {
		fmt.Fprintf(&b, "  %s: %d detections\n", logType, len(elsewhere[logType]))
	}
	return b.String()
}
