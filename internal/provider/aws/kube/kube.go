// Package kube is a small client of the API server of a Kubernetes cluster: of pods, nodes and network policies, as
// much as responses need. It speaks the API's JSON (v1, networking.k8s.io/v1) over net/http.
package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

const (
	longestAnswer = 32 << 20 // bytes
	longestWords  = 300      // bytes of what the server says of an error
	mergePatch    = "application/merge-patch+json"
)

// Client asks the API server of one cluster, for the short life of one action.
type Client struct {
	base  *url.URL
	token secret.Secret
	http  *http.Client
}

// New makes a client for the server at an https address. It trusts the given authorities alone, PEM.
func New(endpoint string, authorities []byte, token secret.Secret) (*Client, error) {
	base, err := url.Parse(endpoint)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, fault.New(fault.Invalid, "the cluster's endpoint %.100q is not an https address", endpoint)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(authorities) {
		return nil, fault.New(fault.Invalid, "the cluster's certificate authority can't be read")
	}
	return &Client{base: base, token: token, http: &http.Client{
		Timeout: 25 * time.Second,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 5 * time.Second, ForceAttemptHTTP2: true,
		},
		// Nobody is sent on with our token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// path joins segments of the API's paths. What a segment holds can't leave it.
func path(segments ...string) string {
	escaped := make([]string, 0, len(segments))
	for _, segment := range segments {
		escaped = append(escaped, url.PathEscape(segment))
	}
	return "/" + strings.Join(escaped, "/")
}

// do makes one request. Errors are of the kind by which a runner decides.
func (c *Client) do(ctx context.Context, method, path, kind string, body, into any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode %s %s: %w", method, path, err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.base.String(), "/")+path, content)
	if err != nil {
		return fmt.Errorf("make request %s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "riposte")
	if body != nil {
		request.Header.Set("Content-Type", kind)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return unreached(fmt.Errorf("ask the cluster's API server: %w", err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, longestAnswer+1))
	switch {
	case err != nil:
		return fault.Wrap(fault.Transient, fmt.Errorf("read the cluster's answer: %w", err))
	case answer.StatusCode < http.StatusOK || answer.StatusCode >= http.StatusMultipleChoices:
		return refusal(method+" "+path, answer.StatusCode, text)
	case len(text) > longestAnswer:
		return fault.New(fault.Invalid, "%s %s: the cluster's answer is longer than %d bytes", method, path, longestAnswer)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read answer to %s %s: %w", method, path, err)
	}
	return nil
}

// unreached is the error of a server that didn't answer. One whose certificate isn't of the cluster's authority
// isn't tried again.
func unreached(err error) error {
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return fault.Wrap(fault.Denied, err)
	}
	return fault.WithHint(fault.Wrap(fault.Transient, err), "where its endpoint is private, Riposte must run where it can reach it")
}

// refusal is the error of an answer that isn't one of success. The server's words may be somebody else's.
func refusal(what string, status int, text []byte) error {
	var said struct {
		Reason, Message string
	}
	_ = json.Unmarshal(text, &said) // whoever stands before the server may answer otherwise
	words := said.Message
	if len(words) > longestWords {
		words = words[:longestWords] + "..."
	}
	err := fault.New(kindOf(status), "%s: the cluster answers %d %q: %q", what, status, said.Reason, words)
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return fault.WithHint(err, "Riposte's role needs an access entry of the cluster, with a group that a ClusterRole gives these rights")
	}
	return err
}

func kindOf(status int) fault.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Denied
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.NotFound
	case status == http.StatusConflict, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout,
		status >= http.StatusInternalServerError:
		return fault.Transient
	case status >= http.StatusBadRequest:
		return fault.Invalid
	}
	return fault.Internal // a redirection
}
