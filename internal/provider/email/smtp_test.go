package email_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/riposte-sec/riposte/internal/secret"
)

// server is a small SMTP server (RFC 5321, 3207, 4954) that keeps what it takes.
type server struct {
	listener net.Listener
	tls      *tls.Config
	ca       secret.Secret
	sessions sync.WaitGroup

	implicit bool
	offers   []string          // extensions, in answer to EHLO
	answers  map[string]string // instead of the usual ones, by command: "RCPT TO:<a@example.com>", "."
	hang     chan struct{}     // says nothing until it is closed

	mu       sync.Mutex
	taken    []string
	heard    []string // commands, in plain text those with "plain " before them
	password string
}

func start(t *testing.T, change func(*server)) *server {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS() // for its certificate, which is for 127.0.0.1
	web.Close()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		listener: listener, offers: []string{"STARTTLS", "AUTH LOGIN PLAIN", "8BITMIME"}, answers: map[string]string{},
		tls: &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12},
		ca:  secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}))),
	}
	if change != nil {
		change(s)
	}
	s.sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.sessions.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		if s.hang != nil {
			close(s.hang)
		}
		s.sessions.Wait()
	})
	return s
}

func (s *server) port() int {
	address, ok := s.listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0
	}
	return address.Port
}

func (s *server) mails() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.taken...)
}

func (s *server) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.heard...)
}

func (s *server) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if s.hang != nil {
		<-s.hang
		return
	}
	secure := s.implicit
	if secure {
		conn = tls.Server(conn, s.tls)
	}
	in := bufio.NewReader(conn)
	say := func(text string) { _, _ = fmt.Fprintf(conn, "%s\r\n", text) }
	say("220 mail.example.com ready")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.hear(line, secure)
		verb, _, _ := strings.Cut(line, " ")
		if answer, set := s.answers[line]; set {
			say(answer)
			continue
		}
		if answer, set := s.answers[verb]; set {
			say(answer)
			continue
		}
		switch verb {
		case "EHLO":
			say(strings.TrimSuffix("250-mail.example.com\r\n250-"+strings.Join(s.offers, "\r\n250-")+"\r\n250 OK", "\r\n"))
		case "STARTTLS":
			say("220 go on")
			conn, secure = tls.Server(conn, s.tls), true
			in = bufio.NewReader(conn)
		case "AUTH":
			say(s.login(line))
		case "DATA":
			say("354 go on")
			mail := readMail(in)
			if answer, set := s.answers["."]; set {
				say(answer)
				continue
			}
			s.mu.Lock()
			s.taken = append(s.taken, mail)
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 OK")
		}
	}
}

func (s *server) hear(line string, secure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !secure {
		line = "plain " + line
	}
	s.heard = append(s.heard, line)
}

func (s *server) login(line string) string {
	want := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + s.password))
	if line != "AUTH PLAIN "+want {
		return "535 5.7.8 wrong: " + s.password
	}
	return "235 welcome"
}

// readMail reads up to the dot, and takes the dots away that were put before others.
func readMail(in *bufio.Reader) string {
	var mail strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == ".\r\n" {
			return mail.String()
		}
		mail.WriteString(strings.TrimPrefix(line, "."))
	}
}
