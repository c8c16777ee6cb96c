package aws

import (
	"cmp"
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

// denials are the entries of network ACLs that deny an address, sorted by ACL.
type denials struct {
	ACLs []denial `json:"acls"`

	found map[string]types.NetworkAcl
}

// denial is how one network ACL denies an address: numbers of the entries that deny exactly it, sorted.
type denial struct {
	ACL string `json:"acl"`
	In  way    `json:"in"`
	Out way    `json:"out"`
}

type way struct {
	Rules []int32 `json:"rules"`
	// Late says that an entry before them allows some of it, so that they are in vain.
	Late bool `json:"late,omitempty"`

	limit   int32          // number of the first entry that allows some of it; all numbers before it are in time
	covered bool           // it is denied whole already
	taken   map[int32]bool // numbers in use
}

const denyAddressDoc = `Denies an address in the network ACLs of a subnet, or of all subnets of a VPC: one entry in, one out, each before the first
entry that allows some of the address. No entry is overwritten: the highest free number before that is taken. Network
ACLs keep no state, so that **connections that are established end too**.

It works where the address is the packet's own. Behind a load balancer, a NAT gateway or a proxy, instances see
that one's address: block in the subnets of the load balancer, or with a WAF. Within a subnet no network ACL counts.
A network ACL takes 20 entries a direction, up to 40 on request; each blocked address takes one.

Refused are 0.0.0.0/0 and ranges wider than a /16 (IPv6: /32), what is in the VPC's own ranges or in private ranges
wider than one address, link-local addresses such as those of AWS's metadata and DNS, Elastic IP addresses of the account
and addresses of Riposte itself.

Undo deletes exactly the entries that were made.`

// newDenyAddress makes aws.vpc.block_ip.
func newDenyAddress(c *Cloud) *placed[denials] {
	return &placed[denials]{cloud: c, Setting: action.Setting[denials]{
		About: action.Spec{
			Name: "aws.vpc.block_ip", Effect: action.Contain,
			Summary: "Deny an address in the network ACLs of a subnet or a VPC, both ways.", Doc: denyAddressDoc,
			Params: []action.Param{
				addressParam(),
				{Name: "subnet_id", Type: action.String, Entity: entity.Subnet, Doc: "The subnet whose network ACL denies it: subnet-... Or give vpc_id."},
				{Name: "vpc_id", Type: action.String, Entity: entity.VPC, Doc: "The VPC, all network ACLs of which deny it: vpc-... Or give subnet_id."},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "ec2:DescribeNetworkAcls", "ec2:DescribeVpcs", "ec2:DescribeAddresses", "ec2:DescribeInstances",
					"ec2:DescribeNetworkInterfaces"),
				permit(action.ApplyPhase, ec2ARN("network-acl"), nil, "ec2:CreateNetworkAclEntry"),
				permit(action.UndoPhase, ec2ARN("network-acl"), nil, "ec2:DeleteNetworkAclEntry", "ec2:CreateNetworkAclEntry"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			if subnet := in.Params.String("subnet_id"); subnet != "" {
				return c.ec2Entity(in.Place, entity.Subnet, "subnet", subnet)
			}
			return c.ec2Entity(in.Place, entity.VPC, "vpc", in.Params.String("vpc_id"))
		},
		Read:  c.readDenials,
		Want:  wantDenied,
		Write: c.writeDenials,
		Calls: func(in action.Input, from, to denials) []string {
			var calls []string
			for _, entry := range to.without(from) {
				calls = append(calls, fmt.Sprintf("ec2:CreateNetworkAclEntry %s: deny %s", entry, in.Params.String("address")))
			}
			return calls
		},
		Summary: func(in action.Input, from, to denials) string {
			return fmt.Sprintf("deny %s in %s, both ways: %s", in.Params.String("address"), several(len(from.ACLs), "network ACL"),
				several(len(to.without(from)), "new rule"))
		},
		Facts:   c.denialFacts,
		Between: denialsBetween,
	}}
}

// aclEntry is one entry by which a state denies.
type aclEntry struct {
	acl    string
	egress bool
	number int32
}

// String is an entry as people name it: acl-1 rule 99 in.
func (e aclEntry) String() string {
	direction := "in"
	if e.egress {
		direction = "out"
	}
	return fmt.Sprintf("%s rule %d %s", e.acl, e.number, direction)
}

func (s denials) entries() []aclEntry {
	var list []aclEntry
	for _, each := range s.ACLs {
		for _, number := range each.In.Rules {
			list = append(list, aclEntry{each.ACL, false, number})
		}
		for _, number := range each.Out.Rules {
			list = append(list, aclEntry{each.ACL, true, number})
		}
	}
	return list
}

func (s denials) without(other denials) []aclEntry {
	known := other.entries()
	return slices.DeleteFunc(s.entries(), func(e aclEntry) bool { return slices.Contains(known, e) })
}

// denialsBetween reports whether some of what two states differ in is done, and nothing else.
func denialsBetween(from, now, to denials) bool {
	if len(now.ACLs) != len(from.ACLs) || len(now.ACLs) != len(to.ACLs) {
		return false
	}
	is, before, after := now.entries(), from.entries(), to.entries()
	for _, e := range is {
		if !slices.Contains(before, e) && !slices.Contains(after, e) {
			return false
		}
	}
	for _, e := range before {
		if slices.Contains(after, e) && !slices.Contains(is, e) {
			return false
		}
	}
	return !slices.ContainsFunc(now.ACLs, func(d denial) bool { return d.In.Late || d.Out.Late })
}

func (c *Cloud) readDenials(ctx context.Context, in action.Input) (denials, error) {
	state := denials{ACLs: []denial{}, found: map[string]types.NetworkAcl{}}
	prefix, err := blockable(in.Params.String("address"))
	if err != nil {
		return state, err
	}
	if isPrivate(prefix) && !prefix.IsSingleIP() {
		return state, fault.New(fault.Invalid, "address: %s is a private range, of a network of your own; one private address outside of the VPC can be blocked", prefix)
	}
	filter, value := "association.subnet-id", in.Params.String("subnet_id")
	if vpc := in.Params.String("vpc_id"); vpc != "" {
		if value != "" {
			return state, fault.New(fault.Invalid, "give subnet_id or vpc_id, not both")
		}
		filter, value = "vpc-id", vpc
	}
	if value == "" {
		return state, fault.New(fault.Invalid, "give subnet_id or vpc_id: whose network ACLs deny the address")
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return state, err
	}
	pages := ec2.NewDescribeNetworkAclsPaginator(api, &ec2.DescribeNetworkAclsInput{Filters: where(filter, value)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("describe network ACLs of %s: %w", value, classify(err))
		}
		for _, acl := range page.NetworkAcls {
			if len(acl.Associations) > 0 {
				state.found[aws.ToString(acl.NetworkAclId)] = acl
				state.ACLs = append(state.ACLs, denialIn(acl, prefix))
			}
		}
	}
	if len(state.ACLs) == 0 {
		return state, fault.New(fault.NotFound, "%s has no subnet with a network ACL in %s, %s", shorten(value), in.Account, in.Region)
	}
	slices.SortFunc(state.ACLs, func(a, b denial) int { return cmp.Compare(a.ACL, b.ACL) })
	return state, nil
}

// lastRule is the number of the entry with which every network ACL ends.
const lastRule = 32767

func denialIn(acl types.NetworkAcl, prefix netip.Prefix) denial {
	fresh := func() way { return way{Rules: []int32{}, limit: lastRule, taken: map[int32]bool{}} }
	d := denial{ACL: aws.ToString(acl.NetworkAclId), In: fresh(), Out: fresh()}
	for _, entry := range acl.Entries {
		if aws.ToBool(entry.Egress) {
			d.Out.add(entry, prefix)
		} else {
			d.In.add(entry, prefix)
		}
	}
	for _, entry := range acl.Entries {
		if aws.ToBool(entry.Egress) {
			d.Out.cover(entry, prefix)
		} else {
			d.In.cover(entry, prefix)
		}
	}
	d.In.finish()
	d.Out.finish()
	return d
}

// rangeOf is the range of an entry.
func rangeOf(entry types.NetworkAclEntry) netip.Prefix {
	prefix, err := netip.ParsePrefix(cmp.Or(aws.ToString(entry.CidrBlock), aws.ToString(entry.Ipv6CidrBlock)))
	if err != nil {
		return netip.Prefix{}
	}
	return prefix.Masked()
}

func (w *way) add(entry types.NetworkAclEntry, prefix netip.Prefix) {
	number := aws.ToInt32(entry.RuleNumber)
	w.taken[number] = true
	within := rangeOf(entry)
	switch {
	case entry.RuleAction == types.RuleActionAllow && within.Overlaps(prefix):
		w.limit = min(w.limit, number)
	case denies(entry) && within == prefix:
		w.Rules = append(w.Rules, number)
	}
}

func denies(entry types.NetworkAclEntry) bool {
	return entry.RuleAction == types.RuleActionDeny && aws.ToString(entry.Protocol) == allProtocols
}

// cover notes an entry that denies all of the range before anything allows some of it.
func (w *way) cover(entry types.NetworkAclEntry, prefix netip.Prefix) {
	within := rangeOf(entry)
	if denies(entry) && within.Bits() <= prefix.Bits() && within.Overlaps(prefix) && aws.ToInt32(entry.RuleNumber) <= w.limit {
		w.covered = true
	}
}

func (w *way) finish() {
	slices.Sort(w.Rules)
	w.covered = w.covered || w.limit == lastRule // nothing allows it
	w.Late = len(w.Rules) > 0 && !w.covered
}

// free is the highest number that is free and in time, 0 if none is. Of a state that is written in a test or a journal
// no entries are known.
func (w *way) free() int32 {
	limit := w.limit
	if limit == 0 {
		limit = lastRule
	}
	for number := limit - 1; number > 0; number-- {
		if !w.taken[number] {
			return number
		}
	}
	return 0
}

func wantDenied(_ action.Input, now denials) (denials, error) {
	wanted := denials{ACLs: slices.Clone(now.ACLs)}
	for i := range wanted.ACLs {
		d := &wanted.ACLs[i]
		for _, w := range []*way{&d.In, &d.Out} {
			if w.covered {
				continue
			}
			number := w.free()
			if number == 0 {
				return wanted, fault.WithHint(
					fault.New(fault.Conflict, "no number is free before rule %d of the network ACL %s, which allows the address", w.limit, d.ACL),
					"number its rules from 100 on, so that there is room before them")
			}
			w.Rules, w.Late = append(slices.Clone(w.Rules), number), false
			slices.Sort(w.Rules)
		}
	}
	return wanted, nil
}

// writeDenials makes entries, then deletes those that are not wanted. A number that somebody has taken since is
// not overwritten.
func (c *Cloud) writeDenials(ctx context.Context, in action.Input, from, to denials) (denials, error) {
	api, err := c.ec2(in.Place)
	if err != nil {
		return to, err
	}
	prefix, err := blockable(in.Params.String("address"))
	if err != nil {
		return to, err
	}
	for _, entry := range to.without(from) {
		ask := &ec2.CreateNetworkAclEntryInput{
			NetworkAclId: aws.String(entry.acl), Egress: aws.Bool(entry.egress), RuleNumber: aws.Int32(entry.number),
			Protocol: aws.String(allProtocols), RuleAction: types.RuleActionDeny,
		}
		if prefix.Addr().Is4() {
			ask.CidrBlock = aws.String(prefix.String())
		} else {
			ask.Ipv6CidrBlock = aws.String(prefix.String())
		}
		_, err := api.CreateNetworkAclEntry(ctx, ask)
		switch {
		case codeIs(err, "NetworkAclEntryAlreadyExists"):
			return to, &action.Moved{Action: "aws.vpc.block_ip", Target: entry.acl, Differences: []action.Difference{
				{Path: entry.String(), Was: "free", Is: "taken by somebody else"},
			}}
		case codeIs(err, "NetworkAclEntryLimitExceeded"):
			return to, fault.WithHint(fault.New(fault.Conflict, "the network ACL %s takes no more entries: %w", entry.acl, err),
				"delete entries that are no longer needed, undo older blocks, or block with a WAF or Network Firewall")
		case err != nil:
			return to, fmt.Errorf("create %s: %w", entry, classify(err))
		}
	}
	for _, entry := range from.without(to) {
		_, err := api.DeleteNetworkAclEntry(ctx, &ec2.DeleteNetworkAclEntryInput{
			NetworkAclId: aws.String(entry.acl), Egress: aws.Bool(entry.egress), RuleNumber: aws.Int32(entry.number),
		})
		if err != nil && !codeIs(err, "InvalidNetworkAclEntry.NotFound") {
			return to, fmt.Errorf("delete %s: %w", entry, classify(err))
		}
	}
	return to, nil
}

func (c *Cloud) denialFacts(ctx context.Context, in action.Input, now denials, change *action.Change) error {
	prefix, err := blockable(in.Params.String("address"))
	if err != nil {
		return err
	}
	api, err := c.ec2(in.Place)
	if err != nil {
		return err
	}
	for _, each := range now.ACLs {
		acl := now.found[each.ACL]
		if err := ownedBy(in, "the network ACL "+each.ACL, aws.ToString(acl.OwnerId)); err != nil {
			return err
		}
		if err := outsideOf(ctx, api, aws.ToString(acl.VpcId), prefix); err != nil {
			return err
		}
		change.Touches = append(change.Touches, c.ec2Entity(in.Place, entity.Resource, "network-acl", each.ACL))
	}
	if err := c.notOurs(ctx, in.Place, prefix); err != nil {
		return err
	}
	if change.Noop {
		return nil
	}
	for _, each := range now.ACLs {
		change.Impact = append(change.Impact, aclImpact(ctx, api, now.found[each.ACL]))
	}
	change.Impact = append(change.Impact, "connections with the address that are established end too")
	return nil
}

// outsideOf refuses what overlaps with the VPC's own ranges: denied, the VPC would be cut off from itself.
func outsideOf(ctx context.Context, api *ec2.Client, vpc string, prefix netip.Prefix) error {
	found, err := api.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{vpc}})
	if err != nil {
		return fmt.Errorf("describe VPC %s: %w", vpc, classify(err))
	}
	for _, each := range found.Vpcs {
		own := []string{aws.ToString(each.CidrBlock)}
		for _, block := range each.CidrBlockAssociationSet {
			own = append(own, aws.ToString(block.CidrBlock))
		}
		for _, block := range each.Ipv6CidrBlockAssociationSet {
			own = append(own, aws.ToString(block.Ipv6CidrBlock))
		}
		for _, text := range own {
			if block, err := netip.ParsePrefix(text); err == nil && block.Overlaps(prefix) {
				return fault.WithHint(
					fault.New(fault.Invalid, "address: %s is in %s, a range of the VPC %s itself; denied, its subnets couldn't reach each other", prefix, block, vpc),
					"isolate the instance or the network interface that has the address")
			}
		}
	}
	return nil
}

// mostEntries is how many entries a network ACL takes in one direction, unless AWS raised it for the account.
const mostEntries = 20

func aclImpact(ctx context.Context, api *ec2.Client, acl types.NetworkAcl) string {
	var subnets []string
	for _, each := range acl.Associations {
		subnets = append(subnets, aws.ToString(each.SubnetId))
	}
	text := fmt.Sprintf("the network ACL %s is that of %s", aws.ToString(acl.NetworkAclId), several(len(subnets), "subnet"))
	if number, err := inUse(ctx, api, "subnet-id", subnets...); err != nil {
		text += ", " + unread("how many network interfaces are in them", err)
	} else {
		text += ", with " + several(number, "network interface")
	}
	entries := 0
	for _, entry := range acl.Entries {
		if !aws.ToBool(entry.Egress) && aws.ToInt32(entry.RuleNumber) < lastRule {
			entries++
		}
	}
	return fmt.Sprintf("%s; it has %d of %d entries for what comes in", text, entries, mostEntries)
}
