package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/cli"
)

// house is a server of a test's own, in a folder, and the command line before it.
type house struct {
	testing.TB
	folder string
	app    *app.App
}

// asking is a playbook that asks before it tells.
const asking = `playbook: ask-people
summary: Ask, then tell.
on: {findings: ["rule:*"]}
autonomy: auto
steps:
  - {id: sure, approve: {by: [incident_analyst], within: 1h, otherwise: deny}}
  - {id: tell, use: notify, with: {channel: security, message: "{{ finding.title }}"}}
`

// hostile is what somebody may have put into a log: a terminal's control sequences, a line that looks like
// ours, text that runs backwards.
const hostile = "\x1b[2J\x1b]0;owned\x07\u009b31m\nstate     closed, benign: forged\r\u202egpj.exe"

// newHouse opens a server and lets it run until the test ends.
func newHouse(tb testing.TB) *house {
	tb.Helper()
	h := &house{TB: tb, folder: tb.TempDir()}
	h.write("books/ask.yaml", asking)
	h.write("riposte.yaml", "data: data\nlisten: 127.0.0.1:0\ncontent: {playbooks: [books]}\n")
	c, _, err := app.ReadConfig(h.path("riposte.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	h.app, err = app.New(tb.Context(), c, app.Options{Logger: slog.New(slog.DiscardHandler), Version: "test", Now: time.Now})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- h.app.Run(ctx) }()
	url := h.app.Address()
	h.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	h.write("url", url)
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.folder, name) }

func (h *house) write(name, text string) {
	h.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

// said is what a command said and how it ended.
type said struct {
	tb       testing.TB
	code     int
	out, err string
}

// riposte runs a command without a server.
func riposte(tb testing.TB, args ...string) said {
	tb.Helper()
	var out, wrong bytes.Buffer
	code := cli.Main(tb.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &wrong}, "test")
	return said{tb, code, out.String(), wrong.String()}
}

// ask runs a command against the house's server, as its administrator.
func (h *house) ask(args ...string) said {
	h.Helper()
	return riposte(h, append(args, "--url", h.app.Address(), "--token-file", filepath.Join(h.folder, "data", app.TokenFile))...)
}

// fine checks that a command did what it should, and said nothing that a terminal would obey.
func (s said) fine() said {
	s.tb.Helper()
	if s.code != 0 {
		s.tb.Fatalf("it ended with %d: %s%s", s.code, s.out, s.err)
	}
	return s.harmless()
}

func (s said) harmless() said {
	s.tb.Helper()
	for _, text := range []string{s.out, s.err} {
		if !utf8.ValidString(text) {
			s.tb.Errorf("it says what is no text: %q", text)
		}
		for _, c := range text {
			if c != '\n' && !unicode.IsPrint(c) {
				s.tb.Errorf("it says the control character %U: %q", c, text)
				break
			}
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "state     closed, benign: forged") {
				s.tb.Errorf("a line is forged: %q", text)
			}
		}
	}
	return s
}

// ends checks how a command ended and what it said of that.
func (s said) ends(code int, parts ...string) {
	s.tb.Helper()
	if s.code != code {
		s.tb.Errorf("it ended with %d, want %d: %s%s", s.code, code, s.out, s.err)
	}
	s.harmless().says(parts...)
}

func (s said) says(parts ...string) {
	s.tb.Helper()
	for _, part := range parts {
		if !strings.Contains(s.out+s.err, part) {
			s.tb.Errorf("it does not say %q: %s%s", part, s.out, s.err)
		}
	}
}

// decoded reads what a command said with --json.
func decoded[T any](s said) T { //nolint:ireturn // T is concrete
	s.tb.Helper()
	var into T
	if err := json.Unmarshal([]byte(s.fine().out), &into); err != nil {
		s.tb.Fatalf("it is not JSON: %v\n%s", err, s.out)
	}
	return into
}

// event is a record that stops a trail, by somebody with a name.
func event(n int, who string) string {
	text, err := json.Marshal(map[string]any{
		"eventVersion": "1.08", "eventID": fmt.Sprintf("11111111-2222-3333-4444-%012d", n), "eventTime": time.Now().UTC().Format(time.RFC3339),
		"eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging", "awsRegion": "eu-central-1", "recipientAccountId": "123456789012",
		"sourceIPAddress": "198.51.100.7", "userAgent": hostile, "requestParameters": map[string]string{"name": "arn:aws:cloudtrail:eu-central-1:123456789012:trail/" + who},
		"userIdentity": map[string]string{
			"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/" + who, "userName": who, "accountId": "123456789012", "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
		},
	})
	if err != nil {
		panic(err)
	}
	return string(text) + "\n"
}

// happened sends an event, by somebody with a hostile name, and something that can't be read. It gives the
// incident and its question.
func (h *house) happened() (incident, approval, hash string) {
	h.Helper()
	h.write("log.json", event(1, hostile)+"{\"what\": \"is \\u001b[2J\\nthis\"}\n")
	h.ask("replay", "--send", h.path("log.json")).fine()
	type list struct {
		Items []struct{ ID, Hash, Incident string }
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		asked := decoded[list](h.ask("approvals", "list", "--json"))
		if len(asked.Items) == 1 {
			return asked.Items[0].Incident, asked.Items[0].ID, asked.Items[0].Hash
		}
		if time.Now().After(deadline) {
			h.Fatalf("%d questions are asked, want 1: %s", len(asked.Items), h.ask("runs", "list").out)
		}
	}
}
