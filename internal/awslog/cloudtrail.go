package awslog

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// trail is the part of a CloudTrail record that is looked at, read in one pass.
type trail struct {
	record   value // the whole
	id       string
	time     string
	source   string
	name     string
	region   string
	account  string // the recipient's
	address  string
	agent    string
	code     string
	message  string
	identity value
	response value
	insight  value
	involved value // resources
}

// CloudTrail reads one CloudTrail record: a management, data, network activity or insight event.
func CloudTrail(raw []byte) (event.Event, error) {
	record, err := object(raw)
	if err != nil {
		return event.Event{}, err
	}
	t := readTrail(record)
	happened, err := time.Parse(time.RFC3339, t.time)
	switch {
	case err != nil:
		return event.Event{}, fault.New(fault.Invalid, "eventTime %q is not a time", t.time)
	case t.name == "" || t.source == "":
		return event.Event{}, fault.New(fault.Invalid, "not a CloudTrail record: no eventName or no eventSource")
	}
	ev := event.Event{
		Key: trailKey(t), Source: event.CloudTrail, Time: happened.UTC(), Account: t.account, Region: t.region,
		Service: t.source, Name: t.name, ErrorCode: t.code, Raw: raw,
	}
	if t.response.str("ConsoleLogin") == "Failure" && ev.ErrorCode == "" {
		ev.ErrorCode = "Failure" // a failed sign-in has no error code of its own
	}
	ev.Entities = t.entities()
	return ev, nil
}

func readTrail(record value) trail {
	t := trail{record: record}
	for key, v := range record.fields() {
		switch string(key) {
		case "eventID":
			t.id = v.text()
		case "eventTime":
			t.time = v.text()
		case "eventSource":
			t.source = v.text()
		case "eventName":
			t.name = v.text()
		case "awsRegion":
			t.region = v.text()
		case "recipientAccountId":
			t.account = v.text()
		case "sourceIPAddress":
			t.address = v.text()
		case "userAgent":
			t.agent = v.text()
		case "errorCode":
			t.code = v.text()
		case "errorMessage":
			t.message = v.text()
		case "userIdentity":
			t.identity = v
		case "responseElements":
			t.response = v
		case "insightDetails":
			t.insight = v
		case "resources":
			t.involved = v
		}
	}
	if t.insight != nil { // an insight says of which API it is about further in
		t.name = firstOf(t.name, t.insight.str("eventName"))
		t.source = firstOf(t.source, t.insight.str("eventSource"))
	}
	t.account = firstOf(t.account, t.identity.str("accountId"))
	return t
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// trailKey is the same for one record whatever way it comes. Records older than version 1.01 have no id;
// their bytes stand for it.
func trailKey(t trail) string {
	id := t.id
	if id == "" {
		sum := sha256.Sum256(t.record)
		id = "sha256:" + hex.EncodeToString(sum[:])
	}
	return string(event.CloudTrail) + "|" + id + "|" + t.account
}

func (t trail) entities() []entity.Entity {
	g := &gather{at: place{t.account, t.region}, list: make([]entity.Entity, 0, 12)}
	t.actor(g)
	g.address(t.address, "sourceIPAddress")
	g.name(entity.UserAgent, entity.Origin, t.agent, "userAgent")
	if !slices.ContainsFunc(g.list, func(e entity.Entity) bool { return e.Kind == entity.Account && e.ID == t.account }) {
		g.name(entity.Account, entity.Context, t.account, "recipientAccountId")
	}
	t.acted(g)
	return g.list
}

// acted adds what the call acted upon: by the table, by the resources that the record lists, and, where a
// call was denied and so has no parameters, by the resource that the denial names.
func (t trail) acted(g *gather) {
	list, _ := targetsOf(t.source, t.name)
	g.lookup(t.record, list)
	for item := range t.involved.items() {
		g.arn(entity.Target, firstOf(item.str("ARN"), item.str("arn")), "resources.ARN")
	}
	if t.code != "" && !g.targeted() {
		if _, after, ok := strings.Cut(t.message, " on resource: "); ok {
			g.arn(entity.Target, strings.TrimRight(first(after, " "), ".,;"), "errorMessage")
		}
	}
}
