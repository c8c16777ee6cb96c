// Package email sends mail over SMTP.
package email

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// Security is how a connection to the server is protected.
type Security string

// The ways.
const (
	StartTLS Security = "starttls" // begins in plain; nothing is said before it is encrypted
	Implicit Security = "implicit" // encrypted from the first byte
	None     Security = "none"     // for a server on this very machine only
)

// Config says which server takes our mail and who gets it.
type Config struct {
	// Host is the server's name; its certificate must be for it.
	Host string `yaml:"host"`
	// Port is 587 if zero, 465 where tls is implicit.
	Port int `yaml:"port"`
	// TLS is starttls if empty.
	TLS Security `yaml:"tls"`
	// CA is a file of certificates in PEM that are trusted instead of the system's. It is no secret; it is
	// read like one.
	CA secret.Secret `yaml:"ca"`
	// Hello is the name by which we greet the server; the domain of from if empty.
	Hello string `yaml:"hello"`
	// Username and Password log in by AUTH PLAIN; both or neither.
	Username string        `yaml:"username"`
	Password secret.Secret `yaml:"password"`
	// From is the sender: an address, with a name or without.
	From string `yaml:"from"`
	// Lists are who gets mail, by the name that playbooks use.
	Lists map[string][]string `yaml:"lists"`
}

const (
	// mostRecipients is how many addresses a list may have.
	mostRecipients = 100
	submission     = 587
	submissions    = 465
)

// Mail sends to the configured lists.
type Mail struct {
	config Config
	from   *mail.Address
	lists  map[string][]*mail.Address
	tls    *tls.Config
	now    func() time.Time
}

// New checks the configuration. Errors are Invalid and name the key. Mail takes another way than HTTP; the
// courier is for the sake of one form of all such packages.
func New(c Config, _ *courier.Courier) (*Mail, error) {
	m := &Mail{config: c, lists: map[string][]*mail.Address{}, now: time.Now}
	if c.Host == "" && len(c.Lists) == 0 {
		return m, nil // not configured
	}
	errs := []error{m.checkServer(), m.checkLogin(), m.checkPeople()}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return m, nil
}

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?$`)

func (m *Mail) checkServer() error {
	c := &m.config
	if !hostPattern.MatchString(c.Host) {
		return errors.New("email.host: not the name of a server, without a port")
	}
	if c.TLS == "" {
		c.TLS = StartTLS
	}
	switch c.TLS {
	case StartTLS, Implicit:
	case None:
		if !courier.Local(c.Host) {
			return errors.New("email.tls: none is for a server on this machine only; use starttls or implicit")
		}
	default:
		return fmt.Errorf("email.tls: %q is not starttls, implicit or none", c.TLS)
	}
	if c.Port == 0 {
		c.Port = submission
		if c.TLS == Implicit {
			c.Port = submissions
		}
	}
	if c.Port < 1 || c.Port > 65535 {
		return fmt.Errorf("email.port: %d is no port", c.Port)
	}
	m.tls = &tls.Config{ServerName: c.Host, MinVersion: tls.VersionTLS12}
	if c.CA.IsZero() {
		return nil
	}
	m.tls.RootCAs = x509.NewCertPool()
	if !m.tls.RootCAs.AppendCertsFromPEM([]byte(c.CA.Reveal())) {
		return errors.New("email.ca: there is no certificate in it, in PEM")
	}
	return nil
}

func (m *Mail) checkLogin() error {
	c := m.config
	if (c.Username == "") != c.Password.IsZero() {
		return errors.New("email.username: needs email.password, or neither")
	}
	if strings.ContainsRune(c.Username, 0) || strings.ContainsRune(c.Password.Reveal(), 0) {
		return errors.New("email.password: there is a zero byte in it or in the username")
	}
	return nil
}

func (m *Mail) checkPeople() error {
	var errs []error
	from, err := address(m.config.From)
	if err != nil {
		errs = append(errs, fmt.Errorf("email.from: %w", err))
	}
	m.from = from
	if m.config.Hello == "" && from != nil {
		m.config.Hello = domain(from)
	}
	if from != nil && !hostPattern.MatchString(m.config.Hello) {
		errs = append(errs, errors.New("email.hello: not a name of a machine"))
	}
	for _, name := range slices.Sorted(maps.Keys(m.config.Lists)) {
		people := m.config.Lists[name]
		if len(people) == 0 || len(people) > mostRecipients {
			errs = append(errs, fmt.Errorf("email.lists.%s: needs 1 to %d addresses", name, mostRecipients))
		}
		for i, text := range people {
			to, err := address(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("email.lists.%s[%d]: %w", name, i, err))
				continue
			}
			m.lists[name] = append(m.lists[name], to)
		}
	}
	return errors.Join(errs...)
}

var addressPattern = regexp.MustCompile("^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$")

// address reads an address that every server takes: ASCII without quotes.
func address(text string) (*mail.Address, error) {
	parsed, err := mail.ParseAddress(text)
	if err != nil || !addressPattern.MatchString(parsed.Address) {
		return nil, fmt.Errorf("%.100q is no address such as name@example.com", text)
	}
	return parsed, nil
}

func domain(a *mail.Address) string { return a.Address[strings.LastIndexByte(a.Address, '@')+1:] }

// names are the lists that playbooks can name.
func (m *Mail) names() []string { return slices.Sorted(maps.Keys(m.lists)) }

// Actions are what the package adds to an installation: none where no list is configured.
func (m *Mail) Actions() []action.Action {
	if len(m.lists) == 0 {
		return nil
	}
	return []action.Action{&send{m}}
}
