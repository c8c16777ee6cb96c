package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// trafficLog is whether all traffic of a VPC is logged to a destination.
type trafficLog struct {
	On   bool `json:"on"`
	Ours bool `json:"ours,omitempty"` // Riposte made the flow log

	ids    []string // of Riposte's flow logs that do
	others int      // flow logs of the VPC that don't
	vpc    types.Vpc
}

const flowLogsDoc = `Logs all traffic of the VPC, what is let through and what is refused, to an S3 bucket or a CloudWatch log group. It begins
now, within some minutes; what was before is not told. Only the records' heads are logged: addresses, ports, bytes.

destination is the ARN of a bucket, perhaps with a folder (arn:aws:s3:::logs/flow/), or of a log group; for a log group, role_arn is the
role by which AWS writes there. Name both in the playbook, never from an event. The bucket's policy must let AWS's log
delivery write.

Undo deletes the flow logs of the VPC to this destination that Riposte made. What was logged stays.`

// newEnableFlowLogs makes aws.vpc.enable_flow_logs.
func newEnableFlowLogs(c *Cloud, vpcs *census) *ec2Setting[trafficLog] {
	made := conditions{"StringEquals": {"ec2:CreateAction": {"CreateFlowLogs"}}}
	toLogs := conditions{"StringEquals": {"iam:PassedToService": {"vpc-flow-logs.amazonaws.com"}}}
	ours := conditions{"Null": {"aws:ResourceTag/" + tagStep: {"false"}}}
	delivers := conditions{"ForAnyValue:StringEquals": {"aws:CalledVia": {"ec2.amazonaws.com"}}}
	logs := ec2ARN("vpc-flow-log")
	setting := &action.Setting[trafficLog]{
		About: action.Spec{
			Name: "aws.vpc.enable_flow_logs", Effect: action.Contain,
			Summary: "Log all traffic of a VPC.", Doc: flowLogsDoc,
			Params: []action.Param{
				{Name: "vpc_id", Type: action.String, Required: true, Entity: entity.VPC, Doc: "The VPC: vpc-..."},
				{Name: "destination", Type: action.String, Required: true, Doc: "ARN of the bucket, perhaps with a folder, or of the log group."},
				{Name: "role_arn", Type: action.String, Doc: "ARN of the role by which AWS writes to the log group; for a log group alone."},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeFlowLogs", "ec2:DescribeVpcs", "ec2:DescribeNetworkInterfaces"),
				permit(action.ApplyPhase, ec2ARN("vpc"), nil, "ec2:CreateFlowLogs"),
				permit(action.ApplyPhase, logs, nil, "ec2:CreateFlowLogs"),
				permit(action.ApplyPhase, logs, made, "ec2:CreateTags"),
				permit(action.ApplyPhase, "arn:{partition}:iam::{account}:role/*", toLogs, "iam:PassRole"),
				permit(action.ApplyPhase, "*", delivers, "logs:CreateLogDelivery"),
				permit(action.UndoPhase, logs, ours, "ec2:DeleteFlowLogs"),
				permit(action.UndoPhase, "*", delivers, "logs:DeleteLogDelivery"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return c.ec2Entity(in.Place, entity.VPC, "vpc", in.Params.String("vpc_id"))
		},
		Read: c.readLogging,
		Want: func(_ action.Input, now trafficLog) (trafficLog, error) {
			if now.On {
				return now, nil
			}
			return trafficLog{On: true, Ours: true}, nil
		},
		Write: c.writeLogging,
		Calls: func(in action.Input, _, _ trafficLog) []string {
			return []string{fmt.Sprintf("ec2:CreateFlowLogs %s, all traffic, to %s", in.Params.String("vpc_id"), in.Params.String("destination"))}
		},
		Summary: func(in action.Input, _, _ trafficLog) string {
			return fmt.Sprintf("log all traffic of %s to %s", in.Params.String("vpc_id"), in.Params.String("destination"))
		},
		Facts: c.loggingFacts,
	}
	return &ec2Setting[trafficLog]{setting, c, vpcs}
}

// destination reads where flow logs go to.
func destination(in action.Input) (arn.ARN, error) {
	parsed, err := arn.Parse(in.Params.String("destination"))
	role := in.Params.String("role_arn")
	switch {
	case err != nil, parsed.Service != "s3" && (parsed.Service != "logs" || !strings.HasPrefix(parsed.Resource, "log-group:")):
		return parsed, fault.New(fault.Invalid, "destination: %q is the ARN of neither a bucket nor a log group", shorten(in.Params.String("destination")))
	case parsed.Service == "s3" && role != "":
		return parsed, fault.New(fault.Invalid, "role_arn: a bucket takes no role; the bucket's policy lets AWS write")
	case parsed.Service == "s3":
		return parsed, nil
	}
	if writer, err := arn.Parse(role); err != nil || writer.Service != "iam" || writer.AccountID != in.Account {
		return parsed, fault.New(fault.Invalid, "role_arn: %q is not the ARN of a role of account %s, by which AWS writes to the log group", shorten(role), in.Account)
	}
	return parsed, ownedBy(in, "the log group", parsed.AccountID)
}

func groupName(to arn.ARN) string {
	return strings.TrimSuffix(strings.TrimPrefix(to.Resource, "log-group:"), ":*")
}

func (c *Cloud) readLogging(ctx context.Context, in action.Input) (trafficLog, error) {
	var state trafficLog
	to, err := destination(in)
	if err != nil {
		return state, err
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return state, err
	}
	vpc := in.Params.String("vpc_id")
	if state.vpc, err = vpcOf(ctx, api, in, vpc); err != nil {
		return state, err
	}
	pages := ec2.NewDescribeFlowLogsPaginator(api, &ec2.DescribeFlowLogsInput{Filter: where("resource-id", vpc)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("describe flow logs of %s: %w", vpc, classify(err))
		}
		for _, each := range page.FlowLogs {
			if goesTo(each, to) && each.TrafficType == types.TrafficTypeAll {
				state.On = true
				if _, ours := tagsOf(each.Tags)[tagStep]; ours {
					state.Ours, state.ids = true, append(state.ids, aws.ToString(each.FlowLogId))
				}
			} else {
				state.others++
			}
		}
	}
	return state, nil
}

func goesTo(log types.FlowLog, to arn.ARN) bool {
	if to.Service == "logs" {
		return aws.ToString(log.LogGroupName) == groupName(to)
	}
	return strings.TrimSuffix(aws.ToString(log.LogDestination), "/") == strings.TrimSuffix(to.String(), "/")
}

// vpcOf reads a VPC, which must belong to the account.
func vpcOf(ctx context.Context, api *ec2.Client, in action.Input, id string) (types.Vpc, error) {
	found, err := api.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{id}})
	if err != nil {
		return types.Vpc{}, fmt.Errorf("describe VPC %s: %w", shorten(id), classify(err))
	}
	for _, each := range found.Vpcs {
		return each, ownedBy(in, "the VPC "+id, aws.ToString(each.OwnerId))
	}
	return types.Vpc{}, fault.New(fault.NotFound, "there is no VPC %s in %s, %s", shorten(id), in.Account, in.Region)
}

// writeLogging makes a flow log, or deletes those that Riposte made.
func (c *Cloud) writeLogging(ctx context.Context, in action.Input, from, to trafficLog) (trafficLog, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	if !to.On {
		return to, deleteFlowLogs(ctx, api, in, from.ids)
	}
	sink, err := destination(in)
	if err != nil {
		return to, err
	}
	ask := &ec2.CreateFlowLogsInput{
		ResourceIds: []string{in.Params.String("vpc_id")}, ResourceType: types.FlowLogsResourceTypeVpc, TrafficType: types.TrafficTypeAll,
		MaxAggregationInterval: aws.Int32(60), TagSpecifications: tagged(types.ResourceTypeVpcFlowLog, in),
	}
	if sink.Service == "logs" {
		ask.LogDestinationType, ask.LogGroupName = types.LogDestinationTypeCloudWatchLogs, aws.String(groupName(sink))
		ask.DeliverLogsPermissionArn = aws.String(in.Params.String("role_arn"))
	} else {
		ask.LogDestinationType, ask.LogDestination = types.LogDestinationTypeS3, aws.String(sink.String())
	}
	made, err := api.CreateFlowLogs(ctx, ask)
	if codeIs(err, "FlowLogAlreadyExists") { // of other traffic to the same destination
		return to, fault.WithHint(fault.New(fault.Conflict, "the VPC logs to %s already, though not all traffic", sink), "name another folder or log group")
	}
	if err != nil {
		return to, fmt.Errorf("create flow logs of %s: %w", in.Params.String("vpc_id"), classify(err))
	}
	for _, failed := range made.Unsuccessful { // the call itself succeeds then
		if failed.Error != nil {
			return to, fault.New(fault.Invalid, "flow logs of %s were refused: %s (%s)", in.Params.String("vpc_id"),
				aws.ToString(failed.Error.Message), aws.ToString(failed.Error.Code))
		}
	}
	return to, nil
}

func deleteFlowLogs(ctx context.Context, api *ec2.Client, in action.Input, ids []string) error {
	if len(ids) == 0 {
		return fault.New(fault.Conflict, "the flow log of %s to this destination is not Riposte's; it is left alone", in.Params.String("vpc_id"))
	}
	answer, err := api.DeleteFlowLogs(ctx, &ec2.DeleteFlowLogsInput{FlowLogIds: ids})
	if err != nil {
		return fmt.Errorf("delete flow logs of %s: %w", in.Params.String("vpc_id"), classify(err))
	}
	for _, failed := range answer.Unsuccessful {
		if failed.Error != nil {
			return fault.New(fault.Conflict, "flow logs of %s were not deleted: %s (%s)", in.Params.String("vpc_id"),
				aws.ToString(failed.Error.Message), aws.ToString(failed.Error.Code))
		}
	}
	return nil
}

func (c *Cloud) loggingFacts(ctx context.Context, in action.Input, now trafficLog, change *action.Change) error {
	change.Tags = tagsOf(now.vpc.Tags)
	if change.Noop {
		return nil
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return err
	}
	text := "AWS takes money for what is logged: a record a minute for each connection"
	if number, err := inUse(ctx, api, "vpc-id", in.Params.String("vpc_id")); err != nil {
		text += "; " + unread("how many network interfaces the VPC has", err)
	} else {
		text += " of " + several(number, "network interface")
	}
	change.Impact = []string{text, several(now.others, "other flow log") + " of the VPC as it was"}
	return nil
}
