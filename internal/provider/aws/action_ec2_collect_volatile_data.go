package aws

import (
	"context"
	"crypto/sha256"
	_ "embed" // the document
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// collectDocument is what Systems Manager runs: all of it, and nothing else.
//
//go:embed documents/collect-volatile-data.json
var collectDocument string

// collectName is the name of the document in the account.
const collectName = "Riposte-CollectVolatileData"

// collection is whether a host was told to tell what is in its memory.
type collection struct {
	Asked bool `json:"asked"`

	command types.Command // the newest that was sent for the step
	version string        // of the document
}

const collectDoc = `Runs a fixed set of commands on the instance through Systems Manager, and gives back what they say: who is logged in,
connections, processes with their beginnings (not their arguments, which may hold secrets), running files that were
deleted, new files where everybody may write, neighbours, routes, kernel modules and services. Do this before the
instance is isolated or stopped: isolation cuts off Systems Manager too.

The commands are those of the document **Riposte-CollectVolatileData**, which takes no parameters, so that no text of an
event gets into a command. Make it once for each account and region, from collect-volatile-data.json of Riposte's source
(aws ssm create-document --document-type Command). Riposte may run that document alone, and compares it word for word with
its own before each use: one that somebody changed is refused.

It contains rather than reads: it runs processes on a host, which an intruder who watches may see, and their traces
overwrite a little of what is free in memory. So it is intended before it is done, written down, asked for where
the playbook asks, and held by a freeze and by limits, as reading is not. Nothing on the host is changed on purpose and no memory is dumped.

The output is what an intruder with administrator's rights wants it to be: take it for a statement, not for proof. It is at most
24,000 characters, as Systems Manager keeps it.

Undo cancels the command where it still runs. Where it is over there is nothing to take back.`

// newCollectVolatileData makes aws.ec2.collect_volatile_data.
func newCollectVolatileData(c *Cloud, instances *census) *collectVolatileData {
	setting := &action.Setting[collection]{
		About: action.Spec{
			Name: "aws.ec2.collect_volatile_data", Effect: action.Contain,
			Summary: "Ask a host what is in its memory, by fixed commands, before it is lost.", Doc: collectDoc,
			Params: []action.Param{instanceParam()}, Within: 15 * time.Minute,
			Outputs: []action.Output{
				{Name: "command_id", Type: action.String, Doc: "the command's id at Systems Manager"},
				{Name: "status", Type: action.String, Doc: "how it ended: Success, or Pending while it runs"},
				{Name: "output", Type: action.String, Doc: "what the commands said; empty while they run"},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances", "ssm:DescribeInstanceInformation", "ssm:ListCommands"),
				permit(action.PlanPhase, "arn:{partition}:ssm:{region}:{account}:document/"+collectName, nil, "ssm:GetDocument"),
				permit(action.ApplyPhase, "arn:{partition}:ssm:{region}:{account}:document/"+collectName, nil, "ssm:SendCommand"),
				permit(action.ApplyPhase, ec2ARN("instance"), nil, "ssm:SendCommand"),
				permit(action.ApplyPhase, "*", nil, "ssm:GetCommandInvocation"),
				permit(action.UndoPhase, "*", nil, "ssm:CancelCommand"),
			),
		},
		Target: c.instanceTarget,
		Read:   c.readCollection,
		Want:   func(action.Input, collection) (collection, error) { return collection{Asked: true}, nil },
		Write:  c.writeCollection,
		Calls: func(in action.Input, now, _ collection) []string {
			return []string{fmt.Sprintf("ssm:SendCommand %s version %s to %s", collectName, now.version, in.Params.String("instance_id"))}
		},
		Summary: func(in action.Input, _, _ collection) string {
			return fmt.Sprintf("ask instance %s what is in its memory, by %s", in.Params.String("instance_id"), collectName)
		},
		Facts: c.collectionFacts,
	}
	return &collectVolatileData{&ec2Setting[collection]{setting, c, instances}}
}

// collectVolatileData is aws.ec2.collect_volatile_data.
type collectVolatileData struct{ *ec2Setting[collection] }

// marker is the comment by which a step's command is found again: Systems Manager takes no idempotency token.
func marker(in action.Input) string {
	sum := sha256.Sum256([]byte(in.Token))
	return "riposte " + hex.EncodeToString(sum[:16])
}

// readCollection looks for the step's command, those that were canceled aside.
func (c *Cloud) readCollection(ctx context.Context, in action.Input) (collection, error) {
	var state collection
	if in.Token == "" {
		return state, fault.New(fault.Internal, "a command's step has no token")
	}
	if _, err := c.instance(ctx, in); err != nil {
		return state, err
	}
	api, err := c.commands(in.Place)
	if err != nil {
		return state, err
	}
	pages := ssm.NewListCommandsPaginator(api, &ssm.ListCommandsInput{InstanceId: aws.String(in.Params.String("instance_id")), MaxResults: aws.Int32(50)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list commands of %s: %w", in.Params.String("instance_id"), classify(err))
		}
		for _, each := range page.Commands {
			canceled := each.Status == types.CommandStatusCancelled || each.Status == types.CommandStatusCancelling
			if aws.ToString(each.Comment) != marker(in) || canceled {
				continue
			}
			if !state.Asked || aws.ToTime(each.RequestedDateTime).After(aws.ToTime(state.command.RequestedDateTime)) {
				state.Asked, state.command = true, each
			}
		}
	}
	if !state.Asked { // it is needed to ask
		state.version, err = collectVersion(ctx, api)
	}
	return state, err
}

// collectVersion reads the account's document, which must be Riposte's own, and gives its version.
func collectVersion(ctx context.Context, api *ssm.Client) (string, error) {
	const hint = "make it from collect-volatile-data.json of Riposte's source: aws ssm create-document --document-type Command --name " + collectName
	got, err := api.GetDocument(ctx, &ssm.GetDocumentInput{Name: aws.String(collectName), DocumentFormat: types.DocumentFormatJson})
	if codeIs(err, "InvalidDocument") {
		return "", fault.WithHint(fault.New(fault.Invalid, "the account has no document %s", collectName), hint)
	}
	if err != nil {
		return "", fmt.Errorf("read document %s: %w", collectName, classify(err))
	}
	var theirs, ours any
	if err := json.Unmarshal([]byte(collectDocument), &ours); err != nil {
		return "", fault.New(fault.Internal, "the document %s is broken: %w", collectName, err)
	}
	if err := json.Unmarshal([]byte(aws.ToString(got.Content)), &theirs); err != nil || !reflect.DeepEqual(ours, theirs) {
		return "", fault.WithHint(fault.New(fault.Denied, "the document %s is not as Riposte has it: somebody changed it, or it is of another version; "+
			"it is not run", collectName), hint)
	}
	return aws.ToString(got.DocumentVersion), nil
}

// writeCollection sends the command, or cancels it.
func (c *Cloud) writeCollection(ctx context.Context, in action.Input, from, to collection) (collection, error) {
	api, err := c.commands(in.Place)
	if err != nil {
		return to, err
	}
	id := []string{in.Params.String("instance_id")}
	if !to.Asked {
		_, err := api.CancelCommand(ctx, &ssm.CancelCommandInput{CommandId: from.command.CommandId, InstanceIds: id})
		if err != nil {
			return to, fmt.Errorf("cancel command %s: %w", aws.ToString(from.command.CommandId), classify(err))
		}
		return to, nil
	}
	sent, err := api.SendCommand(ctx, &ssm.SendCommandInput{
		DocumentName: aws.String(collectName), DocumentVersion: aws.String(from.version), InstanceIds: id, Comment: aws.String(marker(in)),
		TimeoutSeconds: aws.Int32(60),
	})
	if codeIs(err, "InvalidInstanceId") {
		return to, fault.New(fault.Conflict, "instance %s can't be reached by Systems Manager: %w", id[0], err)
	}
	if err != nil {
		return to, fmt.Errorf("send command to %s: %w", id[0], classify(err))
	}
	if sent.Command != nil {
		to.command = *sent.Command
	}
	return to, nil
}

// Apply sends the command; what it says comes with Await.
func (d *collectVolatileData) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	result, err := d.ec2Setting.Apply(ctx, c)
	if err != nil {
		return result, err
	}
	in, err := c.Input()
	if err != nil {
		return result, err
	}
	now, err := d.cloud.readCollection(ctx, in)
	if err != nil {
		return result, err
	}
	result.Outputs = map[string]any{"command_id": aws.ToString(now.command.CommandId), "status": string(types.CommandStatusPending), "output": ""}
	return result, nil
}

// over reports whether a command goes on no more.
func over(status types.CommandStatus) bool {
	switch status {
	case types.CommandStatusPending, types.CommandStatusInProgress, types.CommandStatusCancelling:
		return false
	case types.CommandStatusSuccess, types.CommandStatusCancelled, types.CommandStatusFailed, types.CommandStatusTimedOut:
	}
	return true
}

// Await looks whether the host has answered.
func (d *collectVolatileData) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	in, err := a.Change.Input()
	if err != nil {
		return action.Result{}, false, err
	}
	now, err := d.cloud.readCollection(ctx, in)
	if err != nil {
		return action.Result{}, false, err
	}
	id := in.Params.String("instance_id")
	if !now.Asked {
		return action.Result{}, false, fault.New(fault.Conflict, "the command that was sent to %s is canceled or gone", id)
	}
	api, err := d.cloud.commands(in.Place)
	if err != nil {
		return action.Result{}, false, err
	}
	got, err := api.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{CommandId: now.command.CommandId, InstanceId: aws.String(id)})
	if codeIs(err, "InvocationDoesNotExist") { // it is not known everywhere yet
		return action.Result{}, false, nil
	}
	if err != nil {
		return action.Result{}, false, fmt.Errorf("read what %s says: %w", id, classify(err))
	}
	switch got.Status {
	case types.CommandInvocationStatusPending, types.CommandInvocationStatusInProgress, types.CommandInvocationStatusDelayed,
		types.CommandInvocationStatusCancelling:
		return action.Result{}, false, nil
	case types.CommandInvocationStatusSuccess:
	case types.CommandInvocationStatusCancelled, types.CommandInvocationStatusTimedOut, types.CommandInvocationStatusFailed:
		return action.Result{}, false, fault.New(fault.Conflict, "the command on %s ended as %s: %s", id, got.Status, legible(aws.ToString(got.StatusDetails)))
	}
	result := a.Result
	result.Outputs = map[string]any{
		"command_id": aws.ToString(now.command.CommandId), "status": string(got.Status), "output": legible(aws.ToString(got.StandardOutputContent)),
	}
	return result, true, nil
}

// mostOutput bounds what is kept of a host's answer, in bytes.
const mostOutput = 24000

// legible is a host's text as it may be shown: bounded, in UTF-8, and without what moves a cursor or reverses lines. An
// intruder may have written it.
func legible(text string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if len(clean) > mostOutput {
		clean = strings.ToValidUTF8(clean[:mostOutput], "")
	}
	return clean
}

// Undo cancels the command where it still runs.
func (d *collectVolatileData) Undo(ctx context.Context, a action.Applied, force bool) (action.Result, error) {
	in, err := a.Change.Input()
	if err != nil {
		return action.Result{}, err
	}
	now, err := d.cloud.readCollection(ctx, in)
	if err != nil {
		return action.Result{}, err
	}
	if now.Asked && over(now.command.Status) {
		return action.Result{Note: "the command was over; what it said is kept, and there is nothing to take back"}, nil
	}
	return d.ec2Setting.Undo(ctx, a, force)
}

// Restored looks that nothing of it runs any more.
func (d *collectVolatileData) Restored(ctx context.Context, a action.Applied) error {
	in, err := a.Change.Input()
	if err != nil {
		return err
	}
	now, err := d.cloud.readCollection(ctx, in)
	if err == nil && now.Asked && over(now.command.Status) {
		return nil
	}
	return d.ec2Setting.Restored(ctx, a)
}

func (c *Cloud) collectionFacts(ctx context.Context, in action.Input, _ collection, change *action.Change) error {
	found, err := c.instance(ctx, in)
	if err != nil {
		return err
	}
	change.Tags = tagsOf(found.Tags)
	if change.Noop {
		return nil
	}
	api, err := c.commands(in.Place)
	if err != nil {
		return err
	}
	id := in.Params.String("instance_id")
	known, err := api.DescribeInstanceInformation(ctx, &ssm.DescribeInstanceInformationInput{
		Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: []string{id}}},
	})
	if err != nil {
		return fmt.Errorf("look for the agent of %s: %w", id, classify(err))
	}
	for _, agent := range known.InstanceInformationList {
		if aws.ToString(agent.InstanceId) != id {
			continue
		}
		if agent.PingStatus != types.PingStatusOnline {
			return fault.New(fault.Conflict, "the agent of Systems Manager on %s does not answer (%s)", id, agent.PingStatus)
		}
		change.Impact = []string{
			fmt.Sprintf("commands run with full rights on the host (%s, agent %s), for at most two minutes; an intruder may see that",
				legible(aws.ToString(agent.PlatformName)), legible(aws.ToString(agent.AgentVersion))),
			"what the host says may be what an intruder wants it to say, and may name people and addresses",
		}
		return nil
	}
	return fault.WithHint(fault.New(fault.Conflict, "instance %s is not managed by Systems Manager", id),
		"it needs the agent, and a role or the account's default host management that lets it register")
}
