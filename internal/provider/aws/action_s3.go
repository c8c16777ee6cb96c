package aws

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const allBuckets = "arn:{partition}:s3:::*"

var bucketName = shaped(`^[A-Za-z0-9][A-Za-z0-9._-]{2,254}$`)

// publicAccess is a bucket's own public access block.
type publicAccess struct {
	Configured            bool `json:"configured"` // false: the bucket has none
	BlockPublicAcls       bool `json:"block_public_acls"`
	IgnorePublicAcls      bool `json:"ignore_public_acls"`
	BlockPublicPolicy     bool `json:"block_public_policy"`
	RestrictPublicBuckets bool `json:"restrict_public_buckets"`
}

// blockPublic is aws.s3.block_public_access.
type blockPublic struct {
	placed[publicAccess]
	among *census
}

func blockPublicAccess(c *Cloud) *blockPublic {
	b := &blockPublic{placed: placed[publicAccess]{cloud: c}, among: newCensus(c.countBuckets)}
	b.Setting = action.Setting[publicAccess]{
		About:  blockSpec(),
		Target: c.bucketTarget,
		Read:   b.read,
		Want: func(action.Input, publicAccess) (publicAccess, error) {
			return publicAccess{
				Configured: true, BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true,
			}, nil
		},
		Write: b.write,
		Calls: func(in action.Input, _, _ publicAccess) []string {
			return []string{"s3:PutPublicAccessBlock " + in.Params.String("bucket") + ", all four settings on"}
		},
		Summary: func(in action.Input, from, _ publicAccess) string {
			return fmt.Sprintf("Public access to bucket %s is blocked (%s before)", in.Params.String("bucket"), from)
		},
		Facts: b.facts,
	}
	return b
}

// bucketTarget is the bucket that the parameters name.
func (c *Cloud) bucketTarget(in action.Input) entity.Entity {
	name := in.Params.String("bucket")
	return entity.Entity{
		Kind: entity.Bucket, ID: name, Part: entity.Target, Provider: "aws", Account: c.here(in.Place).Account,
		ARN: "arn:" + c.self.Partition + ":s3:::" + name,
	}
}

// String says in words how much is blocked.
func (p publicAccess) String() string {
	on := 0
	for _, set := range []bool{p.BlockPublicAcls, p.IgnorePublicAcls, p.BlockPublicPolicy, p.RestrictPublicBuckets} {
		if set {
			on++
		}
	}
	if !p.Configured {
		return "nothing was set"
	}
	return fmt.Sprintf("%d of 4 settings were on", on)
}

func blockSpec() action.Spec {
	return action.Spec{
		Name:    "aws.s3.block_public_access",
		Summary: "Block public access to an S3 bucket",
		Doc: "Turns on all four settings of the bucket's own public access block: public ACLs are refused and ignored, public " +
			"policies are refused and restricted to the account and AWS's services. Policies and ACLs stay as they are. The " +
			"account's block is not touched, nor is access by principals of other accounts that a policy names.\n\n" +
			"The bucket must belong to the account that the finding names. Undo sets the four settings as they were, or " +
			"removes the block where the bucket had none.",
		Effect: action.Contain,
		Params: []action.Param{bucketParam()},
		Permissions: []action.Permission{
			{Name: "s3:ListBucket", Resource: allBuckets, Phase: action.PlanPhase}, // HeadBucket
			{Name: "s3:GetBucketPublicAccessBlock", Resource: allBuckets, Phase: action.PlanPhase},
			{Name: "s3:GetBucketTagging", Resource: allBuckets, Phase: action.PlanPhase},
			{Name: "s3:ListAllMyBuckets", Resource: "*", Phase: action.PlanPhase},
			{Name: "s3:PutBucketPublicAccessBlock", Resource: allBuckets, Phase: action.ApplyPhase},
			{Name: "s3:PutBucketPublicAccessBlock", Resource: allBuckets, Phase: action.UndoPhase},
		},
	}
}

func bucketParam() action.Param {
	return action.Param{Name: "bucket", Type: action.String, Required: true, Entity: entity.Bucket, Doc: "name of the bucket"}
}

// bucket is a client in the region of a bucket, with the account that must own it.
type bucket struct {
	api   *s3.Client
	name  *string
	owner *string
}

// bucketAt finds the bucket's region. S3 names it even where it answers that the region is another.
func (c *Cloud) bucketAt(ctx context.Context, in action.Input) (bucket, error) {
	name := in.Params.String("bucket")
	if !bucketName.MatchString(name) {
		return bucket{}, fault.New(fault.Invalid, "%q is not the name of a bucket", shorten(name))
	}
	at := c.here(in.Place)
	reach, err := c.at(at)
	if err != nil {
		return bucket{}, err
	}
	found := bucket{api: c.storage(reach), name: aws.String(name), owner: aws.String(at.Account)}
	head, err := found.api.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: found.name, ExpectedBucketOwner: found.owner})
	region := namedRegion(err)
	if err == nil {
		region = aws.ToString(head.BucketRegion)
	}
	switch {
	case region != "" && region != at.Region: // whatever the answer was
	case err != nil:
		return bucket{}, fmt.Errorf("find bucket %s of account %s: %w", name, at.Account, classify(err))
	default:
		return found, nil
	}
	at.Region = region
	if reach, err = c.at(at); err != nil {
		return bucket{}, err
	}
	found.api = c.storage(reach)
	return found, nil
}

// namedRegion is the region that an answer of S3 says the bucket is in.
func namedRegion(err error) string {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answer.Response == nil {
		return ""
	}
	return answer.Response.Header.Get("X-Amz-Bucket-Region")
}

// coded reports whether an error has a code of the service's.
func coded(err error, code string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == code
}

func (b *blockPublic) read(ctx context.Context, in action.Input) (publicAccess, error) {
	at, err := b.cloud.bucketAt(ctx, in)
	if err != nil {
		return publicAccess{}, err
	}
	got, err := at.api.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: at.name, ExpectedBucketOwner: at.owner})
	if coded(err, "NoSuchPublicAccessBlockConfiguration") {
		return publicAccess{}, nil
	}
	if err != nil {
		return publicAccess{}, fmt.Errorf("read public access block of bucket %s: %w", *at.name, classify(err))
	}
	block := got.PublicAccessBlockConfiguration
	if block == nil {
		return publicAccess{}, nil
	}
	return publicAccess{
		Configured:      true,
		BlockPublicAcls: aws.ToBool(block.BlockPublicAcls), IgnorePublicAcls: aws.ToBool(block.IgnorePublicAcls),
		BlockPublicPolicy: aws.ToBool(block.BlockPublicPolicy), RestrictPublicBuckets: aws.ToBool(block.RestrictPublicBuckets),
	}, nil
}

func (b *blockPublic) write(ctx context.Context, in action.Input, _, to publicAccess) (publicAccess, error) {
	at, err := b.cloud.bucketAt(ctx, in)
	if err != nil {
		return publicAccess{}, err
	}
	if !to.Configured {
		_, err = at.api.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: at.name, ExpectedBucketOwner: at.owner})
		if err != nil {
			return publicAccess{}, fmt.Errorf("delete public access block of bucket %s: %w", *at.name, classify(err))
		}
		return to, nil
	}
	_, err = at.api.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: at.name, ExpectedBucketOwner: at.owner,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(to.BlockPublicAcls), IgnorePublicAcls: aws.Bool(to.IgnorePublicAcls),
			BlockPublicPolicy: aws.Bool(to.BlockPublicPolicy), RestrictPublicBuckets: aws.Bool(to.RestrictPublicBuckets),
		},
	})
	if err != nil {
		return publicAccess{}, fmt.Errorf("put public access block on bucket %s: %w", *at.name, classify(err))
	}
	return to, nil
}

func (b *blockPublic) facts(ctx context.Context, in action.Input, _ publicAccess, c *action.Change) error {
	at, err := b.cloud.bucketAt(ctx, in)
	if err != nil {
		return err
	}
	if c.Tags, err = at.tags(ctx); err != nil {
		return err
	}
	c.Impact = []string{
		"who reads the bucket without credentials, such as visitors of a website in it, can't any more",
		"where its policy is public, principals of other accounts lose access too",
	}
	return nil
}

// tags reads the bucket's tags.
func (b bucket) tags(ctx context.Context) (map[string]string, error) {
	got, err := b.api.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: b.name, ExpectedBucketOwner: b.owner})
	if coded(err, "NoSuchTagSet") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read tags of bucket %s: %w", *b.name, classify(err))
	}
	if len(got.TagSet) == 0 {
		return nil, nil
	}
	tags := make(map[string]string, len(got.TagSet))
	for _, tag := range got.TagSet {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return tags, nil
}

// Population counts the account's buckets in a region.
func (b *blockPublic) Population(ctx context.Context, at action.Place) (int, error) {
	return b.among.of(ctx, b.cloud.here(at))
}

func (c *Cloud) countBuckets(ctx context.Context, at action.Place) (int, error) {
	reach, err := c.at(at)
	if err != nil {
		return 0, err
	}
	count := 0
	pages := s3.NewListBucketsPaginator(c.storage(reach), &s3.ListBucketsInput{
		BucketRegion: aws.String(at.Region), MaxBuckets: aws.Int32(1000),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("list buckets: %w", classify(err))
		}
		count += len(page.Buckets)
	}
	return count, nil
}
