package api

import (
	"context"
	"net/http"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// Content is what this installation detects by and responds with.
type Content struct {
	Rules     []Rule
	Playbooks []Playbook
	Actions   []Action
}

// Rule describes a rule.
type Rule struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Severity string   `json:"severity"`
	Tactics  []string `json:"tactics,omitempty"`
	Attack   []string `json:"techniques,omitempty"`
	File     string   `json:"file"`
}

// Playbook describes a playbook.
type Playbook struct {
	Name     string           `json:"name"`
	Summary  string           `json:"summary"`
	Findings []string         `json:"findings"`
	Autonomy run.Autonomy     `json:"autonomy" doc:"in force: the playbook's, bounded by the ceiling"`
	Limits   guardrail.Limits `json:"limits"`
	Steps    int              `json:"steps"`
	Hash     string           `json:"hash"`
	File     string           `json:"file"`
}

// Action describes an action.
type Action struct {
	Name        string   `json:"name"`
	Summary     string   `json:"summary"`
	Effect      string   `json:"effect"`
	Doc         string   `json:"doc"`
	Permissions []string `json:"permissions,omitempty"`
}

// Me is who the token says the caller is.
type Me struct {
	Name    string   `json:"name"`
	Roles   []string `json:"roles"`
	Version string   `json:"version" doc:"the server's"`
}

func (s *Server) content() {
	register(s, http.MethodGet, "/v1/me", "Show who you are to Riposte", auth.IncidentsRead, func(_ context.Context, who auth.Identity, _ *struct{}) (*Body[Me], error) {
		me := Me{Name: who.Name, Version: s.Version, Roles: []string{}}
		for _, role := range who.Roles {
			me.Roles = append(me.Roles, string(role))
		}
		return &Body[Me]{Body: me}, nil
	})
	register(s, http.MethodGet, "/v1/status", "Show whether the parts work", auth.IncidentsRead, func(context.Context, auth.Identity, *struct{}) (*Body[store.Page[health.State]], error) {
		states, _ := s.Board.States()
		return &Body[store.Page[health.State]]{Body: store.Page[health.State]{Items: orEmpty(states)}}, nil
	})
	register(s, http.MethodGet, "/v1/rules", "List the rules in force", auth.ConfigRead, func(context.Context, auth.Identity, *struct{}) (*Body[store.Page[Rule]], error) {
		return &Body[store.Page[Rule]]{Body: store.Page[Rule]{Items: orEmpty(s.Content().Rules)}}, nil
	})
	register(s, http.MethodGet, "/v1/playbooks", "List the playbooks in force", auth.ConfigRead, func(context.Context, auth.Identity, *struct{}) (*Body[store.Page[Playbook]], error) {
		return &Body[store.Page[Playbook]]{Body: store.Page[Playbook]{Items: orEmpty(s.Content().Playbooks)}}, nil
	})
	register(s, http.MethodGet, "/v1/actions", "List the actions that playbooks can use", auth.ConfigRead, func(context.Context, auth.Identity, *struct{}) (*Body[store.Page[Action]], error) {
		return &Body[store.Page[Action]]{Body: store.Page[Action]{Items: orEmpty(s.Content().Actions)}}, nil
	})
}
