// Package client calls Riposte's API for programs on this side: the command line and the demonstration.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// largest bounds an answer that is decoded, in bytes.
const largest = 64 << 20

// Client calls one server.
type Client struct {
	base  string
	token secret.Secret
	http  *http.Client
}

// New makes a client of the server at base, such as http://127.0.0.1:8473.
func New(base string, token secret.Secret, transport *http.Client) (*Client, error) {
	parsed, err := url.Parse(base)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "%q is not a server's URL such as http://127.0.0.1:8473", base)
	}
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: transport}, nil
}

// Get reads a resource into a value.
func (c *Client) Get(ctx context.Context, path string, query url.Values, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.call(ctx, http.MethodGet, path, nil, into)
}

// Post sends a value and reads the answer into another; nil sends an empty object.
func (c *Client) Post(ctx context.Context, path string, body, into any) error {
	if body == nil {
		body = struct{}{}
	}
	return c.call(ctx, http.MethodPost, path, body, into)
}

// Delete removes a resource.
func (c *Client) Delete(ctx context.Context, path string, query url.Values, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.call(ctx, http.MethodDelete, path, nil, into)
}

// Send posts bytes as they are.
func (c *Client) Send(ctx context.Context, path, contentType string, body io.Reader, into any) error {
	answer, err := c.do(ctx, http.MethodPost, path, contentType, body)
	if err != nil {
		return err
	}
	return decode(answer, into)
}

// Copy streams a resource to a writer.
func (c *Client) Copy(ctx context.Context, path string, to io.Writer) error {
	answer, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader
	contentType := ""
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		content, contentType = bytes.NewReader(text), "application/json"
	}
	answer, err := c.do(ctx, method, path, contentType, content)
	if err != nil {
		return err
	}
	return decode(answer, into)
}

func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if !c.token.IsZero() {
		request.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fault.WithHint(fault.Wrap(fault.Transient, fmt.Errorf("reach %s: %w", c.base, err)),
			"is the server up? --url says where it is")
	}
	if answer.StatusCode/100 != 2 {
		return nil, problem(answer)
	}
	return answer, nil
}

func decode(answer *http.Response, into any) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, largest))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// problem makes an error of a problem document (RFC 9457), or of whatever came.
func problem(answer *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	var document struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	detail := strings.TrimSpace(string(text))
	if json.Unmarshal(text, &document) == nil && document.Detail != "" {
		parts := []string{document.Detail}
		for _, e := range document.Errors {
			parts = append(parts, e.Location+": "+e.Message)
		}
		detail = strings.Join(parts, "; ")
	}
	if detail == "" {
		detail = "the server answered " + answer.Status
	}
	kind, hint := kindOf(answer.StatusCode)
	return fault.WithHint(fault.New(kind, "%s", detail), hint)
}

func kindOf(status int) (fault.Kind, string) {
	switch status {
	case http.StatusUnauthorized:
		return fault.Denied, "set a token with --token-file or RIPOSTE_TOKEN"
	case http.StatusForbidden:
		return fault.Denied, ""
	case http.StatusNotFound:
		return fault.NotFound, ""
	case http.StatusConflict:
		return fault.Conflict, ""
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusTooManyRequests:
		return fault.Transient, "try again in a moment"
	}
	if status < http.StatusInternalServerError {
		return fault.Invalid, ""
	}
	return fault.Internal, ""
}
