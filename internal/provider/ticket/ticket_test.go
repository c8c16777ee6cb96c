package ticket_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
	"github.com/riposte-sec/riposte/internal/provider/ticket"
	"github.com/riposte-sec/riposte/internal/secret"
)

const (
	password = "s3cretToken"
	token    = "0123456789abcdef0123456789abcdef"
)

var basic = base64.StdEncoding.EncodeToString([]byte("riposte@example.com:" + password))

// stand is one system with the actions that reach it through a door.
type stand struct {
	*desk
	door          *providertest.Door
	key           string // of the first ticket
	open, comment action.Action
}

// systems are the three, each with a fake of its own.
func systems(t *testing.T) map[string]*stand {
	t.Helper()
	all := map[string]*stand{}
	for kind, of := range map[string]struct {
		speak         speak
		authorization string
		system        ticket.System
		key           string
	}{
		"jira": {
			speakJira, "Basic " + basic,
			ticket.System{User: "riposte@example.com", Project: "SEC", Labels: []string{"soc"}, Fields: map[string]any{"priority": map[string]any{"name": "High"}}},
			"SEC-1",
		},
		"servicenow": {
			speakServiceNow, "Basic " + basic,
			ticket.System{User: "riposte@example.com", Fields: map[string]any{"assignment_group": "soc"}},
			"INC0000001",
		},
		"github": {speakGitHub, "Bearer " + password, ticket.System{Repository: "acme/security", Labels: []string{"soc"}}, "1"},
	} {
		s := &stand{desk: start(t, of.authorization, of.speak), key: of.key}
		s.door = providertest.NewDoor(t, s.URL)
		of.system.Kind, of.system.URL, of.system.Token = kind, s.door.URL, secret.New(password)
		made, err := ticket.New(ticket.Config{"soc": of.system}, courier.New(nil, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		s.open, s.comment = made.Actions()[0], made.Actions()[1]
		all[kind] = s
	}
	return all
}

func input(params action.Params) action.Input {
	return action.Input{Params: params, Incident: "INC-1", Run: "run-1", Step: "tell", Reason: "Riposte playbook test", Token: token}
}

func asked(wait bool) action.Input {
	return input(action.Params{"system": "soc", "subject": "Key leaked", "message": "Key AKIA... of ann\n\nis used from 192.0.2.1", "wait": wait})
}

func TestOpenKeepsTheContract(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		t.Run(kind, func(t *testing.T) {
			providertest.Notify(t, providertest.Notice{
				Action: s.open, Input: asked(false), Says: []string{"Key leaked", "Key AKIA... of ann", "192.0.2.1", "incident INC-1", "run run-1", "soc"},
				Sent: func(*testing.T) []string {
					var all []string
					for _, i := range s.items {
						all = append(all, dumped(i.fields))
					}
					return all
				},
				Answer: func(status int) { s.wrong = status },
			})
		})
	}
}

func TestCommentKeepsTheContract(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		t.Run(kind, func(t *testing.T) {
			apply(t, s.open, plan(t, s.open, asked(false)))
			providertest.Notify(t, providertest.Notice{
				Action: s.comment, Input: input(action.Params{"system": "soc", "key": s.key, "message": "the key is disabled"}),
				Says: []string{"the key is disabled", "incident INC-1", "run run-1"}, Sent: func(*testing.T) []string { return s.items[0].comments },
				Answer: func(status int) { s.wrong = status },
			})
			gone := input(action.Params{"system": "soc", "key": strings.Replace(s.key, "1", "9", 1), "message": "x"})
			if _, err := s.comment.Apply(t.Context(), plan(t, s.comment, gone)); !fault.Is(err, fault.Invalid) {
				t.Errorf("a ticket that isn't there: got %v, want an error of kind invalid", err)
			}
		})
	}
}

// What somebody does with the ticket is the step's result.
func TestOpenAwaitsItsClosing(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		t.Run(kind, func(t *testing.T) {
			providertest.Await(t, providertest.Awaited{
				Action: s.open, Input: asked(true), Door: s.door, Started: func(*testing.T) int { return len(s.items) },
				End: func(_ *testing.T, well bool) { // a failure is that somebody deleted it
					last := s.items[len(s.items)-1]
					last.closed, last.deleted = well, !well
				},
			})
		})
	}
}

func TestOpenTellsHowItEnded(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		change := plan(t, s.open, asked(true))
		apply(t, s.open, change)
		s.items[0].closed = true
		result, over, err := awaiter(t, s.open).Await(t.Context(), action.Applied{Change: change})
		if err != nil || !over {
			t.Fatalf("%s: got %t, %v", kind, over, err)
		}
		want := map[string]string{
			"jira": "SEC-1 " + s.door.URL + "/browse/SEC-1 Closed Won't Do", "github": "1 https://github.com/acme/security/issues/1 closed not_planned",
			"servicenow": "INC0000001 " + s.door.URL + "/nav_to.do?uri=incident.do%3Fsys_id%3D" + fmt.Sprintf("%032x", 1) + " Resolved Solved (Permanently)",
		}[kind]
		o := result.Outputs
		if got := fmt.Sprint(o["key"], " ", o["url"], " ", o["state"], " ", o["resolution"]); got != want {
			t.Errorf("%s: got %q, want %q", kind, got, want)
		}
	}
}

// A step that doesn't wait is done, whatever becomes of the ticket, and asks nobody.
func TestOpenDoesNotWaitUnasked(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		change := plan(t, s.open, asked(false))
		result := apply(t, s.open, change)
		s.door.Seen()
		got, over, err := awaiter(t, s.open).Await(t.Context(), action.Applied{Change: change, Result: result})
		if err != nil || !over || got.Outputs["key"] != s.key || len(s.door.Seen()) != 0 {
			t.Errorf("%s: got %v, %t, %v, want the result of opening and no request", kind, got, over, err)
		}
	}
}

// Wherever a step dies and however often it is tried, there is one ticket, and one comment on it.
func TestTriedAgainThereIsOne(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		for i := range 40 { // of other steps
			in := asked(false)
			in.Token = fmt.Sprintf("%032x", i)
			apply(t, s.open, plan(t, s.open, in))
		}
		opening := plan(t, s.open, asked(false))
		for calls := range 4 {
			s.door.Break(calls, true)
			_, err := s.open.Apply(t.Context(), opening)
			if broke := s.door.Repair(); broke && !fault.Is(err, fault.Transient) || !broke && err != nil {
				t.Errorf("%s, open, broken after %d calls: got %v", kind, calls, err)
			}
		}
		first := apply(t, s.open, opening)
		if len(s.items) != 41 || first.Changed {
			t.Errorf("%s: there are %d tickets, want 41", kind, len(s.items))
		}
		about := s.items[40]
		for range 70 {
			about.comments = append(about.comments, map[string]string{"jira": `{}`}[kind])
		}
		in := input(action.Params{"system": "soc", "key": first.Outputs["key"], "message": "x"})
		saying := plan(t, s.comment, in)
		for calls := range 5 {
			s.door.Break(calls, true)
			_, err := s.comment.Apply(t.Context(), saying)
			if broke := s.door.Repair(); broke && !fault.Is(err, fault.Transient) || !broke && err != nil {
				t.Errorf("%s, comment, broken after %d calls: got %v", kind, calls, err)
			}
		}
		if said := apply(t, s.comment, saying); len(about.comments) != 71 || said.Changed {
			t.Errorf("%s: there are %d comments, want 71", kind, len(about.comments))
		}
	}
}

func TestAttackersTexts(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		for i, attack := range []string{
			"@all see <img src=x onerror=alert(1)> [a](http://evil.example) *b*", "```\n@all\n````\n", "[code]<script>alert(1)</script>[/CODE]",
			"a\r\nX: y\x00\x1b[31m\u202e", "\xff\xfe", strings.Repeat("😀", 1<<16), "\n\n\n", "`" + strings.Repeat("`", 100),
		} {
			in := asked(false)
			in.Params["subject"], in.Params["message"], in.Token = attack, attack, fmt.Sprintf("%032x", i)
			apply(t, s.open, plan(t, s.open, in))
			remark := input(action.Params{"system": "soc", "key": s.key, "message": attack})
			remark.Token = in.Token
			apply(t, s.comment, plan(t, s.comment, remark))
			fields, said := dumped(s.items[i].fields), s.items[0].comments[i]
			for _, text := range []string{fields, said} {
				if len(text) > 40<<10 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\u202e\r") || strings.Contains(text, `\u0000`) {
					t.Errorf("%s: %.30q became %d bytes: %.200q", kind, attack, len(text), text)
				}
			}
			switch kind {
			case "servicenow":
				if strings.Contains(strings.ToLower(said), "[code]") {
					t.Errorf("ServiceNow takes it for HTML: %q", said)
				}
			case "github":
				for _, body := range []string{fmt.Sprint(s.items[i].fields["body"]), said} {
					if fence, _, _ := strings.Cut(body, "text\n"); strings.Trim(fence, "`") != "" || strings.Count(body, fence) != 2 {
						t.Errorf("%.30q gets out of its block: %.200q", attack, body)
					}
				}
			}
		}
	}
}

func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		change := plan(t, s.open, asked(true))
		for _, status := range []int{400, 401, 403, 500} {
			s.wrong = status
			_, err := s.open.Apply(t.Context(), change)
			if err == nil || strings.Contains(err.Error(), password) || strings.Contains(err.Error(), basic) || !strings.Contains(err.Error(), "ticket system soc") {
				t.Errorf("%s, %d: got %v, want the name and no secret", kind, status, err)
			}
		}
		if text := dumped(change); strings.Contains(text, password) || strings.Contains(text, basic) {
			t.Errorf("%s: the plan tells a secret: %s", kind, text)
		}
	}
}

func TestCommentRefusesKeys(t *testing.T) {
	t.Parallel()
	for kind, s := range systems(t) {
		for _, key := range []string{"", "../x", "SEC-1/../SEC-2", "INC1^ORactive=true", "1?a=b", "SEC-1 ", "1\n", "-1", "0", "é"} {
			in := input(action.Params{"system": "soc", "key": key, "message": "x"})
			if _, err := s.comment.Plan(t.Context(), in); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s, key %q: got %v, want an error of kind invalid", kind, key, err)
			}
		}
		for _, do := range []action.Action{s.open, s.comment} {
			in := input(action.Params{"system": "nowhere", "key": s.key, "message": "x"})
			if _, err := do.Plan(t.Context(), in); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "there are soc") {
				t.Errorf("%s: got %v, want the systems that there are", kind, err)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	with := func(kind string, change func(*ticket.System)) ticket.System {
		s := ticket.System{Kind: kind, URL: "https://example.com", Token: secret.New(password), Project: "SEC", Repository: "a/b"}
		change(&s)
		return s
	}
	for _, c := range []struct {
		want string
		ticket.System
	}{
		{"kind: ", with("trello", func(*ticket.System) {})},
		{"url: ", with("jira", func(s *ticket.System) { s.URL = "" })},
		{"url: ", with("jira", func(s *ticket.System) { s.URL = "http://example.com" })},
		{"url: ", with("jira", func(s *ticket.System) { s.URL = "https://example.com/?a=" + password })},
		{"token: ", with("jira", func(s *ticket.System) { s.Token = secret.Secret{} })},
		{"token: ", with("jira", func(s *ticket.System) { s.Token = secret.New(password + "\n") })},
		{"token: ", with("jira", func(s *ticket.System) { s.User = "a:b" })},
		{"project: ", with("jira", func(s *ticket.System) { s.Project = `SEC" OR "A` })},
		{"labels: ", with("jira", func(s *ticket.System) { s.Labels = []string{"a b"} })},
		{"table: ", with("servicenow", func(s *ticket.System) { s.Table = "../x" })},
		{"repository: ", with("github", func(s *ticket.System) { s.Repository = "a/.." })},
		{"user: ", with("github", func(s *ticket.System) { s.User = "ann" })},
		{"fields: ", with("github", func(s *ticket.System) { s.Fields = map[string]any{"a": 1} })},
	} {
		_, err := ticket.New(ticket.Config{"soc": c.System}, nil)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "tickets.soc."+c.want) || strings.Contains(err.Error(), password) {
			t.Errorf("got %v, want it invalid with %q", err, c.want)
		}
	}
	if none, err := ticket.New(ticket.Config{}, nil); err != nil || len(none.Actions()) != 0 {
		t.Errorf("got %v, want no actions where nothing is configured", err)
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	t.Parallel()
	doc, err := document.Parse("riposte.yaml", []byte(`
desk: {kind: servicenow, url: "https://acme.service-now.com", user: riposte, token: {env: T}, closed: ["7"], fields: {assignment_group: soc}}
jira: {kind: jira, url: "https://acme.atlassian.net", user: a@b.c, token: {env: T}, project: SEC, type: Incident, fields: {priority: {name: High}}}
repo: {kind: github, token: {env: T}, repository: acme/security, labels: [soc]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var c ticket.Config
	if err := doc.Decode(&c); err != nil {
		t.Fatal(err)
	}
	warnings, err := doc.Resolve(func(string) (string, bool) { return password, true })
	if err != nil || len(warnings) != 0 {
		t.Fatalf("got %v, %v; want no errors and no warnings", warnings, err)
	}
	if _, err := ticket.New(c, nil); err != nil {
		t.Error(err)
	}
	if got := c["jira"].Fields; dumped(got) != "{\"priority\":{\"name\":\"High\"}}\n" {
		t.Errorf("got fields %v", got)
	}
}

// plan plans, and gives the plan as it comes back from the journal.
func plan(t *testing.T, do action.Action, in action.Input) action.Change {
	t.Helper()
	change, err := do.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var back action.Change
	if err := json.Unmarshal([]byte(dumped(change)), &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func apply(t *testing.T, do action.Action, change action.Change) action.Result {
	t.Helper()
	result, err := do.Apply(t.Context(), change)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func awaiter(t *testing.T, do action.Action) action.Awaiter { //nolint:ireturn // an ability of the action
	t.Helper()
	a, ok := do.(action.Awaiter)
	if !ok {
		t.Fatal("it is no action.Awaiter")
	}
	return a
}
