package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/playcase"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// plan tells what a playbook would do now about an incident: about the last of its findings that it answers.
func (a *App) plan(ctx context.Context, incidentID, name string) (playcase.Rehearsal, error) {
	book, err := pick(a.shelf.Content().Playbooks, name)
	if err != nil {
		return playcase.Rehearsal{}, err
	}
	about, err := a.store.Incident(ctx, incidentID)
	if err != nil {
		return playcase.Rehearsal{}, err
	}
	page, err := a.store.Findings(ctx, store.FindingFilter{Incident: incidentID, Limit: 500})
	if err != nil {
		return playcase.Rehearsal{}, err
	}
	found := make([]finding.Finding, 0, len(page.Items))
	for _, item := range page.Items {
		found = append(found, item.Finding)
	}
	if len(found) == 0 {
		return playcase.Rehearsal{}, fault.New(fault.NotFound, "incident %s has no findings", incidentID)
	}
	return rehearseFirst(ctx, playcase.Rehearsing{
		Playbook: book, Incident: &about, Actions: a.runner.Actions, Rails: a.runner.Rails, Policy: a.runner.Policy,
		Now: a.options.Now, Logger: a.options.Logger,
	}, found)
}

// rehearseFirst rehearses the first finding that the playbook answers, or tells why it answers none.
func rehearseFirst(ctx context.Context, o playcase.Rehearsing, found []finding.Finding) (told playcase.Rehearsal, err error) {
	for _, f := range found {
		o.Finding = f
		if told, err = playcase.Rehearse(ctx, o); err != nil || told.Starts {
			return told, err
		}
	}
	return told, nil
}

// pick finds a playbook by its name.
func pick(books []*playbook.Playbook, name string) (*playbook.Playbook, error) {
	names := make([]string, 0, len(books))
	for _, book := range books {
		if book.Name == name {
			return book, nil
		}
		names = append(names, book.Name)
	}
	slices.Sort(names)
	if near := document.Suggest(name, names); near != "" {
		return nil, fault.New(fault.NotFound, "no playbook is called %.100q; did you mean %q?", name, near)
	}
	return nil, fault.New(fault.NotFound, "no playbook is called %.100q; there are %s", name, strings.Join(names, ", "))
}

// Planning is what Plan needs beside a configuration: a playbook by name or by file, and what it is to answer: a
// finding, or records as their source writes them.
type Planning struct {
	Playbook string
	Finding  *finding.Finding
	Events   [][]byte
	Now      func() time.Time
	Logger   *slog.Logger
}

// Plan tells what a playbook would do now, with the configuration's access to the cloud. Of a server's freezes and
// budgets it knows nothing.
func Plan(ctx context.Context, c Config, p Planning) (playcase.Rehearsal, error) {
	book, c, err := bookFor(c, p.Playbook)
	if err != nil {
		return playcase.Rehearsal{}, err
	}
	found, err := p.found(c)
	if err != nil {
		return playcase.Rehearsal{}, err
	}
	actions, guard, err := c.reach(ctx, p)
	if err != nil {
		return playcase.Rehearsal{}, err
	}
	if missing := lacks(book, specsOf(actions)); missing != "" {
		return playcase.Rehearsal{}, fault.WithHint(fault.New(fault.Invalid, "the playbook %s uses %s, which this configuration does not have", book.Name, missing),
			"name a configuration that enables its provider by --config, or ask the server by --incident")
	}
	return rehearseFirst(ctx, playcase.Rehearsing{
		Playbook: book, Actions: actions, Rails: guard, Now: p.Now, Logger: p.Logger,
		Policy: respond.Policy{Ceiling: run.Autonomy(c.Respond.Autonomy), Limits: c.Respond.Limits},
	}, found)
}

// bookFor finds a playbook among those of a configuration, or in a file, which is then one of them.
func bookFor(c Config, name string) (*playbook.Playbook, Config, error) {
	file := ""
	if IsPlaybookFile(name) {
		file = filepath.Clean(name)
		c.Content.Playbooks = slices.DeleteFunc(slices.Clone(c.Content.Playbooks), func(p string) bool { return filepath.Clean(p) == file })
		c.Content.Playbooks = append(c.Content.Playbooks, file)
	}
	books, _, err := loadPlaybooks(c.Content, &disabled{met: map[string]bool{}})
	if err != nil {
		return nil, c, err
	}
	all := make([]*playbook.Playbook, 0, len(books))
	for _, book := range books {
		if file != "" && filepath.Clean(book.File) == file {
			name = book.Name
		}
		all = append(all, book.Playbook)
	}
	book, err := pick(all, name)
	if err != nil {
		return nil, c, err
	}
	specs := AllSpecs(c)
	return book, c, playbook.Check(book, playbook.Installation{Actions: specs, Roles: roles(), Rotations: rotations(specs)})
}

// found gives the findings that are to be answered.
func (p Planning) found(c Config) ([]finding.Finding, error) {
	if p.Finding != nil {
		return []finding.Finding{completed(*p.Finding, p.Now())}, nil
	}
	found, err := detector(c)(p.Events)
	if err == nil && len(found) == 0 {
		err = fault.WithHint(fault.New(fault.NotFound, "no rule finds anything in the event"), "riposte replay shows what rules say of logs")
	}
	return found, err
}

// completed fills in what a finding that a person wrote leaves out.
func completed(f finding.Finding, now time.Time) finding.Finding {
	if f.FirstSeen.IsZero() {
		f.FirstSeen = now
	}
	if f.LastSeen.IsZero() {
		f.LastSeen = f.FirstSeen
	}
	f.Entities = slices.Clone(f.Entities)
	for i := range f.Entities {
		e := &f.Entities[i]
		e.Account, e.Region = cmp.Or(e.Account, f.Account), cmp.Or(e.Region, f.Region)
	}
	return f
}

// standing are the guardrails of a configuration, without those of a server.
type standing []guardrail.Protection

// Standing is of respond.Rails.
func (s standing) Standing(context.Context) ([]guardrail.Freeze, []guardrail.Protection, error) {
	return nil, s, nil
}

// Used is of respond.Rails.
func (standing) Used(context.Context, run.Cap) (int, error) { return 0, nil }

// reach gives the actions of a configuration, and what it protects.
func (c *Config) reach(ctx context.Context, p Planning) ([]action.Action, respond.Rails, error) { //nolint:ireturn // which rails depends on where it is planned
	var cloud *aws.Cloud
	if c.AWS.Enabled {
		var err error
		if cloud, err = aws.Connect(ctx, c.AWS); err != nil {
			return nil, nil, err
		}
	}
	told, err := newMessengers(c, courier.New(nil, p.Now), p.Now, p.Logger)
	if err != nil {
		return nil, nil, err
	}
	actions, _, err := c.actions(cloud, told)
	if err != nil {
		return nil, nil, err
	}
	fixed, err := c.protections(p.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("read protections: %w", err)
	}
	alone := App{config: *c, cloud: cloud}
	return actions, standing(append(fixed, alone.stands(p.Now())...)), nil
}
