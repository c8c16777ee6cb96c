// Package oncall knows who is on call: from a file that people write, or from a schedule of PagerDuty's.
package oncall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
)

// Person is somebody who can be on call.
type Person struct {
	question.Person
	Email string
	Slack string // their id in Slack
}

// Shift is who is on call together, and until when.
type Shift struct {
	People []Person
	From   time.Time // zero where no beginning is known
	Until  time.Time // zero where no end is known
}

// Config names the rotations.
type Config map[string]Source

// Source is where a rotation is written: one of the two.
type Source struct {
	// File is a rotation that people write; changes are seen as they are made.
	File string `yaml:"file"`
	// PagerDuty is a schedule there.
	PagerDuty PagerDuty `yaml:"pagerduty"`
}

// rotation answers who is on call. Its error is Transient where the same question may be answered later.
type rotation interface {
	// shift gives those on call at a time; nobody, where nobody is.
	shift(ctx context.Context, at time.Time) (Shift, error)
}

// Options are what rotations need.
type Options struct {
	Courier *courier.Courier
	Now     func() time.Time
	Logger  *slog.Logger
}

// Rotations are those of an installation.
type Rotations struct {
	named map[string]rotation
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// New reads the rotations. Errors are Invalid and name the key.
func New(c Config, o Options) (*Rotations, error) {
	r := &Rotations{named: map[string]rotation{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c)) {
		made, err := c[name].open(o)
		if err == nil && !namePattern.MatchString(name) {
			err = fault.New(fault.Invalid, "the name is not lower-case letters, digits, _ and -")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("oncall.%s: %w", name, err))
		}
		r.named[name] = made
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return r, nil
}

func (s Source) open(o Options) (rotation, error) { //nolint:ireturn // one of two
	switch {
	case (s.File == "") == (s.PagerDuty.Schedule == ""):
		return nil, fault.New(fault.Invalid, "needs either file or pagerduty.schedule")
	case s.File != "":
		return openFile(s.File, o.Logger)
	}
	return openSchedule(s.PagerDuty, o)
}

// Names lists the rotations.
func (r *Rotations) Names() []string { return slices.Sorted(maps.Keys(r.named)) }

// Who gives those who are on call in a rotation at a time, those of its first layer first; none, where nobody
// is. The error is NotFound where there is no such rotation.
func (r *Rotations) Who(ctx context.Context, name string, at time.Time) ([]Person, error) {
	shift, err := r.Shift(ctx, name, at)
	return shift.People, err
}

// Shift gives who is on call in a rotation at a time, and until when.
func (r *Rotations) Shift(ctx context.Context, name string, at time.Time) (Shift, error) {
	known, has := r.named[name]
	if !has {
		return Shift{}, fault.New(fault.NotFound, "there is no rotation %.100q; there are %s", name, strings.Join(r.Names(), ", "))
	}
	return known.shift(ctx, at)
}

// same reports whether the same people are on call.
func same(a, b []Person) bool {
	return slices.EqualFunc(a, b, func(x, y Person) bool { return x.Name == y.Name })
}
