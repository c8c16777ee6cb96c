package cloudevents

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/secret"
)

// Config names who gets the ledger's records as CloudEvents.
type Config struct {
	Endpoints map[string]Endpoint `yaml:"endpoints"`
}

// Endpoint is one receiver.
type Endpoint struct {
	// URL is https, or http to this very machine.
	URL string `yaml:"url"`
	// Secret signs what is sent, as in the Standard Webhooks specification: whsec_ and 24 to 64 bytes in base64.
	Secret secret.Secret `yaml:"secret"`
	// Token is sent as a bearer token, as the CloudEvents webhook specification has it.
	Token secret.Secret `yaml:"token"`
	// Types are kinds of records, such as run.ended, or patterns of them, such as incident.*; all if there are none.
	Types []string `yaml:"types"`
	// Timeout bounds one request; 10 s if zero.
	Timeout time.Duration `yaml:"timeout"`
}

const (
	keyPrefix               = "whsec_"
	shortestKey, longestKey = 24, 64
	longestTimeout          = 30 * time.Second
	// typePrefix comes before a record's kind.
	typePrefix = "com.riposte."
)

// Entry is a record with its place in the ledger.
type Entry struct {
	Seq int64
	record.Record
	// Canonical is how the ledger writes it, which its hash is of.
	Canonical []byte
}

// Receiver gets records.
type Receiver struct {
	Name    string
	to      Endpoint
	key     []byte
	source  string
	courier *courier.Courier
	now     func() time.Time
}

// New checks the configuration and gives its receivers by name. source names the ledger in what is sent. Errors
// are Invalid and name the key.
func New(c Config, source string, post *courier.Courier, now func() time.Time) ([]*Receiver, error) {
	var all []*Receiver
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Endpoints)) {
		to := c.Endpoints[name]
		key, err := to.check()
		if err != nil {
			errs = append(errs, fmt.Errorf("cloudevents.endpoints.%s.%w", name, err))
		}
		all = append(all, &Receiver{Name: name, to: to, key: key, source: source, courier: post, now: now})
	}
	return all, fault.Wrap(fault.Invalid, errors.Join(errs...))
}

func (e Endpoint) check() (key []byte, err error) {
	if err := courier.CheckURL(e.URL); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if e.Timeout < 0 || e.Timeout > longestTimeout {
		return nil, fmt.Errorf("timeout: %s is not between 0 and %s", e.Timeout, longestTimeout)
	}
	for i, pattern := range e.Types {
		if !slices.ContainsFunc(record.Kinds(), func(k record.Kind) bool { return matches(pattern, k) }) {
			return nil, fmt.Errorf("types[%d]: no record is a %q", i, pattern)
		}
	}
	if e.Secret.IsZero() {
		return nil, nil
	}
	encoded, ok := strings.CutPrefix(e.Secret.Reveal(), keyPrefix)
	key, err = base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < shortestKey || len(key) > longestKey {
		return nil, fmt.Errorf("secret: needs %s and base64 of %d to %d random bytes, as `openssl rand -base64 32` makes",
			keyPrefix, shortestKey, longestKey)
	}
	return key, nil
}

func matches(pattern string, kind record.Kind) bool {
	fits, err := path.Match(pattern, string(kind))
	return err == nil && fits
}

// Wants reports whether the receiver is sent records of a kind.
func (r *Receiver) Wants(kind record.Kind) bool {
	return len(r.to.Types) == 0 || slices.ContainsFunc(r.to.Types, func(pattern string) bool { return matches(pattern, kind) })
}

// message is a CloudEvent in its structured form.
type message struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

// Send posts one record. Its id is its number in the ledger, so a receiver knows one that comes again. Errors are
// Invalid where the receiver doesn't take the record, Denied where it doesn't let us, else Transient.
func (r *Receiver) Send(ctx context.Context, e Entry) error {
	id := strconv.FormatInt(e.Seq, 10)
	text, err := json.Marshal(message{
		SpecVersion: "1.0", ID: id, Source: r.source, Type: typePrefix + string(e.Kind), Subject: subject(e.Record), Time: e.Time.UTC(),
		DataContentType: "application/json", Data: e.Canonical,
	})
	if err != nil {
		return fault.New(fault.Invalid, "encode record %d: %w", e.Seq, err)
	}
	header := http.Header{"Content-Type": {structured + "; charset=utf-8"}, "User-Agent": {"Riposte"}}
	if !r.to.Token.IsZero() {
		header.Set("Authorization", "Bearer "+r.to.Token.Reveal())
	}
	if len(r.key) > 0 {
		r.sign(header, id, text)
	}
	_, err = r.courier.Post(ctx, courier.Parcel{
		Receiver: "cloudevents " + r.Name, URL: r.to.URL, Header: header, Body: text, Timeout: r.to.Timeout,
		Secrets: []secret.Secret{r.to.Secret, r.to.Token},
	})
	return err
}

// subject is what a record is about: its run, or else its incident.
func subject(r record.Record) string {
	if r.Run != "" {
		return r.Run
	}
	return r.Incident
}

// sign adds the headers of Standard Webhooks.
func (r *Receiver) sign(header http.Header, id string, text []byte) {
	timestamp := strconv.FormatInt(r.now().Unix(), 10)
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(text)
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", timestamp)
	header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
