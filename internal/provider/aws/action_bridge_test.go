package aws_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// tell posts a document to the emulator itself, not to what it emulates.
func tell(t *testing.T, path, document string) {
	t.Helper()
	request := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, awstest.Emulator(t)+path, strings.NewReader(document)))
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("the emulator answers %s", answer.Status)
	}
}

// trusted makes a role that a service may assume.
func trusted(t *testing.T, l *lab, service string) string {
	t.Helper()
	made := must[*iam.CreateRoleOutput](t)(iam.NewFromConfig(l.direct).CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: sdk.String(service), AssumeRolePolicyDocument: sdk.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
			`"Principal":{"Service":"` + service + `.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
	}))
	return *made.Role.Arn
}

// archive is a deployment package with one file.
func archive(t *testing.T, text string) []byte {
	t.Helper()
	var packed bytes.Buffer
	writer := zip.NewWriter(&packed)
	file := must[io.Writer](t)(writer.Create("main.py"))
	if _, err := io.WriteString(file, text); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// function makes a function of a name, without anything that would run it: the emulator answers with what it was
// given, or with what it is told to.
func function(t *testing.T, l *lab, name string) *lambda.Client {
	t.Helper()
	tell(t, "/moto-api/config", `{"lambda": {"use_docker": false}}`)
	api := lambda.NewFromConfig(l.direct)
	must[*lambda.CreateFunctionOutput](t)(api.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: sdk.String(name), Role: sdk.String(trusted(t, l, "lambda")), Runtime: lambdatypes.RuntimePython312,
		Handler: sdk.String("main.handle"), Code: &lambdatypes.FunctionCode{ZipFile: archive(t, "v1")}, Tags: map[string]string{"team": "blue"},
	}))
	return api
}

// called tells what a function was given, by who called: a receiver that knows calls by their token. The door
// forgets what it has told.
type called map[string]string

func (c called) note(t *testing.T, door *providertest.Door) {
	t.Helper()
	for _, r := range door.Seen() {
		if !strings.HasSuffix(r.Path, "/invocations") {
			continue
		}
		var payload struct {
			Riposte struct{ Token, Incident, Run, Step string } `json:"riposte"`
		}
		if err := json.Unmarshal([]byte(r.Body), &payload); err != nil {
			t.Fatal(err)
		}
		c[payload.Riposte.Token+" "+payload.Riposte.Incident+" "+payload.Riposte.Run+" "+payload.Riposte.Step] = r.Body
	}
}

func TestInvokeFunction(t *testing.T) {
	l := newLab(t)
	api := function(t, l, "contain")
	calls, version := called{}, 1
	in := l.input(action.Params{"function": "contain", "payload": map[string]any{"host": "web-1"}, "invocation": "RequestResponse"})
	missing := l.input(action.Params{"function": "absent", "invocation": "Event"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.lambda.invoke_function"), Input: in, Missing: &missing, Door: l.door, Repeats: true,
		State: func(t *testing.T) string {
			t.Helper()
			calls.note(t, l.door)
			got := must[*lambda.GetFunctionOutput](t)(api.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: sdk.String("contain")}))
			return *got.Configuration.CodeSha256 + dump(t, calls)
		},
		Change: func(t *testing.T) {
			t.Helper()
			version++
			must[*lambda.UpdateFunctionCodeOutput](t)(api.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{
				FunctionName: sdk.String("contain"), ZipFile: archive(t, fmt.Sprint("v", version)),
			}))
		},
	})
	if len(calls) != 1 || calls[in.Token+" INC-1 run-1 contain"] == "" {
		t.Errorf("the function knows of the calls %v, want one with the step's token", calls)
	}
	change := l.plan(t, "aws.lambda.invoke_function", in.Params)
	if change.Tags["team"] != "blue" || change.Target.Account != l.account || !strings.HasSuffix(change.Target.ARN, ":"+l.account+":function:contain") {
		t.Errorf("the plan is of %+v with tags %v", change.Target, change.Tags)
	}
}

func TestInvokeFunctionAnswers(t *testing.T) {
	l := newLab(t)
	function(t, l, "answers")
	do := l.action(t, "aws.lambda.invoke_function")
	call := func(invocation string) (action.Result, error) {
		change := l.plan(t, "aws.lambda.invoke_function", action.Params{
			"function": "arn:aws:lambda:" + awstest.Region + ":" + l.account + ":function:answers", "invocation": invocation,
		})
		return do.Apply(t.Context(), change)
	}
	for answer, want := range map[string]string{
		`{"blocked": true, "rules": ["a"]}`: `{"blocked":true,"rules":["a"]}`, `7`: `{"value":7}`, `null`: `{}`,
	} {
		tell(t, "/moto-api/static/lambda-simple/response", dump(t, map[string]any{
			"results": []string{answer}, "account_id": l.account, "region": awstest.Region,
		}))
		result := must[action.Result](t)(call("RequestResponse"))
		if got := must[[]byte](t)(json.Marshal(result.Outputs["answer"])); string(got) != want || result.Outputs["status"] != int64(200) {
			t.Errorf("answered %s: got %s, status %v, want %s", answer, got, result.Outputs["status"], want)
		}
	}
	for _, bad := range []string{"<html>", `{"a": "` + strings.Repeat("x", 65<<10) + `"}`} {
		tell(t, "/moto-api/static/lambda-simple/response", dump(t, map[string]any{
			"results": []string{bad}, "account_id": l.account, "region": awstest.Region,
		}))
		if _, err := call("RequestResponse"); !fault.Is(err, fault.Invalid) || len(err.Error()) > 500 {
			t.Errorf("answered %.20q: got %.600v, want a short error of kind invalid", bad, err)
		}
	}
	result := must[action.Result](t)(call("Event"))
	if result.Outputs["status"] != int64(202) || len(result.Outputs["answer"].(map[string]any)) != 0 { //nolint:forcetypeassert // a test
		t.Errorf("an event: got %v, want status 202 and no answer", result.Outputs)
	}
}

// What the emulator can't do, a script of Lambda's answers does.
func TestInvokeFunctionFails(t *testing.T) {
	status, headers, body := http.StatusOK, http.Header{}, ""
	asked := 0
	endpoint := before(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/invocations") {
			return false
		}
		asked++
		for name := range headers {
			w.Header().Set(name, headers.Get(name))
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	})
	l := labAt(t, endpoint, awstest.Account())
	function(t, l, "fails")
	do := l.action(t, "aws.lambda.invoke_function")
	change := l.plan(t, "aws.lambda.invoke_function", action.Params{"function": "fails", "invocation": "RequestResponse"})
	for _, c := range []struct {
		status        int
		header, value string
		body          string
		kind          fault.Kind
		says          string
	}{
		{200, "X-Amz-Function-Error", "Unhandled", `{"errorType":"ValueError","errorMessage":"no\nsuch host"}`, fault.Invalid, "ValueError: no such host"},
		{200, "X-Amz-Function-Error", "Handled", `"` + strings.Repeat("x", 9000) + `"`, fault.Invalid, "fails failed: \"xxx"},
		{429, "X-Amzn-Errortype", "TooManyRequestsException", `{"message":"slow"}`, fault.Transient, "slow"},
		{409, "X-Amzn-Errortype", "ResourceConflictException", `{"message":"being made"}`, fault.Transient, "being made"},
		{500, "X-Amzn-Errortype", "ServiceException", `{"message":"oops"}`, fault.Transient, "oops"},
		{403, "X-Amzn-Errortype", "AccessDeniedException", `{"message":"no"}`, fault.Denied, "no"},
		{413, "X-Amzn-Errortype", "RequestTooLargeException", `{"message":"large"}`, fault.Invalid, "large"},
	} {
		status, headers, body, asked = c.status, http.Header{c.header: {c.value}}, c.body, 0
		_, err := do.Apply(t.Context(), change)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 600 {
			t.Errorf("%d %s: got %v of kind %s, want %s with %q", c.status, c.value, err, fault.KindOf(err), c.kind, c.says)
		}
		if asked != 1 {
			t.Errorf("%d %s: the function was called %d times, want once: the runner calls again", c.status, c.value, asked)
		}
	}
}

func TestInvokeFunctionRefuses(t *testing.T) {
	l := newLab(t)
	for _, params := range []action.Params{
		{"function": "../x"},
		{"function": "arn:aws:lambda:eu-central-1:123456789012:layer:x"},
		{"function": "arn:aws:s3:::function:x"},
		{"function": "x", "qualifier": "a b"},
		{"function": "arn:aws:lambda:eu-central-1:123456789012:function:x:live", "qualifier": "test"},
		{"function": "x", "payload": map[string]any{"riposte": "forged"}},
		{"function": "x", "payload": map[string]any{"a": strings.Repeat("x", 257<<10)}},
		{"function": "arn:aws:lambda:evil.example/:123456789012:function:x"},
	} {
		l.refuses(t, "aws.lambda.invoke_function", params, fault.Invalid)
	}
}

// before stands before the emulator and answers what it likes to.
func before(t *testing.T, answers func(w http.ResponseWriter, r *http.Request) bool) (endpoint string) {
	t.Helper()
	onward := httputil.NewSingleHostReverseProxy(must[*url.URL](t)(url.Parse(awstest.Emulator(t))))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answers(w, r) {
			onward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// ends stands before the emulator, which starts executions and never ends them: what it tells of those that
// the test has ended is made up as Step Functions documents it.
type ends struct {
	mu     sync.Mutex
	status map[string]map[string]any // by the execution's ARN
}

func (e *ends) answers(t *testing.T, emulator string) func(w http.ResponseWriter, r *http.Request) bool {
	t.Helper()
	onward := httputil.NewSingleHostReverseProxy(must[*url.URL](t)(url.Parse(emulator)))
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Target") != "AWSStepFunctions.DescribeExecution" {
			return false
		}
		told := httptest.NewRecorder()
		onward.ServeHTTP(told, r)
		about := map[string]any{}
		if told.Code != http.StatusOK || json.Unmarshal(told.Body.Bytes(), &about) != nil {
			w.WriteHeader(told.Code)
			_, _ = w.Write(told.Body.Bytes())
			return true
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		arn, _ := about["executionArn"].(string)
		maps.Copy(about, e.status[arn])
		if err := json.NewEncoder(w).Encode(about); err != nil {
			t.Error(err)
		}
		return true
	}
}

func (e *ends) end(arn string, how map[string]any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status[arn] = how
}

// stateMachine makes a state machine.
func stateMachine(t *testing.T, l *lab) (api *sfn.Client, machine string) {
	t.Helper()
	api = sfn.NewFromConfig(l.direct)
	made := must[*sfn.CreateStateMachineOutput](t)(api.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
		Name: sdk.String("contain"), Definition: sdk.String(definition("contain")),
		RoleArn: sdk.String("arn:aws:iam::" + l.account + ":role/states"), Tags: []sfntypes.Tag{{Key: sdk.String("team"), Value: sdk.String("blue")}},
	}))
	return api, *made.StateMachineArn
}

func definition(comment string) string {
	return `{"Comment": "` + comment + `", "StartAt": "Isolate", "States": {"Isolate": {"Type": "Pass", "End": true}}}`
}

// executions lists those of a state machine, the newest first.
func executions(t *testing.T, api *sfn.Client, machine string) []sfntypes.ExecutionListItem {
	t.Helper()
	return must[*sfn.ListExecutionsOutput](t)(api.ListExecutions(t.Context(), &sfn.ListExecutionsInput{StateMachineArn: &machine})).Executions
}

func TestStartExecution(t *testing.T) {
	script := &ends{status: map[string]map[string]any{}}
	l := labAt(t, before(t, script.answers(t, awstest.Emulator(t))), awstest.Account())
	api, machine := stateMachine(t, l)
	do := l.action(t, "aws.stepfunctions.start_execution")
	in := l.input(action.Params{"state_machine_arn": machine, "input": map[string]any{"host": "web-1"}})
	missing := l.input(action.Params{"state_machine_arn": machine + "-absent"})
	changes := 0
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			about := must[*sfn.DescribeStateMachineOutput](t)(api.DescribeStateMachine(t.Context(), &sfn.DescribeStateMachineInput{StateMachineArn: &machine}))
			names := []string{*about.Definition}
			for _, e := range executions(t, api, machine) {
				names = append(names, *e.Name)
			}
			return dump(t, names)
		},
		Change: func(t *testing.T) {
			t.Helper()
			changes++
			must[*sfn.UpdateStateMachineOutput](t)(api.UpdateStateMachine(t.Context(), &sfn.UpdateStateMachineInput{
				StateMachineArn: &machine, Definition: sdk.String(definition(fmt.Sprint("changed ", changes))),
			}))
		},
	})
	begun := executions(t, api, machine)[0]
	about := must[*sfn.DescribeExecutionOutput](t)(api.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: begun.ExecutionArn}))
	if !strings.Contains(*about.Input, `"host":"web-1"`) || !strings.Contains(*about.Input, `"token":"`+in.Token+`"`) || *about.Name != "riposte-"+in.Token {
		t.Errorf("execution %s got %s, want its input and the token", *about.Name, *about.Input)
	}
	t.Run("await", func(t *testing.T) {
		ended := map[string]bool{*begun.ExecutionArn: true}
		providertest.Await(t, providertest.Awaited{
			Action: do, Input: in, Door: l.door,
			Started: func(t *testing.T) int { t.Helper(); return len(executions(t, api, machine)) },
			End: func(t *testing.T, well bool) {
				t.Helper()
				how := map[string]any{"status": "FAILED", "error": "NoSuchHost", "cause": "web-1\nis gone"}
				if well {
					how = map[string]any{"status": "SUCCEEDED", "output": `["i-1"]`}
				}
				for _, e := range executions(t, api, machine) {
					if !ended[*e.ExecutionArn] {
						script.end(*e.ExecutionArn, how)
						ended[*e.ExecutionArn] = true
					}
				}
			},
		})
	})
	change := l.plan(t, do.Spec().Name, in.Params)
	if change.Tags["team"] != "blue" || change.Place != (action.Place{Account: l.account, Region: awstest.Region}) {
		t.Errorf("the plan is of %v with tags %v", change.Place, change.Tags)
	}
	awaiter, ok := do.(action.Awaiter)
	if !ok {
		t.Fatal("it is no action.Awaiter")
	}
	for want, how := range map[string]map[string]any{
		"is FAILED: NoSuchHost: web-1 is gone": {"status": "FAILED", "error": "NoSuchHost", "cause": "web-1\nis gone"},
		"is TIMED_OUT":                         {"status": "TIMED_OUT"},
		"is ABORTED":                           {"status": "ABORTED"},
		"more than":                            {"status": "SUCCEEDED", "output": `"` + strings.Repeat("x", 65<<10) + `"`},
	} {
		script.end(*begun.ExecutionArn, how)
		if _, over, err := awaiter.Await(t.Context(), action.Applied{Change: change}); over || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %t, %v, want an error of kind invalid with %q", over, err, want)
		}
	}
}

func TestStartExecutionRefuses(t *testing.T) {
	express := false // the emulator takes every machine for a standard one
	l := labAt(t, before(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !express || r.Header.Get("X-Amz-Target") != "AWSStepFunctions.DescribeStateMachine" {
			return false
		}
		_, err := io.WriteString(w, `{"type": "EXPRESS", "definition": "{}", "name": "contain"}`)
		return err == nil
	}), awstest.Account())
	_, machine := stateMachine(t, l)
	for _, params := range []action.Params{
		{"state_machine_arn": strings.Replace(machine, "stateMachine", "execution", 1)},
		{"state_machine_arn": machine + ":x"},
		{"state_machine_arn": "contain"},
		{"state_machine_arn": machine, "input": map[string]any{"riposte": 1}},
	} {
		l.refuses(t, "aws.stepfunctions.start_execution", params, fault.Invalid)
	}
	l.plan(t, "aws.stepfunctions.start_execution", action.Params{"state_machine_arn": machine})
	express = true
	l.refuses(t, "aws.stepfunctions.start_execution", action.Params{"state_machine_arn": machine}, fault.Invalid)
}

// What was started may not be seen at once: Step Functions and Systems Manager are eventually consistent.
func TestWhatWasStartedMayBeSeenLater(t *testing.T) {
	l := newLab(t)
	_, machine := stateMachine(t, l)
	awaiter, ok := l.action(t, "aws.stepfunctions.start_execution").(action.Awaiter)
	if !ok {
		t.Fatal("it is no action.Awaiter")
	}
	change := l.plan(t, "aws.stepfunctions.start_execution", action.Params{"state_machine_arn": machine})
	known := action.Result{Outputs: map[string]any{"status": "RUNNING"}}
	for kind, result := range map[fault.Kind]action.Result{fault.Transient: known, fault.NotFound: {}} {
		if _, over, err := awaiter.Await(t.Context(), action.Applied{Change: change, Result: result}); over || !fault.Is(err, kind) {
			t.Errorf("with the outcome %v: got %t, %v, want an error of kind %s", result.Outputs, over, err, kind)
		}
	}
}

// automations stands before the emulator, which has no Automation: it starts, finds and describes automations as
// Systems Manager documents it.
type automations struct {
	mu      sync.Mutex
	all     []*ssmExecution
	byToken map[string]*ssmExecution
}

// ssmExecution is one automation, with what of it goes over the wire.
type ssmExecution struct {
	ID         string              `json:"AutomationExecutionId"`
	Status     string              `json:"AutomationExecutionStatus"`
	Document   string              `json:"DocumentName"`
	Version    string              `json:"DocumentVersion"`
	Parameters map[string][]string `json:"Parameters,omitempty"`
	Outputs    map[string][]string `json:"Outputs,omitempty"`
	Failure    string              `json:"FailureMessage,omitempty"`
	tags       []string
}

func (a *automations) answers(t *testing.T) func(w http.ResponseWriter, r *http.Request) bool {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) bool {
		target, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM.")
		if !ok || !strings.Contains(target, "AutomationExecution") {
			return false
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		answer, failure := a.answer(target, json.NewDecoder(r.Body))
		if failure != "" {
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]string{"__type": failure, "message": "no"}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
		return true
	}
}

func (a *automations) answer(target string, body *json.Decoder) (answer any, failure string) {
	var ask struct {
		DocumentName, DocumentVersion, ClientToken, AutomationExecutionID string
		Parameters                                                        map[string][]string
		Tags                                                              []struct{ Key, Value string }
		Filters                                                           []struct {
			Key    string
			Values []string
		}
	}
	if err := body.Decode(&ask); err != nil {
		return nil, "SerializationException"
	}
	switch target {
	case "StartAutomationExecution":
		if known := a.byToken[ask.ClientToken]; known != nil {
			if dumped(known.Parameters) != dumped(ask.Parameters) {
				return nil, "IdempotentParameterMismatch"
			}
			return map[string]string{"AutomationExecutionId": known.ID}, ""
		}
		if len(ask.ClientToken) != 36 || len(ask.Tags) > 5 {
			return nil, "ValidationException"
		}
		e := &ssmExecution{
			ID: fmt.Sprintf("00000000-0000-0000-0000-%012d", len(a.all)), Status: "InProgress", Document: ask.DocumentName,
			Version: ask.DocumentVersion, Parameters: ask.Parameters,
		}
		for _, tag := range ask.Tags {
			e.tags = append(e.tags, tag.Key)
		}
		a.all, a.byToken[ask.ClientToken] = append(a.all, e), e
		return map[string]string{"AutomationExecutionId": e.ID}, ""
	case "DescribeAutomationExecutions":
		found := []*ssmExecution{}
		for _, e := range a.all {
			if len(ask.Filters) == 1 && ask.Filters[0].Key == "TagKey" && slices.Contains(e.tags, ask.Filters[0].Values[0]) {
				found = append(found, e)
			}
		}
		return map[string]any{"AutomationExecutionMetadataList": found}, ""
	case "GetAutomationExecution":
		for _, e := range a.all {
			if e.ID == ask.AutomationExecutionID {
				return map[string]any{"AutomationExecution": e}, ""
			}
		}
		return nil, "AutomationExecutionNotFoundException"
	}
	return nil, "InvalidAction"
}

func dumped(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// end ends the automation that was started last.
func (a *automations) end(status string, outputs map[string][]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.all[len(a.all)-1]
	last.Status, last.Outputs = status, outputs
	if outputs == nil {
		last.Failure = "Step fails when it is Execute/Cancelling action.\nweb-1 is gone"
	}
}

func TestStartAutomation(t *testing.T) {
	fake := &automations{byToken: map[string]*ssmExecution{}}
	l := labAt(t, before(t, fake.answers(t)), awstest.Account())
	api := ssm.NewFromConfig(l.direct)
	content := func(n int) *string {
		return sdk.String(fmt.Sprintf(`{"schemaVersion": "0.3", "description": "%d", "mainSteps": [{"name": "s", "action": "aws:sleep", "inputs": {"Duration": "PT1S"}}]}`, n))
	}
	must[*ssm.CreateDocumentOutput](t)(api.CreateDocument(t.Context(), &ssm.CreateDocumentInput{
		Name: sdk.String("Contain-Host"), Content: content(0), DocumentType: ssmtypes.DocumentTypeAutomation, DocumentFormat: ssmtypes.DocumentFormatJson,
	}))
	do := l.action(t, "aws.ssm.start_automation")
	in := l.input(action.Params{"document": "Contain-Host", "parameters": map[string]any{"Host": "web-1", "Ports": []any{"22", "80"}}})
	missing := l.input(action.Params{"document": "Absent-Document"})
	version := 0
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			about := must[*ssm.DescribeDocumentOutput](t)(api.DescribeDocument(t.Context(), &ssm.DescribeDocumentInput{Name: sdk.String("Contain-Host")}))
			return *about.Document.DocumentVersion + dump(t, fake.all)
		},
		Change: func(t *testing.T) {
			t.Helper()
			version++
			made := must[*ssm.UpdateDocumentOutput](t)(api.UpdateDocument(t.Context(), &ssm.UpdateDocumentInput{
				Name: sdk.String("Contain-Host"), Content: content(version), DocumentVersion: sdk.String("$LATEST"), DocumentFormat: ssmtypes.DocumentFormatJson,
			}))
			must[*ssm.UpdateDocumentDefaultVersionOutput](t)(api.UpdateDocumentDefaultVersion(t.Context(), &ssm.UpdateDocumentDefaultVersionInput{
				Name: sdk.String("Contain-Host"), DocumentVersion: made.DocumentDescription.DocumentVersion,
			}))
		},
	})
	started := fake.all[0]
	if dumped(started.Parameters) != `{"Host":["web-1"],"Ports":["22","80"]}` {
		t.Errorf("started with %v", started.Parameters)
	}
	t.Run("await", func(t *testing.T) {
		providertest.Await(t, providertest.Awaited{
			Action: do, Input: in, Door: l.door, Started: func(*testing.T) int { return len(fake.all) },
			End: func(_ *testing.T, well bool) {
				if well {
					fake.end("Success", map[string][]string{"s.Output": {"isolated"}})
				} else {
					fake.end("Failed", nil)
				}
			},
		})
	})
	awaiter, ok := do.(action.Awaiter)
	if !ok {
		t.Fatal("it is no action.Awaiter")
	}
	done := action.Applied{Change: l.plan(t, do.Spec().Name, in.Params), Result: action.Result{Outputs: map[string]any{"execution_id": fake.all[len(fake.all)-1].ID}}}
	for status, goesOn := range map[string]bool{
		"Pending": true, "Waiting": true, "PendingApproval": true, "Cancelling": true, "NewlyInvented": true, "TimedOut": false, "Cancelled": false, "Rejected": false,
	} {
		fake.end(status, nil)
		if _, over, err := awaiter.Await(t.Context(), done); over || (err == nil) != goesOn || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %t, %v, want it to go on: %t", status, over, err, goesOn)
		}
	}
	unseen := action.Applied{Change: done.Change, Result: action.Result{Outputs: map[string]any{"execution_id": "later"}}}
	if _, over, err := awaiter.Await(t.Context(), unseen); over || !fault.Is(err, fault.Transient) {
		t.Errorf("started and not seen yet: got %t, %v, want an error of kind transient", over, err)
	}
	fake.end("Success", map[string][]string{"s.Output": {strings.Repeat("x", 65<<10)}})
	if _, over, err := awaiter.Await(t.Context(), done); over || !fault.Is(err, fault.Invalid) {
		t.Errorf("65 KiB of outputs: got %t, %v, want an error of kind invalid", over, err)
	}
	l.refuses(t, do.Spec().Name, action.Params{"document": "x;y"}, fault.Invalid)
	l.refuses(t, do.Spec().Name, action.Params{"document": "Contain-Host", "version": "latest"}, fault.Invalid)
	l.refuses(t, do.Spec().Name, action.Params{"document": "Contain-Host", "parameters": map[string]any{"a": map[string]any{}}}, fault.Invalid)
}
