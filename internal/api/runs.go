package api

import (
	"context"
	"net/http"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// RunDetail is a run with its steps and questions.
type RunDetail struct {
	Run       run.Run        `json:"run"`
	Steps     []run.Step     `json:"steps"`
	Approvals []run.Approval `json:"approvals"`
}

// Answer is a person's answer to a question.
type Answer struct {
	Hash   string `json:"hash,omitempty" maxLength:"64" doc:"of the plans you saw: an answer to other plans is refused"`
	Reason string `json:"reason,omitempty" maxLength:"4000"`
}

// OneRun names a run, or an approval.
type OneRun struct {
	ID string `path:"id" maxLength:"100"`
}

func (s *Server) runs() {
	register(s, http.MethodGet, "/v1/runs", "List runs, the last created first", auth.IncidentsRead, s.listRuns)
	register(s, http.MethodGet, "/v1/runs/{id}", "Show a run with its steps", auth.IncidentsRead, s.showRun)
	register(s, http.MethodPost, "/v1/runs/{id}/undo", "Take back what a run, or one step of it, applied", auth.RunsUndo, s.undoRun)
	register(s, http.MethodGet, "/v1/approvals", "List questions to people, the last asked first", auth.IncidentsRead, s.listApprovals)
	register(s, http.MethodGet, "/v1/approvals/{id}", "Show a question with its exact plans", auth.IncidentsRead, s.showApproval)
	register(s, http.MethodPost, "/v1/approvals/{id}/approve", "Approve exactly the plans of a question", auth.RunsApprove, s.answer(true))
	register(s, http.MethodPost, "/v1/approvals/{id}/deny", "Deny the plans of a question", auth.RunsApprove, s.answer(false))
}

func (s *Server) listRuns(ctx context.Context, _ auth.Identity, q *struct {
	State    []string `query:"state" enum:"ready,waiting,held,succeeded,observed,denied,blocked,failed,cancelled"`
	Incident string   `query:"incident" maxLength:"100"`
	Playbook string   `query:"playbook" maxLength:"200"`
	Limit    int      `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor   string   `query:"cursor" maxLength:"200"`
},
) (*Body[store.Page[run.Run]], error) {
	filter := store.RunFilter{Incident: q.Incident, Playbook: q.Playbook, Limit: q.Limit, Cursor: q.Cursor}
	for _, state := range q.State {
		filter.States = append(filter.States, run.State(state))
	}
	page, err := s.Store.Runs(ctx, filter)
	return &Body[store.Page[run.Run]]{Body: page}, err
}

func (s *Server) showRun(ctx context.Context, _ auth.Identity, in *OneRun) (*Body[RunDetail], error) {
	journal, err := s.Store.Load(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[RunDetail]{Body: RunDetail{Run: journal.Run, Steps: journal.Steps, Approvals: journal.Approvals}}, nil
}

func (s *Server) undoRun(ctx context.Context, who auth.Identity, in *struct {
	OneRun
	Body Undo
},
) (*Body[run.Run], error) {
	what := run.Undoing{Runs: []string{in.ID}, Step: in.Body.Step, Force: in.Body.Force}
	undo, err := s.Desk.Undo(ctx, s.Store, "", what, who.Name)
	return &Body[run.Run]{Body: undo}, err
}

func (s *Server) listApprovals(ctx context.Context, _ auth.Identity, q *struct {
	Answer   string `query:"answer" enum:"pending,approved,denied,expired,superseded,any" default:"pending"`
	Incident string `query:"incident" maxLength:"100"`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
},
) (*Body[store.Page[run.Approval]], error) {
	filter := store.ApprovalFilter{Answer: run.Answer(q.Answer), Incident: q.Incident, Limit: q.Limit}
	if q.Answer == "any" {
		filter.Answer = ""
	}
	asked, err := s.Store.Approvals(ctx, filter)
	if asked == nil {
		asked = []run.Approval{}
	}
	return &Body[store.Page[run.Approval]]{Body: store.Page[run.Approval]{Items: asked}}, err
}

func (s *Server) showApproval(ctx context.Context, _ auth.Identity, in *OneRun) (*Body[run.Approval], error) {
	asked, err := s.Store.Approval(ctx, in.ID)
	return &Body[run.Approval]{Body: asked}, err
}

func (s *Server) answer(yes bool) func(context.Context, auth.Identity, *struct {
	OneRun
	Body Answer
}) (*Body[run.Approval], error) {
	return func(ctx context.Context, who auth.Identity, in *struct {
		OneRun
		Body Answer
	},
	) (*Body[run.Approval], error) {
		roles := make([]string, 0, len(who.Roles))
		for _, role := range who.Roles {
			roles = append(roles, string(role))
		}
		decided, err := s.Desk.Decide(ctx, s.Store, respond.Answer{
			Approval: in.ID, Hash: in.Body.Hash, Yes: yes, By: who.Name, Roles: roles, Reason: in.Body.Reason,
		})
		return &Body[run.Approval]{Body: decided}, err
	}
}
