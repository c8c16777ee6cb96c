package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// onBucket are the permissions that an action on one setting of a bucket needs.
func onBucket(get, put string) []action.Permission {
	return slices.Concat(
		permit(action.PlanPhase, allBuckets, nil, "s3:ListBucket", "s3:GetBucketTagging", get),
		permit(action.ApplyPhase, allBuckets, nil, put), permit(action.UndoPhase, allBuckets, nil, put),
	)
}

// taggedImpact gives a plan the bucket's tags, and sentences about it.
func (c *Cloud) taggedImpact(ctx context.Context, in action.Input, plan *action.Change, sentences ...string) error {
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return err
	}
	plan.Impact = append(plan.Impact, sentences...)
	plan.Tags, err = at.tags(ctx)
	return err
}

// versioning is whether a bucket keeps what is overwritten or deleted.
type versioning struct {
	Status    string `json:"status"`               // Enabled or Suspended; empty where it never was enabled
	MFADelete string `json:"mfa_delete,omitempty"` // Enabled or Disabled
}

// enableVersioning makes aws.s3.enable_versioning.
func enableVersioning(c *Cloud) *placed[versioning] {
	return &placed[versioning]{cloud: c, Setting: action.Setting[versioning]{
		About: action.Spec{
			Name:    "aws.s3.enable_versioning",
			Summary: "Keep every version of the objects in an S3 bucket",
			Doc: "Enables versioning: what is overwritten or deleted from then on can be got back. What was lost before isn't brought " +
				"back, and who may delete versions still can. Each version is stored and paid for until a lifecycle rule ends it.\n\n" +
				"The bucket must belong to the account that the finding names. Undo suspends versioning. A bucket that never had it " +
				"can't be as before, for S3 knows no way back: suspended is as near as it gets, and versions that exist stay.",
			Effect: action.Contain, Params: []action.Param{bucketParam()}, Permissions: onBucket("s3:GetBucketVersioning", "s3:PutBucketVersioning"),
		},
		Target: c.bucketTarget,
		Read: func(ctx context.Context, in action.Input) (versioning, error) {
			at, err := c.bucketAt(ctx, in)
			if err != nil {
				return versioning{}, err
			}
			got, err := at.api.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: at.name, ExpectedBucketOwner: at.owner})
			if err != nil {
				return versioning{}, fmt.Errorf("read versioning of bucket %s: %w", *at.name, classify(err))
			}
			return versioning{Status: string(got.Status), MFADelete: string(got.MFADelete)}, nil
		},
		Want: func(_ action.Input, now versioning) (versioning, error) {
			if now.MFADelete == string(types.MFADeleteStatusEnabled) && now.Status != string(types.BucketVersioningStatusEnabled) {
				return now, fault.New(fault.Invalid, "the bucket asks for an MFA code to change its versioning: only its root user can")
			}
			now.Status = string(types.BucketVersioningStatusEnabled)
			return now, nil
		},
		Write: func(ctx context.Context, in action.Input, _, to versioning) (versioning, error) {
			at, err := c.bucketAt(ctx, in)
			if err != nil {
				return versioning{}, err
			}
			if to.Status == "" {
				to.Status = string(types.BucketVersioningStatusSuspended)
			}
			_, err = at.api.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
				Bucket: at.name, ExpectedBucketOwner: at.owner,
				VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatus(to.Status)},
			})
			if err != nil {
				return versioning{}, fmt.Errorf("set versioning of bucket %s: %w", *at.name, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, to versioning) []string {
			return []string{"s3:PutBucketVersioning " + in.Params.String("bucket") + " to " + to.Status}
		},
		Summary: func(in action.Input, _, _ versioning) string {
			return fmt.Sprintf("Bucket %s keeps every version of its objects", in.Params.String("bucket"))
		},
		Facts: func(ctx context.Context, in action.Input, _ versioning, plan *action.Change) error {
			return c.taggedImpact(ctx, in, plan,
				"what is overwritten or deleted is stored and paid for until a lifecycle rule ends it",
				"undo can only suspend it: a bucket is never unversioned again")
		},
		Meaning: func(v versioning) versioning { // never enabled and suspended keep nothing alike
			if v.Status == "" {
				v.Status = string(types.BucketVersioningStatusSuspended)
			}
			return v
		},
	}}
}

// bucketEncryption is how a bucket encrypts what doesn't say how.
type bucketEncryption struct {
	Algorithm string `json:"algorithm"` // AES256, aws:kms or aws:kms:dsse; empty where nothing is set
	Key       string `json:"key,omitempty"`
	BucketKey bool   `json:"bucket_key,omitempty"`
}

// enableEncryption makes aws.s3.enable_encryption.
func enableEncryption(c *Cloud) *placed[bucketEncryption] {
	return &placed[bucketEncryption]{cloud: c, Setting: action.Setting[bucketEncryption]{
		About: action.Spec{
			Name:    "aws.s3.enable_encryption",
			Summary: "Encrypt an S3 bucket's objects by default with a KMS key",
			Doc: "Sets the bucket's default encryption to the KMS key given, with a bucket key. It counts for objects that are written " +
				"from then on and don't say how to encrypt them; objects that exist stay as they are. S3 encrypts everything by " +
				"itself anyway: what this adds is that a reader needs the key as well, and that its use is logged.\n\n" +
				"The key must be one of the bucket's account and region. Writers without permission to use it fail. The bucket must " +
				"belong to the account that the finding names. Undo puts the saved setting back.",
			Effect: action.Contain,
			Params: []action.Param{bucketParam(), {
				Name: "kms_key", Type: action.String, Required: true, Entity: entity.KMSKey, Doc: "ARN of the KMS key",
			}},
			Permissions: onBucket("s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration"),
		},
		Target: c.bucketTarget,
		Read:   c.readEncryption,
		Want: func(in action.Input, _ bucketEncryption) (bucketEncryption, error) {
			return bucketEncryption{Algorithm: string(types.ServerSideEncryptionAwsKms), Key: in.Params.String("kms_key"), BucketKey: true}, nil
		},
		Write: c.writeBucketEncryption,
		Calls: func(in action.Input, _, to bucketEncryption) []string {
			return []string{"s3:PutEncryptionConfiguration " + in.Params.String("bucket") + " to " + to.Key}
		},
		Summary: func(in action.Input, from, to bucketEncryption) string {
			before := from.Algorithm
			if from.Key != "" {
				before += " with " + from.Key
			}
			return fmt.Sprintf("Bucket %s encrypts with %s by default (%q before)", in.Params.String("bucket"), to.Key, before)
		},
		Facts: func(ctx context.Context, in action.Input, _ bucketEncryption, plan *action.Change) error {
			key := c.global(entity.KMSKey, in.Params.String("kms_key"), in.Place)
			key.Part, key.ARN = entity.Context, key.ID
			plan.Touches = []entity.Entity{key}
			return c.taggedImpact(ctx, in, plan, "who writes to or reads from the bucket needs permission to use the key from then on")
		},
	}}
}

func (c *Cloud) readEncryption(ctx context.Context, in action.Input) (bucketEncryption, error) {
	if parsed, id, ok := keyARN(in.Params.String("kms_key")); !ok || parsed.AccountID != c.here(in.Place).Account {
		return bucketEncryption{}, fault.New(fault.Invalid, "kms_key: %q is not the ARN of a KMS key of account %s", shorten(id), c.here(in.Place).Account)
	}
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return bucketEncryption{}, err
	}
	got, err := at.api.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: at.name, ExpectedBucketOwner: at.owner})
	if coded(err, "ServerSideEncryptionConfigurationNotFoundError") {
		return bucketEncryption{}, nil
	}
	if err != nil {
		return bucketEncryption{}, fmt.Errorf("read encryption of bucket %s: %w", *at.name, classify(err))
	}
	if got.ServerSideEncryptionConfiguration == nil || len(got.ServerSideEncryptionConfiguration.Rules) == 0 {
		return bucketEncryption{}, nil
	}
	rule := got.ServerSideEncryptionConfiguration.Rules[0] // S3 takes one rule
	found := bucketEncryption{BucketKey: aws.ToBool(rule.BucketKeyEnabled)}
	if by := rule.ApplyServerSideEncryptionByDefault; by != nil {
		found.Algorithm, found.Key = string(by.SSEAlgorithm), aws.ToString(by.KMSMasterKeyID)
	}
	return found, nil
}

func (c *Cloud) writeBucketEncryption(ctx context.Context, in action.Input, _, to bucketEncryption) (bucketEncryption, error) {
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return bucketEncryption{}, err
	}
	if to.Algorithm == "" {
		if _, err := at.api.DeleteBucketEncryption(ctx, &s3.DeleteBucketEncryptionInput{Bucket: at.name, ExpectedBucketOwner: at.owner}); err != nil {
			return bucketEncryption{}, fmt.Errorf("delete encryption of bucket %s: %w", *at.name, classify(err))
		}
		return to, nil
	}
	rule := types.ServerSideEncryptionRule{
		ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryption(to.Algorithm)},
		BucketKeyEnabled:                   aws.Bool(to.BucketKey),
	}
	if to.Key != "" {
		rule.ApplyServerSideEncryptionByDefault.KMSMasterKeyID = aws.String(to.Key)
	}
	_, err = at.api.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{
		Bucket: at.name, ExpectedBucketOwner: at.owner,
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{rule}},
	})
	if err != nil {
		return bucketEncryption{}, fmt.Errorf("set encryption of bucket %s: %w", *at.name, classify(err))
	}
	return to, nil
}

// accessLog is where S3 writes who accessed a bucket.
type accessLog struct {
	Bucket string `json:"bucket,omitempty"` // empty: it doesn't
	Prefix string `json:"prefix,omitempty"`
}

// enableLogging makes aws.s3.enable_logging.
func enableLogging(c *Cloud) *placed[accessLog] {
	return &placed[accessLog]{cloud: c, Setting: action.Setting[accessLog]{
		About: action.Spec{
			Name:    "aws.s3.enable_logging",
			Summary: "Log who accesses an S3 bucket",
			Doc: "Turns on the bucket's server access logging, to another bucket of the same account and region, which must let " +
				"`logging.s3.amazonaws.com` write. S3 writes within hours, as well as it can. A bucket that logs already, to wherever, " +
				"is left alone. Access before isn't logged, and the logs cost storage.\n\n" +
				"The bucket must belong to the account that the finding names. Undo turns logging off again; the logs stay.",
			Effect: action.Contain,
			Params: []action.Param{
				bucketParam(),
				{Name: "log_bucket", Type: action.String, Required: true, Entity: entity.Bucket, Doc: "name of the bucket that takes the logs; not the same one"},
				{Name: "prefix", Type: action.String, Doc: "what the names of the logs begin with; the bucket's name and a slash if absent"},
			},
			Permissions: onBucket("s3:GetBucketLogging", "s3:PutBucketLogging"),
		},
		Target: c.bucketTarget,
		Read: func(ctx context.Context, in action.Input) (accessLog, error) {
			if err := checkLogs(in); err != nil {
				return accessLog{}, err
			}
			at, err := c.bucketAt(ctx, in)
			if err != nil {
				return accessLog{}, err
			}
			got, err := at.api.GetBucketLogging(ctx, &s3.GetBucketLoggingInput{Bucket: at.name, ExpectedBucketOwner: at.owner})
			if err != nil {
				return accessLog{}, fmt.Errorf("read logging of bucket %s: %w", *at.name, classify(err))
			}
			if got.LoggingEnabled == nil {
				return accessLog{}, nil
			}
			return accessLog{Bucket: aws.ToString(got.LoggingEnabled.TargetBucket), Prefix: aws.ToString(got.LoggingEnabled.TargetPrefix)}, nil
		},
		Want: func(in action.Input, now accessLog) (accessLog, error) {
			if now.Bucket != "" {
				return now, nil
			}
			prefix := in.Params.String("prefix")
			if prefix == "" {
				prefix = in.Params.String("bucket") + "/"
			}
			return accessLog{Bucket: in.Params.String("log_bucket"), Prefix: prefix}, nil
		},
		Write: func(ctx context.Context, in action.Input, _, to accessLog) (accessLog, error) {
			at, err := c.bucketAt(ctx, in)
			if err != nil {
				return accessLog{}, err
			}
			status := &types.BucketLoggingStatus{}
			if to.Bucket != "" {
				status.LoggingEnabled = &types.LoggingEnabled{TargetBucket: aws.String(to.Bucket), TargetPrefix: aws.String(to.Prefix)}
			}
			_, err = at.api.PutBucketLogging(ctx, &s3.PutBucketLoggingInput{Bucket: at.name, ExpectedBucketOwner: at.owner, BucketLoggingStatus: status})
			if err != nil {
				return accessLog{}, fmt.Errorf("set logging of bucket %s: %w", *at.name, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, to accessLog) []string {
			return []string{"s3:PutBucketLogging " + in.Params.String("bucket") + " to " + to.Bucket + "/" + to.Prefix}
		},
		Summary: func(in action.Input, _, to accessLog) string {
			return fmt.Sprintf("Access to bucket %s is logged in %s/%s", in.Params.String("bucket"), to.Bucket, to.Prefix)
		},
		Facts: func(ctx context.Context, in action.Input, now accessLog, plan *action.Change) error {
			if now.Bucket != "" {
				return c.taggedImpact(ctx, in, plan, "the bucket is logged already, to "+now.Bucket)
			}
			logs := c.bucketTarget(action.Input{Place: in.Place, Params: action.Params{"bucket": in.Params.String("log_bucket")}})
			logs.Part = entity.Context
			plan.Touches = []entity.Entity{logs}
			return c.taggedImpact(ctx, in, plan, "the log bucket's policy must let logging.s3.amazonaws.com write; S3 drops logs that it can't")
		},
	}}
}

func checkLogs(in action.Input) error {
	logs, prefix := in.Params.String("log_bucket"), in.Params.String("prefix")
	switch {
	case !bucketName.MatchString(logs):
		return fault.New(fault.Invalid, "log_bucket: %q is not the name of a bucket", shorten(logs))
	case logs == in.Params.String("bucket"):
		return fault.New(fault.Invalid, "log_bucket: a bucket that logs its own access logs every log that it writes")
	case len(prefix) > 512 || strings.ContainsFunc(prefix, func(r rune) bool { return r < ' ' || r > '~' }):
		return fault.New(fault.Invalid, "prefix: %q is not a prefix", shorten(prefix))
	}
	return nil
}
