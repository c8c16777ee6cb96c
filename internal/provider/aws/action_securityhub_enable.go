package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// hubState is whether Security Hub is on in a region.
type hubState struct {
	On bool `json:"on"`

	tags map[string]string
	arn  string
}

// enableHub makes aws.securityhub.enable_hub.
func enableHub(c *Cloud) *placed[hubState] {
	return setting(c, action.Setting[hubState]{
		About:  enableHubSpec(),
		Target: c.accountTarget,
		Read:   c.readHub,
		Want:   func(action.Input, hubState) (hubState, error) { return hubState{On: true}, nil },
		Write:  c.writeHub,
		Calls: func(in action.Input, _, _ hubState) []string {
			return []string{fmt.Sprintf("securityhub:EnableSecurityHub in %s, default standards: %t",
				c.here(in.Place).Region, in.Params.Bool("default_standards"))}
		},
		Summary: func(in action.Input, from, _ hubState) string {
			return fmt.Sprintf("Security Hub is on in account %s, %s%s", c.here(in.Place).Account, c.here(in.Place).Region,
				flip(from.On, " already", ""))
		},
		Facts: func(_ context.Context, in action.Input, now hubState, change *action.Change) error {
			change.Tags = now.tags
			change.Impact = []string{"Security Hub costs money for its checks and findings", "findings of the time while it was off are not made up for"}
			if in.Params.Bool("default_standards") {
				change.Impact = append(change.Impact, "standards that were off are on with it, and need AWS Config's recorder")
			}
			return nil
		},
	})
}

func enableHubSpec() action.Spec {
	const hub = "arn:{partition}:securityhub:{region}:{account}:hub/default"
	linked := conditions{"StringEquals": {"iam:AWSServiceName": {"securityhub.amazonaws.com"}}}
	ours := conditions{"Null": {"aws:ResourceTag/" + tagRun: {"false"}}}
	return action.Spec{
		Name:    "aws.securityhub.enable_hub",
		Summary: "Turn Security Hub on in a region",
		Doc: "Enables Security Hub in the step's account and region, with its default standards only if the step says so. Integrations, " +
			"custom standards and rules of the time before are not set up again. A member account may have to be enabled by " +
			"the organization's administrator.\n\n" +
			"Undo disables Security Hub where this step enabled it, and deletes what it has found since. What was on before, or was " +
			"enabled by somebody else, stays on.",
		Effect: action.Contain,
		Params: []action.Param{
			{Name: "default_standards", Type: action.Bool, Default: false, Doc: "whether to enable the default standards with it"},
		},
		Permissions: slices.Concat(
			reads(hub, "securityhub:DescribeHub", "securityhub:ListTagsForResource"),
			writes(hub, "securityhub:EnableSecurityHub", "securityhub:TagResource"),
			permit(action.ApplyPhase, "arn:{partition}:iam::{account}:role/aws-service-role/securityhub.amazonaws.com/*", linked,
				"iam:CreateServiceLinkedRole"),
			permit(action.UndoPhase, hub, ours, "securityhub:DisableSecurityHub"),
		),
	}
}

func (c *Cloud) readHub(ctx context.Context, in action.Input) (hubState, error) {
	api, err := service(c, in.Place, securityhub.NewFromConfig)
	if err != nil {
		return hubState{}, err
	}
	got, err := api.DescribeHub(ctx, &securityhub.DescribeHubInput{})
	if coded(err, "InvalidAccessException") || coded(err, "ResourceNotFoundException") { // Security Hub is not on
		return hubState{}, nil
	}
	if err != nil {
		return hubState{}, fmt.Errorf("read Security Hub: %w", classify(err))
	}
	state := hubState{On: true, arn: aws.ToString(got.HubArn)}
	tags, err := api.ListTagsForResource(ctx, &securityhub.ListTagsForResourceInput{ResourceArn: got.HubArn})
	if err != nil {
		return hubState{}, fmt.Errorf("read tags of Security Hub: %w", classify(err))
	}
	state.tags = tags.Tags
	return state, nil
}

func (c *Cloud) writeHub(ctx context.Context, in action.Input, _, to hubState) (hubState, error) {
	now, err := c.readHub(ctx, in)
	if err != nil {
		return hubState{}, err
	}
	api, err := service(c, in.Place, securityhub.NewFromConfig)
	if err != nil {
		return hubState{}, err
	}
	switch {
	case to.On:
		_, err = api.EnableSecurityHub(ctx, &securityhub.EnableSecurityHubInput{
			EnableDefaultStandards: aws.Bool(in.Params.Bool("default_standards")), Tags: marks(in),
		})
	case now.On && now.tags[tagRun] != in.Run:
		return hubState{}, fault.WithHint(fault.New(fault.Conflict, "Security Hub was not enabled by this run"), "disable it by hand if it should go")
	case now.On:
		_, err = api.DisableSecurityHub(ctx, &securityhub.DisableSecurityHubInput{})
	}
	if err != nil {
		return hubState{}, fmt.Errorf("set Security Hub on to %t: %w", to.On, classify(err))
	}
	return to, nil
}
