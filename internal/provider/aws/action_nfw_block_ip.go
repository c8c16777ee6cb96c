package aws

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/networkfirewall"
	"github.com/aws/aws-sdk-go-v2/service/networkfirewall/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const firewallDoc = `Adds an address to a variable of a stateful rule group of AWS Network Firewall. The group's author writes the rule once,
such as ` + "`drop ip $RIPOSTE_BLOCKED any <> any any (sid:1;)`" + `, with a variable of that name; Riposte changes the variable's list and
nothing else, with the update token, and reads again where somebody else was faster.

Refused are a group without the variable, one that has a rule which lets pass by it, and private addresses, which are of networks of
your own. The plan says so where no rule drops by the variable. It takes a minute until all of the firewall knows.

Undo takes exactly this address out of the list.`

// newFirewallBlockAddress makes aws.networkfirewall.block_ip.
func newFirewallBlockAddress(c *Cloud) *placed[listed] {
	const groups = "arn:{partition}:network-firewall:{region}:{account}:stateful-rulegroup/*"
	return &placed[listed]{cloud: c, Setting: action.Setting[listed]{
		About: action.Spec{
			Name: "aws.networkfirewall.block_ip", Effect: action.Contain,
			Summary: "Add an address to a list of a Network Firewall rule group.", Doc: firewallDoc,
			Params: []action.Param{
				addressParam(),
				{Name: "rule_group_arn", Type: action.String, Required: true, Doc: "ARN of the stateful rule group."},
				{Name: "variable", Type: action.String, Default: "RIPOSTE_BLOCKED", Doc: "Name of the group's IP set variable, without the $."},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, groups, nil, "network-firewall:DescribeRuleGroup"),
				permit(action.PlanPhase, "*", nil, "ec2:DescribeAddresses", "ec2:DescribeInstances"),
				permit(action.ApplyPhase, groups, nil, "network-firewall:UpdateRuleGroup"),
				permit(action.UndoPhase, groups, nil, "network-firewall:UpdateRuleGroup"),
			),
		},
		Target: func(in action.Input) entity.Entity { return resourceTarget(in, in.Params.String("rule_group_arn")) },
		Read: func(ctx context.Context, in action.Input) (listed, error) {
			at, err := c.ruleGroup(ctx, in)
			if err != nil {
				return listed{}, err
			}
			return listedIn(networks(at.list().Definition), at.prefix), nil
		},
		Want:  wantListed,
		Write: c.writeRuleGroup,
		Calls: func(in action.Input, _, _ listed) []string {
			return []string{fmt.Sprintf("network-firewall:UpdateRuleGroup %s: add %s to $%s", in.Params.String("rule_group_arn"),
				in.Params.String("address"), in.Params.String("variable"))}
		},
		Summary: func(in action.Input, now, _ listed) string {
			if now.Within != "" {
				return fmt.Sprintf("%s is in the list already, within %s", in.Params.String("address"), now.Within)
			}
			return fmt.Sprintf("add %s to $%s of the rule group %s", in.Params.String("address"), in.Params.String("variable"),
				in.Params.String("rule_group_arn"))
		},
		Facts: c.ruleGroupFacts,
	}}
}

// ruleGroup is one as it is, with what a change of it needs.
type ruleGroup struct {
	api      *networkfirewall.Client
	found    *networkfirewall.DescribeRuleGroupOutput
	arn      string
	variable string
	prefix   netip.Prefix
}

func (g ruleGroup) list() types.IPSet { return g.found.RuleGroup.RuleVariables.IPSets[g.variable] }

// networks gives the entries of a list as ranges: an address alone stands for itself.
func networks(entries []string) []string {
	list := make([]string, 0, len(entries))
	for _, text := range entries {
		if one, err := netip.ParseAddr(text); err == nil {
			text = netip.PrefixFrom(one, one.BitLen()).String()
		}
		list = append(list, text)
	}
	return list
}

var variableForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,31}$`)

// ruleGroup reads the rule group, which must have the variable.
func (c *Cloud) ruleGroup(ctx context.Context, in action.Input) (ruleGroup, error) {
	g := ruleGroup{variable: in.Params.String("variable")}
	var err error
	if g.prefix, err = publicBlockable(in.Params.String("address")); err != nil {
		return g, err
	}
	if !variableForm.MatchString(g.variable) {
		return g, fault.New(fault.Invalid, "variable: %q is not the name of a variable, such as RIPOSTE_BLOCKED", shorten(g.variable))
	}
	at, err := named(in, "rule_group_arn", "network-firewall")
	if err != nil {
		return g, err
	}
	if !strings.HasPrefix(at.Resource, "stateful-rulegroup/") {
		return g, fault.New(fault.Invalid, "rule_group_arn: %q is not the ARN of a stateful rule group", shorten(at.String()))
	}
	g.arn = at.String()
	if g.api, err = c.networkFirewall(action.Place{Account: in.Account, Region: at.Region}); err != nil {
		return g, err
	}
	g.found, err = g.api.DescribeRuleGroup(ctx, &networkfirewall.DescribeRuleGroupInput{RuleGroupArn: aws.String(g.arn)})
	if err != nil {
		return g, fmt.Errorf("read rule group %s: %w", g.arn, classify(err))
	}
	if g.found.RuleGroup == nil || g.found.RuleGroupResponse == nil || g.found.RuleGroup.RuleVariables == nil || !g.has() {
		return g, fault.WithHint(fault.New(fault.Invalid, "the rule group %s has no IP set variable %s", g.arn, g.variable),
			"add the variable to the group, and a rule that drops by it")
	}
	return g, nil
}

func (g ruleGroup) has() bool {
	_, there := g.found.RuleGroup.RuleVariables.IPSets[g.variable]
	return there
}

func (c *Cloud) writeRuleGroup(ctx context.Context, in action.Input, _, to listed) (listed, error) {
	for range mostRaces {
		g, err := c.ruleGroup(ctx, in)
		if err != nil {
			return to, err
		}
		kept := slices.DeleteFunc(slices.Clone(g.list().Definition), func(text string) bool {
			return listedIn(networks([]string{text}), g.prefix).There
		})
		if to.There {
			kept = append(kept, g.prefix.String())
		}
		g.found.RuleGroup.RuleVariables.IPSets[g.variable] = types.IPSet{Definition: kept}
		about := g.found.RuleGroupResponse
		_, err = g.api.UpdateRuleGroup(ctx, &networkfirewall.UpdateRuleGroupInput{
			RuleGroupArn: aws.String(g.arn), UpdateToken: g.found.UpdateToken, RuleGroup: g.found.RuleGroup, Type: about.Type,
			Description: about.Description, EncryptionConfiguration: about.EncryptionConfiguration, SourceMetadata: about.SourceMetadata,
			SummaryConfiguration: about.SummaryConfiguration,
		})
		switch {
		case codeIs(err, "InvalidTokenException"): // somebody else wrote it; look again
			continue
		case err != nil:
			return to, fmt.Errorf("update rule group %s: %w", g.arn, classify(err))
		}
		return to, nil
	}
	return to, fault.New(fault.Transient, "the rule group %s is written by others all the time", in.Params.String("rule_group_arn"))
}

func (c *Cloud) ruleGroupFacts(ctx context.Context, in action.Input, _ listed, change *action.Change) error {
	g, err := c.ruleGroup(ctx, in)
	if err != nil {
		return err
	}
	if err := c.notOurs(ctx, in.Place, g.prefix); err != nil {
		return err
	}
	change.Tags = map[string]string{}
	for _, tag := range g.found.RuleGroupResponse.Tags {
		change.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	drops, helps := g.rules()
	if helps != "" {
		return fault.WithHint(fault.New(fault.Invalid, "the rule group %s has a rule that the address would be let through by: %s", g.arn, shorten(helps)),
			"name a variable by which only rules that drop or reject go")
	}
	if drops == 0 {
		change.Impact = append(change.Impact, fmt.Sprintf("NO rule of the group drops by $%s: the address is only listed", g.variable))
	}
	firewalls := int(aws.ToInt32(g.found.RuleGroupResponse.NumberOfAssociations))
	change.Impact = append(change.Impact, fmt.Sprintf("%s of the group; its list has %s", several(firewalls, "user"), several(len(g.list().Definition), "address range")))
	return nil
}

// rules counts the rules that drop by the variable, and gives one that would let the address through, if any does.
func (g ruleGroup) rules() (drops int, helps string) {
	source := g.found.RuleGroup.RulesSource
	if source == nil {
		return 0, ""
	}
	name := regexp.MustCompile(`(!?)\$` + regexp.QuoteMeta(g.variable) + `\b`)
	judge := func(does, rule string) {
		for _, match := range name.FindAllStringSubmatch(rule, -1) {
			drop := does == "drop" || does == "reject" || does == "rejectsrc" || does == "rejectdst" || does == "rejectboth"
			switch inverted := match[1] != ""; {
			case does == "pass" && !inverted, drop && inverted:
				helps = rule
			case drop:
				drops++
			}
		}
	}
	for line := range strings.Lines(aws.ToString(source.RulesString)) {
		line = strings.TrimSpace(line)
		does, _, _ := strings.Cut(line, " ")
		judge(strings.ToLower(does), line)
	}
	for _, rule := range source.StatefulRules {
		if rule.Header != nil {
			judge(strings.ToLower(string(rule.Action)), aws.ToString(rule.Header.Source)+" "+aws.ToString(rule.Header.Destination))
		}
	}
	return drops, helps
}
