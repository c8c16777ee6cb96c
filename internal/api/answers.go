package api

import (
	"context"
	"net/http"
	"time"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/store"
)

// OnCall is who is on call in a rotation.
type OnCall struct {
	Rotation string `json:"rotation"`
	Now      Shift  `json:"now"`
	Next     *Shift `json:"next,omitempty"`
	Error    string `json:"error,omitempty" doc:"why it is not known"`
}

// Shift is who is on call together, and how long.
type Shift struct {
	People []Person  `json:"people"`
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero" doc:"absent where no end is known"`
}

// Person is somebody on call.
type Person struct {
	Name  string   `json:"name"`
	Email string   `json:"email,omitempty"`
	Slack string   `json:"slack,omitempty"`
	Roles []string `json:"roles"`
}

// answers serves the ways by which people are reached and answer from outside.
func (s *Server) answers() {
	register(s, http.MethodGet, "/v1/oncall", "Show who is on call now and next", auth.IncidentsRead, s.listOnCall)
	if s.Slack != nil {
		s.mux.Handle("POST /v1/slack/interactions", s.Slack)
	}
	if s.Teams != nil {
		s.mux.Handle("POST /v1/teams/messages", s.Teams)
	}
	if s.Links != nil {
		s.mux.Handle("GET /a/{token}", s.Links)
		s.mux.Handle("POST /a/{token}", s.Links)
	}
}

func (s *Server) listOnCall(ctx context.Context, _ auth.Identity, _ *struct{}) (*Body[store.Page[OnCall]], error) {
	page := store.Page[OnCall]{Items: []OnCall{}}
	if s.OnCall != nil {
		page.Items = s.OnCall(ctx)
	}
	return &Body[store.Page[OnCall]]{Body: page}, nil
}
