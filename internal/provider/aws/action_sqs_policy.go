package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

var queueForm = shaped(`^[A-Za-z0-9_-]{1,75}(\.fifo)?$`)

func queueNaming() naming {
	return naming{what: "SQS queue", param: "queue", kind: entity.Queue, service: "sqs", form: queueForm, byARN: true}
}

// openQueue makes aws.sqs.remove_public_policy.
func openQueue(c *Cloud) *placed[openness] {
	all := queueNaming().all()
	return closing(c, opened{
		naming: queueNaming(),
		spec: action.Spec{
			Name: "aws.sqs.remove_public_policy", Summary: "Take public access out of an SQS queue's policy", Effect: action.Contain,
			Doc: closingDoc, Params: append([]action.Param{queueNaming().takes()}, scopeParams()...),
			Settle: time.Minute + 15*time.Second, // SQS takes up to a minute
			Permissions: slices.Concat(
				reads(all, "sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ListQueueTags"),
				writes(all, "sqs:SetQueueAttributes"), undoes(all, "sqs:SetQueueAttributes"),
			),
		},
		read:  c.readQueuePolicy,
		write: c.writeQueuePolicy,
		calls: func(openness) string { return "sqs:SetQueueAttributes Policy of" },
	})
}

// queue finds a queue of the step's account, with a client of its region.
func (c *Cloud) queue(ctx context.Context, in action.Input) (address *string, api *sqs.Client, err error) {
	name, at, err := queueNaming().find(c, in)
	if err != nil {
		return nil, nil, err
	}
	if api, err = service(c, at, sqs.NewFromConfig); err != nil {
		return nil, nil, err
	}
	got, err := api.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(name), QueueOwnerAWSAccountId: aws.String(at.Account)})
	if err != nil {
		return nil, nil, fmt.Errorf("find queue %s: %w", name, classify(err))
	}
	place, err := parseQueueURL(aws.ToString(got.QueueUrl), c.self)
	if err != nil || place.account != at.Account {
		return nil, nil, foreign("SQS queue", name, at.Account)
	}
	return got.QueueUrl, api, nil
}

func (c *Cloud) readQueuePolicy(ctx context.Context, in action.Input) (openness, error) {
	address, api, err := c.queue(ctx, in)
	if err != nil {
		return openness{}, err
	}
	const waiting = types.QueueAttributeNameApproximateNumberOfMessages
	got, err := api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: address, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNamePolicy, waiting},
	})
	if err != nil {
		return openness{}, fmt.Errorf("read policy of queue %s: %w", aws.ToString(address), classify(err))
	}
	state := openness{impact: []string{"about " + got.Attributes[string(waiting)] + " messages are in the queue; what was sent or read stays so"}}
	if state.Policy, err = canonical(got.Attributes[string(types.QueueAttributeNamePolicy)]); err != nil {
		return openness{}, err
	}
	tags, err := api.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: address})
	if err != nil {
		return openness{}, fmt.Errorf("read tags of queue %s: %w", aws.ToString(address), classify(err))
	}
	state.tags = tags.Tags
	return state, nil
}

func (c *Cloud) writeQueuePolicy(ctx context.Context, in action.Input, policy json.RawMessage) error {
	address, api, err := c.queue(ctx, in)
	if err != nil {
		return err
	}
	_, err = api.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: address, Attributes: map[string]string{string(types.QueueAttributeNamePolicy): string(policy)},
	})
	if err != nil {
		return fmt.Errorf("set policy of queue %s: %w", aws.ToString(address), classify(err))
	}
	return nil
}
