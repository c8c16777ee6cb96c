package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// longestInvocation bounds how long a function's answer is waited for.
const longestInvocation = time.Minute

const invokeDoc = "Calls the function with `payload`, to which the key `riposte` is added: `token`, `incident`, `run`, `step` and " +
	"`reason`. The token is the same for every attempt of one step. Lambda itself may call a function twice, and so may a step " +
	"that is tried again: the function is to know by the token that it has done the work.\n\n" +
	"As `RequestResponse` the step waits for the answer, at most a minute, and has it as outputs; a function that takes longer " +
	"is called as `Event`, or by a state machine (aws.stepfunctions.start_execution). An error of the function ends the step. " +
	"As `Event` the step ends when Lambda has the call; what comes of it is not known here.\n\n" +
	"The plan is bound to the function's code and role: changed before it is called, it is planned, and approved, anew." + irreversible

// invokeFunction is aws.lambda.invoke_function.
type invokeFunction struct{ cloud *Cloud }

// functionState is what a plan to call a function is bound to.
type functionState struct {
	Code string `json:"code"` // SHA-256 of the deployment package
	Role string `json:"role"` // its ARN
	Call string `json:"call,omitempty"`
}

// Spec describes the action.
func (invokeFunction) Spec() action.Spec {
	const functions = "arn:{partition}:lambda:{region}:{account}:function:*"
	return action.Spec{
		Name: "aws.lambda.invoke_function", Effect: action.Destroy,
		Summary: "Call a Lambda function of your own", Doc: invokeDoc,
		Params: []action.Param{
			{Name: "function", Type: action.String, Required: true, Entity: entity.Function, Doc: "the function's name or ARN"},
			{Name: "qualifier", Type: action.String, Doc: "a version or an alias; the function's latest if absent"},
			{Name: "payload", Type: action.Object, Doc: "what the function gets, beside riposte"},
			{
				Name: "invocation", Type: action.String, Default: string(types.InvocationTypeRequestResponse),
				Enum: []string{string(types.InvocationTypeRequestResponse), string(types.InvocationTypeEvent)},
				Doc:  "whether the answer is waited for",
			},
		},
		Outputs: []action.Output{
			{Name: "status", Type: action.Int, Doc: "Lambda's status: 200 with an answer, 202 of an Event"},
			{Name: "answer", Type: action.Object, Doc: "the function's answer; one that is no object is under value"},
			{Name: "version", Type: action.String, Doc: "the version that was called"},
		},
		Permissions: permitAll(functions, "lambda:GetFunction", "lambda:InvokeFunction"),
		Timeout:     longestInvocation,
	}
}

// permitAll lists what is needed of one resource to plan, which reads, and to apply, which reads again and acts.
func permitAll(resource, read, act string) []action.Permission {
	return []action.Permission{
		{Name: read, Resource: resource, Phase: action.PlanPhase},
		{Name: read, Resource: resource, Phase: action.ApplyPhase},
		{Name: act, Resource: resource, Phase: action.ApplyPhase},
	}
}

var (
	functionForm  = shaped(`^[A-Za-z0-9_-]{1,140}$`)
	qualifierForm = shaped(`^([A-Za-z0-9_-]{1,128}|\$LATEST)$`)
)

// functionName is which function is meant, and where it is.
type functionName struct {
	name, qualifier string
	at              action.Place
}

// named reads which function is meant: by name at the input's place, or by ARN.
func (f invokeFunction) named(in action.Input) (functionName, error) {
	text := in.Params.String("function")
	n := functionName{name: text, qualifier: in.Params.String("qualifier"), at: f.cloud.here(in.Place)}
	if parsed, err := arn.Parse(text); err == nil {
		parts := strings.Split(parsed.Resource, ":")
		if parsed.Service != "lambda" || parts[0] != "function" || len(parts) < 2 || len(parts) > 3 || parsed.AccountID == "" || parsed.Region == "" {
			return n, fault.New(fault.Invalid, "function: %q is not the ARN of a function", shorten(text))
		}
		n.name, n.at = parts[1], f.cloud.place(parsed)
		if len(parts) == 3 {
			if n.qualifier != "" && n.qualifier != parts[2] {
				return n, fault.New(fault.Invalid, "qualifier: %q is not that of the ARN, %q", shorten(n.qualifier), shorten(parts[2]))
			}
			n.qualifier = parts[2]
		}
	}
	if !functionForm.MatchString(n.name) {
		return n, fault.New(fault.Invalid, "function: %q is no function's name or ARN", shorten(text))
	}
	if n.qualifier != "" && !qualifierForm.MatchString(n.qualifier) {
		return n, fault.New(fault.Invalid, "qualifier: %q is no version or alias", shorten(n.qualifier))
	}
	return n, nil
}

func (n functionName) String() string { return strings.TrimSuffix(n.name+":"+n.qualifier, ":") }

// api makes a client that doesn't call a function again by itself, and waits for its answer.
func (f invokeFunction) api(at action.Place) (*lambda.Client, error) {
	return client(f.cloud, at, func(made aws.Config) *lambda.Client {
		return lambda.NewFromConfig(made, func(o *lambda.Options) {
			if patient, ok := o.HTTPClient.(*awshttp.BuildableClient); ok {
				o.HTTPClient = patient.WithTimeout(longestInvocation)
			}
		})
	})
}

func once(o *lambda.Options) { o.RetryMaxAttempts = 1 }

func (f invokeFunction) read(ctx context.Context, n functionName) (*lambda.GetFunctionOutput, functionState, error) {
	api, err := f.api(n.at)
	if err != nil {
		return nil, functionState{}, err
	}
	ask := &lambda.GetFunctionInput{FunctionName: aws.String(n.name)}
	if n.qualifier != "" {
		ask.Qualifier = aws.String(n.qualifier)
	}
	got, err := api.GetFunction(ctx, ask)
	if err != nil {
		return nil, functionState{}, fmt.Errorf("read function %s: %w", n, bridgeFault(err))
	}
	if got.Configuration == nil {
		return nil, functionState{}, fault.New(fault.Transient, "read function %s: the answer has no configuration", n)
	}
	return got, functionState{Code: aws.ToString(got.Configuration.CodeSha256), Role: aws.ToString(got.Configuration.Role)}, nil
}

// Plan reads which code would be called.
func (f invokeFunction) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	n, err := f.named(in)
	if err != nil {
		return action.Change{}, err
	}
	in.Place = n.at
	if _, err := given(in, "payload"); err != nil {
		return action.Change{}, err
	}
	got, before, err := f.read(ctx, n)
	if err != nil {
		return action.Change{}, err
	}
	how := in.Params.String("invocation")
	after := before
	after.Call = how + " " + in.Token
	c, err := startedChange(f.Spec(), in, before, after)
	if err != nil {
		return action.Change{}, err
	}
	c.Target = entity.Entity{
		Kind: entity.Function, ID: n.name, Part: entity.Target, Provider: "aws", Account: n.at.Account, Region: n.at.Region,
		ARN: arn.ARN{
			Partition: f.cloud.self.Partition, Service: "lambda", Region: n.at.Region, AccountID: n.at.Account, Resource: "function:" + n.name,
		}.String(),
	}
	c.Tags = got.Tags
	c.Calls = []string{"lambda:InvokeFunction " + n.String() + ", " + how}
	c.Summary = "function " + n.String() + " is called"
	c.Impact = []string{"the function runs as " + before.Role + "; Riposte can't undo what it does"}
	return c, nil
}

// Apply calls the function.
func (f invokeFunction) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return action.Result{}, err
	}
	n, err := f.named(in)
	if err != nil {
		return action.Result{}, err
	}
	payload, err := given(in, "payload")
	if err != nil {
		return action.Result{}, err
	}
	_, now, err := f.read(ctx, n)
	if err != nil {
		return action.Result{}, err
	}
	if err := unmoved(c, now); err != nil {
		return action.Result{}, err
	}
	api, err := f.api(n.at)
	if err != nil {
		return action.Result{}, err
	}
	call := &lambda.InvokeInput{
		FunctionName: aws.String(n.name), Payload: payload, InvocationType: types.InvocationType(in.Params.String("invocation")),
	}
	if n.qualifier != "" {
		call.Qualifier = aws.String(n.qualifier)
	}
	done, err := api.Invoke(ctx, call, once)
	if err != nil {
		return action.Result{}, fmt.Errorf("call function %s: %w", n, bridgeFault(err))
	}
	return outcome(n, done)
}

// outcome makes a result of what a call answered. An error of the function's own is one of the step: called again,
// it would fail again.
func outcome(n functionName, done *lambda.InvokeOutput) (action.Result, error) {
	if done.FunctionError != nil {
		return action.Result{}, fault.WithHint(fault.New(fault.Invalid, "function %s failed: %s", n, functionError(done.Payload)),
			"its log at CloudWatch has more")
	}
	answer := map[string]any{}
	if done.StatusCode == http.StatusOK {
		var err error
		if answer, err = answered("function "+n.String(), done.Payload); err != nil {
			return action.Result{}, err
		}
	}
	return action.Result{Changed: true, Outputs: map[string]any{
		"status": int64(done.StatusCode), "answer": answer, "version": aws.ToString(done.ExecutedVersion),
	}}, nil
}

// functionError reads what a function says of its failure: a type and a message, in most runtimes.
func functionError(payload []byte) string {
	var told struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if err := json.Unmarshal(payload, &told); err != nil || told.Type == "" && told.Message == "" {
		return onOneLine(string(payload))
	}
	return onOneLine(strings.TrimPrefix(told.Type+": "+told.Message, ": "))
}
