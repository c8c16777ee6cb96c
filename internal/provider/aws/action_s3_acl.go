package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/riposte-sec/riposte/internal/action"
)

// acl is a bucket's access control list, its grants sorted.
type acl struct {
	Owner  string  `json:"owner"` // canonical id
	Grants []grant `json:"grants"`
}

// grant is one entry of an ACL.
type grant struct {
	Grantee    string `json:"grantee"` // canonical id, or URI of a group
	Kind       string `json:"kind"`    // CanonicalUser or Group
	Permission string `json:"permission"`
}

// The groups that are everybody: without credentials, and with those of any account.
var everybodyGroups = []string{ //nolint:gochecknoglobals // a constant list
	"http://acs.amazonaws.com/groups/global/AllUsers", "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
}

func (g grant) public() bool { return slices.Contains(everybodyGroups, g.Grantee) }

// makeACLPrivate makes aws.s3.make_acl_private.
func makeACLPrivate(c *Cloud) *among[acl] {
	a := &among[acl]{placed: placed[acl]{cloud: c}, census: newCensus(c.countBuckets)}
	a.Setting = action.Setting[acl]{
		About: action.Spec{
			Name:    "aws.s3.make_acl_private",
			Summary: "Remove everybody from an S3 bucket's access control list",
			Doc: "Takes the grants to everybody (`AllUsers`, `AuthenticatedUsers`) out of the bucket's ACL. Other grants, such as those to " +
				"other accounts and to log delivery, stay. The ACLs of the objects in the bucket, its policy and its access points " +
				"are not touched: `aws.s3.block_public_access` makes S3 ignore public ACLs of objects as well.\n\n" +
				"The bucket must belong to the account that the finding names. Undo puts the saved ACL back; S3 refuses that while " +
				"a public access block is on.",
			Effect: action.Contain,
			Params: []action.Param{bucketParam()},
			Permissions: slices.Concat(
				permit(action.PlanPhase, allBuckets, nil, "s3:ListBucket", "s3:GetBucketAcl", "s3:GetBucketTagging"),
				permit(action.PlanPhase, "*", nil, "s3:ListAllMyBuckets"),
				permit(action.ApplyPhase, allBuckets, nil, "s3:PutBucketAcl"),
				permit(action.UndoPhase, allBuckets, nil, "s3:PutBucketAcl"),
			),
		},
		Target: c.bucketTarget,
		Read:   c.readACL,
		Want: func(_ action.Input, now acl) (acl, error) {
			now.Grants = slices.DeleteFunc(slices.Clone(now.Grants), grant.public)
			return now, nil
		},
		Write: c.writeACL,
		Calls: func(in action.Input, _, _ acl) []string {
			return []string{"s3:PutBucketAcl " + in.Params.String("bucket")}
		},
		Summary: func(in action.Input, from, to acl) string {
			return fmt.Sprintf("The ACL of bucket %s grants nothing to everybody (%d grants are removed)",
				in.Params.String("bucket"), len(from.Grants)-len(to.Grants))
		},
		Facts: func(ctx context.Context, in action.Input, now acl, plan *action.Change) error {
			at, err := c.bucketAt(ctx, in)
			if err != nil {
				return err
			}
			var lost []string
			for _, g := range now.Grants {
				if g.public() {
					lost = append(lost, g.Permission+" of "+g.Grantee[strings.LastIndexByte(g.Grantee, '/')+1:])
				}
			}
			if len(lost) > 0 {
				plan.Impact = append(plan.Impact, "these lose access: "+some(lost))
			}
			plan.Impact = append(plan.Impact, "objects whose own ACL is public stay public")
			plan.Tags, err = at.tags(ctx)
			return err
		},
	}
	return a
}

func (c *Cloud) readACL(ctx context.Context, in action.Input) (acl, error) {
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return acl{}, err
	}
	got, err := at.api.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: at.name, ExpectedBucketOwner: at.owner})
	if err != nil {
		return acl{}, fmt.Errorf("read ACL of bucket %s: %w", *at.name, classify(err))
	}
	list := acl{Grants: []grant{}}
	if got.Owner != nil {
		list.Owner = aws.ToString(got.Owner.ID)
	}
	for _, g := range got.Grants {
		if g.Grantee == nil {
			continue
		}
		list.Grants = append(list.Grants, grant{
			Grantee: cmp.Or(aws.ToString(g.Grantee.ID), aws.ToString(g.Grantee.URI)), Kind: string(g.Grantee.Type), Permission: string(g.Permission),
		})
	}
	slices.SortFunc(list.Grants, func(a, b grant) int {
		return cmp.Or(strings.Compare(a.Grantee, b.Grantee), strings.Compare(a.Permission, b.Permission))
	})
	return list, nil
}

func (c *Cloud) writeACL(ctx context.Context, in action.Input, _, to acl) (acl, error) {
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return acl{}, err
	}
	list := &types.AccessControlPolicy{Owner: &types.Owner{ID: aws.String(to.Owner)}, Grants: []types.Grant{}}
	for _, g := range to.Grants {
		grantee := &types.Grantee{Type: types.Type(g.Kind)}
		if grantee.Type == types.TypeGroup {
			grantee.URI = aws.String(g.Grantee)
		} else {
			grantee.ID = aws.String(g.Grantee)
		}
		list.Grants = append(list.Grants, types.Grant{Grantee: grantee, Permission: types.Permission(g.Permission)})
	}
	_, err = at.api.PutBucketAcl(ctx, &s3.PutBucketAclInput{Bucket: at.name, ExpectedBucketOwner: at.owner, AccessControlPolicy: list})
	if err != nil {
		return acl{}, fmt.Errorf("put ACL on bucket %s: %w", *at.name, classify(err))
	}
	return to, nil
}
