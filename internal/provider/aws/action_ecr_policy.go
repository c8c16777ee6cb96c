package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var repositoryForm = shaped(`^[a-z0-9]+([._/-]+[a-z0-9]+)*$`)

func repositoryNaming() naming {
	return naming{
		what: "ECR repository", param: "repository", kind: entity.Resource, service: "ecr", prefix: "repository/", form: repositoryForm, byARN: true,
	}
}

// openRepository makes aws.ecr.remove_public_policy.
func openRepository(c *Cloud) *placed[openness] {
	all := repositoryNaming().all()
	return closing(c, opened{
		naming: repositoryNaming(),
		spec: action.Spec{
			Name: "aws.ecr.remove_public_policy", Summary: "Take public access out of an ECR repository's policy", Effect: action.Contain,
			Doc: closingDoc + " A repository of the public gallery is another service's. Images that were pulled stay with whoever " +
				"pulled them; look whether any were pushed.",
			Params: append([]action.Param{repositoryNaming().takes()}, scopeParams()...),
			Permissions: slices.Concat(
				reads(all, "ecr:DescribeRepositories", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource"),
				writes(all, "ecr:SetRepositoryPolicy", "ecr:DeleteRepositoryPolicy"),
				undoes(all, "ecr:SetRepositoryPolicy", "ecr:DeleteRepositoryPolicy"),
			),
		},
		read:  c.readRepositoryPolicy,
		write: c.writeRepositoryPolicy,
		calls: func(to openness) string {
			return flip(len(to.Policy) == 0, "ecr:DeleteRepositoryPolicy", "ecr:SetRepositoryPolicy")
		},
	})
}

func (c *Cloud) repository(in action.Input) (name string, at action.Place, api *ecr.Client, err error) {
	name, at, err = repositoryNaming().find(c, in)
	if err == nil && len(name) > 256 {
		err = fault.New(fault.Invalid, "repository: %q is longer than 256 characters", shorten(name))
	}
	if err != nil {
		return "", at, nil, err
	}
	api, err = service(c, at, ecr.NewFromConfig)
	return name, at, api, err
}

func (c *Cloud) readRepositoryPolicy(ctx context.Context, in action.Input) (openness, error) {
	name, at, api, err := c.repository(in)
	if err != nil {
		return openness{}, err
	}
	found, err := api.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{
		RegistryId: aws.String(at.Account), RepositoryNames: []string{name},
	})
	if err != nil {
		return openness{}, fmt.Errorf("find repository %s: %w", name, classify(err))
	}
	state := openness{impact: []string{"images that were pulled stay with whoever pulled them"}}
	got, err := api.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RegistryId: aws.String(at.Account), RepositoryName: aws.String(name)})
	switch {
	case coded(err, "RepositoryPolicyNotFoundException"): // it has none
	case err != nil:
		return openness{}, fmt.Errorf("read policy of repository %s: %w", name, classify(err))
	default:
		if state.Policy, err = canonical(aws.ToString(got.PolicyText)); err != nil {
			return openness{}, err
		}
	}
	for _, repository := range found.Repositories {
		tags, err := api.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: repository.RepositoryArn})
		if err != nil {
			return openness{}, fmt.Errorf("read tags of repository %s: %w", name, classify(err))
		}
		state.tags = tagMap(tags.Tags, func(t types.Tag) (key, value *string) { return t.Key, t.Value })
	}
	return state, nil
}

func (c *Cloud) writeRepositoryPolicy(ctx context.Context, in action.Input, policy json.RawMessage) error {
	name, at, api, err := c.repository(in)
	if err != nil {
		return err
	}
	registry, repository := aws.String(at.Account), aws.String(name)
	if len(policy) == 0 {
		_, err = api.DeleteRepositoryPolicy(ctx, &ecr.DeleteRepositoryPolicyInput{RegistryId: registry, RepositoryName: repository})
	} else {
		_, err = api.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{
			RegistryId: registry, RepositoryName: repository, PolicyText: aws.String(string(policy)),
		})
	}
	if err != nil {
		return fmt.Errorf("set policy of repository %s: %w", name, classify(err))
	}
	return nil
}
