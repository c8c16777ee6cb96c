package awslog

import (
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// alarm reads a CloudWatch alarm's change of state from EventBridge.
func alarm(env envelope) (event.Event, error) {
	name, changed := env.detail.str("alarmName"), env.detail.str("state", "timestamp")
	if name == "" {
		return event.Event{}, fault.New(fault.Invalid, "not a CloudWatch alarm: no alarmName")
	}
	when := momentOf(changed)
	if when.IsZero() {
		when = env.time
	}
	var text string
	for item := range env.resources.items() {
		text = firstOf(text, item.text())
	}
	return alarmEvent(env.whole, name, text, "resources", env.at, when), nil
}

// alarmNotice reads the same change as CloudWatch itself tells it to an SNS topic.
func alarmNotice(record value) (event.Event, error) {
	name, text := record.str("AlarmName"), record.str("AlarmArn")
	when := momentOf(record.str("StateChangeTime"))
	if name == "" || when.IsZero() {
		return event.Event{}, fault.New(fault.Invalid, "not a CloudWatch alarm: no AlarmName or no StateChangeTime")
	}
	at := place{account: record.str("AWSAccountId")}
	if a, ok := parseARN(text); ok {
		at = place{a.account, a.region}
	}
	return alarmEvent(record, name, text, "AlarmArn", at, when), nil
}

func alarmEvent(raw value, name, text, from string, at place, when time.Time) event.Event {
	g := &gather{at: at}
	if _, isARN := parseARN(text); isARN {
		g.arn(entity.Target, text, from)
	} else {
		g.name(entity.Alarm, entity.Target, name, "alarmName")
		text = at.account + "/" + at.region + "/" + name
	}
	g.name(entity.Account, entity.Context, at.account, "account")
	return event.Event{
		Key:    key(event.CloudWatchAlarm, text, when.Format(time.RFC3339Nano)),
		Source: event.CloudWatchAlarm, Time: when, Account: at.account, Region: at.region,
		Service: "monitoring.amazonaws.com", Name: name, Entities: g.list, Raw: raw,
	}
}
