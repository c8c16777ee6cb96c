package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// Freeze asks to stop every change within a scope.
type Freeze struct {
	Scope  string `json:"scope" enum:"everything,account,playbook"`
	Value  string `json:"value,omitempty" maxLength:"200" doc:"account id or playbook name"`
	Reason string `json:"reason" minLength:"1" maxLength:"4000"`
	For    string `json:"for,omitempty" doc:"how long, such as 2h; until lifted if absent"`
}

// Protect asks that no action may change some entities. Every field that is set must match.
type Protect struct {
	Kind    string `json:"kind,omitempty" maxLength:"40" doc:"kind of entity, such as instance"`
	Name    string `json:"name,omitempty" maxLength:"300" doc:"pattern on the entity's id, with *"`
	ARN     string `json:"arn,omitempty" maxLength:"600" doc:"pattern on its ARN, with *"`
	Account string `json:"account,omitempty" maxLength:"12"`
	Tag     string `json:"tag,omitempty" maxLength:"400" doc:"key, or key=value"`
	Reason  string `json:"reason" minLength:"1" maxLength:"4000"`
}

func (s *Server) rails() {
	register(s, http.MethodGet, "/v1/freezes", "List freezes in force", auth.RailsRead, s.listFreezes)
	register(s, http.MethodPost, "/v1/freezes", "Freeze everything, an account or a playbook", auth.RailsFreeze, s.freeze)
	register(s, http.MethodDelete, "/v1/freezes/{id}", "Lift a freeze; held runs go on", auth.RailsUnfreeze, s.unfreeze)
	register(s, http.MethodGet, "/v1/protections", "List what no action may change", auth.RailsRead, s.listProtections)
	register(s, http.MethodPost, "/v1/protections", "Protect entities from every action", auth.RailsProtect, s.protect)
	register(s, http.MethodDelete, "/v1/protections/{id}", "End a protection", auth.RailsProtect, s.unprotect)
}

func (s *Server) listFreezes(ctx context.Context, _ auth.Identity, _ *struct{}) (*Body[store.Page[guardrail.Freeze]], error) {
	list, err := s.Store.Freezes(ctx)
	return &Body[store.Page[guardrail.Freeze]]{Body: store.Page[guardrail.Freeze]{Items: orEmpty(list)}}, err
}

func (s *Server) freeze(ctx context.Context, who auth.Identity, in *struct{ Body Freeze }) (*Body[guardrail.Freeze], error) {
	f := guardrail.Freeze{
		ID: in.Body.Scope, Scope: guardrail.Scope(in.Body.Scope), Value: in.Body.Value, Reason: in.Body.Reason, By: who.Name, At: s.Now(),
	}
	switch {
	case f.Scope == guardrail.Everything && f.Value != "":
		return nil, fault.New(fault.Invalid, "a freeze of everything has no value")
	case f.Scope != guardrail.Everything && f.Value == "":
		return nil, fault.New(fault.Invalid, "name the %s to freeze in value", f.Scope)
	case f.Scope != guardrail.Everything:
		f.ID += ":" + f.Value
	}
	if err := s.checkScope(ctx, f); err != nil {
		return nil, err
	}
	if in.Body.For != "" {
		d, err := time.ParseDuration(in.Body.For)
		if err != nil || d <= 0 {
			return nil, fault.New(fault.Invalid, "for: %q is not a duration such as 2h", in.Body.For)
		}
		f.Until = s.Now().Add(d)
	}
	err := s.Store.SetFreeze(ctx, f, record.New(s.Now(), record.GuardrailChanged, who.Name, map[string]any{"set": "freeze", "freeze": f}))
	return &Body[guardrail.Freeze]{Body: f}, err
}

// checkScope refuses a freeze of what there is none of: who mistypes a name must not believe it frozen.
func (s *Server) checkScope(ctx context.Context, f guardrail.Freeze) error {
	switch f.Scope {
	case guardrail.OfAccount:
		return checkAccount("value", f.Value)
	case guardrail.OfPlaybook:
		named := func(p Playbook) bool { return p.Name == f.Value }
		books := s.Content().Playbooks
		if slices.ContainsFunc(books, named) {
			return nil
		}
		ran, err := s.Store.Runs(ctx, store.RunFilter{Playbook: f.Value, Limit: 1})
		if err != nil || len(ran.Items) > 0 { // one that was removed may have runs in flight
			return err
		}
		names := make([]string, 0, len(books))
		for _, p := range books {
			names = append(names, p.Name)
		}
		return fault.New(fault.Invalid, "there is no playbook %q; there are %s", f.Value, strings.Join(names, ", "))
	case guardrail.Everything:
	}
	return nil
}

// accountDigits is how many digits an account's id has.
const accountDigits = 12

func checkAccount(key, id string) error {
	notDigit := func(c rune) bool { return c < '0' || c > '9' }
	if len(id) != accountDigits || strings.ContainsFunc(id, notDigit) {
		return fault.New(fault.Invalid, "%s: %q is no account: its id has 12 digits", key, id)
	}
	return nil
}

func (s *Server) unfreeze(ctx context.Context, who auth.Identity, in *struct {
	ID     string `path:"id" maxLength:"300"`
	Reason string `query:"reason" maxLength:"4000"`
},
) (*Body[Done], error) {
	lifted := record.New(s.Now(), record.GuardrailChanged, who.Name, map[string]any{"lifted": "freeze", "id": in.ID, "reason": in.Reason})
	if err := s.Store.LiftFreeze(ctx, in.ID, lifted); err != nil {
		return nil, err
	}
	return &Body[Done]{Body: Done{Done: true}}, s.wakeHeld(ctx)
}

// wakeHeld lets held runs look at the guardrails again now, not when they would have by themselves.
func (s *Server) wakeHeld(ctx context.Context) error {
	held, err := s.Store.Runs(ctx, store.RunFilter{States: []run.State{run.Held}, Limit: 500})
	if err != nil {
		return err
	}
	for _, r := range held.Items {
		if err := s.Desk.Wake(ctx, r); err != nil && !fault.Is(err, fault.Conflict) {
			s.Logger.WarnContext(ctx, "wake held run", "run", r.ID, "err", err.Error()) // it wakes by itself
		}
	}
	return nil
}

// Done says that it is done.
type Done struct {
	Done bool `json:"done"`
}

func (s *Server) listProtections(ctx context.Context, _ auth.Identity, _ *struct{}) (*Body[store.Page[guardrail.Protection]], error) {
	list, err := s.Store.Protections(ctx)
	list = append(list, s.Fixed...)
	return &Body[store.Page[guardrail.Protection]]{Body: store.Page[guardrail.Protection]{Items: orEmpty(list)}}, err
}

func (s *Server) protect(ctx context.Context, who auth.Identity, in *struct{ Body Protect }) (*Body[guardrail.Protection], error) {
	p := guardrail.Protection{
		ID: s.NewID(), Kind: entity.Kind(in.Body.Kind), Name: in.Body.Name, ARN: in.Body.ARN, Account: in.Body.Account, Tag: in.Body.Tag,
		Reason: in.Body.Reason, By: who.Name, At: s.Now(),
	}
	if err := checkProtection(p); err != nil {
		return nil, err
	}
	err := s.Store.Protect(ctx, p, record.New(s.Now(), record.GuardrailChanged, who.Name, map[string]any{"set": "protection", "protection": p}))
	return &Body[guardrail.Protection]{Body: p}, err
}

func checkProtection(p guardrail.Protection) error {
	if p.Kind == "" && p.Name == "" && p.ARN == "" && p.Account == "" && p.Tag == "" {
		return fault.WithHint(fault.New(fault.Invalid, "a protection of everything is a freeze"), "freeze everything instead")
	}
	if p.Kind != "" && !slices.Contains(entity.Kinds(), p.Kind) {
		return fault.New(fault.Invalid, "kind: %q is no kind of entity", p.Kind)
	}
	if p.Account != "" {
		return checkAccount("account", p.Account)
	}
	return nil
}

func (s *Server) unprotect(ctx context.Context, who auth.Identity, in *struct {
	ID string `path:"id" maxLength:"300"`
},
) (*Body[Done], error) {
	if slices.ContainsFunc(s.Fixed, func(p guardrail.Protection) bool { return p.ID == in.ID }) {
		return nil, fault.New(fault.Denied, "protection %s covers what Riposte stands on or the configuration protects; it can't be lifted here", in.ID)
	}
	err := s.Store.Unprotect(ctx, in.ID, record.New(s.Now(), record.GuardrailChanged, who.Name, map[string]any{"lifted": "protection", "id": in.ID}))
	return &Body[Done]{Body: Done{Done: err == nil}}, err
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
