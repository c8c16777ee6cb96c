package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
)

// configured writes a configuration and gives its path.
func configured(tb testing.TB, text string) string {
	tb.Helper()
	return filepath.Join(files(tb, map[string]string{"riposte.yaml": text}), "riposte.yaml")
}

func TestDefaultsAreSafe(t *testing.T) {
	t.Parallel()
	c, warnings, err := app.ReadConfig("")
	if err != nil || len(warnings) != 0 {
		t.Fatal(warnings, err)
	}
	if !strings.HasPrefix(c.Listen, "127.0.0.1:") {
		t.Errorf("it listens at %s, want this machine alone", c.Listen)
	}
	if c.AWS.Enabled || c.Store.URL.IsZero() == false || len(c.Auth.Tokens) != 0 {
		t.Errorf("got %+v, want no cloud, the embedded store and nobody let in", c)
	}
	if l := c.Respond.Limits; l.PerHour == 0 || l.PerAccountHour == 0 || l.DistinctAccounts == 0 {
		t.Errorf("got %+v, want limits", l)
	}
}

func TestListeningToOthersInPlainIsWarnedOf(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]int{"0.0.0.0:8473": 1, "':8473'": 1, "192.0.2.1:80": 1, "127.0.0.1:1": 0, "localhost:1": 0, "'[::1]:1'": 0} {
		_, warnings, err := app.ReadConfig(configured(t, "listen: "+listen+"\n"))
		if err != nil || len(warnings) != want {
			t.Errorf("%s: got %q, %v; want %d warnings", listen, warnings, err, want)
		}
	}
}

func TestPathsAreOfTheFilesFolder(t *testing.T) {
	t.Parallel()
	path := configured(t, "data: state\ncontent: {rules: [rules, /abs], playbooks: [../books]}\nwasm: {modules: .}\n")
	c, _, err := app.ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	for got, want := range map[string]string{
		c.Data: filepath.Join(folder, "state"), c.Content.Rules[0]: filepath.Join(folder, "rules"), c.Content.Rules[1]: "/abs",
		c.Content.Playbooks[0]: filepath.Join(filepath.Dir(folder), "books"), c.WASM.Modules: folder,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// hash is of no token that anybody has.
const hash = "0f0e0d0c0b0a09080706050403020100f0e0d0c0b0a090807060504030201000"

// mistake is a configuration with the mistakes that are to be told of it: line, key, and part of the reason.
type mistake struct {
	text string
	line int
	key  string
	says string
}

func mistakes() map[string]mistake {
	return map[string]mistake{
		"unknown key":          {"log: {}\nlistn: x\n", 2, "listn", "listen"},
		"unknown key below":    {"respond:\n  autonomie: auto\n", 2, "respond.autonomie", "autonomy"},
		"key twice":            {"data: a\ndata: b\n", 2, "data", "1"},
		"wrong type":           {"triage:\n  window: [1]\n", 2, "triage.window", "duration"},
		"wrong duration":       {"triage:\n  window: 2 hours\n", 2, "triage.window", "24h"},
		"window":               {"triage:\n  window: 200h\n", 2, "triage.window", "168h"},
		"retention":            {"store:\n  retention: 1h\n", 2, "store.retention", "day"},
		"listen":               {"\n\nlisten: 8473\n", 3, "listen", "127.0.0.1:8473"},
		"autonomy":             {"respond:\n  autonomy: full\n", 2, "respond.autonomy", "observe, approve, auto"},
		"give up":              {"respond:\n  give_up: -1h\n", 2, "respond.give_up", "negative"},
		"limit":                {"respond:\n  limits:\n    per_hour: -1\n", 3, "respond.limits.per_hour", "negative"},
		"percent":              {"respond:\n  limits:\n    percent: 200\n", 3, "respond.limits.percent", "100"},
		"announce":             {"respond:\n  announce: nobody\n", 2, "respond.announce", "security"},
		"log format":           {"log:\n  format: xml\n", 2, "log.format", "json"},
		"log level":            {"log:\n  level: loud\n", 2, "log.level", "loud"},
		"tls half":             {"tls:\n  certificate: a.pem\n", 1, "tls", "go together"},
		"tls absent":           {"tls:\n  certificate: a.pem\n  key: b.pem\n", 1, "tls", "no such file"},
		"no aws":               {"sources:\n  queues: [{url: https://sqs.eu-central-1.amazonaws.com/123456789012/q}]\n", 2, "sources.queues", "aws.enabled"},
		"queue":                {"aws: {enabled: true}\nsources:\n  queues:\n    - url: my-queue\n", 4, "sources.queues[0].url", "my-queue"},
		"topic":                {"sources:\n  sns:\n    topics: [riposte]\n", 3, "sources.sns.topics[0]", "arn:aws:sns:"},
		"channel":              {"channels:\n  security:\n    - {use: slack.notfy, with: {channel: x}}\n", 3, "channels.security[0]", "configure its provider"},
		"slack":                {"slack:\n  channels:\n    alerts: {id: general}\n", 3, "slack.channels.alerts.id", "general"},
		"webhook":              {"webhook:\n  endpoints:\n    hook: {url: http://example.com/}\n", 3, "webhook.endpoints.hook.url", "https"},
		"email":                {"email:\n  host: \"a b\"\n  from: a@example.com\n", 2, "email.host", "name of a server"},
		"http endpoint":        {"http:\n  endpoints:\n    wall:\n      url: http://wall.example.com/\n", 4, "http.endpoints.wall.url", "https"},
		"http's await":         {"http:\n  endpoints:\n    wall: {url: https://wall.example.com, await: {path: /jobs}}\n", 3, "http.endpoints.wall.await", "until"},
		"ticket system":        {"tickets:\n  desk: {kind: jira, url: https://example.com, token: {env: PATH}}\n", 2, "tickets.desk.project", "SEC"},
		"modules":              {"wasm:\n  modules: nowhere\n", 2, "wasm.modules", "nowhere"},
		"module's pin":         {"wasm:\n  modules: .\n  pins:\n    enrich: abc\n", 4, "wasm.pins.enrich", "64 hexadecimal"},
		"token's hash":         {"auth:\n  tokens:\n    - {name: ana, sha256: abc, roles: [admin]}\n", 3, "auth.tokens[0].sha256", "64 hexadecimal"},
		"token's role":         {"auth:\n  tokens:\n    - name: ana\n      sha256: " + hash + "\n      roles: [root]\n", 5, "auth.tokens[0].roles[0]", "incident_analyst"},
		"token without roles":  {"auth:\n  tokens:\n    - {name: ana, sha256: " + hash + "}\n", 3, "auth.tokens[0].roles", "none"},
		"sender's secret":      {"auth:\n  senders:\n    - {name: a, secret: short}\n", 3, "auth.senders[0].secret", "32 bytes"},
		"secret's file":        {"store:\n  url: {file: nowhere}\n", 2, "store.url", "nowhere"},
		"secret's variable":    {"store:\n  url: {env: RIPOSTE_TEST_UNSET}\n", 2, "store.url", "RIPOSTE_TEST_UNSET"},
		"ledger key":           {"store:\n  ledger_key: nonsense\n", 2, "store.ledger_key", "key"},
		"store":                {"store:\n  url: mysql://db/riposte\n", 2, "store.url", "postgres://"},
		"traces":               {"telemetry:\n  traces: localhost:4318\n", 2, "telemetry.traces", "http://localhost:4318"},
		"share":                {"telemetry:\n  share: 1.5\n", 2, "telemetry.share", "from 0 to 1"},
		"suppression's if":     {"suppressions:\n  - {id: a, if: findng.x == 1, reason: r, owner: o, expires: " + soon + "}\n", 2, "suppressions[0].if", "findng"},
		"suppression's id":     {"suppressions:\n  - {if: 'true', reason: r, owner: o, expires: " + soon + "}\n", 2, "suppressions[0].id", "id"},
		"suppression's end":    {"suppressions:\n  - {id: a, if: 'true', reason: r, owner: o, expires: 2099-01-01T00:00:00Z}\n", 2, "suppressions[0].expires", "year"},
		"suppression's owner":  {"suppressions:\n  - {id: a, if: 'true', reason: r, expires: " + soon + "}\n", 2, "suppressions[0]", "owns"},
		"protection of all":    {"protect:\n  - {reason: r}\n", 2, "protect[0]", "kind, name, arn, account or tag"},
		"protection's kind":    {"protect:\n  - kind: server\n    reason: r\n", 2, "protect[0].kind", "server"},
		"protection's account": {"protect:\n  - account: prod\n    reason: r\n", 2, "protect[0].account", "12 digits"},
		"account":              {"aws:\n  accounts: [prod]\n", 2, "aws.accounts[0]", "12 digits"},
		"endpoint":             {"aws:\n  endpoint: localhost:5000\n", 2, "aws.endpoint", "http://"},
	}
}

var soon = time.Now().Add(240 * time.Hour).UTC().Format(time.RFC3339)

func TestMistakesAreToldByFileLineAndKey(t *testing.T) {
	t.Parallel()
	for name, m := range mistakes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := configured(t, m.text)
			_, _, err := app.ReadConfig(path)
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("got %v, want it refused", err)
			}
			told := document.Errors(err)
			if len(told) != 1 {
				t.Fatalf("got %d mistakes, want 1: %v", len(told), err)
			}
			if told[0].File != path || told[0].Line != m.line || told[0].Key != m.key || !strings.Contains(told[0].Error(), m.says) {
				t.Errorf("got %s\nwant line %d, key %s, and %q", told[0], m.line, m.key, m.says)
			}
		})
	}
}

// Each mistake is told though there are others of the same kind.
func TestAllMistakesOfAConfigurationAreTold(t *testing.T) {
	t.Parallel()
	path := configured(t, fmt.Sprintf(`listen: nowhere
suppressions:
  - {id: a, if: finding.x ==, reason: r, owner: o, expires: %[1]s}
  - {id: b, if: nothing, reason: r, owner: o, expires: %[1]s}
protect:
  - {kind: server, reason: r}
  - {reason: r}
auth:
  tokens:
    - {name: a, sha256: abc, roles: [admin]}
    - {name: b, sha256: abc, roles: [admin]}
slack:
  channels: {one: {id: x}, two: {id: y}}
`, soon))
	_, _, err := app.ReadConfig(path)
	var lines []string
	for _, m := range document.Errors(err) {
		lines = append(lines, fmt.Sprintf("%d %s", m.Line, m.Key))
	}
	want := []string{
		"1 listen", "3 suppressions[0].if", "4 suppressions[1].if", "6 protect[0].kind", "7 protect[1]",
		"10 auth.tokens[0].sha256", "11 auth.tokens[1].sha256", "13 slack.channels.one.id", "13 slack.channels.two.id",
	}
	for _, one := range want {
		if !strings.Contains(strings.Join(lines, "\n")+"\n", one+"\n") {
			t.Errorf("%q is not told; told are %q\n%v", one, lines, err)
		}
	}
}

func TestChannelsMayUseTheCloudsActions(t *testing.T) {
	t.Parallel()
	const text = "channels:\n  security:\n    - {use: aws.sns.publish, with: {topic_arn: 'arn:aws:sns:eu-central-1:123456789012:alerts'}}\n"
	if _, _, err := app.ReadConfig(configured(t, "aws: {enabled: true, region: eu-central-1}\n"+text)); err != nil {
		t.Errorf("with AWS: %v", err)
	}
	_, _, err := app.ReadConfig(configured(t, text))
	if err == nil || !strings.Contains(err.Error(), "aws.sns.publish") {
		t.Errorf("without AWS: got %v, want it refused", err)
	}
}

// A mistake in a secret, or beside one, must not tell it.
func TestMistakesDoNotTellSecrets(t *testing.T) {
	t.Parallel()
	const word = "hunter2-hunter2"
	for _, text := range []string{
		"store: {url: 'postgres://riposte:" + word + "@db:port/riposte'}\n",
		"store: {url: 'mysql://riposte:" + word + "@db/riposte'}\n",
		"store: {ledger_key: " + word + "}\n",
		"auth: {senders: [{name: a, secret: " + word + "}]}\n",
		"slack: {token: " + word + ", channels: {a: {webhook: '" + word + "'}}}\n",
		"webhook: {endpoints: {a: {url: 'http://example.com/" + word + "', secret: " + word + "}}}\n",
		"email: {host: mail.example.com, from: a@example.com, username: u, password: \"" + word + "\\0\"}\n",
		"pagerduty: {services: {a: {routing_key: " + word + "}}}\n",
		"aws: {external_id: [" + word + "]}\n",
		"store: {url: &" + word + " x}\n",
	} {
		path := configured(t, text)
		_, warnings, err := app.ReadConfig(path)
		if strings.Contains(fmt.Sprint(warnings, err), word) {
			t.Errorf("%sit is told: %v %v", text, warnings, err)
		}
	}
}

func TestAConfigurationThatIsNotThere(t *testing.T) {
	t.Parallel()
	_, _, err := app.ReadConfig(filepath.Join(t.TempDir(), "riposte.yaml"))
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "--config") {
		t.Errorf("got %v, want that it isn't there and what to do", err)
	}
	_, _, err = app.ReadConfig(t.TempDir())
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("a folder: got %v", err)
	}
	path := configured(t, "data: x\n")
	if err := os.WriteFile(path, []byte("listen: \xff\xfe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := app.ReadConfig(path); !fault.Is(err, fault.Invalid) {
		t.Errorf("not UTF-8: got %v", err)
	}
}

func TestWhatIsKeptForEmergenciesIsProtected(t *testing.T) {
	t.Parallel()
	protections, err := app.ProtectionsOf(app.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	covered := func(kind entity.Kind, id string) bool {
		return slices.ContainsFunc(protections, func(p guardrail.Protection) bool {
			return p.Covers(entity.Entity{Kind: kind, ID: id}, action.Place{Account: "1"}, nil)
		})
	}
	for _, name := range []string{"break-glass", "ops-BreakGlass-1", "break_glass_admin", "EmergencyAccess"} {
		if !covered(entity.Role, name) || !covered(entity.User, name) {
			t.Errorf("%s may be changed", name)
		}
	}
	if covered(entity.Role, "glazier") || covered(entity.Instance, "break-glass") {
		t.Error("more is protected than names of users and roles")
	}
}
