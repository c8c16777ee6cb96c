// Package courier delivers HTTP requests to services outside: bounded in time and size, never redirected,
// and every failure of a kind that says whether trying again may work.
package courier

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

const (
	// largestReply is how many bytes of an answer's body are kept.
	largestReply = 64 << 10
	// largestHead bounds an answer's headers, in bytes.
	largestHead = 64 << 10
	// perHost is how many connections to one host are kept open for the next request.
	perHost = 128
	// longestPause bounds how long a receiver can make us wait by Retry-After.
	longestPause = 10 * time.Minute
	// defaultTimeout is for one request, from connecting to the end of its answer.
	defaultTimeout = 10 * time.Second
)

var errTimeout = errors.New("no answer in time")

// Courier delivers. All of an installation share one, and with it the open connections.
type Courier struct {
	client *http.Client
	now    func() time.Time

	mu     sync.Mutex
	pauses map[string]time.Time // by receiver: not before
}

// New makes a courier over a transport; nil is Transport's. The clock measures how long receivers asked to
// be left alone.
func New(transport http.RoundTripper, now func() time.Time) *Courier {
	if transport == nil {
		transport = Transport()
	}
	return &Courier{
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now: now, pauses: map[string]time.Time{},
	}
}

// Transport makes a transport that keeps connections open and takes TLS 1.2 or later.
func Transport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns: 4 * perHost, MaxIdleConnsPerHost: perHost, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: defaultTimeout, MaxResponseHeaderBytes: largestHead,
	}
}

// Parcel is one request.
type Parcel struct {
	// Receiver is what errors call the address, which may be secret: "slack webhook security".
	Receiver string
	Method   string // POST if empty
	URL      string
	Header   http.Header
	Body     []byte
	Timeout  time.Duration // 10 s if zero
	Largest  int64         // how many bytes of the answer's body are kept; 64 KiB if zero
	// Secrets are taken out of whatever comes back, should the receiver echo them.
	Secrets []secret.Secret
}

// Reply is an answer of the 2xx kind.
type Reply struct {
	Status int
	Body   []byte
	Cut    bool // the body went on
}

// Refused says that the receiver answered, and not with success.
type Refused struct { //nolint:errname // it says what happened, as its neighbours do
	Receiver string
	Status   int
	Body     string        // its beginning, for people
	Wait     time.Duration // how long the receiver asks to be left alone; 0 if it doesn't say
}

// Error names receiver and status.
func (r *Refused) Error() string {
	text := fmt.Sprintf("%s answers %d %s", r.Receiver, r.Status, http.StatusText(r.Status))
	if r.Body != "" {
		text += ": " + r.Body
	}
	if r.Wait > 0 {
		text += fmt.Sprintf(" (again in %s)", r.Wait)
	}
	return text
}

// Post delivers a parcel, by whatever method it asks for. A failure is Transient if trying again later may work, Denied if the receiver
// doesn't let us, else Invalid. While a receiver has asked to be left alone, nothing is sent to it.
func (c *Courier) Post(ctx context.Context, p Parcel) (Reply, error) {
	return c.deliver(ctx, http.MethodPost, p)
}

// Get asks for what is at a parcel's address; it fails as Post does. An answer over 64 KiB is cut.
func (c *Courier) Get(ctx context.Context, p Parcel) (Reply, error) {
	return c.deliver(ctx, http.MethodGet, p)
}

func (c *Courier) deliver(ctx context.Context, method string, p Parcel) (Reply, error) {
	if wait := c.pause(p.Receiver); wait > 0 {
		return Reply{}, fault.New(fault.Transient, "%s asked to be left alone for %s more", p.Receiver, wait.Round(time.Second))
	}
	timeout := p.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, cmp.Or(p.Method, method), p.URL, bytes.NewReader(p.Body))
	if err != nil {
		return Reply{}, fault.New(fault.Invalid, "%s: its address is not a URL", p.Receiver) // the error has the address in it
	}
	if p.Header != nil {
		request.Header = p.Header
	}
	answer, err := c.client.Do(request) //nolint:bodyclose // read closes it
	if err != nil {
		return Reply{}, c.unreachable(ctx, p, err)
	}
	body, cut, err := read(answer.Body, cmp.Or(p.Largest, largestReply))
	if err != nil {
		return Reply{}, c.unreachable(ctx, p, err)
	}
	body = redact(body, p.Secrets)
	if answer.StatusCode/100 != 2 {
		return Reply{}, c.refused(p, answer, body)
	}
	return Reply{Status: answer.StatusCode, Body: body, Cut: cut}, nil
}

// read takes a body up to its bound, and tells whether it went on. A body that ends within it leaves the
// connection open for the next.
func read(from io.ReadCloser, most int64) (body []byte, cut bool, err error) {
	body, err = io.ReadAll(io.LimitReader(from, most))
	if err == nil {
		var more int64
		more, err = io.CopyN(io.Discard, from, 1) // sees the end, if it is the end
		if cut = more > 0; errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return body, cut, errors.Join(err, from.Close())
}

func (c *Courier) unreachable(ctx context.Context, p Parcel, err error) error {
	if address, ok := errors.AsType[*url.Error](err); ok {
		err = address.Err // without the address
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fault.Wrap(fault.Transient, fmt.Errorf("%s: %w", p.Receiver, &scrubbed{err: err, secrets: p.Secrets}))
}

func (c *Courier) refused(p Parcel, answer *http.Response, body []byte) error {
	refusal := &Refused{Receiver: p.Receiver, Status: answer.StatusCode, Body: excerpt(body), Wait: c.wait(answer)}
	if refusal.Wait > 0 {
		c.mu.Lock()
		c.pauses[p.Receiver] = c.now().Add(refusal.Wait)
		c.mu.Unlock()
	}
	return fault.Wrap(KindOf(answer.StatusCode), refusal)
}

func (c *Courier) pause(receiver string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, asked := c.pauses[receiver]
	if !asked {
		return 0
	}
	wait := until.Sub(c.now())
	if wait <= 0 {
		delete(c.pauses, receiver)
	}
	return wait
}

// KindOf says what a caller can do about an answer that isn't success.
func KindOf(status int) fault.Kind {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		return fault.Transient
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return fault.Denied
	}
	return fault.Invalid
}

// wait reads Retry-After, in seconds or as a date, where the status is one that waiting may cure.
func (c *Courier) wait(answer *http.Response) time.Duration {
	text := strings.TrimSpace(answer.Header.Get("Retry-After"))
	if text == "" || KindOf(answer.StatusCode) != fault.Transient {
		return 0
	}
	if seconds, err := time.ParseDuration(text + "s"); err == nil {
		return min(max(0, seconds), longestPause)
	}
	if date, err := http.ParseTime(text); err == nil {
		return min(max(0, date.Sub(c.now())), longestPause)
	}
	return 0
}
