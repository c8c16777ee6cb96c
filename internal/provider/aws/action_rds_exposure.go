package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// The names of RDS, as its API wants them: letters, digits and hyphens, a letter first.
var (
	dbForm         = shaped(`^[A-Za-z][A-Za-z0-9-]{0,62}$`)
	dbSnapshotForm = shaped(`^(rds:|awsbackup:)?[A-Za-z][A-Za-z0-9-]{0,254}$`)
)

func dbInstance() naming {
	return naming{what: "RDS instance", param: "database", kind: entity.Database, service: "rds", prefix: "db:", form: dbForm}
}

// changingDB are the states of an instance in which a change of it goes on.
func changingDB(status string) bool {
	return slices.Contains([]string{
		"creating", "modifying", "rebooting", "renaming", "upgrading", "starting", "stopping", "maintenance",
		"moving-to-vpc", "converting-to-vpc", "resetting-master-credentials",
	}, status)
}

// dbInstance reads an instance of the step's account, with a client of its region.
func (c *Cloud) dbInstance(ctx context.Context, in action.Input) (types.DBInstance, *rds.Client, error) {
	name, at, err := dbInstance().find(c, in)
	if err != nil {
		return types.DBInstance{}, nil, err
	}
	api, err := service(c, at, rds.NewFromConfig)
	if err != nil {
		return types.DBInstance{}, nil, err
	}
	got, err := api.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String(name)})
	if err != nil {
		return types.DBInstance{}, nil, fmt.Errorf("read RDS instance %s: %w", name, classify(err))
	}
	for _, found := range got.DBInstances {
		if strings.EqualFold(aws.ToString(found.DBInstanceIdentifier), name) {
			return found, api, nil
		}
	}
	return types.DBInstance{}, nil, fault.New(fault.NotFound, "account %s has no RDS instance %s in %s", at.Account, name, at.Region)
}

func (c *Cloud) countDBs(ctx context.Context, at action.Place) (int, error) {
	api, err := service(c, at, rds.NewFromConfig)
	if err != nil {
		return 0, err
	}
	count := 0
	for pages := rds.NewDescribeDBInstancesPaginator(api, &rds.DescribeDBInstancesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("list RDS instances: %w", classify(err))
		}
		count += len(page.DBInstances)
	}
	return count, nil
}

func rdsTags(list []types.Tag) map[string]string {
	return tagMap(list, func(t types.Tag) (key, value *string) { return t.Key, t.Value })
}

// reachable is whether a database has a public address.
type reachable struct {
	Public bool `json:"public"`

	instance types.DBInstance
}

// dbPrivacy is aws.rds.make_private.
type dbPrivacy struct {
	slow[reachable]
	among *census
}

func makeDBPrivate(c *Cloud) *dbPrivacy {
	read := func(ctx context.Context, in action.Input) (reachable, error) {
		found, _, err := c.dbInstance(ctx, in)
		if err == nil && changingDB(aws.ToString(found.DBInstanceStatus)) {
			err = underway("RDS instance", aws.ToString(found.DBInstanceIdentifier), aws.ToString(found.DBInstanceStatus))
		}
		return reachable{Public: aws.ToBool(found.PubliclyAccessible), instance: found}, err
	}
	return &dbPrivacy{slow: *slowly(c, action.Setting[reachable]{
		About:  dbPrivateSpec(),
		Target: dbInstance().target(c),
		Read:   read,
		Want:   func(action.Input, reachable) (reachable, error) { return reachable{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to reachable) (reachable, error) {
			found, api, err := c.dbInstance(ctx, in)
			if err != nil {
				return reachable{}, err
			}
			// Without ApplyImmediately: this takes effect at once anyhow, and with it every change that waits
			// for the maintenance window would, too.
			_, err = api.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{
				DBInstanceIdentifier: found.DBInstanceIdentifier, PubliclyAccessible: aws.Bool(to.Public),
			})
			if err != nil {
				return reachable{}, fmt.Errorf("set public access of RDS instance %s to %t: %w", aws.ToString(found.DBInstanceIdentifier), to.Public, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, to reachable) []string {
			return []string{fmt.Sprintf("rds:ModifyDBInstance %s, PubliclyAccessible=%t", in.Params.String("database"), to.Public)}
		},
		Summary: func(in action.Input, from, _ reachable) string {
			return fmt.Sprintf("RDS instance %s has no public address (%s before)", in.Params.String("database"),
				flip(from.Public, "it had one", "it had none"))
		},
		Facts: func(_ context.Context, _ action.Input, now reachable, c *action.Change) error {
			c.Tags = rdsTags(now.instance.TagList)
			c.Impact = dbPrivateImpact(now.instance)
			return nil
		},
	}), among: newCensus(c.countDBs)}
}

// Population counts the instances at a place.
func (d *dbPrivacy) Population(ctx context.Context, at action.Place) (int, error) {
	return d.among.of(ctx, d.cloud.here(at))
}

func dbPrivateSpec() action.Spec {
	return action.Spec{
		Name:    "aws.rds.make_private",
		Summary: "Take a database instance's public address away",
		Doc: "Sets PubliclyAccessible to false: from outside its VPC the instance's name no longer leads to it. RDS takes some " +
			"minutes; the step waits for them. Security groups stay as they are, and so do connections that are already " +
			"open: pair it with `aws.ec2.revoke_ingress`. No other change that waits for the maintenance window is applied " +
			"with it. An instance of an Aurora cluster is changed alone, not its neighbours.\n\n" +
			"Undo gives it a public address again, another than before.",
		Effect: action.Contain, Params: []action.Param{dbInstance().takes()},
		Timeout: time.Minute, Settle: 10 * time.Minute, Within: 45 * time.Minute,
		Permissions: slices.Concat(
			reads(dbInstance().all(), "rds:DescribeDBInstances"),
			writes(dbInstance().all(), "rds:ModifyDBInstance"), undoes(dbInstance().all(), "rds:ModifyDBInstance"),
		),
	}
}

func dbPrivateImpact(found types.DBInstance) []string {
	impact := []string{
		fmt.Sprintf("clients outside the VPC can't open connections to this %s instance any more", aws.ToString(found.Engine)),
		"connections that are open stay open until they end",
	}
	if replicas := len(found.ReadReplicaDBInstanceIdentifiers); replicas > 0 {
		impact = append(impact, fmt.Sprintf("it has %d read replicas, which keep their own addresses", replicas))
	}
	if groups := len(found.VpcSecurityGroups); groups > 0 {
		impact = append(impact, fmt.Sprintf("its %d security groups stay as they are", groups))
	}
	return impact
}

// shared is with which accounts something is shared. "all" is everybody.
type sharedWith struct {
	Accounts []string `json:"accounts"`

	tags   map[string]string
	detail string
}

const anybody = "all"

// The two kinds of snapshots, which may have the same names.
const (
	ofInstance = "instance"
	ofCluster  = "cluster"
)

func dbSnapshot(of string) naming {
	n := naming{what: "RDS snapshot", param: "snapshot", kind: entity.Snapshot, service: "rds", prefix: "snapshot:", form: dbSnapshotForm}
	if of == ofCluster {
		n.what, n.prefix = "RDS cluster snapshot", "cluster-snapshot:"
	}
	return n
}

// snapshotNaming tells of which kind a step's snapshot is: as it says, else as its ARN says.
func snapshotNaming(in action.Input) naming {
	of := in.Params.String("of")
	if of == "" && strings.Contains(in.Params.String("snapshot"), ":cluster-snapshot:") {
		of = ofCluster
	}
	return dbSnapshot(of)
}

// unshareDBSnapshot makes aws.rds.unshare_snapshot.
func unshareDBSnapshot(c *Cloud) *placed[sharedWith] {
	return setting(c, action.Setting[sharedWith]{
		About:  unshareSnapshotSpec(),
		Target: func(in action.Input) entity.Entity { return snapshotNaming(in).target(c)(in) },
		Read:   c.readSnapshotSharing,
		Want:   wantWithdrawn,
		Write:  c.writeSnapshotSharing,
		Calls: func(in action.Input, from, to sharedWith) []string {
			operation := "rds:ModifyDBSnapshotAttribute "
			if snapshotNaming(in).prefix == "cluster-snapshot:" {
				operation = "rds:ModifyDBClusterSnapshotAttribute "
			}
			return []string{operation + in.Params.String("snapshot") + ", remove " + strings.Join(without(from.Accounts, to.Accounts), ", ")}
		},
		Summary: func(in action.Input, from, to sharedWith) string {
			return fmt.Sprintf("RDS snapshot %s is no longer shared with %s", in.Params.String("snapshot"),
				inOneLine(without(from.Accounts, to.Accounts)))
		},
		Facts: func(_ context.Context, _ action.Input, now sharedWith, c *action.Change) error {
			c.Tags = now.tags
			c.Impact = []string{
				"whoever has copied or restored it keeps what they have; treat what is in it as known to them",
				"accounts that restore from it on purpose can't any more", now.detail,
			}
			return nil
		},
	})
}

func unshareSnapshotSpec() action.Spec {
	instances, clusters := dbSnapshot(ofInstance).all(), dbSnapshot(ofCluster).all()
	return action.Spec{
		Name:    "aws.rds.unshare_snapshot",
		Summary: "Stop sharing a database snapshot with everybody and with other accounts",
		Doc: "Removes everybody (`all`) and every account but those of `keep` from those who may restore the snapshot, of an " +
			"instance or of a cluster. What was copied or restored already stays with whoever did it. The snapshot must belong " +
			"to the step's account.\n\n**Undo shares it again** with exactly those it was shared with, the public too.",
		Effect: action.Contain,
		Params: []action.Param{
			dbSnapshot("").takes(),
			{Name: "of", Type: action.String, Enum: []string{ofInstance, ofCluster}, Doc: "what it is a snapshot of; an ARN says so itself"},
			{Name: "keep", Type: action.Strings, Doc: "accounts that it stays shared with"},
		},
		Permissions: slices.Concat(
			reads(instances, "rds:DescribeDBSnapshots", "rds:DescribeDBSnapshotAttributes"),
			reads(clusters, "rds:DescribeDBClusterSnapshots", "rds:DescribeDBClusterSnapshotAttributes"),
			writes(instances, "rds:ModifyDBSnapshotAttribute"), writes(clusters, "rds:ModifyDBClusterSnapshotAttribute"),
			undoes(instances, "rds:ModifyDBSnapshotAttribute"), undoes(clusters, "rds:ModifyDBClusterSnapshotAttribute"),
		),
	}
}

// wantWithdrawn leaves of the accounts those that a step keeps.
func wantWithdrawn(in action.Input, now sharedWith) (sharedWith, error) {
	keep := in.Params.Strings("keep")
	for _, account := range keep {
		if !IsAccount(account) {
			return now, fault.New(fault.Invalid, "keep: %q is no account: its id has 12 digits", shorten(account))
		}
	}
	kept := []string{}
	for _, account := range now.Accounts {
		if slices.Contains(keep, account) {
			kept = append(kept, account)
		}
	}
	return sharedWith{Accounts: kept}, nil
}

// without gives what is in a list and not in another.
func without(list, other []string) []string {
	var left []string
	for _, item := range list {
		if !slices.Contains(other, item) {
			left = append(left, item)
		}
	}
	return left
}

// inOneLine names accounts for people.
func inOneLine(accounts []string) string {
	if len(accounts) == 0 {
		return "anybody"
	}
	if slices.Contains(accounts, anybody) {
		return "everybody"
	}
	return strings.Join(accounts, ", ")
}

func (c *Cloud) readSnapshotSharing(ctx context.Context, in action.Input) (sharedWith, error) {
	naming := snapshotNaming(in)
	name, at, err := naming.find(c, in)
	if err != nil {
		return sharedWith{}, err
	}
	api, err := service(c, at, rds.NewFromConfig)
	if err != nil {
		return sharedWith{}, err
	}
	if naming.prefix == "cluster-snapshot:" {
		return clusterSnapshotSharing(ctx, api, name)
	}
	// Without IncludeShared and IncludePublic RDS answers of the account's own alone.
	got, err := api.DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: aws.String(name)})
	if err != nil {
		return sharedWith{}, fmt.Errorf("read RDS snapshot %s: %w", name, classify(err))
	}
	if len(got.DBSnapshots) == 0 {
		return sharedWith{}, fault.New(fault.NotFound, "there is no RDS snapshot %s of an instance; is it of a cluster?", name)
	}
	found := got.DBSnapshots[0]
	state := sharedWith{
		tags: rdsTags(found.TagList), Accounts: []string{},
		detail: dbSnapshotDetail(found.Engine, found.DBInstanceIdentifier, aws.ToBool(found.Encrypted)),
	}
	attributes, err := api.DescribeDBSnapshotAttributes(ctx, &rds.DescribeDBSnapshotAttributesInput{DBSnapshotIdentifier: aws.String(name)})
	if err != nil {
		return sharedWith{}, fmt.Errorf("read who RDS snapshot %s is shared with: %w", name, classify(err))
	}
	if result := attributes.DBSnapshotAttributesResult; result != nil {
		for _, attribute := range result.DBSnapshotAttributes {
			if aws.ToString(attribute.AttributeName) == restoreAttribute {
				state.Accounts = append(state.Accounts, attribute.AttributeValues...)
			}
		}
	}
	slices.Sort(state.Accounts)
	return state, nil
}

// restoreAttribute is the attribute of a snapshot that lists who may restore it.
const restoreAttribute = "restore"

func clusterSnapshotSharing(ctx context.Context, api *rds.Client, name string) (sharedWith, error) {
	got, err := api.DescribeDBClusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{DBClusterSnapshotIdentifier: aws.String(name)})
	if err != nil {
		return sharedWith{}, fmt.Errorf("read RDS cluster snapshot %s: %w", name, classify(err))
	}
	if len(got.DBClusterSnapshots) == 0 {
		return sharedWith{}, fault.New(fault.NotFound, "there is no RDS snapshot %s of a cluster", name)
	}
	found := got.DBClusterSnapshots[0]
	state := sharedWith{
		tags: rdsTags(found.TagList), Accounts: []string{},
		detail: dbSnapshotDetail(found.Engine, found.DBClusterIdentifier, aws.ToBool(found.StorageEncrypted)),
	}
	attributes, err := api.DescribeDBClusterSnapshotAttributes(ctx,
		&rds.DescribeDBClusterSnapshotAttributesInput{DBClusterSnapshotIdentifier: aws.String(name)})
	if err != nil {
		return sharedWith{}, fmt.Errorf("read who RDS cluster snapshot %s is shared with: %w", name, classify(err))
	}
	if result := attributes.DBClusterSnapshotAttributesResult; result != nil {
		for _, attribute := range result.DBClusterSnapshotAttributes {
			if aws.ToString(attribute.AttributeName) == restoreAttribute {
				state.Accounts = append(state.Accounts, attribute.AttributeValues...)
			}
		}
	}
	slices.Sort(state.Accounts)
	return state, nil
}

func dbSnapshotDetail(engine, of *string, encrypted bool) string {
	return fmt.Sprintf("it is %s snapshot of the %s database %s", flip(encrypted, "an encrypted", "an unencrypted"),
		aws.ToString(engine), aws.ToString(of))
}

func (c *Cloud) writeSnapshotSharing(ctx context.Context, in action.Input, from, to sharedWith) (sharedWith, error) {
	naming := snapshotNaming(in)
	name, at, err := naming.find(c, in)
	if err != nil {
		return sharedWith{}, err
	}
	api, err := service(c, at, rds.NewFromConfig)
	if err != nil {
		return sharedWith{}, err
	}
	add, remove := without(to.Accounts, from.Accounts), without(from.Accounts, to.Accounts)
	if naming.prefix == "cluster-snapshot:" {
		_, err = api.ModifyDBClusterSnapshotAttribute(ctx, &rds.ModifyDBClusterSnapshotAttributeInput{
			DBClusterSnapshotIdentifier: aws.String(name), AttributeName: aws.String(restoreAttribute), ValuesToAdd: add, ValuesToRemove: remove,
		})
	} else {
		_, err = api.ModifyDBSnapshotAttribute(ctx, &rds.ModifyDBSnapshotAttributeInput{
			DBSnapshotIdentifier: aws.String(name), AttributeName: aws.String(restoreAttribute), ValuesToAdd: add, ValuesToRemove: remove,
		})
	}
	if err != nil {
		return sharedWith{}, fmt.Errorf("change who RDS snapshot %s is shared with: %w", name, classify(err))
	}
	return to, nil
}
