package aws

import "github.com/riposte-sec/riposte/internal/action"

// Actions lists all that Riposte can do at AWS.
func (c *Cloud) Actions() []action.Action {
	return []action.Action{
		describeAccessKey(c),
		disableAccessKey(c),
		denyUser(c),
		revokeRoleSessions(c),
		blockPublicAccess(c),
		restoreLogging(c),
		updateFinding(c),
		archiveFinding(c),
		publishMessage(c),
	}
}
