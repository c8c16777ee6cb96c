package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/redshift"
	"github.com/aws/aws-sdk-go-v2/service/redshift/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var warehouseForm = shaped(`^[a-z][a-z0-9-]{0,62}$`)

func warehouseNaming() naming {
	return naming{what: "Redshift cluster", param: "cluster", kind: entity.Resource, service: "redshift", prefix: "cluster:", form: warehouseForm, byARN: true}
}

// warehouse is whether a Redshift cluster has a public address.
type warehouse struct {
	Public bool `json:"public"`

	cluster types.Cluster
}

// makeWarehousePrivate makes aws.redshift.make_private.
func makeWarehousePrivate(c *Cloud) *slow[warehouse] {
	return slowly(c, action.Setting[warehouse]{
		About:  warehouseSpec(),
		Target: warehouseNaming().target(c),
		Read:   c.readWarehouse,
		Want:   func(action.Input, warehouse) (warehouse, error) { return warehouse{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to warehouse) (warehouse, error) {
			name, at, err := warehouseNaming().find(c, in)
			if err != nil {
				return warehouse{}, err
			}
			api, err := service(c, at, redshift.NewFromConfig)
			if err != nil {
				return warehouse{}, err
			}
			_, err = api.ModifyCluster(ctx, &redshift.ModifyClusterInput{ClusterIdentifier: aws.String(name), PubliclyAccessible: aws.Bool(to.Public)})
			if err != nil {
				return warehouse{}, fmt.Errorf("set public access of Redshift cluster %s to %t: %w", name, to.Public, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, to warehouse) []string {
			return []string{fmt.Sprintf("redshift:ModifyCluster %s, PubliclyAccessible=%t", in.Params.String("cluster"), to.Public)}
		},
		Summary: func(in action.Input, from, _ warehouse) string {
			return fmt.Sprintf("Redshift cluster %s has no public address (%s before)", in.Params.String("cluster"),
				flip(from.Public, "it had one", "it had none"))
		},
		Facts: func(_ context.Context, _ action.Input, now warehouse, c *action.Change) error {
			c.Tags = tagMap(now.cluster.Tags, func(t types.Tag) (key, value *string) { return t.Key, t.Value })
			c.Impact = []string{
				"clients outside the VPC can't reach the cluster any more; reports and pipelines of other services may be among them",
				"the cluster may be unavailable for some minutes while it changes",
			}
			if now.cluster.ElasticIpStatus != nil {
				c.Impact = append(c.Impact, "it has an Elastic IP address, which it gives up; undo doesn't bring that back")
			}
			return nil
		},
	})
}

func warehouseSpec() action.Spec {
	all := warehouseNaming().all()
	return action.Spec{
		Name:    "aws.redshift.make_private",
		Summary: "Take a Redshift cluster's public address away",
		Doc: "Sets PubliclyAccessible to false: the cluster can be reached from its VPC alone. It takes minutes, which the step waits for. Security " +
			"groups, users and snapshots stay as they are.\n\nUndo gives it a public address again, another than before.",
		Effect: action.Contain, Params: []action.Param{warehouseNaming().takes()},
		Timeout: time.Minute, Settle: 15 * time.Minute, Within: time.Hour,
		Permissions: slices.Concat(
			reads(all, "redshift:DescribeClusters"), writes(all, "redshift:ModifyCluster"), undoes(all, "redshift:ModifyCluster"),
		),
	}
}

func (c *Cloud) readWarehouse(ctx context.Context, in action.Input) (warehouse, error) {
	name, at, err := warehouseNaming().find(c, in)
	if err != nil {
		return warehouse{}, err
	}
	api, err := service(c, at, redshift.NewFromConfig)
	if err != nil {
		return warehouse{}, err
	}
	got, err := api.DescribeClusters(ctx, &redshift.DescribeClustersInput{ClusterIdentifier: aws.String(name)})
	if err != nil {
		return warehouse{}, fmt.Errorf("read Redshift cluster %s: %w", name, classify(err))
	}
	if len(got.Clusters) == 0 {
		return warehouse{}, fault.New(fault.NotFound, "there is no Redshift cluster %s", name)
	}
	found := got.Clusters[0]
	status := aws.ToString(found.ClusterStatus)
	pending := found.PendingModifiedValues != nil && found.PendingModifiedValues.PubliclyAccessible != nil
	if pending || slices.Contains([]string{"modifying", "creating", "rebooting", "renaming", "resizing", "updating-hsm"}, status) {
		return warehouse{}, underway("Redshift cluster", name, status)
	}
	return warehouse{Public: aws.ToBool(found.PubliclyAccessible), cluster: found}, nil
}
