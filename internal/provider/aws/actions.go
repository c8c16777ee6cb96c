package aws

import (
	"context"
	"slices"

	"github.com/riposte-sec/riposte/internal/action"
)

// Actions lists all that Riposte can do at AWS.
func (c *Cloud) Actions() []action.Action {
	return append([]action.Action{
		describeAccessKey(c),
		disableAccessKey(c),
		denyUser(c),
		revokeRoleSessions(c),
		blockPublicAccess(c),
		restoreLogging(c),
		updateFinding(c),
		importFindings(c),
		archiveFinding(c),
		publishMessage(c),
	}, slices.Concat(ec2Actions(c), bridgeActions(c), networkActions(c), identityActions(c), dataActions(c))...)
}

// placed is a setting at a place that is always complete, so that guardrails and the journal know it.
type placed[S any] struct {
	action.Setting[S]
	cloud *Cloud
}

// Plan completes the place.
func (p *placed[S]) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	in.Place = p.cloud.here(in.Place)
	return p.Setting.Plan(ctx, in)
}
