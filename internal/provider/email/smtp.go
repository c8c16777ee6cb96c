package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// mostReplies bounds what a server can say in one connection, in bytes.
	mostReplies = 256 << 10
	// defaultTimeout is for one delivery, where the context has no deadline that is sooner.
	defaultTimeout = 30 * time.Second
)

var errTimeout = errors.New("no answer in time")

// deliver hands a letter to the server. It returns the addresses that the server refused, each with its
// reason, and an error where it took none. Errors are Transient where trying again later may work, Denied
// where the server doesn't let us in, else Invalid.
func (m *Mail) deliver(ctx context.Context, l letter) (refused []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, defaultTimeout, errTimeout)
	defer cancel()
	conn, err := m.dial(ctx)
	if err != nil {
		return nil, m.explain(ctx, "connect", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() { stop(); _ = conn.Close() }()
	client, err := m.open(conn)
	if err != nil {
		return nil, m.explain(ctx, "connect", err)
	}
	if err := m.greet(client); err != nil {
		return nil, m.explain(ctx, "greet", err)
	}
	if err := client.Mail(l.Sender); err != nil {
		return nil, m.explain(ctx, "name the sender", err)
	}
	refused, err = m.address(ctx, client, l.Receivers)
	if err != nil {
		return nil, err
	}
	if err := m.hand(client, l); err != nil {
		return nil, m.explain(ctx, "hand over", err)
	}
	_ = client.Quit() // the mail is taken, whatever the server says to this
	return refused, nil
}

// dial gives the connection below all encryption. To close it ends whatever waits for the server.
func (m *Mail) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(m.config.Host, strconv.Itoa(m.config.Port)))
	if err != nil {
		return nil, err
	}
	return &bounded{Conn: conn, left: mostReplies}, nil
}

func (m *Mail) open(conn net.Conn) (*smtp.Client, error) {
	if m.config.TLS == Implicit {
		conn = tls.Client(conn, m.tls)
	}
	return smtp.NewClient(conn, m.config.Host)
}

// greet says hello, encrypts and logs in. Without encryption nothing goes on, except to this very machine.
func (m *Mail) greet(client *smtp.Client) error {
	if err := client.Hello(m.config.Hello); err != nil {
		return err
	}
	if m.config.TLS == StartTLS {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return fault.New(fault.Denied, "the server offers no STARTTLS; nothing is sent in plain")
		}
		if err := client.StartTLS(m.tls); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if m.config.Username == "" {
		return nil
	}
	if offered, ways := client.Extension("AUTH"); !offered || !strings.Contains(" "+ways+" ", " PLAIN ") {
		return fault.New(fault.Denied, "the server offers no AUTH PLAIN")
	}
	if err := client.Auth(smtp.PlainAuth("", m.config.Username, m.config.Password.Reveal(), m.config.Host)); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

// address names the receivers. One that is refused doesn't keep the others from hearing.
func (m *Mail) address(ctx context.Context, client *smtp.Client, receivers []string) (refused []string, err error) {
	var last error
	for _, to := range receivers {
		err := client.Rcpt(to)
		if err == nil {
			continue
		}
		last = m.explain(ctx, "name "+to, err)
		if _, answered := errors.AsType[*textproto.Error](err); !answered {
			return nil, last
		}
		refused = append(refused, fmt.Sprintf("%s: %s", to, &scrubbed{err, m.config.Password.Reveal()}))
	}
	if len(refused) == len(receivers) {
		return nil, last
	}
	return refused, nil
}

func (m *Mail) hand(client *smtp.Client, l letter) error {
	data, err := client.Data()
	if err != nil {
		return err
	}
	if err := l.write(data, m.now()); err != nil {
		return err
	}
	return data.Close()
}

// explain gives an error its kind and a text without secrets, control characters or end.
func (m *Mail) explain(ctx context.Context, doing string, err error) error {
	kind := fault.Transient
	if own, ok := errors.AsType[*fault.Error](err); ok {
		kind = own.Kind
	}
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		kind = kindOf(answer.Code)
	} else if cause := ending(ctx); cause != nil {
		err = cause
	}
	return fault.Wrap(kind, fmt.Errorf("mail server %s: %s: %w", m.config.Host, doing, &scrubbed{err, m.config.Password.Reveal()}))
}

// ending gives why ctx ended, nil if it hasn't. A connection may notice that its time is over a moment before ctx
// does, which then follows.
func ending(ctx context.Context) error {
	if deadline, bounded := ctx.Deadline(); bounded && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	return context.Cause(ctx)
}

func kindOf(code int) fault.Kind {
	switch {
	case code >= 400 && code < 500:
		return fault.Transient
	case code == 530, code == 534, code == 535, code == 538: // about logging in
		return fault.Denied
	}
	return fault.Invalid
}

// scrubbed is an error whose text is short, printable and without the password.
type scrubbed struct {
	err    error
	secret string
}

// Error is the error's text as one line, bounded.
func (s *scrubbed) Error() string {
	const longest = 300
	text := s.err.Error()
	if s.secret != "" {
		text = strings.ReplaceAll(text, s.secret, "[secret]")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	return legible(text, longest)
}

// Unwrap gives the error as it was.
func (s *scrubbed) Unwrap() error { return s.err }

// bounded is a connection from which only so much is read.
type bounded struct {
	net.Conn
	left int
}

// Read reads until the bound is reached.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the server says more than %d bytes: %w", mostReplies, io.ErrUnexpectedEOF)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
