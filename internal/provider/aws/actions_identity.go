package aws

import (
	"context"

	"github.com/riposte-sec/riposte/internal/action"
)

// identityActions lists what Riposte can do to identities, organizations, storage, keys and secrets.
func identityActions(c *Cloud) []action.Action {
	return []action.Action{
		denyRole(c),
		tightenTrust(c),
		setBoundary(c),
		detachPolicy(c),
		deleteInlinePolicy(c),
		deleteLoginProfile(c),
		deleteAccessKey(c),
		disableServiceCredential(c),
		deactivateMFADevice(c),
		quarantineByGroup(c),
		setPasswordPolicy(c),
		revokeAssignment(c),
		quarantineAccount(c),
		blockAccountPublicAccess(c),
		denyPrincipal(c),
		removePublicStatements(c),
		requireTLS(c),
		makeACLPrivate(c),
		enableVersioning(c),
		enableEncryption(c),
		enableLogging(c),
		holdObjects(c),
		cancelKeyDeletion(c),
		disableKMSKey(c),
		enableKeyRotation(c),
		removeForeignStatements(c),
		rotateSecret(c),
		deleteSecretPolicy(c),
	}
}

// among is a setting of one thing of many in an account, for limits in percent.
type among[S any] struct {
	placed[S]
	census *census
}

// Population counts the things of the target's kind.
func (a *among[S]) Population(ctx context.Context, at action.Place) (int, error) {
	return a.census.of(ctx, a.cloud.here(at))
}
