package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// metadata is how an instance's metadata service answers.
type metadata struct {
	Tokens types.HttpTokensState `json:"tokens"`
	Hops   int32                 `json:"hops"`

	others types.InstanceMetadataOptionsResponse
}

const imdsDoc = `Makes the instance's metadata service answer only to those who show a session token (IMDSv2), so that a
web application that can be made to fetch an address doesn't hand out the credentials of the instance's role.

hop_limit bounds how many network hops the token's answer may take: 1 keeps it from containers in networks of their
own and from forwarding proxies. It stays as it is if it is absent. Whether the service answers at all, and
whether it tells the instance's tags, stays as it is.

Credentials that were handed out before stay valid until they expire: revoke the role's sessions too. Software that
is too old for IMDSv2 can't get credentials any more.

Undo sets both as they were.`

// newRequireIMDSv2 makes aws.ec2.require_imdsv2.
func newRequireIMDSv2(c *Cloud, instances *census) *ec2Setting[metadata] {
	setting := &action.Setting[metadata]{
		About: action.Spec{
			Name: "aws.ec2.require_imdsv2", Effect: action.Contain,
			Summary: "Let an instance's metadata service answer to session tokens alone (IMDSv2).", Doc: imdsDoc,
			Params: []action.Param{
				instanceParam(),
				{Name: "hop_limit", Type: action.Int, Doc: "How many network hops a token may travel, 1 to 64; unchanged if absent."},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeInstances"),
				permit(action.ApplyPhase, ec2ARN("instance"), nil, "ec2:ModifyInstanceMetadataOptions"),
				permit(action.UndoPhase, ec2ARN("instance"), nil, "ec2:ModifyInstanceMetadataOptions"),
			),
		},
		Target: c.instanceTarget,
		Read: func(ctx context.Context, in action.Input) (metadata, error) {
			found, err := c.instance(ctx, in)
			if err != nil || found.MetadataOptions == nil {
				return metadata{Tokens: types.HttpTokensStateOptional, Hops: 1}, err
			}
			options := *found.MetadataOptions
			return metadata{options.HttpTokens, aws.ToInt32(options.HttpPutResponseHopLimit), options}, nil
		},
		Want:  wantTokens,
		Write: c.writeMetadata,
		Calls: func(in action.Input, _, to metadata) []string {
			return []string{fmt.Sprintf("ec2:ModifyInstanceMetadataOptions %s HttpTokens=%s HttpPutResponseHopLimit=%d",
				in.Params.String("instance_id"), to.Tokens, to.Hops)}
		},
		Summary: func(in action.Input, from, to metadata) string {
			return fmt.Sprintf("require IMDSv2 of instance %s (tokens %s, hop limit %d before; %d then)",
				in.Params.String("instance_id"), from.Tokens, from.Hops, to.Hops)
		},
		Facts: func(ctx context.Context, in action.Input, now metadata, change *action.Change) error {
			found, err := c.instance(ctx, in)
			if err != nil {
				return err
			}
			change.Tags = tagsOf(found.Tags)
			change.Impact = metadataImpact(in, now, found)
			return nil
		},
	}
	return &ec2Setting[metadata]{setting, c, instances}
}

func wantTokens(in action.Input, now metadata) (metadata, error) {
	const most = 64
	wanted := metadata{Tokens: types.HttpTokensStateRequired, Hops: now.Hops}
	if _, given := in.Params["hop_limit"]; given {
		hops := in.Params.Int("hop_limit")
		if hops < 1 || hops > most {
			return wanted, fault.New(fault.Invalid, "hop_limit: %d is not within 1 to %d", hops, most)
		}
		wanted.Hops = int32(hops)
	}
	return wanted, nil
}

func metadataImpact(in action.Input, now metadata, found types.Instance) []string {
	var impact []string
	if now.Tokens != types.HttpTokensStateRequired {
		role := "it has no role, so that no credentials are at stake"
		if found.IamInstanceProfile != nil {
			role = "it gets the credentials of " + aws.ToString(found.IamInstanceProfile.Arn) + " from there"
		}
		impact = append(impact, "software on the instance that knows only IMDSv1 can't read metadata any more; "+role)
	}
	if hops := in.Params.Int("hop_limit"); hops != 0 && int32(hops) < now.Hops { //nolint:gosec // it is within 1 to 64
		impact = append(impact, fmt.Sprintf("with a hop limit of %d, %d before, containers that aren't in the host's network can't reach it",
			hops, now.Hops))
	}
	if now.others.HttpEndpoint == types.InstanceMetadataEndpointStateDisabled {
		impact = append(impact, "the metadata service is switched off and stays so")
	}
	return impact
}

func (c *Cloud) writeMetadata(ctx context.Context, in action.Input, from, to metadata) (metadata, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	_, err = api.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{
		InstanceId: aws.String(in.Params.String("instance_id")), HttpTokens: to.Tokens, HttpPutResponseHopLimit: aws.Int32(to.Hops),
		HttpEndpoint: from.others.HttpEndpoint, HttpProtocolIpv6: from.others.HttpProtocolIpv6, InstanceMetadataTags: from.others.InstanceMetadataTags,
	})
	if err != nil {
		return to, fmt.Errorf("modify metadata options of %s: %w", in.Params.String("instance_id"), classify(err))
	}
	return to, nil
}
