package ticket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// largestReply bounds an answer, in bytes: 30 issues of GitHub with long texts.
const largestReply = 8 << 20

// desk is the way to a system's REST API.
type desk struct {
	name    string // as errors call it
	url     string // without a slash at its end
	courier *courier.Courier
	header  http.Header
	secrets []secret.Secret
}

// ask sends a request below the desk's URL, with a body unless it is nil, and reads the answer.
func (d desk) ask(ctx context.Context, method, path string, body, into any) error {
	parcel := courier.Parcel{
		Receiver: d.name, Method: method, URL: d.url + path, Header: d.header.Clone(), Secrets: d.secrets, Largest: largestReply,
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request to %s: %w", d.name, err)
		}
		parcel.Body = text
		parcel.Header.Set("Content-Type", "application/json")
	}
	reply, err := d.courier.Post(ctx, parcel)
	if refused, ok := errors.AsType[*courier.Refused](err); ok && (refused.Status == http.StatusNotFound || refused.Status == http.StatusGone) {
		return fault.Wrap(fault.NotFound, err)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply.Body, into); err != nil {
		return fault.New(fault.Transient, "%s: an answer that is not the JSON it should be", d.name)
	}
	return nil
}
