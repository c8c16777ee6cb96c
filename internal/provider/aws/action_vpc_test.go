package aws_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

func (l *ec2Lab) acl() types.NetworkAcl {
	l.t.Helper()
	found := given(l.other.DescribeNetworkAcls(l.t.Context(), &ec2.DescribeNetworkAclsInput{
		Filters: []types.Filter{{Name: sdk.String("association.subnet-id"), Values: []string{l.net}}},
	}))(l.t)
	return found.NetworkAcls[0]
}

// rulesOf tells the entries of the network ACL that are about an address, or all.
func (l *ec2Lab) rulesOf(address string) []string {
	l.t.Helper()
	var list []string
	for _, entry := range l.acl().Entries {
		if strings.HasPrefix(sdk.ToString(entry.CidrBlock), address) {
			list = append(list, fmt.Sprintf("%05d egress=%t %s %s", *entry.RuleNumber, *entry.Egress, entry.RuleAction, *entry.CidrBlock))
		}
	}
	slices.Sort(list)
	return list
}

func (l *ec2Lab) rule(number int32, egress bool, does types.RuleAction, cidr string) {
	l.t.Helper()
	given(l.other.CreateNetworkAclEntry(l.t.Context(), &ec2.CreateNetworkAclEntryInput{
		NetworkAclId: l.acl().NetworkAclId, RuleNumber: &number, Egress: &egress, RuleAction: does, CidrBlock: &cidr, Protocol: sdk.String("-1"),
	}))(l.t)
}

func TestBlockIPInNetworkACLKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	do := l.do("aws.vpc.block_ip")
	in := l.input(do, map[string]any{"address": "198.51.100.7", "subnet_id": l.net})
	number := int32(99)
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: absent(in, "subnet_id", "subnet-0123456789abcdef0"), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.rulesOf("")) },
		Change: func(*testing.T) { // somebody else takes the number
			l.rule(number, false, types.RuleActionDeny, "203.0.113.1/32")
			number--
		},
		ChangeAfter: func(t *testing.T) { // somebody else denies it once more
			t.Helper()
			l.rule(7, true, types.RuleActionDeny, "198.51.100.7/32")
		},
	})
}

// Entries stand before whatever allows the address, overwrite nothing, and go without a trace.
func TestBlockIPTakesFreeNumbersBeforeWhatAllows(t *testing.T) {
	l := newEC2Lab(t)
	l.rule(99, false, types.RuleActionDeny, "203.0.113.1/32")
	l.rule(50, false, types.RuleActionAllow, "198.51.0.0/16")
	l.rule(49, false, types.RuleActionAllow, "192.0.2.0/24")
	before := l.rulesOf("")
	done := l.applies("aws.vpc.block_ip", map[string]any{"address": "198.51.100.7", "vpc_id": l.vpc})
	want := []string{"00048 egress=false deny 198.51.100.7/32", "00099 egress=true deny 198.51.100.7/32"}
	if diff := cmp.Diff(want, l.rulesOf("198.51.100.7")); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	says(t, done.Change.Impact, "1 subnet", "network interfaces", "of 20 entries")
	if got := done.Change.Touches; len(got) != 1 || got[0].ID != *l.acl().NetworkAclId {
		t.Errorf("got touches %v, want the network ACL", got)
	}
	undoer, ok := l.do("aws.vpc.block_ip").(action.Undoer)
	if !ok {
		t.Fatal("it is no action.Undoer")
	}
	l.rule(47, false, types.RuleActionDeny, "198.51.100.8/32") // another's block is no drift of this one
	given(undoer.Undo(t.Context(), done, false))(t)
	if diff := cmp.Diff(append([]string{"00047 egress=false deny 198.51.100.8/32"}, before...), l.rulesOf("")); diff != "" {
		t.Errorf("entries after undo (-want +got):\n%s", diff)
	}
}

// What allows the address before the denial makes it void: that is seen.
func TestBlockIPIsFoundOutWhereItIsInVain(t *testing.T) {
	l := newEC2Lab(t)
	done := l.applies("aws.vpc.block_ip", map[string]any{"address": "198.51.100.7", "subnet_id": l.net})
	l.rule(10, false, types.RuleActionAllow, "198.51.100.0/24")
	verifier, ok := l.do("aws.vpc.block_ip").(action.Verifier)
	if !ok {
		t.Fatal("it is no action.Verifier")
	}
	if _, not := errors.AsType[*action.NotHeld](verifier.Verify(t.Context(), done)); !not {
		t.Error("a denial after what allows the address is taken for one that holds")
	}
	again := l.plans("aws.vpc.block_ip", map[string]any{"address": "198.51.100.7", "subnet_id": l.net})
	if len(again.Calls) != 1 || !strings.Contains(again.Calls[0], "rule 9 in") {
		t.Errorf("got the calls %q, want rule 9 in", again.Calls)
	}
}

func TestBlockIPHasNothingToDoWhereItIsDenied(t *testing.T) {
	l := newEC2Lab(t)
	for _, egress := range []bool{true, false} {
		l.rule(5, egress, types.RuleActionDeny, "198.51.0.0/16")
	}
	if change := l.plans("aws.vpc.block_ip", map[string]any{"address": "198.51.100.7", "subnet_id": l.net}); !change.Noop {
		t.Errorf("there is something to do: %v", change.Calls)
	}
	l.rule(1, true, types.RuleActionAllow, "192.0.2.0/24")
	l.refuses("aws.vpc.block_ip", map[string]any{"address": "192.0.2.9", "subnet_id": l.net}, fault.Conflict, "no number is free")
}

// Events are written by attackers: none of these may become a rule.
func TestAddressesThatAreNeverBlocked(t *testing.T) {
	fake := &protocol{answers: map[string]func(map[string]any) (any, *refusal){
		"DescribeAddresses": func(map[string]any) (any, *refusal) { // the emulator gives loopback addresses
			return `<DescribeAddressesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><addressesSet><item><publicIp>198.51.100.200</publicIp>` +
				`</item></addressesSet></DescribeAddressesResponse>`, nil
		},
	}}
	l := newEC2LabBehind(t, fake.before(t))
	for address, why := range map[string]string{
		"0.0.0.0/0": "wider", "::/0": "wider", "0.0.0.0": "this network", "10.0.0.0/8": "wider", "198.0.0.0/8": "wider", "2000::/12": "wider",
		"10.0.1.7":        "a range of the VPC",
		"10.0.0.0/16":     "private range",
		"169.254.169.254": "metadata",
		"169.254.0.0/16":  "metadata",
		"fd00:ec2::254":   "metadata",
		"127.0.0.1":       "host itself", "::1": "host itself", "224.0.0.1": "multicast", "255.255.255.255": "broadcast", "fe80::1": "link-local",
		"64:ff9b::c633:6407": "NAT64",
		"198.51.100.7/24":    "did you mean 198.51.100.0/24",
		"::ffff:0.0.0.0/96":  "neither an address",
		"fe80::1%eth0":       "neither an address", "198.51.100.7 ": "neither an address", "198.51.100": "neither an address",
		"evil.example": "neither an address", "": "address", "198.51.100.7/33": "neither an address",
		"198.51.100.200": "Elastic IP address of account", "198.51.100.192/26": "Elastic IP address of account",
	} {
		do := l.do("aws.vpc.block_ip")
		in := l.input(do, map[string]any{"address": "198.51.100.7", "subnet_id": l.net})
		in.Params["address"] = address
		_, err := do.Plan(t.Context(), in)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %v, want an error of kind invalid that says %q", address, err, why)
		}
	}
	if change := l.plans("aws.vpc.block_ip", map[string]any{"address": "::ffff:198.51.100.7", "subnet_id": l.net}); change.Noop {
		t.Error("an IPv4 address in IPv6's form is not denied")
	}
	l.refuses("aws.vpc.block_ip", map[string]any{"address": "198.51.100.7"}, fault.Invalid, "subnet_id or vpc_id")
	l.refuses("aws.vpc.block_ip", map[string]any{"address": "198.51.100.7", "subnet_id": l.net, "vpc_id": l.vpc}, fault.Invalid, "not both")
}

func (l *ec2Lab) defaultGroup() *string {
	l.t.Helper()
	found := given(l.other.DescribeSecurityGroups(l.t.Context(), &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: sdk.String("vpc-id"), Values: []string{l.vpc}}, {Name: sdk.String("group-name"), Values: []string{"default"}}},
	}))(l.t)
	return found.SecurityGroups[0].GroupId
}

func TestLockDefaultSecurityGroupKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	group := l.defaultGroup()
	given(l.other.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group, IpPermissions: []types.IpPermission{{
			IpProtocol: sdk.String("tcp"), FromPort: sdk.Int32(22), ToPort: sdk.Int32(22),
			IpRanges: []types.IpRange{{CidrIp: sdk.String("192.0.2.0/24"), Description: sdk.String("office")}},
		}},
	}))(t)
	do := l.do("aws.vpc.lock_default_security_group")
	in := l.input(do, map[string]any{"vpc_id": l.vpc})
	port := int32(8000)
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: absent(in, "vpc_id", "vpc-0123456789abcdef0"), Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			rules := l.rules(*group)
			for i := range rules {
				rules[i].SecurityGroupRuleId, rules[i].SecurityGroupRuleArn = nil, nil // made again, they are others
			}
			return sorted(t, rules)
		},
		Change: func(t *testing.T) {
			t.Helper()
			port++
			given(l.other.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
				GroupId: group, IpProtocol: sdk.String("tcp"), FromPort: &port, ToPort: &port, CidrIp: sdk.String("192.0.2.0/24"),
			}))(t)
		},
	})
}

func (l *ec2Lab) flowLogs() []string {
	l.t.Helper()
	var list []string
	for _, each := range given(l.other.DescribeFlowLogs(l.t.Context(), &ec2.DescribeFlowLogsInput{
		Filter: []types.Filter{{Name: sdk.String("resource-id"), Values: []string{l.vpc}}},
	}))(l.t).FlowLogs {
		list = append(list, fmt.Sprintf("%s %s", each.TrafficType, sdk.ToString(each.LogDestination)))
	}
	slices.Sort(list)
	return list
}

func (l *ec2Lab) logBucket(name string) string {
	l.t.Helper()
	api := s3.NewFromConfig(l.reach(), func(o *s3.Options) { o.UsePathStyle = true })
	given(api.CreateBucket(l.t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: awstest.Region},
	}))(l.t)
	return "arn:aws:s3:::" + name
}

func TestEnableFlowLogsKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	bucket := l.logBucket("flow-contract")
	do := l.do("aws.vpc.enable_flow_logs")
	in := l.input(do, map[string]any{"vpc_id": l.vpc, "destination": bucket})
	providertest.Contract(t, providertest.Case{ // who makes or deletes the flow log makes what is planned, or what was
		Action: do, Input: in, Missing: absent(in, "vpc_id", "vpc-0123456789abcdef0"), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.flowLogs()) },
	})
}

// A call that made nothing is no success, and another's flow log is left alone.
func TestEnableFlowLogsIsNotFooled(t *testing.T) {
	l := newEC2Lab(t)
	change := l.plans("aws.vpc.enable_flow_logs", map[string]any{"vpc_id": l.vpc, "destination": "arn:aws:s3:::no-such-bucket-at-all"})
	if _, err := l.do("aws.vpc.enable_flow_logs").Apply(t.Context(), change); err == nil {
		t.Error("flow logs to a bucket that isn't there are taken for made")
	}
	for destination, role := range map[string]string{
		"arn:aws:sqs:eu-central-1:123456789012:q": "", "flow-bucket": "",
		"arn:aws:logs:eu-central-1:123456789012:log-group:flow": "arn:aws:iam::999999999999:role/flow",
	} {
		l.refuses("aws.vpc.enable_flow_logs", map[string]any{"vpc_id": l.vpc, "destination": destination, "role_arn": role}, fault.Invalid, "the ARN of")
	}
	l.refuses("aws.vpc.enable_flow_logs", map[string]any{
		"vpc_id": l.vpc, "destination": "arn:aws:logs:eu-central-1:999999999999:log-group:flow", "role_arn": "arn:aws:iam::123456789012:role/flow",
	}, fault.Denied, "belongs to account 999999999999")

	bucket := l.logBucket("flow-theirs")
	params := map[string]any{"vpc_id": l.vpc, "destination": bucket}
	done := l.applies("aws.vpc.enable_flow_logs", params)
	ours := given(l.other.DescribeFlowLogs(t.Context(), &ec2.DescribeFlowLogsInput{
		Filter: []types.Filter{{Name: sdk.String("resource-id"), Values: []string{l.vpc}}},
	}))(t).FlowLogs[0].FlowLogId
	given(l.other.DeleteFlowLogs(t.Context(), &ec2.DeleteFlowLogsInput{FlowLogIds: []string{*ours}}))(t)
	given(l.other.CreateFlowLogs(t.Context(), &ec2.CreateFlowLogsInput{
		ResourceIds: []string{l.vpc}, ResourceType: types.FlowLogsResourceTypeVpc, TrafficType: types.TrafficTypeAll,
		LogDestinationType: types.LogDestinationTypeS3, LogDestination: &bucket, MaxAggregationInterval: sdk.Int32(600),
	}))(t)
	undoer, ok := l.do("aws.vpc.enable_flow_logs").(action.Undoer)
	if !ok {
		t.Fatal("it is no action.Undoer")
	}
	if _, err := undoer.Undo(t.Context(), done, false); err == nil || len(l.flowLogs()) != 1 {
		t.Errorf("undo took somebody else's flow log: %v, %v", err, l.flowLogs())
	}
	if !l.plans("aws.vpc.enable_flow_logs", params).Noop {
		t.Error("there is something to do where somebody else's flow log does it")
	}
}
