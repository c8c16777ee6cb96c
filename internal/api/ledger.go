package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
)

const (
	// longestWait bounds how long a request waits for new entries.
	longestWait = 30 * time.Second
	// betweenLooks is the time between two looks for new entries.
	betweenLooks = 50 * time.Millisecond
)

// Checkpoint is the ledger's signed head.
type Checkpoint struct {
	Checkpoint string `json:"checkpoint" doc:"a signed note; keep it elsewhere and verify exports against it"`
}

// Verified says whether the ledger is as it was written.
type Verified struct {
	OK      bool          `json:"ok"`
	Problem string        `json:"problem,omitempty"`
	Report  ledger.Report `json:"report"`
}

func (s *Server) ledger() {
	register(s, http.MethodGet, "/v1/ledger", "List entries of the ledger in their order", auth.LedgerRead, s.listLedger)
	register(s, http.MethodGet, "/v1/ledger/checkpoint", "Show the ledger's signed head", auth.LedgerRead, s.checkpoint)
	register(s, http.MethodGet, "/v1/ledger/verify", "Verify the ledger in its place", auth.LedgerRead, s.verifyLedger)
	register(s, http.MethodGet, "/v1/ledger/export", "Export the ledger for verification offline", auth.LedgerRead, s.exportLedger)
	register(s, http.MethodGet, "/v1/ledger/proof/{seq}", "Prove that an entry is in the ledger", auth.LedgerRead, s.proveEntry)
}

func (s *Server) listLedger(ctx context.Context, _ auth.Identity, q *struct {
	From     int64  `query:"from" minimum:"0" doc:"the first entry's number"`
	Incident string `query:"incident" maxLength:"100"`
	Run      string `query:"run" maxLength:"100"`
	Kind     string `query:"kind" maxLength:"100"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Wait     string `query:"wait" doc:"how long to wait for the first entry, such as 10s; at most 30s"`
},
) (*Body[store.Page[ledger.Entry]], error) {
	var wait time.Duration
	if q.Wait != "" {
		parsed, err := time.ParseDuration(q.Wait)
		if err != nil {
			return nil, fault.New(fault.Invalid, "wait: %q is not a duration such as 10s", q.Wait)
		}
		wait = min(parsed, longestWait)
	}
	deadline := s.Now().Add(wait)
	filter := store.LedgerFilter{From: q.From, Incident: q.Incident, Run: q.Run, Kind: record.Kind(q.Kind), Limit: q.Limit}
	for {
		entries, err := s.Store.LedgerEntries(ctx, filter)
		if err != nil || len(entries) > 0 || !s.Now().Before(deadline) {
			return &Body[store.Page[ledger.Entry]]{Body: store.Page[ledger.Entry]{Items: orEmpty(entries)}}, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(betweenLooks):
		}
	}
}

func (s *Server) checkpoint(ctx context.Context, _ auth.Identity, _ *struct{}) (*Body[Checkpoint], error) {
	text, err := s.Store.LedgerCheckpoint(ctx)
	return &Body[Checkpoint]{Body: Checkpoint{Checkpoint: string(text)}}, err
}

func (s *Server) verifyLedger(ctx context.Context, _ auth.Identity, _ *struct{}) (*Body[Verified], error) {
	report, err := s.Store.VerifyLedger(ctx)
	if tampered, ok := errors.AsType[*ledger.TamperedError](err); ok {
		return &Body[Verified]{Body: Verified{Problem: tampered.Error(), Report: report}}, nil
	}
	return &Body[Verified]{Body: Verified{OK: err == nil, Report: report}}, err
}

func (s *Server) proveEntry(ctx context.Context, _ auth.Identity, in *struct {
	Seq int64 `path:"seq" minimum:"0"`
},
) (*Body[ledger.Proof], error) {
	proof, err := s.Store.ProveEntry(ctx, in.Seq)
	return &Body[ledger.Proof]{Body: proof}, err
}

func (s *Server) exportLedger(_ context.Context, _ auth.Identity, _ *struct{}) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(ctx huma.Context) { //nolint:contextcheck // the stream has its own
		ctx.SetHeader("Content-Type", "application/jsonl")
		ctx.SetHeader("Content-Disposition", `attachment; filename="riposte-ledger.jsonl"`)
		out := &hurried{ctx.BodyWriter()}
		defer out.release()
		if err := s.Store.ExportLedger(ctx.Context(), out); err != nil {
			// The reader finds the end missing: an export without its checkpoint doesn't verify.
			s.Logger.ErrorContext(ctx.Context(), "export ledger", "err", err.Error())
		}
	}}, nil
}

// readerPatience is how long a reader may take for one piece of an answer that is written as it is read.
const readerPatience = 30 * time.Second

// hurried writes to a reader who must keep reading: what is written is read from the store meanwhile.
type hurried struct{ io.Writer }

// Write gives the reader some time for a piece.
func (h *hurried) Write(p []byte) (int, error) {
	if err := h.until(time.Now().Add(readerPatience)); err != nil {
		return 0, err
	}
	return h.Writer.Write(p)
}

// release gives the connection back as it was.
func (h *hurried) release() { _ = h.until(time.Time{}) } // a connection that is gone needs none

func (h *hurried) until(deadline time.Time) error {
	w, ok := h.Writer.(http.ResponseWriter)
	if !ok {
		return nil
	}
	err := http.NewResponseController(w).SetWriteDeadline(deadline)
	if errors.Is(err, http.ErrNotSupported) { // of a connection that can't be slow
		return nil
	}
	return err
}
