package aws

import "strings"

// cutSession divides the resource of an assumed role's ARN: assumed-role/name/session.
func cutSession(resource string) (role, session string, ok bool) {
	rest, ok := strings.CutPrefix(resource, "assumed-role/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// cutUser gives the name in the resource of a user's ARN: user/path/name.
func cutUser(resource string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(resource, "user/")
	return rest[strings.LastIndexByte(rest, '/')+1:], ok
}
