// Package approvallink makes links by which people answer a question once, and serves the page behind them.
//
// A link is the right to answer: whoever has it may, for as long as it lasts. So it is for exact plans, ends
// with the question's time, works once, and nothing but its digest is kept. docs/design/answers.md tells why.
package approvallink

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
)

const (
	// Path is where links are served.
	Path = "/a/"
	// lifetime is the longest that a link lasts.
	lifetime = 24 * time.Hour
	// tokenBytes are random; tokenLength is how many characters they make in base64url.
	tokenBytes  = 32
	tokenLength = 43
)

// Config switches links on.
type Config struct {
	// BaseURL is the address by which people reach this API, such as https://riposte.example.com; links are
	// off if it is empty.
	BaseURL string `yaml:"base_url"`
}

// Check checks the configuration. Errors are Invalid and name the key.
func (c Config) Check() error {
	if c.BaseURL == "" {
		return nil
	}
	if err := courier.CheckURL(c.BaseURL); err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("approvals.links.base_url: %w", err))
	}
	if strings.Contains(c.BaseURL, "?") {
		return fault.New(fault.Invalid, "approvals.links.base_url: has a ? in it")
	}
	return nil
}

// Link is what is kept of one.
type Link struct {
	Digest   string    `json:"-"` // SHA-256 of the token, in hexadecimal
	Approval string    `json:"approval"`
	Hash     string    `json:"hash"` // of the plans that it is for
	Name     string    `json:"name"` // whose it is: an addressee or a channel
	Roles    []string  `json:"roles"`
	Made     time.Time `json:"made"`
	Expires  time.Time `json:"expires"`
	Used     time.Time `json:"-"` // zero until then
}

// By is how the ledger names whoever answers by the link.
func (l Link) By() string { return question.ByLink + l.Name }

// Via is the way of an answer: it tells links of one name apart.
func (l Link) Via() string { return "link " + l.Digest[:12] }

// Store keeps links.
type Store interface {
	KeepLink(ctx context.Context, l Link) error
	// Link gives a link by its token's digest; the error is NotFound where there is none.
	Link(ctx context.Context, digest string) (Link, error)
	// UseLink marks a link as used. Of several callers one gets true.
	UseLink(ctx context.Context, digest string, at time.Time) (bool, error)
	// ReleaseLink takes a use back that led to nothing.
	ReleaseLink(ctx context.Context, digest string, used time.Time) error
}

// Desk knows questions and takes answers.
type Desk interface {
	Question(ctx context.Context, approval string) (question.Question, error)
	Decide(ctx context.Context, a question.Answer) (run.Approval, error)
}

// Options are what links need.
type Options struct {
	Store Store
	Desk  Desk
	// Missed counts a request for a link that there isn't, and reports whether its address had too many.
	Missed func(r *http.Request) bool
	Now    func() time.Time
	Logger *slog.Logger
}

// Links makes links and, as an http.Handler, serves them.
type Links struct {
	Options
	base string
}

// New makes links below the configured address.
func New(c Config, o Options) *Links {
	return &Links{Options: o, base: strings.TrimSuffix(c.BaseURL, "/") + Path}
}

// Mint makes a link to a question for one addressee, who has the roles, and gives its address. What is kept
// of the address is a digest: nobody can be told it again.
func (l *Links) Mint(ctx context.Context, q question.Question, name string, roles []string) (string, error) {
	random := make([]byte, tokenBytes)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("make link: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(random)
	now := l.Now()
	made := Link{
		Digest: digest(token), Approval: q.ID, Hash: q.Hash, Name: question.Legible(name, 200), Roles: roles, Made: now,
		Expires: now.Add(lifetime),
	}
	if q.Deadline.After(now) && q.Deadline.Before(made.Expires) { // past it the question was escalated and stays open
		made.Expires = q.Deadline
	}
	if err := l.Store.KeepLink(ctx, made); err != nil {
		return "", err
	}
	return l.base + token, nil
}

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// isToken reports whether a text may be a token at all.
func isToken(text string) bool {
	if len(text) != tokenLength {
		return false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(raw) == tokenBytes
}
