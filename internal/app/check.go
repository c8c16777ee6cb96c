package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/provider/aws"
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
// further rules and playbooks. No cloud and no store is touched. All mistakes are in the error.
func Check(c Config, paths []string) (Checked, error) {
	var did Checked
	var errs []error
	for _, path := range paths {
		books, err := holdsPlaybooks(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if books {
			c.Content.Playbooks = append(c.Content.Playbooks, path)
		} else {
			c.Content.Rules = append(c.Content.Rules, path)
		}
	}
	if _, _, err := c.actions(nil, courier.New(nil, time.Now)); err != nil {
		errs = append(errs, err)
	}
	specs := AllSpecs(c)
	loaded, err := LoadContent(c.Content, specs, specs)
	if err != nil {
		return did, errors.Join(append(errs, err)...)
	}
	did.Rules, did.Playbooks = len(loaded.Detector.Rules()), len(loaded.Playbooks)
	did.Cases, did.Untested, err = runCases(c.Content)
	return did, errors.Join(append(errs, err)...)
}

// holdsPlaybooks tells by the first file of a path what it holds.
func holdsPlaybooks(path string) (bool, error) {
	files, err := own(path)
	if err != nil {
		return false, fault.Wrap(fault.NotFound, err)
	}
	if len(files) == 0 {
		return false, fault.New(fault.Invalid, "%s: there are no YAML files", path)
	}
	for line := range strings.Lines(string(files[0].text)) {
		if strings.HasPrefix(line, "playbook:") {
			return true, nil
		}
	}
	return false, nil
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
type Trial struct{ content *Content }

// NewTrial makes a trial of a configuration's content.
func NewTrial(c Config) (*Trial, error) {
	specs := AllSpecs(c)
	loaded, err := LoadContent(c.Content, specs, specs)
	return &Trial{content: loaded}, err
}

// Detect gives the findings of events, and letters of those that can't be evaluated.
func (t *Trial) Detect(events []event.Event) ([]finding.Finding, []event.Letter) {
	return t.content.Detector.Detect(events)
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

// Permissions is the least-privilege AWS policy of the playbooks and sources in force.
func Permissions(c Config) ([]byte, error) {
	specs := AllSpecs(c)
	loaded, err := LoadContent(c.Content, specs, specs)
	if err != nil {
		return nil, err
	}
	var used []action.Spec
	for _, spec := range specs {
		wanted := slices.ContainsFunc(loaded.Playbooks, func(book *playbook.Playbook) bool { return uses(book, spec.Name) })
		for _, targets := range c.Channels {
			for _, target := range targets {
				wanted = wanted || target.Use == spec.Name
			}
		}
		if wanted && strings.HasPrefix(spec.Name, "aws.") {
			used = append(used, spec)
		}
	}
	var sources []aws.Source
	for i, queue := range c.Sources.Queues {
		source, err := queue.Source(aws.Self{Partition: "aws", Region: c.AWS.Region})
		if err != nil {
			return nil, fmt.Errorf("sources.queues[%d]: %w", i, err)
		}
		sources = append(sources, source)
	}
	policy, err := aws.Policy(used, sources, aws.PolicyOptions{AssumeRole: c.AWS.AssumeRole, Accounts: c.AWS.Accounts})
	if err != nil {
		return nil, fmt.Errorf("write policy: %w", err)
	}
	return policy, nil
}

func uses(p *playbook.Playbook, name string) bool {
	return slices.ContainsFunc(p.Steps, func(s playbook.Step) bool { return s.Use == name })
}
