package aws_test

import (
	"net/http"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// subscribed makes a topic with a queue that subscribes to it, and a function that gives what has arrived.
func subscribed(t *testing.T, l *lab, suffix string, attributes map[string]string) (topic string, arrived func(t *testing.T) []string) {
	t.Helper()
	topics, queues := sns.NewFromConfig(l.direct), sqs.NewFromConfig(l.direct)
	made := must[*sns.CreateTopicOutput](t)(topics.CreateTopic(t.Context(), &sns.CreateTopicInput{
		Name: sdk.String("alerts" + suffix), Attributes: attributes,
	}))
	queue := must[*sqs.CreateQueueOutput](t)(queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{
		QueueName: sdk.String("alerts" + suffix), Attributes: attributes,
	}))
	must[*sns.SubscribeOutput](t)(topics.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: made.TopicArn, Protocol: sdk.String("sqs"), Endpoint: sdk.String(strings.Replace(*made.TopicArn, ":sns:", ":sqs:", 1)),
	}))
	var all []string
	return *made.TopicArn, func(t *testing.T) []string {
		t.Helper()
		for {
			got := must[*sqs.ReceiveMessageOutput](t)(queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
				QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10,
				MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameAll},
			}))
			if len(got.Messages) == 0 {
				return all
			}
			for _, m := range got.Messages {
				all = append(all, *m.Body+" "+m.Attributes["MessageDeduplicationId"]+" "+m.Attributes["MessageGroupId"])
				must[*sqs.DeleteMessageOutput](t)(queues.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{
					QueueUrl: queue.QueueUrl, ReceiptHandle: m.ReceiptHandle,
				}))
			}
		}
	}
}

func TestPublish(t *testing.T) {
	endpoint, answer := scripted(t, "Action=Publish")
	l := labAt(t, endpoint, awstest.Account())
	topic, arrived := subscribed(t, l, "", nil)
	given := action.Params{"topic_arn": topic, "message": "Key AKIA… is disabled", "subject": "Key\r\ndisabled"}
	providertest.Notify(t, providertest.Notice{
		Action: l.action(t, "aws.sns.publish"), Input: l.input(given), Sent: arrived, Says: []string{"is disabled", "Key  disabled"},
		Answer: func(status int) { answer(status, "") },
	})
	l.refuses(t, "aws.sns.publish", action.Params{"topic_arn": "alerts", "message": "x"}, fault.Invalid)
	l.refuses(t, "aws.sns.publish", action.Params{"topic_arn": topic, "message": strings.Repeat("x", 300<<10)}, fault.Invalid)
}

// Done again after a crash, the same step's message arrives at a FIFO topic once.
func TestPublishToFIFOTopicsDeliversOnce(t *testing.T) {
	l := newLab(t)
	topic, arrived := subscribed(t, l, ".fifo", map[string]string{"FifoTopic": "true", "FifoQueue": "true"})
	change := l.plan(t, "aws.sns.publish", action.Params{"topic_arn": topic, "message": "once"})
	for range 2 {
		must[action.Result](t)(l.action(t, "aws.sns.publish").Apply(t.Context(), change))
	}
	asked := 0
	for _, r := range l.door.Seen() {
		if r.Method == http.MethodPost && strings.Contains(r.Body, "Action=Publish") {
			asked++
			if !strings.Contains(r.Body, "MessageDeduplicationId="+change.Token) || !strings.Contains(r.Body, "MessageGroupId=INC-1") {
				t.Errorf("published without the step's token, or its incident: %s", r.Body)
			}
		}
	}
	if asked != 2 {
		t.Errorf("published %d times, want 2", asked)
	}
	if got := arrived(t); len(got) != 1 {
		t.Errorf("got %d messages, want 1: %v", len(got), got)
	}
}
