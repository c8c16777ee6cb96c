package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const automationDoc = "Starts an Automation runbook: one of your own, of AWS (AWS-..., AWSSupport-...) or one that is shared with the " +
	"account. It is started with the step's token as client token, and is tagged with it: a step that is tried again finds what it " +
	"started.\n\n" +
	"The step ends when the automation does, at most six hours later, and has its outputs. One that fails, is cancelled, rejected " +
	"or times out ends the step as failed. A runbook that asks for an approval of its own goes on waiting for it.\n\n" +
	"The plan is bound to the runbook's version and content: changed before it is started, it is planned, and approved, anew. " +
	"A runbook that acts by a role (AutomationAssumeRole) needs iam:PassRole for Riposte on that role, which is not in the " +
	"permissions below: grant it for the roles of your runbooks alone." + irreversible

// startAutomation is aws.ssm.start_automation.
type startAutomation struct{ cloud *Cloud }

// runbookState is what a plan to start a runbook is bound to.
type runbookState struct {
	Version   string `json:"version"`
	Content   string `json:"content"` // its hash, as Systems Manager gives it
	Execution string `json:"execution,omitempty"`
}

// Spec describes the action.
func (startAutomation) Spec() action.Spec {
	const executions = "arn:{partition}:ssm:{region}:{account}:automation-execution/*"
	needs := []action.Permission{
		{Name: "ssm:DescribeAutomationExecutions", Resource: "*", Phase: action.ApplyPhase},
		{Name: "ssm:GetAutomationExecution", Resource: executions, Phase: action.ApplyPhase},
		{Name: "ssm:AddTagsToResource", Resource: executions, Phase: action.ApplyPhase},
	}
	for _, owner := range []string{"{account}", ""} { // AWS's own runbooks are in no account
		documents := "arn:{partition}:ssm:{region}:" + owner + ":document/*"
		needs = append(needs, permitAll(documents, "ssm:DescribeDocument", "ssm:StartAutomationExecution")...)
		needs = append(needs, action.Permission{
			Name: "ssm:StartAutomationExecution", Resource: "arn:{partition}:ssm:{region}:" + owner + ":automation-definition/*",
			Phase: action.ApplyPhase,
		})
	}
	return action.Spec{
		Name: "aws.ssm.start_automation", Effect: action.Destroy,
		Summary: "Start a Systems Manager Automation runbook, and wait for its end", Doc: automationDoc,
		Params: []action.Param{
			{Name: "document", Type: action.String, Required: true, Entity: entity.Document, Doc: "the runbook's name; its ARN if another account shares it"},
			{Name: "version", Type: action.String, Doc: "the runbook's version; its default if absent"},
			{Name: "parameters", Type: action.Object, Doc: "the runbook's parameters, each a text or a list of texts"},
		},
		Outputs: []action.Output{
			{Name: "execution_id", Type: action.String, Doc: "id of the automation"},
			{Name: "status", Type: action.String, Doc: "its status in Systems Manager's words: Success at the end"},
			{Name: "outputs", Type: action.Object, Doc: "the runbook's outputs by name, such as step.Output, each a list of texts"},
		},
		Permissions: needs, Within: 6 * time.Hour,
	}
}

var (
	documentForm = shaped(`^[A-Za-z0-9_.:/-]{3,150}$`)
	versionForm  = shaped(`^(\$LATEST|\$DEFAULT|[1-9][0-9]{0,9})$`)
)

// runbook is which runbook is meant, and with what it is started.
type runbook struct {
	name, version string
	given         map[string][]string
	token         string // a UUID
}

// runbookOf reads which runbook is meant.
func runbookOf(in action.Input) (runbook, error) {
	b := runbook{name: in.Params.String("document"), version: in.Params.String("version"), token: uuidOf(in.Token), given: map[string][]string{}}
	if !documentForm.MatchString(b.name) {
		return b, fault.New(fault.Invalid, "document: %q is no runbook's name or ARN", shorten(b.name))
	}
	if b.version != "" && !versionForm.MatchString(b.version) {
		return b, fault.New(fault.Invalid, "version: %q is no runbook's version: a number, $LATEST or $DEFAULT", shorten(b.version))
	}
	object, _ := in.Params["parameters"].(map[string]any)
	size := 0
	for _, name := range slices.Sorted(maps.Keys(object)) {
		values, err := texts(object[name])
		if err != nil {
			return b, fault.New(fault.Invalid, "parameters.%s: %w", shorten(name), err)
		}
		b.given[name] = values
		size += len(name) + len(strings.Join(values, ""))
	}
	if size > largestGiven {
		return b, fault.New(fault.Invalid, "parameters: %d bytes are more than %d", size, largestGiven)
	}
	return b, nil
}

// texts makes of a parameter's value what Systems Manager takes: a list of texts.
func texts(value any) ([]string, error) {
	switch value := value.(type) {
	case string:
		return []string{value}, nil
	case bool, int, int64, float64:
		return []string{fmt.Sprint(value)}, nil
	case []string:
		return value, nil
	case []any:
		var all []string
		for _, one := range value {
			text, ok := one.(string)
			if !ok {
				return nil, fault.New(fault.Invalid, "an item of the list is not text")
			}
			all = append(all, text)
		}
		return all, nil
	}
	return nil, fault.New(fault.Invalid, "is neither a text nor a list of texts")
}

// uuidOf gives a token the form of a UUID, which Systems Manager asks for. The runner's have 128 bits as it is.
func uuidOf(token string) string {
	bits, err := hex.DecodeString(token)
	if err != nil || len(bits) != 16 {
		sum := sha256.Sum256([]byte(token))
		bits = sum[:16]
	}
	text := hex.EncodeToString(bits)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

// tag is the key of the tag by which the automation is found. Systems Manager finds by keys alone.
func (b runbook) tag() string { return tagToken + ":" + b.token }

func (s startAutomation) api(at action.Place) (*ssm.Client, error) {
	return client(s.cloud, at, func(made aws.Config) *ssm.Client { return ssm.NewFromConfig(made) })
}

// read tells what the runbook would do now.
func (b runbook) read(ctx context.Context, api *ssm.Client) (*types.DocumentDescription, runbookState, error) {
	ask := &ssm.DescribeDocumentInput{Name: aws.String(b.name)}
	if b.version != "" {
		ask.DocumentVersion = aws.String(b.version)
	}
	got, err := api.DescribeDocument(ctx, ask)
	if err != nil {
		return nil, runbookState{}, fmt.Errorf("read runbook %s: %w", b.name, bridgeFault(err))
	}
	about := got.Document
	if about == nil {
		return nil, runbookState{}, fault.New(fault.Transient, "read runbook %s: the answer has no document", b.name)
	}
	if about.DocumentType != types.DocumentTypeAutomation {
		return nil, runbookState{}, fault.New(fault.Invalid, "document %s is a %s, not an Automation runbook", b.name, about.DocumentType)
	}
	return about, runbookState{Version: aws.ToString(about.DocumentVersion), Content: aws.ToString(about.Hash)}, nil
}

// Plan reads which version of the runbook would be started.
func (s startAutomation) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	b, err := runbookOf(in)
	if err != nil {
		return action.Change{}, err
	}
	in.Place = s.cloud.here(in.Place)
	api, err := s.api(in.Place)
	if err != nil {
		return action.Change{}, err
	}
	about, before, err := b.read(ctx, api)
	if err != nil {
		return action.Change{}, err
	}
	after := before
	after.Execution = b.token
	c, err := startedChange(s.Spec(), in, before, after)
	if err != nil {
		return action.Change{}, err
	}
	c.Target = entity.Entity{
		Kind: entity.Document, ID: b.name, Part: entity.Target, Provider: "aws", Account: in.Account, Region: in.Region,
	}
	if arn.IsARN(b.name) {
		c.Target.ARN = b.name
	}
	c.Tags = map[string]string{}
	for _, tag := range about.Tags {
		c.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	c.Calls = []string{"ssm:StartAutomationExecution " + b.name + ", version " + before.Version}
	c.Summary = "runbook " + b.name + ", version " + before.Version + ", is started"
	c.Impact = []string{"Riposte can't undo what the runbook does"}
	return c, nil
}

// Apply starts the automation, unless it was started before.
func (s startAutomation) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	b, api, err := s.planned(c)
	if err != nil {
		return action.Result{}, err
	}
	id, err := b.find(ctx, api)
	if err == nil {
		return automation(false, id, types.AutomationExecutionStatusInprogress, nil), nil
	}
	if !fault.Is(err, fault.NotFound) {
		return action.Result{}, err
	}
	_, now, err := b.read(ctx, api)
	if err != nil {
		return action.Result{}, err
	}
	if err := unmoved(c, now); err != nil {
		return action.Result{}, err
	}
	tag := func(key, value string) types.Tag { return types.Tag{Key: aws.String(key), Value: aws.String(value)} }
	begun, err := api.StartAutomationExecution(ctx, &ssm.StartAutomationExecutionInput{
		DocumentName: aws.String(b.name), DocumentVersion: aws.String(now.Version), Parameters: b.given, ClientToken: aws.String(b.token),
		Tags: []types.Tag{tag(b.tag(), c.Step), tag(tagIncident, c.Incident), tag(tagRun, c.Run)},
	})
	if err != nil {
		return action.Result{}, fmt.Errorf("start runbook %s: %w", b.name, bridgeFault(err))
	}
	return automation(true, aws.ToString(begun.AutomationExecutionId), types.AutomationExecutionStatusInprogress, nil), nil
}

func (s startAutomation) planned(c action.Change) (b runbook, api *ssm.Client, err error) {
	in, err := c.Input()
	if err != nil {
		return b, nil, err
	}
	if b, err = runbookOf(in); err != nil {
		return b, nil, err
	}
	api, err = s.api(in.Place)
	return b, api, err
}

// find gives the id of the automation that the step has started. It is of kind NotFound where there is none.
func (b runbook) find(ctx context.Context, api *ssm.Client) (string, error) {
	pages := ssm.NewDescribeAutomationExecutionsPaginator(api, &ssm.DescribeAutomationExecutionsInput{
		Filters: []types.AutomationExecutionFilter{{Key: types.AutomationExecutionFilterKeyTagKey, Values: []string{b.tag()}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("look for an automation of runbook %s: %w", b.name, bridgeFault(err))
		}
		for _, one := range page.AutomationExecutionMetadataList {
			return aws.ToString(one.AutomationExecutionId), nil
		}
	}
	return "", fault.New(fault.NotFound, "the step has started no automation of runbook %s", b.name)
}

func automation(changed bool, id string, status types.AutomationExecutionStatus, outputs map[string][]string) action.Result {
	object := map[string]any{}
	for name, values := range outputs {
		object[name] = values
	}
	return action.Result{Changed: changed, Outputs: map[string]any{"execution_id": id, "status": string(status), "outputs": object}}
}

// Await looks whether the automation has ended.
func (s startAutomation) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	b, api, err := s.planned(a.Change)
	if err != nil {
		return action.Result{}, false, err
	}
	id, _ := a.Result.Outputs["execution_id"].(string)
	if id == "" { // Apply's outcome was lost
		if id, err = b.find(ctx, api); err != nil {
			return action.Result{}, false, err
		}
	}
	got, err := api.GetAutomationExecution(ctx, &ssm.GetAutomationExecutionInput{AutomationExecutionId: aws.String(id)})
	if err != nil {
		return action.Result{}, false, notYet(a, fmt.Errorf("read automation %s of runbook %s: %w", id, b.name, bridgeFault(err)))
	}
	now := got.AutomationExecution
	if now == nil {
		return action.Result{}, false, fault.New(fault.Transient, "read automation %s: the answer has none", id)
	}
	switch status := now.AutomationExecutionStatus; status {
	case types.AutomationExecutionStatusSuccess, types.AutomationExecutionStatusCompletedWithSuccess:
		if size := sizeOf(now.Outputs); size > largestAnswer {
			return action.Result{}, false, fault.New(fault.Invalid, "runbook %s has %d bytes of outputs, more than %d", b.name, size, largestAnswer)
		}
		return automation(true, id, status, now.Outputs), true, nil
	case types.AutomationExecutionStatusTimedout, types.AutomationExecutionStatusCancelled, types.AutomationExecutionStatusFailed,
		types.AutomationExecutionStatusRejected, types.AutomationExecutionStatusCompletedWithFailure, types.AutomationExecutionStatusExited,
		types.AutomationExecutionStatusChangeCalendarOverrideRejected:
		return action.Result{}, false, fault.New(fault.Invalid, "automation %s of runbook %s is %s: %s", id, b.name, status,
			onOneLine(aws.ToString(now.FailureMessage)))
	default: // what AWS adds to the list later is waited for too, as long as the step may wait
		return action.Result{}, false, nil
	}
}

func sizeOf(outputs map[string][]string) int {
	size := 0
	for name, values := range outputs {
		size += len(name) + len(strings.Join(values, ""))
	}
	return size
}
