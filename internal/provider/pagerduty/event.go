package pagerduty

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/secret"
)

// PagerDuty's bounds, in characters; that of the message is ours.
const (
	longestSummary = 1024
	longestKey     = 255
	longestSource  = 255
	longestMessage = 12000
)

// event is what the Events API v2 takes. All but the routing key is planned.
type event struct {
	RoutingKey string   `json:"routing_key,omitempty"`
	Action     string   `json:"event_action"`
	DedupKey   string   `json:"dedup_key"`
	Client     string   `json:"client,omitempty"`
	Payload    *payload `json:"payload,omitempty"`
}

type payload struct {
	Summary  string            `json:"summary"`
	Source   string            `json:"source"`
	Severity string            `json:"severity"`
	Group    string            `json:"group,omitempty"`
	Details  map[string]string `json:"custom_details,omitempty"`
}

// plan makes the change that sends an event.
func (p *PagerDuty) plan(name string, in action.Input, params action.Params, e event) (action.Change, error) {
	service := params.String("service")
	if _, err := p.service(service); err != nil {
		return action.Change{}, err
	}
	after, err := json.Marshal(e)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode event to pagerduty: %w", err)
	}
	encoded, err := json.Marshal(params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return action.Change{
		Action: name, Place: in.Place, Params: encoded,
		Target: entity.Entity{Kind: entity.Resource, ID: "pagerduty service " + service, Provider: "pagerduty"},
		After:  after, Calls: []string{"pagerduty:enqueue " + e.Action + " " + e.DedupKey},
		Summary:  fmt.Sprintf("%s the alert %s at PagerDuty service %s", title(e.Action), e.DedupKey, service),
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

// send sends the event that was planned.
func (p *PagerDuty) send(ctx context.Context, c action.Change) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return action.Result{}, err
	}
	name := in.Params.String("service")
	service, err := p.service(name)
	if err != nil {
		return action.Result{}, err
	}
	var e event
	if err := json.Unmarshal(c.After, &e); err != nil {
		return action.Result{}, fmt.Errorf("read planned event: %w", err)
	}
	e.RoutingKey = service.RoutingKey.Reveal()
	body, err := json.Marshal(e)
	if err != nil {
		return action.Result{}, fmt.Errorf("encode event to pagerduty: %w", err)
	}
	_, err = p.courier.Post(ctx, courier.Parcel{
		Receiver: "pagerduty service " + name, URL: p.config.URL, Body: body,
		Header: http.Header{"Content-Type": {"application/json"}}, Secrets: []secret.Secret{service.RoutingKey},
	})
	if err != nil {
		return action.Result{}, err
	}
	return action.Result{Changed: true, Outputs: map[string]any{"dedup_key": e.DedupKey}}, nil
}

func (p *PagerDuty) service(name string) (Service, error) {
	service, known := p.config.Services[name]
	if !known {
		return service, fault.New(fault.Invalid, "pagerduty.services has no %.100q; there are %s", name,
			strings.Join(p.names(), ", "))
	}
	return service, nil
}

// dedupKey is the same for all that concerns one incident: a second trigger joins the open alert, and a
// resolve finds it.
func dedupKey(in action.Input) string {
	for _, id := range []string{in.Incident, in.Run, in.Token} {
		if id != "" {
			return legible("riposte-"+id, longestKey)
		}
	}
	return "riposte"
}

// severity says PagerDuty's word for one of ours: a name, the number that rules compute with, or PagerDuty's
// own word.
func severity(text string) (string, error) {
	switch strings.ToLower(text) {
	case "":
		return "error", nil
	case "critical", "error", "warning", "info":
		return strings.ToLower(text), nil
	}
	level, err := finding.ParseSeverity(text)
	if number, notNumber := strconv.ParseUint(text, 10, 8); notNumber == nil {
		level, err = finding.Severity(number), nil
	}
	switch level {
	case finding.Critical:
		return "critical", err
	case finding.High:
		return "error", err
	case finding.Medium:
		return "warning", err
	case finding.Low, finding.Informational:
		return "info", err
	case finding.Unknown:
	}
	return "", fault.New(fault.Invalid, "severity: %.100q is none of critical, high, medium, low, informational", text)
}

// legible makes a text that anybody may have written one line that is fit for people: valid, bounded, without
// control characters or marks that turn the direction of what follows.
func legible(s string, longest int) string {
	return readable(strings.Join(strings.Fields(s), " "), longest)
}

// readable is legible for texts of several lines.
func readable(s string, longest int) string {
	runes := make([]rune, 0, min(len(s), longest+1))
	for _, r := range strings.ReplaceAll(s, "\r\n", "\n") {
		switch {
		case r == '\n', r == '\t':
		case r == unicode.ReplacementChar, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			continue
		}
		if runes = append(runes, r); len(runes) > longest {
			runes = append(runes[:longest-1], '…')
			break
		}
	}
	return strings.TrimSpace(string(runes))
}
