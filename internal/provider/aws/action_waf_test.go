package aws_test

import (
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// webSet is an IP set of somebody's.
type webSet struct {
	l    *ec2Lab
	api  *wafv2.Client
	name string
	id   *string
	arn  string
}

func (l *ec2Lab) webSet(name string, version types.IPAddressVersion, addresses ...string) webSet {
	l.t.Helper()
	api := wafv2.NewFromConfig(l.reach())
	made := given(api.CreateIPSet(l.t.Context(), &wafv2.CreateIPSetInput{
		Name: &name, Scope: types.ScopeRegional, IPAddressVersion: version, Addresses: append([]string{}, addresses...), Description: sdk.String("of a test"),
	}))(l.t)
	return webSet{l, api, name, made.Summary.Id, *made.Summary.ARN}
}

func (s webSet) get() *wafv2.GetIPSetOutput {
	s.l.t.Helper()
	return given(s.api.GetIPSet(s.l.t.Context(), &wafv2.GetIPSetInput{Name: &s.name, Id: s.id, Scope: types.ScopeRegional}))(s.l.t)
}

func (s webSet) put(addresses ...string) {
	s.l.t.Helper()
	given(s.api.UpdateIPSet(s.l.t.Context(), &wafv2.UpdateIPSetInput{
		Name: &s.name, Id: s.id, Scope: types.ScopeRegional, LockToken: s.get().LockToken, Addresses: addresses,
	}))(s.l.t)
}

// rule makes a web ACL with a rule that goes by the set.
func (s webSet) rule(name string, does types.RuleAction, statement *types.Statement) {
	s.l.t.Helper()
	watch := &types.VisibilityConfig{MetricName: &name, SampledRequestsEnabled: false, CloudWatchMetricsEnabled: false}
	given(s.api.CreateWebACL(s.l.t.Context(), &wafv2.CreateWebACLInput{
		Name: &name, Scope: types.ScopeRegional, DefaultAction: &types.DefaultAction{Allow: &types.AllowAction{}}, VisibilityConfig: watch,
		Rules: []types.Rule{{Name: sdk.String("by-set"), Priority: 1, Action: &does, Statement: statement, VisibilityConfig: watch}},
	}))(s.l.t)
}

func (s webSet) reference() *types.Statement {
	return &types.Statement{IPSetReferenceStatement: &types.IPSetReferenceStatement{ARN: &s.arn}}
}

func TestWAFBlockIPKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	set := l.webSet("contract", types.IPAddressVersionIpv4, "203.0.113.0/24")
	do := l.do("aws.waf.block_ip")
	in := l.input(do, map[string]any{"address": "198.51.100.7", "ip_set_arn": set.arn})
	providertest.Contract(t, providertest.Case{
		// What others do with other addresses is theirs; with this one they do what is planned, or undo it.
		Action: do, Input: in, Missing: absent(in, "ip_set_arn", strings.Replace(set.arn, *set.id, "11111111-2222-3333-4444-555555555555", 1)), Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := set.get().IPSet
			return sorted(t, append(got.Addresses, sdk.ToString(got.Description)))
		},
	})
}

// Two who write at once: the lock token says so, and both addresses are there.
func TestWAFBlockIPKeepsWhatOthersAdd(t *testing.T) {
	l := newEC2Lab(t)
	set := l.webSet("shared", types.IPAddressVersionIpv4)
	change := l.plans("aws.waf.block_ip", map[string]any{"address": "198.51.100.7", "ip_set_arn": set.arn})
	set.put("203.0.113.0/24")
	given(l.do("aws.waf.block_ip").Apply(t.Context(), change))(t)
	if got := sorted(t, set.get().IPSet.Addresses); got != sorted(t, []string{"203.0.113.0/24", "198.51.100.7/32"}) {
		t.Errorf("got %s, want both addresses", got)
	}
	wide := l.plans("aws.waf.block_ip", map[string]any{"address": "203.0.113.9", "ip_set_arn": set.arn})
	if !wide.Noop || !strings.Contains(wide.Summary, "within 203.0.113.0/24") {
		t.Errorf("got noop %t and %q, want that a range has it", wide.Noop, wide.Summary)
	}
}

// An IP set may be a list of friends: adding an attacker to it would let him in.
func TestWAFBlockIPRefusesListsThatLetIn(t *testing.T) {
	l := newEC2Lab(t)
	friends, strangers, foes, idle := l.webSet("friends", types.IPAddressVersionIpv4), l.webSet("strangers", types.IPAddressVersionIpv4),
		l.webSet("foes", types.IPAddressVersionIpv4), l.webSet("idle", types.IPAddressVersionIpv4)
	friends.rule("let-in", types.RuleAction{Allow: &types.AllowAction{}}, friends.reference())
	strangers.rule("not-listed", types.RuleAction{Block: &types.BlockAction{}},
		&types.Statement{NotStatement: &types.NotStatement{Statement: strangers.reference()}})
	foes.rule("keep-out", types.RuleAction{Block: &types.BlockAction{}}, &types.Statement{OrStatement: &types.OrStatement{
		Statements: []types.Statement{*foes.reference(), {GeoMatchStatement: &types.GeoMatchStatement{CountryCodes: []types.CountryCode{types.CountryCodeAq}}}},
	}})
	block := func(set webSet) map[string]any {
		return map[string]any{"address": "198.51.100.7", "ip_set_arn": set.arn}
	}
	l.refuses("aws.waf.block_ip", block(friends), fault.Invalid, "lets in")
	l.refuses("aws.waf.block_ip", block(strangers), fault.Invalid, "NOT in the IP set")
	says(t, l.plans("aws.waf.block_ip", block(foes)).Impact, "web ACL keep-out, rule by-set", "blocks")
	says(t, l.plans("aws.waf.block_ip", block(idle)).Impact, "NOTHING blocks")
}

func TestWAFBlockIPRefusesWhatIsNotForIt(t *testing.T) {
	l := newEC2Lab(t)
	set := l.webSet("checked", types.IPAddressVersionIpv4)
	six := l.webSet("six", types.IPAddressVersionIpv6)
	for params, want := range map[[2]string]struct {
		kind  fault.Kind
		words string
	}{
		{"10.1.2.3", set.arn}:       {fault.Invalid, "private"},
		{"0.0.0.0/0", set.arn}:      {fault.Invalid, "wider"},
		{"2001:db8::1", set.arn}:    {fault.Invalid, "takes IPV4"},
		{"198.51.100.7", six.arn}:   {fault.Invalid, "takes IPV6"},
		{"198.51.100.7", "checked"}: {fault.Invalid, "not an ARN"},
		{"198.51.100.7", strings.Replace(set.arn, "123456789012", "999999999999", 1)}:   {fault.Denied, "belongs to account 999999999999"},
		{"198.51.100.7", strings.Replace(set.arn, "ipset", "webacl", 1)}:                {fault.Invalid, "not the ARN of an IP set"},
		{"198.51.100.7", strings.Replace(set.arn, "eu-central-1", "evil.example/#", 1)}: {fault.Invalid, "no region"},
	} {
		l.refuses("aws.waf.block_ip", map[string]any{"address": params[0], "ip_set_arn": params[1]}, want.kind, want.words)
	}
}
