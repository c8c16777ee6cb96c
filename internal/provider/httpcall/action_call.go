package httpcall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
)

// largestBody bounds what is sent, in bytes.
const largestBody = 256 << 10

// call calls an endpoint.
type call struct{ http *HTTP }

// request is what is sent. Plans are bound to it.
type request struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// Spec describes the action.
func (c *call) Spec() action.Spec {
	params := append(addressParams(c.http.names(methods...)),
		action.Param{Name: "method", Type: action.String, Default: http.MethodPost, Enum: methods, Doc: "the request's method"},
		action.Param{Name: "body", Type: action.Object, Doc: "what is sent, as JSON"})
	return action.Spec{
		Name: "http.call", Effect: action.Destroy,
		Summary: "Call an HTTP API of your own",
		Doc: "Sends JSON to an endpoint that the configuration names, and has its answer as outputs. `{name}` in the path is replaced " +
			"by the value of that name, escaped: neither it nor the path can lead away from the endpoint's URL. Redirects are not " +
			"followed. The header `Idempotency-Key` is the step's token, the same for every attempt of one step: the receiver is to " +
			"know by it that it has done the work. Where the endpoint has a `secret`, what is sent is signed as in the Standard " +
			"Webhooks specification. An answer over 64 KiB, or one that is not JSON, ends the step.\n\n" +
			"Where the endpoint says how (`await`) and answers 202, the step ends when what was accepted does, at most six hours " +
			"later, and has the last answer as outputs.\n\n" +
			"The API is your own and may do anything: Riposte can't undo it, so the effect is destroy. A playbook that is to call it " +
			"without a person lists the action in `allow_destroy`.",
		Params: params, Outputs: outputs(), Timeout: longestTimeout, Within: longestWait,
	}
}

// Plan writes the request. It sends nothing.
func (c *call) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	if err := ctx.Err(); err != nil {
		return action.Change{}, fault.Wrap(fault.Transient, err)
	}
	e, planned, err := c.request(in.Params)
	if err != nil {
		return action.Change{}, err
	}
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	after, err := json.Marshal(planned)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode request: %w", err)
	}
	return action.Change{
		Action: c.Spec().Name, Place: in.Place, Params: params, Target: e.entity(), Before: json.RawMessage(`{}`), After: after,
		Calls: []string{"http:" + planned.Method + " " + planned.URL}, Summary: planned.Method + " " + planned.URL,
		Impact:   []string{"Riposte can't undo what " + e.String() + " does"},
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

func (c *call) request(p action.Params) (endpoint, request, error) {
	made := request{Method: p.String("method")}
	e, err := c.http.endpoint(p.String("endpoint"), made.Method)
	if err != nil {
		return e, made, err
	}
	if made.URL, err = e.address(p); err != nil {
		return e, made, err
	}
	if body, given := p["body"].(map[string]any); given {
		if made.Body, err = json.Marshal(body); err != nil {
			return e, made, fault.New(fault.Invalid, "body: %w", err)
		}
	}
	if len(made.Body) > largestBody {
		return e, made, fault.New(fault.Invalid, "body: %d bytes are more than %d", len(made.Body), largestBody)
	}
	return e, made, nil
}

// Apply sends what was planned, as long as the configuration still leads there.
func (c *call) Apply(ctx context.Context, change action.Change) (action.Result, error) {
	in, err := change.Input()
	if err != nil {
		return action.Result{}, err
	}
	e, now, err := c.request(in.Params)
	if err != nil {
		return action.Result{}, err
	}
	text, err := json.Marshal(now)
	if err != nil {
		return action.Result{}, fmt.Errorf("encode request: %w", err)
	}
	if differ := action.Differences(change.After, text); len(differ) > 0 {
		return action.Result{}, &action.Moved{Action: change.Action, Target: change.Target.ID, Differences: differ}
	}
	reply, err := c.http.courier.Post(ctx, courier.Parcel{
		Receiver: e.String(), Method: now.Method, URL: now.URL, Header: e.headers(key(in), c.http, now.Body), Body: now.Body,
		Timeout: e.timeout, Secrets: e.secrets,
	})
	if err != nil {
		return action.Result{}, refusal(err)
	}
	body, err := answer(e.String(), reply)
	if err != nil {
		return action.Result{}, err
	}
	return action.Result{Changed: true, Outputs: map[string]any{"status": int64(reply.Status), "body": body}}, nil
}

// headers are the endpoint's own, the token and the signature.
func (e endpoint) headers(token string, h *HTTP, body []byte) http.Header {
	header := userAgent(e.header.Clone())
	header.Set("Accept", "application/json")
	header.Set("Idempotency-Key", token)
	if len(body) > 0 {
		header.Set("Content-Type", "application/json")
	}
	if e.key != nil {
		e.key.Sign(header, token, h.now(), body)
	}
	return header
}

var keyForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// key is the step's token where it can stand in a header and a path, as the runner's can, else a hash of it.
func key(in action.Input) string {
	if keyForm.MatchString(in.Token) {
		return in.Token
	}
	sum := sha256.Sum256([]byte(in.Token))
	return hex.EncodeToString(sum[:16])
}

// Await asks how it is with what the endpoint has accepted.
func (c *call) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	in, err := a.Change.Input()
	if err != nil {
		return action.Result{}, false, err
	}
	e, _, err := c.request(in.Params)
	if err != nil {
		return action.Result{}, false, err
	}
	accepted, known := a.Result.Outputs["body"].(map[string]any)
	if known && (e.await.Path == "" || statusOf(a.Result) != http.StatusAccepted) {
		return a.Result, true, nil
	}
	path, err := e.await.where(key(in), accepted)
	if err != nil {
		return action.Result{}, false, err
	}
	address, err := e.join(path, nil)
	if err != nil {
		return action.Result{}, false, err
	}
	reply, err := c.http.ask(ctx, e, address)
	if err != nil {
		return action.Result{}, false, err
	}
	body, err := answer(e.String(), reply)
	if err != nil {
		return action.Result{}, false, err
	}
	how, told := field(body, e.await.Field)
	switch {
	case told && slices.Contains(e.await.Until, how):
		return action.Result{Changed: true, Outputs: map[string]any{"status": int64(reply.Status), "body": body}}, true, nil
	case told && slices.Contains(e.await.Failed, how):
		return action.Result{}, false, fault.New(fault.Invalid, "%s says that what it was called for is %.100q", e, how)
	}
	return action.Result{}, false, nil
}

// statusOf gives a result's status, whether or not it went through the journal.
func statusOf(r action.Result) int64 { return action.Params(r.Outputs).Int("status") }

// where is the path of the result. Without the answer that accepted the call, only the token is known.
func (a Await) where(token string, accepted map[string]any) (string, error) {
	if a.Path == "" {
		return "", fault.New(fault.NotFound, "the answer to the call is not known, and http.endpoints has no await.path to ask for it")
	}
	values := map[string]string{}
	for _, name := range placeholders(a.Path) {
		value, there := field(accepted, name)
		if name == "token" {
			value, there = token, true
		}
		if !there {
			return "", fault.New(fault.NotFound, "await.path asks for {%s}, which the answer that accepted the call doesn't have", name)
		}
		values[name] = value
	}
	return below(a.Path, values)
}
