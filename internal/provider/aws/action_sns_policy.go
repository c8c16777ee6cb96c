package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

var topicForm = shaped(`^[A-Za-z0-9_-]{1,251}(\.fifo)?$`)

func topicNaming() naming {
	return naming{what: "SNS topic", param: "topic", kind: entity.Topic, service: "sns", form: topicForm, byARN: true}
}

// openTopic makes aws.sns.remove_public_policy.
func openTopic(c *Cloud) *placed[openness] {
	all := topicNaming().all()
	return closing(c, opened{
		naming: topicNaming(),
		spec: action.Spec{
			Name: "aws.sns.remove_public_policy", Summary: "Take public access out of an SNS topic's policy", Effect: action.Contain,
			Doc: closingDoc + " A topic always has a policy: where none of its statements stays, its own account keeps the rights " +
				"that a new topic gives it. Who has subscribed stays subscribed.",
			Params: append([]action.Param{topicNaming().takes()}, scopeParams()...), Settle: time.Minute,
			Permissions: slices.Concat(
				reads(all, "sns:GetTopicAttributes", "sns:ListTagsForResource"),
				writes(all, "sns:SetTopicAttributes"), undoes(all, "sns:SetTopicAttributes"),
			),
		},
		read:  c.readTopicPolicy,
		write: c.writeTopicPolicy,
		least: c.ownTopic,
		calls: func(openness) string { return "sns:SetTopicAttributes Policy of" },
	})
}

func (c *Cloud) topic(in action.Input) (topic *string, api *sns.Client, err error) {
	name, at, err := topicNaming().find(c, in)
	if err != nil {
		return nil, nil, err
	}
	api, err = service(c, at, sns.NewFromConfig)
	return aws.String(topicNaming().arn(c, at, name)), api, err
}

// ownTopic is the policy by which a topic's own account may use it.
func (c *Cloud) ownTopic(in action.Input) (json.RawMessage, error) {
	name, at, err := topicNaming().find(c, in)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Sid": "owner", "Effect": "Allow", "Principal": map[string]any{"AWS": "arn:" + c.self.Partition + ":iam::" + at.Account + ":root"},
			"Action": []string{
				"SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission", "SNS:DeleteTopic",
				"SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
			},
			"Resource": topicNaming().arn(c, at, name),
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return canonical(string(text))
}

func (c *Cloud) readTopicPolicy(ctx context.Context, in action.Input) (openness, error) {
	topic, api, err := c.topic(in)
	if err != nil {
		return openness{}, err
	}
	got, err := api.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: topic})
	if err != nil {
		return openness{}, fmt.Errorf("read policy of topic %s: %w", aws.ToString(topic), classify(err))
	}
	state := openness{impact: []string{"the topic's " + got.Attributes["SubscriptionsConfirmed"] + " subscriptions stay"}}
	if state.Policy, err = canonical(got.Attributes["Policy"]); err != nil {
		return openness{}, err
	}
	tags, err := api.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: topic})
	if err != nil {
		return openness{}, fmt.Errorf("read tags of topic %s: %w", aws.ToString(topic), classify(err))
	}
	state.tags = tagMap(tags.Tags, func(t types.Tag) (key, value *string) { return t.Key, t.Value })
	return state, nil
}

func (c *Cloud) writeTopicPolicy(ctx context.Context, in action.Input, policy json.RawMessage) error {
	topic, api, err := c.topic(in)
	if err != nil {
		return err
	}
	_, err = api.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{
		TopicArn: topic, AttributeName: aws.String("Policy"), AttributeValue: aws.String(string(policy)),
	})
	if err != nil {
		return fmt.Errorf("set policy of topic %s: %w", aws.ToString(topic), classify(err))
	}
	return nil
}
