// Package api serves Riposte over HTTP: what people and programs see and decide. Its OpenAPI description
// comes from this code, at /openapi.json.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/playcase"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// Desk takes people's decisions about runs.
type Desk interface {
	Decide(ctx context.Context, desk respond.Desk, a respond.Answer) (run.Approval, error)
	Undo(ctx context.Context, desk respond.Desk, incidentID string, what run.Undoing, by string) (run.Run, error)
	Conclude(ctx context.Context, desk respond.Desk, incidentID string, v incident.Verdict, by string) (*run.Run, error)
	Wake(ctx context.Context, held run.Run) error
}

// Options are a server's parts.
type Options struct {
	Store  *store.Store
	Desk   Desk
	Keeper *auth.Keeper
	Board  *health.Board
	// Replay reads a dead letter once more. It returns an error where the letter still can't be read.
	Replay  func(ctx context.Context, letter event.Letter) error
	Content func() Content
	// Sources tells which sources events came from.
	Sources func(ctx context.Context) ([]Source, error)
	// Fixed are protections that nobody can lift: what Riposte stands on, what the configuration protects.
	Fixed []guardrail.Protection
	// Events, SNS and Metrics are served as they are; nil ones aren't there. SNS proves itself by its
	// signatures.
	Events  http.Handler
	SNS     http.Handler
	Metrics http.Handler
	// Slack, Teams and Links take answers from outside; nil ones aren't there. The first two prove themselves by
	// their signatures, a link by its token.
	Slack http.Handler
	Teams http.Handler
	Links http.Handler
	// Plan tells what a playbook would do now about an incident; nil where nobody can.
	Plan func(ctx context.Context, incidentID, playbook string) (playcase.Rehearsal, error)
	// OnCall tells who is on call; nil is nobody.
	OnCall  func(ctx context.Context) []OnCall
	Version string
	Now     func() time.Time
	NewID   func() string
	Logger  *slog.Logger
}

// Server serves the API.
type Server struct {
	Options
	mux *http.ServeMux
	api huma.API
}

// New makes a server.
func New(o Options) *Server {
	s := &Server{Options: o, mux: http.NewServeMux()}
	config := huma.DefaultConfig("Riposte", o.Version)
	config.Info.Description = "Detects security events in clouds and responds to them, safely. " +
		"Every request needs a token (Authorization: Bearer rip_...) whose roles allow it."
	config.Components = &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName)}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"token": {}}}
	config.DocsPath = ""                            // documentation pages would load scripts from elsewhere
	config.OpenAPIPath, config.SchemasPath = "", "" // plain serves the description, to who has a token
	config.RejectUnknownQueryParameters = true      // a mistyped filter would give everything
	config.CreateHooks = nil
	config.Transformers = append(config.Transformers, withoutEcho)
	s.api = humago.New(s.mux, config)
	s.api.UseMiddleware(s.authenticate)
	s.incidents()
	s.runs()
	s.rails()
	s.letters()
	s.ledger()
	s.content()
	s.sources()
	s.answers()
	s.plans()
	s.plain()
	return s
}

// longestEcho bounds how much of a wrong value a problem repeats, in bytes.
const longestEcho = 200

// withoutEcho keeps problems from repeating a whole body: who sent it has it, and it may hold secrets.
func withoutEcho(_ huma.Context, _ string, body any) (any, error) {
	if problem, is := body.(*huma.ErrorModel); is {
		for _, wrong := range problem.Errors {
			if text, is := wrong.Value.(string); !is || len(text) > longestEcho {
				wrong.Value = nil
			}
		}
	}
	return body, nil
}

// ServeHTTP serves a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.Header().Set("Cache-Control", "no-store")
	s.mux.ServeHTTP(w, r)
}

// Document is the OpenAPI description, as JSON.
func (s *Server) Document() ([]byte, error) {
	text, err := json.MarshalIndent(s.api.OpenAPI(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	return text, nil
}

// Describe gives the OpenAPI description of a version, as JSON.
func Describe(version string) ([]byte, error) { return New(Options{Version: version}).Document() }

// plain serves what isn't part of the described API.
func (s *Server) plain() {
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	s.mux.HandleFunc("GET /readyz", s.ready)
	if s.Events != nil {
		s.mux.Handle("POST /v1/events", s.sender(s.Events))
	}
	if s.SNS != nil {
		s.mux.Handle("POST /v1/sns", s.SNS)
	}
	if s.Metrics != nil {
		s.mux.Handle("GET /metrics", s.only(auth.MetricsRead, s.Metrics))
	}
	s.mux.Handle("GET /openapi.json", s.only(auth.IncidentsRead, http.HandlerFunc(s.describe)))
}

// describe serves the OpenAPI description.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) {
	text, err := s.Document()
	if err != nil {
		s.Logger.ErrorContext(r.Context(), "request failed", "operation", "openapi", "err", err.Error())
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(text) // whoever asked is gone then
}

// ready answers 200 if every part works, otherwise 503. What is wrong is told to whoever has a token.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	states, ready := s.Board.States()
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	body := map[string]any{"ready": ready}
	if r.Header.Get("Authorization") != "" { // a probe that names nobody is no failed attempt
		if who, err := s.Keeper.Who(r); err == nil && who.May(auth.IncidentsRead) {
			body["parts"] = states
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked is gone then
}

// only lets those pass whose token has a permission.
func (s *Server) only(need auth.Permission, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.Keeper.Who(r)
		if err == nil {
			err = who.Check(need)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers as described operations do, where there is none: with a problem document (RFC 9457).
func refuse(w http.ResponseWriter, err error) {
	status, detail := problemOf(err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	problem := huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}
	_ = json.NewEncoder(w).Encode(problem) // whoever asked is gone then
}

type identityKey struct{}

// authenticate lets a request pass whose token has the operation's permission.
func (s *Server) authenticate(ctx huma.Context, next func(huma.Context)) {
	request, _ := humago.Unwrap(ctx)
	who, err := s.Keeper.Who(request)
	need, _ := ctx.Operation().Metadata["permission"].(auth.Permission)
	if err == nil {
		err = who.Check(need)
	}
	if err != nil {
		status, detail := problemOf(err)
		if status == http.StatusUnauthorized {
			ctx.SetHeader("WWW-Authenticate", "Bearer")
		}
		if writing := huma.WriteErr(s.api, ctx, status, detail); writing != nil {
			s.Logger.WarnContext(ctx.Context(), "answer", "err", writing.Error())
		}
		return
	}
	next(huma.WithValue(ctx, identityKey{}, who))
}

// register adds an operation. need is what its caller must be allowed.
func register[I, O any](s *Server, method, at, summary string, need auth.Permission, do func(context.Context, auth.Identity, *I) (*O, error)) {
	operation := huma.Operation{
		OperationID: operationID(method, at), Method: method, Path: at, Summary: summary,
		Description: "Needs the permission " + string(need) + ".",
		Metadata:    map[string]any{"permission": need}, Tags: []string{strings.Split(at, "/")[2]},
	}
	huma.Register(s.api, operation, func(ctx context.Context, in *I) (*O, error) {
		who, _ := ctx.Value(identityKey{}).(auth.Identity)
		out, err := do(ctx, who, in)
		if err != nil {
			return nil, s.problem(ctx, operation.OperationID, err)
		}
		return out, nil
	})
}

func operationID(method, at string) string {
	parts := []string{strings.ToLower(method)}
	for part := range strings.SplitSeq(strings.TrimPrefix(at, "/v1/"), "/") {
		parts = append(parts, strings.Trim(part, "{}"))
	}
	return strings.Join(parts, "-")
}

func (s *Server) problem(ctx context.Context, operation string, err error) error {
	status, detail := problemOf(err)
	if status >= http.StatusInternalServerError && ctx.Err() == nil { // otherwise who asked has gone
		s.Logger.ErrorContext(ctx, "request failed", "operation", operation, "err", err.Error())
	}
	return huma.NewError(status, detail)
}

// problemOf maps an error to a status and to what a user may read of it.
func problemOf(err error) (status int, detail string) {
	detail = fault.Message(err)
	if hinted, ok := errors.AsType[*fault.Error](err); ok && hinted.Hint != "" && hinted.Kind != fault.Internal {
		detail += " (" + hinted.Hint + ")"
	}
	if errors.Is(err, auth.ErrTooMany) {
		return http.StatusTooManyRequests, detail
	}
	if errors.Is(err, auth.ErrUnauthenticated) {
		return http.StatusUnauthorized, detail
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest, detail
	case fault.NotFound:
		return http.StatusNotFound, detail
	case fault.Denied:
		return http.StatusForbidden, detail
	case fault.Conflict:
		return http.StatusConflict, detail
	case fault.Transient:
		return http.StatusServiceUnavailable, detail
	case fault.Internal:
	}
	return http.StatusInternalServerError, detail
}

// schemaName tells types of one name in two packages apart.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if !strings.HasPrefix(t.PkgPath(), "github.com/riposte-sec/riposte/") || strings.Contains(t.Name(), "[") {
		return name
	}
	home := path.Base(t.PkgPath())
	if home == "api" || strings.EqualFold(home, name) {
		return name
	}
	return strings.ToUpper(home[:1]) + home[1:] + name
}
