package aws

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var apiKeyForm = shaped(`^[a-z0-9]{6,20}$`)

// apiKey is whether a key of API Gateway's is let in.
type apiKey struct {
	Enabled bool `json:"enabled"`

	name string
	tags map[string]string
}

// disableAPIKey makes aws.apigateway.disable_key.
func disableAPIKey(c *Cloud) *placed[apiKey] {
	return setting(c, action.Setting[apiKey]{
		About: disableKeySpec(),
		Target: func(in action.Input) entity.Entity {
			at := c.here(in.Place)
			arn := "arn:" + c.self.Partition + ":apigateway:" + at.Region + "::/apikeys/" + in.Params.String("key_id")
			return entity.Entity{
				Kind: entity.Resource, ID: arn, Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region, ARN: arn,
			}
		},
		Read: c.readAPIKey,
		Want: func(action.Input, apiKey) (apiKey, error) { return apiKey{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to apiKey) (apiKey, error) {
			api, err := service(c, in.Place, apigateway.NewFromConfig)
			if err != nil {
				return apiKey{}, err
			}
			id := in.Params.String("key_id")
			_, err = api.UpdateApiKey(ctx, &apigateway.UpdateApiKeyInput{
				ApiKey: aws.String(id), PatchOperations: []types.PatchOperation{{
					Op: types.OpReplace, Path: aws.String("/enabled"), Value: aws.String(strconv.FormatBool(to.Enabled)),
				}},
			})
			if err != nil {
				return apiKey{}, fmt.Errorf("set API key %s enabled to %t: %w", id, to.Enabled, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ apiKey) []string {
			return []string{"apigateway:UpdateApiKey " + in.Params.String("key_id") + ", enabled=false"}
		},
		Summary: func(in action.Input, from, _ apiKey) string {
			return fmt.Sprintf("API key %s (%s) lets nobody in", in.Params.String("key_id"), shorten(from.name))
		},
		Facts: func(_ context.Context, _ action.Input, now apiKey, c *action.Change) error {
			c.Tags = now.tags
			c.Impact = []string{
				"everybody who calls with this key is refused, by every API and usage plan that it is of",
				"methods that ask for no key stay open",
			}
			return nil
		},
	})
}

func disableKeySpec() action.Spec {
	const keys = "arn:{partition}:apigateway:{region}::/apikeys/*"
	return action.Spec{
		Name:    "aws.apigateway.disable_key",
		Summary: "Disable an API Gateway key",
		Doc: "Disables the key: calls with it are refused where a method asks for a key. Its value is never read. Usage plans stay as they are, and so " +
			"do methods that ask for no key, or whose authorization is another.\n\nUndo enables it if it was enabled.",
		Effect: action.Contain,
		Params: []action.Param{
			{Name: "key_id", Type: action.String, Required: true, Doc: "id of the key, not its value"},
		},
		Permissions: slices.Concat(
			reads(keys, "apigateway:GET"), writes(keys, "apigateway:PATCH"), undoes(keys, "apigateway:PATCH"),
		),
	}
}

func (c *Cloud) readAPIKey(ctx context.Context, in action.Input) (apiKey, error) {
	id := in.Params.String("key_id")
	if !apiKeyForm.MatchString(id) { // not named in the error: it might be the key's value
		return apiKey{}, fault.New(fault.Invalid, "key_id: what was given is not the id of an API key")
	}
	api, err := service(c, in.Place, apigateway.NewFromConfig)
	if err != nil {
		return apiKey{}, err
	}
	got, err := api.GetApiKey(ctx, &apigateway.GetApiKeyInput{ApiKey: aws.String(id), IncludeValue: aws.Bool(false)})
	if err != nil {
		return apiKey{}, fmt.Errorf("read API key %s: %w", id, classify(err))
	}
	return apiKey{Enabled: got.Enabled, name: aws.ToString(got.Name), tags: got.Tags}, nil
}
