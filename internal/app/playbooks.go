package app

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playbook"
)

// Installation is what a configuration's playbooks are held against: its actions, the roles, who is on call. With
// all, every action of this build.
func Installation(c Config, all bool) playbook.Installation {
	specs := AllSpecs(c)
	house := playbook.Installation{Actions: specs, Roles: roles(), Rotations: rotations(specs)}
	if !all {
		house.Actions = slices.DeleteFunc(slices.Clone(specs), func(s action.Spec) bool { return strings.HasPrefix(s.Name, "aws.") && !c.AWS.Enabled })
	}
	return house
}

// BooksInForce are the playbooks in force with a configuration, by name.
func BooksInForce(c Config) ([]*playbook.Playbook, error) {
	specs := AllSpecs(c)
	loaded, err := LoadContent(c.Content, specs, specs, time.Now())
	if err != nil {
		return nil, err
	}
	return loaded.Playbooks, nil
}

// ReadPlaybooks reads the playbooks at paths, beside those in force, which they may call and replace. They are
// checked, and given first.
func ReadPlaybooks(c Config, paths []string) ([]*playbook.Playbook, error) {
	var read []*playbook.Playbook
	var errs []error
	for _, path := range paths {
		files, err := own(path)
		if err != nil {
			return nil, fault.Wrap(fault.NotFound, err)
		}
		if len(files) == 0 {
			errs = append(errs, fault.New(fault.Invalid, "%s: there are no YAML files", path))
		}
		for _, file := range files {
			book, err := playbook.Parse(file.name, file.text)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if slices.ContainsFunc(read, func(p *playbook.Playbook) bool { return p.Name == book.Name }) {
				errs = append(errs, fault.New(fault.Invalid, "%s: the playbook %s is there already", file.name, book.Name))
			}
			read = append(read, book)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	known, err := BooksInForce(c)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(read)
	for _, book := range known {
		if !slices.ContainsFunc(read, func(p *playbook.Playbook) bool { return p.Name == book.Name }) {
			all = append(all, book)
		}
	}
	if err := playbook.Link(all); err != nil {
		return nil, err
	}
	house := Installation(c, true)
	for _, book := range read {
		errs = append(errs, playbook.Check(book, house))
	}
	return read, errors.Join(errs...)
}
