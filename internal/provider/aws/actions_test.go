package aws_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// lab is an account of its own for one test: Riposte's way there leads through a door, the test's own doesn't.
type lab struct {
	account string
	cloud   *aws.Cloud
	door    *providertest.Door
	direct  sdk.Config // of the test, who is somebody else in the same account
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return labAt(t, awstest.Emulator(t), awstest.Account())
}

// labAt is a lab at an endpoint, in an account.
func labAt(t *testing.T, endpoint, account string) *lab {
	t.Helper()
	awstest.Credentials(t)
	l := &lab{account: account, door: providertest.NewDoor(t, endpoint)}
	var err error
	l.cloud, err = aws.Connect(t.Context(), aws.Config{
		Enabled: true, Region: awstest.Region, Endpoint: l.door.URL, AssumeRole: "riposte-responder",
	})
	if err != nil {
		t.Fatal(err)
	}
	l.direct = sdk.Config{
		Region: awstest.Region, BaseEndpoint: sdk.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
	if account == awstest.Home {
		return l
	}
	got, err := sts.NewFromConfig(l.direct).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: sdk.String("arn:aws:iam::" + account + ":role/test"), RoleSessionName: sdk.String("test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	l.direct.Credentials = credentials.NewStaticCredentialsProvider(
		*got.Credentials.AccessKeyId, *got.Credentials.SecretAccessKey, *got.Credentials.SessionToken)
	return l
}

// action is the one of that name.
func (l *lab) action(t *testing.T, name string) action.Action { //nolint:ireturn // whichever it is
	t.Helper()
	for _, do := range l.cloud.Actions() {
		if do.Spec().Name == name {
			return do
		}
	}
	t.Fatalf("there is no action %s", name)
	return nil
}

// input is an input in the lab's account.
func (l *lab) input(params action.Params) action.Input {
	return action.Input{
		Place: action.Place{Account: l.account, Region: awstest.Region}, Params: params, Incident: "INC-1", Run: "run-1", Step: "contain",
		Reason: "Riposte playbook test, incident INC-1", Token: "0123456789abcdef0123456789abcdef",
	}
}

// plan plans an action, which must work.
func (l *lab) plan(t *testing.T, name string, params action.Params) action.Change {
	t.Helper()
	change, err := l.action(t, name).Plan(t.Context(), l.input(params))
	if err != nil {
		t.Fatalf("plan %s: %v", name, err)
	}
	return change
}

// refuses tests that planning an action gives an error of a kind.
func (l *lab) refuses(t *testing.T, name string, params action.Params, kind fault.Kind) {
	t.Helper()
	if _, err := l.action(t, name).Plan(t.Context(), l.input(params)); !fault.Is(err, kind) {
		t.Errorf("plan %s with %v: got %v, want an error of kind %s", name, params, err, kind)
	}
}

// population tests how many things of an action's kind the lab's account has.
func (l *lab) population(t *testing.T, name string, want int) {
	t.Helper()
	counter, ok := l.action(t, name).(action.Counter)
	if !ok {
		t.Fatalf("%s counts nothing", name)
	}
	got, err := counter.Population(t.Context(), action.Place{Account: l.account, Region: awstest.Region})
	if err != nil || got != want {
		t.Errorf("population of %s: got %d, %v, want %d", name, got, err, want)
	}
}

// scripted stands before the emulator. Once it is given an answer, it gives that to requests whose body
// has a text; with the status 0 it lets everything through again.
func scripted(t *testing.T, asks string) (endpoint string, answer func(status int, body string)) {
	t.Helper()
	return scriptedAt(t, awstest.Emulator(t), asks)
}

// scriptedAt stands before another server.
func scriptedAt(t *testing.T, server, asks string) (endpoint string, answer func(status int, body string)) {
	t.Helper()
	behind := must[*url.URL](t)(url.Parse(server))
	onward := httputil.NewSingleHostReverseProxy(behind)
	var mu sync.Mutex
	var status int
	var body string
	before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(asked))
		mu.Lock()
		defer mu.Unlock()
		if status == 0 || !strings.Contains(string(asked), asks) {
			onward.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(before.Close)
	return before.URL, func(given int, text string) {
		mu.Lock()
		defer mu.Unlock()
		status, body = given, text
	}
}

// dump gives a value as text that can be compared.
func dump(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// must gives the value of a call that must work.
func must[T any](t *testing.T) func(value T, err error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestEveryActionIsListedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, spec := range allSpecs() {
		if seen[spec.Name] {
			t.Errorf("%s is there twice", spec.Name)
		}
		seen[spec.Name] = true
	}
	for _, name := range []string{
		"aws.iam.describe_access_key", "aws.iam.disable_access_key", "aws.iam.deny_user", "aws.iam.revoke_role_sessions",
		"aws.s3.block_public_access", "aws.cloudtrail.restore_logging", "aws.securityhub.update_finding",
		"aws.guardduty.archive_finding", "aws.sns.publish",
		"aws.ec2.describe_instance", "aws.ec2.isolate_instance", "aws.ec2.snapshot_volumes", "aws.ec2.stop_instance",
		"aws.ec2.detach_instance_profile", "aws.ec2.revoke_ingress",
		"aws.lambda.invoke_function", "aws.stepfunctions.start_execution", "aws.ssm.start_automation",
		"aws.ec2.preserve_instance", "aws.ec2.require_imdsv2", "aws.ec2.detach_from_autoscaling", "aws.ec2.deregister_from_load_balancers",
		"aws.ec2.collect_volatile_data", "aws.ec2.terminate_instance", "aws.ec2.disassociate_address", "aws.ec2.tag_resource",
		"aws.ec2.unshare_image", "aws.ebs.unshare_snapshot", "aws.ebs.block_public_snapshots", "aws.ebs.encrypt_by_default",
		"aws.autoscaling.suspend_processes", "aws.vpc.block_ip", "aws.vpc.lock_default_security_group", "aws.vpc.enable_flow_logs",
		"aws.waf.block_ip", "aws.networkfirewall.block_ip", "aws.dns.block_domain",
		"aws.iam.deny_role", "aws.iam.tighten_trust", "aws.iam.set_boundary", "aws.iam.detach_policy", "aws.iam.delete_inline_policy",
		"aws.iam.delete_login_profile", "aws.iam.delete_access_key", "aws.iam.disable_service_credential",
		"aws.iam.deactivate_mfa_device", "aws.iam.quarantine_group", "aws.iam.set_password_policy",
		"aws.sso.revoke_assignment", "aws.organizations.quarantine_account",
		"aws.s3.block_account_public_access", "aws.s3.deny_principal", "aws.s3.remove_public_statements", "aws.s3.require_tls",
		"aws.s3.make_acl_private", "aws.s3.enable_versioning", "aws.s3.enable_encryption", "aws.s3.enable_logging", "aws.s3.hold_objects",
		"aws.kms.cancel_key_deletion", "aws.kms.disable_key", "aws.kms.enable_rotation", "aws.kms.remove_foreign_statements",
		"aws.secretsmanager.rotate_secret", "aws.secretsmanager.delete_resource_policy",
		"aws.rds.unshare_snapshot", "aws.rds.make_private", "aws.lambda.freeze_function", "aws.lambda.remove_public_permissions",
		"aws.guardduty.restore_detector", "aws.securityhub.enable_hub", "aws.eks.restrict_endpoint", "aws.eks.remove_access_entry",
		"aws.eks.quarantine_pod",
	} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// A plan says where it acts even if its input leaves that to Riposte: freezes and limits go by it.
func TestPlansKnowTheirPlace(t *testing.T) {
	l := labAt(t, awstest.Emulator(t), awstest.Home)
	key := staff(t, iam.NewFromConfig(l.direct), "placed")
	want := action.Place{Account: awstest.Home, Region: awstest.Region}
	for name, params := range map[string]action.Params{
		"aws.iam.describe_access_key": {"access_key_id": key},
		"aws.iam.deny_user":           {"user": "placed"},
		"aws.sns.publish":             {"topic_arn": "arn:aws:sns:eu-west-1:" + awstest.Home + ":alerts", "message": "x"},
	} {
		change := must[action.Change](t)(l.action(t, name).Plan(t.Context(), action.Input{Params: params}))
		if change.Place != want {
			t.Errorf("%s: got %v, want %v", name, change.Place, want)
		}
	}
}
