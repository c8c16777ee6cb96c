package awslog

import (
	"fmt"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

// Finding makes the finding of a product's event. It reports false for events that are no findings, such
// as those of CloudTrail, an item change, or an alarm that lacks data.
func Finding(ev event.Event) (finding.Finding, bool, error) {
	var mapped func(event.Event, value) finding.Finding
	switch ev.Source {
	case event.GuardDuty:
		mapped = guardDutyFinding
	case event.SecurityHub:
		mapped = securityHubFinding
	case event.ConfigCompliant:
		mapped = complianceFinding
	case event.CloudWatchAlarm:
		mapped = alarmFinding
	default:
		return finding.Finding{}, false, nil
	}
	raw, err := object(ev.Raw)
	if err != nil {
		return finding.Finding{}, false, fmt.Errorf("read %s event %s: %w", ev.Source, ev.Key, err)
	}
	if ev.Source == event.SecurityHub && raw.get("class_uid") != nil {
		mapped = ocsfFinding
	}
	f := mapped(ev, raw)
	if f.Type == "" {
		return finding.Finding{}, false, nil
	}
	if ev.Time.IsZero() {
		return finding.Finding{}, false, fault.New(fault.Invalid, "%s event %s has no time", ev.Source, ev.Key)
	}
	return completed(f, ev), true, nil
}

// completed fills what every finding takes from its event.
func completed(f finding.Finding, ev event.Event) finding.Finding {
	f.Received, f.Account, f.Region = ev.Received, ev.Account, ev.Region
	f.Entities, f.Events = ev.Entities, []string{ev.Key}
	if f.LastSeen.IsZero() {
		f.LastSeen = ev.Time
	}
	if f.FirstSeen.IsZero() || f.FirstSeen.After(f.LastSeen) {
		f.FirstSeen = f.LastSeen
	}
	return f
}

// complianceFinding makes a finding of a resource that violates a rule of Config, or does no longer.
func complianceFinding(ev event.Event, detail value) finding.Finding {
	result := detail.get("newEvaluationResult")
	compliance := result.str("complianceType")
	kind, id := detail.str("resourceType"), detail.str("resourceId")
	f := finding.Finding{
		Fingerprint: finding.Fingerprint(string(finding.Config), ev.Account, ev.Region, ev.Name, kind, id),
		Product:     finding.Config,
		Type:        "config:" + ev.Name,
		Title:       fmt.Sprintf("%s %s violates %s", kind, id, ev.Name),
		Description: result.str("annotation"),
		Severity:    finding.Medium, // Config has no severities
		FirstSeen:   ev.Time, LastSeen: ev.Time, Count: 1,
		Reference: reference("rule", ev.Name, "resource_type", kind, "resource_id", id, "region", ev.Region, "account", ev.Account),
	}
	switch compliance {
	case "NON_COMPLIANT":
	case "COMPLIANT", "NOT_APPLICABLE":
		f.Resolved = true
	default: // INSUFFICIENT_DATA
		return finding.Finding{}
	}
	return f
}

// alarmFinding makes a finding of a CloudWatch alarm that rings, or rings no longer.
func alarmFinding(ev event.Event, raw value) finding.Finding {
	state, reason := raw.str("detail", "state", "value"), raw.str("detail", "state", "reason")
	if raw.get("NewStateValue") != nil {
		state, reason = raw.str("NewStateValue"), raw.str("NewStateReason")
	}
	if state != "ALARM" && state != "OK" {
		return finding.Finding{}
	}
	return finding.Finding{
		Fingerprint: finding.Fingerprint(string(finding.CloudWatch), ev.Account, ev.Region, ev.Name),
		Product:     finding.CloudWatch,
		Type:        "cloudwatch:" + ev.Name,
		Title:       "Alarm " + ev.Name,
		Description: firstOf(raw.str("detail", "configuration", "description"), raw.str("AlarmDescription"), reason),
		Severity:    finding.Medium, // CloudWatch has no severities
		FirstSeen:   ev.Time, LastSeen: ev.Time, Count: 1,
		Resolved:  state == "OK",
		Reference: reference("alarm", ev.Name, "region", ev.Region, "account", ev.Account),
	}
}
