package aws_test

import (
	"archive/zip"
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// till makes a function.
func till(t *testing.T, l *lab) *lambda.Client {
	t.Helper()
	role := must[*iam.CreateRoleOutput](t)(iam.NewFromConfig(l.direct).CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: sdk.String("till"), AssumeRolePolicyDocument: sdk.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
	}))
	var code bytes.Buffer
	archive := zip.NewWriter(&code)
	file, err := archive.Create("till.py")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("def handler(event, context): return 1\n")); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	api := lambda.NewFromConfig(l.direct)
	must[*lambda.CreateFunctionOutput](t)(api.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: sdk.String("till"), Runtime: types.RuntimePython312, Role: role.Role.Arn, Handler: sdk.String("till.handler"),
		Code: &types.FunctionCode{ZipFile: code.Bytes()}, Timeout: sdk.Int32(120), Tags: map[string]string{"owner": "shop"},
	}))
	return api
}

func TestFreezeFunction(t *testing.T) {
	for before, prepare := range map[string]func(t *testing.T, api *lambda.Client, n int32){
		"nothing reserved": func(*testing.T, *lambda.Client, int32) {}, "some reserved": reserve,
	} {
		t.Run(before, func(t *testing.T) {
			l := newLab(t)
			api := till(t, l)
			prepare(t, api, 7)
			missing := l.input(action.Params{"function": "gone"})
			more := int32(7)
			providertest.Contract(t, providertest.Case{
				Action:  l.action(t, "aws.lambda.freeze_function"),
				Input:   l.input(action.Params{"function": "arn:aws:lambda:eu-central-1:" + l.account + ":function:till:live"}),
				Missing: &missing, Door: l.door,
				State: func(t *testing.T) string {
					t.Helper()
					got := must[*lambda.GetFunctionConcurrencyOutput](t)(api.GetFunctionConcurrency(t.Context(),
						&lambda.GetFunctionConcurrencyInput{FunctionName: sdk.String("till")}))
					return dump(t, got.ReservedConcurrentExecutions)
				},
				Change: func(t *testing.T) { t.Helper(); more++; reserve(t, api, more) },
			})
		})
	}
}

func reserve(t *testing.T, api *lambda.Client, n int32) {
	t.Helper()
	must[*lambda.PutFunctionConcurrencyOutput](t)(api.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{
		FunctionName: sdk.String("till"), ReservedConcurrentExecutions: sdk.Int32(n),
	}))
}

func TestFreezeFunctionKnowsTheFunction(t *testing.T) {
	l := newLab(t)
	till(t, l)
	const name = "aws.lambda.freeze_function"
	change := l.plan(t, name, action.Params{"function": "till"})
	if change.Tags["owner"] != "shop" || !strings.Contains(strings.Join(change.Impact, "\n"), "2m0s") {
		t.Errorf("got tags %v and impact %v", change.Tags, change.Impact)
	}
	for _, bad := range []string{"till/../x", "till live", "arn:aws:lambda:eu-central-1:999999999999:function:till", "arn:aws:s3:::till"} {
		l.refuses(t, name, action.Params{"function": bad}, fault.Invalid)
	}
	l.population(t, name, 1)
}

func permission(t *testing.T, api *lambda.Client, add *lambda.AddPermissionInput) {
	t.Helper()
	add.FunctionName, add.Action = sdk.String("till"), sdk.String("lambda:InvokeFunction")
	must[*lambda.AddPermissionOutput](t)(api.AddPermission(t.Context(), add))
}

func TestRemoveFunctionPermissions(t *testing.T) {
	for scope, want := range map[string]int{"public": 1, "foreign": 3} {
		t.Run(scope, func(t *testing.T) {
			l := newLab(t)
			api := till(t, l)
			permission(t, api, &lambda.AddPermissionInput{StatementId: sdk.String("everybody"), Principal: sdk.String("*")})
			permission(t, api, &lambda.AddPermissionInput{StatementId: sdk.String("own"), Principal: sdk.String("arn:aws:iam::" + l.account + ":root")})
			permission(t, api, &lambda.AddPermissionInput{
				StatementId: sdk.String("ours"), Principal: sdk.String("*"), PrincipalOrgID: sdk.String("o-0123456789"),
			})
			permission(t, api, &lambda.AddPermissionInput{StatementId: sdk.String("other"), Principal: sdk.String("arn:aws:iam::999999999999:root")})
			permission(t, api, &lambda.AddPermissionInput{
				StatementId: sdk.String("their-topic"), Principal: sdk.String("sns.amazonaws.com"),
				SourceArn: sdk.String("arn:aws:sns:eu-central-1:999999999999:bills"),
			})
			permission(t, api, &lambda.AddPermissionInput{
				StatementId: sdk.String("our-topic"), Principal: sdk.String("sns.amazonaws.com"),
				SourceArn: sdk.String("arn:aws:sns:eu-central-1:" + l.account + ":bills"),
			})
			params := action.Params{"function": "till", "scope": scope}
			change := l.plan(t, "aws.lambda.remove_public_permissions", params)
			if len(change.Calls) != want {
				t.Errorf("got %d statements, want %d: %v", len(change.Calls), want, change.Calls)
			}
			missing := l.input(action.Params{"function": "gone", "scope": scope})
			more := ""
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, "aws.lambda.remove_public_permissions"), Input: l.input(params), Missing: &missing, Door: l.door,
				State: func(t *testing.T) string {
					t.Helper()
					got := must[*lambda.GetPolicyOutput](t)(api.GetPolicy(t.Context(), &lambda.GetPolicyInput{FunctionName: sdk.String("till")}))
					return statements(t, *got.Policy)
				},
				Change: func(t *testing.T) {
					t.Helper()
					more += "x"
					permission(t, api, &lambda.AddPermissionInput{StatementId: sdk.String("more" + more), Principal: sdk.String("*")})
				},
			})
		})
	}
}

// What AddPermission can't make again is not removed: it could not be put back.
func TestRemoveFunctionPermissionsRefusesWhatItCouldNotPutBack(t *testing.T) {
	policy := ""
	emulator := must[*url.URL](t)(url.Parse(awstest.Emulator(t)))
	onward := httputil.NewSingleHostReverseProxy(emulator)
	apis := http.NewServeMux()
	apis.HandleFunc("GET /2015-03-31/functions/till/policy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(dump(t, object{"Policy": policy})))
	})
	apis.Handle("/", onward)
	server := httptest.NewServer(apis)
	t.Cleanup(server.Close)
	l := labAt(t, server.URL, awstest.Account())
	till(t, l)
	const name = "aws.lambda.remove_public_permissions"
	params := action.Params{"function": "till", "scope": "public"}
	of := func(condition string) string {
		return `{"Statement":[{"Sid":"s","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunctionUrl","Condition":` + condition + `}]}`
	}
	policy = of(`{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}`)
	if change := l.plan(t, name, params); change.Noop || !strings.Contains(string(change.Before), `"url_auth_type":"NONE"`) {
		t.Errorf("a URL that is open to everybody: got %s", change.Before)
	}
	policy = of(`{"StringEqualsIfExists":{"aws:SourceAccount":"` + l.account + `"}}`) // passes where the key is missing
	l.refuses(t, name, params, fault.Invalid)
	policy = of(`{"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}`)
	l.refuses(t, name, params, fault.Invalid)
	policy = `{"Statement":[{"Sid":"s","Effect":"Allow","NotPrincipal":{"AWS":"arn:aws:iam::1:root"},"Action":"lambda:*"}]}`
	l.refuses(t, name, params, fault.Invalid)
	policy = of(`{"StringEquals":{"aws:SourceAccount":"` + l.account + `"}}`)
	if change := l.plan(t, name, params); !change.Noop {
		t.Errorf("a statement that is bound to our account is taken for public: %s", change.Before)
	}
}

func TestDeleteFunctionURL(t *testing.T) {
	l := newLab(t)
	api := till(t, l)
	made := must[*lambda.CreateFunctionUrlConfigOutput](t)(api.CreateFunctionUrlConfig(t.Context(), &lambda.CreateFunctionUrlConfigInput{
		FunctionName: sdk.String("till"), AuthType: types.FunctionUrlAuthTypeNone,
	}))
	change := l.plan(t, "aws.lambda.delete_function_url", action.Params{"function": "till"})
	if change.Outputs["url"] != *made.FunctionUrl || !strings.Contains(strings.Join(change.Impact, "\n"), "everybody") {
		t.Errorf("got outputs %v and impact %v", change.Outputs, change.Impact)
	}
	missing := l.input(action.Params{"function": "gone"})
	auth := types.FunctionUrlAuthTypeNone
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.lambda.delete_function_url"), Input: l.input(action.Params{"function": "till"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got, err := api.GetFunctionUrlConfig(t.Context(), &lambda.GetFunctionUrlConfigInput{FunctionName: sdk.String("till")})
			if err != nil {
				return "none"
			}
			return string(got.AuthType)
		},
		Change: func(t *testing.T) {
			t.Helper()
			auth = types.FunctionUrlAuthTypeAwsIam
			must[*lambda.UpdateFunctionUrlConfigOutput](t)(api.UpdateFunctionUrlConfig(t.Context(), &lambda.UpdateFunctionUrlConfigInput{
				FunctionName: sdk.String("till"), AuthType: auth,
			}))
		},
	})
}
