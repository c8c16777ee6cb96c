package aws

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// association is what an Elastic IP address leads to.
type association struct {
	Interface string `json:"interface"` // "" is nothing
	Private   string `json:"private"`   // address of the interface

	id         string // of the association; it changes each time
	allocation string
	instance   string
	tags       map[string]string
}

const disassociateDoc = `Takes an Elastic IP address away from the network interface that it leads to: nobody reaches that from the
Internet by it any more, and what goes out by it no longer does. The address stays with the account.

An address that EC2 assigned by itself is no Elastic IP address and can't be taken away; isolate or stop the instance. An
address that AWS manages, such as that of a NAT gateway, is refused. Connections by the address end.

Undo associates the address with the same interface and private address, if neither has been given away since.`

// newDisassociateAddress makes aws.ec2.disassociate_address.
func newDisassociateAddress(c *Cloud, addresses *census) *ec2Setting[association] {
	setting := &action.Setting[association]{
		About: action.Spec{
			Name: "aws.ec2.disassociate_address", Effect: action.Contain,
			Summary: "Take an Elastic IP address away from what it leads to.", Doc: disassociateDoc,
			Params: []action.Param{{
				Name: "public_ip", Type: action.String, Required: true, Entity: entity.IP, Doc: "The Elastic IP address of this account.",
			}},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeAddresses", "ec2:DescribeNetworkInterfaces"),
				permit(action.ApplyPhase, ec2ARN("elastic-ip"), nil, "ec2:DisassociateAddress"),
				permit(action.ApplyPhase, ec2ARN("network-interface"), nil, "ec2:DisassociateAddress"),
				permit(action.ApplyPhase, ec2ARN("instance"), nil, "ec2:DisassociateAddress"),
				permit(action.UndoPhase, ec2ARN("elastic-ip"), nil, "ec2:AssociateAddress", "ec2:DisassociateAddress"),
				permit(action.UndoPhase, ec2ARN("network-interface"), nil, "ec2:AssociateAddress", "ec2:DisassociateAddress"),
				permit(action.UndoPhase, ec2ARN("instance"), nil, "ec2:AssociateAddress", "ec2:DisassociateAddress"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return entity.Entity{Kind: entity.IP, ID: in.Params.String("public_ip"), Provider: "aws", Account: in.Account, Region: in.Region}
		},
		Read:  c.readAssociation,
		Want:  func(action.Input, association) (association, error) { return association{}, nil },
		Write: c.writeAssociation,
		Calls: func(in action.Input, from, _ association) []string {
			return []string{fmt.Sprintf("ec2:DisassociateAddress %s from %s", in.Params.String("public_ip"), from.Interface)}
		},
		Summary: func(in action.Input, from, _ association) string {
			if from.Interface == "" {
				return in.Params.String("public_ip") + " leads to nothing"
			}
			return fmt.Sprintf("take %s away from the network interface %s", in.Params.String("public_ip"), from.Interface)
		},
		Facts: c.associationFacts,
		Between: func(from, now, to association) bool { // a forced undo takes it away from somebody else's first
			return now.Interface == "" && from.Interface != "" && to.Interface != ""
		},
	}
	return &ec2Setting[association]{setting, c, addresses}
}

func (c *Cloud) readAssociation(ctx context.Context, in action.Input) (association, error) {
	var now association
	public := in.Params.String("public_ip")
	if parsed, err := netip.ParseAddr(public); err != nil || !parsed.Is4() {
		return now, fault.New(fault.Invalid, "public_ip: %q is not an IPv4 address", shorten(public))
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return now, err
	}
	found, err := api.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: where("public-ip", public)})
	if err != nil {
		return now, fmt.Errorf("describe address %s: %w", public, classify(err))
	}
	for _, each := range found.Addresses {
		if aws.ToString(each.PublicIp) != public {
			continue
		}
		if each.ServiceManaged != "" {
			return now, fault.New(fault.Denied, "%s is managed by AWS's service %s, which alone can take it away", public, each.ServiceManaged)
		}
		return association{
			Interface: aws.ToString(each.NetworkInterfaceId), Private: aws.ToString(each.PrivateIpAddress), id: aws.ToString(each.AssociationId),
			allocation: aws.ToString(each.AllocationId), instance: aws.ToString(each.InstanceId), tags: tagsOf(each.Tags),
		}, nil
	}
	return now, fault.WithHint(fault.New(fault.NotFound, "%s is no Elastic IP address of account %s in %s", public, in.Account, in.Region),
		"an address that EC2 assigned by itself goes only with its instance: stop or isolate that")
}

func (c *Cloud) writeAssociation(ctx context.Context, in action.Input, from, to association) (association, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	if from.id != "" {
		_, err := api.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: aws.String(from.id)})
		if err != nil && !codeIs(err, "InvalidAssociationID.NotFound") {
			return to, fmt.Errorf("disassociate %s: %w", in.Params.String("public_ip"), classify(err))
		}
	}
	if to.Interface == "" {
		return to, nil
	}
	_, err = api.AssociateAddress(ctx, &ec2.AssociateAddressInput{
		AllocationId: aws.String(from.allocation), NetworkInterfaceId: aws.String(to.Interface), PrivateIpAddress: aws.String(to.Private),
		AllowReassociation: aws.Bool(false),
	})
	if err != nil {
		return to, fmt.Errorf("associate %s with %s: %w", in.Params.String("public_ip"), to.Interface, classify(err))
	}
	return to, nil
}

func (c *Cloud) associationFacts(ctx context.Context, in action.Input, now association, change *action.Change) error {
	change.Tags = now.tags
	if change.Noop {
		return nil
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return err
	}
	found, err := api.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{now.Interface}})
	if err != nil {
		return fmt.Errorf("describe network interface %s: %w", now.Interface, classify(err))
	}
	for _, port := range found.NetworkInterfaces {
		if aws.ToBool(port.RequesterManaged) || port.InterfaceType == types.NetworkInterfaceTypeNatGateway {
			return fault.New(fault.Denied, "%s leads to the network interface %s, which an AWS service (%s) manages",
				in.Params.String("public_ip"), now.Interface, port.InterfaceType)
		}
		change.Impact = append(change.Impact, fmt.Sprintf("it leads to %s (%s); who reaches that by the address, or by a name that stands for it, can't any more",
			now.Interface, shorten(aws.ToString(port.Description))))
	}
	change.Touches = []entity.Entity{c.ec2Entity(in.Place, entity.NetworkInterface, "network-interface", now.Interface)}
	if now.instance != "" {
		change.Touches = append(change.Touches, c.ec2Entity(in.Place, entity.Instance, "instance", now.instance))
		change.Impact = append(change.Impact, "the instance "+now.instance+" gets no other public address until it is stopped and started")
	}
	return nil
}

func (c *Cloud) countAddresses(ctx context.Context, at action.Place) (int, error) {
	api, err := c.ec2(at)
	if err != nil {
		return 0, err
	}
	found, err := api.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
	if err != nil {
		return 0, fmt.Errorf("count addresses: %w", classify(err))
	}
	return len(found.Addresses), nil
}
