package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// dbRuns is whether an instance runs.
type dbRuns struct {
	Running bool `json:"running"`

	instance types.DBInstance
}

// stopDB makes aws.rds.stop_instance.
func stopDB(c *Cloud) *dbStop {
	return &dbStop{slow: *slowly(c, action.Setting[dbRuns]{
		About:  stopDBSpec(),
		Target: dbInstance().target(c),
		Read:   c.readDBRuns,
		Want: func(_ action.Input, now dbRuns) (dbRuns, error) {
			if cluster := aws.ToString(now.instance.DBClusterIdentifier); cluster != "" {
				return now, fault.WithHint(fault.New(fault.Invalid, "the instance is one of the cluster %s, which stops as a whole", cluster),
					"take its public address away by aws.rds.make_private, or close its security groups")
			}
			return dbRuns{}, nil
		},
		Write: c.writeDBRuns,
		Calls: func(in action.Input, _, _ dbRuns) []string {
			return []string{"rds:StopDBInstance " + in.Params.String("database")}
		},
		Summary: func(in action.Input, from, _ dbRuns) string {
			return fmt.Sprintf("RDS instance %s is stopped%s", in.Params.String("database"), flip(from.Running, "", " already"))
		},
		Facts: func(_ context.Context, _ action.Input, now dbRuns, c *action.Change) error {
			c.Tags = rdsTags(now.instance.TagList)
			c.Impact = []string{
				fmt.Sprintf("everything that uses this %s database stops working, until it is started again", aws.ToString(now.instance.Engine)),
				"RDS starts it again by itself after seven days",
			}
			if aws.ToBool(now.instance.MultiAZ) {
				c.Impact = append(c.Impact, "its standby stops with it")
			}
			return nil
		},
	}), among: newCensus(c.countDBs)}
}

// dbStop is aws.rds.stop_instance.
type dbStop struct {
	slow[dbRuns]
	among *census
}

// Population counts the instances at a place.
func (d *dbStop) Population(ctx context.Context, at action.Place) (int, error) {
	return d.among.of(ctx, d.cloud.here(at))
}

func stopDBSpec() action.Spec {
	return action.Spec{
		Name:    "aws.rds.stop_instance",
		Summary: "Stop a database instance",
		Doc: "Stops the instance; its storage, name and settings stay. It takes minutes, which the step waits for. After seven " +
			"days RDS starts it again by itself. One of an Aurora cluster can't be stopped alone, nor can one that has read " +
			"replicas or is one.\n\nUndo starts it.",
		Effect: action.Contain, Params: []action.Param{dbInstance().takes()},
		Timeout: time.Minute, Settle: 15 * time.Minute, Within: time.Hour,
		Permissions: slices.Concat(
			reads(dbInstance().all(), "rds:DescribeDBInstances"),
			writes(dbInstance().all(), "rds:StopDBInstance"), undoes(dbInstance().all(), "rds:StartDBInstance"),
		),
	}
}

func (c *Cloud) readDBRuns(ctx context.Context, in action.Input) (dbRuns, error) {
	found, _, err := c.dbInstance(ctx, in)
	if err == nil && changingDB(aws.ToString(found.DBInstanceStatus)) {
		err = underway("RDS instance", aws.ToString(found.DBInstanceIdentifier), aws.ToString(found.DBInstanceStatus))
	}
	return dbRuns{Running: aws.ToString(found.DBInstanceStatus) != "stopped", instance: found}, err
}

func (c *Cloud) writeDBRuns(ctx context.Context, in action.Input, _, to dbRuns) (dbRuns, error) {
	found, api, err := c.dbInstance(ctx, in)
	if err != nil {
		return dbRuns{}, err
	}
	if to.Running {
		_, err = api.StartDBInstance(ctx, &rds.StartDBInstanceInput{DBInstanceIdentifier: found.DBInstanceIdentifier})
	} else {
		_, err = api.StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: found.DBInstanceIdentifier})
	}
	if err != nil {
		return dbRuns{}, fmt.Errorf("%s RDS instance %s: %w", flip(to.Running, "start", "stop"), aws.ToString(found.DBInstanceIdentifier), classify(err))
	}
	return to, nil
}

// dbProtection is whether a database is protected from being deleted.
type dbProtection struct {
	Protected bool `json:"protected"`

	tags map[string]string
}

// protectedNaming tells whether a step means an instance or a cluster: as it says, else as its ARN says.
func protectedNaming(in action.Input) (naming, bool) {
	n := dbInstance()
	text, of := in.Params.String("database"), in.Params.String("of")
	if of == ofCluster || of == "" && strings.Contains(text, ":cluster:") {
		n.what, n.prefix = "RDS cluster", "cluster:"
		return n, true
	}
	return n, false
}

// protectDB makes aws.rds.protect_from_deletion.
func protectDB(c *Cloud) *placed[dbProtection] {
	return setting(c, action.Setting[dbProtection]{
		About: protectDBSpec(),
		Target: func(in action.Input) entity.Entity {
			n, _ := protectedNaming(in)
			return n.target(c)(in)
		},
		Read:  c.readDBProtection,
		Want:  func(action.Input, dbProtection) (dbProtection, error) { return dbProtection{Protected: true}, nil },
		Write: c.writeDBProtection,
		Calls: func(in action.Input, _, _ dbProtection) []string {
			_, cluster := protectedNaming(in)
			return []string{flip(cluster, "rds:ModifyDBCluster ", "rds:ModifyDBInstance ") + in.Params.String("database") + ", DeletionProtection=true"}
		},
		Summary: func(in action.Input, _, _ dbProtection) string {
			return fmt.Sprintf("RDS database %s can't be deleted", in.Params.String("database"))
		},
		Facts: func(_ context.Context, _ action.Input, now dbProtection, c *action.Change) error {
			c.Tags = now.tags
			c.Impact = []string{"templates and people that would delete it fail until the protection is off; whoever may modify it may turn it off"}
			return nil
		},
	})
}

func protectDBSpec() action.Spec {
	instances, clusters := dbInstance().all(), "arn:{partition}:rds:{region}:{account}:cluster:*"
	return action.Spec{
		Name:    "aws.rds.protect_from_deletion",
		Summary: "Protect a database instance or cluster from being deleted",
		Doc: "Turns deletion protection on. Who may modify the database may turn it off again. Of an Aurora cluster the cluster is " +
			"protected, not its instances: give `of: cluster`.\n\nUndo turns it off if it was off.",
		Effect: action.Contain,
		Params: []action.Param{
			dbInstance().takes(),
			{Name: "of", Type: action.String, Enum: []string{ofInstance, ofCluster}, Doc: "what the name is of; an ARN says so itself"},
		},
		Settle: time.Minute,
		Permissions: slices.Concat(
			reads(instances, "rds:DescribeDBInstances"), reads(clusters, "rds:DescribeDBClusters"),
			writes(instances, "rds:ModifyDBInstance"), writes(clusters, "rds:ModifyDBCluster"),
			undoes(instances, "rds:ModifyDBInstance"), undoes(clusters, "rds:ModifyDBCluster"),
		),
	}
}

func (c *Cloud) readDBProtection(ctx context.Context, in action.Input) (dbProtection, error) {
	n, cluster := protectedNaming(in)
	if !cluster {
		found, _, err := c.dbInstance(ctx, in)
		if of := aws.ToString(found.DBClusterIdentifier); err == nil && of != "" {
			err = fault.WithHint(fault.New(fault.Invalid, "the instance is one of the cluster %s, which is protected as a whole", of),
				"give the cluster's name, and of: cluster")
		}
		return dbProtection{Protected: aws.ToBool(found.DeletionProtection), tags: rdsTags(found.TagList)}, err
	}
	name, at, err := n.find(c, in)
	if err != nil {
		return dbProtection{}, err
	}
	api, err := service(c, at, rds.NewFromConfig)
	if err != nil {
		return dbProtection{}, err
	}
	got, err := api.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: aws.String(name)})
	if err != nil {
		return dbProtection{}, fmt.Errorf("read RDS cluster %s: %w", name, classify(err))
	}
	if len(got.DBClusters) == 0 {
		return dbProtection{}, fault.New(fault.NotFound, "there is no RDS cluster %s", name)
	}
	return dbProtection{Protected: aws.ToBool(got.DBClusters[0].DeletionProtection), tags: rdsTags(got.DBClusters[0].TagList)}, nil
}

func (c *Cloud) writeDBProtection(ctx context.Context, in action.Input, _, to dbProtection) (dbProtection, error) {
	n, cluster := protectedNaming(in)
	name, at, err := n.find(c, in)
	if err != nil {
		return dbProtection{}, err
	}
	api, err := service(c, at, rds.NewFromConfig)
	if err != nil {
		return dbProtection{}, err
	}
	if cluster {
		_, err = api.ModifyDBCluster(ctx, &rds.ModifyDBClusterInput{DBClusterIdentifier: aws.String(name), DeletionProtection: aws.Bool(to.Protected)})
	} else {
		_, err = api.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String(name), DeletionProtection: aws.Bool(to.Protected)})
	}
	if err != nil {
		return dbProtection{}, fmt.Errorf("set deletion protection of %s %s to %t: %w", n.what, name, to.Protected, classify(err))
	}
	return to, nil
}

// dbEvidence is whether a step's snapshot of an instance is held.
type dbEvidence struct {
	Held bool `json:"held"`

	snapshot *types.DBSnapshot
	instance types.DBInstance
}

// dbSnapshots is aws.rds.snapshot_database.
type dbSnapshots struct {
	placed[dbEvidence]
}

func snapshotDB(c *Cloud) *dbSnapshots {
	return &dbSnapshots{*setting(c, action.Setting[dbEvidence]{
		About:  snapshotDBSpec(),
		Target: dbInstance().target(c),
		Read:   c.readDBEvidence,
		Want:   func(action.Input, dbEvidence) (dbEvidence, error) { return dbEvidence{Held: true}, nil },
		Write:  c.writeDBEvidence,
		Calls: func(in action.Input, _, _ dbEvidence) []string {
			return []string{"rds:CreateDBSnapshot " + in.Params.String("database") + " as " + dbSnapshotName(in)}
		},
		Summary: func(in action.Input, _, _ dbEvidence) string {
			return fmt.Sprintf("A snapshot of RDS instance %s is kept as evidence", in.Params.String("database"))
		},
		Facts: func(_ context.Context, in action.Input, now dbEvidence, c *action.Change) error {
			c.Tags = rdsTags(now.instance.TagList)
			c.Outputs = map[string]any{"snapshot": dbSnapshotName(in)}
			c.Impact = []string{
				fmt.Sprintf("a snapshot of up to %d GiB is kept and costs money until somebody deletes it", aws.ToInt32(now.instance.AllocatedStorage)),
			}
			if !aws.ToBool(now.instance.MultiAZ) {
				c.Impact = append(c.Impact, "reads and writes of the instance may stand still for seconds while it is taken")
			}
			return nil
		},
	})}
}

// Apply takes the snapshot; later steps can use its name.
func (d *dbSnapshots) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	result, err := d.Setting.Apply(ctx, c)
	result.Outputs = c.Outputs
	return result, err
}

// snapshotPrefix begins the names of the snapshots that Riposte takes: it may tag no other.
const snapshotPrefix = "riposte-"

// dbSnapshotName is the name of a step's snapshot: trying again finds it by that.
func dbSnapshotName(in action.Input) string {
	sum := sha256.Sum256([]byte(in.Token))
	return snapshotPrefix + hex.EncodeToString(sum[:12])
}

func snapshotDBSpec() action.Spec {
	ours := "arn:{partition}:rds:{region}:{account}:snapshot:" + snapshotPrefix + "*"
	return action.Spec{
		Name:    "aws.rds.snapshot_database",
		Summary: "Keep what is in a database instance: take a snapshot",
		Doc: "Takes a snapshot of the instance, with tags that name the incident, the run and the step. The instance goes on " +
			"running. The step is done when the snapshot has begun: it holds what was in the database at that moment. Trying " +
			"again takes no second one. Instances of Aurora clusters have no snapshots of their own.\n\n" +
			"**Undo deletes nothing**: evidence outlives an undo of its incident, and Riposte asks for no permission to delete " +
			"snapshots. It changes the tag riposte:evidence from held to released, by which people may delete it.",
		Effect: action.Contain, Params: []action.Param{dbInstance().takes()},
		Outputs: []action.Output{{Name: "snapshot", Type: action.String, Doc: "name of the snapshot"}},
		Timeout: time.Minute, Settle: time.Minute,
		Permissions: slices.Concat(
			reads(dbInstance().all(), "rds:DescribeDBInstances"), reads(ours, "rds:DescribeDBSnapshots"),
			writes(dbInstance().all(), "rds:CreateDBSnapshot"), writes(ours, "rds:CreateDBSnapshot", "rds:AddTagsToResource"),
			undoes(ours, "rds:AddTagsToResource"),
		),
	}
}

func (c *Cloud) readDBEvidence(ctx context.Context, in action.Input) (dbEvidence, error) {
	if in.Token == "" {
		return dbEvidence{}, fault.New(fault.Internal, "a snapshot's step has no token")
	}
	found, api, err := c.dbInstance(ctx, in)
	if err != nil {
		return dbEvidence{}, err
	}
	if of := aws.ToString(found.DBClusterIdentifier); of != "" {
		return dbEvidence{}, fault.New(fault.Invalid, "the instance is one of the cluster %s, of which snapshots are taken as a whole", of)
	}
	state := dbEvidence{instance: found}
	got, err := api.DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: aws.String(dbSnapshotName(in))})
	if gone(err) {
		return state, nil
	}
	if err != nil {
		return dbEvidence{}, fmt.Errorf("look for RDS snapshot %s: %w", dbSnapshotName(in), classify(err))
	}
	for _, each := range got.DBSnapshots {
		if aws.ToString(each.Status) == "failed" {
			return dbEvidence{}, fault.New(fault.Conflict, "RDS snapshot %s could not be taken: its status is failed", dbSnapshotName(in))
		}
		state.snapshot, state.Held = &each, rdsTags(each.TagList)[tagEvidence] == held
	}
	return state, nil
}

func (c *Cloud) writeDBEvidence(ctx context.Context, in action.Input, _, to dbEvidence) (dbEvidence, error) {
	now, err := c.readDBEvidence(ctx, in)
	if err != nil {
		return dbEvidence{}, err
	}
	_, api, err := c.dbInstance(ctx, in)
	if err != nil {
		return dbEvidence{}, err
	}
	mark := types.Tag{Key: aws.String(tagEvidence), Value: aws.String(flip(to.Held, held, released))}
	if now.snapshot != nil {
		_, err = api.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: now.snapshot.DBSnapshotArn, Tags: []types.Tag{mark}})
	} else {
		tags := []types.Tag{mark}
		for key, value := range marks(in) {
			tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
		}
		_, err = api.CreateDBSnapshot(ctx, &rds.CreateDBSnapshotInput{
			DBInstanceIdentifier: now.instance.DBInstanceIdentifier, DBSnapshotIdentifier: aws.String(dbSnapshotName(in)), Tags: tags,
		})
	}
	if err != nil {
		return dbEvidence{}, fmt.Errorf("keep RDS snapshot %s: %w", dbSnapshotName(in), classify(err))
	}
	return to, nil
}
