package email_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/email"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
	"github.com/riposte-sec/riposte/internal/secret"
)

const password = "s3cret-passw0rd"

func config(s *server) email.Config {
	s.password = password
	return email.Config{
		Host: "127.0.0.1", Port: s.port(), CA: s.ca, Username: "ann", Password: secret.New(password),
		From: "Ripöste <riposte@example.com>",
		Lists: map[string][]string{
			"security": {"Ann Ö <ann@example.com>", "bob@example.com"},
			"oncall":   {"oncall@example.com"},
		},
	}
}

// sender is the action that sends.
type sender struct{ action.Action }

func mailer(t *testing.T, c email.Config) *sender {
	t.Helper()
	m, err := email.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &sender{m.Actions()[0]}
}

func input(subject, message string) action.Input {
	return action.Input{
		Incident: "01JINC", Run: "01JRUN", Step: "tell", Token: "tok-1",
		Params: action.Params{"to": "security", "subject": subject, "message": message},
	}
}

func plan(t *testing.T, a action.Action, in action.Input) action.Change {
	t.Helper()
	c, err := a.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	journaled, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(journaled), password) {
		t.Errorf("the plan tells the password: %s", journaled)
	}
	var back action.Change
	if err := json.Unmarshal(journaled, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestKeepsTheContract(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	providertest.Notify(t, providertest.Notice{
		Action: mailer(t, config(s)), Input: input("Key disabled", "Key AKIA... of ann"),
		Sent: func(*testing.T) []string { return s.mails() }, Says: []string{"Key disabled", "of ann", "01JINC"},
	})
}

func TestWays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server func(*server)
		config func(*email.Config)
		plain  []string // what is heard before it is encrypted
	}{
		"STARTTLS": {nil, nil, []string{"plain EHLO example.com", "plain STARTTLS"}},
		"implicit": {func(s *server) { s.implicit = true }, func(c *email.Config) { c.TLS = email.Implicit }, nil},
		"named":    {nil, func(c *email.Config) { c.Hello = "host.example.org" }, []string{"plain EHLO host.example.org", "plain STARTTLS"}},
	} {
		s := start(t, c.server)
		configured := config(s)
		if c.config != nil {
			c.config(&configured)
		}
		a := mailer(t, configured)
		result, err := a.Apply(t.Context(), plan(t, a, input("s", "m")))
		want := map[string]any{"message_id": "tok-1@example.com", "accepted": int64(2)}
		if diff := cmp.Diff(want, result.Outputs); err != nil || !result.Changed || diff != "" {
			t.Fatalf("%s: got %+v, %v", name, result, err)
		}
		heard := s.commands()
		plainly := slices.DeleteFunc(slices.Clone(heard), func(c string) bool { return !strings.HasPrefix(c, "plain ") })
		if diff := cmp.Diff(c.plain, plainly); diff != "" && len(c.plain)+len(plainly) > 0 {
			t.Errorf("%s: in plain: %s", name, diff)
		}
		for _, command := range []string{"MAIL FROM:<riposte@example.com> BODY=8BITMIME", "RCPT TO:<ann@example.com>", "RCPT TO:<bob@example.com>"} {
			if !slices.Contains(heard, command) {
				t.Errorf("%s: got %q, want %q", name, heard, command)
			}
		}
		if len(s.mails()) != 1 {
			t.Errorf("%s: got %d mails, want 1", name, len(s.mails()))
		}
	}
	s := start(t, nil)
	local := config(s)
	local.TLS, local.Username, local.Password = email.None, "", secret.Secret{}
	a := mailer(t, local)
	if _, err := a.Apply(t.Context(), plan(t, a, input("s", "m"))); err != nil || len(s.mails()) != 1 {
		t.Errorf("local: got %v and %d mails, want 1", err, len(s.mails()))
	}
}

func TestNothingIsSentInPlain(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *server) { s.offers = []string{"AUTH PLAIN"} })
	a := mailer(t, config(s))
	_, err := a.Apply(t.Context(), plan(t, a, input("s", "m")))
	if !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("got %v, want it denied", err)
	}
	untrusted := start(t, nil)
	c := config(untrusted)
	c.CA = secret.Secret{}
	a = mailer(t, c)
	if _, err := a.Apply(t.Context(), plan(t, a, input("s", "m"))); !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want the certificate refused", err)
	}
	for _, command := range append(s.commands(), untrusted.commands()...) {
		if !strings.HasPrefix(command, "plain EHLO") && command != "plain STARTTLS" {
			t.Errorf("got %q, want nothing said", command)
		}
	}
}

func TestMailIsAsRFC5322HasIt(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	a := mailer(t, config(s))
	subject := "Schlüssel gesperrt: " + strings.Repeat("日本語", 30)
	message := "Erste Zeile\n.\n.. dots = and ☃\nFrom here " + strings.Repeat("x", 300) + " \ntrailing space "
	c := plan(t, a, input(subject, message))
	for range 2 {
		if _, err := a.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for _, text := range s.mails() {
		m := parse(t, text)
		ids = append(ids, m.Header.Get("Message-Id"))
		for name, want := range map[string]string{
			"Subject": subject, "To": "Ann Ö <ann@example.com>, <bob@example.com>", "From": "Ripöste <riposte@example.com>",
			"Mime-Version": "1.0", "Content-Type": "text/plain; charset=utf-8", "Auto-Submitted": "auto-generated", "X-Riposte-Incident": "01JINC",
		} {
			got, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get(name))
			if got = strings.ReplaceAll(got, `"`, ""); got != want || err != nil {
				t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
			}
		}
		if date, err := m.Header.Date(); err != nil || time.Since(date) > time.Minute {
			t.Errorf("got date %v, %v", date, err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		want := strings.ReplaceAll(strings.TrimSpace(message)+"\n\n-- \nRiposte, incident 01JINC, run 01JRUN\n", "\n", "\r\n")
		if diff := cmp.Diff(want, string(body)); diff != "" || err != nil {
			t.Errorf("%v, -want +got:\n%s", err, diff)
		}
	}
	if diff := cmp.Diff([]string{"<tok-1@example.com>", "<tok-1@example.com>"}, ids); diff != "" {
		t.Error(diff)
	}
}

// parse reads a mail and checks its form.
func parse(t *testing.T, text string) *mail.Message {
	t.Helper()
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 998 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
			t.Fatalf("a line of %d bytes: %.100q", len(line), line)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %.500q", err, text)
	}
	return m
}

func TestAttackersTexts(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	a := mailer(t, config(s))
	for _, attack := range []string{
		"a\r\nBcc: evil@example.com\r\n\r\nbody", "a\nBcc: evil@example.com", "a\rBcc: evil@example.com", "x\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
		"=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5jb20=?=", "\x00\x1b[2J\u202egnp\u2066\u2028b\u0085c", "\xff\xfe\xc3", "", " ", "\x00",
		strings.Repeat("x", 1<<20), strings.Repeat("😀", 1<<18), strings.Repeat("\n", 1<<20), strings.Repeat("\r\n.", 1<<18), "=?", "?=\r\n =?",
		"tok\r\nX: y", "<a@b>", `"`,
	} {
		for _, in := range []action.Input{input(attack, "x"), input("x", attack), input(attack, attack)} {
			in.Incident, in.Token, in.Run = attack, attack, attack
			before := len(s.mails())
			c := plan(t, a, in)
			if len(c.After) > 1<<19 || len(c.Params) > 1<<19 {
				t.Errorf("%.40q: a plan of %d and %d bytes", attack, len(c.After), len(c.Params))
			}
			if _, err := a.Apply(t.Context(), c); err != nil {
				t.Fatalf("%.40q: %v", attack, err)
			}
			mails := s.mails()
			if len(mails) != before+1 {
				t.Fatalf("%.40q: %d mails came of it", attack, len(mails)-before)
			}
			checkMail(t, attack, parse(t, mails[before]))
		}
	}
	for _, command := range s.commands() {
		if strings.Contains(command, "evil") {
			t.Errorf("the server heard %q", command)
		}
	}
}

func checkMail(t *testing.T, attack string, m *mail.Message) {
	t.Helper()
	known := []string{
		"From", "To", "Subject", "Date", "Message-Id", "Mime-Version", "Content-Type", "Content-Transfer-Encoding", "Auto-Submitted", "X-Riposte-Incident",
	}
	for name, values := range m.Header {
		if !slices.Contains(known, name) || len(values) != 1 {
			t.Errorf("%.40q: a header %s %q", attack, name, values)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	bad := func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
	}
	if err != nil || subject == "" || utf8.RuneCountInString(subject) > 200 || strings.ContainsFunc(subject, unicode.IsControl) || strings.ContainsFunc(subject, bad) {
		t.Errorf("%.40q: got subject %.80q, %v", attack, subject, err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || !utf8.Valid(body) || strings.TrimSpace(string(body)) == "" || strings.ContainsFunc(string(body), bad) {
		t.Errorf("%.40q: got text %.80q, %v", attack, body, err)
	}
}

func TestSomeAddressesAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *server) { s.answers["RCPT TO:<ann@example.com>"] = "550 5.1.1 no such user" })
	a := mailer(t, config(s))
	result, err := a.Apply(t.Context(), plan(t, a, input("s", "m")))
	if err != nil || result.Outputs["accepted"] != int64(1) || !strings.Contains(result.Note, `the server refused ann@example.com: 550 "5.1.1 no such user"`) || len(s.mails()) != 1 {
		t.Errorf("got %+v, %v; want a mail to bob and a note", result, err)
	}
}

func TestErrorsHaveTheirKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers map[string]string
		want    fault.Kind
	}{
		"login":         {map[string]string{"AUTH": "535 5.7.8 no: " + password}, fault.Denied},
		"login later":   {map[string]string{"AUTH": "454 4.7.0 later"}, fault.Transient},
		"sender":        {map[string]string{"MAIL": "550 5.7.1 not you"}, fault.Invalid},
		"needs login":   {map[string]string{"MAIL": "530 5.7.0 log in"}, fault.Denied},
		"nobody":        {map[string]string{"RCPT": "550 5.1.1 no such user"}, fault.Invalid},
		"nobody now":    {map[string]string{"RCPT": "451 4.3.0 greylisted"}, fault.Transient},
		"data":          {map[string]string{"DATA": "452 4.3.1 full"}, fault.Transient},
		"content":       {map[string]string{".": "554 5.6.0 spam"}, fault.Invalid},
		"content later": {map[string]string{".": "421 4.3.2 shutting down"}, fault.Transient},
		"nonsense":      {map[string]string{"MAIL": "\x00\x1bwhat"}, fault.Transient},
		"endless":       {map[string]string{"MAIL": strings.Repeat("250-x\r\n", 1<<16)}, fault.Transient},
		"a long line":   {map[string]string{"MAIL": strings.Repeat("x", 1<<20)}, fault.Transient},
		"garbage":       {map[string]string{"EHLO": "250-" + strings.Repeat("x", 1000) + "\r\n250 OK"}, fault.Denied},
	} {
		s := start(t, func(s *server) { s.answers = c.answers })
		a := mailer(t, config(s))
		_, err := a.Apply(t.Context(), plan(t, a, input("s", "m")))
		if !fault.Is(err, c.want) || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "mail server 127.0.0.1") {
			t.Errorf("%s: got %v (%v), want %v and no password", name, err, fault.KindOf(err), c.want)
		}
		if len(err.Error()) > 1000 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("%s: got %q", name, err)
		}
		if len(s.mails()) != 0 {
			t.Errorf("%s: a mail was taken", name)
		}
	}
	s := start(t, nil)
	c := config(s)
	_ = s.listener.Close()
	a := mailer(t, c)
	if _, err := a.Apply(t.Context(), plan(t, a, input("s", "m"))); !fault.Is(err, fault.Transient) {
		t.Errorf("away: got %v, want it transient", err)
	}
	in := input("s", "m")
	in.Params["to"] = "evil@example.com"
	if _, err := a.Plan(t.Context(), in); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "there are oncall, security") {
		t.Errorf("got %v, want the lists that there are", err)
	}
}

func TestTheContextEndsIt(t *testing.T) {
	t.Parallel()
	for name, security := range map[string]email.Security{"greeting": email.StartTLS, "handshake": email.Implicit} {
		s := start(t, func(s *server) { s.hang = make(chan struct{}) })
		c := config(s)
		c.TLS = security
		a := mailer(t, c)
		stopped := errors.New("stopped")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, stopped)
		defer cancel()
		if _, err := a.Apply(ctx, plan(t, a, input("s", "m"))); !fault.Is(err, fault.Transient) || !errors.Is(err, stopped) {
			t.Errorf("%s: got %v, want it transient with its cause", name, err)
		}
	}
}

func TestAWrongNameIsSeenEarly(t *testing.T) {
	t.Parallel()
	_, err := action.Bind(mailer(t, config(start(t, nil))).Spec(), map[string]any{"to": "nobody", "message": "m"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `"nobody" is not one of `) {
		t.Errorf("got %v, want the names that there are", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := email.Config{Host: "mail.example.com", From: "riposte@example.com", Lists: map[string][]string{"security": {"ann@example.com"}}}
	if _, err := email.New(good, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		change func(*email.Config)
	}{
		{"email.host: ", func(c *email.Config) { c.Host = "" }},
		{"email.host: ", func(c *email.Config) { c.Host = "a b" }},
		{"email.tls: none is", func(c *email.Config) { c.TLS = email.None }},
		{"email.tls: ", func(c *email.Config) { c.TLS = "ssl" }},
		{"email.port: ", func(c *email.Config) { c.Port = 65536 }},
		{"email.ca: ", func(c *email.Config) { c.CA = secret.New("no certificate") }},
		{"email.username: ", func(c *email.Config) { c.Username = "ann" }},
		{"email.username: ", func(c *email.Config) { c.Password = secret.New(password) }},
		{"email.password: ", func(c *email.Config) { c.Username, c.Password = "ann", secret.New(password+"\x00") }},
		{"email.from: ", func(c *email.Config) { c.From = "" }},
		{"email.from: ", func(c *email.Config) { c.From = "riposte@example.com\r\nBcc: a@example.com" }},
		{"email.hello: ", func(c *email.Config) { c.Hello = "a\r\nb" }},
		{"email.lists.security: ", func(c *email.Config) { c.Lists = map[string][]string{"security": {}} }},
		{"email.lists.security: ", func(c *email.Config) { c.Lists = map[string][]string{"security": make([]string, 101)} }},
		{"email.lists.security[1]: ", func(c *email.Config) { c.Lists = map[string][]string{"security": {"a@example.com", "b"}} }},
		{"email.lists.security[0]: ", func(c *email.Config) { c.Lists = map[string][]string{"security": {`"a b"@example.com`}} }},
		{"email.lists.security[0]: ", func(c *email.Config) { c.Lists = map[string][]string{"security": {"ä@example.com"}} }},
	} {
		wrong := good
		c.change(&wrong)
		if _, err := email.New(wrong, nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), password) {
			t.Errorf("got %v, want it invalid with %q", err, c.want)
		}
	}
	if m, err := email.New(email.Config{}, nil); err != nil || len(m.Actions()) != 0 {
		t.Errorf("got %v, want no actions where nothing is configured", err)
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	t.Parallel()
	doc, err := document.Parse("riposte.yaml", []byte(`
host: mail.example.com
tls: implicit
username: ann
password: {env: MAIL}
from: Riposte <riposte@example.com>
lists: {security: [ann@example.com]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var c email.Config
	if err := doc.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if _, err := doc.Resolve(func(string) (string, bool) { return password, true }); err != nil {
		t.Fatal(err)
	}
	if _, err := email.New(c, nil); err != nil {
		t.Error(err)
	}
}
