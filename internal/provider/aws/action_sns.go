package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	longestMessage = 256 << 10 // bytes, SNS's bound
	longestSubject = 100       // characters, SNS's bound
)

// publish is aws.sns.publish.
type publish struct{ cloud *Cloud }

func publishMessage(c *Cloud) publish { return publish{c} }

// Spec describes the action.
func (publish) Spec() action.Spec {
	return action.Spec{
		Name:    "aws.sns.publish",
		Summary: "Publish a message to an SNS topic",
		Doc: "Sends the message to whoever subscribes to the topic, in the topic's own account and region. A step that is tried " +
			"again may send twice to a standard topic; a FIFO topic gets the step's token as its deduplication id and the " +
			"incident as its group, and delivers once. In the subject, which SNS wants in plain ASCII, other characters are " +
			"replaced by a question mark, and what is longer than 100 characters is cut.",
		Effect: action.Notify,
		Params: []action.Param{
			{Name: "topic_arn", Type: action.String, Required: true, Entity: entity.Topic, Doc: "ARN of the topic"},
			{Name: "message", Type: action.String, Required: true, Doc: "the message, at most 256 KiB"},
			{Name: "subject", Type: action.String, Doc: "subject for subscribers by e-mail"},
		},
		Outputs: []action.Output{{Name: "message_id", Type: action.String, Doc: "SNS's id of the message"}},
		Permissions: []action.Permission{
			{Name: "sns:Publish", Resource: "arn:{partition}:sns:{region}:{account}:*", Phase: action.ApplyPhase},
		},
	}
}

// Plan says what would be sent. It asks nobody: SNS has nothing to tell that a publisher may always read.
func (p publish) Plan(_ context.Context, in action.Input) (action.Change, error) {
	in.Place = p.cloud.here(in.Place)
	topic, err := parseTopic(in.Params.String("topic_arn"))
	if err != nil {
		return action.Change{}, err
	}
	if size := len(in.Params.String("message")) + longestSubject; size > longestMessage {
		return action.Change{}, fault.New(fault.Invalid, "message: more than %d bytes with its subject", longestMessage)
	}
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return action.Change{
		Action: p.Spec().Name, Place: in.Place, Params: params,
		Target: entity.Entity{
			Kind: entity.Topic, ID: topic.String(), Part: entity.Target, Provider: "aws", Account: topic.AccountID, Region: topic.Region,
			ARN: topic.String(),
		},
		Calls: []string{"sns:Publish " + topic.String()}, Summary: "A message is published to " + topic.String(),
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

func parseTopic(text string) (arn.ARN, error) {
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "sns" || parsed.Region == "" || parsed.AccountID == "" || strings.Contains(parsed.Resource, ":") {
		return arn.ARN{}, fault.New(fault.Invalid, "topic_arn: %q is not the ARN of an SNS topic", shorten(text))
	}
	return parsed, nil
}

// Apply sends the message.
func (p publish) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return action.Result{}, err
	}
	topic, err := parseTopic(in.Params.String("topic_arn"))
	if err != nil {
		return action.Result{}, err
	}
	at := action.Place{Account: topic.AccountID, Region: topic.Region}
	api, err := client(p.cloud, at, func(made aws.Config) *sns.Client { return sns.NewFromConfig(made) })
	if err != nil {
		return action.Result{}, err
	}
	message := &sns.PublishInput{TopicArn: aws.String(topic.String()), Message: aws.String(in.Params.String("message"))}
	if subject := plain(in.Params.String("subject")); subject != "" {
		message.Subject = aws.String(subject)
	}
	if strings.HasSuffix(topic.Resource, ".fifo") {
		message.MessageDeduplicationId = aws.String(in.Token)
		message.MessageGroupId = aws.String(group(in.Incident))
	}
	sent, err := api.Publish(ctx, message)
	if err != nil {
		return action.Result{}, fmt.Errorf("publish to %s: %w", topic, classify(err))
	}
	return action.Result{Changed: true, Outputs: map[string]any{"message_id": aws.ToString(sent.MessageId)}}, nil
}

// group is the FIFO group of an incident's messages, so that they arrive in order.
func group(incident string) string {
	if incident == "" {
		return sessionName
	}
	return incident
}

// plain makes a subject of what SNS takes: one line of printable ASCII.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case r < ' ', r > '~':
			return '?'
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	return text[:min(len(text), longestSubject)]
}
