package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

const repeats = `playbook: repeats
summary: Tell people what a finding says.
on: {findings: ["guardduty:*"], if: finding.title != ""}
autonomy: auto
steps:
  - {id: look, set: {all: "{{ finding.title }} {{ finding.description }}"}}
  - {id: tell, use: webhook.send, with: {endpoint: hook, message: "{{ vars.all }}"}}
`

// TestHostileFinding: what a finding says, whoever wrote it, is text on all its ways. It is not computed, not executed,
// not printed as it is, and it has an end.
func TestHostileFinding(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "hostile")
	proof := filepath.Join(t.TempDir(), "executed")
	title := "{{ finding.account }} {{ 1 + 1 }} ${7*7} $(touch " + proof + ") `touch " + proof + "` '; touch " + proof +
		" #\x1b[2J\x07\r\n\u202egpj.exe <script>alert(1)</script> %s%n"
	event := bytes.ReplaceAll(awstest.Leaked("mallory", "AKIAHOSTILE"), []byte(`"found AKIAHOSTILE"`), encoded(t, title))
	event = bytes.Replace(event, []byte(`"schemaVersion"`), append(append([]byte(`"description":`), encoded(t, strings.Repeat("a\x1b[31m{{ 2 + 2 }}", 1<<15))...), `,"schemaVersion"`...), 1)
	if len(event) < 700_000 { // more than a megabyte is set aside unread
		t.Fatalf("the event has %d bytes", len(event))
	}
	riposte := h.configure(settings{name: "one", playbooks: map[string]string{"p": repeats}, noQueue: true})
	riposte.start()
	riposte.ready()
	riposte.post(event)
	h.eventually(20*time.Second, "the message to come", func() bool { return h.hooks.distinct() == 1 })
	h.eventually(20*time.Second, "the run to end", func() bool { return len(riposte.runs("succeeded")) == 1 })

	for _, body := range h.hooks.bodies {
		if !strings.Contains(body, "{{ finding.account }} {{ 1 + 1 }}") {
			t.Errorf("the message is not what the finding said: %.300q", body)
		}
		if len(body) > 1<<17 {
			t.Errorf("the message has %d bytes", len(body))
		}
		var message struct{ Message string } // a webhook is data for a program, which knows what to escape; here, JSON
		if err := json.Unmarshal([]byte(body), &message); err != nil || strings.ContainsFunc(body, unicode.IsControl) {
			t.Errorf("the message is not whole: %v", err)
		}
	}
	log, err := os.ReadFile(riposte.log)
	if err != nil {
		t.Fatal(err)
	}
	harmless(t, "the log", string(log))
	for _, command := range []string{"incidents list", "findings list", "runs list", "ledger show"} {
		out, err := riposte.cli(strings.Fields(command)...)
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		harmless(t, command, out)
	}
	if _, err := os.Stat(proof); err == nil {
		t.Error("somebody executed the finding's title")
	}
}

func encoded(tb testing.TB, text string) []byte {
	tb.Helper()
	made, err := json.Marshal(text)
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// harmless checks that a text has no character that moves a cursor or turns a line around.
func harmless(tb testing.TB, what, text string) {
	tb.Helper()
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Cf, r) {
			tb.Errorf("%s has the character %U", what, r)
			return
		}
	}
}
