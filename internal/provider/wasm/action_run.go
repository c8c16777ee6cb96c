package wasm

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// largestInput bounds what a module gets, in bytes.
	largestInput = 1 << 20
	// largestOutput bounds what it may answer, in bytes: it goes into the journal and the ledger.
	largestOutput = 64 << 10
)

// run runs a module.
type run struct{ wasm *WASM }

// Spec describes the action.
func (r *run) Spec() action.Spec {
	return action.Spec{
		Name: "wasm.run", Effect: action.Read, Summary: "Compute something with a WebAssembly module of your own",
		Doc: "Runs a module (WASI preview 1, a command with `_start`) that gets `input` as JSON on its standard input and answers JSON " +
			"on its standard output, at most 64 KiB. It has nothing else: no files, no network, no environment, a clock that only " +
			"counts and chance that is the same every time, so that the same input gives the same output. What runs longer, or needs " +
			"more memory, than the configuration lets it ends the step, as does an exit code other than 0; the beginning of its " +
			"standard error is in the step's error then.",
		Params: []action.Param{
			{
				Name: "module", Type: action.String, Required: true, Enum: r.wasm.names(),
				Doc: "name of a module in the configured folder, wasm.modules",
			},
			{Name: "input", Type: action.Object, Doc: "what the module gets"},
		},
		Outputs: []action.Output{{Name: "output", Type: action.Object, Doc: "what the module answers; what is no object is under value"}},
		Timeout: time.Minute,
	}
}

// Plan runs the module: what it answers is all there is.
func (r *run) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	if err := ctx.Err(); err != nil {
		return action.Change{}, fault.Wrap(fault.Transient, err)
	}
	name := in.Params.String("module")
	of, known := r.wasm.modules[name]
	if !known {
		return action.Change{}, fault.New(fault.Invalid, "wasm.modules has no %.100q; there are %s", name, strings.Join(r.wasm.names(), ", "))
	}
	given, _ := in.Params["input"].(map[string]any)
	if given == nil {
		given = map[string]any{}
	}
	input, err := json.Marshal(given)
	if err != nil {
		return action.Change{}, fault.New(fault.Invalid, "input: %w", err)
	}
	if len(input) > largestInput {
		return action.Change{}, fault.New(fault.Invalid, "input: %d bytes are more than %d", len(input), largestInput)
	}
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	text, err := r.wasm.sandbox.run(ctx, of, input)
	if err != nil {
		return action.Change{}, err
	}
	output, err := answer(name, text)
	if err != nil {
		return action.Change{}, err
	}
	return action.Change{
		Action: r.Spec().Name, Place: in.Place, Params: params, Noop: true,
		Target:  entity.Entity{Kind: entity.Resource, ID: "wasm module " + name, Provider: "wasm"},
		Summary: "run module " + name, Outputs: map[string]any{"output": output},
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

// Apply changes nothing.
func (r *run) Apply(_ context.Context, c action.Change) (action.Result, error) {
	return action.Result{Outputs: c.Outputs}, nil
}

// answer makes a value of what a module wrote.
func answer(name string, text []byte) (map[string]any, error) {
	if strings.TrimSpace(string(text)) == "" {
		return map[string]any{}, nil
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, fault.New(fault.Invalid, "module %s answers what is not JSON: %s", name, legible(text))
	}
	switch value := value.(type) {
	case map[string]any:
		return value, nil
	case nil:
		return map[string]any{}, nil
	default:
		return map[string]any{"value": value}, nil
	}
}
