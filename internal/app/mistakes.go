package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/cloudevents"
	"github.com/riposte-sec/riposte/internal/run"
)

// keyed is a mistake in the configuration, by the key that has it.
type keyed struct {
	key    string
	reason string
}

func (k *keyed) Error() string { return k.key + ": " + k.reason }

func wrong(key, format string, args ...any) error {
	return fault.Wrap(fault.Invalid, &keyed{key: key, reason: fmt.Sprintf(format, args...)})
}

// locate adds file and line to mistakes that know their key.
func locate(path string, err error) error {
	if err == nil {
		return nil
	}
	text, reading := os.ReadFile(path) //nolint:gosec // the operator's configuration, read before
	if reading != nil {
		return err
	}
	doc, parsing := document.Parse(path, text)
	if parsing != nil {
		return err
	}
	var all []error
	for _, one := range split(err) {
		if mistake, knows := keyOf(doc, one); knows {
			one = doc.Errorf(mistake.key, "%s", mistake.reason)
		}
		all = append(all, one)
	}
	return fault.Wrap(fault.Invalid, errors.Join(all...))
}

// split gives the mistakes of what was joined, and joined again.
func split(err error) []error {
	many, several := err.(interface{ Unwrap() []error })
	if several && err.Error() == errors.Join(many.Unwrap()...).Error() { // not one that merely wraps two
		var all []error
		for _, one := range many.Unwrap() {
			all = append(all, split(one)...)
		}
		return all
	}
	if plain, ok := err.(*fault.Error); ok && plain.Message == "" && plain.Hint == "" && plain.Err != nil { //nolint:errorlint // not of one within
		return split(plain.Err)
	}
	return []error{err}
}

// leadingKey is how packages begin what they say about their part of the configuration.
var leadingKey = regexp.MustCompile(`^([a-z_]+(?:\.[A-Za-z0-9_-]+|\[\d+\])*): `)

// keyOf tells which key a mistake is about. Packages name the key that they know; what they say first about
// it may name one below.
func keyOf(doc *document.Document, err error) (keyed, bool) {
	if mistake, ok := errors.AsType[*keyed](err); ok {
		return *mistake, true
	}
	text := err.Error()
	found := leadingKey.FindStringSubmatch(text)
	if found == nil || !isSection(found[1]) {
		return keyed{}, false
	}
	mistake := keyed{key: found[1], reason: strings.TrimPrefix(text, found[0])}
	for below := leadingKey.FindStringSubmatch(mistake.reason); below != nil; below = leadingKey.FindStringSubmatch(mistake.reason) {
		deeper := mistake.key + "." + below[1]
		if doc.Pos(deeper) == doc.Pos(mistake.key) {
			break
		}
		mistake = keyed{key: deeper, reason: strings.TrimPrefix(mistake.reason, below[0])}
	}
	return mistake, true
}

// isSection reports whether a key begins like one of the configuration's.
func isSection(key string) bool {
	section := key[:len(key)-len(strings.TrimLeft(key, "abcdefghijklmnopqrstuvwxyz_"))]
	for field := range reflect.TypeFor[Config]().Fields() {
		if field.Tag.Get("yaml") == section {
			return true
		}
	}
	return false
}

// check finds what is wrong with the configuration as far as it can be told without a cloud and a store.
func (c *Config) check() error {
	errs := []error{c.checkServer(), c.checkStore(), c.checkRespond(), c.checkSources(), c.AWS.Check(), c.Telemetry.Check()}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		errs = append(errs, wrong("log.format", "%q is neither text nor json", c.Log.Format))
	}
	if c.Triage.Window <= 0 || c.Triage.Window > 7*24*time.Hour {
		errs = append(errs, wrong("triage.window", "%s is not between 1s and 168h", c.Triage.Window))
	}
	if c.Triage.Lateness < 0 || c.Triage.Lateness > 24*time.Hour {
		errs = append(errs, wrong("triage.lateness", "%s is not between 0s and 24h", c.Triage.Lateness))
	}
	_, err := c.suppressions()
	errs = append(errs, err)
	_, err = c.protections(time.Time{})
	errs = append(errs, err)
	_, err = auth.New(c.Auth, time.Now)
	errs = append(errs, err)
	_, err = cloudevents.New(c.CloudEvents, "", nil, time.Now)
	errs = append(errs, err)
	if c.AWS.SecurityHub.Report && !c.AWS.Enabled {
		errs = append(errs, wrong("aws.securityhub.report", "it is told with AWS's credentials: set aws.enabled"))
	}
	var cloud *aws.Cloud
	if c.AWS.Enabled {
		cloud = new(aws.Cloud) // it describes its actions
	}
	told, err := newMessengers(c, courier.New(nil, time.Now), time.Now, slog.New(slog.DiscardHandler))
	if err == nil {
		_, _, err = c.actions(cloud, told)
	}
	return errors.Join(append(errs, err, c.checkPeople())...)
}

func (c *Config) checkServer() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return wrong("listen", "%q is not an address such as 127.0.0.1:8473", c.Listen)
	}
	switch {
	case (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		return wrong("tls", "certificate and key go together")
	case c.TLS.Certificate != "":
		if _, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key); err != nil {
			return wrong("tls", "%v", err)
		}
	}
	return nil
}

func (c *Config) checkStore() error {
	var errs []error
	if c.Store.Retention < 24*time.Hour {
		errs = append(errs, wrong("store.retention", "%s is less than a day", c.Store.Retention))
	}
	if scheme, _, _ := strings.Cut(c.Store.URL.Reveal(), "://"); !c.Store.URL.IsZero() && scheme != "postgres" && scheme != "postgresql" {
		errs = append(errs, wrong("store.url", "it is not a URL such as postgres://riposte@db.example.com/riposte"))
	}
	if !c.Store.LedgerKey.IsZero() {
		if _, err := ledger.ParseKey(c.Store.LedgerKey.Reveal()); err != nil {
			errs = append(errs, wrong("store.ledger_key", "it is not a key such as the ledger.key that the first start makes"))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkRespond() error {
	var errs []error
	fail := func(key, format string, args ...any) { errs = append(errs, wrong("respond."+key, format, args...)) }
	if _, err := run.ParseAutonomy(c.Respond.Autonomy); err != nil {
		fail("autonomy", "%v", err)
	}
	if c.Respond.GiveUp < 0 {
		fail("give_up", "%s is negative", c.Respond.GiveUp)
	}
	limits := c.Respond.Limits
	for key, most := range map[string]int{
		"per_hour": limits.PerHour, "per_account_hour": limits.PerAccountHour,
		"distinct_accounts": limits.DistinctAccounts, "distinct_targets": limits.DistinctTargets,
	} {
		if most < 0 {
			fail("limits."+key, "%d is negative; 0 is no limit", most)
		}
	}
	if !(limits.Percent >= 0 && limits.Percent <= 100) { // nor is what is no number
		fail("limits.percent", "%v is not between 0, for no limit, and 100", limits.Percent)
	}
	if _, known := c.Channels[c.Respond.Announce]; !known {
		fail("announce", "%q is no channel; channels are %s", c.Respond.Announce, strings.Join(slices.Sorted(maps.Keys(c.Channels)), ", "))
	}
	return errors.Join(errs...)
}

// topicForm is an SNS topic's ARN.
var topicForm = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}$`)

func (c *Config) checkSources() error {
	var errs []error
	if len(c.Sources.Queues) > 0 && !c.AWS.Enabled {
		errs = append(errs, wrong("sources.queues", "queues are read with AWS's credentials: set aws.enabled"))
	}
	for i, queue := range c.Sources.Queues {
		if _, err := queue.Source(aws.Self{}); err != nil {
			errs = append(errs, wrong(fmt.Sprintf("sources.queues[%d].url", i), "%s", strings.TrimPrefix(err.Error(), "url: ")))
		}
	}
	for i, topic := range c.Sources.SNS.Topics {
		if !topicForm.MatchString(topic) {
			errs = append(errs, wrong(fmt.Sprintf("sources.sns.topics[%d]", i),
				"%q is not a topic's ARN such as arn:aws:sns:eu-central-1:123456789012:trail", topic))
		}
	}
	return errors.Join(errs...)
}
