package pagerduty

import (
	"context"

	"github.com/riposte-sec/riposte/internal/action"
)

// trigger opens an alert, or adds to the one that is open for the incident.
type trigger struct{ pagerduty *PagerDuty }

// Spec describes the action.
func (t *trigger) Spec() action.Spec {
	return action.Spec{
		Name: "pagerduty.trigger", Summary: "Page the people of a PagerDuty service", Effect: action.Notify,
		Doc: "Sends a trigger event (Events API v2). Its deduplication key is the incident's: as long as the alert " +
			"is open, another trigger for the incident adds to it and pages nobody again. Severities become " +
			"PagerDuty's: critical stays, high is error, medium warning, low and informational info.",
		Params: []action.Param{
			{
				Name: "service", Type: action.String, Required: true, Enum: t.pagerduty.names(),
				Doc: "name of a service in the configuration, pagerduty.services",
			},
			{Name: "message", Type: action.String, Required: true, Doc: "what happened; its beginning is in the alert's title"},
			{Name: "subject", Type: action.String, Doc: "the beginning of the alert's title"},
			{Name: "severity", Type: action.String, Default: "high", Doc: "critical, high, medium, low, informational or PagerDuty's words"},
		},
		Outputs: []action.Output{{Name: "dedup_key", Type: action.String, Doc: "PagerDuty's key of the alert"}},
	}
}

// Plan writes the event. It sends nothing.
func (t *trigger) Plan(_ context.Context, in action.Input) (action.Change, error) {
	level, err := severity(in.Params.String("severity"))
	if err != nil {
		return action.Change{}, err
	}
	subject := legible(in.Params.String("subject"), longestSummary)
	message := readable(in.Params.String("message"), longestMessage)
	e := event{
		Action: "trigger", DedupKey: dedupKey(in), Client: "Riposte",
		Payload: &payload{
			Summary: summary(subject, message), Source: t.pagerduty.config.Source, Severity: level, Group: in.Account,
			Details: details(in, message),
		},
	}
	params := action.Params{
		"service": in.Params.String("service"), "subject": subject, "message": message, "severity": in.Params.String("severity"),
	}
	return t.pagerduty.plan(t.Spec().Name, in, params, e)
}

// Apply sends the event that was planned.
func (t *trigger) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	return t.pagerduty.send(ctx, c)
}

func summary(subject, message string) string {
	text := legible(message, longestSummary)
	switch {
	case subject == "" && text == "":
		return "Riposte (no text)"
	case subject == "":
		return text
	case text == "":
		return subject
	}
	return legible(subject+": "+text, longestSummary)
}

func details(in action.Input, message string) map[string]string {
	all := map[string]string{"message": message}
	for name, value := range map[string]string{
		"incident": in.Incident, "run": in.Run, "step": in.Step, "account": in.Account, "region": in.Region,
	} {
		if value != "" {
			all[name] = legible(value, longestKey)
		}
	}
	return all
}
