package api

import (
	"context"
	"net/http"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// Body is a response of one JSON value.
type Body[T any] struct{ Body T }

// IncidentDetail is an incident with all that belongs to it.
type IncidentDetail struct {
	Incident  incident.Incident `json:"incident"`
	Findings  []store.Finding   `json:"findings"`
	Runs      []run.Run         `json:"runs"`
	Approvals []run.Approval    `json:"approvals" doc:"asked in this incident, the last first"`
	Timeline  []ledger.Entry    `json:"timeline" doc:"the ledger's entries about it"`
}

// Close is a verdict on an incident.
type Close struct {
	Verdict string `json:"verdict" enum:"true_positive,benign,false_positive"`
	Note    string `json:"note" maxLength:"4000" minLength:"1" doc:"why"`
}

// Closed is a closed incident and the run that takes back what was applied by mistake, if there is one.
type Closed struct {
	Incident incident.Incident `json:"incident"`
	Undo     *run.Run          `json:"undo,omitempty"`
}

// Undo asks to take back what was applied.
type Undo struct {
	Step  string `json:"step,omitempty" maxLength:"200" doc:"only this step of the run"`
	Force bool   `json:"force,omitempty" doc:"overwrite what somebody changed since"`
}

// FindingDetail is a finding with the events behind it.
type FindingDetail struct {
	Finding store.Finding `json:"finding"`
	Events  []EventDetail `json:"events"`
}

// EventDetail is an event with its bytes as the source wrote them.
type EventDetail struct {
	event.Event
	Raw string `json:"raw"`
}

type incidentsQuery struct {
	State    []string `query:"state" enum:"open,contained,closed,merged" doc:"any of these; open and contained if absent"`
	Severity string   `query:"severity" doc:"at least"`
	Account  string   `query:"account"`
	Entity   string   `query:"entity" doc:"an entity's id, such as an instance's"`
	Text     string   `query:"text" maxLength:"200" doc:"part of the title"`
	Limit    int      `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor   string   `query:"cursor" maxLength:"200"`
}

// OneIncident names an incident.
type OneIncident struct {
	ID string `path:"id" maxLength:"100"`
}

func (s *Server) incidents() {
	register(s, http.MethodGet, "/v1/incidents", "List incidents, the last opened first", auth.IncidentsRead, s.listIncidents)
	register(s, http.MethodGet, "/v1/incidents/{id}", "Show an incident with findings, runs and timeline", auth.IncidentsRead, s.showIncident)
	register(s, http.MethodPost, "/v1/incidents/{id}/close", "Close an incident with a verdict", auth.IncidentsWrite, s.closeIncident)
	register(s, http.MethodPost, "/v1/incidents/{id}/undo", "Take back all that was applied in an incident", auth.RunsUndo, s.undoIncident)
	register(s, http.MethodGet, "/v1/findings", "List findings, the last received first", auth.IncidentsRead, s.listFindings)
	register(s, http.MethodGet, "/v1/findings/{id}", "Show a finding with the events behind it", auth.IncidentsRead, s.showFinding)
}

func (s *Server) listIncidents(ctx context.Context, _ auth.Identity, q *incidentsQuery) (*Body[store.Page[incident.Incident]], error) {
	filter := store.IncidentFilter{Account: q.Account, Entity: q.Entity, Text: q.Text, Limit: q.Limit, Cursor: q.Cursor}
	for _, state := range q.State {
		filter.States = append(filter.States, incident.State(state))
	}
	if len(filter.States) == 0 {
		filter.States = []incident.State{incident.Open, incident.Contained}
	}
	if q.Severity != "" {
		least, err := finding.ParseSeverity(q.Severity)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err)
		}
		filter.Severity = least
	}
	page, err := s.Store.Incidents(ctx, filter)
	return &Body[store.Page[incident.Incident]]{Body: page}, err
}

func (s *Server) showIncident(ctx context.Context, _ auth.Identity, in *OneIncident) (*Body[IncidentDetail], error) {
	var detail IncidentDetail
	var err error
	if detail.Incident, err = s.Store.Incident(ctx, in.ID); err != nil {
		return nil, err
	}
	found, err := s.Store.Findings(ctx, store.FindingFilter{Incident: in.ID, Limit: 500})
	if err != nil {
		return nil, err
	}
	detail.Findings = found.Items
	if detail.Runs, err = s.Store.RunsOfIncident(ctx, in.ID); err != nil {
		return nil, err
	}
	if detail.Approvals, err = s.Store.Approvals(ctx, store.ApprovalFilter{Incident: in.ID, Limit: 500}); err != nil {
		return nil, err
	}
	detail.Timeline, err = s.Store.LedgerEntries(ctx, store.LedgerFilter{Incident: in.ID, Limit: 1000})
	return &Body[IncidentDetail]{Body: detail}, err
}

func (s *Server) closeIncident(ctx context.Context, who auth.Identity, in *struct {
	OneIncident
	Body Close
},
) (*Body[Closed], error) {
	verdict, err := incident.ParseVerdict(in.Body.Verdict)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	closable := func(i *incident.Incident) error {
		if i.State == incident.Closed || i.State == incident.Merged {
			return fault.New(fault.Conflict, "incident %s is %s already", i.ID, i.State)
		}
		return nil
	}
	is, err := s.Store.Incident(ctx, in.ID)
	if err == nil {
		err = closable(&is)
	}
	if err != nil {
		return nil, err
	}
	undo, err := s.Desk.Conclude(ctx, s.Store, in.ID, verdict, who.Name)
	if err != nil {
		return nil, err
	}
	closing := record.New(s.Now(), record.IncidentClosed, who.Name, map[string]any{"verdict": verdict, "note": in.Body.Note}).
		About(in.ID, "", "")
	closed, err := s.Store.UpdateIncident(ctx, in.ID, func(i *incident.Incident) error {
		if err := closable(i); err != nil {
			return err
		}
		i.State, i.Verdict, i.Note, i.Closed, i.Updated = incident.Closed, verdict, in.Body.Note, s.Now(), s.Now()
		return nil
	}, closing)
	return &Body[Closed]{Body: Closed{Incident: closed, Undo: undo}}, err
}

func (s *Server) undoIncident(ctx context.Context, who auth.Identity, in *struct {
	OneIncident
	Body Undo
},
) (*Body[run.Run], error) {
	if in.Body.Step != "" {
		return nil, fault.New(fault.Invalid, "a step belongs to a run: undo the run's step")
	}
	undo, err := s.Desk.Undo(ctx, s.Store, in.ID, run.Undoing{Force: in.Body.Force}, who.Name)
	return &Body[run.Run]{Body: undo}, err
}

func (s *Server) listFindings(ctx context.Context, _ auth.Identity, q *struct {
	Incident   string `query:"incident" maxLength:"100"`
	Suppressed bool   `query:"suppressed" doc:"only those that were expected"`
	Severity   string `query:"severity" enum:"informational,low,medium,high,critical" doc:"at least"`
	Type       string `query:"type" maxLength:"400"`
	Limit      int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor     string `query:"cursor" maxLength:"200"`
},
) (*Body[store.Page[store.Finding]], error) {
	filter := store.FindingFilter{Incident: q.Incident, Suppressed: q.Suppressed, Type: q.Type, Limit: q.Limit, Cursor: q.Cursor}
	if q.Severity != "" {
		least, err := finding.ParseSeverity(q.Severity)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err)
		}
		filter.Severity = least
	}
	page, err := s.Store.Findings(ctx, filter)
	return &Body[store.Page[store.Finding]]{Body: page}, err
}

func (s *Server) showFinding(ctx context.Context, _ auth.Identity, in *struct {
	ID string `path:"id" maxLength:"100"`
},
) (*Body[FindingDetail], error) {
	found, err := s.Store.Finding(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	behind, err := s.Store.FindingEvents(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	detail := FindingDetail{Finding: found, Events: []EventDetail{}}
	for _, ev := range behind {
		detail.Events = append(detail.Events, EventDetail{Event: ev, Raw: string(ev.Raw)})
	}
	return &Body[FindingDetail]{Body: detail}, nil
}
