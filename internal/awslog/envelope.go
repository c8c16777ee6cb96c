package awslog

import (
	"errors"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// envelope is an EventBridge event around what a service said.
type envelope struct {
	whole     value
	id        string
	kind      string // detail-type
	source    string
	at        place
	time      time.Time
	resources value
	detail    value
}

// Envelope reads an EventBridge event. Most give one event; an import of Security Hub findings gives one a
// finding. Where some of those can't be read, the others come with the error. What AWS itself didn't put on
// the bus is an event of another kind, whatever it says that it is.
func Envelope(raw []byte) ([]event.Event, error) {
	whole, err := object(raw)
	if err != nil {
		return nil, err
	}
	env, err := open(whole)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(env.source, "aws.") {
		return []event.Event{env.other()}, nil // anybody may say that they have a finding; only AWS says so as aws.
	}
	switch env.kind {
	case "AWS API Call via CloudTrail", "AWS Console Sign In via CloudTrail", "AWS Service Event via CloudTrail",
		"AWS Console Action via CloudTrail", "AWS Insight via CloudTrail":
		return one(CloudTrail(env.detail))
	case "GuardDuty Finding":
		return one(guardDuty(env.detail))
	case "Security Hub Findings - Imported", "Security Hub Findings - Custom Action":
		return all(env.detail.get("findings"), securityHub)
	case "Findings Imported V2":
		return all(env.detail.get("findings"), securityHubV2)
	case "Config Rules Compliance Change":
		return one(configCompliance(env.detail))
	case "Config Configuration Item Change":
		return one(configItem(env.detail))
	case "CloudWatch Alarm State Change":
		return one(alarm(env))
	}
	return []event.Event{env.other()}, nil
}

// open reads the parts of an envelope.
func open(whole value) (envelope, error) {
	env := envelope{whole: whole}
	var when string
	for key, v := range whole.fields() {
		switch string(key) {
		case "id":
			env.id = v.text()
		case "detail-type":
			env.kind = v.text()
		case "source":
			env.source = v.text()
		case "account":
			env.at.account = v.text()
		case "region":
			env.at.region = v.text()
		case "time":
			when = v.text()
		case "resources":
			env.resources = v
		case "detail":
			env.detail = v
		}
	}
	if env.kind == "" || len(env.detail) == 0 || env.detail[0] != '{' {
		return env, fault.New(fault.Invalid, "not an EventBridge event: no detail-type or no detail")
	}
	if when != "" {
		parsed, err := moment(when)
		if err != nil {
			return env, err
		}
		env.time = parsed
	}
	return env, nil
}

// other is an event of a kind that we have no mapper for, kept as it is.
func (e envelope) other() event.Event {
	g := &gather{at: e.at}
	for item := range e.resources.items() {
		g.arn(entity.Target, item.text(), "resources")
	}
	g.name(entity.Account, entity.Context, e.at.account, "account")
	return event.Event{
		Key: string(event.EventBridge) + "|" + e.id, Source: event.EventBridge, Time: e.time, Account: e.at.account, Region: e.at.region,
		Service: e.source, Name: e.kind, Entities: g.list, Raw: e.whole,
	}
}

func one(ev event.Event, err error) ([]event.Event, error) {
	if err != nil {
		return nil, err
	}
	return []event.Event{ev}, nil
}

// all maps each member of a list; what can't be mapped is an error beside the rest.
func all(list value, mapped func(value) (event.Event, error)) ([]event.Event, error) {
	if len(list) == 0 || list[0] != '[' {
		return nil, fault.New(fault.Invalid, "detail has no list of findings")
	}
	var events []event.Event
	var errs []error
	for item := range list.items() {
		ev, err := mapped(item)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		events = append(events, ev)
	}
	return events, fault.Wrap(fault.Invalid, errors.Join(errs...))
}

// layouts are the forms in which AWS writes a time.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999 -0700"}

// moment reads a time of AWS's.
func moment(text string) (time.Time, error) {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "%q is not a time", text)
}

// momentOf is the time that the first of several texts holds that is one.
func momentOf(texts ...string) time.Time {
	for _, text := range texts {
		if t, err := moment(text); err == nil {
			return t
		}
	}
	return time.Time{}
}

// Record reads one record of any kind that AWS writes to a file, a topic or a queue: of CloudTrail, an
// EventBridge event, or what an EventBridge event would hold; audit events of Kubernetes, alone, in a list of
// theirs, or as CloudWatch Logs hands them to subscribers.
func Record(raw []byte) ([]event.Event, error) {
	record, err := object(raw)
	if err != nil {
		return nil, err
	}
	has := func(keys ...string) bool {
		for _, key := range keys {
			if record.get(key) == nil {
				return false
			}
		}
		return true
	}
	switch {
	case has("detail-type", "detail"):
		return Envelope(raw)
	case has("eventVersion", "eventTime"), has("eventSource", "eventName"):
		return one(CloudTrail(raw))
	case has("ProductArn"), has("class_uid", "finding_info"):
		return one(handed(record))
	case severalFindings(record):
		return all(record.get(handedFindings), handed)
	case has("type", "severity", "service", "resource"):
		return one(guardDuty(record))
	case has("newEvaluationResult"):
		return one(configCompliance(record))
	case has("configurationItem"), has("configurationItemSummary"):
		return one(configItem(record))
	case has("AlarmName", "NewStateValue"):
		return one(alarmNotice(record))
	case audited(record):
		return one(kubernetesAudit(record, cluster{}))
	case has("awslogs"):
		return packed(record)
	case has("messageType", logEvents), listed(record):
		return wrappingOf(record).all(record)
	}
	return nil, fault.New(fault.Invalid, "not a record of a kind that is known; its keys are %s", strings.Join(keysOf(record), ", "))
}

// keysOf lists the first keys of an object, for an error.
func keysOf(record value) []string {
	var keys []string
	for key := range record.fields() {
		if len(keys) == 8 {
			return append(keys, "...")
		}
		keys = append(keys, string(key[:min(len(key), 40)]))
	}
	return keys
}
