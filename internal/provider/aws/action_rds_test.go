package aws_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// database makes a public instance with a snapshot, and a cluster with one.
func database(t *testing.T, l *lab) *rds.Client {
	t.Helper()
	api := rds.NewFromConfig(l.direct)
	must[*rds.CreateDBInstanceOutput](t)(api.CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: sdk.String("orders"), DBInstanceClass: sdk.String("db.t3.micro"), Engine: sdk.String("postgres"),
		AllocatedStorage: sdk.Int32(20), MasterUsername: sdk.String("admin0"), MasterUserPassword: sdk.String("not-a-secret"),
		PubliclyAccessible: sdk.Bool(true), Tags: []types.Tag{{Key: sdk.String("owner"), Value: sdk.String("shop")}},
	}))
	return api
}

func instance(t *testing.T, api *rds.Client) types.DBInstance {
	t.Helper()
	got := must[*rds.DescribeDBInstancesOutput](t)(api.DescribeDBInstances(t.Context(),
		&rds.DescribeDBInstancesInput{DBInstanceIdentifier: sdk.String("orders")}))
	return got.DBInstances[0]
}

func TestDatabaseInstance(t *testing.T) {
	for name, more := range map[string]action.Params{
		"aws.rds.make_private": {}, "aws.rds.stop_instance": {}, "aws.rds.protect_from_deletion": {},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			api := database(t, l)
			for _, named := range []string{"orders", "arn:aws:rds:eu-central-1:" + l.account + ":db:orders"} {
				more["database"] = named
				missing := l.input(action.Params{"database": strings.ReplaceAll(named, "orders", "gone")})
				providertest.Contract(t, providertest.Case{
					Action: l.action(t, name), Input: l.input(more), Missing: &missing, Door: l.door,
					State: func(t *testing.T) string {
						t.Helper()
						found := instance(t, api)
						return dump(t, object{"public": found.PubliclyAccessible, "status": found.DBInstanceStatus, "protected": found.DeletionProtection})
					},
					// It is so or not: who changes it makes the plan's change, or undoes it.
				})
			}
			change := l.plan(t, name, action.Params{"database": "orders"})
			if change.Tags["owner"] != "shop" || len(change.Impact) == 0 {
				t.Errorf("got tags %v and impact %v", change.Tags, change.Impact)
			}
			l.refuses(t, name, action.Params{"database": "arn:aws:rds:eu-central-1:999999999999:db:orders"}, fault.Invalid)
			l.refuses(t, name, action.Params{"database": "arn:aws:rds:evil.example:" + l.account + ":db:orders"}, fault.Invalid)
			l.refuses(t, name, action.Params{"database": "orders&Action=DeleteDBInstance"}, fault.Invalid)
		})
	}
}

// With ApplyImmediately, whatever waits for the maintenance window would be done with it: an outage nobody asked for.
func TestMakePrivateAppliesNothingElse(t *testing.T) {
	l := newLab(t)
	database(t, l)
	do := l.action(t, "aws.rds.make_private")
	change := l.plan(t, "aws.rds.make_private", action.Params{"database": "orders"})
	l.door.Seen()
	must[action.Result](t)(do.Apply(t.Context(), change))
	modified := 0
	for _, asked := range l.door.Seen() {
		if strings.Contains(asked.Body, "Action=ModifyDBInstance") {
			modified++
			if strings.Contains(asked.Body, "ApplyImmediately") {
				t.Errorf("it applies what waits: %s", asked.Body)
			}
		}
	}
	if modified != 1 {
		t.Errorf("it modified %d times", modified)
	}
	l.population(t, "aws.rds.make_private", 1)
}

// What is under way is waited for: RDS would refuse, or answer with what was.
func TestMakePrivateWaits(t *testing.T) {
	endpoint, answer := scripted(t, "Action=DescribeDBInstances")
	l := labAt(t, endpoint, "123456789012")
	answer(200, `<DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances><DBInstance>
		<DBInstanceIdentifier>orders</DBInstanceIdentifier><DBInstanceStatus>modifying</DBInstanceStatus><PubliclyAccessible>true</PubliclyAccessible>
		</DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>`)
	l.refuses(t, "aws.rds.make_private", action.Params{"database": "orders"}, fault.Transient)
	answer(200, `<DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances><DBInstance><DBClusterIdentifier>c</DBClusterIdentifier>
		<DBInstanceIdentifier>orders</DBInstanceIdentifier><DBInstanceStatus>available</DBInstanceStatus>
		</DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>`)
	for _, name := range []string{"aws.rds.stop_instance", "aws.rds.snapshot_database", "aws.rds.protect_from_deletion"} {
		l.refuses(t, name, action.Params{"database": "orders"}, fault.Invalid) // it is one of a cluster
	}
}

func TestProtectCluster(t *testing.T) {
	l := newLab(t)
	api := rds.NewFromConfig(l.direct)
	cluster(t, api)
	missing := l.input(action.Params{"database": "gone", "of": "cluster"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.rds.protect_from_deletion"), Input: l.input(action.Params{"database": "ledger", "of": "cluster"}),
		Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*rds.DescribeDBClustersOutput](t)(api.DescribeDBClusters(t.Context(), &rds.DescribeDBClustersInput{}))
			return dump(t, got.DBClusters[0].DeletionProtection)
		},
		// It is protected or not: who changes it makes the plan's change, or undoes it.
	})
}

func cluster(t *testing.T, api *rds.Client) {
	t.Helper()
	must[*rds.CreateDBClusterOutput](t)(api.CreateDBCluster(t.Context(), &rds.CreateDBClusterInput{
		DBClusterIdentifier: sdk.String("ledger"), Engine: sdk.String("aurora-postgresql"), MasterUsername: sdk.String("admin0"),
		MasterUserPassword: sdk.String("not-a-secret"),
	}))
}

func TestSnapshotDatabase(t *testing.T) {
	l := newLab(t)
	api := database(t, l)
	missing := l.input(action.Params{"database": "gone"})
	snapshots := func(t *testing.T) (all []string, held int) {
		t.Helper()
		got := must[*rds.DescribeDBSnapshotsOutput](t)(api.DescribeDBSnapshots(t.Context(), &rds.DescribeDBSnapshotsInput{}))
		for _, each := range got.DBSnapshots {
			if *each.SnapshotType == "manual" {
				all = append(all, *each.DBSnapshotIdentifier)
			}
			for _, tag := range each.TagList {
				if *tag.Key == "riposte:evidence" && *tag.Value == "held" {
					held++
				}
			}
		}
		return all, held
	}
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.rds.snapshot_database"), Input: l.input(action.Params{"database": "orders"}), Missing: &missing, Door: l.door,
		// Evidence outlives undo: what is compared is what is held.
		State: func(t *testing.T) string { t.Helper(); _, held := snapshots(t); return strconv.Itoa(held) },
		// It is held or not: who changes it makes the plan's change, or undoes it.
	})
	if all, held := snapshots(t); len(all) != 1 || held != 0 || !strings.HasPrefix(all[0], "riposte-") {
		t.Errorf("after the suite: got snapshots %v, %d held; want one, released", all, held)
	}
}

func TestUnshareSnapshot(t *testing.T) {
	for of, restore := range map[string]func(t *testing.T, api *rds.Client, add, remove []string) []string{
		"instance": func(t *testing.T, api *rds.Client, add, remove []string) []string {
			t.Helper()
			if add != nil || remove != nil {
				must[*rds.ModifyDBSnapshotAttributeOutput](t)(api.ModifyDBSnapshotAttribute(t.Context(), &rds.ModifyDBSnapshotAttributeInput{
					DBSnapshotIdentifier: sdk.String("backup"), AttributeName: sdk.String("restore"), ValuesToAdd: add, ValuesToRemove: remove,
				}))
			}
			got := must[*rds.DescribeDBSnapshotAttributesOutput](t)(api.DescribeDBSnapshotAttributes(t.Context(),
				&rds.DescribeDBSnapshotAttributesInput{DBSnapshotIdentifier: sdk.String("backup")}))
			var all []string
			for _, a := range got.DBSnapshotAttributesResult.DBSnapshotAttributes {
				all = append(all, a.AttributeValues...)
			}
			return all
		},
		"cluster": func(t *testing.T, api *rds.Client, add, remove []string) []string {
			t.Helper()
			if add != nil || remove != nil {
				must[*rds.ModifyDBClusterSnapshotAttributeOutput](t)(api.ModifyDBClusterSnapshotAttribute(t.Context(), &rds.ModifyDBClusterSnapshotAttributeInput{
					DBClusterSnapshotIdentifier: sdk.String("backup"), AttributeName: sdk.String("restore"), ValuesToAdd: add, ValuesToRemove: remove,
				}))
			}
			got := must[*rds.DescribeDBClusterSnapshotAttributesOutput](t)(api.DescribeDBClusterSnapshotAttributes(t.Context(),
				&rds.DescribeDBClusterSnapshotAttributesInput{DBClusterSnapshotIdentifier: sdk.String("backup")}))
			var all []string
			for _, a := range got.DBClusterSnapshotAttributesResult.DBClusterSnapshotAttributes {
				all = append(all, a.AttributeValues...)
			}
			return all
		},
	} {
		t.Run(of, func(t *testing.T) {
			l := newLab(t)
			api := database(t, l)
			cluster(t, api)
			must[*rds.CreateDBSnapshotOutput](t)(api.CreateDBSnapshot(t.Context(), &rds.CreateDBSnapshotInput{
				DBInstanceIdentifier: sdk.String("orders"), DBSnapshotIdentifier: sdk.String("backup"),
			}))
			must[*rds.CreateDBClusterSnapshotOutput](t)(api.CreateDBClusterSnapshot(t.Context(), &rds.CreateDBClusterSnapshotInput{
				DBClusterIdentifier: sdk.String("ledger"), DBClusterSnapshotIdentifier: sdk.String("backup"),
			}))
			restore(t, api, []string{"all", "111122223333", "444455556666"}, nil)
			params := action.Params{"snapshot": "backup", "of": of, "keep": []string{"444455556666"}}
			missing := l.input(action.Params{"snapshot": "gone", "of": of})
			more := 0
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, "aws.rds.unshare_snapshot"), Input: l.input(params), Missing: &missing, Door: l.door,
				State: func(t *testing.T) string {
					t.Helper()
					all := restore(t, api, nil, nil)
					slices.Sort(all)
					return strings.Join(all, " ")
				},
				Change: func(t *testing.T) {
					t.Helper()
					more++
					restore(t, api, []string{fmt.Sprintf("7777%08d", more)}, nil)
				},
			})
			change := l.plan(t, "aws.rds.unshare_snapshot", params)
			if !strings.Contains(change.Summary, "everybody") || !strings.Contains(strings.Join(change.Impact, "\n"), "unencrypted") {
				t.Errorf("got %q and %v", change.Summary, change.Impact)
			}
		})
	}
}

func TestUnshareSnapshotGoesByTheARN(t *testing.T) {
	l := newLab(t)
	const name = "aws.rds.unshare_snapshot"
	at := "arn:aws:rds:eu-central-1:" + l.account
	l.refuses(t, name, action.Params{"snapshot": at + ":cluster-snapshot:gone"}, fault.NotFound)
	l.refuses(t, name, action.Params{"snapshot": at + ":snapshot:rds:gone-2026-01-01-00-00"}, fault.NotFound)
	l.refuses(t, name, action.Params{"snapshot": "arn:aws:rds:eu-central-1:999999999999:snapshot:backup"}, fault.Invalid)
	l.refuses(t, name, action.Params{"snapshot": "../backup"}, fault.Invalid)
}
