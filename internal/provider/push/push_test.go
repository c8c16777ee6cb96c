package push_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/provider/push"
)

const record = `{"eventVersion":"1.08","eventID":"11111111-2222-3333-4444-555555555555","eventTime":"2026-11-20T10:00:00Z",
 "eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","recipientAccountId":"123456789012",
 "userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::123456789012:user/mallory"},"requestParameters":{"name":"main"}}`

var quiet = slog.New(slog.DiscardHandler)

type taken struct {
	batches []event.Batch
	err     error
}

func (s *taken) sink(_ context.Context, b event.Batch) error {
	if s.err == nil {
		s.batches = append(s.batches, b)
	}
	return s.err
}

func post(t *testing.T, h http.Handler, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)))
	return w
}

func TestEvents(t *testing.T) {
	for name, test := range map[string]struct {
		body     string
		fails    error
		status   int
		accepted int
		setAside int
	}{
		"one record":        {body: record, status: http.StatusAccepted, accepted: 1},
		"an array":          {body: "[" + record + "," + strings.Replace(record, "1111", "2222", 1) + "]", status: http.StatusAccepted, accepted: 2},
		"one of two broken": {body: record + "\n{\"what\":1}", status: http.StatusAccepted, accepted: 1, setAside: 1},
		"store away":        {body: record, fails: errors.New("away"), status: http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := &taken{err: test.fails}
			answer := post(t, push.Events(s.sink, func(*http.Request) string { return "test" }, quiet), test.body)
			if answer.Code != test.status {
				t.Fatalf("got status %d, want %d", answer.Code, test.status)
			}
			if test.status != http.StatusAccepted {
				return
			}
			var got push.Receipt
			if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if got.Accepted != test.accepted || got.SetAside != test.setAside {
				t.Errorf("got %+v, want %d accepted and %d set aside", got, test.accepted, test.setAside)
			}
		})
	}
}

func TestEventsRefusesTooLarge(t *testing.T) {
	s := &taken{}
	answer := post(t, push.Events(s.sink, func(*http.Request) string { return "test" }, quiet), `{"a":"`+strings.Repeat("x", 17<<20)+`"}`)
	if answer.Code != http.StatusRequestEntityTooLarge && answer.Code != http.StatusAccepted {
		t.Errorf("got status %d", answer.Code)
	}
	if answer.Code == http.StatusAccepted && len(s.batches) == 0 {
		t.Error("accepted and lost")
	}
}

const (
	topic   = "arn:aws:sns:eu-central-1:123456789012:riposte"
	certURL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-test.pem"
)

// service is a stand-in for SNS: it signs, and serves its certificate.
type service struct {
	key       *rsa.PrivateKey
	pem       []byte
	now       time.Time
	confirmed []string
}

func newService(t *testing.T) *service {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &service{key: key, now: now, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body := s.pem
	if r.URL.Query().Get("Action") == "ConfirmSubscription" {
		s.confirmed, body = append(s.confirmed, r.URL.String()), []byte("<ok/>")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

func (s *service) sign(t *testing.T, n map[string]string, keys ...string) string {
	t.Helper()
	var text strings.Builder
	for _, key := range keys {
		text.WriteString(key + "\n" + n[key] + "\n")
	}
	sum := sha256.Sum256([]byte(text.String()))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	n["Signature"] = base64.StdEncoding.EncodeToString(signature)
	body, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func (s *service) notification(t *testing.T, change func(map[string]string)) string {
	t.Helper()
	n := map[string]string{
		"Type": "Notification", "MessageId": "m-1", "TopicArn": topic, "Message": record, "Timestamp": "2026-11-20T10:00:00.000Z",
		"SignatureVersion": "2", "SigningCertURL": certURL,
	}
	s.sign(t, n, "Message", "MessageId", "Timestamp", "TopicArn", "Type")
	change(n)
	body, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestSNSBelievesSignaturesAlone(t *testing.T) {
	aws := newService(t)
	for name, test := range map[string]struct {
		change func(map[string]string)
		status int
	}{
		"as sent":         {func(map[string]string) {}, http.StatusOK},
		"changed message": {func(n map[string]string) { n["Message"] = "{}" }, http.StatusForbidden},
		"another topic":   {func(n map[string]string) { n["TopicArn"] += "x" }, http.StatusForbidden},
		"certificate elsewhere": {func(n map[string]string) {
			n["SigningCertURL"] = "https://sns.eu-central-1.amazonaws.com.evil.example/c.pem"
		}, http.StatusForbidden},
		"certificate by http": {func(n map[string]string) { n["SigningCertURL"] = strings.Replace(certURL, "https", "http", 1) }, http.StatusForbidden},
		"no signature":        {func(n map[string]string) { n["Signature"] = "" }, http.StatusForbidden},
		"unknown version":     {func(n map[string]string) { n["SignatureVersion"] = "9" }, http.StatusForbidden},
		"old":                 {func(n map[string]string) { n["Timestamp"] = "2020-01-01T00:00:00Z" }, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			s := &taken{}
			h := push.NewSNS(push.SNSConfig{Topics: []string{topic}}, s.sink, &http.Client{Transport: aws}, func() time.Time { return aws.now }, quiet)
			if got := post(t, h, aws.notification(t, test.change)).Code; got != test.status {
				t.Fatalf("got status %d, want %d", got, test.status)
			}
			if took := len(s.batches) == 1 && len(s.batches[0].Events) == 1; took != (test.status == http.StatusOK) {
				t.Errorf("taken in: %v with status %d", took, test.status)
			}
		})
	}
}

func TestSNSConfirmsSubscriptions(t *testing.T) {
	aws := newService(t)
	h := push.NewSNS(push.SNSConfig{Topics: []string{topic}}, (&taken{}).sink, &http.Client{Transport: aws}, func() time.Time { return aws.now }, quiet)
	n := map[string]string{
		"Type": "SubscriptionConfirmation", "MessageId": "m-2", "TopicArn": topic, "Message": "You have chosen...", "Token": "t",
		"Timestamp": "2026-11-20T10:00:00.000Z", "SignatureVersion": "2", "SigningCertURL": certURL,
		"SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t",
	}
	body := aws.sign(t, n, "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
	if got := post(t, h, body).Code; got != http.StatusOK {
		t.Fatalf("got status %d", got)
	}
	if len(aws.confirmed) != 1 {
		t.Errorf("confirmed %v", aws.confirmed)
	}
}
