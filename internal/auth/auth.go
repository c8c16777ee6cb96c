// Package auth knows who asks, by tokens or signed requests, and what they may do.
package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/secret"
)

// ErrUnauthenticated is in the chain of errors about who somebody is. An error of kind Denied without it is
// about what they may do.
var ErrUnauthenticated = errors.New("not authenticated")

// ErrTooMany is in the chain, with ErrUnauthenticated, where an address failed too often in a while.
var ErrTooMany = errors.New("too many attempts")

// Config says who may come in.
type Config struct {
	// Tokens are people's and machines' bearer tokens, by their hashes.
	Tokens []Token `yaml:"tokens"`
	// Senders are machines that sign the events that they hand in.
	Senders []Sender `yaml:"senders"`
}

// Token is one bearer token. What is configured is its hash, which is no secret.
type Token struct {
	// Name is whose it is; the ledger says it of all that is done with the token.
	Name string `yaml:"name"`
	// SHA256 is the SHA-256 of the token's text, 64 hexadecimal digits.
	SHA256 string `yaml:"sha256"`
	Roles  []Role `yaml:"roles"`
	// Expires is when the token ends; it has no end if zero.
	Expires time.Time `yaml:"expires"`
}

// Sender is one machine that signs the events that it hands in.
type Sender struct {
	Name string `yaml:"name"`
	// Secret is shared with the sender, 32 bytes or more.
	Secret secret.Secret `yaml:"secret"`
}

// Identity is who asks.
type Identity struct {
	Name  string `json:"name"`
	Roles []Role `json:"roles"`
}

// May reports whether one of the roles has a permission.
func (i Identity) May(p Permission) bool {
	return slices.ContainsFunc(i.Roles, func(r Role) bool { return r.May(p) })
}

// Has reports whether the identity has a role.
func (i Identity) Has(r Role) bool { return slices.Contains(i.Roles, r) }

// Check returns nil if the identity has a permission, else an error of kind Denied that says who has.
func (i Identity) Check(p Permission) error {
	if i.May(p) {
		return nil
	}
	holders := make([]string, 0, len(allowed[p]))
	for _, r := range allowed[p] {
		holders = append(holders, string(r))
	}
	return fault.New(fault.Denied, "%s lacks the permission %s, which %s have", i.Name, p, strings.Join(holders, ", "))
}

// Keeper knows tokens and senders. It is safe for use by several goroutines.
type Keeper struct {
	tokens  []known
	senders map[string][]byte // keys by name
	only    string            // the sender's name where there is but one
	decoy   []byte            // the key of senders that don't exist
	now     func() time.Time
	misses  *misses
}

type known struct {
	identity Identity
	hash     [sha256.Size]byte
	expires  time.Time
}

const (
	mostTokens     = 1000
	mostSenders    = 1000
	shortestSecret = 32
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`)

// New checks the configuration. Errors are Invalid and name the key.
func New(c Config, now func() time.Time) (*Keeper, error) {
	k := &Keeper{senders: map[string][]byte{}, decoy: make([]byte, shortestSecret), now: now, misses: newMisses()}
	if _, err := rand.Read(k.decoy); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	names := map[string]bool{strings.ToLower(record.System): true}
	if err := errors.Join(k.addTokens(c.Tokens, names), k.addSenders(c.Senders, names)); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return k, nil
}

func (k *Keeper) addTokens(tokens []Token, names map[string]bool) error {
	if len(tokens) > mostTokens {
		return fmt.Errorf("auth.tokens: %d; at most %d are kept", len(tokens), mostTokens)
	}
	var errs []error
	hashes := map[[sha256.Size]byte]bool{}
	for i, t := range tokens {
		entry, err := t.check(names)
		if err == nil && hashes[entry.hash] {
			err = errors.New("sha256: the same as another token's")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("auth.tokens[%d].%w", i, err))
			continue
		}
		hashes[entry.hash] = true
		k.tokens = append(k.tokens, entry)
	}
	return errors.Join(errs...)
}

func (t Token) check(names map[string]bool) (known, error) {
	entry := known{identity: Identity{Name: t.Name, Roles: slices.Clone(t.Roles)}, expires: t.Expires}
	if err := take(t.Name, names); err != nil {
		return entry, err
	}
	if strings.HasPrefix(t.SHA256, prefix) {
		return entry, errors.New("sha256: this is a token; here stands its hash, and the token is now to be replaced")
	}
	hash, err := hex.DecodeString(t.SHA256)
	if err != nil || len(hash) != sha256.Size {
		return entry, errors.New("sha256: not 64 hexadecimal digits")
	}
	copy(entry.hash[:], hash)
	if len(t.Roles) == 0 {
		return entry, errors.New("roles: there is none")
	}
	for i, r := range t.Roles {
		if !slices.Contains(Roles(), r) {
			return entry, fmt.Errorf("roles[%d]: %.100q is no role", i, r)
		}
	}
	return entry, nil
}

func (k *Keeper) addSenders(senders []Sender, names map[string]bool) error {
	if len(senders) > mostSenders {
		return fmt.Errorf("auth.senders: %d; at most %d are kept", len(senders), mostSenders)
	}
	var errs []error
	for i, s := range senders {
		if err := take(s.Name, names); err != nil {
			errs = append(errs, fmt.Errorf("auth.senders[%d].%w", i, err))
			continue
		}
		key := s.Secret.Reveal()
		if len(key) < shortestSecret {
			errs = append(errs, fmt.Errorf("auth.senders[%d].secret: shorter than %d bytes", i, shortestSecret))
			continue
		}
		k.senders[s.Name], k.only = []byte(key), s.Name
	}
	if len(k.senders) != 1 {
		k.only = ""
	}
	return errors.Join(errs...)
}

// take makes sure that a name can stand in the ledger and is somebody's alone.
func take(name string, names map[string]bool) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("name: %.100q is not up to 64 letters, digits and . _ @ + -", name)
	}
	folded := strings.ToLower(name)
	if names[folded] {
		return fmt.Errorf("name: %q is taken", name)
	}
	names[folded] = true
	return nil
}

// Who says whose bearer token a request has. The error is of kind Denied with ErrUnauthenticated in its
// chain; and ErrTooMany, where the request's address failed too often in the last minute. A right token is
// let in whatever else came from its address: behind a proxy all addresses are one.
func (k *Keeper) Who(r *http.Request) (Identity, error) {
	identity, err := k.who(r.Header.Values("Authorization"))
	if err != nil && k.misses.add(r.RemoteAddr, k.now()) {
		return Identity{}, fault.Wrap(fault.Denied, fmt.Errorf("%w: %w", ErrTooMany, err))
	}
	return identity, err
}

func (k *Keeper) who(headers []string) (Identity, error) {
	if len(headers) != 1 {
		return Identity{}, unauthenticated("needs one Authorization header, Bearer and a token")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Identity{}, unauthenticated("needs an Authorization header with Bearer and a token")
	}
	if err := CheckForm(token); err != nil {
		return Identity{}, unauthenticated(err.Error())
	}
	found, ok := k.find(sha256.Sum256([]byte(token)))
	if !ok {
		return Identity{}, unauthenticated("the token is not known")
	}
	if !found.expires.IsZero() && !k.now().Before(found.expires) {
		return Identity{}, unauthenticated("the token of " + found.identity.Name + " has expired")
	}
	return Identity{Name: found.identity.Name, Roles: slices.Clone(found.identity.Roles)}, nil
}

func unauthenticated(why string) error {
	return fault.New(fault.Denied, "%w: %s", ErrUnauthenticated, why)
}
