package aws_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

const ruleGroupARN = "arn:aws:network-firewall:eu-central-1:" + awstest.Home + ":stateful-rulegroup/riposte"

// ruleGroups is a small fake of one rule group of Network Firewall, of which the emulator has none: it is read with a
// token and written with it.
type ruleGroups struct {
	*protocol
	version   int
	addresses []any
	rules     string
	races     int // how often somebody else writes between reading and writing
}

func newRuleGroups(rules string, addresses ...any) *ruleGroups {
	g := &ruleGroups{addresses: addresses, rules: rules}
	g.protocol = &protocol{answers: map[string]func(map[string]any) (any, *refusal){"DescribeRuleGroup": g.describe, "UpdateRuleGroup": g.update}}
	return g
}

func (g *ruleGroups) describe(body map[string]any) (any, *refusal) {
	if body["RuleGroupArn"] != ruleGroupARN {
		return nil, &refusal{http.StatusBadRequest, "ResourceNotFoundException"}
	}
	return map[string]any{
		"UpdateToken": strconv.Itoa(g.version),
		"RuleGroup": map[string]any{
			"RuleVariables": map[string]any{"IPSets": map[string]any{
				"RIPOSTE_BLOCKED": map[string]any{"Definition": g.addresses}, "HOME": map[string]any{"Definition": []any{"10.0.0.0/8"}},
			}},
			"RulesSource": map[string]any{"RulesString": g.rules},
		},
		"RuleGroupResponse": map[string]any{
			"RuleGroupArn": ruleGroupARN, "RuleGroupId": "1", "RuleGroupName": "riposte", "Type": "STATEFUL", "Description": "of a test",
			"NumberOfAssociations": 2, "Tags": []any{map[string]any{"Key": "service", "Value": "shop"}},
		},
	}, nil
}

func (g *ruleGroups) update(body map[string]any) (any, *refusal) {
	if g.races > 0 {
		g.races--
		g.version++
	}
	if body["UpdateToken"] != strconv.Itoa(g.version) {
		return nil, &refusal{http.StatusBadRequest, "InvalidTokenException"}
	}
	group, _ := body["RuleGroup"].(map[string]any)
	variables, _ := group["RuleVariables"].(map[string]any)
	sets, _ := variables["IPSets"].(map[string]any)
	set, _ := sets["RIPOSTE_BLOCKED"].(map[string]any)
	source, _ := group["RulesSource"].(map[string]any)
	list, ok := set["Definition"].([]any)
	if !ok || source["RulesString"] != g.rules || sets["HOME"] == nil || body["Description"] != "of a test" {
		return nil, &refusal{http.StatusBadRequest, "InvalidRequestException"} // something else was changed
	}
	g.addresses, g.version = list, g.version+1
	return map[string]any{
		"UpdateToken":       strconv.Itoa(g.version),
		"RuleGroupResponse": map[string]any{"RuleGroupArn": ruleGroupARN, "RuleGroupId": "1", "RuleGroupName": "riposte"},
	}, nil
}

const dropRule = "drop ip $RIPOSTE_BLOCKED any <> any any (sid:1;)\n"

// The emulator has no rule groups; a small fake has one.
func TestFirewallBlockIPKeepsTheContract(t *testing.T) {
	group := newRuleGroups(dropRule, "203.0.113.0/24")
	l := newEC2LabBehind(t, group.before(t))
	do := l.do("aws.networkfirewall.block_ip")
	in := l.input(do, map[string]any{"address": "198.51.100.7", "rule_group_arn": ruleGroupARN})
	providertest.Contract(t, providertest.Case{ // what others do with other addresses is theirs
		Action: do, Input: in, Missing: absent(in, "rule_group_arn", ruleGroupARN+"s"), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return sorted(t, group.addresses) },
	})
}

func TestFirewallBlockIPReadsAgainWhenOthersWrite(t *testing.T) {
	group := newRuleGroups(dropRule, "203.0.113.0/24")
	l := newEC2LabBehind(t, group.before(t))
	group.races = 3
	done := l.applies("aws.networkfirewall.block_ip", map[string]any{"address": "198.51.100.7", "rule_group_arn": ruleGroupARN})
	if !done.Result.Changed || !slices.Contains(group.addresses, any("198.51.100.7/32")) {
		t.Errorf("got %v after races", group.addresses)
	}
	says(t, done.Change.Impact, "2 users of the group")
	if done.Change.Tags["service"] != "shop" {
		t.Errorf("got tags %v", done.Change.Tags)
	}
	group.races = 100
	change := l.plans("aws.networkfirewall.block_ip", map[string]any{"address": "198.51.100.8", "rule_group_arn": ruleGroupARN})
	if _, err := l.do("aws.networkfirewall.block_ip").Apply(t.Context(), change); !fault.Is(err, fault.Transient) {
		t.Errorf("somebody writes all the time: got %v, want an error of kind transient", err)
	}
}

func TestFirewallBlockIPRefusesRulesThatLetPass(t *testing.T) {
	for rules, words := range map[string]string{
		dropRule + "pass ip $RIPOSTE_BLOCKED any -> any any (sid:2;)\n":   "let through",
		"drop ip !$RIPOSTE_BLOCKED any -> $HOME any (sid:2;)\n":           "let through",
		"alert ip $RIPOSTE_BLOCKED_TOO any -> any any (sid:2;)\n":         "",
		"# drop ip $RIPOSTE_BLOCKED any -> any any (sid:2;)\n" + "\n  \n": "",
	} {
		l := newEC2LabBehind(t, newRuleGroups(rules, "203.0.113.0/24").before(t))
		params := map[string]any{"address": "198.51.100.7", "rule_group_arn": ruleGroupARN}
		if words != "" {
			l.refuses("aws.networkfirewall.block_ip", params, fault.Invalid, words)
			continue
		}
		says(t, l.plans("aws.networkfirewall.block_ip", params).Impact, "NO rule of the group drops")
	}
	l := newEC2LabBehind(t, newRuleGroups(dropRule, "203.0.113.0/24").before(t))
	for _, params := range []map[string]any{
		{"address": "198.51.100.7", "rule_group_arn": ruleGroupARN, "variable": "NOBODYS"},
		{"address": "198.51.100.7", "rule_group_arn": ruleGroupARN, "variable": "X; drop"},
		{"address": "192.168.3.4", "rule_group_arn": ruleGroupARN},
		{"address": "198.51.100.7", "rule_group_arn": strings.Replace(ruleGroupARN, "stateful", "stateless", 1)},
	} {
		l.refuses("aws.networkfirewall.block_ip", params, fault.Invalid, "")
	}
	l.refuses("aws.networkfirewall.block_ip", map[string]any{
		"address": "198.51.100.7", "rule_group_arn": strings.Replace(ruleGroupARN, awstest.Home, "999999999999", 1),
	}, fault.Denied, "belongs to account 999999999999")
}

const domainListID = "rslvr-fdl-0123456789abcdef"

// domainLists is a small fake of DNS Firewall with one list, one rule and one VPC; the emulator has none of it.
type domainLists struct {
	*protocol
	names  []string
	action string // of the rule
	owner  string // of the list, where AWS manages it
}

func newDomainLists(action string, names ...string) *domainLists {
	d := &domainLists{names: names, action: action}
	d.protocol = &protocol{answers: map[string]func(map[string]any) (any, *refusal){
		"GetFirewallDomainList": func(body map[string]any) (any, *refusal) {
			if body["FirewallDomainListId"] != domainListID {
				return nil, &refusal{http.StatusBadRequest, "ResourceNotFoundException"}
			}
			return map[string]any{"FirewallDomainList": map[string]any{
				"Id": domainListID, "Name": "riposte", "Status": "COMPLETE", "ManagedOwnerName": d.owner,
				"Arn": "arn:aws:route53resolver:eu-central-1:" + awstest.Home + ":firewall-domain-list/" + domainListID,
			}}, nil
		},
		"ListFirewallDomains":   d.list,
		"UpdateFirewallDomains": d.update,
		"ListFirewallRuleGroups": func(map[string]any) (any, *refusal) {
			return map[string]any{"FirewallRuleGroups": []any{map[string]any{"Id": "rslvr-frg-1", "Name": "company"}}}, nil
		},
		"ListFirewallRules": func(map[string]any) (any, *refusal) {
			return map[string]any{"FirewallRules": []any{
				map[string]any{"Name": "by-list", "Action": d.action, "FirewallDomainListId": domainListID, "FirewallRuleGroupId": "rslvr-frg-1"},
				map[string]any{"Name": "another", "Action": "ALLOW", "FirewallDomainListId": "rslvr-fdl-other", "FirewallRuleGroupId": "rslvr-frg-1"},
			}}, nil
		},
		"ListFirewallRuleGroupAssociations": func(map[string]any) (any, *refusal) {
			return map[string]any{"FirewallRuleGroupAssociations": []any{map[string]any{"VpcId": "vpc-12345678"}}}, nil
		},
	}}
	return d
}

// list gives the names two a page, with a dot at their end as Resolver keeps them.
func (d *domainLists) list(body map[string]any) (any, *refusal) {
	const page = 2
	from := 0
	if token, ok := body["NextToken"].(string); ok {
		_, _ = fmt.Sscan(token, &from)
	}
	to := min(from+page, len(d.names))
	names := []string{}
	for _, name := range d.names[from:to] {
		names = append(names, name+".")
	}
	answer := map[string]any{"Domains": names}
	if to < len(d.names) {
		answer["NextToken"] = strconv.Itoa(to)
	}
	return answer, nil
}

func (d *domainLists) update(body map[string]any) (any, *refusal) {
	names, _ := body["Domains"].([]any)
	for _, each := range names {
		name, _ := each.(string)
		there := slices.Contains(d.names, name)
		switch {
		case body["Operation"] == "ADD" && !there:
			d.names = append(d.names, name)
		case body["Operation"] == "REMOVE" && there:
			d.names = slices.DeleteFunc(d.names, func(n string) bool { return n == name })
		default:
			return nil, &refusal{http.StatusBadRequest, "ValidationException"}
		}
	}
	return map[string]any{"Id": domainListID, "Name": "riposte", "Status": "UPDATING"}, nil
}

// The emulator has no DNS Firewall; a small fake has one domain list.
func TestBlockDomainKeepsTheContract(t *testing.T) {
	lists := newDomainLists("BLOCK", "one.example", "two.example", "three.example", "*.malware.example.net")
	l := newEC2LabBehind(t, lists.before(t))
	do := l.do("aws.dns.block_domain")
	in := l.input(do, map[string]any{"domain": "Malware.Example.net.", "list_id": domainListID})
	providertest.Contract(t, providertest.Case{ // what others do with other domains is theirs
		Action: do, Input: in, Missing: absent(in, "list_id", "rslvr-fdl-nobodys"), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return sorted(t, lists.names) },
	})
	says(t, l.plans("aws.dns.block_domain", map[string]any{"domain": "malware.example.net", "list_id": domainListID}).Impact,
		"rule group company", "to block", "vpc-12345678")
}

func TestBlockDomainRefusesListsThatAllow(t *testing.T) {
	lists := newDomainLists("ALLOW")
	l := newEC2LabBehind(t, lists.before(t))
	params := map[string]any{"domain": "malware.example.net", "list_id": domainListID}
	l.refuses("aws.dns.block_domain", params, fault.Invalid, "allows by the domain list")
	lists.action = "ALERT"
	says(t, l.plans("aws.dns.block_domain", params).Impact, "NO rule blocks")
	lists.owner = "Route 53 Resolver DNS Firewall"
	l.refuses("aws.dns.block_domain", params, fault.Denied, "managed by")
}

// Events are written by attackers: one name must not take half of the Internet, or AWS, away.
func TestDomainsThatAreNeverBlocked(t *testing.T) {
	l := newEC2LabBehind(t, newDomainLists("BLOCK").before(t))
	for domain, why := range map[string]string{
		"com": "is not a domain", "co.uk": "suffix", "github.io": "suffix", "amazonaws.com": "never blocked", "sts.eu-central-1.amazonaws.com": "never blocked",
		"ec2.eu-central-1.api.aws": "never blocked", "ip-10-0-0-1.ec2.internal": "never blocked", "printer.local": "never blocked",
		"7.100.51.198.in-addr.arpa": "never blocked", "198.51.100.7": "is an address", "*.example.net": "is not a domain", "a..example.net": "is not a domain",
		"exa mple.net": "is not a domain", "-a.example.net": "is not a domain", "example.net\n": "is not a domain", ".": "is not a domain",
		strings.Repeat("a", 64) + ".net": "is not a domain", strings.Repeat("abc.", 70) + "net": "is not a domain", "bücher.example": "is not a domain",
	} {
		l.refuses("aws.dns.block_domain", map[string]any{"domain": domain, "list_id": domainListID}, fault.Invalid, why)
	}
	for _, domain := range []string{"xn--bcher-kva.example.net", "evil.github.io", "_dmarc.example.net", "d111111abcdef8.cloudfront.net", "a-b.example.net"} {
		change := l.plans("aws.dns.block_domain", map[string]any{"domain": domain, "list_id": domainListID, "subdomains": false})
		if len(change.Calls) != 1 || strings.Contains(change.Calls[0], "*") {
			t.Errorf("%s: got the calls %q, want one for it alone", domain, change.Calls)
		}
	}
}
