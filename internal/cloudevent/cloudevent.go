// Package cloudevent reads CloudEvents 1.0 (https://github.com/cloudevents/spec) as events and findings.
//
// It is pure: bytes in, values out. What is inside is a record of AWS's, of any kind that package awslog reads, or
// a finding in a form of our own, which finding.schema.json describes: so any tool can hand in findings.
package cloudevent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

const (
	// Format is the format of dead letters whose bytes Record refused.
	Format = "cloudevents"
	// FindingType is the type of events whose data is a finding in our own form.
	FindingType = "com.riposte.finding"
	// version is the one of the specification that is read.
	version = "1.0"
	// longestAttribute bounds an attribute, in bytes.
	longestAttribute = 2048
	// longestKey bounds what is kept of id and source to know an event again; what is longer is hashed.
	longestKey = 700
)

// Event is a CloudEvent in its structured form.
type Event struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            string          `json:"time,omitempty"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	DataSchema      string          `json:"dataschema,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
	DataBase64      string          `json:"data_base64,omitempty"`
}

// Record reads a CloudEvent in its structured form. Where a part of what is inside can't be read, the rest comes
// with the error.
func Record(raw []byte) ([]event.Event, error) {
	var e Event
	if err := json.Unmarshal(raw, &e); err != nil { // unknown members are extensions
		return nil, fault.New(fault.Invalid, "not a CloudEvent: %w", err)
	}
	return e.read(raw)
}

func (e *Event) read(raw []byte) ([]event.Event, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	data, err := e.data()
	if err != nil {
		return nil, err
	}
	if e.Type == FindingType {
		made, err := e.finding(data)
		if err != nil {
			return nil, err
		}
		return []event.Event{{
			Key: e.key(), Source: event.Webhook, Time: made.LastSeen, Account: made.Account, Region: made.Region,
			Service: e.Source, Name: strings.TrimPrefix(made.Type, typePrefix), Entities: made.Entities, Raw: raw,
		}}, nil
	}
	events, err := awslog.Record(data)
	if err != nil {
		return events, fault.New(fault.Invalid, "data of CloudEvent %.80q, type %.80q: %w", e.ID, e.Type, err)
	}
	return events, nil
}

// key is what an event is known again by: its source and its id.
func (e *Event) key() string {
	if len(e.Source)+len(e.ID) > longestKey {
		return Format + "|" + finding.Fingerprint(e.Source, e.ID)
	}
	return Format + "|" + e.Source + "|" + e.ID
}

// check holds the attributes against the specification.
func (e *Event) check() error {
	if e.SpecVersion != version {
		return fault.New(fault.Invalid, "specversion: %.40q is not %s", e.SpecVersion, version)
	}
	for _, a := range []struct {
		name, value string
		required    bool
	}{
		{"id", e.ID, true},
		{"source", e.Source, true},
		{"type", e.Type, true},
		{"subject", e.Subject, false},
		{"datacontenttype", e.DataContentType, false},
		{"dataschema", e.DataSchema, false},
	} {
		switch {
		case a.required && a.value == "":
			return fault.New(fault.Invalid, "%s: is missing or empty", a.name)
		case len(a.value) > longestAttribute:
			return fault.New(fault.Invalid, "%s: has more than %d bytes", a.name, longestAttribute)
		case strings.ContainsFunc(a.value, unicode.IsControl):
			return fault.New(fault.Invalid, "%s: has control characters in it", a.name)
		}
	}
	if e.Time != "" {
		if _, err := time.Parse(time.RFC3339Nano, e.Time); err != nil {
			return fault.New(fault.Invalid, "time: %.40q is not a time such as 2026-11-24T10:00:00Z", e.Time)
		}
	}
	return nil
}

// data is what is inside, which must be JSON.
func (e *Event) data() ([]byte, error) {
	if kind, _, _ := strings.Cut(e.DataContentType, ";"); kind != "" {
		kind = strings.ToLower(strings.TrimSpace(kind))
		if kind != "application/json" && kind != "text/json" && !strings.HasSuffix(kind, "+json") {
			return nil, fault.New(fault.Invalid, "datacontenttype: %.80q is not JSON", e.DataContentType)
		}
	}
	if e.DataBase64 != "" {
		decoded, err := base64.StdEncoding.DecodeString(e.DataBase64)
		if err != nil {
			return nil, fault.New(fault.Invalid, "data_base64: is not base64")
		}
		return decoded, nil
	}
	data := bytes.TrimSpace(e.Data)
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil, fault.New(fault.Invalid, "data: is missing")
	}
	if data[0] != '"' {
		return data, nil
	}
	var text string // some senders put JSON into text
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, fault.New(fault.Invalid, "data: %w", err)
	}
	return []byte(text), nil
}

// Binary makes a CloudEvent of a request in binary mode: attributes by name, without their prefix.
func Binary(attributes map[string]string, contentType string, body []byte) ([]byte, error) {
	e := Event{
		SpecVersion: attributes["specversion"], ID: attributes["id"], Source: attributes["source"], Type: attributes["type"],
		Subject: attributes["subject"], Time: attributes["time"], DataContentType: contentType, DataSchema: attributes["dataschema"],
		DataBase64: base64.StdEncoding.EncodeToString(body),
	}
	if json.Valid(body) {
		e.Data, e.DataBase64 = body, ""
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode CloudEvent: %w", err)
	}
	return raw, nil
}
