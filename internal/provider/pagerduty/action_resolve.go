package pagerduty

import (
	"context"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
)

// resolve ends the alert that is open for the incident.
type resolve struct{ pagerduty *PagerDuty }

// Spec describes the action.
func (r *resolve) Spec() action.Spec {
	return action.Spec{
		Name: "pagerduty.resolve", Summary: "Resolve the incident's alert at PagerDuty", Effect: action.Notify,
		Doc: "Sends a resolve event (Events API v2) for the alert that pagerduty.trigger opened for the same incident. " +
			"Where none is open, PagerDuty takes the event and does nothing.",
		Params: []action.Param{
			{
				Name: "service", Type: action.String, Required: true, Enum: r.pagerduty.names(),
				Doc: "name of a service in the configuration, pagerduty.services",
			},
		},
		Outputs: []action.Output{{Name: "dedup_key", Type: action.String, Doc: "PagerDuty's key of the alert"}},
	}
}

// Plan writes the event. It sends nothing.
func (r *resolve) Plan(_ context.Context, in action.Input) (action.Change, error) {
	params := action.Params{"service": in.Params.String("service")}
	return r.pagerduty.plan(r.Spec().Name, in, params, event{Action: "resolve", DedupKey: dedupKey(in)})
}

// Apply sends the event that was planned.
func (r *resolve) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	return r.pagerduty.send(ctx, c)
}

func title(verb string) string { return strings.ToUpper(verb[:1]) + verb[1:] }
