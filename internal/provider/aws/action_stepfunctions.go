package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const executionDoc = "Starts a standard state machine with `input`, to which the key `riposte` is added: `token`, `incident`, `run`, " +
	"`step` and `reason`. The execution's name comes from the step's token, so that a step that is tried again finds the execution " +
	"that it started, and starts no second.\n\n" +
	"The step ends when the execution does, at most six hours later, and has its output. An execution that fails, times out or " +
	"is aborted ends the step as failed. Express state machines can't be asked what became of them, and are refused.\n\n" +
	"The plan is bound to the state machine's definition and role: changed before it is started, it is planned, and approved, anew." +
	irreversible

// startExecution is aws.stepfunctions.start_execution.
type startExecution struct{ cloud *Cloud }

// machineState is what a plan to start a state machine is bound to.
type machineState struct {
	Definition string `json:"definition"` // its SHA-256
	Role       string `json:"role"`       // its ARN
	Execution  string `json:"execution,omitempty"`
}

// Spec describes the action.
func (startExecution) Spec() action.Spec {
	const (
		machines   = "arn:{partition}:states:{region}:{account}:stateMachine:*"
		executions = "arn:{partition}:states:{region}:{account}:execution:*"
	)
	return action.Spec{
		Name: "aws.stepfunctions.start_execution", Effect: action.Destroy,
		Summary: "Start a Step Functions state machine of your own, and wait for its end", Doc: executionDoc,
		Params: []action.Param{
			{Name: "state_machine_arn", Type: action.String, Required: true, Doc: "ARN of the state machine"},
			{Name: "input", Type: action.Object, Doc: "what the execution gets, beside riposte"},
		},
		Outputs: []action.Output{
			{Name: "execution_arn", Type: action.String, Doc: "ARN of the execution"},
			{Name: "status", Type: action.String, Doc: "its status in Step Functions' words: SUCCEEDED at the end"},
			{Name: "output", Type: action.Object, Doc: "its output; one that is no object is under value"},
		},
		Permissions: append(permitAll(machines, "states:DescribeStateMachine", "states:StartExecution"),
			action.Permission{Name: "states:ListTagsForResource", Resource: machines, Phase: action.PlanPhase},
			action.Permission{Name: "states:DescribeExecution", Resource: executions, Phase: action.ApplyPhase}),
		Within: 6 * time.Hour,
	}
}

var machineForm = shaped(`^stateMachine:([A-Za-z0-9_-]{1,80})$`)

// machine is a state machine and the execution of it that the step starts.
type machine struct {
	arn       arn.ARN
	name      string
	execution string // its name
}

func (m machine) executionARN() string {
	of := m.arn
	of.Resource = "execution:" + m.name + ":" + m.execution
	return of.String()
}

// machineOf reads which state machine is meant.
func machineOf(in action.Input) (machine, error) {
	text := in.Params.String("state_machine_arn")
	parsed, err := arn.Parse(text)
	named := machineForm.FindStringSubmatch(parsed.Resource)
	if err != nil || parsed.Service != "states" || parsed.Region == "" || parsed.AccountID == "" || named == nil {
		return machine{}, fault.New(fault.Invalid, "state_machine_arn: %q is not the ARN of a state machine", shorten(text))
	}
	token, err := nameable(in)
	return machine{arn: parsed, name: named[1], execution: "riposte-" + token}, err
}

func (s startExecution) api(m machine) (*sfn.Client, error) {
	return client(s.cloud, s.cloud.place(m.arn), func(made aws.Config) *sfn.Client { return sfn.NewFromConfig(made) })
}

// read tells what the machine would do now.
func (s startExecution) read(ctx context.Context, api *sfn.Client, m machine) (machineState, error) {
	got, err := api.DescribeStateMachine(ctx, &sfn.DescribeStateMachineInput{StateMachineArn: aws.String(m.arn.String())})
	if err != nil {
		return machineState{}, fmt.Errorf("read state machine %s: %w", m.name, bridgeFault(err))
	}
	if got.Type == types.StateMachineTypeExpress {
		return machineState{}, fault.WithHint(fault.New(fault.Invalid, "state machine %s is an express one: nobody can ask it for its end", m.name),
			"start it from a standard one, or from a function (aws.lambda.invoke_function)")
	}
	sum := sha256.Sum256([]byte(aws.ToString(got.Definition)))
	return machineState{Definition: hex.EncodeToString(sum[:]), Role: aws.ToString(got.RoleArn)}, nil
}

// Plan reads which definition would run.
func (s startExecution) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	m, err := machineOf(in)
	if err != nil {
		return action.Change{}, err
	}
	in.Place = s.cloud.place(m.arn)
	if _, err := given(in, "input"); err != nil {
		return action.Change{}, err
	}
	api, err := s.api(m)
	if err != nil {
		return action.Change{}, err
	}
	before, err := s.read(ctx, api, m)
	if err != nil {
		return action.Change{}, err
	}
	after := before
	after.Execution = m.execution
	c, err := startedChange(s.Spec(), in, before, after)
	if err != nil {
		return action.Change{}, err
	}
	c.Target = entity.Entity{
		Kind: entity.Resource, ID: m.arn.String(), Part: entity.Target, Provider: "aws", Account: in.Account, Region: in.Region, ARN: m.arn.String(),
	}
	c.Calls = []string{"states:StartExecution " + m.arn.String() + ", " + m.execution}
	c.Summary = "an execution of state machine " + m.name + " is started"
	c.Impact = []string{"the state machine runs as " + before.Role + "; Riposte can't undo what it does"}
	tags, err := api.ListTagsForResource(ctx, &sfn.ListTagsForResourceInput{ResourceArn: aws.String(m.arn.String())})
	if err != nil {
		return action.Change{}, fmt.Errorf("read tags of state machine %s: %w", m.name, bridgeFault(err))
	}
	c.Tags = map[string]string{}
	for _, tag := range tags.Tags {
		c.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return c, nil
}

// Apply starts the execution, unless it was started before.
func (s startExecution) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, m, api, err := s.planned(c)
	if err != nil {
		return action.Result{}, err
	}
	got, err := describeExecution(ctx, api, m)
	if err == nil {
		return execution(false, m, string(got.Status), map[string]any{}), nil
	}
	if !fault.Is(err, fault.NotFound) {
		return action.Result{}, err
	}
	text, err := given(in, "input")
	if err != nil {
		return action.Result{}, err
	}
	now, err := s.read(ctx, api, m)
	if err != nil {
		return action.Result{}, err
	}
	if err := unmoved(c, now); err != nil {
		return action.Result{}, err
	}
	_, err = api.StartExecution(ctx, &sfn.StartExecutionInput{
		StateMachineArn: aws.String(m.arn.String()), Name: aws.String(m.execution), Input: aws.String(string(text)),
	})
	if _, exists := errors.AsType[*types.ExecutionAlreadyExists](err); exists { // it was, but nobody could see it yet
		return execution(false, m, string(types.ExecutionStatusRunning), map[string]any{}), nil
	}
	if err != nil {
		return action.Result{}, fmt.Errorf("start state machine %s: %w", m.name, bridgeFault(err))
	}
	return execution(true, m, string(types.ExecutionStatusRunning), map[string]any{}), nil
}

func (s startExecution) planned(c action.Change) (in action.Input, m machine, api *sfn.Client, err error) {
	if in, err = c.Input(); err != nil {
		return in, m, nil, err
	}
	if m, err = machineOf(in); err != nil {
		return in, m, nil, err
	}
	api, err = s.api(m)
	return in, m, api, err
}

func describeExecution(ctx context.Context, api *sfn.Client, m machine) (*sfn.DescribeExecutionOutput, error) {
	got, err := api.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: aws.String(m.executionARN())})
	if err != nil {
		return nil, fmt.Errorf("read execution %s of state machine %s: %w", m.execution, m.name, bridgeFault(err))
	}
	return got, nil
}

func execution(changed bool, m machine, status string, output map[string]any) action.Result {
	return action.Result{Changed: changed, Outputs: map[string]any{
		"execution_arn": m.executionARN(), "status": status, "output": output,
	}}
}

// Await looks whether the execution has ended.
func (s startExecution) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	_, m, api, err := s.planned(a.Change)
	if err != nil {
		return action.Result{}, false, err
	}
	got, err := describeExecution(ctx, api, m)
	if err != nil {
		return action.Result{}, false, notYet(a, err)
	}
	switch got.Status {
	case types.ExecutionStatusRunning, types.ExecutionStatusPendingRedrive:
		return action.Result{}, false, nil
	case types.ExecutionStatusSucceeded:
		output, err := answered("state machine "+m.name, []byte(aws.ToString(got.Output)))
		if err != nil {
			return action.Result{}, false, err
		}
		return execution(true, m, string(got.Status), output), true, nil
	case types.ExecutionStatusFailed, types.ExecutionStatusTimedOut, types.ExecutionStatusAborted:
	}
	told := strings.TrimPrefix(aws.ToString(got.Error)+": "+aws.ToString(got.Cause), ": ")
	return action.Result{}, false, fault.WithHint(
		fault.New(fault.Invalid, "execution %s of state machine %s is %s: %s", m.execution, m.name, got.Status, onOneLine(told)),
		"its history at Step Functions has more")
}
