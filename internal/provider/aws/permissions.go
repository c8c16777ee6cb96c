package aws

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Part is which of Riposte's roles at AWS a policy is for.
type Part string

// The parts.
const (
	// Home is the role that Riposte runs as: it reads queues, acts in its own account and assumes the others.
	Home Part = "home"
	// Member is the role that is assumed to act in another account.
	Member Part = "member"
)

// Use is who needs a permission: an action of a playbook's step or of a channel, or Riposte itself.
type Use struct {
	Playbook string       `json:"playbook,omitempty"`
	Step     string       `json:"step,omitempty"`
	Channel  string       `json:"channel,omitempty"`
	Action   string       `json:"action,omitempty"`
	Phase    action.Phase `json:"phase,omitempty"`
	// For says in words what it is for where no action needs it.
	For string `json:"for,omitempty"`
}

// String is the use as people read it.
func (u Use) String() string {
	switch {
	case u.Playbook != "":
		return fmt.Sprintf("%s, step %s: %s of %s", u.Playbook, u.Step, u.Phase, u.Action)
	case u.Channel != "":
		return fmt.Sprintf("channel %s: %s", u.Channel, u.Action)
	}
	return u.For
}

// Duty is an action that something in force uses.
type Duty struct {
	Spec action.Spec
	Uses []Use
}

// Need is one permission, where it is needed, and who needs it.
type Need struct {
	Permission string                         `json:"permission"`
	Resource   string                         `json:"resource"`
	Conditions map[string]map[string][]string `json:"conditions,omitempty"`
	Uses       []Use                          `json:"uses,omitempty"`
}

func (n Need) key() string {
	return n.Permission + "|" + n.Resource + "|" + fmt.Sprint(n.Conditions) // maps print in the order of their keys
}

// Source is what one source reads at AWS.
type Source struct {
	Queue   string   // ARN of the SQS queue
	Buckets []string // ARNs of the buckets whose objects its messages announce
	Keys    []string // ARNs of the KMS keys with which queue and objects are encrypted, if any
}

// Source tells what the queue's source reads, for its policy.
func (q QueueConfig) Source(self Self) (Source, error) {
	place, err := parseQueueURL(q.URL, self)
	if err != nil {
		return Source{}, err
	}
	read := Source{Queue: place.arn(self.Partition)}
	for _, name := range q.Buckets {
		read.Buckets = append(read.Buckets, arn.ARN{Partition: self.Partition, Service: "s3", Resource: name}.String())
	}
	return read, nil
}

// Places say for where permissions are. What is empty stands for anywhere.
type Places struct {
	Partition string // aws if empty
	Account   string // in which the actions act
	Regions   []string
}

// Symbols are places that a template's own parameters take.
func Symbols(regions []string) Places {
	return Places{Partition: partitionSymbol, Account: accountSymbol, Regions: regions}
}

// The places that actions name in their permissions.
const (
	partitionSymbol = "{partition}"
	accountSymbol   = "{account}"
	regionSymbol    = "{region}"
)

// PartitionOf is the partition that a region is in, by its name; aws if nothing says otherwise.
func PartitionOf(region string) string {
	for prefix, partition := range map[string]string{
		"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b",
	} {
		if strings.HasPrefix(region, prefix) {
			return partition
		}
	}
	return "aws"
}

// Asked says for which role and place permissions are asked.
type Asked struct {
	Part Part
	At   Places
	// Role is the name or path of the role itself; it may look what it may do.
	Role string
}

// Needs lists every permission that a role must have, sorted, each once: for each action that is used, to
// plan, apply and undo it; for the home role also to read the queues, to discover accounts and to assume the
// role in them. It is of kind Invalid where there is no such role.
func (o Config) Needs(asked Asked, duties []Duty, queues []QueueConfig) ([]Need, error) {
	needs := newNeeds(asked.At)
	acts := true
	switch asked.Part {
	case Member:
		if o.RoleName() == "" {
			return nil, fault.WithHint(fault.New(fault.Invalid, "no role is assumed in other accounts"),
				"set aws.assume_role or aws.organization.role, or ask for the home role")
		}
		asked.Role = o.RoleName()
	case Home:
		acts = asked.At.Account == "" || !slices.Contains(o.Organization.Exclude.Accounts, asked.At.Account)
		if err := needs.addSources(queues, o.Region); err != nil {
			return nil, err
		}
		needs.addAccounts(o)
	default:
		return nil, fault.New(fault.Invalid, "%q is neither the home nor the member role", asked.Part)
	}
	if acts {
		for _, duty := range duties {
			needs.addDuty(duty)
		}
	}
	if asked.Role != "" {
		if !roleForm.MatchString(asked.Role) {
			return nil, fault.New(fault.Invalid, "%.100q is no name of a role", asked.Role)
		}
		if len(needs.list()) == 0 {
			return nil, nil // there is nothing to look at beforehand either
		}
		needs.add("iam:SimulatePrincipalPolicy", "arn:{partition}:iam::{account}:role/"+asked.Role, nil, Use{For: "riposte preflight"})
	}
	return needs.list(), nil
}

// needs collects permissions.
type needs struct {
	at    Places
	fill  *strings.Replacer
	byKey map[string]*Need
}

func newNeeds(at Places) *needs {
	return &needs{
		at:    at,
		fill:  strings.NewReplacer(partitionSymbol, cmp.Or(at.Partition, "aws"), accountSymbol, cmp.Or(at.Account, "*")),
		byKey: map[string]*Need{},
	}
}

// add notes a permission, once for each region where its resource is in one.
func (n *needs) add(permission, resource string, conditions map[string]map[string][]string, uses ...Use) {
	resource = n.fill.Replace(resource)
	placed := n.place(conditions)
	if !strings.Contains(resource, regionSymbol) || len(n.at.Regions) == 0 {
		n.note(Need{Permission: permission, Resource: strings.ReplaceAll(resource, regionSymbol, "*"), Conditions: placed}, uses)
		return
	}
	for _, region := range n.at.Regions {
		n.note(Need{Permission: permission, Resource: strings.ReplaceAll(resource, regionSymbol, region), Conditions: placed}, uses)
	}
}

func (n *needs) note(one Need, uses []Use) {
	known, ok := n.byKey[one.key()]
	if !ok {
		known = &one
		n.byKey[one.key()] = known
	}
	for _, use := range uses {
		if !slices.Contains(known.Uses, use) {
			known.Uses = append(known.Uses, use)
		}
	}
}

// place fills in conditions where they name places, such as in the ARN of a resource.
func (n *needs) place(conditions map[string]map[string][]string) map[string]map[string][]string {
	if len(conditions) == 0 {
		return nil
	}
	placed := map[string]map[string][]string{}
	for operator, keys := range conditions {
		placed[operator] = map[string][]string{}
		for key, values := range keys {
			list := make([]string, 0, len(values))
			for _, value := range values {
				if !strings.Contains(value, regionSymbol) || len(n.at.Regions) == 0 {
					list = append(list, strings.ReplaceAll(n.fill.Replace(value), regionSymbol, "*"))
					continue
				}
				for _, region := range n.at.Regions {
					list = append(list, strings.ReplaceAll(n.fill.Replace(value), regionSymbol, region))
				}
			}
			placed[operator][key] = list
		}
	}
	return placed
}

func (n *needs) addDuty(d Duty) {
	if !strings.HasPrefix(d.Spec.Name, "aws.") {
		return
	}
	for _, p := range d.Spec.Permissions {
		uses := make([]Use, 0, len(d.Uses))
		for _, use := range d.Uses {
			use.Action, use.Phase = d.Spec.Name, p.Phase
			uses = append(uses, use)
		}
		n.add(p.Name, p.Resource, p.Conditions, uses...)
	}
}

func (n *needs) addSources(queues []QueueConfig, region string) error {
	for i, queue := range queues {
		source, err := queue.Source(Self{Partition: cmp.Or(n.at.Partition, "aws"), Region: cmp.Or(region, "*")})
		if err == nil {
			err = n.addSource(source)
		}
		if err != nil {
			return fmt.Errorf("sources.queues[%d]: %w", i, err)
		}
	}
	return nil
}

func (n *needs) addSource(s Source) error {
	for _, named := range slices.Concat([]string{s.Queue}, s.Buckets, s.Keys) {
		if !arn.IsARN(named) {
			return fault.New(fault.Invalid, "%q is not an ARN", named)
		}
	}
	use := Use{For: "source " + s.Queue}
	for _, name := range []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"} {
		n.add(name, s.Queue, nil, use)
	}
	for _, bucket := range s.Buckets {
		n.add("s3:GetObject", bucket+"/*", nil, use)
	}
	for _, key := range s.Keys {
		n.add("kms:Decrypt", key, nil, use)
	}
	return nil
}

// addAccounts notes what it takes to find the other accounts and to get into them.
func (n *needs) addAccounts(o Config) {
	if o.Organization.Enabled {
		for _, permission := range o.Organization.calls() {
			n.add(permission, "*", nil, Use{For: "discovery of the organisation's accounts"})
		}
	}
	if o.RoleName() == "" {
		return
	}
	for _, account := range o.reachable() {
		n.add("sts:AssumeRole", "arn:{partition}:iam::"+account+":role/"+o.RoleName(), nil, Use{For: "acting in account " + account})
	}
}

// reachable lists the accounts whose role may be assumed; "*" where the configuration does not bound them.
func (o Config) reachable() []string {
	accounts := o.Accounts
	if len(accounts) == 0 && o.Organization.Enabled && len(o.Organization.Include.OUs)+len(o.Organization.Include.Tags) == 0 {
		accounts = o.Organization.Include.Accounts
	}
	if len(accounts) == 0 {
		return []string{"*"}
	}
	return slices.DeleteFunc(slices.Clone(accounts), func(account string) bool {
		return o.Organization.Enabled && slices.Contains(o.Organization.Exclude.Accounts, account)
	})
}

func (n *needs) list() []Need {
	list := make([]Need, 0, len(n.byKey))
	for _, key := range slices.Sorted(maps.Keys(n.byKey)) {
		list = append(list, *n.byKey[key])
	}
	return list
}
