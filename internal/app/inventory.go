package app

import (
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/coverage"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/rulecase"
	"github.com/riposte-sec/riposte/sigma"
)

// Inventory is what a configuration has in force, with its tests.
type Inventory struct {
	Rules     []*detect.Rule // those that make findings, by name
	Playbooks []*playbook.Playbook

	tests    map[string][]Test // by the hash of what they are of
	untested map[string]bool   // by hash
}

// Test is one that stands beside a rule.
type Test struct {
	rulecase.Result
	Match  bool `json:"match"`
	Events int  `json:"events"`
}

// NewInventory reads and tests what a configuration has in force at a time.
func NewInventory(c Config, now time.Time) (*Inventory, error) {
	specs := AllSpecs(c)
	loaded, err := LoadContent(c.Content, specs, specs, now)
	if err != nil {
		return nil, err
	}
	read, err := Rules(c.Content, nil)
	if err != nil {
		return nil, err
	}
	i := &Inventory{Rules: loaded.Detector.Rules(), Playbooks: loaded.Playbooks, tests: map[string][]Test{}, untested: map[string]bool{}}
	report := read.Test()
	for n, result := range report.Results {
		if result.Of != nil {
			one := read.Cases[n]
			i.tests[result.Of.Hash] = append(i.tests[result.Of.Hash], Test{Result: result, Match: one.Match, Events: max(len(one.Events), 1)})
			i.untested[result.Of.Hash] = i.untested[result.Of.Hash] || !result.Passed()
		}
	}
	for _, lacking := range report.Untested {
		i.untested[lacking.Of.Hash] = true
	}
	return i, nil
}

// Tests lists the tests of a rule.
func (i *Inventory) Tests(r *detect.Rule) []Test { return i.tests[r.Hash] }

// Tested reports whether tests that pass show a rule to match, and to let pass.
func (i *Inventory) Tested(r *detect.Rule) bool {
	return len(i.tests[r.Hash]) > 0 && !i.untested[r.Hash]
}

// Answers names the playbooks whose patterns match a rule's findings.
func (i *Inventory) Answers(r *detect.Rule) []string {
	names := []string{}
	for _, book := range i.Playbooks {
		if slices.ContainsFunc(book.Findings, func(pattern string) bool { return guardrail.Glob(pattern, "rule:"+r.Name) }) {
			names = append(names, book.Name)
		}
	}
	return names
}

// Coverage tells what of ATT&CK is covered. Sources are those that events came from, nil if nobody knows; since
// is how new the newest event of one must be for it to be heard of.
func (i *Inventory) Coverage(sources []api.Source, since time.Time) coverage.Report {
	in := coverage.Input{Since: since}
	for _, r := range i.Rules {
		in.Rules = append(in.Rules, coverage.Rule{Name: r.Name, Title: r.Title, Tags: r.Tags, Tested: i.Tested(r), Needs: r.Sources})
	}
	for _, book := range i.Playbooks {
		in.Playbooks = append(in.Playbooks, coverage.Playbook{Name: book.Name, Findings: book.Findings})
	}
	if sources != nil {
		in.Sources = []coverage.Source{}
	}
	for _, s := range sources {
		if s.Product != "" {
			in.Sources = append(in.Sources, coverage.Source{LogSource: sigma.LogSource{Product: s.Product, Service: s.Service}, Latest: s.Latest})
		}
	}
	return coverage.Of(in)
}
