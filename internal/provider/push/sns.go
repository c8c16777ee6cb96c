package push

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SNS's signature version 1
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// largestNotification is above SNS's own bound of 256 KiB with its envelope.
	largestNotification = 1 << 20
	// freshness is how old a notification may be: SNS itself retries for hours, and never with a new
	// timestamp, so this only bounds replays of old ones.
	freshness = 48 * time.Hour
	// mostCertificates bounds how many signing certificates are remembered.
	mostCertificates = 64
)

// SNSConfig says which topics may post.
type SNSConfig struct {
	// Topics are the ARNs of topics whose notifications are taken and whose subscriptions are confirmed.
	Topics []string `yaml:"topics"`
}

// SNS takes notifications that Amazon SNS posts over HTTPS. Each is believed by its signature alone
// (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
type SNS struct {
	topics []string
	sink   event.Sink
	client *http.Client
	now    func() time.Time
	logger *slog.Logger

	mu           sync.Mutex
	certificates map[string]*x509.Certificate // by URL
}

// NewSNS makes a handler. The client fetches certificates and confirms subscriptions; it must verify TLS.
func NewSNS(c SNSConfig, sink event.Sink, client *http.Client, now func() time.Time, logger *slog.Logger) *SNS {
	return &SNS{topics: c.Topics, sink: sink, client: client, now: now, logger: logger, certificates: map[string]*x509.Certificate{}}
}

// notification is what SNS posts.
type notification struct {
	Type             string
	MessageID        string `json:"MessageId"`
	TopicArn         string
	Subject          *string
	Message          string
	Timestamp        string
	Token            string
	SubscribeURL     string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
}

// ServeHTTP verifies a notification and hands it on. It answers 200 when everything is durable.
func (s *SNS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestNotification))
	if err == nil {
		err = s.take(r.Context(), body)
	}
	if err != nil {
		refuse(w, r, err, s.logger)
		return
	}
	answer(w, http.StatusOK, Receipt{Accepted: 1})
}

func (s *SNS) take(ctx context.Context, body []byte) error {
	var n notification
	if err := json.Unmarshal(body, &n); err != nil {
		return fault.New(fault.Invalid, "not a notification of SNS: %v", err)
	}
	if !slices.Contains(s.topics, n.TopicArn) {
		return fault.New(fault.Denied, "topic %.200q is not one of sns.topics", n.TopicArn)
	}
	if err := s.verify(ctx, &n); err != nil {
		return err
	}
	switch n.Type {
	case "SubscriptionConfirmation":
		return s.confirm(ctx, &n)
	case "UnsubscribeConfirmation":
		s.logger.WarnContext(ctx, "a topic no longer posts here", "origin", "sns:"+n.TopicArn)
		return nil
	}
	return s.sink(ctx, content(body, "sns:"+n.TopicArn+"/"+n.MessageID))
}

// content is a notification's events and, where it can't be read, its letter.
func content(body []byte, origin string) event.Batch {
	read, err := awslog.Message(body)
	batch := event.Batch{Events: read.Events}
	for i := range batch.Events {
		batch.Events[i].Origin = origin
	}
	if err == nil && len(read.Objects) > 0 {
		err = fault.New(fault.Invalid, "it announces files in S3: let the topic send to a queue that Riposte reads")
	}
	if err != nil {
		batch.Letters = []event.Letter{{Format: awslog.FormatMessage, Origin: origin, Reason: err.Error(), Raw: body}}
	}
	return batch
}

func (s *SNS) verify(ctx context.Context, n *notification) error {
	sent, err := time.Parse(time.RFC3339, n.Timestamp)
	if err != nil {
		return fault.New(fault.Denied, "the notification has no timestamp")
	}
	if age := s.now().Sub(sent); age > freshness || age < -time.Hour {
		return fault.New(fault.Denied, "the notification is of %s", sent.Format(time.RFC3339))
	}
	signature, err := base64.StdEncoding.DecodeString(n.Signature)
	if err != nil {
		return fault.New(fault.Denied, "the notification's signature is not base64")
	}
	certificate, err := s.certificate(ctx, n.SigningCertURL)
	if err != nil {
		return err
	}
	key, ok := certificate.PublicKey.(*rsa.PublicKey)
	if !ok {
		return fault.New(fault.Denied, "the signing certificate has no RSA key")
	}
	hash := crypto.SHA256
	var digest []byte
	switch n.SignatureVersion {
	case "1":
		sum := sha1.Sum([]byte(n.signed())) //nolint:gosec // SNS's signature version 1
		hash, digest = crypto.SHA1, sum[:]
	case "2":
		sum := sha256.Sum256([]byte(n.signed()))
		digest = sum[:]
	default:
		return fault.New(fault.Denied, "signature version %.10q is not known", n.SignatureVersion)
	}
	if err := rsa.VerifyPKCS1v15(key, hash, digest, signature); err != nil {
		return fault.New(fault.Denied, "the notification's signature is wrong")
	}
	return nil
}

// signed is the text that SNS signs.
func (n *notification) signed() string {
	var text strings.Builder
	add := func(key, value string) { fmt.Fprintf(&text, "%s\n%s\n", key, value) }
	add("Message", n.Message)
	add("MessageId", n.MessageID)
	if n.Type == "Notification" {
		if n.Subject != nil {
			add("Subject", *n.Subject)
		}
	} else {
		add("SubscribeURL", n.SubscribeURL)
	}
	add("Timestamp", n.Timestamp)
	if n.Type != "Notification" {
		add("Token", n.Token)
	}
	add("TopicArn", n.TopicArn)
	add("Type", n.Type)
	return text.String()
}

var hosts = regexp.MustCompile(`^sns\.[a-z0-9-]{1,30}\.amazonaws\.com(\.cn)?$`)

// ofSNS checks that an address is one of SNS's own.
func ofSNS(address string) error {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "https" || !hosts.MatchString(parsed.Host) || parsed.User != nil {
		return fault.New(fault.Denied, "%.200q is not an address of SNS", address)
	}
	return nil
}

func (s *SNS) certificate(ctx context.Context, address string) (*x509.Certificate, error) {
	if err := ofSNS(address); err != nil {
		return nil, err
	}
	s.mu.Lock()
	known := s.certificates[address]
	s.mu.Unlock()
	if known != nil && s.now().Before(known.NotAfter) {
		return known, nil
	}
	text, err := s.get(ctx, address)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fault.New(fault.Denied, "the signing certificate is not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Denied, "the signing certificate cannot be read")
	}
	if now := s.now(); now.After(certificate.NotAfter) || now.Before(certificate.NotBefore) {
		return nil, fault.New(fault.Denied, "the signing certificate is not valid now")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.certificates) >= mostCertificates {
		clear(s.certificates)
	}
	s.certificates[address] = certificate
	return certificate, nil
}

// confirm tells SNS that the subscription is wanted.
func (s *SNS) confirm(ctx context.Context, n *notification) error {
	if err := ofSNS(n.SubscribeURL); err != nil {
		return err
	}
	if _, err := s.get(ctx, n.SubscribeURL); err != nil {
		return err
	}
	s.logger.InfoContext(ctx, "subscription confirmed", "origin", "sns:"+n.TopicArn)
	return nil
}

func (s *SNS) get(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	got, err := s.client.Do(request)
	if err != nil {
		return nil, fault.Wrap(fault.Transient, fmt.Errorf("ask SNS: %w", err))
	}
	text, err := io.ReadAll(io.LimitReader(got.Body, 64<<10))
	if err := errors.Join(err, got.Body.Close()); err != nil {
		return nil, fault.Wrap(fault.Transient, fmt.Errorf("ask SNS: %w", err))
	}
	if got.StatusCode != http.StatusOK {
		return nil, fault.New(fault.Transient, "SNS answers %d", got.StatusCode)
	}
	return text, nil
}
