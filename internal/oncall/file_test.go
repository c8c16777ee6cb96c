package oncall_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/oncall"
)

const people = `people:
  - {name: ana, email: ana@example.com, slack: U0AAAAAAA, roles: [incident_analyst]}
  - {name: ben, email: ben@example.com, roles: [incident_analyst]}
  - {name: cem, slack: U0CCCCCCC, roles: [incident_analyst, security_engineer]}
`

// rotation writes a file and reads it.
func rotation(tb testing.TB, text string) (*oncall.Rotations, string, *strings.Builder, error) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "rotation.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	var log strings.Builder
	r, err := oncall.New(oncall.Config{"security": {File: path}}, oncall.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	return r, path, &log, err
}

// whoAt names who is on call at a time, written in RFC 3339.
func whoAt(tb testing.TB, r *oncall.Rotations, at string) string {
	tb.Helper()
	when, err := time.Parse(time.RFC3339, at)
	if err != nil {
		tb.Fatal(err)
	}
	people, err := r.Who(tb.Context(), "security", when)
	if err != nil {
		tb.Fatal(err)
	}
	var names []string
	for _, p := range people {
		names = append(names, p.Name)
	}
	return strings.Join(names, ",")
}

func TestHandovers(t *testing.T) {
	t.Parallel()
	const (
		// In Berlin clocks go forward on 2026-03-29 from 02:00 to 03:00, and back on 2026-10-25 from 03:00 to 02:00.
		daily   = "time_zone: Europe/Berlin\n" + people + "start: 2026-03-27T09:00\nevery: {days: 1}\n"
		hourly  = "time_zone: Europe/Berlin\n" + people + "start: 2026-03-28T20:00\nevery: {hours: 12}\n"
		gap     = "time_zone: Europe/Berlin\n" + people + "start: 2026-03-28T02:30\nevery: {days: 1}\n"
		twice   = "time_zone: Europe/Berlin\n" + people + "start: 2026-10-24T02:30\nevery: {days: 1}\n"
		weekly  = "time_zone: America/New_York\n" + people + "start: 2026-01-05T09:00\nevery: {days: 7}\n"
		covered = weekly + "overrides:\n  - {person: cem, from: 2026-01-06T20:00, until: 2026-01-07T08:00}\n" +
			"  - {person: ben, from: 2026-01-07T00:00, until: 2026-01-07T04:00}\n"
		// Lord Howe's clocks change by half an hour.
		half   = "time_zone: Australia/Lord_Howe\n" + people + "start: 2026-04-04T01:45\nevery: {days: 1}\n"
		layers = "time_zone: UTC\n" + people + "layers:\n  - {name: first, people: [ana, ben], start: 2026-01-01T00:00, every: {days: 1}}\n" +
			"  - {name: second, people: [cem, ana], start: 2026-01-02T00:00, every: {days: 1}}\n" +
			"overrides:\n  - {person: ben, from: 2026-01-04T00:00, until: 2026-01-04T12:00, layer: second}\n"
	)
	for name, test := range map[string]struct {
		text string
		at   map[string]string
	}{
		"by the calendar, over both changes": {daily, map[string]string{
			"2026-03-27T08:59:59+01:00": "", "2026-03-27T09:00:00+01:00": "ana", "2026-03-28T08:59:59+01:00": "ana",
			"2026-03-28T09:00:00+01:00": "ben", "2026-03-29T08:59:59+02:00": "ben", "2026-03-29T09:00:00+02:00": "cem",
			"2026-03-30T08:59:59+02:00": "cem", "2026-03-30T09:00:00+02:00": "ana",
			"2026-10-25T08:59:59+01:00": "ben", "2026-10-25T09:00:00+01:00": "cem", // 212 days after the first
		}},
		"hours that pass": {hourly, map[string]string{
			"2026-03-28T20:00:00+01:00": "ana", "2026-03-29T08:59:59+02:00": "ana", "2026-03-29T09:00:00+02:00": "ben", "2026-03-29T21:00:00+02:00": "cem",
		}},
		"at a time that is left out": {gap, map[string]string{
			"2026-03-29T01:59:59+01:00": "ana", "2026-03-29T03:00:00+02:00": "ben", "2026-03-30T02:29:59+02:00": "ben", "2026-03-30T02:30:00+02:00": "cem",
		}},
		"at a time that comes twice": {twice, map[string]string{
			"2026-10-25T02:29:59+02:00": "ana", "2026-10-25T02:30:00+02:00": "ben", "2026-10-25T02:15:00+01:00": "ben",
			"2026-10-25T02:30:00+01:00": "ben", "2026-10-26T02:30:00+01:00": "cem",
		}},
		"half an hour": {half, map[string]string{ // on 2026-04-05 clocks go back from 02:00 to 01:30
			"2026-04-05T01:44:59+11:00": "ana", "2026-04-05T01:45:00+11:00": "ben", "2026-04-05T01:40:00+10:30": "ben", "2026-04-06T01:45:00+10:30": "cem",
		}},
		"by weeks, far ahead": {weekly, map[string]string{
			"2026-01-05T13:59:59Z": "", "2026-01-05T14:00:00Z": "ana", "2026-01-12T14:00:00Z": "ben", "2026-07-06T12:59:59Z": "ben",
			"2026-07-06T13:00:00Z": "cem", "2046-01-01T13:59:59Z": "ben", "2046-01-01T14:00:00Z": "cem",
		}},
		"overrides": {covered, map[string]string{
			"2026-01-07T00:59:59Z": "ana", "2026-01-07T01:00:00Z": "cem", "2026-01-07T05:00:00Z": "ben", "2026-01-07T09:00:00Z": "cem", "2026-01-07T13:00:00Z": "ana",
		}},
		"layers": {layers, map[string]string{
			"2025-12-31T23:59:59Z": "", "2026-01-01T00:00:00Z": "ana", "2026-01-02T00:00:00Z": "ben,cem", "2026-01-03T00:00:00Z": "ana",
			"2026-01-04T00:00:00Z": "ben", "2026-01-04T12:00:00Z": "ben,cem",
		}},
	} {
		r, _, _, err := rotation(t, test.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for at, want := range test.at {
			if got := whoAt(t, r, at); got != want {
				t.Errorf("%s: at %s %q is on call, want %q", name, at, got, want)
			}
		}
	}
}

// Every moment of a year has somebody, shifts follow each other without a gap, and none is longer or shorter than
// the calendar makes it.
func TestShiftsFollowEachOther(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"} {
		for _, start := range []string{"00:00", "00:30", "01:30", "02:00", "02:30", "03:00", "23:59"} {
			r, _, _, err := rotation(t, "time_zone: "+zone+"\n"+people+"start: 2010-12-20T"+start+"\nevery: {days: 1}\n")
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2010, 12, 25, 0, 0, 0, 0, time.UTC)
			before, err := r.Shift(t.Context(), "security", at)
			if err != nil {
				t.Fatal(err)
			}
			for range 400 { // Apia left out 2011-12-30
				next, err := r.Shift(t.Context(), "security", before.Until)
				if err != nil || len(next.People) != 1 || !next.From.Equal(before.Until) {
					t.Fatalf("%s, %s: after %v comes %v, %v", zone, start, before, next, err)
				}
				shortest := 22 * time.Hour
				if zone == "Pacific/Apia" { // its handover on the day that was left out is at the day's end
					shortest = time.Minute
				}
				if length := next.Until.Sub(next.From); length < shortest || length > 26*time.Hour {
					t.Errorf("%s, %s: the shift from %s lasts %s", zone, start, next.From, length)
				}
				before = next
			}
		}
	}
}

func TestAShiftOfOnePersonHasNoEnd(t *testing.T) {
	t.Parallel()
	r, _, _, err := rotation(t, "time_zone: UTC\npeople: [{name: ana, email: ana@example.com, roles: [admin]}]\nstart: 2026-01-01T00:00\nevery: {days: 1}\n")
	if err != nil {
		t.Fatal(err)
	}
	shift, err := r.Shift(t.Context(), "security", time.Date(2026, 1, 20, 0, 0, 0, 0, time.UTC))
	if err != nil || !shift.Until.IsZero() || !shift.From.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v, %v", shift, err)
	}
}

func TestTheFileIsReadAgain(t *testing.T) {
	t.Parallel()
	text := "time_zone: UTC\n" + people + "start: 2026-01-01T00:00\nevery: {days: 7}\n"
	r, path, log, err := rotation(t, text)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const at = "2026-01-02T00:00:00Z"
	write(text + "overrides: [{person: cem, from: 2026-01-01T12:00, until: 2026-01-03T00:00}]\n")
	if got := whoAt(t, r, at); got != "cem" {
		t.Errorf("%q is on call, want cem", got)
	}
	write(text + "overrides: [{person: dan, from: 2026-01-01T12:00, until: 2026-01-03T00:00}]\n")
	for range 3 {
		if got := whoAt(t, r, at); got != "cem" {
			t.Errorf("a mistake in the file: %q is on call, want cem as before", got)
		}
	}
	if got := strings.Count(log.String(), "not among people"); got != 1 {
		t.Errorf("the mistake is logged %d times, want once: %s", got, log)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := whoAt(t, r, at); got != "cem" {
		t.Errorf("the file is gone: %q is on call, want cem as before", got)
	}
	write(text)
	if got := whoAt(t, r, at); got != "ana" {
		t.Errorf("%q is on call, want ana", got)
	}
}

func TestMistakesInAFile(t *testing.T) {
	t.Parallel()
	const zone, turns = "time_zone: UTC\n", "start: 2026-01-01T00:00\nevery: {days: 1}\n"
	for text, want := range map[string]string{
		people + turns:                                                                                            "time_zone",
		"time_zone: Local\n" + people + turns:                                                                     "time_zone",
		"time_zone: ../../etc/passwd\n" + people + turns:                                                          "time_zone",
		zone + turns:                                                                                              "people",
		zone + people + "every: {days: 1}\n":                                                                      "start",
		zone + people + "start: 2026-01-01\n":                                                                     "start",
		zone + people + "start: 2026-01-01T00:00\n":                                                               "every",
		zone + people + turns + "every2: 1\n":                                                                     "every2",
		zone + people + "start: 2026-01-01T00:00\nevery: {days: 1, hours: 2}\n":                                   "every",
		zone + people + "start: 2026-01-01T00:00\nevery: {hours: -1}\n":                                           "every",
		zone + people + "start: 2026-01-01T00:00\nevery: {days: 100000}\n":                                        "every",
		zone + "people: [{name: ana, roles: [admin]}]\n" + turns:                                                  "people[0].email",
		zone + "people: [{name: ana, email: x, roles: [admin]}]\n" + turns:                                        "people[0].email",
		zone + "people: [{name: ana, slack: ana, roles: [admin]}]\n" + turns:                                      "people[0].slack",
		zone + "people: [{name: ana, email: a@example.com}]\n" + turns:                                            "people[0].roles",
		zone + "people: [{name: \"link:x\", email: a@example.com, roles: [admin]}]\n" + turns:                     "people[0].name",
		zone + people + turns + "overrides: [{person: eve, from: 2026-01-01T00:00, until: 2026-01-02T00:00}]\n":   "overrides[0].person",
		zone + people + turns + "overrides: [{person: ana, from: 2026-01-02T00:00, until: 2026-01-02T00:00}]\n":   "overrides[0].until",
		zone + people + turns + "overrides: [{person: ana, from: now, until: 2026-01-02T00:00}]\n":                "overrides[0].from",
		zone + people + "layers: [{name: a, people: [eve], start: 2026-01-01T00:00, every: {days: 1}}]\n":         "layers[0].people",
		zone + people + turns + "layers: [{name: a, people: [ana], start: 2026-01-01T00:00, every: {days: 1}}]\n": "start",
	} {
		if _, _, _, err := rotation(t, text); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "oncall.security: ") {
			t.Errorf("got %v, want %s named, of:\n%s", err, want, text)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("time_zone: Europe/Berlin\n"+people+"start: 2026-01-01T00:00\nevery: {days: 1}\n", int64(1770000000))
	f.Add("time_zone: UTC\n"+people+"start: 9999-01-01T00:00\nevery: {hours: 1}\n", int64(-1))
	f.Fuzz(func(t *testing.T, text string, at int64) {
		r, _, _, err := rotation(t, text)
		if err != nil {
			return
		}
		when := time.Unix(at%(1<<35), 0)
		shift, err := r.Shift(t.Context(), "security", when)
		if err != nil || !shift.Until.IsZero() && !shift.Until.After(when) || shift.From.After(when) {
			t.Errorf("at %s got %+v, %v", when, shift, err)
		}
	})
}
