package aws

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/kube"
	"github.com/riposte-sec/riposte/internal/secret"
)

// inCluster is what the documentation of every action says that works within a cluster.
const inCluster = "\n\nIt asks the cluster's API server, as the role that Riposte acts by: give that role an access entry of the cluster with a " +
	"group, and bind the group to a ClusterRole that lets it "

// kubernetes gives a client of the API server of a step's cluster.
func (c *Cloud) kubernetes(ctx context.Context, in action.Input) (*kube.Client, error) {
	found, at, _, err := c.cluster(ctx, in)
	if err != nil {
		return nil, err
	}
	name := aws.ToString(found.Name)
	if found.CertificateAuthority == nil || aws.ToString(found.Endpoint) == "" {
		return nil, fault.New(fault.Transient, "cluster %s has no endpoint yet: its status is %s", name, found.Status)
	}
	authority, err := base64.StdEncoding.DecodeString(aws.ToString(found.CertificateAuthority.Data))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the certificate authority of cluster %s can't be read: %w", name, err)
	}
	token, err := c.clusterToken(ctx, at, name)
	if err != nil {
		return nil, err
	}
	return kube.New(aws.ToString(found.Endpoint), authority, token)
}

// clusterToken is what EKS takes for a bearer token: a signed question to STS who we are, which names the cluster and
// is good for minutes. EKS asks it, and so learns who we are.
func (c *Cloud) clusterToken(ctx context.Context, at action.Place, cluster string) (secret.Secret, error) {
	reach, err := c.at(at)
	if err != nil {
		return secret.Secret{}, err
	}
	signed, err := sts.NewPresignClient(sts.NewFromConfig(reach)).PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{},
		func(o *sts.PresignOptions) {
			o.ClientOptions = append(o.ClientOptions, func(o *sts.Options) {
				o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("x-k8s-aws-id", cluster), smithyhttp.SetHeaderValue("X-Amz-Expires", "60"))
			})
		})
	if err != nil {
		return secret.Secret{}, fmt.Errorf("make a token for cluster %s: %w", cluster, classify(err))
	}
	return secret.New("k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(signed.URL))), nil
}

func podParam() action.Param {
	return action.Param{Name: "pod", Type: action.String, Required: true, Entity: entity.Pod, Doc: "the pod: namespace/name"}
}

// podNames takes apart namespace/name.
func podNames(in action.Input) (namespace, name string, err error) {
	text := in.Params.String("pod")
	namespace, name, divided := strings.Cut(text, "/")
	if !divided {
		return "", "", fault.New(fault.Invalid, "pod: %q is not namespace/name", shorten(text))
	}
	if err := kube.CheckName("namespace", namespace); err != nil {
		return "", "", err
	}
	return namespace, name, kube.CheckName("pod", name)
}

// pod reads a step's pod, with a client of its cluster.
func (c *Cloud) pod(ctx context.Context, in action.Input) (kube.Pod, *kube.Client, error) {
	namespace, name, err := podNames(in)
	if err != nil {
		return kube.Pod{}, nil, err
	}
	api, err := c.kubernetes(ctx, in)
	if err != nil {
		return kube.Pod{}, nil, err
	}
	found, err := api.Pod(ctx, namespace, name)
	if err != nil {
		return kube.Pod{}, api, fmt.Errorf("read pod %s/%s: %w", namespace, name, err)
	}
	return found, api, nil
}

// inClusterTarget is something in a step's cluster.
func (c *Cloud) inClusterTarget(kind entity.Kind, param string) func(in action.Input) entity.Entity {
	return func(in action.Input) entity.Entity {
		at := c.here(in.Place)
		if _, found, err := clusterNaming().find(c, in); err == nil {
			at = found
		}
		return entity.Entity{
			Kind: kind, ID: in.Params.String(param), Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
		}
	}
}

// ofCluster adds a step's cluster to what a plan touches.
func (c *Cloud) inContext(in action.Input, change *action.Change) {
	cluster := clusterNaming().target(c)(in)
	cluster.Part = entity.Context
	change.Touches = append(change.Touches, cluster)
}

// replaced says who replaces a pod when it is gone.
func replaced(pod kube.Pod) string {
	for _, owner := range pod.Metadata.OwnerReferences {
		return fmt.Sprintf("its %s %s", owner.Kind, shorten(owner.Name))
	}
	return "nobody"
}

func nodeEntity(at action.Place, name string) entity.Entity {
	return entity.Entity{
		Kind: entity.KubernetesObject, ID: "nodes/" + name, Part: entity.Context, Provider: "aws", Account: at.Account, Region: at.Region,
	}
}
