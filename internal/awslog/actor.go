package awslog

import (
	"strings"

	"github.com/riposte-sec/riposte/internal/entity"
)

// actor adds who acted: the principal and what is known of it.
func (t trail) actor(g *gather) {
	const at = "userIdentity."
	id := t.identity
	account := id.str("accountId")
	actor := &gather{at: place{account: account}, list: g.list}
	defer func() { g.list = actor.list }()

	text, issuer := id.str("arn"), id.get("sessionContext", "sessionIssuer")
	switch kind := id.str("type"); {
	case text != "":
		actor.name(entity.Principal, entity.Actor, text, at+"arn")
	case kind == "AWSService":
		actor.name(entity.Principal, entity.Actor, id.str("invokedBy"), at+"invokedBy")
	case id.str("principalId") != "":
		actor.name(entity.Principal, entity.Actor, id.str("principalId"), at+"principalId")
	case kind == "AWSAccount": // a call from another account that tells no more than its number
	default:
		actor.name(entity.Principal, entity.Actor, id.str("userName"), at+"userName")
	}

	switch id.str("type") {
	case "IAMUser":
		actor.identity(entity.User, firstOf(text, id.str("userName")), at+"userName", id.str("userName"))
	case "AssumedRole", "Role", "FederatedUser":
		kind := entity.Role
		if issuer.str("type") == "IAMUser" {
			kind = entity.User
		}
		const from = at + "sessionContext.sessionIssuer."
		actor.identity(kind, firstOf(issuer.str("arn"), issuer.str("userName")), from+"userName", issuer.str("userName"))
		actor.name(entity.Session, entity.Actor, text, at+"arn")
		t.machine(actor, text)
	}
	actor.name(entity.AccessKey, entity.Actor, id.str("accessKeyId"), at+"accessKeyId")
	actor.name(entity.Account, entity.Actor, account, at+"accountId")
	for _, key := range []string{"sourceArn", "credentialsIssuedTo"} {
		actor.arn(entity.Actor, id.str("inScopeOf", key), at+"inScopeOf."+key)
	}
}

// identity adds a user or a role by ARN, or by name where there is no ARN.
func (g *gather) identity(kind entity.Kind, text, from, name string) {
	if e, ok := byARN(text); ok && e.Kind != kind { // such as a root account's session
		g.name(kind, entity.Actor, name, from)
		return
	}
	g.name(kind, entity.Actor, text, from)
}

// machine adds the instance whose role a session is of: its id is the session's name. Where the record
// doesn't say that the instance's metadata service gave the credentials, anybody could have chosen that
// name, so it is only derived.
func (t trail) machine(g *gather, session string) {
	name := last(session)
	if e, ok := named(entity.Instance, name, place{g.at.account, t.region}); ok {
		e.Part, e.From = entity.Actor, "userIdentity.arn"
		e.Derived = !strings.HasPrefix(t.identity.str("sessionContext", "ec2RoleDelivery"), "1") &&
			!strings.HasPrefix(t.identity.str("sessionContext", "ec2RoleDelivery"), "2")
		g.add(e)
	}
}
