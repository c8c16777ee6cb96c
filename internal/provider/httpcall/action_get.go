package httpcall

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/entity"
)

// get asks an endpoint.
type get struct{ http *HTTP }

// Spec describes the action.
func (g *get) Spec() action.Spec {
	return action.Spec{
		Name: "http.get", Effect: action.Read,
		Summary: "Ask an HTTP API of your own for JSON",
		Doc: "Sends GET to an endpoint that the configuration names and has its answer as outputs. `{name}` in the path is replaced " +
			"by the value of that name, escaped: neither it nor the path can lead away from the endpoint's URL. Redirects are not " +
			"followed. An answer over 64 KiB, or one that is not JSON, ends the step, as does 404. GET is taken for what it " +
			"should be, reading: an API that changes things by GET does so even when Riposte only plans.",
		Params:  addressParams(g.http.names(http.MethodGet)),
		Outputs: outputs(), Timeout: longestTimeout,
	}
}

func addressParams(names []string) []action.Param {
	return []action.Param{
		{
			Name: "endpoint", Type: action.String, Required: true, Enum: names,
			Doc: "name of an endpoint in the configuration, http.endpoints",
		},
		{Name: "path", Type: action.String, Doc: "path below the endpoint's URL: /hosts/{host}/state"},
		{Name: "values", Type: action.Object, Doc: "what stands for {name} in the path, by name"},
		{Name: "query", Type: action.Object, Doc: "parameters behind the ?, by name"},
	}
}

func outputs() []action.Output {
	return []action.Output{
		{Name: "status", Type: action.Int, Doc: "the status that the endpoint answered"},
		{Name: "body", Type: action.Object, Doc: "its JSON; what is no object is under value"},
	}
}

// Plan asks: its answer is all there is.
func (g *get) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	e, err := g.http.endpoint(in.Params.String("endpoint"), http.MethodGet)
	if err != nil {
		return action.Change{}, err
	}
	address, err := e.address(in.Params)
	if err != nil {
		return action.Change{}, err
	}
	reply, err := g.http.ask(ctx, e, address)
	if err != nil {
		return action.Change{}, err
	}
	body, err := answer(e.String(), reply)
	if err != nil {
		return action.Change{}, err
	}
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return action.Change{
		Action: g.Spec().Name, Place: in.Place, Params: params, Target: e.entity(), Noop: true,
		Summary: "GET " + address, Outputs: map[string]any{"status": int64(reply.Status), "body": body},
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

// Apply changes nothing.
func (g *get) Apply(_ context.Context, c action.Change) (action.Result, error) {
	return action.Result{Outputs: c.Outputs}, nil
}

// String is what errors call the endpoint.
func (e endpoint) String() string { return "http endpoint " + e.name }

func (e endpoint) entity() entity.Entity {
	return entity.Entity{Kind: entity.Resource, ID: e.String(), Provider: "http"}
}

// ask sends GET.
func (h *HTTP) ask(ctx context.Context, e endpoint, address string) (courier.Reply, error) {
	header := e.header.Clone()
	header.Set("Accept", "application/json")
	reply, err := h.courier.Post(ctx, courier.Parcel{
		Receiver: e.String(), Method: http.MethodGet, URL: address, Header: userAgent(header), Timeout: e.timeout, Secrets: e.secrets,
	})
	return reply, refusal(err)
}

func userAgent(header http.Header) http.Header {
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "Riposte")
	}
	return header
}
