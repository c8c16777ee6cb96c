package api

import (
	"context"
	"net/http"
	"time"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/store"
)

// Source tells of a source of events.
type Source struct {
	Name    string    `json:"name"`
	Product string    `json:"product,omitempty" doc:"as the log source of rules says it; empty where no rule is asked"`
	Service string    `json:"service,omitempty"`
	Latest  time.Time `json:"latest" doc:"when the newest event happened"`
	Heard   time.Time `json:"heard" doc:"when events were last taken in, to the minute"`
	Events  int64     `json:"events" doc:"taken in so far, redelivered ones once"`
}

func (s *Server) sources() {
	register(s, http.MethodGet, "/v1/sources", "List the sources that events came from", auth.ConfigRead,
		func(ctx context.Context, _ auth.Identity, _ *struct{}) (*Body[store.Page[Source]], error) {
			seen, err := s.Sources(ctx)
			if err != nil {
				return nil, err
			}
			return &Body[store.Page[Source]]{Body: store.Page[Source]{Items: orEmpty(seen)}}, nil
		})
}
