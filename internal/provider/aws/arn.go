package aws

import (
	"strings"
)

// cutSession gives the role in the resource of a session's ARN: assumed-role/name/session.
func cutSession(resource string) (role string, ok bool) {
	rest, ok := strings.CutPrefix(resource, "assumed-role/")
	if !ok {
		return "", false
	}
	role, _, ok = strings.Cut(rest, "/")
	return role, ok
}

// cutUser gives the name in the resource of a user's ARN: user/path/name.
func cutUser(resource string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(resource, "user/")
	return rest[strings.LastIndexByte(rest, '/')+1:], ok
}

// withoutPath is a name without the path before it.
func withoutPath(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// principalForm is the ARN of a role or a user.
var principalForm = shaped(`^arn:aws[a-z-]*:iam::\d{12}:(role|user)/([\w+=,.@-]+/)*[\w+=,.@-]{1,64}$`)
