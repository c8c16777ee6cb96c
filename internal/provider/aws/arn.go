package aws

import "strings"

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
