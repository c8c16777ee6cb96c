package api

import (
	"context"
	"net/http"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playcase"
)

// PlanOf names the playbook that is to be planned.
type PlanOf struct {
	Playbook string `json:"playbook" minLength:"1" maxLength:"100" doc:"its name"`
}

// plans asks for runs.approve: who may look at incidents alone must not make Riposte call the cloud.
func (s *Server) plans() {
	register(s, http.MethodPost, "/v1/incidents/{id}/plan", "Show what a playbook would do now about an incident; nothing is started", auth.RunsApprove, s.planIncident)
}

func (s *Server) planIncident(ctx context.Context, who auth.Identity, in *struct {
	OneIncident
	Body PlanOf
},
) (*Body[playcase.Rehearsal], error) {
	if s.Plan == nil {
		return nil, fault.New(fault.NotFound, "this server plans nothing")
	}
	s.Logger.InfoContext(ctx, "playbook planned", "incident", in.ID, "playbook", in.Body.Playbook, "by", who.Name)
	told, err := s.Plan(ctx, in.ID, in.Body.Playbook)
	return &Body[playcase.Rehearsal]{Body: told}, err
}
