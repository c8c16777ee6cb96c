package aws_test

import (
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// trail makes a stopped trail for all regions, at home in another region than the finding's, and gives its ARN.
func trail(t *testing.T, l *lab, region string) (*cloudtrail.Client, string) {
	t.Helper()
	files := s3.NewFromConfig(l.direct, func(o *s3.Options) { o.UsePathStyle, o.Region = true, "us-east-1" })
	bucket := sdk.String("trail-" + region + "-" + l.account)
	must[*s3.CreateBucketOutput](t)(files.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}))
	api := cloudtrail.NewFromConfig(l.direct, func(o *cloudtrail.Options) { o.Region = region })
	made := must[*cloudtrail.CreateTrailOutput](t)(api.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{
		Name: sdk.String("main"), S3BucketName: bucket, IsMultiRegionTrail: sdk.Bool(true),
		TagsList: []types.Tag{{Key: sdk.String("owner"), Value: sdk.String("audit")}},
	}))
	return api, *made.TrailARN
}

func logs(t *testing.T, api *cloudtrail.Client) string {
	t.Helper()
	got := must[*cloudtrail.GetTrailStatusOutput](t)(api.GetTrailStatus(t.Context(), &cloudtrail.GetTrailStatusInput{Name: sdk.String("main")}))
	return dump(t, map[string]bool{"logs": *got.IsLogging})
}

func TestRestoreLogging(t *testing.T) {
	l := newLab(t)
	api, arn := trail(t, l, "eu-west-1")
	const name = "aws.cloudtrail.restore_logging"
	for _, named := range []string{"main", arn} {
		missing := l.input(action.Params{"trail": strings.ReplaceAll(named, "main", "gone")})
		providertest.Contract(t, providertest.Case{
			Action: l.action(t, name), Input: l.input(action.Params{"trail": named}), Missing: &missing, Door: l.door,
			State: func(t *testing.T) string { t.Helper(); return logs(t, api) },
			// A trail logs or not: who changes it makes the plan's change, or undoes it.
		})
	}

	must[*cloudtrail.PutEventSelectorsOutput](t)(api.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{
		TrailName: sdk.String("main"), EventSelectors: []types.EventSelector{{
			ReadWriteType: types.ReadWriteTypeWriteOnly, IncludeManagementEvents: sdk.Bool(true),
		}},
	}))
	change := l.plan(t, name, action.Params{"trail": arn})
	if change.Tags["owner"] != "audit" || change.Target.Kind != entity.Trail || change.Target.ARN != arn {
		t.Errorf("got tags %v and target %v", change.Tags, change.Target)
	}
	if got := change.Outputs["management_events"]; got != "part" {
		t.Errorf("the selectors were narrowed, got management_events %v", got)
	}
	if impact := strings.Join(change.Impact, "\n"); !strings.Contains(impact, "validation is off") || !strings.Contains(impact, "part of") {
		t.Errorf("the impact does not say what else is wrong:\n%s", impact)
	}
	l.refuses(t, name, action.Params{"trail": "main; StopLogging"}, fault.Invalid)
	l.refuses(t, name, action.Params{"trail": strings.ReplaceAll(arn, l.account, "999999999999")}, fault.Invalid)
}

func TestRestoreLoggingAsksForTheARNOfTrailsWithOneName(t *testing.T) {
	l := newLab(t)
	trail(t, l, "eu-west-1")
	trail(t, l, "us-west-2")
	l.refuses(t, "aws.cloudtrail.restore_logging", action.Params{"trail": "main"}, fault.Invalid)
}
