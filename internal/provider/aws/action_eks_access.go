package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// admission is how a principal of IAM's is let into a cluster.
type admission struct {
	There    bool              `json:"there"`
	Username string            `json:"username,omitempty"`
	Groups   []string          `json:"groups,omitempty"`
	Type     string            `json:"type,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Policies []accessPolicy    `json:"policies,omitempty"` // sorted by ARN

	cluster *types.Cluster
}

type accessPolicy struct {
	ARN        string   `json:"arn"`
	Scope      string   `json:"scope"`
	Namespaces []string `json:"namespaces,omitempty"`
}

// standardEntry is the type of entries that aren't of nodes.
const standardEntry = "STANDARD"

// removeAccessEntry makes aws.eks.remove_access_entry.
func removeAccessEntry(c *Cloud) *placed[admission] {
	return setting(c, action.Setting[admission]{
		About: removeEntrySpec(),
		Target: func(in action.Input) entity.Entity {
			principal := in.Params.String("principal")
			return entity.Entity{
				Kind: entity.Principal, ID: principal, Part: entity.Target, Provider: "aws", Account: c.here(in.Place).Account, ARN: principal,
			}
		},
		Read: c.readAdmission,
		Want: func(_ action.Input, now admission) (admission, error) {
			if now.There && now.Type != standardEntry {
				return now, fault.WithHint(fault.New(fault.Invalid, "the entry is one of nodes (type %s): without it they all lose the cluster", now.Type),
					"isolate the instance, or quarantine the pods, instead")
			}
			return admission{}, nil
		},
		Write: c.writeAdmission,
		Calls: func(in action.Input, _, _ admission) []string {
			return []string{"eks:DeleteAccessEntry " + in.Params.String("cluster") + ", " + in.Params.String("principal")}
		},
		Summary: func(in action.Input, from, _ admission) string {
			return fmt.Sprintf("%s is no longer let into cluster %s%s", in.Params.String("principal"), in.Params.String("cluster"),
				flip(from.There, "", " (it had no entry)"))
		},
		// Undo makes the entry, then gives it one policy after another.
		Between: func(_, now, to admission) bool {
			if !to.There {
				return false
			}
			bare := now
			bare.Policies = to.Policies
			return sameAdmission(bare, to) && len(missingPolicies(now.Policies, to.Policies)) == 0
		},
		Facts: c.admissionFacts,
	})
}

// sameAdmission compares all but what is not kept.
func sameAdmission(a, b admission) bool {
	return a.There == b.There && a.Username == b.Username && a.Type == b.Type && slices.Equal(a.Groups, b.Groups) &&
		maps.Equal(a.Tags, b.Tags) && len(missingPolicies(a.Policies, b.Policies)) == 0 && len(a.Policies) == len(b.Policies)
}

// missingPolicies lists those that another list lacks.
func missingPolicies(list, other []accessPolicy) []accessPolicy {
	var missing []accessPolicy
	for _, p := range list {
		same := func(o accessPolicy) bool {
			return o.ARN == p.ARN && o.Scope == p.Scope && slices.Equal(o.Namespaces, p.Namespaces)
		}
		if !slices.ContainsFunc(other, same) {
			missing = append(missing, p)
		}
	}
	return missing
}

func removeEntrySpec() action.Spec {
	const entries = "arn:{partition}:eks:{region}:{account}:access-entry/*"
	clusters := clusterNaming().all()
	return action.Spec{
		Name:    "aws.eks.remove_access_entry",
		Summary: "Take a principal's access to a cluster away",
		Doc: "Deletes the access entry by which a role or user of IAM's is let into the cluster, with the access policies it has. Takes effect " +
			"within about a minute; what the principal made in the cluster stays, service accounts and bindings too. An entry of nodes is " +
			"refused: all nodes of that role would lose the cluster. Where the cluster still reads the ConfigMap aws-auth, " +
			"the principal may be let in by that as well: the plan says so.\n\n" +
			"Undo makes the entry anew, with its name, groups, tags and access policies.",
		Effect: action.Contain,
		Params: []action.Param{
			clusterNaming().takes(),
			{Name: "principal", Type: action.String, Required: true, Entity: entity.Principal, Doc: "ARN of the role or user that has the entry"},
		},
		Permissions: slices.Concat(
			reads(clusters, "eks:DescribeCluster"), reads(entries, "eks:DescribeAccessEntry", "eks:ListAssociatedAccessPolicies"),
			writes(entries, "eks:DeleteAccessEntry"),
			undoes(clusters, "eks:CreateAccessEntry"), undoes(entries, "eks:AssociateAccessPolicy", "eks:DeleteAccessEntry", "eks:TagResource"),
		),
	}
}

// admitted is a step's principal. Sessions are let in by their role's entry.
func admitted(in action.Input) (*string, error) {
	text := in.Params.String("principal")
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "iam" || !strings.HasPrefix(parsed.Resource, "role/") && !strings.HasPrefix(parsed.Resource, "user/") {
		return nil, fault.WithHint(fault.New(fault.Invalid, "principal: %q is not the ARN of a role or user of IAM's", shorten(text)),
			"a session is let in by its role's entry: give the role's ARN")
	}
	return aws.String(text), nil
}

func (c *Cloud) readAdmission(ctx context.Context, in action.Input) (admission, error) {
	principal, err := admitted(in)
	if err != nil {
		return admission{}, err
	}
	found, _, api, err := c.cluster(ctx, in)
	if err != nil {
		return admission{}, err
	}
	got, err := api.DescribeAccessEntry(ctx, &eks.DescribeAccessEntryInput{ClusterName: found.Name, PrincipalArn: principal})
	if gone(err) {
		return admission{cluster: found}, nil
	}
	if err != nil {
		return admission{}, fmt.Errorf("read access entry of %s: %w", *principal, classify(err))
	}
	entry := got.AccessEntry
	state := admission{
		There: true, Username: aws.ToString(entry.Username), Groups: slices.Clone(entry.KubernetesGroups), Type: aws.ToString(entry.Type),
		cluster: found,
	}
	slices.Sort(state.Groups)
	if len(entry.Tags) > 0 {
		state.Tags = entry.Tags
	}
	pages := eks.NewListAssociatedAccessPoliciesPaginator(api, &eks.ListAssociatedAccessPoliciesInput{ClusterName: found.Name, PrincipalArn: principal})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return admission{}, fmt.Errorf("list access policies of %s: %w", *principal, classify(err))
		}
		for _, p := range page.AssociatedAccessPolicies {
			one := accessPolicy{ARN: aws.ToString(p.PolicyArn)}
			if p.AccessScope != nil {
				one.Scope, one.Namespaces = string(p.AccessScope.Type), slices.Clone(p.AccessScope.Namespaces)
			}
			slices.Sort(one.Namespaces)
			state.Policies = append(state.Policies, one)
		}
	}
	slices.SortFunc(state.Policies, func(a, b accessPolicy) int { return strings.Compare(a.ARN, b.ARN) })
	return state, nil
}

func (c *Cloud) writeAdmission(ctx context.Context, in action.Input, from, to admission) (admission, error) {
	principal, err := admitted(in)
	if err != nil {
		return admission{}, err
	}
	found, _, api, err := c.cluster(ctx, in)
	if err != nil {
		return admission{}, err
	}
	if from.There && !sameBare(from, to) {
		_, err := api.DeleteAccessEntry(ctx, &eks.DeleteAccessEntryInput{ClusterName: found.Name, PrincipalArn: principal})
		if err != nil && !gone(err) {
			return admission{}, fmt.Errorf("delete access entry of %s: %w", *principal, classify(err))
		}
		from = admission{}
	}
	if !to.There {
		return to, nil
	}
	if !from.There {
		entry := &eks.CreateAccessEntryInput{
			ClusterName: found.Name, PrincipalArn: principal, KubernetesGroups: to.Groups, Tags: to.Tags, Type: aws.String(to.Type),
		}
		if to.Username != defaultUsername(*principal) { // EKS refuses its own default from others
			entry.Username = optional(to.Username)
		}
		if _, err := api.CreateAccessEntry(ctx, entry); err != nil {
			return admission{}, fmt.Errorf("make access entry of %s: %w", *principal, classify(err))
		}
	}
	for _, p := range missingPolicies(to.Policies, from.Policies) {
		_, err := api.AssociateAccessPolicy(ctx, &eks.AssociateAccessPolicyInput{
			ClusterName: found.Name, PrincipalArn: principal, PolicyArn: aws.String(p.ARN),
			AccessScope: &types.AccessScope{Type: types.AccessScopeType(p.Scope), Namespaces: p.Namespaces},
		})
		if err != nil {
			return admission{}, fmt.Errorf("give %s the access policy %s: %w", *principal, p.ARN, classify(err))
		}
	}
	return to, nil
}

// sameBare reports whether one entry becomes the other by adding policies.
func sameBare(from, to admission) bool {
	whole := from
	whole.Policies = to.Policies
	return sameAdmission(whole, to) && len(missingPolicies(from.Policies, to.Policies)) == 0
}

// defaultUsername is the name in the cluster that EKS gives a principal of whom nothing else is said.
func defaultUsername(principal string) string {
	parsed, err := arn.Parse(principal)
	if err != nil || !strings.HasPrefix(parsed.Resource, "role/") {
		return principal
	}
	parsed.Service = "sts"
	parsed.Resource = "assumed-role/" + parsed.Resource[strings.LastIndexByte(parsed.Resource, '/')+1:] + "/{{SessionName}}"
	return parsed.String()
}

func (c *Cloud) admissionFacts(_ context.Context, in action.Input, now admission, change *action.Change) error {
	cluster := clusterNaming().target(c)(in)
	cluster.Part = entity.Context
	change.Touches = []entity.Entity{cluster}
	change.Tags = now.Tags
	if !now.There {
		return nil
	}
	for i, p := range now.Policies {
		if i == mostNamed {
			break
		}
		change.Impact = append(change.Impact, fmt.Sprintf("it loses %s (%s)", p.ARN[strings.LastIndexByte(p.ARN, '/')+1:], p.Scope))
	}
	if len(now.Groups) > 0 {
		change.Impact = append(change.Impact, "it is no longer in the groups "+strings.Join(now.Groups, ", "))
	}
	change.Impact = append(change.Impact, "everybody who works in the cluster by this role or user loses it, people and pipelines alike")
	if access := now.cluster.AccessConfig; access == nil || access.AuthenticationMode != types.AuthenticationModeApi {
		change.Impact = append(change.Impact, "the cluster reads the ConfigMap aws-auth, too: look whether that lets it in")
	}
	return nil
}
