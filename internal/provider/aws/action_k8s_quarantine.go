package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/kube"
)

const (
	// quarantineLabel is the label by which a network policy selects one pod; its value is the pod's UID.
	quarantineLabel = "riposte-quarantine"
	// podPolicy begins the names of our network policies; the pod's UID follows.
	podPolicy = "riposte-quarantine-"
)

// cutOff is how far a pod is quarantined.
type cutOff struct {
	UID      string          `json:"uid"`
	Node     string          `json:"node"`
	Label    string          `json:"label,omitempty"`
	Policy   json.RawMessage `json:"policy,omitempty"` // specification of the network policy with our name
	Cordoned bool            `json:"cordoned"`         // false where the step doesn't ask for it

	pod  kube.Pod
	open []string // other policies that let something through
}

// podQuarantine is aws.eks.quarantine_pod.
type podQuarantine struct {
	placed[cutOff]
}

func quarantinePod(c *Cloud) *podQuarantine {
	q := &podQuarantine{placed[cutOff]{cloud: c}}
	q.Setting = action.Setting[cutOff]{
		About:  podQuarantineSpec(),
		Target: c.inClusterTarget(podParam().Entity, "pod"),
		Read:   q.read,
		Want:   wantCutOff,
		Write:  q.write,
		Calls: func(in action.Input, from, to cutOff) []string {
			pod := in.Params.String("pod")
			calls := []string{
				"kubernetes:create networkpolicies " + podPolicy + to.UID, "kubernetes:patch pods " + pod + ", label " + quarantineLabel,
			}
			if to.Cordoned && !from.Cordoned {
				calls = append(calls, "kubernetes:patch nodes "+to.Node+", unschedulable")
			}
			return calls
		},
		Summary: func(in action.Input, _, to cutOff) string {
			return fmt.Sprintf("Pod %s can neither reach nor be reached%s", in.Params.String("pod"),
				flip(to.Cordoned, ", and node "+to.Node+" takes no new pods", ""))
		},
		Between: func(from, now, to cutOff) bool {
			policy := string(now.Policy)
			return now.UID == from.UID && now.UID == to.UID && now.Node == to.Node &&
				(now.Label == from.Label || now.Label == to.Label) && (now.Cordoned == from.Cordoned || now.Cordoned == to.Cordoned) &&
				(policy == "" || policy == string(from.Policy) || policy == string(to.Policy))
		},
		Facts: q.facts,
	}
	return q
}

func podQuarantineSpec() action.Spec {
	return action.Spec{
		Name:    "aws.eks.quarantine_pod",
		Summary: "Cut a pod off the network without deleting it",
		Doc: "Labels the pod with its own UID and makes a network policy that selects this label and lets nothing through, in or out: exactly this " +
			"pod, and no other that is made from the same template. Where the step says so, its node takes no new pods. The pod goes on running, " +
			"as evidence; services go on sending it requests, which fail; nobody replaces it.\n\n" +
			"**Network policies add up**: what another one lets through, ours can't stop. Where others select the pod, the step is refused and names " +
			"them, unless `partial` says that this is better than nothing. A pod in its node's network is refused, since policies don't bind it. " +
			"It all holds only where the cluster enforces network policies (with the VPC CNI, that has to be turned on), which can't be seen from here. " +
			"Policies of other kinds, such as Cilium's, are not read.\n\n" +
			"Undo takes the label and the policy away and lets pods onto the node if they were let before. If the pod is gone, " +
			"it clears away what is left." +
			inCluster + "get and patch pods and nodes, and get, list, create and delete networkpolicies.networking.k8s.io.",
		Effect: action.Contain,
		Params: []action.Param{
			clusterNaming().takes(), podParam(),
			{Name: "cordon", Type: action.Bool, Default: false, Doc: "whether to keep new pods off its node, too"},
			{Name: "partial", Type: action.Bool, Default: false, Doc: "whether to act although other policies let traffic through"},
		},
		Permissions: slices.Concat(
			reads(clusterNaming().all(), "eks:DescribeCluster"), writes(clusterNaming().all(), "eks:DescribeCluster"),
			undoes(clusterNaming().all(), "eks:DescribeCluster"),
		),
	}
}

// wantCutOff refuses a pod that a policy of ours would not cut off.
func wantCutOff(in action.Input, now cutOff) (cutOff, error) {
	if now.pod.Spec.HostNetwork {
		return now, fault.WithHint(fault.New(fault.Invalid, "pod %s is in its node's network: no network policy binds it", in.Params.String("pod")),
			"isolate the node's instance by aws.ec2.isolate_instance")
	}
	if len(now.open) > 0 && !in.Params.Bool("partial") {
		return now, fault.WithHint(fault.New(fault.Invalid, "other network policies let traffic of pod %s through: %s",
			in.Params.String("pod"), strings.Join(now.open[:min(len(now.open), mostNamed)], ", ")),
			"give partial: true to cut off the rest, or delete the pod by aws.eks.delete_pod")
	}
	want := cutOff{UID: now.UID, Node: now.Node, Label: now.UID, Cordoned: in.Params.Bool("cordon")}
	var err error
	want.Policy, err = denyAll(now.UID)
	return want, err
}

// denyAll is the specification of a policy that lets nothing of one pod through.
func denyAll(uid string) (json.RawMessage, error) {
	text, err := json.Marshal(map[string]any{
		"podSelector": map[string]any{"matchLabels": map[string]any{quarantineLabel: uid}}, "policyTypes": []string{"Ingress", "Egress"},
	})
	if err != nil {
		return nil, fmt.Errorf("encode network policy: %w", err)
	}
	return canonical(string(text))
}

func (q *podQuarantine) read(ctx context.Context, in action.Input) (cutOff, error) {
	pod, api, err := q.cloud.pod(ctx, in)
	if err != nil {
		return cutOff{}, err
	}
	state := cutOff{UID: pod.Metadata.UID, Node: pod.Spec.NodeName, Label: pod.Metadata.Labels[quarantineLabel], pod: pod}
	policies, err := api.Policies(ctx, pod.Metadata.Namespace)
	if err != nil {
		return cutOff{}, fmt.Errorf("list network policies of %s: %w", pod.Metadata.Namespace, err)
	}
	for _, p := range policies {
		if p.Metadata.Name == podPolicy+state.UID {
			if state.Policy, err = canonical(string(p.Spec)); err != nil {
				return cutOff{}, err
			}
		}
		if p.Admits(pod.Metadata.Labels) {
			state.open = append(state.open, shorten(p.Metadata.Name))
		}
	}
	slices.Sort(state.open)
	if in.Params.Bool("cordon") {
		node, err := api.Node(ctx, state.Node)
		if err != nil {
			return cutOff{}, fmt.Errorf("read node %s: %w", state.Node, err)
		}
		state.Cordoned = node.Spec.Unschedulable
	}
	return state, nil
}

// write makes the policy before the label, so that the label cuts off at once, and takes them away the other way round.
func (q *podQuarantine) write(ctx context.Context, in action.Input, from, to cutOff) (cutOff, error) {
	pod, api, err := q.cloud.pod(ctx, in)
	if err != nil {
		return cutOff{}, err
	}
	namespace, name := pod.Metadata.Namespace, podPolicy+to.UID
	label := func() error {
		if from.Label == to.Label {
			return nil
		}
		return api.Label(ctx, pod, quarantineLabel, to.Label)
	}
	policy := func() error {
		if string(from.Policy) == string(to.Policy) {
			return nil
		}
		if err := api.DeletePolicy(ctx, namespace, name); err != nil || len(to.Policy) == 0 {
			return err
		}
		return api.CreatePolicy(ctx, kube.Policy{
			Metadata: kube.Meta{
				Name: name, Namespace: namespace, Annotations: map[string]string{"riposte/incident": in.Incident, "riposte/run": in.Run},
			}, Spec: to.Policy,
		})
	}
	steps := []func() error{policy, label}
	if to.Label == "" {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return cutOff{}, fmt.Errorf("quarantine of pod %s/%s: %w", namespace, pod.Metadata.Name, err)
		}
	}
	if from.Cordoned != to.Cordoned {
		if err := api.Cordon(ctx, to.Node, to.Cordoned); err != nil {
			return cutOff{}, fmt.Errorf("cordon node %s: %w", to.Node, err)
		}
	}
	return to, nil
}

func (q *podQuarantine) facts(_ context.Context, in action.Input, now cutOff, c *action.Change) error {
	q.cloud.inContext(in, c)
	c.Tags = now.pod.Metadata.Labels
	c.Impact = []string{
		"services go on sending it requests, which fail, and " + replaced(now.pod) + " does not replace it",
		"the token of its service account " + shorten(now.pod.Spec.ServiceAccountName) + ", and credentials it had of AWS, stay valid",
		"it holds only where the cluster enforces network policies",
	}
	if in.Params.Bool("cordon") {
		c.Touches = append(c.Touches, nodeEntity(in.Place, now.Node))
		c.Impact = append(c.Impact, "node "+now.Node+" takes no new pods, and a rollout may find no room")
	}
	if len(now.open) > 0 {
		c.Impact = append(c.Impact, "it is not wholly cut off: these policies still let traffic through: "+
			strings.Join(now.open[:min(len(now.open), mostNamed)], ", "))
	}
	return nil
}

// Verify demands that no other policy lets traffic through, beside that ours is there.
func (q *podQuarantine) Verify(ctx context.Context, a action.Applied) error {
	if err := q.Setting.Verify(ctx, a); err != nil {
		return err
	}
	in, err := a.Change.Input()
	if err != nil {
		return err
	}
	now, err := q.read(ctx, in)
	if err != nil {
		return err
	}
	if len(now.open) > 0 && !in.Params.Bool("partial") {
		return &action.NotHeld{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: []action.Difference{
			{Path: "other_policies", Was: "", Is: strings.Join(now.open, ", ")},
		}}
	}
	return nil
}

// Drift finds none where the pod is gone: what is left can be cleared away.
func (q *podQuarantine) Drift(ctx context.Context, a action.Applied) ([]action.Difference, error) {
	drift, err := q.Setting.Drift(ctx, a)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return drift, err
}

// Undo lets the pod be reached again. Where it is gone, what is left of the quarantine is cleared away.
func (q *podQuarantine) Undo(ctx context.Context, a action.Applied, force bool) (action.Result, error) {
	result, err := q.Setting.Undo(ctx, a, force)
	if !fault.Is(err, fault.NotFound) {
		return result, err
	}
	in, before, api, err := q.remains(ctx, a)
	if err != nil {
		return action.Result{}, err
	}
	namespace, _, err := podNames(in)
	if err != nil {
		return action.Result{}, err
	}
	if err := api.DeletePolicy(ctx, namespace, podPolicy+before.UID); err != nil {
		return action.Result{}, fmt.Errorf("clear away the quarantine of a pod that is gone: %w", err)
	}
	if in.Params.Bool("cordon") && !before.Cordoned {
		if err := api.Cordon(ctx, before.Node, false); err != nil && !fault.Is(err, fault.NotFound) {
			return action.Result{}, fmt.Errorf("uncordon node %s: %w", before.Node, err)
		}
	}
	return action.Result{Changed: true, Note: "the pod is gone; its network policy is deleted"}, nil
}

// Restored reads that the pod is as it was, or that nothing is left of a quarantine whose pod is gone.
func (q *podQuarantine) Restored(ctx context.Context, a action.Applied) error {
	err := q.Setting.Restored(ctx, a)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	in, before, api, err := q.remains(ctx, a)
	if err != nil {
		return err
	}
	namespace, _, err := podNames(in)
	if err != nil {
		return err
	}
	policies, err := api.Policies(ctx, namespace)
	if err != nil {
		return fmt.Errorf("list network policies of %s: %w", namespace, err)
	}
	if slices.ContainsFunc(policies, func(p kube.Policy) bool { return p.Metadata.Name == podPolicy+before.UID }) {
		return &action.NotHeld{Action: a.Change.Action, Target: a.Change.Target.ID, Differences: []action.Difference{
			{Path: "policy", Was: "", Is: podPolicy + before.UID},
		}}
	}
	return nil
}

func (q *podQuarantine) remains(ctx context.Context, a action.Applied) (in action.Input, before cutOff, api *kube.Client, err error) {
	if in, err = a.Change.Input(); err != nil {
		return in, before, nil, err
	}
	if err = json.Unmarshal(a.Change.Before, &before); err != nil {
		return in, before, nil, fmt.Errorf("read what %s planned from: %w", a.Change.Action, err)
	}
	api, err = q.cloud.kubernetes(ctx, in)
	return in, before, api, err
}
