package aws_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
)

// accountBlock is somebody else who reads and writes the public access block of the lab's account.
type accountBlock struct {
	t *testing.T
	l *lab
}

// direct resolves to the emulator, which has no host for each account.
type direct struct{ s3control.EndpointResolverV2 }

func (d direct) ResolveEndpoint(ctx context.Context, p s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	p.RequiresAccountId = sdk.Bool(false)
	return d.EndpointResolverV2.ResolveEndpoint(ctx, p)
}

func (a accountBlock) api() *s3control.Client {
	return s3control.NewFromConfig(a.l.direct, func(o *s3control.Options) {
		o.EndpointResolverV2 = direct{s3control.NewDefaultEndpointResolverV2()}
	})
}

func (a accountBlock) get() string {
	a.t.Helper()
	got, err := a.api().GetPublicAccessBlock(a.t.Context(), &s3control.GetPublicAccessBlockInput{AccountId: sdk.String(a.l.account)})
	if err != nil {
		return "none"
	}
	return dump(a.t, got.PublicAccessBlockConfiguration)
}

func (a accountBlock) put(policy bool) {
	a.t.Helper()
	must[*s3control.PutPublicAccessBlockOutput](a.t)(a.api().PutPublicAccessBlock(a.t.Context(), &s3control.PutPublicAccessBlockInput{
		AccountId: sdk.String(a.l.account), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: sdk.Bool(true), IgnorePublicAcls: sdk.Bool(false), BlockPublicPolicy: sdk.Bool(policy), RestrictPublicBuckets: sdk.Bool(false),
		},
	}))
}

// sortedLines gives a list as text that can be compared.
func sortedLines(list []string) string {
	slices.Sort(list)
	return strings.Join(list, "\n")
}
