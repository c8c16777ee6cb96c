package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/kube"
)

// cordon is whether a node takes no new pods.
type cordon struct {
	Cordoned bool `json:"cordoned"`

	node kube.Node
}

// cordonNode makes aws.eks.cordon_node.
func cordonNode(c *Cloud) *placed[cordon] {
	return setting(c, action.Setting[cordon]{
		About: cordonSpec(),
		Target: func(in action.Input) entity.Entity {
			e := c.inClusterTarget(entity.KubernetesObject, "node")(in)
			e.ID = "nodes/" + e.ID
			return e
		},
		Read: func(ctx context.Context, in action.Input) (cordon, error) {
			name := in.Params.String("node")
			if err := kube.CheckName("node", name); err != nil {
				return cordon{}, err
			}
			api, err := c.kubernetes(ctx, in)
			if err != nil {
				return cordon{}, err
			}
			found, err := api.Node(ctx, name)
			if err != nil {
				return cordon{}, fmt.Errorf("read node %s: %w", name, err)
			}
			return cordon{Cordoned: found.Spec.Unschedulable, node: found}, nil
		},
		Want: func(action.Input, cordon) (cordon, error) { return cordon{Cordoned: true}, nil },
		Write: func(ctx context.Context, in action.Input, _, to cordon) (cordon, error) {
			api, err := c.kubernetes(ctx, in)
			if err != nil {
				return cordon{}, err
			}
			if err := api.Cordon(ctx, in.Params.String("node"), to.Cordoned); err != nil {
				return cordon{}, fmt.Errorf("cordon node %s: %w", in.Params.String("node"), err)
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ cordon) []string {
			return []string{"kubernetes:patch nodes " + in.Params.String("node") + ", unschedulable"}
		},
		Summary: func(in action.Input, _, _ cordon) string {
			return "Node " + in.Params.String("node") + " takes no new pods"
		},
		Facts: func(_ context.Context, in action.Input, now cordon, change *action.Change) error {
			c.inContext(in, change)
			change.Tags = now.node.Metadata.Labels
			change.Impact = []string{"pods that are on it stay", "other nodes need room for what would have run here; an autoscaler may add one"}
			return nil
		},
	})
}

func cordonSpec() action.Spec {
	clusters := clusterNaming().all()
	return action.Spec{
		Name:    "aws.eks.cordon_node",
		Summary: "Keep new pods off a node of a cluster",
		Doc: "Marks the node as unschedulable. Pods that are on it go on running, and those of daemon sets still come. To cut the machine itself " +
			"off, use `aws.ec2.isolate_instance`.\n\nUndo lets pods onto it again if they were let before." +
			inCluster + "get and patch nodes.",
		Effect: action.Contain,
		Params: []action.Param{
			clusterNaming().takes(), {Name: "node", Type: action.String, Required: true, Doc: "name of the node: ip-10-0-1-2.eu-central-1.compute.internal"},
		},
		Permissions: slices.Concat(
			reads(clusters, "eks:DescribeCluster"), writes(clusters, "eks:DescribeCluster"), undoes(clusters, "eks:DescribeCluster"),
		),
	}
}

// podLife is whether the pod with a UID is there. Another one may have its name later.
type podLife struct {
	UID  string `json:"uid,omitempty"`
	Gone bool   `json:"gone"`

	pod kube.Pod
}

// podDeletion is aws.eks.delete_pod.
type podDeletion struct {
	final[podLife]
}

// killed is how many seconds a pod has to end. With none, the API server forgets it at once, whether it has ended or not.
const killed = 1

func deletePod(c *Cloud) *podDeletion {
	read := func(ctx context.Context, in action.Input) (podLife, error) {
		found, api, err := c.pod(ctx, in)
		if api != nil && fault.Is(err, fault.NotFound) {
			return podLife{Gone: true}, nil
		}
		return podLife{UID: found.Metadata.UID, pod: found}, err
	}
	return &podDeletion{*finally(c, action.Setting[podLife]{
		About:  deletePodSpec(),
		Target: c.inClusterTarget(entity.Pod, "pod"),
		Read:   read,
		Want: func(in action.Input, now podLife) (podLife, error) {
			if now.Gone {
				return now, fault.New(fault.NotFound, "there is no pod %s", in.Params.String("pod"))
			}
			return podLife{UID: now.UID, Gone: true}, nil
		},
		Holds: func(now, wanted podLife) bool { return now.UID != wanted.UID },
		Write: func(ctx context.Context, in action.Input, _, to podLife) (podLife, error) {
			found, api, err := c.pod(ctx, in)
			if err != nil {
				return podLife{}, err
			}
			found.Metadata.UID = to.UID // not one that has taken its name
			if err := api.DeletePod(ctx, found, killed); err != nil && !fault.Is(err, fault.NotFound) {
				return podLife{}, fmt.Errorf("delete pod %s: %w", in.Params.String("pod"), err)
			}
			return to, nil
		},
		Calls: func(in action.Input, from, _ podLife) []string {
			return []string{"kubernetes:delete pods " + in.Params.String("pod") + ", UID " + from.UID}
		},
		Summary: func(in action.Input, _, _ podLife) string {
			return "Pod " + in.Params.String("pod") + " is deleted for good"
		},
		Facts: func(_ context.Context, in action.Input, now podLife, change *action.Change) error {
			c.inContext(in, change)
			change.Tags = now.pod.Metadata.Labels
			change.Impact = []string{
				"its logs, its memory and what it wrote to its own disk are lost: keep what is needed as evidence first",
				replaced(now.pod) + " makes another in its place, of the same image",
			}
			return nil
		},
	})}
}

func deletePodSpec() action.Spec {
	clusters := clusterNaming().all()
	return action.Spec{
		Name:    "aws.eks.delete_pod",
		Summary: "Delete a pod of a cluster",
		Doc: "Deletes exactly this pod, by its UID: one that has taken its name meanwhile is left alone. Its containers are killed after a second. What " +
			"made it (a deployment, a daemon set) makes another, of the same image and with the same weakness. Tokens and credentials that " +
			"it had stay valid.\n\n**There is no undo.** To keep it as evidence, use `aws.eks.quarantine_pod`." +
			inCluster + "get and delete pods.",
		Effect: action.Destroy,
		Params: []action.Param{clusterNaming().takes(), podParam()},
		Settle: time.Minute,
		Permissions: slices.Concat(
			reads(clusters, "eks:DescribeCluster"), writes(clusters, "eks:DescribeCluster"),
		),
	}
}
