package cli_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/auth"
)

// The commands that only read, in people's form and for programs, over what a hostile log left behind.
func TestWhatPeopleReadIsHarmless(t *testing.T) {
	h := newHouse(t)
	matter, approval, _ := h.happened()
	type list struct{ Items []struct{ ID string } }
	runs := decoded[list](h.ask("runs", "list", "--json")).Items
	letters := decoded[list](h.ask("deadletters", "list", "--json")).Items
	if len(runs) == 0 || len(letters) != 1 {
		t.Fatalf("got %d runs and %d dead letters, want some and one", len(runs), len(letters))
	}
	for _, command := range []string{
		"status", "incidents list", "incidents list --state open,closed --severity low --account 123456789012 --text trail --limit 1",
		"incidents show " + matter, "runs list", "runs list --state waiting --playbook ask-people --incident " + matter, "runs show " + runs[0].ID,
		"approvals list", "approvals list --answer any", "approvals show " + approval, "deadletters list", "deadletters list --all", "deadletters show " + letters[0].ID,
		"freezes", "protections", "ledger checkpoint", "ledger verify", "version", "openapi",
	} {
		args := strings.Fields(command)
		if got := h.ask(args...).fine(); got.out == "" {
			t.Errorf("%s says nothing", command)
		}
		decoded[any](h.ask(append(args, "--json")...))
	}
	h.ask("incidents", "show", matter).fine().says("state     open", `\x1b[2J`, `\u202e`, "Timeline", "riposte approve "+approval)
	for line := range strings.Lines(h.ask("ledger", "show", "--json").fine().out) {
		decoded[any](said{tb: t, out: line})
	}
	h.ask("ledger", "show", "--limit", "3", "--incident", matter).fine().says("incident.opened")
}

func TestPeopleDecide(t *testing.T) {
	h := newHouse(t)
	matter, approval, hash := h.happened()
	h.ask("approve", approval, "--hash", strings.Repeat("0", 64)).ends(1, "not the one you saw")
	h.ask("approve", "nothing").ends(1, "nothing")
	h.ask("approve", approval, "--hash", hash, "--reason", "seen").fine().says("approved", "local-admin")
	h.ask("approve", approval).ends(1, "answered already")
	h.ask("deny", approval).ends(1, "answered already")

	h.ask("incidents", "close", matter).ends(2, "verdict", "note", "--help")
	h.ask("incidents", "close", matter, "--verdict", "maybe", "--note", "n").ends(1, "true_positive")
	for deadline := time.Now().Add(20 * time.Second); ; { // the run is carried out
		closed := h.ask("incidents", "close", matter, "--verdict", "benign", "--note", "a drill")
		if closed.code == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(closed.err)
		}
	}
	h.ask("incidents", "close", matter, "--verdict", "benign", "--note", "a drill").ends(1, "closed already")
	h.ask("undo", "incident", matter).fine().says("riposte runs show")
	h.ask("undo", "run", "nothing").ends(1, "nothing")
	h.ask("undo", "step", "nothing").ends(2, "undo run RUN")
}

func TestPeopleSetGuardrails(t *testing.T) {
	h := newHouse(t)
	h.ask("freeze", "--reason", hostile, "--for", "2h").fine().says("riposte unfreeze everything")
	h.ask("freeze", "playbook", "ask-people", "--reason", "r").fine()
	h.ask("freeze", "playbook", "ask-peple", "--reason", "r").ends(1, "ask-people")
	h.ask("freeze", "account", "prod", "--reason", "r").ends(1, "12 digits")
	h.ask("freeze", "everything", "--reason", "r", "--for", "soon").ends(1, "2h")
	h.ask("freeze").ends(2, "reason")
	h.ask("freezes").fine().says("everything", "playbook:ask-people", "local-admin")
	h.ask("unfreeze", "everything", "--reason", "done").fine()
	h.ask("unfreeze", "everything").ends(1, "everything")
	h.ask("protect", "--reason", "r").ends(2, "--kind")
	h.ask("protect", "--kind", "server", "--reason", "r").ends(1, "server")
	set := decoded[struct{ ID string }](h.ask("protect", "--tag", "public=yes", "--kind", "bucket", "--reason", hostile, "--json"))
	h.ask("protections").fine().says(set.ID, "public=yes")
	h.ask("unprotect", set.ID).fine()
	h.ask("unprotect", set.ID).ends(1, set.ID)
}

func TestPeopleLookAtDeadLetters(t *testing.T) {
	h := newHouse(t)
	h.happened()
	type list struct{ Items []struct{ ID string } }
	id := decoded[list](h.ask("deadletters", "list", "--json")).Items[0].ID
	h.ask("deadletters", "show", id).fine().says("what")
	h.ask("deadletters", "replay", id).ends(1, "not a record")
	h.ask("deadletters", "delete", id).fine()
	h.ask("deadletters", "show", id).ends(1, id)
	h.ask("ledger", "show", "--kind", "deadletter.deleted").fine().says(id)
}

func TestWhoIsNotLetInIsToldWhatToDo(t *testing.T) {
	h := newHouse(t)
	url := []string{"--url", h.app.Address()}
	t.Chdir(h.folder)
	riposte(t, append([]string{"status", "--token-file", "nowhere"}, url...)...).ends(1, "nowhere")
	h.write("wrong", "rip_wrong")
	riposte(t, append([]string{"status", "--token-file", "wrong"}, url...)...).ends(1, "rip_", "--token-file")
	unknown, _, err := auth.Generate()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("RIPOSTE_TOKEN", unknown)
	stranger := riposte(t, append([]string{"status"}, url...)...)
	stranger.ends(1, "not known", "RIPOSTE_TOKEN")
	if strings.Contains(stranger.err, unknown) {
		t.Error("it tells the token")
	}
	t.Setenv("RIPOSTE_TOKEN", "")
	riposte(t, "status", "--url", "http://127.0.0.1:1").ends(1, "is the server up?", "--url")
	riposte(t, "status", "--url", "127.0.0.1:8473").ends(1, "http://127.0.0.1:8473")
	// On the server's own machine the configuration says where the administrator's token is.
	riposte(t, append([]string{"status", "--config", "riposte.yaml"}, url...)...).fine().says("local-admin")
}

func TestTokensAreMadeAndTaken(t *testing.T) {
	made := decoded[struct{ Name, Token, SHA256 string }](riposte(t, "token", "create", "ana", "--role", "incident_analyst", "--json"))
	if auth.Hash(made.Token) != made.SHA256 || made.Name != "ana" {
		t.Errorf("got %+v, want the token's own hash", made)
	}
	people := riposte(t, "token", "create", "ana", "--role", "incident_analyst,cloud_architect").fine()
	_, yaml, _ := strings.Cut(people.out, "Add to the configuration:\n\n")
	h := &house{TB: t, folder: t.TempDir()}
	h.write("riposte.yaml", yaml)
	c, _, err := app.ReadConfig(filepath.Join(h.folder, "riposte.yaml"))
	if err != nil || len(c.Auth.Tokens) != 1 || len(c.Auth.Tokens[0].Roles) != 2 {
		t.Errorf("what it says to add is not taken: %v\n%s", err, yaml)
	}
	riposte(t, "token", "create", "ana", "--role", "root").ends(1, "root", "incident_analyst")
	riposte(t, "token", "create", "a b").ends(1, "a b")
	riposte(t, "token", "create", "ana", "--valid", "-1h").ends(1, "valid")
}

// A record that is too large, or cut, must not keep those after it from being sent.
func TestEverythingThatCanBeReadIsSent(t *testing.T) {
	h := newHouse(t)
	large := strings.Replace(event(2, "ana"), `{`, `{"large":"`+strings.Repeat("x", 2<<20)+`",`, 1)
	deep := strings.Replace(event(3, "ana"), `{`, `{"deep":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`,`, 1)
	h.write("log.json", `{"Records":[`+strings.Join([]string{large, deep, `{"what":1}`, event(4, "ana")}, ",")+`]}`)
	h.ask("replay", "--send", h.path("log.json")).fine().says("1 events are taken in, 3 records were set aside")
}
