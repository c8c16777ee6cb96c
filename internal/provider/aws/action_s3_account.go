package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
)

// blockAccountPublicAccess makes aws.s3.block_account_public_access.
func blockAccountPublicAccess(c *Cloud) *placed[publicAccess] {
	return &placed[publicAccess]{cloud: c, Setting: action.Setting[publicAccess]{
		About: action.Spec{
			Name:    "aws.s3.block_account_public_access",
			Summary: "Block public access to all S3 buckets of an account",
			Doc: "Turns on all four settings of the account's public access block. They count for every bucket and access point of the " +
				"account, in all regions, those made later included, whatever a bucket's own block says. Policies and ACLs stay as " +
				"they are. Access by principals of other accounts that a policy names stays too, where the policy isn't public.\n\n" +
				"It stops every website and every download that the account serves from public buckets: block a single bucket with " +
				"`aws.s3.block_public_access` where one is meant. Undo sets the four settings as they were, or removes the block " +
				"where the account had none. An organization's S3 policy may set them again.",
			Effect: action.Contain,
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "s3:GetAccountPublicAccessBlock", "s3:ListAllMyBuckets"),
				permit(action.ApplyPhase, "*", nil, "s3:PutAccountPublicAccessBlock"),
				permit(action.UndoPhase, "*", nil, "s3:PutAccountPublicAccessBlock"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return c.global(entity.Account, c.here(in.Place).Account, in.Place)
		},
		Read: c.readAccountBlock,
		Want: func(action.Input, publicAccess) (publicAccess, error) {
			return publicAccess{
				Configured: true, BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true,
			}, nil
		},
		Write: c.writeAccountBlock,
		Calls: func(in action.Input, _, _ publicAccess) []string {
			return []string{"s3:PutAccountPublicAccessBlock of account " + c.here(in.Place).Account + ", all four settings on"}
		},
		Summary: func(in action.Input, from, _ publicAccess) string {
			return fmt.Sprintf("Public access to the buckets of account %s is blocked (%s before)", c.here(in.Place).Account, from)
		},
		Facts: func(ctx context.Context, in action.Input, _ publicAccess, plan *action.Change) error {
			count, err := c.countBuckets(ctx, c.here(in.Place))
			if err != nil {
				return err
			}
			plan.Impact = []string{
				fmt.Sprintf("the account has %d buckets in %s, and those in other regions: it concerns them all", count, c.here(in.Place).Region),
				"who reads a bucket without credentials, such as visitors of a website in it, can't any more",
			}
			return nil
		},
	}}
}

// accountStorage is a client of what S3 keeps for an account. An emulator is reached at its own address, for it
// has no host for each account.
func (c *Cloud) accountStorage(at action.Place) (*s3control.Client, error) {
	return client(c, at, func(made aws.Config) *s3control.Client {
		return s3control.NewFromConfig(made, func(o *s3control.Options) {
			if c.options.Endpoint != "" {
				o.EndpointResolverV2 = oneHost{s3control.NewDefaultEndpointResolverV2()}
			}
		})
	})
}

// oneHost resolves to an endpoint without a part for the account before its host.
type oneHost struct{ usual s3control.EndpointResolverV2 }

// ResolveEndpoint takes the account out of the question.
func (r oneHost) ResolveEndpoint(ctx context.Context, p s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	p.RequiresAccountId = aws.Bool(false)
	return r.usual.ResolveEndpoint(ctx, p)
}

func (c *Cloud) readAccountBlock(ctx context.Context, in action.Input) (publicAccess, error) {
	api, err := c.accountStorage(in.Place)
	if err != nil {
		return publicAccess{}, err
	}
	got, err := api.GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{AccountId: aws.String(c.here(in.Place).Account)})
	if coded(err, "NoSuchPublicAccessBlockConfiguration") {
		return publicAccess{}, nil
	}
	if err != nil {
		return publicAccess{}, fmt.Errorf("read the account's public access block: %w", classify(err))
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

func (c *Cloud) writeAccountBlock(ctx context.Context, in action.Input, _, to publicAccess) (publicAccess, error) {
	api, err := c.accountStorage(in.Place)
	if err != nil {
		return publicAccess{}, err
	}
	account := aws.String(c.here(in.Place).Account)
	if !to.Configured {
		if _, err := api.DeletePublicAccessBlock(ctx, &s3control.DeletePublicAccessBlockInput{AccountId: account}); err != nil {
			return publicAccess{}, fmt.Errorf("delete the account's public access block: %w", classify(err))
		}
		return to, nil
	}
	_, err = api.PutPublicAccessBlock(ctx, &s3control.PutPublicAccessBlockInput{
		AccountId: account, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(to.BlockPublicAcls), IgnorePublicAcls: aws.Bool(to.IgnorePublicAcls),
			BlockPublicPolicy: aws.Bool(to.BlockPublicPolicy), RestrictPublicBuckets: aws.Bool(to.RestrictPublicBuckets),
		},
	})
	if err != nil {
		return publicAccess{}, fmt.Errorf("put the account's public access block: %w", classify(err))
	}
	return to, nil
}
