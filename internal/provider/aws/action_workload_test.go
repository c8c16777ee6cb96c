package aws_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	gatewaytypes "github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	tabletypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/redshift"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// kitchen makes an ECS cluster with a service.
func kitchen(t *testing.T, l *lab) *ecs.Client {
	t.Helper()
	api := ecs.NewFromConfig(l.direct)
	must[*ecs.CreateClusterOutput](t)(api.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: sdk.String("kitchen")}))
	must[*ecs.RegisterTaskDefinitionOutput](t)(api.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: sdk.String("oven"), NetworkMode: types.NetworkModeAwsvpc, RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		Cpu: sdk.String("256"), Memory: sdk.String("512"),
		ContainerDefinitions: []types.ContainerDefinition{{Name: sdk.String("oven"), Image: sdk.String("oven:1"), Memory: sdk.Int32(128)}},
	}))
	must[*ecs.CreateServiceOutput](t)(api.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: sdk.String("kitchen"), ServiceName: sdk.String("oven"), TaskDefinition: sdk.String("oven"), DesiredCount: sdk.Int32(2),
		Tags: []types.Tag{{Key: sdk.String("owner"), Value: sdk.String("shop")}},
	}))
	return api
}

func TestScaleServiceToZero(t *testing.T) {
	l := newLab(t)
	api := kitchen(t, l)
	const name = "aws.ecs.scale_service_to_zero"
	more := int32(2)
	for _, service := range []string{"oven", "arn:aws:ecs:eu-central-1:" + l.account + ":service/kitchen/oven"} {
		missing := l.input(action.Params{"cluster": "kitchen", "service": strings.ReplaceAll(service, "oven", "gone")})
		providertest.Contract(t, providertest.Case{
			Action: l.action(t, name), Input: l.input(action.Params{"cluster": "kitchen", "service": service}), Missing: &missing, Door: l.door,
			State: func(t *testing.T) string {
				t.Helper()
				got := must[*ecs.DescribeServicesOutput](t)(api.DescribeServices(t.Context(), &ecs.DescribeServicesInput{
					Cluster: sdk.String("kitchen"), Services: []string{"oven"},
				}))
				return strconv.Itoa(int(got.Services[0].DesiredCount))
			},
			Change: func(t *testing.T) {
				t.Helper()
				more++
				must[*ecs.UpdateServiceOutput](t)(api.UpdateService(t.Context(), &ecs.UpdateServiceInput{
					Cluster: sdk.String("kitchen"), Service: sdk.String("oven"), DesiredCount: sdk.Int32(more),
				}))
			},
		})
	}
	if change := l.plan(t, name, action.Params{"cluster": "kitchen", "service": "oven"}); change.Tags["owner"] != "shop" {
		t.Errorf("got tags %v", change.Tags)
	}
	l.refuses(t, name, action.Params{"cluster": "other", "service": "arn:aws:ecs:eu-central-1:" + l.account + ":service/kitchen/oven"}, fault.Invalid)
	l.refuses(t, name, action.Params{"cluster": "kitchen", "service": "oven/../x"}, fault.Invalid)
}

// The service wants no task, and one still runs: the proof waits for it.
func TestScaleServiceToZeroWaitsForTheLastTask(t *testing.T) {
	endpoint, answer := scripted(t, `"services":["oven"]`)
	l := labAt(t, endpoint, awstest.Account())
	kitchen(t, l)
	do := l.action(t, "aws.ecs.scale_service_to_zero")
	change := l.plan(t, "aws.ecs.scale_service_to_zero", action.Params{"cluster": "kitchen", "service": "oven"})
	done := action.Applied{Change: change, Result: must[action.Result](t)(do.Apply(t.Context(), change))}
	service := func(running int) string {
		return dump(t, object{"services": []object{{"serviceName": "oven", "status": "ACTIVE", "desiredCount": 0, "runningCount": running}}})
	}
	answer(200, service(1))
	if _, over, err := do.(action.Awaiter).Await(t.Context(), done); over || err != nil {
		t.Errorf("while a task runs: got %t, %v, want that it isn't over", over, err)
	}
	answer(200, service(0))
	if _, over, err := do.(action.Awaiter).Await(t.Context(), done); !over || err != nil {
		t.Errorf("when none runs: got %t, %v, want that it is over", over, err)
	}
}

// The emulator's tasks have numbers where ECS has texts, which no client reads: tasks are tested against a small server of
// our own.
func TestStopTask(t *testing.T) {
	f := newLacking(t)
	l := labAt(t, f.URL, awstest.Home)
	const arn = "arn:aws:ecs:eu-central-1:" + awstest.Home + ":task/kitchen/0123456789abcdef0123456789abcdef"
	const name = "aws.ecs.stop_task"
	change := l.plan(t, name, action.Params{"cluster": "kitchen", "task": arn})
	if !strings.Contains(strings.Join(change.Impact, "\n"), "service oven starts another") || change.Tags["owner"] != "shop" || change.Target.ARN != arn {
		t.Errorf("got impact %v, tags %v, target %v", change.Impact, change.Tags, change.Target)
	}
	for _, task := range []string{arn, "0123456789abcdef0123456789abcdef"} {
		f.change(func() { f.task = "RUNNING" })(t)
		missing := l.input(action.Params{"cluster": "kitchen", "task": "gone"})
		providertest.Contract(t, providertest.Case{
			Action: l.action(t, name), Input: l.input(action.Params{"cluster": "kitchen", "task": task}), Missing: &missing, Door: l.door, State: f.state,
			// A task runs or not: who changes it makes the plan's change.
		})
	}
	l.refuses(t, name, action.Params{"cluster": "kitchen", "task": strings.ReplaceAll(arn, awstest.Home, "999999999999")}, fault.Invalid)
	l.refuses(t, name, action.Params{"cluster": "other", "task": arn}, fault.Invalid)
}

func TestMakeWarehousePrivate(t *testing.T) {
	l := newLab(t)
	api := redshift.NewFromConfig(l.direct)
	must[*redshift.CreateClusterOutput](t)(api.CreateCluster(t.Context(), &redshift.CreateClusterInput{
		ClusterIdentifier: sdk.String("reports"), NodeType: sdk.String("ra3.large"), MasterUsername: sdk.String("admin0"),
		MasterUserPassword: sdk.String("Not-a-secret1"), PubliclyAccessible: sdk.Bool(true),
	}))
	missing := l.input(action.Params{"cluster": "gone"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.redshift.make_private"), Input: l.input(action.Params{"cluster": "reports"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*redshift.DescribeClustersOutput](t)(api.DescribeClusters(t.Context(), &redshift.DescribeClustersInput{}))
			return dump(t, got.Clusters[0].PubliclyAccessible)
		},
		// It has an address or not: who changes it makes the plan's change, or undoes it.
	})
	l.refuses(t, "aws.redshift.make_private", action.Params{"cluster": "arn:aws:redshift:eu-central-1:999999999999:cluster:reports"}, fault.Invalid)
}

func TestEnablePITR(t *testing.T) {
	l := newLab(t)
	api := dynamodb.NewFromConfig(l.direct)
	must[*dynamodb.CreateTableOutput](t)(api.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: sdk.String("orders"), BillingMode: tabletypes.BillingModePayPerRequest,
		AttributeDefinitions: []tabletypes.AttributeDefinition{{AttributeName: sdk.String("id"), AttributeType: tabletypes.ScalarAttributeTypeS}},
		KeySchema:            []tabletypes.KeySchemaElement{{AttributeName: sdk.String("id"), KeyType: tabletypes.KeyTypeHash}},
		Tags:                 []tabletypes.Tag{{Key: sdk.String("owner"), Value: sdk.String("shop")}},
	}))
	const name = "aws.dynamodb.enable_pitr"
	if change := l.plan(t, name, action.Params{"table": "orders"}); change.Tags["owner"] != "shop" {
		t.Errorf("got tags %v", change.Tags)
	}
	missing := l.input(action.Params{"table": "gone"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"table": "arn:aws:dynamodb:eu-central-1:" + l.account + ":table/orders"}),
		Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*dynamodb.DescribeContinuousBackupsOutput](t)(api.DescribeContinuousBackups(t.Context(),
				&dynamodb.DescribeContinuousBackupsInput{TableName: sdk.String("orders")}))
			return string(got.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus)
		},
		// It is kept or not: who changes it makes the plan's change, or undoes it.
	})
	l.refuses(t, name, action.Params{"table": "arn:aws:dynamodb:eu-central-1:" + l.account + ":table/orders/stream/x"}, fault.Invalid)
}

func TestDisableAPIKey(t *testing.T) {
	l := newLab(t)
	api := apigateway.NewFromConfig(l.direct)
	made := must[*apigateway.CreateApiKeyOutput](t)(api.CreateApiKey(t.Context(), &apigateway.CreateApiKeyInput{
		Name: sdk.String("partner"), Enabled: true, Value: sdk.String("0123456789012345678901234567890123456789"),
	}))
	const name = "aws.apigateway.disable_key"
	missing := l.input(action.Params{"key_id": "gone012345"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"key_id": *made.Id}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*apigateway.GetApiKeyOutput](t)(api.GetApiKey(t.Context(), &apigateway.GetApiKeyInput{ApiKey: made.Id}))
			return dump(t, got.Enabled)
		},
		// It is enabled or not: who changes it makes the plan's change, or undoes it.
	})
	// Who gives the key's value in place of its id doesn't find it in an error.
	_, err := l.action(t, name).Plan(t.Context(), l.input(action.Params{"key_id": *made.Value}))
	if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), *made.Value) {
		t.Errorf("got %v, want an error of kind invalid without the value", err)
	}
	must[*apigateway.UpdateApiKeyOutput](t)(api.UpdateApiKey(t.Context(), &apigateway.UpdateApiKeyInput{
		ApiKey: made.Id, PatchOperations: []gatewaytypes.PatchOperation{{Op: gatewaytypes.OpReplace, Path: sdk.String("/enabled"), Value: sdk.String("true")}},
	}))
	if text := dump(t, l.plan(t, name, action.Params{"key_id": *made.Id})); strings.Contains(text, *made.Value) {
		t.Error("the plan has the key's value in it")
	}
}

func TestUnshareDocument(t *testing.T) {
	l := newLab(t)
	api := ssm.NewFromConfig(l.direct)
	must[*ssm.CreateDocumentOutput](t)(api.CreateDocument(t.Context(), &ssm.CreateDocumentInput{
		Name: sdk.String("patch-till"), DocumentType: ssmtypes.DocumentTypeCommand, DocumentFormat: ssmtypes.DocumentFormatJson,
		Content: sdk.String(`{"schemaVersion":"2.2","description":"x","mainSteps":[{"action":"aws:runShellScript","name":"x","inputs":{"runCommand":["true"]}}]}`),
	}))
	share := func(accounts ...string) {
		must[*ssm.ModifyDocumentPermissionOutput](t)(api.ModifyDocumentPermission(t.Context(), &ssm.ModifyDocumentPermissionInput{
			Name: sdk.String("patch-till"), PermissionType: ssmtypes.DocumentPermissionTypeShare, AccountIdsToAdd: accounts,
		}))
	}
	share("111122223333", "444455556666")
	const name = "aws.ssm.unshare_document"
	params := action.Params{"document": "patch-till", "keep": []string{"444455556666"}}
	missing := l.input(action.Params{"document": "gone"})
	more := 0
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(params), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*ssm.DescribeDocumentPermissionOutput](t)(api.DescribeDocumentPermission(t.Context(), &ssm.DescribeDocumentPermissionInput{
				Name: sdk.String("patch-till"), PermissionType: ssmtypes.DocumentPermissionTypeShare,
			}))
			all := map[string]bool{}
			for _, account := range got.AccountIds {
				all[account] = true
			}
			return dump(t, all)
		},
		Change: func(t *testing.T) { t.Helper(); more++; share(fmt.Sprintf("7777%08d", more)) },
	})
	l.refuses(t, name, action.Params{"document": "arn:aws:ssm:eu-central-1:999999999999:document/patch-till"}, fault.Invalid)
}

// The emulator has no sessions, and SES's account can't be paused in it: both are tested against a small server of our own.

func TestTerminateSession(t *testing.T) {
	f := newLacking(t)
	l := labAt(t, f.URL, awstest.Home)
	const name = "aws.ssm.terminate_session"
	missing := l.input(action.Params{"session": "eve-0123456789abcdeff"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"session": "eve-0123456789abcdef0"}), Missing: &missing, Door: l.door, State: f.state,
		// A session is open or not: who changes it makes the plan's change.
	})
	if change := l.plan(t, name, action.Params{"session": "bob-0123456789abcdef1"}); !change.Noop {
		t.Error("a session that has ended would be ended")
	}
	l.refuses(t, name, action.Params{"session": "eve/../x"}, fault.Invalid)
}

func TestPauseSending(t *testing.T) {
	f := newLacking(t)
	l := labAt(t, f.URL, awstest.Home)
	change := l.plan(t, "aws.ses.pause_sending", action.Params{})
	if !strings.Contains(strings.Join(change.Impact, "\n"), "1234 messages") {
		t.Errorf("the impact does not say how much mail is meant: %v", change.Impact)
	}
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.ses.pause_sending"), Input: l.input(action.Params{}), Door: l.door, State: f.state,
		// It sends or not: who changes it makes the plan's change, or undoes it. Nothing is named that could be missing.
	})
}
