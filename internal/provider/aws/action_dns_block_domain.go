package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// domains are which of the wanted entries a domain list has, sorted.
type domains struct {
	There []string `json:"there"`
}

const blockDomainDoc = `Adds a domain to a domain list of Route 53 Resolver DNS Firewall, so that the VPCs with a rule that blocks by the list no longer get an
answer for it. With subdomains, which is on unless it is switched off, all names below it are blocked too.

The list is named in the playbook. **A list by which a rule allows is refused**, so are lists that AWS manages. The plan names
the VPCs that block by the list, and says so where none does.

It holds for who asks the VPC's own resolver. Who uses another resolver, DNS over HTTPS or the address alone is not
kept from it, and answers that are remembered stay until they expire.

Refused are domains that AWS's own services need, names of private networks, and suffixes under which anybody may
have a domain, such as com or co.uk: one message of an attacker must not take half of the Internet away.

Undo takes exactly the entries out of the list that were added.`

// newBlockDomain makes aws.dns.block_domain.
func newBlockDomain(c *Cloud) *placed[domains] {
	const lists = "arn:{partition}:route53resolver:{region}:{account}:firewall-domain-list/*"
	return &placed[domains]{cloud: c, Setting: action.Setting[domains]{
		About: action.Spec{
			Name: "aws.dns.block_domain", Effect: action.Contain,
			Summary: "Add a domain to a DNS Firewall domain list.", Doc: blockDomainDoc, Settle: time.Minute,
			Params: []action.Param{
				{Name: "domain", Type: action.String, Required: true, Entity: entity.Domain, Doc: "The domain: malware.example.net"},
				{Name: "list_id", Type: action.String, Required: true, Doc: "The domain list: rslvr-fdl-..."},
				{Name: "subdomains", Type: action.Bool, Default: true, Doc: "Whether all names below the domain are blocked too."},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, lists, nil, "route53resolver:GetFirewallDomainList", "route53resolver:ListFirewallDomains"),
				permit(action.PlanPhase, "*", nil, "route53resolver:ListFirewallRuleGroups", "route53resolver:ListFirewallRules",
					"route53resolver:ListFirewallRuleGroupAssociations"),
				permit(action.ApplyPhase, lists, nil, "route53resolver:UpdateFirewallDomains"),
				permit(action.UndoPhase, lists, nil, "route53resolver:UpdateFirewallDomains"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return c.resolverList(in, in.Params.String("list_id"))
		},
		Read: c.readDomains,
		Want: func(in action.Input, now domains) (domains, error) {
			wanted, err := wantedDomains(in)
			return domains{wanted}, err
		},
		Write: c.writeDomains,
		Calls: func(in action.Input, from, to domains) []string {
			return []string{fmt.Sprintf("route53resolver:UpdateFirewallDomains %s: ADD %s", in.Params.String("list_id"), strings.Join(to.without(from), ", "))}
		},
		Summary: func(in action.Input, from, to domains) string {
			return fmt.Sprintf("add %s to the domain list %s", strings.Join(to.without(from), ", "), in.Params.String("list_id"))
		},
		Facts: c.domainFacts,
		Between: func(from, now, to domains) bool {
			return len(domains{now.without(from)}.without(to)) == 0
		},
	}}
}

func (d domains) without(other domains) []string {
	return slices.DeleteFunc(slices.Clone(d.There), func(name string) bool { return slices.Contains(other.There, name) })
}

// resolverList is a domain list as an entity.
func (c *Cloud) resolverList(in action.Input, id string) entity.Entity {
	name := arn.ARN{Partition: c.self.Partition, Service: "route53resolver", Region: in.Region, AccountID: in.Account, Resource: "firewall-domain-list/" + id}
	return entity.Entity{Kind: entity.Resource, ID: id, Provider: "aws", Account: in.Account, Region: in.Region, ARN: name.String()}
}

// wantedDomains are the entries by which the domain is blocked, sorted.
func wantedDomains(in action.Input) ([]string, error) {
	domain, err := blockableDomain(in.Params.String("domain"))
	if err != nil {
		return nil, err
	}
	if in.Params.Bool("subdomains") {
		return []string{"*." + domain, domain}, nil
	}
	return []string{domain}, nil
}

var domainListForm = shaped(`^rslvr-fdl-[0-9a-z]{1,40}$`)

// domainList reads a domain list, which must be the account's own.
func (c *Cloud) domainList(ctx context.Context, in action.Input) (*route53resolver.Client, types.FirewallDomainList, error) {
	var none types.FirewallDomainList
	id := in.Params.String("list_id")
	if !domainListForm.MatchString(id) {
		return nil, none, fault.New(fault.Invalid, "list_id: %q is not the id of a domain list: rslvr-fdl-...", shorten(id))
	}
	api, err := c.resolver(in.Place)
	if err != nil {
		return nil, none, err
	}
	got, err := api.GetFirewallDomainList(ctx, &route53resolver.GetFirewallDomainListInput{FirewallDomainListId: aws.String(id)})
	if err != nil {
		return nil, none, fmt.Errorf("read domain list %s: %w", id, classify(err))
	}
	if got.FirewallDomainList == nil {
		return nil, none, fault.New(fault.Transient, "the answer about the domain list %s is empty", id)
	}
	list := *got.FirewallDomainList
	if owner := aws.ToString(list.ManagedOwnerName); owner != "" {
		return nil, none, fault.New(fault.Denied, "the domain list %s is managed by %s, which alone can change it", id, shorten(owner))
	}
	if parsed, err := arn.Parse(aws.ToString(list.Arn)); err == nil {
		return api, list, ownedBy(in, "the domain list "+id, parsed.AccountID)
	}
	return api, list, nil
}

func (c *Cloud) readDomains(ctx context.Context, in action.Input) (domains, error) {
	state := domains{There: []string{}}
	wanted, err := wantedDomains(in)
	if err != nil {
		return state, err
	}
	api, list, err := c.domainList(ctx, in)
	if err != nil {
		return state, err
	}
	pages := route53resolver.NewListFirewallDomainsPaginator(api,
		&route53resolver.ListFirewallDomainsInput{FirewallDomainListId: list.Id, MaxResults: aws.Int32(5000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list domains of %s: %w", aws.ToString(list.Id), classify(err))
		}
		for _, entry := range page.Domains {
			if name := strings.ToLower(strings.TrimSuffix(entry, ".")); slices.Contains(wanted, name) { // Resolver keeps them with a dot
				state.There = append(state.There, name)
			}
		}
	}
	slices.Sort(state.There)
	return domains{slices.Compact(state.There)}, nil
}

func (c *Cloud) writeDomains(ctx context.Context, in action.Input, from, to domains) (domains, error) {
	api, list, err := c.domainList(ctx, in)
	if err != nil {
		return to, err
	}
	for _, part := range []struct {
		operation types.FirewallDomainUpdateOperation
		names     []string
	}{
		{types.FirewallDomainUpdateOperationAdd, to.without(from)}, {types.FirewallDomainUpdateOperationRemove, from.without(to)},
	} {
		if len(part.names) == 0 {
			continue
		}
		_, err := api.UpdateFirewallDomains(ctx, &route53resolver.UpdateFirewallDomainsInput{
			FirewallDomainListId: list.Id, Operation: part.operation, Domains: part.names,
		})
		if codeIs(err, "LimitExceededException") {
			return to, fault.WithHint(fault.New(fault.Conflict, "the domain list %s takes no more domains: %w", aws.ToString(list.Id), err), "undo older blocks")
		}
		if err != nil {
			return to, fmt.Errorf("%s domains of %s: %w", part.operation, aws.ToString(list.Id), classify(err))
		}
	}
	return to, nil
}

func (c *Cloud) domainFacts(ctx context.Context, in action.Input, _ domains, change *action.Change) error {
	api, list, err := c.domainList(ctx, in)
	if err != nil {
		return err
	}
	blocks := 0
	groups := route53resolver.NewListFirewallRuleGroupsPaginator(api, &route53resolver.ListFirewallRuleGroupsInput{})
	for groups.HasMorePages() {
		page, err := groups.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list rule groups of DNS Firewall: %w", classify(err))
		}
		for _, group := range page.FirewallRuleGroups {
			rules, err := rulesBy(ctx, api, group.Id, list.Id)
			if err != nil {
				return err
			}
			for _, rule := range rules {
				if rule.Action == types.ActionAllow {
					return fault.WithHint(fault.New(fault.Invalid, "the rule %s of the rule group %s allows by the domain list %s: adding the domain would help it",
						aws.ToString(rule.Name), aws.ToString(group.Name), aws.ToString(list.Id)), "name a list by which only rules that block go")
				}
				if rule.Action == types.ActionBlock {
					blocks++
				}
			}
			if len(rules) > 0 {
				change.Impact = append(change.Impact, fmt.Sprintf("the rule group %s goes by the list, to %s, %s", aws.ToString(group.Name),
					strings.ToLower(string(rules[0].Action)), vpcsOf(ctx, api, group.Id)))
			}
		}
	}
	if blocks == 0 {
		change.Impact = append(change.Impact, "NO rule blocks by this domain list: the domain is only listed until one does")
	}
	return nil
}

// rulesBy gives the rules of a group that go by a list.
func rulesBy(ctx context.Context, api *route53resolver.Client, group, list *string) ([]types.FirewallRule, error) {
	var found []types.FirewallRule
	pages := route53resolver.NewListFirewallRulesPaginator(api, &route53resolver.ListFirewallRulesInput{FirewallRuleGroupId: group})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list rules of %s: %w", aws.ToString(group), classify(err))
		}
		for _, rule := range page.FirewallRules {
			if aws.ToString(rule.FirewallDomainListId) == aws.ToString(list) {
				found = append(found, rule)
			}
		}
	}
	return found, nil
}

// vpcsOf says in which VPCs a rule group holds.
func vpcsOf(ctx context.Context, api *route53resolver.Client, group *string) string {
	var vpcs []string
	pages := route53resolver.NewListFirewallRuleGroupAssociationsPaginator(api,
		&route53resolver.ListFirewallRuleGroupAssociationsInput{FirewallRuleGroupId: group})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return unread("in which VPCs", classify(err))
		}
		for _, each := range page.FirewallRuleGroupAssociations {
			vpcs = append(vpcs, aws.ToString(each.VpcId))
		}
	}
	const most = 5
	switch {
	case len(vpcs) == 0:
		return "in NO VPC"
	case len(vpcs) > most:
		return fmt.Sprintf("in %s and %d more VPCs", strings.Join(vpcs[:most], ", "), len(vpcs)-most)
	}
	return "in " + strings.Join(vpcs, ", ")
}
