package aws_test

import (
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// store makes a bucket in a region that isn't the finding's.
func store(t *testing.T, l *lab, name string) *s3.Client {
	t.Helper()
	api := s3.NewFromConfig(l.direct, func(o *s3.Options) { o.UsePathStyle, o.Region = true, "eu-west-1" })
	must[*s3.CreateBucketOutput](t)(api.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket:                    sdk.String(name),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraintEuWest1},
	}))
	return api
}

// blocked tells a bucket's public access block.
func blocked(t *testing.T, api *s3.Client, name string) string {
	t.Helper()
	got, err := api.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: sdk.String(name)})
	if err != nil {
		return "none"
	}
	return dump(t, got.PublicAccessBlockConfiguration)
}

func block(t *testing.T, api *s3.Client, name string, acls, policy bool) {
	t.Helper()
	must[*s3.PutPublicAccessBlockOutput](t)(api.PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{
		Bucket: sdk.String(name), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: sdk.Bool(acls), IgnorePublicAcls: sdk.Bool(false),
			BlockPublicPolicy: sdk.Bool(policy), RestrictPublicBuckets: sdk.Bool(false),
		},
	}))
}

func TestBlockPublicAccess(t *testing.T) {
	for before, prepare := range map[string]func(t *testing.T, api *s3.Client, name string){
		"none": func(*testing.T, *s3.Client, string) {},
		"some": func(t *testing.T, api *s3.Client, name string) { t.Helper(); block(t, api, name, true, false) },
	} {
		t.Run(before, func(t *testing.T) {
			l := newLab(t)
			bucket := "shop-" + before + "-" + l.account
			api := store(t, l, bucket)
			prepare(t, api, bucket)
			missing := l.input(action.Params{"bucket": "nobodys-" + l.account})
			acls := false
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, "aws.s3.block_public_access"), Input: l.input(action.Params{"bucket": bucket}),
				Missing: &missing, Door: l.door,
				State: func(t *testing.T) string { t.Helper(); return blocked(t, api, bucket) },
				Change: func(t *testing.T) {
					t.Helper()
					acls = !acls
					block(t, api, bucket, acls, true)
				},
			})
		})
	}
}

func TestBlockPublicAccessKnowsTheBucket(t *testing.T) {
	l := newLab(t)
	bucket := "tagged-" + l.account
	api := store(t, l, bucket)
	const name = "aws.s3.block_public_access"
	if got := l.plan(t, name, action.Params{"bucket": bucket}); len(got.Tags) != 0 {
		t.Errorf("got tags %v of a bucket without", got.Tags)
	}
	must[*s3.PutBucketTaggingOutput](t)(api.PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{
		Bucket: sdk.String(bucket), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: sdk.String("public"), Value: sdk.String("yes")}}},
	}))
	change := l.plan(t, name, action.Params{"bucket": bucket})
	if change.Tags["public"] != "yes" || change.Target.ARN != "arn:aws:s3:::"+bucket {
		t.Errorf("got tags %v and ARN %s", change.Tags, change.Target.ARN)
	}
	l.refuses(t, name, action.Params{"bucket": "../" + bucket}, fault.Invalid)
	l.population(t, name, 0) // of the region asked for; the bucket is in another
}
