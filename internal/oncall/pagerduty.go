package oncall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/secret"
)

// PagerDuty is a schedule there.
type PagerDuty struct {
	// Schedule is its id, as at the end of its address.
	Schedule string `yaml:"schedule"`
	// Token is a REST API key that may read.
	Token secret.Secret `yaml:"token"`
	// URL is where the REST API is; https://api.pagerduty.com if empty.
	URL string `yaml:"url"`
	// Roles are what whoever is on call has here: PagerDuty knows nothing of ours.
	Roles []string `yaml:"roles"`
}

const (
	defaultURL = "https://api.pagerduty.com"
	// fresh is how long an answer is taken for what is.
	fresh = time.Minute
	// ahead is how much of the schedule is asked for: it is what is known while PagerDuty can't be reached.
	ahead = 7 * 24 * time.Hour
	// pageSize keeps an answer below what the courier takes; mostPages bounds how many there are.
	pageSize  = 25
	mostPages = 12
)

var scheduleID = regexp.MustCompile(`^[A-Z0-9]{4,30}$`)

// schedule is a rotation at PagerDuty, of which the last that was known is kept.
type schedule struct {
	config  PagerDuty
	courier *courier.Courier
	now     func() time.Time
	logger  *slog.Logger

	mu      sync.Mutex
	entries []entry
	from    time.Time // what is known begins
	asked   time.Time
}

// entry is one person's time on call; a zero end is none.
type entry struct {
	person      Person
	level       int
	start, ends time.Time
}

func openSchedule(c PagerDuty, o Options) (*schedule, error) {
	if c.URL == "" {
		c.URL = defaultURL
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	var errs []error
	if !scheduleID.MatchString(c.Schedule) {
		errs = append(errs, fmt.Errorf("pagerduty.schedule: %.100q is no schedule's id such as PI7DH85", c.Schedule))
	}
	if c.Token.IsZero() || strings.ContainsFunc(c.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, errors.New("pagerduty.token: needs a REST API key"))
	}
	if err := courier.CheckURL(c.URL); err != nil {
		errs = append(errs, fmt.Errorf("pagerduty.url: %w", err))
	}
	if len(c.Roles) == 0 {
		errs = append(errs, errors.New("pagerduty.roles: there is none: what may whoever is on call do?"))
	}
	return &schedule{config: c, courier: o.Courier, now: o.Now, logger: o.Logger}, errors.Join(errs...)
}

// shift asks PagerDuty at most once a minute. While it can't be reached, what it last said counts, as far ahead
// as it said it.
func (s *schedule) shift(ctx context.Context, at time.Time) (Shift, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.asked) >= fresh || !s.covers(at) {
		from := at
		if now := s.now(); at.After(now) && at.Before(now.Add(ahead)) {
			from = now // so that what is known covers both
		}
		entries, err := s.ask(ctx, from)
		switch {
		case err == nil:
			s.entries, s.from, s.asked = entries, from, s.now()
		case !s.covers(at):
			return Shift{}, err
		default:
			s.logger.WarnContext(ctx, "pagerduty does not say who is on call; the last known counts", "err", err.Error())
			s.asked = s.now() // and is not asked again for a minute
		}
	}
	return s.at(at), nil
}

func (s *schedule) covers(at time.Time) bool {
	return !s.from.IsZero() && !at.Before(s.from) && at.Before(s.from.Add(ahead))
}

func (s *schedule) at(at time.Time) Shift {
	shift := Shift{People: s.who(at)}
	for _, e := range s.entries {
		for _, edge := range []time.Time{e.start, e.ends} {
			switch {
			case edge.IsZero():
			case !edge.After(at) && edge.After(shift.From):
				shift.From = edge
			case edge.After(at) && (shift.Until.IsZero() || edge.Before(shift.Until)) && !same(s.who(edge), shift.People):
				shift.Until = edge
			}
		}
	}
	return shift
}

// who is on call at a time, the first escalation level first.
func (s *schedule) who(at time.Time) []Person {
	var all []Person
	for _, e := range s.entries { // by level
		on := !at.Before(e.start) && (e.ends.IsZero() || at.Before(e.ends))
		if on && !slices.ContainsFunc(all, func(known Person) bool { return known.Name == e.person.Name }) {
			all = append(all, e.person)
		}
	}
	return all
}

// page is an answer of GET /oncalls.
type page struct {
	Oncalls []struct {
		Level int       `json:"escalation_level"`
		Start time.Time `json:"start"` // null is always
		End   time.Time `json:"end"`
		User  struct {
			Email string `json:"email"`
		} `json:"user"`
	} `json:"oncalls"`
	More bool `json:"more"`
}

// ask reads the schedule from a time on.
func (s *schedule) ask(ctx context.Context, from time.Time) ([]entry, error) {
	var all []entry
	for n := range mostPages {
		query := url.Values{
			"schedule_ids[]": {s.config.Schedule}, "include[]": {"users"}, "time_zone": {"UTC"},
			"since": {from.UTC().Format(time.RFC3339)}, "until": {from.Add(ahead).UTC().Format(time.RFC3339)},
			"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(n * pageSize)},
		}
		reply, err := s.courier.Get(ctx, courier.Parcel{
			Receiver: "pagerduty schedule " + s.config.Schedule, URL: s.config.URL + "/oncalls?" + query.Encode(),
			Header: http.Header{
				"Accept":        {"application/vnd.pagerduty+json;version=2"},
				"Authorization": {"Token token=" + s.config.Token.Reveal()},
			},
			Secrets: []secret.Secret{s.config.Token},
		})
		if err != nil {
			return nil, err
		}
		var got page
		if err := json.Unmarshal(reply.Body, &got); err != nil {
			return nil, fault.New(fault.Transient, "pagerduty schedule %s: an answer that is not JSON, or too long", s.config.Schedule)
		}
		for _, on := range got.Oncalls {
			person := Person{Person: question.Person{Name: on.User.Email, Roles: s.config.Roles}, Email: on.User.Email}
			if err := person.Check(); err != nil {
				s.logger.WarnContext(ctx, "somebody on call has an address that can't be used", "err", err.Error())
				continue
			}
			all = append(all, entry{person: person, level: on.Level, start: on.Start, ends: on.End})
		}
		if !got.More {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.level - b.level })
	return all, nil
}
