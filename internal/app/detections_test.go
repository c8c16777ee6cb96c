package app_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/event"
)

const admins = `title: Known admin signs in
id: 1a2b3c4d-0000-4000-8000-000000000001
logsource: {product: aws, service: cloudtrail}
detection:
  s: {eventName: ConsoleLogin, userIdentity.userName|expand: "%admins%"}
  condition: s
`

const expected = `title: Bob is expected
id: 1a2b3c4d-0000-4000-8000-000000000002
logsource: {product: aws, service: cloudtrail}
filter:
  rules: [1a2b3c4d-0000-4000-8000-000000000001]
  s: {userIdentity.userName: bob}
  condition: not s
`

const owner = "owner: sec@example.com\nreason: bob tests\nexpires: 2026-06-01T00:00:00Z\n"

var spring = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

// loadAt reads rules with lists, as they are at a time.
func loadAt(t *testing.T, at time.Time, texts map[string]string) (*app.Content, error) {
	t.Helper()
	folder := files(t, texts)
	specs := app.AllSpecs(app.Defaults())
	c := app.ContentConfig{Rules: []string{filepath.Join(folder, "rules")}, Lookups: []string{filepath.Join(folder, "lists")}}
	return app.LoadContent(c, specs, specs, at)
}

// finds tells whether a content finds something in bob's signing in.
func finds(t *testing.T, c *app.Content) bool {
	t.Helper()
	seen := c.Detector.Detect([]event.Event{{
		Key: "k", Source: event.CloudTrail, Time: spring, Raw: []byte(`{"eventName":"ConsoleLogin","userIdentity":{"userName":"bob"}}`),
	}})
	return len(seen.Findings) == 1
}

func TestListsAndFilters(t *testing.T) {
	t.Parallel()
	hashes := map[string]string{}
	for name, test := range map[string]struct {
		list, filter string
		at           time.Time
		finds        bool
	}{
		"on the list":           {"alice\nbob\n", "", spring, true},
		"not on the list":       {"alice\n", "", spring, false},
		"filtered":              {"alice\nbob\n", expected + owner, spring, false},
		"the filter has ended":  {"alice\nbob\n", expected + owner, spring.AddDate(0, 1, 0), true},
		"the last moment of it": {"alice\nbob\n", expected + owner, spring.AddDate(0, 1, 0).Add(-1), false},
	} {
		texts := map[string]string{"rules/r.yaml": admins, "lists/admins.txt": test.list}
		if test.filter != "" {
			texts["rules/f.yaml"] = test.filter
		}
		c, err := loadAt(t, test.at, texts)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := finds(t, c); got != test.finds {
			t.Errorf("%s: found: %v, want %v", name, got, test.finds)
		}
		hashes[name] = c.Hash()
		if inForce := name == "filtered" || name == "the last moment of it"; inForce != (len(c.Filters) == 1) || inForce == c.Until.IsZero() {
			t.Errorf("%s: %d filters in force, until %s", name, len(c.Filters), c.Until)
		}
	}
	if hashes["on the list"] == hashes["not on the list"] || hashes["on the list"] == hashes["filtered"] {
		t.Errorf("contents that find other things have one hash: %v", hashes)
	}
}

func TestFiltersAreOwned(t *testing.T) {
	t.Parallel()
	for want, filter := range map[string]string{
		"whose it is":             expected + "reason: r\nexpires: 2026-06-01T00:00:00Z\n",
		"is expected, by reason":  expected + "owner: o\nexpires: 2026-06-01T00:00:00Z\n",
		"at the latest in a year": expected + "owner: o\nreason: r\n",
		"a filter ends":           expected + "owner: o\nreason: r\nexpires: 2030-01-01T00:00:00Z\n",
	} {
		_, err := loadAt(t, spring, map[string]string{"rules/r.yaml": admins, "rules/f.yaml": filter, "lists/admins.txt": "bob\n"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "f.yaml:1") {
			t.Errorf("got %v, want file, line and %q", err, want)
		}
	}
}

// A correlation that needs more observations than are kept could never hold.
func TestCorrelationsThatCountTooFarAreRefused(t *testing.T) {
	t.Parallel()
	far := "title: Far\nid: 1a2b3c4d-0000-4000-8000-000000000003\ncorrelation: {type: event_count, rules: [1a2b3c4d-0000-4000-8000-000000000001], " +
		"group-by: [eventName], timespan: 1h, condition: {gte: 10001}}\n"
	_, err := loadAt(t, spring, map[string]string{"rules/r.yaml": admins, "rules/c.yaml": far, "lists/admins.txt": "bob\n"})
	if err == nil || !strings.Contains(err.Error(), "it needs 10001 matches") {
		t.Errorf("got %v, want it refused", err)
	}
}
