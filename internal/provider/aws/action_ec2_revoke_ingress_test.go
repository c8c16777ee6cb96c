package aws_test

import (
	"fmt"
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// let adds an inbound rule to a group.
func (l *ec2Lab) let(group, protocol string, from, to int32, cidr, description string, tags ...types.Tag) {
	l.t.Helper()
	rule := types.IpPermission{IpProtocol: &protocol, FromPort: &from, ToPort: &to}
	if protocol == "-1" {
		rule.FromPort, rule.ToPort = nil, nil
	}
	if cidr == "::/0" {
		rule.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: &cidr, Description: &description}}
	} else {
		rule.IpRanges = []types.IpRange{{CidrIp: &cidr, Description: &description}}
	}
	in := &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{rule}}
	if len(tags) > 0 {
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroupRule, Tags: tags}}
	}
	given(l.other.AuthorizeSecurityGroupIngress(l.t.Context(), in))(l.t)
}

// doors tells a group's rules without their ids, sorted.
func (l *ec2Lab) doors(group string) []string {
	l.t.Helper()
	list := []string{}
	for _, r := range l.rules(group) {
		var tags []string
		for _, tag := range r.Tags {
			tags = append(tags, *tag.Key+"="+*tag.Value)
		}
		list = append(list, fmt.Sprintf("egress=%t %s %d-%d %s%s %q %v", *r.IsEgress, *r.IpProtocol, *r.FromPort, *r.ToPort,
			sdk.ToString(r.CidrIpv4), sdk.ToString(r.CidrIpv6), sdk.ToString(r.Description), tags))
	}
	slices.Sort(list)
	return list
}

// openGroup makes a group with rules that are open to everybody, and others.
func (l *ec2Lab) openGroup(name string) string {
	l.t.Helper()
	group := l.group(name)
	l.let(group, "tcp", 22, 22, "0.0.0.0/0", "for the vendor", types.Tag{Key: sdk.String("owner"), Value: sdk.String("ops")})
	l.let(group, "tcp", 22, 22, "::/0", "")
	l.let(group, "tcp", 8000, 9000, "0.0.0.0/0", "")
	l.let(group, "udp", 53, 53, "0.0.0.0/0", "")
	l.let(group, "-1", 0, 0, "0.0.0.0/0", "")
	l.let(group, "tcp", 22, 22, "198.51.100.0/24", "the office")
	return group
}

func TestRevokeIngressKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	group := l.openGroup("open")
	do := l.action("aws.ec2.revoke_ingress")
	in := l.input(do, map[string]any{"group_id": group})
	missing := in
	missing.Params = action.Params{"group_id": "sg-0123456789abcdef0", "cidrs": []string{"0.0.0.0/0"}}
	others := int32(3000)
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: &missing, Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.doors(group)) },
		Change: func(*testing.T) {
			others++
			l.let(group, "tcp", others, others, "0.0.0.0/0", "somebody else's")
		},
	})
}

func TestRevokeIngressRevokesWhatIsAskedFor(t *testing.T) {
	const office = `egress=false tcp 22-22 198.51.100.0/24 "the office" []`
	l := newEC2Lab(t)
	for name, c := range map[string]struct {
		params map[string]any
		gone   int // rules of the six inbound ones
	}{
		"all open":     {map[string]any{}, 5},
		"a port":       {map[string]any{"ports": []any{"22"}}, 3},
		"within range": {map[string]any{"ports": []any{"8443"}}, 2},
		"a range":      {map[string]any{"ports": []any{"1-1023"}}, 4},
		"a protocol":   {map[string]any{"protocol": "udp"}, 2},
		"a network":    {map[string]any{"cidrs": []any{"198.51.100.0/24"}}, 1},
		"IPv6":         {map[string]any{"cidrs": []any{"0:0::/0"}}, 1},
		"nobody":       {map[string]any{"cidrs": []any{"192.0.2.0/24"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			group := l.openGroup("of " + name)
			do := l.action("aws.ec2.revoke_ingress")
			c.params["group_id"] = group
			before := l.doors(group)
			change := given(do.Plan(t.Context(), l.input(do, c.params)))(t)
			if change.Noop != (c.gone == 0) || len(change.Calls) != c.gone {
				t.Errorf("got noop %t and %d calls, want %d", change.Noop, len(change.Calls), c.gone)
			}
			given(do.Apply(t.Context(), change))(t)
			after := l.doors(group)
			if len(before)-len(after) != c.gone {
				t.Errorf("%d rules are gone, want %d:\n%s", len(before)-len(after), c.gone, cmp.Diff(before, after))
			}
			if name != "a network" && !slices.Contains(after, office) {
				t.Errorf("the office's rule is gone: %v", after)
			}
		})
	}
}

func TestRevokeIngressRefusesWrongParameters(t *testing.T) {
	l := newEC2Lab(t)
	do := l.action("aws.ec2.revoke_ingress")
	for _, params := range []map[string]any{
		{"cidrs": []any{"everywhere"}},
		{"cidrs": []any{}},
		{"ports": []any{"ssh"}},
		{"ports": []any{"90-80"}},
		{"ports": []any{"70000"}},
		{"group_id": "web"},
	} {
		if params["group_id"] == nil {
			params["group_id"] = "sg-0123456789abcdef0"
		}
		if _, err := do.Plan(t.Context(), l.input(do, params)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: got %v, want an error of kind invalid", params, err)
		}
	}
}
