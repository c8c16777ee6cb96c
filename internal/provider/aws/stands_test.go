package aws_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

// whoever gives a cloud that AWS calls by an ARN.
func whoever(t *testing.T, arn string) *aws.Cloud {
	t.Helper()
	awstest.Credentials(t)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>%s</Arn><UserId>AROA:x</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, arn)
	}))
	t.Cleanup(service.Close)
	cloud, err := aws.Connect(t.Context(), aws.Config{Enabled: true, Region: awstest.Region, Endpoint: service.URL})
	if err != nil {
		t.Fatal(err)
	}
	return cloud
}

func TestRiposteStandsOnWhomItIs(t *testing.T) {
	for arn, want := range map[string][]string{
		"arn:aws:sts::123456789012:assumed-role/riposte/i-0123456789abcdef0": {"role riposte", "instance i-0123456789abcdef0"},
		"arn:aws:sts::123456789012:assumed-role/riposte/i-0123abcd":          {"role riposte", "instance i-0123abcd"},
		"arn:aws:sts::123456789012:assumed-role/riposte/task-i-0123abcd":     {"role riposte"},
		"arn:aws:iam::123456789012:user/machines/riposte":                    {"user riposte"},
		"arn:aws:iam::123456789012:root":                                     nil,
	} {
		var got []string
		for _, e := range whoever(t, arn).Stands() {
			got = append(got, string(e.Kind)+" "+e.ID)
			if e.Account != "123456789012" {
				t.Errorf("%s: %s %s is in account %q", arn, e.Kind, e.ID, e.Account)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", arn, got, want)
		}
	}
}

// What Riposte stands on must be called as actions call what they are about to change.
func TestActionsAreKeptFromWhatRiposteStandsOn(t *testing.T) {
	l := newLab(t)
	roles, buckets := iam.NewFromConfig(l.direct), s3.NewFromConfig(l.direct, func(o *s3.Options) { o.UsePathStyle = true })
	must[*iam.CreateRoleOutput](t)(roles.CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: sdk.String("riposte-responder"), AssumeRolePolicyDocument: sdk.String(`{"Version":"2012-10-17","Statement":[]}`),
	}))
	bucket := "trail-" + l.account
	must[*s3.CreateBucketOutput](t)(buckets.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: sdk.String(bucket), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awstest.Region},
	}))
	queue, err := l.cloud.Queue(aws.QueueConfig{URL: "https://sqs.eu-central-1.amazonaws.com/123456789012/q", Buckets: []string{bucket}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	own := append(l.cloud.Stands(), queue.Stands()...)
	for name, params := range map[string]action.Params{
		"aws.iam.revoke_role_sessions": {"role": "riposte-responder"},
		"aws.s3.block_public_access":   {"bucket": bucket},
	} {
		change := l.plan(t, name, params)
		covers := func(e entity.Entity) bool {
			p := guardrail.Protection{Kind: e.Kind, Name: e.ID, Account: e.Account}
			return p.Covers(change.Target, change.Place, change.Tags)
		}
		if !slices.ContainsFunc(own, covers) {
			t.Errorf("%s of %s %s: none of %v keeps it", name, change.Target.Kind, change.Target.ID, own)
		}
	}
}
