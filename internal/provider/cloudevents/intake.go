// Package cloudevents speaks CloudEvents 1.0 over HTTP: it takes them in, in every mode of the HTTP binding, and
// hands the ledger's records on as such.
package cloudevents

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/riposte-sec/riposte/internal/cloudevent"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	structured = "application/cloudevents+json"
	batched    = "application/cloudevents-batch+json"
	// prefix comes before the names of attributes in binary mode.
	prefix = "Ce-"
	// mostBatched is how many events one batch may have.
	mostBatched = 10_000
	// signature is the header of a request whose body alone is signed.
	signature = "Riposte-Signature"
)

// Intake recognises requests that are CloudEvents, by their content type or, in binary mode, by their headers. An
// event that can't be read is a letter; the error says that a request is none at all.
func Intake(r *http.Request) (func([]byte) (event.Batch, error), error) {
	contentType := r.Header.Get("Content-Type")
	kind, _, _ := mime.ParseMediaType(contentType) // none is none of ours
	switch {
	case kind == structured:
		return func(body []byte) (event.Batch, error) { return read(body), nil }, nil
	case kind == batched:
		return func(body []byte) (event.Batch, error) { return readBatch(body) }, nil
	case strings.HasPrefix(kind, "application/cloudevents"):
		return nil, fault.New(fault.Invalid, "CloudEvents are read in JSON: %s, %s, or in binary mode", structured, batched)
	case r.Header.Get(prefix+"Specversion") == "":
		return nil, nil //nolint:nilnil // it is somebody else's
	case r.Header.Get(signature) != "":
		return nil, fault.New(fault.Invalid, "the signature is of the body, and says nothing of the headers: send CloudEvents in structured mode")
	}
	attributes, err := attributesOf(r.Header)
	if err != nil {
		return nil, err
	}
	return func(body []byte) (event.Batch, error) {
		raw, err := cloudevent.Binary(attributes, contentType, body)
		if err != nil {
			return event.Batch{}, err
		}
		return read(raw), nil
	}, nil
}

// attributesOf reads the attributes of an event in binary mode. Their values are percent-encoded.
func attributesOf(header http.Header) (map[string]string, error) {
	attributes := map[string]string{}
	for name, values := range header {
		attribute, is := strings.CutPrefix(name, prefix)
		if !is {
			continue
		}
		attribute = strings.ToLower(attribute)
		if len(values) != 1 {
			return nil, fault.New(fault.Invalid, "the header ce-%.40s is there more than once", attribute)
		}
		value, err := url.PathUnescape(values[0])
		if err != nil {
			return nil, fault.New(fault.Invalid, "the header ce-%.40s is not percent-encoded", attribute)
		}
		attributes[attribute] = value
	}
	return attributes, nil
}

// read reads one event in structured form.
func read(raw []byte) event.Batch {
	events, err := cloudevent.Record(raw)
	batch := event.Batch{Events: events}
	if err != nil {
		batch.Letters = []event.Letter{{Format: cloudevent.Format, Reason: err.Error(), Raw: raw}}
	}
	return batch
}

func readBatch(body []byte) (event.Batch, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil {
		return event.Batch{}, fault.New(fault.Invalid, "not a batch of CloudEvents: %w", err)
	}
	if len(list) > mostBatched {
		return event.Batch{}, fault.New(fault.Invalid, "%d events in a batch; at most %d are taken", len(list), mostBatched)
	}
	var all event.Batch
	for _, raw := range list {
		one := read(raw)
		all.Events, all.Letters = append(all.Events, one.Events...), append(all.Letters, one.Letters...)
	}
	return all, nil
}
