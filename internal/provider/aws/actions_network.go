package aws

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	balancing "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/networkfirewall"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// networkActions gives the actions on compute and network beyond those of ec2Actions.
func networkActions(c *Cloud) []action.Action {
	instances, groups := newCensus(c.countInstances), newCensus(c.countScalingGroups)
	return []action.Action{
		newPreserveInstance(c, instances),
		newRequireIMDSv2(c, instances),
		newDetachFromScaling(c, instances),
		newDeregisterTargets(c, instances),
		newCollectVolatileData(c, instances),
		newTerminateInstance(c, instances),
		newDisassociateAddress(c, newCensus(c.countAddresses)),
		newTagResource(c),
		newUnshareImage(c, newCensus(c.countImages)),
		newUnshareSnapshot(c, newCensus(c.countSnapshots)),
		newBlockPublicSnapshots(c),
		newEncryptByDefault(c),
		newSuspendProcesses(c, groups),
		newDenyAddress(c),
		newLockDefaultGroup(c, newCensus(c.countVPCs)),
		newEnableFlowLogs(c, newCensus(c.countVPCs)),
		newWAFBlockAddress(c),
		newFirewallBlockAddress(c),
		newBlockDomain(c),
	}
}

func (c *Cloud) scaling(at action.Place) (*autoscaling.Client, error) {
	return client(c, at, func(reach aws.Config) *autoscaling.Client { return autoscaling.NewFromConfig(reach) })
}

func (c *Cloud) classicBalancing(at action.Place) (*classic.Client, error) {
	return client(c, at, func(reach aws.Config) *classic.Client { return classic.NewFromConfig(reach) })
}

func (c *Cloud) balancing(at action.Place) (*balancing.Client, error) {
	return client(c, at, func(reach aws.Config) *balancing.Client { return balancing.NewFromConfig(reach) })
}

func (c *Cloud) commands(at action.Place) (*ssm.Client, error) {
	return client(c, at, func(reach aws.Config) *ssm.Client { return ssm.NewFromConfig(reach) })
}

func (c *Cloud) webFirewall(at action.Place) (*wafv2.Client, error) {
	return client(c, at, func(reach aws.Config) *wafv2.Client { return wafv2.NewFromConfig(reach) })
}

func (c *Cloud) resolver(at action.Place) (*route53resolver.Client, error) {
	return client(c, at, func(reach aws.Config) *route53resolver.Client { return route53resolver.NewFromConfig(reach) })
}

func (c *Cloud) networkFirewall(at action.Place) (*networkfirewall.Client, error) {
	return client(c, at, func(reach aws.Config) *networkfirewall.Client { return networkfirewall.NewFromConfig(reach) })
}

// named is the resource that a parameter names by its ARN. It must be of a service and of the place's account.
func named(in action.Input, param, service string) (arn.ARN, error) {
	text := in.Params.String(param)
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != service || parsed.Region == "" || parsed.Resource == "" {
		return arn.ARN{}, fault.New(fault.Invalid, "%s: %q is not an ARN of %s", param, shorten(text), service)
	}
	if err := checkRegion(parsed.Region); err != nil {
		return arn.ARN{}, err
	}
	return parsed, ownedBy(in, param, parsed.AccountID)
}

// ownedBy refuses what belongs to another account than that in which an action acts. What AWS doesn't say the
// owner of passes: the call itself is then bound to the account.
func ownedBy(in action.Input, what, owner string) error {
	if owner == "" || owner == in.Account {
		return nil
	}
	return fault.WithHint(fault.New(fault.Denied, "%s belongs to account %s, not to %s", what, owner, in.Account),
		"let the run act in the account that owns it")
}

// resourceTarget is a thing that is named by its ARN, at a place.
func resourceTarget(in action.Input, name string) entity.Entity {
	return entity.Entity{Kind: entity.Resource, ID: name, Provider: "aws", Account: in.Account, Region: in.Region, ARN: name}
}

// several says how many there are, in words: 1 subnet, 3 subnets.
func several(number int, one string) string {
	if number == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", number, one)
}

// inUse counts network interfaces.
func inUse(ctx context.Context, api *ec2.Client, filter string, values ...string) (int, error) {
	number := 0
	pages := ec2.NewDescribeNetworkInterfacesPaginator(api,
		&ec2.DescribeNetworkInterfacesInput{Filters: where(filter, values...)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("count network interfaces: %w", classify(err))
		}
		number += len(page.NetworkInterfaces)
	}
	return number, nil
}

func (c *Cloud) countVPCs(ctx context.Context, at action.Place) (int, error) {
	api, err := c.ec2(at)
	if err != nil {
		return 0, err
	}
	number := 0
	pages := ec2.NewDescribeVpcsPaginator(api, &ec2.DescribeVpcsInput{MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("count VPCs: %w", classify(err))
		}
		number += len(page.Vpcs)
	}
	return number, nil
}
