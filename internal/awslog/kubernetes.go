package awslog

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// auditAPI is how the API version of Kubernetes' audit events begins.
	auditAPI = "audit.k8s.io/"
	// longestID is how long an audit ID may be in a key; one is a UUID, unless whoever calls made one up.
	longestID = 64
)

// cluster is where an audit event is from, as far as what is around it says.
type cluster struct {
	name, from string
	at         place
}

// audit is the part of an audit event that is looked at, read in one pass.
type audit struct {
	record       value // the whole
	id           string
	stage        string
	verb         string
	agent        string
	received     string
	staged       string
	user         value
	impersonated value
	sources      value
	object       value
	status       value
	request      value
	response     value
}

// audited reports whether a record is an audit event of Kubernetes.
func audited(record value) bool {
	return record.str("kind") == "Event" && strings.HasPrefix(record.str("apiVersion"), auditAPI)
}

// kubernetesAudit reads one audit event: one stage of one request to the API of a cluster.
func kubernetesAudit(record value, where cluster) (event.Event, error) {
	a := readAudit(record)
	when := momentOf(a.received, a.staged)
	switch {
	case a.id == "":
		return event.Event{}, fault.New(fault.Invalid, "not an audit event of Kubernetes: no auditID")
	case when.IsZero():
		return event.Event{}, fault.New(fault.Invalid, "audit event %.64s has no time", a.id)
	}
	g := &gather{at: where.at}
	a.actor(g)
	a.origin(g)
	a.acted(g)
	where.add(g)
	return event.Event{
		Key: a.key(when), Source: event.KubernetesAudit, Time: when, Account: where.at.account, Region: where.at.region,
		Service: "kubernetes", Name: a.name(), ErrorCode: a.errorCode(), Entities: g.list, Raw: record,
	}, nil
}

func readAudit(record value) audit {
	a := audit{record: record}
	for key, v := range record.fields() {
		switch string(key) {
		case "auditID":
			a.id = v.text()
		case "stage":
			a.stage = v.text()
		case "verb":
			a.verb = v.text()
		case "userAgent":
			a.agent = v.text()
		case "requestReceivedTimestamp":
			a.received = v.text()
		case "stageTimestamp":
			a.staged = v.text()
		case "user":
			a.user = v
		case "impersonatedUser":
			a.impersonated = v
		case "sourceIPs":
			a.sources = v
		case "objectRef":
			a.object = v
		case "responseStatus":
			a.status = v
		case "requestObject":
			a.request = v
		case "responseObject":
			a.response = v
		}
	}
	return a
}

// key is the same for one stage of one request whatever way it comes. The ID alone won't do: whoever calls may
// choose it by a header, and would hide a second request behind the first. When the API server received it isn't
// theirs to choose.
func (a *audit) key(when time.Time) string {
	id := a.id
	if len(id) > longestID {
		sum := sha256.Sum256([]byte(id))
		id = "sha256:" + hex.EncodeToString(sum[:])
	}
	return key(event.KubernetesAudit, a.stage, when.Format(time.RFC3339Nano), id)
}

// name is the verb and what it was for: create pods/exec. What isn't about a resource is about a URL.
func (a *audit) name() string {
	resource := firstOf(a.object.str("resource"), "url")
	if sub := a.object.str("subresource"); sub != "" {
		resource += "/" + sub
	}
	return strings.TrimSpace(a.verb + " " + resource)
}

// errorCode is why the request did not succeed, such as Forbidden; empty where it did, or where the stage is
// before its end.
func (a *audit) errorCode() string {
	if a.status.integer("code") < 400 {
		return ""
	}
	return firstOf(a.status.str("reason"), a.status.str("code"))
}
