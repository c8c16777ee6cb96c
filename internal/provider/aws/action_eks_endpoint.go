package aws

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var clusterForm = shaped(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

func clusterNaming() naming {
	return naming{what: "EKS cluster", param: "cluster", kind: entity.Cluster, service: "eks", prefix: "cluster/", form: clusterForm}
}

// cluster reads a cluster of the step's account, with a client of its region.
func (c *Cloud) cluster(ctx context.Context, in action.Input) (*types.Cluster, action.Place, *eks.Client, error) {
	name, at, err := clusterNaming().find(c, in)
	if err != nil {
		return nil, at, nil, err
	}
	api, err := service(c, at, eks.NewFromConfig)
	if err != nil {
		return nil, at, nil, err
	}
	got, err := api.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: aws.String(name)})
	if err != nil {
		return nil, at, nil, fmt.Errorf("read cluster %s: %w", name, classify(err))
	}
	if got.Cluster == nil || aws.ToString(got.Cluster.Name) != name {
		return nil, at, nil, fault.New(fault.NotFound, "there is no cluster %s", name)
	}
	return got.Cluster, at, api, nil
}

// endpointAccess is from where a cluster's API server can be reached.
type endpointAccess struct {
	Public  bool     `json:"public"`
	Private bool     `json:"private"` // from the cluster's VPC
	CIDRs   []string `json:"cidrs"`   // from which it is public

	cluster *types.Cluster
}

// restrictEndpoint makes aws.eks.restrict_endpoint.
func restrictEndpoint(c *Cloud) *slow[endpointAccess] {
	return slowly(c, action.Setting[endpointAccess]{
		About:  restrictEndpointSpec(),
		Target: clusterNaming().target(c),
		Read:   c.readEndpoint,
		Want:   wantEndpoint,
		Write:  c.writeEndpoint,
		Calls: func(in action.Input, _, to endpointAccess) []string {
			return []string{fmt.Sprintf("eks:UpdateClusterConfig %s: %s", in.Params.String("cluster"), to)}
		},
		Summary: func(in action.Input, from, to endpointAccess) string {
			return fmt.Sprintf("The API server of cluster %s can be reached %s (%s before)", in.Params.String("cluster"), to, from)
		},
		Facts: func(_ context.Context, _ action.Input, now endpointAccess, c *action.Change) error {
			c.Tags = now.cluster.Tags
			c.Impact = []string{
				"people, pipelines and tools that reach the API server from elsewhere can't any more, Riposte among them: it quarantines pods through it",
				"the update takes minutes, in which the cluster takes no other; what runs in the cluster goes on",
			}
			if !now.Private {
				c.Impact = append(c.Impact, "nodes reached the API server at its public address; they do so within the VPC from now on, which "+
					"needs the VPC's DNS resolution and DNS hostnames")
			}
			return nil
		},
	})
}

// String says in words from where.
func (e endpointAccess) String() string {
	inside := flip(e.Private, "from its VPC", "")
	outside := flip(e.Public, "from "+strings.Join(e.CIDRs, ", "), "")
	if inside != "" && outside != "" {
		return inside + " and " + outside
	}
	return inside + outside
}

func restrictEndpointSpec() action.Spec {
	return action.Spec{
		Name:    "aws.eks.restrict_endpoint",
		Summary: "Limit from where a cluster's API server can be reached",
		Doc: "Lets only the given ranges of addresses reach the public endpoint of the cluster's API server, or, where none are given, turns " +
			"the public endpoint off. Access from the VPC is always turned on with it, so that nodes don't lose their API server. EKS takes " +
			"minutes for it; the step waits. Connections that are open may outlive it: who holds credentials can be " +
			"taken off the cluster by `aws.eks.remove_access_entry`.\n\n" +
			"A public endpoint that is off is never turned on. Undo sets both endpoints and the ranges as they were.",
		Effect: action.Contain,
		Params: []action.Param{
			clusterNaming().takes(),
			{Name: "cidrs", Type: action.Strings, Doc: "ranges that keep public access: 203.0.113.0/24; none: the endpoint is private"},
		},
		Timeout: time.Minute, Settle: 15 * time.Minute, Within: time.Hour,
		Permissions: slices.Concat(
			reads(clusterNaming().all(), "eks:DescribeCluster"), writes(clusterNaming().all(), "eks:UpdateClusterConfig"),
			undoes(clusterNaming().all(), "eks:UpdateClusterConfig"),
		),
	}
}

// wantEndpoint limits a public endpoint to a step's ranges.
func wantEndpoint(in action.Input, now endpointAccess) (endpointAccess, error) {
	want := endpointAccess{Private: true, CIDRs: now.CIDRs}
	for _, text := range in.Params.Strings("cidrs") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || wide(text) {
			return now, fault.New(fault.Invalid, "cidrs: %q is no range of addresses, or one so wide that it bounds nobody", shorten(text))
		}
		if !want.Public {
			want.Public, want.CIDRs = now.Public, []string{}
		}
		want.CIDRs = append(want.CIDRs, prefix.Masked().String())
	}
	if !now.Public { // its ranges say nothing
		want.Public, want.CIDRs = false, now.CIDRs
	}
	slices.Sort(want.CIDRs)
	want.CIDRs = slices.Compact(want.CIDRs)
	return want, nil
}

func (c *Cloud) readEndpoint(ctx context.Context, in action.Input) (endpointAccess, error) {
	found, _, _, err := c.cluster(ctx, in)
	if err != nil {
		return endpointAccess{}, err
	}
	switch found.Status {
	case types.ClusterStatusUpdating, types.ClusterStatusCreating, types.ClusterStatusPending:
		return endpointAccess{}, underway("cluster", aws.ToString(found.Name), string(found.Status))
	case types.ClusterStatusActive, types.ClusterStatusDeleting, types.ClusterStatusFailed:
	}
	state := endpointAccess{CIDRs: []string{}, cluster: found}
	if network := found.ResourcesVpcConfig; network != nil {
		state.Public, state.Private = network.EndpointPublicAccess, network.EndpointPrivateAccess
		state.CIDRs = append(state.CIDRs, network.PublicAccessCidrs...)
	}
	slices.Sort(state.CIDRs)
	return state, nil
}

func (c *Cloud) writeEndpoint(ctx context.Context, in action.Input, from, to endpointAccess) (endpointAccess, error) {
	found, _, api, err := c.cluster(ctx, in)
	if err != nil {
		return endpointAccess{}, err
	}
	network := &types.VpcConfigRequest{EndpointPublicAccess: aws.Bool(to.Public), EndpointPrivateAccess: aws.Bool(to.Private)}
	if !slices.Equal(from.CIDRs, to.CIDRs) {
		network.PublicAccessCidrs = to.CIDRs
	}
	_, err = api.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{Name: found.Name, ResourcesVpcConfig: network})
	if err != nil {
		return endpointAccess{}, fmt.Errorf("set endpoints of cluster %s: %w", aws.ToString(found.Name), classify(err))
	}
	return to, nil
}
