package oncall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/mail"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
)

// written is a rotation as people write it.
type written struct {
	TimeZone string `yaml:"time_zone"`
	// People are in the order in which they take turns, unless layers say otherwise.
	People    []member   `yaml:"people"`
	Start     string     `yaml:"start"`
	Every     every      `yaml:"every"`
	Layers    []layer    `yaml:"layers"`
	Overrides []override `yaml:"overrides"`
}

type member struct {
	Name  string   `yaml:"name"`
	Email string   `yaml:"email"`
	Slack string   `yaml:"slack"`
	Roles []string `yaml:"roles"`
}

// every is the time between two handovers: days by the calendar, so that a handover at nine stays at nine when
// clocks change, or hours that pass.
type every struct {
	Days  int `yaml:"days"`
	Hours int `yaml:"hours"`
}

// layer is people who take turns, beside those of other layers.
type layer struct {
	Name   string   `yaml:"name"`
	People []string `yaml:"people"`
	Start  string   `yaml:"start"`
	Every  every    `yaml:"every"`
}

// override puts somebody in the place of whoever's turn it is.
type override struct {
	Person string `yaml:"person"`
	From   string `yaml:"from"`
	Until  string `yaml:"until"`
	Layer  string `yaml:"layer"` // the first if empty
}

const (
	mostPeople   = 200
	mostEntries  = 1000
	longestEvery = 366
	mostBytes    = 1 << 20
	localTime    = "2006-01-02T15:04"
)

var slackID = regexp.MustCompile(`^[UW][A-Z0-9]{2,20}$`)

// plan is a rotation that was checked.
type plan struct {
	zone   *time.Location
	layers []turns
}

// turns is one layer.
type turns struct {
	name      string
	people    []Person
	start     wall
	every     every
	zone      *time.Location
	overrides []cover
}

type cover struct {
	person      Person
	from, until time.Time
}

// wall is what a clock on the wall shows.
type wall struct {
	year, month, day, hour, minute int
}

func wallOf(t time.Time) wall {
	return wall{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute()}
}

// in gives the moment at which clocks of a zone show a time, so many days later. Of a time that comes twice,
// when clocks are set back, it is the first; one that is left out, when they are set forward, is the moment
// of that.
func (w wall) in(zone *time.Location, days int) time.Time {
	at := time.Date(w.year, time.Month(w.month), w.day+days, w.hour, w.minute, 0, 0, zone)
	utc := time.Date(w.year, time.Month(w.month), w.day+days, w.hour, w.minute, 0, 0, time.UTC)
	begins, ends := at.ZoneBounds()
	if wallOf(at) != wallOf(utc) {
		if !ends.IsZero() && ends.Sub(at) < at.Sub(begins) { // left out: the nearest change
			return ends
		}
		return begins
	}
	if begins.IsZero() {
		return at
	}
	_, before := begins.Add(-time.Second).Zone()
	if first := utc.Add(-time.Duration(before) * time.Second); first.Before(begins) {
		return first.In(zone)
	}
	return at
}

// parse reads and checks a rotation. Errors are Invalid and name file and line, or the key.
func parse(file string, text []byte) (*plan, error) {
	var w written
	if err := document.Decode(file, text, &w); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(w.TimeZone)
	if err != nil || w.TimeZone == "" || w.TimeZone == "Local" {
		return nil, fault.New(fault.Invalid, "%s: time_zone: %.100q is no time zone such as Europe/Berlin", file, w.TimeZone)
	}
	p := &plan{zone: zone}
	people, order, errs := w.people()
	layers := w.Layers
	switch {
	case len(layers) == 0:
		layers = []layer{{Name: "only", People: order, Start: w.Start, Every: w.Every}}
	case w.Start != "" || w.Every != (every{}):
		errs = append(errs, errors.New("start: stands in each of the layers, where there are any; so does every"))
	}
	for i, l := range layers {
		made, err := l.check(people, zone)
		if err == nil && slices.ContainsFunc(p.layers, func(other turns) bool { return other.name == l.Name }) {
			err = fmt.Errorf("name: %q is taken", l.Name)
		}
		if err != nil && len(w.Layers) > 0 {
			err = fmt.Errorf("layers[%d].%w", i, err)
		}
		errs = append(errs, err)
		p.layers = append(p.layers, made)
	}
	errs = append(errs, p.override(w.Overrides, people))
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("%s: %w", file, err))
	}
	return p, nil
}

func (w written) people() (map[string]Person, []string, []error) {
	people := map[string]Person{}
	var order []string
	var errs []error
	if len(w.People) == 0 || len(w.People) > mostPeople {
		errs = append(errs, fmt.Errorf("people: %d; from 1 to %d are needed", len(w.People), mostPeople))
	}
	for i, m := range w.People {
		p := Person{Person: question.Person{Name: m.Name, Roles: m.Roles}, Email: m.Email, Slack: m.Slack}
		err := p.Check()
		address, parsing := mail.ParseAddress(m.Email)
		_, taken := people[m.Name]
		switch {
		case err != nil:
		case taken:
			err = fmt.Errorf("name: %q is taken", m.Name)
		case m.Email == "" && m.Slack == "":
			err = errors.New("email: nobody can reach them; give email or slack")
		case m.Email != "" && (parsing != nil || address.Address != m.Email):
			err = fmt.Errorf("email: %.100q is no address such as name@example.com", m.Email)
		case m.Slack != "" && !slackID.MatchString(m.Slack):
			err = fmt.Errorf("slack: %.100q is no user's id such as U0123456789", m.Slack)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("people[%d].%w", i, err))
		}
		people[m.Name] = p
		order = append(order, m.Name)
	}
	return people, order, errs
}

func (l layer) check(people map[string]Person, zone *time.Location) (turns, error) {
	t := turns{name: l.Name, every: l.Every, zone: zone}
	start, err := time.Parse(localTime, l.Start)
	switch {
	case err != nil:
		return t, fmt.Errorf("start: %.100q is no local time such as 2026-01-05T09:00", l.Start)
	case (l.Every.Days > 0) == (l.Every.Hours > 0), l.Every.Days < 0, l.Every.Hours < 0:
		return t, errors.New("every: needs either days or hours")
	case l.Every.Days > longestEvery, l.Every.Hours > 24*longestEvery:
		return t, fmt.Errorf("every: longer than %d days", longestEvery)
	case l.Name == "":
		return t, errors.New("name: there is none")
	case len(l.People) == 0, len(l.People) > mostPeople:
		return t, fmt.Errorf("people: %d; from 1 to %d are needed", len(l.People), mostPeople)
	}
	t.start = wallOf(start)
	for i, name := range l.People {
		person, known := people[name]
		if !known {
			return t, fmt.Errorf("people[%d]: %.100q is not among people", i, name)
		}
		t.people = append(t.people, person)
	}
	return t, nil
}

func (p *plan) override(overrides []override, people map[string]Person) error {
	if len(overrides) > mostEntries {
		return fmt.Errorf("overrides: %d; at most %d are read", len(overrides), mostEntries)
	}
	var errs []error
	for i, o := range overrides {
		from, fromErr := time.Parse(localTime, o.From)
		until, untilErr := time.Parse(localTime, o.Until)
		person, known := people[o.Person]
		at := slices.IndexFunc(p.layers, func(t turns) bool { return t.name == o.Layer })
		if o.Layer == "" {
			at = 0
		}
		c := cover{person: person, from: wallOf(from).in(p.zone, 0), until: wallOf(until).in(p.zone, 0)}
		var err error
		switch {
		case !known:
			err = fmt.Errorf("person: %.100q is not among people", o.Person)
		case fromErr != nil:
			err = fmt.Errorf("from: %.100q is no local time such as 2026-01-05T09:00", o.From)
		case untilErr != nil:
			err = fmt.Errorf("until: %.100q is no local time such as 2026-01-05T09:00", o.Until)
		case !c.from.Before(c.until):
			err = errors.New("until: not after from")
		case at < 0:
			err = fmt.Errorf("layer: there is no %.100q", o.Layer)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("overrides[%d].%w", i, err))
			continue
		}
		p.layers[at].overrides = append(p.layers[at].overrides, c)
	}
	return errors.Join(errs...)
}

// handover is the moment of the nth handover, from 0.
func (t turns) handover(n int) time.Time {
	if t.every.Days > 0 {
		return t.start.in(t.zone, n*t.every.Days)
	}
	return t.start.in(t.zone, 0).Add(time.Duration(n*t.every.Hours) * time.Hour)
}

// turn tells how many handovers there were at a time, less one: -1 before the first.
func (t turns) turn(at time.Time) int {
	first := t.handover(0)
	if at.Before(first) {
		return -1
	}
	length := time.Duration(t.every.Days)*24*time.Hour + time.Duration(t.every.Hours)*time.Hour
	n := int(at.Sub(first) / length)
	for at.Before(t.handover(n)) {
		n--
	}
	for !at.Before(t.handover(n + 1)) {
		n++
	}
	return n
}

// who is on call in the layer at a time. Of overrides that overlap, the one written last counts.
func (t turns) who(at time.Time) (Person, bool) {
	for _, c := range slices.Backward(t.overrides) {
		if !at.Before(c.from) && at.Before(c.until) {
			return c.person, true
		}
	}
	n := t.turn(at)
	if n < 0 {
		return Person{}, false
	}
	return t.people[n%len(t.people)], true
}

// edges are the moments near a time at which somebody else may be on call: just before it, or after.
func (t turns) edges(at time.Time, after bool) []time.Time {
	n := t.turn(at)
	var all []time.Time
	add := func(edge time.Time) {
		if edge.After(at) == after {
			all = append(all, edge)
		}
	}
	if n >= 0 {
		add(t.handover(n))
	}
	add(t.handover(n + 1))
	for _, c := range t.overrides {
		add(c.from)
		add(c.until)
	}
	return all
}

func (p *plan) who(at time.Time) []Person {
	var all []Person
	for _, t := range p.layers {
		person, is := t.who(at)
		if is && !slices.ContainsFunc(all, func(known Person) bool { return known.Name == person.Name }) {
			all = append(all, person)
		}
	}
	return all
}

// mostEdges is how many changes are looked through for one by which somebody else is on call.
const mostEdges = 400

// shift finds the nearest changes around a time by which others are on call.
func (p *plan) shift(at time.Time) Shift {
	s := Shift{People: p.who(at)}
	from := at
	for range mostEdges {
		edge, found := p.edge(from, false)
		if !found {
			break
		}
		s.From = edge
		from = edge.Add(-time.Nanosecond)
		if !same(p.who(from), s.People) {
			break
		}
	}
	until := at
	for range mostEdges {
		edge, found := p.edge(until, true)
		if !found {
			break
		}
		until = edge
		if !same(p.who(edge), s.People) {
			s.Until = edge
			break
		}
	}
	return s
}

// edge is the next change after a time, or the last one up to it.
func (p *plan) edge(at time.Time, after bool) (time.Time, bool) {
	var all []time.Time
	for _, t := range p.layers {
		all = append(all, t.edges(at, after)...)
	}
	if len(all) == 0 {
		return time.Time{}, false
	}
	if after {
		return slices.MinFunc(all, time.Time.Compare), true
	}
	return slices.MaxFunc(all, time.Time.Compare), true
}

// fileRotation is a rotation in a file, read again when it changes. One that is wrong leaves the last right one
// in force.
type fileRotation struct {
	path   string
	logger *slog.Logger

	mu    sync.Mutex
	plan  *plan
	mark  string // size and time of the file that was read last
	doubt string // the mistake that was logged
}

func openFile(path string, logger *slog.Logger) (*fileRotation, error) {
	f := &fileRotation{path: path, logger: logger}
	mark, err := f.stat()
	if err != nil {
		return nil, err
	}
	f.plan, err = f.read()
	f.mark = mark
	return f, err
}

func (f *fileRotation) stat() (string, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, fmt.Errorf("file: %w", err))
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano()), nil
}

func (f *fileRotation) read() (*plan, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("file: %w", err))
	}
	text, err := io.ReadAll(io.LimitReader(file, mostBytes+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("file: %w", err))
	}
	return parse(f.path, text)
}

func (f *fileRotation) shift(ctx context.Context, at time.Time) (Shift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mark, err := f.stat()
	if err == nil && mark != f.mark {
		var fresh *plan
		if fresh, err = f.read(); err == nil {
			f.plan = fresh
		}
		f.mark = mark
	}
	if err != nil && f.doubt != err.Error() {
		f.doubt = err.Error()
		f.logger.WarnContext(ctx, "rotation stays as it was", "err", f.doubt)
	}
	return f.plan.shift(at), nil
}
