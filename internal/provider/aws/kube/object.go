package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
)

// nameForm is an RFC 1123 subdomain, which the names of pods, nodes and namespaces are.
var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// CheckName refuses what can't be the name of a pod, a node or a namespace.
func CheckName(kind, name string) error {
	if len(name) > 253 || !nameForm.MatchString(name) {
		return fault.New(fault.Invalid, "%.80q is not the name of a %s", name, kind)
	}
	return nil
}

// Meta is what every object has.
type Meta struct {
	Name              string            `json:"name,omitempty"`
	Namespace         string            `json:"namespace,omitempty"`
	UID               string            `json:"uid,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	DeletionTimestamp string            `json:"deletionTimestamp,omitempty"`
	OwnerReferences   []Owner           `json:"ownerReferences,omitempty"`
}

// Owner is who makes and replaces an object.
type Owner struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Pod is what is read of one.
type Pod struct {
	Metadata Meta `json:"metadata"`
	Spec     struct {
		NodeName           string `json:"nodeName"`
		HostNetwork        bool   `json:"hostNetwork"`
		ServiceAccountName string `json:"serviceAccountName"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

// Pod reads a pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (Pod, error) {
	var found Pod
	return found, c.do(ctx, http.MethodGet, podPath(namespace, name), "", nil, &found)
}

func podPath(namespace, name string) string {
	return path("api", "v1", "namespaces", namespace, "pods", name)
}

// Label sets a label of the pod with that UID, or takes it away where the value is empty. A pod that took the other's
// name meanwhile is left alone.
func (c *Client) Label(ctx context.Context, pod Pod, key, value string) error {
	labels := map[string]any{key: value}
	if value == "" {
		labels[key] = nil
	}
	patch := map[string]any{"metadata": map[string]any{"uid": pod.Metadata.UID, "labels": labels}}
	return c.do(ctx, http.MethodPatch, podPath(pod.Metadata.Namespace, pod.Metadata.Name), mergePatch, patch, nil)
}

// DeletePod deletes the pod with that UID. Its containers have grace seconds to end.
func (c *Client) DeletePod(ctx context.Context, pod Pod, grace int) error {
	options := map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace,
		"preconditions": map[string]any{"uid": pod.Metadata.UID},
	}
	return c.do(ctx, http.MethodDelete, podPath(pod.Metadata.Namespace, pod.Metadata.Name), "application/json", options, nil)
}

// Node is what is read of one.
type Node struct {
	Metadata Meta `json:"metadata"`
	Spec     struct {
		Unschedulable bool   `json:"unschedulable"`
		ProviderID    string `json:"providerID"`
	} `json:"spec"`
}

// Node reads a node.
func (c *Client) Node(ctx context.Context, name string) (Node, error) {
	var found Node
	return found, c.do(ctx, http.MethodGet, path("api", "v1", "nodes", name), "", nil, &found)
}

// Cordon keeps new pods off a node, or lets them on it again.
func (c *Client) Cordon(ctx context.Context, name string, cordoned bool) error {
	var unschedulable any
	if cordoned {
		unschedulable = true
	}
	patch := map[string]any{"spec": map[string]any{"unschedulable": unschedulable}}
	return c.do(ctx, http.MethodPatch, path("api", "v1", "nodes", name), mergePatch, patch, nil)
}

// Policy is a network policy. Its specification is kept as it is written.
type Policy struct {
	APIVersion string          `json:"apiVersion,omitempty"`
	Kind       string          `json:"kind,omitempty"`
	Metadata   Meta            `json:"metadata"`
	Spec       json.RawMessage `json:"spec"`
}

func policyPath(namespace string, name ...string) string {
	return path(append([]string{"apis", "networking.k8s.io", "v1", "namespaces", namespace, "networkpolicies"}, name...)...)
}

// Policies lists the network policies of a namespace.
func (c *Client) Policies(ctx context.Context, namespace string) ([]Policy, error) {
	var list struct{ Items []Policy }
	return list.Items, c.do(ctx, http.MethodGet, policyPath(namespace), "", nil, &list)
}

// CreatePolicy makes a network policy.
func (c *Client) CreatePolicy(ctx context.Context, p Policy) error {
	p.APIVersion, p.Kind = "networking.k8s.io/v1", "NetworkPolicy"
	return c.do(ctx, http.MethodPost, policyPath(p.Metadata.Namespace), "application/json", p, nil)
}

// DeletePolicy deletes a network policy. One that is gone is no error.
func (c *Client) DeletePolicy(ctx context.Context, namespace, name string) error {
	err := c.do(ctx, http.MethodDelete, policyPath(namespace, name), "", nil, nil)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Admits reports whether a policy lets any traffic of a pod with these labels through. Policies add up: what one lets
// through, no other stops. A selector that can't be read selects everything.
func (p Policy) Admits(labels map[string]string) bool {
	var spec struct {
		PodSelector selector          `json:"podSelector"`
		Ingress     []json.RawMessage `json:"ingress"`
		Egress      []json.RawMessage `json:"egress"`
	}
	if err := json.Unmarshal(p.Spec, &spec); err != nil {
		return true
	}
	return spec.PodSelector.selects(labels) && len(spec.Ingress)+len(spec.Egress) > 0
}

type selector struct {
	MatchLabels      map[string]string `json:"matchLabels"`
	MatchExpressions []struct {
		Key      string   `json:"key"`
		Operator string   `json:"operator"`
		Values   []string `json:"values"`
	} `json:"matchExpressions"`
}

func (s selector) selects(labels map[string]string) bool {
	for key, value := range s.MatchLabels {
		if given, there := labels[key]; !there || given != value {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		value, there := labels[e.Key]
		in := there && slices.Contains(e.Values, value)
		met := true
		switch strings.ToLower(e.Operator) {
		case "in":
			met = in
		case "notin":
			met = !in
		case "exists":
			met = there
		case "doesnotexist":
			met = !there
		}
		if !met {
			return false
		}
	}
	return true
}
