package api

import (
	"context"
	"net/http"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
)

// LetterDetail is a dead letter with its bytes as text.
type LetterDetail struct {
	Letter event.Letter `json:"letter"`
	Text   string       `json:"text" doc:"its bytes; what is not UTF-8 is replaced"`
}

// OneLetter names a dead letter.
type OneLetter struct {
	ID string `path:"id" maxLength:"100"`
}

func (s *Server) letters() {
	register(s, http.MethodGet, "/v1/deadletters", "List records that could not be read", auth.LettersRead, s.listLetters)
	register(s, http.MethodGet, "/v1/deadletters/{id}", "Show a dead letter with its bytes", auth.LettersRead, s.showLetter)
	register(s, http.MethodPost, "/v1/deadletters/{id}/replay", "Read a dead letter once more", auth.LettersReplay, s.replayLetter)
	register(s, http.MethodDelete, "/v1/deadletters/{id}", "Throw a dead letter away", auth.LettersReplay, s.deleteLetter)
}

func (s *Server) listLetters(ctx context.Context, _ auth.Identity, q *struct {
	All    bool   `query:"all" doc:"those replayed too"`
	Format string `query:"format" maxLength:"100"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"200"`
},
) (*Body[store.Page[event.Letter]], error) {
	page, err := s.Store.Letters(ctx, store.LetterFilter{Format: q.Format, Unread: !q.All, Limit: q.Limit, Cursor: q.Cursor})
	return &Body[store.Page[event.Letter]]{Body: page}, err
}

func (s *Server) showLetter(ctx context.Context, _ auth.Identity, in *OneLetter) (*Body[LetterDetail], error) {
	letter, err := s.Store.Letter(ctx, in.ID)
	return &Body[LetterDetail]{Body: LetterDetail{Letter: letter, Text: string(letter.Raw)}}, err
}

func (s *Server) replayLetter(ctx context.Context, who auth.Identity, in *OneLetter) (*Body[Done], error) {
	letter, err := s.Store.Letter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.Replay(ctx, letter); err != nil {
		return nil, err
	}
	replayed := record.New(s.Now(), record.LetterReplayed, who.Name, map[string]string{"letter": letter.ID, "origin": letter.Origin})
	return &Body[Done]{Body: Done{Done: true}}, s.Store.MarkReplayed(ctx, in.ID, s.Now(), replayed)
}

func (s *Server) deleteLetter(ctx context.Context, who auth.Identity, in *OneLetter) (*Body[Done], error) {
	letter, err := s.Store.Letter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	deleted := record.New(s.Now(), record.LetterDeleted, who.Name, map[string]string{
		"letter": letter.ID, "origin": letter.Origin, "reason": letter.Reason,
	})
	return &Body[Done]{Body: Done{Done: true}}, s.Store.DeleteLetter(ctx, in.ID, deleted)
}
