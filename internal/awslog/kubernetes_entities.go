package awslog

import (
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/entity"
)

// kubernetes is the provider of what lives within a cluster.
const kubernetes = "kubernetes"

// mostClaimed is how many addresses of a request are taken.
const mostClaimed = 16

// serviceAccount is how the names of service accounts begin; the namespace and the name follow.
const serviceAccount = "system:serviceaccount:"

// within adds what lives within the cluster.
func (g *gather) within(kind entity.Kind, part entity.Part, id, from string, derived bool) {
	if id == "" || len(id) > 2048 {
		return
	}
	g.add(entity.Entity{
		Kind: kind, ID: id, Part: part, Provider: kubernetes, Account: g.at.account, Region: g.at.region, From: from, Derived: derived,
	})
}

// add adds the cluster itself.
func (c cluster) add(g *gather) {
	if c.name != "" {
		g.name(entity.Cluster, entity.Context, c.name, c.from)
	}
	if c.at.account != "" {
		g.name(entity.Account, entity.Context, c.at.account, "owner")
	}
}

// actor adds who called: the name that the cluster knows them by, and who that is in IAM, as the authenticator of
// EKS notes beside it.
func (a *audit) actor(g *gather) {
	name := a.user.str("username")
	g.within(entity.KubernetesUser, entity.Actor, name, "user.username", false)
	if namespace, _, ok := strings.Cut(strings.TrimPrefix(name, serviceAccount), ":"); ok && strings.HasPrefix(name, serviceAccount) {
		const key = "authentication.kubernetes.io/pod-name"
		if pod := a.extra(key); pod != "" {
			g.within(entity.Pod, entity.Actor, namespace+"/"+pod, "user.extra."+key, false)
		}
	}
	a.caller(g, name)
	g.within(entity.KubernetesUser, entity.Context, a.impersonated.str("username"), "impersonatedUser.username", false)
}

// extra is the first value of what the authenticator noted beside the user's name.
func (a *audit) extra(key string) string {
	for item := range a.user.get("extra", key).items() {
		return item.text()
	}
	return ""
}

// caller adds the identity in IAM. It is of an account of its own, which needn't be the cluster's.
func (a *audit) caller(g *gather, name string) {
	text, from := a.extra("arn"), "user.extra.arn"
	if text == "" {
		text, from = name, "user.username"
	}
	principal, isARN := parseARN(text)
	known := &gather{at: place{account: principal.account}, list: g.list}
	defer func() { g.list = known.list }()
	known.name(entity.AccessKey, entity.Actor, a.extra("accessKeyId"), "user.extra.accessKeyId")
	if !isARN {
		return
	}
	known.name(entity.Principal, entity.Actor, text, from)
	if session, ok := principal.after("assumed-role/"); ok && principal.service == "sts" {
		known.name(entity.Session, entity.Actor, text, from)
		known.role(a.extra("canonicalArn"), principal, first(session, "/"), from)
		if e, ok := named(entity.Instance, last(session), g.at); ok { // anybody may call a session so
			e.Part, e.From, e.Derived = entity.Actor, from, true
			known.add(e)
		}
	} else if e, ok := byARN(text); ok && e.Kind == entity.User {
		known.name(entity.User, entity.Actor, text, from)
	}
	known.name(entity.Account, entity.Actor, principal.account, from)
}

// role adds the role of a session. Its ARN lacks the role's path, both in the session's and in the canonical
// one, and so is only derived.
func (g *gather) role(canonical string, session arn, name, from string) {
	text := "arn:" + session.partition + ":iam::" + session.account + ":role/" + name
	if e, ok := byARN(canonical); ok && e.Kind == entity.Role {
		text, from = canonical, "user.extra.canonicalArn"
	}
	if e, ok := named(entity.Role, text, g.at); ok {
		e.Part, e.From, e.Derived = entity.Actor, from, true
		g.add(e)
	}
}

// origin adds where the request came from. All addresses but the last are what the caller wrote in a header.
func (a *audit) origin(g *gather) {
	var addresses []string
	for item := range a.sources.items() {
		addresses = append(addresses, item.text())
	}
	part := entity.Origin
	for i, address := range slices.Backward(addresses) {
		if len(addresses)-i > mostClaimed {
			break
		}
		if e, ok := named(entity.IP, address, place{}); ok {
			e.Part, e.From = part, "sourceIPs"
			g.add(e)
		}
		part = entity.Context
	}
	g.name(entity.UserAgent, entity.Origin, a.agent, "userAgent")
}

// acted adds what the request was about.
func (a *audit) acted(g *gather) {
	resource, namespace, name := a.object.str("resource"), a.object.str("namespace"), a.object.str("name")
	from := "objectRef"
	if name == "" && a.verb == "create" { // the API server made the name
		if name = a.response.str("metadata", "name"); name != "" {
			from = "responseObject.metadata.name"
		}
	}
	switch {
	case resource == "" || name == "":
	case resource == "pods" && namespace != "":
		g.within(entity.Pod, entity.Target, namespace+"/"+name, from, false)
	case resource == "serviceaccounts" && namespace != "":
		g.within(entity.KubernetesUser, entity.Target, serviceAccount+namespace+":"+name, from, true)
	case resource == "namespaces":
		g.within(entity.Namespace, entity.Target, name, from, false)
	case namespace != "":
		g.within(entity.KubernetesObject, entity.Target, resource+"/"+namespace+"/"+name, from, false)
	default:
		g.within(entity.KubernetesObject, entity.Target, resource+"/"+name, from, false)
	}
	if resource != "namespaces" {
		g.within(entity.Namespace, entity.Context, namespace, "objectRef.namespace", false)
	}
	a.given(g, resource, namespace)
	for _, path := range imagePaths {
		a.request.each(path, func(v value) {
			g.name(entity.Image, entity.Context, v.text(), "requestObject."+strings.Join(path, "."))
		})
	}
}

// imagePaths are where pods, and what makes pods, name their images.
var imagePaths = func() [][]string {
	var paths [][]string
	for _, spec := range []string{"spec", "spec.template.spec", "spec.jobTemplate.spec.template.spec"} {
		for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
			paths = append(paths, strings.Split(spec+"."+list+".image", "."))
		}
	}
	return paths
}()

// given adds to whom a binding gives a role.
func (a *audit) given(g *gather, resource, namespace string) {
	if resource != "rolebindings" && resource != "clusterrolebindings" {
		return
	}
	for subject := range a.request.get("subjects").items() {
		name := subject.str("name")
		switch {
		case name == "":
		case subject.str("kind") == "User":
			g.within(entity.KubernetesUser, entity.Target, name, "requestObject.subjects.name", false)
		case subject.str("kind") == "ServiceAccount":
			in := firstOf(subject.str("namespace"), namespace)
			g.within(entity.KubernetesUser, entity.Target, serviceAccount+in+":"+name, "requestObject.subjects.name", true)
		}
	}
}
