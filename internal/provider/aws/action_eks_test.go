package aws_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// The emulator has no access entries, and its endpoints change at once: EKS is tested against a small server of our own.

func TestRestrictEndpoint(t *testing.T) {
	for name, cidrs := range map[string][]string{"limited": {"203.0.113.0/24"}, "private": nil} {
		t.Run(name, func(t *testing.T) {
			f := newLacking(t)
			l := labAt(t, f.URL, awstest.Home)
			params := action.Params{"cluster": "shop"}
			if cidrs != nil {
				params["cidrs"] = cidrs
			}
			missing := l.input(action.Params{"cluster": "gone"})
			more := 0
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, "aws.eks.restrict_endpoint"), Input: l.input(params), Missing: &missing, Door: l.door, State: f.state,
				Change: f.change(func() {
					f.progress() // nobody changes it while it is changed
					more++
					network := f.cluster["resourcesVpcConfig"].(object)
					network["endpointPublicAccess"], network["publicAccessCidrs"] = true, []any{"198.51.100." + strings.Repeat("1", more) + "/32"}
				}),
			})
		})
	}
}

func TestRestrictEndpointWaitsForTheUpdate(t *testing.T) {
	f := newLacking(t)
	l := labAt(t, f.URL, awstest.Home)
	do := l.action(t, "aws.eks.restrict_endpoint")
	change := l.plan(t, "aws.eks.restrict_endpoint", action.Params{"cluster": "shop", "cidrs": []string{"203.0.113.0/24"}})
	f.slowness = 3
	done := action.Applied{Change: change, Result: must[action.Result](t)(do.Apply(t.Context(), change))}
	awaiter, verifier := do.(action.Awaiter), do.(action.Verifier)
	if _, over, err := awaiter.Await(t.Context(), done); over || err != nil {
		t.Errorf("while the update goes on: got %t, %v, want that it isn't over", over, err)
	}
	if err := verifier.Verify(t.Context(), done); !fault.Is(err, fault.Transient) {
		t.Errorf("verify while the update goes on: got %v, want an error of kind transient", err)
	}
	if _, err := do.Plan(t.Context(), l.input(action.Params{"cluster": "shop"})); !fault.Is(err, fault.Transient) {
		t.Errorf("plan while the update goes on: got %v, want an error of kind transient", err)
	}
	result, over, err := awaiter.Await(t.Context(), done)
	if !over || err != nil || !result.Changed {
		t.Errorf("after the update: got %v, %t, %v", result, over, err)
	}
	if impact := strings.Join(change.Impact, "\n"); !strings.Contains(impact, "DNS") || !strings.Contains(impact, "Riposte among them") {
		t.Errorf("the impact does not say who loses access:\n%s", impact)
	}
}

// Where the public endpoint is limited and the private one is off, nodes would lose their API server.
func TestRestrictEndpointKeepsNodesIn(t *testing.T) {
	f := newLacking(t)
	l := labAt(t, f.URL, awstest.Home)
	change := l.plan(t, "aws.eks.restrict_endpoint", action.Params{"cluster": "shop", "cidrs": []string{"203.0.113.9/24", "203.0.113.0/24"}})
	if got := string(change.After); got != `{"public":true,"private":true,"cidrs":["203.0.113.0/24"]}` {
		t.Errorf("got %s", got)
	}
	f.cluster["resourcesVpcConfig"].(object)["endpointPublicAccess"] = false
	change = l.plan(t, "aws.eks.restrict_endpoint", action.Params{"cluster": "shop", "cidrs": []string{"203.0.113.0/24"}})
	if strings.Contains(string(change.After), `"public":true`) {
		t.Errorf("it would open a private endpoint: %s", change.After)
	}
	for _, bad := range []string{"0.0.0.0/0", "::/0", "anywhere", "10.0.0.0/33"} {
		l.refuses(t, "aws.eks.restrict_endpoint", action.Params{"cluster": "shop", "cidrs": []string{bad}}, fault.Invalid)
	}
	l.refuses(t, "aws.eks.restrict_endpoint", action.Params{"cluster": "../shop"}, fault.Invalid)
	l.refuses(t, "aws.eks.restrict_endpoint", action.Params{"cluster": "arn:aws:eks:eu-central-1:999999999999:cluster/shop"}, fault.Invalid)
}

const intruder = "arn:aws:iam::" + awstest.Home + ":role/ops/intruder"

func admit(f *lacking, kind, username string) {
	f.entries[intruder] = object{
		"principalArn": intruder, "clusterName": "shop", "kubernetesGroups": []any{"viewers", "admins"}, "type": kind, "username": username,
		"tags": object{"team": "ops"},
	}
	f.policies[intruder] = []object{
		{"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminPolicy", "accessScope": object{"type": "namespace", "namespaces": []any{"pay"}}},
		{"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy", "accessScope": object{"type": "cluster"}},
	}
}

// entries tells the access entries, without what of them only the request that made them says.
func entries(t *testing.T, f *lacking) string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	all := object{}
	for principal, e := range f.entries {
		groups := map[any]bool{}
		list, _ := e["kubernetesGroups"].([]any)
		for _, group := range list {
			groups[group] = true
		}
		all[principal] = object{
			"name": e["username"], "type": e["type"], "tags": e["tags"], "admin": groups["admins"], "viewer": groups["viewers"],
		}
	}
	policies := map[string]int{}
	for _, p := range f.policies[intruder] {
		policies[dump(t, object{"arn": p["policyArn"], "scope": p["accessScope"]})]++
	}
	return dump(t, object{"entries": all, "policies": policies})
}

func TestRemoveAccessEntry(t *testing.T) {
	for name, username := range map[string]string{
		"own name": "ops:intruder", "default name": "arn:aws:sts::" + awstest.Home + ":assumed-role/intruder/{{SessionName}}",
	} {
		t.Run(name, func(t *testing.T) {
			f := newLacking(t)
			admit(f, "STANDARD", username)
			l := labAt(t, f.URL, awstest.Home)
			more := 0
			missing := l.input(action.Params{"cluster": "gone", "principal": intruder})
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, "aws.eks.remove_access_entry"), Input: l.input(action.Params{"cluster": "shop", "principal": intruder}),
				Missing: &missing, Door: l.door,
				State: func(t *testing.T) string { t.Helper(); return entries(t, f) },
				Change: f.change(func() {
					more++
					f.entries[intruder]["tags"] = object{"team": strings.Repeat("x", more)}
				}),
				// The attacker lets himself in again.
				ChangeAfter: f.change(func() {
					f.entries[intruder] = object{"principalArn": intruder, "type": "STANDARD", "username": "eve", "kubernetesGroups": []any{"admins"}}
				}),
			})
		})
	}
}

func TestRemoveAccessEntryRefusesThatOfNodes(t *testing.T) {
	f := newLacking(t)
	admit(f, "EC2_LINUX", "system:node:{{EC2PrivateDNSName}}")
	l := labAt(t, f.URL, awstest.Home)
	const name = "aws.eks.remove_access_entry"
	l.refuses(t, name, action.Params{"cluster": "shop", "principal": intruder}, fault.Invalid)
	session := "arn:aws:sts::" + awstest.Home + ":assumed-role/intruder/eve"
	l.refuses(t, name, action.Params{"cluster": "shop", "principal": session}, fault.Invalid)
	admit(f, "STANDARD", "ops:intruder")
	change := l.plan(t, name, action.Params{"cluster": "shop", "principal": intruder})
	if impact := strings.Join(change.Impact, "\n"); !strings.Contains(impact, "aws-auth") || !strings.Contains(impact, "AmazonEKSAdminPolicy") {
		t.Errorf("the impact does not say what else lets it in, or what it loses:\n%s", impact)
	}
}

// Pods and nodes are tested against a server of our own that speaks the API's JSON by TLS.

const tillPath = "/api/v1/namespaces/pay/pods/till-1"

func TestQuarantinePod(t *testing.T) {
	for name, params := range map[string]action.Params{
		"alone":         {"cluster": "shop", "pod": "pay/till-1", "cordon": false, "partial": false},
		"with its node": {"cluster": "shop", "pod": "pay/till-1", "cordon": true, "partial": false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newLacking(t)
			s := newAPIServer(t, f)
			s.put("/api/v1/namespaces/pay/pods/till-2", object{
				"metadata": object{"name": "till-2", "namespace": "pay", "uid": "5e1f0d5e-0002", "labels": object{"app": "till"}},
			})
			l := labAt(t, f.URL, awstest.Home)
			missing := l.input(action.Params{"cluster": "shop", "pod": "pay/gone", "cordon": false, "partial": false})
			port := 0
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, "aws.eks.quarantine_pod"), Input: l.input(params), Missing: &missing, Door: s.door, State: s.state,
				// Somebody has made a policy of our name, for pods that this isn't one of.
				Change: func(t *testing.T) {
					t.Helper()
					port++
					s.put(policiesOf+"/riposte-quarantine-5e1f0d5e-0001", object{
						"metadata": object{"name": "riposte-quarantine-5e1f0d5e-0001"},
						"spec": object{
							"podSelector": object{"matchLabels": object{"app": "other"}},
							"ingress":     []any{object{"ports": []any{object{"port": float64(port)}}}},
						},
					})
				},
			})
		})
	}
}

// Network policies add up: a deny-all stops nothing that another one lets through.
func TestQuarantinePodSeesPoliciesThatLetThrough(t *testing.T) {
	f := newLacking(t)
	s := newAPIServer(t, f)
	l := labAt(t, f.URL, awstest.Home)
	const name = "aws.eks.quarantine_pod"
	params := action.Params{"cluster": "shop", "pod": "pay/till-1", "cordon": false, "partial": false}
	for _, harmless := range []object{
		{"podSelector": object{"matchLabels": object{"app": "shop"}}, "ingress": []any{object{}}},
		{"podSelector": object{"matchExpressions": []any{object{"key": "app", "operator": "NotIn", "values": []any{"till"}}}}, "egress": []any{object{}}},
		{"podSelector": object{}, "policyTypes": []any{"Ingress"}},
	} {
		s.put(policiesOf+"/other", object{"metadata": object{"name": "other"}, "spec": harmless})
		l.plan(t, name, params)
	}
	open := object{"metadata": object{"name": "dns"}, "spec": object{"podSelector": object{}, "egress": []any{object{}}}}
	s.put(policiesOf+"/dns", open)
	l.refuses(t, name, params, fault.Invalid)
	params["partial"] = true
	if impact := strings.Join(l.plan(t, name, params).Impact, "\n"); !strings.Contains(impact, "dns") {
		t.Errorf("the impact does not name what stays open:\n%s", impact)
	}

	// One that comes later is found by the proof.
	s.put(policiesOf+"/dns", nil)
	params["partial"] = false
	do := l.action(t, name)
	change := l.plan(t, name, params)
	done := action.Applied{Change: change, Result: must[action.Result](t)(do.Apply(t.Context(), change))}
	if err := do.(action.Verifier).Verify(t.Context(), done); err != nil {
		t.Errorf("verify: %v", err)
	}
	s.put(policiesOf+"/dns", open)
	if not, ok := errors.AsType[*action.NotHeld](do.(action.Verifier).Verify(t.Context(), done)); !ok || len(not.Differences) == 0 {
		t.Errorf("a policy lets traffic through, and the proof does not see it")
	}
}

func TestQuarantinePodRefusesWhatNoPolicyBinds(t *testing.T) {
	f := newLacking(t)
	s := newAPIServer(t, f)
	l := labAt(t, f.URL, awstest.Home)
	const name = "aws.eks.quarantine_pod"
	for _, bad := range []string{"till-1", "pay/../../nodes/x", "pay/till-1/exec", "PAY/till-1", "pay/"} {
		l.refuses(t, name, action.Params{"cluster": "shop", "pod": bad}, fault.Invalid)
	}
	s.objects[tillPath]["spec"].(object)["hostNetwork"] = true
	l.refuses(t, name, action.Params{"cluster": "shop", "pod": "pay/till-1"}, fault.Invalid)
}

// Another pod has taken the name: neither the change nor the undo is for it. What is left of the quarantine goes.
func TestQuarantineIsOfOnePod(t *testing.T) {
	f := newLacking(t)
	s := newAPIServer(t, f)
	l := labAt(t, f.URL, awstest.Home)
	do := l.action(t, "aws.eks.quarantine_pod")
	change := l.plan(t, "aws.eks.quarantine_pod", action.Params{"cluster": "shop", "pod": "pay/till-1", "cordon": true, "partial": false})
	s.objects[tillPath]["metadata"].(object)["uid"] = "another"
	if _, err := do.Apply(t.Context(), change); !isMoved(err) {
		t.Errorf("apply to a pod that took the name: got %v, want *action.Moved", err)
	}
	s.objects[tillPath]["metadata"].(object)["uid"] = "5e1f0d5e-0001"
	done := action.Applied{Change: change, Result: must[action.Result](t)(do.Apply(t.Context(), change))}
	s.put(tillPath, nil)
	undoer := do.(action.Undoer)
	if drift, err := undoer.Drift(t.Context(), done); err != nil || len(drift) > 0 {
		t.Errorf("drift of a pod that is gone: got %v, %v", drift, err)
	}
	must[action.Result](t)(undoer.Undo(t.Context(), done, false))
	if err := undoer.Restored(t.Context(), done); err != nil {
		t.Errorf("restored: %v", err)
	}
	if state := s.state(t); strings.Contains(state, "unschedulable") || strings.Contains(state, "quarantine") {
		t.Errorf("something is left of the quarantine:\n%s", state)
	}
}

func isMoved(err error) bool {
	_, moved := errors.AsType[*action.Moved](err)
	return moved
}

func TestCordonNode(t *testing.T) {
	f := newLacking(t)
	s := newAPIServer(t, f)
	l := labAt(t, f.URL, awstest.Home)
	missing := l.input(action.Params{"cluster": "shop", "node": "gone"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, "aws.eks.cordon_node"), Input: l.input(action.Params{"cluster": "shop", "node": "node-1.internal"}),
		Missing: &missing, Door: s.door, State: s.state,
		// A node is cordoned or not: who changes it makes the plan's change, or undoes it.
	})
	l.refuses(t, "aws.eks.cordon_node", action.Params{"cluster": "shop", "node": "node-1/../../x"}, fault.Invalid)
}

func TestDeletePod(t *testing.T) {
	f := newLacking(t)
	s := newAPIServer(t, f)
	l := labAt(t, f.URL, awstest.Home)
	do := l.action(t, "aws.eks.delete_pod")
	params := action.Params{"cluster": "shop", "pod": "pay/till-1"}
	missing := l.input(action.Params{"cluster": "shop", "pod": "pay/gone"})
	change := l.plan(t, "aws.eks.delete_pod", params)
	if impact := strings.Join(change.Impact, "\n"); !strings.Contains(impact, "ReplicaSet till") {
		t.Errorf("the impact does not say who replaces it:\n%s", impact)
	}
	providertest.Contract(t, providertest.Case{
		Action: do, Input: l.input(params), Missing: &missing, Door: s.door, State: s.state,
		// A pod with this UID is there or not: when another takes its name, this one is deleted.
	})
	// Another pod has the name now: it is not the plan's.
	s.put(tillPath, object{"metadata": object{"name": "till-1", "namespace": "pay", "uid": "another"}})
	result, err := do.Apply(t.Context(), change)
	if err != nil || result.Changed {
		t.Errorf("apply to a pod that took the name: got %v, %v, want that nothing changed", result.Changed, err)
	}
	if !strings.Contains(s.state(t), "another") {
		t.Error("the pod that took the name is deleted")
	}
}

// A cluster whose authority can't be read is not asked at all.
func TestClusterWithoutAuthorityIsRefused(t *testing.T) {
	f := newLacking(t)
	newAPIServer(t, f)
	l := labAt(t, f.URL, awstest.Home)
	f.cluster["certificateAuthority"] = object{"data": "bm8="}
	l.refuses(t, "aws.eks.cordon_node", action.Params{"cluster": "shop", "node": "node-1.internal"}, fault.Invalid)
}
