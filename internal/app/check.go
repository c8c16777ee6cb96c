package app

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/correlate"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/sigma"
)

// Checked counts what a check looked at.
type Checked struct {
	Rules     int `json:"rules"`
	Cases     int `json:"rule_tests"`
	Playbooks int `json:"playbooks"`
	// Untested names the rules that no test shows to match and not to match.
	Untested []string `json:"untested,omitempty"`
}

// Check checks a configuration with its rules and playbooks, and runs the tests beside the rules. Paths are
// further rules and playbooks; the keys of the configuration are ReadConfig's to check. No cloud and no store is touched. All mistakes are in the error.
func Check(c Config, paths []string) (Checked, error) {
	var did Checked
	var errs []error
	for _, path := range paths {
		rules, books, err := sorted(path)
		c.Content.Rules, c.Content.Playbooks = append(c.Content.Rules, rules...), append(c.Content.Playbooks, books...)
		errs = append(errs, err)
	}
	specs := AllSpecs(c)
	loaded, err := LoadContent(c.Content, specs, specs, time.Now())
	if err != nil {
		return did, errors.Join(append(errs, err)...)
	}
	for _, name := range loaded.Unknown {
		errs = append(errs, fault.New(fault.Invalid, "content.disabled: no rule and no playbook is called %q", name))
	}
	did.Rules, did.Playbooks = len(loaded.Detector.Rules()), len(loaded.Playbooks)
	did.Cases, did.Untested, err = runCases(c.Content)
	return did, errors.Join(append(errs, err)...)
}

// sorted tells the rules below a path from the playbooks, file by file.
func sorted(path string) (rules, books []string, err error) {
	files, err := own(path)
	if err != nil {
		return nil, nil, fault.Wrap(fault.NotFound, err)
	}
	if len(files) == 0 {
		return nil, nil, fault.New(fault.Invalid, "%s: there are no YAML files", path)
	}
	for _, file := range files {
		if isPlaybook(file) {
			books = append(books, file.name)
		} else {
			rules = append(rules, file.name)
		}
	}
	return rules, books, nil
}

// isPlaybook tells by the file's folders and by its keys.
func isPlaybook(file written) bool {
	if slices.Contains(strings.Split(filepath.ToSlash(filepath.Dir(file.name)), "/"), "playbooks") {
		return true
	}
	return isWrittenPlaybook(file.text)
}

// isWrittenPlaybook tells by the text alone.
func isWrittenPlaybook(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "playbook:") {
			return true
		}
	}
	return false
}

// runCases runs the tests that stand beside the rules, and lists the rules that have none.
func runCases(c ContentConfig) (count int, untested []string, err error) {
	read, err := Rules(c, nil)
	if err != nil {
		return 0, nil, err
	}
	var errs []error
	for _, wrong := range append(read.Mistakes, read.Link()...) {
		errs = append(errs, fault.New(fault.Invalid, "%s", wrong))
	}
	report := read.Test()
	for _, failure := range report.Failed() {
		errs = append(errs, fault.New(fault.Invalid, "%s", failure))
	}
	for _, lacking := range report.Untested {
		untested = append(untested, lacking.String())
	}
	return len(read.Cases), untested, errors.Join(errs...)
}

// Trial detects and chooses playbooks without a store and without an effect on anything.
type Trial struct {
	content    *Content
	correlator *sigma.Correlator
	events     map[string]event.Event // that correlations have seen, without their bytes
	told       map[string]bool        // fingerprints of what correlations found
}

// mostRemembered bounds the events of a trial that findings of correlations may be about.
const mostRemembered = 200_000

// NewTrial makes a trial of a configuration's content.
func NewTrial(c Config) (*Trial, error) {
	specs := AllSpecs(c)
	loaded, err := LoadContent(c.Content, specs, specs, time.Now())
	if err != nil {
		return nil, err
	}
	return newTrial(loaded), nil
}

func newTrial(loaded *Content) *Trial {
	return &Trial{
		content: loaded, correlator: loaded.Detector.Correlator(), events: map[string]event.Event{}, told: map[string]bool{},
	}
}

// Rules gives the rules and correlations that make findings, by name.
func (t *Trial) Rules() []*detect.Rule { return t.content.Detector.Rules() }

// Detect gives the findings of events, and letters of those that can't be evaluated.
func (t *Trial) Detect(events []event.Event) ([]finding.Finding, []event.Letter) {
	seen := t.content.Detector.Detect(events)
	watched := map[string]bool{}
	for _, o := range seen.Observations {
		watched[o.Event] = true
	}
	var newest time.Time
	for _, ev := range events {
		if watched[ev.Key] && len(t.events) < mostRemembered {
			ev.Raw = nil
			t.events[ev.Key] = ev
		}
		if ev.Time.After(newest) {
			newest = ev.Time
		}
	}
	return append(seen.Findings, t.alerts(t.correlator.Take(seen.Observations, newest))...), seen.Letters
}

// End gives what correlations find when no more events come.
func (t *Trial) End() []finding.Finding { return t.alerts(t.correlator.Flush()) }

// alerts makes the findings that weren't told yet.
func (t *Trial) alerts(alerts []sigma.Alert) []finding.Finding {
	var found []finding.Finding
	for _, alert := range alerts {
		f, is := t.content.Detector.Alerted(alert)
		if !is || t.told[f.Fingerprint] {
			continue
		}
		t.told[f.Fingerprint] = true
		var behind []event.Event
		for _, evidence := range alert.Events {
			if ev, known := t.events[evidence.Event]; known {
				behind = append(behind, ev)
			}
		}
		correlate.Describe(&f, behind)
		found = append(found, f)
	}
	return found
}

// Answers names the playbooks that would answer a finding.
func (t *Trial) Answers(ctx context.Context, f *finding.Finding) []string {
	alone := incident.Incident{
		Title: f.Title, State: incident.Open, Severity: f.Severity, Account: f.Account, Region: f.Region,
		FirstSeen: f.FirstSeen, LastSeen: f.LastSeen, Findings: 1, Entities: f.Entities,
	}
	scope := expr.Scope{expr.Finding: expr.ViewFinding(f), expr.Incident: expr.ViewIncident(&alone)}
	var names []string
	for _, book := range t.content.Playbooks {
		if answers, err := book.Answers(ctx, f.Type, scope); err == nil && answers {
			names = append(names, book.Name)
		}
	}
	return names
}
