package aws

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// openings are inbound rules of a security group, sorted.
type openings struct {
	Rules []opening `json:"rules"`
}

// opening is an inbound rule for an address range, without its id: put back, it gets another.
type opening struct {
	Protocol    string            `json:"protocol"` // as EC2 names it; -1 is all
	From        int32             `json:"from"`     // port, or type of ICMP
	To          int32             `json:"to"`       // port, or code of ICMP
	CIDR        string            `json:"cidr"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`

	id string
}

// allProtocols is how EC2 names all protocols.
const allProtocols = "-1"

func openingOf(rule types.SecurityGroupRule) opening {
	found := opening{
		Protocol: aws.ToString(rule.IpProtocol), From: aws.ToInt32(rule.FromPort), To: aws.ToInt32(rule.ToPort),
		CIDR:        cmp.Or(aws.ToString(rule.CidrIpv4), aws.ToString(rule.CidrIpv6)),
		Description: aws.ToString(rule.Description), id: aws.ToString(rule.SecurityGroupRuleId),
	}
	if len(rule.Tags) > 0 {
		found.Tags = tagsOf(rule.Tags)
	}
	return found
}

// String is a rule as people write it: tcp 22 from 0.0.0.0/0.
func (o opening) String() string {
	switch {
	case o.Protocol == allProtocols:
		return "everything from " + o.CIDR
	case o.From == o.To:
		return fmt.Sprintf("%s %d from %s", o.Protocol, o.From, o.CIDR)
	}
	return fmt.Sprintf("%s %d-%d from %s", o.Protocol, o.From, o.To, o.CIDR)
}

// key identifies a rule by all that is put back.
func (o opening) key() string {
	text, err := json.Marshal(o)
	if err != nil {
		return o.String() // texts and numbers are always encoded
	}
	return string(text)
}

func (o opening) permission() types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String(o.Protocol)}
	if o.Protocol != allProtocols {
		p.FromPort, p.ToPort = aws.Int32(o.From), aws.Int32(o.To)
	}
	var description *string
	if o.Description != "" {
		description = aws.String(o.Description)
	}
	if strings.Contains(o.CIDR, ":") {
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(o.CIDR), Description: description}}
	} else {
		p.IpRanges = []types.IpRange{{CidrIp: aws.String(o.CIDR), Description: description}}
	}
	return p
}

func (o opening) tags() []types.Tag {
	var tags []types.Tag
	for _, key := range slices.Sorted(maps.Keys(o.Tags)) {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(o.Tags[key])})
	}
	return tags
}

func (o openings) sort() {
	slices.SortFunc(o.Rules, func(a, b opening) int { return cmp.Compare(a.key(), b.key()) })
}

// without gives the rules that are not among others.
func (o openings) without(others openings) []opening {
	known := map[string]bool{}
	for _, rule := range others.Rules {
		known[rule.key()] = true
	}
	var rest []opening
	for _, rule := range o.Rules {
		if !known[rule.key()] {
			rest = append(rest, rule)
		}
	}
	return rest
}

// search says which rules are looked for.
type search struct {
	ranges   map[netip.Prefix]bool
	ports    [][2]int32 // from, to; none is all
	protocol string     // "" is all
}

// mostSought bounds the lists of a search: what is longer is a mistake.
const mostSought = 100

// sought reads what is looked for from parameters.
func sought(params action.Params) (search, error) {
	s := search{ranges: map[netip.Prefix]bool{}, protocol: params.String("protocol")}
	cidrs, ports := params.Strings("cidrs"), params.Strings("ports")
	if len(cidrs) == 0 || len(cidrs) > mostSought || len(ports) > mostSought {
		return s, fault.New(fault.Invalid, "cidrs takes 1 to %d address ranges and ports at most as many ports", mostSought)
	}
	for _, text := range cidrs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return s, fault.New(fault.Invalid, "cidrs: %q is not an address range such as 0.0.0.0/0", text)
		}
		s.ranges[prefix.Masked()] = true
	}
	for _, text := range ports {
		low, high, isRange := strings.Cut(text, "-")
		if !isRange {
			high = low
		}
		from, errFrom := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		to, errTo := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if errFrom != nil || errTo != nil || to < from {
			return s, fault.New(fault.Invalid, `ports: %q is neither a port nor a range such as "8000-8100"`, text)
		}
		s.ports = append(s.ports, [2]int32{int32(from), int32(to)})
	}
	return s, nil
}

func (s search) matches(rule types.SecurityGroupRule) bool {
	if aws.ToBool(rule.IsEgress) {
		return false
	}
	prefix, err := netip.ParsePrefix(cmp.Or(aws.ToString(rule.CidrIpv4), aws.ToString(rule.CidrIpv6)))
	if err != nil || !s.ranges[prefix.Masked()] { // a rule for a group or a prefix list
		return false
	}
	protocol := aws.ToString(rule.IpProtocol)
	if protocol == allProtocols {
		return true
	}
	if s.protocol != "" && s.protocol != protocol {
		return false
	}
	return len(s.ports) == 0 || s.opens(protocol, aws.ToInt32(rule.FromPort), aws.ToInt32(rule.ToPort))
}

// opens reports whether one of the ports is within a rule's range.
func (s search) opens(protocol string, from, to int32) bool {
	if protocol != "tcp" && protocol != "udp" {
		return false
	}
	return slices.ContainsFunc(s.ports, func(p [2]int32) bool { return p[0] <= to && from <= p[1] })
}
