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

// final is a setting that can't be taken back: it is no action.Undoer.
type final[S any] struct {
	setting placed[S]
}

// Spec describes the action.
func (f *final[S]) Spec() action.Spec { return f.setting.Spec() }

// Plan reads what is and says what Apply would do for good.
func (f *final[S]) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return f.setting.Plan(ctx, in)
}

// Apply makes the change, if what is there is what Plan saw.
func (f *final[S]) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	return f.setting.Apply(ctx, c)
}

// Verify reads the state back.
func (f *final[S]) Verify(ctx context.Context, a action.Applied) error {
	return f.setting.Verify(ctx, a)
}
